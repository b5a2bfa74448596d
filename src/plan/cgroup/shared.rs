//! What both versions of cgroups read alike, and the checks of values that hold for both.

use super::Write;
use crate::error::{Context, Error, Result};
use oci_spec::runtime::{LinuxBlockIo, LinuxHugepageLimit, LinuxMemory, LinuxResources, LinuxThrottleDevice};

/// A limit in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Unlimited,
    Bytes(u64),
}

impl Limit {
    /// `None` where the field is not set; -1 is "unlimited".
    fn new(value: Option<i64>) -> Result<Option<Limit>> {
        match value {
            None | Some(0) => Ok(None),
            Some(-1) => Ok(Some(Limit::Unlimited)),
            Some(value) => match u64::try_from(value) {
                Ok(bytes) => Ok(Some(Limit::Bytes(bytes))),
                Err(_) => Err(Error::new(format!("{value} is not a size (-1 means unlimited)"))),
            },
        }
    }

    /// In the terms of a file, where `unlimited` is `-1` or `max`.
    pub fn shown(self, unlimited: &str) -> String {
        match self {
            Limit::Unlimited => unlimited.to_owned(),
            Limit::Bytes(bytes) => bytes.to_string(),
        }
    }
}

pub const MEMORY_LIMIT: &str = "linux.resources.memory.limit";
pub const MEMORY_SWAP: &str = "linux.resources.memory.swap";
pub const MEMORY_RESERVATION: &str = "linux.resources.memory.reservation";

/// The limits of `linux.resources.memory`, checked against each other.
pub struct MemoryLimits {
    /// Of memory.
    pub limit: Option<Limit>,
    /// Of memory and swap together, as config.json and v1 count.
    pub both: Option<Limit>,
    /// Of swap alone, as v2 counts.
    pub swap: Option<Limit>,
    /// What the kernel tries to leave to the container under pressure.
    pub reservation: Option<Limit>,
}

impl MemoryLimits {
    pub fn new(memory: &LinuxMemory) -> Result<MemoryLimits> {
        // Hierarchical accounting has no alternative since Linux 5.11.
        if memory.use_hierarchy() == Some(false) {
            let what = "false is not possible: the kernel always counts sub-cgroups in";
            return Err(Error::new(what).field("linux.resources.memory.useHierarchy"));
        }
        let limit = Limit::new(memory.limit()).field(|| MEMORY_LIMIT.into())?;
        // Who lifts the limit of memory alone wants the other one lifted as well, which includes it.
        let both = match Limit::new(memory.swap()).field(|| MEMORY_SWAP.into())? {
            None if limit == Some(Limit::Unlimited) => limit,
            both => both,
        };
        let swap = match (limit, both) {
            (Some(Limit::Bytes(limit)), Some(Limit::Bytes(both))) => match both.checked_sub(limit) {
                Some(swap) => Ok(Some(Limit::Bytes(swap))),
                None => {
                    Err(Error::new(format!("{both} is less than memory.limit, which it includes ({limit})")))
                }
            },
            (None, Some(Limit::Bytes(_))) => {
                Err(Error::new("a limit of memory and swap together needs memory.limit as well"))
            }
            (_, both) => Ok(both),
        };
        let reservation = Limit::new(memory.reservation()).field(|| MEMORY_RESERVATION.into())?;
        Ok(MemoryLimits { limit, both, swap: swap.field(|| MEMORY_SWAP.into())?, reservation })
    }
}

/// `pids.max`. The container's init is a process too, so there can't be fewer than one: 0 means 1, as in runc. Negative is
/// "unlimited".
pub fn pids(resources: &LinuxResources, writes: &mut Vec<Write>) {
    if let Some(pids) = resources.pids() {
        let value = match pids.limit() {
            limit if limit < 0 => "max".to_owned(),
            limit => limit.max(1).to_string(),
        };
        writes.push(Write::new("pids", "pids.max", value, "linux.resources.pids.limit"));
    }
}

/// `cpuset.cpus` and `cpuset.mems`.
pub fn cpuset(resources: &LinuxResources, writes: &mut Vec<Write>) -> Result<()> {
    let Some(cpu) = resources.cpu() else { return Ok(()) };
    let lists = [
        (cpu.cpus(), "cpuset.cpus", "linux.resources.cpu.cpus"),
        (cpu.mems(), "cpuset.mems", "linux.resources.cpu.mems"),
    ];
    for (list, file, field) in lists {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else { continue };
        // A line break would end the value; what else a list may look like is the kernel's to say.
        if list.contains(['\n', '\0']) {
            return Err(Error::new(format!("{list:?} is not a list of numbers and ranges")).field(field));
        }
        writes.push(Write::new("cpuset", file, list, field));
    }
    Ok(())
}

