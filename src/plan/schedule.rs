//! Which CPU a process runs on and when, how its disk access is ranked, and where the container's memory lies.

use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::schedule::Attributes;
use oci_spec::runtime::LinuxMemoryPolicy;

/// A word of config.json and the number that the kernel has for it.
type Word = (&'static str, u32);

/// `process.scheduler.policy`. Linux keeps a number for SCHED_ISO, but has never had the policy.
const POLICIES: [Word; 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", FIFO),
    ("SCHED_RR", ROUND_ROBIN),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", ISO),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", DEADLINE),
];
const FIFO: u32 = 1;
const ROUND_ROBIN: u32 = 2;
const ISO: u32 = 4;
const DEADLINE: u32 = 6;

/// `process.scheduler.flags`
const SCHEDULER_FLAGS: [Word; 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", KEEP_POLICY),
    ("SCHED_FLAG_KEEP_PARAMS", KEEP_PARAMS),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];
const KEEP_POLICY: u32 = 0x08;
const KEEP_PARAMS: u32 = 0x10;

/// `process.ioPriority.class`
const IO_CLASSES: [Word; 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// `linux.memoryPolicy.mode`
pub const MEMORY_MODES: [Word; 7] = [
    ("MPOL_DEFAULT", MPOL_DEFAULT),
    ("MPOL_PREFERRED", MPOL_PREFERRED),
    ("MPOL_BIND", MPOL_BIND),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", MPOL_LOCAL),
    ("MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];
const MPOL_DEFAULT: u32 = 0;
const MPOL_PREFERRED: u32 = 1;
const MPOL_BIND: u32 = 2;
const MPOL_LOCAL: u32 = 4;
const MPOL_PREFERRED_MANY: u32 = 5;

/// `linux.memoryPolicy.flags`
pub const MEMORY_FLAGS: [Word; 3] = [
    ("MPOL_F_NUMA_BALANCING", NUMA_BALANCING),
    ("MPOL_F_RELATIVE_NODES", RELATIVE_NODES),
    ("MPOL_F_STATIC_NODES", STATIC_NODES),
];
const NUMA_BALANCING: u32 = 1 << 13;
const RELATIVE_NODES: u32 = 1 << 14;
const STATIC_NODES: u32 = 1 << 15;

/// More CPUs than any kernel is built for.
const MAX_CPUS: usize = 8192;

/// The mask of all of them.
pub static ALL_CPUS: [u64; MAX_CPUS / 64] = [u64::MAX; MAX_CPUS / 64];

/// No kernel is built for more nodes (`CONFIG_NODES_SHIFT`).
const MAX_NODES: usize = 1024;

/// CPUs of a process that `exec` adds, as masks: bit n of word n / 64 is CPU n.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecAffinity {
    /// Until it is in the container's cgroup; `None` keeps the caller's.
    pub initial: Option<Vec<u64>>,
    /// From then on: all that the cgroup lets it have unless config.json says otherwise.
    pub last: Vec<u64>,
}

/// A mask as a number: `0x3`.
pub fn shown(mask: &[u64]) -> String {
    let mut words = mask.iter().rev().skip_while(|word| **word == 0);
    let first = words.next().map_or_else(|| "0x0".to_owned(), |word| format!("{word:#x}"));
    words.fold(first, |text, word| format!("{text}{word:016x}"))
}

/// Where memory is taken from: `linux.memoryPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// The mode with its flags.
    pub mode: u32,
    /// A mask of nodes.
    pub nodes: Vec<u64>,
}

/// Checks `process.scheduler` by what sched_setattr(2) asks for, for it only says EINVAL.
pub fn scheduler(given: &spec::Scheduler) -> Result<Attributes> {
    let policy = number(&given.policy, &POLICIES).field(|| "process.scheduler.policy".into())?;
    let flags = flags(&given.flags, &SCHEDULER_FLAGS, "process.scheduler.flags")?;
    let wrong = |field: &str, what: String| Err(Error::new(what).field(format!("process.scheduler.{field}")));
    if !(-20..=19).contains(&given.nice) {
        return wrong("nice", format!("{} is not from -20 to 19", given.nice));
    }
    let kept = flags & (KEEP_POLICY | KEEP_PARAMS) != 0;
    let real_time = matches!(policy, FIFO | ROUND_ROBIN);
    let priority = match u32::try_from(given.priority) {
        Ok(0) if kept || !real_time => 0,
        Ok(priority @ 1..=99) if real_time => priority,
        _ if real_time => return wrong("priority", format!("{} is not from 1 to 99", given.priority)),
        _ => return wrong("priority", "only SCHED_FIFO and SCHED_RR have one".into()),
    };
    let (runtime, deadline, period) = (given.runtime, given.deadline, given.period);
    if policy == DEADLINE && !kept {
        check_deadline(given)?;
    } else if policy != DEADLINE {
        for (field, value) in [("runtime", runtime), ("deadline", deadline), ("period", period)] {
            if value != 0 {
                return wrong(field, "only SCHED_DEADLINE has one".into());
            }
        }
    }
    Ok(Attributes { policy, flags: flags.into(), nice: given.nice, priority, runtime, deadline, period })
}

/// The kernel counts in units of 1024 ns, and keeps the highest bit for itself: "`sched_deadline` must not be 0, `runtime` <=
/// `deadline` <= `period`" (sched(7)). A period of 0 stands for the deadline.
fn check_deadline(given: &spec::Scheduler) -> Result<()> {
    let (runtime, deadline, period) = (given.runtime, given.deadline, given.period);
    let (field, what) = if runtime < 1024 {
        ("runtime", format!("{runtime} ns is less than 1024"))
    } else if deadline < runtime {
        ("deadline", format!("{deadline} ns is less than the runtime"))
    } else if period != 0 && period < deadline {
        ("period", format!("{period} ns is less than the deadline"))
    } else if deadline.max(period) >> 63 != 0 {
        (if period > deadline { "period" } else { "deadline" }, "more than 9223372036854775807 ns".to_owned())
    } else {
        return Ok(());
    };
    Err(Error::new(what).field(format!("process.scheduler.{field}")))
}

/// What to advise where the kernel refuses a scheduler.
pub fn scheduler_hint(scheduler: &Attributes) -> &'static str {
    match scheduler.policy {
        ISO => "Linux has never had SCHED_ISO",
        FIFO | ROUND_ROBIN => {
            "it takes CAP_SYS_NICE, and in cgroup v1 a share of cpu.rt_runtime_us (linux.resources.cpu.realtimeRuntime)"
        }
        // The first words are runc's.
        DEADLINE => {
            "a deadline process scheduler can't be used together with AllowedCPUs, which is linux.resources.cpu.cpus, and takes \
             CAP_SYS_NICE, all CPUs of the machine, and as much bandwidth as is still free"
        }
        _ => "a lower nice value than the caller's takes CAP_SYS_NICE",
    }
}

