//! `exec`: what it joins, what it inherits from the container's process, and what its flags change.

use crate::harness::{Bundle, ConsoleSocket, Need, requires, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;

#[test]
fn it_is_in_every_namespace_and_cgroup_of_the_container() {
    requires!(Need::UserNamespace, Need::TimeNamespace);
    // Busybox's readlink takes one at a time.
    let show = "for name in pid mnt ipc uts net cgroup user time; do readlink /proc/self/ns/$name; done; \
                cat /proc/self/uid_map /proc/self/cgroup; ls /";
    for b in [Bundle::new(), Bundle::new().user_namespace().namespace("cgroup").namespace("time")] {
        let script = format!(
            "({show}) > /tmp/shown; trap 'exit 0' TERM; echo ready; while :; do sleep 300 & wait; done"
        );
        let b = b.args(["/bin/sh", "-c", &script]).up();
        let shown = fs::read_to_string(b.rootfs().join("tmp/shown")).unwrap();
        assert_eq!(shown.matches(":[").count(), 8, "{shown}");
        assert_eq!(b.exec(&["sh", "-c", show]).ok().stdout, shown);
    }
}

#[test]
fn its_exit_code_is_the_processes() {
    let b = Bundle::idle().up();
    for code in [0, 1, 7, 126, 254] {
        assert_eq!(b.exec(&["sh", "-c", &format!("exit {code}")]).code(), code);
    }
    assert_eq!(b.exec(&["sh", "-c", "kill -9 $$"]).code(), 137);
    assert_eq!(b.exec(&["sh", "-c", "kill -TERM $$"]).code(), 143);
}

// crun: 1.
#[test]
fn its_own_failure_is_255_in_one_line() {
    let b = Bundle::idle().file("/etc/data", "no program").up();
    b.exec(&["nosuch"]).fails(255, &["executable file not found in $PATH", "nosuch"]).one_line();
    b.exec(&["/no/such"]).fails(255, &["no such file or directory", "/no/such"]).one_line();
    b.exec(&["/etc"]).fails(255, &["is a directory"]).one_line();
    fs::set_permissions(b.rootfs().join("etc/data"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    b.exec(&["/etc/data"]).fails(255, &["permission denied"]).one_line();
    b.exec_with(&["--cwd", "/etc/passwd"], &["true"]).fails(255, &["not a directory"]).one_line();
    b.cmd(&["exec", "no-such-container", "true"]).fails(255, &["does not exist"]).one_line();
    b.cmd(&["exec", &b.id]).fails(255, &[]);
    assert_eq!(b.status(), "running");
}

// crun inherits less: neither cwd nor limits, no_new_privs or oom_score_adj.
#[test]
fn it_inherits_from_the_containers_process() {
    let show = "id; pwd; echo $FROM; grep -E '^(NoNewPrivs|Umask):' /proc/self/status; cat /proc/self/oom_score_adj; \
                grep 'open files' /proc/self/limits";
    let script =
        format!("({show}) > /tmp/shown; trap 'exit 0' TERM; echo ready; while :; do sleep 300 & wait; done");
    let b = Bundle::sh(&script)
        .set("/process/user", json!({"uid": 1000, "gid": 2000, "additionalGids": [5, 3000], "umask": 0o27}))
        .set("/process/cwd", "/tmp")
        .set("/process/noNewPrivileges", true)
        .set("/process/oomScoreAdj", 321)
        .push("/process/rlimits", json!({"type": "RLIMIT_NOFILE", "soft": 111, "hard": 222}))
        .env("FROM=config");
    let b = b.up();
    let shown = fs::read_to_string(b.rootfs().join("tmp/shown")).unwrap();
    assert!(
        shown.contains("uid=1000(app) gid=2000(extra)") && shown.contains("321") && shown.contains("111"),
        "{shown}"
    );
    assert_eq!(b.exec(&["sh", "-c", show]).ok().stdout, shown);
}

#[test]
fn env_cwd_and_user() {
    let b = Bundle::idle().env("KEPT=yes").env("CHANGED=no").up();
    let out = b
        .exec_with(&["-e", "CHANGED=yes", "-e", "NEW=a=b", "--cwd", "/usr/bin"], &["sh", "-c", "env; pwd"])
        .ok();
    for line in ["KEPT=yes", "CHANGED=yes", "NEW=a=b", "/usr/bin", "HOME=/root"] {
        assert!(out.lines().contains(&line), "{line}: {out}");
    }
    let id = |options: &[&str]| b.exec_with(options, &["id"]).ok().stdout.trim().to_owned();
    assert_eq!(id(&["-u", "1000"]), "uid=1000(app) gid=0(root)");
    assert_eq!(id(&["--user", "1000:2000"]), "uid=1000(app) gid=2000(extra)");
    assert_eq!(id(&["-u", "7:8", "-g", "5", "-g", "3000"]), "uid=7 gid=8 groups=5(tty),3000");
    assert_eq!(id(&["-u", "7:8", "--additional-gids", "5"]), "uid=7 gid=8 groups=5(tty)");
    assert!(b.exec_with(&["--env", "LONG=form"], &["env"]).ok().lines().contains(&"LONG=form"));
    let out = b.exec_with(&["-u", "1000"], &["sh", "-c", "echo $HOME"]).ok();
    assert_eq!(out.stdout, "/home/app\n");
}

#[test]
fn a_user_is_a_number_whatever_the_passwd_file_calls_its_users() {
    // CVE-2016-3697: a user of the image named 1000 with the id 0.
    let b = Bundle::idle().file("/etc/passwd", "1000:x:0:0:root:/root:/bin/sh\n").up();
    assert_eq!(b.exec_with(&["-u", "1000"], &["id", "-u"]).ok().stdout, "1000\n");
    b.exec_with(&["-u", "root"], &["id"]).fails(255, &["root"]);
}

#[test]
fn capabilities_and_no_new_privileges() {
    let set = |out: &crate::harness::Output, name: &str| u64::from_str_radix(out.field(name), 16).unwrap();
    let b = Bundle::idle().set("/process/capabilities", json!({}));
    let b = b.capabilities(&["bounding", "effective", "permitted"], &["CAP_KILL"]).up();
    let status = &["cat", "/proc/self/status"];
    let (kill, net_admin) = (1 << 5, 1 << 12);
    assert_eq!(set(&b.exec(status).ok(), "CapEff:"), kill);
    for flag in ["--cap", "-c"] {
        let out = b.exec_with(&[flag, "CAP_NET_ADMIN"], status).ok();
        for name in ["CapEff:", "CapPrm:", "CapBnd:"] {
            assert_eq!(set(&out, name), kill | net_admin, "{name}");
        }
        // CVE-2022-29162: nothing becomes inheritable.
        assert_eq!((set(&out, "CapInh:"), set(&out, "CapAmb:")), (0, 0));
    }
    assert_eq!(b.exec(status).ok().field("NoNewPrivs:"), "0");
    assert_eq!(b.exec_with(&["--no-new-privs"], status).ok().field("NoNewPrivs:"), "1");
}

// runc takes the umask from the container's process all the same.
#[test]
fn a_process_file_says_it_all() {
    let b = Bundle::idle().env("OF=config").up();
    let process = json!({
        "args": ["sh", "-c", "id; pwd; env; umask; grep -E '^(CapEff|NoNewPrivs):' /proc/self/status; ulimit -n"],
        "cwd": "/usr",
        "env": ["PATH=/bin", "OF=file"],
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [2000], "umask": 0o77},
        "capabilities": {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []},
        "noNewPrivileges": true,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}],
    });
    let file = b.io().join("process.json");
    fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    let file = file.to_str().unwrap();
    for options in [["-p", file], ["--process", file]] {
        let out = b.exec_with(&options, &[]).ok();
        let lines = out.lines();
        for line in [
            "uid=1000(app) gid=1000(app) groups=2000(extra)",
            "/usr",
            "OF=file",
            "HOME=/home/app",
            "0077",
            "99",
        ] {
            assert!(lines.contains(&line), "{line}: {out}");
        }
        assert_eq!(out.field("NoNewPrivs:"), "1");
        assert_eq!(out.field("CapEff:"), "0000000000000000");
    }
}

