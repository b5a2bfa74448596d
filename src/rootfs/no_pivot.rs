//! `--no-pivot`: the host's mounts stay in the container's mount namespace, below its root, where no path of the container leads.

use crate::error::{Context, Result};
use crate::sys::{CallError, Errno, mount};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Takes the host's proc and sysfs out of the mount namespace. The kernel gives a user namespace new ones if it finds whole ones in
/// the mount namespace, reachable or not (`mount_too_revealing` in
/// [fs/namespace.c](https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/fs/namespace.c)): with
/// the host's in there, the container could make itself a `/proc` in which nothing is masked. `own` is where the container's
/// mounts are, if they are there by now.
pub fn hide_hosts_procfs(own: Option<&Path>) -> Result<()> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read(path);
    let text = text.map_err(|error| CallError { call: format!("read({path:?})"), errno: error.into() })?;
    // The last one first: it may lie on one before it.
    let is_hosts = |place: &PathBuf| own.is_none_or(|own| !place.starts_with(own));
    for place in places(&text).into_iter().rev().filter(is_hosts) {
        match mount::detach_at(&place) {
            Err(error) if error.errno == Errno::ENOENT => {}
            // In a user namespace the host's mounts are locked. One that another mount lies on counts as not whole.
            Err(_) => mount::mount_at(&place, "tmpfs", "tmpfs", &[], "")
                .doing(|| "hide the host's proc and sysfs".into())?,
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Where proc and sysfs are mounted. The format is that of
/// [proc_pid_mountinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html).
fn places(mountinfo: &[u8]) -> Vec<PathBuf> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    let place = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let place = fields.nth(4)?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        matches!(kind, b"proc" | b"sysfs").then(|| PathBuf::from(unescaped(place)))
    };
    lines.filter_map(place).collect()
}

/// A path without the escapes of mountinfo: `\040` is a space.
fn unescaped(mut field: &[u8]) -> OsString {
    let mut path = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        let octal = rest.get(..3).filter(|_| *first == b'\\');
        let byte = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        path.push(byte.unwrap_or(*first));
        field = if byte.is_some() { &rest[3..] } else { rest };
    }
    OsString::from_vec(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_type() {
        let text = b"22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                     23 22 0:21 / /proc rw,nosuid - proc proc rw\n\
                     24 22 0:22 / /a\\040b\\134c rw shared:2 master:3 - sysfs sysfs rw\n\
                     25 22 0:23 / /proc/sysfs rw - tmpfs proc rw\n";
        assert_eq!(places(text), [Path::new("/proc"), Path::new("/a b\\c")]);
        assert_eq!(places(b""), Vec::<PathBuf>::new());
    }
}
