//! Finding and signalling the processes of the cgroup.

use super::{Cgroup, file};
use crate::error::{Context, Result};
use crate::sys::{Errno, pidfd, signal};
use std::os::fd::AsFd;
use std::time::Instant;

impl Cgroup {
    /// The processes in the cgroup and in those that the container made below it.
    pub fn pids(&self) -> Result<Vec<i32>> {
        match self.members() {
            Some(hierarchy) => {
                file::pids_below(&hierarchy.dir).doing(|| "list the container's processes".into())
            }
            None => Ok(Vec::new()),
        }
    }

    /// Sends a signal to every process. After `SIGKILL` nothing is frozen any more, since frozen processes don't die in cgroup v1.
    pub fn kill_all(&self, signal: i32, deadline: Instant) -> Result<()> {
        match self.unified() {
            Some(unified) if signal == signal::KILL => {
                // The kernel does it, in one step that no fork escapes (since Linux 5.14).
                file::unless_gone(file::write(&unified.dir.join("cgroup.kill"), "1"))?;
                self.let_go()?;
            }
            _ => self.kill_each(signal, deadline)?,
        }
        if signal == signal::KILL { self.let_go_below() } else { Ok(()) }
    }

    fn kill_each(&self, signal: i32, deadline: Instant) -> Result<()> {
        // Frozen processes neither fork nor end: nobody is missed, and no number comes to mean another process. Where they don't
        // freeze, the signals are sent nevertheless.
        let was_frozen = self.frozen()?;
        let froze = !was_frozen && self.freeze(deadline).is_ok();
        let sent = self.pids().and_then(|pids| pids.into_iter().try_for_each(|pid| send(pid, signal)));
        if froze || signal == signal::KILL {
            self.let_go()?;
        }
        sent
    }
}

fn send(pid: i32, signal: i32) -> Result<()> {
    match pidfd::open(pid).and_then(|process| pidfd::send_signal(process.as_fd(), signal)) {
        Err(error) if error.errno == Errno::ESRCH => Ok(()),
        other => other.doing(|| format!("signal process {pid}")),
    }
}
