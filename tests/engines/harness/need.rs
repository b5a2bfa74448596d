//! What the host can do, for tests that need more than an engine.

use std::path::Path;
use std::process::Command;

/// Something that a test needs of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The limits are looked up in files of cgroup v1.
    CgroupV1,
    UserNamespace,
    /// An engine that is root's; `ROOTLESS=1` says that it is an ordinary user's.
    Root,
    /// A machine that the tests may change as they like, with systemd: `make test-vm-engines`.
    Machine,
    /// A program of the host.
    Program(&'static str),
    /// A program of the host, of this major version or a later one.
    Version(&'static str, u32),
    /// A file of the host.
    File(&'static str),
}

impl Need {
    pub fn is_met(self) -> bool {
        match self {
            Need::CgroupV1 => Path::new("/sys/fs/cgroup/memory").exists(),
            Need::UserNamespace => Path::new("/proc/self/ns/user").exists(),
            Need::Root => std::env::var_os("ROOTLESS").is_none(),
            Need::Machine => std::env::var_os("TEST_MACHINE").is_some(),
            Need::Program(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
            }
            Need::Version(name, major) => version(name).is_some_and(|version| version >= major),
            Need::File(path) => Path::new(path).exists(),
        }
    }
}

/// The major version: what begins with a digit in what the program says of itself.
fn version(name: &str) -> Option<u32> {
    let out = Command::new(name).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    version.split('.').next()?.parse().ok()
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Need::CgroupV1 => write!(f, "cgroup v1"),
            Need::UserNamespace => write!(f, "user namespaces (CONFIG_USER_NS)"),
            Need::Root => write!(f, "an engine of root"),
            Need::Machine => write!(f, "the test machine, with systemd and cgroup v2"),
            Need::Program(name) => write!(f, "the program {name}"),
            Need::Version(name, major) => write!(f, "{name} of version {major} or later"),
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
