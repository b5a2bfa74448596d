//! System calls past the C library, for the time before that is ready.

use super::Errno;
use std::ffi::{c_int, c_long};

/// A call that failed. To name it takes no memory.
#[derive(Debug)]
pub struct Refused {
    /// Which one.
    pub call: &'static str,
    /// Why.
    pub errno: Errno,
}

/// What a call has returned.
pub type Result<T> = std::result::Result<T, Refused>;

/// A system call.
///
/// # Safety
///
/// Addresses among the arguments are what this call wants at their place.
pub unsafe fn call<const N: usize>(name: &'static str, number: c_long, args: [usize; N]) -> Result<usize> {
    const { assert!(N <= 6, "the kernel takes six") };
    let arg = |at: usize| args.get(at).copied().unwrap_or(0);
    let [a, b, c, d, e, f] = [arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)];
    let ret: c_long;
    // SAFETY: as the caller has promised. The kernel changes no other registers than these.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => ret,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as the caller has promised.
    #[cfg(not(target_arch = "x86_64"))]
    {
        ret = match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
            -1 => -c_long::from(nix::errno::Errno::last_raw()),
            value => value,
        };
    }
    usize::try_from(ret)
        .map_err(|_| Refused { call: name, errno: Errno(i32::try_from(-ret).unwrap_or(libc::EIO)) })
}

/// Closes a descriptor that nothing else uses.
pub fn close(fd: usize) {
    // SAFETY: no address is handed over.
    let _ = unsafe { call("close", libc::SYS_close, [fd]) };
}

/// Flags, or a number like `AT_FDCWD`, as an argument.
pub const fn flags(flags: c_int) -> usize {
    flags.cast_unsigned() as usize
}
