//! The life of a container: create, start, kill, delete, pause and resume, and what `state` says of it.

use crate::harness::{Bundle, ConsoleSocket, wait_readable, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

#[test]
fn from_created_to_gone() {
    let b = Bundle::sh("echo ran > /tmp/ran; read forever < /dev/zero; sleep 300");
    b.create().ok();
    let state = b.state();
    assert_eq!(state["status"], "created");
    let pid = b.pid();
    assert!(fs::metadata(format!("/proc/{pid}")).is_ok());
    assert!(!b.rootfs().join("tmp/ran").exists(), "nothing runs before start");
    assert_eq!(b.start().ok().stdout, "");
    wait_until("the process runs", || b.rootfs().join("tmp/ran").exists());
    assert_eq!(b.status(), "running");
    assert_eq!(b.pid(), pid, "the process takes the place of init");
    b.kill("KILL").ok();
    wait_until("it is stopped", || b.status() == "stopped");
    assert_eq!(b.pid(), 0);
    b.delete().ok();
    b.cmd(&["state", &b.id]).fails(1, &["container does not exist"]).one_line();
    b.assert_nothing_left();
}

#[test]
fn the_state_has_exactly_these_keys() {
    let b = Bundle::idle().set("/annotations", json!({"a.key": "a value"})).set("/root/path", "./rootfs");
    let before = now();
    let b = b.up();
    let out = b.cmd(&["state", &b.id]).ok();
    let state = b.state();
    let mut keys: Vec<&str> = state.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["annotations", "bundle", "created", "id", "ociVersion", "owner", "pid", "rootfs", "status"]
    );
    assert_eq!(state["id"], b.id.as_str());
    assert_eq!(state["bundle"], b.dir().to_str().unwrap());
    assert_eq!(state["rootfs"], b.rootfs().to_str().unwrap(), "absolute and clean");
    assert_eq!(state["annotations"], json!({"a.key": "a value"}));
    assert_eq!(state["owner"], "");
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
    let created = state["created"].as_str().unwrap();
    // RFC 3339 in UTC sorts by time.
    assert!(created.ends_with('Z') && created > before.as_str(), "{created} after {before}");
    assert!(created.split('.').nth(1).is_some_and(|fraction| fraction.len() > 4), "nanoseconds: {created}");
    // What runc prints: indented by two, in its order, without a newline at the end.
    let order = [
        "\"ociVersion\"",
        "\"id\"",
        "\"pid\"",
        "\"status\"",
        "\"bundle\"",
        "\"rootfs\"",
        "\"created\"",
        "\"annotations\"",
        "\"owner\"",
    ];
    let places: Vec<usize> =
        order.iter().map(|key| out.stdout.find(&format!("\n  {key}: ")).unwrap()).collect();
    assert!(places.is_sorted(), "{out}");
    assert!(out.stdout.starts_with('{') && out.stdout.ends_with('}'), "{out}");
}

/// The time in the form that `created` has.
fn now() -> String {
    let output = std::process::Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%S"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn no_annotations_no_key() {
    let b = Bundle::idle().up();
    assert_eq!(b.state().get("annotations"), None);
}

#[test]
fn a_process_that_ends_leaves_the_container_stopped() {
    let b = Bundle::sh("exit 3");
    b.create().ok();
    b.start().ok();
    wait_until("it is stopped", || b.status() == "stopped");
    b.start().fails(1, &["cannot start a container that has stopped"]).one_line();
    b.delete().ok();
    b.assert_nothing_left();
}

/// Whoever comes while it is being created waits for that.
#[test]
fn a_start_that_comes_too_early_waits() {
    let b = Bundle::idle();
    let io = b.io();
    let hook = format!("touch {0}/begun; until [ -e {0}/go ]; do sleep 0.01; done", io.display());
    let b = b.hook("createRuntime", &hook);
    b.write_config();
    let create = b.spawn(&b.with_bundle("create", &[]));
    wait_until("it is being created", || io.join("begun").exists());
    let start = b.spawn(&["start", &b.id]);
    let (opened, dir) = (format!("/proc/{}/fd", start.pid()), b.state_root().join(&b.id));
    wait_until("start has looked for it", || {
        let entries = fs::read_dir(&opened).into_iter().flatten().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| path == dir)
    });
    fs::write(io.join("go"), "").unwrap();
    create.wait().ok();
    start.wait().ok();
    assert_eq!(b.status(), "running");
}

