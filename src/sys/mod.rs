//! The kernel, one file a kernel object. What belongs here: thin wrappers around system calls, the
//! constants of the kernel's interface, and all `unsafe` code of the project. What does not: any
//! decision about containers.
//!
//! Every wrapper sets `O_CLOEXEC` itself, retries `EINTR` where a retry is right, and fails with a
//! [`CallError`] that shows the call as one would type it.
#![allow(unsafe_code)]

use std::fmt;

pub mod bpf;
pub mod cgroup;
pub mod clone;
pub mod copy;
pub mod cred;
pub mod entry;
pub mod eventfd;
pub mod file;
#[cfg(target_arch = "x86_64")]
mod image;
pub mod keyring;
pub mod memory;
pub mod mount;
pub mod net;
pub mod netlink;
pub mod ns;
pub mod path;
pub mod pidfd;
pub mod proc;
pub mod process;
mod raw;
pub mod schedule;
pub mod seal;
pub mod seccomp;
pub mod selinux;
pub mod signal;
pub mod socket;
pub mod tty;

/// A system call that failed.
#[derive(Debug, Clone)]
pub struct CallError {
    /// The call as one would type it, with its arguments: `openat2(3, "etc", O_PATH, RESOLVE_IN_ROOT)`.
    pub call: String,
    /// Why it failed.
    pub errno: Errno,
}

/// The result of a wrapper.
pub type Result<T> = std::result::Result<T, CallError>;

/// An error number of the kernel ([errno(3)](https://man7.org/linux/man-pages/man3/errno.3.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident),*) => { impl Errno { $(
        #[doc = concat!("`", stringify!($name), "`")]
        pub const $name: Errno = Errno(libc::$name);
    )* } };
}
errnos!(
    E2BIG, EACCES, EAGAIN, EBADF, EBUSY, ECHILD, ECONNRESET, EEXIST, EINTR, EINVAL, EISDIR, ELOOP, EMFILE,
    ENODEV, ENOENT, ENOEXEC, ENOSPC, ENOSYS, ENOTDIR, ENOTEMPTY, ENOTTY, EOPNOTSUPP, EPERM, EPIPE, ERANGE,
    EROFS, ESRCH
);

impl Errno {
    /// The symbol: `ENOENT`.
    pub fn name(self) -> String {
        match nix::errno::Errno::from_raw(self.0) {
            nix::errno::Errno::UnknownErrno => format!("errno {}", self.0),
            known => format!("{known:?}"),
        }
    }

    /// The words, beginning in lower case: `no such file or directory`. Engines match these texts.
    pub fn text(self) -> String {
        let desc = nix::errno::Errno::from_raw(self.0).desc();
        let mut chars = desc.chars();
        match (chars.next(), chars.clone().next()) {
            // "RPC ..." and the like keep their capitals.
            (Some(first), Some(second)) if second.is_lowercase() => {
                first.to_lowercase().chain(chars).collect()
            }
            _ => desc.to_owned(),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.text())
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Errno(errno as i32)
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Errno(errno.raw_os_error())
    }
}

impl From<std::io::Error> for Errno {
    /// `EIO` stands for an error that did not come from the kernel.
    fn from(error: std::io::Error) -> Self {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// Attaches the text of the call to a failure; the text is built only then.
trait Called<T> {
    fn called(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Errno>> Called<T> for std::result::Result<T, E> {
    fn called(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| CallError { call: call(), errno: errno.into() })
    }
}

/// The result of a raw system call: the value, or the errno.
fn check(ret: libc::c_long) -> std::result::Result<libc::c_long, Errno> {
    if ret < 0 { Err(Errno(nix::errno::Errno::last_raw())) } else { Ok(ret) }
}

/// Runs a call again for as long as a signal interrupts it.
fn retry<T, E: Into<Errno> + Copy>(
    mut call: impl FnMut() -> std::result::Result<T, E>,
) -> std::result::Result<T, Errno> {
    loop {
        match call().map_err(Into::into) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}
