//! A whole life of a container, as root and as an ordinary user, with either manager of cgroups.

use super::{NEED, Podman, cgroup};
use crate::harness::requires;
use std::fs;

/// `parent` is the cgroup that the container's own is in, if one is promised.
fn live(podman: &Podman, name: &str, parent: Option<&str>) {
    let id = podman.up(name, "--network none --memory 64m --cpus 0.5 --pids-limit 20 --cpuset-cpus 0");
    let path = podman.inspect(name, ".State.CgroupPath");
    let scope = match podman.manager {
        "systemd" => format!("libpod-{id}.scope"),
        _ => format!("libpod-{id}"),
    };
    assert!(path.ends_with(&format!("/{scope}")), "{path}");
    if let Some(parent) = parent {
        assert_eq!(path, format!("{parent}/{scope}"));
    }
    let pid = podman.inspect(name, ".State.Pid");
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(own, format!("0::{path}\n"));
    let limits = |expected: &[(&str, &str)]| {
        for (file, value) in expected {
            assert_eq!(fs::read_to_string(cgroup(&path).join(file)).unwrap().trim(), *value, "{file}");
        }
    };
    limits(&[
        ("memory.max", "67108864"),
        ("cpu.max", "50000 100000"),
        ("pids.max", "20"),
        ("cpuset.cpus", "0"),
    ]);
    podman.cmd(&format!("update --memory 128m --cpus 0.25 --pids-limit 30 {name}")).ok();
    limits(&[
        ("memory.max", "134217728"),
        ("cpu.max", "25000 100000"),
        ("pids.max", "30"),
        ("cpuset.cpus", "0"),
    ]);

    let out = podman.cmd(&format!("exec -u app -w /tmp -e A=b {name} sh -c 'id -u; pwd; echo $A; exit 7'"));
    assert_eq!((out.code(), out.stdout.as_str()), (7, "1000\n/tmp\nb\n"), "{out}");
    podman.cmd(&format!("pause {name}")).ok();
    limits(&[("cgroup.freeze", "1")]);
    assert_eq!(podman.inspect(name, ".State.Status"), "paused");
    podman.cmd(&format!("unpause {name}")).ok();
    limits(&[("cgroup.freeze", "0")]);
    let stats =
        podman.cmd(&format!("stats --no-stream --format '{{{{.PIDs}}}} {{{{.MemUsage}}}}' {name}")).ok();
    assert!(stats.stdout.starts_with("2 ") && stats.stdout.contains("134.2MB"), "{stats}");
    let top = podman.cmd(&format!("top {name} pid comm")).ok();
    assert!(top.stdout.contains("sleep"), "{top}");

    podman.cmd(&format!("stop -t 60 {name}")).ok();
    assert_eq!(podman.inspect(name, ".State.ExitCode"), "4");
    assert_eq!(podman.cmd(&format!("logs {name}")).ok().stdout, "started\nbye\n");
    podman.cmd(&format!("start {name}")).ok();
    assert_eq!(podman.inspect(name, ".State.Status"), "running");
    podman.remove(name, &id);
}

#[test]
fn of_root_by_systemd() {
    requires!(NEED);
    live(&Podman::root("systemd"), "root-systemd", Some("/machine.slice"));
}

#[test]
fn of_root_by_cgroupfs() {
    requires!(NEED);
    live(&Podman::root("cgroupfs"), "root-cgroupfs", Some("/libpod_parent"));
}

#[test]
fn of_a_user_by_systemd() {
    requires!(NEED);
    let parent = "/user.slice/user-1000.slice/user@1000.service/user.slice";
    live(&Podman::user("systemd"), "user-systemd", Some(parent));
}

/// A user may not make cgroups where this manager wants them, so it names none: then the cgroup is beside Podman's own,
/// in the session.
#[test]
fn of_a_user_by_cgroupfs() {
    requires!(NEED);
    let podman = Podman::user("cgroupfs");
    let id = podman.up("user-cgroupfs", "--network none --memory 64m --cpus 0.5 --pids-limit 20");
    let pid = podman.inspect("user-cgroupfs", ".State.Pid");
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = own.trim().strip_prefix("0::").unwrap();
    assert!(
        path.starts_with("/user.slice/user-1000.slice/user@1000.service/") && path.ends_with(&id),
        "{path}"
    );
    let limits = |memory: &str, cpu: &str, pids: &str| {
        for (file, value) in [("memory.max", memory), ("cpu.max", cpu), ("pids.max", pids)] {
            assert_eq!(fs::read_to_string(cgroup(path).join(file)).unwrap().trim(), value, "{file}");
        }
    };
    limits("67108864", "50000 100000", "20");
    podman.cmd("update --memory 128m --cpus 0.25 --pids-limit 30 user-cgroupfs").ok();
    limits("134217728", "25000 100000", "30");
    let out = podman.cmd("exec user-cgroupfs sh -c 'echo in; exit 7'");
    assert_eq!((out.code(), out.stdout.as_str()), (7, "in\n"), "{out}");
    podman.cmd("stop -t 60 user-cgroupfs").ok();
    assert_eq!(podman.inspect("user-cgroupfs", ".State.ExitCode"), "4");
    podman.remove("user-cgroupfs", &id);
    let out = podman.run("--network none --memory 16m --memory-swap 16m", "tail -c 64m /dev/zero");
    assert_eq!(out.code(), 137, "{out}");
}
