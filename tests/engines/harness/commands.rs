//! Command lines in a world, each with a deadline.

use super::output::Output;
use super::running::Running;
use super::terminal::Terminal;
use super::world::World;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// No command of an engine, and nothing that a test waits for, may take longer. Engines are slow, and all
/// tests run at the same time. `DEADLINE` may say other seconds, for a machine that is slow.
pub(super) fn deadline() -> Duration {
    let seconds = std::env::var("DEADLINE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(300))
}

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
