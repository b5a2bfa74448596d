//! Mounts as objects: the mount API of Linux 5.2 and later, in which a mount is made and configured while
//! it is detached from any tree, and put into place by file descriptors alone.

use super::{CallError, Called, Result, check, retry};
use nix::mount::MsFlags;
use rustix::mount as rx;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Attributes of one mount, as `mount_setattr` takes them
/// ([mount_setattr(2)](https://man7.org/linux/man-pages/man2/mount_setattr.2.html), since Linux 5.12).
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-ID bits and file capabilities have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device files can't be opened.
    pub const NODEV: u64 = 0x4;
    /// Programs can't be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The bits of the access-time mode; to change the mode, all of them are cleared first.
    pub const ATIME: u64 = 0x70;
    /// Access times are updated relative to modification (the kernel's default).
    pub const RELATIME: u64 = 0x00;
    /// Access times are not updated.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always updated.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are not updated.
    pub const NODIRATIME: u64 = 0x80;
    /// Symbolic links are not followed (since Linux 5.10; as a mount attribute since 5.14).
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// How mounts below this one reach other mount namespaces
/// ([mount_namespaces(7)](https://man7.org/linux/man-pages/man7/mount_namespaces.7.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing goes in or out.
    Private,
    /// Mounts of the master come in, nothing goes out.
    Slave,
    /// Mounts go both ways between the peers.
    Shared,
    /// Private, and can't be bind-mounted.
    Unbindable,
}

impl Propagation {
    fn flag(self) -> u64 {
        match self {
            Propagation::Unbindable => 1 << 17,
            Propagation::Private => 1 << 18,
            Propagation::Slave => 1 << 19,
            Propagation::Shared => 1 << 20,
        }
    }
}

/// What `mount_setattr` is to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits of [`attr`] to set.
    pub set: u64,
    /// Bits of [`attr`] to clear; clearing goes before setting.
    pub clear: u64,
}

impl Attributes {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

/// `open_tree(dirfd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC [| AT_RECURSIVE])`: a detached copy of the mount at a
/// path of the host, which follows symbolic links.
/// [open_tree(2)](https://man7.org/linux/man-pages/man2/open_tree.2.html), since Linux 5.2.
pub fn clone_path(path: &Path, recursive: bool) -> Result<OwnedFd> {
    rx::open_tree(rustix::fs::CWD, path, clone_flags(recursive)).called(|| {
        format!("open_tree({path:?}, OPEN_TREE_CLONE{})", if recursive { "|AT_RECURSIVE" } else { "" })
    })
}

/// The same, of a symbolic link itself if the path ends in one (`AT_SYMLINK_NOFOLLOW`).
pub fn clone_link(path: &Path, recursive: bool) -> Result<OwnedFd> {
    let flags = clone_flags(recursive) | rx::OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rx::open_tree(rustix::fs::CWD, path, flags)
        .called(|| format!("open_tree({path:?}, OPEN_TREE_CLONE|AT_SYMLINK_NOFOLLOW)"))
}

/// `open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE [| AT_RECURSIVE])`: a detached copy of the mount that the fd lies on,
/// rooted at the fd's file.
pub fn clone_fd(fd: BorrowedFd, recursive: bool) -> Result<OwnedFd> {
    rx::open_tree(fd, c"", clone_flags(recursive) | rx::OpenTreeFlags::AT_EMPTY_PATH)
        .called(|| format!("open_tree({}, OPEN_TREE_CLONE)", shown(fd)))
}

fn clone_flags(recursive: bool) -> rx::OpenTreeFlags {
    let flags = rx::OpenTreeFlags::OPEN_TREE_CLONE | rx::OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | rx::OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// An fd for a message: its number and the path that it has now.
fn shown(fd: BorrowedFd) -> String {
    super::file::shown(fd)
}

/// A file system being configured
/// ([fsopen(2)](https://man7.org/linux/man-pages/man2/fsopen.2.html), since Linux 5.2).
#[derive(Debug)]
pub struct NewFs {
    fd: OwnedFd,
    kind: String,
}

impl NewFs {
    /// `fsopen(kind, FSOPEN_CLOEXEC)`
    pub fn open(kind: &str) -> Result<Self> {
        let fd = rx::fsopen(kind, rx::FsOpenFlags::FSOPEN_CLOEXEC).called(|| format!("fsopen({kind:?})"))?;
        Ok(NewFs { fd, kind: kind.to_owned() })
    }

    /// `fsconfig(fd, FSCONFIG_SET_STRING, key, value)`
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        rx::fsconfig_set_string(&self.fd, key, value)
            .map_err(|errno| self.failed(format!("FSCONFIG_SET_STRING, {key:?}, {value:?}"), errno))
    }

    /// `fsconfig(fd, FSCONFIG_SET_FLAG, key)`
    pub fn set_flag(&self, key: &str) -> Result<()> {
        rx::fsconfig_set_flag(&self.fd, key)
            .map_err(|errno| self.failed(format!("FSCONFIG_SET_FLAG, {key:?}"), errno))
    }

    /// `fsconfig(fd, FSCONFIG_CMD_CREATE)`, then `fsmount(fd, FSMOUNT_CLOEXEC, attributes)`: the new file system as a
    /// detached mount. [fsmount(2)](https://man7.org/linux/man-pages/man2/fsmount.2.html)
    pub fn mount(self, attributes: u64) -> Result<OwnedFd> {
        rx::fsconfig_create(&self.fd).map_err(|errno| self.failed("FSCONFIG_CMD_CREATE".into(), errno))?;
        let bits = rx::MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(u32::MAX));
        let mount = rx::fsmount(&self.fd, rx::FsMountFlags::FSMOUNT_CLOEXEC, bits)
            .called(|| format!("fsmount({}, {attributes:#x})", self.kind));
        super::file::leave_open(self.fd);
        mount
    }

