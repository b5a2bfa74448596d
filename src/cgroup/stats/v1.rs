//! Statistics of version 1.

use super::{Meter, block_entry, hugetlb, memory_entry, some, some_list};
use crate::cgroup::Cgroup;
use crate::error::Result;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The length of a tick in nanoseconds (`USER_HZ` is 100 on all architectures that Rust runs on).
const TICK: u64 = 10_000_000;

/// Members of `cpuset` and the files that they come from, after `cpuset.`.
const CPUSET_FLAGS: [&str; 9] = [
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
];

/// Lists about block devices, and what their files are called after `blkio.`. The first set in which there is something is taken: that
/// of the BFQ scheduler, with more of them if the kernel is built for debugging, or that of what passes through the throttle.
const BLOCK: [(&str, &[(&str, &str)]); 3] = [
    (
        "bfq.",
        &[
            ("sectorsRecursive", "sectors_recursive"),
            ("ioServiceTimeRecursive", "io_service_time_recursive"),
            ("ioWaitTimeRecursive", "io_wait_time_recursive"),
            ("ioMergedRecursive", "io_merged_recursive"),
            ("ioQueueRecursive", "io_queued_recursive"),
            ("ioTimeRecursive", "time_recursive"),
            ("ioServicedRecursive", "io_serviced_recursive"),
            ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
        ],
    ),
    ("bfq.", SERVICED),
    ("throttle.", SERVICED),
];
const SERVICED: &[(&str, &str)] = &[
    ("ioServicedRecursive", "io_serviced_recursive"),
    ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
];

pub fn read(meter: &mut Meter, cgroup: &Cgroup) -> Result<Value> {
    let dir = |controller: &str| cgroup.controller(controller).map(|hierarchy| hierarchy.dir.as_path());
    let mut stats = json!({
        "cpu": {"usage": {"kernel": 0, "user": 0}, "throttling": {}},
        "cpuset": no_cpuset(),
        "memory": {},
        "pids": {},
        "blkio": {},
        "hugetlb": {},
    });
    if let Some(dir) = dir("cpuacct") {
        stats["cpu"]["usage"] = usage(meter, dir)?;
    }
    if let Some(dir) = dir("cpu") {
        let stat = meter.keys(dir, "cpu.stat")?;
        let of = |name: &str| some(stat.get(name).copied().unwrap_or(0));
        let (periods, throttled) = (of("nr_periods"), of("nr_throttled"));
        stats["cpu"]["throttling"] =
            json!({"periods": periods, "throttledPeriods": throttled, "throttledTime": of("throttled_time")});
    }
    if let Some(dir) = dir("cpuset") {
        stats["cpuset"] = cpuset(meter, dir)?;
    }
    stats["memory"] = memory(meter, dir("memory"))?;
    if let Some(dir) = dir("pids") {
        stats["pids"] = super::v2::pids(meter, dir)?;
    }
    if let Some(dir) = dir("blkio") {
        stats["blkio"] = block_io(meter, dir)?;
    }
    if let Some(dir) = dir("hugetlb") {
        // What is reserved, as in runc since 1.2: it is that which the limit holds up first.
        stats["hugetlb"] = hugetlb(meter, |meter, size| {
            let name = |what: &str| format!("hugetlb.{size}.rsvd.{what}");
            let Some(usage) = meter.text(dir, &name("usage_in_bytes"))? else { return Ok(None) };
            let max = meter.number(dir, &name("max_usage_in_bytes"))?;
            let failures = meter.number(dir, &name("failcnt"))?;
            Ok(Some(json!({"usage": some(super::number(&usage)), "max": some(max), "failcnt": failures})))
        })?;
    }
    // What a hybrid host's version 2 knows better.
    if let Some(unified) = cgroup.unified() {
        for (group, file) in
            [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("blkio", "io.pressure")]
        {
            stats[group]["psi"] = meter.pressure(&unified.dir, file)?;
        }
    }
    Ok(stats)
}

