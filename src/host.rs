//! What the runtime has to know of the host and of its own privileges, asked once.

use crate::error::{Error, Result};
use crate::sys::{CallError, cred};
use std::os::unix::fs::MetadataExt;

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
    /// What it may have in force, as a mask: more it can't give, except in a user namespace.
    pub permitted: u64,
}

/// `CAP_SYS_ADMIN` in a capability mask.
const SYS_ADMIN: u64 = 1 << 21;

/// The number that the kernel gives the initial user namespace as an inode, in every boot (`PROC_USER_INIT_INO` in
/// include/uapi/linux/nsfs.h).
const INITIAL_USERNS: u64 = 0xEFFF_FFFD;

/// `CAP_CHECKPOINT_RESTORE`, the last capability of Linux 5.9; every kernel that the runtime supports has it.
const LAST_OF_5_9: u8 = 40;

impl Host {
    /// Asks the kernel, in four system calls.
    pub fn probe() -> Result<Host> {
        let mut last_cap = LAST_OF_5_9;
        while last_cap < 63 && cred::in_bounding_set(u32::from(last_cap) + 1)?.is_some() {
            last_cap += 1;
        }
        let caps = cred::capabilities()?;
        Ok(Host {
            euid: cred::euid(),
            in_userns: in_userns()?,
            can_mount: caps.effective & SYS_ADMIN != 0,
            last_cap,
            permitted: caps.permitted,
        })
    }
}

/// Whether the runtime is in a user namespace other than the initial one.
pub fn in_userns() -> Result<bool> {
    let userns = std::fs::metadata("/proc/self/ns/user").map_err(|error| {
        Error::from(CallError { call: "stat(\"/proc/self/ns/user\")".into(), errno: error.into() })
            .hint("the runtime needs a mounted /proc")
    })?;
    Ok(userns.ino() != INITIAL_USERNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let host = Host::probe().unwrap();
        let last_cap = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(host.last_cap.to_string(), last_cap.trim());
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        assert_eq!(host.in_userns, !map.split_whitespace().eq(["0", "0", "4294967295"]));
    }
}
