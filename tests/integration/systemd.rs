//! Cgroups made by systemd: the unit as `systemctl` shows it, its cgroup, and what becomes of both.

use crate::harness::{Bundle, Need, hierarchies, requires, runtime, wait_until};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A container whose cgroup is made by systemd; its unit is `test-ID.scope`.
pub fn managed(b: Bundle) -> Bundle {
    let path = format!("machine.slice:test:{}", b.id);
    b.global("--systemd-cgroup").set("/linux/cgroupsPath", path)
}

pub fn unit(b: &Bundle) -> String {
    format!("test-{}.scope", b.id)
}

fn dir(b: &Bundle) -> PathBuf {
    Path::new("/sys/fs/cgroup/machine.slice").join(unit(b))
}

/// What systemd says of properties of a unit, `Name=value` each.
pub fn show(unit: &str, properties: &str) -> Vec<String> {
    let out = Command::new("systemctl").args(["show", "--property", properties, unit]).output().unwrap();
    let mut lines: Vec<_> = String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[track_caller]
pub fn assert_no_unit(unit: &str) {
    // A slice needs no definition: whether there is one is all the same.
    let (properties, expected) = match unit.ends_with(".slice") {
        true => ("ActiveState", ["ActiveState=inactive"].as_slice()),
        false => ("ActiveState,LoadState", ["ActiveState=inactive", "LoadState=not-found"].as_slice()),
    };
    assert_eq!(show(unit, properties), expected, "{unit}");
}

#[track_caller]
pub fn systemctl(args: &[&str]) {
    assert!(Command::new("systemctl").args(args).status().unwrap().success(), "systemctl {args:?}");
}

fn value(b: &Bundle, file: &str) -> String {
    fs::read_to_string(dir(b).join(file)).unwrap().trim().to_owned()
}

#[test]
fn units_go_by_the_path_that_engines_give() {
    requires!(Need::Systemd);
    // (the path, the cgroup), where ID stands for the id, and FLAT for the id without dashes.
    for (path, cgroup) in [
        (None, "system.slice/orlop-ID.scope"),
        (Some("machine.slice:libpod:ID"), "machine.slice/libpod-ID.scope"),
        (Some("system.slice:docker:ID"), "system.slice/docker-ID.scope"),
        (
            Some("kubepods-burstable-podot_1.slice:cri-containerd:ID"),
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podot_1.slice/cri-containerd-ID.scope",
        ),
        (Some("-.slice::ID"), "ID.scope"),
        // The dashes in the name of a slice are its levels.
        (Some("::otest-FLAT.slice"), "otest.slice/otest-FLAT.slice"),
    ] {
        let b = Bundle::idle().global("--systemd-cgroup").remove("/linux/cgroupsPath");
        let (id, flat) = (b.id.clone(), b.id.replace('-', "_"));
        let named = |text: &str| text.replace("ID", &id).replace("FLAT", &flat);
        let cgroup = named(cgroup);
        let b = match path {
            Some(path) => b.set("/linux/cgroupsPath", named(path)),
            None => b,
        };
        let b = b.up();
        let out = b.exec(&["cat", "/proc/self/cgroup"]).ok();
        assert_eq!(out.stdout, format!("0::/{cgroup}\n"), "{path:?}");
        b.kill("KILL").ok();
        wait_until("it is stopped", || b.status() == "stopped");
        b.delete().ok();
        assert_no_unit(cgroup.rsplit('/').next().unwrap());
        b.assert_nothing_left();
    }
}

#[test]
fn an_attached_run_leaves_no_unit() {
    requires!(Need::Systemd);
    let b = managed(Bundle::sh("cat /proc/self/cgroup"));
    let out = b.run().ok();
    assert_eq!(out.stdout, format!("0::/machine.slice/{}\n", unit(&b)));
    assert_no_unit(&unit(&b));
    b.assert_nothing_left();
    // The name is free at once.
    b.run().ok();
}

#[test]
fn annotations_are_properties_of_the_unit() {
    requires!(Need::Systemd);
    let b = managed(Bundle::idle())
        .set(
            "/annotations",
            json!({
                "org.systemd.property.TimeoutStopUSec": "uint64 12000000",
                "org.systemd.property.RuntimeMaxSec": "3000",
                "org.systemd.property.DefaultDependencies": "true",
                "org.systemd.property.After": "['dbus.service']",
                "org.systemd.property.Description": "'what it is'",
            }),
        )
        .up();
    let shown = show(&unit(&b), "TimeoutStopUSec,RuntimeMaxUSec,DefaultDependencies,Description");
    let expected =
        ["DefaultDependencies=yes", "Description=what it is", "RuntimeMaxUSec=50min", "TimeoutStopUSec=12s"];
    assert_eq!(shown, expected);
    assert!(show(&unit(&b), "After")[0].contains("dbus.service"));
    drop(b);
    let b = managed(Bundle::idle()).set("/annotations", json!({"org.systemd.property.NoSuchThing": "true"}));
    b.create().fails(1, &[&format!("start {} by systemd: linux.cgroupsPath: ", unit(&b)), "NoSuchThing"]);
    assert_no_unit(&unit(&b));
    b.assert_nothing_left();
}

#[test]
fn a_subgroup_has_the_container_and_its_limits() {
    requires!(Need::Systemd);
    let b = managed(Bundle::idle())
        .set("/annotations", json!({"run.oci.systemd.subgroup": "inner"}))
        .set("/linux/resources/pids", json!({"limit": 50}))
        .up();
    let out = b.exec(&["cat", "/proc/self/cgroup"]).ok();
    assert_eq!(out.stdout, format!("0::/machine.slice/{}/inner\n", unit(&b)));
    assert_eq!((value(&b, "cgroup.procs"), value(&b, "inner/pids.max")), (String::new(), "50".to_owned()));
    b.delete_force().ok();
    assert_no_unit(&unit(&b));
    b.assert_nothing_left();
}

#[test]
fn a_failed_unit_gives_its_name_up_and_a_live_one_does_not() {
    requires!(Need::Systemd);
    let b = managed(Bundle::idle());
    let unit = unit(&b);
    let scope = |property: &str| {
        let mut command = Command::new("systemd-run");
        command.args(["--scope", "--quiet", "--slice=system.slice", "--unit", &unit, "-p", property]);
        command.args(["sleep", "300"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut failed = scope("RuntimeMaxSec=100ms");
    wait_until("the scope has failed", || show(&unit, "ActiveState") == ["ActiveState=failed"]);
    let _ = failed.kill();
    failed.wait().unwrap();
    b.create().ok();
    b.delete_force().ok();
    assert_no_unit(&unit);
    let mut live = scope("RuntimeMaxSec=1h");
    wait_until("the scope is there", || show(&unit, "ActiveState") == ["ActiveState=active"]);
    b.create().fails(1, &["linux.cgroupsPath: ", &unit, "is there another container with this"]);
    assert!(!b.state_root().join(&b.id).exists());
    systemctl(&["stop", &unit]);
    live.wait().unwrap();
}

#[test]
fn a_failed_create_leaves_no_unit() {
    requires!(Need::Systemd);
    let b = managed(Bundle::idle()).mount("/x", "bind", "/no/such/file", &["bind"]);
    b.create().fails(1, &["mounts["]);
    assert_no_unit(&unit(&b));
    b.assert_nothing_left();
    // One that fails between the unit and the process.
    let b = managed(Bundle::idle()).set("/linux/resources/unified", json!({"memory.oom.group": "many"}));
    b.create().fails(1, &["memory.oom.group"]);
    assert_no_unit(&unit(&b));
    b.assert_nothing_left();
}

#[test]
fn what_a_killed_create_has_made_is_found() {
    requires!(Need::Systemd);
    let b = managed(Bundle::idle()).hook("prestart", "echo hook >> /proc/$PPID/fd/1; sleep 300");
    b.write_config();
    let create = b.spawn(&b.with_bundle("create", &[]));
    wait_until("the unit is there", || dir(&b).exists());
    create.signal(nix::sys::signal::Signal::SIGKILL);
    create.wait();
    b.delete_force().ok();
    assert_no_unit(&unit(&b));
    assert!(!dir(&b).exists());
}

/// What a command says to systemd: the number of its connections, and of the messages that it sends on them.
fn conversation(b: &Bundle, args: &[String]) -> (usize, usize) {
    let log = b.io().join(format!("strace-{}", args[0]));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-s", "8", "-e", "trace=connect,write,close", "-o"]).arg(&log);
    strace.arg(runtime()).args(["--systemd-cgroup", "--root"]).arg(b.state_root()).args(args);
    let status = strace.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{args:?}");
    let log = fs::read_to_string(log).unwrap();
    // The connection goes by way of the directory's descriptor.
    let connects = log.lines().filter(|line| line.contains("connect(") && line.contains("/private\""));
    // A call begins with its byte order, its type, its flags and the version.
    let messages = log.lines().filter(|line| line.contains("\"l\\1\\0\\1"));
    (connects.count(), messages.count())
}

#[test]
fn a_create_is_one_connection_and_one_message() {
    requires!(Need::Systemd, Need::Program("strace"));
    let b = managed(Bundle::new().args(["/bin/true"]));
    b.write_config();
    // The connect of the private socket, and the messages; strace ends with the container.
    let dir = b.dir().to_str().unwrap().to_owned();
    let run = ["run", "--keep", "--bundle", &dir, &b.id].map(str::to_owned);
    assert_eq!(conversation(&b, &run), (1, 1));
    // systemd has seen the end of the container's last process and forgotten the unit by itself, or is asked to.
    wait_until("the unit is gone", || show(&unit(&b), "LoadState") == ["LoadState=not-found"]);
    assert_eq!(conversation(&b, &["delete".to_owned(), b.id.clone()]), (0, 0));
    b.assert_nothing_left();
}

#[test]
fn commands_that_change_no_limits_do_without_systemd() {
    requires!(Need::Systemd, Need::Program("strace"));
    let b = managed(Bundle::idle()).up();
    for line in ["state ID", "list", "ps ID", "pause ID", "resume ID", "exec ID true", "kill ID KILL"] {
        let args: Vec<_> = line.split(' ').map(|word| word.replace("ID", &b.id)).collect();
        assert_eq!(conversation(&b, &args), (0, 0), "{line}");
    }
}

#[test]
fn hosts_and_paths_without_systemd_get_an_error() {
    let systemd = Path::new("/run/systemd/system").exists();
    let v1 = hierarchies().iter().any(|hierarchy| !hierarchy.v2);
    for (path, error) in [
        ("/docker/x", "linux.cgroupsPath: \"/docker/x\" is not of the form slice:prefix:name"),
        ("a.slice:x:", "names no unit"),
    ] {
        let b = managed(Bundle::idle()).set("/linux/cgroupsPath", path);
        let expected = if v1 { "systemd makes cgroups of version 2 only" } else { error };
        b.create().fails(1, &[expected]);
        b.assert_nothing_left();
    }
    if !systemd && !v1 {
        let b = managed(Bundle::idle());
        b.create().fails(1, &["this host was not booted with it", "leave out --systemd-cgroup"]);
        b.assert_nothing_left();
    }
}

/// A container of the user `user`, made by his own systemd; the script says what to do with it.
#[test]
fn a_user_has_cgroups_made_by_his_own_systemd() {
    requires!(Need::Systemd, Need::Program("asuser"));
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let b = Bundle::idle().namespace("user").namespace("cgroup");
    let b = b.set("/linux/uidMappings", map(1000)).set("/linux/gidMappings", map(1000));
    let path = format!("user.slice:test:{}", b.id);
    let b = b
        .set("/linux/cgroupsPath", path)
        .set("/linux/resources/pids", json!({"limit": 50}))
        .without_mount("/dev/pts");
    b.write_config();
    let as_user = |script: &str| {
        let head = format!(
            "o='{} --root /run/user/1000/test --systemd-cgroup'; b={}; id={}; set -e;",
            runtime().display(),
            b.dir().display(),
            b.id
        );
        let out =
            Command::new("asuser").arg(format!("{head} {script}")).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        (out.status.success(), text + &String::from_utf8_lossy(&out.stderr))
    };
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    let (good, said) = as_user(
        "$o create -b $b $id >/dev/null; $o start $id; cat /proc/$($o state $id | grep -o '\"pid\": [0-9]*' | cut -c8-)/cgroup;
         systemctl --user show -p TasksMax test-$id.scope; $o delete --force $id;
         systemctl --user show -p LoadState test-$id.scope",
    );
    let expected = format!("0::{manager}/user.slice/{}\nTasksMax=50\nLoadState=not-found\n", unit(&b));
    assert!(good && said == expected, "{said}");
    // A controller that users are not given.
    let mut config = b.config.clone();
    config["linux"]["resources"] = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]});
    fs::write(b.dir().join("config.json"), config.to_string()).unwrap();
    let (good, said) = as_user("$o create -b $b $id");
    assert!(!good && said.contains("linux.resources.hugepageLimits[0]"), "{said}");
    assert!(said.contains("can't have controller \"hugetlb\"") && said.contains("Delegate="), "{said}");
    let (_, said) = as_user("systemctl --user show -p LoadState test-$id.scope; ls $XDG_RUNTIME_DIR/test");
    assert_eq!(said, "LoadState=not-found\n");
}
