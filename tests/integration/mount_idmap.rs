//! Id-mapped mounts: whom files belong to, seen from inside and written back to the host.

use crate::harness::{Bundle, Need, requires};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

/// A directory with a file of user 0 and group 0, one of 7:8, and one of 1000:1000.
fn source(b: &Bundle) -> String {
    let dir = b.io().join("source");
    fs::create_dir(&dir).unwrap();
    for (name, uid, gid) in [("root", 0, 0), ("seven", 7, 8), ("user", 1000, 1000)] {
        fs::write(dir.join(name), name).unwrap();
        chown(dir.join(name), Some(uid), Some(gid)).unwrap();
    }
    dir.to_str().unwrap().to_owned()
}

const STAT: &str = "cd /m; stat -c '%n %u:%g' root seven user";

fn mapping(inside: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": inside, "hostID": host, "size": size}])
}

fn mount(source: &str, options: &[&str], uids: Value, gids: Value) -> Value {
    json!({"destination": "/m", "type": "bind", "source": source, "options": options,
           "uidMappings": uids, "gidMappings": gids})
}

#[test]
fn a_mount_has_maps_of_its_own() {
    requires!(Need::UserNamespace);
    let first = Bundle::new();
    let source = source(&first);
    // Users 1000-1099 of the container's view are 0-99 of the file system, and root is 500.
    let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 100}, {"containerID": 500, "hostID": 0, "size": 1}]);
    // With the maps the option may be absent.
    for options in [&["bind", "idmap"][..], &["bind"], &["rbind", "ridmap"]] {
        let b = Bundle::sh(&format!("{STAT}; touch new; chown 1010 new; stat -c '%n %u:%g' new"));
        let b = b.push("/mounts", mount(&source, options, map(1000), map(2000)));
        let out = b.run().ok();
        assert_eq!(
            out.lines(),
            ["root 1000:2000", "seven 1007:2008", "user 65534:65534", "new 1010:0"],
            "{options:?}"
        );
        let new = fs::metadata(format!("{source}/new")).unwrap();
        assert_eq!((new.uid(), new.gid()), (10, 500), "{options:?}");
        fs::remove_file(format!("{source}/new")).unwrap();
        b.assert_nothing_left();
    }
}

#[test]
fn without_maps_it_has_those_of_the_container() {
    requires!(Need::UserNamespace);
    for option in ["idmap", "ridmap"] {
        let b = Bundle::sh(&format!("{STAT}; touch /m/new; cat /proc/self/uid_map; stat -c %u /plain/root"))
            .user_namespace()
            .directory("/m")
            .directory("/plain");
        let source = source(&b);
        let b =
            b.mount("/plain", "bind", &source, &["bind"]).mount("/m", "bind", &source, &["rbind", option]);
        let out = b.run().ok();
        assert_eq!(out.lines()[..3], ["root 0:0", "seven 7:8", "user 1000:1000"], "{option}");
        assert_eq!(out.lines().last(), Some(&"65534"), "{option}");
        let new = fs::metadata(format!("{source}/new")).unwrap();
        assert_eq!((new.uid(), new.gid()), (0, 0), "{option}");
        b.assert_nothing_left();
    }
}

#[test]
fn a_mount_of_a_container_with_a_user_namespace_has_maps_of_its_own() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh(STAT).user_namespace().directory("/m").directory("/plain");
    let source = source(&b);
    // User 7 of the file system is user 100 of the container; all others are nobody.
    let b =
        b.push("/mounts", mount(&source, &["bind", "idmap"], mapping(7, 100_100, 1), mapping(8, 100_200, 1)));
    assert_eq!(b.run().ok().lines(), ["root 65534:65534", "seven 100:200", "user 65534:65534"]);
}

#[test]
fn a_joined_user_namespace_maps_too() {
    requires!(Need::UserNamespace);
    let first = Bundle::idle().user_namespace();
    let source = source(&first);
    first.create().ok();
    let pid = first.pid();
    let b = Bundle::sh(STAT).directory("/m").join("user", format!("/proc/{pid}/ns/user")).mount(
        "/m",
        "bind",
        &source,
        &["bind", "idmap"],
    );
    assert_eq!(b.run().ok().lines(), ["root 0:0", "seven 7:8", "user 1000:1000"]);
}

#[test]
fn maps_can_stand_in_the_option() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh(STAT);
    let source = source(&b);
    let b = b.mount("/m", "bind", &source, &["bind", "idmap=uids=0-50-1#7-60-1;gids=0-70-100"]);
    assert_eq!(b.run().ok().lines(), ["root 50:70", "seven 60:78", "user 65534:65534"]);
    let b = Bundle::sh(STAT).user_namespace().directory("/m").directory("/plain");
    let b = b.mount("/m", "bind", &source, &["bind", "idmap=uids=@0-5-10;gids=@0-6-10"]);
    assert_eq!(b.run().ok().lines(), ["root 5:6", "seven 12:14", "user 65534:65534"]);
}

