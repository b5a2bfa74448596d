//! Copying a directory tree from descriptor to descriptor. The source belongs to a container: no link in it is followed, and no
//! other file system in it is entered.

use super::{Called, Errno, Result, retry};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Deeper trees than this are refused: each level holds two descriptors and a part of the stack.
const MAX_DEPTH: u32 = 256;

/// Copies what is in the directory `from` into the directory `to`: regular files, directories, links and device nodes, with owner,
/// mode and extended attributes. Left out are sockets, and what can't be made in a user namespace: device nodes, and attributes
/// that are the host's. `to` itself takes the owner and mode of `from`.
pub fn tree(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    let from = open_dir(from, c".")?;
    let to = open_dir(to, c".")?;
    let device = stat_of(from.as_fd())?.st_dev;
    copy_dir(from.as_fd(), to.as_fd(), device, MAX_DEPTH)
}

fn open_dir(dir: BorrowedFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry(|| rustix::fs::openat(dir, name, flags, Mode::empty()))
        .called(|| format!("openat({name:?}, O_DIRECTORY)"))
}

fn stat_of(fd: BorrowedFd) -> Result<Stat> {
    rustix::fs::fstat(fd).called(|| "fstat()".into())
}

fn copy_dir(from: BorrowedFd, to: BorrowedFd, device: u64, depth: u32) -> Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::ELOOP).called(|| "copy a tree that deep".into())?;
    let entries = rustix::fs::Dir::read_from(from).called(|| "getdents64()".into())?;
    for entry in entries {
        let entry = entry.called(|| "getdents64()".into())?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name, device, depth)?;
        }
    }
    let stat = stat_of(from)?;
    let (uid, gid) = owner(&stat);
    rustix::fs::fchown(to, Some(uid), Some(gid)).called(|| "fchown()".into())?;
    rustix::fs::fchmod(to, mode(&stat)).called(|| "fchmod()".into())?;
    copy_xattrs(from, to)
}

fn copy_entry(from: BorrowedFd, to: BorrowedFd, name: &CStr, device: u64, depth: u32) -> Result<()> {
    let stat =
        rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).called(|| format!("fstatat({name:?})"))?;
    let made = |what: &str| format!("{what}({name:?})");
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let below = open_dir(from, name)?;
            // Asked of what is open: another process may have put something else there.
            if stat_of(below.as_fd())?.st_dev != device {
                return Ok(());
            }
            rustix::fs::mkdirat(to, name, Mode::RWXU).called(|| made("mkdirat"))?;
            return copy_dir(below.as_fd(), open_dir(to, name)?.as_fd(), device, depth);
        }
        FileType::RegularFile => return copy_file(from, to, name),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new()).called(|| made("readlinkat"))?;
            rustix::fs::symlinkat(&target, to, name).called(|| made("symlinkat"))?;
        }
        FileType::Socket => return Ok(()),
        kind => match rustix::fs::mknodat(to, name, kind, mode(&stat), stat.st_rdev) {
            Err(rustix::io::Errno::PERM) if kind != FileType::Fifo => return Ok(()),
            other => other.called(|| made("mknodat"))?,
        },
    }
    let (uid, gid) = owner(&stat);
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).called(|| made("fchownat"))
}

fn owner(stat: &Stat) -> (rustix::fs::Uid, rustix::fs::Gid) {
    (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid))
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn copy_file(from: BorrowedFd, to: BorrowedFd, name: &CStr) -> Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = retry(|| rustix::fs::openat(from, name, read, Mode::empty()))
        .called(|| format!("openat({name:?})"))?;
    let stat = stat_of(source.as_fd())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        // Exchanged since it was looked at: a device or a FIFO could be read for ever.
        return Ok(());
    }
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = retry(|| rustix::fs::openat(to, name, write, Mode::RUSR | Mode::WUSR))
        .called(|| format!("openat({name:?}, O_CREAT)"))?;
    while rustix::fs::sendfile(&target, &source, None, 1 << 20).called(|| format!("sendfile({name:?})"))? > 0
    {
    }
    let (uid, gid) = owner(&stat);
    rustix::fs::fchown(&target, Some(uid), Some(gid)).called(|| format!("fchown({name:?})"))?;
    // After the owner, because chown takes set-user-ID bits and file capabilities away.
    rustix::fs::fchmod(&target, mode(&stat)).called(|| format!("fchmod({name:?})"))?;
    copy_xattrs(source.as_fd(), target.as_fd())
}

/// The longest list of names and the largest value that the kernel has ([xattr(7)](https://man7.org/linux/man-pages/man7/xattr.7.html)).
const MAX_XATTR: usize = 1 << 16;

fn copy_xattrs(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    match rustix::fs::flistxattr_query(from) {
        // Most files have none: no memory is taken for them.
        Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        other => other.called(|| "flistxattr()".into())?,
    };
    let (mut names, mut value) = (vec![0u8; MAX_XATTR], vec![0u8; MAX_XATTR]);
    let length = rustix::fs::flistxattr(from, &mut names).called(|| "flistxattr()".into())?;
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let size = match rustix::fs::fgetxattr(from, name, &mut value) {
            Err(rustix::io::Errno::NODATA) => continue,
            other => other.called(|| format!("fgetxattr({name:?})"))?,
        };
        match rustix::fs::fsetxattr(to, name, &value[..size], XattrFlags::empty()) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => {}
            other => other.called(|| format!("fsetxattr({name:?})"))?,
        }
    }
    Ok(())
}
