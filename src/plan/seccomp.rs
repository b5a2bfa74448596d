//! `linux.seccomp`: every rule of the specification about a profile, and when the filter is installed.

use crate::error::{Error, Result};
use crate::seccomp::bpf::Instruction;
use crate::seccomp::{self, Action, Arch, Condition, Flag, Listener, MAX_ERRNO, Operator, Policy, Rule};
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use std::path::PathBuf;

/// The filter of a container, ready to be installed.
#[derive(Debug, Clone)]
pub struct Seccomp {
    /// The program.
    pub program: Vec<Instruction>,
    /// Flags of `SECCOMP_SET_MODE_FILTER`.
    pub flags: u32,
    /// When init installs it.
    pub install: Before,
    /// Without no_new_privs it takes CAP_SYS_ADMIN to install it.
    pub privileged: bool,
    /// Where the notification file descriptor goes.
    pub listener: Option<ListenerSocket>,
}

/// Who gets the notification file descriptor, and with which words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSocket {
    /// `linux.seccomp.listenerPath`
    pub path: PathBuf,
    /// `linux.seccomp.listenerMetadata`
    pub metadata: Option<String>,
}

/// When init installs the filter: as late as possible, for every call that init makes after it must be
/// allowed by the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// The creator hands the notification file descriptor on while it still waits for init.
    Ready,
    /// Right before execve.
    Exec,
}

impl Seccomp {
    /// Plans the filter of `linux.seccomp`.
    pub fn new(seccomp: &LinuxSeccomp, no_new_privs: bool, warnings: &mut Vec<String>) -> Result<Seccomp> {
        let native = Arch::native()
            .ok_or_else(|| Error::new("the system calls of this machine are not known").field(FIELD))?;
        let policy = policy(seccomp, FIELD, native)?;
        check_startable(&policy)?;
        let program = seccomp::compile(&policy)?;
        warnings.extend(program.warnings);
        Ok(Seccomp {
            program: program.instructions,
            flags: policy.kernel_flags(),
            install: match policy.listener {
                Some(_) => Before::Ready,
                None => Before::Exec,
            },
            privileged: !no_new_privs,
            listener: policy.listener.map(|listener| ListenerSocket {
                path: listener.path.to_owned(),
                metadata: listener.metadata.map(str::to_owned),
            }),
        })
    }
}

const FIELD: &str = "linux.seccomp";

/// Refuses profiles under which no program could be started: init executes it under the filter, and before that it may
/// have to hand the notification descriptor on, for which nobody could answer yet.
fn check_startable(policy: &Policy) -> Result<()> {
    let naming = |call: &'static str| {
        let names = move |rule: &&Rule| rule.names.iter().any(|name| name == call);
        policy.rules.iter().filter(names)
    };
    let blocks =
        |action| matches!(action, Action::KillThread | Action::KillProcess | Action::Trap | Action::Errno(_));
    let needed = if policy.listener.is_some() { &["execve", "sendmsg"][..] } else { &["execve"] };
    for call in needed {
        if blocks(policy.default) && naming(call).all(|rule| blocks(rule.action)) {
            let what = format!("no rule allows {call}, which starting a program takes");
            return Err(Error::new(what).field(policy.path("syscalls")));
        }
    }
    let waits =
        |rule: &Rule| rule.action == Action::Notify && rule.names.iter().any(|name| name == "sendmsg");
    match policy.rules.iter().position(waits) {
        Some(i) => Err(Error::new("sendmsg cannot have SCMP_ACT_NOTIFY")
            .field(policy.path(format_args!("syscalls[{i}].names")))),
        None => Ok(()),
    }
}

/// Checks a profile. `field` is where it stands in its file, empty for a profile that is a file of its own.
pub fn policy<'a>(seccomp: &'a LinuxSeccomp, field: &str, native: Arch) -> Result<Policy<'a>> {
    let mut policy = Policy {
        field: field.to_owned(),
        default: Action::Allow,
        archs: archs(seccomp.architectures().as_deref().unwrap_or_default(), native),
        rules: Vec::new(),
        flags: flags(seccomp.flags().as_deref()),
        listener: None,
    };
    policy.default = action(seccomp.default_action(), seccomp.default_errno_ret())
        .map_err(|error| error.field(policy.path("defaultErrnoRet")))?;
    if policy.default == Action::Notify {
        // So does runc. The listener would have to answer for the calls by which it gets its descriptor.
        return Err(Error::new("SCMP_ACT_NOTIFY cannot be the default").field(policy.path("defaultAction")));
    }
    for (i, entry) in seccomp.syscalls().as_deref().unwrap_or_default().iter().enumerate() {
        let rule = rule(entry)
            .map_err(|(part, error)| error.field(policy.path(format_args!("syscalls[{i}].{part}"))))?;
        policy.rules.push(rule);
    }
    policy.listener = listener(seccomp, &policy)?;
    Ok(policy)
}

