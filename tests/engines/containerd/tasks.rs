//! `ctr run` and `ctr task`.

use super::{IMAGE, NEED, RUNTIME, Task, ctr, run, world};
use crate::harness::{Need, requires, wait_until};
use serde_json::Value;

#[test]
fn run_passes_output_and_exit_code_on() {
    requires!(NEED);
    let out = run("plain-run", "", "echo out; exit 3");
    assert_eq!((out.code(), out.stdout.as_str()), (3, "out\n"), "{out}");
    let missing = ctr(&format!("run --rm {RUNTIME} {IMAGE} missing-run nosuch"));
    missing.fails(1, &["executable file not found in $PATH"]);
    world().assert_nothing_left("missing-run");
}

#[test]
fn a_task_lives_its_life() {
    requires!(NEED);
    let t = Task::up("life-task", "");
    assert_eq!(t.status(), "RUNNING");
    // Of a process that ends at once, ctr 1.6 loses a line now and then when the host is busy, with runc, too.
    let out = t.exec("one", "echo in; sleep 0.3; exit 7");
    assert_eq!((out.code(), out.stdout.as_str()), (7, "in\n"), "{out}");
    ctr("task exec --exec-id life-none life-task nosuch").fails(1, &["executable file not found in $PATH"]);
    let ps = ctr("task ps life-task").ok();
    assert_eq!(ps.lines().len(), 3, "the title, the shell and what it sleeps by: {ps}");
    ctr("task pause life-task").ok();
    assert_eq!(t.status(), "PAUSED");
    assert!(world().is_frozen("life-task"));
    ctr("task resume life-task").ok();
    assert_eq!(t.status(), "RUNNING");
    ctr("task kill life-task").ok();
    wait_until("it stops", || t.status() == "STOPPED");
    ctr("task kill -s KILL life-task").fails(1, &["process already finished"]);
    let out = ctr("task rm life-task").ok();
    assert!(out.stderr.contains("non-zero exit code 4"), "{out}");
    t.remove();
}

#[test]
fn kill_all() {
    requires!(NEED);
    let t = Task::up("kill-all", "");
    let exec = world().spawn("ctr task exec --exec-id kill-other kill-all sh -c 'echo runs; exec sleep 300'");
    exec.wait_for("runs");
    ctr("task kill -s 9 --all kill-all").ok();
    assert_eq!(exec.wait().code(), 137);
    wait_until("it stops", || t.status() == "STOPPED");
    t.remove();
}

/// In the host's pid namespace nobody dies of the first process's end.
#[test]
fn kill_all_in_the_pid_namespace_of_the_host() {
    requires!(NEED);
    let t = Task::up("kill-host", "--with-ns pid:/proc/1/ns/pid");
    let ps = ctr("task ps kill-host").ok();
    let pids: Vec<&str> =
        ps.lines().into_iter().skip(1).filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(pids.len(), 2, "{ps}");
    let lives = |pid: &str| world().sh(&format!("kill -0 {pid}")).status.success();
    assert!(pids.iter().all(|pid| lives(pid)), "they have the numbers of the host: {ps}");
    ctr("task kill -s 9 --all kill-host").ok();
    wait_until("both are dead", || !pids.iter().any(|pid| lives(pid)));
    wait_until("it stops", || t.status() == "STOPPED");
    t.remove();
}

#[test]
fn terminals() {
    requires!(NEED);
    let script = "tty; echo ready; while [ \"$(stty size)\" != \"33 99\" ]; do sleep 0.1; done; exit 6";
    let line = format!("ctr run --rm -t {RUNTIME} {IMAGE} tty-run sh -c '{script}'");
    let (command, mut terminal) = world().spawn_on_terminal(&line);
    assert!(terminal.read_until("ready").contains("/dev/pts/0"));
    assert_eq!(command.wait_while(|| terminal.resize_again(33, 99)).code(), 6);
    world().assert_nothing_left("tty-run");

    let t = Task::up("tty-task", "");
    let (command, mut terminal) =
        world().spawn_on_terminal("ctr task exec -t --exec-id tty-exec tty-task sh");
    terminal
        .write("tty; echo $((40 + 2)); while [ \"$(stty size)\" != '33 99' ]; do sleep 0.1; done; exit 5\n");
    assert!(terminal.read_until("42").contains("/dev/pts/"));
    assert_eq!(command.wait_while(|| terminal.resize_again(33, 99)).code(), 5);
    t.remove();
}