// runc does not take the file's own oomScoreAdj.
#[test]
fn what_a_process_file_leaves_out_is_the_containers() {
    let b = Bundle::idle().capabilities(&["bounding", "effective", "permitted"], &["CAP_KILL", "CAP_CHOWN"]);
    let b = b.set("/process/oomScoreAdj", 77).up();
    let file = b.io().join("process.json");
    let seen = |more: Value| {
        let script = "grep -E '^Cap(Eff|Bnd)' /proc/self/status; cat /proc/self/oom_score_adj";
        let mut process = json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]});
        process.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(&file, process.to_string()).unwrap();
        let out = b.exec_with(&["--process", file.to_str().unwrap()], &[]).ok();
        let cap = |key| u64::from_str_radix(out.field(key), 16).unwrap();
        (cap("CapEff:"), cap("CapBnd:"), out.lines()[2].to_owned())
    };
    assert_eq!(seen(json!({})), (0x21, 0x21, "77".into()));
    assert_eq!(seen(json!({"capabilities": {}, "oomScoreAdj": 80})), (0, 0, "80".into()));
}

#[test]
fn options_of_the_program_are_left_to_it() {
    let b = Bundle::idle().up();
    assert_eq!(b.exec(&["echo", "-e", "--user", "-t", "--", "x"]).ok().stdout, "--user -t -- x\n");
    assert_eq!(b.cmd(&["exec", "--", &b.id, "echo", "y"]).ok().stdout, "y\n");
}

