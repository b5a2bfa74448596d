//! Programs against those that other compilers make of the same profile.

use crate::child;
use crate::exact::{Call, numbers, verdict};
use crate::libseccomp;
use crate::oracle::Oracle;
use crate::profiles::{self, Choice, Random};
use crate::seccomp::Arch;
use crate::seccomp::bpf::{Instruction, JUMP_AT_LEAST, JUMP_EQUAL};
use ::libseccomp::ScmpSyscall;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Why a verdict may differ from libseccomp's. In each case the evaluator must agree with this compiler.
#[derive(Debug, Default)]
struct Differences {
    equal: usize,
    /// The call is newer than all that the profile names: ENOSYS here, as runc adds it to libseccomp's filter.
    newer: usize,
    /// Conditions of several rules with different actions are met: the order of the profile decides here, that
    /// of arguments and values in libseccomp's tree there.
    overlapping: usize,
    /// libseccomp 2.5 merges rules with the same constant under different operators, or two bounds, wrongly.
    other_operators: usize,
    /// Programs of libseccomp 2.5 that compare the architecture as if it were the number, for a load is missing.
    unloaded: usize,
    /// Profiles that libseccomp refuses: rules with the same conditions and different actions.
    refused: usize,
    /// Profiles that libseccomp had not compiled after ten seconds.
    late: usize,
}

const ENOSYS: u32 = 0x0005_0000 + 38;

/// libseccomp's filter, made in a child that cannot hold up or end the tests.
fn by_libseccomp(profile: &Value, native: Arch) -> Option<Result<Vec<Instruction>, String>> {
    let task = json!({"profile": profile, "native": native.name()});
    let (status, answer) = child::run("peers::libseccomp_in_a_child", &task)?;
    assert!(status.success(), "{status}: {profile}");
    let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    if let Some(error) = answer.as_str() {
        return Some(Err(error.to_owned()));
    }
    let field = |i: &Value, n: usize| i[n].as_u64().unwrap() as u32;
    let instruction = |i: &Value| Instruction {
        code: field(i, 0) as u16,
        jt: field(i, 1) as u8,
        jf: field(i, 2) as u8,
        k: field(i, 3),
    };
    Some(Ok(answer.as_array().unwrap().iter().map(instruction).collect()))
}

#[test]
fn libseccomp_in_a_child() {
    let Some(task) = child::profile() else { return };
    let native = profiles::by_name(task["native"].as_str().unwrap());
    let answer = match libseccomp::compile(&task["profile"], native, 1) {
        Ok(program) => json!(program.iter().map(|i| json!([i.code, i.jt, i.jf, i.k])).collect::<Vec<_>>()),
        Err(error) => json!(error),
    };
    std::fs::write(child::answer_path(), answer.to_string()).unwrap();
}

/// Whether the number is loaded after an architecture is recognised.
fn loads_numbers(program: &[Instruction]) -> bool {
    program.iter().enumerate().all(|(at, instruction)| {
        let is_arch =
            Arch::ALL.iter().any(|arch| arch.audit() == instruction.k && arch.name() != "SCMP_ARCH_MIPS");
        let target = program.get(at + 1 + usize::from(instruction.jt));
        let compares = target.is_some_and(|target| matches!(target.code, JUMP_EQUAL | JUMP_AT_LEAST | 0x25));
        instruction.code != JUMP_EQUAL || !is_arch || !compares
    })
}

