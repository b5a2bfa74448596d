//! The host's cgroup trees, seen from outside the containers.

use super::bundle::{Bundle, View};
use super::mountinfo::{MountEntry, mounts};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One mounted hierarchy.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    pub path: PathBuf,
    pub v2: bool,
    /// The controllers of a v1 hierarchy, or its name as `name=systemd`; empty for v2.
    pub controllers: Vec<String>,
}

/// The hierarchies that are mounted on the host.
pub fn hierarchies() -> Vec<Hierarchy> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let cgroups = mounts(&text).into_iter().filter(|m| m.fs_type == "cgroup" || m.fs_type == "cgroup2");
    cgroups.map(Hierarchy::from).collect()
}

impl From<MountEntry> for Hierarchy {
    fn from(mount: MountEntry) -> Self {
        let options = ["rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode"];
        let v2 = mount.fs_type == "cgroup2";
        let mut controllers = mount.super_options;
        controllers.retain(|option| !v2 && !options.contains(&option.as_str()));
        Hierarchy { path: PathBuf::from(mount.point), v2, controllers }
    }
}

/// The hierarchy in which the runtime finds a controller in a view: that of v1 by its own name, v2 by `io` for `blkio`, and no name for
/// what every cgroup of v2 has.
pub fn place_of(controller: &str, view: View) -> Option<Hierarchy> {
    let v2_name = if controller == "blkio" { "io" } else { controller };
    let mut all = hierarchies();
    match view {
        View::Host => {}
        View::V1 => all.retain(|h| !h.v2),
        View::V2 => all.retain(|h| h.v2),
    }
    if all.iter().all(|h| h.v2) {
        let mut all = all.into_iter();
        return all.find(|h| {
            let offered = fs::read_to_string(h.path.join("cgroup.controllers")).unwrap_or_default();
            v2_name.is_empty() || offered.split_whitespace().any(|name| name == v2_name)
        });
    }
    all.into_iter().find(|h| h.controllers.iter().any(|name| name == controller))
}

impl Bundle {
    /// A file of the container's cgroup, by its names in v1 and v2, whichever the controller is of.
    #[track_caller]
    pub fn cgroup_file(&self, controller: &str, v1: &str, v2: &str) -> PathBuf {
        let hierarchy =
            place_of(controller, self.view).unwrap_or_else(|| panic!("no controller {controller}"));
        hierarchy.path.join(self.cgroup().trim_start_matches('/')).join(if hierarchy.v2 { v2 } else { v1 })
    }
}

/// Every cgroup directory whose name contains `text`, on every hierarchy, parents before children.
pub fn cgroups_named(text: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, text: &str, inside: bool, found: &mut Vec<PathBuf>) {
        // A directory's links are those above, itself and one of each below. A leaf has many files to look through.
        if fs::metadata(dir).is_ok_and(|dir| dir.nlink() == 2) {
            return;
        }
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
            let inside = inside || entry.file_name().to_string_lossy().contains(text);
            if inside {
                found.push(entry.path());
            }
            walk(&entry.path(), text, inside, found);
        }
    }
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        walk(&hierarchy.path, text, false, &mut found);
    }
    found
}

/// The processes of one cgroup, without those below it.
pub fn processes(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Kills what runs in the cgroups named after `text` and removes them. Frozen tasks of v1 survive SIGKILL
/// until they are thawed.
pub fn remove_cgroups(text: &str) {
    let found = cgroups_named(text);
    for cgroup in &found {
        let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
        let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
        for pid in processes(cgroup).into_iter().filter(|pid| *pid > 0) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
    for cgroup in found.iter().rev() {
        let removed = || fs::remove_dir(cgroup).is_ok() || !cgroup.exists();
        super::running::poll_until(removed);
    }
}
