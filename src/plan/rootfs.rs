//! The root file system beside its mounts: propagation, device nodes, links, masked and read-only paths.

use super::mount_options::{self, Reach};
use super::mounts::{MountKind, MountStep, inside};
use super::namespaces::Namespaces;
use super::{Options, PathField};
use crate::error::{Error, Result};
use crate::sys::mount::Propagation;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use std::path::{Path, PathBuf};

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// On the host, absolute.
    pub path: PathBuf,
    /// Read-only once everything is in place.
    pub readonly: bool,
    /// Propagation of the root mount, and whether of all mounts below it too.
    pub propagation: (Propagation, bool),
    /// Move the root over `/` and chroot into it, instead of pivot_root.
    pub no_pivot: bool,
}

impl Root {
    /// The root of config.json. "On POSIX platforms, path is either an absolute path or a relative path to
    /// the bundle."
    pub fn new(
        root: Option<&oci_spec::runtime::Root>,
        propagation: Option<&str>,
        options: &Options,
    ) -> Result<Root> {
        let root = root.ok_or_else(|| Error::new("missing").field("root"))?;
        if root.path().as_os_str().is_empty() {
            return Err(Error::new("missing").field("root.path"));
        }
        Ok(Root {
            path: options.bundle.join(root.path()).components().collect(),
            readonly: root.readonly().unwrap_or(false),
            propagation: root_propagation(propagation.unwrap_or_default())?,
            no_pivot: options.no_pivot,
        })
    }
}

/// "rootfsPropagation (string, OPTIONAL) sets the rootfs's mount propagation. Its value is either shared,
/// slave, private or unbindable." The recursive forms are taken too, as runc and crun do. Without any, mounts
/// of the host come in and none go out.
pub fn root_propagation(word: &str) -> Result<(Propagation, bool)> {
    if word.is_empty() {
        return Ok((Propagation::Slave, true));
    }
    match mount_options::propagation(word) {
        Some((kind, reach)) => Ok((kind, reach == Reach::Tree)),
        None => Err(Error::new(format!("unknown propagation {word:?}"))
            .field("linux.rootfsPropagation")
            .hint("known are private, slave, shared and unbindable, and each with an r before it")),
    }
}

/// What a device node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// A device node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStep {
    /// Relative to the container's root. Below `/` it is also where the host has the node, for `bind`.
    pub path: PathBuf,
    /// What it is.
    pub kind: DeviceKind,
    /// Major number; 0 of a FIFO.
    pub major: u32,
    /// Minor number; 0 of a FIFO.
    pub minor: u32,
    /// Permission bits, not subject to the umask.
    pub mode: u32,
    /// Owner, in the container's user namespace.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// Bind the host's node of the same path, because a user namespace can't make one: it keeps the owner and
    /// mode that it has on the host.
    pub bind: bool,
    /// Or bind one that is made outside of the user namespace, for this user and group of the host.
    pub outside: Option<(u32, u32)>,
    /// `linux.devices[1]`; of one that every container has, `default device`.
    pub field: String,
}

/// The field of a device that every container has.
const DEFAULT: &str = "default device";

/// Character devices of every container: runtime-spec, config-linux.md "Default Devices".
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
    ("dev/tty", 5, 0),
];

/// Links of every container: runtime-spec, runtime-linux.md "Dev symbolic links", and config-linux.md for
/// `/dev/ptmx`.
const LINKS: [(&str, &str); 6] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
    ("dev/core", "/proc/kcore"),
    (PTMX, "pts/ptmx"),
];

const PTMX: &str = "dev/ptmx";

/// Permissions of a device node for which config.json gives none.
const DEVICE_MODE: u32 = 0o666;

/// Whether the container's `/dev` is a directory of the host: then nothing is made in it.
pub fn dev_is_hosts(mounts: &[MountStep]) -> bool {
    let dev = mounts.iter().rfind(|mount| mount.destination == Path::new("dev"));
    dev.is_some_and(|mount| matches!(mount.kind, MountKind::Bind { .. }))
}

/// The links in `/dev`, as (link, target).
pub fn links(dev_is_hosts: bool) -> Vec<(PathBuf, PathBuf)> {
    let links = LINKS.iter().filter(|_| !dev_is_hosts);
    links.map(|(link, target)| (link.into(), target.into())).collect()
}

