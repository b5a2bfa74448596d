//! Symbolic links at both ends of a mount: crun's options `src-nofollow`, `copy-symlink` and `dest-nofollow`.

use crate::harness::Bundle;
use std::fs;
use std::os::unix::fs::symlink;

/// A link `link` to `target`, a file, and one `dangling` to nowhere.
fn source(b: &Bundle) -> String {
    fs::write(b.io().join("target"), "of the host\n").unwrap();
    symlink("target", b.io().join("link")).unwrap();
    symlink("/nowhere", b.io().join("dangling")).unwrap();
    b.io().to_str().unwrap().to_owned()
}

#[test]
fn a_link_is_copied() {
    let b = Bundle::sh(
        "readlink /etc/link; readlink /new/dir/dangling; cat /etc/file; grep -c /etc/link /proc/self/mountinfo",
    );
    let io = source(&b);
    let b = b
        .mount("/etc/link", "bind", &format!("{io}/link"), &["bind", "copy-symlink"])
        .mount("/new/dir/dangling", "bind", &format!("{io}/dangling"), &["rbind", "ro", "copy-symlink"])
        // What is no link is mounted.
        .mount("/etc/file", "bind", &format!("{io}/target"), &["bind", "copy-symlink"]);
    assert_eq!(b.run().lines(), ["target", "/nowhere", "of the host", "0"]);
    // The second time it is there already.
    assert_eq!(b.run().lines(), ["target", "/nowhere", "of the host", "0"]);
    b.assert_nothing_left();
}

#[test]
fn a_link_is_not_copied_over_something_else() {
    for other in ["another", "a file"] {
        let b = Bundle::new();
        let io = source(&b);
        let b = match other {
            "another" => b.symlink("/etc/link", "elsewhere"),
            _ => b.file("/etc/link", "x"),
        };
        let b = b.mount("/etc/link", "bind", &format!("{io}/link"), &["bind", "copy-symlink"]);
        b.run().fails(1, &["mounts[3].destination", "something else than this link is there already"]);
        b.assert_nothing_left();
    }
}

/// A directory of the image on the way that is a link out of the root leads nowhere outside.
#[test]
fn a_copied_link_stays_inside_the_root() {
    let b = Bundle::new();
    let io = source(&b);
    fs::create_dir(b.io().join("outside")).unwrap();
    let b = b.symlink("/out", &format!("{io}/outside")).mount(
        "/out/link",
        "bind",
        &format!("{io}/link"),
        &["bind", "copy-symlink"],
    );
    let out = b.run();
    assert_eq!(fs::read_dir(format!("{io}/outside")).unwrap().count(), 0, "{out}");
}

#[test]
fn a_link_itself_is_mounted() {
    let b = Bundle::sh(
        "readlink /etc/link; grep -c ' /etc/link ' /proc/self/mountinfo; ls -A /etc/place; cat /etc/followed",
    );
    let io = source(&b);
    let b = b
        .mount("/etc/link", "bind", &format!("{io}/link"), &["bind", "src-nofollow"])
        .mount("/etc/followed", "bind", &format!("{io}/link"), &["bind"])
        .mount("/etc/place", "bind", &format!("{io}/dangling"), &["bind", "src-nofollow"]);
    let out = b.run();
    assert_eq!(out.lines()[..2], ["target", "1"], "{out}");
    assert!(out.lines().contains(&"of the host"), "{out}");
}

#[test]
fn a_mount_goes_over_a_link() {
    let b = Bundle::sh(
        "readlink /etc/link; cat /etc/link; cat /etc/real; grep -c ' /etc/link ' /proc/self/mountinfo",
    );
    let io = source(&b);
    let b = b.file("/etc/real", "of the image\n").symlink("/etc/link", "real");
    let b = b.mount("/etc/link", "bind", &format!("{io}/target"), &["bind", "dest-nofollow"]);
    let out = b.run();
    assert_eq!(out.lines(), ["of the host", "of the image", "1"], "{out}");
    // Both at once: a link over a link.
    let b = Bundle::sh("readlink /etc/link").symlink("/etc/link", "real");
    let io = source(&b);
    let options = ["bind", "src-nofollow", "dest-nofollow"];
    let b = b.mount("/etc/link", "bind", &format!("{io}/dangling"), &options);
    assert_eq!(b.run().lines(), ["/nowhere"]);
}

/// Images have `/etc/resolv.conf` as a link to a file that is only made when the machine boots.
#[test]
fn a_destination_that_dangles_is_made_where_it_leads_to() {
    let script = "cat /etc/resolv.conf /run/made/up/resolv.conf /var/relative; \
                  cut -d' ' -f5 /proc/self/mountinfo | grep -e /run/ -e /var/; readlink /etc/resolv.conf";
    let b = Bundle::sh(script)
        .symlink("/etc/resolv.conf", "/jump/up/resolv.conf")
        .symlink("/jump", "run/made")
        .symlink("/etc/relative", "../../../../var/relative");
    let io = source(&b);
    let target = format!("{io}/target");
    let b = b.mount("/etc/resolv.conf", "bind", &target, &["bind"]);
    let b = b.mount("/etc/relative", "bind", &target, &["bind"]);
    for _ in 0..2 {
        let lines =
            ["of the host", "of the host", "of the host", "/run/made/up/resolv.conf", "/var/relative"];
        assert_eq!(b.run().ok().lines(), [&lines[..], &["/jump/up/resolv.conf"]].concat());
    }
    assert!(b.rootfs().join("run/made/up/resolv.conf").is_file());
    b.assert_nothing_left();
}

#[test]
fn a_destination_that_leads_in_a_circle_is_refused() {
    let b = Bundle::new().symlink("/etc/a", "b").symlink("/etc/b", "a");
    let io = source(&b);
    b.mount("/etc/a", "bind", &format!("{io}/target"), &["bind"]).run().fails(1, &["ELOOP"]).one_line();
}
