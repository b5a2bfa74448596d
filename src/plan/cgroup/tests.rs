use super::*;

/// `file = value` of each write, with what goes for a missing file.
fn shown(writes: &[Write]) -> Vec<String> {
    let line = |write: &Write| {
        let Write { file, value, .. } = write;
        match &write.if_missing {
            IfMissing::Fail => format!("{file} = {value}"),
            IfMissing::Skip => format!("{file} = {value} if there"),
            IfMissing::Write { file: other, value: converted } => {
                format!("{file} = {value} or {other} = {converted}")
            }
        }
    };
    writes.iter().map(line).collect()
}

fn planned(json: &str, layout: Layout) -> Result<Vec<Write>> {
    writes(&serde_json::from_str(json).expect(json), layout)
}

#[test]
fn values_for_both_versions() {
    // (linux.resources, files of v1, files of v2)
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("{}", &[], &[]),
        // What Docker sends when nothing is asked for.
        (r#"{"memory":{"disableOOMKiller":false},"cpu":{"shares":0},"blockIO":{"weight":0}}"#, &[], &[]),
        (
            r#"{"memory":{"limit":67108864,"swap":134217728,"reservation":33554432}}"#,
            &[
                "memory.limit_in_bytes = 67108864",
                "memory.memsw.limit_in_bytes = 134217728",
                "memory.soft_limit_in_bytes = 33554432",
            ],
            &["memory.swap.max = 67108864", "memory.max = 67108864", "memory.low = 33554432"],
        ),
        (
            r#"{"memory":{"limit":1000,"swap":1000}}"#,
            &["memory.limit_in_bytes = 1000", "memory.memsw.limit_in_bytes = 1000"],
            &["memory.swap.max = 0 if there", "memory.max = 1000"],
        ),
        (
            r#"{"memory":{"limit":1000,"swap":-1}}"#,
            &["memory.limit_in_bytes = 1000", "memory.memsw.limit_in_bytes = -1 if there"],
            &["memory.swap.max = max if there", "memory.max = 1000"],
        ),
        (
            r#"{"memory":{"limit":-1,"reservation":-1,"useHierarchy":true}}"#,
            &[
                "memory.limit_in_bytes = -1",
                "memory.memsw.limit_in_bytes = -1 if there",
                "memory.soft_limit_in_bytes = -1",
            ],
            &["memory.swap.max = max if there", "memory.max = max", "memory.low = max"],
        ),
        (
            r#"{"cpu":{"shares":512,"period":50000,"quota":25000,"burst":0}}"#,
            &[
                "cpu.shares = 512",
                "cpu.cfs_period_us = 50000",
                "cpu.cfs_quota_us = 25000",
                "cpu.cfs_burst_us = 0",
            ],
            &["cpu.weight = 59", "cpu.max = 25000 50000", "cpu.max.burst = 0"],
        ),
        (r#"{"cpu":{"quota":5000}}"#, &["cpu.cfs_quota_us = 5000"], &["cpu.max = 5000 100000"]),
        (r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us = -1"], &["cpu.max = max 100000"]),
        (r#"{"cpu":{"period":5000}}"#, &["cpu.cfs_period_us = 5000"], &["cpu.max = max 5000"]),
        (r#"{"cpu":{"idle":1}}"#, &["cpu.idle = 1"], &["cpu.idle = 1"]),
        (r#"{"cpu":{"cpus":"0-1,3","mems":""}}"#, &["cpuset.cpus = 0-1,3"], &["cpuset.cpus = 0-1,3"]),
        (r#"{"pids":{"limit":50}}"#, &["pids.max = 50"], &["pids.max = 50"]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max = 1"], &["pids.max = 1"]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max = max"], &["pids.max = max"]),
        (
            r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":10}]}}"#,
            &["blkio.bfq.weight = 500", "blkio.bfq.weight_device = 8:0 10"],
            &["io.bfq.weight = 500 or io.weight = 4950", "io.bfq.weight = 8:0 10 or io.weight = 8:0 1"],
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":100}],
                "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":0}],
                "throttleReadIOPSDevice":[{"major":8,"minor":16,"rate":7}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":9}]}}"#,
            &[
                "blkio.throttle.read_bps_device = 8:0 100",
                "blkio.throttle.write_bps_device = 8:0 0",
                "blkio.throttle.read_iops_device = 8:16 7",
                "blkio.throttle.write_iops_device = 8:0 9",
            ],
            &[
                "io.max = 8:0 rbps=100",
                "io.max = 8:0 wbps=max",
                "io.max = 8:16 riops=7",
                "io.max = 8:0 wiops=9",
            ],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            &["hugetlb.2MB.limit_in_bytes = 4194304", "hugetlb.2MB.rsvd.limit_in_bytes = 4194304"],
            &["hugetlb.2MB.max = 4194304", "hugetlb.2MB.rsvd.max = 4194304"],
        ),
        (
            r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1},"mlx9":{}}}"#,
            &["rdma.max = mlx4_0 hca_object=1", "rdma.max = mlx5_1 hca_handle=3 hca_object=10000"],
            &["rdma.max = mlx4_0 hca_object=1", "rdma.max = mlx5_1 hca_handle=3 hca_object=10000"],
        ),
    ];
    for (json, v1, v2) in cases {
        assert_eq!(shown(&planned(json, Layout::V1).unwrap()), *v1, "v1: {json}");
        assert_eq!(shown(&planned(json, Layout::V2).unwrap()), *v2, "v2: {json}");
    }
}

#[test]
fn values_that_only_cgroup_v1_has() {
    let cases: &[(&str, &str, &str)] = &[
        (r#"{"memory":{"swappiness":60}}"#, "memory.swappiness = 60", "memory.swappiness"),
        (r#"{"memory":{"disableOOMKiller":true}}"#, "memory.oom_control = 1", "memory.disableOOMKiller"),
        (r#"{"memory":{"kernel":5}}"#, "memory.kmem.limit_in_bytes = 5", "memory.kernel"),
        (r#"{"memory":{"kernelTCP":5}}"#, "memory.kmem.tcp.limit_in_bytes = 5", "memory.kernelTCP"),
        (r#"{"cpu":{"realtimePeriod":9000}}"#, "cpu.rt_period_us = 9000", "cpu.realtimePeriod"),
        (r#"{"cpu":{"realtimeRuntime":5000}}"#, "cpu.rt_runtime_us = 5000", "cpu.realtimeRuntime"),
        (r#"{"network":{"classID":1048577}}"#, "net_cls.classid = 1048577", "network.classID"),
        (
            r#"{"network":{"priorities":[{"name":"eth0","priority":5}]}}"#,
            "net_prio.ifpriomap = eth0 5",
            "network.priorities",
        ),
    ];
    for (json, v1, field) in cases {
        assert_eq!(shown(&planned(json, Layout::Hybrid).unwrap()), [*v1], "{json}");
        let error = planned(json, Layout::V2).unwrap_err().to_string();
        let expected = "cgroup v2 has nothing like it, and this host has no cgroup v1";
        assert_eq!(error, format!("linux.resources.{field}: {expected}"));
    }
}

#[test]
fn the_unified_map_goes_last_and_line_by_line() {
    let json = r#"{"unified":{"memory.high":"5","io.max":"8:0 rbps=1\n8:16 wbps=2\n","cgroup.max.depth":"3","misc.max":""},
                   "memory":{"limit":9}}"#;
    let writes = planned(json, Layout::V2).unwrap();
    let expected = [
        "memory.max = 9",
        "cgroup.max.depth = 3",
        "io.max = 8:0 rbps=1",
        "io.max = 8:16 wbps=2",
        "memory.high = 5",
    ];
    assert_eq!(shown(&writes), expected);
    let controllers: Vec<&str> = writes.iter().map(|write| write.controller.as_ref()).collect();
    assert_eq!(controllers, ["memory", "cgroup", "io", "io", "memory"]);
    assert_eq!(writes[4].field, r#"linux.resources.unified["memory.high"]"#);
}

#[test]
fn values_that_nothing_can_grant() {
    use Layout::{None, V1, V2};
    let cases = [
        (r#"{"memory":{"limit":-2}}"#, V2, "memory.limit: -2 is not a size (-1 means unlimited)"),
        (
            r#"{"memory":{"limit":10,"swap":9}}"#,
            V1,
            "memory.swap: 9 is less than memory.limit, which it includes (10)",
        ),
        (
            r#"{"memory":{"swap":9}}"#,
            V2,
            "memory.swap: a limit of memory and swap together needs memory.limit as well",
        ),
        (
            r#"{"memory":{"useHierarchy":false}}"#,
            V1,
            "memory.useHierarchy: false is not possible: the kernel always counts sub-cgroups in",
        ),
        (r#"{"memory":{"swappiness":101}}"#, V1, "memory.swappiness: 101 is not between 0 and 100"),
        (r#"{"cpu":{"shares":1}}"#, V1, "cpu.shares: 1 is not between 2 and 262144"),
        (r#"{"cpu":{"shares":262145}}"#, V1, "cpu.shares: 262145 is not between 2 and 262144"),
        (r#"{"cpu":{"idle":2}}"#, V2, "cpu.idle: 2 is neither 0 nor 1"),
        (r#"{"cpu":{"cpus":"0\n1"}}"#, V2, r#"cpu.cpus: "0\n1" is not a list of numbers and ranges"#),
        (r#"{"blockIO":{"weight":9}}"#, V2, "blockIO.weight: 9 is not between 10 and 1000"),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":-1,"weight":10}]}}"#,
            V1,
            "blockIO.weightDevice[0]: 8:-1 is not the number of a device",
        ),
        (
            r#"{"blockIO":{"leafWeight":10}}"#,
            V1,
            "blockIO.leafWeight: leaf weights are not supported: no kernel since Linux 5.0 has them",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"../2MB","limit":1}]}"#,
            V2,
            r#"hugepageLimits[0].pageSize: "../2MB" is not a page size like 2MB"#,
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"02MB","limit":1}]}"#,
            V2,
            r#"hugepageLimits[0].pageSize: "02MB" is not a page size like 2MB"#,
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":-1}]}"#,
            V1,
            "hugepageLimits[0].limit: -1 is negative",
        ),
        (
            r#"{"network":{"priorities":[{"name":"a b","priority":5}]}}"#,
            V1,
            r#"network.priorities[0].name: "a b" is not the name of a device"#,
        ),
        (
            r#"{"unified":{"../memory.max":"1"}}"#,
            V2,
            r#"unified["../memory.max"]: the specified key has not the form CONTROLLER.VALUE `../memory.max` (it is the name of a file like memory.high)"#,
        ),
        (
            r#"{"unified":{"tasks":"1"}}"#,
            V2,
            r#"unified["tasks"]: the specified key has not the form CONTROLLER.VALUE `tasks` (it is the name of a file like memory.high)"#,
        ),
        (
            r#"{"unified":{"memory.max":"1"}}"#,
            V1,
            "unified: invalid configuration: values of cgroup v2 on a host with cgroup v1",
        ),
        (r#"{"pids":{"limit":5}}"#, None, "pids.limit: the container gets no cgroup to set it in"),
    ];
    for (json, layout, expected) in cases {
        assert_eq!(planned(json, layout).unwrap_err().to_string(), format!("linux.resources.{expected}"));
    }
}

#[test]
fn shares_as_weights() {
    // The three points that the curve goes through, beyond them, and a tenth of the default.
    for (shares, weight) in [(1, 1), (2, 1), (102, 17), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
        let writes = planned(&format!(r#"{{"cpu":{{"shares":{shares}}}}}"#), Layout::V2).unwrap();
        assert_eq!(shown(&writes), [format!("cpu.weight = {weight}")], "{shares}");
    }
}

#[test]
fn paths() {
    use CgroupPath::{Absolute, Default, Relative};
    let long = format!("/{}", "x".repeat(256));
    let deep = "/x".repeat(2000);
    let cases = [
        (None, Ok(Default("web".into()))),
        (Some(""), Ok(Default("web".into()))),
        (Some("/docker/1a"), Ok(Absolute("docker/1a".into()))),
        (Some("//docker/./1a/"), Ok(Absolute("docker/1a".into()))),
        (Some("ctr"), Ok(Relative("ctr".into()))),
        // The form of the systemd driver is a path like any other for the one that writes files.
        (Some("system.slice:docker:1a"), Ok(Relative("system.slice:docker:1a".into()))),
        (Some("/"), Err("\"/\" is not a cgroup of the container's own")),
        (Some("."), Err("\".\" is not a cgroup of the container's own")),
        (Some("/a/../b"), Err("the path leads upwards with \"..\": \"/a/../b\"")),
        (Some("a\0b"), Err("the path contains a NUL byte")),
        (Some("/a\nb"), Err("the path contains a line break")),
        (Some(&long), Err("a name in the path is longer than 255 bytes")),
        (Some(&deep), Err("the path is longer than 3840 bytes")),
    ];
    for (path, expected) in cases {
        let got = CgroupPath::new(path.map(Path::new), "web").map_err(|error| error.to_string());
        assert_eq!(got, expected.map_err(str::to_owned), "{path:?}");
    }
}

#[test]
fn a_plan_without_resources_still_filters_devices() {
    let plan = CgroupPlan::new(None, "web", Layout::V1, None).unwrap();
    assert_eq!(plan.path, CgroupPath::Default("web".into()));
    assert!(plan.writes.is_empty() && !plan.devices.asked && !plan.devices.everything);
    assert_eq!(plan.devices.writes[0].value, "a");
}
