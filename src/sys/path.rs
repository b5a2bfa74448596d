//! Paths below a root that someone else controls. Every path inside a container's root file system is resolved
//! here, by `openat2` with `RESOLVE_IN_ROOT` and without magic links: an absolute symbolic link or `..` leads to the
//! root at most, and a link that is exchanged meanwhile can hit only the container itself.
//! [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html), since Linux 5.6.

use super::file::{leave_open, shown};
use super::{Called, Errno, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a resolution is tried again while renames of others make the kernel give up with `EAGAIN`. Under a loop of
/// renames the worst wait that others have measured is below a millisecond.
const RACE_DEADLINE: Duration = Duration::from_millis(20);

/// As many symbolic links as the kernel itself follows in one path.
const MAX_LINKS: u32 = 40;

fn openat2(root: BorrowedFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    let opened = try_openat2(root, path, flags, resolve);
    opened.called(|| {
        let (flags, resolve) =
            (names(&format!("{flags:?}"), "O_"), names(&format!("{resolve:?}"), "RESOLVE_"));
        format!("openat2({}, {path:?}, {flags}, {resolve})", shown(root))
    })
}

/// The flags that `Debug` shows as `OFlags(DIRECTORY | PATH)`, as one types them: `O_DIRECTORY|O_PATH`.
fn names(shown: &str, prefix: &str) -> String {
    let list = shown.split_once('(').map_or(shown, |(_, list)| list.trim_end_matches(')'));
    let names: Vec<_> = list.split(" | ").map(|name| format!("{prefix}{name}")).collect();
    names.join("|")
}

/// The same, for callers to whom a failure is an answer: its text is not made.
fn try_openat2(
    root: BorrowedFd,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> std::result::Result<OwnedFd, Errno> {
    // The empty path is the root itself.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let deadline = Instant::now() + RACE_DEADLINE;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {}
            other => return other.map_err(Errno::from),
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
    // Not with O_NOFOLLOW, with which a link at the end would be opened itself.
    openat2(root, path, OFlags::PATH, IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// Opens a file inside `root` with `flags`; neither blocks on a FIFO nor takes a terminal as the controlling one.
pub fn open(root: BorrowedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    openat2(root, path, flags | OFlags::NOCTTY | OFlags::NONBLOCK, IN_ROOT)
}

/// Opens a regular file inside `root` for reading, if there is one.
pub fn open_file(root: BorrowedFd, path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd = try_openat2(root, path, flags, IN_ROOT).ok()?;
    let is_file = super::file::stat(fd.as_fd()).ok()?.kind == FileType::RegularFile;
    is_file.then_some(fd)
}

/// Opens a file of a pseudo file system whose root is `dir`: no link is followed and no mount crossed on the way, so that nothing
/// that was mounted over a part of it can stand in for it.
pub fn open_beneath(dir: BorrowedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    openat2(dir, path, flags, resolve | ResolveFlags::NO_MAGICLINKS)
}

/// What a path inside `root` leads to, or `None` if that doesn't exist.
pub fn find(root: BorrowedFd, path: &Path) -> Result<Option<OwnedFd>> {
    match try_openat2(root, path, OFlags::PATH, IN_ROOT) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        other => other.map(Some).called(|| format!("openat2({}, {path:?}, O_PATH)", shown(root))),
    }
}

/// Whether what a path inside `root` names is on the same mount as `root`; a link at the end is not followed.
pub fn is_on_mount(root: BorrowedFd, path: &Path) -> bool {
    try_openat2(root, path, OFlags::PATH | OFlags::NOFOLLOW, IN_ROOT | ResolveFlags::NO_XDEV).is_ok()
}

/// A directory inside `root`, made with mode 0755 together with those above it where they don't exist.
/// A dangling symbolic link on the way is followed, and what it names is made, inside the root.
pub fn make_dirs(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    make_dirs_following(root, path, MAX_LINKS, None)
}

/// The same; what is made is told, also if not all of it could be.
pub fn make_dirs_noted(root: BorrowedFd, path: &Path, made: &mut Vec<Made>) -> Result<OwnedFd> {
    make_dirs_following(root, path, MAX_LINKS, Some(made))
}

fn make_dirs_following(
    root: BorrowedFd,
    path: &Path,
    links: u32,
    mut made: Option<&mut Vec<Made>>,
) -> Result<OwnedFd> {
    let call = || format!("make the directory {path:?} below {}", shown(root));
    match try_openat2(root, path, OFlags::PATH | OFlags::DIRECTORY, IN_ROOT) {
        Err(Errno::ENOENT) => {}
        other => return other.called(call),
    }
    let above = path.parent().ok_or(Errno::ENOENT).called(call)?;
    let parent = make_dirs_following(root, above, links, made.as_deref_mut())?;
    let Some(name) = path.file_name() else {
        // The path ends in "..", and what is before it exists by now.
        return resolve_dir(root, path);
    };
    let is_new = match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(rustix::io::Errno::EXIST) => false,
        Err(errno) => return Err(errno).called(|| format!("mkdirat({}, {name:?})", shown(parent.as_fd()))),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match try_openat2(parent.as_fd(), Path::new(name), flags, IN_ROOT) {
        // It was there already, but led nowhere.
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            let links = links.checked_sub(1).ok_or(Errno::ELOOP).called(call)?;
            let target = rustix::fs::readlinkat(&parent, name, Vec::new()).called(call)?;
            let target: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(target.as_bytes());
            let path = above.join(target);
            make_dirs_following(root, path.strip_prefix("/").unwrap_or(&path), links, made)
        }
        opened => {
            let opened = opened.called(call)?;
            match made {
                Some(made) if is_new => made.push(Made::of(opened.as_fd(), parent, name)?),
                _ => leave_open(parent),
            }
            Ok(opened)
        }
    }
}

/// A file inside `root` to mount onto: what is there, or else an empty regular file made together with the directories
/// above it. A dangling symbolic link, such as `/etc/resolv.conf` of many images, is followed: the file is made where it leads to,
/// inside the root.
pub fn make_file(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    make_file_following(root, path, MAX_LINKS, None)
}

/// The same; what is made is told, also if not all of it could be.
pub fn make_file_noted(root: BorrowedFd, path: &Path, made: &mut Vec<Made>) -> Result<OwnedFd> {
    make_file_following(root, path, MAX_LINKS, Some(made))
}

fn make_file_following(
    root: BorrowedFd,
    path: &Path,
    links: u32,
    mut made: Option<&mut Vec<Made>>,
) -> Result<OwnedFd> {
    if let Some(found) = find(root, path)? {
        return Ok(found);
    }
    let name = path.file_name().ok_or(Errno::EINVAL).called(|| format!("create {path:?}"))?;
    let above = path.parent().unwrap_or(Path::new(""));
    let dir = make_dirs_following(root, above, MAX_LINKS, made.as_deref_mut())?;
    let place = Place { dir: dir.as_fd(), name };
    // O_EXCL: neither a link nor a file that appeared meanwhile is opened, let alone written to.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    match rustix::fs::openat(place.dir, place.name, flags, Mode::from_raw_mode(0o644)) {
        Ok(new) => {
            let opened = place.open()?;
            if let Some(made) = made {
                made.push(Made::of(new.as_fd(), dir, name)?);
            }
            return Ok(opened);
        }
        Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno).called(|| format!("openat({}, O_CREAT)", place.shown())),
    }
    let found = place.open()?;
    let Some(target) = super::file::link_content(found.as_fd())? else { return Ok(found) };
    let links = links.checked_sub(1).ok_or(Errno::ELOOP).called(|| format!("follow {}", place.shown()))?;
    let path = above.join(target);
    make_file_following(root, path.strip_prefix("/").unwrap_or(&path), links, made)
}

