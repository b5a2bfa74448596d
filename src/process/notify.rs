//! Readiness, passed on from the container to the caller's service manager
//! ([sd_notify(3)](https://man7.org/linux/man-pages/man3/sd_notify.3.html)).
//!
//! The container gets a socket of its own instead of the caller's `NOTIFY_SOCKET`, over which it could say anything about the caller's
//! service. Only `READY=1` goes on, and the main process is named in host terms.

use crate::error::{Context, Result};
use crate::sys::file::{self, Interest};
use crate::sys::socket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The directory in the state directory that is mounted into the container.
pub const DIR: &str = "notify";

/// The socket's name in it.
const SOCKET: &str = "notify.sock";

/// The container's notification socket.
#[derive(Debug)]
pub struct Notify {
    socket: OwnedFd,
    /// The caller's `NOTIFY_SOCKET`.
    to: PathBuf,
}

impl Notify {
    /// Makes the socket in the directory of a container that was created with one.
    pub fn listen(state_dir: BorrowedFd, to: PathBuf) -> Result<Self> {
        let dir = file::open_dir_at(state_dir, Path::new(DIR))?;
        Ok(Notify { socket: socket::bind_datagram(dir.as_fd(), SOCKET)?, to })
    }

    /// Waits until the container is ready or its init, given by id and pidfd, has ended.
    pub fn wait(&self, init: (i32, BorrowedFd)) -> Result<()> {
        loop {
            // The kernel looks at them in this order: what was said before the end is there when the end has been seen.
            let ready = file::poll(&[(init.1, Interest::Read), (self.socket.as_fd(), Interest::Read)], None)?;
            if !ready[1] || self.pass_on(init.0)? {
                return Ok(());
            }
        }
    }

    /// Receives one message, and passes on that the container is ready, if it says so; tells whether it did.
    pub fn pass_on(&self, pid: i32) -> Result<bool> {
        let Some(message) = socket::receive(self.socket.as_fd(), 4096)? else { return Ok(false) };
        if !message.bytes.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(false);
        }
        let to = socket::connect_datagram(&self.to).doing(|| "pass on READY=1 to NOTIFY_SOCKET".into())?;
        socket::send(to.as_fd(), b"READY=1\n", &[])?;
        socket::send(to.as_fd(), format!("MAINPID={pid}").as_bytes(), &[])?;
        Ok(true)
    }

    /// Ready when there is a message.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
