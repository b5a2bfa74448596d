//! config.json: read once, and turned into types.
//!
//! What belongs here: the form of the file, so that an error names the JSON path, the line and the column.
//! What does not: the meaning of what it says, which `plan` checks.
//!
//! The types are those of the oci-spec crate but for [`Spec`] and [`Process`]: the crate's own `Process`
//! refuses a config.json with a capability that it does not know, which the runtime-spec wants to be a
//! warning, and spells flags of the scheduler in its own way.

mod path;
mod shape;
mod unset;

use crate::error::{Context, Error, Result};
use crate::sys::{CallError, file};
use oci_spec::runtime::{Hooks, Linux, Mount, PosixRlimit, Root, User};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use shape::Shape;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The version of the runtime-spec that this runtime implements.
pub const VERSION: &str = "1.3.0";

/// Far above any real config.json (the largest known ones, with a seccomp profile, are of 100 kB), and low
/// enough for a wrong path not to fill the memory.
const MAX_SIZE: u64 = 16 << 20;

/// The whole config.json: [config.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Version of the runtime-spec that the file is written to.
    #[serde(default)]
    pub oci_version: String,
    /// The container's process. The runtime-spec lets it be absent until `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// The mounts, in order.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs to run at the turning points of the container's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Free text of the caller, of which few keys mean something to a runtime.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// A process: the field `process` of config.json, and the whole of the file that `exec --process` takes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Give it a terminal of its own.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub terminal: bool,
    /// Size of that terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<oci_spec::runtime::Box>,
    /// Whose process it is.
    #[serde(default, deserialize_with = "null_is_default")]
    pub user: User,
    /// Its arguments, the first being the program.
    #[serde(default, deserialize_with = "null_is_default")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Its working directory.
    #[serde(default)]
    pub cwd: String,
    /// Its capabilities. If absent none at all, or those of the container for a process that `exec` adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Its resource limits.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<PosixRlimit>,
    /// Let it gain no privileges by executing a program.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub no_new_privileges: bool,
    /// Its AppArmor profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// How ready the kernel is to kill it when memory runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Its SELinux label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// Its priority for disk access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// How its turns on a CPU are scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// CPUs for a process that `exec` adds to the container.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

/// The five capability sets by name: `CAP_KILL`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// What can be gained by executing a program, at most.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub bounding: Vec<String>,
    /// What the kernel checks.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    /// What is kept when executing a program whose file is marked so.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// What can be made effective.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
    /// What is kept when executing any unprivileged program.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// How turns on a CPU are scheduled ([sched_setattr(2)](https://man7.org/linux/man-pages/man2/sched_setattr.2.html)).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_OTHER`, `SCHED_FIFO` ...
    #[serde(default)]
    pub policy: String,
    /// Niceness: the lower, the more turns.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub nice: i32,
    /// Priority of a real-time policy.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub priority: i32,
    /// `SCHED_FLAG_RESET_ON_FORK` ...
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Of the deadline policy, in nanoseconds: how long it runs in each period.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub runtime: u64,
    /// By when in each period.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub deadline: u64,
    /// How long a period is.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub period: u64,
}

/// Priority for disk access ([ioprio_set(2)](https://man7.org/linux/man-pages/man2/ioprio_set.2.html)).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
    #[serde(default)]
    pub class: String,
    /// 0 is the highest, 7 the lowest.
    #[serde(default)]
    pub priority: i64,
}

/// CPUs for a process that `exec` adds, as lists: `0-3,7`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExecCpuAffinity {
    /// While it is brought into the container's cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// From then on.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

impl Spec {
    /// Reads `config.json` of a bundle, or what else has its place; returns what it says and the file itself.
    pub fn read(bundle: &Path, file: &Path) -> Result<(Spec, Vec<u8>)> {
        let json = read_file(&bundle.join(file))
            .hint(|| "a bundle is a directory with a config.json in it; `orlop spec` writes one".into())?;
        unset::parse(json).doing(|| file.display().to_string())
    }

