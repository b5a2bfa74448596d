use super::*;
use crate::cgroup::Hierarchy;

#[test]
fn numbers_look_as_go_prints_them() {
    let text =
        "some avg10=0.00 avg60=1.50 avg300=12.34 total=99\nfull avg10=10.00 avg60=0.00 avg300=0.00 total=0\n";
    let full = r#""full":{"avg10":10,"avg300":0,"avg60":0,"total":0}"#;
    let some = r#""some":{"avg10":0,"avg300":12.34,"avg60":1.5,"total":99}"#;
    assert_eq!(pressure(text).to_string(), format!("{{{full},{some}}}"));
}

#[test]
fn page_sizes_have_the_names_of_files() {
    for (name, size) in [
        ("hugepages-64kB", Some("64KB")),
        ("hugepages-2048kB", Some("2MB")),
        ("hugepages-524288kB", Some("512MB")),
        ("hugepages-1048576kB", Some("1GB")),
        ("hugepages-16777216kB", Some("16GB")),
        ("other", None),
    ] {
        assert_eq!(page_size(name).as_deref(), size, "{name}");
    }
}

#[test]
fn what_is_empty_is_left_out_as_by_go() {
    let mut value = json!({"list": some_list(Vec::<u64>::new()), "usage": some(0), "failcnt": 0,
        "entries": [block_entry("0:7", "", 3)]});
    drop_nulls(&mut value);
    assert_eq!(value, json!({"failcnt": 0, "entries": [{"minor": 7, "value": 3}]}));
}

