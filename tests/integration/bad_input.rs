//! What is wrong with a config.json is said in one line that names the place, once on stderr and once in the
//! log, and nothing is left.

use crate::harness::*;
use serde_json::{Value, json};
use std::fs;

/// A value that stands for the absence of the member.
pub const ABSENT: &str = "\0absent";

/// A bundle whose bad variations are tried one after the other.
pub struct Trial {
    bundle: Bundle,
    good: Value,
}

impl Trial {
    pub fn new(bundle: Bundle) -> Self {
        let log = bundle.io().join("log.json");
        let good = bundle.config.clone();
        let bundle =
            bundle.global("--log").global(log.to_str().unwrap()).global("--log-format").global("json");
        Trial { bundle, good }
    }

    /// config.json with these changes, each a JSON pointer and what is to be there, is refused with a line
    /// that has all of `texts` in it.
    #[track_caller]
    pub fn refuses(&mut self, changes: &[(&str, Value)], texts: &[&str]) {
        let mut b = std::mem::replace(&mut self.bundle, Bundle::new());
        b.config = self.good.clone();
        for (pointer, value) in changes {
            b = match value.as_str() {
                Some(ABSENT) => b.remove(pointer),
                _ => b.set(pointer, value.clone()),
            };
        }
        self.bundle = b;
        let json = serde_json::to_vec(&self.bundle.config).unwrap();
        eprintln!("trying {}", format!("{changes:?}").chars().take(160).collect::<String>());
        self.refuses_raw(&json, texts);
    }

    /// A config.json of these bytes is refused.
    #[track_caller]
    pub fn refuses_raw(&self, json: &[u8], texts: &[&str]) {
        eprintln!("config.json: {}", String::from_utf8_lossy(&json[..json.len().min(60)]));
        fs::write(self.bundle.dir().join("config.json"), json).unwrap();
        self.refuses_command(&self.bundle.with_bundle("create", &[]), 1, texts);
        self.bundle.assert_nothing_left();
    }

    /// A command fails with this exit code and one line with all of `texts`, on stderr and in the log.
    #[track_caller]
    pub fn refuses_command<S: AsRef<str>>(&self, args: &[S], code: i32, texts: &[&str]) {
        let log = self.bundle.io().join("log.json");
        let _ = fs::remove_file(&log);
        let out = self.bundle.cmd(args).fails(code, texts).one_line();
        assert!(out.stdout.is_empty(), "{out}");
        let said =
            out.stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("not an error: {out}")).trim_end();
        assert!(!said.contains(|c: char| c.is_control()), "{said:?}");
        let logged = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "one line in the log: {logged} for {out}");
        assert_eq!(
            (lines[0]["level"].as_str(), lines[0]["msg"].as_str()),
            (Some("error"), Some(said)),
            "{out}"
        );
        assert!(lines[0]["time"].as_str().is_some_and(|time| time.contains('T')), "{logged}");
    }

    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }
}

/// Tries every row: one change, and what the line says.
#[track_caller]
pub fn table(bundle: Bundle, rows: &[(&str, Value, &[&str])]) {
    let mut trial = Trial::new(bundle);
    for (pointer, value, texts) in rows {
        trial.refuses(&[(pointer, value.clone())], texts);
    }
}

#[test]
fn what_is_no_json() {
    requires!(Need::Root);
    let trial = Trial::new(Bundle::new());
    let good = serde_json::to_string(&trial.good).unwrap();
    let cut = &good[..good.len() / 2];
    let duplicate = good.replacen('{', "{\"ociVersion\": \"1.0.2\", ", 1);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = good.replacen('{', &format!("{{\"process\": {nested}, "), 1);
    for (json, texts) in [
        (String::new(), &["config.json", "line 1 column 0"][..]),
        (" \n ".into(), &["config.json", "line 2"]),
        ("null".into(), &["config.json", "line 1"]),
        ("[]".into(), &["config.json"]),
        ("true".into(), &["config.json", "line 1"]),
        ("\"text\"".into(), &["config.json", "line 1"]),
        ("{".into(), &["config.json", "EOF", "line 1 column 1"]),
        ("{}".into(), &["config.json", "ociVersion", "missing"]),
        ("{'a': 1}".into(), &["config.json", "line 1 column 2"]),
        ("{\"a\": 1,}".into(), &["config.json", "line 1 column 9"]),
        ("{\"a\" 1}".into(), &["config.json", "line 1 column 6"]),
        ("{\"a\": 01}".into(), &["config.json", "line 1"]),
        ("{\"a\": NaN}".into(), &["config.json", "line 1"]),
        ("{\"hostname\": \"\\ud800\"}".into(), &["config.json", "line 1"]),
        ("// comment\n{}".into(), &["config.json", "line 1 column 1"]),
        (cut.into(), &["config.json", "EOF", "line 1"]),
        (format!("{good} x"), &["config.json", "trailing characters", "line 1"]),
        (format!("{good}{good}"), &["config.json", "trailing characters"]),
        (format!("\u{feff}{good}"), &["config.json", "byte order mark"]),
        (format!("{good}\0"), &["config.json", "trailing characters"]),
        (duplicate, &["config.json", "duplicate field `ociVersion`", "line 1"]),
        (nested, &["config.json", "line 1"]),
        (deep, &["config.json", "process", "line 1"]),
        ("{\"process\": {\"user\": {\"uid\": 1e400}}}".into(), &["process.user.uid", "line 1"]),
    ] {
        trial.refuses_raw(json.as_bytes(), texts);
    }
    for bytes in [
        &b"\xff\xfe{\0}\0"[..],
        b"{\"ociVersion\": \"\xff\"}",
        b"\x7fELF\x02\x01\x01",
        b"\x1f\x8b\x08",
        &[0; 4096],
    ] {
        trial.refuses_raw(bytes, &["config.json", "line 1"]);
    }
}

