//! Daemons of their own: one that gives every container a user namespace, one that is killed.

use super::{NEED, start};
use crate::harness::{Gate, MOMENTS, Need, World, requires, wait_until};

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

/// A new daemon finds what containerd has made of it meanwhile.
///
/// A dockerd 20.10 that comes again does not ask containerd for the task of a container that it has not recorded as started:
/// its `rm` leaves task and shim of one that was being created. With runc 1.1 it leaves the same.
#[test]
fn the_daemon_is_killed() {
    requires!(NEED);
    killed("dockerd-killed", "-x dockerd", |moment| moment.starts_with("create"));
}

/// containerd finds the shim gone, cleans up by the runtime alone, and tells dockerd.
#[test]
fn the_shim_is_killed_at_work() {
    requires!(NEED);
    killed("docker-shim-killed", "-f '^[^ ]*containerd-shim'", |_| false);
}

/// Docker removes whatever there is, and then everything is as it was before. `forgotten` says at which moments Docker
/// forgets the container, so that it is removed by the runtime alone.
fn killed(name: &str, victims: &str, forgotten: impl Fn(&str) -> bool) {
    let world = World::new(name);
    start(&world, "", "docker");
    let docker = |args: &str| world.sh(&format!("docker {args}"));
    let run = "run -d --name killed --cidfile /tmp/killed.id --network none bb:1 sleep 300";
    let gate = Gate::install(&world, || {
        docker(run).ok();
        docker("rm -f killed").ok();
    });
    for moment in MOMENTS {
        world.sh("rm /tmp/killed.id").ok();
        let command = match moment.split_once('.') {
            Some(("create", _)) => run,
            Some(("exec", _)) => "exec killed true",
            _ => "rm -f killed",
        };
        if command != run {
            docker(run).ok();
        }
        gate.kill_at(moment, &format!("docker {command}"), victims);
        if !world.sh("pgrep -x dockerd").status.success() {
            world.sh("rm -f /run/docker.pid").ok();
            world.daemon("dockerd", "dockerd", "docker version");
        }
        // One that is still dying, to the daemon, may be refused at first.
        wait_until("it is removed", || {
            docker("rm -f killed");
            docker("ps -aq").ok().stdout.is_empty()
        });
        if forgotten(moment) {
            let remove = "orlop --root /run/docker/runtime-runc/moby delete --force $(cat /tmp/killed.id)";
            world.sh(&format!("pkill -9 -f '^[^ ]*containerd-shim'; {remove}")).ok();
        }
        gate.assert_idle(moment);
    }
}