/// What is told of a directory with these files, which stand for the kernel's.
fn told(test: &str, controllers: &str, files: &[(&str, &str)]) -> Value {
    let dir = std::env::temp_dir().join(format!("orlop-unit-stats-{test}-{}", crate::sys::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, content) in files {
        std::fs::write(dir.join(name), content).unwrap();
    }
    let hierarchies =
        vec![Hierarchy { controllers: controllers.into(), mount: dir.clone(), dir: dir.clone() }];
    let cgroup = Cgroup { hierarchies, rootless: false, optional: false, unit: None };
    let told = cgroup.meter().unwrap().read().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    told
}

#[test]
fn version_1_in_runcs_words() {
    let files = [
        ("memory.stat", "cache 5\nrss 6\n"),
        ("memory.usage_in_bytes", "11\n"),
        ("memory.max_usage_in_bytes", "12\n"),
        ("memory.failcnt", "3\n"),
        ("memory.limit_in_bytes", "100\n"),
        ("memory.memsw.usage_in_bytes", "13\n"),
        ("memory.memsw.limit_in_bytes", "200\n"),
        ("cpuacct.stat", "user 2\nsystem 3\n"),
        ("cpuacct.usage", "50000001\n"),
        ("cpuacct.usage_percpu", "50000000 1 \n"),
        ("cpuacct.usage_all", "cpu user system\n0 20000000 30000000\n1 1 0\n"),
        ("cpu.stat", "nr_periods 4\nnr_throttled 0\nthrottled_time 7\n"),
        ("pids.current", "2\n"),
        ("pids.max", "max\n"),
        ("cpuset.cpus", "0-1,3\n"),
        ("cpuset.sched_relax_domain_level", "-1\n"),
        ("blkio.throttle.io_serviced_recursive", "8:0 Read 3\n8:0 Total 3\nTotal 3\n"),
        ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 4096\nTotal 4096\n"),
        ("hugetlb.2MB.usage_in_bytes", "1\n"),
        ("hugetlb.2MB.rsvd.usage_in_bytes", "2097152\n"),
        ("hugetlb.2MB.rsvd.max_usage_in_bytes", "4194304\n"),
        ("hugetlb.2MB.rsvd.failcnt", "9\n"),
    ];
    let told = told("v1", "memory,cpu,cpuacct,pids,cpuset,blkio,hugetlb", &files);
    let flags = |level: i64| {
        let mut all = v1::no_cpuset();
        all["sched_relax_domain_level"] = level.into();
        all
    };
    let mut cpuset = flags(-1);
    cpuset["cpus"] = json!([0, 1, 3]);
    let zero = json!({"failcnt": 0, "limit": 0});
    let expected = json!({
        "cpu": {
            "usage": {"total": 50_000_001, "percpu": [50_000_000, 1], "percpu_kernel": [30_000_000, 0],
                "percpu_user": [20_000_000, 1], "kernel": 30_000_000, "user": 20_000_000},
            "throttling": {"periods": 4, "throttledTime": 7},
        },
        "cpuset": cpuset,
        "memory": {
            "cache": 5, "usage": {"usage": 11, "max": 12, "failcnt": 3, "limit": 100},
            "swap": {"usage": 13, "failcnt": 0, "limit": 200}, "kernel": zero, "kernelTCP": zero,
            "raw": {"cache": 5, "rss": 6},
        },
        "pids": {"current": 2},
        "blkio": {
            "ioServicedRecursive":
                [{"major": 8, "op": "Read", "value": 3}, {"major": 8, "op": "Total", "value": 3}],
            "ioServiceBytesRecursive": [{"major": 8, "op": "Read", "value": 4096}],
        },
        "hugetlb": {"2MB": {"usage": 2_097_152, "max": 4_194_304, "failcnt": 9}},
        "intel_rdt": {},
        "network_interfaces": null,
    });
    assert_eq!(told, expected);
}

#[test]
fn version_2_in_runcs_words() {
    let pressure =
        "some avg10=1.50 avg60=0.00 avg300=0.00 total=8\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    let files = [
        ("memory.stat", "anon 6\nfile 5\n"),
        ("memory.current", "11\n"),
        ("memory.max", "100\n"),
        ("memory.peak", "12\n"),
        ("memory.swap.current", "4\n"),
        ("memory.swap.max", "max\n"),
        ("cpu.stat", "usage_usec 5\nuser_usec 2\nsystem_usec 3\nnr_periods 4\nthrottled_usec 7\n"),
        ("cpu.pressure", pressure),
        ("pids.current", "2\n"),
        ("pids.max", "50\n"),
        ("io.stat", "8:16 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n7:0 \n"),
        ("hugetlb.2MB.current", "2097152\n"),
        ("hugetlb.2MB.events", "max 9\n"),
    ];
    let zero = json!({"failcnt": 0, "limit": 0});
    let device = |op: &str, value: Option<u64>| {
        let mut entry = json!({"major": 8, "minor": 16, "op": op});
        if let Some(value) = value {
            entry["value"] = value.into();
        }
        entry
    };
    let psi = |avg10: f64, total: u64| json!({"avg10": avg10, "avg60": 0, "avg300": 0, "total": total});
    let expected = json!({
        "cpu": {
            "usage": {"total": 5000, "kernel": 3000, "user": 2000},
            "throttling": {"periods": 4, "throttledTime": 7000},
            "psi": {"some": psi(1.5, 8), "full": {"avg10": 0, "avg60": 0, "avg300": 0, "total": 0}},
        },
        "cpuset": v1::no_cpuset(),
        "memory": {
            "cache": 5, "usage": {"usage": 11, "max": 12, "failcnt": 0, "limit": 100},
            "swap": {"usage": 15, "failcnt": 0, "limit": u64::MAX}, "kernel": zero, "kernelTCP": zero,
            "raw": {"anon": 6, "file": 5},
        },
        "pids": {"current": 2, "limit": 50},
        "blkio": {
            "ioServiceBytesRecursive": [device("Read", Some(4096)), device("Write", None)],
            "ioServicedRecursive": [device("Read", Some(1)), device("Write", None)],
        },
        "hugetlb": {"2MB": {"usage": 2_097_152, "failcnt": 9}},
        "intel_rdt": {},
        "network_interfaces": null,
    });
    assert_eq!(told("v2", "", &files), expected);
}
