//! Configurations that real engines handed to their runtime, recorded on a host with cgroup v1; only the
//! paths in them were changed. They are run as they are, and what they ask for is read back.

mod check;
mod report;

use crate::harness::{
    Bundle, ConsoleSocket, Need, Output, View, cgroups_named, hierarchies, skip_unless, wait_until,
};
use check::{list, texts};
use report::Report;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const PODMAN: &str = include_str!("recorded/podman-4.3-run.json");
const CONTAINERD: &str = include_str!("recorded/containerd-1.6-run.json");
const CONTAINERD_LIMITS: &str = include_str!("recorded/containerd-1.6-seccomp-limits.json");
const CONTAINERD_PRIVILEGED: &str = include_str!("recorded/containerd-1.6-privileged.json");
const CONTAINERD_DEVICE: &str = include_str!("recorded/containerd-1.6-hostnet-device.json");
const DOCKER: &str = include_str!("recorded/docker-20.10-run.json");
const DOCKER_LOCKED_DOWN: &str = include_str!("recorded/docker-20.10-locked-down.json");
const DOCKER_PRIVILEGED: &str = include_str!("recorded/docker-20.10-privileged-tty.json");

/// `CAP_SYS_RESOURCE` in `linux/capability.h`, without which a host grants neither itself nor a limit over
/// its own.
const SYS_RESOURCE: u64 = 1 << 24;

fn has_sys_resource() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & SYS_RESOURCE != 0
}

/// A bundle of a recorded configuration, with the files that the engine had made for it. Its cgroup gets
/// a directory of the test's own above it, because the tests of one configuration run at the same time.
fn bundle(recorded: &str) -> Bundle {
    let config: Value = serde_json::from_str(recorded).unwrap();
    let b = Bundle::new().edit(|own| *own = config);
    let files = b.dir().join("files");
    fs::create_dir_all(files.join("shm")).unwrap();
    for name in ["hosts", "hostname", "resolv.conf", "containerenv"] {
        fs::write(files.join(name), name).unwrap();
    }
    let recorded = b.config["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/');
    let path = format!("{}/{recorded}", b.cgroup());
    let b = b.set("/linux/cgroupsPath", path);
    // A runtime that has no seccomp refuses a profile.
    let features: Value = serde_json::from_str(&b.cmd(&["features"]).ok().stdout).unwrap();
    let b = if features["linux"]["seccomp"]["enabled"] == true { b } else { b.remove("/linux/seccomp") };
    if view_is("v2") { without_limits(b) } else { b }
}

/// Whether all tests run in this view of the host's cgroups.
fn view_is(view: &str) -> bool {
    std::env::var("VIEW").is_ok_and(|all| all == view)
}

/// For a view without the controllers. The devices rule needs none in v2.
fn without_limits(b: Bundle) -> Bundle {
    let devices = b.config["linux"]["resources"]["devices"].clone();
    b.set("/linux/resources", json!({"devices": devices}))
}

/// What this host can't grant, lowered to what it can.
fn granted(b: Bundle) -> Bundle {
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    if has_sys_resource() {
        return b;
    }
    b.edit(|config| {
        for limit in config["process"]["rlimits"].as_array_mut().into_iter().flatten() {
            if limit["type"] == "RLIMIT_NOFILE" && limit["hard"].as_u64().unwrap() > hard {
                (limit["hard"], limit["soft"]) = (json!(hard), json!(soft));
            }
        }
        for set in
            config["process"]["capabilities"].as_object_mut().into_iter().flat_map(|sets| sets.values_mut())
        {
            set.as_array_mut().unwrap().retain(|name| name != "CAP_SYS_RESOURCE");
        }
    })
}

/// The bundle runs the program that the engine ran.
fn says(recorded: &str, text: &str) {
    let b = granted(bundle(recorded));
    let out = if b.config["process"]["terminal"] == true {
        let console = ConsoleSocket::bind(&b);
        b.create_with(&["--console-socket", console.arg()]).ok();
        let mut terminal = console.receive();
        b.start().ok();
        let text = terminal.read_to_end().to_owned();
        b.delete_force().ok();
        text
    } else {
        b.run().ok().stdout
    };
    assert!(out.contains(text), "{text:?} in {out:?}");
    nothing_left(&b);
}

/// All that the configuration asks for is there.
fn read_back(recorded: &str, view: View, capabilities: u64) {
    let b = granted(bundle(recorded)).file("report", report::SCRIPT).view(view);
    let paths = [&b.config["linux"]["maskedPaths"], &b.config["linux"]["readonlyPaths"]];
    let paths: Vec<&str> = paths.into_iter().flat_map(texts).chain(["/dev/shm"]).collect();
    let args: Vec<String> = ["/bin/sh", "/report"].into_iter().chain(paths).map(String::from).collect();
    let b = b.args(args);
    let b = if view == View::V2 { without_limits(b) } else { b };
    let pid_file = b.io().join("pid");
    let console = (b.config["process"]["terminal"] == true).then(|| ConsoleSocket::bind(&b));
    let mut options = vec!["--pid-file", pid_file.to_str().unwrap()];
    options.extend(console.iter().flat_map(|console| ["--console-socket", console.arg()]));
    let created: Output = b.create_with(&options).ok();
    assert_eq!(created.stderr, "", "{created}");
    outside(&b, &fs::read_to_string(&pid_file).unwrap(), view);
    let text = match console {
        Some(console) => {
            let mut terminal = console.receive();
            b.start().ok();
            terminal.read_to_end().to_owned()
        }
        None => {
            b.start().ok();
            wait_until("it stops", || b.status() == "stopped");
            // `features` was the first command, `create` the second.
            b.logs(1)
        }
    };
    let report = Report::parse(&text);
    check::inside(&b.config, &report, view);
    let mask = |value: u64| format!("{value:016x}");
    for (set, value) in [
        ("CapBnd:", capabilities),
        ("CapPrm:", capabilities),
        ("CapEff:", capabilities),
        ("CapInh:", 0),
        ("CapAmb:", 0),
    ] {
        assert_eq!(report.line("status", set), mask(value), "{set}");
    }
    b.delete_force().ok();
    nothing_left(&b);
}

/// The container's cgroup, seen from the host: init is in it, and it has the limits.
fn outside(b: &Bundle, pid: &str, view: View) {
    let path = b.config["linux"]["cgroupsPath"].as_str().unwrap();
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).unwrap();
    for line in cgroups.lines() {
        let (hierarchy, at) = line.rsplit_once(':').unwrap();
        let is_v2 = hierarchy.starts_with("0:");
        let seen = match view {
            View::V1 => !is_v2,
            View::V2 => is_v2,
            View::Host => true,
        };
        // A v2 view leaves the process in the caller's cgroups of v1, and the other way round.
        assert_eq!(at == path, seen, "{path} in {view:?}: {cgroups}");
    }
    if view != View::V2 {
        limits(b, path);
    }
}