    /// Parses the content of a config.json and checks that its version is one that this runtime knows.
    pub fn parse(json: &[u8]) -> Result<Spec> {
        let mut spec: Spec = from_json(json)?;
        check_version(&spec.oci_version).field(|| "ociVersion".into())?;
        spec.leave_out_missing_limit(json)?;
        Ok(spec)
    }
}

impl Process {
    /// Reads the file of `exec --process`, or the pipe that a shell has made of `<(...)`.
    pub fn read(path: &Path) -> Result<Process> {
        if std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
            let mut content = Vec::new();
            let read = File::open(path).and_then(|pipe| pipe.take(MAX_SIZE).read_to_end(&mut content));
            read.map_err(|error| CallError { call: format!("read({path:?})"), errno: error.into() })?;
            return from_json(&content).doing(|| path.display().to_string());
        }
        read_json(path)
    }

    /// What confines the container's own process, and how it is scheduled, also holds for one that says nothing else. Its resource
    /// limits don't: as in runc, those are the caller's.
    pub fn inherit(&mut self, own: Process) {
        let empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if empty(&self.apparmor_profile) {
            self.apparmor_profile = own.apparmor_profile;
        }
        if empty(&self.selinux_label) {
            self.selinux_label = own.selinux_label;
        }
        self.capabilities = self.capabilities.take().or(own.capabilities);
        self.oom_score_adj = self.oom_score_adj.or(own.oom_score_adj);
        self.scheduler = self.scheduler.take().or(own.scheduler);
        self.io_priority = self.io_priority.take().or(own.io_priority);
        self.exec_cpu_affinity = self.exec_cpu_affinity.take().or(own.exec_cpu_affinity);
    }
}

/// Reads a part of a config.json that is a file of its own.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let json = read_file(path)?;
    from_json(&json).doing(|| path.display().to_string())
}

/// Reads the file of `mounts add` and `mounts remove`: an array like `mounts` of config.json, or an object that holds one, such as
/// a whole config.json.
pub fn read_mounts(path: &Path) -> Result<Vec<Mount>> {
    #[derive(Deserialize)]
    struct Holder {
        mounts: Vec<Mount>,
    }
    let json = read_file(path)?;
    let read = if json.trim_ascii_start().first() == Some(&b'[') {
        parse(&json, Shape::List)
    } else {
        from_json(&json).map(|holder: Holder| holder.mounts)
    };
    read.doing(|| path.display().to_string())
}

/// Reads a part of a config.json from the standard input.
pub fn read_json_stdin<T: DeserializeOwned>() -> Result<T> {
    let mut content = Vec::new();
    let read = std::io::stdin().lock().take(MAX_SIZE).read_to_end(&mut content);
    read.map_err(|error| CallError { call: "read(0)".into(), errno: error.into() })?;
    from_json(&content).doing(|| "standard input".into())
}

/// Reads a regular file whole. Anything else is refused unopened: opening a FIFO can take for ever.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |call: &str, error: std::io::Error| CallError {
        call: format!("{call}({path:?})"),
        errno: error.into(),
    };
    let meta = std::fs::metadata(path).map_err(|e| failed("open", e))?;
    if !meta.is_file() {
        return Err(Error::new(format!("{} is not a regular file", path.display())));
    }
    if meta.len() > MAX_SIZE {
        return Err(Error::new(format!("{} is larger than {} MiB", path.display(), MAX_SIZE >> 20)));
    }
    let file = File::open(path).map_err(|e| failed("open", e))?;
    Ok(file::read_sized(&file, meta.len(), MAX_SIZE).map_err(|e| failed("read", e))?)
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    parse(json, Shape::Object)
}

/// Parses what is on record: nobody but the runtime has written it.
pub fn parse_record<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(json).map_err(|error| Error::new(error.to_string()))?;
    serde_json::from_str(text).map_err(|error| Error::new(error.to_string()))
}

