//! Commands at the wrong moment, with bad arguments, at the same time, or killed: an error of one line at
//! most, and nothing left after one `delete --force`.

use crate::bad_input::Trial;
use crate::harness::*;
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn ids() {
    requires!(Need::Root);
    let trial = Trial::new(Bundle::new());
    trial.bundle().write_config();
    let dir = trial.bundle().dir().to_str().unwrap().to_owned();
    let long = "a".repeat(1025);
    for id in [
        "",
        ".",
        "..",
        "/",
        "a/b",
        "../a",
        "/a",
        "a/",
        "a b",
        "a\tb",
        "a\nb",
        "a:b",
        "a*",
        "a\\b",
        "a'b",
        "\u{e4}",
        "a\u{200b}",
        "a%00",
        "a@b",
        "$(id)",
        long.as_str(),
    ] {
        trial.refuses_command(&["create", "--bundle", &dir, id], 1, &["invalid container id"]);
        for command in ["start", "state", "kill", "delete", "pause", "resume", "ps"] {
            trial.refuses_command(&[command, id], 1, &["invalid container id"]);
        }
        trial.refuses_command(&["delete", "--force", id], 1, &["invalid container id"]);
        trial.refuses_command(&["exec", id, "true"], 255, &["invalid container id"]);
    }
    let slash = "invalid container id \"a/b\": invalid character `/` in the ID";
    trial.refuses_command(&["state", "a/b"], 1, &[slash]);
    let b = trial.bundle();
    assert!(!b.state_root().exists() || fs::read_dir(b.state_root()).unwrap().next().is_none());
    b.assert_nothing_left();
    // File names can have 255 bytes; an id that is longer than that and not too long is refused as well.
    for length in [256, 1024] {
        trial.refuses_command(&["create", "--bundle", &dir, &"a".repeat(length)], 1, &["ENAMETOOLONG"]);
    }
    b.assert_nothing_left();
}

#[test]
fn odd_ids_that_are_allowed() {
    requires!(Need::Root);
    for id in ["...", "a.b", "_", "+a", "A-1_2.3+4", "0", "a..b", &"a".repeat(200)] {
        let mut b = Bundle::new();
        b.id = format!("{id}{}", b.id);
        b.run().ok();
        b.assert_nothing_left();
    }
}

#[test]
fn unknown_commands_and_options() {
    requires!(Need::Root);
    let b = Bundle::new();
    b.cmd(&["frobnicate"]).fails(3, &["unrecognized", "No help topic for 'frobnicate'"]).one_line();
    for args in [
        &["create"][..],
        &["create", "a", "b"],
        &["start"],
        &["start", "--frob", "a"],
        &["kill", "a", "TERM", "x"],
        &["exec"],
        &["create", "--preserve-fds", "many", "a"],
        &["create", "--preserve-fds", "-1", "a"],
        &["--log-format", "xml", "list"],
        &["exec", "--cap"],
    ] {
        let out = b.cmd(args).one_line();
        assert!(out.code() != 0 && out.stderr.starts_with("error: ") && out.stdout.is_empty(), "{out}");
    }
    for root in ["/", "//", "/../"] {
        let out = b.cmd(&["--root", root, "state", "x"]).one_line();
        assert_eq!(out.code(), 1, "{out}");
    }
    b.assert_nothing_left();
}

