//! Docker, with the runtime as its default; on the test machine with cgroups that systemd manages.

mod containers;
mod daemon;
mod runtimes;
mod storm;
mod swarm;

use crate::harness::container::{self, Engine};
use crate::harness::{Need, Output, World};
use std::sync::OnceLock;

const NEED: Need = Need::Program("dockerd");

/// Docker's world, in which its daemon runs.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let machine = Need::Machine.is_met();
        let world = if machine { World::machine() } else { World::new("docker") };
        start(&world, "", "docker");
        world
    })
}

/// Starts a daemon that gets these options besides its configuration, and answers this client.
fn start(world: &World, options: &str, client: &str) {
    world.configure("Docker");
    // As docs/engines.md says of BuildKit.
    let buildkit = "env DOCKER_BUILDKIT_RUNC_COMMAND=/usr/local/sbin/orlop";
    world.daemon("dockerd", &format!("{buildkit} dockerd {options}"), &format!("{client} version"));
    world.sh(&format!("{client} load -i /var/tmp/images/bb.tar && {client} tag localhost/bb:1 bb:1")).ok();
}

struct Docker;

impl Engine for Docker {
    const NAME: &'static str = "docker";
    const REMOVE: &'static str = "rm -f";
    fn world() -> &'static World {
        world()
    }
}

type Container = container::Container<Docker>;

fn docker(args: &str) -> Output {
    container::command::<Docker>(args)
}

fn run(options: &str, script: &str) -> Output {
    container::run::<Docker>(options, script)
}
