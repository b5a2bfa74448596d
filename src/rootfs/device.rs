//! Device nodes, and the links that programs expect beside them.

use crate::error::{Context, Result};
use crate::plan::rootfs::{DeviceKind, DeviceStep};
use crate::sys::file::{self, Stat};
use crate::sys::mount;
use crate::sys::path::{self, Node, Places};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Makes a node, or binds the host's own. One that is there already, from the image, stays only if it is the same.
pub fn put(root: BorrowedFd, places: &mut Places, step: &DeviceStep, host: Option<OwnedFd>) -> Result<()> {
    if let Some(host) = host {
        let target = path::make_file(root, &step.path)?;
        return Ok(mount::attach(host.as_fd(), target.as_fd())?);
    }
    let place = places.at(&step.path)?;
    let kind = match step.kind {
        DeviceKind::Char => Node::Char,
        DeviceKind::Block => Node::Block,
        DeviceKind::Fifo => Node::Fifo,
    };
    // The process's umask is 0 here, so that the mode is exact.
    let make = || place.make_node(kind, (step.major, step.minor), step.mode);
    if !make()? {
        if is_same(&file::stat(place.open()?.as_fd())?, kind, step) {
            return Ok(());
        }
        place.clear()?;
        make()?;
    }
    if (step.uid, step.gid) != (0, 0) {
        place.set_owner(step.uid, step.gid)?;
    }
    Ok(())
}

fn is_same(stat: &Stat, kind: Node, step: &DeviceStep) -> bool {
    let same_device = kind == Node::Fifo || stat.rdev == (step.major, step.minor);
    let same_owner = (stat.uid, stat.gid) == (step.uid, step.gid);
    stat.node() == Some(kind) && same_device && stat.mode == step.mode && same_owner
}

/// Makes a symbolic link. What has its name stays, except a `/dev/ptmx`, which could belong to the host's devpts.
pub fn link(places: &mut Places, link: &Path, target: &Path) -> Result<()> {
    let place = places.at(link)?;
    if !place.make_link(target)? && link == Path::new("dev/ptmx") {
        place.clear()?;
        place.make_link(target)?;
    }
    Ok(())
}

/// Puts the slave of a terminal, opened through its master, at `/dev/console`.
pub fn console(root: BorrowedFd, slave: BorrowedFd) -> Result<()> {
    let tree = mount::clone_fd(slave, false).doing(|| "/dev/console".into())?;
    let target = path::make_file(root, Path::new("dev/console")).doing(|| "/dev/console".into())?;
    mount::attach(tree.as_fd(), target.as_fd()).doing(|| "/dev/console".into())
}
