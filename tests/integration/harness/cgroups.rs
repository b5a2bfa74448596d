//! The host's cgroup trees, seen from outside the containers.

use super::mountinfo::{MountEntry, mounts};
use std::fs;
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

/// Every cgroup directory whose name contains `text`, on every hierarchy, parents before children.
pub fn cgroups_named(text: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, text: &str, inside: bool, found: &mut Vec<PathBuf>) {
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
        super::commands::poll_until(removed);
    }
}
