//! Statistics of version 2, in the terms of version 1 as runc converts them.

use super::{Meter, block_entry, hugetlb, memory_entry, some, some_list};
use crate::error::Result;
use serde_json::{Value, json};
use std::path::Path;

pub fn read(meter: &mut Meter, dir: &Path) -> Result<Value> {
    Ok(json!({
        "cpu": cpu(meter, dir)?,
        // runc has none of version 2, but for the members that Go never leaves out.
        "cpuset": super::v1::no_cpuset(),
        "memory": memory(meter, dir)?,
        "pids": pids(meter, dir)?,
        "blkio": block_io(meter, dir)?,
        "hugetlb": hugetlb(meter, |meter, size| {
            let Some(usage) = meter.text(dir, &format!("hugetlb.{size}.current"))? else { return Ok(None) };
            let events = meter.keys(dir, &format!("hugetlb.{size}.events"))?;
            let failures = events.get("max").copied().unwrap_or(0);
            Ok(Some(json!({"usage": some(super::number(&usage)), "failcnt": failures})))
        })?,
    }))
}

fn cpu(meter: &mut Meter, dir: &Path) -> Result<Value> {
    let stat = meter.keys(dir, "cpu.stat")?;
    let of = |name: &str| stat.get(name).copied().unwrap_or(0);
    let nanoseconds = |name: &str| of(name).saturating_mul(1000);
    Ok(json!({
        "usage": {
            "total": some(nanoseconds("usage_usec")),
            "user": nanoseconds("user_usec"),
            "kernel": nanoseconds("system_usec"),
        },
        "throttling": {
            "periods": some(of("nr_periods")),
            "throttledPeriods": some(of("nr_throttled")),
            "throttledTime": some(nanoseconds("throttled_usec")),
        },
        "psi": meter.pressure(dir, "cpu.pressure")?,
    }))
}

fn memory(meter: &mut Meter, dir: &Path) -> Result<Value> {
    let raw = meter.keys(dir, "memory.stat")?;
    let mut entry = |name: &str| -> Result<[u64; 3]> {
        let usage = meter.text(dir, &format!("{name}.current"))?;
        let Some(usage) = usage else { return Ok([0; 3]) };
        let limit = meter.number(dir, &format!("{name}.max"))?;
        Ok([super::number(&usage), limit, meter.number(dir, &format!("{name}.peak"))?])
    };
    let [usage, limit, peak] = entry("memory")?;
    let [swap, swap_limit, _] = entry("memory.swap")?;
    // Version 1 counts memory and swap together. Their peaks can't be added.
    let (both, both_limit) = (swap.saturating_add(usage), swap_limit.saturating_add(limit));
    Ok(json!({
        "cache": some(raw.get("file").copied().unwrap_or(0)),
        "usage": memory_entry(usage, peak, 0, limit),
        "swap": memory_entry(both, 0, 0, both_limit),
        "kernel": memory_entry(0, 0, 0, 0),
        "kernelTCP": memory_entry(0, 0, 0, 0),
        "raw": if raw.is_empty() { Value::Null } else { json!(raw) },
        "psi": meter.pressure(dir, "memory.pressure")?,
    }))
}

/// The processes, and their limit unless there is none.
pub fn pids(meter: &mut Meter, dir: &Path) -> Result<Value> {
    let limit = meter.number(dir, "pids.max")?;
    let limit = if limit == u64::MAX { 0 } else { limit };
    Ok(json!({"current": some(meter.number(dir, "pids.current")?), "limit": some(limit)}))
}

fn block_io(meter: &mut Meter, dir: &Path) -> Result<Value> {
    let text = meter.text(dir, "io.stat")?.unwrap_or_default();
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let device = words.next().unwrap_or_default();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let value = super::number(value);
            match name {
                "rbytes" => bytes.extend(block_entry(device, "Read", value)),
                "wbytes" => bytes.extend(block_entry(device, "Write", value)),
                "rios" => operations.extend(block_entry(device, "Read", value)),
                "wios" => operations.extend(block_entry(device, "Write", value)),
                _ => {}
            }
        }
    }
    Ok(json!({
        "ioServiceBytesRecursive": some_list(bytes),
        "ioServicedRecursive": some_list(operations),
        "psi": meter.pressure(dir, "io.pressure")?,
    }))
}