/// Checks `process.ioPriority`: the number that ioprio_set(2) takes.
pub fn io_priority(given: &spec::IoPriority) -> Result<u32> {
    let class = number(&given.class, &IO_CLASSES).field(|| "process.ioPriority.class".into())?;
    match u32::try_from(given.priority) {
        Ok(priority @ 0..=7) => Ok(class << 13 | priority),
        _ => {
            Err(Error::new(format!("{} is not from 0 to 7", given.priority))
                .field("process.ioPriority.priority"))
        }
    }
}

/// Checks `process.execCPUAffinity`. "final [...] If omitted or empty, the container's default CPU affinity, as defined by cpu.cpus
/// property, is used."
pub fn exec_affinity(given: &spec::ExecCpuAffinity) -> Result<Option<ExecAffinity>> {
    let cpus = |list: &Option<String>, field: &str| {
        let list = list.as_deref().filter(|list| !list.is_empty());
        list.map(|list| mask(list, MAX_CPUS)).transpose().field(|| format!("process.execCPUAffinity.{field}"))
    };
    let (initial, last) = (cpus(&given.initial, "initial")?, cpus(&given.last, "final")?);
    if initial.is_none() && last.is_none() {
        return Ok(None);
    }
    Ok(Some(ExecAffinity { initial, last: last.unwrap_or_else(|| ALL_CPUS.to_vec()) }))
}

