//! Races for the ends of mounts: a volume in which somebody else keeps exchanging a directory and a link out of the root, while
//! mounts are put onto it, taken from it, and copied up.

use crate::attacks::{Outside, SECRET};
use crate::harness::Bundle;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Exchanges two names until it is dropped, which has to be before the bundle is.
struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Exchange {
    fn of(a: PathBuf, b: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut times = 0;
            while !stopped.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
                times += 1;
            }
            times
        });
        Exchange { stop, thread: Some(thread) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let times = self.thread.take().unwrap().join();
        assert!(std::thread::panicking() || times.unwrap() > 100, "there was no race");
    }
}

/// A volume with a directory `dest` and a link `link` that leads to the tree outside.
fn volume(b: &Bundle, outside: &Path) -> (PathBuf, Exchange) {
    let volume = b.io().join("volume");
    fs::create_dir_all(volume.join("dest/sub")).unwrap();
    symlink(outside.join("dir"), volume.join("link")).unwrap();
    let race = Exchange::of(volume.join("dest"), volume.join("link"));
    (volume, race)
}

fn mountinfo() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

const TRIES: usize = 25;

#[test]
fn mounts_are_added_while_the_destination_changes() {
    let b = Bundle::idle();
    let outside = Outside::of(&b);
    let (volume, race) = volume(&b, &outside.path);
    let b = b.mount("/vol", "bind", volume.to_str().unwrap(), &["bind"]).up();
    let file = b.io().join("mounts.json");
    let source = b.io().join("source");
    fs::create_dir(&source).unwrap();
    let added = json!([
        {"destination": "/vol/dest/sub", "source": source, "options": ["bind"]},
        {"destination": "/vol/dest/new", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]},
        {"destination": "/vol/dest", "source": source, "options": ["bind", "dest-nofollow"]},
    ]);
    fs::write(&file, added.to_string()).unwrap();
    let before = mountinfo();
    for _ in 0..TRIES {
        for verb in ["add", "remove"] {
            let out = b.cmd(&["mounts", verb, &b.id, file.to_str().unwrap()]);
            assert!(out.code() <= 1 && out.stderr.lines().count() <= 1, "{out}");
        }
    }
    drop(race);
    assert_eq!(mountinfo(), before);
    outside.assert_unchanged();
}

#[test]
fn mounts_are_made_while_the_destination_changes() {
    let before = mountinfo();
    let b = Bundle::sh("cat /vol/dest/marker /vol/dest/sub/marker /copy/* /copy/*/* 2>/dev/null; :");
    let outside = Outside::of(&b);
    let (volume, race) = volume(&b, &outside.path);
    symlink("/target", b.io().join("copied")).unwrap();
    let io = b.io().to_str().unwrap().to_owned();
    let b = b
        .mount("/vol", "bind", volume.to_str().unwrap(), &["bind"])
        .mount("/vol/dest/new", "bind", &format!("{io}/copied"), &["bind", "copy-symlink"])
        .mount("/vol/dest/sub", "tmpfs", "t", &["tmpcopyup"])
        .mount("/vol/dest", "tmpfs", "t", &["dest-nofollow"]);
    for _ in 0..TRIES {
        let out = b.run();
        assert!(out.code() <= 1 && !out.stdout.contains(SECRET), "{out}");
    }
    drop(race);
    assert_eq!(mountinfo(), before);
    outside.assert_unchanged();
}