/// Parses JSON; the error of a failure names the path of the culprit.
fn parse<T: DeserializeOwned>(json: &[u8], shape: Shape) -> Result<T> {
    if json.starts_with(b"\xef\xbb\xbf") {
        return Err(Error::new("begins with a byte order mark").hint("save it as UTF-8 without BOM"));
    }
    let wrong = |what: String, end: Option<usize>| {
        let said = Error::new(what);
        match end.and_then(|end| path::at(json, end)) {
            Some(path) => said.field(path),
            None => said,
        }
    };
    let at_place = |what: &str, at: usize| {
        let (line, column) = path::line_and_column(json, at);
        wrong(format!("{what} at line {line} column {column}"), Some(at))
    };
    // All at once: serde_json would do it string by string, which takes three times as long.
    let text = std::str::from_utf8(json).map_err(|error| at_place("no UTF-8", error.valid_up_to()))?;
    match shape::misplaced_array(json, shape) {
        Some(at) => Err(at_place("an array where none is expected", at)),
        None => serde_json::from_str(text)
            .map_err(|error| wrong(error.to_string(), path::index(json, error.line(), error.column()))),
    }
}

/// "ociVersion (string, REQUIRED) MUST be in SemVer v2.0.0 format"; a new major version may change any
/// meaning.
fn check_version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(Error::new("missing").hint("it is the version of the runtime-spec, for instance 1.3.0"));
    }
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<Option<u64>> = core.split('.').map(|n| n.parse().ok()).collect();
    match numbers[..] {
        [Some(1), Some(_), Some(_)] => Ok(()),
        [Some(_), Some(_), Some(_)] => Err(Error::new(format!("{version} is not supported, only 1.x"))),
        _ => Err(Error::new(format!("{version:?} is not a semantic version such as 1.3.0"))),
    }
}

