//! Paths below a root that someone else controls. Every path inside a container's root file system is resolved
//! here, by `openat2` with `RESOLVE_IN_ROOT` and without magic links: an absolute symbolic link or `..` leads to the
//! root at most, and a link that is exchanged meanwhile can hit only the container itself.
//! [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html), since Linux 5.6.

use super::file::shown;
use super::{CallError, Called, Errno, Result};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a resolution is tried again while renames of others make the kernel give up with `EAGAIN`. Under a loop of
/// renames the worst wait that others have measured is below a millisecond.
const RACE_DEADLINE: Duration = Duration::from_millis(20);

/// As many symbolic links as the kernel itself follows in one path.
const MAX_LINKS: u32 = 40;

fn openat2(root: BorrowedFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    // The empty path and "/" are the root itself.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let deadline = Instant::now() + RACE_DEADLINE;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {}
            other => {
                return other
                    .called(|| format!("openat2({}, {path:?}, {flags:?}, {resolve:?})", shown(root)));
            }
        }
    }
}

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// An `O_PATH` descriptor of what a path inside `root` leads to, symbolic links followed inside the root.
pub fn resolve(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    openat2(root, path, OFlags::PATH, IN_ROOT)
}

/// The same, for a directory.
pub fn resolve_dir(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    openat2(root, path, OFlags::PATH | OFlags::DIRECTORY, IN_ROOT)
}

/// An `O_PATH` descriptor of what a path inside `root` leads to; a symbolic link anywhere on the way is `ELOOP`.
pub fn resolve_unlinked(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    openat2(root, path, OFlags::PATH | OFlags::NOFOLLOW, IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// Opens a file inside `root` with `flags`; neither blocks on a FIFO nor takes a terminal as the controlling one.
pub fn open(root: BorrowedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    openat2(root, path, flags | OFlags::NOCTTY | OFlags::NONBLOCK, IN_ROOT)
}

/// Opens a regular file inside `root` for reading.
pub fn open_file(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    let fd = open(root, path, OFlags::RDONLY)?;
    match super::file::stat(fd.as_fd())?.kind {
        FileType::RegularFile => Ok(fd),
        _ => Err(CallError { call: format!("open({path:?})"), errno: Errno::EINVAL }),
    }
}

/// Opens a file of a pseudo file system whose root is `dir`: no link is followed and no mount crossed on the way, so that nothing
/// that was mounted over a part of it can stand in for it.
pub fn open_beneath(dir: BorrowedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    openat2(dir, path, flags, resolve | ResolveFlags::NO_MAGICLINKS)
}

/// A directory inside `root`, made with mode 0755 together with those above it where they don't exist.
/// A dangling symbolic link on the way is followed, and what it names is made, inside the root.
pub fn make_dirs(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    make_dirs_following(root, path, MAX_LINKS)
}

fn make_dirs_following(root: BorrowedFd, path: &Path, links: u32) -> Result<OwnedFd> {
    match resolve_dir(root, path) {
        Err(error) if error.errno == Errno::ENOENT => {}
        other => return other,
    }
    let mut parent = resolve_dir(root, Path::new(""))?;
    let mut done = PathBuf::new();
    let mut rest = path.components();
    while let Some(component) = rest.next() {
        let Component::Normal(name) = component else {
            done.push(component);
            parent = resolve_dir(root, &inside(&done))?;
            continue;
        };
        let next = done.join(name);
        parent = match resolve_dir(root, &inside(&next)) {
            Ok(dir) => dir,
            Err(error) if error.errno == Errno::ENOENT => match make_one_dir(parent.as_fd(), name)? {
                Made::Dir(dir) => dir,
                Made::LinkTo(target) if links > 0 => {
                    let path = done.join(target).join(rest.as_path());
                    return make_dirs_following(root, &inside(&path), links - 1);
                }
                Made::LinkTo(_) => return Err(CallError { errno: Errno::ELOOP, ..error }),
            },
            Err(error) => return Err(error),
        };
        done = next;
    }
    Ok(parent)
}

/// A path without its leading slashes: what is absolute inside the root.
fn inside(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

enum Made {
    Dir(OwnedFd),
    /// There is a dangling symbolic link.
    LinkTo(PathBuf),
}

fn make_one_dir(parent: BorrowedFd, name: &OsStr) -> Result<Made> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno).called(|| format!("mkdirat({}, {name:?})", shown(parent))),
    }
    let fd = openat2(parent, Path::new(name), OFlags::PATH | OFlags::NOFOLLOW, IN_ROOT)?;
    match super::file::stat(fd.as_fd())?.kind {
        FileType::Directory => Ok(Made::Dir(fd)),
        FileType::Symlink => Ok(Made::LinkTo(read_link(fd.as_fd())?)),
        _ => Err(CallError { call: format!("mkdirat({}, {name:?})", shown(parent)), errno: Errno::ENOTDIR }),
    }
}

