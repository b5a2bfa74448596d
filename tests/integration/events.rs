//! `events`: statistics in the form of runc's, and what happens to a container.

use crate::harness::{Bundle, Need, Running, View, cgroups_named, place_of, requires, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The events that were printed so far.
fn events(running: &Running) -> Vec<Value> {
    let text = running.stdout();
    // The last line may not be whole yet.
    let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn kinds(running: &Running) -> Vec<String> {
    events(running).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

/// `events` on a container, watching already.
fn watch(b: &Bundle, options: &[&str]) -> Running {
    let running = b.spawn(&[&["events"], options, &[b.id.as_str()]].concat());
    let descriptors = format!("/proc/{}/fd", running.pid());
    let watches = |path: &Path| {
        let name = path.to_string_lossy();
        name.contains("eventfd") || name.ends_with("memory.events") || name.ends_with("pids.events")
    };
    wait_until("it watches", || {
        let open = fs::read_dir(&descriptors).map(|entries| entries.flatten().collect::<Vec<_>>());
        let open = open.unwrap_or_default();
        // The last one that is opened is the eventfd on v1.
        let count = open.iter().filter(|entry| fs::read_link(entry.path()).is_ok_and(|path| watches(&path)));
        count.count() >= 2
    });
    running
}

fn stats(b: &Bundle) -> Value {
    let out = b.cmd(&["events", "--stats", &b.id]).ok();
    assert_eq!(out.stdout.matches('\n').count(), 1, "one line: {out}");
    let event: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(b.id)));
    event["data"].clone()
}

/// A file of the container's cgroup as a number.
fn number(b: &Bundle, controller: &str, v1: &str, v2: &str) -> u64 {
    fs::read_to_string(b.cgroup_file(controller, v1, v2)).unwrap().trim().parse().unwrap()
}

#[test]
fn statistics_are_what_the_kernel_says() {
    requires!(Need::Controller("memory"), Need::Controller("cpu"), Need::Controller("pids"));
    let b = Bundle::idle().set(
        "/linux/resources",
        json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 77}, "cpu": {"quota": 90000, "period": 100_000}}),
    );
    let b = b.up();
    b.cmd(&["pause", &b.id]).ok();
    let v2 = b.cgroup_file("cpu", "1", "2").ends_with("2");
    let usage = || number(&b, "memory", "memory.usage_in_bytes", "memory.current");
    let time = || if v2 { 0 } else { number(&b, "cpuacct", "cpuacct.usage", "") };
    let told = |data: &Value| {
        let total = data["cpu"]["usage"]["total"].as_u64().unwrap();
        (data["memory"]["usage"]["usage"].as_u64().unwrap(), if v2 { 0 } else { total })
    };
    // The kernel goes on accounting for a while, in batches.
    let data = (0..50)
        .map(|_| stats(&b))
        .find(|data| told(data) == (usage(), time()))
        .expect("what the kernel says");
    let members = ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"];
    let mut expected: Vec<&str> = members.to_vec();
    expected.sort_unstable();
    let mut found: Vec<&String> = data.as_object().unwrap().keys().collect();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(data["network_interfaces"], Value::Null);
    assert_eq!(data["pids"]["limit"], 77);
    assert_eq!(data["pids"]["current"], number(&b, "pids", "pids.current", "pids.current"));
    let memory = &data["memory"];
    assert_eq!(memory["usage"]["limit"], 64 << 20);
    assert_eq!(memory["usage"]["failcnt"], 0);
    for entry in ["swap", "kernel", "kernelTCP"] {
        assert!(memory[entry]["limit"].is_u64(), "{entry}: {memory}");
    }
    let raw = memory["raw"].as_object().unwrap();
    let stat = fs::read_to_string(b.cgroup_file("memory", "memory.stat", "memory.stat")).unwrap();
    assert_eq!(raw.len(), stat.lines().count());
    assert!(raw.contains_key(if v2 { "anon" } else { "rss" }), "{memory}");
    let usage = &data["cpu"]["usage"];
    assert!(usage["total"].as_u64().unwrap() > 100_000, "nanoseconds: {usage}");
    assert!(usage["kernel"].is_u64() && usage["user"].is_u64(), "{usage}");
    if !v2 {
        let sum: u64 = usage["percpu"].as_array().unwrap().iter().map(|one| one.as_u64().unwrap()).sum();
        assert_eq!(usage["total"], sum);
        assert_eq!(data["cpuset"]["mems"][0], 0);
    }
    assert!(data["cpu"]["throttling"].is_object());
    assert_eq!(data["cpuset"]["mem_hardwall"], 0);
    // Zeros that Go leaves out.
    assert!(
        data["pids"].get("failcnt").is_none()
            && data["cpu"]["throttling"].get("throttledTime") != Some(&json!(0))
    );
}

