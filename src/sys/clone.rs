//! Making processes.

use super::{Called, Result, check};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The kernel's `struct clone_args`, up to the field `cgroup` (since Linux 5.7).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which side of the clone the caller is on.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child,
    /// The process that called.
    Parent(Child),
}

/// A new process.
#[derive(Debug)]
pub struct Child {
    /// Its id in the pid namespace of the caller.
    pub pid: i32,
    /// Its descriptor, which can't come to mean another process.
    pub pidfd: OwnedFd,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `clone3({flags | CLONE_PIDFD [| CLONE_INTO_CGROUP] [| CLONE_PARENT]})`: a copy of the process, in new namespaces of the kinds in `namespaces`
/// and, with `cgroup`, born in the cgroup2 directory of that descriptor: it is never outside of it, and nothing waits for the RCU
/// grace period that writing to `cgroup.procs` costs. With `sibling` the new process is a child of the caller's parent.
/// [clone3(2)](https://man7.org/linux/man-pages/man2/clone3.2.html), since Linux 5.3 (`CLONE_INTO_CGROUP`: 5.7).
pub fn clone3(namespaces: super::ns::NsSet, cgroup: Option<BorrowedFd>, sibling: bool) -> Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: namespaces.0 | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD.unsigned_abs().into(),
        ..CloneArgs::default()
    };
    if sibling {
        // The signal at the end of a sibling is the one that its creator was made with.
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0;
    }
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(fd.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM the child has its own copy of the memory and stack, as after fork(2); the process has one
    // thread, so that no lock is held by a thread that the child lacks. The arguments outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match check(ret) {
        Ok(0) => Ok(Cloned::Child),
        Ok(pid) => {
            // SAFETY: the kernel has stored a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            // A pid is at most 2^22.
            Ok(Cloned::Parent(Child { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd }))
        }
        Err(errno) => Err(errno).called(|| {
            let cgroup = cgroup.map(|fd| format!(", cgroup {}", super::file::shown(fd))).unwrap_or_default();
            format!("clone3({:#x}{cgroup})", args.flags)
        }),
    }
}
