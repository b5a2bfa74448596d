//! Terminals ([pty(7)](https://man7.org/linux/man-pages/man7/pty.7.html)).

use super::file::shown;
use super::{CallError, Called, Errno, Result};
use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, OutputModes, Termios, Winsize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The two ends of a new pseudo terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that the caller of the runtime gets.
    pub master: OwnedFd,
    /// The end that the container's process has as its terminal.
    pub slave: OwnedFd,
    /// Path of the slave inside the container: `/dev/pts/0`.
    pub name: String,
}

/// A new pseudo terminal of the devpts file system mounted at `/dev/pts` inside `root`. The slave is opened through the master
/// (`TIOCGPTPEER`, since Linux 4.13), never by its path, which the container could have replaced (CVE-2025-52565).
pub fn open_pty(root: BorrowedFd) -> Result<Pty> {
    let path = Path::new("dev/pts/ptmx");
    let master = super::path::open(root, path, OFlags::RDWR)?;
    if super::mount::fs_magic(master.as_fd())? != super::mount::DEVPTS_MAGIC {
        return Err(CallError { call: "open(/dev/pts/ptmx): not on devpts".into(), errno: Errno::ENODEV });
    }
    // The path primitive opens without blocking; a console is read and written blocking.
    rustix::fs::fcntl_setfl(&master, OFlags::RDWR).called(|| "fcntl(ptmx, F_SETFL)".into())?;
    rustix::pty::unlockpt(&master).called(|| "ioctl(ptmx, TIOCSPTLCK)".into())?;
    let flags =
        rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC;
    let slave =
        rustix::pty::ioctl_tiocgptpeer(&master, flags).called(|| "ioctl(ptmx, TIOCGPTPEER)".into())?;
    let name = rustix::pty::ptsname(&master, Vec::new()).called(|| "ioctl(ptmx, TIOCGPTN)".into())?;
    Ok(Pty { master, slave, name: name.to_string_lossy().into_owned() })
}

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub columns: u16,
}

/// `ioctl(tty, TIOCGWINSZ)`
pub fn size(tty: BorrowedFd) -> Result<Size> {
    let size = rustix::termios::tcgetwinsize(tty).called(|| format!("ioctl({}, TIOCGWINSZ)", shown(tty)))?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// `ioctl(tty, TIOCSWINSZ)`
pub fn set_size(tty: BorrowedFd, size: Size) -> Result<()> {
    let winsize = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(tty, winsize).called(|| format!("ioctl({}, TIOCSWINSZ)", shown(tty)))
}

/// Makes a terminal the controlling one of the session that the process leads.
pub fn take_control(tty: BorrowedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(tty).called(|| format!("ioctl({}, TIOCSCTTY)", shown(tty)))
}

/// Stops a terminal from turning "\n" into "\r\n" on output.
pub fn keep_newlines(tty: BorrowedFd) -> Result<()> {
    let mut settings = rustix::termios::tcgetattr(tty).called(|| format!("tcgetattr({})", shown(tty)))?;
    settings.output_modes.remove(OutputModes::ONLCR);
    rustix::termios::tcsetattr(tty, OptionalActions::Now, &settings)
        .called(|| format!("tcsetattr({})", shown(tty)))
}

/// Whether a descriptor is a terminal.
pub fn is_terminal(fd: BorrowedFd) -> bool {
    rustix::termios::isatty(fd)
}

/// A terminal in raw mode: each byte goes through at once and unchanged. Its settings are put back on drop.
#[derive(Debug)]
pub struct Raw<'a> {
    tty: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    /// Sets raw mode.
    pub fn set(tty: BorrowedFd<'a>) -> Result<Self> {
        let before = rustix::termios::tcgetattr(tty).called(|| format!("tcgetattr({})", shown(tty)))?;
        let mut raw = before.clone();
        raw.make_raw();
        // Output stays as it was: this terminal turns "\n" into "\r\n", as that of the container doesn't.
        raw.output_modes = before.output_modes;
        rustix::termios::tcsetattr(tty, OptionalActions::Now, &raw)
            .called(|| format!("tcsetattr({})", shown(tty)))?;
        Ok(Raw { tty, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // Nothing can be done if the terminal is gone.
        let _ = rustix::termios::tcsetattr(self.tty, OptionalActions::Now, &self.before);
    }
}
