//! Running one command and taking what it cost.

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// What a command has cost, with all of its children that have ended.
#[derive(Clone, Copy)]
pub struct Cost {
    /// Milliseconds until it ended.
    pub wall: f64,
    /// Milliseconds of processor time, of user and system.
    pub cpu: f64,
    /// Page faults that needed no reading.
    pub faults: f64,
}

/// Runs `work` and takes what it and all its children have cost.
pub fn cost(work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    reap();
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let start = Instant::now();
    work()?;
    let wall = start.elapsed();
    reap();
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |usage: &nix::sys::resource::Usage| {
        let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
        micros(usage.user_time()) + micros(usage.system_time())
    };
    Ok(Cost {
        wall: wall.as_secs_f64() * 1e3,
        cpu: time(&after) - time(&before),
        faults: (after.minor_page_faults() - before.minor_page_faults()) as f64,
    })
}

/// Runs a command to its end, without input and output.
pub fn quiet(command: &mut Command) -> Result<()> {
    // A file, so that nobody waits for a container that holds a pipe open.
    let said = std::env::temp_dir().join(format!("orlop-bench.{:?}.stderr", std::thread::current().id()));
    let stderr = File::create(&said).with_context(|| format!("create {}", said.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut child = command.spawn().with_context(|| format!("run {command:?}"))?;
    let watched = Watched::new(child.id());
    let status = child.wait().with_context(|| format!("run {command:?}"))?;
    drop(watched);
    let text = fs::read_to_string(&said).unwrap_or_default();
    fs::remove_file(&said)?;
    if !status.success() {
        bail!("{command:?}: {status}: {}", text.trim());
    }
    Ok(())
}

/// How long a command may take; a runtime that never ends must not stop the others.
const PATIENCE: Duration = Duration::from_secs(10);

/// The processes that are waited for, and since when.
static RUNNING: Mutex<BTreeMap<u32, Instant>> = Mutex::new(BTreeMap::new());

/// A process that is killed when it takes too long.
struct Watched(u32);

impl Watched {
    fn new(pid: u32) -> Watched {
        static WATCHER: Once = Once::new();
        WATCHER.call_once(|| drop(std::thread::spawn(watch)));
        running().insert(pid, Instant::now());
        Watched(pid)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        running().remove(&self.0);
    }
}

fn running() -> MutexGuard<'static, BTreeMap<u32, Instant>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        for (pid, _) in running().iter().filter(|(_, since)| since.elapsed() > PATIENCE) {
            // It may have ended this moment.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// Runs a command to its end and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("run {command:?}"))?;
    let watched = Watched::new(child.id());
    let output = child.wait_with_output().with_context(|| format!("run {command:?}"))?;
    drop(watched);
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Takes the status of children that have ended, of which some were left by a runtime.
pub fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// The children of this process, and those that were left to it.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists: String =
        tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect();
    lists.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Waits until the last child has ended.
pub fn wait_for_children() {
    let _watched: Vec<_> = children().into_iter().map(Watched::new).collect();
    while waitpid(None, None).is_ok() {}
}

/// Kills all children.
pub fn end_children() {
    while let children @ [_, ..] = &children()[..] {
        for pid in children {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        // What they leave comes to this process.
        wait_for_children();
    }
}

/// Waits until `done`, with a deadline that only a runtime at fault meets.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > Duration::from_secs(20) {
            bail!("waited too long until {what}");
        }
        reap();
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
