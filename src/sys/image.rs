//! The program, moved from the pages of its file to memory of the process's own. A process that enters a container then shares no page
//! with the host, which kernel bugs of the Dirty Pipe kind can write; and as nothing holds the file any more, another one can take its
//! place as `/proc/PID/exe`.
//!
//! To execute a copy instead takes more than twice as long, 2.2 ms to 0.9 from the beginning to an error in the arguments: the program begins
//! twice then, and each page of the copy has its price. Here most of them are one huge page, which the kernel finds, fills and
//! shows to a child at the price of a small one.

use super::Errno;
use super::raw::{Refused, Result, call, flags};
use libc::Elf64_Phdr;
use std::ffi::c_char;

/// Where a huge page may begin, and what it holds.
const HUGE: usize = 2 << 20;
const PAGE: usize = 4096;

/// No descriptor has this number: `-1` would mean that nothing is asked for.
const NO_DESCRIPTOR: usize = i32::MAX.cast_unsigned() as usize;

/// Where the program is in memory. Offsets are from its beginning.
pub struct Image {
    base: usize,
    /// Where the part ends that is not written.
    fixed: usize,
    /// Where all ends.
    end: usize,
    headers: &'static [Elf64_Phdr],
    /// The entry of the auxiliary vector with the address of the headers, by which the C library finds them.
    told: *mut usize,
}

impl Image {
    /// Finds it by the auxiliary vector, if it can be moved: it does not depend on its place, no other program has prepared it, nobody
    /// has given it rights by the file, and what is written comes last in it.
    /// [getauxval(3)](https://man7.org/linux/man-pages/man3/getauxval.3.html),
    /// [elf(5)](https://man7.org/linux/man-pages/man5/elf.5.html)
    ///
    /// # Safety
    ///
    /// `envp` is what the process has just begun with.
    pub unsafe fn find(envp: *const *const c_char) -> Option<Image> {
        let (mut at, mut told, mut count, mut secure) = (envp, std::ptr::null_mut(), 0, 0);
        // SAFETY: the environment ends with a null pointer, and the auxiliary vector, which comes next, with an entry of type 0.
        unsafe {
            while !(*at).is_null() {
                at = at.add(1);
            }
            let mut entry = at.add(1).cast_mut().cast::<[usize; 2]>();
            while (*entry)[0] != 0 {
                match (*entry)[0] as u64 {
                    libc::AT_PHDR => told = &raw mut (*entry)[1],
                    libc::AT_PHNUM => count = (*entry)[1],
                    libc::AT_SECURE => secure = (*entry)[1],
                    _ => {}
                }
                entry = entry.add(1);
            }
        }
        if told.is_null() || secure != 0 {
            return None;
        }
        // SAFETY: the kernel says that they are there. They are part of the image, and not used when that is gone.
        let headers = unsafe { std::slice::from_raw_parts(*told as *const Elf64_Phdr, count) };
        let mut image = Image { base: 0, fixed: 0, end: 0, headers, told };
        for header in headers {
            let start = size(header.p_vaddr);
            let end = start.checked_add(size(header.p_memsz))?.next_multiple_of(PAGE);
            match header.p_type {
                // SAFETY: as above.
                libc::PT_PHDR => image.base = unsafe { *told }.checked_sub(start)?,
                libc::PT_INTERP => return None,
                libc::PT_LOAD if header.p_flags & libc::PF_W != 0 => image.end = end,
                libc::PT_LOAD if image.end != 0 => return None,
                libc::PT_LOAD => image.fixed = end,
                _ => {}
            }
        }
        // The headers of a program that depends on its place say that it begins at 0.
        (image.base != 0 && image.end != 0).then_some(image)
    }

    /// Whether the process may have another executable. The call is refused for want of a descriptor, after all that can be against it.
    ///
    /// # Safety
    ///
    /// As of [`Image::set_exe`].
    pub unsafe fn may_be_left(&self, argv: *const *const c_char, envp: *const *const c_char) -> bool {
        // SAFETY: as the caller has promised.
        let refused = unsafe { self.set_exe(NO_DESCRIPTOR, argv, envp) };
        matches!(refused, Err(Refused { errno: Errno::EBADF, .. }))
    }

