//! Answers "why EPERM?": what a profile does with a call, and which part of it says so.

use super::arch::{Arch, X32_BIT};
use super::bpf;
use super::compile::{self, NEWER, NO_CALL, OTHER_ARCH};
use super::policy::{Action, Condition, Operator, Policy};
use super::resolve::{Claims, Names};
use super::table::{KERNEL, Syscall};
use crate::error::{Error, Result};
use std::fmt::Write as _;

/// Tells what happens to a system call, by name on each architecture of the profile or by number on the native
/// one. Without a call: the disassembled program. Arguments are the first so many of the call's, decimal,
/// negative or `0x`; those not given may be anything.
pub fn explain(policy: &Policy, syscall: Option<&str>, args: &[String]) -> Result<String> {
    let Some(syscall) = syscall else {
        return Ok(bpf::disassemble(&compile::compile(policy)?.instructions));
    };
    if args.len() > 6 {
        return Err(Error::new(format!("{} arguments: a system call has at most 6", args.len())));
    }
    let args = args.iter().map(|arg| number(arg)).collect::<Result<Vec<u64>>>()?;
    let explainer = Explainer { policy, names: Names::of(policy) };
    let mut out = String::new();
    for call in calls(policy, syscall)? {
        let inner: Vec<u64>;
        let args = match call.inner {
            Some(value) => {
                inner = vec![value];
                inner.as_slice()
            }
            None => args.as_slice(),
        };
        let _ = writeln!(out, "{} {}", call.arch.name(), call.title);
        for (outcome, conditions) in explainer.outcomes(call.arch, call.number, args) {
            let action = match outcome.action {
                Action::Errno(errno) => {
                    format!("SCMP_ACT_ERRNO({errno} {})", crate::sys::Errno(errno.into()).name())
                }
                action => action.to_string(),
            };
            let _ = writeln!(out, "  {action}{}: {}", condition_text(&conditions), outcome.reason);
        }
    }
    Ok(out)
}

/// A call to explain.
struct Call {
    arch: Arch,
    number: u32,
    title: String,
    /// Argument 0, for a call made through a multiplexer.
    inner: Option<u64>,
}

/// What the user's word for a call means on each architecture.
fn calls(policy: &Policy, word: &str) -> Result<Vec<Call>> {
    let native = policy.archs[0];
    if let Ok(value) = number(word) {
        let number = u32::try_from(value).or_else(|_| {
            // -1 and the like
            i64::from_ne_bytes(value.to_ne_bytes())
                .try_into()
                .map(|n: i32| u32::from_ne_bytes(n.to_ne_bytes()))
        });
        let number = number.map_err(|_| Error::new(format!("{word}: not a system call number")))?;
        let is_x32 = native.audit() == Arch::X32.audit() && number & X32_BIT != 0 && number != NO_CALL;
        let arch = if is_x32 { Arch::X32 } else { native };
        let name = arch.name_of(number).unwrap_or_default();
        let title = format!("{number}{}{name}", if name.is_empty() { "" } else { " " });
        return Ok(vec![Call { arch, number, title, inner: None }]);
    }
    let syscall = Syscall::find(word).ok_or_else(|| {
        Error::new(format!("unknown system call {word:?}"))
            .hint(format!("the newest known are those of Linux {KERNEL}"))
    })?;
    let mut calls = Vec::new();
    for arch in &policy.archs {
        if let Some(number) = arch.numbers().of(syscall) {
            calls.push(Call { arch: *arch, number, title: format!("{number} {word}"), inner: None });
        }
        let Some(inner) = syscall.multiplexed() else { continue };
        let Some(through) = inner.through() else { continue };
        if let Some(number) = arch.numbers().of(through) {
            let title = format!("{number} {} with args[0] == {}: {word}", through.name(), inner.call());
            calls.push(Call { arch: *arch, number, title, inner: Some(inner.call().into()) });
        }
    }
    if calls.is_empty() {
        return Err(Error::new(format!("no architecture of the profile has the system call {word}")));
    }
    Ok(calls)
}

fn number(text: &str) -> Result<u64> {
    let parsed = if let Some(hex) = text.strip_prefix("0x") {
        u64::from_str_radix(hex, 16)
    } else if text.starts_with('-') {
        text.parse().map(|n: i64| u64::from_ne_bytes(n.to_ne_bytes()))
    } else {
        text.parse()
    };
    parsed.map_err(|_| Error::new(format!("{text:?} is not a number of at most 64 bits")))
}