/// The device nodes: those of every container, then those of config.json, which win over a default of the
/// same path.
pub fn devices(given: &[LinuxDevice], dev_is_hosts: bool, in_userns: bool) -> Result<Vec<DeviceStep>> {
    let mut steps: Vec<DeviceStep> = Vec::new();
    for (i, device) in given.iter().enumerate() {
        let step = device_step(device, format!("linux.devices[{i}]"), in_userns)?;
        match steps.iter().find(|earlier| earlier.path == step.path) {
            None => steps.push(step),
            Some(same) if (same.kind, same.major, same.minor) == (step.kind, step.major, step.minor) => {}
            Some(other) => {
                let error = Error::new(format!("{} gives another device this path", other.field));
                return Err(error.field(format!("{}.path", step.field)));
            }
        }
    }
    let defaults = DEFAULT_DEVICES.iter().map(|(path, major, minor)| DeviceStep {
        path: path.into(),
        kind: DeviceKind::Char,
        major: *major,
        minor: *minor,
        mode: DEVICE_MODE,
        uid: 0,
        gid: 0,
        bind: in_userns,
        outside: None,
        field: DEFAULT.to_owned(),
    });
    let missing: Vec<_> = defaults.filter(|default| steps.iter().all(|s| s.path != default.path)).collect();
    steps.splice(0..0, missing);
    // A privileged container of Docker's has the host's /dev/ptmx in its list, whose place is that of a link.
    steps.retain(|step| !(dev_is_hosts && step.path.starts_with("dev")) && step.path != Path::new(PTMX));
    Ok(steps)
}

/// Has the devices of config.json made outside of the container's user namespace, with the mode and owner that they are to have there, and
/// whether or not the host has a node at the same path. One whose owner is not mapped is still bound.
pub fn make_outside(devices: &mut [DeviceStep], namespaces: &Namespaces) {
    for step in devices.iter_mut().filter(|step| step.bind && step.field != DEFAULT) {
        step.outside = namespaces.host_uid(step.uid).zip(namespaces.host_gid(step.gid));
    }
}

fn device_step(device: &LinuxDevice, field: String, in_userns: bool) -> Result<DeviceStep> {
    // "path (string, REQUIRED) - full path to device inside container."
    let path = absolute(device.path(), || format!("{field}.path"))?;
    let kind = match device.typ() {
        // "u" is what BSD and System V call a character device without a buffer; mknod(1) takes it for "c".
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => {
            let error =
                Error::new("\"a\" stands for all devices and can't be made").field(format!("{field}.type"));
            return Err(error.hint("c, b and p can"));
        }
    };
    // "major, minor (int64, REQUIRED unless type is p)"; the kernel has 12 bits for the one and 20 for the
    // other.
    let number = |name: &str, value: i64, bits: u32| match u32::try_from(value) {
        Ok(number) if number >> bits == 0 => Ok(number),
        _ => Err(Error::new(format!("{value} is not from 0 to {}", (1u32 << bits) - 1))
            .field(format!("{field}.{name}"))),
    };
    let (major, minor) = match kind {
        DeviceKind::Fifo => (0, 0),
        _ => (number("major", device.major(), 12)?, number("minor", device.minor(), 20)?),
    };
    Ok(DeviceStep {
        path,
        kind,
        major,
        minor,
        // Docker writes the whole st_mode, with the bits of the file type.
        mode: device.file_mode().unwrap_or(DEVICE_MODE) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        bind: in_userns && kind != DeviceKind::Fifo,
        field,
        outside: None,
    })
}

/// The paths of `linux.maskedPaths` or `linux.readonlyPaths`: "The values MUST be absolute paths in the
/// container namespace."
pub fn paths(given: Option<&[String]>, name: &str) -> Result<Vec<PathField>> {
    let path = |(i, path): (usize, &String)| {
        let field = format!("linux.{name}[{i}]");
        Ok(PathField { path: absolute(Path::new(path), || field.clone())?, field })
    };
    given.unwrap_or_default().iter().enumerate().map(path).collect()
}