    /// Copies the file to new memory, as the kernel had laid it out. What is returned is how far away that is.
    pub fn copy(&self, file: usize) -> Result<usize> {
        let protection = flags(libc::PROT_READ | libc::PROT_WRITE);
        let kind = flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let new = [0, HUGE + self.end, protection, kind, usize::MAX, 0];
        // SAFETY: the kernel chooses a place that is free.
        let free = unsafe { call("mmap(memory for the program)", libc::SYS_mmap, new) }?;
        // What is not written ends where a huge page does, and is in such pages but for its beginning.
        let base = (free + self.fixed).next_multiple_of(HUGE) - self.fixed;
        let (huge, fixed, end) = (base + self.fixed % HUGE, base + self.fixed, base + self.end);
        // Where the kernel has no huge page or does not know this, it takes longer, and nothing else.
        let advise = |from: usize, to: usize, advice| {
            // SAFETY: this is the new memory, which nothing uses yet.
            let _ = unsafe { call("madvise", libc::SYS_madvise, [from, to - from, flags(advice)]) };
        };
        advise(huge, fixed, libc::MADV_HUGEPAGE);
        advise(base, end, libc::MADV_POPULATE_WRITE);
        for header in self.headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
            let [start, mut from, length] = [header.p_vaddr, header.p_offset, header.p_filesz].map(size);
            let (mut at, end) = (base + start, base + start + length);
            while at < end {
                // SAFETY: as above.
                match unsafe { call("pread(the program)", libc::SYS_pread64, [file, at, end - at, from]) }? {
                    0 => return Err(Refused { call: "pread(the program)", errno: Errno(libc::ENOEXEC) }),
                    read => (at, from) = (at + read, from + read),
                }
            }
        }
        // The constants, too: a huge page is protected as a whole.
        let executable = [base, fixed - base, flags(libc::PROT_READ | libc::PROT_EXEC)];
        // SAFETY: as above.
        unsafe { call("mprotect(PROT_EXEC)", libc::SYS_mprotect, executable) }?;
        Ok(base.wrapping_sub(self.base))
    }

    /// Unmaps the program where it was, and has the C library find it where it is.
    ///
    /// # Safety
    ///
    /// What runs is the copy that far away.
    pub unsafe fn leave(mut self, distance: usize) -> Result<Image> {
        // SAFETY: as the caller has promised, nothing uses this memory any more. The auxiliary vector is on the stack.
        unsafe {
            call("munmap(the program)", libc::SYS_munmap, [self.base, self.end])?;
            *self.told = (*self.told).wrapping_add(distance);
        }
        self.base = self.base.wrapping_add(distance);
        self.headers = &[];
        Ok(self)
    }

    /// Makes a file the one that the process executes: `prctl(PR_SET_MM, PR_SET_MM_MAP)`, of `CONFIG_CHECKPOINT_RESTORE`. It is `EPERM`
    /// without `CAP_CHECKPOINT_RESTORE` over the user namespace, and `EBUSY` as long as the other one is mapped.
    /// [PR_SET_MM(2const)](https://man7.org/linux/man-pages/man2/PR_SET_MM.2const.html)
    ///
    /// # Safety
    ///
    /// These are the vectors that the process has begun with.
    pub unsafe fn set_exe(
        &self,
        exe: usize,
        argv: *const *const c_char,
        envp: *const *const c_char,
    ) -> Result<()> {
        // The call wants to be told all there is to know of the process's memory. There is no heap yet.
        // SAFETY: as the caller has promised; no address is handed over.
        let (args, env, heap) =
            unsafe { (strings(argv), strings(envp), call("brk(0)", libc::SYS_brk, [0])?) };
        let env = if env[0] == 0 { [args[1]; 2] } else { env };
        let map = Map {
            code: [self.base, self.base + self.fixed],
            // The heap has to lie behind the data: of this call's limits up to Linux 5.14, and of those of brk(2) where the heap's place
            // is not random. Nothing else is made of it.
            data: [heap - PAGE; 2],
            heap: [heap, heap],
            stack: argv.addr(),
            args,
            env,
            // As it is.
            auxv: 0,
            auxv_size: 0,
            exe: u32::try_from(exe).unwrap_or(u32::MAX),
        };
        let what = [flags(libc::PR_SET_MM), flags(libc::PR_SET_MM_MAP)];
        let args = [what[0], what[1], (&raw const map).addr(), size_of_val(&map), 0];
        // SAFETY: the kernel reads the structure, which outlives the call.
        unsafe { call("prctl(PR_SET_MM_MAP)", libc::SYS_prctl, args) }.map(drop)
    }
}

/// `struct prctl_mm_map`: where each part begins and ends.
#[repr(C)]
struct Map {
    code: [usize; 2],
    data: [usize; 2],
    heap: [usize; 2],
    stack: usize,
    args: [usize; 2],
    env: [usize; 2],
    auxv: usize,
    auxv_size: u32,
    exe: u32,
}

/// Where the strings of a vector, which lie one behind the other, begin and end.
unsafe fn strings(mut vector: *const *const c_char) -> [usize; 2] {
    let mut range = [0, 0];
    // SAFETY: as the caller has promised, C strings come until the null pointer.
    unsafe {
        range[0] = (*vector).addr();
        while !(*vector).is_null() {
            let mut at = *vector;
            while at.read_volatile() != 0 {
                at = at.add(1);
            }
            range[1] = at.addr() + 1;
            vector = vector.add(1);
        }
    }
    range
}

/// A number of a header, on a processor of 64 bits.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
