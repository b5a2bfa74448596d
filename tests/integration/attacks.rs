//! Root file systems that try to lead the runtime out of themselves, by symbolic links wherever it makes or
//! mounts something. A tree beside the root stands for the host: whatever comes of the container, nothing of
//! the tree changes, and nothing of it is seen inside.

use crate::harness::*;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// What no container may see.
pub const SECRET: &str = "the secret of the host";

/// The tree that stands for the host: `outside` beside the bundle.
pub struct Outside {
    pub path: PathBuf,
    before: Vec<String>,
}

impl Outside {
    pub fn of(bundle: &Bundle) -> Self {
        let path = bundle.base().join("outside");
        fs::create_dir_all(path.join("dir/sub")).unwrap();
        for file in ["marker", "dir/marker"] {
            fs::write(path.join(file), SECRET).unwrap();
        }
        let before = snapshot(&path);
        Outside { path, before }
    }

    pub fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    #[track_caller]
    pub fn assert_unchanged(&self) {
        assert_eq!(snapshot(&self.path), self.before, "the host's tree has changed");
    }
}

/// Every file below a directory with what an attack could change of it.
fn snapshot(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, about) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let content = if about.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        let numbers = (about.mode(), about.uid(), about.gid(), about.ino(), about.dev(), about.nlink());
        found.push(format!("{} {numbers:?} {content}", path.display()));
        if about.is_dir() {
            found.extend(snapshot(&path));
        }
    }
    found.sort();
    found
}

/// Runs an attack in each of the ways in which the runtime enters the root: by pivot_root, after hooks that
/// still see the host, and by chroot. It may fail or be harmless; then nothing is left, nothing of the host
/// has changed, and the container has not seen the secret.
#[track_caller]
fn harmless(make: impl Fn(&Outside, Bundle) -> Bundle) -> Vec<Output> {
    let ways: [(&[&str], bool); 3] = [(&[], false), (&[], true), (&["--no-pivot"], false)];
    let run = |(options, hook): (&[&str], bool)| {
        let b = Bundle::sh(
            "cat /marker /link/marker /dev/marker /proc/marker /deep/link/marker 2>/dev/null; true",
        );
        let outside = Outside::of(&b);
        let b = make(&outside, b);
        let b = if hook { b.hook("createContainer", "true") } else { b };
        let out = b.run_with(options);
        assert!(out.code() <= 1, "{out}");
        assert!(!out.stdout.contains(SECRET), "the container has seen the host: {out}");
        if out.code() != 0 {
            assert_eq!(out.stderr.trim_end().lines().count(), 1, "{out}");
        }
        outside.assert_unchanged();
        b.assert_nothing_left();
        out
    };
    ways.map(run).into()
}

/// Ways out of the root by a symbolic link in its top directory.
fn ways_out(outside: &Outside) -> Vec<String> {
    let path = outside.text();
    let up = "../".repeat(40);
    vec![
        path.into(),
        "../../outside".into(),
        format!("{up}{}", path.trim_start_matches('/')),
        format!("/tmp/../../..{path}"),
        format!("/proc/self/root{path}"),
        format!("/proc/1/root{path}"),
        "/proc/self/cwd/../outside".into(),
        format!("//.//{path}//"),
    ]
}

/// How many ways there are.
const WAYS: usize = 8;

// CVE-2026-41579, CVE-2026-47766: devices and links were made on the host.
#[test]
fn dev_is_a_link() {
    requires!(Need::Root);
    for way in 0..WAYS {
        harmless(|outside, b| b.symlink("/dev", &ways_out(outside)[way]));
        harmless(|outside, b| b.symlink("/dev", &ways_out(outside)[way]).set("/mounts", json!([])));
    }
    for target in ["dev", ".", "/", "/proc", "nowhere/at/all", "/etc/passwd"] {
        harmless(|_, b| b.symlink("/dev", target));
    }
}

// CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: the real /proc and /sys stayed unprotected elsewhere.
#[test]
fn proc_and_sys_are_directories_or_nothing_runs() {
    requires!(Need::Root);
    for (link, field) in [("/proc", "mounts[0].destination"), ("/sys", "mounts[3].destination")] {
        let refused = |target: &str| {
            let outs = harmless(|outside, b| {
                let target = target.replace("OUTSIDE", outside.text());
                b.symlink(link, &target).mount("/sys", "sysfs", "sysfs", &["ro"])
            });
            outs.into_iter().for_each(|out| drop(out.fails(1, &[field])));
        };
        for target in ["OUTSIDE", "tmp", "/tmp/../x", ".", "/", "../../outside", "nowhere"] {
            refused(target);
        }
    }
    let b = Bundle::new().directory("/real").symlink("/deep", "/real").without_mount("/proc");
    b.mount("/deep/proc", "proc", "proc", &[]).run().fails(1, &["mounts[2].destination"]).one_line();
}

