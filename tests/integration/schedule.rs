//! Scheduling, disk priority, CPUs and memory policy: as the kernel has them of the container's processes.

use crate::bad_input::table;
use crate::harness::*;
use serde_json::{Value, json};
use std::fs;

/// What `sched_getattr` tells of a process. It is the kernel's structure once more, and not the runtime's own: a member in the wrong
/// place would be right when it is read from there, too.
#[repr(C)]
#[derive(Debug, Default, PartialEq, Eq)]
struct Scheduler {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn scheduler_of(pid: i32) -> Scheduler {
    let mut got = Scheduler::default();
    // SAFETY: the size is that of the structure that the kernel fills.
    let ret = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut got, size_of::<Scheduler>(), 0) };
    assert_eq!(ret, 0, "sched_getattr({pid}): {}", std::io::Error::last_os_error());
    Scheduler { size: 0, ..got }
}

fn io_priority_of(pid: i32) -> i64 {
    // SAFETY: takes two numbers; 1 is IOPRIO_WHO_PROCESS.
    unsafe { libc::syscall(libc::SYS_ioprio_get, 1, pid) }
}

fn cpus_of(pid: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

/// The host's CPUs that the tests may use.
fn own_cpus() -> Vec<String> {
    let list = cpus_of("self");
    let ends = |range: &str| -> (usize, usize) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (first.parse().unwrap(), last.parse().unwrap())
    };
    list.split(',').map(ends).flat_map(|(first, last)| first..=last).map(|cpu| cpu.to_string()).collect()
}

/// A long-running process that `exec` has added with these options.
fn exec_detached(b: &Bundle, options: &[&str]) -> i32 {
    let pid_file = b.io().join("exec-pid");
    let all = [&["--detach", "--pid-file", pid_file.to_str().unwrap()], options].concat();
    let command: &[&str] = if options.contains(&"--process") { &[] } else { &["sleep", "300"] };
    b.exec_with(&all, command).ok();
    fs::read_to_string(pid_file).unwrap().parse().unwrap()
}

fn process_file(b: &Bundle, change: Value) -> String {
    let mut process = json!({"args": ["sleep", "300"], "cwd": "/", "env": ["PATH=/bin"]});
    process.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let path = b.io().join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_policy_and_its_nice_value() {
    for (policy, number, nice) in [("SCHED_OTHER", 0, 12), ("SCHED_BATCH", 3, 17), ("SCHED_IDLE", 5, 0)] {
        let b = Bundle::idle().set("/process/scheduler", json!({"policy": policy, "nice": nice})).up();
        let got = scheduler_of(b.pid());
        // SCHED_IDLE is below all nice values: what it has is left from before.
        assert_eq!((got.policy, got.flags), (number, 0));
        assert!(got.nice == nice || policy == "SCHED_IDLE", "{got:?}");
    }
}

#[test]
fn without_a_scheduler_the_callers_nice_value_stays() {
    let out = Bundle::sh("cut -d' ' -f19 /proc/self/stat").prelude("renice -n 3 -p $$ >/dev/null").run().ok();
    assert_eq!(out.stdout, "3\n");
}

#[test]
fn a_lower_nice_value_takes_the_runtimes_privilege() {
    requires!(Need::Root);
    let b = Bundle::idle().set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": -15}));
    // Not the program's: it has no CAP_SYS_NICE, and in a user namespace it would not help.
    for b in [b.set("/process/user", json!({"uid": 1000, "gid": 1000})), Bundle::idle().user_namespace()] {
        let b = b.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": -15})).up();
        assert_eq!(scheduler_of(b.pid()).nice, -15);
    }
}

#[test]
fn flags_and_real_time_policies() {
    requires!(Need::Root, Need::RealTime);
    for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let given = json!({"policy": policy, "priority": 17, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        // In no cgroup of its own: in version 1 a new one has no real-time share.
        let b = Bundle::idle()
            .global("--cgroup-manager")
            .global("disabled")
            .set("/process/scheduler", given)
            .up();
        let expected = Scheduler { policy: number, priority: 17, flags: 1, ..Scheduler::default() };
        assert_eq!(scheduler_of(b.pid()), expected);
    }
}

#[test]
fn a_deadline() {
    requires!(Need::Root, Need::RealTime);
    let given = json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000,
        "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"],
    });
    let b =
        Bundle::idle().global("--cgroup-manager").global("disabled").set("/process/scheduler", given).up();
    let (runtime, deadline, period) = (1_000_000, 50_000_000, 100_000_000);
    let expected = Scheduler { policy: 6, flags: 7, runtime, deadline, period, ..Scheduler::default() };
    assert_eq!(scheduler_of(b.pid()), expected);
}

#[test]
fn an_exec_is_scheduled_like_the_container_or_as_it_says() {
    let b = Bundle::idle().set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 4}));
    let b = b.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6})).up();
    let pid = exec_detached(&b, &[]);
    assert_eq!((scheduler_of(pid).policy, scheduler_of(pid).nice, io_priority_of(pid)), (3, 4, 2 << 13 | 6));
    let file = process_file(&b, json!({"scheduler": {"policy": "SCHED_OTHER", "nice": 9}}));
    let pid = exec_detached(&b, &["--process", &file]);
    assert_eq!((scheduler_of(pid).policy, scheduler_of(pid).nice, io_priority_of(pid)), (0, 9, 2 << 13 | 6));
}