/// The option that has `r` before it reaches the mounts below, the other one does not.
#[test]
fn mounts_below_are_mapped_if_asked_for() {
    requires!(Need::UserNamespace);
    for (option, below) in [("idmap", "below/f 0:0"), ("ridmap", "below/f 1000:1000")] {
        let b = Bundle::sh("cd /m; stat -c '%n %u:%g' root below/f")
            .prelude("mkdir $BASE/io/source/below; mount -t tmpfs none $BASE/io/source/below; touch $BASE/io/source/below/f");
        let source = source(&b);
        let b =
            b.push("/mounts", mount(&source, &["rbind", option], mapping(0, 1000, 9), mapping(0, 1000, 9)));
        assert_eq!(b.run().ok().lines(), ["root 1000:1000", below], "{option}");
    }
}

#[test]
fn a_single_file_is_mapped() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh("stat -c '%u:%g' /etc/one");
    let source = source(&b);
    let mut one = mount(&format!("{source}/seven"), &["bind"], mapping(0, 300, 10), mapping(0, 400, 10));
    one["destination"] = json!("/etc/one");
    assert_eq!(b.push("/mounts", one).run().ok().stdout, "307:408\n");
}

// runc maps bind mounts only.
#[test]
fn a_new_file_system_is_mapped() {
    requires!(Need::UserNamespace);
    let mut tmpfs =
        mount("tmpfs", &["mode=755", "uid=3", "gid=4"], mapping(0, 1000, 50), mapping(0, 2000, 50));
    tmpfs["type"] = json!("tmpfs");
    let b = Bundle::sh("stat -c '%u:%g' /m; grep ' /m ' /proc/self/mountinfo");
    let out = b.push("/mounts", tmpfs).run().ok();
    assert_eq!(out.lines()[0], "1003:2004");
    assert!(out.mount_at("/m").has("idmapped"), "{out}");

    // The container's root may write to one that has the container's own map.
    let b = Bundle::sh("stat -c '%u:%g %a' /m; cat /m/old; echo x > /m/new; stat -c %u:%g /m/new; grep ' /m ' /proc/self/mountinfo")
        .user_namespace()
        .file("/m/old", "copied\n")
        .mount("/m", "tmpfs", "tmpfs", &["idmap", "tmpcopyup", "mode=750"]);
    let out = b.run().ok();
    assert_eq!(out.lines()[1..3], ["copied", "0:0"], "{out}");
    assert!(out.mount_at("/m").has("idmapped"), "{out}");
}

#[test]
fn other_attributes_hold_beside_the_map() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh("cat /proc/self/mountinfo");
    let source = source(&b);
    let options = ["rbind", "ridmap", "ro", "rnosuid", "nodev", "rprivate"];
    let b = b.push("/mounts", mount(&source, &options, mapping(0, 1000, 9), mapping(0, 1000, 9)));
    let mount = b.run().ok().mount_at("/m");
    assert!(["ro", "nosuid", "nodev", "idmapped"].iter().all(|option| mount.has(option)), "{mount:?}");
}

#[test]
fn a_file_system_that_cannot_be_mapped_is_named() {
    requires!(Need::UserNamespace);
    let map = || (mapping(0, 1000, 9), mapping(0, 1000, 9));
    let b = Bundle::new();
    let (uids, gids) = map();
    let b = b.push("/mounts", mount("/proc/sys/kernel", &["rbind", "idmap"], uids, gids));
    let out = b.run();
    out.fails(1, &["mounts[3]", "proc, mounted at /proc, can't be id-mapped"]);
    b.assert_nothing_left();

    // The one below, not the one that was named.
    let b = Bundle::new().prelude("mkdir $BASE/io/source/below; mount -t sysfs none $BASE/io/source/below");
    let source = source(&b);
    let (uids, gids) = map();
    let b = b.push("/mounts", mount(&source, &["rbind", "ridmap"], uids, gids));
    b.run().fails(1, &["mounts[3]", "sysfs, mounted at ", "/source/below, can't be id-mapped"]);

    let (uids, gids) = map();
    let mut new = mount("mqueue", &["idmap"], uids, gids);
    new["type"] = json!("mqueue");
    let b = Bundle::new().push("/mounts", new);
    b.run().fails(1, &["mounts[3]", "mqueue can't be id-mapped"]);
    b.assert_nothing_left();
}

#[test]
fn a_user_without_privileges_is_refused() {
    requires!(Need::UserNamespace, Need::Program("setpriv"));
    let b = Bundle::new();
    let source = source(&b);
    let b = b.unprivileged().mount("/m", "bind", &source, &["bind", "idmap"]);
    b.run().fails(1, &["mounts[3].options[1]", "id-mapped mounts are not possible without privileges"]);
    b.assert_nothing_left();
}
