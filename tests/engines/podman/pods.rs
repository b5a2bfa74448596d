//! Pods: containers that share the namespaces of a first one.

use super::{NEED, podman, world};
use crate::harness::{Need, requires, wait_until};
use std::path::PathBuf;

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
    let ids = ids_of("pod");
    podman("pod rm -f -t 0 pod").ok();
    assert!([one, two].iter().all(|one| ids.iter().any(|id| id == one.stdout.trim())), "{ids:?}");
    assert_gone("pod", &ids);
}

/// The ids of a pod, its first container and the others.
fn ids_of(pod: &str) -> Vec<String> {
    let format = "{{.ID}}{{range .Containers}} {{.ID}}{{end}}";
    let out = podman(&format!("pod inspect --format '{format}' {pod}")).ok();
    let ids: Vec<String> = out.stdout.split_whitespace().map(str::to_owned).collect();
    assert_eq!(ids.len(), 4, "{out}");
    ids
}

/// Nothing is left of the pod, its first container and the others.
#[track_caller]
fn assert_gone(pod: &str, ids: &[String]) {
    podman(&format!("pod exists {pod}")).fails(1, &[]);
    let [pod, containers @ ..] = ids else { panic!("no ids") };
    for id in containers {
        world().assert_nothing_left(id);
    }
    // Podman 4.3 forgets its cgroup where there are no controllers, whatever the runtime is.
    let mut left = world().cgroups(pod);
    left.retain(|path| {
        !path.starts_with("/sys/fs/cgroup/systemd") && !path.starts_with("/sys/fs/cgroup/unified")
    });
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn kube_play() {
    requires!(NEED, Need::File("/usr/lib/cni/bridge"));
    world().write("/tmp/pod.yaml", include_str!("../pod.yaml"));
    podman("kube play /tmp/pod.yaml").ok();
    wait_until("the reader has read", || podman("logs played-reader").stdout == "from the other\n");
    let id = podman("inspect --format '{{.Id}}' played-writer").ok();
    let id = id.stdout.trim();
    let ids = ids_of("played");
    if crate::harness::skip_unless(Need::CgroupV1) {
        assert_eq!(world().cgroup_file(id, "memory.limit_in_bytes"), "67108864");
    }
    let reader = podman("exec played-reader cat /proc/1/status").ok();
    assert_eq!(reader.field("Uid:"), "1000\t1000\t1000\t1000");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(reader.field(set), "0000000000000000", "{set}");
    }
    podman("exec -u 0 played-writer touch /new").ok();
    podman("exec -u 0 played-reader touch /new").fails(1, &["Read-only file system"]);
    podman("kube down /tmp/pod.yaml").ok();
    assert_gone("played", &ids);
    podman("volume exists shared").fails(1, &[]);
}
