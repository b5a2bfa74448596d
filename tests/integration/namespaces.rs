//! Namespaces: new ones, joined ones, and what is set up in them.

use crate::harness::{Bundle, Need, Output, requires};
use crate::probe::seconds;
use serde_json::json;
use std::fs;
use std::process::{Command, Stdio};

/// The kinds of config.json and their files in `/proc/PID/ns`.
const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("cgroup", "cgroup"),
    ("user", "user"),
    ("time", "time"),
];

/// Prints `KIND LINK` for each namespace of the container's process.
const LINKS: &str =
    "for ns in pid mnt ipc uts net cgroup user time; do echo $ns $(readlink /proc/self/ns/$ns); done";

fn link_of(pid: &str, file: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap().to_str().unwrap().into()
}

/// The kinds of namespace in which the container is that `pid` is not in.
fn differing(output: &Output, pid: &str) -> Vec<&'static str> {
    let differs = |file: &str| output.field(&format!("{file} ")) != link_of(pid, file);
    KINDS.iter().filter(|(_, file)| differs(file)).map(|(kind, _)| *kind).collect()
}

#[test]
fn namespaces_that_are_not_listed_are_the_runtimes_own() {
    let b =
        ["pid", "ipc", "uts", "network"].iter().fold(Bundle::sh(LINKS), |b, kind| b.without_namespace(kind));
    let out = b.remove("/hostname").run().ok();
    assert_eq!(differing(&out, "self"), ["mount"]);
}

#[test]
fn every_listed_namespace_is_new() {
    requires!(Need::UserNamespace);
    let out = Bundle::sh(LINKS).namespace("cgroup").user_namespace().run().ok();
    assert_eq!(differing(&out, "self"), ["pid", "mount", "ipc", "uts", "network", "cgroup", "user"]);
}

#[test]
fn a_time_namespace_is_new() {
    requires!(Need::TimeNamespace);
    let out = Bundle::sh(LINKS).namespace("time").run().ok();
    assert_eq!(differing(&out, "self"), ["pid", "mount", "ipc", "uts", "network", "time"]);
}

#[test]
fn time_offsets_shift_the_clocks_of_the_first_process() {
    requires!(Need::TimeNamespace);
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let b = Bundle::sh("cat /proc/self/timens_offsets; echo uptime $(cat /proc/uptime)").namespace("time");
    let offsets = json!({"monotonic": {"secs": 1000, "nanosecs": 5}, "boottime": {"secs": 864_000}});
    let out = b.set("/linux/timeOffsets", offsets).run().ok();
    let words = |key| out.field(key).split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(words("monotonic"), ["1000", "5"]);
    assert_eq!(words("boottime"), ["864000", "0"]);
    let host = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    assert!(uptime(out.field("uptime")).abs_diff(host + 864_000) < 60, "{out}");
}

// crun 1.28 fails here: it writes the offsets as the container's root.
#[test]
fn time_offsets_also_hold_in_a_user_namespace() {
    requires!(Need::TimeNamespace, Need::UserNamespace);
    let b = Bundle::sh("cat /proc/self/timens_offsets").namespace("time").user_namespace();
    let out = b.set("/linux/timeOffsets", json!({"boottime": {"secs": 77}})).run().ok();
    assert_eq!(out.field("boottime").split_whitespace().next(), Some("77"));
}

#[test]
fn both_clocks_run_ahead_or_behind() {
    requires!(Need::TimeNamespace);
    use libc::{CLOCK_BOOTTIME, CLOCK_MONOTONIC};
    // The kernel lets no clock become negative, and none go on for more than 146 years.
    let (back, ahead) = (-seconds(CLOCK_MONOTONIC) / 2, 4_000_000_000_i64);
    for (monotonic, boottime) in [(back, ahead), (ahead, back), (0, back)] {
        for b in [Bundle::new(), Bundle::new().user_namespace()] {
            let offsets = json!({"monotonic": {"secs": monotonic}, "boottime": {"secs": boottime, "nanosecs": 999_999_999}});
            let out = b.probe("clocks").namespace("time").set("/linux/timeOffsets", offsets).run().ok();
            let seen: Vec<i64> = out.results().iter().map(|result| result.parse().unwrap()).collect();
            let expected = [seconds(CLOCK_MONOTONIC) + monotonic, seconds(CLOCK_BOOTTIME) + boottime];
            assert!(
                seen.iter().zip(expected).all(|(seen, expected)| seen.abs_diff(expected) < 60),
                "{expected:?} {out}"
            );
        }
    }
    for offset in [-seconds(CLOCK_BOOTTIME) - 1_000_000, i64::MAX, i64::MIN] {
        let b =
            Bundle::new().namespace("time").set("/linux/timeOffsets", json!({"boottime": {"secs": offset}}));
        b.create().fails(1, &["linux.timeOffsets", "timens_offsets", "boottime", "ERANGE"]).one_line();
        b.assert_nothing_left();
    }
}

