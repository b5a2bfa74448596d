//! What happens in the cgroup: memory runs out, a fork goes over the limit. Waiting for it is poll(2) on files of the kernel, which
//! become ready when their content changes.

use super::{Cgroup, file, stats};
use crate::error::{Context, Result};
use crate::sys::eventfd::EventFd;
use crate::sys::file::Interest;
use crate::sys::{CallError, Errno};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Memory ran out at the limit, and the kernel looked for a process to kill.
    Oom,
    /// Counters of a file with such a name have grown: `memory.events`, `pids.events`.
    Counted(&'static str, BTreeMap<String, u64>),
}

/// What is watched.
#[derive(Debug)]
pub struct Watch {
    counters: Vec<Counter>,
    /// Version 1 has no counter of it that could be waited for.
    oom: Option<EventFd>,
}

/// A file of counters.
#[derive(Debug)]
struct Counter {
    name: &'static str,
    file: File,
    last: BTreeMap<String, u64>,
}

impl Cgroup {
    /// Watches from now on.
    pub fn watch(&self) -> Result<Watch> {
        let mut watch = Watch { counters: Vec::new(), oom: None };
        let memory = self.only_v2().map(|only| (only, "memory.events"));
        let pids = self.only_v2().or_else(|| self.controller("pids")).map(|pids| (pids, "pids.events"));
        for (hierarchy, name) in memory.into_iter().chain(pids) {
            watch.counters.extend(Counter::open(&hierarchy.dir, name)?);
        }
        if let Some(memory) = self.controller("memory") {
            watch.oom = oom_notice(&memory.dir).doing(|| "watch for the end of memory".into())?;
        }
        Ok(watch)
    }
}

/// Has the kernel count in an eventfd how often memory runs out
/// ([memory.rst](https://docs.kernel.org/admin-guide/cgroup-v1/memory.html), section 10).
fn oom_notice(dir: &Path) -> Result<Option<EventFd>> {
    let path = dir.join("memory.oom_control");
    let Some(control) = file::unless_gone(file::open(&path))? else { return Ok(None) };
    let counter = EventFd::new()?;
    let order = format!("{} {}", counter.as_fd().as_raw_fd(), control.as_raw_fd());
    file::write(&dir.join("cgroup.event_control"), &order)?;
    Ok(Some(counter))
}

impl Watch {
    /// What to wait for with poll(2).
    pub fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        let counters = self.counters.iter().map(|counter| (counter.file.as_fd(), Interest::Priority));
        counters.chain(self.oom.iter().map(|oom| (oom.as_fd(), Interest::Read)))
    }

    /// What has happened since the last time.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        if self.oom.as_ref().map_or(Ok(0), EventFd::take)? > 0 {
            events.push(Event::Oom);
        }
        for counter in &mut self.counters {
            let Some((grown, killed)) = counter.grown()? else { continue };
            // Processes were killed: what runc tells of both versions.
            if killed {
                events.push(Event::Oom);
            }
            events.push(Event::Counted(counter.name, grown));
        }
        Ok(events)
    }
}

impl Counter {
    /// `None` where the kernel doesn't have it.
    fn open(dir: &Path, name: &'static str) -> Result<Option<Counter>> {
        let Some(file) = file::unless_gone(file::open(&dir.join(name)))? else { return Ok(None) };
        let mut counter = Counter { name, file, last: BTreeMap::new() };
        counter.last = counter.read()?.unwrap_or_default();
        Ok(Some(counter))
    }

    /// The counters; `None` when the cgroup is gone.
    fn read(&self) -> Result<Option<BTreeMap<String, u64>>> {
        let mut buffer = [0; 512];
        match self.file.read_at(&mut buffer, 0).map_err(Errno::from) {
            Ok(length) => Ok(Some(stats::keys(&String::from_utf8_lossy(&buffer[..length])))),
            Err(errno) if file::is_gone(errno) => Ok(None),
            Err(errno) => Err(CallError { call: format!("read({:?})", self.name), errno }.into()),
        }
    }

    /// The counters if one of them has grown since the last time, and whether that is the one of processes that were killed for want of
    /// memory.
    fn grown(&mut self) -> Result<Option<(BTreeMap<String, u64>, bool)>> {
        let Some(now) = self.read()?.filter(|now| *now != self.last) else { return Ok(None) };
        let killed = now.get("oom_kill") > self.last.get("oom_kill");
        self.last.clone_from(&now);
        Ok(Some((now, killed)))
    }
}
