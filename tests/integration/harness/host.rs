//! What the host can do, for tests that need more than a kernel of the supported floor.

use super::bundle::View;
use super::cgroups::{hierarchies, place_of};
use std::path::Path;

/// A feature of the host that a test may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Root,
    /// A v1 hierarchy, that is a v1 or hybrid layout.
    CgroupV1,
    /// A mounted cgroup2 tree, that is a v2 or hybrid layout.
    CgroupV2,
    /// A controller, of whichever version of cgroups `VIEW` shows.
    Controller(&'static str),
    /// A controller of cgroup v2.
    V2Controller(&'static str),
    /// systemd as the host's init, and its cgroups of version 2.
    Systemd,
    TimeNamespace,
    UserNamespace,
    /// Real-time scheduling.
    RealTime,
    /// The right to raise limits: CAP_SYS_RESOURCE.
    RaisedLimits,
    /// `/proc/keys`.
    Keyrings,
    /// A kernel that executes memfds: `vm.memfd_noexec` below 2.
    ExecutableMemfd,
    /// Memory that can't be made executable, for a process that wants it so: Linux 6.3.
    DeniedExecutableMemory,
    /// `RUNTIME`, as cargo's own build is neither optimised nor stripped.
    InstalledExecutable,
    /// A program of the host.
    Program(&'static str),
    /// A file of the host.
    File(&'static str),
    /// Records of filtered system calls in the kernel's log, which they do not reach if an audit daemon takes them.
    SeccompLog,
    /// AppArmor, built in and switched on.
    AppArmor,
    /// SELinux with a policy that has labels for containers, as that of the test machine.
    ContainerLabels,
    /// A kernel that restricts speculation under every filter without SECCOMP_FILTER_FLAG_SPEC_ALLOW: of itself up to Linux 5.15.
    SpeculationBySeccomp,
}

impl Need {
    pub fn is_met(self) -> bool {
        let any = |v2: bool| hierarchies().iter().any(|h| h.v2 == v2);
        match self {
            Need::Root => nix::unistd::geteuid().is_root(),
            Need::CgroupV1 => any(false),
            Need::CgroupV2 => any(true),
            Need::Controller(name) => place_of(name, View::from_env()).is_some(),
            Need::V2Controller(name) => place_of(name, View::V2).is_some(),
            Need::Systemd => {
                Path::new("/run/systemd/system").exists()
                    && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
            }
            Need::TimeNamespace => Path::new("/proc/self/ns/time").exists(),
            // SAFETY: takes numbers, and tells of this process.
            Need::DeniedExecutableMemory => unsafe { libc::prctl(libc::PR_GET_MDWE, 0, 0, 0, 0) >= 0 },
            Need::InstalledExecutable => std::env::var_os("RUNTIME").is_some(),
            Need::ExecutableMemfd => !says("/proc/sys/vm/memfd_noexec", "2"),
            Need::UserNamespace => Path::new("/proc/self/ns/user").exists(),
            Need::RealTime => real_time(),
            Need::RaisedLimits => {
                let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
                let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
                effective.is_some_and(|set| u64::from_str_radix(set, 16).is_ok_and(|set| set >> 24 & 1 == 1))
            }
            Need::Keyrings => Path::new("/proc/keys").exists(),
            Need::Program(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
            }
            Need::File(path) => Path::new(path).exists(),
            Need::SeccompLog => {
                let logged = says("/proc/sys/kernel/seccomp/actions_logged", "log");
                let off = says("/proc/cmdline", "audit=0") || Path::new("/run/auditd.pid").exists();
                logged && !off && std::fs::File::open("/dev/kmsg").is_ok()
            }
            Need::AppArmor => says("/sys/module/apparmor/parameters/enabled", "Y"),
            Need::ContainerLabels => {
                // Without a policy, where everything is "kernel", any label is valid.
                let label = "system_u:system_r:container_t:s0:c1,c2";
                !says("/proc/self/attr/current", "kernel\0")
                    && std::fs::write("/sys/fs/selinux/context", label).is_ok()
            }
            Need::SpeculationBySeccomp => {
                says("/sys/devices/system/cpu/vulnerabilities/spec_store_bypass", "seccomp")
            }
        }
    }
}

/// Tries it in a thread of its own.
fn real_time() -> bool {
    let attempt = || {
        let param = libc::sched_param { sched_priority: 1 };
        // SAFETY: the structure is read during the call only.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) == 0 }
    };
    std::thread::spawn(attempt).join().unwrap()
}

/// Whether a file has this word in it.
fn says(path: &str, word: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.split_whitespace().any(|found| found == word))
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Need::Root => write!(f, "root"),
            Need::CgroupV1 => write!(f, "cgroup v1"),
            Need::CgroupV2 => write!(f, "cgroup v2"),
            Need::Controller(name) => write!(f, "the cgroup controller {name}"),
            Need::V2Controller(name) => write!(f, "the controller {name} of cgroup v2"),
            Need::Systemd => write!(f, "systemd, with cgroup v2"),
            Need::TimeNamespace => write!(f, "time namespaces (CONFIG_TIME_NS)"),
            Need::UserNamespace => write!(f, "user namespaces (CONFIG_USER_NS)"),
            Need::RealTime => write!(f, "real-time scheduling in the caller's cgroup"),
            Need::RaisedLimits => write!(f, "the right to raise limits (CAP_SYS_RESOURCE)"),
            Need::Keyrings => write!(f, "kernel keyrings (CONFIG_KEYS)"),
            Need::DeniedExecutableMemory => write!(f, "PR_SET_MDWE"),
            Need::InstalledExecutable => write!(f, "RUNTIME, the executable that is installed"),
            Need::ExecutableMemfd => write!(f, "memfds that can be executed (vm.memfd_noexec)"),
            Need::Program(name) => write!(f, "the program {name}"),
            Need::File(path) => write!(f, "{path}"),
            Need::SeccompLog => write!(f, "seccomp records in /dev/kmsg"),
            Need::AppArmor => write!(f, "AppArmor"),
            Need::ContainerLabels => write!(f, "an SELinux policy with container_t"),
            Need::SpeculationBySeccomp => write!(f, "a kernel with spec_store_bypass_disable=seccomp"),
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
