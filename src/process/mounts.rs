//! Changes the mounts of a container that runs, by a process that joins its mount namespace.
//!
//! It does not join the PID namespace: no process of the container sees it, nor what it holds of the host.

use super::channel::{self, CreatorEnd, FromInit, InitEnd};
use super::create::Doomed;
use super::idmap;
use super::init::become_root;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::mounts::MountStep;
use crate::rootfs::{Graft, UserNamespaces, take_away};
use crate::sys::clone::{self, Cloned};
use crate::sys::mount::Propagation;
use crate::sys::ns::{self, Ns, NsSet};
use crate::sys::{file, process};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is to be changed, and where.
pub struct Request<'a> {
    /// The mounts.
    pub steps: &'a [MountStep],
    /// What becomes of them.
    pub change: Change,
    /// Where the container has other mounts, relative to its root.
    pub others: &'a [PathBuf],
    /// The host.
    pub host: &'a Host,
    /// The id of the container's init, and its pidfd.
    pub init: (i32, BorrowedFd<'a>),
    /// The namespaces that the container does not share with the runtime.
    pub namespaces: NsSet,
    /// The ids that own the container's user namespace, inside of it.
    pub root_ids: Option<(u32, u32)>,
}

/// What becomes of the mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They are added; binds that name no propagation get what suits this one of the root.
    Add(Propagation),
    /// They are taken away.
    Remove,
}

/// How a change went, if it is known.
#[derive(Debug)]
pub enum Outcome {
    /// It is made.
    Done,
    /// Nothing is changed.
    Failed(Error),
}

impl Outcome {
    /// The same as a result, for those who treat every error alike.
    pub fn done(self) -> Result<()> {
        match self {
            Outcome::Done => Ok(()),
            Outcome::Failed(error) => Err(error),
        }
    }
}

/// How long a network file system, or the copying of a directory, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The namespaces that matter to mounts: a new file system belongs to some of them.
const JOINED: [Ns; 5] = [Ns::User, Ns::Mount, Ns::Network, Ns::Ipc, Ns::Cgroup];

/// Makes the change, all of it or nothing. After an error it is not known which of the two has happened.
pub fn change(request: &Request) -> Result<Outcome> {
    let (channel, process) = match begin(request) {
        Ok(begun) => begun,
        Err(error) => return Ok(Outcome::Failed(error)),
    };
    match channel.receive(Some(PATIENCE), "the process in the container's mount namespace")? {
        Some((FromInit::Ready, _)) => Ok(Outcome::Done),
        Some((FromInit::Failed(error), _)) => Ok(Outcome::Failed(error)),
        Some(_) => Err(Error::new("the process spoke out of turn")),
        None => Err(process.ended_early()),
    }
}

/// Opens what comes from the host, and makes the process that does the rest.
fn begin(request: &Request) -> Result<(CreatorEnd, Doomed)> {
    // Whoever may mount here opens the host's objects with all rights that he has.
    let graft = match request.change {
        Change::Add(propagation) if request.host.can_mount => {
            let root = file::open_dir(Path::new(&format!("/proc/{}/root", request.init.0)))?;
            let own = || Ok(file::open_read(Path::new(&format!("/proc/{}/ns/user", request.init.0)))?);
            let users = UserNamespaces::open(request.steps, |users| idmap::translator(users, own))?;
            Some(Graft::open_host(request.steps, Some(root.as_fd()), &users, propagation)?)
        }
        _ => None,
    };
    let (channel, end) = channel::pair()?;
    match clone::clone3(NsSet::default(), None, false)? {
        Cloned::Child => {
            drop(channel);
            report(&end, inside(request, graft))
        }
        Cloned::Parent(child) => Ok((channel, Doomed::new(child.pidfd))),
    }
}

fn report(end: &InitEnd, outcome: Result<()>) -> ! {
    let message = match outcome {
        Ok(()) => FromInit::Ready,
        Err(error) => FromInit::Failed(error),
    };
    // If the creator is gone, nobody wants to know.
    let _ = end.send(&message, &[]);
    process::exit_now(0)
}

fn inside(request: &Request, graft: Option<Graft>) -> Result<()> {
    process::die_with_parent(true)?;
    process::hide_from_tracers()?;
    // Of the host, for it is the host's number that the process has.
    let proc = file::open_dir(Path::new("/proc"))?;
    let (_, init) = request.init;
    let wanted = JOINED.into_iter().filter(|kind| request.namespaces.has(*kind));
    let wanted = wanted.fold(NsSet::default(), NsSet::with);
    let graft = match (graft, request.change) {
        (None, Change::Add(propagation)) => {
            // The right to copy mounts comes with the user namespace, and is one over a mount namespace that belongs to it.
            ns::join(init, NsSet::default().with(Ns::User))?;
            ns::unshare(NsSet::default().with(Ns::Mount))?;
            let users = UserNamespaces::default();
            let graft = Graft::open_host(request.steps, None, &users, propagation)?;
            ns::join(init, wanted.without(Ns::User))?;
            Some(graft)
        }
        (graft, _) => {
            ns::join(init, wanted)?;
            graft
        }
    };
    if let Some((uid, gid)) = request.root_ids {
        become_root(uid, gid, false, request.host)?;
    }
    // Modes of what is made are exact.
    process::set_umask(0);
    let root = file::open_dir(Path::new("/"))?;
    match graft {
        Some(graft) => graft.put(root.as_fd(), proc.as_fd(), request.others),
        None => take_away(root.as_fd(), proc.as_fd(), request.steps.iter(), request.others),
    }
}
