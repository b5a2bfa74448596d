//! Many at a time, and deaths in the middle.

use super::{Container, NEED, podman, world};
use crate::harness::{requires, wait_until};

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

/// Podman 4.3 does not tell its runtime to delete a container that it finds without a conmon, whatever the runtime
/// is. Then the runtime itself removes all of it by the id.
fn assert_removable(id: &str) {
    world().sh(&format!("orlop delete --force {id}")).ok();
    world().assert_container_gone(id, "/run/orlop");
}

/// Whatever Podman was about when it was killed, what there is can be removed.
#[test]
fn podman_is_killed() {
    requires!(NEED);
    let id = "$(cat /tmp/killed.id)";
    for moment in (5..80).step_by(5) {
        let run = "podman run -d --name killed --cidfile /tmp/killed.id --network none bb:1 sleep 300";
        world().sh(&format!("rm -f /tmp/killed.id; timeout -s KILL 0.{moment:02} {run}"));
        podman("rm -f -t 0 killed");
        let known = world().sh(&format!("cat /tmp/killed.id && podman container exists {id}"));
        assert!(!known.status.success(), "after 0.{moment:02} s: {known}");
        if !known.stdout.is_empty() {
            assert_removable(known.stdout.trim());
        }
    }
    for command in ["exec killed sleep 300", "stop -t 1 killed", "rm -f -t 0 killed"] {
        for moment in [5, 15, 25, 40] {
            let id = podman("run -d --name killed --network none bb:1 sleep 300").ok();
            world().sh(&format!("timeout -s KILL 0.{moment:02} podman {command}"));
            podman("rm -f -t 0 killed");
            assert_removable(id.stdout.trim());
        }
    }
}

/// Nobody watches over the container any more.
#[test]
fn conmon_is_killed() {
    requires!(NEED);
    let c = Container::up("orphan", "");
    let pid = c.inspect(".State.ConmonPid");
    world().sh(&format!("kill -9 {pid}")).ok();
    c.cmd("exec", "true").ok();
    c.cmd("rm -f -t 0", "").ok();
    assert_removable(&c.id);
}

/// As soon as it is there, or a little later, while the runtime creates a container or a process for it, or removes one.
#[test]
fn conmon_is_killed_at_work() {
    requires!(NEED);
    let run = "run -d --name watched --cidfile /tmp/watched.id --network none bb:1 sleep 300";
    for (command, conmon) in [
        (run, "-n watched "),
        ("exec watched true", "-n watched .*--exec-attach"),
        ("rm -f -t 0 watched", "-n watched "),
    ] {
        for moment in ["0", "0.02", "0.04", "0.08", "0.16"] {
            world().sh("rm -f /tmp/watched.id").ok();
            if command != run {
                podman(run).ok();
            }
            let comes = format!("pgrep -f '[c]onmon .*{conmon}' >/dev/null || ! kill -0 $! 2>/dev/null");
            let kill = format!("pkill -9 -f '[c]onmon .*{conmon}'");
            world()
                .sh(&format!("podman {command} & until {comes}; do :; done; sleep {moment}; {kill}; wait"));
            // As whoever wants it removed does: once more, if need be.
            wait_until("Podman has removed it", || {
                podman("rm -f -t 0 watched");
                !podman("container exists watched").status.success()
            });
            let id = world().sh("cat /tmp/watched.id");
            let creates = format!("pgrep -f '[o]rlop .*create.*{}'", id.stdout.trim());
            wait_until("the runtime has ended", || !world().sh(&creates).status.success());
            assert_removable(id.ok().stdout.trim());
        }
    }
}
