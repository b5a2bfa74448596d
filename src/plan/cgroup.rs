//! What the container asks of its cgroup: where it lies, which values go into which files, which devices
//! it may use. `linux.resources` is written in the terms of cgroup v1; for v2 it is converted here, in the
//! way that runc and crun agree on.
//!
//! As everywhere in config.json that Go programs write, zero means "not set" unless the field's own text
//! gives zero a meaning.

pub mod devices;
mod shared;
pub mod systemd;
#[cfg(test)]
mod tests;
pub mod update;
mod v1;
mod v2;

use crate::error::{Context, Error, Result};
use devices::{DeviceFilter, Policy};
use oci_spec::runtime::{Linux, LinuxResources};
use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

/// How the host has its cgroups mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One hierarchy for each controller or group of controllers, below `/sys/fs/cgroup`.
    V1,
    /// As `V1`, with a cgroup2 hierarchy at `/sys/fs/cgroup/unified`, which carries the processes but no limits.
    Hybrid,
    /// One cgroup2 hierarchy at `/sys/fs/cgroup`.
    V2,
    /// No cgroup file system.
    None,
}

/// What is to be made of the container's cgroup.
#[derive(Debug)]
pub struct CgroupPlan {
    /// Where it lies.
    pub path: CgroupPath,
    /// The limits.
    pub writes: Vec<Write>,
    /// The devices that its processes may use.
    pub devices: DeviceFilter,
    /// The user that the cgroup is handed over to, as an id of the host. The runtime-spec wants this where the container
    /// has a cgroup namespace of its own and a writable mount of cgroup v2; without it only root can make sub-cgroups.
    pub owner: Option<u32>,
}

/// Where the cgroup lies in every hierarchy. No component is `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupPath {
    /// Below the root of the hierarchy; kept without the leading slash.
    Absolute(PathBuf),
    /// Below the runtime's own cgroup, as the runtime-spec lets the runtime choose.
    Relative(PathBuf),
    /// `linux.cgroupsPath` is absent; the path goes by the id of the container.
    Default(String),
    /// Where systemd makes it.
    Unit(systemd::Unit),
}

/// One value for one file of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The controller that has the file: `memory`; `cgroup` for the files of cgroup v2 itself.
    pub controller: Cow<'static, str>,
    /// The file's name in the directory of the cgroup.
    pub file: String,
    /// What is written, in one call.
    pub value: String,
    /// What to do where the file doesn't exist.
    pub if_missing: IfMissing,
    /// The field of config.json that asked for it.
    pub field: String,
}

/// What a missing file means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMissing {
    /// The host can't grant the value.
    Fail,
    /// Nothing: the value holds where the file is missing.
    Skip,
    /// Another file has the same purpose.
    Write {
        /// Its name.
        file: String,
        /// The value, in its terms.
        value: String,
    },
}

impl Write {
    /// A value of config.json for a file that has to be there.
    pub fn new(
        controller: &'static str,
        file: impl Into<String>,
        value: impl ToString,
        field: impl Into<String>,
    ) -> Self {
        Write {
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            if_missing: IfMissing::Fail,
            field: field.into(),
        }
    }

    fn if_missing(mut self, then: IfMissing) -> Self {
        self.if_missing = then;
        self
    }
}

impl CgroupPlan {
    /// Plans the cgroup of container `id`, which is made by systemd on `request` (`--systemd-cgroup`).
    pub fn new(
        linux: Option<&Linux>,
        id: &str,
        layout: Layout,
        request: Option<&systemd::Request>,
    ) -> Result<CgroupPlan> {
        let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        let rules = resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
        let writes = resources.map(|resources| writes(resources, layout)).transpose()?.unwrap_or_default();
        let path = match (request, layout) {
            (None, _) => CgroupPath::new(path, id).field(|| "linux.cgroupsPath".into())?,
            (Some(request), Layout::V2) => CgroupPath::Unit(systemd::Unit::new(path, &writes, request)?),
            (Some(_), _) => {
                let what = "systemd makes cgroups of version 2 only, and those of this host are of version 1";
                return Err(Error::new(what).hint("leave out --systemd-cgroup"));
            }
        };
        let devices = DeviceFilter::new(&Policy::new(rules)?, !rules.is_empty(), layout)?;
        Ok(CgroupPlan { path, writes, devices, owner: None })
    }
}

/// The writes that put `resources` into effect, the devices excepted.
pub fn writes(resources: &LinuxResources, layout: Layout) -> Result<Vec<Write>> {
    match layout {
        Layout::V1 | Layout::Hybrid => v1::writes(resources),
        Layout::V2 => v2::writes(resources),
        Layout::None => match v1::writes(resources)?.into_iter().next() {
            Some(write) => Err(Error::new("the container gets no cgroup to set it in").field(write.field)),
            None => Ok(Vec::new()),
        },
    }
}

/// The longest path that the kernel takes (`PATH_MAX`), less what comes before and after: the mount point and a file's name.
const LONGEST_PATH: usize = 4096 - 256;
/// The longest name of a directory (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

impl CgroupPath {
    fn new(path: Option<&Path>, id: &str) -> Result<CgroupPath> {
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(CgroupPath::Default(id.to_owned()));
        };
        // The kernel takes neither; the second would break up the lines of /proc/PID/cgroup.
        for (byte, what) in [(0, "a NUL byte"), (b'\n', "a line break")] {
            if path.as_os_str().as_encoded_bytes().contains(&byte) {
                return Err(Error::new(format!("the path contains {what}")));
            }
        }
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) if name.len() > LONGEST_NAME => {
                    return Err(Error::new(format!(
                        "a name in the path is longer than {LONGEST_NAME} bytes"
                    )));
                }
                Component::Normal(name) => clean.push(name),
                Component::ParentDir => {
                    return Err(Error::new(format!("the path leads upwards with \"..\": {path:?}")));
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        if clean.as_os_str().len() > LONGEST_PATH {
            return Err(Error::new(format!("the path is longer than {LONGEST_PATH} bytes")));
        }
        if clean.as_os_str().is_empty() {
            return Err(Error::new(format!("{path:?} is not a cgroup of the container's own")));
        }
        Ok(if path.is_absolute() { CgroupPath::Absolute(clean) } else { CgroupPath::Relative(clean) })
    }
}