/// The native architecture is always there, as in libseccomp. Those that this kernel never runs are left out:
/// no call could come from them.
fn archs(listed: &[OciArch], native: Arch) -> Vec<Arch> {
    let mut archs = vec![native];
    for arch in listed.iter().filter_map(|listed| arch(*listed)) {
        if arch.runs_on(native) && !archs.contains(&arch) {
            archs.push(arch);
        }
    }
    archs
}

fn arch(arch: OciArch) -> Option<Arch> {
    Some(match arch {
        OciArch::ScmpArchX86_64 => Arch::X86_64,
        OciArch::ScmpArchX86 => Arch::X86,
        OciArch::ScmpArchX32 => Arch::X32,
        OciArch::ScmpArchArm => Arch::Arm,
        OciArch::ScmpArchAarch64 => Arch::Aarch64,
        OciArch::ScmpArchRiscv64 => Arch::Riscv64,
        OciArch::ScmpArchLoongarch64 => Arch::Loongarch64,
        OciArch::ScmpArchPpc => Arch::Ppc,
        OciArch::ScmpArchPpc64 => Arch::Ppc64,
        OciArch::ScmpArchPpc64le => Arch::Ppc64le,
        OciArch::ScmpArchS390 => Arch::S390,
        OciArch::ScmpArchS390x => Arch::S390x,
        OciArch::ScmpArchMips => Arch::Mips,
        OciArch::ScmpArchMipsel => Arch::Mipsel,
        OciArch::ScmpArchMips64 => Arch::Mips64,
        OciArch::ScmpArchMipsel64 => Arch::Mipsel64,
        OciArch::ScmpArchMips64n32 => Arch::Mips64n32,
        OciArch::ScmpArchMipsel64n32 => Arch::Mipsel64n32,
        // The native one is always there; the others run on no machine that this program is built for.
        OciArch::ScmpArchNative
        | OciArch::ScmpArchParisc
        | OciArch::ScmpArchParisc64
        | OciArch::ScmpArchM68k
        | OciArch::ScmpArchSh
        | OciArch::ScmpArchSheb => return None,
    })
}

/// Where the profile has no `flags` at all, runc and crun spare it the mitigation of speculative store bypass,
/// which would slow down every process under the filter; an empty list asks for it.
fn flags(listed: Option<&[LinuxSeccompFilterFlag]>) -> Vec<Flag> {
    let flag = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => Flag::Tsync,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => Flag::Log,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => Flag::SpecAllow,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => Flag::WaitKillableRecv,
    };
    listed.map_or_else(|| vec![Flag::SpecAllow], |listed| listed.iter().map(flag).collect())
}

/// An action with its `errnoRet`. EPERM is the default of `SCMP_ACT_ERRNO`, and of `SCMP_ACT_TRACE` as in runc.
fn action(action: LinuxSeccompAction, errno_ret: Option<u32>) -> Result<Action> {
    let data = |max: u16| match u16::try_from(errno_ret.unwrap_or(seccomp::EPERM.into())) {
        Ok(data) if data <= max => Ok(data),
        _ => Err(Error::new(format!("{} with {action} is at most {max}", errno_ret.unwrap_or_default()))),
    };
    let action = match action {
        LinuxSeccompAction::ScmpActErrno => return data(MAX_ERRNO).map(Action::Errno),
        LinuxSeccompAction::ScmpActTrace => return data(u16::MAX).map(Action::Trace),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Action::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => Action::KillProcess,
        LinuxSeccompAction::ScmpActTrap => Action::Trap,
        LinuxSeccompAction::ScmpActNotify => Action::Notify,
        LinuxSeccompAction::ScmpActLog => Action::Log,
        LinuxSeccompAction::ScmpActAllow => Action::Allow,
    };
    match errno_ret {
        Some(_) => {
            Err(Error::new(format!("{action} takes no value"))
                .hint("only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do"))
        }
        None => Ok(action),
    }
}

/// An entry of `syscalls`; an error comes with the part that is wrong.
fn rule(entry: &LinuxSyscall) -> std::result::Result<Rule<'_>, (String, Error)> {
    let action = action(entry.action(), entry.errno_ret()).map_err(|error| ("errnoRet".to_owned(), error))?;
    let args = entry.args().as_deref().unwrap_or_default();
    let conditions = args.iter().enumerate().map(|(i, arg)| {
        condition(arg).ok_or_else(|| {
            let error = Error::new(format!("{}: a system call has the arguments 0 to 5", arg.index()));
            (format!("args[{i}].index"), error)
        })
    });
    Ok(Rule { names: entry.names(), action, conditions: conditions.collect::<std::result::Result<_, _>>()? })
}