/// `process` "is REQUIRED when start is called" (config.md), and start "MUST generate an error if process was not set" (runtime.md).
#[test]
fn without_a_process_it_is_created_but_not_started() {
    let b = Bundle::idle().remove("/process");
    b.create().ok();
    assert_eq!(b.status(), "created");
    assert_eq!(b.exec_with(&["--cwd", "/"], &["/bin/echo", "inside"]).ok().stdout, "inside\n");
    b.start().fails(1, &["process: missing (it says what to run)"]).one_line();
    assert_eq!(b.status(), "stopped");
    b.delete().ok();
    b.assert_nothing_left();
    b.run().fails(1, &["process: missing (it says what to run)"]).one_line();
    b.assert_nothing_left();
    let b = Bundle::idle().set("/process/args", serde_json::json!([]));
    b.create().fails(1, &["process.args: missing"]).one_line();
}

#[test]
fn it_is_started_once() {
    let b = Bundle::idle().up();
    b.start().fails(1, &["cannot start an already running container"]).one_line();
    assert_eq!(b.status(), "running");
}

#[test]
fn an_id_is_taken_once() {
    let b = Bundle::idle().up();
    let pid = b.pid();
    b.create().fails(1, &["container with given ID already exists"]).one_line();
    b.run().fails(1, &["container with given ID already exists"]).one_line();
    assert_eq!((b.status().as_str(), b.pid()), ("running", pid), "the first one is not disturbed");
    b.delete_force().ok();
    b.create().ok();
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn commands_on_an_unknown_id_say_so() {
    let b = Bundle::new();
    for args in [
        ["state", "nope"],
        ["start", "nope"],
        ["kill", "nope"],
        ["delete", "nope"],
        ["pause", "nope"],
        ["resume", "nope"],
        ["ps", "nope"],
    ] {
        b.cmd(&args).fails(1, &["container does not exist"]).one_line();
    }
    b.cmd(&["delete", "--force", "nope"]).ok();
    b.cmd(&["delete", "-f", "nope"]).ok();
    b.assert_nothing_left();
}

#[test]
fn a_signal_is_a_name_or_a_number() {
    let names = [("TERM", "TERM"), ("SIGHUP", "HUP"), ("10", "USR1"), ("usr2", "USR2"), ("SigInt", "INT")];
    let traps: Vec<String> = names.iter().map(|(_, name)| format!("trap 'echo got {name}' {name}")).collect();
    let b =
        Bundle::sh(&format!("{}; echo ready; while :; do sleep 1 & wait $!; done", traps.join("; "))).up();
    for (given, name) in names {
        assert_eq!(b.kill(given).ok().stdout, "");
        wait_until(name, || b.logs(0).contains(&format!("got {name}")));
    }
    b.kill("NOSUCH").fails(1, &["unknown signal \"NOSUCH\""]).one_line();
    b.kill("0").ok();
    b.kill("37").ok();
}

#[test]
fn sigterm_is_the_default() {
    let b = Bundle::idle().up();
    b.cmd(&["kill", &b.id]).ok();
    wait_until("it is stopped", || b.status() == "stopped");
}

#[test]
fn a_stopped_container_cannot_be_killed() {
    let b = Bundle::sh("exit 0");
    b.create().ok();
    b.start().ok();
    wait_until("it is stopped", || b.status() == "stopped");
    b.kill("TERM").fails(1, &["container not running"]).one_line();
    b.kill("KILL").fails(1, &["container not running"]).one_line();
    // To kill whatever is left of it is no error.
    b.cmd(&["kill", "--all", &b.id, "KILL"]).ok();
    b.cmd(&["kill", &b.id, "9", "-a"]).ok();
}

// runc has --all only so that the kill of a stopped container is no error.
#[test]
fn kill_all_reaches_every_process() {
    let script = "sh -c 'trap \"echo child; exit\" USR1; echo child-ready; while :; do sleep 1 & wait $!; done' & \
                  trap 'echo first' USR1; echo ready; while :; do sleep 1 & wait $!; done";
    // Without a pid namespace too: then the cgroup tells who belongs to the container.
    for b in [Bundle::sh(script), Bundle::sh(script).without_namespace("pid")] {
        let b = b.up();
        wait_until("the child is ready", || b.logs(0).contains("child-ready"));
        b.cmd(&["kill", "--all", &b.id, "USR1"]).ok();
        wait_until("both get it", || b.logs(0).contains("first") && b.logs(0).contains("child\n"));
    }
}

#[test]
fn a_created_container_can_be_killed_and_deleted() {
    let b = Bundle::idle();
    b.create().ok();
    b.kill("KILL").ok();
    wait_until("it is stopped", || b.status() == "stopped");
    b.delete().ok();
    b.assert_nothing_left();

    let b = Bundle::idle();
    b.create().ok();
    // As runc: what has never run is not worth a question.
    b.delete().ok();
    b.assert_nothing_left();
}

#[test]
fn a_container_that_was_just_killed_is_deleted() {
    // With every one of its processes to be taken apart, the end takes longer than another command does.
    let script = "i=0; while [ $i -lt 600 ]; do sleep 300 & i=$((i + 1)); done; echo ready; wait";
    let b = Bundle::sh(script).up();
    wait_until("it is ready", || b.logs(0).contains("ready"));
    b.kill("KILL").ok();
    b.delete().ok();
    b.assert_nothing_left();
}

#[test]
fn a_running_container_is_deleted_only_by_force() {
    let b = Bundle::idle().up();
    let text = format!("cannot delete container {} that is not stopped: running", b.id);
    b.delete().fails(1, &[&text]).one_line();
    assert_eq!(b.status(), "running");
    b.delete_force().ok();
    b.cmd(&["state", &b.id]).fails(1, &["container does not exist"]);
    b.assert_nothing_left();
}

#[test]
fn all_processes_end_with_a_container_that_shares_the_hosts_pid_namespace() {
    let b = Bundle::sh("sh -c 'trap : TERM; echo ready; sleep 300 & wait; sleep 300' & wait")
        .without_namespace("pid")
        .up();
    b.delete_force().ok();
    b.assert_nothing_left();

    let b = Bundle::sh("sleep 300 & echo ready").without_namespace("pid").up();
    wait_until("it is stopped", || b.status() == "stopped");
    b.delete().ok();
    b.assert_nothing_left();
}

#[test]
fn paused_and_resumed() {
    let b =
        Bundle::sh("echo ready; n=0; while :; do n=$((n+1)); echo $n > /tmp/count; sleep 0.01; done").up();
    let count = || fs::read_to_string(b.rootfs().join("tmp/count")).unwrap_or_default();
    b.cmd(&["resume", &b.id]).fails(1, &["container not paused"]).one_line();
    b.cmd(&["pause", &b.id]).ok();
    assert_eq!(b.status(), "paused");
    let frozen = count();
    b.exec(&["true"]).fails(255, &["paused container (use --ignore-paused to override)"]).one_line();
    b.delete().fails(1, &["paused"]);
    assert_eq!(count(), frozen, "nothing has run meanwhile");
    b.cmd(&["resume", &b.id]).ok();
    assert_eq!(b.status(), "running");
    wait_until("it counts on", || count() != frozen && !count().is_empty());
}

#[test]
fn an_exec_that_ignores_the_pause_goes_on_after_it() {
    let b = Bundle::idle().up();
    b.cmd(&["pause", &b.id]).ok();
    let run = b.spawn(&["exec", "--ignore-paused", &b.id, "echo", "thawed"]);
    b.cmd(&["resume", &b.id]).ok();
    assert_eq!(run.wait().ok().stdout, "thawed\n");
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    let b = Bundle::idle().up();
    b.cmd(&["pause", &b.id]).ok();
    b.delete_force().ok();
    b.assert_nothing_left();

    let b = Bundle::idle().up();
    b.cmd(&["pause", &b.id]).ok();
    b.kill("KILL").ok();
    wait_until("it is stopped", || b.status() == "stopped");
    b.delete().ok();
    b.assert_nothing_left();
}

#[test]
fn only_what_runs_is_paused() {
    let b = Bundle::sh("exit 0");
    b.create().ok();
    b.start().ok();
    wait_until("it is stopped", || b.status() == "stopped");
    b.cmd(&["pause", &b.id]).fails(1, &["container not running"]).one_line();
    b.cmd(&["resume", &b.id]).fails(1, &["container not paused"]).one_line();
    b.exec(&["true"]).fails(255, &["cannot exec in a stopped container"]).one_line();
}

#[test]
fn the_pid_file_holds_the_pid_and_nothing_else() {
    let b = Bundle::idle();
    let path = b.io().join("pid");
    // It is replaced by a rename: whoever reads the old one is not disturbed.
    fs::write(&path, "old").unwrap();
    let old = fs::metadata(&path).unwrap().ino();
    b.create_with(&["--pid-file", path.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), b.pid().to_string());
    assert_ne!(fs::metadata(&path).unwrap().ino(), old);
    assert_eq!(
        fs::read_dir(b.io())
            .unwrap()
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().contains("pid"))
            .count(),
        1
    );
}