// CVE-2015-3627 and all later ones of its kind: whatever the runtime makes, something in the image has its name.
#[test]
fn every_name_in_dev_is_a_link() {
    requires!(Need::Root);
    let names = [
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "fd", "stdin", "stdout",
        "stderr", "core", "shm", "mqueue", "pts",
    ];
    for target in ["marker", "missing", "dir"] {
        harmless(|outside, b| {
            let out = outside.path.join(target);
            let b = names.iter().fold(b.without_mount("/dev"), |b, name| {
                b.symlink(&format!("/dev/{name}"), out.to_str().unwrap())
            });
            b.mount("/dev/shm", "tmpfs", "shm", &[])
                .set("/linux/devices", json!([{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3}]))
                .symlink("/dev/extra", out.to_str().unwrap())
        });
    }
}

#[test]
fn mount_targets_through_links() {
    requires!(Need::Root);
    for way in 0..WAYS {
        for below in ["", "/dir", "/new/deep", "/marker"] {
            harmless(|outside, b| {
                fs::create_dir(b.io().join("source")).unwrap();
                let source = b.io().join("source").to_str().unwrap().to_owned();
                let file = b.io().join("file");
                fs::write(&file, "").unwrap();
                let at = format!("/link{below}");
                let b = b.symlink("/link", &ways_out(outside)[way]).mount(&at, "tmpfs", "tmpfs", &[]);
                b.mount(&format!("{at}/b"), "bind", &source, &["bind"]).mount(
                    &format!("{at}/c"),
                    "bind",
                    file.to_str().unwrap(),
                    &["rbind", "ro"],
                )
            });
        }
    }
}

#[test]
fn file_targets_through_links() {
    requires!(Need::Root);
    for (link, target) in
        [("/marker", "/marker"), ("/marker", "/missing"), ("/deep/link", ""), ("/deep/link", "/dir")]
    {
        harmless(|outside, b| {
            let file = b.io().join("file");
            fs::write(&file, "").unwrap();
            let b = b.symlink(link, &format!("{}{target}", outside.text()));
            b.mount(link, "bind", file.to_str().unwrap(), &["bind"])
        });
    }
}

#[test]
fn destinations_with_dots() {
    requires!(Need::Root);
    let up = "../".repeat(40);
    for destination in
        ["/../../outside/new", "/tmp/../../../outside", "/link/../../outside/dir", "../../outside/x"]
    {
        harmless(|_, b| b.symlink("/link", "/tmp/a/b").mount(destination, "tmpfs", "tmpfs", &[]));
    }
    harmless(|outside, b| b.mount(&format!("/{up}{}", outside.text()), "tmpfs", "tmpfs", &[]));
    // Whatever was made has been made inside.
    let b = Bundle::sh("grep ' /new ' /proc/self/mountinfo").mount("/../../new", "tmpfs", "tmpfs", &[]);
    b.run().ok();
}

// CVE-2019-18837
#[test]
fn chains_and_loops_of_links() {
    requires!(Need::Root);
    let chain = |length: usize| {
        let b = Bundle::sh("grep ' /end/new ' /proc/self/mountinfo").directory("/end");
        let b = (1..length)
            .fold(b.symlink("/l0", "end"), |b, n| b.symlink(&format!("/l{n}"), &format!("l{}", n - 1)));
        b.mount(&format!("/l{}/new", length - 1), "tmpfs", "tmpfs", &[])
    };
    chain(40).run().ok();
    chain(41).run().fails(1, &["mounts[3].destination", "ELOOP"]).one_line();
    let looped = Bundle::new().symlink("/a", "b").symlink("/b", "a").mount("/a/x", "tmpfs", "tmpfs", &[]);
    looped.run().fails(1, &["mounts[3].destination", "ELOOP"]).one_line();
    let long = format!("/{}", "a/".repeat(2100));
    let out = Bundle::new().mount(&long, "tmpfs", "tmpfs", &[]).run();
    out.fails(1, &["mounts[3].destination", "ENAMETOOLONG"]).one_line();
    let slashes =
        Bundle::sh("grep ' /end ' /proc/self/mountinfo").mount("//.//end//./", "tmpfs", "tmpfs", &[]);
    slashes.run().ok();
}

// CVE-2015-3629: the links appear between two runs.
#[test]
fn a_second_run_finds_links_where_the_first_made_directories() {
    requires!(Need::Root);
    let b = Bundle::new().mount("/made/target", "tmpfs", "tmpfs", &[]);
    let outside = Outside::of(&b);
    b.run().ok();
    fs::remove_dir(b.rootfs().join("made/target")).unwrap();
    symlink(&outside.path, b.rootfs().join("made/target")).unwrap();
    b.run();
    fs::remove_file(b.rootfs().join("made/target")).unwrap();
    fs::remove_dir(b.rootfs().join("made")).unwrap();
    symlink(&outside.path, b.rootfs().join("made")).unwrap();
    b.run();
    outside.assert_unchanged();
    b.assert_nothing_left();
}

