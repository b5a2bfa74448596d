//! Programs that the kernel asks about device accesses in a cgroup
//! ([bpf(2)](https://man7.org/linux/man-pages/man2/bpf.2.html), `BPF_PROG_TYPE_CGROUP_DEVICE` since Linux 4.15).

use super::file::shown;
use super::{Called, Errno, Result, check};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// One instruction ([instruction set](https://docs.kernel.org/bpf/standardization/instruction-set.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// The operation, one of [`op`].
    pub code: u8,
    /// The register that is written or compared, 0 to 10.
    pub to: u8,
    /// The register that is read.
    pub from: u8,
    /// Of a load: where in memory; of a jump: how many instructions are skipped.
    pub offset: i16,
    /// The constant.
    pub immediate: u32,
}

/// Operations, all on 32 bits.
pub mod op {
    /// `to = immediate`
    pub const MOV: u8 = 0xb4;
    /// `to = *(u32 *)(from + offset)`
    pub const LOAD: u8 = 0x61;
    /// `to &= immediate`
    pub const AND: u8 = 0x54;
    /// `to <<= immediate`
    pub const LSH: u8 = 0x64;
    /// `to |= from`
    pub const OR_REG: u8 = 0x4c;
    /// Jumps.
    pub const JA: u8 = 0x05;
    /// Jumps if `to == immediate`.
    pub const JEQ: u8 = 0x16;
    /// Jumps if `to != immediate`.
    pub const JNE: u8 = 0x56;
    /// Jumps if `to & immediate`.
    pub const JSET: u8 = 0x46;
    /// Jumps if `to <= immediate`, unsigned.
    pub const JLE: u8 = 0xb6;
    /// Returns register 0.
    pub const EXIT: u8 = 0x95;
}

impl Insn {
    /// As `struct bpf_insn`, whose second byte is a pair of bit fields in the order of the machine.
    fn encode(self) -> [u8; 8] {
        let (to, from) = (self.to & 0xf, self.from & 0xf);
        let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [i0, i1, i2, i3] = self.immediate.to_ne_bytes();
        [self.code, registers, o0, o1, i0, i1, i2, i3]
    }
}

/// The part of `union bpf_attr` that a command reads; the kernel takes what is not given as zero.
trait Attr {}

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_GET_FD_BY_ID: i32 = 13;
const PROG_QUERY: i32 = 16;

const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs of the cgroups above and below run as well, and every one has to allow the access.
const F_ALLOW_MULTI: u32 = 1 << 1;
/// Since Linux 5.6.
const F_REPLACE: u32 = 1 << 2;

#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: *const [u8; 8],
    license: *const libc::c_char,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}
impl Attr for Load {}

#[repr(C)]
struct Attach {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: RawFd,
}
impl Attr for Attach {}

#[repr(C)]
struct Query {
    target_fd: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: *mut u32,
    prog_cnt: u32,
    padding: u32,
}
impl Attr for Query {}

#[repr(C)]
struct FdById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}
impl Attr for FdById {}

fn bpf<T: Attr>(command: i32, attr: &mut T) -> std::result::Result<libc::c_long, Errno> {
    // SAFETY: every Attr is a prefix of union bpf_attr with the layout of C, of which the kernel is told the size. The
    // memory that pointers in it lead to belongs to the callers and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) })
}

fn new_fd(fd: libc::c_long) -> std::result::Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec, as all of bpf's), which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `bpf(BPF_PROG_LOAD)`: checks and loads a program about devices.
pub fn load(program: &[Insn]) -> Result<OwnedFd> {
    let insns: Vec<[u8; 8]> = program.iter().map(|insn| insn.encode()).collect();
    let call = || format!("bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE, {} instructions)", insns.len());
    let mut attr = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(insns.len()).map_err(|_| Errno::EINVAL).called(call)?,
        insns: insns.as_ptr(),
        license: c"Apache-2.0".as_ptr(),
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"container_device",
    };
    // The last byte ends the name.
    attr.prog_name[15] = 0;
    // The check stops with EAGAIN when a signal comes.
    let mut tries = 0..8;
    let fd = loop {
        match bpf(PROG_LOAD, &mut attr) {
            Err(Errno::EAGAIN) if tries.next().is_some() => {}
            other => break other,
        }
    };
    fd.and_then(new_fd).called(call)
}

/// `bpf(BPF_PROG_ATTACH)`: puts a program in charge of a cgroup of version 2 and those below it, in one step with the removal of
/// the one that it replaces.
pub fn attach(cgroup: BorrowedFd, program: BorrowedFd, replaced: Option<BorrowedFd>) -> Result<()> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: F_ALLOW_MULTI | if replaced.is_some() { F_REPLACE } else { 0 },
        replace_bpf_fd: replaced.map_or(0, |fd| fd.as_raw_fd()),
    };
    let flags = if replaced.is_some() { "BPF_F_ALLOW_MULTI|BPF_F_REPLACE" } else { "BPF_F_ALLOW_MULTI" };
    bpf(PROG_ATTACH, &mut attr)
        .map(drop)
        .called(|| format!("bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE, {}, {flags})", shown(cgroup)))
}

/// The kernel lets no more programs of one kind be attached to a cgroup (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: u32 = 64;

/// `bpf(BPF_PROG_QUERY)`: the ids of the programs about devices that are attached to this very cgroup.
pub fn attached(cgroup: BorrowedFd) -> Result<Vec<u32>> {
    let mut ids = [0; MAX_PROGRAMS as usize];
    let mut attr = Query {
        target_fd: cgroup.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr(),
        prog_cnt: MAX_PROGRAMS,
        padding: 0,
    };
    bpf(PROG_QUERY, &mut attr)
        .called(|| format!("bpf(BPF_PROG_QUERY, BPF_CGROUP_DEVICE, {})", shown(cgroup)))?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or(0).min(ids.len());
    Ok(ids[..count].to_vec())
}

/// `bpf(BPF_PROG_GET_FD_BY_ID)`
pub fn by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = FdById { prog_id: id, next_id: 0, open_flags: 0 };
    bpf(PROG_GET_FD_BY_ID, &mut attr).and_then(new_fd).called(|| format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})"))
}
