//! A world of its own for one engine, made by `world.sh`: it sees the host's programs, and nothing that it
//! does is seen by the host. The engine is configured by the very text of docs/engines.md. A world may also be a
//! machine that is thrown away afterwards, where engines find a systemd that answers.

use super::cgroups::{named, processes, roots};
use super::mountinfo::mounts;
use super::running::{poll_until, wait_until};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// What an engine runs in. It ends with this process, because the pipe to it does.
pub struct World {
    dir: PathBuf,
    /// Its first process, as the host numbers it.
    init: i32,
    /// The cgroup on every hierarchy that it takes for the root.
    cgroup: String,
    entry: Entry,
}

/// The id of the machine's ordinary user.
const USER: u32 = 1000;

/// How commands get into it.
enum Entry {
    /// By nsenter(1); its first process ends with this child.
    Namespaces { _child: Child },
    /// They are there already.
    Machine,
    /// As an ordinary user of the machine, in a session with a delegated cgroup.
    User,
}

/// Where the runtime's states are: Podman's, and with `RUNTIME=runc`, for a comparison; those of containerd and Docker.
const STATES: [&str; 5] = [
    "/run/orlop",
    "/run/runc",
    "/run/containerd/runc/default",
    "/run/containerd/runc/k8s.io",
    "/run/docker/runtime-runc/moby",
];

/// Runs a command in the cgroups of the world, where nsenter(1) does not put it.
const JOIN: &str = r#"cd /; for root in $(awk '/ - cgroup2? / {print $5}' /proc/self/mountinfo); do
echo 0 >$root/cgroup.procs; done; eval "$1""#;

impl World {
    /// A world with the images `bb` and `pause` as `/images/*.tar`.
    pub fn new(name: &str) -> Self {
        super::inherited::pass_nothing_on();
        let cgroup = format!("oe-{name}-{}", std::process::id());
        let temp = std::env::var_os("TMPDIR").map_or(PathBuf::from("/var/tmp"), PathBuf::from);
        let dir = temp.join(&cgroup);
        fs::create_dir_all(dir.join("io")).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/harness/world.sh");
        let mut command = Command::new("setsid");
        command.args(["sh", "-eu", script]).arg(&dir).arg(&cgroup).arg(runtime());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the world of {name} can't be made");
        let root = roots()[0].join(&cgroup);
        let init = processes(&root).into_iter().find(|pid| is_first(*pid)).unwrap();
        let world = World { dir, init, cgroup, entry: Entry::Namespaces { _child: child } };
        super::image::make(&world);
        world
    }

    /// The test machine itself, with the same images and the runtime where docs/engines.md has it.
    pub fn machine() -> Self {
        static PREPARED: Once = Once::new();
        let world = World { dir: "/".into(), init: 1, cgroup: String::new(), entry: Entry::Machine };
        PREPARED.call_once(|| {
            super::inherited::pass_nothing_on();
            fs::create_dir_all("/io").unwrap();
            fs::create_dir_all("/var/tmp/images").unwrap();
            fs::copy(runtime(), "/usr/local/sbin/orlop").unwrap();
            super::image::make(&world);
        });
        world
    }

    /// The test machine, as an ordinary user sees it.
    pub fn user() -> Self {
        World { entry: Entry::User, ..Self::machine() }
    }

