//! Changing the limits of a cgroup that is in use: all of them, or none.

use super::create::refused;
use super::systemd::Told;
use super::{Cgroup, file};
use crate::error::{Context, Error, Result};
use crate::log::{self, Level};
use crate::plan::cgroup::update::Change;
use crate::plan::cgroup::{IfMissing, Write};
use crate::sys::{CallError, Errno};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Limits that have been changed; on drop they are put back, unless kept.
#[derive(Debug, Default)]
pub struct Updated {
    /// Told again first: the files have the last word.
    told: Option<Told>,
    values: Vec<Changed>,
}

/// One value that has been changed.
#[derive(Debug)]
struct Changed {
    path: PathBuf,
    file: File,
    /// What it was before, as the file takes it.
    before: String,
    /// What comes to the same: a cpuset of version 2 without a list goes by this one, and gets no empty list while processes are in it.
    instead: Option<String>,
}

impl Updated {
    /// The change holds.
    pub fn keep(mut self) {
        self.values.clear();
        if let Some(told) = self.told.take() {
            told.keep();
        }
    }
}

impl Drop for Updated {
    fn drop(&mut self) {
        self.told = None;
        // What was changed last goes back first. A value may still have to fit to one that goes back after it.
        let failed = |changed: &Changed| changed.put(&changed.before).is_err();
        let again: Vec<Changed> = self.values.drain(..).rev().filter(failed).collect();
        for changed in again {
            let Err(error) = changed.put(&changed.before) else { continue };
            if changed.instead.as_ref().is_none_or(|instead| changed.put(instead).is_err()) {
                // The error that led here is the one to report.
                log::line(Level::Warning, &format!("put back what was before: {}", Error::from(error)));
            }
        }
    }
}

impl Cgroup {
    /// Puts new limits into effect while the container runs, reads back what the kernel has made of them, and undoes everything if one
    /// of them is refused or can't hold.
    pub fn update(&self, change: &Change) -> Result<Updated> {
        if let Some((limit, field)) = change.above_usage {
            self.check_usage(limit).field(|| field.into())?;
        }
        if let Some(only) = self.only_v2() {
            self.enable(only, &change.writes)?;
        }
        let mut updated = Updated::default();
        let mut again = Vec::new();
        // What an empty cpuset becomes can't be undone to the letter, so it comes when nothing else is left that could be refused.
        let (last, first): (Vec<_>, Vec<_>) =
            change.writes.iter().partition(|write| write.file.starts_with("cpuset."));
        for write in first.into_iter().chain(last) {
            // A value may have to fit to another one that is written after it, as in `Cgroup::write`.
            match self.change(write, &mut updated) {
                Err(error) if error.errno() == Some(Errno::EINVAL) => again.push(write),
                other => other?,
            }
        }
        again.into_iter().try_for_each(|write| self.change(write, &mut updated))?;
        let before = updated.values.iter().filter_map(Changed::former).collect();
        updated.told = self.tell_systemd(&change.writes, before)?;
        Ok(updated)
    }

    fn change(&self, write: &Write, updated: &mut Updated) -> Result<()> {
        let hierarchy = self.hierarchy_of(write)?;
        let (mut path, mut value) = (hierarchy.dir.join(&write.file), &write.value);
        let failed = |error: CallError, path: &Path| self.why(error, write, path);
        let opened = match (open(&path), &write.if_missing) {
            (Err(error), IfMissing::Skip) if error.errno == Errno::ENOENT => return Ok(()),
            (Err(error), IfMissing::Write { file, value: other }) if error.errno == Errno::ENOENT => {
                path = hierarchy.dir.join(file);
                value = other;
                open(&path)
            }
            (opened, _) => opened,
        };
        let opened = opened.map_err(|error| failed(error, &path))?;
        let all = read(&opened, &path)?;
        let before = former(&path, &all, value);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let instead = if before.is_empty() && name.starts_with("cpuset.") {
            file::read(&path.with_file_name(format!("{name}.effective"))).ok()
        } else {
            None
        };
        let changed = Changed { path, file: opened, before, instead };
        changed.put(value).map_err(|error| failed(error, &changed.path))?;
        log::line(Level::Debug, &format!("{}: {} -> {value}", write.file, changed.before));
        let held = changed.check(value).map_err(|error| error.field(write.field.as_str()));
        updated.values.push(changed);
        held
    }

    /// Explains why a value is refused.
    fn why(&self, error: CallError, write: &Write, path: &Path) -> Error {
        let invalid = matches!(error.errno, Errno::EINVAL | Errno::EACCES | Errno::ERANGE | Errno::ENOSPC);
        let hint = match write.file.as_str() {
            "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes" if error.errno == Errno::EBUSY => {
                let name = write.file.replace("limit_in_bytes", "usage_in_bytes");
                let usage = file::read(&path.with_file_name(name)).unwrap_or_else(|_| "more".into());
                format!("the container uses {usage} bytes already, which it can't give back")
            }
            "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes" if error.errno == Errno::EINVAL => {
                "the limit of memory and swap together must not be the lower one".into()
            }
            "cpuset.cpus" | "cpuset.mems" if invalid => {
                "all of them must exist, and be of the cgroup above; those of cgroups below must stay".into()
            }
            "cpu.shares" | "cpu.weight" if invalid => "a cgroup that is idle (cpu.idle) has no share".into(),
            "cpu.max.burst" | "cpu.cfs_burst_us" if invalid => "a burst must not be over the quota".into(),
            _ => return refused(error, write),
        };
        Error::from(error).field(write.field.as_str()).hint(hint)
    }

