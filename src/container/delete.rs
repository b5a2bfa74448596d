//! `delete`: nothing is left of a container.

use super::create::hook_state;
use super::{Container, StateDir, Status, check_id};
use crate::cgroup;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::hooks::{Hook, Hooks};
use crate::process::hooks::{self, HookState};
use crate::rdt::Rdt;
use crate::sys::file::{self, Interest};
use crate::sys::{CallError, Errno, pidfd, signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long processes may take to die, and a cgroup to be removed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes a container that has stopped, or that was never started; with `force` whatever there is of it, also if that is nothing.
pub fn delete(root: &Path, id: &str, force: bool) -> Result<()> {
    check_id(id)?;
    let dir = match StateDir::open(root, id) {
        // Only the directory tells that there was a container. That it isn't there is the one error without an errno.
        Err(error) if force && error.errno().is_none() => return Ok(()),
        other => other?,
    };
    dir.lock()?;
    match dir.load() {
        Ok(state) => Container { dir, state }.remove(force),
        // Its creator was killed before it had written the record, and so before it had made anything else; or the record is corrupt,
        // or no file. One that only could not be read now may name processes.
        Err(error) if force && matches!(error.errno(), None | Some(Errno::ELOOP | Errno::EISDIR)) => {
            if dir.path.join(super::state::FILE).exists() {
                log::line(log::Level::Warning, &format!("{error}: only the state directory is removed"));
            }
            dir.remove()
        }
        Err(error) => Err(error),
    }
}

impl Container {
    /// Kills what is left of the container and removes it.
    pub fn remove_forced(&self) -> Result<()> {
        self.dir.lock()?;
        if self.dir.is_gone() { Ok(()) } else { self.remove(true) }
    }

    /// The same where init has ended and been reaped.
    pub fn remove_ended(&self) -> Result<()> {
        self.dir.lock()?;
        if self.dir.is_gone() { Ok(()) } else { self.clear(None) }
    }

    /// Removes the container, whose lock is held.
    fn remove(&self, force: bool) -> Result<()> {
        let init = if force { self.state.open_init()? } else { self.unless_running()? };
        self.clear(init)
    }

    /// Init of a container that may be removed unforced, if it is alive.
    fn unless_running(&self) -> Result<Option<OwnedFd>> {
        // The lock is ours: there is no creator any more, and a container without init is one that never came about.
        match self.look()? {
            (Status::Created, init) => Ok(init),
            (_, None) => Ok(None),
            (Status::Running, Some(init)) if self.is_ending(init.as_fd())? => Ok(None),
            (status, Some(_)) => {
                let (id, status) = (&self.state.id, status.name());
                Err(Error::new(format!("cannot delete container {id} that is not stopped: {status}")))
            }
        }
    }

    /// Whether a running container was killed, or ends by itself, and has ended now. The kernel takes its time to take processes apart, and
    /// who deletes right after a kill means what was killed.
    fn is_ending(&self, init: BorrowedFd) -> Result<bool> {
        Ok(self.state.is_ending()?
            && file::poll(&[(init, Interest::Read)], Some(Instant::now() + PATIENCE))?[0])
    }

    /// Kills what is left, init given if it may be alive, and removes it, with what the poststop hooks do in between.
    fn clear(&self, init: Option<OwnedFd>) -> Result<()> {
        self.end(init)?;
        let poststop = Hooks::new(self.state.hooks.as_ref()).map(|hooks| hooks.poststop).unwrap_or_default();
        if !poststop.is_empty() {
            run_poststop(&poststop, &hook_state(&self.state));
        }
        self.dir.remove()
    }

    /// Kills what is left of the container and removes what the kernel has of it. After another boot, whatever has the same names is
    /// somebody else's.
    fn end(&self, init: Option<OwnedFd>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let own = &self.state.cgroup;
        if let Some(init) = init {
            match pidfd::send_signal(init.as_fd(), signal::KILL) {
                // It has just ended by itself.
                Err(CallError { errno: Errno::ESRCH, .. }) | Ok(()) => {}
                other => other?,
            }
            own.kill_all(signal::KILL, deadline)?;
            if !file::poll(&[(init.as_fd(), Interest::Read)], Some(deadline))?[0] {
                let seconds = PATIENCE.as_secs();
                let init: Vec<i32> = self.state.init.iter().map(|init| init.pid).collect();
                let init = cgroup::described(&init);
                return Err(Error::new(format!("init did not die within {seconds} s of SIGKILL: {init}"))
                    .hint("a process in state D waits for a device or network file system"));
            }
            own.destroy(deadline)?;
        } else if !self.state.is_of_this_boot()? {
            return Ok(());
        } else if !own.destroy_empty()? {
            own.kill_all(signal::KILL, deadline)?;
            own.destroy(deadline)?;
        }
        self.state.rdt.as_ref().map_or(Ok(()), Rdt::remove)
    }
}

/// "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and lifecycle continue": runtime.md.
pub fn run_poststop(hooks: &[Hook], state: &HookState) {
    let json = state.json("stopped", 0);
    for hook in hooks {
        if let Err(error) = hooks::run(std::slice::from_ref(hook), &json).doing(|| "poststop".into()) {
            log::line(log::Level::Warning, &error.to_string());
        }
    }
}
