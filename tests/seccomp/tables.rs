//! The table of numbers against those of others.

use crate::libseccomp::scmp_arch;
use crate::profiles;
use crate::seccomp::Arch;
use libseccomp::ScmpSyscall;

/// Every number that can have a name on an architecture.
fn numbers(arch: Arch) -> impl Iterator<Item = u32> {
    let first = profiles::numbers_from(arch);
    (first..first + 1000).chain(0x0f_0000..0x0f_0010)
}

#[test]
fn numbers_of_libseccomp() {
    let mut compared = 0;
    for arch in Arch::ALL {
        let theirs = scmp_arch(arch.name());
        for number in numbers(arch) {
            if let Ok(name) = ScmpSyscall::from_raw_syscall(number as i32).get_name_by_arch(theirs) {
                assert_eq!(arch.number_of(&name), Some(number), "{} {name}", arch.name());
                compared += 1;
            }
            if let Some(name) = arch.name_of(number) {
                // Negative ones stand for calls that libseccomp does not know on this architecture.
                let there =
                    ScmpSyscall::from_name_by_arch(name, theirs).map_or(-1, ScmpSyscall::as_raw_syscall);
                assert!(there < 0 || there as u32 == number, "{} {name}: {there} and {number}", arch.name());
            }
        }
    }
    // Of about 400 calls of each architecture that this libseccomp knows.
    assert!(compared > 5000, "{compared}");
}

#[test]
fn numbers_of_this_machines_headers() {
    let headers = [
        ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "SCMP_ARCH_X86_64"),
        ("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", "SCMP_ARCH_X86"),
        ("/usr/include/aarch64-linux-gnu/asm-generic/unistd.h", "SCMP_ARCH_AARCH64"),
    ];
    for (path, arch) in headers {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        for define in text.lines().filter_map(|line| line.strip_prefix("#define __NR_")) {
            let mut words = define.split_whitespace();
            let (Some(name), Some(number)) = (words.next(), words.next()) else { continue };
            // Others are marks and second names, not calls.
            let Ok(number) = number.parse() else { continue };
            if name != "syscalls" {
                assert_eq!(profiles::by_name(arch).number_of(name), Some(number), "{arch} {name}");
            }
        }
    }
}

#[test]
fn recorded_profiles_name_nothing_unknown() {
    for (name, profile) in profiles::recorded() {
        let parsed = serde_json::from_value(profile).unwrap();
        let policy = crate::plan::policy(&parsed, "linux.seccomp", Arch::X86_64).unwrap();
        assert_eq!(crate::seccomp::compile(&policy).unwrap().warnings, Vec::<String>::new(), "{name}");
    }
}
