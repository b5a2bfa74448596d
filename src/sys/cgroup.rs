//! Control groups ([cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html)). Everything about them is done with files;
//! what is not is which kind of file system one looks at.

use super::{Called, Result, retry};
use std::path::Path;

/// The version of a mounted hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `cgroup`
    V1,
    /// `cgroup2`
    V2,
}

/// `statfs(path)`: the version of the cgroup file system that a path lies in, `None` in any other file system.
pub fn version(path: &Path) -> Result<Option<Version>> {
    let stat = retry(|| rustix::fs::statfs(path)).called(|| format!("statfs({path:?})"))?;
    Ok(match stat.f_type {
        0x27_e0eb => Some(Version::V1),
        0x6367_7270 => Some(Version::V2),
        _ => None,
    })
}
