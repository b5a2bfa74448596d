//! The rules by which cgroup v2 hands controllers down its tree.

use crate::harness::{Bundle, Need, View, place_of, requires, wait_until};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// A controller that hybrid hosts have in version 2 as well.
const CONTROLLER: &str = "hugetlb";

/// A container below the test's own cgroup, limited in huge pages.
fn limited(below: &str) -> Bundle {
    let b = Bundle::new().view(View::V2);
    let path = format!("{}/{below}", b.cgroup());
    let limits = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
    b.set("/linux/cgroupsPath", path).set("/linux/resources/hugepageLimits", limits)
}

/// The test's own cgroup.
fn own(b: &Bundle) -> PathBuf {
    place_of("", View::V2).unwrap().path.join(b.cgroup().trim_start_matches('/'))
}

fn words(path: PathBuf) -> Vec<String> {
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_cgroup_on_the_way_passes_controllers_on() {
    requires!(Need::V2Controller(CONTROLLER));
    let b = limited("deep/er");
    b.create().ok();
    let offered = words(place_of("", View::V2).unwrap().path.join("cgroup.controllers"));
    for controller in ["cpu", "cpuset", "io", "memory", "pids", CONTROLLER]
        .into_iter()
        .filter(|name| offered.iter().any(|o| o == name))
    {
        for dir in [own(&b), own(&b).join("deep")] {
            let passed = words(dir.join("cgroup.subtree_control"));
            assert!(passed.iter().any(|name| name == controller), "{}: {passed:?}", dir.display());
        }
        let given = words(own(&b).join("deep/er/cgroup.controllers"));
        assert!(given.iter().any(|name| name == controller), "{controller}: {given:?}");
    }
    // Nothing is handed to cgroups below the container's: that is its own affair.
    assert_eq!(words(own(&b).join("deep/er/cgroup.subtree_control")), Vec::<String>::new());
}

/// Each of them finds the cgroup above without controllers, or somebody else who is just passing them on.
#[test]
fn many_are_created_at_once_below_a_new_cgroup() {
    requires!(Need::V2Controller(CONTROLLER));
    let above = Bundle::new();
    let path = |number: usize| format!("{}/together/{number}", above.cgroup());
    let all: Vec<Bundle> = (0..8).map(|n| limited("").set("/linux/cgroupsPath", path(n))).collect();
    all.iter().for_each(Bundle::write_config);
    let commands: Vec<_> = all.iter().map(|b| b.spawn(&b.with_bundle("create", &[]))).collect();
    for command in commands {
        command.wait().ok();
    }
    for number in 0..all.len() {
        let limit = own(&above).join(format!("together/{number}/hugetlb.2MB.max"));
        assert_eq!(words(limit), ["4194304"], "{number}");
    }
}

#[test]
fn a_cgroup_with_processes_of_its_own_passes_nothing_on() {
    requires!(Need::V2Controller(CONTROLLER));
    let b = limited("below");
    fs::create_dir(own(&b)).unwrap();
    let mut process = std::process::Command::new("sleep").arg("300").spawn().unwrap();
    fs::write(own(&b).join("cgroup.procs"), process.id().to_string()).unwrap();
    let limited = b.create();
    let b = b.remove("/linux/resources");
    let unlimited = b.create();
    let kind = words(own(&b).join("cgroup.type"));
    let procs = words(own(&b).join("below/cgroup.procs"));
    b.delete_force().ok();
    process.kill().unwrap();
    process.wait().unwrap();
    limited
        .fails(1, &["linux.resources.hugepageLimits[0].limit", "EBUSY", "has processes of its own"])
        .one_line();
    // Without limits it needs no controllers; and the cgroup above stays what it was.
    unlimited.ok();
    assert_eq!(procs.len(), 1);
    assert_eq!(kind, ["domain"]);
    fs::remove_dir(own(&b)).unwrap();
    b.assert_nothing_left();
}

/// There a cgroup can't have the controllers, and a process can't be put in by itself.
#[test]
fn a_threaded_subtree_is_refused() {
    requires!(Need::V2Controller(CONTROLLER));
    for with_limits in [true, false] {
        let b = limited("threaded/below");
        let b = if with_limits { b } else { b.remove("/linux/resources") };
        fs::create_dir_all(own(&b).join("threaded")).unwrap();
        fs::write(own(&b).join("threaded/cgroup.type"), "threaded").unwrap();
        b.create().fails(1, &["threaded", "linux.cgroupsPath"]).one_line();
        fs::remove_dir(own(&b).join("threaded")).unwrap();
        fs::remove_dir(own(&b)).unwrap();
        b.assert_nothing_left();
    }
}

/// What strace has written about each command of the runtime so far.
fn traces(b: &Bundle) -> Vec<String> {
    let entries = fs::read_dir(b.io()).unwrap().flatten().map(|entry| entry.path());
    let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "strace"));
    logs.map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The system calls of a command that have to do with cgroups.
fn calls(b: &Bundle, command: &str) -> Vec<String> {
    let argument = format!("\"{command}\"");
    let of_command = |trace: &String| trace.lines().next().is_some_and(|line| line.contains(&argument));
    let trace = traces(b).into_iter().find(of_command).unwrap_or_else(|| panic!("no trace of {command}"));
    // An interrupted call has two lines; and Rust's own library looks at each descriptor that a debug build closes.
    let about =
        |line: &&str| line.contains("cgroup") && !line.contains(" resumed>") && !line.contains(", F_GETFD)");
    trace.lines().filter(about).map(str::to_owned).collect()
}

/// What a cgroup costs: made, limited, entered, removed. Version 2 is entered at birth: a write to
/// `cgroup.procs` would wait for an RCU grace period.
#[test]
fn a_limited_cgroup_takes_at_most_25_calls_and_no_write_to_cgroup_procs() {
    requires!(Need::V2Controller(CONTROLLER), Need::Program("strace"));
    // With the paths of descriptors, and after the view is made.
    let b = limited("").prelude("set -- strace -f -y -o \"$BASE/io/$$.strace\" \"$@\"");
    let path = b.cgroup();
    let b = b.set("/linux/cgroupsPath", path).args(["/bin/sleep", "300"]);
    let limits = json!({"memory": {"limit": 64 << 20}, "cpu": {"shares": 512}, "pids": {"limit": 100}});
    let whole = place_of("memory", View::V2).is_some();
    let b = if whole { b.set("/linux/resources", limits) } else { b };
    b.write_config();
    // strace ends after init, whose creator ends before.
    let create = b.spawn(&b.with_bundle("create", &[]));
    wait_until("it is created", || traces(&b).iter().any(|trace| trace.contains("+++ exited with 0")));
    b.start().ok();
    b.exec(&["true"]).ok();
    b.kill("KILL").ok();
    wait_until("it is stopped", || b.status() == "stopped");
    b.delete().ok();
    create.wait().ok();

    let (create, exec, delete) = (calls(&b, "create"), calls(&b, "exec"), calls(&b, "delete"));
    let all = [create.as_slice(), &delete].concat();
    assert!(all.len() <= 25, "{}: {all:#?}", all.len());
    for calls in [create, exec] {
        assert!(calls.iter().any(|line| line.contains("CLONE_INTO_CGROUP")), "{calls:#?}");
        let writes = |line: &&String| ["O_WRONLY", "O_RDWR", "write("].iter().any(|word| line.contains(word));
        let entered: Vec<_> =
            calls.iter().filter(|line| line.contains("cgroup.procs")).filter(writes).collect();
        assert!(entered.is_empty(), "{entered:#?}");
    }
}
