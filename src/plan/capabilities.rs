//! The five capability sets of a process, as masks
//! ([capabilities(7)](https://man7.org/linux/man-pages/man7/capabilities.7.html)).

use crate::error::{Error, Result};
use crate::spec;

/// The capability sets; bit n is capability number n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// What can be gained by executing a program, at most.
    pub bounding: u64,
    /// What the kernel checks.
    pub effective: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What is kept when executing a program whose file is marked so.
    pub inheritable: u64,
    /// What is kept when executing any unprivileged program.
    pub ambient: u64,
    /// What was to be ambient, and can't be without being both permitted and inheritable.
    pub idle: u64,
}

/// The names, at the place of their number. Every kernel that the runtime supports has these; the last one
/// came with Linux 5.9.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl Caps {
    /// The sets of `process.capabilities`; without it all of them are empty. `last_cap` is the last number
    /// that the kernel knows.
    pub fn new(given: Option<&spec::Capabilities>, last_cap: u8, warnings: &mut Vec<String>) -> Result<Caps> {
        let Some(given) = given else { return Ok(Caps::default()) };
        let mut unknown = Vec::new();
        let mut of = |names| mask(names, last_cap, &mut unknown);
        let mut caps = Caps {
            bounding: of(&given.bounding),
            effective: of(&given.effective),
            permitted: of(&given.permitted),
            inheritable: of(&given.inheritable),
            ambient: of(&given.ambient),
            idle: 0,
        };
        let ignored = ignored(unknown);
        // capset(2) has both rules, but fails with a bare EPERM. A set may lack a capability for its misspelled name.
        subset(caps.effective, "effective", caps.permitted, "permitted")
            .and_then(|()| subset(caps.inheritable, "inheritable", caps.bounding, "bounding"))
            .map_err(|error| ignored.iter().fold(error, |error, warning| error.hint(warning)))?;
        warnings.extend(ignored.map(|warning| format!("process.capabilities: {warning}")));
        // Here `runc spec` itself and Podman's builds break the kernel's rule, and runc says nothing of it.
        caps.idle = caps.ambient & !(caps.permitted & caps.inheritable);
        caps.ambient &= !caps.idle;
        Ok(caps)
    }

    /// Leaves out what the runtime does not have itself: "Runtimes SHOULD NOT fail if the container configuration requests
    /// capabilities that cannot be granted".
    pub fn limit(&mut self, held: u64, warnings: &mut Vec<String>) {
        let lacking = (self.permitted | self.inheritable) & !held;
        if lacking != 0 {
            warnings.push(format!(
                "process.capabilities: ignoring what the runtime itself lacks: {}",
                names(lacking)
            ));
        }
        for set in [&mut self.permitted, &mut self.effective, &mut self.inheritable, &mut self.ambient] {
            *set &= held;
        }
    }
}

/// The capabilities of a set. The names that are not known here join `unknown`.
fn mask<'a>(given: &'a [String], last_cap: u8, unknown: &mut Vec<&'a str>) -> u64 {
    let mut mask = 0;
    for name in given {
        match NAMES.iter().position(|known| known == name) {
            Some(number) if number <= usize::from(last_cap) => mask |= 1 << number,
            _ => unknown.push(name),
        }
    }
    mask
}

/// "Any value which cannot be mapped to a relevant kernel interface, or cannot be granted otherwise, MUST be logged as a warning by the
/// runtime." In the words of runc, which are looked for.
fn ignored(mut unknown: Vec<&str>) -> Option<String> {
    unknown.sort_unstable();
    unknown.dedup();
    (!unknown.is_empty())
        .then(|| format!("ignoring unknown or unavailable capabilities: [{}]", unknown.join(" ")))
}

fn subset(set: u64, name: &str, of: u64, of_name: &str) -> Result<()> {
    match set & !of {
        0 => Ok(()),
        extra => {
            Err(Error::new(format!("not in the {of_name} set, capset(2) fails with EPERM: {}", names(extra)))
                .field(format!("process.capabilities.{name}")))
        }
    }
}

