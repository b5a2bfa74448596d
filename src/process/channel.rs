//! What the creator of a process and the new process tell each other, over a pair of `SOCK_SEQPACKET` sockets. The enums are the
//! documentation: their order is that of the conversation.
//!
//! Nothing is said downwards but "go on": the new process is a copy of its creator and already holds the plan. The end of the other
//! side is noticed at once, because its socket is closed with it.

use crate::error::{Error, Result};
use crate::sys::file::{self, Interest};
use crate::sys::{CallError, Errno, socket};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// From the new process to its creator.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromInit {
    /// The relay has made init; its pidfd comes along.
    Relayed {
        /// Its id in the creator's pid namespace.
        pid: i32,
    },
    /// It is in its namespaces: it is time to move network devices in.
    Entered,
    /// A mount of something that was in the container already is to be id-mapped; it comes along.
    Unmapped {
        /// Its place among the mounts of the plan.
        mount: usize,
    },
    /// The root is in place: it is time for the prestart and createRuntime hooks.
    RunHooks,
    /// Init itself runs hooks now, which may take as long as they like.
    RunningHooks,
    /// The system calls are filtered; the notification descriptor comes along.
    Listener,
    /// All is set up but the step into the program.
    Ready,
    /// A step failed, and the process is ending.
    Failed(Error),
}

/// From the creator to the new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToInit {
    /// Cgroups, id maps and limits are set.
    Go,
    /// The network devices are there.
    DevicesMoved,
    /// The mount is id-mapped.
    Mapped,
    /// The hooks have run.
    HooksDone,
    /// The container is on record: init outlives its creator from here on.
    Kept,
}

impl ToInit {
    fn byte(self) -> u8 {
        match self {
            ToInit::Go => b'g',
            ToInit::DevicesMoved => b'd',
            ToInit::Mapped => b'm',
            ToInit::HooksDone => b'h',
            ToInit::Kept => b'k',
        }
    }
}

/// Far above an error of many parts, each of which is bounded.
const MAX_MESSAGE: usize = 16 << 10;

/// The creator's end.
#[derive(Debug)]
pub struct CreatorEnd(OwnedFd);

/// The new process's end.
#[derive(Debug)]
pub struct InitEnd(OwnedFd);

/// A new channel.
pub fn pair() -> Result<(CreatorEnd, InitEnd)> {
    let (a, b) = socket::pair()?;
    Ok((CreatorEnd(a), InitEnd(b)))
}

impl CreatorEnd {
    /// Says something to the new process.
    pub fn send(&self, message: ToInit) -> Result<()> {
        Ok(socket::send(self.0.as_fd(), &[message.byte()], &[])?)
    }

    /// The next message and the descriptors with it; `None` when the process has closed its end, by an execve or because it is gone.
    /// `waiting_for` names what is awaited if it doesn't come within `patience`.
    pub fn receive(
        &self,
        patience: Option<Duration>,
        waiting_for: &str,
    ) -> Result<Option<(FromInit, Vec<OwnedFd>)>> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        if !file::poll(&[(self.0.as_fd(), Interest::Read)], deadline)?[0] {
            let seconds = patience.unwrap_or_default().as_secs();
            return Err(Error::new(format!("waited {seconds} s in vain for {waiting_for}")));
        }
        let message = match socket::receive(self.0.as_fd(), MAX_MESSAGE) {
            // The process was killed with something unread in its end.
            Err(CallError { errno: Errno::ECONNRESET, .. }) => return Ok(None),
            other => other?,
        };
        let Some(message) = message else { return Ok(None) };
        let parsed = serde_json::from_slice(&message.bytes);
        let parsed = parsed.map_err(|error| Error::new(format!("init sent an unknown message: {error}")))?;
        Ok(Some((parsed, message.fds)))
    }
}

impl InitEnd {
    /// Says something to the creator.
    pub fn send(&self, message: &FromInit, fds: &[BorrowedFd]) -> Result<()> {
        let bytes = serde_json::to_vec(message).map_err(|error| Error::new(error.to_string()))?;
        Ok(socket::send(self.0.as_fd(), &bytes, fds)?)
    }

    /// Waits for one message of the creator.
    pub fn wait_for(&self, wanted: ToInit) -> Result<()> {
        match socket::receive(self.0.as_fd(), 1)? {
            Some(message) if message.bytes == [wanted.byte()] => Ok(()),
            Some(_) => Err(Error::new(format!("the creator said something else than {wanted:?}"))),
            None => Err(Error::new(format!("the creator ended before it said {wanted:?}"))),
        }
    }

    /// The descriptor, to be kept open until the execve.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for InitEnd {
    /// A copy of an end.
    fn from(fd: OwnedFd) -> Self {
        InitEnd(fd)
    }
}