#[test]
fn what_is_copied_up_changes_meanwhile() {
    let b = Bundle::sh("cat /data/file /data/dir/marker 2>/dev/null; :").directory("/data/dir");
    let outside = Outside::of(&b);
    let data = b.rootfs().join("data");
    // A file and a FIFO, which nobody ever writes to; a directory and a link out; a file and a link to the secret.
    for name in ["file", "other"] {
        fs::write(data.join(name), "x").unwrap();
    }
    nix::unistd::mkfifo(&data.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink(outside.path.join("dir"), data.join("link")).unwrap();
    symlink(outside.path.join("marker"), data.join("secret")).unwrap();
    let races = [("other", "fifo"), ("dir", "link"), ("file", "secret")];
    let races = races.map(|(a, b)| Exchange::of(data.join(a), data.join(b)));
    let b = b.mount("/data", "tmpfs", "t", &["tmpcopyup"]);
    for _ in 0..TRIES {
        let out = b.run();
        assert!(out.code() <= 1 && !out.stdout.contains(SECRET), "{out}");
    }
    drop(races);
    outside.assert_unchanged();
}

/// The ways in which the runtime enters the root: with its mounts put when that has happened, or before, for hooks.
fn both_ways(b: Bundle, hook: bool) -> Bundle {
    if hook { b.hook("createContainer", "true") } else { b }
}

#[test]
fn a_console_is_put_while_its_place_changes() {
    let before = mountinfo();
    for hook in [false, true] {
        let b = Bundle::new();
        let outside = Outside::of(&b);
        let b = both_ways(b.directory("/dev").set("/process/terminal", true).without_mount("/dev"), hook);
        let dev = b.rootfs().join("dev");
        fs::write(dev.join("console"), "").unwrap();
        symlink(outside.path.join("dir/new"), dev.join("link")).unwrap();
        let race = Exchange::of(dev.join("console"), dev.join("link"));
        b.write_config();
        for _ in 0..TRIES / 2 {
            let (running, mut terminal) = b.spawn_on_terminal(&b.with_bundle("run", &[]));
            terminal.read_to_end();
            assert!(running.wait().code() <= 1);
            outside.assert_unchanged();
        }
        drop(race);
        assert_eq!(mountinfo(), before);
        b.assert_nothing_left();
    }
}

#[test]
fn paths_are_masked_and_protected_while_they_change() {
    let before = mountinfo();
    for hook in [false, true] {
        let b = Bundle::sh("cat /vol/dest/marker /vol/dest/sub/marker 2>/dev/null; :");
        let outside = Outside::of(&b);
        let (volume, race) = volume(&b, &outside.path);
        // What is a directory and what is not changes, too: each is hidden behind something else.
        fs::write(volume.join("file"), "").unwrap();
        fs::create_dir(volume.join("other")).unwrap();
        let kinds = Exchange::of(volume.join("file"), volume.join("other"));
        let b = both_ways(b, hook)
            .mount("/vol", "bind", volume.to_str().unwrap(), &["bind"])
            .set("/linux/maskedPaths", json!(["/vol/dest/sub", "/vol/dest", "/vol/file"]))
            .set("/linux/readonlyPaths", json!(["/vol/dest/sub", "/vol/dest"]));
        for _ in 0..TRIES / 2 {
            let out = b.run();
            assert!(out.code() <= 1 && !out.stdout.contains(SECRET), "{out}");
        }
        drop((race, kinds));
        assert_eq!(mountinfo(), before);
        outside.assert_unchanged();
    }
}

// CVE-2025-31133
#[test]
fn what_hides_a_file_is_the_hosts_while_that_of_the_container_changes() {
    for hook in [false, true] {
        let b = Bundle::sh("stat -c 'hidden %t:%T' /etc/secret; cat /etc/secret /proc/sys/kernel/hostname");
        let dev = b.io().join("dev");
        fs::create_dir(&dev).unwrap();
        let node = nix::sys::stat::SFlag::S_IFCHR;
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&dev.join("null"), node, mode, nix::sys::stat::makedev(1, 3)).unwrap();
        symlink("/proc/sys/kernel/hostname", dev.join("link")).unwrap();
        let race = Exchange::of(dev.join("null"), dev.join("link"));
        let b =
            both_ways(b.file("/etc/secret", SECRET), hook).without_mount("/dev/pts").without_mount("/dev");
        let b = b
            .mount("/dev", "bind", dev.to_str().unwrap(), &["bind"])
            .set("/linux/maskedPaths", json!(["/etc/secret"]));
        for _ in 0..TRIES / 2 {
            let out = b.run();
            // A link in the place of a device is an error.
            assert!(out.code() == 1 || out.stdout == "hidden 1:3\norlop-test\n", "{out}");
        }
        drop(race);
    }
}
