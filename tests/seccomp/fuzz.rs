//! Any text for a profile: never a panic; a program that judges calls as the evaluator does and that the kernel takes,
//! or an error that says where.
//!
//! The test mutates real profiles by a seed. `fuzz/` gives [`check`] and [`mutate`] to libFuzzer, which is led by
//! what code a text reaches.

use crate::machine::{Data, run};
use crate::mutate::mutate;
use crate::oracle::Oracle;
use crate::plan::{self, Seccomp};
use crate::profiles::{self, Choice, Random};
use crate::seccomp::bpf::{Instruction, JUMP, LOAD, RETURN, verify};
use crate::seccomp::{self, Arch};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::Value;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a text came to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
pub enum Outcome {
    /// Not a profile in form.
    Unread,
    /// Of the right form, but it asks for what cannot be.
    Refused,
    /// More than a filter can hold.
    TooLong,
    /// A program that the kernel takes.
    Program,
}

/// Checks all that must hold for a text, whatever it is.
pub fn check(text: &[u8]) -> Outcome {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(text) else { return Outcome::Unread };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let mut random = Random(hasher.finish());
    // What init and `exec` do with it.
    let _ = Seccomp::new(&profile, true, &mut Vec::new());
    let native = if random.one_in(2) { Arch::X86_64 } else { random.of(&Arch::ALL) };
    let mut policy = match plan::policy(&profile, "linux.seccomp", native) {
        Ok(policy) => policy,
        Err(error) => {
            let line = error.to_string();
            assert!(line.starts_with("linux.seccomp.") && !line.contains('\n'), "{line}");
            return Outcome::Refused;
        }
    };
    let value = plain(&profile);
    policy.archs = profiles::archs(&value, native);
    let call = random.of(&["socket", "read", "clone", "personality", "-1", "0x40000001", "9999", "nothing"]);
    let args = [random.next().to_string(), "-1".to_owned()];
    let _ = seccomp::explain(&policy, Some(call), &args[..random.below(3)]);
    let program = match seccomp::compile(&policy) {
        Ok(program) => program.instructions,
        Err(error) => {
            let line = error.to_string();
            assert!(
                line.starts_with("linux.seccomp.syscalls: the filter needs more than the kernel's"),
                "{line}"
            );
            return Outcome::TooLong;
        }
    };
    verify(&program).unwrap();
    agree(&value, &program, native, &mut random);
    let x86 = policy.archs.iter().all(|arch| arch.runs_on(Arch::X86_64));
    if cfg!(target_arch = "x86_64") && x86 && random.one_in(kernel_share()) {
        assert!(kernel::takes(&program), "the kernel refuses the program of {value}");
    }
    Outcome::Program
}

/// One in how many programs is given to the kernel, which takes longer than all the rest.
fn kernel_share() -> usize {
    if cfg!(fuzzing) { 16 } else { 8 }
}

/// The profile as its types have it, without the architectures that no table has.
fn plain(profile: &LinuxSeccomp) -> Value {
    let mut value = serde_json::to_value(profile).unwrap();
    if let Some(archs) = value["architectures"].as_array_mut() {
        archs.retain(|name| Arch::ALL.iter().any(|arch| *name == arch.name()));
    }
    value
}

/// Some calls that the profile is about, and some that it is not: the program and the evaluator say the same.
fn agree(profile: &Value, program: &[Instruction], native: Arch, random: &mut Random) {
    let archs = profiles::archs(profile, native);
    let oracle = Oracle::new(profile, &archs);
    let arguments = profiles::arguments(profile);
    let names = || profile["syscalls"].as_array().into_iter().flatten();
    let names: Vec<&str> =
        names().flat_map(|rule| rule["names"].as_array().unwrap()).filter_map(Value::as_str).collect();
    for _ in 0..64 {
        let arch = random.of(&archs);
        let named = if names.is_empty() { None } else { arch.number_of(random.of(&names)) };
        let number = match named {
            Some(number) if !random.one_in(4) => number,
            _ => profiles::numbers_from(arch).wrapping_add(random.below(600) as u32),
        };
        let args = [0; 6].map(|_| random.of(&arguments));
        let little_endian = arch.audit() & 0x4000_0000 != 0;
        let got = run(program, &Data::new(arch.audit(), number, args, little_endian)).0;
        let expected = oracle.judge(arch.audit(), number, &args);
        assert_eq!(
            got,
            expected,
            "{got:#x} for {expected:#x}: {} {number:#x} {args:x?} of {profile}",
            arch.name()
        );
    }
}