/// What may become of a call.
#[derive(Debug, PartialEq)]
struct Outcome {
    action: Action,
    reason: String,
}

struct Explainer<'a> {
    policy: &'a Policy<'a>,
    names: Names,
}

impl Explainer<'_> {
    /// The possible outcomes in the order in which they are tried, each with what is still to be met.
    fn outcomes(&self, arch: Arch, number: u32, args: &[u64]) -> Vec<(Outcome, Vec<Condition>)> {
        let policy = self.policy;
        if !policy.archs.contains(&arch) {
            let reason = format!("the profile has no {}", arch.name());
            return vec![(Outcome { action: OTHER_ARCH, reason }, Vec::new())];
        }
        let claims = Claims::of(&self.names, arch);
        let mut outcomes = Vec::new();
        for case in claims.on(number).cases(policy) {
            let outcome = |condition: &Condition| {
                args.get(usize::from(condition.index)).map(|arg| holds(condition, *arg, arch))
            };
            if case.conditions.iter().any(|condition| outcome(condition) == Some(false)) {
                continue;
            }
            let open: Vec<Condition> =
                case.conditions.iter().copied().filter(|condition| outcome(condition).is_none()).collect();
            let decided = open.is_empty();
            let reason = policy.path(format_args!("syscalls[{}]", case.rule));
            outcomes.push((Outcome { action: case.action, reason }, open));
            if decided {
                return outcomes;
            }
        }
        outcomes.push((self.without_rule(arch, number, &claims), Vec::new()));
        outcomes
    }

    /// What becomes of a call that meets no rule.
    fn without_rule(&self, arch: Arch, number: u32, claims: &Claims) -> Outcome {
        let unclaimed = claims.numbers().all(|(claimed, _)| claimed != number) && number != NO_CALL;
        if let (true, Some(newest)) = (unclaimed, compile::newest(self.policy, claims, arch)) {
            let name = arch.name_of(newest).unwrap_or_default();
            if number > newest {
                let reason =
                    format!("newer than every call that the profile names (the newest is {newest} {name})");
                return Outcome { action: NEWER, reason };
            }
            if arch.stands_for_unknown() == Some(number) {
                return Outcome {
                    action: NEWER,
                    reason: "stands for calls that the kernel does not have".into(),
                };
            }
        }
        let reason = format!("{}, for no rule says otherwise", self.policy.path("defaultAction"));
        Outcome { action: self.policy.default, reason }
    }
}

fn condition_text(conditions: &[Condition]) -> String {
    let texts: Vec<String> = conditions.iter().map(ToString::to_string).collect();
    if texts.is_empty() { String::new() } else { format!(" if {}", texts.join(" and ")) }
}

