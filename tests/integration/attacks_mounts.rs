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

/// Exchanges two names until it is dropped.
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
                // The bundle is removed before the last exchange.
                if renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).is_err() {
                    break;
                }
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
    let (volume, _race) = volume(&b, &outside.path);
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
    assert_eq!(mountinfo(), before);
    outside.assert_unchanged();
}

#[test]
fn mounts_are_made_while_the_destination_changes() {
    let before = mountinfo();
    let b = Bundle::sh("cat /vol/dest/marker /vol/dest/sub/marker /copy/* /copy/*/* 2>/dev/null; :");
    let outside = Outside::of(&b);
    let (volume, _race) = volume(&b, &outside.path);
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
    let _races = races.map(|(a, b)| Exchange::of(data.join(a), data.join(b)));
    let b = b.mount("/data", "tmpfs", "t", &["tmpcopyup"]);
    for _ in 0..TRIES {
        let out = b.run();
        assert!(out.code() <= 1 && !out.stdout.contains(SECRET), "{out}");
    }
    outside.assert_unchanged();
}
