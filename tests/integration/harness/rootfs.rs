//! The root file system of the tests: a static busybox and little else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Makes it; users of another user namespace can reach it.
pub fn make(rootfs: &Path) {
    for dir in ["bin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "var"] {
        fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("the tests need the package busybox-static");
    fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
    for applet in applets(busybox).iter().filter(|applet| *applet != "busybox") {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n",
    )
    .unwrap();
    fs::write(rootfs.join("etc/group"), "root:x:0:\ntty:x:5:\napp:x:1000:\nextra:x:2000:app\n").unwrap();
}

fn applets(busybox: &str) -> &'static [String] {
    static APPLETS: OnceLock<Vec<String>> = OnceLock::new();
    APPLETS.get_or_init(|| {
        let output = Command::new(busybox).arg("--list").output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
    })
}