/// A directory or file that was made. Others may have given its name to something else since.
#[derive(Debug)]
pub struct Made {
    above: OwnedFd,
    name: OsString,
    inode: u64,
}

impl Made {
    fn of(new: BorrowedFd, above: OwnedFd, name: &OsStr) -> Result<Self> {
        Ok(Made { above, name: name.to_owned(), inode: super::file::stat(new)?.inode })
    }

    /// Removes it, if it is still there and empty.
    pub fn remove(self) -> Result<()> {
        let place = Place { dir: self.above.as_fd(), name: &self.name };
        let found = super::file::stat(place.open()?.as_fd())?;
        let flags = match found.kind {
            _ if found.inode != self.inode => return Ok(()),
            FileType::Directory => AtFlags::REMOVEDIR,
            FileType::RegularFile if found.size == 0 => AtFlags::empty(),
            _ => return Ok(()),
        };
        rustix::fs::unlinkat(place.dir, place.name, flags).called(|| format!("unlinkat({})", place.shown()))
    }
}

/// An `O_PATH` descriptor of what a path inside `root` names; if that is a symbolic link, of the link itself.
pub fn resolve_unfollowed(root: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    openat2(root, path, OFlags::PATH | OFlags::NOFOLLOW, IN_ROOT)
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

/// Directories inside a root in which things are made one after the other: the last one stays open for the next.
#[derive(Debug)]
pub struct Places<'r> {
    root: BorrowedFd<'r>,
    last: Option<(PathBuf, OwnedFd)>,
}

