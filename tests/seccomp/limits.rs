//! Filters near and beyond what the machine can do.

use crate::exact::{Call, verdict};
use crate::machine::{Data, run};
use crate::oracle::Oracle;
use crate::profiles;
use crate::seccomp::Arch;
use crate::seccomp::bpf::{Instruction, JUMP};
use serde_json::{Value, json};

/// A rule for `getpid` that is met by one value of argument 0.
fn rule(value: u64, action: &str) -> Value {
    let arg = json!({"index": 0, "value": value, "op": "SCMP_CMP_EQ"});
    json!({"names": ["getpid", "gettid"], "action": action, "args": [arg]})
}

fn profile(rules: Vec<Value>) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": rules
    })
}

/// The action of every value, and of one that no rule names.
fn check(profile: &Value, program: &[Instruction], values: impl Iterator<Item = u64>) {
    let oracle = Oracle::new(profile, &profiles::archs(profile, Arch::X86_64));
    for value in values {
        for (arch, number) in [(Arch::X86_64, 39), (Arch::X86_64, 186), (Arch::X86, 20), (Arch::X86, 24)] {
            let args = [value, 0, 0, 0, 0, 0];
            let expected = oracle.judge(arch.audit(), number, &args);
            assert_eq!(
                verdict(program, &Call { arch, number, args }),
                expected,
                "{} {value:#x}",
                arch.name()
            );
        }
    }
}

#[test]
fn jumps_beyond_255_instructions() {
    // Each action differs from its neighbour's, so that nothing can be left out, and the failing comparison of
    // the high half must jump over all of the others.
    for count in [100, 126, 127, 128, 129, 250, 254, 255, 256, 257, 300, 600] {
        let actions = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"];
        let profile = profile((0..count).map(|i| rule(3 * i, actions[i as usize % 3])).collect());
        let program = crate::compile(&profile, Arch::X86_64).unwrap();
        check(
            &profile,
            &program,
            (0..3 * count).step_by(11).chain([3 * count - 3, 3 * count, 1 << 32, u64::MAX]),
        );
    }
}

#[test]
fn far_conditions() {
    // Calls with conditions all over the numbers, each with conditions of its own.
    let names: Vec<&str> = (0..400).filter_map(|number| Arch::X86_64.name_of(number)).collect();
    for step in [1, 2, 3, 7] {
        let rule = |(i, name): (usize, &&str)| {
            let arg = |index: usize, op: &str| json!({"index": index, "value": i, "op": op});
            json!({"names": [name], "action": "SCMP_ACT_ALLOW",
                "args": [arg(i % 6, "SCMP_CMP_GE"), arg((i + 1) % 6, "SCMP_CMP_NE")]})
        };
        let profile = profile(names.iter().step_by(step).enumerate().map(rule).collect());
        let Ok(program) = crate::compile(&profile, Arch::X86_64) else {
            assert!(step == 1, "{step}");
            continue;
        };
        assert!(program.len() < 512 || program.iter().any(|instruction| instruction.code == JUMP));
        let oracle = Oracle::new(&profile, &profiles::archs(&profile, Arch::X86_64));
        for arch in [Arch::X86_64, Arch::X86] {
            for number in 0..480 {
                for value in [0, u64::from(number) / step as u64, 1000, 1 << 40] {
                    let args = [value; 6];
                    let expected = oracle.judge(arch.audit(), number, &args);
                    assert_eq!(verdict(&program, &Call { arch, number, args }), expected, "{number} {value}");
                }
            }
        }
    }
}

#[test]
fn the_longest_filter() {
    let program = |count: u64| {
        // Values without a common high half take more comparisons each.
        let rules = (0..count).map(|i| rule(i << 32 | i, "SCMP_ACT_ALLOW")).collect();
        crate::compile(&profile(rules), Arch::X86_64)
    };
    let (mut longest, mut too_long) = (1, 4096);
    while too_long - longest > 1 {
        let middle = (longest + too_long) / 2;
        *if program(middle).is_ok() { &mut longest } else { &mut too_long } = middle;
    }
    // Each rule takes five instructions: two words to load and compare on one architecture, one on the other.
    assert!(longest > 4096 / 6, "{longest}");
    assert!(program(longest).unwrap().len() > 4080);
    let error = program(too_long).unwrap_err().to_string();
    assert_eq!(
        error,
        "linux.seccomp.syscalls: the filter needs more than the kernel's 4096 instructions \
         (fewer rules with conditions, or fewer architectures, make it shorter)"
    );
}

/// libseccomp needs 1144 instructions as a list and 1426 as a tree, and runs 15.6 of the tree's on average.
#[test]
fn podmans_profile_is_short() {
    let (_, mut profile) = profiles::recorded().remove(0);
    let program = crate::compile(&profile, Arch::X86_64).unwrap();
    assert!(program.len() <= 271, "{}", program.len());
    let steps = |arch: Arch, number| run(&program, &Data::new(arch.audit(), number, [0; 6], true)).1;
    let numbers = |arch| profiles::numbers_from(arch)..profiles::numbers_from(arch) + 480;
    let archs = [Arch::X86_64, Arch::X86, Arch::X32];
    let sum: usize = archs.iter().flat_map(|arch| numbers(*arch).map(|number| steps(*arch, number))).sum();
    assert!(sum <= 12 * 3 * 480, "{sum}");

    profile.as_object_mut().unwrap().remove("architectures");
    let program = crate::compile(&profile, Arch::X86_64).unwrap();
    assert!(program.len() <= 77, "{}", program.len());
}
