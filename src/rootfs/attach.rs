//! Puts detached mounts onto their destinations inside the root.

use super::source::Source;
use crate::error::{Context, Error, Result};
use crate::plan::mounts::{MountKind, MountStep};
use crate::sys::mount::{self, Attributes, Propagation, attr};
use crate::sys::path::{self, Places};
use crate::sys::{Errno, copy, file};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A mount that becomes read-only only when everything is in it.
#[derive(Debug)]
pub struct Unsealed<'a> {
    tree: OwnedFd,
    field: &'a str,
}

impl Unsealed<'_> {
    pub fn seal(self) -> Result<()> {
        let readonly = Attributes { set: attr::RDONLY, clear: 0 };
        mount::set_attributes(self.tree.as_fd(), readonly, None, false).field(|| self.field.to_owned())?;
        file::leave_open(self.tree);
        Ok(())
    }
}

/// Puts one mount of the plan into place. A destination that does not exist is made, inside the root.
pub fn put<'a>(root: BorrowedFd, step: &'a MountStep, source: Source) -> Result<Option<Unsealed<'a>>> {
    match source {
        Source::Directory(tree) => attach(root, step, tree, true),
        Source::File(tree) => attach(root, step, tree, false),
        Source::Link(content) => copy_link(root, step, &content).map(|()| None),
        Source::CopyUp(tmpfs) => {
            let below = target(root, step, true)?;
            copy::tree(below.as_fd(), tmpfs.as_fd())
                .doing(|| "tmpcopyup".into())
                .field(|| step.field.clone())?;
            attach(root, step, tmpfs, true)
        }
        Source::Hierarchies { tmpfs: Some(tmpfs), dirs, links } => {
            put_hierarchies(root, step, tmpfs, dirs, &links).map(|()| None).field(|| step.field.clone())
        }
        Source::Hierarchies { tmpfs: None, .. } | Source::Within(_) | Source::Nothing => {
            change(root, step).map(|()| None)
        }
    }
}

fn attach<'a>(
    root: BorrowedFd,
    step: &'a MountStep,
    tree: OwnedFd,
    directory: bool,
) -> Result<Option<Unsealed<'a>>> {
    let target = target(root, step, directory)?;
    mount::attach(tree.as_fd(), target.as_fd()).field(|| format!("{}.destination", step.field))?;
    file::leave_open(target);
    if step.is_sealed_later() {
        return Ok(Some(Unsealed { tree, field: &step.field }));
    }
    file::leave_open(tree);
    Ok(None)
}

/// What is at the destination, or else what is made there: a directory or an empty file, like the source.
fn target(root: BorrowedFd, step: &MountStep, directory: bool) -> Result<OwnedFd> {
    let destination = &step.destination;
    let field = || format!("{}.destination", step.field);
    let doing = || format!("/{}", destination.display());
    if must_be_real(step) {
        return real_dir(root, destination).doing(doing).field(field);
    }
    if step.no_follow {
        return unfollowed(root, destination).doing(doing).field(field);
    }
    if directory {
        return path::make_dirs(root, destination).doing(doing).field(field);
    }
    let found = path::make_file(root, destination).doing(doing).field(field)?;
    if file::stat(found.as_fd())?.is_dir() {
        let what = "cannot mount a file onto a directory: not a directory";
        return Err(Error::new(what).doing(doing()).field(field()));
    }
    Ok(found)
}

fn must_be_real(step: &MountStep) -> bool {
    matches!(&step.kind, MountKind::New { fs, .. } if fs == "proc" || fs == "sysfs")
}

/// A directory without a symbolic link on the way: one would leave the real /proc and /sys unprotected (CVE-2023-27561).
fn real_dir(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    let hint = || {
        "proc and sysfs must be mounted on ordinary directory: a symbolic link on the way is refused"
            .to_owned()
    };
    match path::resolve_unlinked(root, path) {
        Err(error) if error.errno == Errno::ENOENT => {
            path::make_dirs(root, path)?;
            path::resolve_unlinked(root, path).hint(hint)
        }
        other => other.hint(hint),
    }
}

/// What has the name of the destination, itself. As in crun it is nothing of the kernel's own file systems, whose links are answers
/// to whoever reads them.
fn unfollowed(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    let found = path::resolve_unfollowed(root, path)?;
    if [mount::PROC_MAGIC, mount::SYSFS_MAGIC, mount::DEVPTS_MAGIC].contains(&mount::fs_magic(found.as_fd())?)
    {
        return Err(Error::new("lies on proc, sysfs or devpts, where dest-nofollow is refused"));
    }
    Ok(found)
}

/// Makes a copy of a link of the host. One of the same content may be there already, from the image or from the last time.
fn copy_link(root: BorrowedFd, step: &MountStep, content: &Path) -> Result<()> {
    let field = || format!("{}.destination", step.field);
    let mut places = Places::inside(root);
    let place = places.at(&step.destination).field(field)?;
    if !place.make_link(content).field(field)?
        && file::link_content(place.open().field(field)?.as_fd())?.as_deref() != Some(content)
    {
        return Err(Error::new("something else than this link is there already")
            .doing(format!("link to {}", content.display()))
            .field(field()));
    }
    Ok(())
}

/// The hierarchies of cgroup v1 below a tmpfs, which nobody else sees before the container's program begins.
fn put_hierarchies(
    root: BorrowedFd,
    step: &MountStep,
    tmpfs: OwnedFd,
    dirs: Vec<(String, OwnedFd)>,
    links: &[(String, String)],
) -> Result<()> {
    let target = target(root, step, true)?;
    mount::attach(tmpfs.as_fd(), target.as_fd())?;
    for (name, tree) in dirs {
        file::make_dir(tmpfs.as_fd(), Path::new(&name), 0o755)?;
        mount::attach_at(tree.as_fd(), tmpfs.as_fd(), &name)?;
        file::leave_open(tree);
    }
    let mut places = Places::inside(tmpfs.as_fd());
    for (name, to) in links {
        places.at(Path::new(name))?.make_link(Path::new(to))?;
    }
    drop(places);
    mount::set_attributes(tmpfs.as_fd(), step.attributes, Some(Propagation::Private), true)?;
    for (propagation, recursive) in &step.propagation {
        mount::set_attributes(tmpfs.as_fd(), Attributes::default(), Some(*propagation), *recursive)?;
    }
    file::leave_open(tmpfs);
    file::leave_open(target);
    Ok(())
}

/// Changes the mount that is at the destination (option `remount`).
fn change(root: BorrowedFd, step: &MountStep) -> Result<()> {
    let field = || step.field.clone();
    let target = path::resolve(root, &step.destination).field(|| format!("{}.destination", step.field))?;
    if let MountKind::Remount { flags, data } = &step.kind
        && !(flags.is_empty() && data.is_empty())
    {
        mount::reconfigure(target.as_fd(), flags, data).field(field)?;
    }
    for (attributes, recursive) in [(step.attributes, false), (step.recursive, true)] {
        if !attributes.is_empty() {
            mount::set_attributes(target.as_fd(), attributes, None, recursive).field(field)?;
        }
    }
    for (propagation, recursive) in &step.propagation {
        mount::set_attributes(target.as_fd(), Attributes::default(), Some(*propagation), *recursive)
            .field(field)?;
    }
    Ok(())
}
