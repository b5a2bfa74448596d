//! Runs hooks: programs that config.json names for the turning points of a container's life
//! ([config.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#posix-platform-hooks)).

use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::hooks::Hook;
use crate::plan::seccomp::{Before, Seccomp};
use crate::sys::file::{self, Interest};
use crate::sys::{CallError, pidfd, process, seccomp, signal};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, CString, OsStr};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// As much of the end of a hook's stderr goes into the error.
const TAIL: usize = 2048;

/// What hooks are told of the container
/// ([runtime.md, State](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/runtime.md#state)).
#[derive(Debug)]
pub struct HookState {
    /// `ociVersion` of config.json.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// Annotations of config.json.
    pub annotations: BTreeMap<String, String>,
}

impl HookState {
    /// The state as text.
    pub fn json(&self, status: &str, pid: i32) -> Vec<u8> {
        self.value(status, pid).to_string().into_bytes()
    }

    /// The state as JSON. `pid` is that of the container's process in the pid namespace that the hook runs in.
    pub fn value(&self, status: &str, pid: i32) -> serde_json::Value {
        serde_json::json!({
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": status,
            "pid": pid,
            "bundle": self.bundle,
            "annotations": self.annotations,
        })
    }
}

/// What hooks get that the specification leaves open; without it, what the caller has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// Where they stand.
    pub dir: Option<&'a Path>,
    /// The environment of those for which config.json has none.
    pub env: &'a [CString],
    /// What filters their system calls, unless it already does.
    pub filter: Option<&'a Seccomp>,
}

/// Runs hooks one after the other, each with the state on its stdin; the first failure ends it.
pub fn run(hooks: &[Hook], state: &[u8]) -> Result<()> {
    run_in(hooks, state, Surroundings::default())
}

/// The same in given surroundings.
pub fn run_in(hooks: &[Hook], state: &[u8], around: Surroundings) -> Result<()> {
    hooks.iter().try_for_each(|hook| run_one(hook, state, around).field(|| hook.field.clone()))
}

fn run_one(hook: &Hook, state: &[u8], around: Surroundings) -> Result<()> {
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    if let Some(env) = &hook.env {
        command.env_clear();
        command.envs(env.iter().filter_map(|entry| entry.split_once('=')));
    } else if !around.env.is_empty() {
        command.env_clear();
        command.envs(around.env.iter().filter_map(|entry| variable(entry)));
    }
    if let Some(dir) = around.dir {
        command.current_dir(dir);
    }
    if let Some(filter) = around.filter.filter(|filter| filter.install == Before::Exec) {
        seccomp::install_in(&mut command, &filter.program, filter.flags);
    }
    // A process group of its own, so that a timeout ends what the hook has started too.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let spawned = command
        .spawn()
        .map_err(|error| CallError { call: format!("execve({:?})", hook.path), errno: error.into() });
    let mut child = spawned?;
    log::debug(|| format!("{} runs {}", hook.field, hook.path.display()));
    let started = Instant::now();
    let mut tail = VecDeque::new();
    let how = match attend(&mut child, state, hook.timeout.map(|timeout| started + timeout), &mut tail) {
        Ok(pidfd::Exit::Code(0)) => return Ok(()),
        Ok(pidfd::Exit::Code(code)) => format!("exit status {code}"),
        Ok(pidfd::Exit::Signal(signal)) => format!("killed by signal {signal}: {}", signal::text(signal)),
        Err(error) => {
            process::kill_group(child.id(), signal::KILL);
            // Only reaps: the hook is dead.
            let _ = child.wait();
            error.to_string()
        }
    };
    let tail = String::from_utf8_lossy(tail.make_contiguous()).trim().to_owned();
    let said = if tail.is_empty() { String::new() } else { format!(", stderr: {tail}") };
    let after = started.elapsed().as_millis();
    let (name, path) = (&hook.name, hook.path.display());
    Err(Error::new(format!("error running {name}: {path}, after {after} ms: {how}{said}")))
}

/// Name and value of a variable.
fn variable(entry: &CStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = entry.to_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..])))
}

/// Writes the state to the hook, keeps the end of what it writes to stderr, and waits for its end.
fn attend(
    child: &mut Child,
    mut state: &[u8],
    deadline: Option<Instant>,
    tail: &mut VecDeque<u8>,
) -> Result<pidfd::Exit> {
    let pid = i32::try_from(child.id()).map_err(|_| Error::new("pid out of range"))?;
    let pidfd = pidfd::open(pid)?;
    let mut stdin = child.stdin.take();
    let mut stderr = child.stderr.take();
    loop {
        let mut waits: Vec<(BorrowedFd, Interest)> = vec![(pidfd.as_fd(), Interest::Read)];
        let stdin_at = stdin.as_ref().map(|stdin| push(&mut waits, stdin.as_fd(), Interest::Write));
        let stderr_at = stderr.as_ref().map(|stderr| push(&mut waits, stderr.as_fd(), Interest::Read));
        let ready = file::poll(&waits, deadline)?;
        if !ready.contains(&true) {
            return Err(Error::new("timed out"));
        }
        if stdin_at.is_some_and(|at| ready[at]) {
            // A pipe that is ready takes a whole page without blocking. A hook need not read its stdin.
            let chunk = &state[..state.len().min(4096)];
            match stdin.as_mut().map(|stdin| stdin.write(chunk)) {
                Some(Ok(written)) if written < state.len() => state = &state[written..],
                _ => stdin = None,
            }
        }
        let mut drained = true;
        if stderr_at.is_some_and(|at| ready[at]) {
            let mut chunk = [0; 4096];
            match stderr.as_mut().map(|stderr| stderr.read(&mut chunk)) {
                Some(Ok(read)) if read > 0 => {
                    tail.extend(&chunk[..read]);
                    tail.drain(..tail.len().saturating_sub(TAIL));
                    drained = false;
                }
                _ => stderr = None,
            }
        }
        // What a daemon that the hook has left behind goes on writing is not waited for.
        if ready[0] && drained {
            return Ok(pidfd::wait(pidfd.as_fd())?);
        }
    }
}

fn push<'a>(waits: &mut Vec<(BorrowedFd<'a>, Interest)>, fd: BorrowedFd<'a>, interest: Interest) -> usize {
    waits.push((fd, interest));
    waits.len() - 1
}
