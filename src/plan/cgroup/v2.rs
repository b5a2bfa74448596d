//! `linux.resources` converted to values for the files of cgroup v2
//! ([cgroup-v2.rst](https://docs.kernel.org/admin-guide/cgroup-v2.html)).

use super::shared::{self, Limit, MEMORY_LIMIT, MEMORY_RESERVATION, MEMORY_SWAP, MemoryLimits};
use super::{IfMissing, Write};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

pub fn writes(resources: &LinuxResources) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    shared::cpuset(resources, &mut writes)?;
    if let Some(memory) = resources.memory() {
        self::memory(memory, &mut writes)?;
    }
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu, &mut writes)?;
    }
    shared::idle(resources, &mut writes)?;
    shared::pids(resources, &mut writes);
    if let Some(block) = resources.block_io() {
        block_io(block, &mut writes)?;
    }
    for (i, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let field = format!("linux.resources.hugepageLimits[{i}]");
        let (size, value) = (shared::page_size(limit, &field)?, shared::page_limit(limit, &field)?);
        for kind in ["", "rsvd."] {
            let file = format!("hugetlb.{size}.{kind}max");
            writes.push(Write::new("hugetlb", file, value, format!("{field}.limit")));
        }
    }
    if let Some(network) = resources.network() {
        let priorities = network.priorities().as_ref().is_some_and(|list| !list.is_empty());
        for (given, name) in [(network.class_id().unwrap_or(0) != 0, "classID"), (priorities, "priorities")] {
            if given {
                return Err(only_v1(format!("linux.resources.network.{name}")));
            }
        }
    }
    shared::rdma(resources, &mut writes)?;
    unified(resources, &mut writes)?;
    Ok(writes)
}

fn only_v1(field: impl Into<String>) -> Error {
    Error::new("cgroup v2 has nothing like it, and this host has no cgroup v1").field(field)
}

fn memory(memory: &LinuxMemory, writes: &mut Vec<Write>) -> Result<()> {
    let limits = MemoryLimits::new(memory)?;
    for (given, name) in [
        (memory.swappiness().is_some(), "swappiness"),
        (memory.disable_oom_killer() == Some(true), "disableOOMKiller"),
        (!matches!(memory.kernel(), None | Some(0 | -1)), "kernel"),
        (!matches!(memory.kernel_tcp(), None | Some(0 | -1)), "kernelTCP"),
    ] {
        if given {
            return Err(only_v1(format!("linux.resources.memory.{name}")));
        }
    }
    let mut limit = |file, limit: Option<Limit>, if_missing, field: &str| {
        if let Some(limit) = limit {
            writes.push(Write::new("memory", file, limit.shown("max"), field).if_missing(if_missing));
        }
    };
    // A kernel without accounting of swap limits none; that no swap at all was wanted doesn't stop runc there either.
    let if_missing = match limits.swap {
        Some(Limit::Unlimited | Limit::Bytes(0)) => IfMissing::Skip,
        _ => IfMissing::Fail,
    };
    limit("memory.swap.max", limits.swap, if_missing, MEMORY_SWAP);
    // After that of swap: to a limit that is lowered while the container runs, what is over it is swapped out.
    limit("memory.max", limits.limit, IfMissing::Fail, MEMORY_LIMIT);
    limit("memory.low", limits.reservation, IfMissing::Fail, MEMORY_RESERVATION);
    Ok(())
}

