//! The cgroup of a container: made, filled, frozen, emptied and removed through the files of the kernel's cgroup file systems
//! ([cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html)).
//!
//! What belongs here: directories, files and waiting. What does not: which value goes into which file (`plan::cgroup`), and the
//! clone that puts the first process into a cgroup of version 2, for which [`Cgroup::create`] hands out a descriptor.
//!
//! A [`Cgroup`] is only names. It is part of the state file, which is written before anything is made, so nothing below takes it
//! for granted that a directory exists: what is gone is frozen, killed and removed already.

mod create;
mod dbus;
mod devices;
mod enable;
mod events;
mod file;
mod freeze;
mod join;
mod kill;
mod remove;
mod stats;
mod systemd;
#[cfg(test)]
mod tests;
mod update;

pub use create::Birthplace;
pub use events::Event;
pub use file::described;
pub use file::is_gone;
pub use join::{Doors, Entrance, SubCgroup};

use crate::error::{Error, Result};
use crate::plan::cgroup::{CgroupPath, CgroupPlan, Layout};
use crate::sys::Errno;
use crate::sys::cgroup::{Version, version};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Where hosts have their cgroups.
const MOUNTS: &str = "/sys/fs/cgroup";

/// A cgroup, by its directory in every hierarchy of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    hierarchies: Vec<Hierarchy>,
    /// The runtime has no privileges over devices, as nobody has in a user namespace.
    rootless: bool,
    /// The container asked for nothing of its cgroup, and the runtime may have no right to make one: it can do without.
    optional: bool,
    /// The unit of systemd whose cgroup it is, or is below.
    #[serde(default)]
    unit: Option<systemd::Unit>,
}

/// The cgroup's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hierarchy {
    /// Controllers as `/proc/PID/cgroup` names them: `cpu,cpuacct`, `name=systemd`; empty is cgroup v2.
    controllers: String,
    /// The root of the hierarchy.
    mount: PathBuf,
    /// The directory, below `mount`.
    dir: PathBuf,
}

impl Hierarchy {
    fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }

    /// Makes sure that nobody is in it yet.
    fn check_empty(&self) -> Result<()> {
        let pids = match file::pids_below(&self.dir) {
            Err(error) if error.errno() == Some(Errno::ENOTDIR) => {
                return Err(Error::new(format!(
                    "{:?} is a file of the kernel, where no cgroup can be",
                    self.dir
                ))
                .field("linux.cgroupsPath")
                .hint("without the field, the cgroup is named after the container"));
            }
            pids => pids?,
        };
        if pids.is_empty() {
            return Ok(());
        }
        let count = pids.len();
        let what = format!("container's cgroup is not empty: {count} process(es) found in {:?}", self.dir);
        Err(Error::new(what).field("linux.cgroupsPath").hint("give every container a cgroup of its own"))
    }
}

/// What a mount of type `cgroup` inside the container shows.
#[derive(Debug, PartialEq, Eq)]
pub enum View {
    /// The container's own directory of cgroup v2.
    Unified(PathBuf),
    /// A directory that holds one of each hierarchy.
    Split {
        /// Names and the directories of the host to bind there.
        dirs: Vec<(String, PathBuf)>,
        /// Symbolic links, as (name, target): `cpu` to `cpu,cpuacct`.
        links: Vec<(String, String)>,
    },
}

/// Finds out how the host has its cgroups mounted, with one or two system calls.
pub fn layout() -> Result<Layout> {
    let version = |path: &str| match version(path.as_ref()) {
        Err(error) if error.errno == Errno::ENOENT => Ok(None),
        other => other,
    };
    if version(MOUNTS)? == Some(Version::V2) {
        return Ok(Layout::V2);
    }
    // Whether there is any hierarchy of v1 turns out when they are looked up: a host without them is one without controllers.
    match version(&format!("{MOUNTS}/unified"))? {
        Some(Version::V2) => Ok(Layout::Hybrid),
        _ => Ok(Layout::V1),
    }
}

impl Cgroup {
    /// Decides where the cgroup lies, changing nothing, and makes sure that nobody else is in it. `rootless` tells that the runtime
    /// isn't root in the initial user namespace.
    pub fn locate(plan: &CgroupPlan, layout: Layout, rootless: bool) -> Result<Cgroup> {
        let mut cgroup = Cgroup::named(&plan.path, layout, rootless)?;
        if let Some(unit) = &cgroup.unit {
            unit.check_host()?;
        }
        cgroup.optional = rootless && plan.writes.is_empty() && matches!(plan.path, CgroupPath::Default(_));
        // Who is in it in one hierarchy is in it in all, or nobody's container.
        cgroup.members().map_or(Ok(()), Hierarchy::check_empty)?;
        Ok(cgroup)
    }