#[test]
fn a_pidfd_is_sent_to_who_asks_for_it() {
    let pid_of = |pidfd: &OwnedFd| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned()
    };
    let b = Bundle::idle();
    let socket = ConsoleSocket::bind(&b);
    b.create_with(&["--pidfd-socket", socket.arg()]).ok();
    let pidfd = socket.receive_descriptor();
    assert_eq!(pid_of(&pidfd), b.pid().to_string());
    b.kill("KILL").ok();
    wait_readable(&pidfd);

    let b = Bundle::idle();
    let socket = ConsoleSocket::bind(&b);
    b.run_with(&["--detach", "--pidfd-socket", socket.arg()]).ok();
    assert_eq!(pid_of(&socket.receive_descriptor()), b.pid().to_string());

    let pid_file = b.io().join("pid");
    let socket = ConsoleSocket::bind(&b);
    let options = ["--detach", "--pid-file", pid_file.to_str().unwrap(), "--pidfd-socket", socket.arg()];
    b.exec_with(&options, &["sleep", "300"]).ok();
    let pidfd = socket.receive_descriptor();
    assert_eq!(pid_of(&pidfd), fs::read_to_string(pid_file).unwrap());
    b.kill("KILL").ok();
    wait_readable(&pidfd);
}

#[test]
fn the_bundle_is_the_current_directory_by_default() {
    let b = Bundle::idle();
    b.write_config();
    let mut command = b.command(&["create", &b.id]);
    command.current_dir(b.dir());
    b.spawn_command(command).wait().ok();
    assert_eq!(b.state()["bundle"], b.dir().to_str().unwrap());
}

