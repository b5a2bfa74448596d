//! What a profile asks for, free of its JSON: the input of the compiler.

use super::arch::Arch;
use std::fmt;
use std::path::Path;

/// A checked seccomp profile. It borrows its names from the configuration.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// Where the profile stands in the configuration (`linux.seccomp`); empty if it is a file of its own.
    pub field: String,
    /// For calls that no rule matches.
    pub default: Action,
    /// The native architecture first, then those of `architectures` that run under the same kernel.
    pub archs: Vec<Arch>,
    /// One for each entry of `syscalls`, at the same index.
    pub rules: Vec<Rule<'a>>,
    /// How the kernel installs the filter.
    pub flags: Vec<Flag>,
    /// Who answers for [`Action::Notify`]; there if and only if a rule has that action.
    pub listener: Option<Listener<'a>>,
}

/// An entry of `syscalls`: its action applies to calls of these names that meet all conditions.
#[derive(Debug, Clone)]
pub struct Rule<'a> {
    /// Names of system calls. Unknown ones are ignored with a warning.
    pub names: &'a [String],
    /// What happens to a call that matches.
    pub action: Action,
    /// Met all together; but if two of them are on one argument, each stands for a rule of its own
    /// (so runc, crun and youki read a profile).
    pub conditions: Vec<Condition>,
}

/// `args[index] op value`, on 64 bits without sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub op: Operator,
    /// What it is compared with; the mask of [`Operator::MaskedEq`].
    pub value: u64,
    /// What the masked argument is compared with, of which only the bits of the mask count.
    pub value_two: u64,
}

/// The socket that gets the notification file descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Listener<'a> {
    /// `listenerPath`
    pub path: &'a Path,
    /// `listenerMetadata`
    pub metadata: Option<&'a str>,
}

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `SCMP_ACT_KILL_THREAD`, also named `SCMP_ACT_KILL`
    KillThread,
    /// `SCMP_ACT_KILL_PROCESS`
    KillProcess,
    /// `SCMP_ACT_TRAP`: `SIGSYS`
    Trap,
    /// `SCMP_ACT_ERRNO`: fails with this errno, at most [`MAX_ERRNO`]
    Errno(u16),
    /// `SCMP_ACT_NOTIFY`: the listener decides
    Notify,
    /// `SCMP_ACT_TRACE`: a tracer decides and sees this value; without one the call fails with ENOSYS
    Trace(u16),
    /// `SCMP_ACT_LOG`: allowed and logged
    Log,
    /// `SCMP_ACT_ALLOW`
    Allow,
}

/// The kernel cuts larger ones down to this (`MAX_ERRNO` of `linux/err.h`).
pub const MAX_ERRNO: u16 = 4095;

/// EPERM, what the specification lets `SCMP_ACT_ERRNO` fail with where `errnoRet` does not say.
pub(crate) const EPERM: u16 = 1;

impl Action {
    /// Every name that the specification has for an action; `features` lists them.
    pub const NAMES: [&'static str; 9] = [
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
    ];

    /// The filter's return value: `SECCOMP_RET_*` of `linux/seccomp.h`.
    pub fn ret(self) -> u32 {
        match self {
            Action::KillThread => 0,
            Action::KillProcess => 0x8000_0000,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Notify => 0x7fc0_0000,
            Action::Trace(value) => 0x7ff0_0000 | u32::from(value),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }

    /// The action behind a filter's return value.
    pub fn of_ret(ret: u32) -> Option<Action> {
        let [_, _, high, low] = ret.to_be_bytes();
        let data = u16::from_be_bytes([high, low]);
        let action = match ret & 0xffff_0000 {
            0x0005_0000 => Action::Errno(data),
            0x7ff0_0000 => Action::Trace(data),
            _ => {
                let plain = [
                    Action::KillThread,
                    Action::KillProcess,
                    Action::Trap,
                    Action::Notify,
                    Action::Log,
                    Action::Allow,
                ];
                plain.into_iter().find(|action| action.ret() == ret)?
            }
        };
        Some(action)
    }

    /// Whether a call that the kernel does not have reaches it under this action, so that it fails with
    /// ENOSYS by itself. A tracer is expected to see to that too.
    pub(super) fn lets_unknown_calls_through(self) -> bool {
        matches!(self, Action::Allow | Action::Log | Action::Trace(_))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::KillThread => "SCMP_ACT_KILL_THREAD",
            Action::KillProcess => "SCMP_ACT_KILL_PROCESS",
            Action::Trap => "SCMP_ACT_TRAP",
            Action::Errno(_) => "SCMP_ACT_ERRNO",
            Action::Notify => "SCMP_ACT_NOTIFY",
            Action::Trace(_) => "SCMP_ACT_TRACE",
            Action::Log => "SCMP_ACT_LOG",
            Action::Allow => "SCMP_ACT_ALLOW",
        })?;
        match self {
            Action::Errno(data) | Action::Trace(data) => write!(f, "({data})"),
            _ => Ok(()),
        }
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `SCMP_CMP_NE`
    Ne,
    /// `SCMP_CMP_LT`
    Lt,
    /// `SCMP_CMP_LE`
    Le,
    /// `SCMP_CMP_EQ`
    Eq,
    /// `SCMP_CMP_GE`
    Ge,
    /// `SCMP_CMP_GT`
    Gt,
    /// `SCMP_CMP_MASKED_EQ`: `args[index] & value == valueTwo & value`
    MaskedEq,
}

