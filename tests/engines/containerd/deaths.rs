//! Parts of containerd that are killed in the middle of what they do.

use super::{IMAGE, NEED, RUNTIME, Task, configure, ctr, start, world};
use crate::harness::{World, requires, wait_until};

/// Where the shim has its containers' states.
const ROOT: &str = "/run/containerd/runc/default";

/// containerd finds its shim gone, and cleans up by the runtime alone.
#[test]
fn the_shim_is_killed() {
    requires!(NEED);
    for (id, moment) in [("shimless-a", "0"), ("shimless-b", "0.02"), ("shimless-c", "0.1")] {
        Task::up(id, "");
        let exec = world().spawn(&format!("sleep {moment}; ctr task exec --exec-id e-{id} {id} true"));
        world().sh(&format!("pkill -9 -f '[c]ontainerd-shim.*-id {id}'")).ok();
        drop(exec.wait());
        wait_until("it is removed", || {
            ctr(&format!("task rm -f {id}"));
            let gone = ctr(&format!("container rm {id}"));
            gone.status.success() || gone.stderr.contains("not found")
        });
        // ctr's own pipes are left.
        world().assert_container_gone(id, ROOT);
    }
}

/// `ctr` is killed at any moment of a run; a second one with the same id finds the place free after the removal.
#[test]
fn the_client_is_killed() {
    requires!(NEED);
    for moment in (2..40).step_by(4) {
        let run = format!("ctr run -d {RUNTIME} {IMAGE} clientless sleep 300");
        world().sh(&format!("timeout -s KILL 0.{moment:02} {run} </dev/null"));
        wait_until("it is removed", || {
            ctr("task rm -f clientless");
            let gone = ctr("container rm clientless");
            gone.status.success() || gone.stderr.contains("not found")
        });
        world().assert_container_gone("clientless", ROOT);
    }
}

/// What a part of containerd may be about when it is killed, in a shell, with a container of this id.
fn interrupted(world: &World, id: &str, command: &str, moment: &str, kill: &str) {
    if !command.starts_with("ctr run") {
        world.sh(&format!("ctr run -d {RUNTIME} {IMAGE} {id} sleep 300 </dev/null")).ok();
    }
    world.sh(&format!("{command} </dev/null >/dev/null 2>&1 & sleep {moment}; {kill}; wait"));
}

/// Calls with each command line and each moment, and an id, which is a new one each time: containerd does not always
/// forget its own part of a container, whatever the runtime is.
fn each(prefix: &str, check: impl Fn(&str, &str, &str)) {
    let mut count = 0;
    for command in ["run -d RUNTIME IMAGE ID sleep 300", "task exec --exec-id in ID true", "task rm -f ID"] {
        for moment in ["0.02", "0.06", "0.12", "0.2"] {
            let id = format!("{prefix}-{count}");
            let command = command.replace("RUNTIME", RUNTIME).replace("IMAGE", IMAGE).replace("ID", &id);
            check(&id, &format!("ctr {command}"), moment);
            count += 1;
        }
    }
}

/// The shim is killed while the runtime works for it.
#[test]
fn the_shim_is_killed_at_work() {
    requires!(NEED);
    each("shimwork", |id, command, moment| {
        let kill = format!("pkill -9 -f '[c]ontainerd-shim.*-id {id} '");
        interrupted(world(), id, command, moment, &kill);
        assert_removable(world(), id);
    });
}

/// containerd comes again, and finds what its shims have made of it meanwhile.
#[test]
fn containerd_is_killed() {
    requires!(NEED);
    let world = World::new("containerd-killed");
    configure(&world, false);
    start(&world);
    each("orphan", |id, command, moment| {
        interrupted(&world, id, command, moment, "pkill -9 -x containerd");
        wait_until("it has ended", || !world.sh("pgrep -x containerd").status.success());
        world.daemon("containerd", "containerd", "ctr version");
        assert_removable(&world, id);
    });
}

/// A container of which nobody knows how far it has come can be removed. One that its shim was creating may be unknown
/// to a new containerd, whatever the runtime is: then by the runtime alone.
#[track_caller]
fn assert_removable(world: &World, id: &str) {
    wait_until("it is removed", || {
        world.sh(&format!("ctr task rm -f {id}"));
        let gone = world.sh(&format!("ctr container rm {id}"));
        gone.status.success() || gone.stderr.contains("not found")
    });
    wait_until("nothing of it is left", || {
        world.sh(&format!("orlop --root {ROOT} delete --force {id}"));
        !world.path(ROOT).join(id).exists() && world.cgroups(id).is_empty()
    });
}