/// Checks `linux.memoryPolicy` by the rules of set_mempolicy(2), which only says EINVAL.
pub fn memory_policy(given: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    let mode_name = given.mode().to_string();
    let mode = number(&mode_name, &MEMORY_MODES).field(|| "linux.memoryPolicy.mode".into())?;
    let names: Vec<_> = given.flags().iter().flatten().map(ToString::to_string).collect();
    let flags = flags(&names, &MEMORY_FLAGS, "linux.memoryPolicy.flags")?;
    let nodes = given.nodes().as_deref().filter(|list| !list.is_empty());
    let nodes =
        nodes.map(|list| mask(list, MAX_NODES)).transpose().hint(|| "invalid memory policy node".into());
    let nodes = nodes.field(|| "linux.memoryPolicy.nodes".into())?;
    let wrong = |field: &str, what: &str| {
        let error = Error::new(format!("{mode_name} {what}")).field(format!("linux.memoryPolicy.{field}"));
        Err(error.hint("to set_mempolicy(2) it is an invalid argument"))
    };
    match (mode, &nodes) {
        (MPOL_DEFAULT | MPOL_LOCAL, Some(_)) => return wrong("nodes", "takes none"),
        (MPOL_PREFERRED, None) if flags & (STATIC_NODES | RELATIVE_NODES) != 0 => {
            return wrong("nodes", "needs some with these flags");
        }
        (MPOL_DEFAULT | MPOL_LOCAL | MPOL_PREFERRED, _) | (_, Some(_)) => {}
        (_, None) => return wrong("nodes", "needs some"),
    }
    if flags & STATIC_NODES != 0 && flags & RELATIVE_NODES != 0 {
        return wrong("flags", "can't take both static and relative nodes");
    }
    if flags & NUMA_BALANCING != 0 && !matches!(mode, MPOL_BIND | MPOL_PREFERRED_MANY) {
        return wrong("flags", "can't be balanced, only MPOL_BIND and MPOL_PREFERRED_MANY can");
    }
    if flags != 0 && mode == MPOL_LOCAL {
        return wrong("flags", "takes none");
    }
    Ok(MemoryPolicy { mode: mode | flags, nodes: nodes.unwrap_or_default() })
}

/// The number of a word.
fn number(word: &str, known: &[Word]) -> Result<u32> {
    if word.is_empty() {
        return Err(Error::new("missing"));
    }
    known.iter().find(|(name, _)| *name == word).map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        Error::new(format!("unknown: {word:?}")).hint(format!("known are {}", names.join(", ")))
    })
}

fn flags(words: &[String], known: &[Word], field: &str) -> Result<u32> {
    words
        .iter()
        .enumerate()
        .try_fold(0, |all, (i, word)| Ok(all | number(word, known).field(|| format!("{field}[{i}]"))?))
}

/// A list such as `0-3,7` as a mask of fewer than `limit` bits: bit n of word n / 64.
fn mask(list: &str, limit: usize) -> Result<Vec<u64>> {
    let wrong = || Error::new(format!("{list:?} is not a list such as 0-3,7"));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        if number < limit {
            Ok(number)
        } else {
            Err(Error::new(format!("{number} is more than {}", limit - 1)))
        }
    };
    let mut mask = Vec::new();
    for range in list.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (number(first)?, number(last)?);
        if first > last {
            return Err(Error::new(format!("{range:?} runs backwards")));
        }
        if mask.len() <= last / 64 {
            mask.resize(last / 64 + 1, 0);
        }
        (first..=last).for_each(|n| mask[n / 64] |= 1 << (n % 64));
    }
    Ok(mask)
}

#[cfg(test)]
mod tests;
