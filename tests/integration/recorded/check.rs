//! Compares what a container reports with what its configuration asks for.

use super::report::Report;
use crate::harness::View;
use serde_json::Value;
use std::fs;

/// All that can be read back inside of the container.
pub fn inside(config: &Value, report: &Report, view: View) {
    identity(config, report);
    limits(config, report);
    surroundings(config, report);
    namespaces(config, report);
    for mount in list(&config["mounts"]) {
        one_mount(mount, report, view);
    }
    covered_paths(config, report);
    devices(config, report);
    abilities(config, report);
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().filter_map(Value::as_str).collect()
}

fn identity(config: &Value, report: &Report) {
    let user = &config["process"]["user"];
    for (key, id) in [("Uid:", &user["uid"]), ("Gid:", &user["gid"])] {
        assert_eq!(report.line("status", key), format!("{id} {id} {id} {id}"), "{key}");
    }
    let groups: Vec<String> = list(&user["additionalGids"]).iter().map(Value::to_string).collect();
    assert_eq!(report.line("status", "Groups:"), groups.join(" "));
    let no_new_privs = config["process"]["noNewPrivileges"] == true;
    assert_eq!(report.line("status", "NoNewPrivs:"), u8::from(no_new_privs).to_string());
    let seccomp = if config["linux"]["seccomp"].is_object() { "2" } else { "0" };
    assert_eq!(report.line("status", "Seccomp:"), seccomp);
    let umask = user["umask"].as_u64().unwrap_or(0o022);
    assert_eq!(report.section("umask"), format!("{umask:04o}"));
}

fn limits(config: &Value, report: &Report) {
    for limit in list(&config["process"]["rlimits"]) {
        let name = match limit["type"].as_str().unwrap() {
            "RLIMIT_NOFILE" => "Max open files",
            "RLIMIT_NPROC" => "Max processes",
            other => panic!("{other}"),
        };
        let line = report.line("limits", name);
        let want = format!("{} {} ", limit["soft"], limit["hard"]);
        assert!(line.starts_with(&want), "{name}: {line}, not {want}");
    }
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let score = config["process"]["oomScoreAdj"].as_i64().map(|score| score.to_string());
    assert_eq!(report.section("oom"), score.unwrap_or(own.trim().into()), "oomScoreAdj");
}

fn surroundings(config: &Value, report: &Report) {
    let process = &config["process"];
    let home = if process["user"]["uid"] == 1000 { "HOME=/home/app" } else { "HOME=/root" };
    let environment: Vec<&str> = texts(&process["env"]).into_iter().chain([home]).collect();
    assert_eq!(report.section("environment").lines().collect::<Vec<_>>(), environment);
    assert_eq!(report.section("cwd"), process["cwd"].as_str().unwrap());
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let hostname = config["hostname"].as_str().unwrap_or(own.trim());
    assert_eq!(report.section("hostname"), hostname);
    let terminal = report.section("terminal").lines().next().unwrap_or_default().to_owned();
    if process["terminal"] == true {
        assert!(["/dev/pts/0", "/dev/console"].contains(&terminal.as_str()), "{terminal}");
        assert_eq!(report.mount_at("/dev/console").map(|mount| mount.fs_type).as_deref(), Some("devpts"));
    } else {
        assert_eq!(terminal, "not a tty");
    }
    for (name, value) in config["linux"]["sysctl"].as_object().into_iter().flatten() {
        assert_eq!(report.line("sysctl", name), value.as_str().unwrap(), "{name}");
    }
}

fn namespaces(config: &Value, report: &Report) {
    for (kind, file) in [
        ("cgroup", "cgroup"),
        ("ipc", "ipc"),
        ("mount", "mnt"),
        ("network", "net"),
        ("pid", "pid"),
        ("time", "time"),
        ("user", "user"),
        ("uts", "uts"),
    ] {
        let new = list(&config["linux"]["namespaces"]).iter().any(|ns| ns["type"] == kind);
        let own = fs::read_link(format!("/proc/self/ns/{file}")).map(|path| path.display().to_string());
        let Ok(own) = own else { continue };
        assert_eq!(report.line("namespaces", file) != own, new, "{kind}: a new one");
    }
}

fn one_mount(mount: &Value, report: &Report, view: View) {
    let destination = mount["destination"].as_str().unwrap();
    let options = texts(&mount["options"]);
    let is_bind = mount["type"] == "bind";
    let found = report.mount_at(destination).unwrap_or_else(|| panic!("no mount at {destination}"));
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        if options.contains(&flag) {
            assert!(found.has(flag), "{destination}: no {flag}: {found:?}");
        } else if !is_bind {
            assert!(!found.has(flag), "{destination}: unwanted {flag}: {found:?}");
        }
    }
    if options.contains(&"strictatime") {
        assert!(!found.has("relatime") && !found.has("noatime"), "{destination}: {found:?}");
    }
    if options.contains(&"rprivate") {
        assert!(found.is_private(), "{destination}: {found:?}");
    }
    match mount["type"].as_str().unwrap() {
        "bind" => assert!(found.root != "/" || found.fs_type != "rootfs", "{destination}: {found:?}"),
        "cgroup" => cgroup_mount(destination, report, view),
        kind => assert_eq!(found.fs_type, kind, "{destination}"),
    }
    for (option, shown) in [
        ("size=65536k", "size=65536k"),
        ("size=67108864", "size=65536k"),
        ("mode=755", "mode=755"),
        ("mode=0620", "mode=620"),
        ("ptmxmode=0666", "ptmxmode=666"),
        ("gid=5", "gid=5"),
    ] {
        if options.contains(&option) {
            assert!(found.fs_has(shown), "{destination}: {option}: {found:?}");
        }
    }
    if options.contains(&"mode=1777") {
        assert!(report.line("paths", destination).ends_with(" 1777"), "{destination}: mode=1777");
    }
}

