//! Mounts that have to be somewhere for a moment before they can be had as detached ones: a process in a mount namespace of its own
//! makes them, and hands over copies.

use crate::error::{Error, Result};
use crate::sys::clone::{self, Cloned};
use crate::sys::mount::{self, Attributes, Propagation};
use crate::sys::ns::{Ns, NsSet};
use crate::sys::{file, pidfd, process, socket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where they are for this moment: any directory will do, and this one is always there.
pub const PLACE: &str = "/proc";

/// The longest error that it can hand over, in bytes.
const MAX_ERROR: usize = 16 << 10;

/// Does `work` in such a process, which hands over `count` descriptors.
pub fn aside(
    count: usize,
    work: impl FnOnce(&dyn Fn(BorrowedFd) -> Result<()>) -> Result<()>,
) -> Result<Vec<OwnedFd>> {
    let (ours, theirs) = socket::pair()?;
    let child = match clone::clone3(NsSet::default().with(Ns::Mount), None, false)? {
        Cloned::Child => {
            drop(ours);
            let hand_over = |fd: BorrowedFd| Ok(socket::send(theirs.as_fd(), b"", &[fd])?);
            if let Err(error) = begin().and_then(|()| work(&hand_over)) {
                // If the other side is gone, nobody wants to know.
                let _ = socket::send(theirs.as_fd(), &serde_json::to_vec(&error).unwrap_or_default(), &[]);
            }
            process::exit_now(0)
        }
        Cloned::Parent(child) => child,
    };
    drop(theirs);
    let made = (0..count).map(|_| receive(ours.as_fd())).collect();
    // Nothing is left to be said, whether it has done everything or failed.
    drop(ours);
    pidfd::wait(child.pidfd.as_fd())?;
    made
}

fn begin() -> Result<()> {
    process::die_with_parent(true)?;
    let slash = file::open_dir(Path::new("/"))?;
    Ok(mount::set_attributes(slash.as_fd(), Attributes::default(), Some(Propagation::Private), true)?)
}

fn receive(socket: BorrowedFd) -> Result<OwnedFd> {
    let answer = socket::receive(socket, MAX_ERROR)?;
    let answer = answer.ok_or_else(|| Error::new("the process that mounts ended without a word"))?;
    answer.fds.into_iter().next().ok_or_else(|| {
        serde_json::from_slice(&answer.bytes).unwrap_or_else(|error| Error::new(error.to_string()))
    })
}
