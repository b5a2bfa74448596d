//! What a command of the runtime gave back.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The end of a command: its status and all it wrote.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The exit code; the runtime itself must not have been killed.
    #[track_caller]
    pub fn code(&self) -> i32 {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code,
            (None, signal) => panic!("killed by signal {signal:?}: {self}"),
        }
    }

    /// Exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "expected success: {self}");
        self
    }

    /// This exit code, and every one of `texts` on stderr, where a log format may have quoted them.
    #[track_caller]
    pub fn fails(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code(), code, "exit code: {self}");
        let stderr = self.stderr.replace("\\\"", "\"");
        for text in texts {
            assert!(stderr.contains(text), "expected {text:?} on stderr: {self}");
        }
        self
    }

    /// Fails with one line on stderr, whatever else it says.
    #[track_caller]
    pub fn one_line(self) -> Self {
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "expected one line on stderr: {self}");
        self
    }

    /// The lines of stdout, each trimmed.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().map(str::trim).collect()
    }

    /// The rest of the line of stdout that starts with `key`, trimmed: `field("CapEff:")` of
    /// `/proc/self/status`, or of what a script has echoed.
    #[track_caller]
    pub fn field(&self, key: &str) -> &str {
        let found = self.stdout.lines().find_map(|line| line.strip_prefix(key));
        found.unwrap_or_else(|| panic!("no line starts with {key:?}: {self}")).trim()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output { command, status, stdout, stderr } = self;
        write!(f, "{command}\n{status}\nstdout: {stdout}\nstderr: {stderr}")
    }
}
