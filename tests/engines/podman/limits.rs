//! What `podman run` limits is in the container's cgroup, and `podman update` changes it.

use super::{Container, NEED, run};
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
fn cgroups_can_be_refused_or_split() {
    requires!(NEED, Need::CgroupV1);
    let own = run("--cgroupns private", "cat /proc/self/cgroup").ok();
    assert!(own.stdout.lines().all(|line| line.ends_with(":/")), "a cgroup namespace: {own}");
    let disabled = run("--cgroups=disabled --cgroupns host", "cat /proc/self/cgroup").ok();
    assert!(!disabled.stdout.contains("libpod-"), "{disabled}");
    let no_conmon = run("--cgroups=no-conmon --cgroupns host", "cat /proc/self/cgroup").ok();
    assert!(no_conmon.stdout.contains("/libpod_parent/libpod-"), "{no_conmon}");
    let parent = run("--cgroup-parent /mine --cgroupns host", "cat /proc/self/cgroup").ok();
    assert!(parent.stdout.contains(":/mine/libpod-"), "{parent}");
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
