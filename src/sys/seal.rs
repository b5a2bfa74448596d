//! The executable that containers are started with: a sealed copy in memory. A container that gets hold of
//! `/proc/PID/exe` of a process that enters it (CVE-2019-5736) holds this copy, which nobody can write, not the file on
//! the host; and it shares no page cache with that file, which kernel bugs of the Dirty Pipe kind can write.
//!
//! A process that only makes the copy needs no C library. To get ready, glibc relocates the program and asks the processor 67
//! questions, each of which is a way out of a virtual machine and back: a twentieth of all that `run` and `exec` take. So the copy is
//! made before that, and nothing on the way may call the C library, be it to copy memory, nor use a table of addresses.

use super::Errno;
use std::ffi::{c_char, c_int, c_long};

/// Where the program begins, before the C library. The kernel has put the arguments on the stack.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn orlop_start() -> ! {
    // rdx is for the C library, and pushed twice to keep the stack aligned.
    std::arch::naked_asm!(
        "mov rdi, rsp",
        "push rdx",
        "push rdx",
        "call {early}",
        "pop rdx",
        "pop rdx",
        "jmp _start",
        early = sym early,
    )
}

/// Where the copy can't be executed the program goes on, to find out once more and tell why.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn early(stack: *const usize) {
    // Without optimisation the simplest step is a call by way of a table; and what follows the name of the unit tests are no commands.
    if cfg!(any(debug_assertions, test)) {
        return;
    }
    // SAFETY: a process begins with the number of its arguments on the stack, then the arguments and a null pointer, and the environment
    // and another one.
    unsafe {
        let argv = stack.add(1);
        let envp = argv.add(*stack).add(1);
        let _ = execute_copy(argv.cast(), envp.cast());
    }
}

/// The call that failed, when a copy could not be made or executed.
#[derive(Debug)]
pub struct Refused {
    /// Which one.
    pub call: &'static str,
    /// Why.
    pub errno: Errno,
}

type Result<T> = std::result::Result<T, Refused>;

/// Executes a sealed copy of this program with the same arguments, if they have a command that enters a container; the others don't pay
/// for it. Returns if this is such a copy.
///
/// # Safety
///
/// Both vectors hold C strings and end with a null pointer.
pub unsafe fn execute_copy(argv: *const *const c_char, envp: *const *const c_char) -> Result<()> {
    // SAFETY: as the caller has promised.
    if !unsafe { enters_container(argv) } {
        return Ok(());
    }
    let path = c"/proc/self/exe".as_ptr().addr();
    let open = [flags(libc::AT_FDCWD), path, flags(libc::O_RDONLY | libc::O_CLOEXEC), 0, 0];
    // SAFETY: the path is a C string.
    let own = unsafe { call("open(/proc/self/exe)", libc::SYS_openat, open) }?;
    let result = if is_sealed(own) {
        Ok(())
    } else {
        copy(own).and_then(|copy| {
            let execute = [copy, c"".as_ptr().addr(), argv.addr(), envp.addr(), flags(libc::AT_EMPTY_PATH)];
            // SAFETY: the path is a C string, and the vectors are as the caller has promised.
            let refused = unsafe { call("execveat(copy of the program)", libc::SYS_execveat, execute) };
            close(copy);
            refused.map(drop)
        })
    };
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

/// Whether a file is a fully sealed memfd. No other file has seals, and to ask for them is an error.
fn is_sealed(file: usize) -> bool {
    // SAFETY: no address is handed over.
    let seals =
        unsafe { call("fcntl(F_GET_SEALS)", libc::SYS_fcntl, [file, flags(libc::F_GET_SEALS), 0, 0, 0]) };
    seals.is_ok_and(|seals| seals & ALL_SEALS == ALL_SEALS)
}

/// A sealed copy of a file in memory, which can be executed.
/// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html); `MFD_EXEC` since Linux 6.3.
fn copy(file: usize) -> Result<usize> {
    let create = |executable: u32| {
        let wanted = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | executable;
        let args = [c"orlop".as_ptr().addr(), flags(wanted.cast_signed()), 0, 0, 0];
        // SAFETY: the name is a C string.
        unsafe { call("memfd_create(\"orlop\", MFD_EXEC)", libc::SYS_memfd_create, args) }
    };
    let memory = match create(libc::MFD_EXEC) {
        // A kernel before 6.3 doesn't know the flag, and makes every memfd executable.
        Err(Refused { errno: Errno::EINVAL, .. }) => create(0)?,
        other => other?,
    };
    let sealed = fill(memory, file).and_then(|()| {
        let seal = [memory, flags(libc::F_ADD_SEALS), ALL_SEALS, 0, 0];
        // SAFETY: no address is handed over.
        unsafe { call("fcntl(F_ADD_SEALS)", libc::SYS_fcntl, seal) }
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
        match unsafe { call("sendfile(copy of the program)", libc::SYS_sendfile, [memory, file, 0, MOST, 0]) }
        {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(refused) => return Err(refused),
        }
    }
}

fn close(fd: usize) {
    // SAFETY: no address is handed over, and the descriptor is of this file's own.
    let _ = unsafe { call("close", libc::SYS_close, [fd, 0, 0, 0, 0]) };
}

/// Flags, or a number like `AT_FDCWD`, as an argument of a system call.
const fn flags(flags: c_int) -> usize {
    flags.cast_unsigned() as usize
}

/// A system call, past the C library where that is not ready.
///
/// # Safety
///
/// Addresses among the arguments are what this call wants at their place.
unsafe fn call(name: &'static str, number: c_long, args: [usize; 5]) -> Result<usize> {
    let [a, b, c, d, e] = args;
    let ret: c_long;
    // SAFETY: as the caller has promised. The kernel changes no other registers than these.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => ret,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as the caller has promised.
    #[cfg(not(target_arch = "x86_64"))]
    {
        ret = match unsafe { libc::syscall(number, a, b, c, d, e) } {
            -1 => -c_long::from(nix::errno::Errno::last_raw()),
            value => value,
        };
    }
    usize::try_from(ret)
        .map_err(|_| Refused { call: name, errno: Errno(i32::try_from(-ret).unwrap_or(libc::EIO)) })
}
