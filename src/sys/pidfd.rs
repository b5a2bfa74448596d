//! Processes by descriptor: a pidfd can't come to mean another process, as a number can.

use super::file::shown;
use super::{Called, Errno, Result, check, retry};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// `pidfd_open(pid, 0)`: [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html), since Linux 5.3.
pub fn open(pid: i32) -> Result<OwnedFd> {
    let call = || format!("pidfd_open({pid})");
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::ESRCH).called(call)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).called(call)
}

/// `pidfd_send_signal(pidfd, signal)`: signal 0 only asks whether it could be sent.
/// [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html), since Linux 5.1.
pub fn send_signal(pidfd: BorrowedFd, signal: i32) -> Result<()> {
    // SAFETY: takes numbers and a null pointer for the optional details.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(ret).map(drop).called(|| format!("pidfd_send_signal({}, {signal})", shown(pidfd)))
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// The code that a shell, and every runtime, reports for it: 128 and the number of the signal.
    pub fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX),
        }
    }
}

/// `waitid(P_PIDFD, pidfd, WEXITED)`: waits for the end of a child and reaps it.
/// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html), since Linux 5.4.
pub fn wait(pidfd: BorrowedFd) -> Result<Exit> {
    let call = || format!("waitid(P_PIDFD, {})", shown(pidfd));
    let options = rustix::process::WaitIdOptions::EXITED;
    let status =
        retry(|| rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd), options)).called(call)?;
    let status = status.ok_or(Errno::ECHILD).called(call)?;
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
    })
}

/// Reaps ended children, the adopted ones among them, but not the process `except`, whose end its owner waits for.
pub fn reap_others(except: i32) {
    loop {
        // SAFETY: an all-zero siginfo_t is a valid one, and it outlives the call.
        let ended = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            if libc::waitid(libc::P_ALL, 0, &raw mut info, options) < 0 {
                return;
            }
            info.si_pid()
        };
        if ended == 0 || ended == except {
            return;
        }
        // SAFETY: a null pointer says that the status is not wanted.
        unsafe { libc::waitpid(ended, std::ptr::null_mut(), libc::WNOHANG) };
    }
}
