//! The terminal that a test holds.

use super::commands::deadline;
use super::running::wait_until;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

/// The master side of a terminal.
pub struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    /// A new terminal of this size, and its slave side.
    pub fn open(rows: u16, columns: u16) -> (Self, OwnedFd) {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        (Self::new(pty.master), pty.slave)
    }

    pub fn new(master: OwnedFd) -> Self {
        Terminal { master: File::from(master), seen: String::new() }
    }

    /// Types text.
    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until somebody has read what was typed, to whom what is typed next comes by itself.
    #[track_caller]
    #[allow(dead_code, reason = "one of the two harnesses needs it")]
    pub fn wait_until_read(&self) {
        let name = rustix::pty::ptsname(&self.master, Vec::new()).unwrap();
        let mut slave = File::options();
        slave.read(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
        let slave = slave.open(name.to_str().unwrap()).unwrap();
        // It is on its way until somebody asks for it.
        let unread =
            || poll(&mut [PollFd::new(slave.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap();
        wait_until("what was typed is read", || unread() == 0);
    }

    /// Reads until `text` has appeared, and returns all that has been read so far.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> &str {
        while !self.seen.contains(text) {
            assert!(self.read_some(), "the terminal closed before {text:?}: {:?}", self.seen);
        }
        &self.seen
    }

    /// Reads until the other side is closed, and returns all that has been read.
    #[track_caller]
    pub fn read_to_end(&mut self) -> &str {
        while self.read_some() {}
        &self.seen
    }

    /// Changes the window's size, which sends SIGWINCH to the foreground processes.
    pub fn resize(&self, rows: u16, columns: u16) {
        let terminal = self.master.try_clone().unwrap();
        let size = ["rows", &rows.to_string(), "columns", &columns.to_string()].map(String::from);
        assert!(Command::new("stty").args(size).stdin(terminal).status().unwrap().success());
    }

    /// Does so from another size each time: for those who look at the size first, and only then listen for changes.
    #[allow(dead_code, reason = "one of the two harnesses needs it")]
    pub fn resize_again(&self, rows: u16, columns: u16) {
        self.resize(rows, columns - 1);
        self.resize(rows, columns);
    }

    /// The settings, as stty(1) saves them.
    pub fn settings(&self) -> String {
        let terminal = self.master.try_clone().unwrap();
        let output = Command::new("stty").arg("--save").stdin(terminal).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// False when no slave is open any more: read(2) fails with EIO then.
    fn read_some(&mut self) -> bool {
        wait_readable(&self.master);
        let mut buffer = [0; 4096];
        let count = self.master.read(&mut buffer).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        count > 0
    }
}

/// Waits until a descriptor can be read; for a pidfd that is when the process has ended.
#[track_caller]
pub fn wait_readable(file: &impl AsFd) {
    let timeout = PollTimeout::try_from(deadline()).unwrap();
    let ready = poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], timeout).unwrap();
    assert!(ready > 0, "nothing came in {:?}", deadline());
}