fn limits(b: &Bundle, path: &str) {
    let resources = &b.config["linux"]["resources"];
    let read = |controller: &str, file: &str| {
        let own = |h: &crate::harness::Hierarchy| h.controllers.iter().any(|name| name == controller);
        let hierarchy: PathBuf = hierarchies().into_iter().find(own).unwrap().path;
        let file = hierarchy.join(path.trim_start_matches('/')).join(file);
        fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).trim().to_owned()
    };
    for (pointer, controller, file) in [
        ("/memory/limit", "memory", "memory.limit_in_bytes"),
        ("/memory/swap", "memory", "memory.memsw.limit_in_bytes"),
        ("/cpu/shares", "cpu", "cpu.shares"),
        ("/cpu/quota", "cpu", "cpu.cfs_quota_us"),
        ("/cpu/period", "cpu", "cpu.cfs_period_us"),
        ("/pids/limit", "pids", "pids.max"),
    ] {
        if let Some(value) = resources.pointer(pointer).and_then(Value::as_u64).filter(|value| *value != 0) {
            assert_eq!(read(controller, file), value.to_string(), "{pointer}");
        }
    }
    let allowed = read("devices", "devices.list");
    let allows_all =
        list(&resources["devices"]).iter().any(|rule| rule["allow"] == true && rule.get("type").is_none());
    assert_eq!(allowed.lines().any(|line| line == "a *:* rwm"), allows_all, "{allowed}");
    if !allows_all {
        for rule in ["c 1:3 rwm", "c 1:5 rwm", "c 5:2 rwm", "c 136:* rwm"] {
            assert!(allowed.lines().any(|line| line == rule), "{rule}: {allowed}");
        }
        let fuse = list(&b.config["linux"]["devices"]).iter().any(|device| device["path"] == "/dev/fuse");
        assert_eq!(allowed.contains("c 10:229 rwm"), fuse, "{allowed}");
    }
}

