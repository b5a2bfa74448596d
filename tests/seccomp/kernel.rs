//! What the kernel says: it takes every program that the compiler makes, and does what the program says.

use crate::child;
use crate::profiles::{self, Choice, Random};
use crate::seccomp::Arch;
use seccompiler::sock_filter;
use serde_json::{Value, json};
use std::process::ExitStatus;

/// What this process exits with if the kernel refuses its filter.
const REFUSED: i32 = 42;

/// How a child ends that runs this test under a profile; `None` in the child.
fn under(test: &str, profile: &Value) -> Option<ExitStatus> {
    if child::profile().is_some() {
        return None;
    }
    Some(child::run(test, profile).expect("a process that ends").0)
}

/// Installs the profile that the parent has left. Only the calling thread gets the filter.
fn install() {
    let program = crate::compile(&child::profile().unwrap(), Arch::native().unwrap()).unwrap();
    let program: Vec<sock_filter> =
        program.iter().map(|i| sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
    if seccompiler::apply_filter(&program).is_err() {
        std::process::exit(REFUSED);
    }
}

/// Installs a profile that may let nothing pass, not even the end of the process: another thread sees to that.
fn install_and_end() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        while !INSTALLED.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        std::process::abort();
    });
    install();
    INSTALLED.store(true, Ordering::Relaxed);
    loop {
        std::hint::spin_loop();
    }
}

#[test]
fn the_kernel_takes_every_program() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (mut profile, _) = profiles::generate(&mut random, &Choice::all());
        let native = Arch::native().unwrap();
        if seed < 4 {
            profile = profiles::recorded().remove(seed as usize).1;
        } else if crate::compile(&profile, native).is_err() {
            continue;
        }
        match under("kernel::the_kernel_takes_every_program", &profile) {
            Some(status) => assert_ne!(status.code(), Some(REFUSED), "{profile}"),
            None => install_and_end(),
        }
    }
}

#[test]
fn tsync_takes_in_the_other_threads() {
    const ALL: i32 = 100;
    for (flags, expected) in [(json!([]), 1), (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), ALL)] {
        let mut profile = getppid("SCMP_ACT_ERRNO", None);
        profile["flags"] = flags;
        if let Some(status) = under("kernel::tsync_takes_in_the_other_threads", &profile) {
            assert_eq!(status.code(), Some(expected), "{profile}");
            continue;
        }
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
        crate::sys::process::set_no_new_privs().unwrap();
        let parsed = serde_json::from_value(child::profile().unwrap()).unwrap();
        let filter = crate::plan::Seccomp::new(&parsed, true, &mut Vec::new()).unwrap();
        crate::sys::seccomp::install(&filter.program, filter.flags).unwrap();
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let status = |dir: std::fs::DirEntry| std::fs::read_to_string(dir.path().join("status")).unwrap();
        let filtered: Vec<bool> = threads.map(|dir| status(dir.unwrap()).contains("Seccomp:\t2\n")).collect();
        let count = filtered.iter().filter(|filtered| **filtered).count();
        std::process::exit(if count == filtered.len() { ALL } else { count as i32 });
    }
}

/// A profile that lets everything pass but getppid(2) with the given more.
fn getppid(action: &str, errno: Option<u32>) -> Value {
    let mut rule = json!({"names": ["getppid"], "action": action});
    if let Some(errno) = errno {
        rule["errnoRet"] = errno.into();
    }
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

/// Exits with what getppid(2) returns, cut to the 8 bits of an exit status.
fn exit_with_getppid() -> ! {
    install();
    let result = std::os::unix::process::parent_id();
    std::process::exit(result.cast_signed() & 0xff);
}

#[test]
fn errno_reaches_the_caller() {
    match under("kernel::errno_reaches_the_caller", &getppid("SCMP_ACT_ERRNO", Some(77))) {
        // The C library's wrapper of a call that cannot fail gives -1 or -77.
        Some(status) => assert!(matches!(status.code(), Some(0xff | 0xb3)), "{status}"),
        None => exit_with_getppid(),
    }
}

#[test]
fn kill_process_kills() {
    use std::os::unix::process::ExitStatusExt;
    match under("kernel::kill_process_kills", &getppid("SCMP_ACT_KILL_PROCESS", None)) {
        // SIGSYS, dumped or not.
        Some(status) => assert_eq!(status.signal(), Some(31)),
        None => exit_with_getppid(),
    }
}

#[test]
fn a_trap_raises_sigsys() {
    use std::os::unix::process::ExitStatusExt;
    match under("kernel::a_trap_raises_sigsys", &getppid("SCMP_ACT_TRAP", None)) {
        Some(status) => assert_eq!(status.signal(), Some(31)),
        None => exit_with_getppid(),
    }
}

#[test]
fn without_a_tracer_a_traced_call_is_unknown() {
    match under("kernel::without_a_tracer_a_traced_call_is_unknown", &getppid("SCMP_ACT_TRACE", Some(5))) {
        // -1, or ENOSYS as the kernel returns it.
        Some(status) => assert!(matches!(status.code(), Some(0xff | 0xda)), "{status}"),
        None => exit_with_getppid(),
    }
}

#[test]
fn logged_and_allowed_calls_pass() {
    for action in ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
        match under("kernel::logged_and_allowed_calls_pass", &getppid(action, None)) {
            Some(status) => assert_eq!(status.code(), Some((std::process::id() & 0xff) as i32)),
            None => exit_with_getppid(),
        }
    }
}
