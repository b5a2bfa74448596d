//! Terminals: the one that a test holds, and the socket through which a container's terminal arrives.

use super::bundle::Bundle;
use super::commands::Running;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How long a terminal or a socket may stay silent, in milliseconds.
const DEADLINE: u16 = 20_000;

/// The master side of a terminal.
pub struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    fn new(master: OwnedFd) -> Self {
        Terminal { master: File::from(master), seen: String::new() }
    }

    /// Types text.
    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
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

/// A listening socket on which the runtime sends a descriptor: for `--console-socket`, and also for
/// `--pidfd-socket`.
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    pub fn bind(bundle: &Bundle) -> Self {
        let path = bundle.io().join("console.sock");
        let _ = std::fs::remove_file(&path);
        ConsoleSocket { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// The path, as an argument.
    pub fn arg(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The terminal that arrives on the next connection.
    #[track_caller]
    pub fn receive(&self) -> Terminal {
        Terminal::new(self.receive_descriptor())
    }

    /// The descriptor that arrives on the next connection. The name that runtimes send along is not
    /// looked at: callers ignore it too.
    #[track_caller]
    pub fn receive_descriptor(&self) -> OwnedFd {
        wait_readable(&self.listener);
        let (stream, _) = self.listener.accept().unwrap();
        wait_readable(&stream);
        let mut buffer = [0; 4096];
        let mut data = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 4]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut data, Some(&mut space), flags).unwrap();
        let mut descriptors = message.cmsgs().unwrap().flat_map(|control| match control {
            ControlMessageOwned::ScmRights(descriptors) => descriptors,
            _ => Vec::new(),
        });
        let descriptor = descriptors.next().expect("the message carries no descriptor");
        assert_eq!(descriptors.next(), None, "one descriptor");
        // SAFETY: recvmsg has just made this descriptor for us, and nothing else knows its number.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    }
}

impl Bundle {
    /// Starts a command with a new terminal as its controlling one and as stdin, stdout and stderr.
    pub fn spawn_on_terminal<S: AsRef<str>>(&self, args: &[S]) -> (Running, Terminal) {
        self.spawn_on_terminal_of(24, 80, args)
    }

    /// The same on a terminal of this size.
    pub fn spawn_on_terminal_of<S: AsRef<str>>(
        &self,
        rows: u16,
        columns: u16,
        args: &[S],
    ) -> (Running, Terminal) {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let inner = self.command(args);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.base());
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let nowhere = PathBuf::from("/dev/null");
        (Running::start(command, nowhere.clone(), nowhere), Terminal::new(pty.master))
    }
}

/// Waits until a descriptor can be read; for a pidfd that is when the process has ended.
#[track_caller]
pub fn wait_readable(file: &impl AsFd) {
    let ready =
        poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], PollTimeout::from(DEADLINE)).unwrap();
    assert!(ready > 0, "nothing came in {DEADLINE} ms");
}
