//! Device nodes, and the links that programs expect beside them.

use crate::error::{Context, Error, Result};
use crate::plan::rootfs::{DeviceKind, DeviceStep};
use crate::sys::file::{self, Stat};
use crate::sys::mount;
use crate::sys::path::{self, Node, Places};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Makes a node, or binds the host's own. One that is there already, from the image, stays only if it is the same. Below a mount it
/// may be the host's, and is not touched: "If a file already exists at path that does not match the requested device, the runtime
/// MUST generate an error."
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
    let device = (step.major, step.minor);
    // The process's umask is 0 here, so that the mode is exact.
    let make = || place.make_node(kind, device, step.mode);
    if !make()? {
        let there = file::stat(place.open()?.as_fd())?;
        let is_images = path::is_on_mount(root, &step.path);
        let same_access = (there.mode, there.uid, there.gid) == (step.mode, step.uid, step.gid);
        if is(&there, kind, device) && (same_access || !is_images) {
            return Ok(());
        }
        if !is_images {
            let error = Error::new(format!("/{} exists and is another file", step.path.display()));
            return Err(error.hint("it lies below a mount and may be the host's"));
        }
        place.clear()?;
        make()?;
    }
    if (step.uid, step.gid) != (0, 0) {
        // Others who see the directory may have exchanged it.
        let made = place.open()?;
        if !is(&file::stat(made.as_fd())?, kind, device) {
            return Err(Error::new(format!("/{} is not this device any more", step.path.display())));
        }
        file::set_owner(made.as_fd(), step.uid, Some(step.gid))?;
    }
    Ok(())
}

fn is(stat: &Stat, kind: Node, device: (u32, u32)) -> bool {
    stat.node() == Some(kind) && (kind == Node::Fifo || stat.rdev == device)
}

/// Makes a symbolic link. What has its name stays, except a `/dev/ptmx` of the image that is no such device: the device leads to the
/// devpts beside it.
pub fn link(root: BorrowedFd, places: &mut Places, link: &Path, target: &Path) -> Result<()> {
    let place = places.at(link)?;
    if !place.make_link(target)? && link == Path::new("dev/ptmx") {
        let there = file::stat(place.open()?.as_fd())?;
        if !is(&there, Node::Char, (5, 2)) && path::is_on_mount(root, link) {
            place.clear()?;
            place.make_link(target)?;
        }
    }
    Ok(())
}

/// Puts the slave of a terminal, opened through its master, at `/dev/console`.
pub fn console(root: BorrowedFd, slave: BorrowedFd) -> Result<()> {
    let tree = mount::clone_fd(slave, false).doing(|| "/dev/console".into())?;
    let target = path::make_file(root, Path::new("dev/console")).doing(|| "/dev/console".into())?;
    mount::attach(tree.as_fd(), target.as_fd()).doing(|| "/dev/console".into())
}