/// A mount of type cgroup shows the container's own cgroup: its first process is in the root of it.
fn cgroup_mount(destination: &str, report: &Report, view: View) {
    if view == View::V2 {
        let processes = report.line("cgroup", "cgroup.procs");
        assert!(processes.split(' ').any(|pid| pid == "1"), "{destination}: {processes}");
        return;
    }
    let controllers = ["memory", "cpu", "pids", "devices", "freezer"];
    let shown: Vec<_> =
        controllers.iter().filter_map(|name| report.mount_at(&format!("{destination}/{name}"))).collect();
    assert!(!shown.is_empty(), "{destination}: {}", report.section("mountinfo"));
    for mount in shown {
        let name = mount.point.rsplit('/').next().unwrap_or_default().to_owned();
        assert_eq!(mount.fs_type, "cgroup", "{mount:?}");
        let processes = report.line("cgroup", &format!("{name}/cgroup.procs"));
        assert!(processes.split(' ').any(|pid| pid == "1"), "{name}: {processes}");
    }
}

fn covered_paths(config: &Value, report: &Report) {
    let (masked, readonly) = (&config["linux"]["maskedPaths"], &config["linux"]["readonlyPaths"]);
    let seen = |paths: &Value| -> Vec<(String, String)> {
        texts(paths).into_iter().filter_map(|p| Some((p.into(), report.find("paths", p)?))).collect()
    };
    let (masked_here, readonly_here) = (seen(masked), seen(readonly));
    for (path, about) in &masked_here {
        let mount = report.mount_at(path).unwrap_or_else(|| panic!("{path} is not masked"));
        let kind = about.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert!(["file 0", "directory 0"].contains(&kind.as_str()), "{path}: {about}: {mount:?}");
    }
    for (path, _) in &readonly_here {
        let mount = report.mount_at(path).unwrap_or_else(|| panic!("{path} is not read-only"));
        assert!(mount.has("ro"), "{mount:?}");
    }
    assert_eq!(masked_here.is_empty(), list(masked).is_empty(), "every kernel has some: {masked}");
    assert_eq!(readonly_here.is_empty(), list(readonly).is_empty(), "every kernel has some: {readonly}");
}

fn devices(config: &Value, report: &Report) {
    let defaults = [
        ("/dev/null", "1:3"),
        ("/dev/zero", "1:5"),
        ("/dev/full", "1:7"),
        ("/dev/random", "1:8"),
        ("/dev/urandom", "1:9"),
        ("/dev/tty", "5:0"),
    ];
    let asked = list(&config["linux"]["devices"]);
    for (path, number) in defaults {
        if !asked.iter().any(|device| device["path"] == path) {
            assert_eq!(
                report.line("devices", path),
                format!("character special file {number} 666 0:0"),
                "{path}"
            );
        }
    }
    for device in asked {
        let path = device["path"].as_str().unwrap();
        // A new devpts has its own; of the host's this would be the wrong one.
        if path == "/dev/ptmx" {
            continue;
        }
        let kind = if device["type"] == "b" { "block" } else { "character" };
        let number = |name: &str| device[name].as_u64().unwrap();
        let want = format!(
            "{kind} special file {:x}:{:x} {:o} {}:{}",
            number("major"),
            number("minor"),
            number("fileMode"),
            number("uid"),
            number("gid"),
        );
        assert_eq!(report.line("devices", path), want, "{path}");
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        assert_eq!(report.line("links", link), target);
    }
    assert!(["pts/ptmx", "/dev/pts/ptmx"].contains(&report.line("links", "/dev/ptmx").as_str()));
}

fn abilities(config: &Value, report: &Report) {
    let can = |what: &str| report.has("can", what);
    assert!(can("read-zero") && can("full"), "the default devices can be used");
    assert_eq!(can("write-root"), config["root"]["readonly"] != true, "root.readonly");
    if list(&config["mounts"]).iter().any(|mount| mount["destination"] == "/tmp") {
        assert!(can("write-tmp"), "a tmpfs on a read-only root");
    }
    let hosts = list(&config["mounts"]).iter().find(|mount| mount["destination"] == "/etc/hosts");
    if hosts.is_some_and(|mount| texts(&mount["options"]).contains(&"ro")) {
        assert!(!can("write-hosts"), "a read-only file");
    }
    let is_admin = texts(&config["process"]["capabilities"]["effective"]).contains(&"CAP_SYS_ADMIN");
    assert_eq!(can("set-hostname"), is_admin, "CAP_SYS_ADMIN");
}
