//! Pods: containers that share the namespaces of a first one.

use super::{NEED, podman, world};
use crate::harness::{Need, requires, wait_until};

#[test]
fn a_pod_shares_namespaces() {
    requires!(NEED);
    podman("pod create --name pod --network none --share ipc,net,uts,pid").ok();
    let one = podman("run -d --pod pod --name pod-one bb:1 sh -c 'hostname; sleep 300'").ok();
    let two = podman("run -d --pod pod --name pod-two bb:1 sleep 300").ok();
    for kind in ["ipc", "net", "uts", "pid"] {
        let of = |name: &str| podman(&format!("exec {name} readlink /proc/self/ns/{kind}")).ok().stdout;
        assert_eq!(of("pod-one"), of("pod-two"), "{kind}");
    }
    let seen = podman("exec pod-two ps").ok();
    assert_eq!(seen.stdout.matches("sleep").count(), 3, "the first one, too: {seen}");
    podman("pod pause pod").ok();
    assert_eq!(podman("inspect --format '{{.State.Status}}' pod-two").ok().stdout, "paused\n");
    podman("pod unpause pod").ok();
    podman("pod stop -t 0 pod").ok();
    podman("pod start pod").ok();
    assert_eq!(podman("inspect --format '{{.State.Status}}' pod-two").ok().stdout, "running\n");
    podman("pod rm -f -t 0 pod").ok();
    for id in [one, two] {
        world().assert_nothing_left(id.stdout.trim());
    }
}

#[test]
fn kube_play() {
    requires!(NEED, Need::File("/usr/lib/cni/bridge"));
    world().write("/tmp/pod.yaml", include_str!("../pod.yaml"));
    podman("kube play /tmp/pod.yaml").ok();
    wait_until("the reader has read", || podman("logs played-reader").stdout == "from the other\n");
    let id = podman("inspect --format '{{.Id}}' played-writer").ok();
    let id = id.stdout.trim();
    if crate::harness::skip_unless(Need::CgroupV1) {
        assert_eq!(world().cgroup_file(id, "memory.limit_in_bytes"), "67108864");
    }
    assert_eq!(podman("exec played-reader id -u").ok().stdout, "1000\n");
    podman("kube down /tmp/pod.yaml").ok();
    world().assert_nothing_left(id);
}
