//! Holding the processes of the cgroup still. Cgroup v2 has it as a property of every cgroup and reports when it is done; a frozen
//! process can still be killed there. Cgroup v1 has a controller for it, which has to be asked again and again, and whose frozen
//! processes die only after a thaw.

use super::{Cgroup, Hierarchy, file};
use crate::error::{Context, Error, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the first pause is between two looks at a file of cgroup v1, and how long they get. Freezing takes less than
/// a millisecond unless a process sleeps without heeding signals.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Asks until the answer is yes or the deadline has passed, with pauses that grow; returns the last answer.
pub(super) fn ask(deadline: Instant, mut question: impl FnMut() -> Result<bool>) -> Result<bool> {
    let mut pause = FIRST_PAUSE;
    loop {
        if question()? {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        sleep(pause.min(left));
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

impl Cgroup {
    pub(super) fn freezer(&self) -> Option<&Hierarchy> {
        self.unified().or_else(|| self.controller("freezer"))
    }

    /// Freezes all processes and returns when the last one stands still; if that is not before the deadline, they all go on.
    pub fn freeze(&self, deadline: Instant) -> Result<()> {
        let hint = "the host needs cgroup v2, or the freezer controller of cgroup v1";
        let no_freezer = || Error::new("the container has no cgroup to freeze").hint(hint);
        let freezer = self.freezer().ok_or_else(no_freezer)?;
        let result = if freezer.is_v2() {
            file::write(&freezer.dir.join("cgroup.freeze"), "1")
                .and_then(|()| file::wait_event(&freezer.dir, "frozen 1", deadline))
                .map_err(Error::from)
        } else {
            let state = freezer.dir.join("freezer.state");
            ask(deadline, || {
                // Written every time: each write also reaches the processes that were made meanwhile.
                file::write(&state, "FROZEN")?;
                Ok(file::read(&state)? == "FROZEN")
            })
        };
        match result {
            Ok(true) => return Ok(()),
            Ok(false) => {
                let pids = self.pids().unwrap_or_default();
                self.let_go()?;
                let what = format!("some process didn't stop in time, of {}", file::described(&pids));
                Err(Error::new(what))
            }
            Err(error) if error.errno().is_some_and(file::is_gone) => {
                return Err(Error::new("the container has no cgroup to freeze"));
            }
            Err(error) => {
                // The error that comes first is the one to report.
                let _ = self.let_go();
                Err(error)
            }
        }
        .doing(|| format!("freeze {:?}", freezer.dir))
    }

    /// Has all processes go on, and returns when they do.
    pub fn thaw(&self, deadline: Instant) -> Result<()> {
        self.let_go()?;
        let Some(freezer) = self.freezer() else { return Ok(()) };
        let thawed = if freezer.is_v2() {
            file::wait_event(&freezer.dir, "frozen 0", deadline).map_err(Error::from)
        } else {
            let state = freezer.dir.join("freezer.state");
            ask(deadline, || Ok(file::unless_gone(file::read(&state))?.is_none_or(|state| state == "THAWED")))
        };
        match thawed {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new("a cgroup further up is frozen")),
            Err(error) => Err(error),
        }
        .doing(|| format!("thaw {:?}", freezer.dir))
    }

    /// Lifts what may hold the processes, on both versions: someone else may have frozen them by the one that isn't used here.
    pub(super) fn let_go(&self) -> Result<()> {
        if let Some(unified) = self.unified() {
            file::unless_gone(file::write(&unified.dir.join("cgroup.freeze"), "0"))?;
        }
        if let Some(freezer) = self.controller("freezer") {
            file::unless_gone(file::write(&freezer.dir.join("freezer.state"), "THAWED"))?;
        }
        Ok(())
    }

    /// Lifts what the container may have frozen by itself, in cgroups of version 1 below its own.
    pub(super) fn let_go_below(&self) -> Result<()> {
        let Some(freezer) = self.controller("freezer") else { return Ok(()) };
        let mut left = file::children(&freezer.dir)?;
        while let Some(dir) = left.pop() {
            file::unless_gone(file::write(&dir.join("freezer.state"), "THAWED"))?;
            left.extend(file::children(&dir)?);
        }
        Ok(())
    }

    /// Makes sure that processes which enter go on, as init would be waited for in vain. Also a cgroup further up may be frozen; which
    /// of the hierarchies could have that, `suspect` tells.
    pub(super) fn refuse_frozen(&self, suspect: impl Fn(&Hierarchy) -> bool) -> Result<()> {
        let both = [(self.unified(), "cgroup.events"), (self.controller("freezer"), "freezer.state")];
        for (hierarchy, name) in both {
            let Some(hierarchy) = hierarchy.filter(|hierarchy| suspect(hierarchy)) else { continue };
            // Of several lines, or the only one.
            let state = file::unless_gone(file::read(&hierarchy.dir.join(name)))?.unwrap_or_default();
            if state.lines().any(|line| matches!(line, "frozen 1" | "FROZEN" | "FREEZING")) {
                let what = format!("container's cgroup unexpectedly frozen: {:?}", hierarchy.dir);
                let hint = "thaw it, or give the container another one";
                return Err(Error::new(what).field("linux.cgroupsPath").hint(hint));
            }
        }
        Ok(())
    }

    /// Whether the processes are frozen, or about to be.
    pub fn frozen(&self) -> Result<bool> {
        if let Some(unified) = self.unified()
            && file::unless_gone(file::read(&unified.dir.join("cgroup.freeze")))?
                .is_some_and(|state| state == "1")
        {
            return Ok(true);
        }
        match self.controller("freezer") {
            Some(freezer) => {
                let state = file::unless_gone(file::read(&freezer.dir.join("freezer.state")))?;
                Ok(state.is_some_and(|state| state != "THAWED"))
            }
            None => Ok(false),
        }
    }
}
