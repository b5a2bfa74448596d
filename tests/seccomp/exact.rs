//! Programs against the evaluator: the same verdict for every call.

use crate::machine::{Data, run};
use crate::oracle::Oracle;
use crate::profiles::{self, Choice, Random};
use crate::seccomp::Arch;
use crate::seccomp::bpf::{Instruction, verify};
use serde_json::Value;

/// One judged call.
pub struct Call {
    pub arch: Arch,
    pub number: u32,
    pub args: [u64; 6],
}

/// What a program makes of a call.
pub fn verdict(program: &[Instruction], call: &Call) -> u32 {
    let little_endian = call.arch.audit() & 0x4000_0000 != 0;
    run(program, &Data::new(call.arch.audit(), call.number, call.args, little_endian)).0
}

/// Numbers worth a try on an architecture: all that have a name and beyond, and the odd ones.
pub fn numbers(arch: Arch) -> impl Iterator<Item = u32> + Clone {
    let first = profiles::numbers_from(arch);
    let odd = [0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0x4000_01c0, 0x7fff_ffff, 0x8000_0000, 0xc000_0000];
    let private = 0x0f_0000..0x0f_0008;
    let edge = [0, 1, 2, first.wrapping_sub(1), u32::MAX - 1, u32::MAX];
    (first..first + 600).chain(odd).chain(private).chain(edge)
}

/// Compares a program with the evaluator; the count of calls judged.
fn compare(profile: &Value, native: Arch, random: &mut Random, tries: usize) -> usize {
    let program = match crate::compile(profile, native) {
        Ok(program) => program,
        Err(error) if error.to_string().contains("4096 instructions") => return 0,
        Err(error) => panic!("{error}\n{profile}"),
    };
    verify(&program).unwrap_or_else(|error| panic!("{error}\n{profile}"));
    let archs = profiles::archs(profile, native);
    let oracle = Oracle::new(profile, &archs);
    let arguments = profiles::arguments(profile);
    let mut count = 0;
    let foreign = random.of(&Arch::ALL);
    for arch in archs.iter().copied().chain([foreign]) {
        for number in numbers(arch) {
            let shallow = verdict(&program, &Call { arch, number, args: [0; 6] });
            // A call that is always treated alike shows it at the first tries, most likely.
            let conditional = (0..2).any(|_| {
                let args = [0; 6].map(|_| random.of(&arguments));
                verdict(&program, &Call { arch, number, args }) != shallow
            });
            for _ in 0..if conditional { tries } else { 3 } {
                let args = [0; 6].map(|_| random.of(&arguments));
                let (got, expected) = (
                    verdict(&program, &Call { arch, number, args }),
                    oracle.judge(arch.audit(), number, &args),
                );
                assert_eq!(
                    got,
                    expected,
                    "{got:#x} for {expected:#x}: {} {number:#x} {args:x?} of {profile}",
                    arch.name()
                );
                count += 1;
            }
        }
    }
    count
}

/// A number that a variable holds, `_` in it allowed.
pub fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.replace('_', "").parse().expect("a number"))
}

#[test]
fn recorded_profiles() {
    let mut random = Random(1);
    for (_, profile) in profiles::recorded() {
        for native in Arch::ALL {
            compare(&profile, native, &mut random, 60);
        }
    }
}

#[test]
fn recorded_profiles_under_other_default_actions() {
    let mut random = Random(2);
    for (_, mut profile) in profiles::recorded() {
        for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRACE", "SCMP_ACT_ERRNO"] {
            profile["defaultAction"] = default.into();
            profile.as_object_mut().unwrap().remove("defaultErrnoRet");
            compare(&profile, Arch::X86_64, &mut random, 20);
        }
    }
}

#[test]
fn generated_profiles() {
    let cases = number_from_env("ORLOP_SECCOMP_CASES", 500_000);
    let mut seed = number_from_env("ORLOP_SECCOMP_SEED", 0);
    let choice = Choice::all();
    let mut count = 0;
    while count < cases {
        let mut random = Random(seed);
        let (profile, native) = profiles::generate(&mut random, &choice);
        count += compare(&profile, native, &mut random, 40) as u64;
        seed += 1;
    }
    println!("{count} calls of {seed} profiles");
}
