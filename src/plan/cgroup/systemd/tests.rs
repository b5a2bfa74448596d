use super::super::IfMissing;
use super::annotations::properties;
use super::*;

fn request<'a>(annotations: &'a BTreeMap<String, String>, user: bool) -> Request<'a> {
    Request { id: "web", annotations, user }
}

fn planned(path: Option<&str>, user: bool) -> std::result::Result<Unit, String> {
    Unit::new(path.map(Path::new), &[], &request(&BTreeMap::new(), user)).map_err(|error| error.to_string())
}

fn write(file: &str, value: &str) -> Write {
    Write::new("cgroup", file, value, "")
}

fn annotated(name: &str, value: &str) -> std::result::Result<Vec<Property>, String> {
    properties(&BTreeMap::from([(name.to_owned(), value.to_owned())])).map_err(|error| error.to_string())
}

#[test]
fn names_and_directories() {
    // (linux.cgroupsPath, of a user, name, directory)
    let cases = [
        (None, false, "orlop-web.scope", "system.slice/orlop-web.scope"),
        (Some(""), true, "orlop-web.scope", "user.slice/orlop-web.scope"),
        (Some("machine.slice:libpod:1a"), false, "libpod-1a.scope", "machine.slice/libpod-1a.scope"),
        (Some(":docker:1a"), false, "docker-1a.scope", "system.slice/docker-1a.scope"),
        (Some("user.slice:libpod:1a"), true, "libpod-1a.scope", "user.slice/libpod-1a.scope"),
        (
            Some("kubepods-burstable-podf_1.slice:cri-containerd:1a"),
            false,
            "cri-containerd-1a.scope",
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podf_1.slice/cri-containerd-1a.scope",
        ),
        (Some("-.slice::1a"), false, "1a.scope", "1a.scope"),
        (Some("-:a:b"), false, "a-b.scope", "a-b.scope"),
        (Some("::pod-x.slice"), false, "pod-x.slice", "pod.slice/pod-x.slice"),
        (Some("::a+b c"), false, "a\\x2bb\\x20c.scope", "system.slice/a\\x2bb\\x20c.scope"),
        (Some("::a\\x2bb"), false, "a\\x2bb.scope", "system.slice/a\\x2bb.scope"),
    ];
    for (path, user, name, dir) in cases {
        let unit = planned(path, user).unwrap();
        assert_eq!((unit.name.as_str(), unit.dir()), (name, PathBuf::from(dir)), "{path:?}");
    }
}

