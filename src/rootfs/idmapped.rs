//! Id-mapped mounts: the user namespaces that translate owners, and their application to detached mounts.

use crate::error::{Context, Error, Result};
use crate::plan::mount_idmap::Users;
use crate::plan::mounts::{MountKind, MountStep};
use crate::sys::{Errno, mount};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The user namespaces of the id-mapped mounts, one for each distinct map.
#[derive(Debug, Default)]
pub struct UserNamespaces(Vec<(Users, OwnedFd)>);

impl UserNamespaces {
    /// Opens what the mounts need, by `open`.
    pub fn open(steps: &[MountStep], open: impl Fn(&Users) -> Result<OwnedFd>) -> Result<Self> {
        let mut all = UserNamespaces::default();
        for step in steps {
            let Some(map) = &step.id_map else { continue };
            if all.get(&map.users).is_none() {
                let fd = open(&map.users).field(|| step.field.clone())?;
                all.0.push((map.users.clone(), fd));
            }
        }
        Ok(all)
    }

    fn get(&self, users: &Users) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|(known, _)| known == users).map(|(_, fd)| fd.as_fd())
    }

    /// Maps a detached mount as its step says.
    pub fn apply(&self, tree: BorrowedFd, step: &MountStep) -> Result<()> {
        let Some(map) = &step.id_map else { return Ok(()) };
        let users = self.get(&map.users).ok_or_else(|| Error::new("no user namespace for its id map"));
        let users = users.field(|| step.field.clone())?;
        let mapped = mount::set_id_map(tree, users, map.recursive);
        let errno = mapped.as_ref().err().map(|error| error.errno);
        mapped
            .hint(|| match (errno, &step.kind) {
                (Some(Errno::EPERM), _) => {
                    "its file system belongs to another user namespace, or the mount is id-mapped already"
                        .into()
                }
                (_, MountKind::New { fs, .. }) => cannot(fs, None),
                (_, MountKind::Bind { source, .. }) => match unfit(source, map.recursive, users) {
                    Some((fs, point)) => cannot(&fs, Some(&point)),
                    None => cannot("its file system", None),
                },
                _ => cannot("its file system", None),
            })
            .field(|| step.field.clone())
    }
}

fn cannot(fs: &str, point: Option<&Path>) -> String {
    let point = point.map(|point| format!(", mounted at {},", point.display())).unwrap_or_default();
    format!("{fs}{point} can't be id-mapped by this kernel")
}

/// Which of the mounts that a bind takes can't be mapped: its type, and where it is on the host. Each is tried by itself.
fn unfit(source: &Path, recursive: bool, users: BorrowedFd) -> Option<(String, PathBuf)> {
    let source = source.canonicalize().ok()?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts: Vec<_> = table.lines().filter_map(mountinfo_line).collect();
    // Of mounts above the source the last and deepest one holds it.
    let holder = mounts.iter().filter(|(_, point)| source.starts_with(point));
    let holder = holder.max_by_key(|(_, point)| point.components().count());
    let below =
        mounts.iter().filter(|(_, point)| recursive && point.starts_with(&source) && *point != source);
    holder.into_iter().chain(below).find(|(_, point)| refuses(point, users)).cloned()
}

fn refuses(point: &Path, users: BorrowedFd) -> bool {
    let tree = mount::clone_path(point, false);
    let mapped = tree.and_then(|tree| mount::set_id_map(tree.as_fd(), users, false));
    mapped.is_err_and(|error| error.errno == Errno::EINVAL)
}

/// Type and place of a mount ([proc_pid_mountinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html)).
fn mountinfo_line(line: &str) -> Option<(String, PathBuf)> {
    let (mount, fs) = line.split_once(" - ")?;
    Some((fs.split(' ').next()?.to_owned(), PathBuf::from(mount.split(' ').nth(4)?)))
}
