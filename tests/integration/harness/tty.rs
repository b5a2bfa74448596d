//! The socket through which a container's terminal arrives, and commands on a terminal.

use super::bundle::Bundle;
use super::running::{Running, line};
use super::terminal::{Terminal, wait_readable};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
        let (terminal, slave) = Terminal::open(rows, columns);
        let inner = self.command(args);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.base());
        let slave = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let nowhere = PathBuf::from("/dev/null");
        (Running::start(&line(&command), command, nowhere.clone(), nowhere), terminal)
    }
}
