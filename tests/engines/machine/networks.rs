//! Networks, and pods, which share one.

use super::{NEED, Podman, cgroup};
use crate::harness::{HostNetwork, requires, wait_until};
use std::fs;

const SERVE: &str = "echo hello >/index.html; exec httpd -f -p 80 -h /";

#[test]
fn a_bridge_with_a_published_port() {
    requires!(NEED);
    let _network = HostNetwork::take();
    let podman = Podman::root("systemd");
    let id = podman.cmd(&format!("run -d --name web -p 8080:80 bb:1 sh -c '{SERVE}'")).ok();
    let address = podman.inspect("web", ".NetworkSettings.IPAddress");
    let ask = format!("wget -q -O - http://{address}/");
    wait_until("it answers", || podman.run("", &ask).stdout == "hello\n");
    assert_eq!(podman.world.sh("curl -s http://127.0.0.1:8080/").ok().stdout, "hello\n");
    podman.remove("web", id.stdout.trim());
}

/// By pasta(1).
#[test]
fn a_users_published_port() {
    requires!(NEED);
    let _network = HostNetwork::take();
    let podman = Podman::user("systemd");
    let id = podman.cmd(&format!("run -d --name user-web -p 8081:80 bb:1 sh -c '{SERVE}'")).ok();
    wait_until("it answers", || podman.world.sh("curl -s http://127.0.0.1:8081/").stdout == "hello\n");
    podman.remove("user-web", id.stdout.trim());
}

#[test]
fn kube_play() {
    requires!(NEED);
    let _network = HostNetwork::take();
    let podman = Podman::root("systemd");
    podman.world.write("/tmp/pod.yaml", include_str!("../pod.yaml"));
    podman.cmd("kube play /tmp/pod.yaml").ok();
    wait_until("the reader has read", || podman.cmd("logs played-reader").stdout == "from the other\n");
    let path = podman.inspect("played-writer", ".State.CgroupPath");
    assert!(path.starts_with("/machine.slice/machine-libpod_pod_"), "{path}");
    assert_eq!(fs::read_to_string(cgroup(&path).join("memory.max")).unwrap(), "67108864\n");
    let id = podman.inspect("played-writer", ".Id");
    podman.cmd("kube down /tmp/pod.yaml").ok();
    podman.world.assert_nothing_left(&id);
}
