//! Keys and keyrings ([keyrings(7)](https://man7.org/linux/man-pages/man7/keyrings.7.html)).

use super::{Called, Errno, Result, check};
use std::ffi::CString;

const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
const KEYCTL_SETPERM: u32 = 5;
/// The possessor may do all, the owner may view and search.
const PERMISSIONS: u32 = 0x3f09_0000;

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`: a session keyring of that name instead of the caller's, so that its keys can't be
/// used. Where the kernel has no keys, or forbids them, there is nothing to separate.
/// [keyctl(2)](https://man7.org/linux/man-pages/man2/keyctl.2.html)
pub fn join_session(name: &str) -> Result<()> {
    let call = || format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name:?})");
    let c_name = CString::new(name).map_err(|_| Errno::EINVAL).called(call)?;
    // SAFETY: the name is a C string that outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, c_name.as_ptr()) };
    let keyring = match check(ret) {
        Ok(keyring) => keyring,
        Err(Errno::ENOSYS | Errno::EPERM) => return Ok(()),
        Err(errno) => return Err(errno).called(call),
    };
    // SAFETY: takes numbers only.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, keyring, PERMISSIONS) };
    match check(ret) {
        // A keyring of that name that an earlier process of the container has made already has its permissions.
        Ok(_) | Err(Errno::EACCES) => Ok(()),
        Err(errno) => Err(errno).called(|| format!("keyctl(KEYCTL_SETPERM, {PERMISSIONS:#x})")),
    }
}
