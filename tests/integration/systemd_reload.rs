//! What stays of the limits of a unit when systemd writes them anew: after a reload it does so with all units of a slice, but not
//! before another one is started there. So each of these containers has a slice of its own, with which no other test interferes.

use crate::harness::{Bundle, LoopDevice, Need, requires};
use crate::systemd::{assert_no_unit, managed, show, systemctl, unit};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A slice, which goes with all that is in it on drop: systemd keeps it beyond its units.
struct Slice(String);

impl Slice {
    /// The name has no dashes, which would be its levels.
    fn of(b: &Bundle) -> Slice {
        Slice(format!("{}.slice", b.id.replace('-', "_")))
    }

    /// A container whose cgroup is made by systemd, in here.
    fn managed(&self, b: Bundle) -> Bundle {
        let path = format!("{}:test:{}", self.0, b.id);
        managed(b).set("/linux/cgroupsPath", path)
    }

    fn dir(&self, b: &Bundle) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(&self.0).join(unit(b))
    }

    fn value(&self, b: &Bundle, file: &str) -> String {
        fs::read_to_string(self.dir(b).join(file)).unwrap().trim().to_owned()
    }

    /// Makes systemd write all that it has for the units of the slice.
    #[track_caller]
    fn rewrite(&self) {
        systemctl(&["daemon-reload"]);
        let mut another = Command::new("systemd-run");
        another.args(["--scope", "--quiet", "--slice", &self.0, "true"]).stdin(Stdio::null());
        assert!(another.status().unwrap().success());
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        for args in [["kill", "--signal=KILL"].as_slice(), &["stop"]] {
            let _ = Command::new("systemctl").args(args).arg(&self.0).stderr(Stdio::null()).status();
        }
    }
}

#[test]
fn limits_are_in_the_unit_and_in_its_cgroup_also_after_a_reload() {
    requires!(Need::Systemd);
    let b = Bundle::idle();
    let slice = Slice::of(&b);
    let b = slice.managed(b).set(
        "/linux/resources",
        json!({
            "memory": {"limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432},
            // What a percentage can't say.
            "cpu": {"shares": 512, "quota": 999_999, "period": 1_000_000, "cpus": "0", "mems": "0", "idle": 0},
            "pids": {"limit": 50},
            "unified": {"memory.high": "50331648", "memory.oom.group": "1"},
        }),
    );
    let b = b.up();
    let unit = unit(&b);
    assert_eq!(
        show(
            &unit,
            "Slice,Delegate,DefaultDependencies,MemoryMax,MemoryHigh,MemoryLow,MemorySwapMax,CPUWeight,\
             CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,AllowedCPUs,AllowedMemoryNodes,TasksMax,ControlGroup"
        ),
        [
            "AllowedCPUs=0",
            "AllowedMemoryNodes=0",
            "CPUQuotaPerSecUSec=1s",
            "CPUQuotaPeriodUSec=1s",
            "CPUWeight=59",
            &format!("ControlGroup=/{}/{unit}", slice.0),
            "DefaultDependencies=no",
            "Delegate=yes",
            "MemoryHigh=50331648",
            "MemoryLow=33554432",
            "MemoryMax=67108864",
            "MemorySwapMax=67108864",
            &format!("Slice={}", slice.0),
            "TasksMax=50",
        ]
    );
    let check = |cpu_max: &str| {
        for (file, expected) in [
            ("memory.max", "67108864"),
            ("memory.high", "50331648"),
            ("memory.low", "33554432"),
            ("memory.swap.max", "67108864"),
            ("memory.oom.group", "1"),
            ("cpu.weight", "59"),
            ("cpu.max", cpu_max),
            ("cpuset.cpus", "0"),
            ("pids.max", "50"),
        ] {
            assert_eq!(slice.value(&b, file), expected, "{file}");
        }
    };
    check("999999 1000000");
    assert_eq!(slice.value(&b, "cgroup.procs").lines().next(), Some(b.pid().to_string().as_str()));
    systemctl(&["daemon-reload"]);
    check("999999 1000000");
    slice.rewrite();
    check("1000000 1000000");
    let out = b.exec(&["cat", "/proc/self/cgroup"]).ok();
    assert_eq!(out.stdout, format!("0::/{}/{unit}\n", slice.0));
    b.delete_force().ok();
    assert_no_unit(&unit);
    b.assert_nothing_left();
}

#[test]
fn devices_stay_denied_and_allowed_after_a_reload() {
    requires!(Need::Systemd);
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 120, "minor": 7, "access": "r"},
    ]);
    let b = Bundle::idle();
    let slice = Slice::of(&b);
    let b = slice.managed(b).set("/linux/resources/devices", rules).up();
    // Nothing is behind these numbers, so that what is allowed fails with another error than what is denied.
    let look = "rm -f /yes /no; mknod /yes c 120 7 && mknod /no c 121 7 || exit 1
                cat /yes 2>&1 | grep -q 'No such device' || exit 2
                cat /no 2>&1 | grep -q 'not permitted' || exit 3
                : </dev/null";
    b.exec(&["sh", "-c", look]).ok();
    systemctl(&["daemon-reload"]);
    systemctl(&["set-property", "--runtime", &unit(&b), "MemoryHigh=1G"]);
    slice.rewrite();
    b.exec(&["sh", "-c", look]).ok();
}

