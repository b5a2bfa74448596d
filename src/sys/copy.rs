//! Copying a directory tree from descriptor to descriptor. The source belongs to a container: no link in it is followed, and no
//! other file system in it is entered.

use super::{Called, Errno, Result, retry};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Deeper trees than this are refused: each level holds two descriptors and a part of the stack.
const MAX_DEPTH: u32 = 256;

/// Copies what is in the directory `from` into the directory `to`: regular files, directories, links and device nodes, with owner
/// and mode. Sockets are left out. `to` itself takes the owner and mode of `from`.
pub fn tree(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    let from = open_dir(from, c".")?;
    let to = open_dir(to, c".")?;
    copy_dir(from.as_fd(), to.as_fd(), MAX_DEPTH)
}

fn open_dir(dir: BorrowedFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry(|| rustix::fs::openat(dir, name, flags, Mode::empty()))
        .called(|| format!("openat({name:?}, O_DIRECTORY)"))
}

fn copy_dir(from: BorrowedFd, to: BorrowedFd, depth: u32) -> Result<()> {
    let device = rustix::fs::fstat(from).called(|| "fstat()".into())?.st_dev;
    let entries = rustix::fs::Dir::read_from(from).called(|| "getdents64()".into())?;
    for entry in entries {
        let entry = entry.called(|| "getdents64()".into())?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)
            .called(|| format!("fstatat({name:?})"))?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let made = |what: &str| format!("{what}({name:?})");
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if stat.st_dev != device => continue,
            FileType::Directory => {
                let depth = depth.checked_sub(1).ok_or(Errno::ELOOP).called(|| made("copy"))?;
                rustix::fs::mkdirat(to, name, mode).called(|| made("mkdirat"))?;
                copy_dir(open_dir(from, name)?.as_fd(), open_dir(to, name)?.as_fd(), depth)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new()).called(|| made("readlinkat"))?;
                rustix::fs::symlinkat(&target, to, name).called(|| made("symlinkat"))?;
            }
            FileType::RegularFile => copy_file(from, to, name, mode)?,
            FileType::Socket => continue,
            kind => rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev).called(|| made("mknodat"))?,
        }
        let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
        rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .called(|| made("fchownat"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            // Again, because chown takes set-user-ID bits away.
            rustix::fs::chmodat(to, name, mode, AtFlags::empty()).called(|| made("fchmodat"))?;
        }
    }
    let stat = rustix::fs::fstat(from).called(|| "fstat()".into())?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(uid), Some(gid)).called(|| "fchown()".into())?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).called(|| "fchmod()".into())
}

fn copy_file(from: BorrowedFd, to: BorrowedFd, name: &CStr, mode: Mode) -> Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = retry(|| rustix::fs::openat(from, name, read, Mode::empty()))
        .called(|| format!("openat({name:?})"))?;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = retry(|| rustix::fs::openat(to, name, write, mode))
        .called(|| format!("openat({name:?}, O_CREAT)"))?;
    while rustix::fs::sendfile(&target, &source, None, 1 << 20).called(|| format!("sendfile({name:?})"))? > 0
    {
    }
    Ok(())
}
