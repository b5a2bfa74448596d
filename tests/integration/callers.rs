//! The engines, played to the letter: the command lines of containerd's shim (go-runc), of conmon for Podman
//! and CRI-O, and of Podman and CRI-O themselves; and what they read of the answers. A change that would
//! break one of them fails here.

use crate::harness::{Bundle, ConsoleSocket, Need, Output, cgroups_named, requires, wait_until};
use crate::systemd::{assert_no_unit, show};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An engine's view of one container: the log file and the pid files are its own.
struct Engine {
    b: Bundle,
    log: PathBuf,
}

impl Engine {
    /// The options that containerd's shim gives with every command.
    fn containerd(b: Bundle) -> Self {
        let log = b.io().join("log.json");
        let b = b.global("--log").global(log.to_str().unwrap()).global("--log-format").global("json");
        b.write_config();
        Engine { b, log }
    }

    /// What Podman tells conmon to give the runtime.
    fn podman(b: Bundle) -> Self {
        let log = b.io().join("oci-log");
        let b = b.global(&format!("--log={}", log.display())).global("--log-format=json");
        b.write_config();
        Engine { b, log }
    }

    fn io(&self, name: &str) -> String {
        self.b.io().join(name).to_str().unwrap().to_owned()
    }

    fn dir(&self) -> String {
        self.b.dir().to_str().unwrap().to_owned()
    }

    /// containerd reads the log entry by entry, and takes the last one of level `error`.
    fn last_error(&self) -> Option<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let entries = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map(Result::unwrap);
        let errors = entries.filter(|entry| entry["level"] == "error");
        errors.last().map(|entry| entry["msg"].as_str().unwrap().to_owned())
    }

    /// Podman takes the whole log for one value.
    #[track_caller]
    fn only_entry(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap();
        let entry: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(entry["level"], "error", "{text}");
        assert!(entry["time"].as_str().unwrap().contains('T'), "{text}");
        entry["msg"].as_str().unwrap().to_owned()
    }

    /// An engine that looks for a text does it in lower case or not at all.
    #[track_caller]
    fn refuses(&self, args: &[&str], texts: &[&str]) -> Output {
        let out = self.b.cmd(args);
        assert!(!out.status.success(), "{out}");
        for text in texts {
            assert!(out.stderr.contains(text), "{text:?}: {out}");
            assert!(self.last_error().unwrap().contains(text), "{text:?}: {:?}", self.last_error());
        }
        out
    }
}

/// A pid file holds the number and nothing else.
#[track_caller]
fn pid_in(path: impl AsRef<Path>) -> i32 {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

fn process_json(engine: &Engine, args: &[&str]) -> String {
    process_file(engine, args, false)
}

fn process_file(engine: &Engine, args: &[&str], terminal: bool) -> String {
    let process = json!({
        "args": args, "cwd": "/", "env": ["PATH=/bin", "ADDED=1"], "user": {"uid": 0, "gid": 0},
        "terminal": terminal,
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
    });
    let path = engine.io("runc-process1234");
    fs::write(&path, process.to_string()).unwrap();
    path
}

#[test]
fn containerd_runs_a_container() {
    let e = Engine::containerd(Bundle::idle());
    let (pid_file, exec_pid_file) = (e.io("init.pid"), e.io("exec.pid"));
    let id = e.b.id.as_str();
    e.b.cmd(&["create", "--bundle", &e.dir(), "--pid-file", &pid_file, id]).ok();
    let pid = pid_in(&pid_file);
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "it is written before create returns");
    e.b.cmd(&["start", id]).ok();
    wait_until("ready", || e.b.logs(0).contains("ready"));

    let process = process_json(&e, &["/bin/sh", "-c", "echo $ADDED; exec sleep 100"]);
    let before = e.b.cmd(&["exec", "--process", &process, "--detach", "--pid-file", &exec_pid_file, id]).ok();
    assert_eq!(before.stderr, "");
    let exec_pid = pid_in(&exec_pid_file);
    let listed: Vec<i32> =
        serde_json::from_str(&e.b.cmd(&["ps", "--format", "json", id]).ok().stdout).unwrap();
    assert!(listed.contains(&pid) && listed.contains(&exec_pid), "{pid}, {exec_pid}: {listed:?}");

    e.b.cmd(&["pause", id]).ok();
    e.b.cmd(&["resume", id]).ok();
    e.b.cmd(&["kill", id, "15"]).ok();
    wait_until("it stops", || e.b.status() == "stopped");
    // The shim kills all when init has ended; the runtime may say that nobody is there, in these words.
    let all = e.b.cmd(&["kill", "--all", id, "9"]);
    assert!(all.status.success() || all.stderr.contains("container not running"), "{all}");
    e.b.cmd(&["delete", id]).ok();
    assert_eq!(e.last_error(), None, "nothing went wrong");
    e.b.assert_nothing_left();
}