#[test]
fn what_is_no_file() {
    requires!(Need::Root);
    let trial = Trial::new(Bundle::new());
    let path = trial.bundle().dir().join("config.json");
    let create = trial.bundle().with_bundle("create", &[]);
    let refused = |texts: &[&str]| {
        trial.refuses_command(&create, 1, texts);
        trial.bundle().assert_nothing_left();
    };
    refused(&["config.json", "no such file or directory"]);
    fs::create_dir(&path).unwrap();
    refused(&["config.json", "not a regular file"]);
    fs::remove_dir(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    refused(&["config.json", "not a regular file"]);
    fs::remove_file(&path).unwrap();
    for (target, text) in
        [("config.json", "ELOOP"), ("nowhere", "no such file"), ("/dev/zero", "not a regular file")]
    {
        std::os::unix::fs::symlink(target, &path).unwrap();
        refused(&["config.json", text]);
        fs::remove_file(&path).unwrap();
    }
    fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    refused(&["config.json", "larger than 16 MiB"]);
    let id = trial.bundle().id.clone();
    for (bundle, text) in [("/nonexistent", "no such file"), ("/etc/passwd", "not a directory")] {
        trial.refuses_command(&["create", "--bundle", bundle, &id], 1, &["bundle", text]);
    }
    trial.bundle().assert_nothing_left();
}

#[test]
fn types() {
    requires!(Need::Root);
    let mut trial = Trial::new(Bundle::new());
    // Each pointer with values that it can't have; the line names the field, line and column.
    let wrong: &[(&str, &[Value])] = &[
        ("/ociVersion", &[json!(1), json!(null), json!([])]),
        ("/root", &[json!("rootfs"), json!(true)]),
        ("/root/path", &[json!(7), json!({})]),
        ("/root/readonly", &[json!("true"), json!(1)]),
        ("/process", &[json!("sh"), json!(1)]),
        ("/process/args", &[json!("sh"), json!({}), json!(1)]),
        ("/process/args/0", &[json!(1), json!(null), json!(["sh"])]),
        ("/process/env", &[json!({"A": "b"}), json!("A=b")]),
        ("/process/cwd", &[json!(1), json!(["/"])]),
        ("/process/terminal", &[json!("yes"), json!(0)]),
        ("/process/noNewPrivileges", &[json!("no")]),
        ("/process/user", &[json!("root"), json!(0)]),
        (
            "/process/user/uid",
            &[json!("0"), json!(-1), json!(1.5), json!(4_294_967_296_u64), json!(-0.0), json!([0])],
        ),
        ("/process/user/gid", &[json!("0"), json!(-1), json!(u64::MAX)]),
        ("/process/user/additionalGids", &[json!(1), json!(["1"]), json!([-1])]),
        ("/process/user/umask", &[json!("022"), json!(-1)]),
        ("/process/capabilities", &[json!(true), json!("all")]),
        ("/process/capabilities/bounding", &[json!("CAP_KILL"), json!([1])]),
        ("/process/rlimits", &[json!({}), json!([1]), json!([{"type": "RLIMIT_FOO", "hard": 1, "soft": 1}])]),
        ("/process/oomScoreAdj", &[json!("0"), json!(1.5), json!(1_u64 << 40)]),
        ("/process/consoleSize", &[json!("24x80"), json!({"height": "24", "width": 80})]),
        ("/hostname", &[json!(1), json!(["a"])]),
        ("/mounts", &[json!({}), json!("none")]),
        ("/mounts/0", &[json!("proc"), json!({"type": "proc"})]),
        ("/mounts/0/destination", &[json!(1), json!(null)]),
        ("/mounts/1/options", &[json!("ro"), json!([1])]),
        ("/hooks", &[json!(true), json!("hook")]),
        ("/hooks/prestart", &[json!({}), json!([{"args": ["a"]}]), json!([{"path": 1}])]),
        ("/annotations", &[json!([]), json!({"a": 1})]),
        ("/linux", &[json!("linux"), json!(1)]),
        (
            "/linux/namespaces",
            &[json!({}), json!(["pid"]), json!([{"type": "net"}]), json!([{"path": "/a"}])],
        ),
        ("/linux/uidMappings", &[json!([{"containerID": -1, "hostID": 0, "size": 1}])]),
        ("/linux/devices", &[json!([{"path": "/dev/a", "type": "x"}])]),
        ("/linux/sysctl", &[json!([]), json!({"net.a": 1})]),
        ("/linux/maskedPaths", &[json!("/proc"), json!([1])]),
        (
            "/linux/resources",
            &[json!("none"), json!({"memory": {"limit": "1G"}}), json!({"pids": {"limit": 1.5}})],
        ),
        ("/linux/personality", &[json!("LINUX32"), json!({"domain": "HPUX"})]),
        ("/linux/timeOffsets", &[json!([]), json!({"boottime": {"secs": "1"}})]),
        ("/linux/seccomp", &[json!("off"), json!({"defaultAction": "SCMP_ACT_MAYBE"})]),
    ];
    for (pointer, values) in wrong {
        let field =
            pointer.trim_start_matches('/').replace("/0", "[0]").replace("/1", "[1]").replace('/', ".");
        for value in *values {
            trial.refuses(&[(pointer, value.clone())], &["config.json", &field, "line 1 column"]);
        }
    }
}
