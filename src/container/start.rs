//! `start`: the program begins.

use super::Container;
use super::create::{hook_state, notify_socket};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::hooks::Hooks;
use crate::process::notify::Notify;
use crate::process::{hooks, start};
use crate::sys::{pidfd, signal};
use std::os::fd::AsFd;

impl Container {
    /// Lets the program begin, then runs the poststart hooks. Of a container whose creator had a `NOTIFY_SOCKET` it returns the socket on
    /// which the container will say that it is ready.
    pub fn start(&mut self) -> Result<Option<Notify>> {
        self.lock()?;
        // With the lock in hand there is no creator any more.
        let stopped = || Error::new("cannot start a container that has stopped");
        let init = self.state.open_init()?.ok_or_else(stopped)?;
        if self.state.cgroup.frozen()? {
            return Err(Error::new("cannot start a paused container").hint("resume it first"));
        }
        let running = || Error::new("cannot start an already running container");
        let socket = start::connect(self.dir.fd())?.ok_or_else(running)?;
        let notify = match notify_socket() {
            Some(to) => Some(Notify::listen(self.dir.fd(), to)?),
            None => None,
        };
        start::start(socket, init.as_fd())?;
        log::debug(|| "the program has begun".into());
        let poststart = Hooks::new(self.state.hooks.as_ref())?.poststart;
        if !poststart.is_empty() {
            let pid = self.state.init.map_or(0, |init| init.pid);
            let ran = hooks::run(&poststart, &hook_state(&self.state).json("running", pid));
            // "If any poststart hook fails, the runtime MUST generate an error, stop the container": runtime.md, lifecycle.
            if ran.is_err() {
                // Where it has ended by itself there is nothing to be killed.
                let _ = pidfd::send_signal(init.as_fd(), signal::KILL);
                start::await_end(init.as_fd());
            }
            ran.doing(|| "poststart".into())?;
        }
        self.dir.unlock()?;
        Ok(notify)
    }

    /// The same for a command that ends then: it stays until the container is ready, if somebody wants to know.
    pub fn start_detached(&mut self) -> Result<()> {
        // Opened before it can end: what it says right before still counts.
        let init = match notify_socket() {
            Some(_) => {
                self.lock()?;
                self.state.init.map(|init| init.pid).zip(self.state.open_init()?)
            }
            None => None,
        };
        match (self.start()?, &init) {
            (Some(notify), Some((pid, pidfd))) => notify.wait((*pid, pidfd.as_fd())),
            _ => Ok(()),
        }
    }
}