#[test]
fn detached_it_returns_at_once_and_writes_the_pid_file() {
    let b = Bundle::idle().up();
    let pid_file = b.io().join("pid");
    let options = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
    b.exec_with(&options, &["sh", "-c", "echo started > /tmp/started; sleep 300"]).ok();
    wait_until("the process runs", || b.rootfs().join("tmp/started").exists());
    let pid = fs::read_to_string(pid_file).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let init = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).unwrap();
    assert_eq!(status, init);
    let ps: Value = serde_json::from_str(&b.cmd(&["ps", "--format", "json", &b.id]).ok().stdout).unwrap();
    assert!(ps.as_array().unwrap().contains(&json!(pid.parse::<i64>().unwrap())), "{ps}");
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn a_process_that_the_caller_cannot_be_told_of_is_killed() {
    let b = Bundle::idle().up();
    let processes = || b.cmd(&["ps", "--format", "json", &b.id]).ok().stdout;
    let before = processes();
    for option in ["--pid-file", "--pidfd-socket"] {
        let path = b.io().join("missing/file");
        let out = b.exec_with(&["--detach", option, path.to_str().unwrap()], &["sleep", "300"]);
        out.fails(255, &[option, "no such file or directory"]).one_line();
    }
    assert_eq!(processes(), before);
}

#[test]
fn attached_it_also_writes_the_pid_file() {
    let b = Bundle::idle().up();
    let pid_file = b.io().join("pid");
    b.exec_with(&["--pid-file", pid_file.to_str().unwrap()], &["true"]).ok();
    assert!(fs::read_to_string(pid_file).unwrap().parse::<u32>().is_ok());
}

#[test]
fn a_terminal_is_sent_through_the_console_socket() {
    let b = Bundle::idle().up();
    let socket = ConsoleSocket::bind(&b);
    let script = "tty; echo through > /dev/tty; read line; echo got $line";
    b.exec_with(&["-t", "-d", "--console-socket", socket.arg()], &["sh", "-c", script]).ok();
    let mut terminal = socket.receive();
    terminal.read_until("through");
    terminal.write("typed\n");
    assert!(terminal.read_until("got typed").contains("/dev/pts/0"));
}

#[test]
fn an_attached_terminal_is_passed_through() {
    let b = Bundle::idle().up();
    let script = "trap 'echo size $(stty size)' WINCH; tty; echo ready; until [ \"$line\" ]; do read line; done; echo got $line; exit 5";
    let (run, mut terminal) = b.spawn_on_terminal(&["exec", "--tty", &b.id, "sh", "-c", script]);
    assert!(terminal.read_until("ready").contains("/dev/pts/0"));
    terminal.resize(31, 99);
    terminal.read_until("size 31 99");
    terminal.write("typed\n");
    terminal.read_until("got typed");
    assert_eq!(run.wait().code(), 5);
}

#[test]
fn a_terminal_without_a_console_socket_cannot_be_detached() {
    let b = Bundle::idle().up();
    b.exec_with(&["-t", "-d"], &["true"]).fails(255, &["console socket"]);
}

#[test]
fn signals_are_forwarded() {
    let b = Bundle::idle().up();
    let script =
        "trap 'echo got USR1' USR1; trap 'exit 6' TERM; echo ready; while :; do sleep 1 & wait $!; done";
    let run = b.spawn(&["exec", &b.id, "sh", "-c", script]);
    run.wait_for("ready");
    run.signal(Signal::SIGUSR1);
    run.wait_for("got USR1");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.wait().code(), 6);
    assert_eq!(b.status(), "running");
}

#[test]
fn input_passes_through() {
    let b = Bundle::idle().up();
    fs::write(b.io().join("input"), "typed\n").unwrap();
    let mut command = b.command(&["exec", &b.id, "sh", "-c", "cat; cat <&- 2>/dev/null; echo err >&2"]);
    command.stdin(fs::File::open(b.io().join("input")).unwrap());
    let out = b.spawn_command(command).wait().ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("typed\n", "err\n"));
}

