//! A swarm of one node.

use super::{NEED, docker, world};
use crate::harness::{Need, requires, wait_until};

#[test]
fn a_service_is_scaled() {
    requires!(NEED, Need::Program("iptables"));
    // Swarm wants an interface with an address to advertise.
    docker("swarm init --advertise-addr 127.0.0.1").ok();
    let options = "--name web --detach --replicas 3 --limit-memory 64m --stop-grace-period 1s";
    docker(&format!("service create {options} localhost/bb:1 sleep 300")).ok();
    let ids = || {
        docker("ps -q --no-trunc --filter label=com.docker.swarm.service.name=web --filter status=running")
            .ok()
    };
    let scale = |count: usize| {
        docker(&format!("service scale --detach web={count}")).ok();
        wait_until(&format!("{count} replicas"), || ids().lines().len() == count);
        ids()
    };
    let limit = if Need::CgroupV1.is_met() { "memory.limit_in_bytes" } else { "memory.max" };
    for id in scale(3).lines() {
        assert_eq!(world().cgroup_file(id, limit), "67108864");
    }
    let all = scale(10);
    let kept = scale(3);
    let gone = |id: &str| {
        wait_until("it is gone", || !docker(&format!("inspect {id}")).status.success());
        world().assert_nothing_left(id);
    };
    all.lines().into_iter().filter(|id| !kept.stdout.contains(id)).for_each(gone);
    docker("service rm web").ok();
    kept.lines().into_iter().for_each(gone);
    docker("swarm leave --force").ok();
}