    /// The error of a call, with what the file system itself says of it, which is more exact than the errno.
    fn failed(&self, call: String, errno: rustix::io::Errno) -> CallError {
        let mut said = [0u8; 256];
        let said = match rustix::io::read(&self.fd, &mut said) {
            // Each message begins with its kind: "e ", "w " or "i ".
            Ok(n) if n > 2 => format!(": {}", String::from_utf8_lossy(&said[2..n]).trim()),
            _ => String::new(),
        };
        CallError { call: format!("fsconfig({}, {call}){said}", self.kind), errno: errno.into() }
    }
}

/// `fspick(fd, "", FSPICK_EMPTY_PATH)` and `fsconfig(FSCONFIG_CMD_RECONFIGURE)`: changes the file system that a mount shows.
/// [fspick(2)](https://man7.org/linux/man-pages/man2/fspick.2.html), since Linux 5.2.
pub fn reconfigure(
    mount: BorrowedFd,
    flags: &[&'static str],
    options: &[(String, Option<String>)],
) -> Result<()> {
    let picked = rx::fspick(mount, c"", rx::FsPickFlags::FSPICK_CLOEXEC | rx::FsPickFlags::FSPICK_EMPTY_PATH)
        .called(|| format!("fspick({})", shown(mount)))?;
    let fs = NewFs { fd: picked, kind: shown(mount) };
    for flag in flags {
        fs.set_flag(flag)?;
    }
    for (key, value) in options {
        match value {
            Some(value) => fs.set(key, value)?,
            None => fs.set_flag(key)?,
        }
    }
    rx::fsconfig_reconfigure(&fs.fd).map_err(|errno| fs.failed("FSCONFIG_CMD_RECONFIGURE".into(), errno))
}

/// `move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)`: puts a detached mount onto the file that
/// `target` is an fd of. [move_mount(2)](https://man7.org/linux/man-pages/man2/move_mount.2.html), since Linux 5.2.
pub fn attach(mount: BorrowedFd, target: BorrowedFd) -> Result<()> {
    let flags = rx::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | rx::MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rx::move_mount(mount, c"", target, c"", flags)
        .called(|| format!("move_mount({}, {})", shown(mount), shown(target)))
}

/// Like [`attach`], onto a file `name` of a directory that nobody else can change.
pub fn attach_at(mount: BorrowedFd, dir: BorrowedFd, name: &str) -> Result<()> {
    rx::move_mount(mount, c"", dir, name, rx::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .called(|| format!("move_mount({}, {}, {name:?})", shown(mount), shown(dir)))
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `mount_setattr(fd, "", AT_EMPTY_PATH [| AT_RECURSIVE], {attributes, propagation})`: changes the mount that an fd lies on, or with
/// `recursive` the mounts below it too, all or none.
/// [mount_setattr(2)](https://man7.org/linux/man-pages/man2/mount_setattr.2.html), since Linux 5.12.
pub fn set_attributes(
    fd: BorrowedFd,
    attributes: Attributes,
    propagation: Option<Propagation>,
    recursive: bool,
) -> Result<()> {
    if attributes.is_empty() && propagation.is_none() {
        return Ok(());
    }
    let request = MountAttr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: propagation.map_or(0, Propagation::flag),
        userns_fd: 0,
    };
    setattr(fd, &request, recursive).called(|| {
        let recursive = if recursive { "AT_RECURSIVE, " } else { "" };
        let propagation = propagation.map(|p| format!(", propagation {p:?}")).unwrap_or_default();
        format!(
            "mount_setattr({}, {recursive}set {:#x}, clear {:#x}{propagation})",
            shown(fd),
            attributes.set,
            attributes.clear
        )
    })
}

const IDMAP: u64 = 0x10_0000;

/// `mount_setattr(fd, "", AT_EMPTY_PATH [| AT_RECURSIVE], {MOUNT_ATTR_IDMAP, users})`: lets the maps of a user namespace translate the
/// owners of the files of a detached mount, or with `recursive` of the mounts below it too, all or none. `EINVAL` means that a file
/// system can't do it.
pub fn set_id_map(fd: BorrowedFd, users: BorrowedFd, recursive: bool) -> Result<()> {
    let userns_fd = u64::from(users.as_raw_fd().unsigned_abs());
    let request = MountAttr { attr_set: IDMAP, userns_fd, ..MountAttr::default() };
    setattr(fd, &request, recursive).called(|| {
        let recursive = if recursive { "AT_RECURSIVE, " } else { "" };
        format!("mount_setattr({}, {recursive}MOUNT_ATTR_IDMAP)", shown(fd))
    })
}

fn setattr(fd: BorrowedFd, request: &MountAttr, recursive: bool) -> std::result::Result<(), super::Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and the request a struct mount_attr of the size given; both outlive the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(request),
            size_of::<MountAttr>(),
        )
    };
    check(ret).map(drop)
}