#[test]
fn limits_and_metrics() {
    requires!(NEED);
    let (memory, cpu, quota) = match Need::CgroupV1.is_met() {
        true => ("memory.limit_in_bytes", "cpu.cfs_quota_us", "50000"),
        false => ("memory.max", "cpu.max", "50000 100000"),
    };
    let t = Task::up("limits-task", "--memory-limit 67108864 --cpus 0.5");
    let file = |name: &str| world().cgroup_file("limits-task", name);
    assert_eq!(file(memory), "67108864");
    assert_eq!(file(cpu), quota);
    let metrics = ctr("task metrics --format json limits-task").ok();
    let metrics: Value = serde_json::from_str(&metrics.stdout).unwrap();
    // As containerd reads them of cgroups of version 1 and of version 2.
    let limit = if Need::CgroupV1.is_met() { "/memory/usage/limit" } else { "/memory/usage_limit" };
    assert_eq!(metrics.pointer(limit).and_then(Value::as_u64), Some(67_108_864), "{metrics}");
    assert_eq!(file("pids.current"), "2");
    assert_eq!(metrics.pointer("/pids/current").and_then(Value::as_u64), Some(2), "{metrics}");
    t.remove();
}

#[test]
fn systemd_manages_the_cgroup() {
    requires!(NEED, Need::Machine);
    let t = Task::up(
        "scope-task",
        "--runc-systemd-cgroup --cgroup system.slice:ctr:scope-task --memory-limit 67108864",
    );
    let unit = world().sh("systemctl show -P ControlGroup -P MemoryMax ctr-scope-task.scope").ok();
    assert_eq!(unit.lines(), ["/system.slice/ctr-scope-task.scope", "67108864"]);
    assert_eq!(world().cgroup_file("scope-task", "memory.max"), "67108864");
    t.remove();
    let unit = world().sh("systemctl list-units --all --plain '*scope-task*'").ok();
    assert!(!unit.stdout.contains("scope-task"), "{unit}");
}

#[test]
fn options_reach_the_container() {
    requires!(NEED);
    let out = run("options-run", "--read-only --env A=b --cwd /tmp", "pwd; echo $A; touch /x");
    assert_eq!(out.stdout, "/tmp\nb\n", "{out}");
    let out = run("priv-run", "--privileged", "mount -t tmpfs none /mnt && echo mounted").ok();
    assert_eq!(out.stdout, "mounted\n");
    let here = world().sh("readlink /proc/self/ns/net").ok().stdout;
    let out = run(
        "host-run",
        "--net-host --device /dev/fuse",
        "readlink /proc/self/ns/net; stat -c %t:%T /dev/fuse",
    )
    .ok();
    assert_eq!(out.stdout, format!("{here}a:e5\n"));
    let out = run("seccomp-run", "--seccomp", "grep Seccomp: /proc/self/status").ok();
    assert_eq!(out.field("Seccomp:"), "2");
}

#[test]
fn user_namespaces() {
    requires!(NEED, Need::UserNamespace);
    let options = "--uidmap 0:100000:5000 --gidmap 0:200000:5000";
    let out = run(
        "mapped-run",
        options,
        "id -u; cat /proc/self/uid_map /proc/self/gid_map; touch /new && stat -c %u /new",
    )
    .ok();
    let fields: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(fields, ["0", "0", "100000", "5000", "0", "200000", "5000", "0"], "{out}");
}

#[test]
fn thirty_at_a_time() {
    requires!(NEED);
    // By itself it waits 10 s for its turn, which is short on a machine that is emulated.
    let ctr_now = "ctr --connect-timeout 5m";
    let start = format!("{ctr_now} run -d {RUNTIME} {IMAGE} storm-$i sleep 300 </dev/null &");
    let said = world().sh(&format!("for i in $(seq 30); do {start} done; wait")).ok();
    let running = ctr("task ls").ok();
    let running =
        running.lines().iter().filter(|l| l.starts_with("storm-") && l.ends_with("RUNNING")).count();
    assert_eq!(running, 30, "{said}");
    let remove = format!("({ctr_now} task rm -f storm-$i; {ctr_now} container rm storm-$i) &");
    let said = world().sh(&format!("for i in $(seq 30); do {remove} done; wait")).ok();
    eprintln!("{said}");
    world().assert_nothing_left("storm-");
    let left = ctr("container ls -q").ok();
    assert!(!left.stdout.contains("storm-"), "{left}");
}
