//! Containers of an ordinary user: with one id and with several, with and without a cgroup of his own.

use crate::harness::*;
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};

/// Grants the user subordinate ids, in the private mount namespace only; he is in every passwd file.
const GRANT: &str = "echo nobody:200000:65536 > $BASE/subid
    for f in uid gid; do [ -e /etc/sub$f ] || touch /etc/sub$f; mount --bind $BASE/subid /etc/sub$f; done";

/// Root is the user himself, and 1 to 1000 are subordinate ids.
fn several_ids(b: Bundle) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": 65_534, "size": 1}, {"containerID": 1, "hostID": 200_000, "size": 1000}]);
    b.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

/// The user has a cgroup of version 2, in which he is.
fn delegated(b: Bundle) -> Bundle {
    let dir = format!("/sys/fs/cgroup/user-{}", b.id);
    let enter = format!("mkdir -p {dir}/session; echo $$ > {dir}/session/cgroup.procs");
    b.view(View::V2).prelude(&enter).prelude(&format!("chown -R 65534:65534 {dir}"))
}

#[test]
fn what_spec_writes_runs_as_it_is() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"));
    let b = Bundle::new().unprivileged();
    let dir = b.dir();
    b.cmd(&["spec", "--rootless", "-b", dir.to_str().unwrap()]).ok();
    let mut config: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], 65_534);
    // But for what it runs, and that there is no terminal here.
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "id -u; cat /proc/self/setgroups; ls /sys; hostname"]);
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let out = b.cmd(&b.with_bundle("run", &[])).ok();
    assert_eq!(out.lines()[..2], ["0", "deny"]);
    assert!(out.lines().contains(&"kernel") && out.lines().contains(&"orlop"), "{out}");
    b.assert_nothing_left();
}

/// What is delegated to the user is his, and none of the container's (CVE-2023-25809).
#[test]
fn the_cgroups_of_the_user_are_out_of_reach() {
    requires!(Need::Root, Need::UserNamespace, Need::CgroupV2, Need::Program("setpriv"));
    let b = delegated(Bundle::new()).unprivileged();
    let dir = b.dir();
    b.cmd(&["spec", "--rootless", "-b", dir.to_str().unwrap()]).ok();
    let written: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    let attempt =
        "for d in $(find /sys/fs/cgroup -type d); do mkdir $d/made && echo made $d; done 2>&1; true";
    for sysfs in [false, true] {
        let mut config = written.clone();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", attempt]);
        if sysfs {
            let mounts = config["mounts"].as_array_mut().unwrap();
            let sys = mounts.iter_mut().find(|mount| mount["destination"] == "/sys").unwrap();
            *sys = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]});
        }
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let out = b.cmd(&b.with_bundle("run", &[])).ok();
        assert!(out.stdout.contains("Read-only file system") && !out.stdout.contains("made /"), "{out}");
    }
}

#[test]
fn its_whole_life_with_one_id() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"));
    let b = Bundle::idle().unprivileged().up();
    assert_eq!(b.status(), "running");
    let script = "id -u; id -g; cat /proc/self/uid_map /proc/self/setgroups; ps -o pid,args | grep -c trap";
    let out = b.exec(&["sh", "-c", script]).ok();
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(words[..6], ["0", "0", "0", "65534", "1", "deny"], "{out}");
    let pids: Vec<i32> = serde_json::from_str(&b.cmd(&["ps", "-f", "json", &b.id]).ok().stdout).unwrap();
    assert!(pids.contains(&b.pid()), "{pids:?}");
    b.exec(&["sh", "-c", "exit 7"]).fails(7, &[]);
    b.kill("TERM").ok();
    wait_until("it has stopped", || b.status() == "stopped");
    b.delete().ok();
    b.assert_nothing_left();

    let b = Bundle::idle().unprivileged().up();
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn who_may_make_no_cgroups_can_ask_for_none() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"));
    let words = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    let path = Bundle::idle().unprivileged();
    let path = path.set("/linux/cgroupsPath", "/orlop-test-not-his");
    let limit = Bundle::idle().unprivileged().set("/linux/resources", json!({"pids": {"limit": 20}}));
    for (b, field) in [(path, "linux.cgroupsPath"), (limit, "linux.resources.pids.limit")] {
        let out = b.create();
        out.fails(1, &["unable to apply cgroup configuration", field, "permission denied", words]).one_line();
        b.assert_nothing_left();
    }
}