#[test]
fn pressure_is_told_where_the_kernel_knows_it() {
    let b = Bundle::idle().up();
    let files = cgroups_named(&b.id).into_iter().map(|dir| dir.join("cpu.pressure"));
    let Some(file) = files.into_iter().find(|file| file.exists()) else {
        eprintln!("skipped: needs cpu.pressure");
        return;
    };
    if View::from_env() == View::V1 {
        eprintln!("skipped: needs VIEW not to be v1");
        return;
    }
    let data = stats(&b);
    for (group, resource) in [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")] {
        for kind in ["some", "full"] {
            let psi = &data[group]["psi"][kind];
            for name in ["avg10", "avg60", "avg300"] {
                assert!(psi[name].is_number(), "{resource} {kind} {name}: {data}");
            }
            assert!(psi["total"].is_u64(), "{resource} {kind}: {data}");
        }
    }
    let total = fs::read_to_string(file).unwrap();
    let now: u64 = total.split("total=").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    assert!(data["cpu"]["psi"]["some"]["total"].as_u64().unwrap() <= now);
}

#[test]
fn reading_and_writing_is_counted_by_device() {
    requires!(Need::Controller("blkio"));
    // Written to the disk below, whatever it is: where it is none, nothing is counted.
    let b =
        Bundle::sh("dd if=/dev/zero of=/file bs=64k count=4 conv=fsync 2>/dev/null; echo ready; sleep 300")
            .up();
    let file = b.cgroup_file("blkio", "blkio.throttle.io_service_bytes_recursive", "io.stat");
    let told = stats(&b)["blkio"]["ioServiceBytesRecursive"].clone();
    let kernel = fs::read_to_string(file).unwrap();
    let Some(line) = kernel.lines().find(|line| line.contains(" Write ") || line.contains(" wbytes=")) else {
        eprintln!("skipped: needs a disk below the test's files");
        return;
    };
    let device = line.split(' ').next().unwrap();
    let entry = told.as_array().unwrap().iter().find(|entry| {
        let number = |name: &str| entry[name].as_u64().unwrap_or(0);
        format!("{}:{}", number("major"), number("minor")) == device && entry["op"] == "Write"
    });
    assert!(entry.is_some(), "{told} {kernel}");
}

#[test]
fn statistics_come_at_every_interval_until_the_end() {
    let b = Bundle::idle().up();
    let running = b.spawn(&["events", "--interval", "20ms", &b.id]);
    wait_until("three of them", || kinds(&running).iter().filter(|kind| *kind == "stats").count() >= 3);
    b.kill("KILL").ok();
    let out = running.wait().ok();
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(last, json!({"type": "exit", "id": b.id}));
    assert_eq!(out.stdout.matches("exit").count(), 1, "{out}");
}

/// The container is deleted by another command while it is watched.
#[test]
fn a_container_that_is_deleted_ends_it() {
    let b = Bundle::idle().up();
    let running = b.spawn(&["events", "--interval", "5ms", &b.id]);
    wait_until("it watches", || !kinds(&running).is_empty());
    b.delete_force().ok();
    let out = running.wait().ok();
    assert!(out.lines().last().unwrap().contains("\"exit\""), "{out}");
}