#[test]
fn the_state_is_for_root_alone() {
    let b = Bundle::idle().up();
    let mut dirs = vec![b.state_root()];
    while let Some(dir) = dirs.pop() {
        let mode = fs::symlink_metadata(&dir).unwrap().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", dir.display());
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                dirs.push(entry.path());
            }
            // Nobody could write to a socket without the right to it, even if the directories were open.
            assert_eq!(
                metadata.mode() & 0o022,
                0,
                "{} has mode {:o}",
                entry.path().display(),
                metadata.mode()
            );
        }
    }
}

// runc reads it again for exec.
#[test]
fn a_container_survives_a_change_of_its_config() {
    let b = Bundle::idle().up();
    fs::write(b.dir().join("config.json"), "{").unwrap();
    assert_eq!(b.status(), "running");
    assert_eq!(b.exec(&["echo", "fine"]).ok().stdout, "fine\n");
    b.delete_force().ok();
}

#[test]
fn two_containers_do_not_mix() {
    let (a, b) = (Bundle::idle().up(), Bundle::idle().up());
    a.delete_force().ok();
    assert_eq!(b.status(), "running");
    let state: Value = b.state();
    assert_eq!(state["id"], b.id.as_str());
}

// A state root on disk outlives a boot. What has the same names then is another container's.
#[test]
fn nothing_of_another_boot_is_touched() {
    let b = Bundle::idle().up();
    let file = b.state_root().join(&b.id).join("state.json");
    let (record, config) = (fs::read(&file).unwrap(), fs::read(file.with_file_name("config.json")).unwrap());
    let mut before: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let pid = before["init"]["pid"].as_i64().unwrap();
    before["boot_id"] = "of-another-boot".into();
    fs::write(&file, before.to_string()).unwrap();
    assert_eq!(b.status(), "stopped");
    assert_eq!(b.cmd(&["ps", "-f", "json", &b.id]).ok().stdout, "null\n");
    b.cmd(&["kill", "--all", &b.id, "KILL"]).ok();
    b.delete().ok();
    assert!(!file.parent().unwrap().exists());
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(!status.contains(") Z "), "{status}");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, record).unwrap();
    fs::write(file.with_file_name("config.json"), config).unwrap();
    b.exec(&["true"]).ok();
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn what_has_outlived_its_init_can_be_killed() {
    let b = Bundle::idle().without_namespace("pid").up();
    let pid_file = b.io().join("pid");
    b.exec_with(&["--detach", "--pid-file", pid_file.to_str().unwrap()], &["sleep", "300"]).ok();
    let other: i32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
    b.kill("TERM").ok();
    wait_until("it is stopped", || b.status() == "stopped");
    let alive = || fs::read_to_string(format!("/proc/{other}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    b.kill("TERM").fails(1, &["container not running"]);
    assert!(alive());
    b.kill("KILL").ok();
    wait_until("the other process is gone", || !alive());
    wait_until("nobody is left to kill", || b.kill("KILL").stderr.contains("container not running"));
    b.delete().ok();
    b.assert_nothing_left();
}

#[test]
fn a_created_container_ends_on_sigterm() {
    for b in [Bundle::idle(), Bundle::idle().without_namespace("pid")] {
        b.create().ok();
        b.kill("TERM").ok();
        wait_until("it is stopped", || b.status() == "stopped");
        b.start().fails(1, &["cannot start a container that has stopped"]);
        b.delete().ok();
        b.assert_nothing_left();
    }
    // The program has the default again, which for the first process of a PID namespace is to go on.
    let b = Bundle::sh("grep SigCgt /proc/self/status; echo ready; exec sleep 300").up();
    assert!(b.logs(0).contains("SigCgt:\t0000000000000000\n"), "{}", b.logs(0));
    b.kill("TERM").ok();
    assert_eq!(b.status(), "running");
}
