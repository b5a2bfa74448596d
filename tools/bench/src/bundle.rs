//! The bundles that are run: the sample of the repository, and what engines have been recorded to send.

use crate::View;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const HELLO: &str = include_str!("../../../bundles/hello/config.json");
const PODMAN: &str = include_str!("../../../tests/integration/recorded/podman-4.3-run.json");
const DOCKER: &str = include_str!("../../../tests/integration/recorded/docker-20.10-run.json");
const CONTAINERD: &str =
    include_str!("../../../tests/integration/recorded/containerd-1.6-seccomp-limits.json");

/// The directories for everything that the benchmark makes, removed at the end.
pub struct Scratch {
    /// The directory.
    pub dir: PathBuf,
    /// Where the runtimes keep their containers: on a tmpfs, as `/run` is everywhere.
    pub state: PathBuf,
    view: View,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left then lies in /tmp and /dev/shm.
        let _ = fs::remove_dir_all(&self.dir);
        let _ = fs::remove_dir_all(&self.state);
    }
}

/// A bundle, written.
pub struct Bundle {
    /// The container's name, and that of its cgroup.
    pub id: String,
    /// Where it lies.
    pub dir: PathBuf,
    /// What it runs.
    pub args: Vec<String>,
    config: Value,
}

impl Scratch {
    /// Makes the directory, and the root file system that all bundles share: one static program.
    pub fn new(workload: &Path, view: View) -> Result<Scratch> {
        let name = format!("orlop-bench.{}", std::process::id());
        let (dir, state) = (std::env::temp_dir().join(&name), Path::new("/dev/shm").join(&name));
        let workload = workload.canonicalize().context("find the workload")?;
        let scratch = Scratch { dir, state, view };
        let rootfs = scratch.dir.join("rootfs");
        for name in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::copy(&workload, rootfs.join("bin/workload"))?;
        for name in ["etc/hosts", "etc/hostname", "etc/resolv.conf", "run/.containerenv"] {
            fs::write(rootfs.join(name), "")?;
        }
        fs::create_dir_all(scratch.dir.join("files/shm"))?;
        for name in ["hosts", "hostname", "resolv.conf", "containerenv"] {
            fs::write(scratch.dir.join("files").join(name), name)?;
        }
        Ok(scratch)
    }

    /// The repository's sample with this workload.
    pub fn hello(&self, id: &str) -> Result<Bundle> {
        self.bundle(id, HELLO)
    }

    /// What Podman sends for `run`.
    pub fn podman(&self, id: &str) -> Result<Bundle> {
        self.bundle(id, PODMAN)
    }

    /// The bundles of which the life of a container is measured, by name.
    pub fn all(&self, id: &str) -> Result<Vec<(&'static str, Bundle)>> {
        let in_a_user_namespace = self.podman(id)?.edit(|config| {
            let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() else { return };
            namespaces.push(json!({"type": "user"}));
            for mapping in ["uidMappings", "gidMappings"] {
                config["linux"][mapping] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            }
        })?;
        Ok(vec![
            ("podman", self.podman(id)?),
            ("podman, user namespace", in_a_user_namespace),
            ("docker", self.bundle(id, DOCKER)?),
            ("containerd", self.bundle(id, CONTAINERD)?),
            ("hello", self.hello(id)?),
        ])
    }

    fn bundle(&self, id: &str, config: &str) -> Result<Bundle> {
        let mut config: Value = serde_json::from_str(config).context("parse a config.json")?;
        let args = vec!["/bin/workload".to_owned(), "true".to_owned()];
        config["process"]["args"] = json!(args);
        config["process"]["terminal"] = json!(false);
        config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        // A host whose controllers are in hierarchies of version 1 has none for the second.
        if self.view == View::V2 {
            config["linux"]["resources"] = json!({"devices": config["linux"]["resources"]["devices"]});
        }
        // A host's own limit may be below what the engine has asked for.
        if let Some(limits) = config["process"]["rlimits"].as_array_mut() {
            for limit in limits {
                (limit["soft"], limit["hard"]) = (json!(1024), json!(1024));
            }
        }
        let mut dir = self.dir.join("bundles").join(id);
        let mut number = 0;
        while dir.exists() {
            number += 1;
            dir.set_file_name(format!("{id}.{number}"));
        }
        fs::create_dir_all(&dir)?;
        for name in ["rootfs", "files"] {
            symlink(self.dir.join(name), dir.join(name))?;
        }
        // youki takes no relative sources.
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            let source = mount["source"].as_str().filter(|source| source.starts_with("files/"));
            if let Some(source) = source.map(|source| self.dir.join(source)) {
                mount["source"] = json!(source);
            }
        }
        // Debian's runc takes no link for a root.
        config["root"]["path"] = json!(self.dir.join("rootfs"));
        let bundle = Bundle { id: id.to_owned(), dir, args, config };
        bundle.write()?;
        Ok(bundle)
    }
}

impl Bundle {
    /// Runs another work of the workload.
    pub fn work(mut self, name: &str) -> Result<Bundle> {
        self.args[1] = name.to_owned();
        let args = json!(self.args);
        self.edit(|config| config["process"]["args"] = args)
    }

    /// Changes the configuration.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Result<Bundle> {
        change(&mut self.config);
        self.write()?;
        Ok(self)
    }

    fn write(&self) -> Result<()> {
        let path = self.dir.join("config.json");
        fs::write(&path, self.config.to_string()).with_context(|| format!("write {}", path.display()))
    }
}
