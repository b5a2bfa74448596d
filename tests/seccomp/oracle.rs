//! What a profile means, as plainly as it can be said: no sorting, no sharing, no halves of words. It has only
//! the table of numbers in common with the compiler.

use crate::seccomp::Arch;
use serde_json::Value;
use std::collections::HashMap;

const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 0x0005_0000 + 38;

/// The calls inside socketcall(2) and ipc(2).
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// `args[index] op value`
struct Condition {
    index: usize,
    op: String,
    value: u64,
    value_two: u64,
}

struct Rule {
    action: u32,
    conditions: Vec<Condition>,
}

/// A rule that names a number, and the call inside the multiplexer of that number, if it is one.
type Claim = (usize, Option<u64>);

pub struct Oracle {
    default: u32,
    rules: Vec<Rule>,
    archs: Vec<Arch>,
    claims: HashMap<(&'static str, u32), Vec<Claim>>,
    newest: HashMap<&'static str, u32>,
}

impl Oracle {
    pub fn new(profile: &Value, archs: &[Arch]) -> Oracle {
        let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
        let mut oracle = Oracle {
            default,
            rules: Vec::new(),
            archs: archs.to_vec(),
            claims: HashMap::new(),
            newest: HashMap::new(),
        };
        for (i, rule) in list(&profile["syscalls"]).iter().enumerate() {
            for name in list(&rule["names"]) {
                for arch in archs {
                    oracle.claim(*arch, name.as_str().unwrap(), i);
                }
            }
            let condition = |arg: &Value| Condition {
                index: arg["index"].as_u64().unwrap() as usize,
                op: arg["op"].as_str().unwrap().to_owned(),
                value: arg["value"].as_u64().unwrap(),
                value_two: arg["valueTwo"].as_u64().unwrap_or(0),
            };
            oracle.rules.push(Rule {
                action: action(&rule["action"], &rule["errnoRet"]),
                conditions: list(&rule["args"]).iter().map(condition).collect(),
            });
        }
        oracle
    }

    fn claim(&mut self, arch: Arch, name: &str, rule: usize) {
        if let Some(number) = arch.number_of(name) {
            self.claims.entry((arch.name(), number)).or_default().push((rule, None));
            let is_private = arch.name() == "SCMP_ARCH_ARM" && number >= 0x0f_0000;
            if !is_private {
                let newest = self.newest.entry(arch.name()).or_insert(number);
                *newest = number.max(*newest);
            }
        }
        let socketcall =
            SOCKETCALL.iter().position(|inner| *inner == name).map(|i| ("socketcall", i as u64 + 1));
        let ipc = IPC.iter().find(|(inner, _)| *inner == name).map(|(_, call)| ("ipc", *call));
        if let Some((multiplexer, call)) = socketcall.or(ipc)
            && let Some(number) = arch.number_of(multiplexer)
        {
            self.claims.entry((arch.name(), number)).or_default().push((rule, Some(call)));
        }
    }

    /// The filter's return value for a call.
    pub fn judge(&self, audit: u32, number: u32, args: &[u64; 6]) -> u32 {
        if !self.archs.iter().any(|arch| arch.audit() == audit) {
            return KILL_THREAD;
        }
        if number == u32::MAX {
            return self.default;
        }
        let is_x32 = audit == 0xc000_003e && number & 0xc000_0000 != 0;
        let of_call = |arch: &&Arch| arch.audit() == audit && (arch.name() == "SCMP_ARCH_X32") == is_x32;
        let Some(arch) = self.archs.iter().find(of_call) else { return KILL_THREAD };
        let claims = self.claims.get(&(arch.name(), number)).map_or(&[][..], Vec::as_slice);
        if claims.is_empty() {
            return self.unclaimed(*arch, number);
        }
        let effective = || claims.iter().filter(|(rule, _)| self.rules[*rule].action != self.default);
        for (rule, inner) in effective() {
            if inner.is_none() && unconditional(&self.rules[*rule].conditions, narrow(*arch)) {
                return self.rules[*rule].action;
            }
        }
        let met = |(rule, inner): &&Claim| met(&self.rules[*rule].conditions, *inner, args, narrow(*arch));
        effective().find(met).map_or(self.default, |(rule, _)| self.rules[*rule].action)
    }

