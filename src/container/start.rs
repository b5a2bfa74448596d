//! `start`: the program begins.

use super::create::{hook_state, notify_socket};
use super::{Container, StateDir};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::hooks::Hooks;
use crate::process::notify::Notify;
use crate::process::{hooks, start};
use crate::sys::{pidfd, signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Init has been told to go on into its program.
#[derive(Debug)]
pub struct Told {
    connection: OwnedFd,
    /// Of a container whose creator had a `NOTIFY_SOCKET`: where it will say that it is ready.
    notify: Option<Notify>,
}

impl Told {
    /// Says it.
    pub(super) fn new(dir: &StateDir) -> Result<Self> {
        let running = || Error::new("cannot start an already running container");
        let connection = start::connect(dir.fd())?.ok_or_else(running)?;
        let notify = match notify_socket() {
            Some(to) => Some(Notify::listen(dir.fd(), to)?),
            None => None,
        };
        start::tell(connection.as_fd())?;
        Ok(Told { connection, notify })
    }
}

impl Container {
    /// Starts a container that was created before, as a command that ends then.
    pub fn start(&mut self) -> Result<()> {
        self.lock()?;
        // With the lock in hand there is no creator any more.
        let stopped = || Error::new("cannot start a container that has stopped");
        let init = self.state.open_init()?.ok_or_else(stopped)?;
        if self.state.cgroup.frozen()? {
            return Err(Error::new("cannot start a paused container").hint("resume it first"));
        }
        self.begin_detached(None, init.as_fd())
    }

    /// Lets the program begin, unless the creator has told init so already, then runs the poststart hooks. The caller has a pidfd of init,
    /// and the lock, which is free afterwards. Of a container whose creator had a `NOTIFY_SOCKET` it returns the socket on which the
    /// container will say that it is ready.
    pub fn begin(&self, told: Option<Result<Told>>, init: BorrowedFd) -> Result<Option<Notify>> {
        let notify = self.begin_locked(told, init)?;
        self.dir.unlock()?;
        Ok(notify)
    }

    /// The same for a command that ends then, and with it the lock: it stays until the container is ready, if somebody wants to know.
    pub fn begin_detached(&self, told: Option<Result<Told>>, init: BorrowedFd) -> Result<()> {
        match self.begin_locked(told, init)? {
            Some(notify) => {
                self.dir.unlock()?;
                notify.wait((self.pid(), init))
            }
            None => Ok(()),
        }
    }

    fn begin_locked(&self, told: Option<Result<Told>>, init: BorrowedFd) -> Result<Option<Notify>> {
        let told = told.unwrap_or_else(|| Told::new(&self.dir))?;
        start::await_program(told.connection, init)?;
        log::debug(|| "the program has begun".into());
        let poststart = Hooks::new(self.state.hooks.as_ref())?.poststart;
        if !poststart.is_empty() {
            let ran = hooks::run(&poststart, &hook_state(&self.state).json("running", self.pid()));
            // "If any poststart hook fails, the runtime MUST generate an error, stop the container": runtime.md, lifecycle.
            if ran.is_err() {
                // Where it has ended by itself there is nothing to be killed.
                let _ = pidfd::send_signal(init, signal::KILL);
                start::await_end(init);
            }
            ran.doing(|| "poststart".into())?;
        }
        Ok(told.notify)
    }

    /// The id of init, once there is one.
    pub fn pid(&self) -> i32 {
        self.state.init.map_or(0, |init| init.pid)
    }
}
