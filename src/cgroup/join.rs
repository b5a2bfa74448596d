//! Putting processes into the cgroup.

use super::create::open_dir;
use super::file::Writer;
use super::{Cgroup, Hierarchy, entries, file};
use crate::error::{Context, Error, Result};
use crate::sys::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// Where a process enters a running container's cgroup.
#[derive(Debug)]
pub struct Entrance {
    /// The directory of cgroup v2, for `clone3(CLONE_INTO_CGROUP)`.
    pub unified: Option<OwnedFd>,
    /// The directories of cgroup v1.
    others: Vec<PathBuf>,
    optional: bool,
}

impl Entrance {
    /// Moves a process into the hierarchies of cgroup v1; a clone has put it into that of v2. The files that were written come back
    /// open: a caller that ends soon need not close them one by one.
    pub fn attach(&self, pid: i32) -> Result<Vec<File>> {
        let mut files = Vec::new();
        for dir in &self.others {
            let mut writer = Writer::default();
            match writer.write(&dir.join("cgroup.procs"), &pid.to_string()) {
                Err(error) if self.optional && is_no_place(error.errno) => {}
                other => other.doing(|| "enter the cgroup".into())?,
            }
            files.extend(writer.into_file());
        }
        Ok(files)
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
            return Err(Error::new(format!("--cgroup {text:?}: not a path below the container's cgroup")));
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

impl Cgroup {
    /// Moves the container's first process into the hierarchies of cgroup v1; a clone has put it into that of v2.
    pub fn attach(&self, pid: i32) -> Result<Vec<File>> {
        let others = self.hierarchies.iter().filter(|hierarchy| !hierarchy.is_v2());
        let others = others.map(|hierarchy| hierarchy.dir.clone()).collect();
        Entrance { unified: None, others, optional: self.optional }.attach(pid)
    }

    /// Where a further process of the container enters: the cgroup that its init is in. That may be one which the container made
    /// itself, after which cgroup v2 lets no process into the container's own any more.
    /// `wanted` names others instead, which have to be there.
    pub fn entrance(&self, init: i32, wanted: &[SubCgroup]) -> Result<Entrance> {
        let mut entrance = Entrance { unified: None, others: Vec::new(), optional: self.optional };
        if self.hierarchies.is_empty() {
            return Ok(entrance);
        }
        let now =
            file::read_list(format!("/proc/{init}/cgroup").as_ref()).doing(|| "find init's cgroup".into())?;
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
                Some(wanted) => hierarchy.dir.join(&wanted.path),
                None if inside => hierarchy.mount.join(path),
                None => hierarchy.dir.clone(),
            };
            // Init has none of its own: it is where the runtime that made it was, which is no place to choose.
            if self.optional && !dir.starts_with(&hierarchy.dir) {
                continue;
            }
            if hierarchy.is_v2() {
                entrance.unified = Some(open_dir(&dir).doing(|| "enter the cgroup".into())?);
            } else {
                entrance.others.push(dir);
            }
        }
        Ok(entrance)
    }
}