#[test]
fn it_has_only_its_own_descriptors_and_the_preserved_ones() {
    let b = Bundle::idle().prelude("cd $BASE/io; echo three > a; exec 3<a 5</etc/passwd").up();
    assert_eq!(b.exec(&["ls", "/proc/self/fd"]).ok().lines(), ["0", "1", "2", "3"]);
    let out = b.exec_with(&["--preserve-fds", "1"], &["sh", "-c", "cat <&3; ls /proc/self/fd"]).ok();
    assert_eq!(out.lines(), ["three", "0", "1", "2", "3", "4"]);
}

#[test]
fn it_ends_with_the_container() {
    let b = Bundle::idle().up();
    let run = b.spawn(&["exec", &b.id, "sh", "-c", "echo ready; sleep 300"]);
    run.wait_for("ready");
    b.kill("KILL").ok();
    assert_eq!(run.wait().code(), 137);
}

#[test]
fn many_at_once() {
    let b = Bundle::idle().up();
    let runs: Vec<_> =
        (0..20).map(|n| b.spawn(&["exec", &b.id, "sh", "-c", &format!("echo {n}; exit {n}")])).collect();
    for (n, run) in runs.into_iter().enumerate() {
        let out = run.wait();
        assert_eq!(
            (out.code(), out.stdout.trim().to_owned()),
            (i32::try_from(n).unwrap(), n.to_string()),
            "{out}"
        );
    }
    assert_eq!(b.status(), "running");
}

// It would be lost on a user other than root; and only config.json can say that it is handed down.
#[test]
fn a_capability_becomes_ambient_where_the_container_hands_it_down() {
    let set = |out: &crate::harness::Output, name: &str| u64::from_str_radix(out.field(name), 16).unwrap();
    let b = Bundle::idle().set("/process/capabilities", json!({}));
    let b = b.capabilities(&["bounding", "inheritable"], &["CAP_KILL", "CAP_SYSLOG"]);
    let b = b.capabilities(&["effective", "permitted"], &["CAP_KILL"]).up();
    let out = b.exec_with(&["--user", "1000", "--cap", "CAP_SYSLOG"], &["cat", "/proc/self/status"]).ok();
    let (kill, syslog) = (1 << 5, 1 << 34);
    assert_eq!((set(&out, "CapAmb:"), set(&out, "CapEff:")), (syslog, syslog));
    assert_eq!(set(&out, "CapInh:"), kill | syslog);
}

#[test]
fn a_process_may_come_from_a_pipe() {
    let b = Bundle::idle().up();
    let process = json!({"args": ["echo", "from", "the", "pipe"], "cwd": "/", "env": ["PATH=/bin"]});
    // What <(...) of a shell passes is the path of such a pipe.
    let b = b.prelude(&format!("printf %s '{process}' |"));
    let out = b.cmd(&["exec", "--process", "/dev/fd/0", &b.id]).ok();
    assert_eq!(out.stdout, "from the pipe\n");
}

#[test]
fn cgroups_that_are_not_the_containers_are_refused() {
    let b = Bundle::idle().up();
    for (cgroup, text) in
        [("..", "--cgroup: .. is not a sub cgroup path"), ("nosuch:/", "unknown controller nosuch")]
    {
        b.exec_with(&["--cgroup", cgroup], &["true"]).fails(255, &[text]).one_line();
    }
}

#[test]
fn debugging_tells_of_its_process() {
    let b = Bundle::idle().global("--debug");
    let b = b.set("/linux/seccomp", serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    let b = b.set("/process/execCPUAffinity", serde_json::json!({"initial": "0"}));
    let out = b.create().ok();
    // With runc's words for the same moments.
    let closing = "\"init: closing the pipe to signal completion\"";
    for text in ["nsexec container setup: namespaces: pid", "seccomp filter flags: 4", closing] {
        assert!(out.stderr.contains(text), "{text}: {out}");
    }
    assert!(out.stderr.contains("child process in init(): init is process"), "{out}");
    b.start().ok();
    let out = b.exec(&["true"]).ok();
    assert!(out.stderr.contains("level=debug") && out.stderr.contains("the program has begun"), "{out}");
    for text in ["nsexec container setup", "child process in init()", "setns_init: about to exec"] {
        assert!(out.stderr.contains(text), "{text}: {out}");
    }
    assert!(out.stderr.contains("\"nsexec: affinity: 0x1\""), "{out}");
}