/// A name in a directory inside a root, for something that is to be made there.
#[derive(Debug)]
pub struct Place<'a> {
    dir: BorrowedFd<'a>,
    name: &'a OsStr,
}

impl<'r> Places<'r> {
    /// Places inside `root`.
    pub fn inside(root: BorrowedFd<'r>) -> Self {
        Places { root, last: None }
    }

    /// See [`leave_open`].
    pub fn leave_open(self) {
        if let Some((_, dir)) = self.last {
            leave_open(dir);
        }
    }

    /// The place of a path; the directories above it are made where they don't exist.
    pub fn at<'a>(&'a mut self, path: &'a Path) -> Result<Place<'a>> {
        let name = path.file_name().ok_or(Errno::EINVAL).called(|| format!("create {path:?}"))?;
        let above = path.parent().unwrap_or(Path::new(""));
        let known = self.last.take().filter(|(last, _)| last == above);
        let dir = match known {
            Some((_, dir)) => dir,
            None => make_dirs(self.root, above)?,
        };
        let last = self.last.insert((above.to_owned(), dir));
        Ok(Place { dir: last.1.as_fd(), name })
    }
}

impl Place<'_> {
    fn shown(&self) -> String {
        format!("{}, {:?}", shown(self.dir), self.name)
    }

    /// What has the name, itself: a symbolic link is not followed.
    pub fn open(&self) -> Result<OwnedFd> {
        openat2(self.dir, Path::new(self.name), OFlags::PATH | OFlags::NOFOLLOW, IN_ROOT)
    }

    /// Makes a device node; `false` where the name is taken. `device` is its major and minor number, and `mode` is exact if the
    /// umask is 0.
    pub fn make_node(&self, node: Node, device: (u32, u32), mode: u32) -> Result<bool> {
        let kind = match node {
            Node::Char => FileType::CharacterDevice,
            Node::Block => FileType::BlockDevice,
            Node::Fifo => FileType::Fifo,
        };
        let number = rustix::fs::makedev(device.0, device.1);
        self.unless_taken(
            rustix::fs::mknodat(self.dir, self.name, kind, Mode::from_raw_mode(mode), number),
            || format!("mknodat({}, {node:?} {}:{})", self.shown(), device.0, device.1),
        )
    }

    /// Makes a symbolic link; `false` where the name is taken.
    pub fn make_link(&self, target: &Path) -> Result<bool> {
        self.unless_taken(rustix::fs::symlinkat(target, self.dir, self.name), || {
            format!("symlinkat({target:?}, {})", self.shown())
        })
    }

    fn unless_taken(&self, made: rustix::io::Result<()>, call: impl FnOnce() -> String) -> Result<bool> {
        match made {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno).called(call),
        }
    }

    /// Removes what has the name: a file, a link or an empty directory.
    pub fn clear(&self) -> Result<()> {
        let unlink = |flags| rustix::fs::unlinkat(self.dir, self.name, flags);
        match unlink(AtFlags::empty()) {
            Err(rustix::io::Errno::ISDIR) => unlink(AtFlags::REMOVEDIR),
            other => other,
        }
        .called(|| format!("unlinkat({})", self.shown()))
    }
}
