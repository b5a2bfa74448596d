//! Removing the cgroup.

use super::freeze::ask;
use super::systemd::Unit;
use super::{Cgroup, Hierarchy, file};
use crate::error::{Context, Error, Result};
use crate::sys::file::{Interest, poll};
use crate::sys::{CallError, Errno, pidfd};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

impl Cgroup {
    /// Removes the cgroup where nobody is in it, and nothing below it; tells whether that was so. Then nobody has to be held still
    /// and killed before, which takes three times as many calls.
    pub fn destroy_empty(&self) -> Result<bool> {
        // What goes wrong here goes wrong again on the longer way, with an error.
        let removed = self.hierarchies.iter().all(|hierarchy| matches!(remove_dir(&hierarchy.dir), Ok(true)));
        if removed {
            self.forget_unit()?;
        }
        Ok(removed)
    }

    /// Removes the cgroup in every hierarchy, together with what the container made below it, waiting for processes that are about
    /// to end; kills nobody. Goes on after a failure and returns the first one.
    pub fn destroy(&self, deadline: Instant) -> Result<()> {
        let results = self.hierarchies.iter().map(|hierarchy| remove(hierarchy, deadline));
        // All of them, before the first failure is looked for.
        let results: Vec<Result<()>> = results.collect();
        let forgotten = self.forget_unit();
        results.into_iter().chain([forgotten]).collect::<Result<()>>().doing(|| "remove the cgroup".into())
    }

    fn forget_unit(&self) -> Result<()> {
        self.unit.as_ref().map_or(Ok(()), Unit::forget)
    }
}

fn remove(hierarchy: &Hierarchy, deadline: Instant) -> Result<()> {
    let dir = &hierarchy.dir;
    // Nobody is in it, and nothing below it.
    if remove_dir(dir)? {
        return Ok(());
    }
    if !hierarchy.is_v2() {
        wait_for_ends(dir, deadline)?;
    } else if !file::wait_event(dir, "populated 0", deadline)? {
        return Err(still_there(dir));
    }
    // Someone may have come since, or have made another one below; and in version 1 a process that has ended leaves a moment later.
    match ask(deadline, || Ok(remove_below(dir)?))? {
        true => Ok(()),
        false => Err(still_there(dir)),
    }
}

/// Cgroup v1 doesn't tell when the last process is gone, so each of them is waited for.
fn wait_for_ends(dir: &Path, deadline: Instant) -> Result<()> {
    let listed = file::pids_below(dir)?;
    let opened: Vec<_> = listed.into_iter().filter_map(|pid| Some((pid, pidfd::open(pid).ok()?))).collect();
    // A number that means another process by now is not among them any more.
    let members = file::pids_below(dir)?;
    for (_, process) in opened.iter().filter(|(pid, _)| members.contains(pid)) {
        poll(&[(process.as_fd(), Interest::Read)], Some(deadline))?;
    }
    Ok(())
}

/// `rmdir(dir)`, which is `false` for one that is in use and `true` for one that is gone.
fn remove_dir(dir: &Path) -> std::result::Result<bool, CallError> {
    match std::fs::remove_dir(dir).map_err(Errno::from) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => Ok(false),
        // A read-only file system says so before it looks whether there is anything to remove.
        Err(Errno::EROFS) if !dir.exists() => Ok(true),
        Err(errno) => Err(CallError { call: format!("rmdir({dir:?})"), errno }),
    }
}

/// Removes a directory after all below it, the deepest first.
fn remove_below(dir: &Path) -> std::result::Result<bool, CallError> {
    for child in file::children(dir)? {
        remove_below(&child)?;
    }
    remove_dir(dir)
}

fn still_there(dir: &Path) -> Error {
    match file::pids_below(dir).unwrap_or_default().as_slice() {
        [] => Error::new(format!("{dir:?} is in use, though no process is in it")),
        pids => Error::new(format!("{dir:?} still has processes: {}", file::described(pids))),
    }
}