/// Compares the verdicts of both, call by call.
fn compare(
    profile: &Value,
    native: Arch,
    random: &mut Random,
    only_equalities: bool,
    found: &mut Differences,
) {
    let ours = crate::compile(profile, native).unwrap();
    let theirs = match by_libseccomp(profile, native) {
        None => return found.late += 1,
        Some(Err(error)) => {
            assert!(error.contains("existence"), "{error}: {profile}");
            return found.refused += 1;
        }
        Some(Ok(theirs)) if !loads_numbers(&theirs) => return found.unloaded += 1,
        Some(Ok(theirs)) => theirs,
    };
    let archs = profiles::archs(profile, native);
    let oracle = Oracle::new(profile, &archs);
    let arguments = profiles::arguments(profile);
    for arch in archs {
        let scmp_arch = libseccomp::scmp_arch(arch.name());
        for number in numbers(arch) {
            let unknown_there = |name| {
                ScmpSyscall::from_name_by_arch(name, scmp_arch).map_or(-1, ScmpSyscall::as_raw_syscall) < 0
            };
            if arch.name_of(number).is_some_and(unknown_there) {
                continue;
            }
            for _ in 0..4 {
                let args = [0; 6].map(|_| random.of(&arguments));
                let call = Call { arch, number, args };
                let (here, there) = (verdict(&ours, &call), verdict(&theirs, &call));
                assert_eq!(here, oracle.judge(arch.audit(), number, &args), "{profile}");
                if here == there {
                    found.equal += 1;
                } else if here == ENOSYS && oracle.met_actions(arch, number, &args).is_empty() {
                    found.newer += 1;
                } else if oracle.met_actions(arch, number, &args).len() > 1 {
                    found.overlapping += 1;
                } else {
                    assert!(
                        !only_equalities,
                        "{} {number} {args:x?}: {here:#x}, libseccomp {there:#x}: {profile}",
                        arch.name()
                    );
                    found.other_operators += 1;
                }
            }
        }
    }
}

/// Architectures that can be in one filter of libseccomp, for they have the same byte order.
fn of_one_byte_order(little_endian: bool) -> Vec<Arch> {
    let knows = |arch: &Arch| {
        let read = ScmpSyscall::from_name_by_arch("read", libseccomp::scmp_arch(arch.name()));
        read.is_ok_and(|read| read.as_raw_syscall() >= 0)
    };
    let same = |arch: &Arch| (arch.audit() & 0x4000_0000 != 0) == little_endian;
    Arch::ALL.into_iter().filter(same).filter(knows).collect()
}

/// Leaves out names that this libseccomp does not know, and those that it cannot carry over from the host's
/// architecture to another, because the host has no number of its own for them.
fn keep_names_of_libseccomp(profile: &mut Value) {
    let is_known = |name: &Value| {
        let name = name.as_str().unwrap();
        ScmpSyscall::from_name(name).is_ok_and(|call| call.get_name().is_ok_and(|back| back == name))
    };
    for rule in profile["syscalls"].as_array_mut().unwrap() {
        rule["names"].as_array_mut().unwrap().retain(is_known);
    }
}

