//! Making the cgroup.

use super::systemd::{Placeholder, Started};
use super::{Cgroup, Hierarchy, file};
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::{CgroupPath, CgroupPlan, IfMissing, Write};
use crate::sys::{CallError, Errno};
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Directories that have been made, removed again on drop unless kept.
#[derive(Debug, Default)]
struct Made {
    dirs: Vec<PathBuf>,
}

impl Drop for Made {
    fn drop(&mut self) {
        for dir in self.dirs.drain(..).rev() {
            // The error that led here is the one to report.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// How often a directory is made again whose parent someone else has just removed.
const RACES: u32 = 16;

impl Made {
    /// Makes a directory of a cgroup file system and those above it; tells whether the last one is new.
    fn dir(&mut self, dir: &Path, mount: &Path) -> std::result::Result<bool, CallError> {
        let mut races = 0;
        loop {
            // The parents mostly exist: they are looked at only if not.
            let errno = match DirBuilder::new().mode(0o755).create(dir) {
                Ok(()) => {
                    self.dirs.push(dir.to_owned());
                    return Ok(true);
                }
                Err(error) => Errno::from(error),
            };
            match (errno, dir.parent()) {
                (Errno::EEXIST, _) => return Ok(false),
                (Errno::ENOENT, Some(parent)) if dir != mount && races < RACES => {
                    self.dir(parent, mount)?;
                    races += 1;
                }
                _ => return Err(CallError { call: format!("mkdir({dir:?}, 0755)"), errno }),
            }
        }
    }

    fn has(&self, dir: &Path) -> bool {
        self.dirs.iter().any(|made| made == dir)
    }

    /// Whether a cgroup is new and has none above it but the root, which nobody can freeze.
    fn is_topmost(&self, hierarchy: &Hierarchy) -> bool {
        self.has(&hierarchy.dir) && hierarchy.dir.parent() == Some(&hierarchy.mount)
    }

    fn keep(&mut self) {
        self.dirs.clear();
    }
}

/// Where a container's init is to be born. What has been made for that is removed on drop, unless it was completed.
#[derive(Debug)]
pub struct Birthplace<'a> {
    /// The directory of cgroup v2, for `clone3(CLONE_INTO_CGROUP)`.
    pub unified: Option<OwnedFd>,
    /// Who keeps the completed cgroup until init is in it, where systemd has made it.
    pub placeholder: Option<Placeholder>,
    cgroup: &'a Cgroup,
    made: Made,
    started: Option<Started<'a>>,
}

/// How long a process that has been killed may take to leave its cgroup.
const A_MOMENT: Duration = Duration::from_secs(1);

impl Drop for Birthplace<'_> {
    fn drop(&mut self) {
        // Who was born there leaves a little later than he is reaped (since Linux 6.19).
        if let Some(unified) = self.cgroup.unified().filter(|unified| self.made.has(&unified.dir)) {
            let _ = file::wait_event(&unified.dir, "populated 0", Instant::now() + A_MOMENT);
        }
    }
}

impl Birthplace<'_> {
    /// Makes the cgroups of version 1 and puts all limits into effect.
    pub fn complete(&mut self, plan: &CgroupPlan) -> Result<()> {
        let Birthplace { unified, placeholder, cgroup, made, started } = self;
        let mut missing = Vec::new();
        for hierarchy in cgroup.hierarchies.iter().filter(|hierarchy| !hierarchy.is_v2()) {
            if !cgroup.make(hierarchy, plan, made)? {
                missing.push(hierarchy);
            }
        }
        let exists = |hierarchy: &&Hierarchy| !missing.contains(hierarchy);
        cgroup.refuse_frozen(|hierarchy| {
            !hierarchy.is_v2() && exists(&hierarchy) && !made.is_topmost(hierarchy)
        })?;
        if let Some(cpuset) = cgroup.controller("cpuset").filter(exists) {
            for name in ["cpuset.cpus", "cpuset.mems"] {
                inherit(&cpuset.dir, &cpuset.mount, name, made).doing(|| "create the cgroup".into())?;
            }
            for above in cpuset.dir.ancestors().skip(1).take_while(|dir| made.has(dir)) {
                fill_new_below(above).doing(|| "create the cgroup".into())?;
            }
        }
        cgroup.write(&plan.writes)?;
        cgroup.filter_devices(&plan.devices, unified.as_ref(), |dir| started.is_some() || made.has(dir))?;
        if let (Some(owner), Some(_), Some(hierarchy)) = (plan.owner, unified, cgroup.unified()) {
            hand_over(&hierarchy.dir, owner, cgroup.rootless)?;
        }
        made.keep();
        *placeholder = started.take().and_then(Started::keep);
        Ok(())
    }
}

