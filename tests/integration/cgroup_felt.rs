//! Limits, felt: what happens to a container that asks for more than it may have, and to its neighbour.

use crate::harness::{Bundle, LoopDevice, Need, requires, wait_until};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The number behind a key in a file with one key a line.
#[track_caller]
fn count(file: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{}: no {key}: {text}", file.display())).parse().unwrap()
}

#[test]
fn a_process_that_takes_more_memory_than_there_is_is_killed() {
    requires!(Need::Controller("memory"));
    let memory = json!({"limit": 32 << 20, "swap": 32 << 20});
    let b = Bundle::idle().set("/linux/resources/memory", memory).up();
    let events = b.cgroup_file("memory", "memory.oom_control", "memory.events");
    assert_eq!(count(&events, "oom_kill"), 0);
    let out = b.exec(&["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
    assert_eq!(out.code(), 128 + 9, "{out}");
    assert_eq!(count(&events, "oom_kill"), 1);
    // The others go on.
    b.exec(&["true"]).ok();
    assert_eq!(b.status(), "running");
}

#[test]
fn a_fork_bomb_is_stopped_and_its_neighbour_goes_on() {
    requires!(Need::Controller("pids"));
    let neighbour = Bundle::idle().up();
    let b = Bundle::idle().set("/linux/resources/pids/limit", 16).up();
    let out = b.exec(&["sh", "-c", "while :; do sleep 300 & done"]);
    assert_ne!(out.code(), 0, "{out}");
    assert!(out.stderr.contains("can't fork"), "{out}");
    let file = |name: &str| b.cgroup_file("pids", name, name);
    assert!(count(&file("pids.events"), "max") > 0);
    let current: u64 = fs::read_to_string(file("pids.current")).unwrap().trim().parse().unwrap();
    assert!(current <= 16, "{current}");
    let out = neighbour.exec(&["sh", "-c", "for i in 1 2 3 4; do sleep 300 & done; jobs -p | wc -l"]).ok();
    assert_eq!(out.stdout.trim(), "4");
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn a_busy_container_is_throttled() {
    requires!(Need::Controller("cpu"));
    let b = Bundle::sh("echo ready; while :; do :; done");
    let b = b.set("/linux/resources/cpu", json!({"quota": 5000, "period": 50_000})).up();
    let statistics = b.cgroup_file("cpu", "cpu.stat", "cpu.stat");
    wait_until("it is throttled", || count(&statistics, "nr_throttled") > 2);
}

#[test]
fn a_denied_device_is_denied_and_an_allowed_one_opens() {
    requires!(Need::Program("losetup"));
    let files = Bundle::new();
    let device = LoopDevice::new(&files.io().join("disk"));
    let rule = |allow: bool, access: &str| json!({"allow": allow, "type": "b", "major": device.major, "minor": device.minor, "access": access});
    let reading = "head -c 1 /dev/disk | wc -c";
    let writing = "echo x > /dev/disk && echo written";
    for (access, reads, writes) in [("", false, false), ("r", true, false), ("rw", true, true)] {
        let b = Bundle::sh(&format!("{reading}; {writing}; :"));
        let node = json!({"path": "/dev/disk", "type": "b", "major": device.major, "minor": device.minor, "fileMode": 0o666});
        let b = b
            .push("/linux/devices", node)
            .push("/linux/resources/devices", json!({"allow": false, "access": "rwm"}));
        let b = if access.is_empty() { b } else { b.push("/linux/resources/devices", rule(true, access)) };
        let out = b.run().ok();
        assert_eq!(out.lines().contains(&"1"), reads, "{access:?}: {out}");
        assert_eq!(out.lines().contains(&"written"), writes, "{access:?}: {out}");
        let denied = out.stderr.matches("Operation not permitted").count();
        assert_eq!(denied, usize::from(!reads) + usize::from(!writes), "{access:?}: {out}");
    }
}

#[test]
fn writing_to_a_block_device_takes_its_time() {
    requires!(Need::Controller("blkio"), Need::Program("losetup"));
    let files = Bundle::new();
    let device = LoopDevice::new(&files.io().join("disk"));
    let (major, minor) = (device.major, device.minor);
    let node = json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600});
    let b = Bundle::idle().push("/linux/devices", node);
    let b = b.push("/linux/resources/devices", json!({"allow": true, "type": "b", "access": "rwm"}));
    let rate = json!([{"major": major, "minor": minor, "rate": 1 << 20}]);
    let b = b.set("/linux/resources/blockIO/throttleWriteBpsDevice", rate).up();
    let begin = Instant::now();
    // Not into the page cache: that is written out later, and not always on this container's account.
    b.exec(&["dd", "if=/dev/zero", "of=/dev/disk", "bs=64k", "count=48", "oflag=direct"]).ok();
    // 3 MiB at 1 MiB a second; a slow machine takes longer, and no machine less.
    assert!(begin.elapsed() >= Duration::from_millis(2000), "{:?}", begin.elapsed());
}

#[test]
fn exec_tells_that_there_is_no_room_for_a_process() {
    requires!(Need::Controller("pids"));
    let b = Bundle::sh("echo ready; exec sleep 300").set("/linux/resources/pids/limit", 1).up();
    b.exec(&["true"]).fails(255, &["EAGAIN", "linux.resources.pids.limit leaves no room"]);
    let processes = b.cgroup_file("pids", "pids.current", "pids.current");
    assert_eq!(fs::read_to_string(processes).unwrap(), "1\n");
    assert_eq!(b.status(), "running");
}
