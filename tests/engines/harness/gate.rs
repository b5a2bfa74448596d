//! A runtime that a test can hold at a moment of its choice, to kill whoever waits for it (`gate.sh`), and the comparison
//! of a world with what it was before. Only in a world that no other test uses.

use super::running::{poll_until, wait_until};
use super::world::World;
use std::fs;
use std::path::PathBuf;

/// The moments at which an engine may lose a part of itself: the runtime's command is about to run, waits for a hook of the
/// container, or has ended without having said so. An exec has no hooks.
pub const MOMENTS: [&str; 8] = [
    "create.before",
    "create.during",
    "create.after",
    "exec.before",
    "exec.after",
    "delete.before",
    "delete.during",
    "delete.after",
];

/// A gate before the runtime of a world, and what that world is like without a container.
pub struct Gate<'w> {
    world: &'w World,
    idle: Vec<String>,
}

impl<'w> Gate<'w> {
    /// Puts it there. `cycle` makes a container and removes it: what the engine makes once and keeps is not left behind.
    pub fn install(world: &'w World, cycle: impl Fn()) -> Self {
        world.write("/run/gate/gate.sh", include_str!("gate.sh"));
        let names =
            "mkdir held && mv orlop held && install -m 755 /run/gate/gate.sh orlop && ln -s orlop gate";
        world.sh(&format!("cd /usr/local/sbin && {names}")).ok();
        let before = world.traces();
        cycle();
        let busy = |trace: &String| trace.starts_with("+ process");
        wait_until("the cycle is over", || !world.changes_since(&before).iter().any(busy));
        Gate { world, idle: world.traces() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.path("/run/gate").join(name)
    }

    /// Runs a command line of the engine, and kills the processes that pgrep(1) finds with these arguments when the
    /// runtime has come to the moment: there are some, and they die before the runtime goes on. Afterwards both the
    /// command line and the runtime have ended.
    #[track_caller]
    pub fn kill_at(&self, moment: &str, script: &str, victims: &str) {
        fs::write(self.file(moment), "").unwrap();
        let engine = self.world.spawn(script);
        wait_until(moment, || self.file("reached").exists());
        let pids = self.world.sh(&format!("pgrep {victims}")).ok().lines().join(" ");
        self.world.sh(&format!("kill -9 {pids}")).ok();
        let alive = |pids: &str| self.world.sh(&format!("ps -p '{pids}'")).status.success();
        wait_until("it is dead", || !alive(&pids));
        fs::remove_file(self.file("reached")).unwrap();
        drop(engine.wait());
        let runtime = fs::read_to_string(self.file("pid")).unwrap();
        wait_until("the runtime has ended", || !alive(runtime.trim()));
    }

    /// Everything is as it was before the first container.
    #[track_caller]
    pub fn assert_idle(&self, after: &str) {
        self.assert_idle_but(after, |_| false);
    }

    /// The same, but for changes that are not the runtime's.
    #[track_caller]
    pub fn assert_idle_but(&self, after: &str, excused: impl Fn(&str) -> bool) {
        let changes = || {
            let changes = self.world.changes_since(&self.idle);
            changes.into_iter().filter(|change| !excused(change)).collect::<Vec<_>>()
        };
        if !poll_until(|| changes().is_empty()) {
            panic!("not as before, {after}: {:#?}", changes());
        }
    }
}
