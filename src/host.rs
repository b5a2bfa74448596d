//! What the runtime has to know of the host and of its own privileges, asked once.

use crate::error::{Context, Error, Result};
use crate::sys::{CallError, cred};
use std::fs::File;
use std::io::Read;

/// Facts about the host and the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// The runtime's effective user id.
    pub euid: u32,
    /// The runtime is in a user namespace other than the initial one.
    pub in_userns: bool,
    /// It can mount, and make namespaces other than a user namespace: `CAP_SYS_ADMIN` is effective.
    pub can_mount: bool,
    /// The number of the last capability that the kernel knows.
    pub last_cap: u8,
}

/// `CAP_SYS_ADMIN` in a capability mask.
const SYS_ADMIN: u64 = 1 << 21;

impl Host {
    /// Asks the kernel: two system calls and two files of proc.
    pub fn probe() -> Result<Host> {
        let last_cap = first_line("/proc/sys/kernel/cap_last_cap")?;
        Ok(Host {
            euid: cred::euid(),
            in_userns: !maps_everything(&first_line("/proc/self/uid_map")?),
            can_mount: cred::capabilities()?.effective & SYS_ADMIN != 0,
            last_cap: last_cap.parse().map_err(|_| {
                Error::new(format!("/proc/sys/kernel/cap_last_cap: not a number: {last_cap:?}"))
            })?,
        })
    }
}

/// Whether the first line of a uid_map is that of the initial user namespace. A map that equals it in another
/// user namespace can't be told apart, and need not be: only the initial one's root can write it.
fn maps_everything(line: &str) -> bool {
    line.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The first line of a file of proc, which is shorter than the buffer in all that is asked here.
fn first_line(path: &str) -> Result<String> {
    let failed = |error: std::io::Error| CallError { call: format!("read({path:?})"), errno: error.into() };
    let mut line = [0; 64];
    let read = File::open(path).and_then(|mut file| file.read(&mut line));
    let length = read.map_err(failed).hint(|| "the runtime needs a mounted /proc".into())?;
    let text = String::from_utf8_lossy(&line[..length]);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_range_is_the_initial_map() {
        assert!(maps_everything("         0          0 4294967295"));
        assert!(!maps_everything("         0       1000          1"));
        assert!(!maps_everything("         0          0      65536"));
        assert!(!maps_everything(""));
    }

    #[test]
    fn the_kernel_answers() {
        let host = Host::probe().unwrap();
        // 40 is CAP_CHECKPOINT_RESTORE, since Linux 5.9.
        assert!((40..64).contains(&host.last_cap));
    }
}