/// An absolute path other than `/`, relative to the container's root.
fn absolute(path: &Path, field: impl Fn() -> String) -> Result<PathBuf> {
    if !path.is_absolute() {
        return Err(Error::new(format!("{path:?} is not an absolute path")).field(field()));
    }
    let inside = inside(path);
    if inside.as_os_str().is_empty() {
        return Err(Error::new(format!("{path:?} is the root itself")).field(field()));
    }
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn devices_of(json: serde_json::Value, dev_is_hosts: bool, in_userns: bool) -> Result<Vec<DeviceStep>> {
        let given: Vec<LinuxDevice> = serde_json::from_value(json).unwrap();
        devices(&given, dev_is_hosts, in_userns)
    }

    #[test]
    fn the_link_takes_the_place_of_a_device() {
        let given = json!([{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]);
        let steps = devices_of(given, false, false).unwrap();
        assert!(steps.iter().all(|step| step.path != Path::new("dev/ptmx")) && steps.len() == 6);
    }

    #[test]
    fn a_device_of_config_json_replaces_the_default() {
        let given = json!([
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 8624, "uid": 7},
            {"path": "/dev//fuse", "type": "u", "major": 10, "minor": 229},
            {"path": "/run/pipe", "type": "p"},
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
        ]);
        let steps = devices_of(given, false, true).unwrap();
        let shown: Vec<_> =
            steps.iter().map(|s| (s.path.to_str().unwrap(), s.mode, s.bind, s.field.as_str())).collect();
        let default = |path| (path, 0o666, true, "default device");
        assert_eq!(
            shown,
            [
                default("dev/zero"),
                default("dev/full"),
                default("dev/random"),
                default("dev/urandom"),
                default("dev/tty"),
                ("dev/null", 0o660, true, "linux.devices[0]"),
                ("dev/fuse", 0o666, true, "linux.devices[1]"),
                ("run/pipe", 0o666, false, "linux.devices[2]"),
            ]
        );
        assert_eq!((steps[5].uid, steps[6].kind, steps[6].minor), (7, DeviceKind::Char, 229));
    }

    #[test]
    fn nothing_is_made_in_the_hosts_dev() {
        let given = json!([
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
            {"path": "/fuse", "type": "c", "major": 10, "minor": 229},
        ]);
        let steps = devices_of(given, true, false).unwrap();
        assert_eq!(steps.iter().map(|s| s.path.to_str().unwrap()).collect::<Vec<_>>(), ["fuse"]);
        assert!(links(true).is_empty());
        assert_eq!(links(false).len(), 6);
    }

    #[test]
    fn bad_devices_name_their_field() {
        for (device, text) in [
            (json!({"path": "fuse", "type": "c"}), "linux.devices[0].path: \"fuse\" is not an absolute path"),
            (json!({"path": "/", "type": "c"}), "linux.devices[0].path: \"/\" is the root itself"),
            (
                json!({"path": "/x", "type": "c", "major": -1}),
                "linux.devices[0].major: -1 is not from 0 to 4095",
            ),
            (
                json!({"path": "/x", "type": "b", "minor": 1_048_576}),
                "linux.devices[0].minor: 1048576 is not from 0 to 1048575",
            ),
            (
                json!({"path": "/x", "type": "a"}),
                "linux.devices[0].type: \"a\" stands for all devices and can't be made (c, b and p can)",
            ),
        ] {
            assert_eq!(devices_of(json!([device]), false, false).unwrap_err().to_string(), text);
        }
        let two = json!([
            {"path": "/x", "type": "c", "major": 1, "minor": 3},
            {"path": "/x", "type": "c", "major": 1, "minor": 5},
        ]);
        assert_eq!(
            devices_of(two, false, false).unwrap_err().to_string(),
            "linux.devices[1].path: linux.devices[0] gives another device this path"
        );
    }

    #[test]
    fn propagation_of_the_root() {
        for (word, expected) in [
            ("", (Propagation::Slave, true)),
            ("private", (Propagation::Private, false)),
            ("rshared", (Propagation::Shared, true)),
            ("runbindable", (Propagation::Unbindable, true)),
        ] {
            assert_eq!(root_propagation(word).unwrap(), expected);
        }
        let text = root_propagation("ro").unwrap_err().to_string();
        assert!(text.starts_with("linux.rootfsPropagation: unknown propagation \"ro\" ("), "{text}");
    }

    #[test]
    fn the_root_is_relative_to_the_bundle() {
        let options = Options { bundle: "/bundle".into(), ..Options::default() };
        let of = |json: serde_json::Value| {
            let root = serde_json::from_value(json).unwrap();
            Root::new(Some(&root), None, &options)
        };
        assert_eq!(of(json!({"path": "rootfs"})).unwrap().path, Path::new("/bundle/rootfs"));
        assert_eq!(of(json!({"path": "/r", "readonly": true})).unwrap().path, Path::new("/r"));
        assert!(!of(json!({"path": "r"})).unwrap().readonly);
        assert_eq!(of(json!({})).unwrap_err().to_string(), "root.path: missing");
        assert_eq!(Root::new(None, None, &options).unwrap_err().to_string(), "root: missing");
    }

    #[test]
    fn masked_paths_are_absolute() {
        let given = ["/proc/kcore".to_owned(), "sys".to_owned()];
        assert_eq!(paths(Some(&given[..1]), "maskedPaths").unwrap()[0].path, Path::new("proc/kcore"));
        assert_eq!(
            paths(Some(&given), "maskedPaths").unwrap_err().to_string(),
            "linux.maskedPaths[1]: \"sys\" is not an absolute path"
        );
        assert!(paths(None, "readonlyPaths").unwrap().is_empty());
    }
}
