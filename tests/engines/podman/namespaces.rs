//! Namespaces of the host, of other containers, of users; networks.

use super::{Container, NEED, podman, run, world};
use crate::harness::{Need, requires, wait_until};

#[test]
fn namespaces_of_the_host() {
    requires!(NEED);
    let run = |options: &str, script: &str| podman(&format!("run --rm {options} bb:1 {script}"));
    for (option, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net")] {
        let here = world().sh(&format!("readlink /proc/self/ns/{kind}")).ok().stdout;
        let there = run(&format!("{option} host"), &format!("readlink /proc/self/ns/{kind}")).ok().stdout;
        assert_eq!(there, here, "{kind}");
        let own = run("", &format!("readlink /proc/self/ns/{kind}")).ok().stdout;
        assert_ne!(own, here, "{kind}");
    }
}

#[test]
fn no_network() {
    requires!(NEED);
    let out = run("", "ls /sys/class/net; readlink /proc/self/ns/net").ok();
    let here = world().sh("readlink /proc/self/ns/net").ok();
    let [interface, namespace] = out.lines()[..] else { panic!("more than lo: {out}") };
    assert_eq!(interface, "lo");
    assert!(namespace.starts_with("net:[") && namespace != here.stdout.trim(), "{out}{here}");
}

#[test]
fn namespaces_of_another_container() {
    requires!(NEED);
    let c = Container::up("other", "");
    for (option, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net")] {
        let script = format!("readlink /proc/self/ns/{kind}");
        let there = podman(&format!("exec other {script}")).ok().stdout;
        let joined = podman(&format!("run --rm {option} container:other bb:1 {script}")).ok();
        assert_eq!(joined.stdout, there, "{kind}");
    }
    c.remove();
}

#[test]
fn user_namespaces() {
    requires!(NEED, Need::UserNamespace, Need::Root);
    let map = run(
        "--uidmap 0:100000:5000 --gidmap 0:200000:5000",
        "id -u; cat /proc/self/uid_map /proc/self/gid_map",
    )
    .ok();
    let fields: Vec<&str> = map.stdout.split_whitespace().collect();
    assert_eq!(fields, ["0", "0", "100000", "5000", "0", "200000", "5000"], "{map}");
    let auto = run("--userns auto:size=4096", "cat /proc/self/uid_map; touch /new; stat -c %u /new").ok();
    let fields: Vec<&str> = auto.stdout.split_whitespace().collect();
    assert!(fields[0] == "0" && fields[1] != "0" && fields[2] == "4096" && fields[3] == "0", "{auto}");
    let host = run("--userns host", "cat /proc/self/uid_map").ok();
    assert!(host.stdout.contains("4294967295"), "{host}");
}

/// Files keep their owners on the host, and are the container's own inside.
#[test]
fn idmapped_volumes() {
    requires!(NEED, Need::UserNamespace, Need::Root);
    world().write("/tmp/idmapped/file", "x");
    let options = "--uidmap 0:100000:5000 --gidmap 0:100000:5000";
    let plain = run(&format!("{options} -v /tmp/idmapped:/mnt"), "stat -c %u:%g /mnt/file").ok();
    assert_eq!(plain.stdout, "65534:65534\n");
    let mapped =
        run(&format!("{options} -v /tmp/idmapped:/mnt:idmap"), "stat -c %u:%g /mnt/file; touch /mnt/new")
            .ok();
    assert_eq!(mapped.stdout, "0:0\n");
    assert_eq!(world().sh("stat -c %u:%g /tmp/idmapped/new").ok().stdout, "0:0\n");
}

#[test]
fn a_bridge_with_a_published_port() {
    requires!(NEED, Need::File("/usr/lib/cni/bridge"), Need::Root);
    let id =
        podman("run -d --name web -p 8080:80 bb:1 sh -c 'echo hello >/index.html; exec httpd -f -p 80 -h /'")
            .ok();
    let address = podman("inspect --format '{{.NetworkSettings.IPAddress}}' web").ok().stdout;
    let ask = format!("printf \"GET / HTTP/1.0\\r\\n\\r\\n\" | nc {} 80 | tail -n 1", address.trim());
    wait_until("it answers", || podman(&format!("run --rm bb:1 sh -c '{ask}'")).ok().stdout == "hello\n");
    assert_eq!(world().sh("curl -s http://127.0.0.1:8080/").ok().stdout, "hello\n");
    podman("rm -f -t 0 web").ok();
    world().assert_nothing_left(id.stdout.trim());
}
