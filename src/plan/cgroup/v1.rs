//! `linux.resources` as values for the files of cgroup v1, in whose terms it is written
//! ([kernel documentation](https://docs.kernel.org/admin-guide/cgroup-v1/index.html)).

use super::shared::{self, MEMORY_LIMIT, MEMORY_RESERVATION, MEMORY_SWAP, MemoryLimits};
use super::{IfMissing, Write};
use crate::error::{Context, Error, Result};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources};

pub fn writes(resources: &LinuxResources) -> Result<Vec<Write>> {
    if resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
        let error = Error::new("invalid configuration: values of cgroup v2 on a host with cgroup v1");
        return Err(error.field("linux.resources.unified"));
    }
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
            let file = format!("hugetlb.{size}.{kind}limit_in_bytes");
            writes.push(Write::new("hugetlb", file, value, format!("{field}.limit")));
        }
    }
    if let Some(network) = resources.network() {
        self::network(network, &mut writes)?;
    }
    shared::rdma(resources, &mut writes)?;
    Ok(writes)
}

fn memory(memory: &LinuxMemory, writes: &mut Vec<Write>) -> Result<()> {
    let limits = MemoryLimits::new(memory)?;
    let mut limit = |file, limit: Option<shared::Limit>, if_missing, field: &str| {
        if let Some(limit) = limit {
            writes.push(Write::new("memory", file, limit.shown("-1"), field).if_missing(if_missing));
        }
    };
    limit("memory.limit_in_bytes", limits.limit, IfMissing::Fail, MEMORY_LIMIT);
    // A kernel without accounting of swap limits none.
    let unlimited = limits.both == Some(shared::Limit::Unlimited);
    let if_missing = if unlimited { IfMissing::Skip } else { IfMissing::Fail };
    limit("memory.memsw.limit_in_bytes", limits.both, if_missing, MEMORY_SWAP);
    limit("memory.soft_limit_in_bytes", limits.reservation, IfMissing::Fail, MEMORY_RESERVATION);
    for (value, file, name) in [
        (memory.kernel(), "memory.kmem.limit_in_bytes", "kernel"),
        (memory.kernel_tcp(), "memory.kmem.tcp.limit_in_bytes", "kernelTCP"),
    ] {
        // Unlimited is what every new cgroup is, and what newer kernels refuse to be told.
        if let Some(value) = value.filter(|value| !matches!(value, 0 | -1)) {
            writes.push(Write::new("memory", file, value, format!("linux.resources.memory.{name}")));
        }
    }
    if let Some(swappiness) = memory.swappiness() {
        let field = "linux.resources.memory.swappiness";
        if swappiness > 100 {
            return Err(Error::new(format!("{swappiness} is not between 0 and 100")).field(field));
        }
        writes.push(Write::new("memory", "memory.swappiness", swappiness, field));
    }
    if memory.disable_oom_killer() == Some(true) {
        writes.push(Write::new("memory", "memory.oom_control", 1, "linux.resources.memory.disableOOMKiller"));
    }
    Ok(())
}

fn cpu(cpu: &LinuxCpu, writes: &mut Vec<Write>) -> Result<()> {
    // The kernel would take the nearest one in silence.
    if let Some(shares) = cpu.shares().filter(|shares| !matches!(shares, 0 | 2..=262_144)) {
        return Err(
            Error::new(format!("{shares} is not between 2 and 262144")).field("linux.resources.cpu.shares")
        );
    }
    let number = |value: Option<u64>| value.filter(|value| *value != 0).map(|value| value.to_string());
    let signed = |value: Option<i64>| value.filter(|value| *value != 0).map(|value| value.to_string());
    for (value, file, name) in [
        (number(cpu.shares()), "cpu.shares", "shares"),
        // The run time of a period must fit into it, so the period goes first.
        (number(cpu.realtime_period()), "cpu.rt_period_us", "realtimePeriod"),
        (signed(cpu.realtime_runtime()), "cpu.rt_runtime_us", "realtimeRuntime"),
        (number(cpu.period()), "cpu.cfs_period_us", "period"),
        (signed(cpu.quota()), "cpu.cfs_quota_us", "quota"),
        // 0 is a value here: no burst.
        (cpu.burst().map(|burst| burst.to_string()), "cpu.cfs_burst_us", "burst"),
    ] {
        if let Some(value) = value {
            writes.push(Write::new("cpu", file, value, format!("linux.resources.cpu.{name}")));
        }
    }
    Ok(())
}

fn block_io(block: &LinuxBlockIo, writes: &mut Vec<Write>) -> Result<()> {
    // Weights work with the BFQ scheduler alone since Linux 5.0.
    let field = "linux.resources.blockIO.weight";
    if let Some(weight) = shared::weight(block.weight(), field)? {
        writes.push(Write::new("blkio", "blkio.bfq.weight", weight, field));
    }
    shared::no_leaf_weight(block.leaf_weight(), "linux.resources.blockIO.leafWeight")?;
    for (i, entry) in block.weight_device().iter().flatten().enumerate() {
        let field = format!("linux.resources.blockIO.weightDevice[{i}]");
        let device = shared::device(entry.major(), entry.minor(), &field)?;
        shared::no_leaf_weight(entry.leaf_weight(), &format!("{field}.leafWeight"))?;
        if let Some(weight) = shared::weight(entry.weight(), &format!("{field}.weight"))? {
            writes.push(Write::new("blkio", "blkio.bfq.weight_device", format!("{device} {weight}"), field));
        }
    }
    for throttle in shared::throttles(block) {
        for entry in throttle.entries() {
            let (field, device, rate) = entry?;
            let file = format!("blkio.throttle.{}", throttle.file);
            writes.push(Write::new("blkio", file, format!("{device} {rate}"), field));
        }
    }
    Ok(())
}

fn network(network: &LinuxNetwork, writes: &mut Vec<Write>) -> Result<()> {
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        writes.push(Write::new("net_cls", "net_cls.classid", class, "linux.resources.network.classID"));
    }
    for (i, entry) in network.priorities().iter().flatten().enumerate() {
        let field = format!("linux.resources.network.priorities[{i}]");
        let name = shared::one_word(entry.name()).field(|| format!("{field}.name"))?;
        let value = format!("{name} {}", entry.priority());
        writes.push(Write::new("net_prio", "net_prio.ifpriomap", value, field));
    }
    Ok(())
}
