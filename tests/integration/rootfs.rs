//! The root: how it is entered, its devices, what is masked and what is read-only in it.

use crate::harness::{Bundle, Need, requires};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn the_root_is_the_rootfs_and_nothing_of_the_host() {
    let out = Bundle::sh("ls / /..; cat /proc/self/mountinfo").file("/marker", "").run().ok();
    assert_eq!(out.lines().iter().filter(|line| **line == "marker").count(), 2, "{out}");
    let mounts = crate::harness::mounts(&out.stdout);
    let mut points: Vec<&str> = mounts.iter().map(|mount| mount.point.as_str()).collect();
    points.sort_unstable();
    assert_eq!(points, ["/", "/dev", "/dev/pts", "/proc"], "{out}");
}

#[test]
fn root_path_may_be_absolute() {
    let b = Bundle::sh("cat /marker").file("/marker", "here\n");
    let rootfs = b.rootfs().to_str().unwrap().to_owned();
    assert_eq!(b.set("/root/path", rootfs).run().ok().stdout, "here\n");
}

// runc refuses it.
#[test]
fn root_path_may_lead_through_symbolic_links() {
    let b = Bundle::sh("cat /marker; cat /proc/self/mountinfo").file("/marker", "here\n");
    let elsewhere = b.io().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(b.rootfs(), elsewhere.join("link")).unwrap();
    symlink(&elsewhere, b.dir().join("by")).unwrap();
    let rootfs = b.rootfs();
    let b = b.set("/root/path", "by/link");
    let out = b.run().ok();
    assert_eq!(out.lines()[0], "here");
    assert_eq!(out.mount_at("/").root, rootfs.to_str().unwrap());
    b.assert_nothing_left();
}

#[test]
fn a_container_without_pivot_root_sees_the_same() {
    let script = "ls / /..; cat /proc/self/mountinfo; cd /proc/self/root && ls";
    let b = Bundle::sh(script).file("/marker", "");
    let out = b.run_with(&["--no-pivot"]).ok();
    assert_eq!(out.lines().iter().filter(|line| **line == "marker").count(), 3, "{out}");
    assert_eq!(out.mount_at("/").root, b.rootfs().to_str().unwrap());
    b.assert_nothing_left();
}

#[test]
fn a_read_only_root_cannot_be_written_but_its_mounts_can() {
    let b = Bundle::sh(
        "touch /new || echo root; touch /dev/new /run/new && echo mounts; cat /proc/self/mountinfo",
    )
    .set("/root/readonly", true)
    .mount("/run", "tmpfs", "tmpfs", &[])
    // The destination is made before the root becomes read-only.
    .mount("/made", "tmpfs", "tmpfs", &[]);
    let out = b.run().ok();
    assert_eq!(out.lines()[..2], ["root", "mounts"]);
    assert!(out.stderr.contains("Read-only file system"), "{out}");
    assert!(out.mount_at("/").has("ro"), "{out}");
    assert!(!out.mount_at("/made").has("ro"), "{out}");
}

#[test]
fn a_read_only_root_in_a_user_namespace() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh("touch /tmp/new || echo root; cat /proc/self/mountinfo").set("/root/readonly", true);
    let out = b.user_namespace().run().ok();
    assert_eq!(out.lines()[0], "root");
    assert!(out.mount_at("/").has("ro"), "{out}");
}

const DEVICES: [(&str, &str); 6] = [
    ("null", "1:3"),
    ("zero", "1:5"),
    ("full", "1:7"),
    ("random", "1:8"),
    ("urandom", "1:9"),
    ("tty", "5:0"),
];

#[test]
fn the_default_devices_are_there() {
    let b = Bundle::sh(
        "cd /dev; stat -c '%n %F %a %u:%g %t:%T' null zero full random urandom tty; echo x > null; wc -c < null",
    );
    // The mode of a device is not cut by the caller's umask.
    let out = b.prelude("umask 077").run().ok();
    for (name, number) in DEVICES {
        let expected = format!("character special file 666 0:0 {number}");
        assert_eq!(out.field(&format!("{name} ")), expected);
    }
    assert_eq!(out.lines().last(), Some(&"0"));
}

#[test]
fn the_default_links_are_there() {
    let script = "cd /dev; for link in fd stdin stdout stderr ptmx; do echo $link $(readlink $link); done; \
                  echo through > /dev/stderr; ls console 2>&1; :";
    let out = Bundle::sh(script).run().ok();
    assert_eq!(out.field("fd "), "/proc/self/fd");
    assert_eq!(out.field("stdin "), "/proc/self/fd/0");
    assert_eq!(out.field("stdout "), "/proc/self/fd/1");
    assert_eq!(out.field("stderr "), "/proc/self/fd/2");
    assert_eq!(out.field("ptmx "), "pts/ptmx");
    assert!(out.stderr.contains("through"), "{out}");
    assert!(out.stdout.contains("console: No such file"), "no terminal, no console: {out}");
}

