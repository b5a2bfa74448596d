//! What is well-formed but makes no sense, or can't be had: the line names the field of config.json.

use crate::bad_input::{ABSENT, Trial, table};
use crate::harness::*;
use serde_json::{Value, json};
use std::fs;

#[test]
fn version_root_and_names() {
    requires!(Need::Root);
    let b = Bundle::new().file("/etc/file", "");
    let missing = b.rootfs().join("nowhere").to_str().unwrap().to_owned();
    table(
        b,
        &[
            ("/ociVersion", json!(""), &["ociVersion", "missing"]),
            ("/ociVersion", json!(ABSENT), &["ociVersion", "missing"]),
            ("/ociVersion", json!("2.0.0"), &["ociVersion", "2.0.0 is not supported"]),
            ("/ociVersion", json!("0.2.0"), &["ociVersion", "not supported"]),
            ("/ociVersion", json!("one"), &["ociVersion", "not a semantic version"]),
            ("/ociVersion", json!("1.0"), &["ociVersion", "not a semantic version"]),
            ("/ociVersion", json!("1.0.0.0"), &["ociVersion", "not a semantic version"]),
            ("/ociVersion", json!("99999999999999999999.0.0"), &["ociVersion"]),
            ("/root", json!(ABSENT), &["root", "missing"]),
            ("/root/path", json!(""), &["root.path", "missing"]),
            ("/root/path", json!("nowhere"), &["root.path", "no such file or directory"]),
            ("/root/path", json!(missing), &["root.path", "no such file or directory"]),
            ("/root/path", json!("rootfs/etc/file"), &["root.path", "not a directory"]),
            ("/root/path", json!("/dev/null"), &["root.path", "not a directory"]),
            ("/root/path", json!("rootfs/etc/file/below"), &["root.path", "not a directory"]),
            ("/root/path", json!("a\u{0}b"), &["root.path"]),
            ("/linux", json!(ABSENT), &["linux", "missing"]),
            ("/hostname", json!("h".repeat(65)), &["hostname", "65 bytes", "64"]),
            ("/domainname", json!("d".repeat(65)), &["domainname", "64"]),
            ("/linux/rootfsPropagation", json!("sideways"), &["linux.rootfsPropagation", "sideways"]),
        ],
    );
}

