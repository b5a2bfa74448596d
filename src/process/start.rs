//! Tells a created container's init to go on into its program.
//!
//! Init listens on a socket in the state directory. Whether somebody holds that is also what tells a created container from a running
//! one: the execve closes the socket.

use crate::error::{Error, Result};
use crate::sys::file::{self, Interest};
use crate::sys::{self, CallError, Errno, socket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The socket's name in the state directory.
const SOCKET: &str = "start";

/// How long init may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// All that `start` says.
pub const WORD: &[u8] = b"start";

/// Makes the socket that init will listen on.
pub fn listen(state_dir: BorrowedFd) -> Result<OwnedFd> {
    Ok(socket::listen_at(state_dir, SOCKET)?)
}

/// Whether init still waits to be started.
pub fn is_waiting(state_dir: BorrowedFd) -> Result<bool> {
    Ok(socket::is_held_at(state_dir, SOCKET)?)
}

/// A connection to init, if it still waits to be started.
pub fn connect(state_dir: BorrowedFd) -> sys::Result<Option<OwnedFd>> {
    socket::connect_at(state_dir, SOCKET)
}

/// Lets init go on.
pub fn tell(socket: BorrowedFd) -> Result<()> {
    Ok(socket::send(socket, WORD, &[])?)
}

/// Waits until init, which was told to go on over this connection, has executed the program. That may take as long as the startContainer
/// hooks do; the end of init, whose pidfd is given, is noticed.
pub fn await_program(socket: OwnedFd, init: BorrowedFd) -> Result<()> {
    // The kernel looks at them in this order: if init has executed the program and ended, the socket is seen to be closed.
    let ready = file::poll(&[(init, Interest::Read), (socket.as_fd(), Interest::Read)], None)?;
    if !ready[1] {
        return Err(Error::new("the container's init ended before it was started"));
    }
    let message = match socket::receive(socket.as_fd(), 64 << 10) {
        // Init has not taken our word from its queue: it ended, or took that of a `start` that was killed and has executed the program.
        Err(CallError { errno: Errno::ECONNRESET, .. }) => {
            let ended = file::poll(&[(init, Interest::Read)], Some(Instant::now()))?[0];
            return Err(Error::new(match ended {
                true => "the container's init ended before it was started",
                false => "cannot start an already running container",
            }));
        }
        other => other?,
    };
    match message {
        // The execve has closed the socket.
        None => Ok(()),
        Some(message) => {
            // It says why it ends: who hears of the error finds a container that has stopped.
            await_end(init);
            Err(serde_json::from_slice(&message.bytes)
                .unwrap_or_else(|error| Error::new(format!("init sent an unknown message: {error}"))))
        }
    }
}

/// Waits until init, which is about to end, has ended. Why it ends is what the caller has to report, whether or not this can be seen.
pub fn await_end(init: BorrowedFd) {
    let _ = file::poll(&[(init, Interest::Read)], Some(Instant::now() + PATIENCE));
}
