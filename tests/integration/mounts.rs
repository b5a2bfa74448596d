//! Mounts: their kinds, their sources, and where they land.

use crate::harness::{Bundle, Need, requires};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const MOUNTINFO: &str = "cat /proc/self/mountinfo";

#[test]
fn every_kind_of_file_system() {
    let b = Bundle::sh(&format!(
        "{MOUNTINFO}; ls /dev/pts/ptmx /sys/class/net/lo/mtu; cat /dev/mqueue/nothing; :"
    ))
    .mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    .mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])
    .mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    let out = b.run().ok();
    let kinds = ["/proc", "/dev", "/dev/pts", "/sys", "/dev/shm", "/dev/mqueue"]
        .map(|point| out.mount_at(point).fs_type);
    assert_eq!(kinds, ["proc", "tmpfs", "devpts", "sysfs", "tmpfs", "mqueue"]);
    assert!(out.mount_at("/sys").has("ro"), "{out}");
    assert_eq!(out.mount_at("/dev/shm").source, "shm");
    assert!(out.lines().contains(&"/dev/pts/ptmx"), "{out}");
    assert!(out.lines().contains(&"/sys/class/net/lo/mtu"), "{out}");
    b.assert_nothing_left();
}

#[test]
fn the_kinds_are_mounted_in_a_user_namespace_too() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh(&format!("{MOUNTINFO}; stat -c '%n %u:%g' /dev/shm /dev"))
        .mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
        .mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])
        .mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])
        .user_namespace();
    let out = b.run().ok();
    let kinds = ["/proc", "/dev", "/dev/pts", "/sys", "/dev/shm", "/dev/mqueue"]
        .map(|point| out.mount_at(point).fs_type);
    assert_eq!(kinds, ["proc", "tmpfs", "devpts", "sysfs", "tmpfs", "mqueue"]);
    // The mounts belong to the user namespace's root.
    assert_eq!(out.field("/dev/shm "), "0:0");
    assert_eq!(out.field("/dev "), "0:0");
}

#[test]
fn options_that_are_no_flags_go_to_the_file_system() {
    let b = Bundle::sh(&format!("{MOUNTINFO}; stat -c '%n %a %u:%g' /mnt/a; df -k /mnt/a"))
        .mount(
            "/mnt/a",
            "tmpfs",
            "tmpfs",
            &["size=1m", "mode=0751", "uid=12", "gid=34", "nr_inodes=77", "noexec"],
        )
        .set("/mounts/0/options", vec!["hidepid=2", "nosuid"]);
    let out = b.run().ok();
    let tmpfs = out.mount_at("/mnt/a");
    for option in ["size=1024k", "mode=751", "uid=12", "gid=34", "nr_inodes=77"] {
        assert!(tmpfs.fs_has(option), "{option}: {tmpfs:?}");
    }
    assert!(tmpfs.has("noexec"), "{tmpfs:?}");
    assert_eq!(out.field("/mnt/a "), "751 12:34");
    let proc = out.mount_at("/proc");
    assert!(proc.fs_has("hidepid=2") || proc.fs_has("hidepid=invisible"), "{proc:?}");
}

#[test]
fn devpts_is_a_new_instance_with_its_options() {
    let out = Bundle::sh(MOUNTINFO).run().ok();
    let devpts = out.mount_at("/dev/pts");
    for option in ["gid=5", "mode=620", "ptmxmode=666"] {
        assert!(devpts.fs_has(option), "{option}: {devpts:?}");
    }
}

#[test]
fn a_directory_and_a_file_are_bound() {
    let b = Bundle::sh("cat /mnt/dir/inside /etc/one; echo more >> /etc/one; touch /mnt/dir/new");
    let host = b.io().join("source");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("inside"), "in a directory\n").unwrap();
    fs::write(host.join("one"), "a file\n").unwrap();
    let source = host.to_str().unwrap();
    let b = b
        .mount("/mnt/dir", "bind", source, &["rbind"])
        .file("/etc/one", "hidden")
        // The type is ignored for a bind mount.
        .mount("/etc/one", "none", &format!("{source}/one"), &["bind"]);
    let out = b.run().ok();
    assert_eq!(out.lines(), ["in a directory", "a file"]);
    assert_eq!(fs::read_to_string(host.join("one")).unwrap(), "a file\nmore\n");
    assert!(host.join("new").exists());
    assert_eq!(fs::read_to_string(b.rootfs().join("etc/one")).unwrap(), "hidden");
}