#[test]
fn namespaces() {
    requires!(Need::Root);
    let kinds = |kinds: &[&str]| kinds.iter().map(|kind| json!({"type": kind})).collect::<Vec<_>>();
    let with = |entry: Value| {
        let mut list = kinds(&["mount", "pid", "uts", "ipc"]);
        list.push(entry);
        json!(list)
    };
    table(
        Bundle::new(),
        &[
            (
                "/linux/namespaces",
                json!(kinds(&["mount", "pid", "uts", "pid"])),
                &["linux.namespaces[3].type", "second pid"],
            ),
            (
                "/linux/namespaces",
                json!(kinds(&["uts", "user"])),
                &["linux.namespaces", "without a mount namespace"],
            ),
            ("/linux/namespaces", json!(kinds(&["mount", "pid"])), &["hostname", "no uts namespace"]),
            (
                "/linux/namespaces",
                with(json!({"type": "network", "path": "proc/self/ns/net"})),
                &["linux.namespaces[4].path", "absolute"],
            ),
            (
                "/linux/namespaces",
                with(json!({"type": "network", "path": "/nonexistent"})),
                &["linux.namespaces[4].path", "no such file or directory"],
            ),
            (
                "/linux/namespaces",
                with(json!({"type": "network", "path": "/proc/self/ns/mnt"})),
                &["linux.namespaces[4].path", "mount namespace"],
            ),
            (
                "/linux/namespaces",
                with(json!({"type": "network", "path": "/etc/passwd"})),
                &["linux.namespaces[4].path", "not a namespace"],
            ),
            (
                "/linux/namespaces",
                with(json!({"type": "network", "path": "/"})),
                &["linux.namespaces[4].path", "not a namespace"],
            ),
            (
                "/linux/namespaces",
                with(json!({"type": "network", "path": "/dev/null"})),
                &["linux.namespaces[4].path", "not a namespace"],
            ),
            ("/linux/namespaces", with(json!({"type": "user"})), &["linux.uidMappings", "missing"]),
            (
                "/linux/uidMappings",
                json!([{"containerID": 0, "hostID": 0, "size": 1}]),
                &["linux.uidMappings", "no user namespace"],
            ),
            (
                "/linux/gidMappings",
                json!([{"containerID": 0, "hostID": 0, "size": 1}]),
                &["linux.gidMappings", "no user namespace"],
            ),
            (
                "/linux/timeOffsets",
                json!({"boottime": {"secs": 1}}),
                &["linux.timeOffsets", "no time namespace"],
            ),
            ("/linux/sysctl", json!({"kernel.panic": "1"}), &["linux.sysctl.kernel.panic", "no namespace"]),
            (
                "/linux/sysctl",
                json!({"net.nope.nope": "1"}),
                &["linux.sysctl.net.nope.nope", "no such file or directory"],
            ),
            (
                "/linux/sysctl",
                json!({"net.ipv4.ip_forward": "many"}),
                &["linux.sysctl.net.ipv4.ip_forward", "EINVAL"],
            ),
            ("/linux/sysctl", json!({"": "1"}), &["linux.sysctl"]),
        ],
    );
    let user = Bundle::new().user_namespace();
    let map = |host: u64, container: u64, size: u64| json!({"containerID": container, "hostID": host, "size": size});
    let many: Vec<_> = (0..341).map(|n| map(100_000 + n, n, 1)).collect();
    let flood: Vec<_> = (0..10_000).map(|n| map(100_000 + n, n, 1)).collect();
    table(
        user,
        &[
            ("/linux/uidMappings", json!([]), &["linux.uidMappings", "missing"]),
            ("/linux/gidMappings", json!(ABSENT), &["linux.gidMappings", "missing"]),
            ("/linux/uidMappings", json!([map(0, 0, 0)]), &["linux.uidMappings[0]", "size is 0"]),
            (
                "/linux/uidMappings",
                json!([map(0, 0, 10), map(100, 5, 1)]),
                &["linux.uidMappings[1]", "overlaps"],
            ),
            (
                "/linux/gidMappings",
                json!([map(0, 0, 10), map(5, 50, 1)]),
                &["linux.gidMappings[1]", "overlaps"],
            ),
            (
                "/linux/uidMappings",
                json!([map(4_294_967_290, 0, 10)]),
                &["linux.uidMappings[0]", "largest id"],
            ),
            (
                "/linux/uidMappings",
                json!([map(0, 4_294_967_295, 1)]),
                &["linux.uidMappings[0]", "largest id"],
            ),
            ("/linux/uidMappings", json!(many), &["linux.uidMappings", "341 lines"]),
            ("/linux/gidMappings", json!(flood), &["linux.gidMappings", "10000 lines"]),
            ("/process/user", json!({"uid": 70_000, "gid": 0}), &["process.user.uid", "70000 is not mapped"]),
            ("/process/user", json!({"uid": 0, "gid": 70_000}), &["process.user.gid", "not mapped"]),
            (
                "/process/user",
                json!({"uid": 0, "gid": 0, "additionalGids": [1, 70_000]}),
                &["process.user.additionalGids[1]"],
            ),
        ],
    );
}

