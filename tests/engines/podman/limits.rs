//! What `podman run` limits is in the container's cgroup, and `podman update` changes it.

use super::{Container, NEED, run, world};
use crate::harness::{Need, requires};

#[test]
fn limits_are_in_force() {
    requires!(NEED, Need::CgroupV1);
    let options =
        "--memory 64m --memory-swap 96m --cpus 0.5 --pids-limit 20 --cpuset-cpus 0 --cpu-shares 512";
    let c = Container::up("limits", options);
    for (file, value) in [
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "100663296"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.shares", "512"),
        ("pids.max", "20"),
        ("cpuset.cpus", "0"),
    ] {
        assert_eq!(c.cgroup_file(file), value, "{file}");
    }
    c.cmd("exec", "sh -c 'head -c 16m /dev/zero >/dev/shm/held'").ok();
    let stats = c.cmd("stats --no-stream --format '{{.PIDs}} {{.MemUsageBytes}}'", "").ok();
    let words: Vec<&str> = stats.stdout.split_whitespace().collect();
    let [processes, used, "/", "64MiB"] = words[..] else { panic!("{stats}") };
    let used: f64 = used.strip_suffix("MiB").unwrap().parse().unwrap();
    assert!(processes == "2" && (16.0..20.0).contains(&used), "{stats}");
    let fork = c.cmd("exec", "sh -c 'for i in $(seq 30); do sleep 9 & done; echo all'");
    assert!(!fork.stdout.contains("all"), "{fork}");
    c.remove();
}

#[test]
fn memory_beyond_the_limit_is_death() {
    requires!(NEED, Need::CgroupV1);
    let out = run("--memory 16m --memory-swap 16m", "tail -c 64m /dev/zero");
    assert_eq!(out.code(), 137, "{out}");
}

#[test]
fn update_changes_limits() {
    requires!(NEED, Need::CgroupV1);
    let c = Container::up("update", "--memory 64m --pids-limit 20");
    c.cmd("update --memory 128m --memory-swap 256m --cpus 0.25 --cpu-shares 2048 --cpuset-cpus 0", "").ok();
    for (file, value) in [
        ("memory.limit_in_bytes", "134217728"),
        ("memory.memsw.limit_in_bytes", "268435456"),
        ("cpu.cfs_quota_us", "25000"),
        ("cpu.shares", "2048"),
        ("pids.max", "20"),
        ("cpuset.cpus", "0"),
    ] {
        assert_eq!(c.cgroup_file(file), value, "{file}");
    }
    c.remove();
}

#[test]
fn cgroups_have_a_namespace_and_a_parent() {
    requires!(NEED, Need::CgroupV1);
    let own = run("--cgroupns private", "cat /proc/self/cgroup").ok();
    assert!(own.stdout.lines().all(|line| line.ends_with(":/")), "a cgroup namespace: {own}");
    let parent = run("--cgroup-parent /mine --cgroupns host", "cat /proc/self/cgroup").ok();
    assert!(parent.stdout.contains(":/mine/libpod-"), "{parent}");
}

/// The container, or its monitor, is in the cgroup of whoever calls Podman.
#[test]
fn cgroups_of_the_caller() {
    requires!(NEED, Need::CgroupV1);
    let up = |name: &'static str, option: &str| {
        let caller = "/sys/fs/cgroup/pids/caller";
        let enter = format!("mkdir -p {caller} && echo 0 >{caller}/cgroup.procs && cat /proc/self/cgroup");
        let run = format!("podman run -d --name {name} {option} --network none bb:1 sleep 300");
        let out = world().sh(&format!("{enter} && {run} >/dev/null")).ok();
        assert!(out.stdout.contains(":pids:/caller\n"), "{out}");
        (Container::named(name), out.stdout)
    };
    let cgroups = |pid: &str| world().sh(&format!("cat /proc/{pid}/cgroup")).ok().stdout;

    let (c, caller) = up("disabled", "--cgroups=disabled");
    assert_eq!(cgroups(&c.inspect(".State.Pid")), caller);
    assert!(world().cgroups(&c.id).is_empty());
    c.remove();

    let (c, caller) = up("no-conmon", "--cgroups=no-conmon");
    assert_eq!(cgroups(&c.inspect(".State.ConmonPid")), caller);
    let own = format!("/libpod_parent/libpod-{}", c.id);
    let of_container = cgroups(&c.inspect(".State.Pid"));
    assert!(of_container.lines().all(|line| line.ends_with(&own)), "{of_container}");
    c.remove();
}

#[test]
fn ulimits_and_scores() {
    requires!(NEED);
    let out = run(
        "--ulimit nofile=333:444 --ulimit nproc=4096 --oom-score-adj 123 --shm-size 1m --umask 077",
        "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; df -k /dev/shm | tail -1; umask",
    )
    .ok();
    let lines = out.lines();
    assert_eq!(lines[..3], ["333", "444", "123"], "{out}");
    assert!(lines[3].contains(" 1024 "), "{out}");
    assert_eq!(lines[4], "0077", "{out}");
}
