//! Filters made by libseccomp from the same profiles, fed to it as runc does.

use crate::seccomp::Arch;
use crate::seccomp::bpf::Instruction;
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
    export(&filter)
}

fn export(filter: &ScmpFilterContext) -> Result<Vec<Instruction>, Box<dyn std::error::Error>> {
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
    let instruction = |b: &[u8]| Instruction {
        code: u16::from_ne_bytes([b[0], b[1]]),
        jt: b[2],
        jf: b[3],
        k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
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
