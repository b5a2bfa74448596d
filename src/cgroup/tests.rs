//! On the host's own cgroups, as root: in all hierarchies that are mounted, and, where these are of both versions, in that of
//! version 2 alone. What a host lacks is skipped with a message.

mod freezing;

use super::*;
use crate::sys::{cred, process, signal};
use oci_spec::runtime::Linux;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Long enough for anything that has to happen.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// A cgroup of the test's own, with the version of its files.
struct Scratch {
    cgroup: Cgroup,
    layout: Layout,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.cgroup.kill_all(signal::KILL, soon());
        let _ = self.cgroup.destroy(soon());
        for parent in self.dirs().filter_map(Path::parent) {
            let _ = fs::remove_dir(parent);
        }
    }
}

impl Scratch {
    /// One for each way in which a container's cgroup can lie on this host.
    fn all(test: &str) -> Vec<Scratch> {
        if cred::euid() != 0 {
            eprintln!("skipped: needs root");
            return Vec::new();
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("orlop-unit-{}-{count}-{test}/container", process::id()));
        let layout = layout().unwrap();
        let cgroup = Cgroup::named(&CgroupPath::Absolute(path.clone()), layout, false).unwrap();
        let mut all = vec![Scratch { cgroup, layout }];
        if layout == Layout::Hybrid {
            let hierarchies = vec![unified(format!("{MOUNTS}/unified").into(), &path)];
            let cgroup = Cgroup { hierarchies, ..all[0].cgroup.clone() };
            // After the first in the list and so dropped after it: the two share a directory.
            all.push(Scratch { cgroup, layout: Layout::V2 });
        }
        all
    }

    fn plan(&self, linux: &str) -> CgroupPlan {
        let linux: Linux = serde_json::from_str(linux).unwrap();
        CgroupPlan::new(Some(&linux), "test", self.layout, None).unwrap()
    }

    fn create(&self, linux: &str) -> Result<Birthplace<'_>> {
        let plan = self.plan(linux);
        let mut birthplace = self.cgroup.create(&plan)?;
        birthplace.complete(&plan)?;
        Ok(birthplace)
    }

    /// A process in the cgroup, or in one below it.
    fn run(&self, below: &str, script: &str) -> Child {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        for hierarchy in &self.cgroup.hierarchies {
            let mut dir = hierarchy.dir.clone();
            for name in Path::new(below) {
                let above = dir.clone();
                dir.push(name);
                fs::create_dir_all(&dir).unwrap();
                if hierarchy.has("cpuset") {
                    for name in ["cpuset.cpus", "cpuset.mems"] {
                        fs::write(dir.join(name), fs::read(above.join(name)).unwrap()).unwrap();
                    }
                }
            }
            fs::write(dir.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }

    fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.cgroup.hierarchies.iter().map(|hierarchy| hierarchy.dir.as_path())
    }
}

fn pid(child: &Child) -> i32 {
    child.id().try_into().unwrap()
}

#[test]
fn made_killed_and_removed() {
    for scratch in Scratch::all("life") {
        let cgroup = &scratch.cgroup;
        let birthplace = scratch.create("{}").unwrap();
        assert_eq!(birthplace.unified.is_some(), cgroup.unified().is_some());
        assert!(scratch.dirs().all(Path::is_dir));
        let mut child = scratch.run("", "sleep 1000");
        assert!(cgroup.pids().unwrap().contains(&pid(&child)));

        let error = cgroup.destroy(Instant::now()).unwrap_err().to_string();
        assert!(error.contains(&format!("still has processes: {} (s", child.id())), "{error}");

        cgroup.kill_all(signal::KILL, soon()).unwrap();
        child.wait().unwrap();
        cgroup.destroy(soon()).unwrap();
        assert!(!scratch.dirs().any(Path::exists));
        // All that can be asked of a cgroup that is gone.
        cgroup.kill_all(signal::KILL, soon()).unwrap();
        assert!(cgroup.pids().unwrap().is_empty() && !cgroup.frozen().unwrap());
        cgroup.thaw(soon()).unwrap();
        cgroup.destroy(soon()).unwrap();
    }
}