#[test]
fn containerd_gets_a_terminal() {
    let e = Engine::containerd(Bundle::sh("tty").set("/process/terminal", true));
    let console = ConsoleSocket::bind(&e.b);
    let pid_file = e.io("init.pid");
    let dir = e.dir();
    let args =
        ["create", "--bundle", &dir, "--pid-file", &pid_file, "--console-socket", console.arg(), &e.b.id];
    e.b.cmd(&args).ok();
    let mut terminal = console.receive();
    e.b.cmd(&["start", &e.b.id]).ok();
    terminal.read_until("/dev/");
    e.b.cmd(&["delete", "--force", &e.b.id]).ok();
    e.b.assert_nothing_left();
}

/// The process file says that there is a terminal, and conmon says so once more.
#[test]
fn containerd_and_conmon_exec_on_a_terminal() {
    let e = Engine::containerd(Bundle::idle().up());
    let script = "tty; read line; echo got $line; exec sleep 100";
    let process = process_file(&e, &["/bin/sh", "-c", script], true);
    let pid_file = e.io("exec.pid");
    let console = ConsoleSocket::bind(&e.b);
    let (socket, id) = (console.arg(), e.b.id.as_str());
    let conmon = ["exec", "--pid-file", &pid_file, "--process", &process, "--detach", "--tty"];
    for args in [
        ["exec", "--process", &process, "--console-socket", socket, "--detach", "--pid-file", &pid_file, id]
            .as_slice(),
        &[conmon.as_slice(), &["--console-socket", socket, id]].concat(),
    ] {
        let out = e.b.cmd(args).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
        let mut terminal = console.receive();
        terminal.read_until("/dev/pts/");
        terminal.write("typed\n");
        terminal.read_until("got typed");
        let stdin = fs::read_link(format!("/proc/{}/fd/0", pid_in(&pid_file))).unwrap();
        assert!(stdin.starts_with("/dev/pts"), "{stdin:?}");
        fs::remove_file(&pid_file).unwrap();
    }
    assert_eq!(e.last_error(), None);
    e.b.cmd(&["delete", "--force", id]).ok();
    e.b.assert_nothing_left();
}

#[test]
fn containerd_tells_errors_by_their_text() {
    let e = Engine::containerd(Bundle::idle());
    let (dir, id) = (e.dir(), e.b.id.as_str());
    // `delete` and `kill` of what is gone: "no such container" for the shim.
    e.refuses(&["kill", id, "9"], &["does not exist"]);
    e.refuses(&["delete", id], &["does not exist"]);
    e.b.cmd(&["delete", "--force", id]).ok();
    e.b.cmd(&["create", "--bundle", &dir, "--pid-file", &e.io("pid"), id]).ok();
    e.refuses(&["create", "--bundle", &dir, "--pid-file", &e.io("pid"), id], &["already exists"]);
    e.b.cmd(&["start", id]).ok();
    let mut process = String::new();
    for (program, text) in UNEXECUTABLE {
        process = process_json(&e, &[program]);
        let args = ["exec", "--process", &process, "--detach", "--pid-file", &e.io("e.pid"), id];
        assert_eq!(e.refuses(&args, &[text]).code(), 255);
        assert!(!Path::new(&e.io("e.pid")).exists());
    }
    e.b.cmd(&["kill", id, "9"]).ok();
    wait_until("it stops", || e.b.status() == "stopped");
    // "already finished" for the shim.
    e.refuses(&["kill", id, "9"], &["container not running"]);
    e.refuses(&["exec", "--process", &process, "--detach", "--pid-file", &e.io("e.pid"), id], &["stopped"]);
    e.b.cmd(&["delete", id]).ok();
}

