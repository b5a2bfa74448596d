//! What a process may do and sees: capabilities, devices, mounts, seccomp.

use super::{Container, NEED, is_rootless, podman, run, world};
use crate::harness::{Need, requires};

#[test]
fn capabilities() {
    requires!(NEED);
    let mask = |options: &str| {
        let out = run(options, "grep CapEff /proc/self/status").ok();
        u64::from_str_radix(out.field("CapEff:"), 16).unwrap()
    };
    let dropped = run("--cap-drop all", "grep Cap /proc/self/status").ok();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(dropped.field(set), "0000000000000000", "{set}");
    }
    let usual = mask("");
    assert_eq!(mask("--cap-add NET_ADMIN"), usual | 1 << 12);
    assert_eq!(mask("--cap-drop CHOWN"), usual & !1);
    assert_ne!(mask("--privileged") & 1 << 21, 0, "CAP_SYS_ADMIN");
    assert_eq!(mask("--user 1000"), 0);
}

#[test]
fn privileged_sees_and_writes_all() {
    requires!(NEED);
    let out = run(
        "--privileged",
        "mount -t tmpfs none /mnt && ls /dev/kmsg && touch /proc/sys/net/ipv4/ip_forward",
    )
    .ok();
    assert_eq!(out.stdout, "/dev/kmsg\n");
    run("", "mount -t tmpfs none /mnt").fails(1, &["denied"]);
    run("", "echo x >/proc/sys/kernel/hostname").fails(1, &["Read-only"]);
}

#[test]
fn devices() {
    requires!(NEED, Need::File("/dev/fuse"));
    let out = run(
        "--device /dev/fuse:/dev/mine:r",
        "stat -c %t:%T /dev/mine; : </dev/mine && echo read; : >/dev/mine",
    );
    assert!(out.stdout.starts_with("a:e5\nread\n"), "{out}");
    // The kernel lets no ordinary user write rules for devices.
    assert_eq!(out.stderr.contains("Operation not permitted"), !is_rootless(), "{out}");
    run("", "mknod /tmp/fuse c 10 229 && : </tmp/fuse").fails(1, &["Operation not permitted"]);
}

#[test]
fn security_options() {
    requires!(NEED);
    assert_eq!(run("", "grep Seccomp: /proc/self/status").ok().field("Seccomp:"), "2");
    let unconfined = run("--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status").ok();
    assert_eq!(unconfined.field("Seccomp:"), "0");
    let status = run("--security-opt no-new-privileges", "grep NoNewPrivs: /proc/self/status").ok();
    assert_eq!(status.field("NoNewPrivs:"), "1");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    world().write("/tmp/no-mkdir.json", profile);
    run("--security-opt seccomp=/tmp/no-mkdir.json", "mkdir /tmp/x").fails(1, &["No space left"]);
    let unmasked = run("--security-opt unmask=ALL", "cat /proc/kcore | head -c 0 && echo open").ok();
    assert_eq!(unmasked.stdout, "open\n");
}

#[test]
fn read_only_with_a_tmpfs() {
    requires!(NEED);
    let out =
        run("--read-only --tmpfs /tmp:size=1m", "df -k /tmp | tail -1; touch /tmp/x && echo made; touch /x");
    assert!(out.stdout.contains(" 1024 ") && out.stdout.ends_with("made\n"), "{out}");
    out.fails(1, &["Read-only file system"]);
}

#[test]
fn volumes() {
    requires!(NEED);
    world().write("/tmp/shared/file", "of the host\n");
    let out = run("-v /tmp/shared:/mnt:ro", "cat /mnt/file; touch /mnt/new");
    assert_eq!(out.stdout, "of the host\n");
    out.fails(1, &["Read-only file system"]);
    run("-v /tmp/shared:/mnt:z", "echo made >/mnt/new").ok();
    assert_eq!(world().sh("cat /tmp/shared/new").ok().stdout, "made\n");
    podman("volume create data").ok();
    run("-v data:/data", "echo kept >/data/file").ok();
    assert_eq!(
        run("--mount type=volume,source=data,destination=/d,ro=true", "cat /d/file").ok().stdout,
        "kept\n"
    );
    podman("volume rm data").ok();
}

#[test]
fn an_init_reaps() {
    requires!(NEED, Need::Program("tini-static"));
    let c = Container::up("init", "--init --init-path /usr/bin/tini-static");
    let first = c.cmd("exec", "cat /proc/1/comm").ok();
    assert!(first.stdout.contains("init") || first.stdout.contains("tini"), "{first}");
    c.assert_reaps();
    c.cmd("stop -t 60", "").ok();
    assert_eq!(c.inspect(".State.ExitCode"), "4", "the signal is passed on");
    c.remove();
}

#[test]
fn environment_user_and_names() {
    requires!(NEED);
    let out =
        run("--user app:extra --hostname here --workdir /mnt --env A=b", "id; hostname; pwd; echo $A $HOME")
            .ok();
    let lines = out.lines();
    assert!(lines[0].starts_with("uid=1000(app) gid=2000(extra)"), "{out}");
    assert_eq!(lines[1..], ["here", "/mnt", "b /home/app"], "{out}");
    let groups = run("--group-add 2000 --user 1000", "id -G").ok();
    assert!(groups.stdout.split_whitespace().any(|group| group == "2000"), "{groups}");
    let sysctl = run("--sysctl net.ipv4.ip_forward=1", "cat /proc/sys/net/ipv4/ip_forward").ok();
    assert_eq!(sysctl.stdout, "1\n");
}

#[test]
fn descriptors_are_preserved() {
    requires!(NEED);
    let out = world().sh("echo through >/tmp/fd; podman run --rm --network none --preserve-fds 1 bb:1 sh -c 'cat <&3' 3</tmp/fd").ok();
    assert_eq!(out.stdout, "through\n");
}
