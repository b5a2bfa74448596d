//! Masked and read-only paths.

use crate::error::{Context, Result};
use crate::plan::PathField;
use crate::sys::mount::{self, Attributes, NewFs, attr};
use crate::sys::{CallError, file, path};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Hides paths: a file behind the host's `/dev/null`, a directory behind an empty read-only tmpfs. What does not exist needs no mask.
///
/// One tmpfs serves all directories, because each file system costs the kernel its per-CPU parts.
pub fn hide(root: BorrowedFd, paths: &[PathField], null: Option<OwnedFd>) -> Result<()> {
    let mut null = Cover { mount: null, used: false };
    let mut empty = Cover { mount: None, used: false };
    for PathField { path, field } in paths {
        let Some(target) = path::find(root, path).field(|| field.clone())? else { continue };
        let cover = if file::stat(target.as_fd())?.is_dir() {
            if empty.mount.is_none() {
                empty.mount = Some(empty_dir().field(|| field.clone())?);
            }
            &mut empty
        } else {
            &mut null
        };
        cover.put(target.as_fd()).field(|| field.clone())?;
        file::leave_open(target);
    }
    let covers = [null.mount, empty.mount].into_iter().flatten();
    covers.for_each(file::leave_open);
    Ok(())
}

fn empty_dir() -> std::result::Result<OwnedFd, CallError> {
    let tmpfs = NewFs::open("tmpfs")?;
    // The root directory is all that there can be in it.
    tmpfs.set("nr_inodes", "1")?;
    tmpfs.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

/// A detached mount that is put at several places: itself at the first, copies of it at the others, because before Linux 6.15 a
/// detached mount can't be copied.
struct Cover {
    mount: Option<OwnedFd>,
    used: bool,
}

impl Cover {
    fn put(&mut self, target: BorrowedFd) -> Result<()> {
        let Some(mount) = &self.mount else { return Ok(()) };
        if self.used {
            let copy = mount::clone_fd(mount.as_fd(), false)?;
            mount::attach(copy.as_fd(), target)?;
            file::leave_open(copy);
            return Ok(());
        }
        mount::attach(mount.as_fd(), target)?;
        self.used = true;
        Ok(())
    }
}

/// Makes a path read-only together with the mounts below it; what does not exist needs no protection.
pub fn protect(root: BorrowedFd, path: &Path) -> Result<()> {
    let Some(target) = path::find(root, path)? else { return Ok(()) };
    let tree = mount::clone_fd(target.as_fd(), true)?;
    mount::set_attributes(tree.as_fd(), Attributes { set: attr::RDONLY, clear: 0 }, None, true)?;
    mount::attach(tree.as_fd(), target.as_fd())?;
    file::leave_open(tree);
    file::leave_open(target);
    Ok(())
}
