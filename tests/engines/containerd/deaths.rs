//! Parts of containerd that are killed in the middle of what they do.

mod cri;

use super::{IMAGE, NEED, RUNTIME, configure, start};
use crate::harness::{Gate, MOMENTS, World, requires, wait_until};

/// Where the shim has its containers' states.
const ROOT: &str = "/run/containerd/runc/default";

/// containerd finds its shim gone, and cleans up by the runtime alone.
#[test]
fn the_shim_is_killed() {
    requires!(NEED);
    killed("shim-killed", &MOMENTS, "-f '^[^ ]*containerd-shim'", |_| Forgets::Nothing);
}

/// containerd comes again, and finds what its shims have made of it meanwhile.
///
/// A containerd 1.6 that comes again while or after a shim has created a container that the one before did not hear of knows no
/// such task, and leaves it and its shim. With runc 1.1 it leaves the same.
#[test]
fn containerd_is_killed() {
    requires!(NEED);
    killed("containerd-killed", &MOMENTS, "-x containerd", |moment| match moment.starts_with("create") {
        true => Forgets::Task,
        false => Forgets::Nothing,
    });
}

/// containerd gives up what it was doing for its client, and 1.6 may forget to end the shim. Of a container that is being
/// created then it may forget all: it removes what is there, while its shim goes on to create. With runc 1.1 the
/// same is left.
#[test]
fn the_client_is_killed() {
    requires!(NEED);
    // After a client of an exec containerd waits for half a minute.
    let moments: Vec<&str> = MOMENTS.into_iter().filter(|moment| !moment.starts_with("exec")).collect();
    killed("client-killed", &moments, "-x ctr", |moment| match moment.starts_with("create") {
        true => Forgets::Task,
        false => Forgets::Shim,
    });
}

/// What containerd leaves, whatever the runtime is.
enum Forgets {
    Nothing,
    /// A shim that has nothing to do.
    Shim,
    /// A task of which it denies to know, with its shim and the mount of its root.
    Task,
}

/// A world with a containerd that gives a shim a minute to clean up: by itself some seconds, which may be short where all
/// tests run at the same time.
fn patient(name: &str) -> World {
    let world = World::new(name);
    configure(&world, false);
    let kinds = ["cleanup", "load", "shutdown"];
    let timeouts = kinds.map(|kind| format!("\"io.containerd.timeout.shim.{kind}\" = \"1m\"\n")).concat();
    world.append("/etc/containerd/config.toml", &format!("[timeouts]\n{timeouts}"));
    start(&world);
    world
}

/// containerd removes whatever there is, and then everything is as it was before.
fn killed(name: &str, moments: &[&str], victims: &str, forgets: impl Fn(&str) -> Forgets) {
    let world = patient(name);
    let run = |id: &str| format!("ctr run -d {RUNTIME} {IMAGE} {id} sleep 300 </dev/null");
    let remove = |id: &str| {
        world.sh(&format!("ctr task rm -f {id}"));
        let gone = world.sh(&format!("ctr container rm {id}"));
        gone.status.success() || gone.stderr.contains("not found")
    };
    let gate = Gate::install(&world, || {
        world.sh(&run("first")).ok();
        assert!(remove("first"));
    });
    for moment in moments {
        // A new one each time: containerd does not always forget its own part of a container, whatever the runtime is.
        let id = moment.replace('.', "-");
        let command = match moment.split_once('.') {
            Some(("create", _)) => run(&id),
            Some(("exec", _)) => format!("ctr task exec --exec-id in {id} true"),
            _ => format!("ctr task rm -f {id}"),
        };
        if command != run(&id) {
            world.sh(&run(&id)).ok();
        }
        gate.kill_at(moment, &command, victims);
        if !world.sh("pgrep -x containerd").status.success() {
            world.daemon("containerd", "containerd", "ctr version");
        }
        wait_until("it is removed", || remove(&id));
        let shim = "pkill -9 -f '^[^ ]*containerd-shim'";
        match forgets(moment) {
            Forgets::Nothing => {}
            Forgets::Shim => {
                gate.assert_idle_but(moment, |change| change.contains("containerd-shim"));
                world.sh(shim);
            }
            Forgets::Task => {
                world.sh(&format!("ctr task ls | grep {id}")).fails(1, &[]);
                world.sh(&format!("{shim}; orlop --root {ROOT} delete --force {id}")).ok();
                world
                    .sh(&format!("umount /run/containerd/io.containerd.runtime.v2.task/default/{id}/rootfs"));
            }
        }
        gate.assert_idle(moment);
    }
}
