//! Limits as properties of a unit.

use super::super::{IfMissing, Write};
use super::{Property, Value};

/// The properties that say the same as values for the files of cgroup v2, as far as systemd has any. A value in a form that it
/// would not take is left out: what counts is the file.
pub fn limits(writes: &[Write]) -> Vec<Property> {
    let mut properties: Vec<Property> = Vec::new();
    for write in writes {
        if write.file == "cpu.idle" && write.value == "0" && properties.iter().any(|p| p.name == CPU_WEIGHT) {
            continue;
        }
        for property in of_write(write) {
            // The last one counts, as of the files.
            properties.retain(|other| other.name != property.name);
            properties.push(property);
        }
    }
    properties
}

/// What a scope does when the kernel has killed a process of it for want of memory, which is `memory.oom.group` under another name.
/// It is fixed with the scope's start: systemd refuses to change it, and the file alone says what an update wants.
pub fn oom_policy(writes: &[Write]) -> Option<Property> {
    let policy = match writes.iter().rfind(|write| write.file == "memory.oom.group")?.value.trim() {
        "1" => "kill",
        "0" => "continue",
        _ => return None,
    };
    Some(Property::new(OOM_POLICY, Value::Text(policy.to_owned())))
}

/// The same without what an older systemd refuses, and leaves the files of alone: an idle unit before version 252, the policy of a
/// scope and zswap before 253, or 256. `None` if that is no difference.
pub fn without_newer(properties: &[Property]) -> Option<Vec<Property>> {
    let newer = [OOM_POLICY, ZSWAP_MAX, ZSWAP_WRITEBACK];
    let is_new = |property: &Property| *property == weigh(IDLE) || newer.contains(&property.name.as_str());
    let (newer, rest): (Vec<_>, Vec<_>) = properties.iter().cloned().partition(is_new);
    (!newer.is_empty()).then_some(rest)
}

fn of_write(write: &Write) -> Vec<Property> {
    if write.file == "cpu.max" {
        return cpu_max(&write.value).unwrap_or_default();
    }
    let value = write.value.as_str();
    let property = match (write.file.as_str(), &write.if_missing) {
        ("memory.max", _) => bytes("MemoryMax", value),
        ("memory.high", _) => bytes("MemoryHigh", value),
        ("memory.low", _) => bytes("MemoryLow", value),
        ("memory.min", _) => bytes("MemoryMin", value),
        ("memory.swap.max", _) => bytes("MemorySwapMax", value),
        ("memory.zswap.max", _) => bytes(ZSWAP_MAX, value),
        ("memory.zswap.writeback", _) => switch(ZSWAP_WRITEBACK, value),
        ("pids.max", _) => bytes("TasksMax", value),
        ("cpu.weight", _) => weight(CPU_WEIGHT, value),
        ("cpu.idle", _) if value == "1" => Some(weigh(IDLE)),
        // The kernel goes back to this one, too.
        ("cpu.idle", _) if value == "0" => Some(weigh(USUAL)),
        ("io.weight", _) => weight("IOWeight", value.strip_prefix("default ").unwrap_or(value)),
        ("io.bfq.weight", IfMissing::Write { value, .. }) => weight("IOWeight", value),
        ("cpuset.cpus", _) => mask("AllowedCPUs", value),
        ("cpuset.mems", _) => mask("AllowedMemoryNodes", value),
        _ => None,
    };
    property.into_iter().collect()
}

const OOM_POLICY: &str = "OOMPolicy";
const ZSWAP_MAX: &str = "MemoryZSwapMax";
const ZSWAP_WRITEBACK: &str = "MemoryZSwapWriteback";
const CPU_WEIGHT: &str = "CPUWeight";
/// The weight that stands for cpu.idle, and the one where none is set.
const IDLE: u64 = 0;
const USUAL: u64 = 100;

fn weigh(weight: u64) -> Property {
    Property::new(CPU_WEIGHT, Value::Uint64(weight))
}

/// systemd's word for "max" of any limit, and of a quota.
const INFINITY: u64 = u64::MAX;

fn bytes(name: &str, value: &str) -> Option<Property> {
    let limit = if value == "max" { INFINITY } else { value.parse().ok()? };
    Some(Property::new(name, Value::Uint64(limit)))
}

fn switch(name: &str, value: &str) -> Option<Property> {
    let on = match value {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    Some(Property::new(name, Value::Bool(on)))
}

fn weight(name: &str, value: &str) -> Option<Property> {
    let weight = value.parse().ok().filter(|weight| (1..=10_000).contains(weight))?;
    Some(Property::new(name, Value::Uint64(weight)))
}

/// `QUOTA [PERIOD]` in microseconds. systemd has the quota as microseconds of each second, and keeps it as a whole
/// percentage: rounded up here, for it would round it down.
fn cpu_max(value: &str) -> Option<Vec<Property>> {
    const PERCENT: u64 = 10_000;
    let mut words = value.split_whitespace();
    let quota = words.next()?;
    let period: u64 = words.next().map_or(Some(100_000), |word| word.parse().ok())?;
    let each_second = match quota {
        "max" => INFINITY,
        quota => {
            let quota: u64 = quota.parse().ok()?;
            let exact = quota.checked_mul(1_000_000)?.checked_div(period)?;
            exact.checked_next_multiple_of(PERCENT)?.max(PERCENT)
        }
    };
    Some(vec![
        Property::new("CPUQuotaPerSecUSec", Value::Uint64(each_second)),
        Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)),
    ])
}

/// More processors than any kernel is built for.
const MOST: usize = 1 << 16;

/// A list like `0-3,8` as a mask, the lowest eight in the first byte.
fn mask(name: &str, list: &str) -> Option<Property> {
    let mut mask: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST || first > last {
            return None;
        }
        for i in first..=last {
            if mask.len() <= i / 8 {
                mask.resize(i / 8 + 1, 0);
            }
            mask[i / 8] |= 1 << (i % 8);
        }
    }
    Some(Property::new(name, Value::Bytes(mask)))
}