    /// A file of the world, by its path in there. `/io` is the test's own and not seen by the engine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path.trim_start_matches('/'))
    }

    /// Writes a file that only this host makes necessary. One below `/tmp`, with its directory, is the user's.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        let dir = path.parent().unwrap();
        fs::create_dir_all(dir).unwrap();
        fs::write(&path, text).unwrap();
        if let (Entry::User, true) = (&self.entry, dir.starts_with("/tmp/")) {
            for path in [dir, &path] {
                chown(path, Some(USER), Some(USER)).unwrap();
            }
        }
    }

    /// Adds to a file.
    pub fn append(&self, path: &str, text: &str) {
        let before = fs::read_to_string(self.path(path)).unwrap_or_default();
        self.write(path, &(before + text));
    }

    /// Writes the files that this section of docs/engines.md shows.
    pub fn configure(&self, section: &str) {
        for (path, text) in super::docs::files(section) {
            self.write(&path, &text);
        }
    }

    /// What a shell command is to the world's entry. To the user it goes by a file: systemd-run(1) makes something of the dollars in its
    /// arguments, since version 262 even for a scope.
    fn line(&self, script: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !matches!(self.entry, Entry::User) {
            return script.to_owned();
        }
        let file = format!("/io/{}.sh", NEXT.fetch_add(1, Ordering::Relaxed));
        fs::write(&file, script).unwrap();
        format!("sh {file}")
    }

    pub(super) fn command(&self, script: &str) -> Command {
        let (program, args) = match self.entry {
            Entry::Namespaces { .. } => {
                let target = format!("--target={}", self.init);
                ("nsenter", vec!["--all".into(), target, "sh".into(), "-c".into(), JOIN.into(), "sh".into()])
            }
            Entry::Machine => ("sh", vec!["-c".to_owned()]),
            Entry::User => ("asuser", Vec::new()),
        };
        let mut command = Command::new(program);
        command.args(args).arg(self.line(script));
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/root").env("TERM", "xterm");
        command
    }

    /// Starts a daemon of the world, and waits until a command that asks it something succeeds. What it
    /// logs is in `/var/log`.
    pub fn daemon(&self, name: &str, script: &str, ready: &str) {
        self.sh(&format!("setsid {script} >/var/log/{name}.log 2>&1 </dev/null &")).ok();
        wait_until(name, || self.sh(ready).status.success());
    }

    /// The cgroups whose name contains `text`, of all hierarchies.
    pub fn cgroups(&self, text: &str) -> Vec<PathBuf> {
        roots().iter().flat_map(|root| named(&root.join(&self.cgroup), text)).collect()
    }

    /// A file of the one cgroup of a v1 controller, or of the v2 tree, whose name contains `text`.
    #[track_caller]
    pub fn cgroup_file(&self, text: &str, name: &str) -> String {
        let own = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains(text);
        let files = self.cgroups(text).into_iter().filter(own).map(|path| path.join(name));
        let found: Vec<PathBuf> = files.filter(|path| path.exists()).collect();
        assert!(!found.is_empty(), "no {name} of {text}: {:#?}", self.cgroups(text));
        fs::read_to_string(&found[0]).unwrap().trim().to_owned()
    }

    /// Whether the cgroup is frozen by either version's freezer; a hybrid host has both.
    pub fn is_frozen(&self, cgroup: &str) -> bool {
        let states = self.cgroups(cgroup).into_iter().flat_map(|path| {
            ["freezer.state", "cgroup.events"]
                .map(|file| fs::read_to_string(path.join(file)).unwrap_or_default())
        });
        states.into_iter().any(|state| state.contains("FROZEN") || state.contains("frozen 1"))
    }

    /// What is left of containers whose ids contain `id`: cgroups, mounts, processes, entries of /run.
    fn left(&self, id: &str) -> Vec<String> {
        let cgroups = self.cgroups(id).into_iter().map(|path| format!("cgroup {}", path.display()));
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", self.init)).unwrap();
        let points = mounts(&text).into_iter().map(|mount| mount.point).filter(|point| point.contains(id));
        let processes = processes_named(id, self.init).into_iter().map(|line| format!("process {line}"));
        let files = entries_named(&self.path("/run"), id);
        let files = files.into_iter().map(|path| format!("file {}", path.display()));
        cgroups.chain(points.map(|point| format!("mount {point}"))).chain(processes).chain(files).collect()
    }

    /// All mounts, cgroups and processes of a world that no other test uses, and the runtime's states. What an engine
    /// forgets of its own files is not looked at.
    pub fn traces(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", self.init)).unwrap();
        let points =
            mounts(&text).into_iter().map(|mount| format!("mount {} {}", mount.fs_type, mount.point));
        let cgroups = self.cgroups("").into_iter().map(|path| format!("cgroup {}", path.display()));
        let processes = processes_below(&self.cgroup).into_iter().map(|line| format!("process {line}"));
        let states = STATES.iter().flat_map(|root| fs::read_dir(self.path(root)).into_iter().flatten());
        let states = states.flatten().map(|entry| format!("state {}", entry.path().display()));
        let mut traces: Vec<String> = points.chain(cgroups).chain(processes).chain(states).collect();
        traces.sort();
        traces
    }

    /// The traces that were not there then, with a plus, and those that are lost, with a minus.
    pub fn changes_since(&self, before: &[String]) -> Vec<String> {
        let mut lost = before.to_vec();
        let mut found = Vec::new();
        for trace in self.traces() {
            match lost.iter().position(|known| *known == trace) {
                Some(known) => drop(lost.swap_remove(known)),
                None => found.push(format!("+ {trace}")),
            }
        }
        found.extend(lost.into_iter().map(|trace| format!("- {trace}")));
        found
    }

    /// Nothing is left of the container; shims and monitors may take a moment to end.
    #[track_caller]
    pub fn assert_nothing_left(&self, id: &str) {
        assert!(id.len() >= 3, "not the id of a container: {id:?}");
        if !poll_until(|| self.left(id).is_empty()) {
            panic!("left behind: {:#?}", self.left(id));
        }
    }
}

/// The runtime under test: `RUNTIME`, or the one that cargo has built.
pub fn runtime() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_orlop"));
    std::env::var_os("RUNTIME").map_or(built, PathBuf::from)
}

/// Whether a process is the first one of a pid namespace below this one.
fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    pids.split_whitespace().skip(1).last() == Some("1")
}

/// Processes of the world whose command line contains `text`.
fn processes_named(text: &str, init: i32) -> Vec<String> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/ipc")).ok();
    let own = namespace(&init.to_string());
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let lines = pids.filter(|pid| namespace(pid) == own).filter_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some(format!("{pid} {}", String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    lines.filter(|line| line.contains(text)).collect()
}

/// The command lines of all processes in this cgroup and below, containers' own too.
fn processes_below(cgroup: &str) -> Vec<String> {
    let part = format!("/{cgroup}/");
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let lines = pids.filter_map(|pid| {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let own = cgroups.lines().any(|cgroup| format!("{cgroup}/").contains(&part));
        // One that is dead, but not waited for yet, has no command line.
        (own && !line.is_empty()).then(|| String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.collect()
}

/// Files below a directory whose name contains `text`.
fn entries_named(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().contains(text) {
            found.push(entry.path());
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(entries_named(&entry.path(), text));
        }
    }
    found
}
