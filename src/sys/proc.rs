//! procfs ([proc(5)](https://man7.org/linux/man-pages/man5/proc.5.html)), as a handle that is known to be one. What is opened below
//! it is reached without links and without crossing another mount, so that nothing mounted over a part of `/proc` can stand in for
//! the real file (CVE-2019-16884, CVE-2025-52881).

use super::mount::{self, NewFs};
use super::{CallError, Called, Errno, Result, file, path};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A procfs.
#[derive(Debug)]
pub struct Proc(OwnedFd);

impl Proc {
    /// A private instance, mounted nowhere; where the kernel refuses one, as in a user namespace without a whole procfs in sight, the
    /// `/proc` of the process's root, checked to be a procfs.
    pub fn open() -> Result<Self> {
        match NewFs::open("proc").and_then(|fs| fs.mount(0)) {
            Ok(fd) => Ok(Proc(fd)),
            Err(_) => Self::open_mounted(),
        }
    }

    /// A new procfs that is mounted nowhere yet, which it stays the root of wherever it is attached.
    pub fn of(detached: BorrowedFd) -> Result<Self> {
        file::dup_above(detached, 0).map(Proc)
    }

    /// The host's procfs, for a process that stands in the host's tree; where something is mounted over its sysctls, as in a container,
    /// a private one. That is as good, but to close it the kernel takes a mount away and so waits for an RCU grace period: more than a
    /// millisecond on a busy machine.
    pub fn open_hosts() -> Result<Self> {
        match Self::open_mounted() {
            Ok(hosts) if path::open_beneath(hosts.0.as_fd(), Path::new("sys"), OFlags::PATH).is_ok() => {
                Ok(hosts)
            }
            _ => Self::open(),
        }
    }

    /// The `/proc` of the process's root, checked to be the root of a procfs.
    pub fn open_mounted() -> Result<Self> {
        let fd = file::open_dir(Path::new("/proc"))?;
        if mount::fs_magic(fd.as_fd())? != mount::PROC_MAGIC || file::stat(fd.as_fd())?.inode != 1 {
            return Err(CallError { call: "open(\"/proc\"): not a procfs".into(), errno: Errno::ENODEV });
        }
        Ok(Proc(fd))
    }

    /// Writes a value, in one write.
    pub fn write(&self, name: &str, value: &str) -> Result<()> {
        let fd = path::open_beneath(self.0.as_fd(), Path::new(name), OFlags::WRONLY)
            .map_err(|error| Self::named(name, error))?;
        rustix::io::write(&fd, value.as_bytes())
            .map(drop)
            .called(|| format!("write(/proc/{name}, {:?})", value.trim_end()))
    }

    /// Writes a file of the process itself, whatever its id is in the pid namespace of this procfs.
    pub fn write_own(&self, name: &str, value: &str) -> Result<()> {
        let own =
            rustix::fs::readlinkat(&self.0, c"self", Vec::new()).called(|| "readlink(/proc/self)".into())?;
        self.write(&format!("{}/{name}", own.to_string_lossy()), value)
    }

    fn named(name: &str, error: CallError) -> CallError {
        CallError { call: format!("open(/proc/{name})"), ..error }
    }
}

/// Writes a file of a process: `/proc/PID/name`.
pub fn write_of(pid: i32, name: &str, value: &str) -> Result<()> {
    Proc::open_mounted()?.write(&format!("{pid}/{name}"), value)
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// Its state: `R`, `S`, `Z` ...
    pub state: char,
    /// When it started, in clock ticks since boot: with the pid it names one process of this boot.
    pub start_time: u64,
    /// It is about to end, by itself or because it was killed, and its parent does not know yet.
    pub is_ending: bool,
}

/// Of the flags of a process: it exits (`PF_EXITING` in the kernel's sched.h).
const EXITING: u64 = 4;

impl ProcessStat {
    /// Whether it has ended and only waits to be reaped.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Reads `/proc/PID/stat`; `None` where there is no such process.
pub fn stat(pid: i32) -> Result<Option<ProcessStat>> {
    let path = format!("/proc/{pid}/stat");
    let text = match file::read_proc(&path) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ESRCH) => return Ok(None),
        other => other?,
    };
    parse_stat(&text).map(Some).ok_or(Errno::EINVAL).called(|| format!("parse({path:?})"))
}

fn parse_stat(text: &str) -> Option<ProcessStat> {
    // The name in parentheses may itself contain anything, also parentheses and spaces.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // Fields 3, 9, 22 and 31 of the line.
    let state = fields.next()?.chars().next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let start_time = fields.nth(12)?.parse().ok()?;
    let pending: u64 = fields.nth(8)?.parse().ok()?;
    let killed = 1 << (super::signal::KILL - 1);
    Some(ProcessStat { state, start_time, is_ending: flags & EXITING != 0 || pending & killed != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_fake_the_fields() {
        let line = |flags, pending| {
            format!(
                "7 (a) R 1) S 1 7 7 0 -1 {flags} 1 0 0 0 0 0 0 0 20 0 1 0 12345 2 3 4 5 6 7 8 9 {pending} 0 0"
            )
        };
        for (flags, pending, is_ending) in [
            (4_194_560, 0, false),
            (4_194_564, 0, true),
            (4_194_560, 1 << 8, true),
            (4_194_560, 1 << 14, false),
        ] {
            let expected = ProcessStat { state: 'S', start_time: 12345, is_ending };
            assert_eq!(parse_stat(&line(flags, pending)), Some(expected));
        }
        assert_eq!(parse_stat("7 (a"), None);
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }

    #[test]
    fn a_private_procfs_takes_what_is_written() {
        let pid = std::process::id();
        let now = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        Proc::open().unwrap().write(&format!("{pid}/oom_score_adj"), now.trim()).unwrap();
        assert!(Proc::open().unwrap().write("self/oom_score_adj", "0").is_err(), "a link was followed");
    }
}