#[test]
fn a_relative_source_is_relative_to_the_bundle() {
    let b = Bundle::sh("cat /etc/name").mount("/etc/name", "bind", "files/name", &["bind", "ro"]);
    fs::create_dir(b.dir().join("files")).unwrap();
    fs::write(b.dir().join("files/name"), "from the bundle\n").unwrap();
    assert_eq!(b.run().ok().stdout, "from the bundle\n");
}

#[test]
fn a_bind_source_may_be_a_symbolic_link_of_the_host() {
    let b = Bundle::sh("cat /etc/name");
    let link = b.io().join("link");
    fs::write(b.io().join("target"), "behind the link\n").unwrap();
    std::os::unix::fs::symlink("target", &link).unwrap();
    let b = b.mount("/etc/name", "bind", link.to_str().unwrap(), &["bind"]);
    assert_eq!(b.run().ok().stdout, "behind the link\n");
}

#[test]
fn destinations_are_created() {
    let b =
        Bundle::sh("stat -c '%n %F %a' /new /new/deep /new/deep/dir /new/other/file; cat /new/other/file");
    fs::write(b.io().join("file"), "content\n").unwrap();
    let file = b.io().join("file").to_str().unwrap().to_owned();
    let b = b.mount("/new/deep/dir", "tmpfs", "tmpfs", &["mode=0700"]).mount(
        "/new/other/file",
        "bind",
        &file,
        &["bind"],
    );
    let out = b.run().ok();
    let mode = format!("{:o}", fs::metadata(b.io().join("file")).unwrap().mode() & 0o777);
    assert_eq!(
        out.lines(),
        [
            "/new directory 755",
            "/new/deep directory 755",
            "/new/deep/dir directory 700",
            &format!("/new/other/file regular file {mode}"),
            "content",
        ]
    );
    let created = fs::metadata(b.rootfs().join("new/other/file")).unwrap();
    assert!(created.is_file() && created.len() == 0);
}

#[test]
fn destinations_are_created_inside_earlier_mounts() {
    let b = Bundle::sh("cat /run/a/b/file; grep -c /run/a/b /proc/self/mountinfo");
    fs::write(b.io().join("file"), "content\n").unwrap();
    let file = b.io().join("file").to_str().unwrap().to_owned();
    let b = b.mount("/run", "tmpfs", "tmpfs", &[]).mount("/run/a/b", "tmpfs", "tmpfs", &[]).mount(
        "/run/a/b/file",
        "bind",
        &file,
        &["bind"],
    );
    assert_eq!(b.run().ok().lines(), ["content", "2"]);
    assert_eq!(fs::read_dir(b.rootfs().join("run")).unwrap().count(), 0);
}

// runc applies the caller's umask, crun adds the sticky bit.
#[test]
fn destinations_are_created_with_the_usual_mode_whatever_the_callers_umask() {
    let b = Bundle::sh("stat -c %a /new /new/deep").mount("/new/deep", "tmpfs", "tmpfs", &["mode=0711"]);
    assert_eq!(b.prelude("umask 077").run().ok().lines(), ["755", "711"]);
}

#[test]
fn the_mounts_are_made_in_their_order() {
    let b = Bundle::sh("ls /mnt/over; cat /mnt/over/file");
    for name in ["first", "second"] {
        fs::create_dir(b.io().join(name)).unwrap();
        fs::write(b.io().join(name).join("file"), format!("{name}\n")).unwrap();
    }
    let source = |name: &str| b.io().join(name).to_str().unwrap().to_owned();
    let (first, second) = (source("first"), source("second"));
    let b = b.mount("/mnt/over", "bind", &first, &["bind"]).mount("/mnt/over", "bind", &second, &["bind"]);
    assert_eq!(b.run().ok().lines(), ["file", "second"]);
}

#[test]
fn a_symbolic_link_in_a_destination_stays_inside_the_root() {
    let b = Bundle::sh("ls -d /etc/real/sub /climbed/*; cat /etc/target")
        .directory("/etc/real")
        .directory("/climbed");
    fs::write(b.io().join("file"), "bound\n").unwrap();
    let file = b.io().join("file").to_str().unwrap().to_owned();
    let b = b
        .file("/etc/target", "hidden\n")
        .symlink("/absolute", "/etc/real")
        .symlink("/climb", "../../../../../../../climbed")
        .symlink("/to-file", "/etc/target")
        .mount("/absolute/sub", "tmpfs", "tmpfs", &[])
        .mount("/climb/sub", "tmpfs", "tmpfs", &[])
        .mount("/to-file", "bind", &file, &["bind"]);
    assert_eq!(b.run().ok().lines(), ["/climbed/sub", "/etc/real/sub", "bound"]);
    b.assert_nothing_left();
}