#[test]
fn a_process_killed_for_want_of_memory_is_told_as_oom() {
    requires!(Need::Controller("memory"), Need::Controller("pids"));
    // The shell keeps what it reads, and is the one to be killed; the other waits.
    let hog = "sleep 300 & echo ready; while [ ! -e /go ]; do sleep 0.02; done; (echo 1000 >/proc/self/oom_score_adj; x=$(tr '\\0' x </dev/zero)); echo over; wait";
    let limits = json!({"limit": 20 << 20, "swap": 20 << 20});
    let b = Bundle::sh(hog).set("/linux/resources/memory", limits).up();
    let running = watch(&b, &["--interval", "1h"]);
    fs::write(b.rootfs().join("go"), "").unwrap();
    wait_until("oom is told", || kinds(&running).iter().any(|kind| kind == "oom"));
    let all = events(&running);
    let oom = all.iter().find(|event| event["type"] == "oom").unwrap();
    assert_eq!(*oom, json!({"type": "oom", "id": b.id}));
    if b.cgroup_file("memory", "1", "2").ends_with("2") {
        let counted = |all: &[Value]| {
            let last =
                all.iter().rfind(|event| event["type"] == "memory.events").cloned().unwrap_or_default();
            (last["data"]["oom_kill"].as_u64() >= Some(1), last["data"]["max"].as_u64() >= Some(1), last)
        };
        wait_until("it is counted", || counted(&events(&running)).0);
        let (_, max, last) = counted(&events(&running));
        assert!(max && last["data"]["oom"].as_u64() >= Some(1) && last["data"]["high"].is_u64(), "{last}");
    }
    b.kill("KILL").ok();
    let out = running.wait().ok();
    assert!(out.lines().last().unwrap().contains("\"exit\""), "{out}");
}

/// Init itself is killed: both are told, and the reason comes first.
#[test]
fn an_init_killed_for_want_of_memory_is_told_as_oom() {
    requires!(Need::Controller("memory"), Need::Controller("pids"));
    let hog = "echo ready; while [ ! -e /go ]; do sleep 0.02; done; exec tail /dev/zero";
    let limits = json!({"limit": 20 << 20, "swap": 20 << 20});
    let b = Bundle::sh(hog).set("/linux/resources/memory", limits).up();
    let running = watch(&b, &[]);
    fs::write(b.rootfs().join("go"), "").unwrap();
    let out = running.wait().ok();
    let (oom, exit) = (out.stdout.find("\"oom\","), out.stdout.find("\"exit\""));
    assert!(oom.is_some() && oom < exit, "{out}");
}

#[test]
fn a_fork_over_the_limit_is_counted() {
    requires!(Need::Controller("pids"), Need::Controller("memory"));
    let bomb = "echo ready; while [ ! -e /go ]; do sleep 0.02; done; for i in 1 2 3 4 5 6 7 8 9; do sleep 300 & done; wait";
    let b = Bundle::sh(bomb).set("/linux/resources/pids/limit", 5).up();
    let running = watch(&b, &["--interval", "1h"]);
    fs::write(b.rootfs().join("go"), "").unwrap();
    let told = |running: &Running| {
        let all = events(running);
        all.into_iter().find(|event| event["type"] == "pids.events")
    };
    wait_until("it is counted", || told(&running).is_some());
    assert!(told(&running).unwrap()["data"]["max"].as_u64() >= Some(1));
    b.delete_force().ok();
    running.wait().ok();
}

#[test]
fn intervals_that_are_none_and_containers_that_do_not_run_are_refused() {
    let b = Bundle::idle();
    b.create().ok();
    for interval in ["0", "0s", "-1s", "5", "x", ""] {
        b.cmd(&["events", "--interval", interval, &b.id]).fails(1, &["--interval"]).one_line();
    }
    // A container that was created has statistics, too.
    assert!(stats(&b)["memory"].is_object());
    b.kill("KILL").ok();
    wait_until("it is stopped", || b.status() == "stopped");
    b.cmd(&["events", "--stats", &b.id]).fails(1, &["not running"]).one_line();
    b.cmd(&["events", &b.id]).fails(1, &["not running"]).one_line();
    b.cmd(&["events", "--stats", "nosuch"]).fails(1, &["does not exist"]).one_line();
}

/// A reader that goes away ends it.
#[test]
fn it_ends_with_its_reader() {
    requires!(Need::Program("head"));
    let b = Bundle::idle().up();
    let inner = b.command(&["events", "--interval", "10ms", &b.id]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$@\" | head -n 1", "sh"]).arg(inner.get_program()).args(inner.get_args());
    let out = b.spawn_command(shell).wait().ok();
    assert_eq!(out.lines().len(), 1, "{out}");
    assert!(place_of("pids", View::from_env()).is_none() || out.stdout.contains("\"pids\""), "{out}");
}
