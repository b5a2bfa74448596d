//! Commands that run, each with a deadline.

use super::commands::deadline;
use super::output::Output;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// A command that runs.
pub struct Running {
    child: Child,
    command: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A command's words, for messages.
pub(super) fn line(command: &Command) -> String {
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    words.join(std::ffi::OsStr::new(" ")).to_string_lossy().into_owned()
}

impl Running {
    /// Starts a command, which messages show as `line`, and whose output goes to these files.
    pub(super) fn start(line: &str, mut command: Command, stdout: PathBuf, stderr: PathBuf) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        Running { child, command: line.into(), stdout, stderr }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Sends the command a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
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

    /// Does something again and again until it has ended.
    #[track_caller]
    #[allow(dead_code, reason = "one of the two harnesses needs it")]
    pub fn wait_while(mut self, again: impl Fn()) -> Output {
        let end = Instant::now() + deadline();
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            again();
            std::thread::sleep(Duration::from_millis(500));
        }
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let ended = wait(&mut self.child, deadline());
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let output = |status| Output {
            command: self.command.clone(),
            status,
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        };
        match ended {
            Some(status) => output(status),
            None => {
                let _ = self.child.kill();
                panic!("no end after {:?}: {}", deadline(), output(self.child.wait().unwrap()))
            }
        }
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

/// Waits for the end of a child by its pidfd; `None` after the deadline.
pub(super) fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    // Somebody may have seen it already, and then its pid is nobody's.
    if let Ok(Some(status)) = child.try_wait() {
        return Some(status);
    }
    let pid = rustix::process::Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return None,
            Ok(_) => return child.wait().ok(),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Asks again and again, to the deadline, whether something holds.
pub fn poll_until(holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + deadline() / 3;
    while Instant::now() < end {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    holds()
}

/// Waits until something holds; the test fails if it never does.
#[track_caller]
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    assert!(poll_until(holds), "waited in vain: {what}");
}