#[test]
fn a_user_namespace_is_joined_beside_new_and_other_joined_ones() {
    requires!(Need::TimeNamespace, Need::UserNamespace);
    let holder = Bundle::idle().user_namespace().namespace("cgroup").namespace("time");
    let holder = holder.set("/linux/timeOffsets", json!({"boottime": {"secs": 500}})).up();
    let pid = holder.pid().to_string();
    let script = format!("{LINKS}; id -u; cat /proc/self/timens_offsets");
    // What belongs to the user namespace is joined in its right, whatever else is new.
    for joined in
        [&["user", "time"][..], &["user", "network", "ipc"], &["user", "pid", "uts", "cgroup", "time"]]
    {
        let b = ["cgroup", "time"].iter().fold(Bundle::sh(&script), |b, kind| b.namespace(kind));
        let b = KINDS
            .iter()
            .filter(|(kind, _)| joined.contains(kind))
            .fold(b, |b, (kind, file)| b.join(kind, format!("/proc/{pid}/ns/{file}")));
        let b = if joined.contains(&"uts") { b.remove("/hostname") } else { b };
        let out = b.run().ok();
        let other: Vec<_> =
            KINDS.iter().map(|(kind, _)| *kind).filter(|kind| !joined.contains(kind)).collect();
        assert_eq!(differing(&out, &pid), other, "{joined:?}: {out}");
        let offset = if joined.contains(&"time") { "500" } else { "0" };
        assert_eq!(out.field("boottime").split_whitespace().next(), Some(offset), "{joined:?}");
    }
}

#[test]
fn one_namespace_of_each_kind_is_joined() {
    let holder = Bundle::idle().namespace("cgroup").up();
    let pid = holder.pid().to_string();
    for (kind, file) in KINDS {
        if ["mount", "user", "time"].contains(&kind) {
            continue;
        }
        let b = Bundle::sh(LINKS).namespace("cgroup").join(kind, format!("/proc/{pid}/ns/{file}"));
        let b = if kind == "uts" { b.remove("/hostname") } else { b };
        let out = b.run().ok();
        assert_eq!(out.field(&format!("{file} ")), link_of(&pid, file), "{kind}");
        let same = differing(&out, &pid).len();
        assert_eq!(same, 5, "only {kind} is shared with the holder: {out}");
    }
}

#[test]
fn all_joined_at_once() {
    let holder = Bundle::idle().namespace("cgroup").up();
    let pid = holder.pid().to_string();
    let kinds = KINDS.iter().filter(|(kind, _)| !["mount", "user", "time"].contains(kind));
    let b = kinds.fold(Bundle::sh(&format!("{LINKS}; hostname; ps -o pid,args")), |b, (kind, file)| {
        b.join(kind, format!("/proc/{pid}/ns/{file}"))
    });
    let out = b.remove("/hostname").run().ok();
    assert_eq!(differing(&out, &pid), ["mount"]);
    assert!(out.lines().contains(&"orlop-test"), "{out}");
    // The pid namespace is the holder's, so its process 1 is seen through the container's own /proc.
    assert!(out.stdout.contains("trap 'exit 0' TERM"), "{out}");
}

// crun 1.28 fails here.
#[test]
fn a_time_namespace_is_joined() {
    requires!(Need::TimeNamespace);
    let holder =
        Bundle::idle().namespace("time").set("/linux/timeOffsets", json!({"boottime": {"secs": 500}})).up();
    let path = format!("/proc/{}/ns/time", holder.pid());
    let out = Bundle::sh("cat /proc/self/timens_offsets").join("time", path).run().ok();
    assert_eq!(out.field("boottime").split_whitespace().next(), Some("500"));
}

