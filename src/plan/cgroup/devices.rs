//! Which devices the container may use: `linux.resources.devices`, followed by the rules that every container has. Cgroup v1 takes
//! them as lines for `devices.allow` and `devices.deny`, cgroup v2 as a program of the kernel's virtual machine (eBPF) that is asked
//! about every access.
//!
//! An access is made of up to three bits: read, write, mknod. For each bit the last rule that names the device and the bit decides.

use super::{Layout, Write};
use crate::error::{Error, Result};
use crate::sys::bpf::Insn;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// What the kernel is told about devices.
#[derive(Debug, Default)]
pub struct DeviceFilter {
    /// Cgroup v1: the lines.
    pub writes: Vec<Write>,
    /// Cgroup v2: the program.
    pub program: Vec<Insn>,
    /// Every device may be used, which is what a new cgroup starts with.
    pub everything: bool,
    /// `linux.resources.devices` has rules of its own.
    pub asked: bool,
}

impl DeviceFilter {
    /// Turns a policy into what the host understands; `asked` is [`DeviceFilter::asked`].
    pub fn new(policy: &Policy, asked: bool, layout: Layout) -> Result<DeviceFilter> {
        let everything = policy.allow && policy.rules.is_empty();
        let filter = DeviceFilter { asked, everything, ..DeviceFilter::default() };
        Ok(match layout {
            Layout::V1 | Layout::Hybrid => DeviceFilter { writes: policy.writes()?, ..filter },
            Layout::V2 => DeviceFilter { program: program::compile(policy)?, ..filter },
            Layout::None => filter,
        })
    }
}

/// Bits of an access, as cgroup v2 numbers them (`BPF_DEVCG_ACC_*`).
pub mod access {
    /// To make a device node.
    pub const MKNOD: u8 = 1;
    /// To open for reading.
    pub const READ: u8 = 2;
    /// To open for writing.
    pub const WRITE: u8 = 4;
    /// Anything.
    pub const ALL: u8 = MKNOD | READ | WRITE;
}

/// The type of device that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// One rule. What is `None` matches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// The type of the device.
    pub kind: Kind,
    /// Its major number.
    pub major: Option<u32>,
    /// Its minor number.
    pub minor: Option<u32>,
    /// The bits of [`access`] that the rule is about.
    pub access: u8,
}

/// The rules that go after those of config.json, so that nothing takes them away; the same as in runc. Nodes can be made of any
/// device; what they can be used for is another matter. The last one is `/dev/net/tun`.
const ALWAYS: [(Kind, Option<u32>, Option<u32>, u8); 10] = [
    (Kind::All, None, None, access::MKNOD),
    (Kind::Char, Some(1), Some(3), access::ALL), // null
    (Kind::Char, Some(1), Some(5), access::ALL), // zero
    (Kind::Char, Some(1), Some(7), access::ALL), // full
    (Kind::Char, Some(1), Some(8), access::ALL), // random
    (Kind::Char, Some(1), Some(9), access::ALL), // urandom
    (Kind::Char, Some(5), Some(0), access::ALL), // tty
    (Kind::Char, Some(5), Some(2), access::ALL), // ptmx
    (Kind::Char, Some(136), None, access::ALL),  // pts/*, and the console, which is one of them
    (Kind::Char, Some(10), Some(200), access::ALL),
];

/// The kernel has 12 bits for major numbers and 20 for minor ones.
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

impl DeviceRule {
    fn new(rule: &LinuxDeviceCgroup, field: &str) -> Result<DeviceRule> {
        let kind = match rule.typ() {
            None | Some(LinuxDeviceType::A) => Kind::All,
            Some(LinuxDeviceType::C) => Kind::Char,
            Some(LinuxDeviceType::B) => Kind::Block,
            Some(other) => {
                let what = format!("{:?} is none of a, b, c", other.as_str());
                return Err(Error::new(what).field(format!("{field}.type")));
            }
        };
        let mut bits = 0;
        for letter in rule.access().as_deref().unwrap_or_default().chars() {
            bits |= match letter {
                'r' => access::READ,
                'w' => access::WRITE,
                'm' => access::MKNOD,
                other => {
                    let what = format!("{other:?} is none of r, w, m");
                    return Err(Error::new(what).field(format!("{field}.access")));
                }
            };
        }
        if bits == 0 {
            // Neither "all" nor "none" would be a safe guess for both an allowing and a denying rule.
            return Err(
                Error::new("says nothing: some of r, w, m are needed").field(format!("{field}.access"))
            );
        }
        let number = |value: Option<i64>, max: u32, name: &str| match value {
            None | Some(-1) => Ok(None),
            Some(value) => match u32::try_from(value) {
                Ok(number) if number <= max => Ok(Some(number)),
                _ => {
                    let what = format!("{value} is not between 0 and {max} (-1 means all)");
                    Err(Error::new(what).field(format!("{field}.{name}")))
                }
            },
        };
        Ok(DeviceRule {
            allow: rule.allow(),
            kind,
            major: number(rule.major(), MAX_MAJOR, "major")?,
            minor: number(rule.minor(), MAX_MINOR, "minor")?,
            access: bits,
        })
    }

