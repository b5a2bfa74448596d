//! Puts detached mounts onto their destinations inside the root.

use super::source::Source;
use crate::error::{Context, Error, Result};
use crate::plan::mounts::{MountKind, MountStep};
use crate::sys::mount::{self, Attributes, attr};
use crate::sys::{copy, file, path};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Puts one mount of the plan into place. A destination that does not exist is made, inside the root.
pub fn put(root: BorrowedFd, step: &MountStep, source: Source) -> Result<()> {
    match source {
        Source::Mount(tree) => {
            let target = target(root, step, file::stat(tree.as_fd())?.is_dir())?;
            attach(tree.as_fd(), target.as_fd(), step)
        }
        Source::CopyUp(tmpfs) => {
            let target = target(root, step, true)?;
            copy::tree(target.as_fd(), tmpfs.as_fd())
                .doing(|| "copy up".into())
                .field(|| step.field.clone())?;
            attach(tmpfs.as_fd(), target.as_fd(), step)
        }
        Source::Hierarchies { tmpfs: Some(tmpfs), dirs, links } => {
            let target = target(root, step, true)?;
            attach(tmpfs.as_fd(), target.as_fd(), step)?;
            put_hierarchies(tmpfs.as_fd(), &dirs, &links, step).field(|| step.field.clone())
        }
        Source::Hierarchies { tmpfs: None, .. } | Source::Nothing => change(root, step),
    }
}

fn attach(tree: BorrowedFd, target: BorrowedFd, step: &MountStep) -> Result<()> {
    mount::attach(tree, target).field(|| format!("{}.destination", step.field))
}

/// What is at the destination, or else what is made there: a directory or an empty file, like the source.
fn target(root: BorrowedFd, step: &MountStep, directory: bool) -> Result<OwnedFd> {
    let destination = &step.destination;
    let found =
        if directory { path::make_dirs(root, destination) } else { path::make_file(root, destination) };
    let field = || format!("{}.destination", step.field);
    let found = found.doing(|| format!("/{}", destination.display())).field(field)?;
    if must_be_real(step) {
        // A link here would leave the real /proc and /sys unprotected (CVE-2023-27561).
        return path::resolve_unlinked(root, destination)
            .hint(|| "a symbolic link on the way to a proc or sysfs mount is refused".into())
            .field(field);
    }
    if !directory && file::stat(found.as_fd())?.is_dir() {
        let what =
            format!("cannot mount a file onto the directory /{}: not a directory", destination.display());
        return Err(Error::new(what).field(field()));
    }
    Ok(found)
}

fn must_be_real(step: &MountStep) -> bool {
    matches!(&step.kind, MountKind::New { fs, .. } if fs == "proc" || fs == "sysfs")
}

fn put_hierarchies(
    tmpfs: BorrowedFd,
    dirs: &[(String, OwnedFd)],
    links: &[(String, String)],
    step: &MountStep,
) -> Result<()> {
    for (name, tree) in dirs {
        let dir = path::make_dirs(tmpfs, Path::new(name))?;
        mount::attach(tree.as_fd(), dir.as_fd())?;
    }
    for (name, to) in links {
        path::make_link(tmpfs, Path::new(name), Path::new(to))?;
    }
    let readonly = Attributes { set: step.attributes.set & attr::RDONLY, clear: 0 };
    if !readonly.is_empty() {
        mount::set_attributes(tmpfs, readonly, None, false)?;
    }
    for (propagation, recursive) in &step.propagation {
        mount::set_attributes(tmpfs, Attributes::default(), Some(*propagation), *recursive)?;
    }
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
