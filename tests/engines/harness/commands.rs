//! Command lines in a world, each with a deadline.

use super::output::Output;
use super::terminal::Terminal;
use super::world::World;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No command of an engine, and nothing that a test waits for, may take longer. Engines are slow, and all
/// tests run at the same time.
const DEADLINE: Duration = Duration::from_secs(120);

impl World {
    /// Runs a shell command in the world to its end.
    pub fn sh(&self, script: &str) -> Output {
        self.spawn(script).wait()
    }

    /// Starts a shell command in the world; its output goes to files.
    pub fn spawn(&self, script: &str) -> Running {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| {
            let path = self.path(&format!("/io/{number}.{kind}"));
            (File::create_new(&path).unwrap(), path)
        };
        let ((out, stdout), (err, stderr)) = (file("out"), file("err"));
        let mut command = self.command(script);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Running::start(script, command, stdout, stderr)
    }

    /// Starts a shell command in the world on a terminal of its own, of 24 rows and 80 columns.
    pub fn spawn_on_terminal(&self, script: &str) -> (Running, Terminal) {
        let (terminal, slave) = Terminal::open(24, 80);
        let inner = self.command(script);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        let slave = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let nowhere = PathBuf::from("/dev/null");
        (Running::start(script, command, nowhere.clone(), nowhere), terminal)
    }
}

/// A command that runs.
pub struct Running {
    child: Child,
    command: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    fn start(line: &str, mut command: Command, stdout: PathBuf, stderr: PathBuf) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        Running { child, command: line.into(), stdout, stderr }
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// Waits until it has written `text` to stdout.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_until(text, || self.stdout().contains(text));
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let end = Instant::now() + DEADLINE;
        let mut status = None;
        while status.is_none() && Instant::now() < end {
            status = self.child.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        let late = status.is_none();
        if late {
            let _ = self.child.kill();
        }
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let output = Output {
            command: self.command.clone(),
            status: status.unwrap_or_else(|| self.child.wait().unwrap()),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        };
        assert!(!late, "no end after {DEADLINE:?}: {output}");
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Asks again and again, to the deadline, whether something holds.
pub fn poll_until(holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + DEADLINE / 3;
    while Instant::now() < end {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    holds()
}

/// Waits until something holds; the test fails if it never does.
#[track_caller]
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    assert!(poll_until(holds), "waited in vain: {what}");
}
