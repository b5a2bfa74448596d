//! Signals ([signal(7)](https://man7.org/linux/man-pages/man7/signal.7.html)).

use super::{Called, Result, check};
use nix::sys::signal as nx;
use std::os::fd::{FromRawFd, OwnedFd};

/// `strsignal(number)`, beginning in lower case: `bad system call`.
/// [strsignal(3)](https://man7.org/linux/man-pages/man3/strsignal.3.html)
pub fn text(number: i32) -> String {
    // SAFETY: takes a number; what it returns is null or a C string, which is copied before anything can change it.
    let text = unsafe {
        let text = libc::strsignal(number);
        if text.is_null() { return format!("signal {number}") } else { std::ffi::CStr::from_ptr(text) }
    };
    let text = text.to_string_lossy();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The number of a signal given as a number (0 only asks whether the process is there), or as a name with or without `SIG`, in any case: `9`, `KILL`, `SIGKILL`, `RTMIN+3`.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (0..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |base: i32, offset: &str| {
        let offset: i32 = if offset.is_empty() { 0 } else { offset.parse().ok()? };
        let number = base.checked_add(offset)?;
        (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number).then_some(number)
    };
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(libc::SIGRTMIN(), offset);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(libc::SIGRTMAX(), offset);
    }
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        other => other,
    };
    format!("SIG{name}").parse::<nx::Signal>().ok().map(|signal| signal as i32)
}

/// `SIGKILL`
pub const KILL: i32 = libc::SIGKILL;
/// `SIGCHLD`
pub const CHLD: i32 = libc::SIGCHLD;
/// `SIGWINCH`
pub const WINCH: i32 = libc::SIGWINCH;
/// `SIGURG`, which some runtimes of languages send themselves.
pub const URG: i32 = libc::SIGURG;

/// Blocks all signals that can be blocked.
pub fn block_all() -> Result<()> {
    nx::sigprocmask(nx::SigmaskHow::SIG_BLOCK, Some(&nx::SigSet::all()), None)
        .called(|| "sigprocmask(SIG_BLOCK)".into())
}

/// Has `SIGTERM` end the process until its execve, which takes handlers away: the first process of a PID namespace ignores what it has
/// no handler for.
pub fn end_on_term() -> Result<()> {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit may be called in a handler, and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    let action = nx::SigAction::new(nx::SigHandler::Handler(end), nx::SaFlags::empty(), nx::SigSet::empty());
    // SAFETY: the handler does nothing but end the process.
    let before = unsafe { nx::sigaction(nx::Signal::SIGTERM, &action) };
    before.map(drop).called(|| "sigaction(SIGTERM)".into())
}

/// A descriptor to read all signals from, which have to be blocked.
/// [signalfd(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html)
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// `signalfd(all, SFD_CLOEXEC | SFD_NONBLOCK)`
    pub fn open() -> Result<Self> {
        let all = nx::SigSet::all();
        // SAFETY: the set outlives the call.
        let fd = unsafe { libc::signalfd(-1, all.as_ref(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        check(fd.into()).called(|| "signalfd()".into())?;
        // SAFETY: the kernel has just made this descriptor, which nobody else owns.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The number of the next signal that is pending, if there is one.
    pub fn next(&self) -> Option<i32> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.0, &mut info).ok()?;
        // The number is the first field.
        let number = info.get(..4)?.try_into().ok().map(u32::from_ne_bytes)?;
        if read == info.len() { i32::try_from(number).ok() } else { None }
    }
}

impl std::os::fd::AsFd for SignalFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives the process the signal state of a fresh one: every disposition in `ignored` (bit `n-1` for signal `n`, as `SigIgn` in
/// `/proc/PID/status`) back to its default, nothing blocked.
pub fn reset(ignored: u64) -> Result<()> {
    for number in (1..=64).filter(|n| ignored >> (n - 1) & 1 == 1) {
        // The kernel's struct sigaction, all zero: SIG_DFL, no flags, nothing blocked. Not by way of glibc, which keeps two
        // signals to itself.
        let default = [0u64; 4];
        // SAFETY: SIG_DFL runs no code of the program, and the structure outlives the call.
        unsafe {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), none, size_of::<u64>())
        };
    }
    nx::sigprocmask(nx::SigmaskHow::SIG_SETMASK, Some(&nx::SigSet::empty()), None)
        .called(|| "sigprocmask(SIG_SETMASK)".into())
}

/// The signals that the process ignores, as [`reset`] takes them.
pub fn ignored() -> u64 {
    let status = super::file::read_proc("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_numbers() {
        let cases = [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("SIGKILL", Some(9)),
            ("sigterm", Some(15)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGPOLL", Some(29)),
            ("0", Some(0)),
            ("65", None),
            ("-1", None),
            ("RTMIN+99", None),
            ("SIGNOPE", None),
            ("", None),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text), number, "{text}");
        }
    }
}
