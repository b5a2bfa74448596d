//! The executable that containers are started with: a sealed copy in memory. A container that gets hold of
//! `/proc/PID/exe` of a process that enters it (CVE-2019-5736) holds this copy, which nobody can write, not the file on
//! the host; and it shares no page cache with that file, which kernel bugs of the Dirty Pipe kind can write.

use super::{Called, Errno, Result, check};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const ALL_SEALS: libc::c_int =
    libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// Whether the file of a descriptor is a fully sealed memfd.
pub fn is_sealed(fd: BorrowedFd) -> Result<bool> {
    // SAFETY: F_GET_SEALS takes no argument.
    let ret = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    match check(ret.into()) {
        Ok(seals) => Ok(seals & libc::c_long::from(ALL_SEALS) == libc::c_long::from(ALL_SEALS)),
        // Seals exist on memfds only.
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno).called(|| "fcntl(/proc/self/exe, F_GET_SEALS)".into()),
    }
}

/// A sealed copy of a file in memory, which can be executed.
/// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html); `MFD_EXEC` since Linux 6.3.
pub fn copy(file: BorrowedFd, size: u64) -> Result<OwnedFd> {
    use rustix::fs::MemfdFlags;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create(c"orlop", flags | MemfdFlags::EXEC) {
        // A kernel before 6.3 doesn't know the flag, and makes every memfd executable.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(c"orlop", flags),
        other => other,
    }
    .called(|| "memfd_create(\"orlop\", MFD_EXEC)".into())?;
    let mut left = usize::try_from(size).unwrap_or(usize::MAX);
    while left > 0 {
        let sent =
            rustix::fs::sendfile(&memory, file, None, left).called(|| format!("sendfile({left} bytes)"))?;
        if sent == 0 {
            break;
        }
        left = left.saturating_sub(sent);
    }
    // SAFETY: F_ADD_SEALS takes a number.
    let ret = unsafe { libc::fcntl(memory.as_fd().as_raw_fd(), libc::F_ADD_SEALS, ALL_SEALS) };
    check(ret.into()).called(|| "fcntl(F_ADD_SEALS)".into())?;
    Ok(memory)
}