#[test]
fn the_state_is_kept_where_the_user_has_his_runtime_files() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"));
    let b = Bundle::idle().unprivileged();
    let root = b.io().join("run");
    fs::create_dir(&root).unwrap();
    let b = b.runtime_env("XDG_RUNTIME_DIR", root.to_str().unwrap());
    // Without the `--root` that the harness names, after seven words.
    let b = b.prelude("runtime=\"$1 $2 $3 $4 $5 $6 $7\"; shift 9; set -- $runtime \"$@\"");
    b.create().ok();
    assert!(root.join("orlop").join(&b.id).join("state.json").exists());
    assert!(!b.state_root().join(&b.id).exists());
    b.delete_force().ok();
    assert!(!root.join("orlop").join(&b.id).exists());
}

#[test]
fn root_of_a_namespace_is_the_user_that_he_was() {
    requires!(Need::Root, Need::UserNamespace);
    let b = Bundle::idle();
    let run = b.io().join("run");
    // What a creator leaves that is killed at its first step; the id is no other test's.
    let left = run.join("orlop").join(&b.id);
    for (user, found) in [("root", false), ("someone", true)] {
        fs::create_dir_all(&left).unwrap();
        let mut delete = Command::new("unshare");
        delete.args(["--user", "--map-root-user"]).arg(runtime()).args(["delete", "--force", &b.id]);
        delete.env("XDG_RUNTIME_DIR", &run).env("USER", user);
        assert!(delete.status().unwrap().success());
        assert_eq!(!left.exists(), found, "{user}");
    }
}

#[test]
fn several_ids_and_groups_by_newuidmap() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("newuidmap"), Need::Program("setpriv"));
    let user = json!({"uid": 5, "gid": 6, "additionalGids": [7, 8]});
    let b = several_ids(Bundle::idle().prelude(GRANT).unprivileged()).set("/process/user", user).up();
    let script = "id -u; id -g; grep ^Groups: /proc/self/status; cat /proc/self/setgroups";
    let out = b.exec(&["sh", "-c", script]).ok();
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(words, ["5", "6", "Groups:", "7", "8", "allow"], "{out}");
    assert_eq!(b.exec_with(&["--user", "9:10"], &["id", "-u"]).ok().stdout, "9\n");
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn what_is_not_granted_is_said() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("newuidmap"), Need::Program("setpriv"));
    let b = several_ids(Bundle::new().unprivileged());
    b.create().fails(1, &["linux.uidMappings", "newuidmap", "/etc/subuid"]).one_line();
    b.assert_nothing_left();
    let b = several_ids(Bundle::new().prelude("set -- env PATH=/nowhere \"$@\"").unprivileged());
    b.create().fails(1, &["linux.uidMappings", "newuidmap", "no such file", "package uidmap"]).one_line();
    b.assert_nothing_left();
    // With one id there are no groups to choose from.
    let b = Bundle::new().unprivileged().set("/process/user/additionalGids", vec![5]);
    b.create().fails(1, &["process.user.additionalGids[0]", "not mapped"]).one_line();
    b.assert_nothing_left();
}

#[test]
fn a_delegated_cgroup_is_used() {
    requires!(Need::Root, Need::CgroupV2, Need::UserNamespace, Need::Program("setpriv"));
    let b = delegated(Bundle::idle()).unprivileged().namespace("cgroup").up();
    let own = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    assert_eq!(own, format!("/user-{id}/{id}", id = b.id));
    let exec = b.spawn(&["exec", &b.id, "sh", "-c", "tail -n 1 /proc/self/cgroup; echo ready; sleep 300"]);
    exec.wait_for("ready");
    assert_eq!(exec.stdout().lines().next(), Some("0::/"));
    let pids: Vec<i32> = serde_json::from_str(&b.cmd(&["ps", "-f", "json", &b.id]).ok().stdout).unwrap();
    assert!(pids.len() >= 3 && pids.contains(&b.pid()), "{pids:?}");
    b.cmd(&["pause", &b.id]).ok();
    assert_eq!(b.status(), "paused");
    b.cmd(&["resume", &b.id]).ok();
    assert_eq!(b.status(), "running");
    b.cmd(&["kill", "--all", &b.id, "KILL"]).ok();
    exec.wait();
    wait_until("it has stopped", || b.status() == "stopped");
    b.delete().ok();
}

#[test]
fn without_a_cgroup_there_is_no_pause() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"));
    let b = Bundle::idle().unprivileged().up();
    let name = format!("/{}", b.id);
    let own = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).unwrap();
    assert!(!own.contains(&name), "{own}");
    b.cmd(&["pause", &b.id]).fails(1, &["no cgroup to freeze"]).one_line();
    b.delete_force().ok();
}

