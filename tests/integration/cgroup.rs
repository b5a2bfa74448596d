//! Cgroups: where the container is, what it sees of them, and that they go with it; on a hybrid host, and
//! in views of it that have v1 or v2 only.

use crate::harness::{Bundle, Need, View, cgroups_named, hierarchies, requires, wait_until};
use std::fs;
use std::path::{Path, PathBuf};

/// The views that this host can give, or the one that is asked for.
fn views() -> Vec<View> {
    if View::from_env() != View::Host {
        return vec![View::from_env()];
    }
    let has = |v2: bool| hierarchies().iter().any(|h| h.v2 == v2);
    let mut views = vec![View::Host];
    if has(true) && has(false) {
        views.extend([View::V1, View::V2]);
    }
    views
}

/// The hierarchies that a container in this view belongs to.
fn seen(view: View) -> Vec<crate::harness::Hierarchy> {
    let only = |v2: bool| hierarchies().into_iter().filter(move |h| h.v2 == v2).collect();
    match view {
        View::Host => hierarchies(),
        View::V1 => only(false),
        View::V2 => only(true),
    }
}

/// The cgroup directories of the container, one a hierarchy.
fn cgroups(b: &Bundle, view: View) -> Vec<PathBuf> {
    seen(view).iter().map(|h| h.path.join(b.cgroup().trim_start_matches('/'))).collect()
}

fn contains(cgroup: &Path, pid: i32) -> bool {
    let text = fs::read_to_string(cgroup.join("cgroup.procs"))
        .unwrap_or_else(|e| panic!("{}: {e}", cgroup.display()));
    text.lines().any(|line| line == pid.to_string())
}

#[test]
fn a_container_is_in_its_cgroup_on_every_hierarchy_and_takes_it_along() {
    for view in views() {
        let b = Bundle::idle().view(view);
        b.create().ok();
        let pid = b.pid();
        for cgroup in cgroups(&b, view) {
            assert!(contains(&cgroup, pid), "{view:?}: created in {}", cgroup.display());
        }
        b.start().ok();
        assert_eq!(b.pid(), pid);
        for cgroup in cgroups(&b, view) {
            assert!(contains(&cgroup, pid), "{view:?}: runs in {}", cgroup.display());
        }
        b.delete_force().ok();
        assert_eq!(cgroups_named(&b.id), Vec::<PathBuf>::new(), "{view:?}");
        b.assert_nothing_left();
    }
}

#[test]
fn a_relative_path_and_none_lead_to_a_cgroup_of_its_own() {
    for view in views() {
        let relative = Bundle::idle().view(view);
        let path = format!("orlop-test-{}", relative.id);
        let none = Bundle::idle().view(view).remove("/linux/cgroupsPath");
        let id = none.id.clone();
        for (b, name) in [(relative.set("/linux/cgroupsPath", path.as_str()), path), (none, id)] {
            let b = b.up();
            let pid = b.pid();
            for hierarchy in seen(view) {
                let found: Vec<PathBuf> =
                    cgroups_named(&b.id).into_iter().filter(|p| p.starts_with(&hierarchy.path)).collect();
                assert!(
                    found.iter().any(|cgroup| cgroup.ends_with(&name) && contains(cgroup, pid)),
                    "{view:?}: {}: {found:?}",
                    hierarchy.path.display()
                );
            }
            b.delete_force().ok();
            b.assert_nothing_left();
        }
    }
}

#[test]
fn an_id_that_is_the_name_of_anothers_cgroup_is_refused() {
    for view in views() {
        let other = Bundle::idle().view(view).up();
        let mut b = Bundle::idle().view(view).remove("/linux/cgroupsPath");
        b.id = other.cgroup().trim_start_matches('/').to_owned();
        b.create().fails(1, &["linux.cgroupsPath", "container's cgroup is not empty"]).one_line();
        assert_eq!(other.status(), "running", "{view:?}");
        for cgroup in cgroups(&other, view) {
            assert!(contains(&cgroup, other.pid()), "{view:?}: {}", cgroup.display());
        }
        other.delete_force().ok();
        b.assert_nothing_left();
    }
    // One that only a hierarchy of version 1 has.
    for hierarchy in seen(View::Host).iter().filter(|hierarchy| !hierarchy.v2) {
        let b = Bundle::idle().remove("/linux/cgroupsPath");
        let cgroup = hierarchy.path.join(&b.id);
        fs::create_dir(&cgroup).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let _ = fs::copy(hierarchy.path.join(file), cgroup.join(file));
        }
        let mut sleeper = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(cgroup.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        b.create().fails(1, &["linux.cgroupsPath", "container's cgroup is not empty"]).one_line();
        assert!(contains(&cgroup, sleeper.id().try_into().unwrap()), "{}", cgroup.display());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        fs::remove_dir(&cgroup).unwrap();
        b.assert_nothing_left();
    }
}