impl Operator {
    /// Every operator; `features` lists them.
    pub const ALL: [Operator; 7] = [
        Operator::Ne,
        Operator::Lt,
        Operator::Le,
        Operator::Eq,
        Operator::Ge,
        Operator::Gt,
        Operator::MaskedEq,
    ];

    /// The name in the specification: `SCMP_CMP_EQ`.
    pub const fn name(self) -> &'static str {
        match self {
            Operator::Ne => "SCMP_CMP_NE",
            Operator::Lt => "SCMP_CMP_LT",
            Operator::Le => "SCMP_CMP_LE",
            Operator::Eq => "SCMP_CMP_EQ",
            Operator::Ge => "SCMP_CMP_GE",
            Operator::Gt => "SCMP_CMP_GT",
            Operator::MaskedEq => "SCMP_CMP_MASKED_EQ",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition { index, value, value_two, .. } = self;
        let sign = match self.op {
            Operator::Ne => "!=",
            Operator::Lt => "<",
            Operator::Le => "<=",
            Operator::Eq => "==",
            Operator::Ge => ">=",
            Operator::Gt => ">",
            Operator::MaskedEq => return write!(f, "args[{index}] & {value:#x} == {:#x}", value_two & value),
        };
        write!(f, "args[{index}] {sign} {value:#x}")
    }
}

/// A flag of [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html) that a profile can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// `SECCOMP_FILTER_FLAG_TSYNC`: all threads get the filter
    Tsync,
    /// `SECCOMP_FILTER_FLAG_LOG`: actions other than allow may be logged
    Log,
    /// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no mitigation of speculative store bypass
    SpecAllow,
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: once the listener has received the notification, only
    /// fatal signals interrupt the call; since Linux 5.19
    WaitKillableRecv,
}

impl Flag {
    /// Every flag; `features` lists them.
    pub const ALL: [Flag; 4] = [Flag::Tsync, Flag::Log, Flag::SpecAllow, Flag::WaitKillableRecv];

    /// The name in the specification: `SECCOMP_FILTER_FLAG_LOG`.
    pub const fn name(self) -> &'static str {
        match self {
            Flag::Tsync => "SECCOMP_FILTER_FLAG_TSYNC",
            Flag::Log => "SECCOMP_FILTER_FLAG_LOG",
            Flag::SpecAllow => "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            Flag::WaitKillableRecv => "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        }
    }

    /// The bit, and those that the kernel doesn't take it without.
    pub const fn bits(self) -> u32 {
        match self {
            Flag::WaitKillableRecv => self.bit() | NEW_LISTENER,
            _ => self.bit(),
        }
    }

    /// The bit in the flags of `SECCOMP_SET_MODE_FILTER` (`linux/seccomp.h`).
    pub const fn bit(self) -> u32 {
        match self {
            Flag::Tsync => 1 << 0,
            Flag::Log => 1 << 1,
            Flag::SpecAllow => 1 << 2,
            Flag::WaitKillableRecv => 1 << 5,
        }
    }
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: the call returns the notification file descriptor
pub const NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_TSYNC_ESRCH`: a thread that TSYNC cannot reach is reported by an errno, not by its
/// id, which could not be told from a file descriptor
pub const TSYNC_ESRCH: u32 = 1 << 4;

impl Policy<'_> {
    /// The flags to install the filter with: those asked for and those that a listener needs.
    pub fn kernel_flags(&self) -> u32 {
        let mut flags = self.flags.iter().fold(0, |flags, flag| flags | flag.bit());
        if self.listener.is_none() {
            // It has no meaning then, and the kernel answers EINVAL.
            return flags & !Flag::WaitKillableRecv.bit();
        }
        if flags & Flag::Tsync.bit() != 0 {
            flags |= TSYNC_ESRCH;
        }
        flags | NEW_LISTENER
    }

    /// Where a part of the profile stands in the configuration: `linux.seccomp.syscalls[3]`.
    pub fn path(&self, part: impl fmt::Display) -> String {
        if self.field.is_empty() { part.to_string() } else { format!("{}.{part}", self.field) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_values_have_one_meaning() {
        let actions = [
            Action::KillThread,
            Action::KillProcess,
            Action::Trap,
            Action::Errno(1),
            Action::Errno(4095),
            Action::Notify,
            Action::Trace(0xffff),
            Action::Log,
            Action::Allow,
        ];
        for action in actions {
            assert_eq!(Action::of_ret(action.ret()), Some(action));
        }
        assert_eq!(Action::of_ret(0x7fff_0001), None);
    }

    #[test]
    fn flags_for_the_kernel() {
        let mut policy = Policy {
            field: String::new(),
            default: Action::Allow,
            archs: Vec::new(),
            rules: Vec::new(),
            flags: vec![Flag::Tsync, Flag::SpecAllow, Flag::WaitKillableRecv],
            listener: None,
        };
        assert_eq!(policy.kernel_flags(), 0b101);
        policy.listener = Some(Listener { path: Path::new("/s"), metadata: None });
        assert_eq!(policy.kernel_flags(), 0b11_1101);
    }
}
