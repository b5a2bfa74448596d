//! SELinux, as the kernel shows it: selinuxfs (see the [SELinux Notebook](https://github.com/SELinuxProject/selinux-notebook)), and the
//! label of a file, which is an extended attribute ([xattr(7)](https://man7.org/linux/man-pages/man7/xattr.7.html)).

use super::{CallError, Called, Errno, Result, file, mount, path};
use rustix::fs::{OFlags, XattrFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The selinuxfs of a host whose kernel has a policy.
#[derive(Debug)]
pub struct Selinux(OwnedFd);

impl Selinux {
    /// `None` where SELinux is off, or has no policy: then all processes are "kernel", and the kernel takes any label, which means
    /// nothing.
    pub fn open() -> Option<Self> {
        let root = file::open_dir(Path::new("/sys/fs/selinux")).ok()?;
        let own = || file::read_proc("/proc/self/attr/current");
        let is_on = mount::fs_magic(root.as_fd()).is_ok_and(|magic| magic == mount::SELINUX_MAGIC)
            && own().is_ok_and(|label| label.trim_end_matches(['\0', '\n']) != "kernel");
        is_on.then_some(Selinux(root))
    }

    /// Whether the policy has this label; the file for this question is one that a policy may keep from a process.
    pub fn knows(&self, label: &str) -> Result<bool> {
        let asked = path::open_beneath(self.0.as_fd(), Path::new("context"), OFlags::WRONLY)?;
        match file::write_all(asked, label.as_bytes()) {
            Err(CallError { errno: Errno::EINVAL, .. }) => Ok(false),
            other => other.map(|()| true),
        }
    }
}

/// `fsetxattr(fd, "security.selinux", label, 0)`, of a directory.
pub fn label_dir(dir: BorrowedFd, label: &str) -> Result<()> {
    // What is open as a path only has no attributes.
    let dir = file::open_dir_at(dir, Path::new("."))?;
    rustix::fs::fsetxattr(&dir, c"security.selinux", label.as_bytes(), XattrFlags::empty())
        .called(|| format!("fsetxattr({}, \"security.selinux\", {label:?})", file::shown(dir.as_fd())))
}
