//! `update`: other limits for a container that runs. A request is a patch: what it doesn't name stays as it is, in the kernel and on
//! record. What is null, empty or zero names nothing, for many callers fill in all of `linux.resources`; 0 counts where it is a value of
//! its own (`cpu.burst`, `cpu.idle`, `memory.swappiness`).
//!
//! Device rules are left alone, as by runc: callers send those that they once gave along with every request, while a GPU's may have come
//! from someone else since, and would be lost.

use super::shared::{MEMORY_LIMIT, MEMORY_SWAP};
use super::{Layout, Write, writes};
use crate::error::{Context, Error, Result};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

/// What a request comes to.
#[derive(Debug)]
pub struct Change {
    /// The values for the files.
    pub writes: Vec<Write>,
    /// A limit of memory that must be above what is in use already, with its field: `memory.checkBeforeUpdate` asks for this.
    pub above_usage: Option<(u64, &'static str)>,
    /// All limits that hold from then on, for the record.
    pub resources: LinuxResources,
    /// What was asked for in vain.
    pub warnings: Vec<String>,
}

/// Fields in which 0 is a value.
const ZERO_COUNTS: [&str; 3] = ["burst", "idle", "swappiness"];

/// Kernels since Linux 5.16 refuse limits of kernel memory; other runtimes ignore them, too.
const IGNORED: [&str; 2] = ["kernel", "kernelTCP"];

/// What an entry of a list says of the object that its other members name.
const SAYS: [&str; 4] = ["rate", "limit", "weight", "priority"];

impl Change {
    /// Plans what changes `recorded` as `asked`.
    pub fn new(recorded: Option<&LinuxResources>, asked: &LinuxResources, layout: Layout) -> Result<Change> {
        let (mut asked, before) = (to_value(asked)?, recorded.map(to_value).transpose()?);
        prune(&mut asked);
        let mut warnings = Vec::new();
        if let Value::Object(members) = &mut asked {
            members.remove("devices");
            if let Some(Value::Object(memory)) = members.get_mut("memory") {
                for name in IGNORED.iter().filter(|name| memory.remove(**name).is_some()) {
                    warnings.push(format!("linux.resources.memory.{name} is ignored"));
                }
            }
        }
        let is_asked = |pointer: &str| asked.pointer(pointer).is_some();
        let mut merged = before.unwrap_or(Value::Object(Map::new()));
        merge(&mut merged, asked.clone());
        // Who lifts the limit of memory alone wants the other one lifted as well, which includes it.
        if asked.pointer("/memory/limit").and_then(Value::as_i64) == Some(-1) && !is_asked("/memory/swap") {
            remove(&mut merged, "memory", "swap");
        }
        // Some values are of use only together with others, which the request may have left to the record.
        let mut complete = asked.clone();
        let (limit, swap) = (is_asked("/memory/limit"), is_asked("/memory/swap"));
        if limit || swap {
            copy(&merged, &mut complete, "memory", &["limit", "swap"]);
        }
        // Version 2 has one file for both.
        if layout == Layout::V2 && (is_asked("/cpu/quota") || is_asked("/cpu/period")) {
            copy(&merged, &mut complete, "cpu", &["quota", "period"]);
        }
        // A cgroup that ceases to be idle begins anew with the default share.
        if asked.pointer("/cpu/idle").and_then(Value::as_i64) == Some(0) {
            copy(&merged, &mut complete, "cpu", &["shares"]);
        }
        let mut writes = writes(&from_value(complete)?, layout)?;
        writes.retain(|write| match write.field.as_str() {
            MEMORY_LIMIT => limit,
            // That of version 2 is the difference to memory.limit.
            MEMORY_SWAP => swap || limit && (layout == Layout::V2 || !merged["memory"]["swap"].is_i64()),
            _ => true,
        });
        let oom_killer = |of: &Value| of.pointer("/memory/disableOOMKiller").and_then(Value::as_bool);
        if oom_killer(&asked) == Some(false) && layout != Layout::V2 {
            let field = "linux.resources.memory.disableOOMKiller";
            writes.push(Write::new("memory", "memory.oom_control", 0, field));
        }
        let above_usage = if merged["memory"]["checkBeforeUpdate"] == true {
            let bytes = |pointer: &str| asked.pointer(pointer).and_then(Value::as_u64);
            let limits = [
                bytes("/memory/limit").zip(Some(MEMORY_LIMIT)),
                bytes("/memory/swap").zip(Some(MEMORY_SWAP)),
            ];
            limits.into_iter().flatten().min()
        } else {
            None
        };
        Ok(Change { writes, above_usage, resources: from_value(merged)?, warnings })
    }
}

fn to_value(resources: &LinuxResources) -> Result<Value> {
    serde_json::to_value(resources).map_err(|error| Error::new(error.to_string()))
}

fn from_value(resources: Value) -> Result<LinuxResources> {
    serde_json::from_value(resources)
        .map_err(|error| Error::new(error.to_string()))
        .field(|| "linux.resources".into())
}

/// Takes out what asks for nothing. Entries of lists are asked for as they are.
fn prune(value: &mut Value) {
    let Value::Object(members) = value else { return };
    members.retain(|name, member| {
        prune(member);
        match member {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(members) => !members.is_empty(),
            Value::Number(number) => number.as_i64() != Some(0) || ZERO_COUNTS.contains(&name.as_str()),
            Value::Bool(_) => true,
        }
    });
}

/// Puts what is asked into the place of what was. Of a list, the entries that are about the same object are replaced.
fn merge(into: &mut Value, asked: Value) {
    match (into, asked) {
        (Value::Object(into), Value::Object(asked)) => {
            for (name, value) in asked {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(asked)) => {
            into.retain(|entry| !asked.iter().any(|asked| about(asked) == about(entry)));
            into.extend(asked);
        }
        (into, asked) => *into = asked,
    }
}

/// What an entry of a list is about: its members but for the values that they get.
fn about(entry: &Value) -> Value {
    let mut entry = entry.clone();
    if let Value::Object(members) = &mut entry {
        members.retain(|name, _| !SAYS.contains(&name.as_str()));
    }
    entry
}

fn remove(value: &mut Value, group: &str, name: &str) {
    if let Some(Value::Object(members)) = value.get_mut(group) {
        members.remove(name);
    }
}

/// Copies some members of a group, as far as they are there.
fn copy(from: &Value, to: &mut Value, group: &str, names: &[&str]) {
    for name in names {
        if let Some(value) = from[group].get(name) {
            to[group][name] = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(recorded: Value, asked: Value, layout: Layout) -> Change {
        let parse = |value| from_value(value).unwrap();
        Change::new(Some(&parse(recorded)), &parse(asked), layout).unwrap()
    }

    fn lines(change: &Change) -> Vec<String> {
        change.writes.iter().map(|write| format!("{} {}", write.file, write.value)).collect()
    }

    #[test]
    fn only_what_is_asked_is_written() {
        let recorded = || {
            json!({"memory": {"limit": 1000, "swap": 3000, "reservation": 500}, "pids": {"limit": 9},
                   "cpu": {"quota": 5000, "period": 10000, "shares": 512, "cpus": "0"},
                   "blockIO": {"weight": 100}})
        };
        let cases = [
            (
                json!({"memory": {"limit": 2000}}),
                vec!["memory.limit_in_bytes 2000"],
                vec!["memory.swap.max 1000", "memory.max 2000"],
            ),
            (
                json!({"memory": {"swap": 4000}}),
                vec!["memory.memsw.limit_in_bytes 4000"],
                vec!["memory.swap.max 3000"],
            ),
            (
                json!({"memory": {"limit": -1}}),
                vec!["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes -1"],
                vec!["memory.swap.max max", "memory.max max"],
            ),
            (json!({"cpu": {"quota": 7000}}), vec!["cpu.cfs_quota_us 7000"], vec!["cpu.max 7000 10000"]),
            (json!({"cpu": {"quota": -1}}), vec!["cpu.cfs_quota_us -1"], vec!["cpu.max max 10000"]),
            (json!({"cpu": {"period": 20000}}), vec!["cpu.cfs_period_us 20000"], vec!["cpu.max 5000 20000"]),
            (
                json!({"cpu": {"idle": 0}}),
                vec!["cpu.shares 512", "cpu.idle 0"],
                vec!["cpu.weight 59", "cpu.idle 0"],
            ),
            (json!({"cpu": {"burst": 0}}), vec!["cpu.cfs_burst_us 0"], vec!["cpu.max.burst 0"]),
            (json!({"pids": {"limit": -1}}), vec!["pids.max max"], vec!["pids.max max"]),
        ];
        for (asked, v1, v2) in cases {
            assert_eq!(lines(&change(recorded(), asked.clone(), Layout::V1)), v1, "{asked}");
            assert_eq!(lines(&change(recorded(), asked.clone(), Layout::V2)), v2, "{asked}");
        }
    }

    #[test]
    fn what_is_empty_asks_for_nothing() {
        let asked = json!({"devices": [], "memory": {"limit": 0, "swap": 0, "reservation": null}, "pids": {"limit": 0},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""}, "blockIO": {"weight": 0},
            "hugepageLimits": [], "unified": {}});
        let recorded = json!({"memory": {"limit": 1000}, "cpu": {"cpus": "1"}});
        for layout in [Layout::V1, Layout::V2] {
            let change = change(recorded.clone(), asked.clone(), layout);
            assert_eq!(lines(&change), Vec::<String>::new());
            assert_eq!(to_value(&change.resources).unwrap(), recorded);
        }
    }

    #[test]
    fn devices_and_kernel_memory_are_left_alone() {
        let rules = |allow| json!({"devices": [{"allow": allow, "access": "rwm"}], "memory": {"kernel": 5}});
        let change = change(rules(true), rules(false), Layout::V1);
        assert_eq!(lines(&change), Vec::<String>::new());
        assert_eq!(change.warnings, ["linux.resources.memory.kernel is ignored"]);
        assert_eq!(to_value(&change.resources).unwrap()["devices"][0]["allow"], true);
    }

    #[test]
    fn the_record_has_what_holds() {
        let throttle = |minor, rate| json!({"major": 7, "minor": minor, "rate": rate});
        let recorded = json!({"memory": {"limit": 1000, "swap": 2000},
            "blockIO": {"throttleReadBpsDevice": [throttle(0, 5), throttle(1, 6)]}});
        let asked = json!({"memory": {"limit": -1}, "cpu": {"cpus": "0-1"}, "unified": {"memory.high": "5"},
            "blockIO": {"throttleReadBpsDevice": [throttle(1, 7), throttle(2, 8)]}});
        let merged = to_value(&change(recorded, asked, Layout::V2).resources).unwrap();
        let list = &merged["blockIO"]["throttleReadBpsDevice"];
        assert_eq!(*list, json!([throttle(0, 5), throttle(1, 7), throttle(2, 8)]));
        assert_eq!(merged["memory"], json!({"limit": -1}));
        assert_eq!(merged["cpu"]["cpus"], "0-1");
        assert_eq!(merged["unified"]["memory.high"], "5");
    }

    #[test]
    fn limits_that_contradict_what_holds_are_refused() {
        let recorded = from_value(json!({"memory": {"limit": 1000, "swap": 2000}})).unwrap();
        let asked = from_value(json!({"memory": {"limit": 3000}})).unwrap();
        let error = Change::new(Some(&recorded), &asked, Layout::V1).unwrap_err().to_string();
        assert!(error.contains("linux.resources.memory.swap: 2000 is less than memory.limit"), "{error}");
    }

    #[test]
    fn usage_is_looked_at_if_asked_for() {
        let asked = json!({"memory": {"limit": 1000, "swap": 900, "checkBeforeUpdate": true}});
        let recorded = json!({"memory": {"checkBeforeUpdate": true, "limit": 5000}});
        let asked_alone = json!({"memory": {"limit": 1000}});
        assert!(Change::new(None, &from_value(asked).unwrap(), Layout::V2).is_err(), "swap below limit");
        assert_eq!(change(recorded, asked_alone.clone(), Layout::V2).above_usage, Some((1000, MEMORY_LIMIT)));
        assert_eq!(change(json!({}), asked_alone, Layout::V2).above_usage, None);
    }
}