/// The target of the symbolic link that an `O_PATH | O_NOFOLLOW` descriptor stands for.
fn read_link(link: BorrowedFd) -> Result<PathBuf> {
    let target =
        rustix::fs::readlinkat(link, c"", Vec::new()).called(|| format!("readlinkat({})", shown(link)))?;
    Ok(PathBuf::from(OsStr::new(std::os::unix::ffi::OsStrExt::from_bytes(target.as_bytes()) as &OsStr)))
}

/// A file inside `root` to mount onto: what is there, or else an empty regular file made together with the directories
/// above it.
pub fn make_file(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    match resolve(root, path) {
        Err(error) if error.errno == Errno::ENOENT => {}
        other => return other,
    }
    let (dir, name) = parent_of(root, path)?;
    // O_EXCL: neither a link nor a file that appeared meanwhile is opened, let alone written to.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    match rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => {
            return Err(errno).called(|| format!("openat({}, {name:?}, O_CREAT)", shown(dir.as_fd())));
        }
    }
    resolve(dir.as_fd(), Path::new(name))
}

/// The directory that a path inside `root` lies in, made where it doesn't exist, and the last name of the path.
fn parent_of<'a>(root: BorrowedFd, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
    let name = path
        .file_name()
        .ok_or_else(|| CallError { call: format!("create {path:?}"), errno: Errno::EINVAL })?;
    Ok((make_dirs(root, path.parent().unwrap_or(Path::new("")))?, name))
}

/// Makes a symbolic link inside `root`; `false` where something else has that name.
pub fn make_link(root: BorrowedFd, path: &Path, target: &Path) -> Result<bool> {
    let (dir, name) = parent_of(root, path)?;
    match rustix::fs::symlinkat(target, &dir, name) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(errno) => {
            Err(errno).called(|| format!("symlinkat({target:?}, {}, {name:?})", shown(dir.as_fd())))
        }
    }
}

/// Removes a file, a link or an empty directory inside `root` without following it.
pub fn remove(root: BorrowedFd, path: &Path) -> Result<()> {
    let (dir, name) = parent_of(root, path)?;
    let unlink = |flags| rustix::fs::unlinkat(&dir, name, flags);
    match unlink(rustix::fs::AtFlags::empty()) {
        Err(rustix::io::Errno::ISDIR) => unlink(rustix::fs::AtFlags::REMOVEDIR),
        other => other,
    }
    .called(|| format!("unlinkat({}, {name:?})", shown(dir.as_fd())))
}

/// The kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
}

/// Makes a device node inside `root` and returns an `O_PATH` descriptor of it; fails with `EEXIST` where the name is taken.
pub fn make_node(
    root: BorrowedFd,
    path: &Path,
    node: Node,
    device: (u32, u32),
    mode: u32,
) -> Result<OwnedFd> {
    let (dir, name) = parent_of(root, path)?;
    let kind = match node {
        Node::Char => FileType::CharacterDevice,
        Node::Block => FileType::BlockDevice,
        Node::Fifo => FileType::Fifo,
    };
    let number = rustix::fs::makedev(device.0, device.1);
    rustix::fs::mknodat(&dir, name, kind, Mode::from_raw_mode(mode), number).called(|| {
        format!("mknodat({}, {name:?}, {node:?} {}:{})", shown(dir.as_fd()), device.0, device.1)
    })?;
    openat2(dir.as_fd(), Path::new(name), OFlags::PATH | OFlags::NOFOLLOW, IN_ROOT)
}