#[test]
fn the_default_devices_are_there_in_a_user_namespace() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh(
        "cd /dev; stat -c '%n %F %a %t:%T' null zero full random urandom tty; echo x > null; readlink ptmx",
    );
    let out = b.user_namespace().run().ok();
    for (name, number) in DEVICES {
        assert_eq!(out.field(&format!("{name} ")), format!("character special file 666 {number}"));
    }
    assert_eq!(out.lines().last(), Some(&"pts/ptmx"));
}

#[test]
fn without_a_mount_at_dev_the_devices_are_made_in_the_root() {
    let out = Bundle::sh("stat -c '%F %t:%T' /dev/null; readlink /dev/fd");
    let out = out.without_mount("/dev").without_mount("/dev/pts").run().ok();
    assert_eq!(out.lines(), ["character special file 1:3", "/proc/self/fd"]);
}

// runc makes the directories with the caller's umask.
#[test]
fn configured_devices_of_every_type_with_mode_and_owner() {
    let device = |path: &str, kind: &str, major: u32, minor: u32, mode: u32| json!({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": mode, "uid": 12, "gid": 34});
    let script = "stat -c '%n %F %a %u:%g %t:%T' /dev/c /dev/u /dev/deep/dir/b /dev/p /mnt/outside /dev/plain; stat -c %a /dev/deep";
    let b = Bundle::sh(script)
        .push("/linux/devices", device("/dev/c", "c", 1, 8, 0o640))
        .push("/linux/devices", device("/dev/u", "u", 1, 9, 0o600))
        .push("/linux/devices", device("/dev/deep/dir/b", "b", 7, 300, 0o660))
        .push(
            "/linux/devices",
            json!({"path": "/dev/p", "type": "p", "fileMode": 0o622, "uid": 12, "gid": 34}),
        )
        .push("/linux/devices", device("/mnt/outside", "c", 10, 229, 0o710))
        .push("/linux/devices", json!({"path": "/dev/plain", "type": "c", "major": 1, "minor": 5}));
    let out = b.prelude("umask 077").run().ok();
    assert_eq!(out.field("/dev/c "), "character special file 640 12:34 1:8");
    assert_eq!(out.field("/dev/u "), "character special file 600 12:34 1:9");
    assert_eq!(out.field("/dev/deep/dir/b "), "block special file 660 12:34 7:12c");
    assert_eq!(out.field("/dev/p "), "fifo 622 12:34 0:0");
    assert_eq!(out.field("/mnt/outside "), "character special file 710 12:34 a:e5");
    assert_eq!(out.field("/dev/plain "), "character special file 666 0:0 1:5");
    assert_eq!(out.lines().last(), Some(&"755"));
}

// runc binds what the host has at the same path, with the owner and mode that it has there.
#[test]
fn configured_devices_are_made_for_a_user_namespace_too() {
    requires!(Need::UserNamespace);
    let device = |path: &str, kind: &str, minor: u32| json!({"path": path, "type": kind, "major": 1, "minor": minor, "fileMode": 0o640, "uid": 12, "gid": 34});
    let script = "cd /dev; stat -c '%n %F %a %u:%g %t:%T' here elsewhere/b zero pipe; head -c 2 here | wc -c";
    let b = Bundle::sh(script)
        .user_namespace()
        .push("/linux/devices", device("/dev/here", "c", 9))
        .push("/linux/devices", device("/dev/elsewhere/b", "b", 5))
        .push("/linux/devices", device("/dev/zero", "c", 7))
        .push("/linux/devices", json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o622}));
    let out = b.run().ok();
    assert_eq!(out.field("here "), "character special file 640 12:34 1:9");
    assert_eq!(out.field("elsewhere/b "), "block special file 640 12:34 1:5");
    assert_eq!(out.field("zero "), "character special file 640 12:34 1:7");
    assert_eq!(out.field("pipe "), "fifo 622 0:0 0:0");
    assert_eq!(out.lines().last(), Some(&"2"), "{out}");
    b.assert_nothing_left();
}

