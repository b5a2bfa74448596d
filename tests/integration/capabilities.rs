//! Capabilities of the process: the five sets.

use crate::harness::{Bundle, Need, Output, requires};
use serde_json::json;

const SETS: &str = "grep ^Cap /proc/self/status";
const KILL: u64 = 1 << 5;
const SETUID: u64 = 1 << 7;
const NET_RAW: u64 = 1 << 13;
const CHOWN: u64 = 1;

/// The set of this name: `Inh`, `Prm`, `Eff`, `Bnd`, `Amb`.
fn set(out: &Output, name: &str) -> u64 {
    u64::from_str_radix(out.field(&format!("Cap{name}:")), 16).unwrap()
}

#[test]
fn the_five_sets_of_another_user() {
    let b = Bundle::sh(SETS).set("/process/user", json!({"uid": 1000, "gid": 1000})).set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_CHOWN", "CAP_NET_RAW"],
            "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
            "ambient": ["CAP_NET_RAW"],
        }),
    );
    let out = b.run().ok();
    assert_eq!(set(&out, "Bnd"), CHOWN | KILL | NET_RAW | SETUID);
    assert_eq!(set(&out, "Inh"), KILL | NET_RAW);
    assert_eq!(set(&out, "Amb"), NET_RAW);
    // capabilities(7): what another user than root keeps over execve is its ambient set.
    assert_eq!(set(&out, "Prm"), NET_RAW);
    assert_eq!(set(&out, "Eff"), NET_RAW);
}

#[test]
fn the_sets_of_root() {
    let sets = ["bounding", "permitted", "effective"];
    let b = Bundle::sh(SETS).set("/process/capabilities", json!({}));
    let out = b.capabilities(&sets, &["CAP_CHOWN", "CAP_KILL"]).run().ok();
    for name in ["Bnd", "Prm", "Eff"] {
        assert_eq!(set(&out, name), CHOWN | KILL, "{name}");
    }
    // Nothing is inheritable or ambient that was not asked for.
    assert_eq!(set(&out, "Inh"), 0);
    assert_eq!(set(&out, "Amb"), 0);
}

// runc gives all of its own if the object is absent.
#[test]
fn without_capabilities_there_are_none() {
    for b in [
        Bundle::sh(SETS).remove("/process/capabilities"),
        Bundle::sh(SETS).set("/process/capabilities", json!({})),
    ] {
        let out = b.run().ok();
        for name in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
            assert_eq!(set(&out, name), 0, "{name}: {out}");
        }
    }
}

#[test]
fn capabilities_in_a_user_namespace() {
    requires!(Need::UserNamespace);
    let sets = ["bounding", "permitted", "effective"];
    let b = Bundle::sh(SETS).set("/process/capabilities", json!({})).user_namespace();
    let out = b.capabilities(&sets, &["CAP_CHOWN", "CAP_SYS_ADMIN"]).run().ok();
    assert_eq!(set(&out, "Eff"), CHOWN | 1 << 21);
    assert_eq!(set(&out, "Bnd"), CHOWN | 1 << 21);
}

#[test]
fn an_unknown_capability_is_left_out_with_a_warning() {
    let sets = ["bounding", "permitted", "effective"];
    let b = Bundle::sh(SETS).set("/process/capabilities", json!({}));
    // crun says nothing, or fails since 1.29.
    let out = b.capabilities(&sets, &["CAP_KILL", "CAP_TO_FLY"]).run().ok();
    assert_eq!(set(&out, "Eff"), KILL);
    assert!(out.stderr.contains("CAP_TO_FLY"), "{out}");
}

#[test]
fn the_sets_of_an_exec_are_the_containers() {
    let b = Bundle::idle().set("/process/capabilities", json!({}));
    let b = b.capabilities(&["bounding", "permitted", "effective"], &["CAP_CHOWN", "CAP_KILL"]).up();
    let out = b.exec(&["sh", "-c", SETS]).ok();
    for (name, expected) in
        [("Bnd", CHOWN | KILL), ("Prm", CHOWN | KILL), ("Eff", CHOWN | KILL), ("Inh", 0), ("Amb", 0)]
    {
        assert_eq!(set(&out, name), expected, "{name}");
    }
}

// "Runtimes SHOULD NOT fail if the container configuration requests capabilities that cannot be granted"; runc does.
#[test]
fn what_the_runtime_lacks_is_left_out_with_a_warning() {
    requires!(Need::Root, Need::Program("setpriv"));
    let without_kill = "set -- setpriv --bounding-set -kill \"$@\"";
    let sets = ["bounding", "permitted", "effective"];
    let b = Bundle::sh(SETS)
        .set("/process/capabilities", json!({}))
        .capabilities(&sets, &["CAP_CHOWN", "CAP_KILL"]);
    let out = b.prelude(without_kill).run().ok();
    assert_eq!(set(&out, "Eff"), CHOWN);
    assert!(out.stderr.contains("the runtime itself lacks: CAP_KILL"), "{out}");
    // In a user namespace of its own it lacks nothing.
    requires!(Need::UserNamespace);
    let b = Bundle::sh(SETS).user_namespace().set("/process/capabilities", json!({}));
    let out = b.capabilities(&sets, &["CAP_KILL"]).prelude(without_kill).run().ok();
    assert_eq!(set(&out, "Eff"), KILL);
    assert!(out.stderr.is_empty(), "{out}");
}