/// The longest value of an option that fsconfig(2) takes, in bytes (`strndup_user` in fs/fsopen.c).
pub const LONGEST_VALUE: usize = 255;

/// All options of mount(2) together with their terminating zero fit into one page, or the kernel cuts them off.
const PAGE: usize = 4096;

/// `mount(source, place, kind, flags, options)`, the flags by the names that fsconfig(2) knows them by.
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html)
pub fn mount_at(place: &Path, kind: &str, source: &str, flags: &[&str], options: &str) -> Result<()> {
    let mut bits = MsFlags::empty();
    for flag in flags {
        match *flag {
            "sync" => bits |= MsFlags::MS_SYNCHRONOUS,
            "async" => bits -= MsFlags::MS_SYNCHRONOUS,
            "dirsync" => bits |= MsFlags::MS_DIRSYNC,
            "lazytime" => bits |= MsFlags::MS_LAZYTIME,
            "nolazytime" => bits -= MsFlags::MS_LAZYTIME,
            "mand" => bits |= MsFlags::MS_MANDLOCK,
            "nomand" => bits -= MsFlags::MS_MANDLOCK,
            _ => {}
        }
    }
    let fits = if options.len() < PAGE { Ok(()) } else { Err(super::Errno::E2BIG) };
    let mounted = fits.and_then(|()| {
        nix::mount::mount(Some(source), place, Some(kind), bits, Some(options)).map_err(Into::into)
    });
    mounted.called(|| format!("mount({source:?}, {kind}, {} bytes of options)", options.len()))
}

/// `pivot_root(".", ".")`: the directory that the process is in becomes the root of its mount namespace, and the old root is
/// stacked on top of it, to be taken away by [`detach_here`].
/// [pivot_root(2)](https://man7.org/linux/man-pages/man2/pivot_root.2.html)
pub fn pivot_here() -> Result<()> {
    nix::unistd::pivot_root(c".", c".").called(|| "pivot_root(\".\", \".\")".into())
}

/// `umount2(".", MNT_DETACH)`: takes away the mount on top of the directory that the process is in.
pub fn detach_here() -> Result<()> {
    nix::mount::umount2(c".", nix::mount::MntFlags::MNT_DETACH).called(|| "umount2(\".\", MNT_DETACH)".into())
}

