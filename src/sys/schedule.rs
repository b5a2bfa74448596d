//! Which CPU a process runs on and when, how its disk access is ranked, and where its memory lies
//! ([sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html),
//! [numa(7)](https://man7.org/linux/man-pages/man7/numa.7.html)).

use super::{Called, Result, check};

/// How a process is scheduled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `SCHED_...`
    pub policy: u32,
    /// `SCHED_FLAG_...`
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`: -20 to 19.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`: 1 to 99.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds: how long it may run ...
    pub runtime: u64,
    /// ... until which moment of each period ...
    pub deadline: u64,
    /// ... of this length.
    pub period: u64,
}

/// `struct sched_attr`, as it is since Linux 5.3.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// `sched_setattr(pid, attributes, 0)`; pid 0 is the process itself.
/// [sched_setattr(2)](https://man7.org/linux/man-pages/man2/sched_setattr.2.html), since Linux 3.14.
pub fn set_attributes(pid: i32, attributes: &Attributes) -> Result<()> {
    let Attributes { policy, flags, nice, priority, runtime, deadline, period } = *attributes;
    let size = u32::try_from(size_of::<SchedAttr>()).unwrap_or(0);
    let raw = SchedAttr {
        size,
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: the structure says its own size, and is read during the call only.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const raw, 0) };
    check(ret).map(drop).called(|| {
        format!("sched_setattr({pid}, policy {policy}, flags {flags:#x}, nice {nice}, priority {priority})")
    })
}

/// `sched_setaffinity(pid, cpus)`: it runs on the CPUs whose bits are set, as far as there are such CPUs and its cgroup lets it.
/// [sched_setaffinity(2)](https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html)
pub fn set_affinity(pid: i32, cpus: &[u64]) -> Result<()> {
    // SAFETY: the length is that of the mask, which is read during the call only.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(cpus), cpus.as_ptr()) };
    check(ret).map(drop).called(|| format!("sched_setaffinity({pid}, {})", shown(cpus)))
}

/// `ioprio_set(IOPRIO_WHO_PROCESS, pid, priority)`; the class is in the bits from 13 on.
/// [ioprio_set(2)](https://man7.org/linux/man-pages/man2/ioprio_set.2.html)
pub fn set_io_priority(pid: i32, priority: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: takes three numbers.
    let ret = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, priority) };
    check(ret).map(drop).called(|| format!("ioprio_set(IOPRIO_WHO_PROCESS, {pid}, {priority:#x})"))
}

/// `set_mempolicy(mode, nodes)`: where the pages of this process, and of those that it makes, are taken from.
/// [set_mempolicy(2)](https://man7.org/linux/man-pages/man2/set_mempolicy.2.html)
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel reads one bit less than it is told.
    let bits = nodes.len() * 64 + 1;
    // SAFETY: the mask has the bits that are read of it, during the call only; of an empty one none are.
    let ret = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) };
    check(ret).map(drop).called(|| format!("set_mempolicy({mode:#x}, {})", shown(nodes)))
}

/// A mask as the kernel writes it.
fn shown(mask: &[u64]) -> String {
    let words: Vec<_> = mask.iter().rev().map(|word| format!("{word:016x}")).collect();
    words.join(",")
}
