use super::*;
use serde_json::{Value, json};

fn scheduler_of(json: Value) -> std::result::Result<Attributes, String> {
    scheduler(&serde_json::from_value(json).unwrap()).map_err(|error| error.to_string())
}

fn memory_of(json: Value) -> std::result::Result<MemoryPolicy, String> {
    memory_policy(&serde_json::from_value(json).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn lists_are_masks() {
    for (list, words) in [
        ("0", &[1][..]),
        ("0-3,7", &[0x8f]),
        ("63-64", &[1 << 63, 1]),
        ("5, 4", &[0x30]),
        ("130", &[0, 0, 4]),
        ("8191", &[&[0; 127][..], &[1 << 63]].concat()),
    ] {
        assert_eq!(mask(list, MAX_CPUS).unwrap(), words, "{list}");
    }
    for list in
        ["", ",", "0,", "a", "0-", "-1", "+1", "1-2-3", "3-1", "8192", "0-99999999999999999999", "0 1"]
    {
        assert!(mask(list, MAX_CPUS).is_err(), "{list}");
    }
}

#[test]
fn schedulers() {
    let given = json!({"policy": "SCHED_BATCH", "nice": -20, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]});
    let batch = Attributes { policy: 3, nice: -20, flags: 5, ..Attributes::default() };
    assert_eq!(scheduler_of(given), Ok(batch));
    let given = json!({"policy": "SCHED_RR", "priority": 99});
    assert_eq!(scheduler_of(given), Ok(Attributes { policy: 2, priority: 99, ..Attributes::default() }));
    let given = json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2000, "period": 3000});
    let deadline =
        Attributes { policy: 6, runtime: 1024, deadline: 2000, period: 3000, ..Attributes::default() };
    assert_eq!(scheduler_of(given), Ok(deadline));
    // What is kept need not be said.
    assert!(scheduler_of(json!({"policy": "SCHED_FIFO", "flags": ["SCHED_FLAG_KEEP_PARAMS"]})).is_ok());
    assert!(scheduler_of(json!({"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_KEEP_PARAMS"]})).is_ok());
}

#[test]
fn bad_schedulers_name_their_field() {
    let deadline = |runtime: u64, deadline: u64, period: u64| json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline, "period": period});
    for (given, field, what) in [
        (json!({}), "policy", "missing"),
        (json!({"policy": "SCHED_FAST"}), "policy", "unknown: \"SCHED_FAST\" (known are SCHED_OTHER, "),
        (
            json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RECLAIM", "X"]}),
            "flags[1]",
            "unknown: \"X\"",
        ),
        (json!({"policy": "SCHED_OTHER", "nice": 20}), "nice", "20 is not from -20 to 19"),
        (json!({"policy": "SCHED_OTHER", "nice": -21}), "nice", "-21 is not"),
        (
            json!({"policy": "SCHED_OTHER", "priority": 1}),
            "priority",
            "only SCHED_FIFO and SCHED_RR have one",
        ),
        (json!({"policy": "SCHED_IDLE", "priority": -1}), "priority", "only SCHED_FIFO"),
        (json!({"policy": "SCHED_FIFO"}), "priority", "0 is not from 1 to 99"),
        (json!({"policy": "SCHED_RR", "priority": 100}), "priority", "100 is not"),
        (json!({"policy": "SCHED_RR", "priority": -5}), "priority", "-5 is not"),
        (json!({"policy": "SCHED_OTHER", "runtime": 5000}), "runtime", "only SCHED_DEADLINE has one"),
        (json!({"policy": "SCHED_RR", "priority": 1, "deadline": 5000}), "deadline", "only SCHED_DEADLINE"),
        (json!({"policy": "SCHED_OTHER", "period": 5000}), "period", "only SCHED_DEADLINE has one"),
        (deadline(0, 2000, 3000), "runtime", "0 ns is less than 1024"),
        (deadline(2000, 1999, 3000), "deadline", "1999 ns is less than the runtime"),
        (deadline(2000, 3000, 2999), "period", "2999 ns is less than the deadline"),
        (deadline(2000, 1 << 63, 0), "deadline", "more than"),
        (deadline(2000, 3000, u64::MAX), "period", "more than"),
    ] {
        let error = scheduler_of(given.clone()).unwrap_err();
        assert!(error.starts_with(&format!("process.scheduler.{field}: {what}")), "{given}: {error}");
    }
}

