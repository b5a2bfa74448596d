//! New file systems that need more than one call, and what a tmpfs copies of what it covers.

use crate::harness::{Bundle, Need, requires};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

/// Directories below one with a long name, each with a file of its name, and the option of an overlay that takes them all.
fn layers(b: &Bundle, count: usize) -> String {
    let long = b.io().join("x".repeat(200));
    let layers: Vec<String> = (0..count)
        .map(|n| {
            let dir = long.join(n.to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("file{n}")), format!("layer {n}\n")).unwrap();
            dir.to_str().unwrap().to_owned()
        })
        .collect();
    fs::create_dir_all(long.join("upper")).unwrap();
    fs::create_dir_all(long.join("work")).unwrap();
    format!("lowerdir={}", layers.join(":"))
}

// fsconfig(2) takes no value above 255 bytes; runc and crun use mount(2).
#[test]
fn options_may_be_long() {
    requires!(Need::UserNamespace);
    for user_namespace in [false, true] {
        let b = Bundle::sh("cat /over/file*; touch /over/new; cat /proc/self/mountinfo").directory("/over");
        let b = if user_namespace { b.user_namespace() } else { b };
        let lower = layers(&b, 5);
        let long = b.io().join("x".repeat(200));
        for name in ["upper", "work"] {
            let owner = if user_namespace { 100_000 } else { 0 };
            chown(long.join(name), Some(owner), Some(owner)).unwrap();
        }
        let option = |name: &str, dir: &str| format!("{name}={}", long.join(dir).display());
        let (upper, work) = (option("upperdir", "upper"), option("workdir", "work"));
        let b = b.mount("/over", "overlay", "overlay", &[&lower, &upper, &work, "nosuid", "noatime"]);
        let out = b.run().ok();
        assert_eq!(out.lines()[..5], ["layer 0", "layer 1", "layer 2", "layer 3", "layer 4"]);
        let over = out.mount_at("/over");
        assert_eq!(over.fs_type, "overlay");
        assert!(over.has("nosuid") && over.has("noatime") && over.has("rw"), "{over:?}");
        assert!(over.is_private(), "{over:?}");
        assert!(long.join("upper/new").exists());
        b.assert_nothing_left();
    }
}

#[test]
fn options_longer_than_a_page_are_an_error() {
    let b = Bundle::new();
    let lower = layers(&b, 20);
    let b = b.mount("/over", "overlay", "overlay", &[&lower]);
    b.run().fails(1, &["mounts[3]", "overlay", "bytes of options", "E2BIG"]);
    b.assert_nothing_left();
    // What is wrong with a long one is told, too.
    let b = Bundle::new();
    let option = format!("lowerdir=/nonexistent/{}", "x/".repeat(150));
    let b = b.mount("/over", "overlay", "overlay", &[&option]);
    b.run().fails(1, &["mounts[3]", "overlay", "ENOENT"]);
    b.assert_nothing_left();
}

#[test]
fn more_mounts_than_files_may_be_open() {
    let many = |limits: &str| {
        let b = Bundle::sh("grep -c ' /many/' /proc/self/mountinfo; ulimit -n; ulimit -Hn").prelude(limits);
        let source = b.io().to_str().unwrap().to_owned();
        (0..1200).fold(b, |b, n| b.mount(&format!("/many/{n}"), "bind", &source, &["bind"]))
    };
    let b = many("ulimit -Sn 1024; ulimit -Hn 4096");
    assert_eq!(b.run().ok().lines(), ["1200", "1024", "4096"]);
    b.assert_nothing_left();
    let b = many("ulimit -Sn 1024; ulimit -Hn 1100");
    b.run().fails(1, &["mounts", "hard limit is 1100"]);
    b.assert_nothing_left();
}

#[test]
fn sysfs_is_the_hosts_where_there_can_be_no_other() {
    requires!(Need::UserNamespace, Need::Program("setpriv"));
    let script = "cat /proc/self/mountinfo; ls /sys/class/net/lo/mtu; [ -d /sys/kernel ] && echo whole";
    let bundle = || {
        let options = ["nosuid", "noexec", "nodev", "ro"];
        Bundle::sh(script)
            .without_namespace("network")
            .directory("/sys")
            .mount("/sys", "sysfs", "sysfs", &options)
    };
    for b in [bundle().user_namespace(), bundle().unprivileged()] {
        let out = b.run().ok();
        assert!(out.lines().ends_with(&["/sys/class/net/lo/mtu", "whole"]), "{out}");
        let all = crate::harness::mounts(&out.stdout);
        let sys: Vec<_> = all.iter().filter(|mount| mount.point.starts_with("/sys")).collect();
        assert_eq!(sys[0].fs_type, "sysfs");
        for mount in sys {
            assert!(["ro", "nosuid", "noexec", "nodev"].iter().all(|option| mount.has(option)), "{mount:?}");
            assert!(!mount.propagates("shared"), "{mount:?}");
        }
        b.assert_nothing_left();
    }
}

