//! What a container may leave behind, and must not: processes, cgroups, mounts of the host, files.

use super::bundle::Bundle;
use super::cgroups::{cgroups_named, remove_cgroups};
use super::mountinfo::mounts;
use super::running::poll_until;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

impl Bundle {
    /// Nothing is left of the container: no process, no cgroup, no entry of the state directory, no mount
    /// on the host, no file beside the bundle. A process that has been killed may take a moment to go.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let mut left = self.files_left();
        left.extend(cgroups_named(&self.id).iter().map(|path| format!("cgroup {}", path.display())));
        left.extend(host_mounts(&self.id).iter().map(|point| format!("mount {}", point.display())));
        if !poll_until(|| processes_of(&self.id).is_empty()) {
            left.extend(
                processes_of(&self.id).into_iter().map(|(pid, why)| format!("process {pid} ({why})")),
            );
        }
        assert!(left.is_empty(), "left behind: {left:#?}");
        self.clean.set(true);
    }

    /// Entries of the state directory, files that the test has not put into the bundle directory, and
    /// files of the container elsewhere on the host.
    fn files_left(&self) -> Vec<String> {
        let mut left = entries(&self.state_root());
        if let Some(beside) = &*self.beside.borrow() {
            left.extend(entries(&self.dir()).into_iter().filter(|path| !beside.contains(path)));
        }
        for shared in ["/run", "/tmp", "/dev/shm", "/dev/mqueue"] {
            let own = |path: &PathBuf| path.to_string_lossy().contains(&self.id);
            left.extend(entries(Path::new(shared)).into_iter().filter(own));
        }
        left.iter().map(|path| format!("file {}", path.display())).collect()
    }
}

/// What is in a directory; nothing if there is none.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    entries.unwrap_or_default()
}

/// Mounts of the host's own mount namespace that belong to the bundle.
fn host_mounts(id: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = |text: &String| text.contains(id);
    let own_mounts = mounts(&text).into_iter().filter(|m| own(&m.point) || own(&m.root) || own(&m.source));
    own_mounts.map(|mount| PathBuf::from(mount.point)).collect()
}

/// The live processes that have to do with the bundle, each with the file of /proc that says so: one in a
/// cgroup of it, one whose mount namespace holds its root file system, one called with its id. A mount that has
/// reached the host makes nobody of the host one of them.
pub fn processes_of(id: &str) -> Vec<(i32, &'static str)> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let is_zombie = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z'))
    };
    // Most processes share a few tables of mounts, which are long.
    let mut tables = HashMap::from([(mount_namespace("self"), false)]);
    let mut text = Vec::with_capacity(1 << 16);
    let mut why = |pid: i32| {
        ["cgroup", "mountinfo", "cmdline"].into_iter().find(|file| {
            let path = format!("/proc/{pid}/{file}");
            if *file != "mountinfo" {
                return has(&path, id, &mut text);
            }
            let namespace = mount_namespace(&pid.to_string());
            *tables.entry(namespace).or_insert_with(|| has(&path, id, &mut text))
        })
    };
    pids.filter_map(|pid| Some((pid, why(pid)?))).filter(|(pid, _)| !is_zombie(*pid)).collect()
}

/// `None` for a process that is gone.
fn mount_namespace(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

/// Whether a file has these words in it; one that is gone has nothing. `text` is room for it.
fn has(path: &str, words: &str, text: &mut Vec<u8>) -> bool {
    text.clear();
    if let Ok(file) = File::open(path) {
        // One that ends while it is read has been read.
        let _ = file.take(u64::MAX).read_to_end(text);
    }
    // SAFETY: both ranges are readable, and only for the time of the call. (What the standard library has for it takes most of the
    // time of all tests, without optimisation.)
    unsafe { !libc::memmem(text.as_ptr().cast(), text.len(), words.as_ptr().cast(), words.len()).is_null() }
}

/// Removes everything of a bundle, whatever state a failed test has left it in. A `clean` one has no processes.
pub fn remove(id: &str, base: &Path, clean: bool) {
    remove_cgroups(id);
    if !clean {
        for (pid, _) in processes_of(id) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
    // A mount that a runtime has leaked could lead the removal of files to the host's own.
    for point in host_mounts(id).iter().rev() {
        let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
    }
    if host_mounts(id).is_empty() {
        let _ = fs::remove_dir_all(base);
    }
}
