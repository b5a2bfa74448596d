//! `update`: what is asked for changes, in the kernel's files and for later commands, and nothing else.

use crate::harness::{Bundle, Need, Output, View, place_of, requires};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

/// Files of limits that a container has in both versions, as (controller, v1, v2).
const LIMITS: [(&str, &str, &str); 12] = [
    ("memory", "memory.limit_in_bytes", "memory.max"),
    ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("memory", "memory.soft_limit_in_bytes", "memory.low"),
    ("cpu", "cpu.shares", "cpu.weight"),
    ("cpu", "cpu.cfs_quota_us", "cpu.max"),
    ("cpu", "cpu.cfs_period_us", "cpu.max"),
    ("cpu", "cpu.cfs_burst_us", "cpu.max.burst"),
    ("cpu", "cpu.idle", "cpu.idle"),
    ("cpuset", "cpuset.cpus", "cpuset.cpus"),
    ("cpuset", "cpuset.mems", "cpuset.mems"),
    ("pids", "pids.max", "pids.max"),
    ("blkio", "blkio.bfq.weight", "io.bfq.weight"),
];

/// A container with limits of memory, time, CPUs and processes.
fn limited() -> Bundle {
    Bundle::idle().set(
        "/linux/resources",
        json!({
            "memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 512, "quota": 50000, "period": 100_000},
            "pids": {"limit": 100},
        }),
    )
}

fn is_v2(b: &Bundle) -> bool {
    b.cgroup_file("cpu", "v1", "v2").ends_with("v2")
}

fn read(path: PathBuf) -> String {
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}

/// All limits that the host has.
fn limits(b: &Bundle) -> BTreeMap<String, String> {
    let files = LIMITS.iter().map(|(controller, v1, v2)| b.cgroup_file(controller, v1, v2));
    let there = files.filter(|path| path.exists());
    there.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), read(path))).collect()
}

/// The limits that differ from what they were.
fn changes(b: &Bundle, before: &BTreeMap<String, String>) -> Vec<String> {
    let now = limits(b);
    now.iter()
        .filter(|(file, value)| before[*file] != **value)
        .map(|(file, value)| format!("{file} {value}"))
        .collect()
}

fn update(b: &Bundle, options: &[&str]) -> Output {
    b.cmd(&[&["update"], options, &[b.id.as_str()]].concat())
}

/// `update` with these resources in a file.
fn update_with(b: &Bundle, resources: &Value) -> Output {
    let path = b.io().join("resources.json");
    fs::write(&path, resources.to_string()).unwrap();
    update(b, &["--resources", path.to_str().unwrap()])
}