#[test]
fn tmpcopyup_keeps_what_a_file_is() {
    requires!(Need::Program("python3"));
    let script = "cd /data; stat -c '%n %F %a %u:%g' suid fifo null; ls -A; echo ready; trap 'exit 0' TERM; \
                  while :; do sleep 300 & wait; done";
    let b = Bundle::sh(script).file("/data/suid", "x").file("/data/below/deep", "not entered");
    let data = b.rootfs().join("data");
    chown(data.join("suid"), Some(7), Some(8)).unwrap();
    fs::set_permissions(data.join("suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    let shell = "[ ! -e $ROOTFS/data/fifo ] || exec \"$@\"; mkfifo -m 640 $ROOTFS/data/fifo; mknod -m 600 $ROOTFS/data/null c 1 3; mount -t tmpfs none $ROOTFS/data/below
                 python3 -c 'import os,sys; f=sys.argv[1]; os.setxattr(f, \"security.capability\", bytes.fromhex(\"0100000200040000000000000000000000000000\")); \
                 s=__import__(\"socket\").socket(1); os.chdir(os.path.dirname(f)); s.bind(\"socket\")' $ROOTFS/data/suid";
    let b = b.prelude(shell).mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]).up();
    let out = b.logs(0);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "suid regular file 6755 7:8",
            "fifo fifo 640 0:0",
            "null character special file 600 0:0",
            "fifo",
            "null",
            "suid",
            "ready"
        ]
    );
    let copy = format!("/proc/{}/root/data/suid", b.pid());
    let read = "import os,sys; print(os.getxattr(sys.argv[1], 'security.capability').hex())";
    let out = Command::new("python3").args(["-c", read, &copy]).output().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), "0100000200040000000000000000000000000000");
}

#[test]
fn tmpcopyup_ends() {
    // A tree that is too deep, and one that is too large for the tmpfs.
    let b = Bundle::new().mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    fs::create_dir_all(b.rootfs().join("data").join("d/".repeat(300))).unwrap();
    b.run().fails(1, &["mounts[3]", "tmpcopyup", "ELOOP"]);
    b.assert_nothing_left();
    let b = Bundle::new().mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=64k"]);
    let b = b.file("/data/large", &"x".repeat(1 << 20));
    b.run().fails(1, &["mounts[3]", "tmpcopyup", "ENOSPC"]);
    b.assert_nothing_left();
    // What a link leads to is not copied.
    let b = Bundle::sh("readlink /data/out; ls /data").mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let outside = b.io().to_str().unwrap().to_owned();
    let b = b.symlink("/data/out", &outside);
    assert_eq!(b.run().ok().lines(), [&outside, "out"]);
}

#[test]
fn tmpcopyup_in_a_user_namespace_leaves_devices_out() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh("ls -A /data; stat -c '%u:%g %a' /data/file").user_namespace().file("/data/file", "x");
    chown(b.rootfs().join("data/file"), Some(100_007), Some(100_008)).unwrap();
    let b = b.prelude("mknod $ROOTFS/data/null c 1 3").mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    assert_eq!(b.run().ok().lines(), ["file", "7:8 755"]);
}

#[test]
fn a_relative_destination_is_taken_from_the_root() {
    let b = Bundle::sh("grep -c ' /some/where ' /proc/self/mountinfo").set("/process/cwd", "/etc");
    assert_eq!(b.mount("some/./where", "tmpfs", "tmpfs", &[]).run().ok().lines(), ["1"]);
}

#[test]
fn a_read_only_tmpfs_takes_what_config_json_puts_on_it() {
    let script = "for dir in /dev /a; do touch $dir/new || echo $dir; done; touch /a/b/new && echo below; \
                  echo null > /dev/null; stat -c %F /dev/null /dev/fuse; cat /proc/self/mountinfo";
    let b = Bundle::sh(script)
        .edit(|config| config["mounts"][1]["options"].as_array_mut().unwrap().push("ro".into()));
    let b = b.mount("/a", "tmpfs", "tmpfs", &["ro"]).mount("/a/b", "tmpfs", "tmpfs", &[]);
    let b = b.push(
        "/linux/devices",
        serde_json::json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}),
    );
    let out = b.run().ok();
    let kind = "character special file";
    assert_eq!(out.lines()[..5], ["/dev", "/a", "below", kind, kind]);
    for (place, readonly) in [("/dev", true), ("/a", true), ("/a/b", false), ("/dev/pts", false)] {
        assert_eq!(out.mount_at(place).has("ro"), readonly, "{place}: {out}");
    }
    b.assert_nothing_left();
}