#[test]
fn a_limit_that_needs_a_cgroup_is_refused() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"));
    let b = Bundle::new().unprivileged().set("/linux/resources/pids/limit", 20);
    b.create().fails(1, &["linux.resources.pids.limit"]).one_line();
    b.assert_nothing_left();
}

#[test]
fn what_an_ordinary_user_may_ask_for() {
    requires!(Need::Root, Need::UserNamespace, Need::TimeNamespace, Need::Program("setpriv"));
    let script =
        "cut -d' ' -f19 /proc/self/stat; cat /proc/self/oom_score_adj /proc/sys/kernel/msgmax; ulimit -n
                  cat /proc/self/timens_offsets; grep ^CapEff: /proc/self/status";
    let b = Bundle::sh(script)
        .unprivileged()
        .namespace("time")
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 77}}))
        .set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 19}))
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}))
        .set("/process/oomScoreAdj", 900)
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}]))
        .set("/linux/sysctl", json!({"kernel.msgmax": "4242"}));
    let out = b.run().ok();
    assert_eq!(out.lines()[..4], ["19", "900", "4242", "55"], "{out}");
    assert_eq!(out.field("boottime").split_whitespace().next(), Some("77"), "{out}");
    assert_ne!(out.field("CapEff:"), "0000000000000000", "capabilities over what is the user's");
}

#[test]
fn what_an_ordinary_user_may_not_ask_for() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"));
    for (pointer, value, texts) in [
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "nice": -20}),
            ["process.scheduler", "CAP_SYS_NICE"],
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_RT", "priority": 0}),
            ["process.ioPriority", "CAP_SYS_NICE"],
        ),
        ("/process/oomScoreAdj", json!(-1000), ["process.oomScoreAdj", "CAP_SYS_RESOURCE"]),
    ] {
        let b = Bundle::new().unprivileged().set(pointer, value);
        b.create().fails(1, &texts).one_line();
        b.assert_nothing_left();
    }
}

#[test]
fn hooks_run_as_the_user() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("setpriv"));
    let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let b = Bundle::new().unprivileged();
    let log = b.io();
    // The ids are those of the namespaces that a hook runs in.
    let b = kinds.iter().fold(b, |b, kind| b.hook(kind, &format!("id -u > {}/{kind}", log.display())));
    b.run().ok();
    let ids = kinds.map(|kind| fs::read_to_string(log.join(kind)).unwrap_or_default().trim().to_owned());
    assert_eq!(ids, ["65534", "65534", "0", "65534", "65534"]);
}

/// The ordinary user's Podman calls the runtime in a user namespace, and lets containers share a PID namespace. The runtime may go into
/// that, and not back into its own, which is the host's.
#[test]
fn a_pid_namespace_is_joined_from_within_a_user_namespace() {
    requires!(Need::Root, Need::UserNamespace, Need::Program("nsenter"));
    // It ends with this test, however that ends: nothing is to be read any more.
    let mut outer =
        Command::new("unshare").args(["--user", "--mount", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let target = format!("/proc/{}", outer.id());
    wait_until("it is there", || fs::read_to_string(format!("{target}/comm")).unwrap() == "cat\n");
    let enter = format!("set -- nsenter --user={target}/ns/user --mount={target}/ns/mnt \"$@\"");
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("{target}/{map}"), "0 0 65536").unwrap();
    }
    let first = Bundle::idle().prelude(&enter).up();
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    let hook = |b: Bundle, kind: &str| {
        let note = b.io().join(kind);
        b.hook(kind, &format!("readlink /proc/self/ns/pid > {}", note.display()))
    };
    let second = Bundle::idle().prelude(&enter).join("pid", format!("/proc/{}/ns/pid", first.pid()));
    let second = hook(hook(second, "createRuntime"), "poststart").up();
    assert_eq!(namespace(second.pid()), namespace(first.pid()));
    let seen = second.exec(&["sh", "-c", "ps -o pid,args"]).ok();
    assert!(seen.lines().len() > 3 && seen.lines()[1].trim().starts_with("1 "), "{seen}");
    let own = namespace(std::process::id().cast_signed());
    for kind in ["createRuntime", "poststart"] {
        let of_hook = fs::read_to_string(second.io().join(kind)).unwrap();
        assert_eq!(of_hook.trim(), own.to_str().unwrap(), "{kind}");
    }
    second.delete_force().ok();
    second.assert_nothing_left();
    first.delete_force().ok();
    drop(outer.stdin.take());
    outer.wait().unwrap();
}