/// The names of the capabilities in a mask.
pub fn names(mask: u64) -> String {
    let names: Vec<_> =
        NAMES.iter().enumerate().filter(|(n, _)| mask >> n & 1 != 0).map(|(_, name)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn caps(json: Value, last_cap: u8) -> (Result<Caps>, Vec<String>) {
        let mut warnings = Vec::new();
        let given: spec::Capabilities = serde_json::from_value(json).unwrap();
        (Caps::new(Some(&given), last_cap, &mut warnings), warnings)
    }

    #[test]
    fn what_the_runtime_lacks_is_left_out() {
        let of = |names: &[&str]| json!({"bounding": names, "permitted": names, "effective": names});
        let (caps, mut warnings) = caps(of(&["CAP_CHOWN", "CAP_KILL"]), 40);
        let mut caps = caps.unwrap();
        caps.limit(1, &mut warnings);
        assert_eq!((caps.bounding, caps.permitted, caps.effective), (0x21, 1, 1));
        assert_eq!(warnings, ["process.capabilities: ignoring what the runtime itself lacks: CAP_KILL"]);
        caps.limit(1, &mut warnings);
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn numbers_of_the_kernel() {
        for (number, name) in
            [(0, "CAP_CHOWN"), (21, "CAP_SYS_ADMIN"), (34, "CAP_SYSLOG"), (40, "CAP_CHECKPOINT_RESTORE")]
        {
            assert_eq!(NAMES[number], name);
        }
    }

    #[test]
    fn five_sets() {
        let all = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_BPF"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
        });
        let (result, warnings) = caps(all, 40);
        let expected = Caps {
            bounding: 1 | 1 << 5 | 1 << 39,
            permitted: 1 | 1 << 5,
            effective: 1 << 5,
            inheritable: 1,
            ambient: 1,
            idle: 0,
        };
        assert_eq!(result.unwrap(), expected);
        assert!(warnings.is_empty());
        assert_eq!(Caps::new(None, 40, &mut Vec::new()).unwrap(), Caps::default());
    }

    #[test]
    fn unknown_ones_are_ignored_aloud() {
        let (result, warnings) = caps(
            json!({"bounding": ["CAP_FOO", "cap_kill", "CAP_BPF", "CAP_KILL"], "ambient": ["CAP_FOO"]}),
            38,
        );
        assert_eq!(result.unwrap().bounding, 1 << 5);
        assert_eq!(
            warnings,
            [
                "process.capabilities: ignoring unknown or unavailable capabilities: [CAP_BPF CAP_FOO cap_kill]"
            ]
        );
        let (result, _) = caps(json!({"bounding": ["CAP_FOO"], "inheritable": ["CAP_KILL"]}), 40);
        assert_eq!(
            result.unwrap_err().to_string(),
            "process.capabilities.inheritable: not in the bounding set, capset(2) fails with EPERM: CAP_KILL \
             (ignoring unknown or unavailable capabilities: [CAP_FOO])"
        );
    }

    #[test]
    fn what_the_kernel_would_not_grant() {
        let (result, _) = caps(json!({"effective": ["CAP_KILL", "CAP_BPF"], "permitted": ["CAP_KILL"]}), 40);
        assert_eq!(
            result.unwrap_err().to_string(),
            "process.capabilities.effective: not in the permitted set, capset(2) fails with EPERM: CAP_BPF"
        );
        let (result, _) = caps(json!({"inheritable": ["CAP_KILL"]}), 40);
        assert_eq!(
            result.unwrap_err().to_string(),
            "process.capabilities.inheritable: not in the bounding set, capset(2) fails with EPERM: CAP_KILL"
        );
        let (result, warnings) = caps(json!({"permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}), 40);
        let caps = result.unwrap();
        assert_eq!((caps.ambient, names(caps.idle).as_str()), (0, "CAP_KILL"));
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}
