//! The flags of a bind mount, and what a user namespace keeps of those that its source has.

use crate::error::{Context, Result};
use crate::plan::mounts::MountStep;
use crate::sys::mount::{self, Attributes, Propagation, attr};
use crate::sys::{CallError, Errno};
use std::os::fd::BorrowedFd;

/// What the kernel locks on a mount that comes from a more privileged mount namespace: it has no lock for `nosymfollow`.
/// [mount_namespaces(7)](https://man7.org/linux/man-pages/man7/mount_namespaces.7.html), "Restrictions on mount namespaces"
const LOCKABLE: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;

/// Sets the attributes of a detached copy of a mount, and its propagation.
///
/// runc mounts in the container's user namespace, where the kernel keeps what the source has. Here whoever opened the source may have
/// the right to change that, and does not use it: what is read-only on the host is so in the container.
pub fn set(tree: BorrowedFd, step: &MountStep, propagation: Option<Propagation>) -> Result<()> {
    let set = |attributes| mount::set_attributes(tree, attributes, propagation, false);
    if !step.implied.locked {
        match set(step.attributes) {
            Err(error) if error.errno == Errno::EPERM && step.implied.clear != 0 => {}
            other => return other.hint(hint),
        }
    }
    set(within_locks(tree, step)?).hint(hint)
}

/// Why a change may be refused.
pub fn hint() -> String {
    "a mount that came from a more privileged mount namespace keeps its restrictions".to_owned()
}

/// The change that leaves locked flags alone. An option that would take one away, or choose another access-time mode, can't be obeyed.
fn within_locks(tree: BorrowedFd, step: &MountStep) -> Result<Attributes> {
    let there = mount::attributes(tree)?;
    let Attributes { set, clear } = step.attributes;
    let mut lost = clear & !step.implied.clear & there & LOCKABLE;
    if lost & attr::RDONLY != 0 && !is_itself_read_only(tree) {
        lost &= !attr::RDONLY;
    }
    let atime = attr::ATIME | attr::NODIRATIME;
    if clear & attr::ATIME != 0 {
        lost |= (there ^ set) & atime;
    }
    if lost != 0 {
        let call = format!("change flags {lost:#x} of its source, which a user namespace locks");
        return Err(CallError { call, errno: Errno::EPERM }).hint(hint);
    }
    Ok(Attributes { set, clear: clear & !(step.implied.clear & there & LOCKABLE) })
}

/// Whether a mount that can't be written to is read-only itself, and not its file system alone: that nobody has to lock.
fn is_itself_read_only(tree: BorrowedFd) -> bool {
    let writable = Attributes { set: 0, clear: attr::RDONLY };
    mount::set_attributes(tree, writable, None, false).is_err() || !mount::is_read_only(tree).unwrap_or(false)
}
