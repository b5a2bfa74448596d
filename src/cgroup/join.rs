//! Putting processes into the cgroup.

use super::create::open_dir;
use super::{Cgroup, Hierarchy, entries, file};
use crate::error::{Context, Error, Result};
use crate::sys::Errno;
use crate::sys::file::leave_open;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// Where a process enters the cgroup.
#[derive(Debug)]
pub struct Entrance {
    /// The directory of cgroup v2, for `clone3(CLONE_INTO_CGROUP)`.
    pub unified: Option<OwnedFd>,
    /// The hierarchies of cgroup v1.
    pub doors: Doors,
}

/// The files by which a process goes into hierarchies of cgroup v1, open for one that lacks the right to open them itself.
///
/// A process with one thread that moves itself by `tasks` makes the kernel wait for nothing. To be moved by another, or by
/// `cgroup.procs`, holds up all forks of the host, and before that comes an RCU grace period: 14 ms instead of 20 µs (Linux 6.18;
/// the difference is there since Linux 5.5).
#[derive(Debug)]
pub struct Doors {
    files: Vec<(PathBuf, File)>,
    optional: bool,
}

impl Entrance {
    /// Opens the directories of a cgroup: that of v2, and those of v1.
    fn open<'a>(
        unified: Option<&Path>,
        others: impl Iterator<Item = &'a Path>,
        optional: bool,
    ) -> Result<Entrance> {
        Ok(Entrance { unified: unified.map(open_dir).transpose()?, doors: Doors::open(others, optional)? })
    }
}

impl Doors {
    fn open<'a>(others: impl Iterator<Item = &'a Path>, optional: bool) -> Result<Doors> {
        let mut files = Vec::new();
        for path in others.map(|dir| dir.join("tasks")) {
            match file::open_write(&path) {
                Ok(file) => files.push((path, file)),
                Err(error) if optional && is_no_place(error.errno) => {}
                Err(error) => Err(error).doing(|| "enter the cgroup".into()).hint(|| {
                    "is a hierarchy of cgroup v1 mounted on each directory below /sys/fs/cgroup?".into()
                })?,
            }
        }
        Ok(Doors { files, optional })
    }

    /// Moves the calling thread; a clone has put it into the cgroup of v2.
    pub fn enter(&self) -> Result<()> {
        for (path, file) in &self.files {
            match file::write_open(file, path, "0") {
                Err(error) if self.optional && is_no_place(error.errno) => {}
                other => other.doing(|| "enter the cgroup".into())?,
            }
        }
        Ok(())
    }

    /// Leaves the files open, for `close_others`.
    pub fn leave_open(self) {
        self.files.into_iter().for_each(|(_, file)| leave_open(file.into()));
    }
}

/// A cgroup below the container's own that a further process is to enter: `--cgroup [CONTROLLER[,CONTROLLER...]:]PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubCgroup {
    /// Controllers of cgroup v1 whose hierarchies it is for; none for all hierarchies.
    controllers: Vec<String>,
    /// Relative to the container's cgroup.
    path: PathBuf,
}

impl SubCgroup {
    /// Takes what `--cgroup` was given.
    pub fn parse(text: &str) -> Result<Self> {
        let (controllers, path) = match text.split_once(':') {
            Some((controllers, path)) => (controllers.split(',').map(str::to_owned).collect(), path),
            None => (Vec::new(), text),
        };
        let path = Path::new(path);
        let inside = |part| !matches!(part, Component::ParentDir);
        if path.as_os_str().is_empty() || !path.components().all(inside) {
            return Err(Error::new(format!("--cgroup: {} is not a sub cgroup path", path.display())));
        }
        Ok(SubCgroup { controllers, path: path.strip_prefix("/").unwrap_or(path).to_owned() })
    }

    fn is_for(&self, hierarchy: &Hierarchy) -> bool {
        self.controllers.is_empty() || self.controllers.iter().any(|name| hierarchy.has(name))
    }
}

/// Whether an error says that there is no cgroup to enter, or that the runtime may not.
fn is_no_place(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EROFS)
}

/// The directory, if it is one: nobody makes what `--cgroup` names. The words are those that callers of runc know.
fn there(dir: PathBuf) -> Result<PathBuf> {
    if dir.is_dir() {
        return Ok(dir);
    }
    let file = dir.join("cgroup.procs");
    let what = format!("adding pid of the new process to {}: no such file or directory", file.display());
    Err(Error::new(what).doing("--cgroup"))
}

impl Cgroup {
    /// Where init enters what it was not born into.
    pub fn doors(&self) -> Result<Doors> {
        let others = self.hierarchies.iter().filter(|hierarchy| !hierarchy.is_v2());
        Doors::open(others.map(|other| other.dir.as_path()), self.optional)
    }

    /// Where a further process of the container enters: the cgroup that its init is in. That may be one which the container made
    /// itself, after which cgroup v2 lets no process into the container's own any more.
    /// `wanted` names others instead, which have to be there.
    pub fn entrance(&self, init: i32, wanted: &[SubCgroup]) -> Result<Entrance> {
        let has = |name: &String| self.controller(name).is_some();
        if let Some(name) = wanted.iter().flat_map(|wanted| &wanted.controllers).find(|name| !has(name)) {
            let hint = "cgroup v1 has a hierarchy for each, v2 one for all, which takes a path alone";
            return Err(Error::new(format!("--cgroup: unknown controller {name}")).hint(hint));
        }
        let (mut unified, mut others) = (None, Vec::new());
        let now = match self.hierarchies.as_slice() {
            [] => String::new(),
            _ => file::read_list(format!("/proc/{init}/cgroup").as_ref())
                .doing(|| "find init's cgroup".into())?,
        };
        for hierarchy in &self.hierarchies {
            let Some((_, path)) =
                entries(&now).find(|(controllers, _)| *controllers == hierarchy.controllers)
            else {
                continue;
            };
            // Seen from within a cgroup namespace, what lies outside of it begins with "..".
            let inside =
                path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
            let path: PathBuf =
                path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
            let dir = match wanted.iter().find(|wanted| wanted.is_for(hierarchy)) {
                Some(wanted) => there(hierarchy.dir.join(&wanted.path))?,
                None if inside => hierarchy.mount.join(path),
                None => hierarchy.dir.clone(),
            };
            // Init has none of its own: it is where the runtime that made it was, which is no place to choose.
            if self.optional && !dir.starts_with(&hierarchy.dir) {
                continue;
            }
            if hierarchy.is_v2() {
                unified = Some(dir);
            } else {
                others.push(dir);
            }
        }
        Entrance::open(unified.as_deref(), others.iter().map(PathBuf::as_path), self.optional)
    }
}