#[test]
fn what_the_container_made_below_is_killed_and_removed_too() {
    for scratch in Scratch::all("below") {
        scratch.create("{}").unwrap();
        let mut child = scratch.run("a/b", "sleep 1000 & sleep 1001");
        fs::create_dir_all(scratch.dirs().last().unwrap().join("c/d/e")).unwrap();
        assert!(scratch.cgroup.pids().unwrap().contains(&pid(&child)));
        scratch.cgroup.kill_all(signal::KILL, soon()).unwrap();
        child.wait().unwrap();
        scratch.cgroup.destroy(soon()).unwrap();
        assert!(!scratch.dirs().any(Path::exists));
    }
}

#[test]
fn a_signal_reaches_every_process() {
    for scratch in Scratch::all("signal") {
        scratch.create("{}").unwrap();
        let mut children = [scratch.run("", "exec sleep 1000"), scratch.run("a", "exec sleep 1000")];
        scratch.cgroup.kill_all(signal::parse("TERM").unwrap(), soon()).unwrap();
        for child in &mut children {
            let status = child.wait().unwrap();
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&status),
                Some(signal::parse("TERM").unwrap())
            );
        }
        assert!(!scratch.cgroup.frozen().unwrap());
    }
}

#[test]
fn values_arrive() {
    // (controller, linux, file of v1, file of v2, content)
    let cases = [
        ("memory", r#"{"memory":{"limit":67108864}}"#, "memory.limit_in_bytes", "memory.max", "67108864"),
        ("memory", r#"{"memory":{"reservation":4096}}"#, "memory.soft_limit_in_bytes", "memory.low", "4096"),
        ("pids", r#"{"pids":{"limit":50}}"#, "pids.max", "pids.max", "50"),
        ("cpu", r#"{"cpu":{"shares":1024}}"#, "cpu.shares", "cpu.weight", "1024 100"),
        ("cpu", r#"{"cpu":{"idle":1}}"#, "cpu.idle", "cpu.idle", "1"),
        ("cpu", r#"{"cpu":{"quota":20000,"period":40000}}"#, "cpu.cfs_quota_us", "cpu.max", "20000 40000"),
        ("cpuset", r#"{"cpu":{"cpus":"0"}}"#, "cpuset.cpus", "cpuset.cpus", "0"),
        ("blkio", r#"{"blockIO":{"weight":500}}"#, "blkio.bfq.weight", "", "500"),
        (
            "hugetlb",
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            "hugetlb.2MB.limit_in_bytes",
            "hugetlb.2MB.max",
            "4194304",
        ),
    ];
    for scratch in Scratch::all("values") {
        let v2 = scratch.cgroup.only_v2();
        let offered = v2.map(|v2| fs::read_to_string(v2.mount.join("cgroup.controllers")).unwrap());
        for (controller, resources, file1, file2, content) in cases {
            let dir = match &offered {
                Some(offered) => v2.filter(|_| offered.split_whitespace().any(|name| name == controller)),
                None => scratch.cgroup.controller(controller),
            };
            let linux = format!(r#"{{"resources":{resources}}}"#);
            let Some(hierarchy) = dir else {
                // The file system of each version has its own name for block I/O.
                let name = if controller == "blkio" && v2.is_some() { "io" } else { controller };
                let error = scratch.create(&linux).unwrap_err().to_string();
                assert!(
                    error.contains(&format!("the requested cgroup controller `{name}` is not available")),
                    "{error}"
                );
                assert!(!scratch.dirs().any(Path::exists), "{error}");
                eprintln!("skipped: no controller {controller} ({error})");
                continue;
            };
            scratch.create(&linux).unwrap();
            let read =
                fs::read_to_string(hierarchy.dir.join(if v2.is_some() { file2 } else { file1 })).unwrap();
            assert!(
                read.trim() == content || content.split(' ').any(|word| word == read.trim()),
                "{read} {resources}"
            );
            scratch.cgroup.destroy(soon()).unwrap();
        }
    }
}

#[test]
fn values_that_need_each_other_arrive_in_any_order() {
    for scratch in Scratch::all("order") {
        let Some(cpu) = scratch.cgroup.controller("cpu") else {
            eprintln!("skipped: needs the cpu controller of cgroup v1");
            continue;
        };
        scratch.create(r#"{"resources":{"cpu":{"quota":1000000,"period":1000000}}}"#).unwrap();
        let mut child = Scratch { cgroup: scratch.cgroup.clone(), layout: scratch.layout };
        for hierarchy in &mut child.cgroup.hierarchies {
            hierarchy.dir.push("child");
        }
        child.create(r#"{"resources":{"cpu":{"quota":500000,"period":1000000}}}"#).unwrap();
        // With the old quota, the new period would be more than the parent has.
        let plan = scratch.plan(r#"{"resources":{"cpu":{"quota":50000,"period":100000}}}"#);
        child.cgroup.write(&plan.writes).unwrap();
        let dir = cpu.dir.join("child");
        assert_eq!(fs::read_to_string(dir.join("cpu.cfs_period_us")).unwrap(), "100000\n");
        assert_eq!(fs::read_to_string(dir.join("cpu.cfs_quota_us")).unwrap(), "50000\n");
    }
}

#[test]
fn a_failure_leaves_nothing() {
    for scratch in Scratch::all("failure") {
        let linux = match scratch.layout {
            Layout::V2 => r#"{"resources":{"unified":{"cgroup.max.depth":"many"}}}"#,
            _ => r#"{"resources":{"pids":{"limit":1},"cpu":{"cpus":"4095"}}}"#,
        };
        let error = scratch.create(linux).unwrap_err().to_string();
        assert!(error.starts_with("linux.resources."), "{error}");
        assert!(error.contains(": write(\"/sys/fs/cgroup/"), "{error}");
        assert!(!scratch.dirs().filter_map(Path::parent).any(Path::exists));
    }
}

#[test]
fn a_cgroup_with_processes_passes_no_controllers_on() {
    for scratch in Scratch::all("passed-on") {
        let offered = |v2: &&Hierarchy| {
            fs::read_to_string(v2.mount.join("cgroup.controllers")).unwrap().contains("hugetlb")
        };
        let Some(v2) = scratch.cgroup.only_v2().filter(offered) else {
            eprintln!("skipped: needs the hugetlb controller of cgroup v2");
            continue;
        };
        let linux = r#"{"resources":{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}}"#;
        let above = v2.dir.parent().unwrap();
        fs::create_dir(above).unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(above.join("cgroup.procs"), child.id().to_string()).unwrap();
        let error = scratch.create(linux).unwrap_err().to_string();
        assert!(
            error.starts_with("the container's cgroup can't have controller \"hugetlb\": linux.resources."),
            "{error}"
        );
        assert!(error.contains("cgroup.subtree_control") && error.contains(": EBUSY"), "{error}");
        assert!(
            error.ends_with(
                "(that cgroup has processes of its own, so that cgroup v2 lets it pass on nothing)"
            )
        );
        child.kill().unwrap();
        child.wait().unwrap();
        // Without them it works, from the root down.
        scratch.create(linux).unwrap();
        assert_eq!(fs::read_to_string(v2.dir.join("hugetlb.2MB.max")).unwrap(), "0\n");
    }
}

#[test]
fn a_threaded_subtree_is_refused() {
    for scratch in Scratch::all("threaded") {
        let Some(v2) = scratch.cgroup.only_v2() else { continue };
        let above = v2.dir.parent().unwrap();
        fs::create_dir(above).unwrap();
        fs::create_dir(above.join("threads")).unwrap();
        fs::write(above.join("threads/cgroup.type"), "threaded").unwrap();
        let error = scratch.create("{}").unwrap_err().to_string();
        fs::remove_dir(above.join("threads")).unwrap();
        assert!(error.starts_with("linux.cgroupsPath: the cgroup is in a threaded subtree"), "{error}");
    }
}

#[test]
fn a_cgroup_that_someone_is_in_is_refused() {
    for scratch in Scratch::all("taken") {
        if scratch.cgroup.unified().is_none_or(|unified| unified.mount == Path::new(MOUNTS).join("unified")) {
            // The name is looked up in all hierarchies of the host, not in one of them.
            continue;
        }
        scratch.create("{}").unwrap();
        let mut child = scratch.run("a", "sleep 1000");
        let path = scratch.dirs().next().unwrap().strip_prefix(MOUNTS).unwrap();
        let plan = scratch.plan(&format!(r#"{{"cgroupsPath":"/{}"}}"#, path.display()));
        let error = Cgroup::locate(&plan, scratch.layout, false).unwrap_err().to_string();
        assert!(error.starts_with("linux.cgroupsPath: container's cgroup is not empty: "), "{error}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn devices_are_denied_and_allowed() {
    let rules = r#"{"resources":{"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}}"#;
    // /dev/kmsg may be read, what is not named not at all, /dev/null is every container's. Nodes can be made of anything.
    let others = ["/dev/mem", "/dev/fuse", "/dev/loop-control"];
    let Some(other) = others
        .into_iter()
        .find(|path| fs::File::open(path).is_ok())
        .filter(|_| fs::File::open("/dev/kmsg").is_ok())
    else {
        eprintln!("skipped: needs /dev/kmsg and one of {others:?}");
        return;
    };
    let node = format!("/dev/orlop-unit-{}", process::id());
    let script = "
        : </dev/null && : >/dev/null && : </dev/kmsg || exit 1
        (: >/dev/kmsg) && exit 2
        (: <$OTHER) && exit 3
        mknod $NODE b 7 99 && (: <$NODE) && exit 4
        rm $NODE
        exit 42";
    let script = script.replace("$NODE", &node).replace("$OTHER", other);
    for scratch in Scratch::all("devices") {
        scratch.create(rules).unwrap();
        let mut child = scratch.run("", &script);
        assert_eq!(child.wait().unwrap().code(), Some(42), "{:?}", scratch.layout);

        // A second policy takes the place of the first, also where the cgroup exists already.
        scratch.create(r#"{"resources":{"devices":[{"allow":true,"access":"rwm"}]}}"#).unwrap();
        let mut child = scratch.run("", &format!(": <{other} && exit 42"));
        assert_eq!(child.wait().unwrap().code(), Some(42), "{:?}", scratch.layout);
        if let Some(v2) = scratch.cgroup.only_v2() {
            let dir = create::open_dir(&v2.dir).unwrap();
            assert_eq!(crate::sys::bpf::attached(std::os::fd::AsFd::as_fd(&dir)).unwrap().len(), 1);
        }
    }
}

#[test]
fn further_processes_follow_init() {
    for scratch in Scratch::all("exec") {
        scratch.create("{}").unwrap();
        let mut init = scratch.run("moved/here", "sleep 1000");
        let entrance = scratch.cgroup.entrance(pid(&init), &[]).unwrap();
        let of = |process: &str| fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
        let v1 = |cgroups: String| -> Vec<String> {
            cgroups.lines().filter(|line| !line.starts_with("0::")).map(str::to_owned).collect()
        };
        // A thread goes alone, and this process stays where it was.
        let followed = std::thread::scope(|scope| {
            let follower = scope.spawn(|| {
                entrance.doors.enter().unwrap();
                of("thread-self")
            });
            follower.join().unwrap()
        });
        assert_eq!(v1(followed), v1(of(&init.id().to_string())));
        if let (Some(fd), Some(v2)) = (&entrance.unified, scratch.cgroup.unified()) {
            let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
            let fd = std::os::fd::AsRawFd::as_raw_fd(fd);
            assert_eq!(inode(format!("/proc/self/fd/{fd}").as_ref()), inode(&v2.dir.join("moved/here")));
        }
        scratch.cgroup.kill_all(signal::KILL, soon()).unwrap();
        init.wait().unwrap();
    }
}

#[test]
fn a_mount_shows_every_hierarchy_once() {
    let hierarchy = |controllers: &str, name: &str| Hierarchy {
        controllers: controllers.into(),
        mount: Path::new(MOUNTS).join(name),
        dir: Path::new(MOUNTS).join(name).join("x"),
    };
    let mut cgroup = Cgroup {
        hierarchies: vec![
            hierarchy("cpu,cpuacct", "cpu,cpuacct"),
            hierarchy("name=systemd", "systemd"),
            hierarchy("", "unified"),
        ],
        rootless: false,
        optional: false,
        unit: None,
    };
    let text = |name: &str, other: &str| (name.to_owned(), other.to_owned());
    let dir = |name: &str| (name.to_owned(), Path::new(MOUNTS).join(name).join("x"));
    let view = View::Split {
        dirs: vec![dir("cpu,cpuacct"), dir("systemd"), dir("unified")],
        links: vec![text("cpu", "cpu,cpuacct"), text("cpuacct", "cpu,cpuacct")],
    };
    assert_eq!(cgroup.view(), Some(view));
    // The state file gives back what was put into it.
    let json = serde_json::to_string(&cgroup).unwrap();
    assert_eq!(serde_json::from_str::<Cgroup>(&json).unwrap(), cgroup);
    cgroup.hierarchies = vec![unified(MOUNTS.into(), "a/b".as_ref())];
    assert_eq!(cgroup.view(), Some(View::Unified("/sys/fs/cgroup/a/b".into())));
    cgroup.hierarchies.clear();
    assert_eq!(cgroup.view(), None);
}

#[test]
fn places() {
    use CgroupPath::{Absolute, Default, Relative};
    let cases = [
        (Absolute("a/b".into()), "/user/x", false, "a/b"),
        (Relative("a".into()), "/user/x", false, "user/x/a"),
        (Relative("a".into()), "/", true, "a"),
        (Relative("a".into()), "/../../x", false, "x/a"),
        (Default("web".into()), "/user/x", false, "web"),
        (Default("web".into()), "/user/x", true, "user/x/web"),
    ];
    for (path, own, rootless, expected) in cases {
        assert_eq!(place(&path, own.as_ref(), rootless), Path::new(expected), "{path:?} {own}");
    }
    let lines: Vec<_> = entries("4:memory:/a:b\n1:name=systemd:/\n0::/c\n").collect();
    let line = |controllers, path| (controllers, Path::new(path));
    assert_eq!(lines, [line("memory", "/a:b"), line("name=systemd", "/"), line("", "/c")]);
}

#[test]
fn without_cgroups_only_what_was_asked_for_is_missed() {
    let none = Scratch {
        cgroup: Cgroup::named(&CgroupPath::Default("x".into()), Layout::None, false).unwrap(),
        layout: Layout::None,
    };
    for linux in ["{}", r#"{"resources":{"devices":[{"allow":true,"access":"rwm"}]}}"#] {
        assert!(none.create(linux).unwrap().unified.is_none());
    }
    let error = none.create(r#"{"resources":{"devices":[{"allow":false,"access":"rwm"}]}}"#).unwrap_err();
    assert_eq!(error.to_string(), "linux.resources.devices: the container gets no cgroup to set it in");
    assert!(none.cgroup.entrance(1, &[]).unwrap().unified.is_none());
    assert!(none.cgroup.freeze(soon()).is_err());
}
