//! New file systems, as detached mounts.

use super::aside::{PLACE, aside};
use crate::error::{Error, Result};
use crate::plan::mount_options::Data;
use crate::sys::mount::{self, Attributes, NewFs, Propagation, attr};
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

/// The same by mount(2), whose options may be as long as a page together, while fsconfig(2) takes no value above 255 bytes: the
/// lowerdir of an overlay of many layers is longer. mount(2) knows no detached mounts.
fn old_way(wanted: Wanted) -> Result<OwnedFd> {
    let made = aside(1, |hand_over| hand_over(mount_aside(wanted)?.as_fd()))?;
    let tree = made.into_iter().next().ok_or_else(|| Error::new("no mount"))?;
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
    let Wanted { fs, source, flags, data, .. } = wanted;
    let options: Vec<String> = data.iter().map(shown).collect();
    mount::mount_at(Path::new(PLACE), fs, source.unwrap_or(fs), flags, &options.join(","))?;
    Ok(mount::clone_path(Path::new(PLACE), false)?)
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
