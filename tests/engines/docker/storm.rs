//! Many at a time.

use super::{Container, NEED, docker, world};
use crate::harness::{requires, wait_until};

#[test]
fn thirty_at_a_time() {
    requires!(NEED);
    let out = world()
        .sh("for i in $(seq 30); do docker run -d --name storm-$i --network none bb:1 sleep 300 & done; wait")
        .ok();
    let ids: Vec<&str> = out.lines();
    assert_eq!(ids.len(), 30, "{out}");
    let running = docker("ps -q --filter name=storm- --filter status=running").ok();
    assert_eq!(running.lines().len(), 30, "{running}");
    world().sh("for i in $(seq 30); do docker rm -f storm-$i & done; wait").ok();
    for id in ids {
        world().assert_nothing_left(id);
    }
}

#[test]
fn the_shim_is_killed() {
    requires!(NEED);
    let c = Container::up("shimless", "");
    world().sh(&format!("pkill -9 -f '[c]ontainerd-shim.*-id {}'", c.id)).ok();
    wait_until("dockerd has seen it", || c.inspect(".State.Status") == "exited");
    // containerd takes the dead shim's folder away a little later. Where the machine is so slow that it gives up, after
    // 5 s, dockerd refuses every start with "file exists", with runc, too.
    wait_until("it starts again", || c.cmd("start", "").status.success());
    c.remove();
}
