//! A daemon that is told of runtimes by options, and which of them does what.

use super::NEED;
use crate::harness::{Need, World, requires};

/// A daemon that may be the second one of its machine.
#[test]
fn containers_and_builds_have_the_runtime_that_they_ask_for() {
    requires!(NEED);
    let world = if Need::Machine.is_met() { World::machine() } else { World::new("runtimes") };
    let (usual, other) = (world.recorder("usual"), world.recorder("other"));
    world.write("/etc/docker/runtimes.json", "{}");
    let places = "--data-root /var/lib/runtimes --exec-root /run/runtimes -p /run/runtimes.pid";
    let added = format!("--add-runtime usual={} --add-runtime other={}", usual.path, other.path);
    let runtimes = format!("--config-file /etc/docker/runtimes.json {added} --default-runtime usual");
    let docker = |args: &str| world.sh(&format!("docker -H unix:///run/runtimes.sock {args}"));
    let daemon = format!("dockerd {runtimes} {places} --bridge none -H unix:///run/runtimes.sock");
    world.daemon("runtimes", &daemon, "docker -H unix:///run/runtimes.sock version");
    docker("load -i /var/tmp/images/bb.tar").ok();

    docker("run --rm --network none --runtime other localhost/bb:1 true").ok();
    assert_eq!((usual.count("create"), other.count("create")), (0, 1));
    docker("run --rm --network none localhost/bb:1 true").ok();
    assert_eq!((usual.count("create"), other.count("create")), (1, 1));
    world.write("/tmp/runtimes/Dockerfile", "FROM localhost/bb:1\nRUN echo built >/file\nRUN cat /file\n");
    world.sh("DOCKER_BUILDKIT=0 docker -H unix:///run/runtimes.sock build --network none /tmp/runtimes").ok();
    assert_eq!((usual.count("create"), other.count("create")), (3, 1));
    world.sh("kill $(cat /run/runtimes.pid)").ok();
}
