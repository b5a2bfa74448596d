//! The host's cgroups, as far as they are a world's.

use super::mountinfo::mounts;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the hierarchies of both versions are mounted.
pub fn roots() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let cgroups = mounts(&text).into_iter().filter(|m| m.fs_type == "cgroup" || m.fs_type == "cgroup2");
    cgroups.map(|mount| PathBuf::from(mount.point)).collect()
}

/// Every directory below `dir` whose own name contains `text`, or that of one above it.
pub fn named(dir: &Path, text: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, text: &str, inside: bool, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let inside = inside || entry.file_name().to_string_lossy().contains(text);
                found.extend(inside.then(|| entry.path()));
                walk(&entry.path(), text, inside, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, text, false, &mut found);
    found
}

/// The processes of one cgroup, without those below it.
pub fn processes(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}