impl Cgroup {
    /// Makes what init has to be born into: the cgroup of version 2, with its controllers. Before somebody is in it they cost the kernel
    /// no wait for those who are.
    pub fn create(&self, plan: &CgroupPlan) -> Result<Birthplace<'_>> {
        let started = match (&self.unit, &plan.path, self.only_v2()) {
            (Some(unit), CgroupPath::Unit(planned), Some(only)) => {
                Some(Started::new(unit, planned, &only.mount, &only.dir)?)
            }
            _ => None,
        };
        let mut birthplace =
            Birthplace { unified: None, placeholder: None, cgroup: self, made: Made::default(), started };
        if let Some(unified) = self.unified()
            && self.make(unified, plan, &mut birthplace.made)?
        {
            self.refuse_frozen(|hierarchy| hierarchy.is_v2() && !birthplace.made.is_topmost(hierarchy))?;
            if let Some(only) = self.only_v2() {
                self.enable(only, &plan.writes)?;
            }
            birthplace.unified = Some(open_dir(&unified.dir)?);
        }
        Ok(birthplace)
    }

    /// Makes the cgroup in one hierarchy; tells whether it is there: one that nobody asked for may be missing.
    fn make(&self, hierarchy: &Hierarchy, plan: &CgroupPlan, made: &mut Made) -> Result<bool> {
        match made.dir(&hierarchy.dir, &hierarchy.mount) {
            Err(error) if self.optional && is_denied(error.errno) => Ok(false),
            Err(error) if is_denied(error.errno) => Err(denied(error, &plan.writes)),
            result => {
                let new = result.doing(|| "create the cgroup".into())?;
                // Nobody has chosen the path: what only some hierarchies have of that name may be anybody's.
                if !new && matches!(plan.path, CgroupPath::Default(_)) {
                    hierarchy.check_empty()?;
                }
                Ok(true)
            }
        }
    }

    /// Writes values to the files of the cgroup, in order.
    pub fn write(&self, writes: &[Write]) -> Result<()> {
        // A value may have to fit to another one of its controller that is written after it: a quota to its period, a limit of
        // memory to the one that includes swap. So what is invalid at first is tried again at last.
        let mut writer = file::Writer::default();
        let mut again = Vec::new();
        for write in writes {
            match self.write_one(&mut writer, write) {
                Err(error) if error.errno() == Some(Errno::EINVAL) => again.push(write),
                other => other?,
            }
        }
        again.into_iter().try_for_each(|write| self.write_one(&mut writer, write))
    }

    fn write_one(&self, writer: &mut file::Writer, write: &Write) -> Result<()> {
        let hierarchy = self.hierarchy_of(write)?;
        let path = hierarchy.dir.join(&write.file);
        let written = match writer.write(&path, &write.value) {
            Err(error) if error.errno == Errno::ENOENT && hierarchy.is_v2() => {
                await_files(&hierarchy.dir);
                writer.write(&path, &write.value)
            }
            written => written,
        };
        let result = match (written, &write.if_missing) {
            (Err(error), IfMissing::Skip) if error.errno == Errno::ENOENT => Ok(()),
            (Err(error), IfMissing::Write { file, value }) if error.errno == Errno::ENOENT => {
                writer.write(&hierarchy.dir.join(file), value)
            }
            (result, _) => result,
        };
        result.map_err(|error| refused(error, write))
    }

    /// The hierarchy that has the file of a write.
    pub(super) fn hierarchy_of(&self, write: &Write) -> Result<&Hierarchy> {
        self.only_v2().or_else(|| self.controller(&write.controller)).ok_or_else(|| {
            let name = &write.controller;
            Error::new(format!("the requested cgroup controller `{name}` is not available, of version 1"))
                .field(write.field.as_str())
                .hint("mount it below /sys/fs/cgroup, or drop the field")
        })
    }
}

