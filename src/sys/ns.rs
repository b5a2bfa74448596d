//! Namespaces ([namespaces(7)](https://man7.org/linux/man-pages/man7/namespaces.7.html)).

use super::{Called, Errno, Result, check};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ns {
    /// User and group ids, and capabilities over what they own.
    User,
    /// The tree of mounts.
    Mount,
    /// Process ids.
    Pid,
    /// Network devices, addresses, ports.
    Network,
    /// System V IPC objects and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The root of what `/proc/PID/cgroup` shows.
    Cgroup,
    /// Offsets of the monotonic and boot-time clocks (since Linux 5.6).
    Time,
}

impl Ns {
    /// All kinds, in the order in which joining them works: the user namespace first, because it gives the
    /// capabilities that the others need; the mount namespace last, because paths change with it.
    pub const ALL: [Ns; 8] =
        [Ns::User, Ns::Pid, Ns::Network, Ns::Ipc, Ns::Uts, Ns::Cgroup, Ns::Time, Ns::Mount];

    /// Its `CLONE_NEW...` flag.
    pub const fn flag(self) -> u64 {
        match self {
            Ns::Time => 0x80,
            Ns::Mount => 0x2_0000,
            Ns::Cgroup => 0x200_0000,
            Ns::Uts => 0x400_0000,
            Ns::Ipc => 0x800_0000,
            Ns::User => 0x1000_0000,
            Ns::Pid => 0x2000_0000,
            Ns::Network => 0x4000_0000,
        }
    }

    /// Its name in `/proc/PID/ns`.
    pub const fn proc_name(self) -> &'static str {
        match self {
            Ns::Mount => "mnt",
            Ns::Network => "net",
            other => other.name(),
        }
    }

    /// Its name in config.json.
    pub const fn name(self) -> &'static str {
        match self {
            Ns::User => "user",
            Ns::Mount => "mount",
            Ns::Pid => "pid",
            Ns::Network => "network",
            Ns::Ipc => "ipc",
            Ns::Uts => "uts",
            Ns::Cgroup => "cgroup",
            Ns::Time => "time",
        }
    }
}

/// A set of namespace kinds: the union of their flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NsSet(pub u64);

impl NsSet {
    /// The set with one more kind.
    #[must_use]
    pub const fn with(self, kind: Ns) -> Self {
        NsSet(self.0 | kind.flag())
    }

    /// The set without a kind.
    #[must_use]
    pub const fn without(self, kind: Ns) -> Self {
        NsSet(self.0 & !kind.flag())
    }

    /// Whether a kind is in the set.
    pub const fn has(self, kind: Ns) -> bool {
        self.0 & kind.flag() != 0
    }

    /// The set without the kinds of another.
    #[must_use]
    pub const fn minus(self, other: NsSet) -> Self {
        NsSet(self.0 & !other.0)
    }

    /// Whether there is no kind in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn names(self) -> String {
        let names: Vec<_> = Ns::ALL.iter().filter(|kind| self.has(**kind)).map(|kind| kind.name()).collect();
        names.join("|")
    }
}

/// `setns(fd, flags)`: joins the namespace that an nsfs fd stands for, or several of the process that a pidfd stands for (since
/// Linux 5.8), all or none. [setns(2)](https://man7.org/linux/man-pages/man2/setns.2.html)
pub fn join(fd: BorrowedFd, kinds: NsSet) -> Result<()> {
    // SAFETY: setns takes two numbers and touches no memory of the process.
    let ret = unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), kinds.0) };
    check(ret).map(drop).called(|| format!("setns({}, {})", super::file::shown(fd), kinds.names()))
}

/// `unshare(flags)`: [unshare(2)](https://man7.org/linux/man-pages/man2/unshare.2.html)
pub fn unshare(kinds: NsSet) -> Result<()> {
    // SAFETY: unshare takes one number and touches no memory of the process; the process has one thread.
    let ret = unsafe { libc::syscall(libc::SYS_unshare, kinds.0) };
    check(ret).map(drop).called(|| format!("unshare({})", kinds.names()))
}

/// `ioctl(fd, NS_GET_NSTYPE)`: the kind of namespace that an fd stands for; `None` where it is not a namespace.
/// [ioctl_nsfs(2)](https://man7.org/linux/man-pages/man2/ioctl_nsfs.2.html), since Linux 4.11.
pub fn kind_of(fd: BorrowedFd) -> Result<Option<Ns>> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: this ioctl takes no argument.
    let ret = unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_NSTYPE) };
    match check(ret) {
        Ok(flag) => Ok(Ns::ALL.into_iter().find(|kind| kind.flag() == flag.cast_unsigned())),
        Err(Errno::ENOTTY | Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno).called(|| format!("ioctl({}, NS_GET_NSTYPE)", super::file::shown(fd))),
    }
}