#[test]
fn a_cgroup_in_the_place_of_a_file_is_refused() {
    for view in views() {
        // As the id of a container could have it, too.
        let b = Bundle::idle().view(view).set("/linux/cgroupsPath", "/cgroup.procs");
        b.create().fails(1, &["linux.cgroupsPath", "/cgroup.procs\" is a file of the kernel"]).one_line();
        b.assert_nothing_left();
    }
}

#[test]
fn a_nested_path_is_made() {
    for view in views() {
        let b = Bundle::idle().view(view);
        let path = format!("{}/deep/er", b.cgroup());
        let b = b.set("/linux/cgroupsPath", path).up();
        for cgroup in cgroups(&b, view) {
            assert!(contains(&cgroup.join("deep/er"), b.pid()), "{view:?}: {}", cgroup.display());
        }
        b.delete_force().ok();
        for cgroup in cgroups(&b, view) {
            assert!(!cgroup.join("deep/er").exists(), "{view:?}: {}", cgroup.display());
        }
    }
}

#[test]
fn below_what_is_made_on_the_way_the_kernel_fills_cpusets() {
    for view in views() {
        let b = Bundle::idle().view(view);
        let path = format!("{}/first", b.cgroup());
        let b = b.set("/linux/cgroupsPath", path).up();
        for cgroup in cgroups(&b, view).iter().filter(|cgroup| cgroup.join("cgroup.clone_children").exists())
        {
            let read = |name: &str| fs::read_to_string(cgroup.join(name)).unwrap_or_default();
            if !cgroup.join("cpuset.cpus").exists() {
                assert_eq!(read("cgroup.clone_children"), "0\n", "{view:?}: {}", cgroup.display());
                continue;
            }
            fs::create_dir(cgroup.join("second")).unwrap();
            for name in ["cpuset.cpus", "cpuset.mems"] {
                assert!(!read(name).trim().is_empty(), "{view:?}: {name}");
                assert_eq!(read(&format!("first/{name}")), read(name), "{view:?}: {name}");
                assert_eq!(read(&format!("second/{name}")), read(name), "{view:?}: {name}");
            }
            fs::remove_dir(cgroup.join("second")).unwrap();
        }
        b.delete_force().ok();
    }
}

#[test]
fn cgroups_below_the_containers_go_with_it() {
    for view in views() {
        let b = Bundle::idle().view(view).up();
        for cgroup in cgroups(&b, view) {
            fs::create_dir_all(cgroup.join("sub/subsub")).unwrap();
        }
        b.kill("KILL").ok();
        wait_until("it is stopped", || b.status() == "stopped");
        b.delete().ok();
        b.assert_nothing_left();
    }
}

#[test]
fn pause_freezes_the_cgroup_and_resume_thaws_it() {
    for view in views() {
        let b = Bundle::idle().view(view).up();
        // On a hybrid host either kind of freezer will do.
        let frozen = || {
            let read = |file: &str| {
                cgroups(&b, view)
                    .iter()
                    .map(|c| fs::read_to_string(c.join(file)).unwrap_or_default())
                    .collect::<String>()
            };
            read("freezer.state").contains("FROZEN") || read("cgroup.events").contains("frozen 1")
        };
        assert!(!frozen(), "{view:?}");
        b.cmd(&["pause", &b.id]).ok();
        assert!(frozen(), "{view:?}: pause returns when it is frozen");
        assert_eq!(b.status(), "paused");
        b.cmd(&["resume", &b.id]).ok();
        assert!(!frozen(), "{view:?}");
        assert_eq!(b.status(), "running");
    }
}

#[test]
fn a_process_that_forks_cannot_leave() {
    for view in views() {
        let script = "(setsid sh -c 'sleep 300 & sleep 300 & wait' &); echo ready; sleep 300";
        let b = Bundle::sh(script).view(view).without_namespace("pid").up();
        wait_until("all have started", || {
            let out = b.cmd(&["ps", "--format", "json", &b.id]).ok();
            out.stdout.matches(',').count() >= 3
        });
        b.delete_force().ok();
        b.assert_nothing_left();
    }
}

/// What a container with a cgroup mount sees there.
const LOOK: &str = "cd /sys/fs/cgroup; for dir in . *; do [ -f $dir/cgroup.procs ] && echo $dir $(cat $dir/cgroup.procs); done; \
                    cat /proc/self/mountinfo; mkdir ./own pids/own 2>&1; :";

