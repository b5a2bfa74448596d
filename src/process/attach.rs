//! The time while an attached `run` or `exec` lasts: signals go to the container's process, and a terminal's bytes go both ways.

use super::notify::Notify;
use crate::error::{Context, Error, Result};
use crate::plan::process::Process;
use crate::sys::file::{self, Interest};
use crate::sys::signal::{self, SignalFd};
use crate::sys::tty::{self, Raw, Size};
use crate::sys::{self, CallError, Errno, pidfd, socket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What an attached command sets up before the container's process exists: signals are caught from then on, and a terminal's master has
/// somewhere to arrive.
#[derive(Debug)]
pub struct Attached {
    signals: SignalFd,
    /// The two ends over which the terminal's master comes; the second one goes with the process.
    console: Option<(OwnedFd, OwnedFd)>,
}

/// Bytes on their way in one direction.
#[derive(Debug, Default)]
struct Pipe {
    pending: Vec<u8>,
    ended: bool,
}

/// What a pipe or terminal that is ready takes without blocking.
const CHUNK: usize = 4096;

impl Attached {
    /// Begins to catch signals. The process's terminal is to have the size of the caller's, if there is one, from its beginning. With
    /// `subreaper` the orphans of the container become children of this process, which reaps them.
    pub fn begin(process: &mut Process, subreaper: bool) -> Result<Self> {
        signal::block_all()?;
        if subreaper {
            sys::process::become_subreaper()?;
        }
        let [stdin, ..] = file::stdio();
        if process.terminal
            && let Ok(size) = tty::size(stdin)
        {
            process.console_size = Some((size.rows, size.columns));
        }
        process.passed_through = process.terminal;
        let console = if process.terminal { Some(socket::pair()?) } else { None };
        Ok(Attached { signals: SignalFd::open()?, console })
    }

    /// The end of the console that goes with the process.
    pub fn console_end(&mut self) -> Result<Option<OwnedFd>> {
        let clone = |(_, end): &(OwnedFd, OwnedFd)| end.try_clone();
        self.console.as_ref().map(clone).transpose().map_err(|e| Error::new(format!("dup(console): {e}")))
    }

    /// Serves the process, given by its id and pidfd, until it ends; tells how.
    /// If the container said on `notify` that it is ready, that is passed on.
    pub fn serve(&mut self, init: (i32, BorrowedFd), notify: Option<Notify>) -> Result<pidfd::Exit> {
        let master = match self.console.take() {
            Some((console, end)) => {
                drop(end);
                Some(receive_master(console)?)
            }
            None => None,
        };
        match master {
            Some(master) => serve_terminal(&self.signals, init, notify, master.as_fd()),
            None => serve_signals(&self.signals, init, notify),
        }
    }
}

fn receive_master(console: OwnedFd) -> Result<OwnedFd> {
    let message = socket::receive(console.as_fd(), CHUNK)?;
    let master = message.and_then(|message| message.fds.into_iter().next());
    master.ok_or_else(|| Error::new("the process sent no terminal").field("process.terminal"))
}

fn serve_signals(
    signals: &SignalFd,
    init: (i32, BorrowedFd),
    mut notify: Option<Notify>,
) -> Result<pidfd::Exit> {
    loop {
        let mut waits = vec![(init.1, Interest::Read), (signals.as_fd(), Interest::Read)];
        let notify_at = notify.as_ref().map(|notify| push(&mut waits, notify.as_fd(), Interest::Read));
        let ready = file::poll(&waits, None)?;
        if notify_at.is_some_and(|at| ready[at]) {
            notify = pass_on(notify, init.0)?;
        }
        if ready[0] {
            return Ok(pidfd::wait(init.1)?);
        }
        while let Some(number) = signals.next() {
            forward(number, init)?;
        }
    }
}

/// Passes readiness on; that happens once.
fn pass_on(notify: Option<Notify>, pid: i32) -> Result<Option<Notify>> {
    match notify {
        Some(notify) if !notify.pass_on(pid)? => Ok(Some(notify)),
        _ => Ok(None),
    }
}

/// Passes a signal on. Those that concern this process stay: the end of a child, which may be an adopted orphan.
fn forward(number: i32, init: (i32, BorrowedFd)) -> Result<()> {
    if number == signal::CHLD {
        pidfd::reap_others(init.0);
        return Ok(());
    }
    if number == signal::URG {
        return Ok(());
    }
    match pidfd::send_signal(init.1, number) {
        // It has just ended, which the next wait sees.
        Err(CallError { errno: Errno::ESRCH, .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The terminal of the caller in raw mode, if there is one, and the master of the container's terminal.
fn serve_terminal(
    signals: &SignalFd,
    init: (i32, BorrowedFd),
    mut notify: Option<Notify>,
    master: BorrowedFd,
) -> Result<pidfd::Exit> {
    let [stdin, stdout, _] = file::stdio();
    let _raw = if tty::is_terminal(stdin) { Some(Raw::set(stdin)?) } else { None };
    resize(stdin, master)?;
    let (mut input, mut output) = (Pipe::default(), Pipe::default());
    let mut exit = None;
    loop {
        if let Some(exit) = exit
            && output.is_done()
        {
            return Ok(exit);
        }
        let mut waits = vec![(signals.as_fd(), Interest::Read)];
        let init_at = exit.is_none().then(|| push(&mut waits, init.1, Interest::Read));
        let stdin_at =
            (exit.is_none() && input.wants_more()).then(|| push(&mut waits, stdin, Interest::Read));
        let to_master_at = (!input.pending.is_empty()).then(|| push(&mut waits, master, Interest::Write));
        let master_at = output.wants_more().then(|| push(&mut waits, master, Interest::Read));
        let stdout_at = (!output.pending.is_empty()).then(|| push(&mut waits, stdout, Interest::Write));
        let notify_at = notify.as_ref().map(|notify| push(&mut waits, notify.as_fd(), Interest::Read));
        let ready = file::poll(&waits, None)?;
        let is_ready = |at: Option<usize>| at.is_some_and(|at| ready[at]);
        while let Some(number) = signals.next() {
            if number == signal::WINCH {
                resize(stdin, master)?;
            } else if exit.is_none() {
                forward(number, init)?;
            }
        }
        if is_ready(to_master_at) {
            input.write(master);
        }
        if is_ready(stdin_at) {
            input.read(stdin);
        }
        if is_ready(stdout_at) {
            output.write(stdout);
        }
        if is_ready(master_at) {
            output.read(master);
        }
        if is_ready(notify_at) {
            notify = pass_on(notify, init.0)?;
        }
        if is_ready(init_at) {
            exit = Some(pidfd::wait(init.1)?);
        }
    }
}

fn push<'a>(waits: &mut Vec<(BorrowedFd<'a>, Interest)>, fd: BorrowedFd<'a>, interest: Interest) -> usize {
    waits.push((fd, interest));
    waits.len() - 1
}

/// Gives the container's terminal the size of the caller's.
fn resize(stdin: BorrowedFd, master: BorrowedFd) -> Result<()> {
    match tty::size(stdin) {
        Ok(Size { rows: 0, columns: 0 }) | Err(_) => Ok(()),
        Ok(size) => tty::set_size(master, size).doing(|| "resize the container's terminal".into()),
    }
}

impl Pipe {
    fn wants_more(&self) -> bool {
        !self.ended && self.pending.is_empty()
    }

    fn is_done(&self) -> bool {
        self.ended && self.pending.is_empty()
    }

    fn read(&mut self, from: BorrowedFd) {
        let mut chunk = [0; CHUNK];
        match file::read_some(from, &mut chunk) {
            // A master reads EIO when nobody has the slave open any more.
            Ok(0) | Err(_) => self.ended = true,
            Ok(read) => self.pending.extend_from_slice(&chunk[..read]),
        }
    }

    fn write(&mut self, to: BorrowedFd) {
        match file::write_some(to, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            // Nobody reads it any more.
            Err(_) => {
                self.pending.clear();
                self.ended = true;
            }
        }
    }
}
