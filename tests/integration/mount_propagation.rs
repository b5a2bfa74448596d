//! Propagation: of single mounts, of the root file system, and none to the host.

use crate::harness::{Bundle, MountEntry, Need, requires};

const MOUNTINFO: &str = "cat /proc/self/mountinfo";

/// Binds a tree of two mounts, both shared on the host's side, with one more option; the two as the
/// container sees them.
fn bound_with(option: Option<&str>) -> [MountEntry; 2] {
    let b = Bundle::sh(MOUNTINFO).shared_mounts().prelude(
        "mkdir -p $BASE/io/tree; mount -t tmpfs top $BASE/io/tree; mkdir $BASE/io/tree/sub;
         mount -t tmpfs below $BASE/io/tree/sub; mount --make-rshared $BASE/io/tree",
    );
    let tree = b.io().join("tree").to_str().unwrap().to_owned();
    let options: Vec<&str> = ["rbind"].into_iter().chain(option).collect();
    let out = b.mount("/m", "bind", &tree, &options).run().ok();
    ["/m", "/m/sub"].map(|point| out.mount_at(point))
}

#[test]
fn private() {
    let [top, _] = bound_with(Some("private"));
    assert!(top.is_private(), "{top:?}");
    for mount in bound_with(Some("rprivate")) {
        assert!(mount.is_private(), "{mount:?}");
    }
}

#[test]
fn slave() {
    let [top, _] = bound_with(Some("slave"));
    assert!(top.propagates("master") && !top.propagates("shared"), "{top:?}");
    for mount in bound_with(Some("rslave")) {
        assert!(mount.propagates("master") && !mount.propagates("shared"), "{mount:?}");
    }
}

#[test]
fn shared() {
    let [top, _] = bound_with(Some("shared"));
    assert!(top.propagates("shared"), "{top:?}");
    for mount in bound_with(Some("rshared")) {
        assert!(mount.propagates("shared"), "{mount:?}");
    }
}

#[test]
fn unbindable() {
    let [top, _] = bound_with(Some("unbindable"));
    assert!(top.propagates("unbindable"), "{top:?}");
    for mount in bound_with(Some("runbindable")) {
        assert!(mount.propagates("unbindable"), "{mount:?}");
    }
}

#[test]
fn a_mount_is_not_shared_with_the_host_unless_asked() {
    for mount in bound_with(None) {
        assert!(!mount.propagates("shared"), "{mount:?}");
    }
}

#[test]
fn propagation_options_work_on_a_fresh_file_system() {
    let b = Bundle::sh(MOUNTINFO)
        .mount("/shared", "tmpfs", "tmpfs", &["shared"])
        .mount("/private", "tmpfs", "tmpfs", &["rprivate"])
        .mount("/unbindable", "tmpfs", "tmpfs", &["unbindable"]);
    let out = b.run().ok();
    assert!(out.mount_at("/shared").propagates("shared"), "{out}");
    assert!(out.mount_at("/private").is_private(), "{out}");
    assert!(out.mount_at("/unbindable").propagates("unbindable"), "{out}");
}

/// The container's mounts under this `rootfsPropagation`; all mounts of the host are shared, and the root
/// file system is one of them, as engines make it.
fn rooted_with(value: Option<&str>) -> crate::harness::Output {
    let prelude = "mount --bind $ROOTFS $ROOTFS; mount --make-shared $ROOTFS";
    let b = Bundle::sh(MOUNTINFO).shared_mounts().prelude(prelude);
    let b = value.into_iter().fold(b, |b, value| b.set("/linux/rootfsPropagation", value));
    b.run().ok()
}

#[test]
fn rootfs_propagation_private() {
    for value in ["private", "rprivate"] {
        let out = rooted_with(Some(value));
        assert!(out.mount_at("/").is_private(), "{value}: {out}");
    }
}

// In runc and crun it is private instead.
#[test]
fn rootfs_propagation_slave() {
    for value in ["slave", "rslave"] {
        let out = rooted_with(Some(value));
        assert!(out.mount_at("/").propagates("master"), "{value}: {out}");
        assert!(!out.mount_at("/").propagates("shared"), "{value}: {out}");
    }
}

#[test]
fn rootfs_propagation_shared() {
    for value in ["shared", "rshared"] {
        let out = rooted_with(Some(value));
        assert!(out.mount_at("/").propagates("shared"), "{value}: {out}");
    }
}

#[test]
fn rootfs_propagation_unbindable() {
    for value in ["unbindable", "runbindable"] {
        let out = rooted_with(Some(value));
        assert!(out.mount_at("/").propagates("unbindable"), "{value}: {out}");
    }
}

#[test]
fn nothing_is_shared_with_the_host_by_default() {
    let out = rooted_with(None);
    for mount in crate::harness::mounts(&out.stdout) {
        assert!(!mount.propagates("shared"), "{mount:?}");
    }
}

#[test]
fn mounts_of_a_container_never_reach_the_host() {
    // The host's side of this test is the private namespace that the command runs in: whatever the
    // container mounts would appear there, and so in the mountinfo of the command's own process.
    let b = Bundle::idle().shared_mounts().set("/linux/rootfsPropagation", "rshared");
    let run = b.spawn_run(&[]);
    run.wait_for("ready");
    let text = std::fs::read_to_string(format!("/proc/{}/mountinfo", run.pid())).unwrap();
    let own: Vec<_> = crate::harness::mounts(&text).into_iter().filter(|m| m.point.contains(&b.id)).collect();
    assert!(own.is_empty(), "{own:?}");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(run.wait().code(), 0);
}

/// What a container mounts over the host's device nodes, which it has in a user namespace, stays in it.
#[test]
fn mounts_over_bound_devices_stay_inside() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh(&format!(
        "mount -t tmpfs none /mnt; touch /mnt/x; mount --bind /mnt/x /dev/null; {MOUNTINFO}"
    ))
    .user_namespace()
    .directory("/mnt")
    .capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"])
    .shared_mounts();
    let io = b.io().join("after").to_str().unwrap().to_owned();
    let b = b.hook("poststop", &format!("cat /proc/self/mountinfo > {io}"));
    let out = b.run().ok();
    assert_eq!(out.mount_at("/dev/null").fs_type, "tmpfs", "{out}");
    assert!(out.mount_at("/dev/zero").is_private(), "{out}");
    let host = std::fs::read_to_string(io).unwrap();
    assert!(!host.contains(" /dev/null "), "{host}");
}