// CVE-2026-55686 of Podman
#[test]
fn a_missing_working_directory_is_made_inside() {
    requires!(Need::Root);
    for way in 0..WAYS {
        harmless(|outside, b| {
            b.symlink("/link", &ways_out(outside)[way]).set("/process/cwd", "/link/new/deeper")
        });
    }
    harmless(|_, b| b.set("/process/cwd", "/../../outside/new"));
}

#[test]
fn copying_up_reads_nothing_of_the_host() {
    requires!(Need::Root);
    harmless(|outside, b| {
        b.symlink("/link", outside.text()).mount("/link", "tmpfs", "tmpfs", &["tmpcopyup"])
    });
    let b = Bundle::sh("cat /data/link; echo; ls -l /data; cat /data/plain")
        .directory("/data")
        .file("/data/plain", "own");
    let outside = Outside::of(&b);
    let b = b.symlink("/data/link", outside.path.join("marker").to_str().unwrap());
    let b = b.symlink("/data/up", "../../../outside/dir").mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let out = b.run().ok();
    assert!(!out.stdout.contains(SECRET) && out.stdout.contains("up -> ../../../outside/dir"), "{out}");
    assert!(out.stdout.ends_with("own"), "{out}");
    outside.assert_unchanged();
}

#[test]
fn sockets_and_terminals_go_inside() {
    requires!(Need::Root);
    for way in 0..WAYS {
        harmless(|outside, b| {
            b.symlink("/run", &ways_out(outside)[way]).runtime_env("NOTIFY_SOCKET", "/nonexistent/notify")
        });
        let b = Bundle::sh("true").set("/process/terminal", true).without_mount("/dev");
        let outside = Outside::of(&b);
        let b = b.symlink("/dev/console", &format!("{}/marker", ways_out(&outside)[way]));
        b.write_config();
        let (running, mut terminal) = b.spawn_on_terminal(&b.with_bundle("run", &[]));
        terminal.read_to_end();
        assert!(running.wait().code() <= 1);
        outside.assert_unchanged();
        b.assert_nothing_left();
    }
}

// CVE-2025-31133: the container's own /dev/null was bound onto what is to be hidden.
#[test]
fn masks_are_the_hosts_null_device() {
    requires!(Need::Root);
    let show = "stat -c 'hidden %t:%T %F' /proc/version /link/secret; cat /link/secret; ls -a /proc/irq /hide | sort -u; \
                echo x > /hide/x; echo evil > /proc/sys/kernel/hostname; hostname";
    for (what, content) in
        [("a file", None), ("a link", Some("/proc/sys/kernel/hostname")), ("a link", Some("nowhere"))]
    {
        let b = Bundle::sh(show).directory("/hide").file("/real/secret", SECRET).symlink("/link", "real");
        fs::create_dir(b.io().join("dev")).unwrap();
        match content {
            None => fs::write(b.io().join("dev/null"), "not a device").unwrap(),
            Some(target) => symlink(target, b.io().join("dev/null")).unwrap(),
        }
        let dev = b.io().join("dev").to_str().unwrap().to_owned();
        let b = b.without_mount("/dev/pts").without_mount("/dev").mount("/dev", "bind", &dev, &["bind"]);
        let masked =
            ["/proc/version", "/proc/sys/kernel/hostname", "/hide", "/link/secret", "/proc/irq", "/no/such"];
        let out = b.set("/linux/maskedPaths", json!(masked)).run();
        assert_eq!(out.stdout.matches("hidden 1:3 character special file").count(), 2, "{what}: {out}");
        assert!(!out.stdout.contains(SECRET) && out.stdout.contains("orlop-test"), "{what}: {out}");
        assert!(out.stderr.contains("/hide/x: Read-only file system"), "{what}: {out}");
    }
}

#[test]
fn the_hosts_mount_table_does_not_change() {
    requires!(Need::Root);
    for options in [&[][..], &["--no-pivot"]] {
        for propagation in ["rprivate", "rslave", "rshared", "shared"] {
            let script = "cat /proc/self/mountinfo > $BASE/io/before\n\
                          \"$@\" || echo failed >> $BASE/io/after\n\
                          cat /proc/self/mountinfo >> $BASE/io/after; exit 0";
            let b =
                Bundle::new().shared_mounts().prelude(script).set("/linux/rootfsPropagation", propagation);
            let source = b.io().to_str().unwrap().to_owned();
            let b = b.mount("/mnt/a", "bind", &source, &["rbind", "rshared"]).mount(
                "/mnt/b",
                "tmpfs",
                "tmpfs",
                &["shared"],
            );
            let b = b.hook("createContainer", "true").set("/linux/maskedPaths", json!(["/proc/version"]));
            b.run_with(options);
            let text = |name: &str| fs::read_to_string(b.io().join(name)).unwrap();
            assert_eq!(text("before"), text("after"), "{options:?} {propagation}");
        }
    }
}
