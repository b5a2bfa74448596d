//! Containers without a mount namespace of their own: they are in the runtime's, which has none of their mounts.

use crate::harness::{Bundle, Need, requires};
use serde_json::json;

fn sharing(b: Bundle) -> Bundle {
    b.without_namespace("mount")
}

fn host(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn mount_namespace(pid: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_mount_namespace_is_the_runtimes_and_has_no_mount_more() {
    let b = sharing(Bundle::idle())
        .mount("/of-the-container", "tmpfs", "tmpfs", &["size=1m"])
        .set("/root/readonly", true)
        .set("/linux/maskedPaths", json!(["/etc"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]))
        .file("/etc/secret", "x")
        .directory("/of-the-container")
        .up();
    assert_eq!(mount_namespace(&b.pid().to_string()), mount_namespace("self"));
    let rootfs = b.rootfs();
    assert!(!host("/proc/self/mountinfo").contains(rootfs.to_str().unwrap()));
    for process in [b.pid().to_string(), "self".into()] {
        // The tree of the container is in no namespace, and so in nobody's list.
        let list = host(&format!("/proc/{process}/mountinfo"));
        assert!(!list.contains("/of-the-container"), "{list}");
    }
    let script = "readlink /proc/self/ns/mnt; touch /of-the-container/file && ls /of-the-container; ls /etc; touch /new || echo read-only
                  echo x >/proc/sys/kernel/hostname || echo protected; ls -di / /..; head -n 1 /proc/1/comm; ls -d $0 || echo gone";
    let out = b.exec(&["sh", "-c", script, rootfs.to_str().unwrap()]).ok();
    let lines = out.lines();
    assert_eq!(lines[..4], [&mount_namespace("self"), "file", "read-only", "protected"], "{out}");
    assert_eq!(lines[4].split_whitespace().next(), lines[5].split_whitespace().next(), "{out}");
    assert_eq!(lines[7], "gone", "{out}");
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn hooks_and_an_unbindable_mount_find_their_places() {
    let b = Bundle::sh("cat /seen /created; cat /proc/mounts");
    // The tree is at root.path for them.
    let look = format!("cat {0}/m/file >{0}/seen", b.rootfs().display());
    let b = sharing(b)
        .prelude("mkdir $BASE/io/m; echo bound >$BASE/io/m/file")
        .hook("createContainer", &look)
        .hook("createContainer", "echo hook >created");
    let source = b.io().join("m");
    let out = b.mount("/m", "bind", source.to_str().unwrap(), &["bind", "unbindable"]).run().ok();
    assert_eq!(out.lines(), ["bound", "hook"], "{out}");
}

#[test]
fn a_user_namespace_is_refused_beside_it() {
    requires!(Need::UserNamespace);
    let b = sharing(Bundle::new()).user_namespace();
    b.run().fails(1, &["linux.namespaces: ", "no right to mount anything", "add {\"type\": \"mount\"}"]);
    b.assert_nothing_left();
}

#[test]
fn its_mounts_do_not_change() {
    let b = sharing(Bundle::idle()).up();
    let file = b.io().join("mounts.json");
    std::fs::write(&file, json!([{"destination": "/new", "type": "tmpfs"}]).to_string()).unwrap();
    let out = b.cmd(&["mounts", "add", b.id.as_str(), file.to_str().unwrap()]);
    out.fails(1, &["the container has no mount namespace of its own"]);
}