    /// Refuses a limit of memory that is not above what is in use, where the kernel would kill processes.
    fn check_usage(&self, limit: u64) -> Result<()> {
        let (hierarchy, name) = match self.only_v2() {
            Some(only) => (Some(only), "memory.current"),
            None => (self.controller("memory"), "memory.usage_in_bytes"),
        };
        let usage = hierarchy.map(|hierarchy| file::read(&hierarchy.dir.join(name)));
        // As in runc: where the usage is not known, it is no reason against the limit.
        match usage.and_then(|usage| usage.ok()?.parse::<u64>().ok()) {
            Some(usage) if limit <= usage => {
                Err(Error::new(format!("{limit} is not above the {usage} bytes that the container uses"))
                    .hint("memory.checkBeforeUpdate asks for this check"))
            }
            _ => Ok(()),
        }
    }
}

impl Changed {
    /// The write that puts it back.
    fn former(&self) -> Option<Write> {
        let name = self.path.file_name()?.to_string_lossy().into_owned();
        Some(Write::new("cgroup", name, &self.before, ""))
    }

    fn put(&self, value: &str) -> std::result::Result<(), CallError> {
        // An empty list is an empty line: a write of nothing does not reach the kernel.
        let bytes = if value.is_empty() { "\n" } else { value };
        let written = self.file.write_all_at(bytes.as_bytes(), 0);
        written.map_err(file::failed(|| format!("write({:?}, {value:?})", self.path)))
    }

    /// Reads the file back: some values the kernel adjusts without an error.
    fn check(&self, value: &str) -> Result<()> {
        let Ok(wanted) = value.parse::<u64>() else { return self.check_list(value) };
        let now = read(&self.file, &self.path)?;
        match now.parse::<u64>() {
            // Sizes are rounded down to whole pages.
            Ok(held) if held != wanted && (held > wanted || !self.is_size()) => {
                Err(Error::new(format!("the kernel makes {held} of {wanted}")))
            }
            _ => Ok(()),
        }
    }

    fn is_size(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("memory.") || name.starts_with("hugetlb.")
    }

    /// Version 2 takes any list for a cpuset, and goes by that of the cgroup above if nothing of it is there.
    fn check_list(&self, value: &str) -> Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        if !matches!(&*name, "cpuset.cpus" | "cpuset.mems") {
            return Ok(());
        }
        let effective = self.path.with_file_name(format!("{name}.effective"));
        let Some(effective) = file::unless_gone(file::read(&effective))? else { return Ok(()) };
        let set = |list: &str| file::numbers(list).map(BTreeSet::from_iter);
        match (set(value), set(&effective)) {
            (Some(wanted), Some(held)) if !wanted.is_subset(&held) => {
                Err(Error::new(format!("{value} is not all there: the container would have {effective}")))
            }
            _ => Ok(()),
        }
    }
}

fn open(path: &Path) -> std::result::Result<File, CallError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(file::failed(|| format!("open({path:?})")))
}

/// Reads the whole file from its beginning, in one call if it is short.
fn read(opened: &File, path: &Path) -> Result<String> {
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let at = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let length = opened.read_at(&mut buffer, at).map_err(file::failed(|| format!("read({path:?})")))?;
        content.extend_from_slice(&buffer[..length]);
        // Only whole lines are returned, so that a read which is not the last one may leave some room.
        if length < buffer.len() / 2 {
            return Ok(String::from_utf8_lossy(&content).trim().to_owned());
        }
    }
}

/// What has to be written to have a file as it is now. Of a file with many lines that is the one about the same device, which is not
/// there if the device has no limit.
fn former(path: &Path, content: &str, value: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let absent = match &*name {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.latency" => "target=0",
        "rdma.max" => "hca_handle=max hca_object=max",
        "misc.max" => "max",
        "net_prio.ifpriomap" => "0",
        name if name.starts_with("blkio.throttle.") => "0",
        // A weight may be that of all devices.
        _ if value.contains(':') => "default",
        _ => return content.strip_prefix("default ").unwrap_or(content).lines().next().unwrap_or("").into(),
    };
    let about = value.split(' ').next().unwrap_or_default();
    let line = content.lines().find(|line| line.split(' ').next() == Some(about));
    line.map_or_else(|| format!("{about} {absent}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::former;
    use std::path::Path;

    #[test]
    fn the_way_back_is_known() {
        let cases = [
            ("memory.max", "max", "5", "max"),
            ("cpu.max", "max 100000", "5 10", "max 100000"),
            ("cpuset.cpus", "", "0", ""),
            (
                "io.max",
                "8:0 rbps=1 wbps=2 riops=max wiops=max",
                "8:0 rbps=7",
                "8:0 rbps=1 wbps=2 riops=max wiops=max",
            ),
            ("io.max", "8:16 rbps=1", "8:1 rbps=7", "8:1 rbps=max wbps=max riops=max wiops=max"),
            ("blkio.throttle.read_bps_device", "", "8:0 7", "8:0 0"),
            ("io.weight", "default 100\n8:0 200", "300", "100"),
            ("io.bfq.weight", "100", "300", "100"),
            ("io.weight", "default 100", "8:0 300", "8:0 default"),
            (
                "rdma.max",
                "mlx4_0 hca_handle=2 hca_object=9",
                "mlx4_0 hca_handle=3",
                "mlx4_0 hca_handle=2 hca_object=9",
            ),
        ];
        for (file, content, value, before) in cases {
            assert_eq!(former(Path::new(file), content, value), before, "{file} {value}");
        }
    }
}
