//! This test program once more, as a process of its own: one that a filter or a library may end or hold up.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The variable by which the child knows itself, and finds its profile.
const PROFILE: &str = "SECCOMP_TEST_PROFILE";

/// The profile to work on, in the child.
pub fn profile() -> Option<Value> {
    let path = std::env::var_os(PROFILE)?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// A file beside the profile, for what the child has to tell.
pub fn answer_path() -> PathBuf {
    PathBuf::from(std::env::var_os(PROFILE).unwrap()).with_extension("answer")
}

/// Runs one test in a child with a profile: how it ended, and its answer if it left one. `None` if it had not
/// ended after ten seconds.
pub fn run(test: &str, profile: &Value) -> Option<(ExitStatus, Option<Vec<u8>>)> {
    let name = format!("seccomp-{}-{:?}.json", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, profile.to_string()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads=1"]).env(PROFILE, &path);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if start.elapsed() > Duration::from_secs(10) => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    std::fs::remove_file(&path).unwrap();
    let answer = path.with_extension("answer");
    let text = std::fs::read(&answer).ok();
    if text.is_some() {
        std::fs::remove_file(&answer).unwrap();
    }
    Some((status?, text))
}