/// Callers written in Go write an empty list as `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    d: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = r#""ociVersion": "1.3.0""#;

    fn error(json: &str) -> String {
        Spec::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_path_line_and_column() {
        for (rest, text) in [
            (
                ",\n\"linux\": {\"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"foo\"}]}",
                "linux.namespaces[1].type: unknown variant `foo`, expected one of `mount`, `cgroup`, `uts`, `ipc`, `user`, `pid`, `network`, `time` at line 2 column 56",
            ),
            (
                ", \"process\": {\"user\": {\"uid\": \"zero\"}}",
                "process.user.uid: invalid type: string \"zero\", expected u32 at line 1 column 58",
            ),
            (
                ", \"process\": {\"user\": {\"uid\": 4294967296}}",
                "process.user.uid: invalid value: integer `4294967296`, expected u32 at line 1 column 62",
            ),
            (
                ", \"mounts\": [{\"type\": \"proc\"}]",
                "mounts[0]: missing field `destination` at line 1 column 51",
            ),
            (", \"root\": 7", "root: invalid type: integer `7`, expected struct Root at line 1 column 33"),
        ] {
            assert_eq!(error(&format!("{{{VERSION}{rest}}}")), text);
        }
    }

    #[test]
    fn what_is_not_json_is_a_clean_error() {
        for (json, text) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("\u{feff}{}", "begins with a byte order mark (save it as UTF-8 without BOM)"),
            ("\0", "expected value at line 1 column 1"),
            ("{} {}", "trailing characters at line 1 column 4"),
            (
                "{\"process\": {\"args\": [\"a\"",
                "process.args[0]: EOF while parsing a list at line 1 column 25",
            ),
        ] {
            assert_eq!(error(json), text);
        }
        let error = Spec::parse(b"{\"ociVersion\": \"\xff\"}").unwrap_err().to_string();
        assert_eq!(error, "ociVersion: no UTF-8 at line 1 column 17");
    }

    #[test]
    fn a_missing_limit_of_processes_is_none() {
        for (pids, limit) in [("{}", None), (r#"{"limit": 0}"#, Some(0)), (r#"{"limit": 7}"#, Some(7))] {
            let json = format!(r#"{{{VERSION}, "linux": {{"resources": {{"pids": {pids}}}}}}}"#);
            let linux = Spec::parse(json.as_bytes()).unwrap().linux.unwrap();
            assert_eq!(linux.resources().as_ref().unwrap().pids().map(|pids| pids.limit()), limit, "{pids}");
        }
    }

    #[test]
    fn an_array_is_no_object() {
        let members = from_json::<Scheduler>(br#" ["SCHED_OTHER", 1, 0, [], 0, 0, 0]"#).unwrap_err();
        assert_eq!(members.to_string(), "an array where none is expected at line 1 column 2");
    }

    #[test]
    fn nesting_takes_no_stack() {
        let deep = format!("{{{VERSION}, \"x\": {}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(Spec::parse(deep.as_bytes()).is_ok());
    }

    #[test]
    fn versions() {
        for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.2.0+build.7", "1.0.0-rc5"] {
            assert!(
                Spec::parse(format!("{{\"ociVersion\": \"{version}\"}}").as_bytes()).is_ok(),
                "{version}"
            );
        }
        let missing = "ociVersion: missing (it is the version of the runtime-spec, for instance 1.3.0)";
        for (json, text) in [
            ("{}", missing),
            (r#"{"ociVersion": ""}"#, missing),
            (r#"{"ociVersion": "2.0.0"}"#, "ociVersion: 2.0.0 is not supported, only 1.x"),
            (r#"{"ociVersion": "0.5.0-dev"}"#, "ociVersion: 0.5.0-dev is not supported, only 1.x"),
            (r#"{"ociVersion": "1"}"#, "ociVersion: \"1\" is not a semantic version such as 1.3.0"),
            (r#"{"ociVersion": "1.x.0"}"#, "ociVersion: \"1.x.0\" is not a semantic version such as 1.3.0"),
        ] {
            assert_eq!(error(json), text);
        }
    }

    #[test]
    fn null_lists_and_unknown_fields() {
        let json = format!(
            "{{{VERSION}, \"mounts\": null, \"annotations\": null, \"new\": {{\"field\": 1}}, \"hooks\": null,
             \"process\": {{\"env\": null, \"args\": null, \"capabilities\": {{\"bounding\": [\"CAP_NEW\"]}}}}}}"
        );
        let spec = Spec::parse(json.as_bytes()).unwrap();
        let process = spec.process.unwrap();
        assert_eq!(process.capabilities.unwrap().bounding, ["CAP_NEW"]);
        assert_eq!((process.user.uid(), process.cwd.as_str()), (0, ""));
        assert!(spec.mounts.is_empty() && process.env.is_empty());
    }

    #[test]
    fn what_is_written_can_be_read() {
        let affinity = ExecCpuAffinity { initial: Some("0-1".into()), last: None };
        let process = Process { terminal: true, exec_cpu_affinity: Some(affinity), ..Process::default() };
        let spec = Spec { oci_version: "1.3.0".into(), process: Some(process), ..Spec::default() };
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"ociVersion": "1.3.0", "process": {
                "terminal": true, "user": {"uid": 0, "gid": 0}, "args": [], "cwd": "",
                "execCPUAffinity": {"initial": "0-1"},
            }})
        );
        assert!(Spec::parse(json.to_string().as_bytes()).unwrap().process.unwrap().terminal);
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let missing =
            Spec::read(Path::new("/nonexistent"), Path::new("config.json")).unwrap_err().to_string();
        assert_eq!(
            missing,
            "open(\"/nonexistent/config.json\"): ENOENT (no such file or directory) (a bundle is a directory with a config.json in it; `orlop spec` writes one)"
        );
        let error = Process::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "/dev/zero is not a regular file");
        assert!(Process::read(Path::new("/")).is_err());
    }
}