    fn is_total(&self) -> bool {
        self.kind == Kind::All && self.major.is_none() && self.minor.is_none() && self.access == access::ALL
    }

    /// Whether every device of `other` is one of this rule's.
    fn contains(&self, other: &DeviceRule) -> bool {
        (self.kind == Kind::All || self.kind == other.kind)
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    /// Whether this rule decides all that `other` decides.
    fn covers(&self, other: &DeviceRule) -> bool {
        self.contains(other) && self.access & other.access == other.access
    }

    /// Whether there is an access that both rules are about.
    fn meets(&self, other: &DeviceRule) -> bool {
        let agree = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        (self.kind == Kind::All || other.kind == Kind::All || self.kind == other.kind)
            && agree(self.major, other.major)
            && agree(self.minor, other.minor)
            && self.access & other.access != 0
    }

    /// The devices, in the words of cgroup v1: `c 1:3`. There is no word for both types: `a` stands for everything.
    fn shown(&self) -> impl Iterator<Item = String> {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let (major, minor) = (number(self.major), number(self.minor));
        let kinds = match self.kind {
            Kind::All => "cb",
            Kind::Char => "c",
            Kind::Block => "b",
        };
        kinds.chars().map(move |kind| format!("{kind} {major}:{minor}"))
    }

    /// The bits, in the words of cgroup v1: `rwm`.
    fn shown_access(&self) -> String {
        let letters = [(access::READ, 'r'), (access::WRITE, 'w'), (access::MKNOD, 'm')];
        letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect()
    }
}

/// All rules, without those that change nothing.
#[derive(Debug)]
pub struct Policy {
    /// What holds where no rule applies.
    allow: bool,
    /// The rules; a later one goes over an earlier one.
    rules: Vec<DeviceRule>,
}

impl Policy {
    /// The rules of config.json and [`ALWAYS`]. What no rule names is denied, also where config.json has no rules at all.
    pub fn new(rules: &[LinuxDeviceCgroup]) -> Result<Policy> {
        let mut policy = Policy { allow: false, rules: Vec::new() };
        for (i, rule) in rules.iter().enumerate() {
            policy.add(DeviceRule::new(rule, &format!("linux.resources.devices[{i}]"))?);
        }
        for (kind, major, minor, access) in ALWAYS {
            policy.add(DeviceRule { allow: true, kind, major, minor, access });
        }
        Ok(policy)
    }

    fn add(&mut self, rule: DeviceRule) {
        if rule.is_total() {
            *self = Policy { allow: rule.allow, rules: Vec::new() };
            return;
        }
        let against = self.rules.iter().any(|earlier| earlier.allow != rule.allow && earlier.meets(&rule));
        if rule.allow == self.allow && !against {
            return;
        }
        // The rules at the end that decide alike can be in any order.
        let run = self.rules.iter().rposition(|earlier| earlier.allow != rule.allow).map_or(0, |i| i + 1);
        if self.rules[run..].iter().any(|earlier| earlier.covers(&rule)) {
            return;
        }
        let mut rule = rule;
        for earlier in self.rules.split_off(run) {
            if earlier.contains(&rule) && rule.contains(&earlier) {
                rule.access |= earlier.access;
            } else if !rule.covers(&earlier) {
                self.rules.push(earlier);
            }
        }
        self.rules.push(rule);
    }

    /// The lines of cgroup v1: one that sets what holds in general, which also clears what the cgroup has inherited, and one for
    /// each exception. The kernel keeps exceptions to one general rule, and none to an exception.
    fn writes(&self) -> Result<Vec<Write>> {
        let mut exceptions: Vec<DeviceRule> = Vec::new();
        for rule in &self.rules {
            if rule.allow != self.allow {
                exceptions.push(*rule);
                continue;
            }
            for exception in exceptions.iter_mut().filter(|exception| rule.meets(exception)) {
                if !rule.contains(exception) {
                    return Err(hole(rule, exception));
                }
                exception.access &= !rule.access;
            }
            exceptions.retain(|exception| exception.access != 0);
        }
        let file = |allow| if allow { "devices.allow" } else { "devices.deny" };
        let line = |allow, line: String| Write::new("devices", file(allow), line, "linux.resources.devices");
        let mut writes = vec![line(self.allow, "a".to_owned())];
        for rule in exceptions {
            let access = rule.shown_access();
            writes.extend(rule.shown().map(|devices| line(rule.allow, format!("{devices} {access}"))));
        }
        Ok(writes)
    }
}

fn hole(rule: &DeviceRule, exception: &DeviceRule) -> Error {
    let devices = |rule: &DeviceRule| rule.shown().collect::<Vec<_>>().join(" and ");
    let verb = |rule: &DeviceRule| if rule.allow { "allow" } else { "deny" };
    let (what, but) = (devices(rule), devices(exception));
    let what = format!("cgroup v1 can't {} {what} after a rule to {} {but}", verb(rule), verb(exception));
    Error::new(what).field("linux.resources.devices").hint("name the devices one by one")
}

mod program;
#[cfg(test)]
mod tests;