#[test]
fn process() {
    requires!(Need::Root);
    let b = Bundle::new()
        .file("/bin/text", "not a program")
        .directory("/bin/directory")
        .symlink("/bin/gone", "nowhere");
    let b = b.file("/bin/script", "#!/no/interpreter\n").file("/tmp/plain", "x").file("/etc/secret/x", "");
    fs::set_permissions(b.rootfs().join("tmp/plain"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    fs::set_permissions(b.rootfs().join("etc/secret"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    table(
        b,
        &[
            ("/process/args", json!([]), &["process.args", "missing"]),
            ("/process/args", json!(null), &["process.args", "missing"]),
            ("/process/args", json!(ABSENT), &["process.args", "missing"]),
            ("/process/args", json!([""]), &["process.args[0]"]),
            ("/process/args", json!(["nosuch"]), &["exec: \"nosuch\": executable file not found in $PATH"]),
            (
                "/process/args",
                json!(["/nosuch"]),
                &["process.args[0]", "stat /nosuch: no such file or directory"],
            ),
            ("/process/args", json!(["/bin/gone"]), &["process.args[0]", "no such file or directory"]),
            ("/process/args", json!(["/etc/passwd/x"]), &["process.args[0]", "not a directory"]),
            ("/process/args", json!(["/bin/directory"]), &["process.args[0]", "is a directory"]),
            ("/process/args", json!(["directory"]), &["process.args[0]"]),
            ("/process/args", json!(["/"]), &["process.args[0]", "is a directory"]),
            ("/process/args", json!(["/tmp/plain"]), &["process.args[0]", "permission denied"]),
            ("/process/args", json!(["/dev/null"]), &["process.args[0]"]),
            ("/process/args", json!(["/proc/self/fd/99"]), &["process.args[0]", "no such file or directory"]),
            ("/process/args", json!(["sh", "a\u{0}b"]), &["process.args[1]", "NUL"]),
            ("/process/args", json!(["a\u{0}b"]), &["process.args[0]", "NUL"]),
            ("/process/args", json!(["/".repeat(5000)]), &["process.args[0]"]),
            ("/process/env", json!(["novalue"]), &["process.env[0]", "NAME=VALUE"]),
            ("/process/env", json!(["A=b", "=x"]), &["process.env[1]", "NAME=VALUE"]),
            ("/process/env", json!(["A=b", ""]), &["process.env[1]"]),
            ("/process/env", json!(["A=b\u{0}c"]), &["process.env[0]", "NUL"]),
            ("/process/cwd", json!(""), &["process.cwd", "missing"]),
            ("/process/cwd", json!(ABSENT), &["process.cwd", "missing"]),
            ("/process/cwd", json!("tmp"), &["process.cwd", "not an absolute path"]),
            ("/process/cwd", json!("/etc/passwd"), &["process.cwd", "not a directory"]),
            ("/process/cwd", json!("/etc/passwd/x"), &["process.cwd", "not a directory"]),
            ("/process/cwd", json!("/proc/nosuch"), &["process.cwd"]),
            ("/process/cwd", json!(format!("/{}", "d".repeat(256))), &["process.cwd", "ENAMETOOLONG"]),
            ("/process/cwd", json!("/a\u{0}b"), &["process.cwd"]),
            (
                "/process/user",
                json!({"uid": 4_294_967_295_u32, "gid": 0}),
                &["process.user.uid", "4294967295 is not an id"],
            ),
            (
                "/process/user",
                json!({"uid": 0, "gid": 4_294_967_295_u32}),
                &["process.user.gid", "is not an id"],
            ),
            (
                "/process/user",
                json!({"uid": 0, "gid": 0, "additionalGids": [4_294_967_295_u32]}),
                &["process.user.additionalGids[0]"],
            ),
            (
                "/process/user",
                json!({"uid": 0, "gid": 0, "additionalGids": vec![1; 65_537]}),
                &["process.user.additionalGids"],
            ),
            ("/process/user", json!({"uid": 0, "gid": 0, "umask": 512}), &["process.user.umask", "0777"]),
            (
                "/process/capabilities/effective",
                json!(["CAP_SYS_ADMIN"]),
                &["process.capabilities.effective", "CAP_SYS_ADMIN"],
            ),
            (
                "/process/capabilities/inheritable",
                json!(["CAP_SYS_ADMIN"]),
                &["process.capabilities.inheritable", "CAP_SYS_ADMIN"],
            ),
            (
                "/process/rlimits",
                json!([limit("RLIMIT_CORE", 2, 1)]),
                &["process.rlimits[0].soft", "above the hard limit"],
            ),
            (
                "/process/rlimits",
                json!([limit("RLIMIT_CORE", 1, 1), limit("RLIMIT_CORE", 1, 1)]),
                &["process.rlimits[1].type", "second"],
            ),
            ("/process/oomScoreAdj", json!(1001), &["process.oomScoreAdj", "-1000 to 1000"]),
            ("/process/oomScoreAdj", json!(-1001), &["process.oomScoreAdj", "-1000 to 1000"]),
            ("/process/terminal", json!(true), &["process.terminal", "console"]),
        ],
    );
}

#[test]
fn mounts() {
    requires!(Need::Root);
    let b = Bundle::new().file("/etc/file", "").symlink("/link", "/proc").symlink("/circle", "circle");
    let at = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    table(
        b,
        &[
            ("/mounts/1", at("", "tmpfs", "tmpfs", &[]), &["mounts[1].destination", "root itself"]),
            ("/mounts/1", at("/", "tmpfs", "tmpfs", &[]), &["mounts[1].destination", "root itself"]),
            ("/mounts/1", at("/..", "tmpfs", "tmpfs", &[]), &["mounts[1].destination", "root itself"]),
            ("/mounts/1", at("/a/..//.", "tmpfs", "tmpfs", &[]), &["mounts[1].destination", "root itself"]),
            ("/mounts/1", at("/x\u{0}y", "tmpfs", "tmpfs", &[]), &["mounts[1].destination"]),
            (
                "/mounts/1",
                at("/etc/file", "tmpfs", "tmpfs", &[]),
                &["mounts[1].destination", "not a directory"],
            ),
            (
                "/mounts/1",
                at("/etc/file/x", "tmpfs", "tmpfs", &[]),
                &["mounts[1].destination", "not a directory"],
            ),
            (
                "/mounts/1",
                at("/etc", "bind", "/etc/passwd", &["bind"]),
                &["mounts[1].destination", "not a directory"],
            ),
            ("/mounts/1", at("/proc", "tmpfs", "tmpfs", &[]), &["mounts[1].destination", "not of type proc"]),
            ("/mounts/1", at("/proc/sys", "tmpfs", "tmpfs", &[]), &["mounts[1].destination", "inside /proc"]),
            (
                "/mounts/1",
                at("/x/../proc/self", "tmpfs", "tmpfs", &[]),
                &["mounts[1].destination", "inside /proc"],
            ),
            ("/mounts/1", at("/proc", "bind", "/tmp", &["bind"]), &["mounts[1].source", "procfs"]),
            ("/mounts/0", at("/link", "proc", "proc", &[]), &["mounts[0].destination", "symbolic link"]),
            (
                "/mounts/1",
                at("/a", "bind", "/nonexistent", &["bind"]),
                &["mounts[1].source", "no such file or directory"],
            ),
            (
                "/mounts/1",
                at("/a", "bind", "nonexistent", &["rbind"]),
                &["mounts[1].source", "bundle/nonexistent"],
            ),
            ("/mounts/1", at("/a", "bind", "", &["bind"]), &["mounts[1].source", "missing"]),
            (
                "/mounts/1",
                json!({"destination": "/a", "options": ["bind"]}),
                &["mounts[1].source", "missing"],
            ),
            (
                "/mounts/1",
                at("/a", "bind", "/etc/passwd/x", &["bind"]),
                &["mounts[1].source", "not a directory"],
            ),
            ("/mounts/1", json!({"destination": "/a"}), &["mounts[1].type", "missing"]),
            ("/mounts/1", at("/a", "nosuchfs", "none", &[]), &["mounts[1]", "nosuchfs", "ENODEV"]),
            ("/mounts/1", at("/a", "tmpfs", "tmpfs", &["wibble"]), &["mounts[1]", "wibble"]),
            ("/mounts/1", at("/a", "tmpfs", "tmpfs", &["size=lots"]), &["mounts[1]", "size"]),
            ("/mounts/1", at("/a", "tmpfs", "tmpfs", &["mode=9"]), &["mounts[1]", "mode"]),
            ("/mounts/1", at("/a", "bind", "/tmp", &["bind", "wibble"]), &["mounts[1].options[1]", "wibble"]),
            ("/mounts/1", at("/a", "cgroup", "cgroup", &["wibble"]), &["mounts[1].options[0]", "wibble"]),
            (
                "/mounts/1",
                at("/a", "devpts", "devpts", &["tmpcopyup"]),
                &["mounts[1].options[0]", "tmpcopyup"],
            ),
            (
                "/mounts/1",
                at("/nothere", "", "", &["remount", "ro"]),
                &["mounts[1].destination", "no such file or directory"],
            ),
            ("/mounts/1", at("/etc", "", "", &["remount", "bind", "ro"]), &["mounts[1]", "EINVAL"]),
            ("/mounts/1", at("/circle", "bind", "/etc/passwd", &["bind"]), &["mounts[1].destination"]),
            ("/mounts/1", at("/a", "ext4", "/etc/passwd", &[]), &["mounts[1]"]),
            (
                "/mounts/1",
                json!({"destination": "/a", "type": "bind", "source": "/tmp", "options": ["bind"],
            "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}),
                &["mounts[1].gidMappings", "missing"],
            ),
            (
                "/mounts/1",
                json!({"destination": "/a", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"]}),
                &["mounts[1].options[1]", "id-mapped", "user namespace"],
            ),
            (
                "/mounts/1",
                at("/a", "bind", "/tmp", &["bind", "idmap=uids=0-1-x;gids=0-1-1"]),
                &["mounts[1].options[1]", "0-1-x"],
            ),
            ("/mounts/1", at("/a", "tmpfs", "tmpfs", &["copy-symlink"]), &["mounts[1].options[0]", "source"]),
            (
                "/mounts/1",
                at("/a", "bind", "/tmp", &["bind", "dest-nofollow"]),
                &["mounts[1].destination", "no such file or directory"],
            ),
            (
                "/mounts/1",
                at("/proc/uptime", "bind", "/etc/passwd", &["bind", "dest-nofollow"]),
                &["mounts[1].destination", "dest-nofollow"],
            ),
        ],
    );
}

#[test]
fn linux() {
    requires!(Need::Root);
    let device = |path: &str, kind: &str, major: i64, minor: i64| json!([{"path": path, "type": kind, "major": major, "minor": minor}]);
    table(
        Bundle::new().file("/file", ""),
        &[
            ("/linux/cgroupsPath", json!("/../escape"), &["linux.cgroupsPath", ".."]),
            ("/linux/cgroupsPath", json!("a/../../b"), &["linux.cgroupsPath", ".."]),
            ("/linux/cgroupsPath", json!("/"), &["linux.cgroupsPath"]),
            ("/linux/cgroupsPath", json!("/a\u{0}b"), &["linux.cgroupsPath", "NUL"]),
            ("/linux/cgroupsPath", json!(format!("/{}", "c".repeat(256))), &["linux.cgroupsPath", "255"]),
            ("/linux/cgroupsPath", json!("/c".repeat(2500)), &["linux.cgroupsPath", "longer"]),
            ("/linux/devices", device("relative", "c", 1, 3), &["linux.devices[0].path", "absolute"]),
            ("/linux/devices", device("/", "c", 1, 3), &["linux.devices[0].path", "root itself"]),
            ("/linux/devices", device("/dev/x", "a", 1, 3), &["linux.devices[0].type"]),
            ("/linux/devices", device("/dev/x", "c", -1, 3), &["linux.devices[0].major", "4095"]),
            ("/linux/devices", device("/dev/x", "c", 1, 1 << 20), &["linux.devices[0].minor", "1048575"]),
            ("/linux/devices", device("/file/x", "c", 1, 3), &["linux.devices[0]", "not a directory"]),
            ("/linux/devices", device("/dev", "c", 1, 3), &["linux.devices[0]"]),
            (
                "/linux/devices",
                json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}, {"path": "/dev/x", "type": "c", "major": 1, "minor": 5}]),
                &["linux.devices[1].path"],
            ),
            ("/linux/maskedPaths", json!(["proc/keys"]), &["linux.maskedPaths[0]", "absolute"]),
            ("/linux/maskedPaths", json!(["/proc/keys", "/"]), &["linux.maskedPaths[1]", "root itself"]),
            ("/linux/readonlyPaths", json!(["x"]), &["linux.readonlyPaths[0]", "absolute"]),
            ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), &["linux.seccomp"]),
            (
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"}]}),
                &["linux.seccomp"],
            ),
            (
                "/linux/mountLabel",
                json!("system_u:object_r:x"),
                &["linux.mountLabel", "SELinux is not enabled"],
            ),
            ("/linux/mountLabel", json!("a\nb"), &["linux.mountLabel", "control character"]),
            (
                "/linux/intelRdt",
                json!({"closID": "a/b"}),
                &["linux.intelRdt.closID", "not one name of a directory"],
            ),
            ("/linux/netDevices", json!({"eth9": {}}), &["linux.netDevices"]),
            ("/process/apparmorProfile", json!("strict"), &["process.apparmorProfile"]),
            ("/process/selinuxLabel", json!("a:b:c"), &["process.selinuxLabel"]),
            ("/hooks", json!({"prestart": [{"path": "relative"}]}), &["hooks.prestart[0].path", "absolute"]),
            (
                "/hooks",
                json!({"poststop": [{"path": "/bin/true"}, {"path": "/bin/true", "timeout": 0}]}),
                &["hooks.poststop[1].timeout"],
            ),
            (
                "/hooks",
                json!({"poststart": [{"path": "/bin/true", "timeout": -1}]}),
                &["hooks.poststart[0].timeout"],
            ),
            (
                "/hooks",
                json!({"createRuntime": [{"path": "/bin/true", "args": ["a\u{0}"]}]}),
                &["hooks.createRuntime[0]", "NUL"],
            ),
            (
                "/hooks",
                json!({"createRuntime": [{"path": "/bin/true", "env": ["novalue"]}]}),
                &["hooks.createRuntime[0]"],
            ),
        ],
    );
}

/// What the user who is to run in the container may not do, the runtime does not do in his place.
#[test]
fn rights_of_the_user() {
    requires!(Need::Root);
    let mut trial = Trial::new(Bundle::new().file("/private/program", "#!/bin/sh\n"));
    fs::set_permissions(
        trial.bundle().rootfs().join("private"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let user = ("/process/user", json!({"uid": 1000, "gid": 1000}));
    let none = ("/process/capabilities", json!(ABSENT));
    let args = ("/process/args", json!(["/private/program"]));
    trial.refuses(&[user, none, args], &["process.args[0]", "permission denied"]);
    let lost = [("/process/env", json!(["PATH=/nowhere"])), ("/process/args", json!(["true"]))];
    trial.refuses(&lost, &["exec: \"true\": executable file not found in $PATH", "PATH is \"/nowhere\""]);
}
