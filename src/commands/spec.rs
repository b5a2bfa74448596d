//! `spec`: a config.json to begin with.

use crate::cgroup;
use crate::cli;
use crate::error::{Error, Result};
use crate::plan::cgroup::Layout;
use crate::spec;
use crate::sys::Errno;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;

/// Writes it, unless there is one already.
pub fn spec(args: &cli::Spec) -> Result<u8> {
    let path = args.bundle.join("config.json");
    let mut config = sample();
    // As runc has it: with cgroups of version 1 a container sees which of the host's it is in.
    if cgroup::layout()? == Layout::V2
        && let Some(namespaces) = config["linux"]["namespaces"].as_array_mut()
    {
        namespaces.push(json!({"type": "cgroup"}));
    }
    if args.rootless {
        make_rootless(&mut config);
    }
    let text = serde_json::to_string_pretty(&config).map_err(|error| Error::new(error.to_string()))?;
    let written = File::create_new(&path).and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()));
    written.map(|()| 0).map_err(|error| match Errno::from(error) {
        Errno::EEXIST => Error::new(format!("{} exists", path.display())).hint("remove it first"),
        errno => Error::new(format!("write {}: {errno}", path.display())),
    })
}

/// A shell on a read-only root, with few capabilities and everything masked that should be.
fn sample() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let fs = |destination: &str, kind: &str, options: &[&str]| {
        let source = if destination == "/dev/shm" { "shm" } else { kind };
        json!({"destination": destination, "type": kind, "source": source, "options": options})
    };
    json!({
        "ociVersion": spec::VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "orlop",
        "mounts": [
            fs("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            fs("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            fs("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            fs("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            fs("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            fs("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            fs("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/sys/devices/virtual/powercap", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// What a user can have: a user namespace in which he is root, the host's network and /sys, and no cgroup of his own.
fn make_rootless(config: &mut Value) {
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let linux = &mut config["linux"];
    linux["uidMappings"] = map(crate::sys::cred::euid());
    linux["gidMappings"] = map(crate::sys::cred::egid());
    linux["resources"] = json!({});
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "user"}));
    }
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        for mount in mounts {
            match mount["destination"].as_str() {
                // A new sysfs belongs to a network namespace, and this one is the host's. Below it are the user's own cgroups, which
                // are read-only as well only by `rro` (CVE-2023-25809).
                Some("/sys") => {
                    *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                        "options": ["rbind", "nosuid", "noexec", "nodev", "rro"]});
                }
                // The group of terminals is not mapped.
                Some("/dev/pts") => {
                    if let Some(options) = mount["options"].as_array_mut() {
                        options.retain(|option| option != "gid=5");
                    }
                }
                _ => {}
            }
        }
    }
}