/// Who has ended since the runtime looked, is gone for the shim and for CRI-O by these words, in lower case.
#[test]
fn a_process_that_ends_meanwhile_is_told_by_the_text() {
    requires!(Need::Program("strace"));
    let e = Engine::containerd(Bundle::idle().up());
    let kill = e.b.command(&["kill", &e.b.id, "15"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "inject=pidfd_send_signal:error=ESRCH"]);
    strace.arg(kill.get_program()).args(kill.get_args());
    let out = e.b.spawn_command(strace).wait().fails(1, &["no such process"]);
    assert!(e.last_error().unwrap().contains("no such process"), "{out}");
}

/// What can't be executed, and how engines know it.
const UNEXECUTABLE: [(&str, &str); 5] = [
    ("nosuch", "executable file not found in $PATH"),
    ("/nosuch", "no such file or directory"),
    ("/etc/passwd", "permission denied"),
    ("/etc", "is a directory"),
    ("/etc/passwd/x", "not a directory"),
];

/// dockerd makes an exit code of the text: 126 for what can't be executed, 127 for what is not there.
#[test]
fn docker_and_podman_tell_exit_codes_by_the_text() {
    for (program, text) in UNEXECUTABLE {
        let e = Engine::podman(Bundle::new().args([program]));
        fs::set_permissions(
            e.b.rootfs().join("etc/passwd"),
            std::os::unix::fs::PermissionsExt::from_mode(0o644),
        )
        .unwrap();
        let out = e.b.cmd(&["create", "--bundle", &e.dir(), "--pid-file", &e.io("pid"), &e.b.id]);
        assert_eq!(out.code(), 1);
        assert!(out.stderr.contains(text), "{program}: {out}");
        // One entry: of two Podman understands none.
        assert!(e.only_entry().contains(text), "{program}: {}", e.only_entry());
        assert!(!Path::new(&e.io("pid")).exists(), "no pid of a container that is not");
        e.b.assert_nothing_left();
    }
}

/// A directory over a file: dockerd adds its own explanation to this text.
#[test]
fn docker_explains_a_mount_of_the_wrong_kind() {
    let b = Bundle::new();
    let source = b.io();
    let e = Engine::podman(b.mount("/etc/passwd", "bind", source.to_str().unwrap(), &["rbind", "rprivate"]));
    e.refuses(&["create", "--bundle", &e.dir(), &e.b.id], &["not a directory"]);
}

#[test]
fn conmon_and_podman_run_a_container() {
    let e = Engine::podman(Bundle::idle());
    let (pid_file, exec_pid_file) = (e.io("pidfile"), e.io("exec_pid"));
    let id = e.b.id.as_str();
    e.b.cmd(&["create", "--bundle", &e.dir(), "--pid-file", &pid_file, id]).ok();
    let pid = pid_in(&pid_file);
    // Podman asks after create, and knows four words.
    let state = e.b.state();
    assert_eq!((state["status"].as_str(), state["pid"].as_i64()), (Some("created"), Some(pid.into())));
    e.b.cmd(&["start", id]).ok();
    assert_eq!(e.b.status(), "running");
    let process = process_json(&e, &["/bin/true"]);
    e.b.cmd(&["exec", "--pid-file", &exec_pid_file, "--process", &process, "--detach", id]).ok();
    assert_ne!(pid_in(&exec_pid_file), pid);
    e.b.cmd(&["pause", id]).ok();
    assert_eq!(e.b.status(), "paused");
    e.b.cmd(&["resume", id]).ok();
    e.b.cmd(&["kill", id, "15"]).ok();
    wait_until("it stops", || e.b.status() == "stopped");
    assert_eq!(e.b.state()["pid"], 0);
    e.b.cmd(&["delete", "--force", id]).ok();
    assert_eq!(fs::read_to_string(&e.log).unwrap_or_default(), "", "nothing to be told");
    e.refuses(&["state", id], &["does not exist"]);
    e.b.assert_nothing_left();
}

