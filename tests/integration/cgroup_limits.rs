//! Every field of `linux.resources`, read back from the kernel's file, in whichever version of cgroups the host has
//! the controller.

use crate::harness::{Bundle, LoopDevice, Need, Setting, View, hierarchies, place_of, requires};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The views of the host in which the controller is to be had: on a hybrid host, of either version.
fn views(controller: &str) -> Vec<View> {
    let hybrid = [true, false].iter().all(|v2| hierarchies().iter().any(|h| h.v2 == *v2));
    let mut views = match View::from_env() {
        View::Host if hybrid => vec![View::Host, View::V2],
        view => vec![view],
    };
    views.retain(|view| place_of(controller, *view).is_some());
    views
}

/// A file of the cgroup and a line that it must have.
type Line<'a> = (&'a str, &'a str);

#[track_caller]
fn has_line(path: &Path, line: &str) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.lines().any(|found| found.trim() == line), "{}: {text:?}, not {line:?}", path.display());
}

/// Creates a container with these resources, and compares.
#[track_caller]
fn expect(controller: &'static str, resources: &Value, v1: &[Line], v2: &[Line]) {
    for view in views(controller) {
        let b = Bundle::new().view(view).set("/linux/resources", resources.clone());
        b.create().ok();
        let lines = if place_of(controller, view).unwrap().v2 { v2 } else { v1 };
        for (file, line) in lines {
            has_line(&b.cgroup_file(controller, file, file), line);
        }
        b.delete_force().ok();
    }
}

/// Whether a new cgroup has this file; some come and go with modules of the kernel.
fn has_file(b: &Bundle, controller: &str, v1: &str, v2: &str) -> bool {
    let path = b.cgroup_file(controller, v1, v2);
    let dir = path.parent().unwrap();
    fs::create_dir(dir).unwrap();
    let found = path.exists();
    fs::remove_dir(dir).unwrap();
    if !found {
        eprintln!("skipped: needs {v1} or {v2}");
    }
    found
}

#[test]
fn shares_quota_period_and_burst() {
    requires!(Need::Controller("cpu"));
    expect(
        "cpu",
        &json!({"cpu": {"shares": 512, "quota": 50_000, "period": 200_000, "burst": 10_000}}),
        &[
            ("cpu.shares", "512"),
            ("cpu.cfs_quota_us", "50000"),
            ("cpu.cfs_period_us", "200000"),
            ("cpu.cfs_burst_us", "10000"),
        ],
        &[("cpu.weight", "59"), ("cpu.max", "50000 200000"), ("cpu.max.burst", "10000")],
    );
    // The default of v1 is the default of v2, and an unlimited quota leaves the period.
    expect(
        "cpu",
        &json!({"cpu": {"shares": 1024, "quota": -1, "period": 50_000}}),
        &[("cpu.shares", "1024"), ("cpu.cfs_quota_us", "-1"), ("cpu.cfs_period_us", "50000")],
        &[("cpu.weight", "100"), ("cpu.max", "max 50000")],
    );
}

#[test]
fn an_idle_cgroup() {
    requires!(Need::Controller("cpu"));
    let idle = [("cpu.idle", "1")];
    expect("cpu", &json!({"cpu": {"idle": 1}}), &idle, &idle);
}

#[test]
fn processors_and_memory_nodes() {
    requires!(Need::Controller("cpuset"));
    let lists = [("cpuset.cpus", "0"), ("cpuset.mems", "0")];
    expect("cpuset", &json!({"cpu": {"cpus": "0", "mems": "0"}}), &lists, &lists);
}

/// Empty means "as above" in v2, and "none at all" in v1, where no process could enter.
#[test]
fn processors_and_memory_nodes_are_inherited_down_the_path() {
    requires!(Need::Controller("cpuset"));
    for view in views("cpuset") {
        let hierarchy = place_of("cpuset", view).unwrap();
        let b = Bundle::new().view(view);
        let path = format!("{}/deep/er", b.cgroup());
        let b = b.set("/linux/cgroupsPath", path.as_str());
        b.create().ok();
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let effective = format!("{file}.effective");
            let read = |dir: &Path| {
                let file = if hierarchy.v2 { &effective } else { file };
                fs::read_to_string(dir.join(file)).unwrap()
            };
            assert_eq!(read(&hierarchy.path.join(&path[1..])), read(&hierarchy.path), "{view:?} {file}");
        }
        b.delete_force().ok();
    }
}

