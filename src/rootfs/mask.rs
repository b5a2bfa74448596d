//! Masked and read-only paths.

use super::fresh::{Wanted, new_fs};
use crate::error::{Context, Result};
use crate::plan::PathField;
use crate::plan::mount_options::Data;
use crate::sys::mount::{self, Attributes, attr};
use crate::sys::{file, path};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Hides paths: a file behind the host's `/dev/null`, a directory behind an empty read-only tmpfs, which may have a label. What does not
/// exist needs no mask.
///
/// One tmpfs serves all directories, because each file system costs the kernel its per-CPU parts.
pub fn hide(
    root: BorrowedFd,
    paths: &[PathField],
    null: Option<OwnedFd>,
    label: Option<&Data>,
) -> Result<()> {
    let mut null = Cover { mount: null, used: false };
    let mut empty = Cover { mount: None, used: false };
    for PathField { path, field } in paths {
        let Some(target) = path::find(root, path).field(|| field.clone())? else { continue };
        let cover = if file::stat(target.as_fd())?.is_dir() {
            if empty.mount.is_none() {
                empty.mount = Some(empty_dir(label).field(|| field.clone())?);
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

fn empty_dir(label: Option<&Data>) -> Result<OwnedFd> {
    // The root directory is all that there can be in it.
    let only = ("nr_inodes".to_owned(), Some("1".to_owned()));
    let data: Vec<Data> = label.cloned().into_iter().chain([only]).collect();
    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    new_fs(Wanted { fs: "tmpfs", source: None, flags: &[], data: &data, attributes })
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
