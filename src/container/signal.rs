//! `kill`, `pause`, `resume`, `ps`: what is done to the processes of a container.

use super::{Container, Status};
use crate::error::{Error, Result};
use crate::sys::ns::Ns;
use crate::sys::{pidfd, signal};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long processes may take to stand still, or to go on.
const FREEZE_PATIENCE: Duration = Duration::from_secs(10);

impl Container {
    /// Sends a signal to init, or with `all` to every process of the container; then it is no error that there is none any more.
    pub fn kill(&self, number: i32, all: bool) -> Result<()> {
        let init = self.state.open_init()?;
        if all && !self.state.is_of_this_boot()? {
            return Ok(());
        }
        if all {
            return self.state.cgroup.kill_all(number, Instant::now() + FREEZE_PATIENCE);
        }
        let not_running = || Error::new("container not running");
        if number == signal::KILL && !self.state.namespaces.has(Ns::Pid) {
            // In a PID namespace of its own all others die with init; elsewhere they have to be sought out, and may outlive it.
            if init.is_none() && self.pids()?.is_empty() {
                return Err(not_running());
            }
            self.state.cgroup.kill_all(number, Instant::now() + FREEZE_PATIENCE)?;
            if init.is_none() {
                return Ok(());
            }
        }
        let init = init.ok_or_else(not_running)?;
        pidfd::send_signal(init.as_fd(), number)?;
        if number == signal::KILL && self.state.cgroup.frozen()? {
            // In cgroup v1 what is frozen dies only after a thaw.
            self.state.cgroup.thaw(Instant::now() + FREEZE_PATIENCE)?;
        }
        Ok(())
    }

    /// Freezes all processes.
    pub fn pause(&self) -> Result<()> {
        match self.status()? {
            Status::Running | Status::Created => self.state.cgroup.freeze(Instant::now() + FREEZE_PATIENCE),
            Status::Paused => Err(Error::new("container already paused")),
            Status::Creating | Status::Stopped => Err(Error::new("container not running")),
        }
    }

    /// Lets frozen processes go on.
    pub fn resume(&self) -> Result<()> {
        match self.status()? {
            Status::Paused => self.state.cgroup.thaw(Instant::now() + FREEZE_PATIENCE),
            _ => Err(Error::new("container not paused")),
        }
    }

    /// The ids of all processes, in the runtime's pid namespace.
    pub fn pids(&self) -> Result<Vec<i32>> {
        if !self.state.is_of_this_boot()? {
            return Ok(Vec::new());
        }
        let pids = self.state.cgroup.pids()?;
        match self.state.init {
            // Without a cgroup nobody keeps a list of the others.
            Some(init) if pids.is_empty() && self.state.open_init()?.is_some() => Ok(vec![init.pid]),
            _ => Ok(pids),
        }
    }
}
