//! Carries out [`crate::plan::rdt`]: directories of the resctrl file system, and lines in their files.

use crate::error::{Context, Error, Result};
use crate::plan::rdt::{self, Group, Schema};
use crate::sys::{CallError, Errno, file};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Where a container is in the resctrl file system, and what of it goes with the container. It is on record before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rdt {
    /// The directory of its class.
    group: PathBuf,
    /// The class did not exist before.
    new: bool,
    /// "If closID is not set and the runtime has created the sub-directory, the runtime MUST remove [it] when the container is deleted."
    removed: bool,
    /// The directory of its monitoring group, which is always its own.
    monitor: Option<PathBuf>,
}

impl Rdt {
    /// Looks where the container will be; changes nothing.
    pub fn locate(plan: &rdt::Rdt) -> Result<Rdt> {
        let mounts = file::read_proc("/proc/self/mountinfo")?;
        let root = mount_point(&mounts).ok_or_else(|| {
            Error::new("no resctrl file system is mounted")
                .hint("it takes a processor with Intel RDT or AMD QoS: mount -t resctrl resctrl /sys/fs/resctrl")
                .field("linux.intelRdt")
        })?;
        Rdt::locate_below(&root, plan)
    }

    fn locate_below(root: &Path, plan: &rdt::Rdt) -> Result<Rdt> {
        let (group, own) = match &plan.group {
            Group::Default => (root.to_owned(), false),
            Group::Own(id) => (root.join(id), true),
            Group::Named(name) => (root.join(name), false),
        };
        let new = !group.is_dir();
        if new && !own && plan.schemata.is_empty() {
            return Err(Error::new(format!(
                "{} does not exist, and there are no schemata to make it with",
                group.display()
            ))
            .field("linux.intelRdt.closID"));
        }
        if !new {
            check_schemata(&group, &plan.schemata)?;
        }
        let monitor = plan.monitor.as_ref().map(|name| group.join("mon_groups").join(name));
        Ok(Rdt { group, new, removed: new && own, monitor })
    }

    /// Makes the groups and writes the schemata.
    pub fn create(&self, plan: &rdt::Rdt) -> Result<()> {
        if self.new {
            make(&self.group).field(|| "linux.intelRdt.closID".into())?;
        }
        self.write(&plan.schemata)?;
        match &self.monitor {
            Some(dir) => make(dir).field(|| "linux.intelRdt.enableMonitoring".into()),
            None => Ok(()),
        }
    }

    /// Changes the class of a container that runs, as long as `then` succeeds as well: all of it, or nothing.
    pub fn update(&self, schemata: &[Schema], then: impl FnOnce() -> Result<()>) -> Result<()> {
        let path = self.group.join("schemata");
        let before = fs::read_to_string(&path).unwrap_or_default();
        self.write(schemata).and_then(|()| then()).inspect_err(|_| {
            for line in before.lines().filter(|_| !schemata.is_empty()) {
                // The error that led here is the one to report.
                let _ = write(&path, &format!("{}\n", line.trim()));
            }
        })
    }

    /// Writes lines to the class's `schemata` file.
    fn write(&self, schemata: &[Schema]) -> Result<()> {
        schemata.iter().try_for_each(|schema| {
            write(&self.group.join("schemata"), &format!("{}\n", schema.line))
                .hint(|| self.reason())
                .field(|| schema.field.clone())
        })
    }

    /// Takes a process in, and what it forks from then on.
    pub fn attach(&self, pid: i32) -> Result<()> {
        for dir in [Some(&self.group), self.monitor.as_ref()].into_iter().flatten() {
            write(&dir.join("tasks"), &pid.to_string())
                .hint(|| self.reason())
                .field(|| "linux.intelRdt".into())?;
        }
        Ok(())
    }

    /// Removes what goes with the container, as far as it exists.
    pub fn remove(&self) -> Result<()> {
        let dirs = [self.monitor.as_ref(), self.removed.then_some(&self.group)];
        dirs.into_iter().flatten().try_for_each(|dir| match fs::remove_dir(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed(format!("rmdir({dir:?})"), error))
            }
            _ => Ok(()),
        })
    }

    /// What the kernel says of the last write: errno alone is EINVAL for everything.
    fn reason(&self) -> String {
        let root = self.group.ancestors().find(|dir| dir.join("info").is_dir());
        let status = root.and_then(|root| fs::read_to_string(root.join("info/last_cmd_status")).ok());
        status.map_or_else(|| "the kernel gives no reason".into(), |text| text.trim().to_owned())
    }
}