#[test]
fn io_priorities() {
    let of = |class: &str, priority: i64| io_priority(&spec::IoPriority { class: class.into(), priority });
    assert_eq!(of("IOPRIO_CLASS_RT", 0).unwrap(), 0x2000);
    assert_eq!(of("IOPRIO_CLASS_BE", 7).unwrap(), 0x4007);
    assert_eq!(of("IOPRIO_CLASS_IDLE", 4).unwrap(), 0x6004);
    for (class, priority, text) in [
        ("", 0, "process.ioPriority.class: missing"),
        ("IOPRIO_CLASS_NONE", 0, "process.ioPriority.class: unknown: \"IOPRIO_CLASS_NONE\""),
        ("IOPRIO_CLASS_BE", 8, "process.ioPriority.priority: 8 is not from 0 to 7"),
        ("IOPRIO_CLASS_BE", -1, "process.ioPriority.priority: -1 is not"),
        ("IOPRIO_CLASS_BE", 1 << 32, "process.ioPriority.priority: 4294967296 is not"),
    ] {
        assert!(of(class, priority).unwrap_err().to_string().starts_with(text), "{class} {priority}");
    }
}

#[test]
fn affinities() {
    let of = |json: Value| exec_affinity(&serde_json::from_value(json).unwrap());
    assert_eq!(of(json!({})).unwrap(), None);
    assert_eq!(of(json!({"initial": "", "final": ""})).unwrap(), None);
    let only_initial = of(json!({"initial": "1"})).unwrap().unwrap();
    assert_eq!((only_initial.initial, only_initial.last.len()), (Some(vec![2]), 128));
    let only_final = of(json!({"final": "0"})).unwrap().unwrap();
    assert_eq!(only_final, ExecAffinity { initial: None, last: vec![1] });
    for field in ["initial", "final"] {
        let error = of(json!({field: "one"})).unwrap_err().to_string();
        assert_eq!(error, format!("process.execCPUAffinity.{field}: \"one\" is not a list such as 0-3,7"));
    }
}

#[test]
fn memory_policies() {
    for (given, mode, nodes) in [
        (json!({"mode": "MPOL_DEFAULT"}), 0, &[][..]),
        (json!({"mode": "MPOL_LOCAL", "nodes": ""}), 4, &[]),
        (json!({"mode": "MPOL_PREFERRED"}), 1, &[]),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "1"}), 1, &[2]),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]}),
            0xa002,
            &[3],
        ),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}), 0x4003, &[1]),
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "64"}), 5, &[0, 1]),
        (json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}), 6, &[1]),
    ] {
        assert_eq!(memory_of(given), Ok(MemoryPolicy { mode, nodes: nodes.to_vec() }));
    }
}

#[test]
fn bad_memory_policies_name_their_field() {
    let with_flags = |mode: &str, flags: &[&str]| json!({"mode": mode, "nodes": "0", "flags": flags});
    for (given, text) in [
        (json!({"mode": "MPOL_BIND"}), "nodes: MPOL_BIND needs some"),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": ""}), "nodes: MPOL_INTERLEAVE needs some"),
        (json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), "nodes: MPOL_DEFAULT takes none"),
        (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "nodes: MPOL_LOCAL takes none"),
        (json!({"mode": "MPOL_BIND", "nodes": "1024"}), "nodes: 1024 is more than 1023"),
        (json!({"mode": "MPOL_BIND", "nodes": "all"}), "nodes: \"all\" is not a list such as 0-3,7"),
        (
            json!({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}),
            "nodes: MPOL_PREFERRED needs some with",
        ),
        (
            with_flags("MPOL_BIND", &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]),
            "flags: MPOL_BIND can't take both",
        ),
        (
            with_flags("MPOL_INTERLEAVE", &["MPOL_F_NUMA_BALANCING"]),
            "flags: MPOL_INTERLEAVE can't be balanced",
        ),
        (json!({"mode": "MPOL_LOCAL", "flags": ["MPOL_F_STATIC_NODES"]}), "flags: MPOL_LOCAL takes none"),
    ] {
        let error = memory_of(given.clone()).unwrap_err();
        assert!(error.starts_with(&format!("linux.memoryPolicy.{text}")), "{given}: {error}");
        let words = ["(invalid memory policy node)", "(to set_mempolicy(2) it is an invalid argument)"];
        assert!(words.iter().any(|words| error.ends_with(words)), "{given}: {error}");
    }
}

#[test]
fn a_mask_is_shown_as_one_number() {
    for (mask, text) in [(&[][..], "0x0"), (&[3, 0], "0x3"), (&[1, 0x10, 0], "0x100000000000000001")] {
        assert_eq!(shown(mask), text);
    }
}
