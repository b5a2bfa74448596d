//! Daemons of their own: one that gives every container a user namespace, one that is killed.

use super::{NEED, start};
use crate::harness::{Need, World, requires, wait_until};

/// A daemon that may be the second one of its machine.
#[test]
fn userns_remap() {
    requires!(NEED, Need::UserNamespace);
    let world = if Need::Machine.is_met() { World::machine() } else { World::new("remap") };
    // Whose ids it takes.
    for file in ["/etc/subuid", "/etc/subgid"] {
        world.append(file, "daemon:300000:65536\n");
    }
    let places = "--data-root /var/lib/remap --exec-root /run/remap -p /run/remap.pid --bridge none";
    let socket = "-H unix:///run/remap.sock";
    start(&world, &format!("--userns-remap daemon:daemon {places} {socket}"), &format!("docker {socket}"));
    let docker = |args: &str| world.sh(&format!("docker {socket} {args}"));

    let script = "id -u; cat /proc/self/uid_map; touch /new && stat -c %u /new";
    let out = docker(&format!("run --rm bb:1 sh -c '{script}'")).ok();
    let fields: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!((fields[0], fields[1], fields[3], fields[4]), ("0", "0", "65536", "0"), "{out}");
    assert_ne!(fields[2], "0");
    let id = docker("run -d --name held bb:1 sleep 300").ok();
    assert_eq!(docker("exec held id -u").ok().stdout, "0\n");
    docker("rm -f held").ok();
    world.assert_nothing_left(id.stdout.trim());
}

/// The daemon is killed in the middle of everything, and comes again: all can be removed.
#[test]
fn the_daemon_is_killed() {
    requires!(NEED);
    let world = World::new("killed");
    start(&world, "", "docker");
    let each = |command: &str| format!("for i in $(seq 8); do docker {command} & done");
    let start = each("run -d --name c$i --network none bb:1 sleep 300");
    let exec = each("exec c$i sleep 0.1");
    let remove = each("rm -f c$i");
    for (command, moments) in
        [(&start, ["0.3", "1", "2"]), (&exec, ["0.1", "0.3", "0.6"]), (&remove, ["0.1", "0.3", "0.6"])]
    {
        for moment in moments {
            if *command != start {
                world.sh(&format!("{start}; wait")).ok();
            }
            let kill = "kill -9 $(cat /run/docker.pid)";
            world.sh(&format!("({command}) >/dev/null 2>&1; sleep {moment}; {kill}")).ok();
            wait_until("it has ended", || !world.sh("kill -0 $(cat /run/docker.pid)").status.success());
            assert_all_removable(&world);
        }
    }
}

/// A new daemon can remove what the one before has left.
fn assert_all_removable(world: &World) {
    world.sh("rm -f /run/docker.pid").ok();
    world.daemon("dockerd", "dockerd", "docker version");
    let ids = world.sh("docker ps -aq --no-trunc").ok();
    // One that is still dying, to the new daemon, may be refused at first.
    wait_until("all are removed", || {
        world.sh("docker ps -aq | xargs -r docker rm -f");
        world.sh("docker ps -aq").ok().stdout.is_empty()
    });
    for id in ids.lines() {
        // One that was being created may be unknown to the new daemon, whatever the runtime is.
        let root = "/run/docker/runtime-runc/moby";
        world.sh(&format!("orlop --root {root} delete --force {id}")).ok();
        world.assert_container_gone(id, root);
    }
}
