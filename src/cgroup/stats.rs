//! Statistics of the cgroup, in the form of runc's `events` (its types/events.go), which callers parse: its names, its units (bytes,
//! nanoseconds) and its omissions. What Go leaves out when it is empty is null here and dropped at the end.

#[cfg(test)]
mod tests;
mod v1;
mod v2;

use super::{Cgroup, file};
use crate::error::{Error, Result};
use crate::plan::cgroup::Layout;
use crate::sys::{CallError, Errno};
use serde_json::{Map, Number, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where statistics are read. The files stay open: every later reading costs one call a file.
#[derive(Debug)]
pub struct Meter<'a> {
    cgroup: &'a Cgroup,
    /// `None` is a file that the kernel doesn't have.
    files: BTreeMap<PathBuf, Option<File>>,
    page_sizes: Option<Vec<String>>,
}

/// More than nearly all files have, so that one read is enough.
const BUFFER: usize = 16 << 10;

impl Cgroup {
    /// For reading statistics, once or again and again.
    pub fn meter(&self) -> Result<Meter<'_>> {
        if self.layout() == Layout::None {
            return Err(Error::new("the container has no cgroup, and so no statistics"));
        }
        Ok(Meter { cgroup: self, files: BTreeMap::new(), page_sizes: None })
    }
}

impl Meter<'_> {
    /// Reads the statistics.
    pub fn read(&mut self) -> Result<Value> {
        let mut stats = match self.cgroup.only_v2() {
            Some(only) => v2::read(self, &only.dir)?,
            None => v1::read(self, self.cgroup)?,
        };
        drop_nulls(&mut stats);
        stats["intel_rdt"] = json!({});
        // Of virtual links that runc itself made: neither makes any.
        stats["network_interfaces"] = Value::Null;
        Ok(stats)
    }

    /// What is in a file now; `None` where the kernel doesn't have it, or doesn't do what it would tell about.
    fn text(&mut self, dir: &Path, name: &str) -> Result<Option<String>> {
        let path = dir.join(name);
        let failed =
            |error: std::io::Error| CallError { call: format!("read({path:?})"), errno: error.into() };
        let absent = |errno: Errno| matches!(errno, Errno::ENOENT | Errno::EOPNOTSUPP);
        if !self.files.contains_key(&path) {
            let opened = match File::open(&path).map_err(failed) {
                Err(error) if absent(error.errno) => None,
                opened => Some(opened?),
            };
            self.files.insert(path.clone(), opened);
        }
        let Some(Some(file)) = self.files.get(&path) else { return Ok(None) };
        let mut content = Vec::new();
        let mut buffer = [0; BUFFER];
        loop {
            let at = u64::try_from(content.len()).unwrap_or(u64::MAX);
            let length = match file.read_at(&mut buffer, at).map_err(failed) {
                Err(error) if absent(error.errno) => return Ok(None),
                length => length?,
            };
            content.extend_from_slice(&buffer[..length]);
            // Only whole lines are returned, so that a read which is not the last one may leave some room.
            if length < BUFFER / 2 {
                return Ok(Some(String::from_utf8_lossy(&content).into_owned()));
            }
        }
    }

    /// A file with one number; 0 where there is none.
    fn number(&mut self, dir: &Path, name: &str) -> Result<u64> {
        Ok(number(&self.text(dir, name)?.unwrap_or_default()))
    }

    /// A file with a name and a number in each line.
    fn keys(&mut self, dir: &Path, name: &str) -> Result<BTreeMap<String, u64>> {
        Ok(keys(&self.text(dir, name)?.unwrap_or_default()))
    }

    /// A file with a list of numbers: `0-3,7`.
    fn list(&mut self, dir: &Path, name: &str) -> Result<Value> {
        let text = self.text(dir, name)?.unwrap_or_default();
        Ok(some_list(file::numbers(text.trim()).unwrap_or_default()))
    }

    /// How long processes have waited for a resource (PSI); null where the kernel doesn't tell.
    fn pressure(&mut self, dir: &Path, name: &str) -> Result<Value> {
        Ok(self.text(dir, name)?.map_or(Value::Null, |text| pressure(&text)))
    }

    /// The sizes of huge pages on this host, in the names of the files: `2MB`.
    fn page_sizes(&mut self) -> Vec<String> {
        let read = || {
            let names = file::names("/sys/kernel/mm/hugepages".as_ref()).unwrap_or_default();
            let mut sizes: Vec<String> = names.iter().filter_map(|name| page_size(name.to_str()?)).collect();
            sizes.sort();
            sizes
        };
        self.page_sizes.get_or_insert_with(read).clone()
    }
}

/// Go's `omitempty` of a number.
fn some(number: u64) -> Value {
    if number == 0 { Value::Null } else { number.into() }
}

/// Go's `omitempty` of a list.
fn some_list<T: Into<Value>>(list: Vec<T>) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}

fn number(text: &str) -> u64 {
    match text.trim() {
        "max" => u64::MAX,
        number => number.parse().unwrap_or(0),
    }
}

pub(super) fn keys(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), number(value))).collect()
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn pressure(text: &str) -> Value {
    let mut all = json!({});
    for kind in ["some", "full"] {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or_default();
        let mut data = json!({"avg10": 0, "avg60": 0, "avg300": 0, "total": 0});
        for (name, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
            // As Go prints it: 0.00 is 0.
            let short =
                if value.contains('.') { value.trim_end_matches('0').trim_end_matches('.') } else { value };
            if let Ok(number) = short.parse::<Number>() {
                data[name] = number.into();
            }
        }
        all[kind] = data;
    }
    all
}

/// `hugepages-2048kB` as `2MB`.
fn page_size(name: &str) -> Option<String> {
    let mut size: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    let mut units = ["KB", "MB", "GB"].into_iter();
    let mut unit = units.next()?;
    while size >= 1024
        && let Some(next) = units.next()
    {
        size /= 1024;
        unit = next;
    }
    Some(format!("{size}{unit}"))
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(drop_nulls);
            members.retain(|_, member| !member.is_null());
        }
        Value::Array(entries) => entries.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// An entry of the lists about block devices.
fn block_entry(device: &str, op: &str, value: u64) -> Option<Value> {
    let (major, minor) = device.split_once(':')?;
    let op = if op.is_empty() { Value::Null } else { op.into() };
    let (major, minor): (u64, u64) = (major.parse().ok()?, minor.parse().ok()?);
    Some(json!({"major": some(major), "minor": some(minor), "op": op, "value": some(value)}))
}

/// Use of a resource of memory, and its limit.
fn memory_entry(usage: u64, max: u64, failures: u64, limit: u64) -> Value {
    json!({"usage": some(usage), "max": some(max), "failcnt": failures, "limit": limit})
}

/// A size that nearly all processors have. Where it has no file, the cgroup doesn't have the controller.
const USUAL_SIZE: &str = "2MB";

/// The sizes of huge pages with what `read` says of each.
fn hugetlb(
    meter: &mut Meter,
    mut read: impl FnMut(&mut Meter, &str) -> Result<Option<Value>>,
) -> Result<Value> {
    let mut all = Map::new();
    match read(meter, USUAL_SIZE)? {
        Some(one) => all.insert(USUAL_SIZE.into(), one),
        None => return Ok(all.into()),
    };
    for size in meter.page_sizes().into_iter().filter(|size| size != USUAL_SIZE) {
        if let Some(one) = read(meter, &size)? {
            all.insert(size, one);
        }
    }
    Ok(all.into())
}
