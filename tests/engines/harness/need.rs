//! What the host can do, for tests that need more than an engine.

use std::path::Path;

/// Something that a test needs of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The limits are looked up in files of cgroup v1.
    CgroupV1,
    UserNamespace,
    /// A machine that the tests may change as they like, with systemd: `make test-vm-engines`.
    Machine,
    /// A program of the host.
    Program(&'static str),
    /// A file of the host.
    File(&'static str),
}

impl Need {
    pub fn is_met(self) -> bool {
        match self {
            Need::CgroupV1 => Path::new("/sys/fs/cgroup/memory").exists(),
            Need::UserNamespace => Path::new("/proc/self/ns/user").exists(),
            Need::Machine => std::env::var_os("TEST_MACHINE").is_some(),
            Need::Program(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
            }
            Need::File(path) => Path::new(path).exists(),
        }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Need::CgroupV1 => write!(f, "cgroup v1"),
            Need::UserNamespace => write!(f, "user namespaces (CONFIG_USER_NS)"),
            Need::Machine => write!(f, "the test machine, with systemd and cgroup v2"),
            Need::Program(name) => write!(f, "the program {name}"),
            Need::File(path) => write!(f, "{path}"),
        }
    }
}

/// Whether the host has it; says what is skipped if it has not.
pub fn skip_unless(need: Need) -> bool {
    let met = need.is_met();
    if !met {
        eprintln!("skipped: needs {need}");
    }
    met
}
