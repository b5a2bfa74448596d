//! Docker, with the runtime as its default.

mod containers;
mod daemon;
mod storm;
mod swarm;

use crate::harness::{Need, Output, World, wait_until};
use std::sync::OnceLock;

const NEED: Need = Need::Program("dockerd");

/// Docker's world, in which its daemon runs.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| start("docker", ""))
}

/// A world with a daemon that gets these options besides its configuration.
fn start(name: &str, options: &str) -> World {
    let world = World::new(name);
    world.configure("Docker");
    // Whose ids --userns-remap takes.
    for file in ["/etc/subuid", "/etc/subgid"] {
        world.write(file, "daemon:100000:65536\n");
    }
    world.daemon("dockerd", &format!("dockerd {options}"), "docker version");
    world.sh("docker load -i /var/tmp/images/bb.tar && docker tag localhost/bb:1 bb:1").ok();
    world
}

/// A command line of Docker.
fn docker(args: &str) -> Output {
    world().sh(&format!("docker {args}"))
}

/// `docker run --rm` of a shell script, without a network.
fn run(options: &str, script: &str) -> Output {
    docker(&format!("run --rm --network none {options} bb:1 sh -c '{script}'"))
}

/// A container that runs in the background until it gets SIGTERM, on which it says `bye` and exits with 4.
struct Container {
    name: &'static str,
    id: String,
}

impl Container {
    fn up(name: &'static str, options: &str) -> Self {
        let script = "trap \"echo bye; exit 4\" TERM; echo started; while :; do sleep 300 & wait; done";
        let c = Self::of(name, &format!("--network none {options}"), script);
        wait_until("it has started", || c.cmd("logs", "").stdout.contains("started"));
        c
    }

    fn of(name: &'static str, options: &str, script: &str) -> Self {
        let out = docker(&format!("run -d --name {name} {options} bb:1 sh -c '{script}'")).ok();
        Container { name, id: out.stdout.trim().to_owned() }
    }

    /// Runs a command of Docker on it: the words before its name, and those after it.
    fn cmd(&self, before: &str, after: &str) -> Output {
        docker(&format!("{before} {} {after}", self.name))
    }

    fn inspect(&self, what: &str) -> String {
        self.cmd(&format!("inspect --format '{{{{{what}}}}}'"), "").ok().stdout.trim().to_owned()
    }

    /// Removes it; nothing of it is left.
    fn remove(self) {
        self.cmd("rm -f", "").ok();
        world().assert_nothing_left(&self.id);
    }
}
