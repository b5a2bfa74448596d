//! `mounts add` and `mounts remove`: what a container that runs sees of them.

use crate::faults::occurrences;
use crate::harness::{Bundle, Need, Output, requires};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

fn change(b: &Bundle, verb: &str, mounts: &Value) -> Output {
    let file = b.io().join("mounts.json");
    fs::write(&file, mounts.to_string()).unwrap();
    b.cmd(&["mounts", verb, &b.id, file.to_str().unwrap()])
}

/// What init has mounted.
fn mountinfo(b: &Bundle) -> String {
    fs::read_to_string(format!("/proc/{}/mountinfo", b.pid())).unwrap()
}

fn shell(b: &Bundle, script: &str) -> Output {
    b.exec(&["/bin/sh", "-c", script])
}

fn bind(b: &Bundle, to: &str, options: &[&str]) -> Value {
    let source = b.io().join("source");
    if !source.exists() {
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "of the host\n").unwrap();
    }
    json!({"destination": to, "type": "bind", "source": source, "options": options})
}

#[test]
fn mounts_come_and_go() {
    let b = Bundle::idle().up();
    let before = mountinfo(&b);
    let added = json!([
        bind(&b, "/new/dir", &["rbind", "ro", "nosuid"]),
        {"destination": "/new/dir", "type": "tmpfs", "source": "t", "options": ["size=64k", "mode=0700", "noexec"]},
        {"destination": "/etc/one", "type": "none", "source": b.io().join("source/file"), "options": ["bind"]},
    ]);
    change(&b, "add", &added).ok();
    let out = shell(&b, "cat /proc/self/mountinfo; stat -c %a /new/dir; cat /etc/one; echo x >> /etc/one; echo y > /new/dir/y").ok();
    let top = out.mount_at("/new/dir");
    assert!(top.fs_type == "tmpfs" && top.has("noexec") && top.fs_has("size=64k"), "{top:?}");
    assert!(out.lines().ends_with(&["700", "of the host"]), "{out}");
    assert_eq!(fs::read_to_string(b.io().join("source/file")).unwrap(), "of the host\nx\n");
    // The upper one goes first, whose destination it shares; only the destination is read.
    change(&b, "remove", &json!({"mounts": [{"destination": "/new/dir"}]})).ok();
    let out = shell(&b, "cat /proc/self/mountinfo; cat /new/dir/file; echo z > /new/dir/z");
    let below = out.mount_at("/new/dir");
    assert!(below.has("ro") && below.has("nosuid"), "{below:?}");
    assert!(out.lines().ends_with(&["of the host", "x"]), "{out}");
    change(&b, "remove", &json!([{"destination": "/etc//one"}, {"destination": "/new/dir/"}])).ok();
    assert_eq!(mountinfo(&b), before);
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn they_are_on_record() {
    let b = Bundle::idle().up();
    let recorded = || -> Vec<String> {
        let path = b.state_root().join(&b.id).join("config.json");
        let config: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mounts = config["mounts"].as_array().unwrap().iter();
        mounts.map(|mount| mount["destination"].as_str().unwrap().to_owned()).collect()
    };
    let before = recorded();
    change(&b, "add", &json!([bind(&b, "/added", &["bind"])])).ok();
    assert_eq!(recorded(), [&before[..], &["/added".to_owned()]].concat());
    change(&b, "add", &json!([{"destination": "/bad", "type": "tmpfs", "options": ["wibble"]}]))
        .fails(1, &["mounts[0]", "wibble"]);
    assert_eq!(recorded().len(), before.len() + 1);
    change(&b, "remove", &json!([{"destination": "/added"}])).ok();
    assert_eq!(recorded(), before);
    // What config.json has mounted may go too.
    change(&b, "remove", &json!([{"destination": "/dev/pts"}])).ok();
    assert!(!mountinfo(&b).contains(" /dev/pts "));
}

#[test]
fn a_user_namespace_has_its_mounts_changed() {
    requires!(Need::UserNamespace);
    let b = Bundle::idle().user_namespace().directory("/m").directory("/t").directory("/x").up();
    let mut mapped = bind(&b, "/m", &["bind", "idmap"]);
    let plain = bind(&b, "/x", &["rbind"]);
    mapped["source"] = json!(b.io().join("source"));
    let added = json!([
        mapped,
        plain,
        {"destination": "/t", "type": "tmpfs", "source": "t"},
        {"destination": "/t/made", "type": "tmpfs", "source": "t", "options": ["mode=711"]},
    ]);
    change(&b, "add", &added).ok();
    let script = "stat -c '%n %u:%g %a' /m/file /x/file /t/made; touch /m/new; cat /proc/self/mountinfo";
    let out = shell(&b, script).ok();
    assert_eq!(out.lines()[..3], ["/m/file 0:0 644", "/x/file 65534:65534 644", "/t/made 0:0 711"], "{out}");
    assert!(out.mount_at("/m").has("idmapped"), "{out}");
    assert_eq!(fs::metadata(b.io().join("source/new")).unwrap().uid(), 0);
    let all = json!([{"destination": "/t"}, {"destination": "/t/made"}, {"destination": "/m"}, {"destination": "/x"}]);
    change(&b, "remove", &all).ok();
    let left = mountinfo(&b);
    assert!([" /m ", " /t ", " /t/made ", " /x "].iter().all(|point| !left.contains(point)), "{left}");
}

#[test]
fn a_user_without_privileges_changes_mounts() {
    requires!(Need::UserNamespace, Need::Program("setpriv"));
    let b = Bundle::idle();
    let added =
        json!([bind(&b, "/added", &["rbind", "ro"]), {"destination": "/t", "type": "tmpfs", "source": "t"}]);
    let file = b.io().join("mounts.json");
    fs::write(&file, added.to_string()).unwrap();
    let b = b.unprivileged().up();
    let file = file.to_str().unwrap();
    b.cmd(&["mounts", "add", &b.id, file]).ok();
    let out = shell(&b, "cat /proc/self/mountinfo /added/file; stat -c %u /t").ok();
    assert!(out.mount_at("/added").has("ro"), "{out}");
    assert!(out.lines().ends_with(&["of the host", "0"]), "{out}");
    b.cmd(&["mounts", "remove", &b.id, file]).ok();
    let left = mountinfo(&b);
    assert!(!left.contains(" /added ") && !left.contains(" /t "), "{left}");
}

#[test]
fn a_created_and_a_paused_container_take_mounts() {
    let b = Bundle::sh("cat /added/file");
    b.create().ok();
    change(&b, "add", &json!([bind(&b, "/added", &["bind"])])).ok();
    assert!(mountinfo(&b).contains(" /added "));
    b.start().ok();

    requires!(Need::CgroupV2);
    let b = Bundle::idle().up();
    b.cmd(&["pause", &b.id]).ok();
    change(&b, "add", &json!([bind(&b, "/added", &["bind"])])).ok();
    assert!(mountinfo(&b).contains(" /added "));
    b.cmd(&["resume", &b.id]).ok();
}

#[test]
fn a_failure_leaves_nothing() {
    requires!(Need::Program("nsenter"));
    let b = Bundle::idle().file("/etc/file", "x").up();
    let (before, config) = (mountinfo(&b), b.state_root().join(&b.id).join("config.json"));
    let record = fs::read(&config).unwrap();
    let good = || bind(&b, "/good", &["rbind"]);
    let tmpfs = |to: &str| json!({"destination": to, "type": "tmpfs", "source": "t"});
    let file = b.io().join("source/file");
    for (second, texts) in [
        (
            json!({"destination": "/a", "source": "/nonexistent", "options": ["bind"]}),
            &["mounts[1].source", "ENOENT"][..],
        ),
        (json!({"destination": "/a", "type": "tmpfs", "options": ["wibble"]}), &["mounts[1]", "wibble"]),
        // Found only when the first one is in place.
        (
            json!({"destination": "/good", "source": file, "options": ["bind"]}),
            &["mounts[1].destination", "not a directory"],
        ),
        (tmpfs("/etc/file"), &["mounts[1].destination", "not a directory"]),
        (json!({"destination": "/p", "type": "proc"}), &["mounts[1]", "processes of the host"]),
        (json!({"destination": "/c", "type": "cgroup"}), &["mounts[1]", "cgroup"]),
        (json!({"destination": "/etc", "options": ["remount", "ro"]}), &["mounts[1]", "remount"]),
        (tmpfs("/proc/sys"), &["mounts[1].destination", "inside /proc"]),
        (tmpfs("/"), &["mounts[1].destination", "root itself"]),
        (json!({"type": "tmpfs"}), &["[1]", "destination"]),
    ] {
        change(&b, "add", &json!([good(), second])).fails(1, texts);
        assert_eq!(mountinfo(&b), before, "{second}");
        assert_eq!(fs::read(&config).unwrap(), record, "{second}");
    }
    assert!(!b.rootfs().join("good").exists());
    // What was there stays, full or empty, and a link that led nowhere does so again.
    let mut one = bind(&b, "/full/new/file", &["bind"]);
    one["source"] = json!(file);
    shell(&b, "mkdir /full /empty; touch /full/own /nothing; ln -s /led /link").ok();
    let added = [
        one,
        bind(&b, "/empty", &["bind"]),
        tmpfs("/link/deep"),
        tmpfs("/empty/in/source"),
        tmpfs("/nothing"),
    ];
    change(&b, "add", &json!(added)).fails(1, &["mounts[4].destination", "not a directory"]);
    assert_eq!(
        shell(&b, "cd /; ls -d full/* empty nothing; readlink link; [ ! -e led ]").ok().stdout,
        "empty\nfull/own\nnothing\n/led\n"
    );
    assert!(!b.io().join("source/in").exists());
    change(&b, "remove", &json!([{"destination": "/dev/pts"}, {"destination": "/nowhere"}]))
        .fails(1, &["mounts[1].destination", "/nowhere", "no mount of this container"]);
    change(&b, "add", &json!({"mount": []})).fails(1, &["mounts.json", "missing field `mounts`"]);
    change(&b, "add", &json!(7)).fails(1, &["mounts.json"]);
    assert_eq!(mountinfo(&b), before);
    // Gone in the meantime: nothing of the two is taken away.
    change(&b, "add", &json!([good(), tmpfs("/t")])).ok();
    let both = mountinfo(&b);
    nix_umount(&b, "/t");
    change(&b, "remove", &json!([{"destination": "/good"}, {"destination": "/t"}]))
        .fails(1, &["mounts[1].destination", "nothing is mounted there"]);
    assert!(mountinfo(&b).contains(" /good ") && both.contains(" /t "));
}

/// An `add` that is killed at any of its calls is undone by the next change.
#[test]
fn a_killed_add_is_taken_back() {
    requires!(Need::Program("strace"));
    let b = Bundle::idle().up();
    let (before, config) = (mountinfo(&b), b.state_root().join(&b.id).join("config.json"));
    let record: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    let file = b.io().join("added.json");
    let added = json!([
        {"destination": "/new/t", "type": "tmpfs", "source": "t"},
        bind(&b, "/new/t/b", &["rbind"]),
        // Over one that is there.
        {"destination": "/dev/pts", "type": "tmpfs", "source": "t"},
    ]);
    fs::write(&file, added.to_string()).unwrap();
    let log = b.io().join("strace");
    let add = |inject: &[String]| {
        let inner = b.command(&["mounts", "add", &b.id, file.to_str().unwrap()]);
        let mut strace = std::process::Command::new("strace");
        strace.arg("-o").arg(&log).args(inject).arg(inner.get_program()).args(inner.get_args());
        b.spawn_command(strace).wait()
    };
    add(&[]).ok();
    change(&b, "remove", &added).ok();
    let calls = fs::read_to_string(&log).unwrap();
    let mut seen = BTreeMap::new();
    let calls: Vec<(&str, u32)> = calls
        .lines()
        .filter_map(|line| {
            let (name, _) = line.split_once('(')?;
            let count = seen.entry(name).or_insert(0);
            *count += 1;
            Some((name, *count))
        })
        .collect();
    // From the first note of what is to come on, which is a file that takes the place of another.
    let from = calls.iter().position(|(name, _)| *name == "renameat").unwrap();
    let mut left = 0;
    for (name, count) in calls[from..].iter().filter(|(name, _)| *name != "exit_group") {
        let out = add(&["-e".into(), format!("inject={name}:signal=KILL:when={count}")]);
        // What it waits for may come sooner than before, and so with fewer calls: then it is done.
        let made = occurrences(&fs::read_to_string(&log).unwrap(), name);
        assert!(!out.status.success() || made < *count, "{name} {count}");
        left += u32::from(mountinfo(&b) != before);
        let recorded: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        let given = if recorded["mounts"] == record["mounts"] { json!([]) } else { added.clone() };
        change(&b, "remove", &given).ok();
        let after = mountinfo(&b);
        if after != before {
            // The one that lies on another is not told from that.
            assert_eq!(after.lines().count(), before.lines().count() + 1, "{name} {count}: {after}");
            nix_umount(&b, "/dev/pts");
            assert_eq!(mountinfo(&b), before, "{name} {count}");
        }
        let recorded: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        assert_eq!(recorded["mounts"], record["mounts"], "{name} {count}");
    }
    assert!(left > 5, "{left}");
}

/// The mounts are there, but nobody could be told.
#[test]
fn an_add_that_can_not_be_heard_of_is_taken_back() {
    requires!(Need::Program("strace"));
    let b = Bundle::idle().up();
    let before = mountinfo(&b);
    let file = b.io().join("added.json");
    fs::write(&file, json!([bind(&b, "/added", &["bind"])]).to_string()).unwrap();
    for call in ["recvmsg", "sendmsg"] {
        let inner = b.command(&["mounts", "add", &b.id, file.to_str().unwrap()]);
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", &format!("inject={call}:error=ENOMEM:when=1")]);
        strace.arg(inner.get_program()).args(inner.get_args());
        b.spawn_command(strace).wait().fails(1, &["mounts add"]).one_line();
        assert_eq!(mountinfo(&b), before, "{call}");
    }
    change(&b, "remove", &json!([{"destination": "/added"}])).fails(1, &["no mount of this container"]);
}

/// Unmounts something behind the runtime's back.
fn nix_umount(b: &Bundle, path: &str) {
    let status = std::process::Command::new("nsenter")
        .args(["-t", &b.pid().to_string(), "-m", "umount", path])
        .status();
    assert!(status.unwrap().success());
}

/// A link that the container has made leads to nowhere but the container.
#[test]
fn destinations_stay_inside_the_root() {
    let b = Bundle::idle().up();
    let outside = b.io().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    shell(
        &b,
        &format!("ln -s {target} /out; ln -s ../../../../../../../../../../{target} /climb; ln -s / /slash"),
    )
    .ok();
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for to in ["/out/sub", "/climb/sub", "/slash/../sub"] {
        change(&b, "add", &json!([bind(&b, to, &["bind"])])).ok();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{to}");
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), host, "{to}");
        let file = format!("cat {to}/file");
        assert_eq!(shell(&b, &file).ok().stdout, "of the host\n", "{to}");
    }
    // Removal follows links no further: what lies there is no mount of the host.
    shell(&b, "rm /out; ln -s /proc /out").ok();
    change(&b, "remove", &json!([{"destination": "/out/sub"}])).fails(1, &["mounts[0].destination"]);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), host);
}