#[test]
fn every_class_of_disk_priority() {
    requires!(Need::Root);
    for (class, number, priority) in
        [("IOPRIO_CLASS_RT", 1, 0), ("IOPRIO_CLASS_BE", 2, 7), ("IOPRIO_CLASS_IDLE", 3, 4)]
    {
        for b in [Bundle::idle(), Bundle::idle().user_namespace()] {
            let b = b.set("/process/ioPriority", json!({"class": class, "priority": priority})).up();
            assert_eq!(io_priority_of(b.pid()), number << 13 | priority, "{class}");
        }
    }
}

#[test]
fn the_cpus_of_an_exec() {
    let cpus = own_cpus();
    let (first, last) = (cpus[0].as_str(), cpus[cpus.len() - 1].as_str());
    let b = Bundle::idle().set("/process/execCPUAffinity", json!({"initial": first, "final": last})).up();
    assert_eq!(cpus_of(&b.pid().to_string()), cpus_of("self"), "init is not meant");
    // The command itself stays where it began, and so did the process until it was in its cgroup.
    let exec = b.spawn(&[
        "exec",
        &b.id,
        "sh",
        "-c",
        "grep Cpus_allowed_list /proc/self/status; echo ready; sleep 300",
    ]);
    exec.wait_for("ready");
    assert_eq!(cpus_of(&exec.pid().to_string()), first);
    assert!(exec.stdout().contains(&format!("Cpus_allowed_list:\t{last}\n")), "{}", exec.stdout());
    b.kill("TERM").ok();
    exec.wait();
}

#[test]
fn the_cpus_of_an_exec_are_the_cgroups_unless_it_says_otherwise() {
    let cpus = own_cpus();
    let (first, last) = (cpus[0].as_str(), cpus[cpus.len() - 1].as_str());
    let b = Bundle::idle().up();
    let cpus_with = |affinity: Value| {
        let file = process_file(&b, json!({"execCPUAffinity": affinity}));
        cpus_of(&exec_detached(&b, &["--process", &file]).to_string())
    };
    assert_eq!(cpus_with(json!({"initial": first})), cpus_of(&b.pid().to_string()));
    assert_eq!(cpus_with(json!({"initial": last, "final": ""})), cpus_of(&b.pid().to_string()));
    assert_eq!(cpus_with(json!({"final": last})), last);
    // CPUs that are not there are left out.
    assert_eq!(cpus_with(json!({"initial": "", "final": format!("{first},8000-8191")})), first);
}

#[test]
fn a_memory_policy_holds_for_every_process() {
    requires!(Need::File("/proc/self/numa_maps"));
    let policy = |given: Value| {
        let b = Bundle::sh("head -n 1 /proc/self/numa_maps").set("/linux/memoryPolicy", given);
        b.run().ok().stdout.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(policy(json!({"mode": "MPOL_DEFAULT"})), "default");
    assert_eq!(policy(json!({})), "default");
    let b = Bundle::idle().set("/linux/memoryPolicy", json!({})).up();
    assert!(b.exec(&["cat", "/proc/self/numa_maps"]).ok().stdout.contains(" default "));
    assert_eq!(policy(json!({"mode": "MPOL_LOCAL"})), "local");
    assert_eq!(policy(json!({"mode": "MPOL_PREFERRED"})), "local");
    assert_eq!(policy(json!({"mode": "MPOL_PREFERRED", "nodes": "0"})), "prefer:0");
    assert_eq!(policy(json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"})), "interleave:0");
    let flags = |flag| json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]});
    assert_eq!(policy(flags("MPOL_F_STATIC_NODES")), "bind=static:0");
    assert_eq!(policy(flags("MPOL_F_RELATIVE_NODES")), "bind=relative:0");
    assert!(policy(flags("MPOL_F_NUMA_BALANCING")).starts_with("bind=balancing:0"));

    let b = Bundle::idle()
        .user_namespace()
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
    let b = b.up();
    let out = b.exec(&["head", "-n", "1", "/proc/self/numa_maps"]).ok();
    assert_eq!(out.stdout.split_whitespace().nth(1), Some("bind:0"));
}

#[test]
fn newer_memory_policies() {
    requires!(Need::File("/proc/self/numa_maps"));
    // Since Linux 5.15 and 6.9.
    for (mode, shown) in
        [("MPOL_PREFERRED_MANY", "prefer (many):0"), ("MPOL_WEIGHTED_INTERLEAVE", "weighted interleave:0")]
    {
        let given = json!({"mode": mode, "nodes": "0"});
        let out = Bundle::sh("head -n 1 /proc/self/numa_maps").set("/linux/memoryPolicy", given).run();
        match out.code() {
            0 => assert!(out.stdout.contains(shown), "{out}"),
            _ => drop(out.fails(1, &["linux.memoryPolicy", "EINVAL", "known to this kernel"])),
        }
    }
}

