//! Mounts that a container gets, or loses, while it runs.

use super::UserNamespaces;
use super::attach::{self, Unsealed};
use super::source::{self, CgroupTree, Source};
use crate::error::{Context, Error, Result};
use crate::plan::mount_options::SourceLink;
use crate::plan::mounts::{MountKind, MountStep};
use crate::sys::mount::{self, Propagation};
use crate::sys::path::{self, Made};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// Mounts for a container that runs, detached.
#[derive(Debug)]
pub struct Graft<'a> {
    steps: &'a [MountStep],
    sources: Vec<Source>,
}

impl<'a> Graft<'a> {
    /// Opens what comes from the host. `root` is the container's root; only an id-mapped file system asks what it covers there.
    pub fn open_host(
        steps: &'a [MountStep],
        root: Option<BorrowedFd>,
        users: &UserNamespaces,
        propagation: Propagation,
    ) -> Result<Self> {
        let inherited = source::inherited_propagation(propagation);
        let sources = source::open_mounts(steps, root, &CgroupTree::None, users, inherited, false)?;
        Ok(Graft { steps, sources })
    }

    /// Makes the new file systems and puts everything into place, in the namespaces of the container. Of a failure neither a mount is
    /// left nor a place that was made for one. The rest is as of [`take_away`].
    pub fn put(mut self, root: BorrowedFd, proc: BorrowedFd, others: &[PathBuf]) -> Result<()> {
        source::make_new(self.steps, Some(root), &mut self.sources, None)?;
        let remove = |made: Vec<Made>| made.into_iter().rev().for_each(|made| drop(made.remove()));
        let mut done = Vec::new();
        for (step, source) in self.steps.iter().zip(self.sources) {
            let mut made = Vec::new();
            let place = make_place(root, step, matches!(source, Source::File(_)), &mut made);
            let put = place.and_then(|()| attach::put(root, step, source));
            if let Err(error) = put.and_then(|unsealed| unsealed.map_or(Ok(()), Unsealed::seal)) {
                remove(made);
                // Backwards: what was made may lie in a mount before it. The error to report is the one that led here.
                for (step, made) in done.into_iter().rev() {
                    let _ = take_away(root, proc, [step].into_iter(), others);
                    remove(made);
                }
                return Err(error);
            }
            done.push((step, made));
        }
        Ok(())
    }
}

/// Makes what has to be there before something can be mounted, as [`attach::put`] would.
fn make_place(root: BorrowedFd, step: &MountStep, file: bool, made: &mut Vec<Made>) -> Result<()> {
    if step.no_follow {
        return Ok(());
    }
    let path = &step.destination;
    let place =
        if file { path::make_file_noted(root, path, made) } else { path::make_dirs_noted(root, path, made) };
    place.map(drop).doing(|| format!("/{}", path.display())).field(|| format!("{}.destination", step.field))
}

/// Unmounts what is at the destinations, the last one first, because it may lie on one before it. All of them have to be mounts,
/// or none is taken away. `proc` is a procfs that shows the process.
///
/// A container may have led a destination by a link to a mount that it could not take away itself: those at `others`, relative to the
/// root, stay.
pub fn take_away<'a>(
    root: BorrowedFd,
    proc: BorrowedFd,
    steps: impl DoubleEndedIterator<Item = &'a MountStep>,
    others: &[PathBuf],
) -> Result<()> {
    let find = |step: &'a MountStep| {
        let field = || format!("{}.destination", step.field);
        let link = matches!(step.kind, MountKind::Bind { link: SourceLink::Mounted, .. });
        let found = if step.no_follow || link {
            path::resolve_unfollowed(root, &step.destination)
        } else {
            path::resolve(root, &step.destination)
        };
        let found = found.field(field)?;
        if !mount::is_mount(found.as_fd())? {
            return Err(Error::new("nothing is mounted there").field(field()));
        }
        let at = mount::location(proc, found.as_fd())?;
        let inside = at.strip_prefix("/").unwrap_or(&at);
        if inside != step.destination && others.iter().any(|other| other == inside) {
            return Err(Error::new(format!("it leads to another mount, {}", at.display())).field(field()));
        }
        Ok((found, step))
    };
    let found: Vec<_> = steps.rev().map(find).collect::<Result<_>>()?;
    for (mount, step) in found {
        mount::detach(proc, mount.as_fd()).field(|| format!("{}.destination", step.field))?;
    }
    Ok(())
}