#[test]
fn memory() {
    requires!(Need::Controller("memory"));
    expect(
        "memory",
        &json!({"memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20}}),
        &[
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "100663296"),
            ("memory.soft_limit_in_bytes", "33554432"),
        ],
        // Swap alone, without the memory.
        &[("memory.max", "67108864"), ("memory.swap.max", "33554432"), ("memory.low", "33554432")],
    );
    expect(
        "memory",
        &json!({"memory": {"limit": 64 << 20, "swap": -1}}),
        &[("memory.limit_in_bytes", "67108864")],
        &[("memory.max", "67108864"), ("memory.swap.max", "max")],
    );
}

#[test]
fn swappiness_and_the_oom_killer_of_version_1() {
    requires!(Need::Controller("memory"), Need::CgroupV1);
    expect(
        "memory",
        &json!({"memory": {"limit": 64 << 20, "swappiness": 7, "disableOOMKiller": true}}),
        &[("memory.swappiness", "7"), ("memory.oom_control", "oom_kill_disable 1")],
        &[],
    );
}

#[test]
fn processes() {
    requires!(Need::Controller("pids"));
    for (limit, value) in [(42, "42"), (-1, "max")] {
        let line = [("pids.max", value)];
        expect("pids", &json!({"pids": {"limit": limit}}), &line, &line);
    }
    // No limit is none.
    expect("pids", &json!({"pids": {}}), &[("pids.max", "max")], &[("pids.max", "max")]);
}

#[test]
fn rates_of_a_block_device() {
    requires!(Need::Controller("blkio"), Need::Program("losetup"));
    let files = Bundle::new();
    let device = LoopDevice::new(&files.io().join("disk"));
    let rate = |rate: u64| json!([{"major": device.major, "minor": device.minor, "rate": rate}]);
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1 << 20),
        "throttleWriteBpsDevice": rate(2 << 20),
        "throttleReadIOPSDevice": rate(100),
        "throttleWriteIOPSDevice": rate(200),
    }});
    let line = |rate: &str| format!("{} {rate}", device.number());
    expect(
        "blkio",
        &resources,
        &[
            ("blkio.throttle.read_bps_device", &line("1048576")),
            ("blkio.throttle.write_bps_device", &line("2097152")),
            ("blkio.throttle.read_iops_device", &line("100")),
            ("blkio.throttle.write_iops_device", &line("200")),
        ],
        &[("io.max", &line("rbps=1048576 wbps=2097152 riops=100 wiops=200"))],
    );
}

#[test]
fn weight_of_block_io() {
    requires!(Need::Controller("blkio"));
    let probe = Bundle::new();
    if has_file(&probe, "blkio", "blkio.bfq.weight", "io.bfq.weight") {
        let resources = json!({"blockIO": {"weight": 500}});
        expect("blkio", &resources, &[("blkio.bfq.weight", "500")], &[("io.bfq.weight", "default 500")]);
    } else if has_file(&probe, "blkio", "io.weight", "io.weight") {
        let resources = json!({"blockIO": {"weight": 500}});
        expect("blkio", &resources, &[], &[("io.weight", "default 4950")]);
    }
}

/// BFQ takes weights for those devices alone that it schedules. `io.weight` is of the controller that `io.cost.qos` switches on for a
/// device.
#[test]
fn weight_of_one_block_device() {
    requires!(Need::Controller("blkio"), Need::Program("losetup"));
    let files = Bundle::new();
    let device = LoopDevice::new(&files.io().join("disk"));
    let number = device.number();
    let weight = json!([{"major": device.major, "minor": device.minor, "weight": 300}]);
    let resources = json!({"blockIO": {"weightDevice": weight}});
    if has_file(&files, "blkio", "blkio.bfq.weight_device", "io.bfq.weight") {
        let path = format!("/sys/dev/block/{number}/queue/scheduler");
        let before = fs::read_to_string(&path).unwrap();
        // The device's number goes to others, with the scheduler.
        let scheduler = Setting::new(path, before.split(['[', ']']).nth(1).unwrap());
        scheduler.write("none");
        let b = Bundle::new().set("/linux/resources", resources.clone());
        b.create().fails(1, &["linux.resources.blockIO.weightDevice[0]", "scheduled by BFQ"]).one_line();
        b.assert_nothing_left();
        scheduler.write("bfq");
        let line = format!("{number} 300");
        expect("blkio", &resources, &[("blkio.bfq.weight_device", &line)], &[("io.bfq.weight", &line)]);
    } else if has_file(&files, "blkio", "io.weight", "io.weight") {
        let path = place_of("blkio", View::V2).unwrap().path.join("io.cost.qos");
        let qos = Setting::new(path, format!("{number} enable=0"));
        qos.write(&format!("{number} enable=1"));
        expect("blkio", &resources, &[], &[("io.weight", &format!("{number} 2930"))]);
    }
}

