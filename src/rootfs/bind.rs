//! What a bind mount takes: something of the host, or a part of the container that is there already.

use super::source::{Source, configure};
use crate::error::{Context, Error, Result};
use crate::plan::mount_options::SourceLink;
use crate::plan::mounts::{MountKind, MountStep};
use crate::sys::mount::{self, Propagation};
use crate::sys::{CallError, file, path};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What a source turned out to be.
pub enum Opened {
    /// A detached copy of the mount that it is on.
    Tree(OwnedFd),
    /// A symbolic link of this content, to be made anew.
    Link(PathBuf),
}

/// A bind that comes from what has been opened. `map_owners` maps it as its step says.
pub fn source(
    opened: Opened,
    step: &MountStep,
    inherited: Option<Propagation>,
    map_owners: impl FnOnce(BorrowedFd) -> Result<()>,
) -> Result<Source> {
    let tree = match opened {
        Opened::Tree(tree) => tree,
        Opened::Link(content) => return Ok(Source::Link(content)),
    };
    let MountKind::Bind { source: path, recursive, procfs, .. } = &step.kind else {
        return Ok(Source::Nothing);
    };
    if *procfs && mount::fs_magic(tree.as_fd())? != mount::PROC_MAGIC {
        return Err(Error::new(format!("{} does not lie on procfs", path.display()))
            .field(format!("{}.source", step.field)));
    }
    map_owners(tree.as_fd())?;
    configure(tree.as_fd(), step, inherited, *recursive)?;
    let directory = file::stat(tree.as_fd())?.is_dir();
    Ok(if directory { Source::Directory(tree) } else { Source::File(tree) })
}

/// Opens a source that lies inside the container, where the mounts before it are. Its path is the container's: no link leads out.
pub fn open_within(
    root: BorrowedFd,
    step: &MountStep,
    inherited: Option<Propagation>,
    map_owners: impl FnOnce(BorrowedFd) -> Result<()>,
) -> Result<Source> {
    let MountKind::Bind { within: Some(path), recursive, link, .. } = &step.kind else {
        return Ok(Source::Nothing);
    };
    let opened = || {
        let found = match link {
            SourceLink::Followed => path::resolve(root, path)?,
            SourceLink::Mounted | SourceLink::Copied => path::resolve_unfollowed(root, path)?,
        };
        match file::link_content(found.as_fd())? {
            Some(content) if *link == SourceLink::Copied => Ok(Opened::Link(content)),
            _ => mount::clone_fd(found.as_fd(), *recursive).map(Opened::Tree),
        }
    };
    self::source(opened().field(|| format!("{}.source", step.field))?, step, inherited, map_owners)
}

/// The source of a bind. To copy a link it is opened first, so that what is read and what is mounted otherwise are the same file.
pub fn open(source: &Path, recursive: bool, link: SourceLink) -> std::result::Result<Opened, CallError> {
    match link {
        SourceLink::Followed => mount::clone_path(source, recursive).map(Opened::Tree),
        SourceLink::Mounted => mount::clone_link(source, recursive).map(Opened::Tree),
        SourceLink::Copied => {
            let fd = file::open_unfollowed(source)?;
            match file::link_content(fd.as_fd())? {
                Some(content) => Ok(Opened::Link(content)),
                None => mount::clone_fd(fd.as_fd(), recursive).map(Opened::Tree),
            }
        }
    }
}