/// Without CAP_SYS_ADMIN init does what the creator can't, and there CAP_MKNOD is worth nothing.
#[test]
fn the_right_to_make_devices_is_no_use_without_the_right_to_mount() {
    // Without the right to mount there is no other way to protect the runtime's executable from its owner.
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"), Need::ExecutableMemfd);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let b = Bundle::sh("stat -c %t:%T /dev/null")
        .namespace("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .push("/linux/devices", json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3}))
        .without_mount("/dev/pts")
        .global("--cgroup-manager")
        .global("disabled")
        .prelude("set -- setpriv --inh-caps -sys_admin --bounding-set -sys_admin \"$@\"");
    assert_eq!(b.run().ok().stdout, "1:3\n");
}

#[test]
fn a_configured_device_replaces_a_default_one() {
    let b = Bundle::sh("stat -c '%a %u:%g %t:%T' /dev/zero")
        .push("/linux/devices", json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 7, "fileMode": 0o600, "uid": 1, "gid": 2}));
    assert_eq!(b.run().ok().lines(), ["600 1:2 1:7"]);
}

// runc and crun take whatever is there for the device.
#[test]
fn what_is_the_hosts_is_neither_changed_nor_replaced() {
    requires!(Need::Root, Need::Program("mknod"));
    let device = |name: &str, minor: u32| {
        let device = json!({"path": format!("/host/{name}"), "type": "c", "major": 1, "minor": minor});
        let mine = json!({"fileMode": 0o600, "uid": 12, "gid": 34});
        let members = [device, mine].into_iter().flat_map(|part| part.as_object().unwrap().clone());
        serde_json::Value::Object(members.collect())
    };
    let b = Bundle::sh("stat -c '%n %a %u:%g' /host/zero").prelude(
        "cd $BASE/io; [ -e zero ] || { mknod -m 644 zero c 1 5; mknod other c 1 7; echo text >text; }; cd $BASE",
    );
    let io = b.io().to_str().unwrap().to_owned();
    let mut b = b.mount("/host", "bind", &io, &["bind"]).push("/linux/devices", device("zero", 5));
    assert_eq!(b.run().ok().stdout, "/host/zero 644 0:0\n");
    for name in ["other", "text"] {
        b = b.set("/linux/devices/0", device(name, 5));
        b.run().fails(1, &["linux.devices[0]", &format!("/host/{name} exists")]).one_line();
    }
    let other = fs::metadata(b.io().join("other")).unwrap();
    assert_eq!((other.uid(), other.rdev()), (0, rustix::fs::makedev(1, 7)));
    assert_eq!(fs::read_to_string(b.io().join("text")).unwrap(), "text\n");
    b.assert_nothing_left();
}

#[test]
fn the_hosts_ptmx_stays_and_another_is_replaced() {
    requires!(Need::Root, Need::Program("mknod"));
    let b = Bundle::sh("stat -c %F /dev/ptmx; exec 3<>/dev/ptmx; ls /dev/pts").prelude(
        "mkdir -p $BASE/dev; [ -e $BASE/dev/ptmx ] || mknod -m 666 $BASE/dev/ptmx c 5 2; mount --rbind $BASE/dev $ROOTFS/dev",
    );
    let b = b.without_mount("/dev");
    let out = b.run().ok();
    assert_eq!(out.lines()[..2], ["character special file", "0"], "{out}");
    let b = Bundle::sh("readlink /dev/ptmx").without_mount("/dev").file("/dev/ptmx", "no device");
    assert_eq!(b.run().ok().stdout, "pts/ptmx\n");
}

#[test]
fn what_an_image_has_at_the_name_of_a_device_is_replaced() {
    requires!(Need::Root);
    let b = Bundle::sh("stat -c %t:%T /dev/zero /dev/full").without_mount("/dev").without_mount("/dev/pts");
    let b = b.file("/dev/zero", "text\n").symlink("/dev/full", "zero");
    assert_eq!(b.run().ok().lines(), ["1:5", "1:7"]);
}

#[test]
fn in_a_user_namespace_a_configured_device_is_the_hosts_own() {
    requires!(Need::UserNamespace, Need::File("/dev/kmsg"));
    let b = Bundle::sh("stat -c '%F %t:%T' /dev/kmsg; grep -c ' /dev/kmsg ' /proc/self/mountinfo")
        .push(
            "/linux/devices",
            json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}),
        )
        .user_namespace();
    assert_eq!(b.run().ok().lines(), ["character special file 1:b", "1"]);
}

/// Fills a root with a file and a directory that have content, and asks for both as `key`.
fn hiding(key: &str, script: &str) -> Bundle {
    let paths = ["/etc/secret", "/secrets", "/absent/path", "/secrets", "/secrets/one"];
    let b = Bundle::sh(script).file("/etc/secret", "secret\n").file("/secrets/one", "secret\n");
    b.set(&format!("/linux/{key}"), paths.to_vec())
}

