//! The beginning of the process, in place of the one that Rust's standard library has. That one prepares for threads and for telling
//! a stack overflow from other faults, which takes 14 system calls.

use super::raw::Refused;
use super::{CallError, Errno, Result, seal};
#[cfg(target_arch = "x86_64")]
use super::{image::Image, raw::close};
use std::ffi::c_char;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the program begins, before the C library. The kernel has put the arguments on the stack.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn orlop_start() -> ! {
    // rdx is for the C library, and pushed twice to keep the stack aligned.
    std::arch::naked_asm!(
        "push rdx",
        "push rdx",
        "lea rdi, [rsp + 16]",
        "call {move_image}",
        // The answer is in rax and rdx. The next instruction is that of the copy, if there is one.
        "lea rcx, [rip + 2f]",
        "add rcx, rax",
        "jmp rcx",
        "2:",
        "lea rdi, [rsp + 16]",
        "mov rsi, rax",
        "call {settle}",
        "pop rdx",
        "pop rdx",
        "jmp _start",
        move_image = sym move_image,
        settle = sym settle,
    )
}

/// A copy of the program's image.
#[cfg(target_arch = "x86_64")]
#[repr(C)]
struct Moved {
    /// How far away it is; 0 is nowhere.
    distance: usize,
    /// A descriptor of the file that will be executed in place of the program's own.
    exe: usize,
}

/// Copies the image of a program that is exposed to containers. Where that can't be, a copy of the program is executed, and if not
/// even that, [`Arguments::execute_sealed_copy`] finds out once more and tells why.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn move_image(stack: *const usize) -> Moved {
    const NOWHERE: Moved = Moved { distance: 0, exe: 0 };
    // Without optimisation the simplest step is a call by way of a table; and what follows the name of the unit tests are no commands.
    if cfg!(any(debug_assertions, test)) {
        return NOWHERE;
    }
    // SAFETY: this is the stack that the process begins with.
    unsafe {
        let Arguments { argv, envp } = Arguments::on_stack(stack);
        let Ok(Some(own)) = seal::exposed(argv) else { return NOWHERE };
        let image = Image::find(envp).filter(|image| image.may_be_left(argv, envp));
        let moved = image.and_then(|image| {
            let exe = seal::memory(None).ok()?;
            let distance = image.copy(own).ok();
            if distance.is_none() {
                close(exe);
            }
            Some(Moved { distance: distance?, exe })
        });
        close(own);
        moved.unwrap_or_else(|| {
            let _ = seal::execute_copy(argv, envp);
            NOWHERE
        })
    }
}

/// Whether the program has been moved, and its file is not exposed any more.
static MOVED: AtomicBool = AtomicBool::new(false);

/// What remains to be done in the copy.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn settle(stack: *const usize, distance: usize, exe: usize) {
    if distance == 0 {
        return;
    }
    // SAFETY: this is the stack that the process begins with, and the code of the copy.
    unsafe {
        let Arguments { argv, envp } = Arguments::on_stack(stack);
        let image = Image::find(envp).and_then(|image| image.leave(distance).ok());
        let set = image.is_some_and(|image| image.set_exe(exe, argv, envp).is_ok());
        MOVED.store(set, Ordering::Relaxed);
    }
    close(exe);
}

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

    /// Takes what the kernel has left on the stack.
    ///
    /// # Safety
    ///
    /// This is where a process begins with the number of its arguments, the arguments and a null pointer, the environment and another.
    #[cfg(target_arch = "x86_64")]
    unsafe fn on_stack(stack: *const usize) -> Self {
        // SAFETY: as the caller has promised.
        unsafe {
            let argv = stack.add(1);
            Arguments { argv: argv.cast(), envp: argv.add(*stack).add(1).cast() }
        }
    }

    /// See [`seal::execute_copy`]. That is done here if the program could not be moved.
    pub fn execute_sealed_copy(&self) -> Result<()> {
        if MOVED.load(Ordering::Relaxed) {
            return Ok(());
        }
        // SAFETY: both vectors are as `new` was promised.
        let executed = unsafe { seal::execute_copy(self.argv, self.envp) };
        executed.map_err(|Refused { call, errno }| CallError { call: call.into(), errno })
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
