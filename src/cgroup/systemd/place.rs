//! Where systemd is: its cgroup, and its sockets.

use crate::cgroup::dbus::Address;
use crate::cgroup::file;
use crate::error::Result;
use crate::sys::cred;
use std::path::{Component, Path, PathBuf};

/// The cgroup of systemd itself, below which all its units are: the root, or for the systemd of a user the one of `user@UID.service`.
/// `own` is the runtime's own cgroup.
pub fn root(user: bool, own: &Path) -> Result<PathBuf> {
    if !user {
        // In a container that shares the host's cgroup namespace, systemd is not at the root.
        let first = file::read_list("/proc/1/cgroup".as_ref())?;
        let own = super::super::entries(&first).find(|(controllers, _)| controllers.is_empty());
        let above = own.and_then(|(_, path)| path.parent().filter(|_| path.ends_with("init.scope")));
        return Ok(above.and_then(|path| path.strip_prefix("/").ok()).unwrap_or(Path::new("")).to_owned());
    }
    let mut above = PathBuf::new();
    for part in own.components().filter(|part| matches!(part, Component::Normal(_))) {
        above.push(part);
        let name = part.as_os_str().to_string_lossy();
        if name.starts_with("user@") && name.ends_with(".service") {
            return Ok(above);
        }
    }
    let uid = host_uid();
    Ok(format!("user.slice/user-{uid}.slice/user@{uid}.service").into())
}

/// The user's id outside of the user namespace that he may have made for himself.
fn host_uid() -> u32 {
    let uid = cred::euid();
    let map = file::read_list("/proc/self/uid_map".as_ref()).unwrap_or_default();
    let outside = map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        let (inside, outside, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = uid.checked_sub(inside).filter(|offset| *offset < size)?;
        outside.checked_add(offset)
    });
    outside.unwrap_or(uid)
}

/// Where a user's services have their sockets.
pub fn runtime_dir() -> PathBuf {
    let set = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    set.map_or_else(|| format!("/run/user/{}", host_uid()).into(), PathBuf::from)
}

/// Where to find systemd: its own socket, on which there are no others and no daemon in between; where that can't be reached, as in
/// a container that was given a bus, the bus.
pub fn addresses(user: bool) -> Vec<Address> {
    let (run, variable) = match user {
        true => (runtime_dir(), "DBUS_SESSION_BUS_ADDRESS"),
        false => (PathBuf::from("/run"), "DBUS_SYSTEM_BUS_ADDRESS"),
    };
    let mut addresses = vec![Address::Direct(run.join("systemd/private"))];
    let given = std::env::var(variable).unwrap_or_default();
    addresses.extend(given.split(';').filter_map(bus_path).map(Address::Bus));
    let usual = if user { "bus" } else { "dbus/system_bus_socket" };
    addresses.push(Address::Bus(run.join(usual)));
    addresses
}

/// The path in `unix:path=/run/user/1000/bus,guid=...`.
pub(super) fn bus_path(address: &str) -> Option<PathBuf> {
    let mut keys = address.strip_prefix("unix:")?.split(',').filter_map(|pair| pair.split_once('='));
    keys.find_map(|(key, value)| match key {
        "path" => Some(PathBuf::from(value)),
        "abstract" => Some(PathBuf::from(format!("@{value}"))),
        _ => None,
    })
}
