//! `events`: statistics, and what happens to a container.

use super::{Container, State};
use crate::cgroup;
use crate::error::{Error, Result};
use crate::sys::file::{self, Interest};
use serde_json::Value;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// What can be told of a container.
#[derive(Debug)]
pub enum Event {
    /// Its statistics, in runc's form.
    Stats(Value),
    /// Something in its cgroup.
    Cgroup(cgroup::Event),
    /// Init has ended.
    Exit,
}

impl Container {
    /// The statistics now.
    pub fn stats(&self) -> Result<Value> {
        let init = alive(&self.state)?;
        let mut meter = self.state.cgroup.meter()?;
        let stats = meter.read();
        // The process ends next, which closes dozens of files in one call.
        std::mem::forget((init, meter));
        stats
    }

    /// Tells what happens, and every `interval` the statistics, until the container ends or `tell` says that nobody wants to know.
    pub fn watch(&self, interval: Duration, mut tell: impl FnMut(Event) -> bool) -> Result<()> {
        let init = alive(&self.state)?;
        let mut meter = self.state.cgroup.meter()?;
        let mut watch = self.state.cgroup.watch()?;
        let mut next = Instant::now() + interval;
        loop {
            let mut waits = vec![(init.as_fd(), Interest::Read)];
            waits.extend(watch.fds());
            let ended = file::poll(&waits, Some(next))?[0];
            // Also when it has ended: what it died of comes first.
            for event in watch.events()? {
                if !tell(Event::Cgroup(event)) {
                    return Ok(());
                }
            }
            if ended {
                tell(Event::Exit);
                return Ok(());
            }
            if Instant::now() >= next {
                let stats = match meter.read() {
                    // Another one has deleted it: its end is told next.
                    Err(error) if error.errno().is_some_and(cgroup::is_gone) => None,
                    stats => Some(stats?),
                };
                if stats.is_some_and(|stats| !tell(Event::Stats(stats))) {
                    return Ok(());
                }
                next = Instant::now() + interval;
            }
        }
    }
}

/// A pidfd of init. Whether it is of this boot need not be asked: nothing is done to it, and the cgroup is of this boot.
fn alive(state: &State) -> Result<OwnedFd> {
    let init = state.init.map(|init| init.open()).transpose()?.flatten();
    init.ok_or_else(|| Error::new("container not running"))
}
