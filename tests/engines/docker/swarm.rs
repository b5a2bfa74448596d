//! A swarm of one node.

use super::{NEED, docker, world};
use crate::harness::{Need, requires, wait_until};

#[test]
fn a_service_is_scaled() {
    requires!(NEED, Need::Program("iptables"));
    // Swarm wants an interface with an address to advertise.
    docker("swarm init --advertise-addr 127.0.0.1").ok();
    docker("service create --name web --detach --replicas 3 --limit-memory 64m localhost/bb:1 sleep 300")
        .ok();
    let ids = || {
        docker("ps -q --no-trunc --filter label=com.docker.swarm.service.name=web --filter status=running")
            .ok()
    };
    for count in [3, 10, 3] {
        docker(&format!("service scale --detach web={count}")).ok();
        wait_until(&format!("{count} replicas"), || ids().lines().len() == count);
    }
    let ids = ids();
    docker("service rm web").ok();
    for id in ids.lines() {
        wait_until("it is gone", || !docker(&format!("inspect {id}")).status.success());
        world().assert_nothing_left(id);
    }
    docker("swarm leave --force").ok();
}