#[test]
fn a_link_to_a_directory_of_the_host_is_not_followed_there() {
    let b = Bundle::sh("grep /sub /proc/self/mountinfo; :");
    let outside = b.io().join("outside");
    fs::create_dir(&outside).unwrap();
    // Within the root the link dangles. To make its target there (as runc does) or to refuse it (as crun
    // does) are both right.
    let b = b.symlink("/host", outside.to_str().unwrap()).mount("/host/sub", "tmpfs", "tmpfs", &[]);
    let out = b.run();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{out}");
    if out.code() == 0 {
        assert!(b.rootfs().join(outside.strip_prefix("/").unwrap()).join("sub").is_dir(), "{out}");
    }
    b.assert_nothing_left();
}

#[test]
fn tmpcopyup_copies_what_the_mount_hides() {
    let script = "cd /data; stat -c '%n %F %a %u:%g' . file dir dir/deep; cat file dir/deep; readlink link; touch new; \
                  grep ' /data ' /proc/self/mountinfo";
    let b = Bundle::sh(script)
        .file("/data/file", "one\n")
        .file("/data/dir/deep", "two\n")
        .symlink("/data/link", "dir/deep");
    let path = |name: &str| b.rootfs().join("data").join(name);
    fs::set_permissions(path("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(path("dir"), fs::Permissions::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(path("file"), Some(12), Some(34)).unwrap();
    let rootfs = b.rootfs();
    let b = b.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "mode=0750"]);
    let out = b.run().ok();
    assert_eq!(
        out.lines()[1..7],
        [
            "file regular file 640 12:34",
            "dir directory 1770 0:0",
            "dir/deep regular file 755 0:0",
            "one",
            "two",
            "dir/deep",
        ]
    );
    assert!(out.mount_at("/data").fs_type == "tmpfs");
    assert!(!rootfs.join("data/new").exists(), "the copy is written to, not the original");
    b.assert_nothing_left();
}

#[test]
fn an_absent_directory_has_nothing_to_copy_up() {
    let b = Bundle::sh("ls /fresh; grep -c ' /fresh ' /proc/self/mountinfo").mount(
        "/fresh",
        "tmpfs",
        "tmpfs",
        &["tmpcopyup"],
    );
    assert_eq!(b.run().ok().lines(), ["1"]);
}

#[test]
fn many_mounts() {
    let b = (0..200).fold(Bundle::sh("grep -c ' /many/' /proc/self/mountinfo"), |b, n| {
        b.mount(&format!("/many/{n}"), "tmpfs", "tmpfs", &["size=4k", "nosuid"])
    });
    assert_eq!(b.run().ok().lines(), ["200"]);
    b.assert_nothing_left();
}

#[test]
fn a_mount_inside_proc_lands_on_the_containers_proc() {
    let b = Bundle::sh("cat /proc/uptime /proc/sys/kernel/hostname");
    fs::write(b.io().join("uptime"), "1.0 1.0\n").unwrap();
    let source = b.io().join("uptime").to_str().unwrap().to_owned();
    // What lxcfs is used for.
    let b = b.mount("/proc/uptime", "bind", &source, &["bind", "ro"]);
    assert_eq!(b.run().ok().lines(), ["1.0 1.0", "orlop-test"]);
}

#[test]
fn a_tmpfs_takes_the_mode_of_the_directory_that_it_covers() {
    let b = Bundle::sh("stat -c %a /private /dev/shm").directory("/private");
    fs::set_permissions(b.rootfs().join("private"), fs::Permissions::from_mode(0o750)).unwrap();
    // What an earlier mount covers is not what this one covers.
    let b = b.directory("/dev/shm").mount("/private", "tmpfs", "tmpfs", &[]).mount(
        "/dev/shm",
        "tmpfs",
        "shm",
        &[],
    );
    assert_eq!(b.run().ok().lines(), ["750", "1777"]);
}

// Since Linux 6.8 mountinfo is sorted by the moment when a mount was made.
#[test]
fn mountinfo_has_the_order_of_the_configuration() {
    let b = Bundle::sh("awk '{ print $5 }' /proc/self/mountinfo")
        .mount("/one", "tmpfs", "tmpfs", &[])
        .mount("/two", "bind", "/etc", &["bind"])
        .mount("/three", "tmpfs", "tmpfs", &[])
        .mount("/four", "bind", "/usr", &["rbind"]);
    let out = b.run().ok();
    let order = ["/proc", "/dev", "/dev/pts", "/one", "/two", "/three", "/four"];
    let found: Vec<&str> = out.lines().into_iter().filter(|line| order.contains(line)).collect();
    assert_eq!(found, order, "{out}");
}