/// `None` if the index is out of range.
fn condition(arg: &LinuxSeccompArg) -> Option<Condition> {
    let index = u8::try_from(arg.index()).ok().filter(|index| *index < 6)?;
    let op = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => Operator::Ne,
        LinuxSeccompOperator::ScmpCmpLt => Operator::Lt,
        LinuxSeccompOperator::ScmpCmpLe => Operator::Le,
        LinuxSeccompOperator::ScmpCmpEq => Operator::Eq,
        LinuxSeccompOperator::ScmpCmpGe => Operator::Ge,
        LinuxSeccompOperator::ScmpCmpGt => Operator::Gt,
        LinuxSeccompOperator::ScmpCmpMaskedEq => Operator::MaskedEq,
    };
    Some(Condition { index, op, value: arg.value(), value_two: arg.value_two().unwrap_or(0) })
}

/// There is a listener if there is something to notify it of: "This parameter MUST be [...] used when `SCMP_ACT_NOTIFY` action is used".
fn listener<'a>(seccomp: &'a LinuxSeccomp, policy: &Policy) -> Result<Option<Listener<'a>>> {
    let notify = policy.rules.iter().position(|rule| rule.action == Action::Notify);
    let metadata = seccomp.listener_metadata().as_deref();
    match (notify, seccomp.listener_path()) {
        (Some(_), Some(path)) => Ok(Some(Listener { path, metadata })),
        (Some(rule), None) => Err(Error::new("SCMP_ACT_NOTIFY needs a listenerPath")
            .field(policy.path(format_args!("syscalls[{rule}].action")))),
        (None, None) if metadata.is_some() => {
            // "This string MUST NOT be set if listenerPath is not set."
            Err(Error::new("there is no listenerPath").field(policy.path("listenerMetadata")))
        }
        (None, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(profile: Value) -> LinuxSeccomp {
        serde_json::from_value(profile).unwrap()
    }

    fn error(profile: Value) -> String {
        policy(&parse(profile), FIELD, Arch::X86_64).unwrap_err().to_string()
    }

    #[test]
    fn every_name_of_the_specification_is_known() {
        let names = |list: &[&str]| list.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        for name in Action::NAMES {
            let action: LinuxSeccompAction = serde_json::from_value(json!(name)).unwrap();
            let text = super::action(action, None).unwrap().to_string();
            assert!(text.starts_with(name) || name == "SCMP_ACT_KILL", "{text}");
        }
        let archs = Arch::ALL.map(Arch::name);
        for name in names(&archs) {
            let listed: OciArch = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(arch(listed).map(Arch::name), Some(name.as_str()));
        }
        for foreign in ["PARISC", "PARISC64", "M68K", "SH", "SHEB"] {
            let listed: OciArch = serde_json::from_value(json!(format!("SCMP_ARCH_{foreign}"))).unwrap();
            assert_eq!(arch(listed), None);
        }
        for flag in Flag::ALL {
            let listed: LinuxSeccompFilterFlag = serde_json::from_value(json!(flag.name())).unwrap();
            assert_eq!(flags(Some(&[listed])), [flag]);
        }
        for op in Operator::ALL {
            let profile = json!({"index": 5, "value": u64::MAX, "op": op.name()});
            let arg: LinuxSeccompArg = serde_json::from_value(profile).unwrap();
            let expected = Condition { index: 5, op, value: u64::MAX, value_two: 0 };
            assert_eq!(condition(&arg), Some(expected));
        }
    }

    #[test]
    fn bad_profiles() {
        let allow = |more: Value| {
            let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}, rule]})
        };
        let arg = |index: u64| json!({"index": index, "value": 0, "op": "SCMP_CMP_EQ"});
        let with = |key: &str, value: Value| {
            let mut profile = allow(json!({}));
            profile.as_object_mut().unwrap().insert(key.into(), value);
            profile
        };
        let cases = [
            (
                allow(json!({"args": [arg(5), arg(6)]})),
                "linux.seccomp.syscalls[1].args[1].index: 6: a system call has the arguments 0 to 5",
            ),
            (
                allow(json!({"args": [arg(u64::MAX)]})),
                "linux.seccomp.syscalls[1].args[0].index: 18446744073709551615: a system call has the arguments 0 to 5",
            ),
            (
                allow(json!({"errnoRet": 1})),
                "linux.seccomp.syscalls[1].errnoRet: SCMP_ACT_ALLOW takes no value \
                 (only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do)",
            ),
            (
                allow(json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 4096})),
                "linux.seccomp.syscalls[1].errnoRet: 4096 with SCMP_ACT_ERRNO is at most 4095",
            ),
            (
                allow(json!({"action": "SCMP_ACT_TRACE", "errnoRet": 65536})),
                "linux.seccomp.syscalls[1].errnoRet: 65536 with SCMP_ACT_TRACE is at most 65535",
            ),
            (
                allow(json!({"action": "SCMP_ACT_NOTIFY"})),
                "linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY needs a listenerPath",
            ),
            (
                with("listenerMetadata", json!("x")),
                "linux.seccomp.listenerMetadata: there is no listenerPath",
            ),
            (
                with("defaultErrnoRet", json!(70000)),
                "linux.seccomp.defaultErrnoRet: 70000 with SCMP_ACT_ERRNO is at most 4095",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}),
                "linux.seccomp.defaultErrnoRet: SCMP_ACT_KILL_THREAD takes no value \
                 (only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do)",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"}),
                "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default",
            ),
        ];
        for (profile, expected) in cases {
            assert_eq!(error(profile), expected);
        }
    }

    #[test]
    fn words_that_the_specification_does_not_have_are_errors_with_a_path() {
        let cases = [
            (json!({"defaultAction": "SCMP_ACT_X"}), "defaultAction"),
            (
                json!({"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_Z80"]}),
                "architectures[0]",
            ),
            (json!({"defaultAction": "SCMP_ACT_LOG", "flags": ["X"]}), "flags[0]"),
            (
                json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["a"], "action": "X"}]}),
                "syscalls[0].action",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG",
                    "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_X"}]}]}),
                "syscalls[0].args[0].op",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG",
                    "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]}]}),
                "syscalls[0].args[0].value",
            ),
        ];
        for (profile, path) in cases {
            let error = serde_path_to_error::deserialize::<_, LinuxSeccomp>(profile).unwrap_err();
            assert_eq!(error.path().to_string(), path);
        }
    }

    #[test]
    fn native_first_and_foreign_ones_left_out() {
        let listed = ["SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_SH"];
        let profile = parse(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": listed}));
        let archs = |native| policy(&profile, FIELD, native).unwrap().archs;
        assert_eq!(archs(Arch::X86_64), [Arch::X86_64, Arch::X32, Arch::X86]);
        assert_eq!(archs(Arch::Aarch64), [Arch::Aarch64]);
        assert_eq!(archs(Arch::S390x), [Arch::S390x]);
    }

    #[test]
    fn flags_when_absent_and_when_empty() {
        let of = |profile| policy(&parse(profile), FIELD, Arch::X86_64).unwrap().kernel_flags();
        assert_eq!(of(json!({"defaultAction": "SCMP_ACT_ALLOW"})), Flag::SpecAllow.bit());
        assert_eq!(of(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": []})), 0);
    }

    #[test]
    fn what_starting_a_program_takes() {
        let plan = |default: &str, allowed: &[&str], notified: &str| {
            let notify = json!({"names": [notified], "action": "SCMP_ACT_NOTIFY"});
            let allow = json!({"names": allowed, "action": "SCMP_ACT_ALLOW"});
            let mut profile = json!({"defaultAction": default, "syscalls": [allow]});
            if !notified.is_empty() {
                profile["syscalls"].as_array_mut().unwrap().push(notify);
                profile["listenerPath"] = json!("/s");
            }
            Seccomp::new(&parse(profile), true, &mut Vec::new()).map(drop).map_err(|error| error.to_string())
        };
        for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
            let missing = |call| {
                let what = format!("no rule allows {call}, which starting a program takes");
                Err(format!("linux.seccomp.syscalls: {what}"))
            };
            assert_eq!(plan(default, &["read", "sendmsg"], ""), missing("execve"));
            assert_eq!(plan(default, &["read", "execve"], ""), Ok(()));
            assert_eq!(plan(default, &["read", "execve"], "mkdir"), missing("sendmsg"));
            assert_eq!(plan(default, &["sendmsg", "execve"], "mkdir"), Ok(()));
            assert_eq!(plan(default, &["sendmsg"], "execve"), Ok(()));
        }
        for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"] {
            assert_eq!(plan(default, &[], "mkdir"), Ok(()));
        }
        let waits = "linux.seccomp.syscalls[1].names: sendmsg cannot have SCMP_ACT_NOTIFY";
        assert_eq!(plan("SCMP_ACT_ALLOW", &[], "sendmsg"), Err(waits.to_owned()));
    }

    #[test]
    fn when_it_is_installed() {
        let plain = parse(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
        let notify = parse(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}));
        let when =
            |seccomp, no_new_privs| Seccomp::new(seccomp, no_new_privs, &mut Vec::new()).unwrap().install;
        assert_eq!(when(&plain, true), Before::Exec);
        assert_eq!(when(&plain, false), Before::Exec);
        assert_eq!(when(&notify, true), Before::Ready);
        assert_eq!(when(&notify, false), Before::Ready);
    }
}