#[test]
fn what_is_no_unit() {
    let long = format!("::{}", "x".repeat(250));
    let form = "is not of the form slice:prefix:name, which cgroups made by systemd need (leave out --systemd-cgroup for a path)";
    let cases = [
        ("/docker/1a", format!("\"/docker/1a\" {form}")),
        ("a:b", format!("\"a:b\" {form}")),
        ("a.slice:b:c:d", format!("\"a.slice:b:c:d\" {form}")),
        ("a.slice:b:", "\"a.slice:b:\" names no unit after the second colon".to_owned()),
        ("a:b:c", "\"a\" is not the name of a slice: it doesn't end in .slice".to_owned()),
        (
            "a.slice/a-b.slice:b:c",
            "\"a.slice/a-b.slice\" is not the name of a slice: it contains a slash; the slices above it are part of the name, as in a-b.slice"
                .to_owned(),
        ),
        (
            "a--b.slice:b:c",
            "\"a--b.slice\" is not the name of a slice: there is nothing before, after or between its dashes".to_owned(),
        ),
        (
            ".slice:b:c",
            "\".slice\" is not the name of a slice: there is nothing before, after or between its dashes".to_owned(),
        ),
        (
            "a b.slice:b:c",
            "\"a b.slice\" is not the name of a slice: only letters, digits and :-_.\\@ are allowed".to_owned(),
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(planned(Some(path), false).unwrap_err(), format!("linux.cgroupsPath: {expected}"));
    }
    assert!(
        planned(Some(&long), false).unwrap_err().contains("is too long for a unit: systemd takes 255 bytes")
    );
}

#[test]
fn a_scope_is_delegated_and_in_its_slice() {
    let scope = planned(Some("a.slice:b:c"), false).unwrap();
    let text = |text: &str| Value::Text(text.to_owned());
    let expected = [
        ("Description", text("container web")),
        ("DefaultDependencies", Value::Bool(false)),
        ("CollectMode", text("inactive-or-failed")),
        ("Slice", text("a.slice")),
        ("Delegate", Value::Bool(true)),
    ];
    assert_eq!(scope.properties, expected.map(|(name, value)| Property::new(name, value)));
    assert!(scope.is_scope());
    let slice = planned(Some("::a.slice"), false).unwrap();
    assert!(!slice.is_scope() && slice.properties.len() == 3);
}

#[test]
fn limits_as_properties() {
    let number = |name: &str, number: u64| vec![Property::new(name, Value::Uint64(number))];
    let bytes = |name: &str, bytes: &[u8]| vec![Property::new(name, Value::Bytes(bytes.to_owned()))];
    let quota = |each_second, period| {
        [number("CPUQuotaPerSecUSec", each_second), number("CPUQuotaPeriodUSec", period)].concat()
    };
    let cases = [
        ("memory.max", "67108864", number("MemoryMax", 67_108_864)),
        ("memory.max", "max", number("MemoryMax", u64::MAX)),
        ("memory.max", "64M", vec![]),
        ("memory.high", "1", number("MemoryHigh", 1)),
        ("memory.low", "1", number("MemoryLow", 1)),
        ("memory.min", "1", number("MemoryMin", 1)),
        ("memory.swap.max", "0", number("MemorySwapMax", 0)),
        ("memory.zswap.max", "max", number("MemoryZSwapMax", u64::MAX)),
        ("memory.zswap.writeback", "0", vec![Property::new("MemoryZSwapWriteback", Value::Bool(false))]),
        ("memory.zswap.writeback", "2", vec![]),
        ("memory.oom.group", "1", vec![]),
        ("pids.max", "50", number("TasksMax", 50)),
        ("cpu.weight", "100", number("CPUWeight", 100)),
        ("cpu.weight", "0", vec![]),
        ("cpu.idle", "1", number("CPUWeight", 0)),
        ("cpu.idle", "0", number("CPUWeight", 100)),
        ("cpu.max", "20000 40000", quota(500_000, 40_000)),
        ("cpu.max", "50000", quota(500_000, 100_000)),
        ("cpu.max", "33333 100000", quota(340_000, 100_000)),
        ("cpu.max", "max 100000", quota(u64::MAX, 100_000)),
        ("cpu.max", "1 0", vec![]),
        ("cpu.max", "", vec![]),
        ("io.weight", "default 50", number("IOWeight", 50)),
        ("io.weight", "8:0 50", vec![]),
        ("cpuset.cpus", "0-3, 8", bytes("AllowedCPUs", &[0x0f, 1])),
        ("cpuset.mems", "0", bytes("AllowedMemoryNodes", &[1])),
        ("cpuset.cpus", "3-1", vec![]),
        ("cpuset.cpus", "0-99999999999", vec![]),
        ("cpuset.cpus", "all", vec![]),
    ];
    for (file, value, expected) in cases {
        assert_eq!(limits(&[write(file, value)]), expected, "{file} = {value}");
    }
    let bfq = IfMissing::Write { file: "io.weight".into(), value: "4950".into() };
    let bfq = [write("io.bfq.weight", "500").if_missing(bfq)];
    assert_eq!(limits(&bfq), number("IOWeight", 4950));
    // Of two the last one counts.
    assert_eq!(limits(&[write("pids.max", "1"), write("pids.max", "2")]), number("TasksMax", 2));
    // But the weight of what is not idle.
    assert_eq!(limits(&[write("cpu.weight", "7"), write("cpu.idle", "0")]), number("CPUWeight", 7));
    let idle = limits(&[write("cpu.weight", "7"), write("cpu.idle", "1"), write("pids.max", "2")]);
    assert_eq!(idle, [number("CPUWeight", 0), number("TasksMax", 2)].concat());
    assert_eq!(without_newer(&idle), Some(number("TasksMax", 2)));
    let zswap =
        [write("memory.zswap.max", "7"), write("memory.zswap.writeback", "1"), write("pids.max", "2")];
    assert_eq!(without_newer(&limits(&zswap)), Some(number("TasksMax", 2)));
    assert_eq!(without_newer(&number("CPUWeight", 7)), None);
}

#[test]
fn the_end_of_all_for_want_of_memory_is_a_policy() {
    for (value, expected) in [("1", Some("kill")), ("0\n", Some("continue")), ("many", None)] {
        let writes = [write("memory.oom.group", value), write("pids.max", "2")];
        let expected = expected.map(|policy| Property::new("OOMPolicy", Value::Text(policy.to_owned())));
        assert_eq!(oom_policy(&writes), expected, "{value}");
        let limits = limits(&writes);
        assert_eq!(limits.len(), 1, "an update may not name it");
        let with = [limits.clone(), Vec::from_iter(expected.clone())].concat();
        assert_eq!(without_newer(&with), expected.map(|_| limits));
    }
    assert_eq!(oom_policy(&[write("pids.max", "2")]), None);
}

#[test]
fn properties_from_annotations() {
    let one = |name: &str, value| Ok(vec![Property::new(name, value)]);
    let texts = |texts: &[&str]| Value::Texts(texts.iter().map(|&text| text.to_owned()).collect());
    let cases = [
        ("TimeoutStopUSec", "uint64 10000000", one("TimeoutStopUSec", Value::Uint64(10_000_000))),
        ("TimeoutStopSec", "10", one("TimeoutStopUSec", Value::Uint64(10_000_000))),
        ("TimeoutStopSec", "uint64 1", one("TimeoutStopUSec", Value::Uint64(1_000_000))),
        ("TimeoutStopSec", "0.5", one("TimeoutStopUSec", Value::Uint64(500_000))),
        ("KillSignal", "15", one("KillSignal", Value::Int32(15))),
        ("KillSignal", "-0x10", one("KillSignal", Value::Int32(-16))),
        ("A", "byte 010", one("A", Value::Byte(8))),
        ("A", "int16 -1", one("A", Value::Int16(-1))),
        ("A", "uint16 1", one("A", Value::Uint16(1))),
        ("A", "uint32 1", one("A", Value::Uint32(1))),
        ("A", "int64 -1", one("A", Value::Int64(-1))),
        ("DefaultDependencies", "true", one("DefaultDependencies", Value::Bool(true))),
        ("CollectMode", "'inactive-or-failed'", one("CollectMode", Value::Text("inactive-or-failed".into()))),
        ("A", r#" "it's \"x\"" "#, one("A", Value::Text("it's \"x\"".into()))),
        ("A", "string 'x'", one("A", Value::Text("x".into()))),
        ("After", "['crio.service']", one("After", texts(&["crio.service"]))),
        ("After", "@as []", one("After", texts(&[]))),
        ("After", "[ 'a' , \"b\" ]", one("After", texts(&["a", "b"]))),
    ];
    for (name, value, expected) in cases {
        assert_eq!(annotated(&format!("org.systemd.property.{name}"), value), expected, "{value}");
    }
    assert_eq!(annotated("org.systemd.properties.A", "'"), Ok(vec![]));
    for value in [
        "",
        "x",
        "uint64",
        "uint64 -1",
        "int32 3000000000",
        "byte 256",
        "'a",
        "'a' b",
        "['a' 'b']",
        "['a'",
        "[1]",
        "1.5",
    ] {
        let error = annotated("org.systemd.property.A", value).unwrap_err();
        assert!(error.starts_with("annotations[\"org.systemd.property.A\"]: "), "{error}");
        assert!(error.contains("is not a value of GVariant"), "{error}");
    }
    assert!(annotated("org.systemd.property.A", "'a\0'").is_err());
    assert!(
        annotated("org.systemd.property.ASec", "-1").unwrap_err().ends_with("is not a number of seconds")
    );
    for name in ["", "a", "A b", "A."] {
        assert!(annotated(&format!("org.systemd.property.{name}"), "1").is_err(), "{name}");
    }
}

#[test]
fn annotations_replace_what_is_planned() {
    let annotations = BTreeMap::from([
        ("org.systemd.property.DefaultDependencies".to_owned(), "true".to_owned()),
        ("run.oci.systemd.subgroup".to_owned(), "inner".to_owned()),
    ]);
    let unit = Unit::new(None, &[], &request(&annotations, false)).unwrap();
    let given = unit.properties.iter().filter(|property| property.name == "DefaultDependencies");
    assert_eq!(given.map(|property| &property.value).collect::<Vec<_>>(), [&Value::Bool(true)]);
    assert_eq!(unit.dir(), Path::new("system.slice/orlop-web.scope/inner"));
    for (name, value) in [
        ("run.oci.systemd.subgroup", "a/b"),
        ("run.oci.systemd.subgroup", ".."),
        ("run.oci.systemd.force_cgroup_v1", "/sys/fs/cgroup/systemd"),
    ] {
        let annotations = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = Unit::new(None, &[], &request(&annotations, false)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("annotations[{name:?}]: ")), "{error}");
    }
}
