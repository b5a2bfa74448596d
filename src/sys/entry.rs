//! The beginning of the process, in place of the one that Rust's standard library has. That one prepares for threads and for telling
//! a stack overflow from other faults, which takes 14 system calls, and twice as many in a process that executes a copy of itself.

use super::{CallError, Errno, Result, seal};
use std::ffi::c_char;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Makes a function of [`Arguments`], which returns the exit code, the program's entry. What the standard library does besides and what
/// this program counts on, [`prepare`] does when it is called.
macro_rules! entry {
    ($run:path) => {
        // The program of a unit test is not this one, but it holds it.
        #[cfg(test)]
        const _: fn(&$crate::sys::entry::Arguments) -> u8 = $run;
        // SAFETY: no other function of the program is called "main", and this is its C signature.
        #[allow(unsafe_code)]
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
            envp: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: these are what the C runtime hands to main.
            let arguments = unsafe { $crate::sys::entry::Arguments::new(argv, envp) };
            std::ffi::c_int::from($run(&arguments))
        }
    };
}
pub(crate) use entry;

/// The arguments and the environment as the kernel laid them out. To hand them on to a copy of the program takes no memory.
#[derive(Debug)]
pub struct Arguments {
    argv: *const *const c_char,
    envp: *const *const c_char,
}

impl Arguments {
    /// Takes what `main` got.
    ///
    /// # Safety
    ///
    /// Both hold C strings and end with a null pointer, for as long as the process lasts.
    #[cfg(not(test))]
    pub unsafe fn new(argv: *const *const c_char, envp: *const *const c_char) -> Self {
        Arguments { argv, envp }
    }

    /// See [`seal::execute_copy`].
    pub fn execute_sealed_copy(&self) -> Result<()> {
        // SAFETY: both vectors are as `new` was promised.
        let executed = unsafe { seal::execute_copy(self.argv, self.envp) };
        executed.map_err(|seal::Refused { call, errno }| CallError { call: call.into(), errno })
    }

    /// `execveat(fd, "", argv, envp, AT_EMPTY_PATH)`: the same command by the program that is the file of the descriptor. It returns only
    /// when it has failed.
    /// [execveat(2)](https://man7.org/linux/man-pages/man2/execveat.2.html)
    pub fn execute(&self, fd: BorrowedFd) -> CallError {
        let (fd, path, flags) = (fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH);
        // SAFETY: both vectors end with a null pointer, as `new` was promised; the path is a C string.
        unsafe { libc::syscall(libc::SYS_execveat, fd, path, self.argv, self.envp, flags) };
        CallError {
            call: "execveat(read-only mount of the program)".into(),
            errno: Errno(nix::errno::Errno::last_raw()),
        }
    }
}

/// Opens `/dev/null` for each standard stream that the caller has closed, lest a file that is opened later takes its number; and makes a
/// write to a pipe that nobody reads an error instead of the end.
pub fn prepare() {
    let mut streams = [0, 1, 2].map(|fd: RawFd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array holds three entries and outlives the call.
    unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    for stream in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
        // SAFETY: the path is a C string. The lowest free number is that of the stream, as those below it are open by now.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        if fd != stream.fd {
            super::process::exit_now(1);
        }
    }
    // SAFETY: SIG_IGN is a valid disposition and runs no code of the program.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
