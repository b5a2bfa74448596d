//! What Podman does otherwise where systemd manages cgroups, and what only a user without privileges meets.

use super::{NEED, Podman, cgroup};
use crate::harness::{requires, wait_until};
use std::fs;

#[test]
fn cgroups_of_each_mode() {
    requires!(NEED);
    let podman = Podman::root("systemd");
    let own = |options: &str| {
        podman.run(&format!("--network none --cgroupns host {options}"), "cat /proc/self/cgroup")
    };
    assert!(own("").ok().stdout.starts_with("0::/machine.slice/libpod-"));
    let disabled = own("--cgroups disabled").ok();
    assert!(!disabled.stdout.contains("libpod-"), "{disabled}");
    let no_conmon = own("--cgroups no-conmon").ok();
    assert!(no_conmon.stdout.starts_with("0::/machine.slice/libpod-"), "{no_conmon}");
    let parent = own("--cgroup-parent mine.slice").ok();
    assert!(parent.stdout.starts_with("0::/mine.slice/libpod-"), "{parent}");
    // The unit's own cgroup is split between conmon and the container, as by a service that Podman has written.
    let script = "podman run --rm --network none --cgroups split --cgroupns host bb:1 cat /proc/self/cgroup";
    let unit = "systemd-run --quiet --pipe --wait --unit split -p Delegate=yes";
    let split = podman.world.sh(&format!("{unit} {script}")).ok();
    assert!(split.stdout.starts_with("0::/system.slice/split.service/libpod-payload-"), "{split}");
}

#[test]
fn weights() {
    requires!(NEED);
    let podman = Podman::root("systemd");
    let id =
        podman.up("weights", "--network none --blkio-weight 200 --cpu-shares 512 --memory-reservation 32m");
    let dir = cgroup(&podman.inspect("weights", ".State.CgroupPath"));
    let file = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(file("io.weight"), "default 1920\n");
    assert_eq!(file("memory.low"), "33554432\n");
    assert!(file("cpu.weight").trim().parse::<u32>().unwrap() < 100, "half of the usual 1024 shares");
    podman.remove("weights", &id);
}

#[test]
fn memory_beyond_the_limit_is_death() {
    requires!(NEED);
    for podman in [Podman::root("systemd"), Podman::user("systemd")] {
        let out = podman.run("--network none --memory 16m --memory-swap 16m", "tail -c 64m /dev/zero");
        assert_eq!(out.code(), 137, "{out}");
    }
}

/// systemd's timers ask whether it is healthy.
#[test]
fn healthchecks() {
    requires!(NEED);
    let podman = Podman::root("systemd");
    let id = podman.up(
        "health",
        "--network none --health-cmd 'test -e /tmp/well' --health-interval 3s --health-retries 1",
    );
    wait_until("it is ill", || podman.inspect("health", ".State.Health.Status") == "unhealthy");
    podman.cmd("exec health touch /tmp/well").ok();
    wait_until("it is well", || podman.inspect("health", ".State.Health.Status") == "healthy");
    podman.remove("health", &id);
}

/// The user is the same inside and outside, and so are the owners of files.
#[test]
fn a_user_keeps_their_id() {
    requires!(NEED);
    let podman = Podman::user("systemd");
    podman.world.sh("mkdir -p ~/shared && touch ~/shared/mine").ok();
    let script = "id -u; stat -c %u /mnt/mine; touch /mnt/made; mount -t tmpfs none /mnt || echo refused";
    let out = podman.run("--network none --userns keep-id -v ~/shared:/mnt", script).ok();
    assert_eq!(out.stdout, "1000\n1000\nrefused\n");
    assert_eq!(podman.world.sh("stat -c %u ~/shared/made").ok().stdout, "1000\n");
    // Root inside is the user outside, and the user's further ids are those of newuidmap(1).
    let out = podman.run("--network none -v ~/shared:/mnt", "cat /proc/self/uid_map; touch /mnt/root").ok();
    let fields: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(fields, ["0", "1000", "1", "1", "100000", "65536"], "{out}");
    assert_eq!(podman.world.sh("stat -c %u ~/shared/root").ok().stdout, "1000\n");
}

#[test]
fn a_users_terminal() {
    requires!(NEED);
    let podman = Podman::user("systemd");
    let script = "tty; echo ready; while [ \"$(stty size)\" != \"33 99\" ]; do sleep 0.1; done; exit 6";
    let line = format!("podman run --rm -it --network none bb:1 sh -c '{script}'");
    let (command, mut terminal) = podman.world.spawn_on_terminal(&line);
    assert!(terminal.read_until("ready").contains("/dev/pts/0"));
    assert_eq!(command.wait_while(|| terminal.resize_again(33, 99)).code(), 6);
}

#[test]
fn an_init_reaps() {
    requires!(NEED);
    let podman = Podman::root("systemd");
    let id = podman.up("init", "--network none --init");
    assert_eq!(podman.cmd("exec init cat /proc/1/comm").ok().stdout, "podman-init\n");
    podman.remove("init", &id);
}

/// Ids that Podman chooses; and a volume whose files have the same owners inside as outside.
#[test]
fn root_gives_containers_other_ids() {
    requires!(NEED);
    let podman = Podman::root("systemd");
    let script = "cat /proc/self/uid_map; touch /new; stat -c %u /new";
    let auto = podman.run("--network none --userns auto:size=4096", script).ok();
    let fields: Vec<&str> = auto.stdout.split_whitespace().collect();
    assert!(fields[0] == "0" && fields[1] != "0" && fields[2] == "4096" && fields[3] == "0", "{auto}");

    podman.world.write("/tmp/idmapped/file", "x");
    let options = "--network none --uidmap 0:100000:5000 --gidmap 0:100000:5000 -v /tmp/idmapped:/mnt";
    let script = "stat -c %u:%g /mnt/file; touch /mnt/new";
    assert_eq!(podman.run(options, script).stdout, "65534:65534\n");
    assert_eq!(podman.run(&format!("{options}:idmap"), script).ok().stdout, "0:0\n");
    assert_eq!(podman.world.sh("stat -c %u:%g /tmp/idmapped/new").ok().stdout, "0:0\n");
}