/// Whether an argument meets a condition.
fn holds(condition: &Condition, arg: u64, arch: Arch) -> bool {
    let bits = arch.argument_bits();
    let (arg, value, value_two) = (arg & bits, condition.value & bits, condition.value_two & bits);
    match condition.op {
        Operator::Ne => arg != value,
        Operator::Lt => arg < value,
        Operator::Le => arg <= value,
        Operator::Eq => arg == value,
        Operator::Ge => arg >= value,
        Operator::Gt => arg > value,
        Operator::MaskedEq => arg & value == value_two & value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::Rule;

    fn condition(index: u8, op: Operator, value: u64) -> Condition {
        Condition { index, op, value, value_two: 0 }
    }

    /// Explains under a profile with two rules on socket(2), and one each on read(2), openat2(2) and write(2).
    fn explained(syscall: &str, args: &[&str]) -> String {
        let names = |list: &[&str]| list.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let [socket, read, write] = [&["socket"][..], &["read", "openat2"], &["write"]].map(names);
        let rule = |names, action, conditions| Rule { names, action, conditions };
        let policy = Policy {
            field: "linux.seccomp".into(),
            default: Action::Errno(1),
            archs: vec![Arch::X86_64, Arch::X86],
            rules: vec![
                rule(
                    &socket,
                    Action::Errno(22),
                    vec![condition(0, Operator::Eq, 16), condition(2, Operator::Eq, 9)],
                ),
                rule(&socket, Action::Allow, vec![condition(2, Operator::Ne, 9)]),
                rule(&read, Action::Allow, Vec::new()),
                rule(&write, Action::Errno(1), Vec::new()),
            ],
            flags: Vec::new(),
            listener: None,
        };
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        explain(&policy, Some(syscall), &args).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_rule_says_so() {
        let text = "SCMP_ARCH_X86_64 0 read
  SCMP_ACT_ALLOW: linux.seccomp.syscalls[2]
SCMP_ARCH_X86 3 read
  SCMP_ACT_ALLOW: linux.seccomp.syscalls[2]
";
        assert_eq!(explained("read", &[]), text);
    }

    #[test]
    fn no_rule_says_so() {
        let default = "SCMP_ACT_ERRNO(1 EPERM): linux.seccomp.defaultAction, for no rule says otherwise\n";
        assert_eq!(explained("1", &[]), format!("SCMP_ARCH_X86_64 1 write\n  {default}"));
        assert_eq!(explained("arch_prctl", &[]).matches(default).count(), 2);
        assert_eq!(explained("-1", &[]), format!("SCMP_ARCH_X86_64 4294967295\n  {default}"));
        assert_eq!(
            explained("listns", &[]).lines().nth(1),
            Some(
                "  SCMP_ACT_ERRNO(38 ENOSYS): newer than every call that the profile names \
                 (the newest is 437 openat2)"
            )
        );
        assert_eq!(
            explained("0x40000000", &[]),
            "SCMP_ARCH_X32 1073741824 read\n  SCMP_ACT_KILL_THREAD: the profile has no SCMP_ARCH_X32\n"
        );
    }

    #[test]
    fn it_depends_on_arguments() {
        let native = |text: String| {
            text.lines().take_while(|l| !l.contains("X86 ")).map(|l| format!("{l}\n")).collect()
        };
        let text: String = native(explained("socket", &[]));
        let all = "SCMP_ARCH_X86_64 41 socket
  SCMP_ACT_ERRNO(22 EINVAL) if args[0] == 0x10 and args[2] == 0x9: linux.seccomp.syscalls[0]
  SCMP_ACT_ALLOW if args[2] != 0x9: linux.seccomp.syscalls[1]
  SCMP_ACT_ERRNO(1 EPERM): linux.seccomp.defaultAction, for no rule says otherwise
";
        assert_eq!(text, all);
        let text: String = native(explained("socket", &["16"]));
        assert_eq!(text, all.replace("args[0] == 0x10 and ", ""));
        let text: String = native(explained("socket", &["0x10", "1", "9"]));
        assert_eq!(
            text,
            "SCMP_ARCH_X86_64 41 socket\n  SCMP_ACT_ERRNO(22 EINVAL): linux.seccomp.syscalls[0]\n"
        );
        let text: String = native(explained("socket", &["-1", "1", "8"]));
        assert_eq!(text, "SCMP_ARCH_X86_64 41 socket\n  SCMP_ACT_ALLOW: linux.seccomp.syscalls[1]\n");
    }

    #[test]
    fn a_call_through_a_multiplexer() {
        let text = "SCMP_ARCH_X86 102 socketcall with args[0] == 1: socket
  SCMP_ACT_ERRNO(22 EINVAL) if args[2] == 0x9: linux.seccomp.syscalls[0]
  SCMP_ACT_ALLOW if args[2] != 0x9: linux.seccomp.syscalls[1]
  SCMP_ACT_ERRNO(1 EPERM): linux.seccomp.defaultAction, for no rule says otherwise
";
        assert!(explained("socket", &["16", "1", "9"]).ends_with(text));
    }

    #[test]
    fn bad_questions() {
        assert!(explained("reed", &[]).starts_with("unknown system call \"reed\" (the newest known are"));
        assert_eq!(explained("set_tls", &[]), "no architecture of the profile has the system call set_tls");
        assert_eq!(explained("read", &["x"]), "\"x\" is not a number of at most 64 bits");
        assert_eq!(explained("read", &["0"; 7]), "7 arguments: a system call has at most 6");
        assert_eq!(explained("0x100000000", &[]), "0x100000000: not a system call number");
    }
}
