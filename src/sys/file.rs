//! Files and descriptors.

use super::{Called, Errno, Result, retry};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A descriptor for a message: its number and the path that it has now, `7</run/x>`.
pub fn shown(fd: BorrowedFd) -> String {
    let number = fd.as_raw_fd();
    match std::fs::read_link(format!("/proc/self/fd/{number}")) {
        Ok(path) => format!("{number}<{}>", path.display()),
        Err(_) => number.to_string(),
    }
}

/// `open(path, O_PATH | O_DIRECTORY)`: a directory of the host, symbolic links followed.
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    retry(|| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()))
        .called(|| format!("open({path:?}, O_PATH|O_DIRECTORY)"))
}

/// The absolute path of a directory, without links and `..`: the kernel's own name for what it opens.
pub fn real_dir(path: &Path) -> Result<PathBuf> {
    let fd = open_dir(path)?;
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).called(|| format!("readlink({path:?})"))
}

/// The same, of a path whose last component must not be a symbolic link.
pub fn open_dir_nofollow(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry(|| rustix::fs::open(path, flags, Mode::empty()))
        .called(|| format!("open({path:?}, O_PATH|O_NOFOLLOW)"))
}

/// `open(path, O_PATH | O_NOFOLLOW)`: a file of the host, a symbolic link itself.
pub fn open_unfollowed(path: &Path) -> Result<OwnedFd> {
    retry(|| rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()))
        .called(|| format!("open({path:?}, O_PATH|O_NOFOLLOW)"))
}

/// `readlinkat(fd, "")`: the content of a symbolic link that is open itself; `None` of anything else.
pub fn link_content(fd: BorrowedFd) -> Result<Option<PathBuf>> {
    if stat(fd)?.kind != rustix::fs::FileType::Symlink {
        return Ok(None);
    }
    let content =
        rustix::fs::readlinkat(fd, c"", Vec::new()).called(|| format!("readlinkat({})", shown(fd)))?;
    Ok(Some(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(content.into_bytes()).into()))
}

/// `open(path, O_RDONLY)`: a file of the host, symbolic links followed.
pub fn open_read(path: &Path) -> Result<OwnedFd> {
    retry(|| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()))
        .called(|| format!("open({path:?}, O_RDONLY)"))
}

/// Opens a directory for reading, `flock`ing, or creating files below it.
pub fn open_dir_at(dir: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry(|| rustix::fs::openat(dir, path, flags, Mode::empty()))
        .called(|| format!("openat({}, {path:?}, O_DIRECTORY)", shown(dir)))
}

/// Opens a directory of the host for reading and `flock`ing; it must not itself be a symbolic link.
pub fn open_lockable_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry(|| rustix::fs::open(path, flags, Mode::empty())).called(|| format!("open({path:?}, O_DIRECTORY)"))
}

/// `mkdirat(dir, path, mode)`
pub fn make_dir(dir: BorrowedFd, path: &Path, mode: u32) -> Result<()> {
    rustix::fs::mkdirat(dir, path, Mode::from_raw_mode(mode))
        .called(|| format!("mkdirat({}, {path:?}, {mode:#o})", shown(dir)))
}

/// Reads a small file below a directory whole, at most `limit` bytes of it. The file itself must not be a symbolic link.
pub fn read_at(dir: BorrowedFd, name: &str, limit: u64) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd = retry(|| rustix::fs::openat(dir, name, flags, Mode::empty()))
        .called(|| format!("openat({}, {name:?}, O_RDONLY)", shown(dir)))?;
    let size = stat(fd.as_fd())?.size;
    let file = std::fs::File::from(fd);
    read_sized(&file, size, limit).called(|| format!("read({})", shown(file.as_fd())))
}

/// Reads a file of which `stat` said that it has this size to its end, at most `limit` bytes of it.
pub fn read_sized(file: &std::fs::File, size: u64, limit: u64) -> std::io::Result<Vec<u8>> {
    let size = usize::try_from(size.min(limit)).unwrap_or(0);
    let mut content = vec![0; size + 1];
    let mut file = file.take(limit);
    let read = match file.read(&mut content) {
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
        other => other?,
    };
    content.truncate(read);
    // One read that gives all there is, and had room for more, has met the end. For config.json read_to_end by itself would take three
    // to five. Files of proc say that they have nothing.
    if read != size || size == 0 {
        file.read_to_end(&mut content)?;
    }
    Ok(content)
}

/// Reads a file to its end, at most `limit` bytes of it.
pub fn read(fd: OwnedFd, limit: u64) -> Result<Vec<u8>> {
    // What is read here mostly fits, and takes one read and one more for its end.
    let mut content = Vec::with_capacity(4096);
    let file = std::fs::File::from(fd);
    (&file).take(limit).read_to_end(&mut content).called(|| format!("read({})", shown(file.as_fd())))?;
    Ok(content)
}