#[test]
fn huge_pages() {
    requires!(Need::File("/sys/kernel/mm/hugepages/hugepages-2048kB"));
    expect(
        "hugetlb",
        &json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}),
        &[("hugetlb.2MB.limit_in_bytes", "4194304"), ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304")],
        &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
    );
}

#[test]
fn class_of_network_packets() {
    requires!(Need::Controller("net_cls"));
    let resources = json!({"network": {"classID": 0x10_0001}});
    expect("net_cls", &resources, &[("net_cls.classid", "1048577")], &[]);
}

#[test]
fn priorities_of_network_devices() {
    requires!(Need::Controller("net_prio"));
    let resources = json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}});
    expect("net_prio", &resources, &[("net_prio.ifpriomap", "lo 5")], &[]);
}

/// Version 2 counts of every cgroup, and version 1 of those of a hierarchy of its own.
#[test]
fn performance_events_are_the_containers() {
    requires!(Need::Controller("perf_event"));
    let b = Bundle::idle().up();
    let exec = b.exec(&["cat", "/proc/self/cgroup"]).ok();
    let own = format!(":{}", b.cgroup());
    let hierarchy = place_of("perf_event", View::Host).unwrap();
    let whole = format!(":{}{own}", hierarchy.controllers.join(","));
    assert!(exec.stdout.lines().any(|line| line.ends_with(&whole)), "{exec}");
    has_line(&b.cgroup_file("perf_event", "cgroup.procs", ""), &b.pid().to_string());
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn rdma() {
    requires!(Need::Controller("rdma"));
    let absent = json!({"rdma": {"absent0": {"hcaHandles": 3}}});
    let b = Bundle::new().set("/linux/resources", absent);
    b.create().fails(1, &["linux.resources.rdma[\"absent0\"]", "rdma.max"]).one_line();
    b.assert_nothing_left();

    requires!(Need::File("/sys/class/infiniband"));
    let Some(device) = fs::read_dir("/sys/class/infiniband").unwrap().flatten().next() else {
        eprintln!("skipped: needs an RDMA device");
        return;
    };
    let name = device.file_name().into_string().unwrap();
    let limits = [("rdma.max", format!("{name} hca_handle=3 hca_object=500"))];
    let limits = limits.each_ref().map(|(file, line)| (*file, line.as_str()));
    expect("rdma", &json!({"rdma": {name.as_str(): {"hcaHandles": 3, "hcaObjects": 500}}}), &limits, &limits);
}

/// Whatever file of v2 is named, with one line or several.
#[test]
fn the_unified_map() {
    requires!(Need::V2Controller("memory"), Need::V2Controller("io"), Need::Program("losetup"));
    let files = Bundle::new();
    let disks = ["a", "b"].map(|name| LoopDevice::new(&files.io().join(name)));
    let [a, b] =
        disks.each_ref().map(|disk| format!("{} rbps=1048576 wbps=max riops=max wiops=max", disk.number()));
    expect(
        "memory",
        &json!({"unified": {
            "memory.high": "50331648",
            "memory.min": "1048576",
            "memory.oom.group": "1",
            "pids.max": "77",
            "cpu.weight.nice": "-5",
            "io.max": disks.each_ref().map(|disk| format!("{} rbps=1048576", disk.number())).join("\n"),
        }}),
        &[],
        &[
            ("memory.high", "50331648"),
            ("memory.min", "1048576"),
            ("memory.oom.group", "1"),
            ("pids.max", "77"),
            ("cpu.weight.nice", "-5"),
            ("io.max", &a),
            ("io.max", &b),
        ],
    );
    // A resource of the controller misc that no host has.
    let b = Bundle::new().set("/linux/resources", json!({"unified": {"misc.max": "absent 1"}}));
    b.create().fails(1, &["linux.resources.unified[\"misc.max\"]"]).one_line();
    b.assert_nothing_left();
}

#[test]
fn a_host_with_version_1_takes_no_unified_map() {
    requires!(Need::CgroupV1);
    if View::from_env() == View::V2 {
        eprintln!("skipped: needs VIEW not to be v2");
        return;
    }
    let b = Bundle::new().set("/linux/resources", json!({"unified": {"memory.high": "50331648"}}));
    b.create().fails(1, &["linux.resources.unified"]).one_line();
    b.assert_nothing_left();
}

#[test]
fn a_limit_without_its_controller_is_refused() {
    for (controller, field, resources) in [
        ("net_cls", "linux.resources.network.classID", json!({"network": {"classID": 1_048_577}})),
        (
            "net_prio",
            "linux.resources.network.priorities",
            json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}}),
        ),
        ("rdma", "linux.resources.rdma", json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 100}}})),
    ] {
        if place_of(controller, View::from_env()).is_none() {
            Bundle::idle().set("/linux/resources", resources).create().fails(1, &[field]).one_line();
        }
    }
}
