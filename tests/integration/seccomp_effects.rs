//! What of `linux.seccomp` is seen from outside of the container: by the kernel's log, by a tracer, by whoever reads
//! of the process in `/proc`.

use crate::harness::*;
use crate::seccomp::allowing;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

const LOG: &str = "SECCOMP_FILTER_FLAG_LOG";

/// The kernel's log from a moment on.
struct KernelLog(File);

impl KernelLog {
    fn from_now_on() -> Self {
        let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        KernelLog(file)
    }

    /// The records of filtered calls of the process of this name that have come since, each as the number of the
    /// system call and the action of the filter, without its data.
    fn filtered(&mut self, comm: &str) -> Vec<(i64, String)> {
        let mut found = Vec::new();
        let mut record = [0; 8192];
        loop {
            let length = match self.0.read(&mut record) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return found,
                // The kernel has overwritten what was next.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => continue,
                Err(error) => panic!("{error}"),
            };
            let text = String::from_utf8_lossy(&record[..length]);
            // AUDIT_SECCOMP of linux/audit.h
            if text.contains("type=1326 ") && text.contains(&format!("comm={comm:?}")) {
                let field = |key: &str| {
                    let mut words = text.split_whitespace();
                    words.find_map(|word| word.strip_prefix(key)).unwrap_or_else(|| panic!("{key}: {text}"))
                };
                found.push((field("syscall=").parse().unwrap(), field("code=").to_owned()));
            }
        }
    }
}

/// What the kernel logs of a shell that gives itself a name and then calls umask(2), for which the profile has `action`,
/// and chdir(2), which is always logged: so it shows whether the log is there.
fn logged(action: &str, flags: &Value) -> Vec<(i64, String)> {
    // The kernel prints a few records in some seconds and drops the others.
    for _ in 0..20 {
        let b = Bundle::new();
        let script = format!("echo -n {} >/proc/self/comm; umask 077; cd /bin", b.id);
        let profile = allowing(json!([
            {"names": ["umask"], "action": action},
            {"names": ["chdir"], "action": "SCMP_ACT_LOG"},
        ]));
        let b = b.args(["/bin/sh", "-c", &script]).set("/linux/seccomp", profile);
        let b = b.set("/linux/seccomp/flags", flags.clone()).set("/process/cwd", "/");
        let mut log = KernelLog::from_now_on();
        b.run().ok();
        let mut found = Vec::new();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            found.extend(log.filtered(&b.id));
            if found.iter().any(|(number, _)| *number == libc::SYS_chdir) {
                // The shell asks for its mask before it sets it.
                found.dedup();
                return found;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    panic!("the kernel's log shows nothing of the container");
}

#[test]
fn the_kernel_logs_what_the_profile_wants_logged() {
    requires!(Need::Root, Need::SeccompLog);
    let record = |number: i64, code: &str| (number, code.to_owned());
    let chdir = record(libc::SYS_chdir, "0x7ffc0000");
    for (action, flags, expected) in [
        ("SCMP_ACT_LOG", json!([]), Some("0x7ffc0000")),
        // Errors are no news unless the flag says so.
        ("SCMP_ACT_ERRNO", json!([]), None),
        ("SCMP_ACT_ERRNO", json!([LOG]), Some("0x50000")),
        ("SCMP_ACT_ALLOW", json!([LOG]), None),
    ] {
        let expected = expected.map(|code| record(libc::SYS_umask, code));
        let expected: Vec<_> = expected.into_iter().chain([chdir.clone()]).collect();
        let mut found = logged(action, &flags);
        // It may have dropped one of them.
        for _ in 0..4 {
            if found != expected {
                found = logged(action, &flags);
            }
        }
        assert_eq!(found, expected, "{action} {flags}");
    }
}

#[test]
fn a_tracer_sees_the_value_of_a_traced_call_and_decides() {
    requires!(Need::Root);
    for (value, expected) in [(json!(4711), 4711), (json!(0xffff), 0xffff), (json!(null), 1)] {
        let mut rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRACE"});
        if !value.is_null() {
            rule["errnoRet"] = value;
        }
        let b = Bundle::new().args(["/bin/mkdir", "/made"]).set("/linux/seccomp", allowing(json!([rule])));
        b.create().ok();
        let pid = b.pid();
        let trace = |request: libc::c_uint, data: libc::c_long| {
            // SAFETY: these requests take a number, or write one word to the address that is given.
            let result = unsafe { libc::ptrace(request, pid, 0, data) };
            assert_eq!(result, 0, "ptrace({request:#x}): {}", std::io::Error::last_os_error());
        };
        let wait = || {
            let mut status = 0;
            // SAFETY: the status is written to a variable that lives on.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }, pid);
            status
        };
        trace(libc::PTRACE_SEIZE, libc::PTRACE_O_TRACESECCOMP.into());
        b.start().ok();
        assert_eq!(wait() >> 8, libc::SIGTRAP | (libc::PTRACE_EVENT_SECCOMP << 8));
        let mut message: libc::c_ulong = 0;
        trace(libc::PTRACE_GETEVENTMSG, (&raw mut message).expose_provenance().cast_signed() as libc::c_long);
        assert_eq!(message, expected);
        // It lets the call pass, which without a tracer fails with ENOSYS.
        trace(libc::PTRACE_CONT, 0);
        assert_eq!(wait(), 0);
        assert!(b.rootfs().join("made").is_dir());
        b.delete_force().ok();
    }
}

/// Where the kernel takes any filter for a sign of untrusted code, the flag says that this one is none.
#[test]
fn speculation_is_restricted_unless_the_flag_or_its_absence_allows_it() {
    requires!(Need::SpeculationBySeccomp);
    let line = |flags: Value| {
        let b = Bundle::new().args(["/bin/cat", "/proc/self/status"]);
        let b = b.set("/linux/seccomp", allowing(json!([{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}])));
        let b = if flags.is_null() { b } else { b.set("/linux/seccomp/flags", flags) };
        b.run().ok().field("Speculation_Store_Bypass:").to_owned()
    };
    assert_eq!(line(json!([])), "thread force mitigated");
    assert_eq!(line(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])), "thread vulnerable");
    assert_eq!(line(json!(null)), "thread vulnerable");
}