#[test]
fn bad_values_name_their_field() {
    requires!(Need::Root);
    let fifo = |priority: i32| json!({"policy": "SCHED_FIFO", "priority": priority});
    let deadline = |runtime: u64, deadline: u64, period: u64| json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline, "period": period});
    table(
        Bundle::new(),
        &[
            ("/process/scheduler", json!({}), &["process.scheduler.policy", "missing"]),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_X"}),
                &["process.scheduler.policy", "SCHED_X", "known are"],
            ),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_ISO"}),
                &["process.scheduler", "EINVAL", "never had SCHED_ISO"],
            ),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_OTHER", "nice": 20}),
                &["process.scheduler.nice", "-20 to 19"],
            ),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_OTHER", "nice": 1_u64 << 40}),
                &["process.scheduler.nice", "i32"],
            ),
            ("/process/scheduler", fifo(0), &["process.scheduler.priority", "1 to 99"]),
            ("/process/scheduler", fifo(100), &["process.scheduler.priority", "1 to 99"]),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_BATCH", "priority": 3}),
                &["process.scheduler.priority", "SCHED_FIFO and SCHED_RR"],
            ),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_OTHER", "flags": ["SCHED_RESET_ON_FORK"]}),
                &["process.scheduler.flags[0]", "unknown"],
            ),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_OTHER", "deadline": 9999}),
                &["process.scheduler.deadline", "SCHED_DEADLINE"],
            ),
            ("/process/scheduler", deadline(1000, 2000, 3000), &["process.scheduler.runtime", "1024"]),
            (
                "/process/scheduler",
                deadline(5000, 4000, 6000),
                &["process.scheduler.deadline", "less than the runtime"],
            ),
            (
                "/process/scheduler",
                deadline(5000, 6000, 5500),
                &["process.scheduler.period", "less than the deadline"],
            ),
            ("/process/scheduler", deadline(1024, 1025, 1026), &["process.scheduler", "sched_setattr"]),
            ("/process/ioPriority", json!({"priority": 3}), &["process.ioPriority.class", "missing"]),
            (
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_NONE"}),
                &["process.ioPriority.class", "unknown"],
            ),
            (
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
                &["process.ioPriority.priority", "0 to 7"],
            ),
            (
                "/process/execCPUAffinity",
                json!({"initial": "0-"}),
                &["process.execCPUAffinity.initial", "not a list"],
            ),
            (
                "/process/execCPUAffinity",
                json!({"final": "9999"}),
                &["process.execCPUAffinity.final", "more than 8191"],
            ),
            (
                "/process/execCPUAffinity",
                json!({"final": "3-1"}),
                &["process.execCPUAffinity.final", "backwards"],
            ),
            (
                "/linux/memoryPolicy",
                json!({"nodes": "0"}),
                &["linux.memoryPolicy", "invalid memory policy mode"],
            ),
            ("/linux/memoryPolicy", json!({"mode": "MPOL_X"}), &["linux.memoryPolicy.mode", "MPOL_X"]),
            (
                "/linux/memoryPolicy",
                json!({"mode": "MPOL_BIND"}),
                &["linux.memoryPolicy.nodes", "needs some"],
            ),
            (
                "/linux/memoryPolicy",
                json!({"mode": "MPOL_LOCAL", "nodes": "0"}),
                &["linux.memoryPolicy.nodes", "takes none"],
            ),
            (
                "/linux/memoryPolicy",
                json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}),
                &["linux.memoryPolicy.flags[0]", "MPOL_F_X"],
            ),
            (
                "/linux/memoryPolicy",
                json!({"mode": "MPOL_BIND", "nodes": "1000"}),
                &["linux.memoryPolicy", "set_mempolicy", "EINVAL"],
            ),
            (
                "/linux/personality",
                json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
                &["linux.personality.flags", "none yet"],
            ),
        ],
    );
}

#[test]
fn cpus_that_are_not_there_end_an_exec() {
    let b = Bundle::idle().up();
    for (affinity, field) in [(json!({"initial": "8000"}), "initial"), (json!({"final": "8000"}), "final")] {
        let file = process_file(&b, json!({"execCPUAffinity": affinity}));
        let field = format!("process.execCPUAffinity.{field}");
        b.exec_with(&["--process", &file], &[]).fails(255, &[&field, "sched_setaffinity", "EINVAL"]);
    }
}

#[test]
fn a_container_may_use_other_cpus_than_the_runtime() {
    let cpus = own_cpus();
    let first = cpus[0].as_str();
    let b = Bundle::idle().prelude(&format!("set -- taskset -c {first} \"$@\"")).up();
    assert_eq!(cpus_of(&b.pid().to_string()), cpus_of("self"));
    let out = b.exec(&["grep", "Cpus_allowed_list", "/proc/self/status"]).ok();
    assert_eq!(out.field("Cpus_allowed_list:"), cpus_of("self"));
}