/// What conmon adds on request: all of it is harmless here.
#[test]
fn conmon_passes_further_options() {
    let e = Engine::podman(Bundle::new());
    let dir = e.dir();
    let pid_file = e.io("pidfile");
    for options in [
        ["--no-pivot", "--no-new-keyring"].as_slice(),
        &["--no-new-keyring", "--preserve-fds", "0"],
        &["--preserve-fds=0"],
    ] {
        let args: Vec<&str> = ["create", "--bundle", &dir, "--pid-file", &pid_file]
            .into_iter()
            .chain(options.iter().copied())
            .chain([e.b.id.as_str()])
            .collect();
        e.b.cmd(&args).ok();
        e.b.cmd(&["delete", "--force", &e.b.id]).ok();
    }
    e.b.assert_nothing_left();
}

/// CRI-O runs exec attached, gives `-a` with a number, and looks for its words with their case.
#[test]
fn crio_runs_a_container() {
    let e = Engine::podman(Bundle::idle());
    let id = e.b.id.as_str();
    e.b.cmd(&["create", "--bundle", &e.dir(), "--pid-file", &e.io("pidfile"), id]).ok();
    e.b.cmd(&["start", id]).ok();
    // Its own struct: these keys, of these types.
    let state = e.b.state();
    for (key, is) in [
        ("ociVersion", state["ociVersion"].is_string()),
        ("id", state["id"] == id),
        ("pid", state["pid"].is_u64()),
        ("status", state["status"] == "running"),
        ("bundle", state["bundle"].is_string()),
        ("rootfs", state["rootfs"].as_str().is_some_and(|path| path.starts_with('/'))),
        ("created", state["created"].as_str().is_some_and(|time| time.ends_with('Z'))),
        ("owner", state["owner"].is_string()),
    ] {
        assert!(is, "{key}: {state}");
    }
    let process = process_json(&e, &["/bin/sh", "-c", "echo out; exit 5"]);
    let exec = e.b.cmd(&["exec", "--process", &process, id]);
    assert_eq!((exec.code(), exec.stdout.as_str()), (5, "out\n"), "{exec}");
    e.b.cmd(&["kill", "-a", id, "9"]).ok();
    wait_until("it stops", || e.b.status() == "stopped");
    e.refuses(&["kill", id, "KILL"], &["container not running"]);
    e.b.cmd(&["delete", "--force", id]).ok();
    e.b.cmd(&["delete", "--force", id]).ok();
    e.b.assert_nothing_left();
}

/// Only `create` says who manages the cgroup; the runtime knows it for CRI-O's update and conmon's exec.
#[test]
fn crio_does_not_say_again_that_systemd_manages_the_cgroup() {
    requires!(Need::Systemd);
    let b = Bundle::idle();
    let path = format!("machine.slice:crio:{}", b.id);
    let e = Engine::podman(b.set("/linux/cgroupsPath", path).set("/linux/resources/memory/limit", 64 << 20));
    let id = e.b.id.as_str();
    e.b.cmd(&["--systemd-cgroup", "create", "--bundle", &e.dir(), "--pid-file", &e.io("pidfile"), id]).ok();
    e.b.cmd(&["start", id]).ok();
    let unit = format!("crio-{id}.scope");
    let limit = || fs::read_to_string(format!("/sys/fs/cgroup/machine.slice/{unit}/memory.max")).unwrap();
    assert_eq!((limit().trim(), show(&unit, "MemoryMax")), ("67108864", vec!["MemoryMax=67108864".into()]));

    let resources = e.io("resources.json");
    fs::write(&resources, json!({"memory": {"limit": 128 << 20}}).to_string()).unwrap();
    let mut update = e.b.command(&["update", "--resources", "-", id]);
    update.stdin(fs::File::open(&resources).unwrap());
    e.b.spawn_command(update).wait().ok();
    assert_eq!((limit().trim(), show(&unit, "MemoryMax")), ("134217728", vec!["MemoryMax=134217728".into()]));

    let (process, pid_file) = (process_json(&e, &["/bin/sleep", "100"]), e.io("exec_pid"));
    e.b.cmd(&["exec", "--pid-file", &pid_file, "--process", &process, "--detach", id]).ok();
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", pid_in(&pid_file))).unwrap();
    assert_eq!(cgroups, format!("0::/machine.slice/{unit}\n"));
    e.b.cmd(&["--systemd-cgroup", "delete", "--force", id]).ok();
    assert_no_unit(&unit);
    e.b.assert_nothing_left();
}

