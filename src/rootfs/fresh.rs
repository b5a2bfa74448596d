//! New file systems, as detached mounts.

use crate::error::{Error, Result};
use crate::plan::mount_options::Data;
use crate::sys::clone::{self, Cloned};
use crate::sys::mount::{self, Attributes, NewFs, Propagation, attr};
use crate::sys::ns::{Ns, NsSet};
use crate::sys::{file, pidfd, process, socket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A new file system: as of [`MountKind::New`](crate::plan::mounts::MountKind::New), and the attributes of its mount.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub fs: &'a str,
    pub source: Option<&'a str>,
    pub flags: &'a [&'static str],
    pub data: &'a [Data],
    pub attributes: u64,
}

/// Makes a new file system.
pub fn new_fs(wanted: Wanted) -> Result<OwnedFd> {
    let values = wanted.data.iter().filter_map(|(_, value)| value.as_deref());
    if values.chain(wanted.source).any(|value| value.len() > mount::LONGEST_VALUE) {
        return old_way(wanted);
    }
    let new = NewFs::open(wanted.fs)?;
    if let Some(source) = wanted.source {
        new.set("source", source)?;
    }
    for flag in wanted.flags {
        new.set_flag(flag)?;
    }
    for (key, value) in wanted.data {
        match value {
            Some(value) => new.set(key, value)?,
            None => new.set_flag(key)?,
        }
    }
    Ok(new.mount(wanted.attributes)?)
}

/// What can't be sure to hold in one message is an error that nobody would read.
const MAX_ERROR: usize = 16 << 10;

/// The same by mount(2), whose options may be as long as a page together, while fsconfig(2) takes no value above 255 bytes: the
/// lowerdir of an overlay of many layers is longer. mount(2) knows no detached mounts, so that a process in a mount namespace of its
/// own makes it, and hands over a copy.
fn old_way(wanted: Wanted) -> Result<OwnedFd> {
    let (ours, theirs) = socket::pair()?;
    let child = match clone::clone3(NsSet::default().with(Ns::Mount), None, false)? {
        Cloned::Child => {
            let outcome = mount_aside(wanted);
            // If the other side is gone, nobody wants to know.
            let _ = match outcome {
                Ok(tree) => socket::send(theirs.as_fd(), b"", &[tree.as_fd()]),
                Err(error) => {
                    socket::send(theirs.as_fd(), &serde_json::to_vec(&error).unwrap_or_default(), &[])
                }
            };
            process::exit_now(0)
        }
        Cloned::Parent(child) => child,
    };
    drop(theirs);
    let answer = socket::receive(ours.as_fd(), MAX_ERROR);
    pidfd::wait(child.pidfd.as_fd())?;
    let answer = answer?.ok_or_else(|| Error::new("the process that mounts ended without a word"))?;
    let tree = match answer.fds.into_iter().next() {
        Some(tree) => tree,
        None => {
            return Err(
                serde_json::from_slice(&answer.bytes).unwrap_or_else(|error| Error::new(error.to_string()))
            );
        }
    };
    let attributes = Attributes { set: wanted.attributes, clear: attr::ATIME };
    mount::set_attributes(tree.as_fd(), attributes, None, false)?;
    Ok(tree)
}

/// An option as mount(2) takes it. A value with a comma in it, which only a label has, stands in quotes.
fn shown((key, value): &Data) -> String {
    match value {
        Some(value) if value.contains(',') => format!("{key}=\"{value}\""),
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    }
}

fn mount_aside(wanted: Wanted) -> Result<OwnedFd> {
    process::die_with_parent(true)?;
    let slash = file::open_dir(Path::new("/"))?;
    mount::set_attributes(slash.as_fd(), Attributes::default(), Some(Propagation::Private), true)?;
    // Any directory will do, and this one is always there.
    let place = Path::new("/proc");
    let Wanted { fs, source, flags, data, .. } = wanted;
    let options: Vec<String> = data.iter().map(shown).collect();
    mount::mount_at(place, fs, source.unwrap_or(fs), flags, &options.join(","))?;
    Ok(mount::clone_path(place, false)?)
}

/// The host's `/sys`, with all that is mounted below, in the place of a sysfs: that shows the devices of a network namespace, and the
/// kernel makes a new one only for who owns that namespace, in a user namespace moreover only where a whole one is in sight. All of it
/// gets the attributes, since nothing is mounted below a new sysfs.
pub fn hosts_sysfs(attributes: u64) -> Result<OwnedFd> {
    let tree = mount::clone_path(Path::new("/sys"), true)?;
    // The access-time mode of mounts that came from the host can't be changed.
    let set = Attributes { set: attributes & !(attr::ATIME | attr::NODIRATIME), clear: 0 };
    mount::set_attributes(tree.as_fd(), set, Some(Propagation::Slave), true)?;
    Ok(tree)
}