/// In version 2, the list of a cgroup's controllers runs ahead of their files while somebody else has them passed on to it, as when the
/// first containers below a new cgroup are created at the same time. A write of nothing to the cgroup above waits for him.
fn await_files(dir: &Path) {
    let Some(above) = dir.parent() else { return };
    // Who may not write there has nothing to wait for that he could have caused.
    let _ = file::write(&above.join("cgroup.subtree_control"), "\n");
}

/// The error of a value that could not be written.
pub(super) fn refused(error: CallError, write: &Write) -> Error {
    let hint = hint(error.errno, write);
    let error = Error::from(error).field(write.field.as_str());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn hint(errno: Errno, write: &Write) -> Option<&'static str> {
    match errno {
        Errno::EPERM if write.controller == "devices" => Some("a cgroup further up denies it"),
        Errno::ENOENT => Some("this kernel, or its configuration, doesn't have the limit"),
        Errno::EOPNOTSUPP if write.file.contains(".bfq.") => {
            Some("the device is not scheduled by BFQ: see queue/scheduler of its directory in /sys/dev/block")
        }
        Errno::EOPNOTSUPP => Some("this kernel no longer has the limit"),
        Errno::EBUSY => Some("the cgroup already uses more than that"),
        Errno::EACCES | Errno::EPERM | Errno::EROFS => Some("the cgroup is not delegated to this user"),
        _ => None,
    }
}

/// Whether an error says that the runtime may not make cgroups here.
fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS)
}

/// The error of a runtime that has to make a cgroup and may not.
fn denied(error: CallError, writes: &[Write]) -> Error {
    let field = writes.first().map_or("linux.cgroupsPath", |write| write.field.as_str());
    // These words are runc's, which its callers know.
    let hint = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    Error::from(error).doing("unable to apply cgroup configuration").field(field).hint(hint)
}

/// Fills a list of cgroup v1's cpuset, which is empty in a new cgroup and must not be in one that has processes, from the cgroup
/// above. Returns its value.
fn inherit(dir: &Path, mount: &Path, name: &str, made: &Made) -> Result<String> {
    let path = dir.join(name);
    let is_topmost = dir.parent() == Some(mount);
    let value = if made.has(dir) && is_topmost { String::new() } else { file::read(&path)? };
    match dir.parent() {
        Some(parent) if value.is_empty() && dir != mount => {
            let value = inherit(parent, mount, name, made)?;
            file::write(&path, &value)?;
            Ok(value)
        }
        _ => Ok(value),
    }
}

/// Has the kernel fill the lists of cgroup v1's cpuset in whatever is made below a cgroup. What it fills itself costs nothing, while a
/// write to a list goes through the processes of all cgroups: 0.7 ms for both where a thousand containers lie side by side.
fn fill_new_below(dir: &Path) -> Result<()> {
    Ok(file::write(&dir.join("cgroup.clone_children"), "1")?)
}

pub(super) fn open_dir(dir: &Path) -> Result<OwnedFd> {
    Ok(file::open(dir).doing(|| "enter the cgroup".into())?.into())
}

/// What may be given away where the kernel has no list of it: those files that take nothing from the cgroups above.
const DELEGABLE: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Gives a cgroup to a user: the directory and those files that the kernel says are safe to give away. Without privileges it
/// works for nobody but the user himself.
fn hand_over(dir: &Path, owner: u32, rootless: bool) -> Result<()> {
    let files = match file::read_list("/sys/kernel/cgroup/delegate".as_ref()) {
        Err(error) if error.errno == Errno::ENOENT => DELEGABLE.to_owned(),
        files => files?,
    };
    let paths = std::iter::once(dir.to_owned()).chain(files.lines().map(|name| dir.join(name)));
    for path in paths {
        match std::os::unix::fs::chown(&path, Some(owner), None).map_err(Errno::from) {
            // Files of controllers that the cgroup doesn't have.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EPERM) if rootless => {}
            Err(errno) => {
                let error = CallError { call: format!("chown({path:?}, {owner})"), errno };
                return Err(error).doing(|| "hand the cgroup over to the container".into());
            }
        }
    }
    Ok(())
}