mod kernel {
    use super::Instruction;
    use crate::sys;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Mutex, OnceLock};

    /// Whether the kernel takes a program. A child tries, and is killed: after that it may be allowed nothing.
    pub fn takes(program: &[Instruction]) -> bool {
        const TAKEN: u32 = 1;
        const REFUSED: u32 = 2;
        // There is one page for all threads.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap();
        let shared = shared_page();
        shared.store(0, Ordering::SeqCst);
        // SAFETY: the child makes three system calls and touches nothing that a lock protects.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            // SAFETY: these set attributes of the calling process.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            }
            let taken = sys::seccomp::install(program, 0).is_ok();
            shared.store(if taken { TAKEN } else { REFUSED }, Ordering::SeqCst);
            loop {
                std::hint::spin_loop();
            }
        }
        let answer = loop {
            match shared.load(Ordering::SeqCst) {
                0 => std::thread::yield_now(),
                answer => break answer,
            }
        };
        // SAFETY: the child is ours and has not been waited for.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        answer == TAKEN
    }

    /// A word of memory that children share.
    fn shared_page() -> &'static AtomicU32 {
        static PAGE: OnceLock<&AtomicU32> = OnceLock::new();
        PAGE.get_or_init(|| {
            let (read_write, shared) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
            // SAFETY: a new mapping, which stays; the page is zeroed and aligned.
            unsafe {
                let page = libc::mmap(std::ptr::null_mut(), 4096, read_write, shared, -1, 0);
                assert_ne!(page, libc::MAP_FAILED);
                &*page.cast::<AtomicU32>()
            }
        })
    }
}

/// Texts to begin with: profiles of engines, generated ones, and one that has every member.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        profiles::recorded().into_iter().map(|(_, profile)| profile.to_string().into_bytes()).collect();
    for seed in 0..40 {
        let (profile, _) = profiles::generate(&mut Random(seed), &Choice::all());
        seeds.push(profile.to_string().into_bytes());
    }
    seeds.push(
        br#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86"],
            "flags":["SECCOMP_FILTER_FLAG_LOG"],"listenerPath":"/run/l","listenerMetadata":"m","syscalls":[
            {"names":["socket"],"action":"SCMP_ACT_NOTIFY","args":[
            {"index":0,"value":16,"valueTwo":7,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#
            .to_vec(),
    );
    seeds
}

/// What the kernel says is worth something only if it also says no.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_kernel_refuses_what_is_wrong() {
    let plain = |code, k| Instruction { code, jt: 0, jf: 0, k };
    let (allow, beyond) = (plain(RETURN, 0x7fff_0000), plain(LOAD, 64));
    assert!(kernel::takes(&[allow]) && kernel::takes(&[plain(LOAD, 60), plain(RETURN, 0)]));
    for wrong in [&[][..], &[plain(LOAD, 0)], &[beyond, allow], &[plain(JUMP, 1), allow]] {
        assert!(!kernel::takes(wrong), "{wrong:?}");
    }
}

#[test]
fn any_profile() {
    let rounds = crate::exact::number_from_env("ORLOP_SECCOMP_FUZZ", 600);
    let mut random = Random(crate::exact::number_from_env("ORLOP_SECCOMP_SEED", 0));
    let mut pool = seeds();
    let mut seen = BTreeSet::new();
    let mut counts = [0; 4];
    for text in &pool {
        seen.insert(check(text));
    }
    for _ in 0..rounds {
        let place = random.below(pool.len());
        let text = mutate(&pool[place], &mut random);
        let outcome = match std::panic::catch_unwind(|| check(&text)) {
            Ok(outcome) => outcome,
            Err(_) => panic!("{}", String::from_utf8_lossy(&text)),
        };
        counts[outcome as usize] += 1;
        seen.insert(outcome);
        // Those that still are profiles are mutated on, as long as they are not large.
        if outcome != Outcome::Unread && text.len() < 20_000 {
            pool[place] = text;
        } else if random.one_in(20) {
            pool[place] = random.of(&seeds());
        }
    }
    println!("unread, refused, too long, programs: {counts:?}");
    assert!(counts[Outcome::Program as usize] > rounds / 10, "{counts:?}");
    assert!(seen.contains(&Outcome::Unread) && seen.contains(&Outcome::Refused), "{counts:?}");
}