/// Reads a file of proc, which gives all that it has in one read if the buffer is large enough, as 4 KiB are for those read here.
pub fn read_proc(path: &str) -> Result<String> {
    let fd = open_read(Path::new(path))?;
    let mut buffer = [0; 4096];
    let read = read_some(fd.as_fd(), &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

/// The names of what is in a directory, of which nothing has been read yet (`getdents64`); `ENOENT` where it has been removed.
pub fn names(dir: BorrowedFd) -> Result<Vec<OsString>> {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = rustix::fs::RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.called(|| format!("getdents64({})", shown(dir)))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// `unlinkat(dir, name, 0)`; of a directory it is `EISDIR`.
pub fn remove_at(dir: BorrowedFd, name: &OsStr) -> std::result::Result<(), Errno> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

/// Creates a file of mode 0600 below a directory, where there is none of that name.
pub fn create_at(dir: BorrowedFd, name: &str, content: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = retry(|| rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)))
        .called(|| format!("openat({}, {name:?}, O_CREAT)", shown(dir)))?;
    write_all(fd, content)
}

/// Creates a file below a directory, replacing its content as one step: whoever reads it sees the old content or the
/// new one. Nothing is synced to a disk: what is written this way has a meaning only until the next boot.
pub fn replace_at(dir: BorrowedFd, name: &str, content: &[u8], mode: u32) -> Result<()> {
    Replacement::write(dir, name, content, mode)?.put()
}

/// The new content of a file below a directory, with another name until it is put in its place. It is removed on drop if it was not.
#[derive(Debug)]
pub struct Replacement<'a> {
    dir: BorrowedFd<'a>,
    name: &'a str,
    temporary: String,
    is_put: bool,
}

impl<'a> Replacement<'a> {
    /// Writes it.
    pub fn write(dir: BorrowedFd<'a>, name: &'a str, content: &[u8], mode: u32) -> Result<Self> {
        let temporary = format!(".{name}.new");
        // Never a file that is there: its owner could write what others believe to be ours.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || retry(|| rustix::fs::openat(dir, &temporary, flags, Mode::from_raw_mode(mode)));
        let opened = match open() {
            // Left by a command that was killed.
            Err(Errno::EEXIST) => remove_at(dir, temporary.as_ref()).and_then(|()| open()),
            opened => opened,
        };
        let fd = opened.called(|| format!("openat({}, {temporary:?}, O_CREAT)", shown(dir)))?;
        let replacement = Replacement { dir, name, temporary, is_put: false };
        write_all(fd, content)?;
        Ok(replacement)
    }

    /// Puts it in the place of the old content: `renameat`.
    pub fn put(mut self) -> Result<()> {
        let Replacement { dir, name, temporary, .. } = &self;
        rustix::fs::renameat(dir, temporary, dir, *name)
            .called(|| format!("renameat({}, {temporary:?}, {name:?})", shown(*dir)))?;
        self.is_put = true;
        Ok(())
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.is_put {
            // The error to report is the one that led here.
            let _ = remove_at(self.dir, self.temporary.as_ref());
        }
    }
}

/// Writes all of `content`.
pub fn write_all(fd: OwnedFd, content: &[u8]) -> Result<()> {
    let mut file = std::fs::File::from(fd);
    file.write_all(content).called(|| format!("write({}, {} bytes)", shown(file.as_fd()), content.len()))
}

/// One `read`, of what is there.
pub fn read_some(fd: BorrowedFd, buffer: &mut [u8]) -> Result<usize> {
    retry(|| rustix::io::read(fd, &mut *buffer)).called(|| format!("read({})", shown(fd)))
}

/// One `write`, of as much as there is room for.
pub fn write_some(fd: BorrowedFd, bytes: &[u8]) -> Result<usize> {
    retry(|| rustix::io::write(fd, bytes)).called(|| format!("write({})", shown(fd)))
}

/// Takes the lock of a file for this open description, or `false` where someone else holds it.
/// [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html)
pub fn try_lock(fd: BorrowedFd) -> Result<bool> {
    match retry(|| rustix::fs::flock(fd, rustix::fs::FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN) => Ok(false),
        Err(errno) => Err(errno).called(|| format!("flock({}, LOCK_EX|LOCK_NB)", shown(fd))),
    }
}

/// Gives up the lock of an open description, also for the processes that have inherited it.
pub fn unlock(fd: BorrowedFd) -> Result<()> {
    retry(|| rustix::fs::flock(fd, rustix::fs::FlockOperation::Unlock))
        .called(|| format!("flock({}, LOCK_UN)", shown(fd)))
}

/// What [`poll`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end of the other side.
    Read,
    /// Room to write.
    Write,
    /// An exceptional condition: a change of a cgroup's or a proc file.
    Priority,
}