    /// The cgroup that `path` names, whatever is in it.
    pub fn named(path: &CgroupPath, layout: Layout, rootless: bool) -> Result<Cgroup> {
        let root = Path::new(MOUNTS);
        let hierarchies = match (layout, path) {
            (Layout::None, _) => Vec::new(),
            (Layout::V2, CgroupPath::Unit(unit)) => {
                let own = file::read_list("/proc/self/cgroup".as_ref())?;
                let own = entries(&own).find(|(controllers, _)| controllers.is_empty());
                let above = systemd::root(rootless, own.map_or(Path::new("/"), |(_, own)| own))?;
                vec![unified(root.to_owned(), &above.join(unit.dir()))]
            }
            (Layout::V2, CgroupPath::Absolute(path)) => vec![unified(root.to_owned(), path)],
            (Layout::V2, _) => {
                let own = file::read_list("/proc/self/cgroup".as_ref())?;
                let own = entries(&own).find(|(controllers, _)| controllers.is_empty());
                // A cgroup with processes of its own can't give controllers to those below it, so the place is beside the runtime's
                // own cgroup, as with runc.
                let beside = own.and_then(|(_, own)| own.parent()).unwrap_or(Path::new("/"));
                vec![unified(root.to_owned(), &place(path, beside, rootless))]
            }
            (Layout::V1 | Layout::Hybrid, path) => {
                let own = file::read_list("/proc/self/cgroup".as_ref())?;
                let names = file::names(root)?;
                let mut found = Vec::new();
                for (controllers, own) in entries(&own) {
                    if controllers.is_empty() && layout == Layout::V1 {
                        continue;
                    }
                    let Some(mount) = mount_of(root, &names, controllers) else { continue };
                    let dir = mount.join(place(path, own, rootless));
                    found.push(Hierarchy { controllers: controllers.to_owned(), mount, dir });
                }
                found
            }
        };
        let unit = match path {
            CgroupPath::Unit(unit) => Some(systemd::Unit { name: unit.name.clone(), user: rootless }),
            _ => None,
        };
        Ok(Cgroup { hierarchies, rootless, optional: false, unit })
    }

    /// The layout that it was made in, which says how limits are written.
    pub fn layout(&self) -> Layout {
        match (self.only_v2(), self.unified()) {
            (Some(_), _) => Layout::V2,
            (None, Some(_)) => Layout::Hybrid,
            (None, None) if self.hierarchies.is_empty() => Layout::None,
            (None, None) => Layout::V1,
        }
    }

    /// What a mount of type `cgroup` inside the container shows; `None` where the host has no cgroups.
    pub fn view(&self) -> Option<View> {
        match self.hierarchies.as_slice() {
            [] => None,
            [only] if only.is_v2() => Some(View::Unified(only.dir.clone())),
            all => {
                let mut links = Vec::new();
                let dirs = all.iter().map(|hierarchy| {
                    let name = hierarchy.mount.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    if name.contains(',') {
                        links.extend(name.split(',').map(|alias| (alias.to_owned(), name.clone())));
                    }
                    (name, hierarchy.dir.clone())
                });
                let dirs = dirs.collect();
                Some(View::Split { dirs, links })
            }
        }
    }

    /// The hierarchy of cgroup v2, if there is one.
    fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.is_v2())
    }

    /// The same, where it is the only one, and so has the controllers.
    fn only_v2(&self) -> Option<&Hierarchy> {
        self.unified().filter(|_| self.hierarchies.len() == 1)
    }

    /// The hierarchy of a controller of cgroup v1.
    fn controller(&self, name: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.has(name))
    }

    /// The hierarchy in which the container's processes are looked up: the one in which they can be waited for, else the one in
    /// which they can be held still.
    fn members(&self) -> Option<&Hierarchy> {
        self.unified().or_else(|| self.controller("freezer")).or_else(|| self.hierarchies.first())
    }
}

fn unified(mount: PathBuf, path: &Path) -> Hierarchy {
    Hierarchy { controllers: String::new(), dir: mount.join(path), mount }
}

/// The lines of `/proc/PID/cgroup`: controllers and the path, which is absolute.
fn entries(content: &str) -> impl Iterator<Item = (&str, &Path)> {
    content.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((controllers, Path::new(path)))
    })
}

/// The path below the root of a hierarchy in which the runtime itself is at `own`.
fn place(path: &CgroupPath, own: &Path, rootless: bool) -> PathBuf {
    // The path of a process outside the cgroup namespace that is looked from begins with "..".
    let own: PathBuf = own.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    match path {
        CgroupPath::Absolute(path) => path.clone(),
        CgroupPath::Relative(path) => own.join(path),
        // A user may at most make cgroups near his own. Root's lie where they are found again from anywhere.
        CgroupPath::Default(id) if rootless => own.join(id),
        CgroupPath::Default(id) => id.into(),
        CgroupPath::Unit(unit) => unit.dir(),
    }
}

/// Where the hierarchy of some controllers is mounted, if it is, by the names of what there is below `/sys/fs/cgroup`. The directory of
/// a hierarchy with several controllers may be named after all or one of them. That it really is a mount is not asked for each: one
/// that isn't has no `cgroup.procs` to enter the cgroup by.
fn mount_of(root: &Path, names: &[OsString], controllers: &str) -> Option<PathBuf> {
    let whole = match controllers {
        "" => "unified",
        named => named.strip_prefix("name=").unwrap_or(named),
    };
    let mut candidates = std::iter::once(whole).chain(whole.split(','));
    candidates.find(|name| names.iter().any(|there| there == name)).map(|name| root.join(name))
}
