//! What is the host's: the state directory, sockets, kernel parameters, cgroups, devices.

use crate::harness::*;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

// CVE-2021-41103, CVE-2024-25621
#[test]
fn the_state_is_for_its_owner_alone() {
    requires!(Need::Root);
    for umask in ["0", "022", "077"] {
        let b = Bundle::idle()
            .prelude(&format!("umask {umask}"))
            .runtime_env("NOTIFY_SOCKET", "/nonexistent/notify");
        b.create().ok();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&b.state_root()), 0o700, "umask {umask}");
        let dir = b.state_root().join(&b.id);
        assert_eq!(mode(&dir), 0o700, "umask {umask}");
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let mode = mode(&entry.path());
            assert!(
                !entry.file_type().unwrap().is_file() || mode == 0o600,
                "{entry:?} {mode:o}, umask {umask}"
            );
        }
        b.delete_force().ok();
        b.assert_nothing_left();
    }
}

// CVE-2015-1331
#[test]
fn a_state_root_of_others_is_refused() {
    requires!(Need::Root);
    let refused = |prepare: &dyn Fn(&Path)| {
        let b = Bundle::new();
        prepare(&b.state_root());
        b.create().fails(1, &["state root"]).one_line();
        b.assert_nothing_left();
    };
    let made = |path: &Path, mode: u32| {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    refused(&|root| made(root, 0o777));
    refused(&|root| made(root, 0o1777));
    refused(&|root| made(root, 0o770));
    refused(&|root| {
        made(root, 0o700);
        chown(root, Some(1000), Some(1000)).unwrap();
    });
    refused(&|root| {
        let elsewhere = root.parent().unwrap().join("elsewhere");
        made(&elsewhere, 0o700);
        symlink(&elsewhere, root).unwrap();
        std::os::unix::fs::lchown(root, Some(1000), Some(1000)).unwrap();
    });
    refused(&|root| fs::write(root, "").unwrap());
    refused(&|root| symlink("nowhere", root).unwrap());
}

#[test]
fn the_entry_of_an_id_is_no_link() {
    requires!(Need::Root);
    let b = Bundle::new();
    let elsewhere = b.base().join("elsewhere");
    for dir in [&elsewhere, &b.state_root()] {
        fs::create_dir(dir).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(elsewhere.join("state.json"), "{}").unwrap();
    let entry = b.state_root().join(&b.id);
    symlink(&elsewhere, &entry).unwrap();
    b.create().fails(1, &["container with given ID already exists"]).one_line();
    assert_ne!(b.cmd(&["state", &b.id]).code(), 0);
    b.delete_force();
    assert!(elsewhere.join("state.json").exists(), "delete has followed the link");
    let _ = fs::remove_file(entry);
}

// CVE-2020-15257: sockets without a path are reached by every container in the host's network namespace.
#[test]
fn no_socket_without_a_path() {
    requires!(Need::Root);
    let b = Bundle::idle().without_namespace("network");
    let count = || {
        let text = fs::read_to_string("/proc/net/unix").unwrap();
        text.lines()
            .filter(|line| {
                line.split(' ').next_back().is_some_and(|name| {
                    name.starts_with('@') && (name.contains("orlop") || name.contains(&b.id))
                })
            })
            .count()
    };
    b.create().ok();
    assert_eq!(count(), 0);
    b.start().ok();
    let running = b.spawn(&["exec", &b.id, "/bin/sh", "-c", "grep -c @.*orlop /proc/net/unix"]);
    assert_eq!(running.wait().stdout.trim(), "0");
    assert_eq!(count(), 0);
}

// CVE-2022-0811
#[test]
fn parameters_of_the_host_stay() {
    requires!(Need::Root);
    let files = [
        "kernel/core_pattern",
        "kernel/panic",
        "kernel/hostname",
        "vm/swappiness",
        "kernel/modprobe",
        "net/ipv4/ip_forward",
    ];
    let read = || files.map(|file| fs::read_to_string(format!("/proc/sys/{file}")).unwrap_or_default());
    let before = read();
    for (name, value) in [
        ("kernel.core_pattern", "|/evil"),
        ("kernel/core_pattern", "|/evil"),
        ("kernel.modprobe", "/evil"),
        ("vm.swappiness", "1"),
        ("kernel.shm_rmid_forced=1+kernel.core_pattern", "|/evil"),
        ("kernel.shm_rmid_forced", "1\n|/evil"),
        ("kernel.shm_rmid_forced\nkernel.core_pattern", "|/evil"),
        ("net/../kernel/core_pattern", "|/evil"),
        ("net.//kernel/core_pattern", "|/evil"),
        ("net/ipv4/../../kernel/core_pattern", "|/evil"),
        ("net...kernel.core_pattern", "|/evil"),
        ("fs.mqueue.../kernel/core_pattern", "|/evil"),
        ("/proc/sys/kernel/core_pattern", "|/evil"),
        ("../sys/kernel/core_pattern", "|/evil"),
        ("kernel.shm_rmid_forced/../core_pattern", "|/evil"),
        ("kernel.hostname", "evil"),
        (" kernel.core_pattern", "|/evil"),
        ("KERNEL.core_pattern", "|/evil"),
    ] {
        let b = Bundle::new().set("/linux/sysctl", json!({name: value}));
        b.run().fails(1, &["linux.sysctl"]).one_line();
        b.assert_nothing_left();
    }
    for (namespace, name) in
        [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.shm_rmid_forced"), ("ipc", "fs.mqueue.msg_max")]
    {
        let b = Bundle::new().without_namespace(namespace).set("/linux/sysctl", json!({name: "1"}));
        b.run().fails(1, &["linux.sysctl", namespace]).one_line();
    }
    assert_eq!(before, read());
}

/// A tmpfs that the container has put over its /proc, with forged files, has no effect on who enters
/// (CVE-2015-1334).
#[test]
fn a_forged_proc_deceives_nobody() {
    requires!(Need::Root);
    let forge = "mount -t tmpfs none /proc; mkdir -p /proc/self/fd /proc/self/attr /proc/self/ns /proc/1/ns /proc/sys; \
                 echo '0 0 1' > /proc/self/uid_map; echo evil > /proc/self/exe; trap 'exit 0' TERM; echo ready; \
                 while :; do sleep 300 & wait; done";
    let b = Bundle::sh(forge).capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN"]).up();
    b.exec(&["/bin/true"]).ok();
    assert_eq!(b.status(), "running");
    b.kill("TERM").ok();
    wait_until("it is stopped", || b.status() == "stopped");
}

// CVE-2022-0492
#[test]
fn release_agents_are_out_of_reach() {
    requires!(Need::Root, Need::CgroupV1);
    let script = "find /sys/fs/cgroup -name release_agent; \
                  for d in /sys/fs/cgroup /sys/fs/cgroup/*; do echo /evil > $d/release_agent; echo 1 > $d/notify_on_release; \
                  mkdir $d/new && echo made $d/new; done; true";
    for (options, namespace) in [(&["ro"][..], false), (&["ro"], true), (&[], false), (&[], true)] {
        let b = Bundle::sh(script).mount("/sys/fs/cgroup", "cgroup", "cgroup", options);
        let b = if namespace { b.namespace("cgroup") } else { b };
        let out = b.run().ok();
        assert!(!out.stdout.contains("release_agent"), "{options:?} {namespace}: {out}");
        assert!(options.is_empty() || out.stdout.is_empty(), "{options:?} {namespace}: {out}");
        b.assert_nothing_left();
    }
}

// CVE-2023-25809: nothing of the cgroups of others is in sight.
#[test]
fn only_its_own_cgroup_is_in_sight() {
    requires!(Need::Root);
    for view in [View::V1, View::V2, View::Host] {
        let b = Bundle::sh(
            "find /sys/fs/cgroup -name 'orlop-test-*'; find /sys/fs/cgroup -name cgroup.procs -exec cat {} + | sort -u",
        );
        let b = b.view(view).mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
        let out = b.run().ok();
        assert!(!out.stdout.contains("orlop-test"), "{view:?}: {out}");
        // Only pid 1 and the script's own children: a process of the host would show as 0.
        assert!(!out.lines().contains(&"0") && out.lines().contains(&"1"), "{view:?}: {out}");
    }
}

#[test]
fn devices_are_the_default_ones() {
    requires!(Need::Root);
    let list = "cd /dev; for f in *; do [ -d $f ] && [ ! -L $f ] || stat -c '%n %F %t:%T %a %N' $f; done";
    let out = Bundle::sh(list).run().ok();
    let mut lines: Vec<String> = out
        .stdout
        .lines()
        .filter(|line| line.contains("character special"))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            [words[0], words[4], words[5]].join(" ")
        })
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        ["full 1:7 666", "null 1:3 666", "random 1:8 666", "tty 5:0 666", "urandom 1:9 666", "zero 1:5 666"]
    );
    assert!(!out.stdout.contains("block special"), "{out}");
    // Of the image's own nodes none survives under these names.
    let b = Bundle::sh(list).without_mount("/dev").without_mount("/dev/pts");
    let node = |name: &str, major, minor| {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        let device = nix::sys::stat::makedev(major, minor);
        nix::sys::stat::mknod(
            &b.rootfs().join("dev").join(name),
            nix::sys::stat::SFlag::S_IFCHR,
            mode,
            device,
        )
        .unwrap();
    };
    node("null", 1, 1);
    node("zero", 1, 5);
    let out = b.run().ok();
    assert!(out.stdout.contains("null character special file 1:3 666"), "{out}");
}

#[test]
fn the_runtime_is_not_set_user_id() {
    let mode = fs::metadata(runtime()).unwrap().mode();
    assert_eq!(mode & 0o6000, 0, "{mode:o}");
}