/// buildkit runs attached and takes the process's own exit code.
#[test]
fn buildkit_runs_attached() {
    let e = Engine::containerd(Bundle::sh("exit 9"));
    assert_eq!(e.b.cmd(&["run", "--bundle", &e.dir(), &e.b.id]).code(), 9);
    let keep = e.b.cmd(&["run", "--bundle", &e.dir(), "--keep", &e.b.id]);
    assert_eq!(keep.code(), 9);
    assert_eq!(e.b.status(), "stopped");
    e.b.cmd(&["delete", &e.b.id]).ok();
    let killed = Engine::containerd(Bundle::sh("kill -9 $$").without_namespace("pid"));
    assert_eq!(killed.b.cmd(&["run", "--bundle", &killed.dir(), &killed.b.id]).code(), 137);
}

/// go-runc takes what follows the words, dockerd looks for the word before it.
#[test]
fn engines_read_the_version() {
    let b = Bundle::new();
    for flag in ["--version", "-v"] {
        let out = b.cmd(&[flag]).ok();
        let first = out.lines()[0].to_owned();
        let (_, version) = first.split_once(" version ").unwrap_or_else(|| panic!("{out}"));
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{out}");
        assert!(out.lines().iter().any(|line| line.starts_with("spec: 1.")), "{out}");
    }
}

/// `features` comes without any other option. CRI-O wants both versions; containerd and CRI-O switch user
/// namespaces and recursive read-only mounts on by it.
#[test]
fn engines_read_the_features() {
    let out = Command::new(crate::harness::runtime()).arg("features").output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty());
    let features: Value = serde_json::from_slice(&out.stdout).unwrap();
    for key in ["ociVersionMin", "ociVersionMax"] {
        assert!(features[key].as_str().is_some_and(|version| version.starts_with("1.")), "{key}: {features}");
    }
    let has = |pointer: &str, value: &str| {
        let values = features.pointer(pointer).and_then(Value::as_array).unwrap();
        assert!(values.iter().any(|have| have == value), "{pointer}: {value}: {features}");
    };
    has("/linux/namespaces", "user");
    has("/mountOptions", "rro");
    has("/hooks", "createRuntime");
    has("/linux/capabilities", "CAP_CHECKPOINT_RESTORE");
    for pointer in ["/linux/mountExtensions/idmap/enabled", "/linux/seccomp/enabled", "/linux/cgroup/v1"] {
        assert_eq!(features.pointer(pointer), Some(&Value::Bool(true)), "{pointer}: {features}");
    }
}

/// Two failures are two entries: containerd takes the last one, and the first must still be there.
#[test]
fn the_log_is_appended_to() {
    let e = Engine::containerd(Bundle::new());
    e.refuses(&["state", "first"], &["does not exist"]);
    e.refuses(&["state", "second"], &["does not exist"]);
    let text = fs::read_to_string(&e.log).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(e.last_error().unwrap().contains("second"), "{text}");
}

/// What Podman tells conmon for `--cgroups=disabled`. Its configuration has device rules and a cgroup mount all
/// the same.
#[test]
fn podman_wants_no_cgroup() {
    let b = Bundle::sh("cat /proc/self/cgroup; ls /sys")
        .mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["rprivate", "nosuid", "noexec", "nodev", "relatime", "ro"],
        )
        .set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]));
    let e = Engine::podman(b.global("--cgroup-manager").global("disabled"));
    let out = e.b.cmd(&["run", "--bundle", &e.dir(), &e.b.id]).ok();
    assert!(!out.stdout.contains(&e.b.id), "{out}");
    assert!(cgroups_named(&e.b.id).is_empty());
    e.b.assert_nothing_left();
}
