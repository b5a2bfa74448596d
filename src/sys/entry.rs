//! The beginning of the process, in place of the one that Rust's standard library has. That one prepares for threads and for telling
//! a stack overflow from other faults, which takes 14 system calls, and twice as many in a process that executes a copy of itself.

use std::os::fd::RawFd;

/// Makes a function of no arguments, which returns the exit code, the program's entry. What the standard library does besides and what
/// this program counts on, [`prepare`] does when it is called.
macro_rules! entry {
    ($run:path) => {
        // The program of a unit test is not this one, but it holds it.
        #[cfg(test)]
        const _: fn() -> u8 = $run;
        // SAFETY: no other function of the program is called "main", and this is its C signature.
        #[allow(unsafe_code)]
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        extern "C" fn main(_: std::ffi::c_int, _: *const *const std::ffi::c_char) -> std::ffi::c_int {
            std::ffi::c_int::from($run())
        }
    };
}
pub(crate) use entry;

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