#[test]
fn options_of_create() {
    requires!(Need::Root);
    let trial = Trial::new(Bundle::new());
    let b = trial.bundle();
    b.write_config();
    let file = b.io().join("file").to_str().unwrap().to_owned();
    fs::write(&file, "").unwrap();
    let refused = |options: &[&str], texts: &[&str]| {
        trial.refuses_command(&b.with_bundle("create", options), 1, texts);
        b.assert_nothing_left();
    };
    refused(&["--pid-file", "/nonexistent/pid"], &["--pid-file", "no such file or directory"]);
    refused(&["--pid-file", "/"], &["--pid-file"]);
    refused(&["--pid-file", b.io().to_str().unwrap()], &["--pid-file"]);
    refused(&["--console-socket", "/nonexistent/socket"], &["console socket"]);
    refused(&["--preserve-fds", "1"], &["preserve-fds", "preserved-fd 0: descriptor 3 is not open"]);
    refused(&["--preserve-fds", "4294967295"], &["preserve-fds"]);
    let mut trial = Trial::new(Bundle::new().set("/process/terminal", true));
    trial.refuses(&[], &["process.terminal"]);
    let create = |socket: &str| trial.bundle().with_bundle("create", &["--console-socket", socket]);
    for (socket, text) in [
        ("/nonexistent/socket", "no such file or directory"),
        (file.as_str(), "--console-socket"),
        ("/", "--console-socket"),
        (&"/x".repeat(200), "--console-socket"),
    ] {
        trial.refuses_command(&create(socket), 1, &[text]);
        trial.bundle().assert_nothing_left();
    }
}

#[test]
fn at_the_wrong_moment() {
    requires!(Need::Root);
    let trial = Trial::new(Bundle::idle());
    let b = trial.bundle();
    let id = b.id.as_str();
    b.create().ok();
    trial.refuses_command(&b.with_bundle("create", &[]), 1, &["container with given ID already exists"]);
    trial.refuses_command(&["resume", id], 1, &["container not paused"]);
    b.start().ok();
    wait_until("it is ready", || b.logs(0).contains("ready"));
    trial.refuses_command(&["start", id], 1, &["cannot start an already running container"]);
    trial.refuses_command(&["delete", id], 1, &["cannot delete container", "that is not stopped: running"]);
    trial.refuses_command(&["resume", id], 1, &["container not paused"]);
    for signal in ["", "NOSUCH", "SIGNOSUCH", "0x9", "65", "-1", "999999999999", "1.5", "9 "] {
        trial.refuses_command(&["kill", "--", id, signal], 1, &["unknown signal"]);
    }
    b.cmd(&["pause", id]).ok();
    trial.refuses_command(&["pause", id], 1, &["container already paused"]);
    trial.refuses_command(&["start", id], 1, &["cannot start a paused container"]);
    trial.refuses_command(&["delete", id], 1, &["that is not stopped: paused"]);
    trial.refuses_command(
        &["exec", id, "true"],
        255,
        &["cannot exec in a paused container (use --ignore-paused to override)"],
    );
    b.cmd(&["resume", id]).ok();
    assert_eq!(b.status(), "running");
    b.kill("TERM").ok();
    wait_until("it is stopped", || b.status() == "stopped");
    trial.refuses_command(&["start", id], 1, &["cannot start a container that has stopped"]);
    trial.refuses_command(&["kill", id, "TERM"], 1, &["container not running"]);
    trial.refuses_command(&["exec", id, "true"], 255, &["cannot exec in a stopped container"]);
    trial.refuses_command(&["pause", id], 1, &["container not running"]);
    trial.refuses_command(&["resume", id], 1, &["container not paused"]);
    b.cmd(&["kill", "--all", id]).ok();
    b.delete().ok();
    for command in ["start", "state", "kill", "delete", "pause", "resume", "ps"] {
        trial.refuses_command(&[command, id], 1, &["container does not exist"]);
    }
    trial.refuses_command(&["exec", id, "true"], 255, &["container does not exist"]);
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn bad_exec() {
    requires!(Need::Root);
    let trial = Trial::new(Bundle::idle());
    let b = trial.bundle();
    b.create().ok();
    b.start().ok();
    let file = b.io().join("process.json");
    let path = file.to_str().unwrap();
    let id = b.id.as_str();
    let good = json!({"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    for (name, value, texts) in [
        ("args", json!([]), &["process.args"][..]),
        ("args", json!("true"), &["args", "line 1 column"]),
        ("args", json!(["/nosuch"]), &["exec: \"/nosuch\": stat /nosuch: no such file or directory"]),
        ("args", json!(["nosuch"]), &["executable file not found in $PATH"]),
        ("args", json!(["/etc"]), &["is a directory"]),
        ("args", json!(["/etc/passwd"]), &["permission denied"]),
        ("cwd", json!("tmp"), &["process.cwd", "absolute"]),
        ("cwd", json!("/nosuch"), &["process.cwd", "no such file or directory"]),
        ("cwd", json!("/etc/passwd"), &["process.cwd", "not a directory"]),
        ("env", json!(["A"]), &["process.env[0]"]),
        ("user", json!({"uid": -1}), &["user.uid", "line 1 column"]),
        ("terminal", json!("yes"), &["terminal", "line 1 column"]),
        ("capabilities", json!({"effective": ["CAP_KILL"]}), &["process.capabilities.effective"]),
        ("rlimits", json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]), &["process.rlimits[0]"]),
        ("oomScoreAdj", json!(2000), &["process.oomScoreAdj"]),
        ("selinuxLabel", json!("a:b"), &["process.selinuxLabel"]),
    ] {
        let mut process = good.clone();
        process[name] = value;
        fs::write(&file, process.to_string()).unwrap();
        trial.refuses_command(&["exec", "--process", path, id], 255, texts);
        trial.refuses_command(&["exec", "--detach", "--process", path, id], 255, texts);
    }
    for (content, text) in [("", "line 1"), ("{", "EOF"), ("null", "line 1"), ("{} x", "trailing")] {
        fs::write(&file, content).unwrap();
        trial.refuses_command(&["exec", "--process", path, id], 255, &["process.json", text]);
    }
    trial.refuses_command(
        &["exec", "--process", "/nonexistent", id],
        255,
        &["/nonexistent", "no such file or directory"],
    );
    trial.refuses_command(&["exec", "--process", "/dev/zero", id], 255, &["not a regular file"]);
    trial.refuses_command(&["exec", id], 255, &["process args cannot be empty"]);
    trial.refuses_command(&["exec", "--tty", "--detach", id, "true"], 255, &["process.terminal"]);
    trial.refuses_command(&["exec", "--pid-file", "/nonexistent/pid", id, "true"], 255, &["--pid-file"]);
    assert_eq!(b.status(), "running", "none of it disturbs the container");
    let pids = b.cmd(&["ps", "--format", "json", id]).ok();
    assert!(pids.stdout.matches(',').count() <= 1, "no process is left of them: {pids}");
}