/// "if closID directory [...] exists, runtimes MUST compare l3CacheSchema and/or memBwSchema value with schemata file, and generate an
/// error if doesn't match".
fn check_schemata(group: &Path, schemata: &[Schema]) -> Result<()> {
    if !schemata.iter().any(|schema| schema.compared) {
        return Ok(());
    }
    let path = group.join("schemata");
    let file = fs::read_to_string(&path).map_err(|error| failed(format!("read({path:?})"), error))?;
    match schemata.iter().find(|schema| schema.compared && !schema.is_met_by(&file)) {
        None => Ok(()),
        Some(schema) => Err(Error::new(format!("{} is not what {} has", schema.line, path.display()))
            .hint("a class that exists is shared: it has to have these values already")
            .field(schema.field.clone())),
    }
}

/// Makes a directory of resctrl; one that is there already is taken as it is. `ENOSPC` says that the processor has no more groups.
fn make(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(failed(format!("mkdir({dir:?})"), error).hint("the processor has a fixed number of groups"))
        }
        _ => Ok(()),
    }
}

/// Writes a line to a file of resctrl, in one call.
fn write(path: &Path, line: &str) -> Result<()> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
    written.map_err(|error| failed(format!("write({path:?}, {:?})", line.trim_end()), error))
}

fn failed(call: String, error: std::io::Error) -> Error {
    CallError { call, errno: Errno::from(error) }.into()
}

/// The first mount of type resctrl ([proc_pid_mountinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html)).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        filesystem.starts_with("resctrl ").then(|| mount.split(' ').nth(4).map(unescaped)).flatten()
    })
}