fn generated(operators: &[&'static str], profiles: std::ops::Range<u64>) -> Differences {
    let mut found = Differences::default();
    let only_equalities = operators.len() == 2;
    for seed in profiles {
        let mut random = Random(seed);
        let archs = of_one_byte_order(seed % 2 == 0);
        let choice = Choice { operators: operators.to_vec(), archs, ..Choice::all() };
        let (mut profile, native) = profiles::generate(&mut random, &choice);
        keep_names_of_libseccomp(&mut profile);
        compare(&profile, native, &mut random, only_equalities, &mut found);
    }
    println!("{found:?}");
    found
}

#[test]
fn libseccomp_agrees_on_equalities() {
    let found = generated(&["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"], 1_000_000..1_000_060);
    assert!(found.equal > 50_000 && found.late == 0, "{found:?}");
}

#[test]
fn libseccomp_mostly_agrees_on_inequalities() {
    let found = generated(&Choice::all().operators, 2_000_000..2_000_060);
    assert!(found.other_operators < found.equal / 1000, "{found:?}");
}

#[test]
fn libseccomp_agrees_on_recorded_profiles() {
    let mut found = Differences::default();
    for (_, mut profile) in profiles::recorded() {
        keep_names_of_libseccomp(&mut profile);
        for native in of_one_byte_order(true) {
            compare(&profile, native, &mut Random(3), false, &mut found);
        }
        profile["architectures"] = json!([]);
        for native in of_one_byte_order(false) {
            compare(&profile, native, &mut Random(4), false, &mut found);
        }
    }
    assert_eq!((found.other_operators, found.refused, found.late), (0, 0, 0), "{found:?}");
}

/// The filter of seccompiler, which has one architecture and one action beside the default. `None` if it is too
/// long for the kernel, as it is sooner than with shared parts.
fn by_seccompiler(profile: &Value, native: Arch, target: TargetArch) -> Option<Vec<Instruction>> {
    let action = |name: &Value| match name.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(1),
        other => panic!("action {other}"),
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut unconditional = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        let args = rule["args"].as_array().map_or(&[][..], Vec::as_slice);
        let conditions: Vec<SeccompCondition> = args.iter().map(condition).collect();
        for name in rule["names"].as_array().unwrap() {
            let Some(number) = native.number_of(name.as_str().unwrap()) else { continue };
            let listed = rules.entry(number.into()).or_default();
            match conditions.as_slice() {
                [] => unconditional.push(i64::from(number)),
                _ => listed.push(SeccompRule::new(conditions.clone()).unwrap()),
            }
        }
    }
    for number in unconditional {
        rules.insert(number, Vec::new());
    }
    let matched = action(&profile["syscalls"][0]["action"]);
    let filter = SeccompFilter::new(rules, action(&profile["defaultAction"]), matched, target).unwrap();
    let program: seccompiler::BpfProgram = match filter.try_into() {
        Err(seccompiler::BackendError::FilterTooLarge(_)) => return None,
        program => program.unwrap(),
    };
    let program = program.iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k });
    Some(program.collect())
}

fn condition(arg: &Value) -> SeccompCondition {
    let value = arg["value"].as_u64().unwrap();
    let (op, value) = match arg["op"].as_str().unwrap() {
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, value),
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, value),
        _ => (SeccompCmpOp::MaskedEq(value), arg["valueTwo"].as_u64().unwrap_or(0)),
    };
    SeccompCondition::new(arg["index"].as_u64().unwrap() as u8, SeccompCmpArgLen::Qword, op, value).unwrap()
}

#[test]
fn seccompiler_agrees() {
    let targets = [
        ("SCMP_ARCH_X86_64", TargetArch::x86_64),
        ("SCMP_ARCH_AARCH64", TargetArch::aarch64),
        ("SCMP_ARCH_RISCV64", TargetArch::riscv64),
    ];
    let mut compared = 0;
    for seed in 0..100 {
        let mut random = Random(seed);
        let (arch, target) = random.of(&targets);
        let native = profiles::by_name(arch);
        let choice =
            Choice { actions: vec!["SCMP_ACT_ALLOW"], archs: vec![native], repeated: false, ..Choice::all() };
        let (mut profile, _) = profiles::generate(&mut random, &choice);
        if profile["syscalls"].as_array().unwrap().is_empty() {
            continue;
        }
        let action = random.of(&["SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_KILL_PROCESS"]);
        // Unknown calls pass under these defaults, so that the difference of newer calls does not arise.
        profile["defaultAction"] = json!(random.of(&["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"]));
        for rule in profile["syscalls"].as_array_mut().unwrap() {
            rule["action"] = json!(action);
        }
        let ours = crate::compile(&profile, native).unwrap();
        let Some(theirs) = by_seccompiler(&profile, native, target) else { continue };
        let arguments = profiles::arguments(&profile);
        for number in 0..500 {
            for _ in 0..8 {
                let call = Call { arch: native, number, args: [0; 6].map(|_| random.of(&arguments)) };
                assert_eq!(
                    verdict(&ours, &call),
                    verdict(&theirs, &call),
                    "{number} {:x?}: {profile}",
                    call.args
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 100_000, "{compared}");
}