#[test]
fn a_mount_namespace_is_joined() {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", "echo ready; read forever"]);
    command.stdin(Stdio::piped());
    let keeper = Bundle::new();
    let holder = keeper.spawn_command(command);
    holder.wait_for("ready");
    let pid = holder.pid().to_string();
    let held = link_of(&pid, "mnt");
    let b = Bundle::sh(&format!("{LINKS}; ls /")).join("mount", format!("/proc/{pid}/ns/mnt"));
    let out = b.file("/in-the-bundle", "").run().ok();
    assert_eq!(out.field("mnt "), held);
    assert!(out.lines().contains(&"in-the-bundle"), "{out}");
}

#[test]
fn a_user_namespace_is_joined_alone_and_together_with_a_pid_namespace() {
    requires!(Need::UserNamespace);
    let holder = Bundle::idle().user_namespace().up();
    let pid = holder.pid().to_string();
    let script = format!("{LINKS}; cat /proc/self/uid_map; id -u; ps -o pid,args; hostname");
    let user = Bundle::sh(&script).join("user", format!("/proc/{pid}/ns/user"));
    let out = user.run().ok();
    assert_eq!(out.field("user "), link_of(&pid, "user"));
    assert_ne!(out.field("pid "), link_of(&pid, "pid"));
    assert!(out.lines().contains(&"orlop-test"), "it may set the host name of its own uts namespace: {out}");

    let both = Bundle::sh(&script).join("user", format!("/proc/{pid}/ns/user"));
    let out = both.join("pid", format!("/proc/{pid}/ns/pid")).run().ok();
    assert_eq!(out.field("user "), link_of(&pid, "user"));
    assert_eq!(out.field("pid "), link_of(&pid, "pid"));
    assert!(out.stdout.contains("trap 'exit 0' TERM"), "{out}");
    assert_eq!(out.lines().iter().filter(|line| **line == "0").count(), 1, "id -u: {out}");
}

#[test]
fn id_maps_are_written() {
    requires!(Need::UserNamespace);
    let map = |outside: u32| json!([{"containerID": 0, "hostID": outside, "size": 1000}, {"containerID": 1000, "hostID": 300_000, "size": 5}]);
    let b = Bundle::sh("cat /proc/self/uid_map; echo; cat /proc/self/gid_map; cat /proc/self/setgroups")
        .namespace("user")
        .set("/linux/uidMappings", map(100_000))
        .set("/linux/gidMappings", map(200_000));
    let out = b.run().ok();
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    let uids = ["0", "100000", "1000", "1000", "300000", "5"];
    let gids = ["0", "200000", "1000", "1000", "300000", "5"];
    assert_eq!(words, [&uids[..], &gids[..], &["allow"]].concat());
}

#[test]
fn message_queues_belong_to_root_of_the_user_namespace() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh("stat -c '%u %g' /dev/mqueue").mount("/dev/mqueue", "mqueue", "mqueue", &[]);
    assert_eq!(b.user_namespace().run().ok().lines(), ["0 0"]);
}

