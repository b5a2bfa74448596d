//! Network devices: which ones the container gets from the runtime's network namespace, under which names.

use super::namespaces::Namespaces;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::sys::ns::Ns;
use oci_spec::runtime::Linux;

/// A network device to move into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name in the runtime's network namespace.
    pub name: String,
    /// Its name in the container.
    pub inside: Name,
    /// `linux.netDevices.eth0`
    pub field: String,
}

/// What a network device is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// This.
    Exactly(String),
    /// This with the lowest number that is free: `eth%d`.
    Numbered(String),
}

/// Checks `linux.netDevices`.
pub fn plan(linux: &Linux, namespaces: &Namespaces, host: &Host) -> Result<Vec<NetDevice>> {
    let Some(given) = linux.net_devices().as_ref().filter(|devices| !devices.is_empty()) else {
        return Ok(Vec::new());
    };
    let error = |what: &str| Error::new(what).field("linux.netDevices");
    if !namespaces.contains(Ns::Network) {
        return Err(error("the container has no network namespace of its own to move devices into")
            .hint("add {\"type\": \"network\"} to linux.namespaces"));
    }
    if !host.can_mount {
        return Err(error("only a privileged runtime may move network devices"));
    }
    let mut devices = Vec::with_capacity(given.len());
    for (name, device) in given {
        let field = format!("linux.netDevices.{name}");
        check(name).map_err(|error| error.field(&field))?;
        let inside = match device.name().as_deref().filter(|name| !name.is_empty()) {
            None => Name::Exactly(name.clone()),
            Some(inside) => new_name(inside).map_err(|error| error.field(format!("{field}.name")))?,
        };
        devices.push(NetDevice { name: name.clone(), inside, field });
    }
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    check_twins(&devices)?;
    Ok(devices)
}

/// "unless the user has provided a template by appending %d to the new name": config-linux.md, Network Devices.
fn new_name(name: &str) -> Result<Name> {
    check(name)?;
    let (prefix, numbered) = match name.strip_suffix("%d") {
        Some(prefix) => (prefix, true),
        None => (name, false),
    };
    if prefix.contains('%') {
        return Err(Error::new(format!("{name:?} has a % other than that of %d at its end")));
    }
    Ok(if numbered { Name::Numbered(prefix.to_owned()) } else { Name::Exactly(name.to_owned()) })
}

/// The longest name in bytes: `IFNAMSIZ` without the end of the string.
pub const LONGEST_NAME: usize = 15;

/// What the kernel takes for the name of a device (`dev_valid_name`).
fn check(name: &str) -> Result<()> {
    let what = if name.is_empty() {
        "the name of a network device is empty".to_owned()
    } else if name.len() > LONGEST_NAME {
        format!("{name:?} is longer than the {LONGEST_NAME} bytes of a network device's name")
    } else if matches!(name, "." | "..")
        || name.contains(|c: char| matches!(c, '/' | ':' | '\0') || c.is_ascii_whitespace() || c == '\x0b')
    {
        format!("{name:?} is no name of a network device")
    } else {
        return Ok(());
    };
    Err(Error::new(what))
}

fn check_twins(devices: &[NetDevice]) -> Result<()> {
    for (i, device) in devices.iter().enumerate() {
        if let Name::Exactly(name) = &device.inside
            && let Some(twin) = devices[..i].iter().find(|other| other.inside == device.inside)
        {
            return Err(Error::new(format!("{name:?} is to be the name of {} too", twin.name))
                .field(format!("{}.name", device.field)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HOST: Host = Host { euid: 0, in_userns: false, can_mount: true, last_cap: 40, permitted: u64::MAX };

    fn devices(given: Value) -> Result<Vec<NetDevice>> {
        planned(&given, json!([{"type": "mount"}, {"type": "network"}]), &HOST)
    }

    fn planned(given: &Value, namespaces: Value, host: &Host) -> Result<Vec<NetDevice>> {
        let linux = serde_json::from_value(json!({"namespaces": namespaces, "netDevices": given})).unwrap();
        plan(&linux, &Namespaces::new(&linux)?, host)
    }

    #[test]
    fn names_inside() {
        let planned = devices(json!({
            "eth1": {"name": "eth0"}, "eth0": {}, "tap0": {"name": ""}, "veth0": {"name": "eth%d"},
            "veth1": {"name": "fifteen-bytes-0"}, "veth2": {"name": "eth%d"},
        }));
        let text = planned.unwrap_err().to_string();
        assert_eq!(text, "linux.netDevices.eth1.name: \"eth0\" is to be the name of eth0 too");
        let planned = devices(json!({"b": {"name": "a"}, "a": {"name": "b"}, "c": {}, "d": {"name": "x%d"}}));
        let names: Vec<_> = planned.unwrap().into_iter().map(|device| (device.name, device.inside)).collect();
        let exactly = |name: &str| Name::Exactly(name.into());
        let wanted = [
            ("a", exactly("b")),
            ("b", exactly("a")),
            ("c", exactly("c")),
            ("d", Name::Numbered("x".into())),
        ];
        assert_eq!(names, wanted.map(|(name, inside)| (name.to_owned(), inside)));
        assert!(devices(json!({})).unwrap().is_empty());
    }

    #[test]
    fn bad_names() {
        for (given, text) in [
            (
                json!({"sixteen-bytes-00": {}}),
                "linux.netDevices.sixteen-bytes-00: \"sixteen-bytes-00\" is longer than the 15 bytes of a network device's name",
            ),
            (json!({"": {}}), "linux.netDevices.: the name of a network device is empty"),
            (json!({"a/b": {}}), "linux.netDevices.a/b: \"a/b\" is no name of a network device"),
            (json!({"a": {"name": ".."}}), "linux.netDevices.a.name: \"..\" is no name of a network device"),
            (
                json!({"a": {"name": "b c"}}),
                "linux.netDevices.a.name: \"b c\" is no name of a network device",
            ),
            (
                json!({"a": {"name": "b:1"}}),
                "linux.netDevices.a.name: \"b:1\" is no name of a network device",
            ),
            (
                json!({"a": {"name": "b%d%d"}}),
                "linux.netDevices.a.name: \"b%d%d\" has a % other than that of %d at its end",
            ),
            (
                json!({"a": {"name": "b%s"}}),
                "linux.netDevices.a.name: \"b%s\" has a % other than that of %d at its end",
            ),
        ] {
            assert_eq!(devices(given).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn where_they_can_go() {
        let one = json!({"eth0": {}});
        assert_eq!(
            planned(&one, json!([{"type": "mount"}]), &HOST).unwrap_err().to_string(),
            "linux.netDevices: the container has no network namespace of its own to move devices into (add {\"type\": \"network\"} to linux.namespaces)"
        );
        let joined = json!([{"type": "mount"}, {"type": "network", "path": "/n"}]);
        assert_eq!(planned(&one, joined.clone(), &HOST).unwrap().len(), 1);
        let user = Host { euid: 1000, can_mount: false, ..HOST };
        assert_eq!(
            planned(&one, joined, &user).unwrap_err().to_string(),
            "linux.netDevices: only a privileged runtime may move network devices"
        );
    }
}
