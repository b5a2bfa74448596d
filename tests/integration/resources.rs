//! Limits that a container is created with, read back from the files of its cgroup.

use crate::harness::{Bundle, Need, requires};
use serde_json::{Value, json};
use std::fs;

/// A created container with these resources.
fn with(resources: Value) -> Bundle {
    let b = Bundle::idle().set("/linux/resources", resources);
    b.create().ok();
    b
}

/// Checks files, as (controller, name in v1, value in v1, name in v2, value in v2); an empty name is one that there is not.
#[track_caller]
fn check(b: &Bundle, files: &[(&str, &str, &str, &str, &str)]) {
    for (controller, v1, value_v1, v2, value_v2) in files {
        let path = b.cgroup_file(controller, &format!("1{v1}"), &format!("2{v2}"));
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (name, value) =
            if let Some(name) = name.strip_prefix('1') { (name, value_v1) } else { (&name[1..], value_v2) };
        if name.is_empty() {
            continue;
        }
        let path = path.with_file_name(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text.trim(), *value, "{}", path.display());
    }
}

/// The number of a disk of the host, as (major, minor).
fn disk() -> Option<(u64, u64)> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten();
    let number = disks.filter_map(|disk| fs::read_to_string(disk.path().join("dev")).ok()).next()?;
    let (major, minor) = number.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn memory() {
    requires!(Need::Controller("memory"));
    let b = with(json!({"memory": {"limit": 64 << 20, "reservation": 32 << 20}}));
    check(
        &b,
        &[
            ("memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
            ("memory", "memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432"),
        ],
    );
}

#[test]
fn memory_and_swap() {
    requires!(Need::Controller("memory"));
    let swap = Bundle::idle();
    let root = swap.cgroup_file("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
    let top = root.parent().unwrap().parent().unwrap().join("memory.memsw.limit_in_bytes");
    if root.ends_with("memory.memsw.limit_in_bytes") && !top.exists() {
        eprintln!("skipped: needs swap accounting");
        return;
    }
    let b = with(json!({"memory": {"limit": 64 << 20, "swap": 96 << 20}}));
    let file = ("memory", "memory.memsw.limit_in_bytes", "100663296", "memory.swap.max", "33554432");
    check(&b, &[file]);
}

#[test]
fn memory_of_version_1_alone() {
    requires!(Need::Controller("memory"));
    if Bundle::new().cgroup_file("memory", "1", "2").ends_with("2") {
        let b = Bundle::idle().set("/linux/resources", json!({"memory": {"swappiness": 7}}));
        b.create().fails(1, &["linux.resources.memory.swappiness: "]);
        return;
    }
    let b = with(
        json!({"memory": {"limit": 64 << 20, "swappiness": 7, "disableOOMKiller": true, "useHierarchy": true}}),
    );
    check(
        &b,
        &[("memory", "memory.swappiness", "7", "", ""), ("memory", "memory.use_hierarchy", "1", "", "")],
    );
    let control = fs::read_to_string(b.cgroup_file("memory", "memory.oom_control", "")).unwrap();
    assert!(control.contains("oom_kill_disable 1"), "{control}");
}

#[test]
fn cpu() {
    requires!(Need::Controller("cpu"));
    let b = with(json!({"cpu": {"shares": 512, "quota": 50000, "period": 200_000, "burst": 25000}}));
    check(
        &b,
        &[
            ("cpu", "cpu.shares", "512", "cpu.weight", "59"),
            ("cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 200000"),
            ("cpu", "cpu.cfs_period_us", "200000", "", ""),
            ("cpu", "cpu.cfs_burst_us", "25000", "cpu.max.burst", "25000"),
        ],
    );
    check(&with(json!({"cpu": {"idle": 1}})), &[("cpu", "cpu.idle", "1", "cpu.idle", "1")]);
}

#[test]
fn cpus_and_memory_nodes() {
    requires!(Need::Controller("cpuset"));
    let b = with(json!({"cpu": {"cpus": "0", "mems": "0"}}));
    check(
        &b,
        &[
            ("cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0", "cpuset.mems", "0"),
        ],
    );
}

#[test]
fn processes() {
    requires!(Need::Controller("pids"));
    for (limit, value) in [(50, "50"), (0, "1"), (-1, "max")] {
        check(&with(json!({"pids": {"limit": limit}})), &[("pids", "pids.max", value, "pids.max", value)]);
    }
}

#[test]
fn throttled_disks() {
    requires!(Need::Controller("blkio"));
    let Some((major, minor)) = disk() else {
        eprintln!("skipped: needs a disk");
        return;
    };
    let rate = |rate: u32| json!([{"major": major, "minor": minor, "rate": rate}]);
    let b = with(json!({"blockIO": {
        "throttleReadBpsDevice": rate(1001), "throttleWriteBpsDevice": rate(1002),
        "throttleReadIOPSDevice": rate(1003), "throttleWriteIOPSDevice": rate(1004),
    }}));
    let all = format!("{major}:{minor} rbps=1001 wbps=1002 riops=1003 wiops=1004");
    let line = |rate: u32| format!("{major}:{minor} {rate}");
    check(
        &b,
        &[
            ("blkio", "blkio.throttle.read_bps_device", &line(1001), "io.max", &all),
            ("blkio", "blkio.throttle.write_bps_device", &line(1002), "", ""),
            ("blkio", "blkio.throttle.read_iops_device", &line(1003), "", ""),
            ("blkio", "blkio.throttle.write_iops_device", &line(1004), "", ""),
        ],
    );
}

#[test]
fn devices() {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"},
    ]);
    let script =
        "(: </dev/log) && echo read; (: >/dev/log) || echo not written; (: </dev/port) || echo not read";
    let nodes = json!([
        {"path": "/dev/log", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666},
        {"path": "/dev/port", "type": "c", "major": 1, "minor": 4, "fileMode": 0o666},
    ]);
    let b = Bundle::sh(script).set("/linux/devices", nodes);
    let b = b.capabilities(&["bounding", "permitted", "effective"], &["CAP_SYSLOG", "CAP_SYS_RAWIO"]);
    let out = b.set("/linux/resources", json!({"devices": rules})).run().ok();
    assert_eq!(out.lines(), ["read", "not written", "not read"], "{out}");
    assert!(out.stderr.contains("not permitted"), "{out}");
}

#[test]
fn files_of_version_2_by_their_names() {
    let b = Bundle::idle().set("/linux/resources", json!({"unified": {"cgroup.max.depth": "7"}}));
    let created = b.create();
    let unified = crate::harness::hierarchies().into_iter().find(|hierarchy| hierarchy.v2);
    match unified {
        Some(unified) if created.status.success() => {
            let path = unified.path.join(b.cgroup().trim_start_matches('/')).join("cgroup.max.depth");
            assert_eq!(fs::read_to_string(path).unwrap().trim(), "7");
        }
        _ => drop(created.fails(1, &["linux.resources.unified"])),
    }
}

#[test]
fn what_the_host_has_no_controller_for_is_refused() {
    for (controller, field, resources) in [
        ("net_cls", "linux.resources.network.classID", json!({"network": {"classID": 1_048_577}})),
        (
            "net_prio",
            "linux.resources.network.priorities[0]",
            json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}}),
        ),
        ("rdma", "linux.resources.rdma", json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 100}}})),
    ] {
        if Need::Controller(controller).is_met() {
            eprintln!("skipped: the host has the controller {controller}");
            continue;
        }
        Bundle::idle().set("/linux/resources", resources).create().fails(1, &[field]).one_line();
    }
}