/// The container can lead the destination of a mount of its own to another one by a link, but has no right to unmount that.
#[test]
fn removal_takes_away_nothing_else_that_confines_the_container() {
    requires!(Need::File("/proc/keys"));
    let b = Bundle::idle().set("/linux/maskedPaths", json!(["/proc/keys"]));
    let b = b.set("/linux/readonlyPaths", json!(["/proc/sys"])).up();
    let before = mountinfo(&b);
    for (to, source) in [("/data/keys", "source/file"), ("/data/sys", "source"), ("/run/new/proc", "source")]
    {
        let mut mount = bind(&b, to, &["rbind"]);
        mount["source"] = json!(b.io().join(source));
        change(&b, "add", &json!([mount])).ok();
    }
    shell(&b, "mv /data /moved && ln -s /proc /data && mv /run/new /run/old && ln -s / /run/new").ok();
    let added = mountinfo(&b);
    for to in ["/data/keys", "/data/sys", "/run/new/proc"] {
        let out = change(&b, "remove", &json!([{"destination": to}]));
        out.fails(1, &["mounts[0].destination", "leads to another mount"]).one_line();
        assert_eq!(mountinfo(&b), added);
    }
    // A link to what was mounted itself is none of those.
    shell(&b, "rm /data /run/new && ln -s /moved /data && ln -s old /run/new").ok();
    change(&b, "remove", &json!([{"destination": "/data/keys"}, {"destination": "/data/sys"}])).ok();
    change(&b, "remove", &json!([{"destination": "/run/new/proc"}])).ok();
    assert_eq!(mountinfo(&b), before);
}

#[test]
fn a_container_that_has_stopped_is_refused() {
    let b = Bundle::new();
    b.create().ok();
    b.start().ok();
    crate::harness::wait_until("stopped", || b.status() == "stopped");
    change(&b, "add", &json!([bind(&b, "/added", &["bind"])])).fails(1, &["the container is stopped"]);
    change(&b, "remove", &json!([{"destination": "/dev"}])).fails(1, &["the container is stopped"]);
    let none = Bundle::new();
    change(&none, "add", &json!([])).fails(1, &["does not exist"]);
}
