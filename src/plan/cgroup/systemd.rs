//! The container's cgroup as a unit of systemd: `linux.cgroupsPath` in the form `slice:prefix:name`, and what systemd is told of
//! the unit. systemd makes the cgroup and moves a process into it; it is also told the limits that it has properties for, so that it
//! does not put its defaults in their place when it loads its configuration again. The files of the cgroup are written
//! nevertheless: a property may be coarser than the file, and most files have none.

mod annotations;
mod properties;
#[cfg(test)]
mod tests;

use properties::oom_policy;
pub use properties::{limits, without_newer};

use super::Write;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Who asks for a unit, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The annotations of config.json.
    pub annotations: &'a BTreeMap<String, String>,
    /// It is the systemd of a user.
    pub user: bool,
}

/// A unit that is to be the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name: a scope, or a slice.
    pub name: String,
    /// What systemd is told of it; the first process is added when there is one.
    pub properties: Vec<Property>,
    /// The cgroup below the unit's own that the container gets instead (`run.oci.systemd.subgroup`).
    pub subgroup: Option<String>,
    /// Its cgroup, below that of systemd itself.
    dir: PathBuf,
}

/// A property of a unit ([org.freedesktop.systemd1(5)](https://man7.org/linux/man-pages/man5/org.freedesktop.systemd1.5.html)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name: `MemoryMax`.
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl Property {
    fn new(name: &str, value: Value) -> Self {
        Property { name: name.to_owned(), value }
    }
}

/// The value of a property, of one of the types of D-Bus that properties have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `au`
    Numbers(Vec<u32>),
}

/// What the names of the annotations begin with that set properties of the unit.
pub const ANNOTATIONS: &str = annotations::PREFIX;

const SUBGROUP: &str = "run.oci.systemd.subgroup";
const FORCE_V1: &str = "run.oci.systemd.force_cgroup_v1";

/// The longest name of a unit (`UNIT_NAME_MAX` of systemd, less its final zero).
const LONGEST_NAME: usize = 255;

impl Unit {
    /// Plans the unit for `linux.cgroupsPath`, with the limits in `writes`.
    pub fn new(path: Option<&Path>, writes: &[Write], request: &Request) -> Result<Unit> {
        let (slice, name) = names(path, request).map_err(|error| error.field("linux.cgroupsPath"))?;
        let parents = slice_dir(&slice).map_err(|error| error.field("linux.cgroupsPath"))?;
        let is_slice = name.ends_with(".slice");
        let dir = match is_slice {
            // The name of a slice says where it lies.
            true => slice_dir(&name).map_err(|error| error.field("linux.cgroupsPath"))?,
            false => parents.join(&name),
        };
        let mut properties = vec![
            Property::new("Description", Value::Text(format!("container {}", request.id))),
            // As for runc's: nothing is waited for, and the shutdown of the host is its caller's affair.
            Property::new("DefaultDependencies", Value::Bool(false)),
            // A unit that has failed is of no use to anybody, and would keep its name from the next one.
            Property::new("CollectMode", Value::Text("inactive-or-failed".to_owned())),
        ];
        if !is_slice {
            properties.push(Property::new("Slice", Value::Text(slice)));
            // The cgroup is the container's own: systemd keeps its hands off what is below.
            properties.push(Property::new("Delegate", Value::Bool(true)));
            properties.extend(oom_policy(writes));
        }
        properties.extend(limits(writes));
        for property in annotations::properties(request.annotations)? {
            properties.retain(|other| other.name != property.name);
            properties.push(property);
        }
        if request.annotations.contains_key(FORCE_V1) {
            return Err(Error::new("the container gets no cgroup v1 from a host that has none")
                .field(format!("annotations[{FORCE_V1:?}]")));
        }
        Ok(Unit { name, properties, subgroup: subgroup(request.annotations)?, dir })
    }

    /// The directory of the container's cgroup, below that of systemd's own.
    pub fn dir(&self) -> PathBuf {
        match &self.subgroup {
            Some(name) => self.dir.join(name),
            None => self.dir.clone(),
        }
    }

    /// Whether it has processes of its own; slices have none.
    pub fn is_scope(&self) -> bool {
        !self.name.ends_with(".slice")
    }
}

/// Slice and unit, the first of which is systemd's default for whoever it belongs to.
fn names(path: Option<&Path>, request: &Request) -> Result<(String, String)> {
    let default = if request.user { "user.slice" } else { "system.slice" };
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok((default.to_owned(), unit_name("orlop", request.id)?));
    };
    let parts: Vec<&str> = path.to_str().unwrap_or_default().split(':').collect();
    let [slice, prefix, name] = parts.as_slice() else {
        let what =
            format!("{path:?} is not of the form slice:prefix:name, which cgroups made by systemd need");
        return Err(Error::new(what).hint("leave out --systemd-cgroup for a path"));
    };
    if name.is_empty() {
        return Err(Error::new(format!("{path:?} names no unit after the second colon")));
    }
    let slice = match *slice {
        "" => default,
        "-" => "-.slice",
        given => given,
    };
    Ok((slice.to_owned(), unit_name(prefix, name)?))
}

/// The name of the unit: `PREFIX-NAME.scope`, or the name itself if it is one of a slice.
fn unit_name(prefix: &str, name: &str) -> Result<String> {
    let unit = match (name.ends_with(".slice"), prefix) {
        (true, _) => escaped(name),
        (false, "") => format!("{}.scope", escaped(name)),
        (false, _) => format!("{}-{}.scope", escaped(prefix), escaped(name)),
    };
    if unit.len() > LONGEST_NAME {
        return Err(Error::new(format!(
            "{unit:?} is too long for a unit: systemd takes {LONGEST_NAME} bytes"
        ))
        .hint("give the container a shorter id or path"));
    }
    Ok(unit)
}

/// What a unit's name may not contain is written as `\xNN`, as systemd-escape(1) does. A backslash is part of a name that has been
/// escaped already.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'-' | b'_' | b'.' | b'\\' | b'@' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out
}

/// The directory of a slice: `a-b.slice` lies in `a.slice` ([systemd.slice(5)](https://man7.org/linux/man-pages/man5/systemd.slice.5.html)).
fn slice_dir(slice: &str) -> Result<PathBuf> {
    let wrong = |why: &str| Err(Error::new(format!("{slice:?} is not the name of a slice: {why}")));
    let Some(stem) = slice.strip_suffix(".slice") else { return wrong("it doesn't end in .slice") };
    if stem == "-" {
        return Ok(PathBuf::new());
    }
    if stem.contains('/') {
        return wrong("it contains a slash; the slices above it are part of the name, as in a-b.slice");
    }
    if escaped(stem) != stem {
        return wrong("only letters, digits and :-_.\\@ are allowed");
    }
    let mut dir = PathBuf::new();
    let mut name = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return wrong("there is nothing before, after or between its dashes");
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        dir.push(format!("{name}.slice"));
    }
    Ok(dir)
}

/// The cgroup below the unit's own, one name.
fn subgroup(annotations: &BTreeMap<String, String>) -> Result<Option<String>> {
    match annotations.get(SUBGROUP).map(String::as_str) {
        None | Some("") => Ok(None),
        Some(name)
            if name.contains(['/', '\0']) || matches!(name, "." | "..") || name.len() > LONGEST_NAME =>
        {
            Err(Error::new(format!("{name:?} is not the name of a cgroup"))
                .field(format!("annotations[{SUBGROUP:?}]")))
        }
        Some(name) => Ok(Some(name.to_owned())),
    }
}
