//! Shares of caches and of memory bandwidth, which Linux calls resctrl and Intel RDT, AMD QoS
//! ([resctrl.rst](https://docs.kernel.org/filesystems/resctrl.html)): which group the container is in, and what is written to it.

use crate::error::{Error, Result};
use oci_spec::runtime::{Linux, LinuxIntelRdt};

/// The container's place in the resctrl file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdt {
    /// Its class of service.
    pub group: Group,
    /// What goes to the `schemata` file, in this order.
    pub schemata: Vec<Schema>,
    /// The name of a monitoring group of its own.
    pub monitor: Option<String>,
}

/// A class of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// The root of the file system, which everything is in that is in no other class.
    Default,
    /// The container's own, named by its id; made if it does not exist, and then removed with the container.
    Own(String),
    /// That of `closID`; made if there are schemata for it, and never removed.
    Named(String),
}

/// One line for the `schemata` file: `L3:0=7f0;1=1f`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Without a newline.
    pub line: String,
    /// Whether a class that exists already has to have it, instead of being changed.
    pub compared: bool,
    /// `linux.intelRdt.l3CacheSchema`
    pub field: String,
}

/// Checks `linux.intelRdt` of the container with this id.
pub fn plan(linux: &Linux, id: &str) -> Result<Option<Rdt>> {
    let Some(given) = linux.intel_rdt() else { return Ok(None) };
    let group = match given.clos_id().as_deref().filter(|name| !name.is_empty()) {
        None => Group::Own(id.to_owned()),
        Some("/") => Group::Default,
        Some(name) if matches!(name, "." | ".." | "info" | "mon_groups" | "mon_data") => {
            return Err(Error::new(format!("{name:?} is no name of a class")).field("linux.intelRdt.closID"));
        }
        Some(name) if name.contains(['/', '\n', '\0']) => {
            return Err(
                Error::new(format!("{name:?} is not one name of a directory")).field("linux.intelRdt.closID")
            );
        }
        Some(name) => Group::Named(name.to_owned()),
    };
    let monitor = given.enable_monitoring().unwrap_or(false).then(|| id.to_owned());
    Ok(Some(Rdt { group, schemata: schemata(given)?, monitor }))
}

/// "The runtimes MUST write l3CacheSchema first and memBwSchema last", and the value of schemata "must be written last, after the
/// values from l3CacheSchema and memBwSchema": config-linux.md, IntelRdt.
fn schemata(given: &LinuxIntelRdt) -> Result<Vec<Schema>> {
    let mut schemata = short(given.l3_cache_schema().as_deref(), given.mem_bw_schema().as_deref())?;
    for (i, line) in given.schemata().iter().flatten().enumerate() {
        schemata.extend(schema(line, false, format!("linux.intelRdt.schemata[{i}]"))?);
    }
    Ok(schemata)
}

/// The lines of `l3CacheSchema` and `memBwSchema`, which `update` takes too.
pub fn short(l3_cache: Option<&str>, memory_bandwidth: Option<&str>) -> Result<Vec<Schema>> {
    let mut schemata = Vec::new();
    if let Some(line) = l3_cache {
        schemata.extend(schema(line, true, "linux.intelRdt.l3CacheSchema".to_owned())?);
    }
    if let Some(line) = memory_bandwidth {
        let field = "linux.intelRdt.memBwSchema";
        if !line.is_empty() && !line.starts_with("MB:") {
            return Err(Error::new(format!("{line:?} does not begin with MB:")).field(field));
        }
        schemata.extend(schema(line, true, field.to_owned())?);
    }
    Ok(schemata)
}

/// "The value MUST NOT contain newlines."
fn schema(line: &str, compared: bool, field: String) -> Result<Option<Schema>> {
    if line.contains('\n') {
        return Err(Error::new("more than one line").field(field));
    }
    Ok((!line.is_empty()).then(|| Schema { line: line.to_owned(), compared, field }))
}