// runc leaves the tmpfs of v1 writable.
#[test]
fn a_cgroup_mount_shows_the_containers_own_cgroup() {
    for view in views() {
        for namespace in [false, true] {
            let b = Bundle::sh(LOOK).view(view).mount(
                "/sys",
                "sysfs",
                "sysfs",
                &["nosuid", "noexec", "nodev", "ro"],
            );
            let b = b.mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"],
            );
            let b = if namespace { b.namespace("cgroup") } else { b };
            let out = b.run().ok();
            let v1 = seen(view).iter().any(|h| !h.v2);
            let names: Vec<String> = if v1 {
                let paths = seen(view).into_iter().filter(|h| !h.v2).map(|h| h.path);
                paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
            } else {
                vec![".".into()]
            };
            for name in names {
                // The shell and its subshell, and nobody else: 0 would be a process of the host.
                let procs = out.field(&format!("{name} "));
                let pids: Vec<&str> = procs.split(' ').collect();
                assert!(
                    pids.contains(&"1") && !pids.contains(&"0") && pids.len() <= 3,
                    "{view:?} {name}: {procs}"
                );
            }
            let mount = out.mount_at("/sys/fs/cgroup");
            assert_eq!(mount.fs_type, if v1 { "tmpfs" } else { "cgroup2" }, "{view:?}");
            for option in ["ro", "nosuid", "noexec", "nodev"] {
                assert!(mount.has(option), "{view:?}: {option}: {mount:?}");
            }
            assert_eq!(
                out.stdout.matches("Read-only file system").count(),
                if v1 { 2 } else { 1 },
                "{view:?}: {out}"
            );
            b.assert_nothing_left();
        }
    }
}

#[test]
fn a_writable_cgroup_mount_lets_the_container_make_its_own() {
    for view in views() {
        let v1 = seen(view).iter().any(|h| !h.v2);
        let dir = if v1 { "/sys/fs/cgroup/pids" } else { "/sys/fs/cgroup" };
        let script = format!(
            "mkdir -p {dir}/own/deep && echo $$ > {dir}/own/deep/cgroup.procs && cat /proc/self/cgroup"
        );
        let b = Bundle::sh(&script).view(view).namespace("cgroup").mount("/sys", "sysfs", "sysfs", &["ro"]);
        let b = b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
        let out = b.run().ok();
        assert!(out.lines().iter().any(|line| line.ends_with(":/own/deep")), "{view:?}: {out}");
        b.assert_nothing_left();
    }
}

#[test]
fn a_cgroup_that_the_container_may_write_to_is_its_users() {
    use std::os::unix::fs::MetadataExt;
    requires!(Need::CgroupV2, Need::UserNamespace);
    // (the mount's option, a cgroup namespace of its own, the process's user, the owner)
    for (option, namespace, uid, owner) in
        [("rw", true, 0, 100_000), ("rw", true, 7, 100_007), ("ro", true, 0, 0), ("rw", false, 0, 0)]
    {
        let b = Bundle::idle().view(View::V2).user_namespace().set("/process/user/uid", uid);
        let b = b.mount("/sys", "sysfs", "sysfs", &["ro"]);
        let b = b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", option]);
        let b = if namespace { b.namespace("cgroup") } else { b };
        b.create().ok();
        let cgroup = cgroups(&b, View::V2).remove(0);
        let owners = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
            .map(|file| fs::metadata(cgroup.join(file)).unwrap().uid());
        assert_eq!(owners, [owner; 4], "{option} {namespace}");
        // What would let it out of its limits is not given away.
        let others =
            ["cgroup.freeze", "cgroup.max.depth"].map(|file| fs::metadata(cgroup.join(file)).unwrap().uid());
        assert_eq!(others, [0; 2]);
    }
    let script =
        "mkdir /sys/fs/cgroup/own && echo $$ > /sys/fs/cgroup/own/cgroup.procs && cat /proc/self/cgroup";
    let b = Bundle::sh(script).view(View::V2).user_namespace().namespace("cgroup").mount(
        "/sys",
        "sysfs",
        "sysfs",
        &["ro"],
    );
    let out = b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]).run().ok();
    assert!(out.lines().iter().any(|line| line.ends_with(":/own")), "{out}");
}

#[test]
fn a_cgroup_mount_in_a_user_namespace() {
    requires!(Need::UserNamespace);
    for view in views() {
        let b = Bundle::sh(LOOK).view(view).user_namespace().namespace("cgroup");
        let b = b.mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
        let b =
            b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]);
        let out = b.run().ok();
        let v1 = seen(view).iter().any(|h| !h.v2);
        let procs = out.field(if v1 { "pids " } else { ". " });
        assert!(procs.split(' ').any(|pid| pid == "1"), "{view:?}: {out}");
    }
}