/// A path of mountinfo, in which blanks, newlines and backslashes are octal.
fn unescaped(path: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let code = after.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        bytes.push(code.unwrap_or(b'\\'));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    bytes.extend(rest.bytes());
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that stands in for the root of resctrl. The kernel makes the files of a group; here writing does.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("orlop-rdt-{}-{name}", std::process::id()));
            fs::create_dir_all(root.join("info")).unwrap();
            fs::create_dir_all(root.join("mon_groups")).unwrap();
            fs::write(root.join("info/last_cmd_status"), "ok\n").unwrap();
            fs::write(root.join("schemata"), "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n").unwrap();
            Tree(root)
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.0.join(path)).unwrap()
        }

        /// What rmdir does in resctrl, where a group's files are not in its way.
        fn clear(&self, dir: &str) {
            for file in ["tasks", "schemata"] {
                let _ = fs::remove_file(self.0.join(dir).join(file));
            }
            let _ = fs::remove_dir(self.0.join(dir).join("mon_groups"));
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn plan(group: Group, lines: &[(&str, bool)], monitor: bool) -> rdt::Rdt {
        let schema = |(line, compared): &(&str, bool)| Schema {
            line: (*line).into(),
            compared: *compared,
            field: format!("linux.intelRdt.{}", if *compared { "l3CacheSchema" } else { "schemata[0]" }),
        };
        rdt::Rdt {
            group,
            schemata: lines.iter().map(schema).collect(),
            monitor: monitor.then(|| "web".into()),
        }
    }

    #[test]
    fn a_group_of_its_own_is_made_and_removed() {
        let tree = Tree::new("own");
        let plan = plan(Group::Own("web".into()), &[("L3:0=f", true)], false);
        let rdt = Rdt::locate_below(&tree.0, &plan).unwrap();
        assert!(!tree.0.join("web").exists(), "nothing is made before it is on record");
        rdt.create(&plan).unwrap();
        rdt.attach(42).unwrap();
        assert_eq!((tree.read("web/schemata"), tree.read("web/tasks")), ("L3:0=f\n".into(), "42".into()));
        tree.clear("web");
        rdt.remove().unwrap();
        assert!(!tree.0.join("web").exists());
        rdt.remove().unwrap();
    }

    #[test]
    fn a_group_that_was_there_stays() {
        let tree = Tree::new("there");
        for (group, name) in [(Group::Own("web".into()), "web"), (Group::Named("gold".into()), "gold")] {
            fs::create_dir_all(tree.0.join(name)).unwrap();
            let plan = plan(group, &[], false);
            let rdt = Rdt::locate_below(&tree.0, &plan).unwrap();
            rdt.create(&plan).unwrap();
            rdt.attach(7).unwrap();
            assert_eq!(tree.read(&format!("{name}/tasks")), "7");
            assert!(!tree.0.join(name).join("schemata").exists(), "no schemata were asked for");
            tree.clear(name);
            rdt.remove().unwrap();
            assert!(tree.0.join(name).is_dir());
        }
    }

    #[test]
    fn a_named_class_is_made_only_with_schemata_and_stays() {
        let tree = Tree::new("named");
        let without = Rdt::locate_below(&tree.0, &plan(Group::Named("gold".into()), &[], false));
        let text = without.unwrap_err().to_string();
        assert!(
            text.starts_with("linux.intelRdt.closID: ") && text.contains("gold does not exist"),
            "{text}"
        );
        let plan = plan(Group::Named("gold".into()), &[("L2:0=3", false)], false);
        let rdt = Rdt::locate_below(&tree.0, &plan).unwrap();
        rdt.create(&plan).unwrap();
        assert_eq!(tree.read("gold/schemata"), "L2:0=3\n");
        rdt.remove().unwrap();
        assert!(tree.0.join("gold").is_dir());
    }

    #[test]
    fn a_class_that_exists_has_to_have_the_values() {
        let tree = Tree::new("compare");
        Rdt::locate_below(&tree.0, &plan(Group::Default, &[("L3:0=7ff", true)], false)).unwrap();
        Rdt::locate_below(&tree.0, &plan(Group::Default, &[("L3:0=1", false)], false)).unwrap();
        let other = Rdt::locate_below(&tree.0, &plan(Group::Default, &[("L3:0=1", true)], false));
        let text = other.unwrap_err().to_string();
        assert!(text.starts_with("linux.intelRdt.l3CacheSchema: L3:0=1 is not what"), "{text}");
    }

    #[test]
    fn a_monitoring_group_is_made_and_removed() {
        let tree = Tree::new("monitor");
        let plan = plan(Group::Default, &[], true);
        let rdt = Rdt::locate_below(&tree.0, &plan).unwrap();
        rdt.create(&plan).unwrap();
        rdt.attach(9).unwrap();
        assert_eq!((tree.read("tasks"), tree.read("mon_groups/web/tasks")), ("9".into(), "9".into()));
        tree.clear("mon_groups/web");
        rdt.remove().unwrap();
        assert!(!tree.0.join("mon_groups/web").exists() && tree.0.join("mon_groups").is_dir());
    }

    #[test]
    fn the_kernels_own_words_are_in_the_error() {
        let tree = Tree::new("refused");
        fs::write(tree.0.join("info/last_cmd_status"), "mask out of range\n").unwrap();
        fs::create_dir_all(tree.0.join("web/schemata")).unwrap();
        let plan = plan(Group::Own("web".into()), &[("L3:0=fffff", false)], false);
        let rdt = Rdt::locate_below(&tree.0, &plan).unwrap();
        let text = rdt.create(&plan).unwrap_err().to_string();
        assert!(
            text.starts_with("linux.intelRdt.schemata[0]: write(") && text.ends_with("(mask out of range)"),
            "{text}"
        );
    }

    #[test]
    fn a_change_that_can_not_be_kept_is_undone() {
        let tree = Tree::new("undone");
        fs::write(tree.0.join("schemata"), "    L3:0=7ff\n").unwrap();
        let plan = plan(Group::Default, &[("L3:0=f", true)], false);
        let rdt = Rdt::locate_below(&tree.0, &self::plan(Group::Default, &[], false)).unwrap();
        let written = std::cell::Cell::new(String::new());
        let refused = rdt.update(&plan.schemata, || {
            written.set(tree.read("schemata"));
            Err(Error::new("no room"))
        });
        assert_eq!((refused.unwrap_err().to_string(), written.take()), ("no room".into(), "L3:0=f\n".into()));
        assert_eq!(tree.read("schemata"), "L3:0=7ff\n");
        rdt.update(&plan.schemata, || Ok(())).unwrap();
        assert_eq!(tree.read("schemata"), "L3:0=f\n");
    }

    #[test]
    fn the_mount_is_found_in_mountinfo() {
        let text = "22 28 0:21 / /sys rw shared:7 - sysfs sysfs rw\n\
                    30 22 0:26 / /sys/fs/my\\040resctrl rw,relatime shared:9 - resctrl resctrl rw,mba_MBps\n";
        assert_eq!(mount_point(text), Some("/sys/fs/my resctrl".into()));
        assert_eq!(mount_point("22 28 0:21 / /resctrl rw - tmpfs resctrl rw\n"), None);
        assert_eq!(unescaped("a\\134b\\"), Path::new("a\\b\\"));
    }
}
