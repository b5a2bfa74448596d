//! As much of D-Bus as it takes to call systemd: a connection, calls with their answers, and signals
//! ([the specification](https://dbus.freedesktop.org/doc/dbus-specification.html)). There is one thread and one connection, and
//! every wait ends at the connection's deadline, whatever the other side does.

mod message;
#[cfg(test)]
mod tests;

pub use message::{Body, Message};

use crate::error::{Error, Result};
use crate::sys::file::{self, Interest};
use crate::sys::socket;
use message::{Kind, Target};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// systemd's object for everything that is asked of it.
const MANAGER: Target = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// The bus itself.
const BUS: Target = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// Where systemd can be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// systemd's own socket. Its signals come without being asked for.
    Direct(PathBuf),
    /// A bus that systemd is on; an abstract socket begins with `@`.
    Bus(PathBuf),
}

impl Address {
    fn path(&self) -> &Path {
        match self {
            Address::Direct(path) | Address::Bus(path) => path,
        }
    }
}

/// A connection to systemd.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    received: Vec<u8>,
    last_serial: u32,
    deadline: Instant,
}

/// The answer to a call.
#[derive(Debug)]
pub enum Answer {
    /// It was done.
    Done(Message),
    /// It was not.
    Refused {
        /// The error's name: `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// Its text.
        text: String,
    },
}

impl Connection {
    /// Connects. On a bus, the signals of jobs for the unit `about` are asked for. All that is done with the connection has to be
    /// done by the deadline.
    pub fn open(address: &Address, about: &str, deadline: Instant) -> Result<Self> {
        let socket = socket::connect_stream_until(address.path(), deadline)?;
        let mut connection = Connection { socket, received: Vec::new(), last_serial: 0, deadline };
        connection.authenticate()?;
        if let Address::Bus(_) = address {
            // Their answers say nothing that those to later calls don't.
            connection.send(&BUS, "Hello", &Body::default())?;
            let rule = format!(
                "type='signal',sender='{}',interface='{}',member='JobRemoved',path='{}',arg2='{about}'",
                MANAGER.destination, MANAGER.interface, MANAGER.path
            );
            connection.send(&BUS, "AddMatch", &Body::default().text(&rule))?;
        }
        Ok(connection)
    }

    /// The kernel tells the other side who this is, so that no name has to be given: the ids that two sides see may differ.
    fn authenticate(&mut self) -> Result<()> {
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            while let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                if line.starts_with(b"OK") {
                    return Ok(());
                }
                if !line.starts_with(b"DATA") {
                    let said = String::from_utf8_lossy(&line).trim().to_owned();
                    return Err(Error::new(format!("the connection was refused: {said:?}")));
                }
            }
            self.read()?;
        }
    }

    /// Calls a method of systemd's manager and waits for the answer.
    pub fn call(&mut self, method: &str, body: &Body) -> Result<Answer> {
        let serial = self.send(&MANAGER, method, body)?;
        loop {
            let message = self.next()?;
            if message.reply_to != Some(serial) {
                continue;
            }
            match message.kind {
                Kind::Return => return Ok(Answer::Done(message)),
                Kind::Error => {
                    let text = message.texts().into_iter().next().unwrap_or_default();
                    return Ok(Answer::Refused { name: message.error.unwrap_or_default(), text });
                }
                Kind::Other | Kind::Signal => {}
            }
        }
    }

    /// Waits for the end of the job that was begun by a call with this answer, and returns its result: `done`, `failed`, ...
    pub fn job_result(&mut self, answer: &Message) -> Result<String> {
        let job = answer.texts().into_iter().next().ok_or_else(|| Error::new("systemd named no job"))?;
        loop {
            let message = self.next()?;
            // Anybody may send anybody a signal over a bus: it has to come from whoever has answered.
            if message.kind == Kind::Signal
                && message.member == "JobRemoved"
                && message.sender == answer.sender
            {
                // The job, its unit, the result.
                if let [path, _, result] = message.texts().as_slice()
                    && *path == job
                {
                    return Ok(result.clone());
                }
            }
        }
    }

    fn send(&mut self, target: &Target, method: &str, body: &Body) -> Result<u32> {
        self.last_serial += 1;
        self.write(&message::encode(self.last_serial, target, method, body))?;
        Ok(self.last_serial)
    }

    fn next(&mut self) -> Result<Message> {
        loop {
            if let Some((message, length)) = message::decode(&self.received)? {
                self.received.drain(..length);
                return Ok(message);
            }
            self.read()?;
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            // The socket has a time limit of its own for a peer that doesn't read.
            let written = file::write_some(self.socket.as_fd(), bytes)?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        let late = || Error::new("no answer in time").hint("is systemd hanging, or very busy?");
        if Instant::now() >= self.deadline {
            return Err(late());
        }
        if !file::poll(&[(self.socket.as_fd(), Interest::Read)], Some(self.deadline))?[0] {
            return Err(late());
        }
        let mut buffer = [0; 4096];
        match file::read_some(self.socket.as_fd(), &mut buffer)? {
            0 => Err(Error::new("the connection was closed")),
            length => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }
}