/// `cpu.idle`: 1 makes the whole cgroup `SCHED_IDLE`.
pub fn idle(resources: &LinuxResources, writes: &mut Vec<Write>) -> Result<()> {
    let field = "linux.resources.cpu.idle";
    match resources.cpu().as_ref().and_then(|cpu| cpu.idle()) {
        None => Ok(()),
        Some(idle @ (0 | 1)) => {
            writes.push(Write::new("cpu", "cpu.idle", idle, field));
            Ok(())
        }
        Some(idle) => Err(Error::new(format!("{idle} is neither 0 nor 1")).field(field)),
    }
}

/// `rdma.max`: one line for each device.
pub fn rdma(resources: &LinuxResources, writes: &mut Vec<Write>) -> Result<()> {
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let field = format!("linux.resources.rdma[{name:?}]");
        let mut value = one_word(name).field(|| field.clone())?.to_owned();
        for (key, limit) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
            if let Some(limit) = limit {
                value.push_str(&format!(" {key}={limit}"));
            }
        }
        if value != *name {
            writes.push(Write::new("rdma", "rdma.max", value, field));
        }
    }
    Ok(())
}

/// A huge-page limit's page size, which becomes part of a file's name. The runtime-spec demands `^[1-9][0-9]*[KMG]B$`.
pub fn page_size<'a>(limit: &'a LinuxHugepageLimit, field: &str) -> Result<&'a str> {
    let size = limit.page_size();
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or_default();
    let valid =
        number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() && !number.starts_with('0');
    match valid {
        true => Ok(size),
        false => {
            Err(Error::new(format!("{size:?} is not a page size like 2MB"))
                .field(format!("{field}.pageSize")))
        }
    }
}

/// The value of a huge-page limit, which has no word for "unlimited".
pub fn page_limit(limit: &LinuxHugepageLimit, field: &str) -> Result<u64> {
    u64::try_from(limit.limit())
        .map_err(|_| Error::new(format!("{} is negative", limit.limit())).field(format!("{field}.limit")))
}

/// A weight of block I/O, from 10 to 1000; `None` where it is not set.
pub fn weight(weight: Option<u16>, field: &str) -> Result<Option<u16>> {
    match weight {
        None | Some(0) => Ok(None),
        Some(weight @ 10..=1000) => Ok(Some(weight)),
        Some(weight) => Err(Error::new(format!("{weight} is not between 10 and 1000")).field(field)),
    }
}

/// Leaf weights went away with the CFQ scheduler in Linux 5.0, so that no supported kernel can grant one.
pub fn no_leaf_weight(weight: Option<u16>, field: &str) -> Result<()> {
    match weight {
        None | Some(0) => Ok(()),
        Some(_) => {
            Err(Error::new("leaf weights are not supported: no kernel since Linux 5.0 has them").field(field))
        }
    }
}

/// `8:0`
pub fn device(major: i64, minor: i64, field: &str) -> Result<String> {
    if major < 0 || minor < 0 {
        return Err(Error::new(format!("{major}:{minor} is not the number of a device")).field(field));
    }
    Ok(format!("{major}:{minor}"))
}

/// One list of limits of block I/O.
pub struct Throttle<'a> {
    /// The file of v1 that takes it.
    pub file: &'static str,
    /// The key of v2 in `io.max`.
    pub key: &'static str,
    /// Its name below `linux.resources.blockIO`.
    name: &'static str,
    list: &'a [LinuxThrottleDevice],
}

impl Throttle<'_> {
    /// (field, device, rate) of each entry; the rate 0 is "unlimited".
    pub fn entries(&self) -> impl Iterator<Item = Result<(String, String, u64)>> {
        self.list.iter().enumerate().map(|(i, entry)| {
            let field = format!("linux.resources.blockIO.{}[{i}]", self.name);
            let device = device(entry.major(), entry.minor(), &field)?;
            Ok((field, device, entry.rate()))
        })
    }
}

/// The lists of limits of block I/O, with their names in each version.
pub fn throttles(block: &LinuxBlockIo) -> [Throttle<'_>; 4] {
    [
        ("read_bps_device", "rbps", "throttleReadBpsDevice", block.throttle_read_bps_device()),
        ("write_bps_device", "wbps", "throttleWriteBpsDevice", block.throttle_write_bps_device()),
        ("read_iops_device", "riops", "throttleReadIOPSDevice", block.throttle_read_iops_device()),
        ("write_iops_device", "wiops", "throttleWriteIOPSDevice", block.throttle_write_iops_device()),
    ]
    .map(|(file, key, name, list)| Throttle {
        file,
        key,
        name,
        list: list.as_deref().unwrap_or_default(),
    })
}

/// A name that is followed by a value in the same line of a cgroup's file.
pub fn one_word(name: &str) -> Result<&str> {
    match name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
        true => Err(Error::new(format!("{name:?} is not the name of a device"))),
        false => Ok(name),
    }
}