fn cpu(cpu: &LinuxCpu, writes: &mut Vec<Write>) -> Result<()> {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        writes.push(Write::new("cpu", "cpu.weight", cpu_weight(shares), "linux.resources.cpu.shares"));
    }
    for (given, name) in [
        (cpu.realtime_period().unwrap_or(0) != 0, "realtimePeriod"),
        (cpu.realtime_runtime().unwrap_or(0) != 0, "realtimeRuntime"),
    ] {
        if given {
            return Err(only_v1(format!("linux.resources.cpu.{name}")));
        }
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        // The kernel's default, which the file shows where nothing was set.
        let period = period.unwrap_or(100_000);
        let (value, name) = match quota {
            Some(quota) if quota > 0 => (format!("{quota} {period}"), "quota"),
            Some(_) => (format!("max {period}"), "quota"),
            None => (format!("max {period}"), "period"),
        };
        writes.push(Write::new("cpu", "cpu.max", value, format!("linux.resources.cpu.{name}")));
    }
    if let Some(burst) = cpu.burst() {
        writes.push(Write::new("cpu", "cpu.max.burst", burst, "linux.resources.cpu.burst"));
    }
    Ok(())
}

/// Shares of v1 (2 to 262144, by default 1024) as a weight of v2 (1 to 10000, by default 100): the quadratic curve through the
/// logarithms of these three points, on which runc, crun and Kubernetes agree. The straight line between the ends, which they used
/// before, turned the default share into a weight of 39.
fn cpu_weight(shares: u64) -> u32 {
    match u32::try_from(shares) {
        Ok(0..=2) => 1,
        Ok(shares @ 3..262_144) => {
            let log = f64::from(shares).log2();
            let weight = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0);
            // Rounded up without a cast.
            (1..10_000).find(|whole| f64::from(*whole) >= weight).unwrap_or(10_000)
        }
        _ => 10_000,
    }
}

/// `io.bfq.weight` keeps the scale of v1 and exists with the BFQ scheduler; else `io.weight`, whose range is 1 to 10000.
fn io_weight(device: &str, weight: u16, field: &str) -> Write {
    let converted = 1 + (u32::from(weight) - 10) * 9999 / 990;
    let or = IfMissing::Write { file: "io.weight".into(), value: format!("{device}{converted}") };
    Write::new("io", "io.bfq.weight", format!("{device}{weight}"), field).if_missing(or)
}

fn block_io(block: &LinuxBlockIo, writes: &mut Vec<Write>) -> Result<()> {
    let field = "linux.resources.blockIO.weight";
    if let Some(weight) = shared::weight(block.weight(), field)? {
        writes.push(io_weight("", weight, field));
    }
    shared::no_leaf_weight(block.leaf_weight(), "linux.resources.blockIO.leafWeight")?;
    for (i, entry) in block.weight_device().iter().flatten().enumerate() {
        let field = format!("linux.resources.blockIO.weightDevice[{i}]");
        let device = shared::device(entry.major(), entry.minor(), &field)?;
        shared::no_leaf_weight(entry.leaf_weight(), &format!("{field}.leafWeight"))?;
        if let Some(weight) = shared::weight(entry.weight(), &format!("{field}.weight"))? {
            writes.push(io_weight(&format!("{device} "), weight, &field));
        }
    }
    for throttle in shared::throttles(block) {
        for entry in throttle.entries() {
            let (field, device, rate) = entry?;
            let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
            writes.push(Write::new("io", "io.max", format!("{device} {}={rate}", throttle.key), field));
        }
    }
    Ok(())
}

/// The map of files and values goes last: it is the exact word of whoever wrote it.
fn unified(resources: &LinuxResources, writes: &mut Vec<Write>) -> Result<()> {
    let mut entries: Vec<_> = resources.unified().iter().flatten().collect();
    entries.sort();
    for (file, value) in entries {
        let field = format!("linux.resources.unified[{file:?}]");
        let controller = match file.split_once('.') {
            Some((controller, _)) if !controller.is_empty() && !file.contains(['/', '\0']) => controller,
            _ => {
                let what = format!("the specified key has not the form CONTROLLER.VALUE `{file}`");
                return Err(Error::new(what).hint("it is the name of a file like memory.high").field(field));
            }
        };
        // Files with several lines take one at a time.
        for line in value.lines().filter(|line| !line.is_empty()) {
            let write = Write::new("cgroup", file, line, field.clone());
            writes.push(Write { controller: controller.to_owned().into(), ..write });
        }
    }
    Ok(())
}