impl Schema {
    /// Whether the class already has what this line asks for, going by the content of its `schemata` file. Numbers are written with
    /// and without leading zeros there.
    pub fn is_met_by(&self, file: &str) -> bool {
        let Some((resource, wanted)) = parts(&self.line) else { return false };
        let found = file.lines().filter_map(parts).find(|(name, _)| *name == resource);
        found.is_some_and(|(_, found)| wanted.iter().all(|value| found.contains(value)))
    }
}

/// `L3:0=07f;1=1f` as `L3` and its (domain, value) pairs.
fn parts(line: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (resource, values) = line.trim().split_once(':')?;
    let pairs = values.split(';').map(|value| {
        let (domain, value) = value.split_once('=')?;
        Some((domain.trim(), value.trim().trim_start_matches('0')))
    });
    Some((resource.trim(), pairs.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rdt(given: Value) -> Result<Option<Rdt>> {
        plan(&serde_json::from_value(json!({"intelRdt": given})).unwrap(), "web")
    }

    #[test]
    fn the_group_is_named_by_the_class_or_the_container() {
        let group = |given: Value| rdt(given).unwrap().unwrap().group;
        assert_eq!(group(json!({})), Group::Own("web".into()));
        assert_eq!(group(json!({"closID": ""})), Group::Own("web".into()));
        assert_eq!(group(json!({"closID": "/"})), Group::Default);
        assert_eq!(group(json!({"closID": "gold"})), Group::Named("gold".into()));
        assert_eq!(rdt(json!(null)).unwrap(), None);
        for (name, what) in [
            ("a/b", "is not one name of a directory"),
            ("a\nb", "is not one name of a directory"),
            ("..", "is no name of a class"),
            ("info", "is no name of a class"),
        ] {
            let text = rdt(json!({"closID": name})).unwrap_err().to_string();
            assert_eq!(text, format!("linux.intelRdt.closID: {name:?} {what}"));
        }
    }

    #[test]
    fn schemata_are_written_in_the_order_of_the_specification() {
        let plan = rdt(json!({
            "schemata": ["L2:0=f", "MB:0=10"], "memBwSchema": "MB:0=20;1=70", "l3CacheSchema": "L3:0=7f0",
        }));
        let lines: Vec<_> =
            plan.unwrap().unwrap().schemata.into_iter().map(|s| (s.line, s.compared)).collect();
        let wanted = [("L3:0=7f0", true), ("MB:0=20;1=70", true), ("L2:0=f", false), ("MB:0=10", false)];
        assert_eq!(lines, wanted.map(|(line, compared)| (line.to_owned(), compared)));
        for (given, text) in [
            (json!({"memBwSchema": "L3:0=1"}), "memBwSchema: \"L3:0=1\" does not begin with MB:"),
            (json!({"memBwSchema": "MB:0=1\n"}), "memBwSchema: more than one line"),
            (json!({"l3CacheSchema": "L3:0=1\nMB:0=1"}), "l3CacheSchema: more than one line"),
            (json!({"schemata": ["", "a\nb"]}), "schemata[1]: more than one line"),
        ] {
            assert_eq!(rdt(given).unwrap_err().to_string(), format!("linux.intelRdt.{text}"));
        }
    }

    #[test]
    fn monitoring_is_named_by_the_container() {
        let monitor = |given: Value| rdt(given).unwrap().unwrap().monitor;
        assert_eq!(monitor(json!({"enableMonitoring": true, "closID": "gold"})), Some("web".to_owned()));
        assert_eq!(monitor(json!({"enableMonitoring": false})), None);
    }

    #[test]
    fn what_a_class_has_already() {
        let file = "    MB:0=100;1= 20\n    L3:0=7ff;1=0f0\n";
        for (line, met) in [
            ("L3:0=7ff;1=0f0", true),
            ("L3:1=f0", true),
            ("L3:0=7f", false),
            ("L3:2=7ff", false),
            ("L2:0=f", false),
            ("MB:1=20", true),
            ("MB:1=2", false),
            ("nonsense", false),
        ] {
            let schema = Schema { line: line.into(), compared: true, field: String::new() };
            assert_eq!(schema.is_met_by(file), met, "{line}");
        }
    }
}
