//! Writes the id maps of a new user namespace
//! ([user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html)).

use super::channel::{self, ToInit};
use super::create::Doomed;
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::plan::mount_idmap::Users;
use crate::plan::namespaces::{IdMap, Namespaces};
use crate::sys::clone::{self, Cloned};
use crate::sys::ns::{Ns, NsSet};
use crate::sys::{CallError, Errno, file, proc, process};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

/// Writes the maps of the process `pid`, in the runtime's own right or, where it has none, by newuidmap and newgidmap, which look up
/// what `/etc/subuid` and `/etc/subgid` grant.
pub fn write(host: &Host, namespaces: &Namespaces, pid: i32) -> Result<()> {
    let (uids, gids) = (&namespaces.uid_map, &namespaces.gid_map);
    if host.can_mount || maps_only_the_caller(uids) && maps_only_one(gids) {
        if !host.can_mount {
            // Without privilege a group map may be written only where groups can't be dropped (CVE-2014-8989).
            proc::write_of(pid, "setgroups", "deny")?;
        }
        proc::write_of(pid, "uid_map", &lines(uids)).field(|| "linux.uidMappings".into())?;
        proc::write_of(pid, "gid_map", &lines(gids)).field(|| "linux.gidMappings".into())
    } else {
        helper("newuidmap", pid, uids).field(|| "linux.uidMappings".into())?;
        helper("newgidmap", pid, gids).field(|| "linux.gidMappings".into())
    }
}

/// The user namespace that translates the owners of an id-mapped mount: the one to join, which `joined` opens, or a new one with the maps,
/// which needs a process only for as long as it takes to write them.
pub fn translator(users: &Users, joined: impl FnOnce() -> Result<OwnedFd>) -> Result<OwnedFd> {
    let Users::Mapped { uids, gids } = users else { return joined() };
    let (channel, end) = channel::pair()?;
    let made = clone::clone3(NsSet::default().with(Ns::User), None, false);
    let made = made.hint(|| {
        "an id-mapped mount needs a user namespace for its map; is user.max_user_namespaces 0?".into()
    });
    let child = match made? {
        Cloned::Child => {
            drop(channel);
            // Nobody says it: the wait ends with the creator's end of the channel.
            let _ = end.wait_for(ToInit::Go);
            process::exit_now(0)
        }
        Cloned::Parent(child) => child,
    };
    let _process = Doomed::new(child.pidfd);
    proc::write_of(child.pid, "uid_map", &lines(uids))?;
    proc::write_of(child.pid, "gid_map", &lines(gids))?;
    Ok(file::open_read(Path::new(&format!("/proc/{}/ns/user", child.pid)))?)
}

fn maps_only_the_caller(map: &[IdMap]) -> bool {
    maps_only_one(map) && map[0].host == crate::sys::cred::euid()
}

fn maps_only_one(map: &[IdMap]) -> bool {
    matches!(map, [IdMap { size: 1, .. }])
}

fn lines(map: &[IdMap]) -> String {
    map.iter().map(|line| format!("{} {} {}\n", line.container, line.host, line.size)).collect()
}

fn helper(program: &str, pid: i32, map: &[IdMap]) -> Result<()> {
    let numbers = map.iter().flat_map(|line| [line.container, line.host, line.size]);
    let output = Command::new(program).arg(pid.to_string()).args(numbers.map(|n| n.to_string())).output();
    let output = output
        .map_err(|error| CallError { call: format!("execve({program:?})"), errno: Errno::from(error) })
        .hint(|| format!("without root privileges, mapping several ids needs {program} (package uidmap)"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(format!("{program} failed: {said}"))
        .hint("the host ids have to be granted to the user in /etc/subuid and /etc/subgid"))
}