fn usage(meter: &mut Meter, dir: &Path) -> Result<Value> {
    let stat = meter.keys(dir, "cpuacct.stat")?;
    let ticks = |name: &str| stat.get(name).copied().unwrap_or(0).saturating_mul(TICK);
    let each = meter.text(dir, "cpuacct.usage_percpu")?.unwrap_or_default();
    let each: Vec<u64> = each.split_whitespace().map(super::number).collect();
    // A header, then `cpu user system` in each line.
    let modes = meter.text(dir, "cpuacct.usage_all")?.unwrap_or_default();
    let column = |n: usize| {
        let lines = modes.lines().skip(1);
        let numbers: Vec<u64> = lines.filter_map(|line| line.split(' ').nth(n)).map(super::number).collect();
        some_list(numbers)
    };
    Ok(json!({
        "total": some(meter.number(dir, "cpuacct.usage")?),
        "percpu": some_list(each),
        "percpu_kernel": column(2),
        "percpu_user": column(1),
        "kernel": ticks("system"),
        "user": ticks("user"),
    }))
}

/// The members of `cpuset` that Go never leaves out.
pub fn no_cpuset() -> Value {
    CPUSET_FLAGS.iter().map(|name| ((*name).to_owned(), 0.into())).collect::<Map<_, _>>().into()
}

fn cpuset(meter: &mut Meter, dir: &Path) -> Result<Value> {
    let mut cpuset =
        json!({"cpus": meter.list(dir, "cpuset.cpus")?, "mems": meter.list(dir, "cpuset.mems")?});
    for name in CPUSET_FLAGS {
        let text = meter.text(dir, &format!("cpuset.{name}"))?.unwrap_or_default();
        // A level may be -1.
        cpuset[name] = text.trim().parse::<i64>().unwrap_or(0).into();
    }
    Ok(cpuset)
}

fn memory(meter: &mut Meter, dir: Option<&Path>) -> Result<Value> {
    let raw = dir.map(|dir| meter.keys(dir, "memory.stat")).transpose()?.unwrap_or_default();
    let mut memory = json!({
        "cache": some(raw.get("cache").copied().unwrap_or(0)),
        "raw": if raw.is_empty() { Value::Null } else { json!(raw) },
    });
    for (member, name) in [
        ("usage", "memory"),
        ("swap", "memory.memsw"),
        ("kernel", "memory.kmem"),
        ("kernelTCP", "memory.kmem.tcp"),
    ] {
        let mut values = [0; 4];
        if let Some(dir) = dir
            && let Some(usage) = meter.text(dir, &format!("{name}.usage_in_bytes"))?
        {
            values = [
                super::number(&usage),
                meter.number(dir, &format!("{name}.max_usage_in_bytes"))?,
                meter.number(dir, &format!("{name}.failcnt"))?,
                meter.number(dir, &format!("{name}.limit_in_bytes"))?,
            ];
        }
        let [usage, max, failures, limit] = values;
        memory[member] = memory_entry(usage, max, failures, limit);
    }
    Ok(memory)
}

fn block_io(meter: &mut Meter, dir: &Path) -> Result<Value> {
    let mut block = json!({});
    for (policy, lists) in BLOCK {
        for (i, (member, name)) in lists.iter().enumerate() {
            let text = meter.text(dir, &format!("blkio.{policy}{name}"))?.unwrap_or_default();
            let entries: Vec<Value> = text.lines().filter_map(entry).collect();
            if i == 0 && entries.is_empty() {
                break;
            }
            block[*member] = some_list(entries);
            if i + 1 == lists.len() {
                return Ok(block);
            }
        }
    }
    Ok(block)
}

/// `8:0 Read 4096`, or `8:0 4096` where reads and writes are not told apart. The sum over all devices has no device.
fn entry(line: &str) -> Option<Value> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [device, op, value] => block_entry(device, op, super::number(value)),
        [device, value] => block_entry(device, "", super::number(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_devices() {
        assert_eq!(
            entry("8:0 Read 4096"),
            Some(json!({"major": 8, "minor": null, "op": "Read", "value": 4096}))
        );
        assert_eq!(entry("8:16 77"), Some(json!({"major": 8, "minor": 16, "op": null, "value": 77})));
        assert_eq!(entry("Total 4096"), None);
        assert_eq!(entry(""), None);
    }
}