/// The cgroups above the container's own are not the runtime's to remove: several containers share them.
fn nothing_left(b: &Bundle) {
    let name = PathBuf::from(b.config["linux"]["cgroupsPath"].as_str().unwrap());
    let own = name.file_name().unwrap();
    let left = cgroups_named(&b.id);
    assert!(left.iter().all(|path| path.file_name() != Some(own)), "{left:#?}");
    left.iter().rev().for_each(|path: &PathBuf| remove(path));
    b.assert_nothing_left();
}

fn remove(cgroup: &Path) {
    fs::remove_dir(cgroup).unwrap_or_else(|error| panic!("{}: {error}", cgroup.display()));
}

/// A test of each configuration with the program it was recorded with, and with everything read back on
/// the host's cgroups and in a pure v2 view. The number is its capabilities.
macro_rules! recorded {
    ($($name:ident: $config:ident, $capabilities:expr, $says:expr;)+) => { $(
        mod $name {
            use super::*;

            #[test]
            fn runs() {
                says($config, $says);
            }

            #[test]
            fn read_back_on_v1() {
                if !view_is("v2") && skip_unless(Need::CgroupV1) {
                    read_back($config, if view_is("v1") { View::V1 } else { View::Host }, granted_of($capabilities));
                }
            }

            #[test]
            fn read_back_on_v2() {
                if !view_is("v1") && skip_unless(Need::CgroupV2) {
                    read_back($config, View::V2, granted_of($capabilities));
                }
            }
        }
    )+ };
}

recorded! {
    podman: PODMAN, 0x8004_05fb, "hi\n";
    containerd: CONTAINERD, 0xa804_25fb, "hi-from-ctr\n";
    containerd_with_limits: CONTAINERD_LIMITS, 0xa804_25fb, "uid=0(root) gid=0(root)";
    containerd_privileged: CONTAINERD_PRIVILEGED, 0x1ff_feff_ffff, "uid=0(root) gid=0(root)";
    containerd_with_a_device: CONTAINERD_DEVICE, 0xa804_35fb, "uid=0(root) gid=0(root)";
    docker: DOCKER, 0xa804_25fb, "hi-docker\n";
    docker_locked_down: DOCKER_LOCKED_DOWN, 0, "uid=1000(app) gid=0(root)";
    docker_privileged_with_a_terminal: DOCKER_PRIVILEGED, 0x3f_ffff_ffff, "uid=0(root) gid=0(root)";
}

fn granted_of(capabilities: u64) -> u64 {
    if has_sys_resource() { capabilities } else { capabilities & !SYS_RESOURCE }
}

/// What the users of other runtimes have to guess from a bare EPERM.
#[test]
fn a_limit_over_the_hosts_is_named() {
    if has_sys_resource() {
        eprintln!("skipped: needs a host without CAP_SYS_RESOURCE");
        return;
    }
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let b = bundle(PODMAN);
    let asked = b.config.pointer("/process/rlimits/0/hard").and_then(Value::as_u64).unwrap();
    if hard >= asked {
        eprintln!("skipped: needs a lower hard limit of open files");
        return;
    }
    let hard = hard.to_string();
    let texts = [
        "process.rlimits[0]",
        "RLIMIT_NOFILE",
        "1048576",
        "operation not permitted",
        &hard,
        "CAP_SYS_RESOURCE",
    ];
    b.create().fails(1, &texts).one_line();
    nothing_left(&b);
}

#[test]
fn a_capability_over_the_hosts_is_named() {
    if has_sys_resource() {
        eprintln!("skipped: needs a host without CAP_SYS_RESOURCE");
        return;
    }
    let b = bundle(DOCKER_PRIVILEGED);
    let console = ConsoleSocket::bind(&b);
    let created = b.create_with(&["--console-socket", console.arg()]).ok();
    assert!(created.stderr.contains("CAP_SYS_RESOURCE"), "{created}");
    assert!(!created.stderr.contains("CAP_CHOWN"), "only what is lacking: {created}");
    b.delete_force().ok();
    nothing_left(&b);
}