#[test]
fn in_a_cgroup_namespace_the_containers_cgroup_is_the_root() {
    for view in views() {
        let out = Bundle::sh("cat /proc/self/cgroup").view(view).namespace("cgroup").run().ok();
        let lines = out.lines();
        let own = |line: &str| {
            seen(view).iter().any(|h| {
                if h.v2 {
                    line.starts_with("0::")
                } else {
                    line.contains(&format!(":{}:", h.controllers.join(",")))
                }
            })
        };
        assert!(lines.iter().filter(|line| own(line)).all(|line| line.ends_with(":/")), "{view:?}: {out}");
        assert!(lines.iter().any(|line| own(line)), "{view:?}: {out}");
    }
}

#[test]
fn exec_enters_a_cgroup_below_the_containers() {
    for view in views() {
        let b = Bundle::idle().view(view).up();
        for cgroup in cgroups(&b, view) {
            fs::create_dir(cgroup.join("sub")).unwrap();
            // A new cpuset of v1 is empty, and takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let _ = fs::copy(cgroup.join(file), cgroup.join("sub").join(file));
            }
        }
        let out = b.exec_with(&["--cgroup", "sub"], &["cat", "/proc/self/cgroup"]).ok();
        let expected = format!("{}/sub", b.cgroup());
        let inside = out.lines().iter().filter(|line| line.ends_with(&expected)).count();
        assert!(inside >= seen(view).iter().filter(|h| !h.v2).count().max(1), "{view:?}: {out}");
        if view != View::V2 && seen(view).iter().any(|h| h.controllers == ["pids"]) {
            let out = b.exec_with(&["--cgroup", "pids:sub"], &["cat", "/proc/self/cgroup"]).ok();
            assert_eq!(
                out.lines().iter().filter(|line| line.ends_with(&expected)).count(),
                1,
                "{view:?}: {out}"
            );
        }
        let absent = "/absent/cgroup.procs: no such file or directory";
        for cgroup in ["absent", "/absent"] {
            b.exec_with(&["--cgroup", cgroup], &["true"]).fails(255, &[" adding pid ", absent]).one_line();
        }
        b.exec_with(&["--cgroup", "../escape"], &["true"]).fails(255, &["escape"]);
        b.delete_force().ok();
        b.assert_nothing_left();
    }
}

#[test]
fn exec_works_when_the_containers_processes_have_moved_below() {
    // On v2 a cgroup with children and controllers cannot hold processes: `exec` goes where init is.
    requires!(Need::CgroupV2);
    let b = Bundle::idle().view(View::V2).up();
    let cgroup = cgroups(&b, View::V2).remove(0);
    fs::create_dir(cgroup.join("init")).unwrap();
    for pid in fs::read_to_string(cgroup.join("cgroup.procs")).unwrap().lines() {
        fs::write(cgroup.join("init/cgroup.procs"), pid).unwrap();
    }
    let controllers = fs::read_to_string(cgroup.join("cgroup.controllers")).unwrap();
    for controller in controllers.split_whitespace() {
        fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    }
    let out = b.exec(&["cat", "/proc/self/cgroup"]).ok();
    let lines = out.lines();
    let line = lines.iter().find(|line| line.starts_with("0::")).unwrap();
    assert!(line.contains(&b.cgroup()), "{out}");
    if !controllers.trim().is_empty() {
        let busy = ["adding pid of the new process to cgroups", "/cgroup.procs: device or resource busy"];
        b.exec_with(&["--cgroup", "/"], &["true"]).fails(255, &busy).one_line();
    }
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn a_frozen_cgroup_is_refused() {
    for view in views() {
        // Frozen itself, or below one that is.
        for below in ["", "/below"] {
            let b = Bundle::idle().view(view);
            let path = format!("{}{below}", b.cgroup());
            let frozen = cgroups(&b, view);
            frozen.iter().for_each(|dir| fs::create_dir(dir).unwrap());
            let b = b.set("/linux/cgroupsPath", path);
            let write = |file: &str, value: &str| {
                let files = frozen.iter().map(|dir| dir.join(file)).filter(|file| file.exists());
                files.map(|file| fs::write(file, value).unwrap()).count()
            };
            // On a hybrid host either of them holds processes.
            for (file, on, off) in [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")] {
                if write(file, on) > 0 {
                    let out = b.create().fails(1, &["linux.cgroupsPath", "cgroup unexpectedly frozen"]);
                    out.one_line();
                    write(file, off);
                }
            }
            b.run_with(&["--detach"]).ok();
            b.delete_force().ok();
            frozen.iter().for_each(|dir| drop(fs::remove_dir(dir)));
            b.assert_nothing_left();
        }
    }
}
