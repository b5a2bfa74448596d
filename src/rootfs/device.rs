//! Device nodes, and the links that programs expect beside them.

use super::aside::{PLACE, aside};
use crate::error::{Context, Error, Result};
use crate::plan::rootfs::{DeviceKind, DeviceStep};
use crate::sys::file::{self, Stat};
use crate::sys::mount::{self, Attributes, Propagation, attr};
use crate::sys::path::{self, Node, Places};
use crate::sys::process;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Makes a node, or binds the host's own. One that is there already, from the image, stays only if it is the same. Below a mount it
/// may be the host's, and is not touched: "If a file already exists at path that does not match the requested device, the runtime
/// MUST generate an error."
pub fn put(root: BorrowedFd, places: &mut Places, step: &DeviceStep, host: Option<OwnedFd>) -> Result<()> {
    if let Some(host) = host {
        let target = path::make_file(root, &step.path)?;
        return Ok(mount::attach(host.as_fd(), target.as_fd())?);
    }
    let place = places.at(&step.path)?;
    let kind = node_of(step);
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

/// Makes nodes for a container in a user namespace, which can't, on a file system of the host's that nobody else sees; each comes as a
/// mount of that file.
pub fn make_outside(steps: &[&DeviceStep]) -> Result<Vec<OwnedFd>> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    aside(steps.len(), |hand_over| {
        mount::mount_at(Path::new(PLACE), "tmpfs", "devices", &[], "mode=700")?;
        process::set_umask(0);
        let dir = file::open_dir(Path::new(PLACE))?;
        let mut places = Places::inside(dir.as_fd());
        for (i, step) in steps.iter().enumerate() {
            let name = PathBuf::from(i.to_string());
            make_one(&mut places, &name, step)
                .and_then(|node| hand_over(node.as_fd()))
                .field(|| step.field.clone())?;
        }
        Ok(())
    })
}

fn make_one(places: &mut Places, name: &Path, step: &DeviceStep) -> Result<OwnedFd> {
    let place = places.at(name)?;
    place.make_node(node_of(step), (step.major, step.minor), step.mode)?;
    let made = place.open()?;
    if let Some((uid, gid)) = step.outside {
        file::set_owner(made.as_fd(), uid, Some(gid))?;
    }
    let node = mount::clone_fd(made.as_fd(), false)?;
    let attributes = Attributes { set: attr::NOSUID | attr::NOEXEC, clear: 0 };
    mount::set_attributes(node.as_fd(), attributes, Some(Propagation::Private), false)?;
    Ok(node)
}

fn node_of(step: &DeviceStep) -> Node {
    match step.kind {
        DeviceKind::Char => Node::Char,
        DeviceKind::Block => Node::Block,
        DeviceKind::Fifo => Node::Fifo,
    }
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
