//! Docker, with the runtime as its default.

mod containers;
mod daemon;
mod storm;
mod swarm;

use crate::harness::container::{self, Engine};
use crate::harness::{Need, Output, World};
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