/// Waits until one of the descriptors is ready, or the deadline has passed; tells which ones are. Without a deadline it waits for ever.
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html)
pub fn poll(fds: &[(BorrowedFd, Interest)], deadline: Option<Instant>) -> Result<Vec<bool>> {
    let entry = |&(fd, interest): &(BorrowedFd, Interest)| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: match interest {
            Interest::Read => libc::POLLIN,
            Interest::Write => libc::POLLOUT,
            Interest::Priority => libc::POLLPRI,
        },
        revents: 0,
    };
    let mut entries: Vec<_> = fds.iter().map(entry).collect();
    loop {
        let timeout = deadline.map(|at| {
            // Rounded up, so that a wait never ends before its deadline and spins.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            i32::try_from(left.as_millis()).unwrap_or(i32::MAX)
        });
        let count = libc::nfds_t::try_from(entries.len()).unwrap_or(0);
        // SAFETY: the vector holds that many entries and outlives the call.
        let ret = unsafe { libc::poll(entries.as_mut_ptr(), count, timeout.unwrap_or(-1)) };
        match super::check(ret.into()) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).called(|| format!("poll({count} descriptors)")),
            Ok(_) => return Ok(entries.iter().map(|entry| entry.revents != 0).collect()),
        }
    }
}

/// `close_range(first, last, flags)`: closes descriptors, or with `cloexec` marks them to be closed by the next execve.
/// [close_range(2)](https://man7.org/linux/man-pages/man2/close_range.2.html), since Linux 5.9 (`CLOSE_RANGE_CLOEXEC`: 5.11).
///
/// Descriptors that the program still owns must not be in the range unless it is about to execute another one.
pub fn close_range(first: u32, last: u32, cloexec: bool) -> Result<()> {
    let flags = if cloexec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: takes three numbers; the callers close only what nothing of the program uses any more.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    super::check(ret).map(drop).called(|| format!("close_range({first}, {last}, {flags:#x})"))
}

/// Closes all descriptors from `first` on but the ones to keep. What else the program still owns must not be used any more.
pub fn close_others(first: u32, keep: &[BorrowedFd]) -> Result<()> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut next = first;
    for number in kept.into_iter().filter(|number| *number >= first) {
        if number > next {
            close_range(next, number - 1, false)?;
        }
        next = number + 1;
    }
    close_range(next, u32::MAX, false)
}

/// Leaves a descriptor open, for [`close_others`] to close it together with many: the dozens that setting up a root file system takes
/// would cost a call each, a tenth of all that `create` makes. High numbers are closed at once, so that many mounts don't use up
/// what the process may have.
pub fn leave_open(fd: OwnedFd) {
    if fd.as_raw_fd() < 512 {
        std::mem::forget(fd);
    }
}

/// The standard streams, of which the program closes none.
pub fn stdio() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

/// Makes descriptor `number` a copy of `fd`, kept by execve.
pub fn dup_to(fd: BorrowedFd, number: RawFd) -> Result<()> {
    // SAFETY: dup2 takes two numbers. What `number` was before is closed, as its callers want: they replace a standard stream.
    let ret = unsafe { libc::dup2(fd.as_raw_fd(), number) };
    super::check(ret.into()).map(drop).called(|| format!("dup2({}, {number})", shown(fd)))
}

/// A copy of a descriptor at the lowest free number that is not below `least`.
pub fn dup_above(fd: BorrowedFd, least: RawFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, least)
        .called(|| format!("fcntl({}, F_DUPFD_CLOEXEC, {least})", shown(fd)))
}

/// Lets execve keep descriptor `number`; fails with `EBADF` where it is not open.
pub fn keep_on_exec(number: RawFd) -> Result<()> {
    // SAFETY: F_SETFD takes a number and touches no memory.
    let ret = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    super::check(ret.into()).map(drop).called(|| format!("fcntl({number}, F_SETFD, 0)"))
}

/// Whether descriptor `number` is open.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD takes no argument.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// What `fstat` says of a file.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// Its type.
    pub(super) kind: rustix::fs::FileType,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, if it is a device.
    pub rdev: (u32, u32),
    /// It has no name any more.
    pub removed: bool,
    /// Number of the inode in its file system.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
}

impl Stat {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == rustix::fs::FileType::Directory
    }

    /// What kind of node it is, if it is one.
    pub fn node(&self) -> Option<super::path::Node> {
        match self.kind {
            rustix::fs::FileType::CharacterDevice => Some(super::path::Node::Char),
            rustix::fs::FileType::BlockDevice => Some(super::path::Node::Block),
            rustix::fs::FileType::Fifo => Some(super::path::Node::Fifo),
            _ => None,
        }
    }
}

/// `fstat(fd)`, which also works on `O_PATH` descriptors.
pub fn stat(fd: BorrowedFd) -> Result<Stat> {
    let stat = rustix::fs::fstat(fd).called(|| format!("fstat({})", shown(fd)))?;
    Ok(Stat {
        kind: rustix::fs::FileType::from_raw_mode(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        removed: stat.st_nlink == 0,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
    })
}

/// `fchown(fd, uid, gid)`, also on `O_PATH` descriptors; `None` keeps the group.
pub fn set_owner(fd: BorrowedFd, uid: u32, gid: Option<u32>) -> Result<()> {
    rustix::fs::chownat(
        fd,
        c"",
        Some(rustix::fs::Uid::from_raw(uid)),
        gid.map(rustix::fs::Gid::from_raw),
        rustix::fs::AtFlags::EMPTY_PATH,
    )
    .called(|| format!("fchownat({}, {uid}, {gid:?})", shown(fd)))
}
