//! Device nodes, and the links that programs expect beside them.

use crate::error::{Context, Result};
use crate::plan::rootfs::{DeviceKind, DeviceStep};
use crate::sys::path::{self, Node};
use crate::sys::{CallError, Errno, file, mount};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Makes a node, or binds the host's own. One that is there already, from the image, stays only if it is the same.
pub fn put(root: BorrowedFd, step: &DeviceStep, host: Option<OwnedFd>) -> Result<()> {
    if let Some(host) = host {
        let target = path::make_file(root, &step.path)?;
        return Ok(mount::attach(host.as_fd(), target.as_fd())?);
    }
    let node = match make(root, step) {
        Err(error) if error.errno == Errno::EEXIST => {
            if is_same(root, step)? {
                return Ok(());
            }
            path::remove(root, &step.path)?;
            make(root, step)?
        }
        other => other?,
    };
    if (step.uid, step.gid) != (0, 0) {
        file::set_owner(node.as_fd(), step.uid, Some(step.gid))?;
    }
    Ok(())
}

fn kind(step: &DeviceStep) -> Node {
    match step.kind {
        DeviceKind::Char => Node::Char,
        DeviceKind::Block => Node::Block,
        DeviceKind::Fifo => Node::Fifo,
    }
}

/// The process's umask is 0 here, so that the mode is exact.
fn make(root: BorrowedFd, step: &DeviceStep) -> std::result::Result<OwnedFd, CallError> {
    path::make_node(root, &step.path, kind(step), (step.major, step.minor), step.mode)
}

fn is_same(root: BorrowedFd, step: &DeviceStep) -> Result<bool> {
    let Ok(found) = path::resolve_unlinked(root, &step.path) else { return Ok(false) };
    let stat = file::stat(found.as_fd())?;
    let same_device = step.kind == DeviceKind::Fifo || stat.rdev == (step.major, step.minor);
    Ok(stat.node() == Some(kind(step))
        && same_device
        && stat.mode == step.mode
        && (stat.uid, stat.gid) == (step.uid, step.gid))
}

/// Makes a symbolic link. What has its name stays, except a `/dev/ptmx`, which could belong to the host's devpts.
pub fn link(root: BorrowedFd, link: &Path, target: &Path) -> Result<()> {
    let field = || format!("link /{}", link.display());
    if !path::make_link(root, link, target).field(field)? && link == Path::new("dev/ptmx") {
        path::remove(root, link).field(field)?;
        path::make_link(root, link, target).field(field)?;
    }
    Ok(())
}

/// Puts the slave of a terminal, opened through its master, at `/dev/console`.
pub fn console(root: BorrowedFd, slave: BorrowedFd) -> Result<()> {
    let tree = mount::clone_fd(slave, false).doing(|| "/dev/console".into())?;
    let target = path::make_file(root, Path::new("dev/console")).doing(|| "/dev/console".into())?;
    mount::attach(tree.as_fd(), target.as_fd()).doing(|| "/dev/console".into())
}