/// `umount2(path, MNT_DETACH|UMOUNT_NOFOLLOW)`: takes away the mount on top of a directory, and those below it.
pub fn detach_at(path: &Path) -> Result<()> {
    let flags = nix::mount::MntFlags::MNT_DETACH | nix::mount::MntFlags::UMOUNT_NOFOLLOW;
    nix::mount::umount2(path, flags).called(|| format!("umount2({path:?}, MNT_DETACH|UMOUNT_NOFOLLOW)"))
}

/// `fchdir(proc)`, `umount2("self/fd/N", MNT_DETACH)`: takes away the mount that an fd is the root of, and those below it. `proc` is
/// the root of a procfs that shows the calling process; there is no call that takes the fd itself.
pub fn detach(proc: BorrowedFd, mount: BorrowedFd) -> Result<()> {
    super::process::change_dir(proc)?;
    let path = format!("self/fd/{}", mount.as_raw_fd());
    nix::mount::umount2(path.as_str(), nix::mount::MntFlags::MNT_DETACH)
        .called(|| format!("umount2({}, MNT_DETACH)", shown(mount)))
}

/// Where an fd lies below the root of the process, as the kernel sees it now. `proc` is as of [`detach`].
pub fn location(proc: BorrowedFd, fd: BorrowedFd) -> Result<PathBuf> {
    let link = format!("self/fd/{}", fd.as_raw_fd());
    let path = rustix::fs::readlinkat(proc, &link, Vec::new()).called(|| format!("readlinkat({link:?})"))?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes())))
}

/// Whether an fd is the root of a mount: `STATX_ATTR_MOUNT_ROOT` of
/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html), since Linux 5.8.
pub fn is_mount(fd: BorrowedFd) -> Result<bool> {
    let flags = rustix::fs::AtFlags::EMPTY_PATH;
    let statx = rustix::fs::statx(fd, c"", flags, rustix::fs::StatxFlags::empty())
        .called(|| format!("statx({})", shown(fd)))?;
    Ok(statx.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT))
}

/// The kind of the file system that a file lies on: `f_type` of
/// [fstatfs(2)](https://man7.org/linux/man-pages/man2/fstatfs.2.html).
pub fn fs_magic(fd: BorrowedFd) -> Result<u64> {
    let stat = retry(|| rustix::fs::fstatfs(fd)).called(|| format!("fstatfs({})", shown(fd)))?;
    Ok(stat.f_type.cast_unsigned())
}

/// Whether the mount that a file lies on, or its file system, is read-only.
pub fn is_read_only(fd: BorrowedFd) -> Result<bool> {
    let stat = retry(|| rustix::fs::fstatvfs(fd)).called(|| format!("fstatvfs({})", shown(fd)))?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The attributes that a mount has, with `RDONLY` also if its file system is read-only: `f_flags` of
/// [fstatfs(2)](https://man7.org/linux/man-pages/man2/fstatfs.2.html), or of fstatvfs(3).
pub fn attributes(fd: BorrowedFd) -> Result<u64> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let flags = retry(|| rustix::fs::fstatvfs(fd)).called(|| format!("fstatvfs({})", shown(fd)))?.f_flag;
    let pairs = [
        (Flags::RDONLY, attr::RDONLY),
        (Flags::NOSUID, attr::NOSUID),
        (Flags::NODEV, attr::NODEV),
        (Flags::NOEXEC, attr::NOEXEC),
        (Flags::NOATIME, attr::NOATIME),
        (Flags::NODIRATIME, attr::NODIRATIME),
    ];
    let mut bits =
        pairs.iter().filter(|(flag, _)| flags.contains(*flag)).fold(0, |bits, (_, bit)| bits | bit);
    if !flags.intersects(Flags::NOATIME | Flags::RELATIME) {
        bits |= attr::STRICTATIME;
    }
    Ok(bits)
}

/// `PROC_SUPER_MAGIC`
pub const PROC_MAGIC: u64 = 0x9fa0;
/// `SYSFS_MAGIC`
pub const SYSFS_MAGIC: u64 = 0x6265_6572;
/// `SELINUX_MAGIC`
pub const SELINUX_MAGIC: u64 = 0xf97c_ff8c;
/// `DEVPTS_SUPER_MAGIC`
pub const DEVPTS_MAGIC: u64 = 0x1cd1;
