//! System call filters ([seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html)).

use super::{CallError, Called, Errno, Result, check};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// An instruction of a filter: `struct sock_filter` of `linux/filter.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub jt: u8,
    /// How many instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
const NEW_LISTENER: u32 = 1 << 3;

/// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)`: from here on the calls of the process are filtered. With the flag
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` the descriptor comes back on which notifications can be read.
pub fn install(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions)", program.len());
    let too_long = |_| CallError { call: call(), errno: Errno::EINVAL };
    let fprog =
        Program { length: u16::try_from(program.len()).map_err(too_long)?, instructions: program.as_ptr() };
    // SAFETY: the structure describes the instructions, and both outlive the call, which copies them.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) };
    let ret = check(ret).called(call)?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    let fd = RawFd::try_from(ret).map_err(too_long)?;
    // SAFETY: the kernel has just made this descriptor, which nobody else owns; it closes on execve.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Whether the kernel knows these flags: it looks at them first, and then misses the program. A sandbox that answers something else
/// says nothing about the kernel.
pub fn knows(flags: u32) -> bool {
    let none = std::ptr::null::<Program>();
    // SAFETY: without a program nothing is installed.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, none) };
    check(ret) != Err(Errno::EINVAL)
}

/// Has the new process of `command` install a filter right before its execve.
pub fn install_in(command: &mut Command, program: &[Instruction], flags: u32) {
    let program = program.to_vec();
    let install = move || match install(&program, flags) {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::from_raw_os_error(error.errno.0)),
    };
    // SAFETY: this program has one thread, so that no lock can be held by another one that the new process lacks.
    unsafe { command.pre_exec(install) };
}