// crun keeps an empty directory in its state directory.
#[test]
fn masked_paths_are_empty_and_cannot_be_written() {
    let script = "cat /etc/secret; ls -A /secrets; echo end; (echo x > /etc/secret) && echo file-swallows; \
                  touch /secrets/new || echo dir-refuses; stat -c '%F' /etc/secret /secrets; ls /absent";
    let b = hiding("maskedPaths", script);
    let out = b.run();
    assert_eq!(
        out.lines(),
        ["end", "file-swallows", "dir-refuses", "character special file", "directory"],
        "{out}"
    );
    assert!(out.stderr.contains("/absent: No such file"), "an absent path is not made: {out}");
    assert_eq!(fs::read_to_string(b.rootfs().join("etc/secret")).unwrap(), "secret\n");
    b.assert_nothing_left();
}

#[test]
fn masked_paths_in_a_user_namespace() {
    requires!(Need::UserNamespace);
    let b = hiding("maskedPaths", "cat /etc/secret; ls -A /secrets; touch /secrets/new || echo refused");
    assert_eq!(b.user_namespace().run().ok().lines(), ["refused"]);
}

#[test]
fn what_engines_mask_in_proc_is_masked() {
    let paths = ["/proc/keys", "/proc/timer_list", "/proc/kcore", "/proc/acpi", "/proc/scsi", "/proc/asound"];
    let script = paths
        .map(|path| format!("[ ! -e {path} ] || [ -d {path} ] || echo {path} $(head -c 10 {path} | wc -c)"));
    let out = Bundle::sh(&script.join("; ")).set("/linux/maskedPaths", paths.to_vec()).run();
    assert!(!out.lines().is_empty(), "{out}");
    assert!(out.lines().iter().all(|line| line.ends_with(" 0")), "{out}");
}

#[test]
fn read_only_paths_can_be_read_and_not_written() {
    let script = "cat /etc/secret /secrets/one; (echo x >> /etc/secret) || echo file; touch /secrets/new || echo dir; \
                  touch /etc/beside && echo beside; cat /proc/self/mountinfo";
    let b = hiding("readonlyPaths", script);
    let out = b.run().ok();
    assert_eq!(out.lines()[..5], ["secret", "secret", "file", "dir", "beside"]);
    assert!(out.mount_at("/secrets").has("ro"), "{out}");
    b.assert_nothing_left();
}

#[test]
fn proc_sys_as_engines_make_it_read_only() {
    let paths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
    let b = Bundle::sh("(echo other > /proc/sys/kernel/hostname) || echo refused; cat /proc/self/mountinfo")
        .set("/mounts/0/options", vec!["nosuid", "noexec", "nodev"])
        .set("/linux/readonlyPaths", paths.to_vec())
        // Sysctls are written before.
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    let out = b.run().ok();
    assert_eq!(out.lines()[0], "refused");
    let sys = out.mount_at("/proc/sys");
    for option in ["ro", "nosuid", "noexec", "nodev"] {
        assert!(sys.has(option), "the flags of /proc are kept: {sys:?}");
    }
}

#[test]
fn read_only_and_masked_paths_follow_no_link_out_of_the_root() {
    let b = Bundle::sh("cat /proc/self/mountinfo");
    let outside = b.io().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "host\n").unwrap();
    let target = outside.to_str().unwrap();
    let b = b
        .symlink("/link", target)
        .set("/linux/maskedPaths", vec!["/link/file"])
        .set("/linux/readonlyPaths", vec!["/link"]);
    let out = b.run();
    assert!(!out.stdout.contains("outside"), "{out}");
    fs::write(outside.join("file"), "still writable\n").unwrap();
    b.assert_nothing_left();
}

#[test]
fn a_container_without_pivot_root_cannot_mount_a_whole_proc() {
    requires!(Need::UserNamespace);
    // What is hidden in its own /proc must not come back in one that it mounts in a user namespace.
    let script = "cat /proc/version; unshare -Urmpf sh -c 'mount -t proc proc /tmp || mount -t sysfs sysfs /tmp'; \
                  [ -e /tmp/version ] || [ -e /tmp/kernel ] || echo refused; ls /proc/self/status";
    for (options, hook) in [(&[][..], false), (&["--no-pivot"], false), (&["--no-pivot"], true)] {
        let b =
            Bundle::sh(script).set("/linux/maskedPaths", serde_json::json!(["/proc/version", "/sys/kernel"]));
        let b = b.mount("/sys", "sysfs", "sysfs", &["ro"]);
        let b = if hook { b.hook("createContainer", "true") } else { b };
        let out = b.run_with(options).ok();
        assert_eq!(out.lines(), ["refused", "/proc/self/status"], "{options:?} {hook}: {out}");
        assert_eq!(
            out.stderr.matches("denied").count() + out.stderr.matches("permitted").count(),
            2,
            "{out}"
        );
    }
}
