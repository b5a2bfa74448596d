//! Many at a time, and deaths in the middle.

use super::{Container, NEED, new_world, podman, world};
use crate::harness::{Gate, MOMENTS, requires, wait_until};

#[test]
fn thirty_at_a_time() {
    requires!(NEED);
    let out = world()
        .sh("for i in $(seq 30); do podman run -d --name storm-$i --network none bb:1 sleep 300 & done; wait")
        .ok();
    let ids: Vec<&str> = out.lines();
    assert_eq!(ids.len(), 30, "{out}");
    let running = podman("ps -q --filter name=storm- --filter status=running").ok();
    assert_eq!(running.lines().len(), 30, "{running}");
    world().sh("for i in $(seq 30); do podman rm -f -t 0 storm-$i & done; wait").ok();
    for id in ids {
        world().assert_nothing_left(id);
    }
}

/// Podman, and what conmon calls when a container has ended.
///
/// Podman 4.3 that is killed before the runtime's `create` has come back to it has not recorded that there is a container of
/// the runtime's: its `rm` forgets the id without a word to the runtime, and leaves all of it, conmon too. With runc
/// 1.1 it leaves the same.
#[test]
fn podman_is_killed() {
    requires!(NEED);
    killed("podman-killed", |moment| ("-x podman", moment.starts_with("create")));
}

/// The one that waits for the runtime; of an exec that is another than the container's.
#[test]
fn conmon_is_killed() {
    requires!(NEED);
    killed("conmon-killed", |moment| match moment.starts_with("exec") {
        true => ("-f '^[^ ]*conmon .*--exec-attach'", false),
        false => ("-x conmon", false),
    });
}

/// Nobody watches over the container any more.
///
/// Podman 4.3 does not call the runtime's `delete` for a container that it finds without a conmon, and forgets the id: with
/// runc 1.1, too, state and cgroup are left.
#[test]
fn the_conmon_of_a_container_is_killed() {
    requires!(NEED);
    let c = Container::up("orphan", "");
    let pid = c.inspect(".State.ConmonPid");
    world().sh(&format!("kill -9 {pid}")).ok();
    c.cmd("exec", "true").ok();
    c.cmd("rm -f -t 0", "").ok();
    podman("container exists orphan").fails(1, &[]);
    world().sh(&format!("orlop delete --force {}", c.id)).ok();
    world().assert_nothing_left(&c.id);
}

/// Podman removes whatever there is, and then everything is as it was before. `round` names who is killed at a moment, and
/// whether Podman forgets the container then, so that it is removed by the runtime alone.
fn killed(name: &str, round: impl Fn(&str) -> (&'static str, bool)) {
    let world = new_world(name);
    let podman = |args: &str| world.sh(&format!("podman {args}"));
    let run = "run -d --name killed --cidfile /tmp/killed.id --network none bb:1 sleep 300";
    let gate = Gate::install(&world, || {
        podman(run).ok();
        podman("rm -f -t 0 killed").ok();
    });
    for moment in MOMENTS {
        world.sh("rm /tmp/killed.id").ok();
        let command = match moment.split_once('.') {
            Some(("create", _)) => run,
            Some(("exec", _)) => "exec killed true",
            _ => "rm -f -t 0 killed",
        };
        if command != run {
            podman(run).ok();
        }
        let (victims, forgotten) = round(moment);
        gate.kill_at(moment, &format!("podman {command}"), victims);
        // As whoever wants it removed does: once more, if need be.
        wait_until("Podman has removed it", || {
            podman("rm -f -t 0 killed");
            !podman("container exists killed").status.success()
        });
        if forgotten {
            world.sh("orlop delete --force $(cat /tmp/killed.id)").ok();
        }
        // Podman's own mount of its storage onto itself comes and goes with each command; two at a time may leave it.
        gate.assert_idle_but(moment, |change| change.ends_with(" /var/lib/containers/storage/overlay"));
    }
}