#[test]
fn files_made_in_a_user_namespace_belong_to_the_mapped_user() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    requires!(Need::UserNamespace);
    let b =
        Bundle::sh("touch /tmp/made; stat -c %u:%g /tmp/made").user_namespace().set("/process/user/uid", 7);
    fs::set_permissions(b.rootfs().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(b.run().ok().stdout.trim(), "7:0");
    let made = fs::metadata(b.rootfs().join("tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (100_007, 100_000));
}

#[test]
fn a_user_without_privileges_gets_its_id_maps_by_newuidmap() {
    requires!(Need::UserNamespace, Need::Program("newuidmap"), Need::Program("setpriv"));
    let b = Bundle::sh("cat /proc/self/uid_map /proc/self/gid_map; id -u; cat /proc/1/comm; :");
    // nobody is in every passwd file; the subordinate ids are granted in the private mount namespace only.
    let grants = b.io().join("subid");
    fs::write(&grants, "nobody:200000:65536\n").unwrap();
    let map = json!([{"containerID": 0, "hostID": 65534, "size": 1}, {"containerID": 1, "hostID": 200_000, "size": 100}]);
    let b = b
        .namespace("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .remove("/linux/cgroupsPath")
        .edit(|config| config["mounts"][2]["options"].as_array_mut().unwrap().retain(|option| option != "gid=5"))
        .prelude("for f in uid gid; do [ -e /etc/sub$f ] || touch /etc/sub$f; mount --bind $BASE/io/subid /etc/sub$f; done")
        .prelude("chown -R 65534:65534 $BASE")
        .prelude("set -- setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"");
    let out = b.run().ok();
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    let map = ["0", "65534", "1", "1", "200000", "100"];
    assert_eq!(words, [&map[..], &map[..], &["0", "sh"]].concat());
}

#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    let out = Bundle::sh("ip addr show lo; ping -c 1 127.0.0.1").run().ok();
    assert!(out.stdout.contains("LOOPBACK,UP,LOWER_UP"), "{out}");
    assert!(out.stdout.contains("127.0.0.1/8"), "{out}");
}

#[test]
fn loopback_is_up_in_a_network_namespace_of_a_user_namespace() {
    requires!(Need::UserNamespace);
    let out = Bundle::sh("ip addr show lo").user_namespace().run().ok();
    assert!(out.stdout.contains("LOOPBACK,UP,LOWER_UP"), "{out}");
}

#[test]
fn sysctls_of_own_namespaces_are_set() {
    let script = "cd /proc/sys; cat net/ipv4/ip_default_ttl kernel/shm_rmid_forced kernel/msgmax fs/mqueue/msg_max \
                  net/ipv4/ping_group_range kernel/domainname";
    let b = Bundle::sh(script).set(
        "/linux/sysctl",
        json!({
            "net.ipv4.ip_default_ttl": "77",
            "kernel.shm_rmid_forced": "1",
            "kernel.msgmax": "4242",
            "fs.mqueue.msg_max": "7",
            "net/ipv4/ping_group_range": "1 2",
        }),
    );
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let out = b.run().ok();
    assert_eq!(out.lines()[..5], ["77", "1", "4242", "7", "1\t2"]);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), before);
}

#[test]
fn sysctls_are_set_whatever_procfs_the_container_has() {
    // It is read through another one.
    let container = || {
        Bundle::sh("cat /second/sys/net/ipv4/ip_default_ttl")
            .directory("second")
            .set("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"}))
    };
    for (what, b) in [
        ("none", container().without_mount("/proc")),
        ("a read-only one", container().without_mount("/proc").mount("/proc", "proc", "proc", &["ro"])),
        (
            "processes only",
            container().without_mount("/proc").mount("/proc", "proc", "proc", &["subset=pid"]),
        ),
        ("the host's", container().without_mount("/proc").mount("/proc", "none", "/proc", &["rbind"])),
        ("read-only in the end", container().mount("/proc", "none", "none", &["remount", "bind", "ro"])),
        ("in a user namespace", container().user_namespace()),
    ] {
        let out = b.mount("/second", "proc", "proc", &["ro"]).run().ok();
        assert_eq!(out.stdout.trim(), "77", "{what}: {out}");
    }
}

#[test]
fn sysctls_of_the_host_are_refused() {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).unwrap().trim().to_owned();
    let cases = [
        ("kernel.core_pattern", "kernel/core_pattern", None),
        ("vm.overcommit_ratio", "vm/overcommit_ratio", None),
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward", Some("network")),
        ("kernel.msgmax", "kernel/msgmax", Some("ipc")),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max", Some("ipc")),
    ];
    for (name, file, without) in cases {
        // The value that it has, so that a runtime which writes it does no harm.
        let b = Bundle::new().set("/linux/sysctl", json!({name: read(file)}));
        let b = without.into_iter().fold(b, |b, kind| b.without_namespace(kind));
        b.create().fails(1, &[name]);
        b.assert_nothing_left();
    }
}

#[test]
fn a_path_to_the_hosts_namespace_does_not_open_its_sysctls() {
    let value = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let b = Bundle::new().join("network", "/proc/self/ns/net");
    b.set("/linux/sysctl", json!({"net.ipv4.ip_forward": value.trim()}))
        .create()
        .fails(1, &["net.ipv4.ip_forward"]);
}
