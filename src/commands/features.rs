//! `features`: what this build can do, from the tables that do it
//! ([features.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/features.md)).

use crate::error::{Error, Result};
use crate::plan::cgroup::systemd;
use crate::plan::{annotations, capabilities, hooks, mount_options, schedule};
use crate::seccomp;
use crate::spec;
use crate::sys;
use crate::sys::ns::Ns;
use serde_json::json;

/// Prints it as JSON.
pub fn features() -> Result<u8> {
    let mut options: Vec<_> = mount_options::known().collect();
    options.sort_unstable();
    let mut namespaces = Ns::ALL.map(Ns::name);
    namespaces.sort_unstable();
    // "This list may be a subset of knownFlags due to some flags not supported by the current kernel": features-linux.md.
    let flags = seccomp::Flag::ALL.into_iter().filter(|flag| sys::seccomp::knows(flag.bits()));
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": spec::VERSION,
        "hooks": hooks::KINDS,
        "mountOptions": options,
        "linux": {
            "namespaces": namespaces,
            "capabilities": &capabilities::NAMES[..],
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": seccomp::Action::NAMES,
                "operators": seccomp::Operator::ALL.map(seccomp::Operator::name),
                "archs": seccomp::Arch::ALL.map(seccomp::Arch::name),
                "knownFlags": seccomp::Flag::ALL.map(seccomp::Flag::name),
                "supportedFlags": flags.map(seccomp::Flag::name).collect::<Vec<_>>(),
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {
                "modes": schedule::MEMORY_MODES.map(|(name, _)| name),
                "flags": schedule::MEMORY_FLAGS.map(|(name, _)| name),
            },
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "annotations": {"org.opencontainers.orlop.version": env!("CARGO_PKG_VERSION")},
        "potentiallyUnsafeConfigAnnotations": [systemd::ANNOTATIONS, annotations::PREFIX],
    });
    let text = serde_json::to_string_pretty(&features).map_err(|error| Error::new(error.to_string()))?;
    super::print(&format!("{text}\n"));
    Ok(0)
}