/// `update` with these resources on its standard input.
fn update_from_stdin(b: &Bundle, args: &[&str], resources: &Value) {
    let mut command = b.command(args);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(resources.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{args:?}");
}

#[test]
fn every_option_changes_its_value_and_no_other() {
    requires!(
        Need::Controller("memory"),
        Need::Controller("cpu"),
        Need::Controller("cpuset"),
        Need::Controller("pids")
    );
    let b = limited().up();
    let swap_is_counted = b.cgroup_file("memory", "memory.memsw.limit_in_bytes", "memory.swap.max").exists();
    // What each changes in v1, and in v2.
    for (option, value, v1, v2) in [
        (
            "--memory",
            "96M",
            vec!["memory.limit_in_bytes 100663296"],
            vec!["memory.max 100663296", "memory.swap.max 33554432"],
        ),
        (
            "--memory",
            "64m",
            vec!["memory.limit_in_bytes 67108864"],
            vec!["memory.max 67108864", "memory.swap.max 67108864"],
        ),
        (
            "--memory-swap",
            "192M",
            vec!["memory.memsw.limit_in_bytes 201326592"],
            vec!["memory.swap.max 134217728"],
        ),
        (
            "--memory-swap",
            "-1",
            vec!["memory.memsw.limit_in_bytes 9223372036854771712"],
            vec!["memory.swap.max max"],
        ),
        (
            "--memory-reservation",
            "16777216",
            vec!["memory.soft_limit_in_bytes 16777216"],
            vec!["memory.low 16777216"],
        ),
        ("--cpu-share", "1024", vec!["cpu.shares 1024"], vec!["cpu.weight 100"]),
        ("--cpu-quota", "60000", vec!["cpu.cfs_quota_us 60000"], vec!["cpu.max 60000 100000"]),
        ("--cpu-burst", "30000", vec!["cpu.cfs_burst_us 30000"], vec!["cpu.max.burst 30000"]),
        ("--cpu-burst", "0", vec!["cpu.cfs_burst_us 0"], vec!["cpu.max.burst 0"]),
        ("--cpu-period", "200000", vec!["cpu.cfs_period_us 200000"], vec!["cpu.max 60000 200000"]),
        ("--cpu-quota", "-1", vec!["cpu.cfs_quota_us -1"], vec!["cpu.max max 200000"]),
        ("--cpuset-mems", "0", vec![], vec!["cpuset.mems 0"]),
        ("--pids-limit", "50", vec!["pids.max 50"], vec!["pids.max 50"]),
        ("--pids-limit", "-1", vec!["pids.max max"], vec!["pids.max max"]),
        ("--pids-limit", "0", vec!["pids.max 1"], vec!["pids.max 1"]),
        ("--memory", "0", vec![], vec![]),
    ] {
        let before = limits(&b);
        update(&b, &[option, value]).ok();
        let mut expected = if is_v2(&b) { v2 } else { v1 };
        expected.retain(|line| swap_is_counted || !line.contains("sw"));
        assert_eq!(changes(&b, &before), expected, "{option} {value}");
    }
}

#[test]
fn idle_takes_the_share_and_gives_it_back() {
    requires!(Need::Controller("cpu"));
    let b = limited().up();
    let file = b.cgroup_file("cpu", "cpu.idle", "cpu.idle");
    requires!(Need::File(Box::leak(file.to_str().unwrap().to_owned().into_boxed_str())));
    let before = limits(&b);
    update(&b, &["--cpu-idle", "1"]).ok();
    assert_eq!(read(file), "1");
    update(&b, &["--cpu-share", "10"]).fails(1, &["cpu.shares", "idle"]).one_line();
    update(&b, &["--cpu-idle", "0"]).ok();
    assert_eq!(changes(&b, &before), Vec::<String>::new());
    update(&b, &["--cpu-idle", "2"]).fails(1, &["linux.resources.cpu.idle"]).one_line();
}

/// On v1 the limit of memory and that which includes swap hold each other back.
#[test]
fn both_limits_of_memory_go_up_and_down_together() {
    requires!(Need::Controller("memory"));
    let b = limited().up();
    let file = b.cgroup_file("memory", "memory.limit_in_bytes", "memory.max");
    for (memory, swap) in [("256M", "512M"), ("16M", "24M"), ("512M", "512M"), ("-1", "-1"), ("32M", "64M")] {
        update(&b, &["--memory", memory, "--memory-swap", swap]).ok();
        let number = read(file.clone());
        if let Some(megabytes) = memory.strip_suffix('M') {
            assert_eq!(number, (megabytes.parse::<u64>().unwrap() << 20).to_string());
        }
    }
    update(&b, &["--memory", "-1"]).ok();
    let all = limits(&b);
    let swap = all.get("memory.swap.max").or(all.get("memory.memsw.limit_in_bytes"));
    assert!(swap.is_none_or(|swap| swap == "max" || swap == "9223372036854771712"), "{all:?}");
}

#[test]
fn a_limit_above_that_with_swap_is_refused() {
    requires!(Need::Controller("memory"));
    let b = limited().up();
    let before = limits(&b);
    update(&b, &["--memory", "256M"]).fails(1, &["linux.resources.memory.swap", "134217728"]).one_line();
    assert_eq!(changes(&b, &before), Vec::<String>::new());
}

/// What containerd sends: all of `linux.resources`, mostly empty, on the standard input.
#[test]
fn resources_come_from_a_file_or_the_standard_input() {
    requires!(Need::Controller("memory"), Need::Controller("cpu"), Need::Controller("pids"));
    let b = limited().up();
    let before = limits(&b);
    let empty = json!({
        "devices": null, "memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "disableOOMKiller": false},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""}, "pids": {"limit": 0},
        "blockIO": {"weight": 0}, "hugepageLimits": [], "network": {"classID": 0}, "unified": {},
    });
    update_with(&b, &empty).ok();
    assert_eq!(changes(&b, &before), Vec::<String>::new());
    let mut some = empty;
    some["cpu"]["shares"] = 1024.into();
    some["pids"]["limit"] = 77.into();
    update_with(&b, &some).ok();
    let shares = if is_v2(&b) { "cpu.weight 100" } else { "cpu.shares 1024" };
    assert_eq!(changes(&b, &before), [shares, "pids.max 77"]);
    for (limit, args) in [
        (78, vec!["update", "--resources=-", b.id.as_str()]),
        (79, vec!["update", "--resources", "-", &b.id]),
        (80, vec!["update", "-r", "-", &b.id]),
        (81, vec!["update", &b.id, "-r", "-", "--cpu-share", "2"]),
    ] {
        some["pids"]["limit"] = limit.into();
        update_from_stdin(&b, &args, &some);
        assert_eq!(changes(&b, &before), [shares.to_owned(), format!("pids.max {limit}")]);
    }
    update_with(&b, &json!({"memory": {"limit": "64M"}})).fails(1, &["memory.limit", "64M"]).one_line();
    update(&b, &["-r", "/nosuch"]).fails(1, &["/nosuch", "no such file"]).one_line();
}

#[test]
fn after_a_failure_everything_is_as_before() {
    requires!(
        Need::Controller("memory"),
        Need::Controller("cpu"),
        Need::Controller("pids"),
        Need::Controller("cpuset")
    );
    let b = limited().up();
    let before = limits(&b);
    let config = b.state_root().join(&b.id).join("config.json");
    let recorded = fs::read(&config).unwrap();
    // The last of these is refused by every kernel.
    let asked = json!({
        "memory": {"limit": 256 << 20, "swap": 512 << 20, "reservation": 1 << 20},
        "cpu": {"shares": 2, "quota": 20000, "period": 40000, "burst": 1000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 9},
        "hugepageLimits": [{"pageSize": "3MB", "limit": 0}],
    });
    update_with(&b, &asked).fails(1, &["linux.resources.hugepageLimits[0]"]).one_line();
    assert_eq!(changes(&b, &before), Vec::<String>::new());
    assert_eq!(fs::read(&config).unwrap(), recorded);
}

#[test]
fn cpus_that_are_not_there_are_refused() {
    requires!(Need::Controller("cpuset"));
    let b = limited().up();
    let before = limits(&b);
    let absent = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let absent: u32 = 1 + absent.trim().rsplit(['-', ',']).next().unwrap().parse::<u32>().unwrap();
    for cpus in [absent.to_string(), format!("0,{absent}"), "0-4000".into(), "x".into(), "1-0".into()] {
        update(&b, &["--cpuset-cpus", &cpus]).fails(1, &["linux.resources.cpu.cpus"]).one_line();
        assert_eq!(changes(&b, &before), Vec::<String>::new(), "{cpus}");
    }
    update(&b, &["--cpuset-mems", "900"]).fails(1, &["linux.resources.cpu.mems"]).one_line();
    assert_eq!(changes(&b, &before), Vec::<String>::new());
}

#[test]
fn a_limit_of_memory_below_what_is_used() {
    requires!(Need::Controller("memory"));
    let b = Bundle::idle()
        .set("/linux/resources/memory", json!({"limit": 64 << 20, "checkBeforeUpdate": true}))
        .up();
    let before = limits(&b);
    update(&b, &["--memory", "4k"])
        .fails(1, &["linux.resources.memory.limit", "bytes that the container uses"])
        .one_line();
    assert_eq!(changes(&b, &before), Vec::<String>::new());
    assert_eq!(b.status(), "running");
    b.delete_force().ok();
    // Without the check the kernel of v1 refuses; that of v2 kills.
    let b = limited().up();
    if !is_v2(&b) {
        let before = limits(&b);
        update(&b, &["--memory", "4k"]).fails(1, &["linux.resources.memory.limit", "uses"]).one_line();
        assert_eq!(changes(&b, &before), Vec::<String>::new());
    }
}

#[test]
fn values_that_are_none_are_refused() {
    requires!(Need::Controller("pids"));
    let b = limited().up();
    let before = limits(&b);
    for (option, value) in [
        ("--memory", "lots"),
        ("--memory", "-2"),
        ("--cpu-share", "x"),
        ("--cpu-share", "1"),
        ("--cpu-period", "1"),
        ("--pids-limit", "many"),
        ("--blkio-weight", "5"),
        ("--l3-cache-schema", "L3:0=f"),
        ("--mem-bw-schema", "MB:0=20"),
        ("--nosuch", "1"),
    ] {
        if option == "--cpu-share" && is_v2(&b) {
            continue;
        }
        update(&b, &[option, value]).fails(1, &["error"]).one_line();
        assert_eq!(changes(&b, &before), Vec::<String>::new(), "{option} {value}");
    }
    let file = b.io().join("resources.json");
    fs::write(&file, "[[], null, null, null, null, null, null, null, null]").unwrap();
    update(&b, &["-r", file.to_str().unwrap()]).fails(1, &["resources.json: "]).one_line();
    b.kill("KILL").ok();
    crate::harness::wait_until("it is stopped", || b.status() == "stopped");
    update(&b, &["--pids-limit", "5"]).fails(1, &["container not running"]).one_line();
    b.cmd(&["update", "--pids-limit", "5", "nosuch"]).fails(1, &["container does not exist"]).one_line();
}

#[test]
fn kernel_memory_is_ignored_with_a_warning() {
    requires!(Need::Controller("pids"));
    let b = limited().up();
    let before = limits(&b);
    let log = b.io().join("log.json");
    let mut args = vec!["--log", log.to_str().unwrap(), "--log-format", "json", "update", b.id.as_str()];
    args.extend(["--kernel-memory", "50M", "--kernel-memory-tcp=-1", "--pids-limit", "60"]);
    b.cmd(&args).ok();
    assert_eq!(changes(&b, &before), ["pids.max 60"]);
    let lines = fs::read_to_string(log).unwrap();
    assert_eq!(lines.matches("warning").count(), 2, "{lines}");
}

/// Callers send the device rules of the beginning along with every request. A GPU's may have been added since.
#[test]
fn devices_are_never_touched() {
    // A number that no driver has: who may open it learns that it isn't there.
    let own = json!({"allow": true, "type": "c", "major": 240, "minor": 77, "access": "rw"});
    let rules = json!([{"allow": false, "access": "rwm"}, own]);
    let node = json!({"path": "/dev/own", "type": "c", "major": 240, "minor": 77});
    let b = Bundle::idle().set("/linux/resources/devices", rules.clone()).push("/linux/devices", node).up();
    let v1 = place_of("devices", View::from_env()).filter(|h| !h.v2);
    let list = || v1.as_ref().map(|_| read(b.cgroup_file("devices", "devices.list", "")));
    let before = list();
    let weaker = json!([{"allow": false, "access": "rwm"}]);
    for devices in [rules, weaker, json!([]), Value::Null] {
        update_with(&b, &json!({"devices": devices})).ok();
        b.exec(&["sh", "-c", ": </dev/null && : >/dev/null"]).ok();
        let open = b.exec(&["sh", "-c", ": </dev/own"]);
        assert!(open.stderr.contains("No such device"), "{devices}: {open}");
        assert_eq!(list(), before);
    }
}

#[test]
fn a_created_and_a_paused_container_are_updated() {
    requires!(Need::Controller("pids"));
    let b = limited();
    b.create().ok();
    let file = b.cgroup_file("pids", "pids.max", "pids.max");
    update(&b, &["--pids-limit", "60"]).ok();
    assert_eq!(read(file.clone()), "60");
    b.start().ok();
    b.cmd(&["pause", &b.id]).ok();
    update(&b, &["--pids-limit", "61"]).ok();
    assert_eq!(b.status(), "paused");
    b.cmd(&["resume", &b.id]).ok();
    assert_eq!(read(file), "61");
}

#[test]
fn a_lowered_limit_is_felt() {
    requires!(Need::Controller("pids"));
    let b = limited().up();
    let fork = |b: &Bundle| {
        b.exec(&["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 300 & done; kill $(jobs -p); wait"])
    };
    assert!(!fork(&b).ok().stderr.contains("fork"));
    update(&b, &["--pids-limit", "5"]).ok();
    let out = fork(&b);
    assert!(out.stderr.contains("fork"), "{out}");
}

#[test]
fn a_throttle_is_changed_for_one_device() {
    requires!(Need::Controller("blkio"), Need::File("/sys/block/loop0"));
    let device = fs::read_to_string("/sys/block/loop0/dev").unwrap();
    let minor: u64 = device.trim().split_once(':').unwrap().1.parse().unwrap();
    let throttle = |rate: u64| json!({"blockIO": {"throttleReadBpsDevice": [{"major": 7, "minor": minor, "rate": rate}]}});
    let b = Bundle::idle().set("/linux/resources", throttle(1 << 20)).up();
    let file = b.cgroup_file("blkio", "blkio.throttle.read_bps_device", "io.max");
    assert!(read(file.clone()).contains("1048576"), "{}", read(file));
    update_with(&b, &throttle(2 << 20)).ok();
    assert!(read(file.clone()).contains("2097152"), "{}", read(file));
    let mut failing = throttle(3 << 20);
    failing["hugepageLimits"] = json!([{"pageSize": "3MB", "limit": 0}]);
    update_with(&b, &failing).fails(1, &["hugepageLimits"]);
    assert!(read(file.clone()).contains("2097152"), "{}", read(file));
    update_with(&b, &json!({"blockIO": {"weight": 300}})).ok();
    assert!(read(file.clone()).contains("2097152"), "{}", read(file));
}

/// Values of cgroup v2 by their file names.
#[test]
fn unified_values_change_alone() {
    requires!(Need::Controller("memory"));
    let b = limited().up();
    let before = limits(&b);
    let asked = json!({"unified": {"memory.high": "50331648", "pids.max": "33"}});
    if !is_v2(&b) {
        update_with(&b, &asked).fails(1, &["linux.resources.unified"]).one_line();
        return;
    }
    update_with(&b, &asked).ok();
    assert_eq!(changes(&b, &before), ["pids.max 33"]);
    assert_eq!(read(b.cgroup_file("memory", "", "memory.high")), "50331648");
}
