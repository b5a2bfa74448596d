//! Sealed memory in the place of the host's executable. A container that gets hold of `/proc/PID/exe` of a process that enters it
//! (CVE-2019-5736) holds a file that nobody can write, not the one on the host.
//!
//! As a rule the file is empty, and the program is where [`super::image`] has moved it to. Where that can't be, a copy of the program is
//! executed. Either is done before the C library begins, so nothing here may call it, be it to copy memory, nor use a table of
//! addresses: to get ready, glibc relocates the program and asks the processor 67 questions, each of which is a way out of a virtual
//! machine and back, and a process that only executes another needs none of it.

use super::Errno;
use super::raw::{Refused, Result, call, close, flags};
use std::ffi::c_char;

/// The file that is executed here, if the arguments have a command that enters a container, and this file is exposed to it. The other
/// commands don't pay for anything.
///
/// # Safety
///
/// The vector holds C strings and ends with a null pointer.
pub unsafe fn exposed(argv: *const *const c_char) -> Result<Option<usize>> {
    // SAFETY: as the caller has promised.
    if !unsafe { enters_container(argv) } {
        return Ok(None);
    }
    let path = c"/proc/self/exe".as_ptr().addr();
    let open = [flags(libc::AT_FDCWD), path, flags(libc::O_RDONLY | libc::O_CLOEXEC)];
    // SAFETY: the path is a C string.
    let own = unsafe { call("open(/proc/self/exe)", libc::SYS_openat, open) }?;
    let sealed = is_sealed(own);
    if matches!(sealed, Ok(false)) {
        return Ok(Some(own));
    }
    close(own);
    sealed.map(|_| None)
}

/// Executes a sealed copy of this program with the same arguments, if it is exposed.
///
/// # Safety
///
/// Both vectors hold C strings and end with a null pointer.
pub unsafe fn execute_copy(argv: *const *const c_char, envp: *const *const c_char) -> Result<()> {
    // SAFETY: as the caller has promised.
    let Some(own) = (unsafe { exposed(argv) })? else { return Ok(()) };
    let result = memory(Some(own)).and_then(|copy| {
        let execute = [copy, c"".as_ptr().addr(), argv.addr(), envp.addr(), flags(libc::AT_EMPTY_PATH)];
        // SAFETY: the path is a C string, and the vectors are as the caller has promised.
        let refused = unsafe { call("execveat(copy of the program)", libc::SYS_execveat, execute) };
        close(copy);
        refused.map(drop)
    });
    close(own);
    result
}

/// Whether an argument is a command that enters a container.
unsafe fn enters_container(mut arg: *const *const c_char) -> bool {
    const CREATE: u64 = u64::from_le_bytes(*b"create\0\0");
    const RUN: u64 = u64::from_le_bytes(*b"run\0\0\0\0\0");
    const EXEC: u64 = u64::from_le_bytes(*b"exec\0\0\0\0");
    const MOUNTS: u64 = u64::from_le_bytes(*b"mounts\0\0");
    // SAFETY: as the caller has promised, C strings come until the null pointer.
    unsafe {
        while !(*arg).is_null() {
            if matches!(beginning(*arg), CREATE | RUN | EXEC | MOUNTS) {
                return true;
            }
            arg = arg.add(1);
        }
    }
    false
}

/// The first eight bytes of a C string, zeros where it is shorter.
unsafe fn beginning(text: *const c_char) -> u64 {
    let mut bytes = 0;
    for at in 0..8 {
        // SAFETY: the string has not ended before this byte. A loop with volatile reads is not made a call of the C library.
        let byte = unsafe { text.add(at).cast::<u8>().read_volatile() };
        if byte == 0 {
            break;
        }
        bytes |= u64::from(byte) << (8 * at);
    }
    bytes
}

const ALL_SEALS: usize =
    flags(libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE);

/// Whether a file is a fully sealed memfd. Where a file can have no seals, to ask for them is an error.
fn is_sealed(file: usize) -> Result<bool> {
    // SAFETY: no address is handed over.
    match unsafe { call("fcntl(F_GET_SEALS)", libc::SYS_fcntl, [file, flags(libc::F_GET_SEALS)]) } {
        Ok(seals) => Ok(seals & ALL_SEALS == ALL_SEALS),
        Err(Refused { errno: Errno::EINVAL, .. }) => Ok(false),
        Err(refused) => Err(refused),
    }
}

/// A sealed file in memory which can be executed: a copy of another one, or empty.
/// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html); `MFD_EXEC` since Linux 6.3.
pub fn memory(original: Option<usize>) -> Result<usize> {
    let create = |executable: u32| {
        let wanted = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | executable;
        let args = [c"orlop".as_ptr().addr(), flags(wanted.cast_signed())];
        // SAFETY: the name is a C string.
        unsafe { call("memfd_create(\"orlop\", MFD_EXEC)", libc::SYS_memfd_create, args) }
    };
    let memory = match create(libc::MFD_EXEC) {
        // A kernel before 6.3 doesn't know the flag, and makes every memfd executable.
        Err(Refused { errno: Errno::EINVAL, .. }) => create(0)?,
        other => other?,
    };
    let filled = original.map_or(Ok(()), |file| fill(memory, file));
    let sealed = filled.and_then(|()| {
        // SAFETY: no address is handed over.
        unsafe { call("fcntl(F_ADD_SEALS)", libc::SYS_fcntl, [memory, flags(libc::F_ADD_SEALS), ALL_SEALS]) }
    });
    if sealed.is_err() {
        close(memory);
    }
    sealed.map(|_| memory)
}

fn fill(memory: usize, file: usize) -> Result<()> {
    // As much as one call copies.
    const MOST: usize = 0x7fff_f000;
    loop {
        // SAFETY: without an offset no address is handed over.
        match unsafe { call("sendfile(copy of the program)", libc::SYS_sendfile, [memory, file, 0, MOST]) } {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(refused) => return Err(refused),
        }
    }
}
