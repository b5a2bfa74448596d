//! Mounts whose source, or destination, is named by the path that the container's root has on the host.

use crate::harness::{Bundle, Need, requires};

/// A container with `$BASE/io/a` at `/mnt` and `$BASE/io/b` at `/mnt/x`, each with a file `name`.
fn two_mounts(script: &str) -> Bundle {
    let prelude = "cd $BASE/io; mkdir -p a/x b/y; echo a > a/name; echo b > b/name; echo y > b/y/name";
    let b = Bundle::sh(script)
        .prelude(prelude)
        .directory("/mnt")
        .directory("/final")
        .directory("/one")
        .directory("/two");
    let (first, second) = (b.io().join("a"), b.io().join("b"));
    b.mount("/mnt", "bind", first.to_str().unwrap(), &["bind"]).mount(
        "/mnt/x",
        "bind",
        second.to_str().unwrap(),
        &["bind"],
    )
}

fn inside(b: &Bundle, path: &str) -> String {
    b.rootfs().join(path).to_str().unwrap().to_owned()
}

const NAMES: &str = "cat /final/name /final/x/name /one/name /two/name; cat /proc/self/mountinfo";

fn with_parts(b: Bundle, options: &[&str]) -> Bundle {
    let (all, one, two) = (inside(&b, "mnt"), inside(&b, "mnt/x"), inside(&b, "mnt/x/y"));
    let options = |first| [&[first], options].concat();
    b.mount("/final", "bind", &all, &options("rbind")).mount("/one", "bind", &one, &options("bind")).mount(
        "/two",
        "bind",
        &two,
        &options("bind"),
    )
}

#[test]
fn a_source_may_lie_in_an_earlier_mount() {
    let out = with_parts(two_mounts(NAMES), &["ro"]).run().ok();
    assert_eq!(out.lines()[..4], ["a", "b", "b", "y"], "{out}");
    for point in ["/final", "/one", "/two"] {
        assert!(out.mount_at(point).has("ro"), "{out}");
    }
    assert!(out.mount_at("/mnt").has("rw") && out.mount_at("/mnt/x").has("rw"), "{out}");
}

#[test]
fn it_may_in_a_user_namespace_too_and_with_hooks() {
    requires!(Need::UserNamespace);
    let b = with_parts(two_mounts(NAMES).user_namespace(), &[]);
    let out = b.run().ok();
    assert_eq!(out.lines()[..4], ["a", "b", "b", "y"], "{out}");

    let out = with_parts(two_mounts(NAMES).hook("createContainer", "true"), &[]).run().ok();
    assert_eq!(out.lines()[..4], ["a", "b", "b", "y"], "{out}");
}

#[test]
fn it_may_be_id_mapped() {
    requires!(Need::UserNamespace);
    for userns in [false, true] {
        let b = two_mounts("stat -c %u:%g /mnt/name /final/name /final/x/name");
        let all = inside(&b, "mnt");
        let b = if userns { b.user_namespace() } else { b };
        let map =
            serde_json::json!([{"containerID": 0, "hostID": if userns { 100_005 } else { 5 }, "size": 10}]);
        let b = b.push(
            "/mounts",
            serde_json::json!({
                "destination": "/final", "source": all, "options": ["rbind", "ridmap"],
                "uidMappings": map, "gidMappings": map,
            }),
        );
        let out = b.run().ok();
        let unmapped = if userns { "65534:65534" } else { "0:0" };
        assert_eq!(out.lines(), [unmapped, "5:5", "5:5"], "{out}");
    }
}

#[test]
fn no_link_in_such_a_source_leads_to_the_host() {
    let b = two_mounts("cat /final/name").file("/srv/name", "the container's\n");
    let io = b.io();
    let (host, link) = (io.join("host"), inside(&b, "mnt/link"));
    let prelude = format!(
        "cd $BASE/io; mkdir -p a/x b/y host; echo the host\\'s > host/name; ln -s {0} a/out; ln -s /srv a/link",
        host.display()
    );
    let b = b.prelude(&prelude).mount("/final", "bind", &link, &["bind"]);
    assert_eq!(b.run().ok().stdout, "the container's\n");

    let b = two_mounts("true");
    let (io, out) = (b.io(), inside(&b, "mnt/out"));
    let host = io.join("host");
    let prelude = format!("cd $BASE/io; mkdir -p a/x b/y host; ln -s {0} a/out", host.display());
    let b = b.prelude(&prelude).mount("/final", "bind", &out, &["bind"]);
    b.run().fails(1, &["mounts[5].source: ", "ENOENT (no such file or directory)"]);
    b.assert_nothing_left();
}

#[test]
fn a_destination_below_the_root_is_inside_of_it() {
    let b = Bundle::sh("cat /proc/self/mountinfo; ls -d /final; ! ls $0");
    let destination = inside(&b, "final/x");
    let b =
        b.edit(|config| config["process"]["args"].as_array_mut().unwrap().push(destination.clone().into()));
    let out = b.mount(&destination, "tmpfs", "tmpfs", &[]).run().ok();
    assert_eq!(out.mount_at("/final/x").fs_type, "tmpfs");
    assert!(out.stderr.contains("is below root.path, taken as /final/x"), "{out}");
}

#[test]
fn such_mounts_come_and_go_while_it_runs() {
    let b = Bundle::idle();
    let (first, second) = (inside(&b, "first"), inside(&b, "second"));
    let b = b.mount(&first, "tmpfs", "tmpfs", &[]).up();
    let file = b.io().join("mounts.json");
    let change = |verb: &str, mounts: serde_json::Value| {
        std::fs::write(&file, mounts.to_string()).unwrap();
        b.cmd(&["mounts", verb, &b.id, file.to_str().unwrap()])
    };
    let mounted = || {
        let table = b.exec(&["cat", "/proc/self/mountinfo"]).ok();
        ["/first", "/second"].map(|point| table.stdout.contains(&format!(" {point} ")))
    };
    let one = |destination: &str| serde_json::json!([{"destination": destination, "type": "tmpfs"}]);
    change("add", one(&second)).ok();
    assert_eq!(mounted(), [true, true]);
    change("remove", one("/first")).ok();
    change("remove", one(&second)).ok();
    assert_eq!(mounted(), [false, false]);
    let within = serde_json::json!([
        {"destination": "/first", "type": "tmpfs"},
        {"destination": "/second", "source": inside(&b, "first/x"), "options": ["bind"]},
    ]);
    change("add", within).fails(1, &["mounts[1]", "its source is what another one mounts"]).one_line();
}
