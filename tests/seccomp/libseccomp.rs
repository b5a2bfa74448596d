//! Filters made by libseccomp from the same profiles, fed to it as runc does.

use crate::seccomp::bpf::{Instruction, RETURN};
use crate::seccomp::{Action, Arch};
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use serde_json::Value;

/// Compiles a profile; `optimize` is libseccomp's level, 1 for a list and 2 for a tree.
pub fn compile(profile: &Value, native: Arch, optimize: u32) -> Result<Vec<Instruction>, String> {
    build(profile, native, optimize).map_err(|e| e.to_string())
}

fn build(
    profile: &Value,
    native: Arch,
    optimize: u32,
) -> Result<Vec<Instruction>, Box<dyn std::error::Error>> {
    let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
    let mut filter = ScmpFilterContext::new(default)?;
    // A filter has one byte order, so the host's architecture must be gone before another is added.
    let is_little_endian = native.audit() & 0x4000_0000 != 0;
    let native = scmp_arch(native.name());
    if native != ScmpArch::native() {
        filter.remove_arch(ScmpArch::native())?;
        filter.add_arch(native)?;
    }
    for arch in list(&profile["architectures"]) {
        let arch = scmp_arch(arch.as_str().unwrap());
        if !filter.is_arch_present(arch)? {
            filter.add_arch(arch)?;
        }
    }
    filter.set_ctl_optimize(optimize)?;
    for rule in list(&profile["syscalls"]) {
        let action = action(&rule["action"], &rule["errnoRet"]);
        if action == default {
            continue;
        }
        for name in list(&rule["names"]) {
            let Ok(syscall) = ScmpSyscall::from_name(name.as_str().unwrap()) else { continue };
            let conditions: Vec<_> = list(&rule["args"]).iter().map(condition).collect();
            let indices = list(&rule["args"]).iter().map(|arg| arg["index"].as_u64());
            let repeated = indices.clone().any(|index| indices.clone().filter(|i| *i == index).count() > 1);
            if repeated {
                for condition in conditions {
                    filter.add_rule_conditional(action, syscall, &[condition])?;
                }
            } else {
                filter.add_rule_conditional(action, syscall, &conditions)?;
            }
        }
    }
    export(&filter, is_little_endian)
}

/// The program, which libseccomp writes in the byte order that it is for.
fn export(
    filter: &ScmpFilterContext,
    is_little_endian: bool,
) -> Result<Vec<Instruction>, Box<dyn std::error::Error>> {
    use std::io::{Read, Seek};
    let path = std::env::temp_dir().join(format!(
        "seccomp-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let mut file = std::fs::File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
    std::fs::remove_file(&path)?;
    filter.export_bpf(&file)?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let number = |b: &[u8]| {
        let digit = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        if is_little_endian { b.iter().rev().fold(0, digit) } else { b.iter().fold(0, digit) }
    };
    let instruction = |b: &[u8]| {
        let code = number(&b[..2]) as u16;
        // It leaves some return values in the byte order of the host.
        let is_swapped = code == RETURN && Action::of_ret(number(&b[4..8])).is_none();
        let k = if is_swapped { number(&b[4..8]).swap_bytes() } else { number(&b[4..8]) };
        Instruction { code, jt: b[2], jf: b[3], k }
    };
    Ok(bytes.chunks(8).map(instruction).collect())
}

/// The elements of a list that may be absent.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn action(name: &Value, errno: &Value) -> ScmpAction {
    let errno = errno.as_u64().unwrap_or(1);
    match name.as_str().unwrap() {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => ScmpAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => ScmpAction::KillProcess,
        "SCMP_ACT_TRAP" => ScmpAction::Trap,
        "SCMP_ACT_ERRNO" => ScmpAction::Errno(errno as i32),
        "SCMP_ACT_TRACE" => ScmpAction::Trace(errno as u16),
        "SCMP_ACT_LOG" => ScmpAction::Log,
        "SCMP_ACT_NOTIFY" => ScmpAction::Notify,
        "SCMP_ACT_ALLOW" => ScmpAction::Allow,
        other => panic!("action {other}"),
    }
}

/// libseccomp's architecture of a name of the specification.
pub fn scmp_arch(name: &str) -> ScmpArch {
    name.parse().unwrap_or_else(|_| panic!("libseccomp has no {name}"))
}

fn condition(arg: &Value) -> ScmpArgCompare {
    let value = arg["value"].as_u64().unwrap();
    let (op, datum) = match arg["op"].as_str().unwrap() {
        "SCMP_CMP_NE" => (ScmpCompareOp::NotEqual, value),
        "SCMP_CMP_LT" => (ScmpCompareOp::Less, value),
        "SCMP_CMP_LE" => (ScmpCompareOp::LessOrEqual, value),
        "SCMP_CMP_EQ" => (ScmpCompareOp::Equal, value),
        "SCMP_CMP_GE" => (ScmpCompareOp::GreaterEqual, value),
        "SCMP_CMP_GT" => (ScmpCompareOp::Greater, value),
        "SCMP_CMP_MASKED_EQ" => (ScmpCompareOp::MaskedEqual(value), arg["valueTwo"].as_u64().unwrap_or(0)),
        other => panic!("operator {other}"),
    };
    ScmpArgCompare::new(arg["index"].as_u64().unwrap() as u32, op, datum)
}