    /// The different actions of the rules that a call meets; where there are several, their order decides.
    pub fn met_actions(&self, arch: Arch, number: u32, args: &[u64; 6]) -> Vec<u32> {
        let claims = self.claims.get(&(arch.name(), number)).map_or(&[][..], Vec::as_slice);
        let met = |(rule, inner): &&Claim| met(&self.rules[*rule].conditions, *inner, args, narrow(arch));
        let mut actions: Vec<u32> =
            claims.iter().filter(met).map(|(rule, _)| self.rules[*rule].action).collect();
        actions.retain(|action| *action != self.default);
        actions.sort_unstable();
        actions.dedup();
        actions
    }

    fn unclaimed(&self, arch: Arch, number: u32) -> u32 {
        let unknown_calls_pass =
            matches!(self.default & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000);
        let newest = self.newest.get(arch.name()).filter(|_| !unknown_calls_pass);
        let Some(newest) = newest else { return self.default };
        let is_s390 = arch.name().starts_with("SCMP_ARCH_S390");
        if number > *newest || is_s390 && number == 0 { ENOSYS } else { self.default }
    }
}

/// Whether a rule has no conditions, or none that compares anything.
fn unconditional(conditions: &[Condition], narrow: bool) -> bool {
    let empty = |c: &Condition| {
        c.op == "SCMP_CMP_MASKED_EQ" && c.value & if narrow { 0xffff_ffff } else { u64::MAX } == 0
    };
    if repeated(conditions) { conditions.iter().any(empty) } else { conditions.iter().all(empty) }
}

/// Whether two conditions are on one argument, so that each stands for a rule of its own.
fn repeated(conditions: &[Condition]) -> bool {
    (0..6).any(|index| conditions.iter().filter(|c| c.index == index).count() > 1)
}

/// Whether arguments meet a rule's conditions.
fn met(conditions: &[Condition], inner: Option<u64>, args: &[u64; 6], narrow: bool) -> bool {
    let meets = |c: &&Condition| {
        let bits = |value: u64| if narrow { value & 0xffff_ffff } else { value };
        let (arg, value, value_two) = (bits(args[c.index]), bits(c.value), bits(c.value_two));
        match c.op.as_str() {
            "SCMP_CMP_NE" => arg != value,
            "SCMP_CMP_LT" => arg < value,
            "SCMP_CMP_LE" => arg <= value,
            "SCMP_CMP_EQ" => arg == value,
            "SCMP_CMP_GE" => arg >= value,
            "SCMP_CMP_GT" => arg > value,
            "SCMP_CMP_MASKED_EQ" => arg & value == value_two & value,
            other => panic!("operator {other}"),
        }
    };
    // Inside a multiplexer, argument 0 is the call; the call's own is out of sight.
    let is_call = inner.is_none_or(|call| args[0] & if narrow { 0xffff_ffff } else { u64::MAX } == call);
    let meets = |c: &Condition| if inner.is_some() && c.index == 0 { true } else { meets(&c) };
    is_call && if repeated(conditions) { conditions.iter().any(meets) } else { conditions.iter().all(meets) }
}

/// Architectures whose arguments have 32 bits; x32 counts among them.
fn narrow(arch: Arch) -> bool {
    matches!(
        arch.name().trim_start_matches("SCMP_ARCH_"),
        "X86" | "X32" | "ARM" | "PPC" | "S390" | "MIPS" | "MIPSEL" | "MIPS64N32" | "MIPSEL64N32"
    )
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn action(name: &Value, errno: &Value) -> u32 {
    let data = errno.as_u64().unwrap_or(1) as u32;
    match name.as_str().unwrap().trim_start_matches("SCMP_ACT_") {
        "KILL" | "KILL_THREAD" => KILL_THREAD,
        "KILL_PROCESS" => 0x8000_0000,
        "TRAP" => 0x0003_0000,
        "ERRNO" => 0x0005_0000 | data,
        "NOTIFY" => 0x7fc0_0000,
        "TRACE" => 0x7ff0_0000 | data,
        "LOG" => 0x7ffc_0000,
        "ALLOW" => 0x7fff_0000,
        other => panic!("action {other}"),
    }
}
