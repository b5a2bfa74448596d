//! The runtimes that take turns.

use crate::bundle::{Bundle, Scratch};
use crate::command::output;
use crate::{Options, View};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One of those that are compared.
pub struct Runtime {
    /// How the report calls it.
    pub name: String,
    /// Its executable.
    pub path: PathBuf,
    /// What it says about its version.
    pub version: String,
    /// Where it keeps its containers.
    root: PathBuf,
    /// Present where this is the floor, which has no commands but to run the Podman bundle.
    floor: Option<View>,
}

impl Runtime {
    /// Whether this is the floor.
    pub fn is_floor(&self) -> bool {
        self.floor.is_some()
    }

    /// A command of the runtime.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(&self.root).args(args);
        command
    }

    /// `run` of a bundle; the floor's equivalent.
    pub fn run(&self, bundle: &Bundle) -> Command {
        let Some(view) = self.floor else {
            let mut command = self.command(&["run", "--bundle"]);
            command.arg(&bundle.dir).arg(&bundle.id);
            return command;
        };
        let mut command = Command::new(&self.path);
        command.arg(bundle.dir.join("rootfs")).arg(bundle.dir.join("files")).arg(view.name());
        command.arg(cgroups(view).map(|dir| format!("{dir}/{}", bundle.id)).collect::<Vec<_>>().join(","));
        command.args(&bundle.args);
        command
    }

    /// `create` of a bundle.
    pub fn create(&self, bundle: &Bundle) -> Command {
        let mut command = self.command(&["create", "--bundle"]);
        command.arg(&bundle.dir).arg(&bundle.id);
        command
    }

    /// The status of a container, empty where there is none.
    pub fn status(&self, id: &str) -> String {
        let state = output(&mut self.command(&["state", id])).unwrap_or_default();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
        state["status"].as_str().unwrap_or_default().to_owned()
    }
}

/// The directories of the hierarchies that a runtime makes a cgroup in.
fn cgroups(view: View) -> Box<dyn Iterator<Item = String>> {
    const ROOT: &str = "/sys/fs/cgroup";
    if view == View::V2 {
        return Box::new(std::iter::once(ROOT.to_owned()));
    }
    let dirs = fs::read_dir(ROOT).into_iter().flatten().flatten();
    // Links such as cpu -> cpu,cpuacct are no hierarchies of their own.
    let dirs = dirs.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let dirs = dirs.map(|entry| format!("{ROOT}/{}", entry.file_name().to_string_lossy()));
    Box::new(dirs.filter(|dir| Path::new(dir).join("cgroup.procs").exists()))
}

/// orlop, the peers and the floor, each tried once; one that can't run a container is left out, and said so.
pub fn find(options: &Options, scratch: &Scratch) -> Result<Vec<Runtime>> {
    let mut found = vec![("orlop".to_owned(), options.orlop.clone())];
    if let Some(peers) = &options.peers {
        let lines = fs::read_to_string(peers).with_context(|| format!("read {}", peers.display()))?;
        for line in lines.lines() {
            let (name, path) = line.split_once(' ').context("a line of peers is not NAME PATH")?;
            found.push((name.to_owned(), path.into()));
        }
    }
    let mut runtimes = Vec::new();
    for (name, path) in found {
        let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
        let version = output(Command::new(&path).arg("--version"))?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        let root = scratch.state.join(&name);
        fs::create_dir_all(&root)?;
        runtimes.push(Runtime { name, path, version, root, floor: None });
    }
    let floor = options.floor.canonicalize().context("find the floor")?;
    let version = "the bare system calls".to_owned();
    runtimes.push(Runtime {
        name: "floor".into(),
        path: floor,
        version,
        root: PathBuf::new(),
        floor: Some(options.view),
    });

    let trial = scratch.podman("trial")?;
    runtimes.retain(|runtime| match crate::command::quiet(&mut runtime.run(&trial)) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("left out: {}: {error:#}", runtime.name);
            false
        }
    });
    if !runtimes.iter().any(|runtime| runtime.name == "orlop") {
        bail!("{} can't run a container", options.orlop.display());
    }
    Ok(runtimes)
}
