//! The root file system of the tests: a static busybox and little else.

use super::running::wait_until;
use rustix::fs::{AtFlags, CWD, linkat};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Mutex;

/// What tests name by its path, or by way of PATH. A shell of busybox finds most applets in itself.
const APPLETS: &str = "cat dd echo env grep head id ls mkdir sh sleep true umount";

/// Makes it; users of another user namespace can reach it.
pub fn make(rootfs: &Path) {
    for dir in ["bin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "var"] {
        fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    busybox(&rootfs.join("bin/busybox"));
    for applet in APPLETS.split(' ') {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n",
    )
    .unwrap();
    fs::write(rootfs.join("etc/group"), "root:x:0:\ntty:x:5:\napp:x:1000:\nextra:x:2000:app\n").unwrap();
}

/// One file for all root file systems that there are at a time: copying takes longer than many a test. Who wants to
/// change it takes a copy.
fn busybox(path: &Path) {
    static SHARED: Mutex<Option<File>> = Mutex::new(None);
    let mut shared = SHARED.lock().unwrap();
    let linked = shared.as_ref().is_some_and(|file| {
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, &from, CWD, path, AtFlags::SYMLINK_FOLLOW).is_ok()
    });
    if !linked {
        let host = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        copy_program(host.expect("the tests need the package busybox-static"), path);
        *shared = Some(File::open(path).unwrap());
    }
}

/// Copies a program that is to be executed.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    fs::copy(from, &to).unwrap();
    await_writers(to.as_ref());
}

/// Waits until nobody can write to a file, for it can't be executed before (ETXTBSY): a child that another thread is about to
/// start has all descriptors of this process until it executes its program. Nobody who writes is when the kernel grants a
/// lease for reading ([fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)).
pub fn await_writers(path: &Path) {
    let file = File::open(path).unwrap();
    let lease = |kind: i32| {
        // SAFETY: the descriptor is open, and the argument is a number.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0 }
    };
    wait_until("a file that nobody writes to", || lease(libc::F_RDLCK));
    assert!(lease(libc::F_UNLCK));
}