#[test]
fn failing_hooks() {
    requires!(Need::Root);
    let kinds = ["prestart", "createRuntime", "createContainer"];
    for kind in kinds {
        let mut trial = Trial::new(Bundle::new());
        let hook = |hook: serde_json::Value| (format!("/hooks/{kind}"), json!([{"path": "/bin/true"}, hook]));
        let field = format!("hooks.{kind}[1]");
        for (given, texts) in [
            (
                json!({"path": "/bin/sh", "args": ["sh", "-c", "echo broken pipes >&2; exit 7"]}),
                &["exit status 7", "broken pipes"][..],
            ),
            (json!({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"]}), &["signal 9"]),
            (json!({"path": "/bin/sh", "args": ["sh", "-c", "exec 2>&-; exit 1"]}), &["exit status 1"]),
            (
                json!({"path": "/bin/sh", "args": ["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; exit 1"]}),
                &["exit status 1"],
            ),
            (
                json!({"path": "/bin/sh", "args": ["sh", "-c", "printf 'two\\nlines\\033[31m' >&2; exit 1"]}),
                &["two lines"],
            ),
            (json!({"path": "/nonexistent/hook"}), &["/nonexistent/hook", "no such file or directory"]),
            (json!({"path": "/etc/passwd"}), &["/etc/passwd", "permission denied"]),
            (json!({"path": "/etc"}), &["/etc", "permission denied"]),
            (
                json!({"path": "/bin/sh", "args": ["sh", "-c", "sleep 300 & sleep 300"], "timeout": 1}),
                &["timed out"],
            ),
        ] {
            let (pointer, value) = hook(given);
            trial.refuses(&[(&pointer, value)], &[&[field.as_str()], texts].concat());
        }
    }
}

#[test]
fn hooks_that_fail_at_start() {
    requires!(Need::Root);
    for kind in ["startContainer", "poststart"] {
        let b = Bundle::idle().hook(kind, "echo no way >&2; exit 3");
        let trial = Trial::new(b);
        let b = trial.bundle();
        b.create().ok();
        let field = format!("hooks.{kind}[0]");
        trial.refuses_command(&["start", &b.id], 1, &[&field, "exit status 3", "no way"]);
        wait_until("it is stopped", || b.status() == "stopped");
        b.delete().ok();
        b.assert_nothing_left();
        b.run().fails(1, &[&field, "exit status 3"]).one_line();
        b.assert_nothing_left();
    }
    // What fails after the end is only warned of.
    let b = Bundle::new().hook("poststop", "exit 4").hook("poststop", "touch $BASE/io/second");
    let b = b.runtime_env("UNUSED", "1");
    b.run().ok();
    assert!(b.io().join("second").exists());
    b.assert_nothing_left();
}

#[test]
fn two_creators_of_one_id() {
    requires!(Need::Root);
    for _ in 0..15 {
        let b = Bundle::idle();
        b.write_config();
        let running: Vec<_> = (0..4).map(|_| b.spawn(&b.with_bundle("create", &[]))).collect();
        let outs: Vec<_> = running.into_iter().map(|create| create.wait()).collect();
        let (winners, losers): (Vec<_>, Vec<_>) = outs.into_iter().partition(|out| out.status.success());
        assert_eq!(winners.len(), 1, "{losers:?}");
        for out in losers {
            out.fails(1, &["container with given ID already exists"]).one_line();
        }
        assert_eq!(b.status(), "created");
        b.start().ok();
        b.delete_force().ok();
        b.assert_nothing_left();
    }
}

#[test]
fn delete_while_others_work() {
    requires!(Need::Root);
    for _ in 0..8 {
        let b = Bundle::idle().up();
        let exec = b.spawn(&["exec", &b.id, "sleep", "300"]);
        let state = b.spawn(&["state", &b.id]);
        let delete = b.spawn(&["delete", "--force", &b.id]);
        let second = b.spawn(&["delete", "--force", &b.id]);
        delete.wait().ok();
        second.wait().ok();
        assert!(state.wait().code() <= 1);
        let out = exec.wait();
        assert!(out.code() == 137 || out.code() == 255, "{out}");
        b.assert_nothing_left();
    }
}

/// The creator is killed after each of these times, in microseconds; what is left is deleted at once.
#[test]
fn a_killed_creator_leaves_nothing_that_delete_cannot_remove() {
    requires!(Need::Root);
    for hook in ["true", "sleep 300"] {
        let b = Bundle::idle().hook("createRuntime", hook);
        b.write_config();
        for step in 0..40 {
            let create = b.spawn(&b.with_bundle("create", &[]));
            let moment = Instant::now() + Duration::from_micros(step * 700);
            while Instant::now() < moment {
                std::hint::spin_loop();
            }
            create.signal(Signal::SIGKILL);
            // Whatever its end was: it may have been quicker than the signal.
            let _ = create.wait();
            b.delete_force().ok();
            b.assert_nothing_left();
        }
        let b = b.remove("/hooks");
        b.run_with(&["--detach"]).ok();
        b.delete_force().ok();
        b.assert_nothing_left();
    }
}

#[test]
fn corrupt_records() {
    requires!(Need::Root);
    let contents: [&[u8]; 9] =
        [b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b"{\"version\": 2}", b"garbage", &[0; 100]];
    for content in contents {
        let trial = Trial::new(Bundle::idle());
        let b = trial.bundle();
        b.create().ok();
        let pid = b.pid();
        let record = b.state_root().join(&b.id).join("state.json");
        fs::write(&record, content).unwrap();
        for command in ["state", "start", "kill", "pause", "delete"] {
            trial.refuses_command(&[command, &b.id], 1, &["state.json", "delete --force"]);
        }
        b.cmd(&["list"]).ok();
        b.delete_force().ok();
        assert!(!b.state_root().join(&b.id).exists());
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    }
}
