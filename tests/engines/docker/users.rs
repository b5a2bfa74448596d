//! A daemon that gives every container a user namespace.

use super::{NEED, start};
use crate::harness::{Need, World, requires};
use std::sync::OnceLock;

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| start("remap", "--userns-remap daemon:daemon"))
}

#[test]
fn userns_remap() {
    requires!(NEED, Need::UserNamespace);
    let out = world()
        .sh("docker run --rm bb:1 sh -c 'id -u; cat /proc/self/uid_map; touch /new && stat -c %u /new'")
        .ok();
    let fields: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!((fields[0], fields[1], fields[3], fields[4]), ("0", "0", "65536", "0"), "{out}");
    assert_ne!(fields[2], "0");
    let id = world().sh("docker run -d --name held bb:1 sleep 300").ok();
    assert_eq!(world().sh("docker exec held id -u").ok().stdout, "0\n");
    world().sh("docker rm -f held").ok();
    world().assert_nothing_left(id.stdout.trim());
}
