//! Engines where systemd is the init and cgroups are of version 2: on the test machine, for all that a world of its own
//! on another host can't show.

mod lives;
mod networks;
mod podman;

use crate::harness::{Need, Output, World, wait_until};
use std::path::PathBuf;
use std::sync::Mutex;

const NEED: Need = Need::Machine;

/// Who runs Podman, and who manages its cgroups. Commands have the options that say so.
pub struct Podman {
    pub world: World,
    manager: &'static str,
    systemctl: &'static str,
}

impl Podman {
    /// As root; the manager is systemd or cgroupfs.
    fn root(manager: &'static str) -> Self {
        Self::new(true, manager)
    }

    /// As an ordinary user in a session with a delegated cgroup.
    fn user(manager: &'static str) -> Self {
        Self::new(false, manager)
    }

    /// As root or as an ordinary user.
    pub fn new(root: bool, manager: &'static str) -> Self {
        let (world, systemctl) = match root {
            true => (World::machine(), "systemctl"),
            false => (World::user(), "systemctl --user"),
        };
        static READY: Mutex<Vec<&str>> = Mutex::new(Vec::new());
        let mut ready = READY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if ready.is_empty() {
            World::machine().configure("Podman");
            let text = "[containers]\nlog_driver = \"k8s-file\"\n[engine]\nevents_logger = \"file\"\n\
                        cgroup_manager = \"systemd\"\ninfra_image = \"localhost/pause:1\"\n";
            world.write("/etc/containers/containers.conf.d/test.conf", text);
            // Whose ids --userns=auto takes. It has to exist, says libsubid of today.
            World::machine().sh("useradd --system containers").ok();
            for file in ["/etc/subuid", "/etc/subgid"] {
                World::machine().append(file, "containers:1000000:1000000\n");
            }
        }
        let podman = Podman { world, manager, systemctl };
        if !ready.contains(&systemctl) {
            for image in ["bb", "pause"] {
                podman.cmd(&format!("load -i /var/tmp/images/{image}.tar")).ok();
            }
            ready.push(systemctl);
        }
        podman
    }

    /// A command line of Podman.
    fn cmd(&self, args: &str) -> Output {
        self.world.sh(&format!("podman --cgroup-manager {} {args}", self.manager))
    }

    /// `podman run --rm` of a shell script, with options.
    fn run(&self, options: &str, script: &str) -> Output {
        self.cmd(&format!("run --rm {options} bb:1 sh -c '{script}'"))
    }

    /// A container that runs in the background until it gets SIGTERM, on which it says `bye` and exits with 4.
    fn up(&self, name: &str, options: &str) -> String {
        let script =
            "trap \"echo bye; exit 4\" TERM; sleep 300 & echo started; while :; do wait; sleep 300 & done";
        let out = self.cmd(&format!("run -d --name {name} {options} bb:1 sh -c '{script}'")).ok();
        wait_until("it has started", || self.cmd(&format!("logs {name}")).stdout.contains("started"));
        out.stdout.trim().to_owned()
    }

    fn inspect(&self, name: &str, what: &str) -> String {
        self.cmd(&format!("inspect --format '{{{{{what}}}}}' {name}")).ok().stdout.trim().to_owned()
    }

    /// Removes a container; nothing of it is left, not even in systemd.
    fn remove(&self, name: &str, id: &str) {
        self.cmd(&format!("rm -f -t 0 {name}")).ok();
        self.world.assert_nothing_left(id);
        let units = self.world.sh(&format!("{} list-units --all --plain '*{id}*'", self.systemctl)).ok();
        assert!(!units.stdout.contains(id), "{units}");
    }
}

/// The directory of a cgroup that Podman names.
fn cgroup(path: &str) -> PathBuf {
    PathBuf::from("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}