#[test]
fn an_update_changes_the_unit_and_nothing_else() {
    requires!(Need::Systemd);
    let b = Bundle::idle();
    let slice = Slice::of(&b);
    let b = slice.managed(b).set(
        "/linux/resources",
        json!({
            "memory": {"limit": 67_108_864},
            "cpu": {"shares": 512, "quota": 999_999, "period": 1_000_000},
            "pids": {"limit": 50},
        }),
    );
    let b = b.up();
    // What nobody has told systemd of.
    fs::write(slice.dir(&b).join("memory.high"), "60000000").unwrap();
    let high = slice.value(&b, "memory.high");
    b.cmd(&["update", "--memory", "134217728", "--cpu-share", "2048", &b.id]).ok();
    let check = || {
        let files = ["memory.max", "memory.high", "cpu.weight", "cpu.max", "pids.max"];
        let values = files.map(|file| slice.value(&b, file));
        assert_eq!(values, ["134217728", &high, "174", "999999 1000000", "50"]);
    };
    check();
    let shown = || show(&unit(&b), "MemoryMax,CPUWeight,CPUQuotaPerSecUSec,TasksMax");
    let expected = ["CPUQuotaPerSecUSec=1s", "CPUWeight=174", "MemoryMax=134217728", "TasksMax=50"];
    assert_eq!(shown(), expected);
    // One that the kernel refuses doesn't reach systemd, and takes the others with it.
    b.cmd(&["update", "--memory", "268435456", "--cpuset-cpus", "4000", &b.id]).fails(1, &["cpuset.cpus"]);
    check();
    assert_eq!(shown(), expected);
    systemctl(&["daemon-reload"]);
    assert_eq!(
        (slice.value(&b, "memory.max"), slice.value(&b, "cpu.max")),
        ("134217728".into(), "999999 1000000".into())
    );
    slice.rewrite();
    let values = ["memory.max", "cpu.weight", "cpu.max", "pids.max"].map(|file| slice.value(&b, file));
    assert_eq!(values, ["134217728", "174", "1000000 1000000", "50"]);
}

/// With the first property that it is told, systemd writes all that it has for a unit.
#[test]
fn what_is_idle_stays_so() {
    requires!(Need::Systemd);
    let b = Bundle::idle();
    let slice = Slice::of(&b);
    let b = slice.managed(b).set("/linux/resources/cpu", json!({"idle": 1, "quota": 50_000})).up();
    let check = |idle: &str, weight: &str| {
        assert_eq!(show(&unit(&b), "CPUWeight"), [format!("CPUWeight={weight}")]);
        assert_eq!(
            (slice.value(&b, "cpu.idle"), slice.value(&b, "cpu.max")),
            (idle.into(), "50000 100000".into())
        );
    };
    check("1", "idle");
    systemctl(&["daemon-reload"]);
    systemctl(&["set-property", "--runtime", &unit(&b), "MemoryHigh=1G"]);
    check("1", "idle");
    b.cmd(&["update", "--memory", "134217728", &b.id]).ok();
    check("1", "idle");
    b.cmd(&["update", "--cpu-idle", "0", &b.id]).ok();
    systemctl(&["set-property", "--runtime", &unit(&b), "CPUQuotaPeriodSec=100ms"]);
    check("0", "100");
    b.cmd(&["update", "--cpu-idle", "1", &b.id]).ok();
    slice.rewrite();
    check("1", "idle");
}

/// Limits that are in the files alone.
#[test]
fn what_systemd_has_no_property_for_stays() {
    requires!(Need::Systemd, Need::Program("losetup"));
    let files = Bundle::new();
    let device = LoopDevice::new(&files.io().join("disk"));
    let rate = json!([{"major": device.major, "minor": device.minor, "rate": 1 << 20}]);
    let b = Bundle::idle();
    let slice = Slice::of(&b);
    let b = slice.managed(b).set(
        "/linux/resources",
        json!({
            "blockIO": {"weight": 200, "throttleReadBpsDevice": rate},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
            "memory": {"limit": 67_108_864},
            "cpu": {"quota": 50_000, "burst": 10_000},
            "unified": {"memory.oom.group": "1", "memory.swap.high": "33554432"},
        }),
    );
    let b = b.up();
    let check = || {
        for (file, expected) in [
            ("io.max", format!("{} rbps=1048576 wbps=max riops=max wiops=max", device.number()).as_str()),
            ("hugetlb.2MB.max", "4194304"),
            ("hugetlb.2MB.rsvd.max", "4194304"),
            ("cpu.max.burst", "10000"),
            ("memory.swap.high", "33554432"),
            ("memory.oom.group", "1"),
        ] {
            assert_eq!(slice.value(&b, file), expected, "{file}");
        }
    };
    check();
    // For this one systemd has a policy, which can't be changed later.
    assert_eq!(show(&unit(&b), "OOMPolicy"), ["OOMPolicy=kill"]);
    slice.rewrite();
    check();
    b.cmd(&["update", "--memory", "134217728", "--cpu-quota", "60000", "--pids-limit", "50", &b.id]).ok();
    check();
    systemctl(&["set-property", "--runtime", &unit(&b), "IOWeight=300"]);
    slice.rewrite();
    check();
}
