//! The files of a cgroup: one value each, written in one call and, if short, read in one. All of them are the host's and lie in
//! directories that only the host's root, or the user himself, can change.

use crate::error::Result;
use crate::sys::file::{Interest, poll};
use crate::sys::{CallError, Errno};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The result of a call on a file, for callers that tell errors apart.
type Called<T> = std::result::Result<T, CallError>;

/// Makes an error of the standard library into that of a call, whose text is built only then.
pub fn failed(call: impl Fn() -> String) -> impl Fn(std::io::Error) -> CallError {
    move |error| CallError { call: call(), errno: error.into() }
}

/// Opens a file or directory to read it.
pub fn open(path: &Path) -> Called<File> {
    File::open(path).map_err(failed(|| format!("open({path:?})")))
}

/// Writes one value to a file that exists.
pub fn write(path: &Path, value: &str) -> Called<()> {
    Writer::default().write(path, value)
}

/// Opens a file that exists, to be written later.
pub fn open_write(path: &Path) -> Called<File> {
    OpenOptions::new().write(true).open(path).map_err(failed(|| format!("open({path:?}, O_WRONLY)")))
}

/// Writes one value to an open file; the path is for the error.
pub fn write_open(mut file: &File, path: &Path, value: &str) -> Called<()> {
    file.write_all(value.as_bytes()).map_err(failed(|| format!("write({path:?}, {value:?})")))
}

/// Writes several values, and keeps a file open for the next one: a file with many lines takes one in each call.
#[derive(Default)]
pub struct Writer {
    open: Option<(PathBuf, File)>,
}

impl Writer {
    pub fn write(&mut self, path: &Path, value: &str) -> Called<()> {
        let file = match self.open.take().filter(|(open, _)| open == path) {
            Some((_, file)) => file,
            None => open_write(path)?,
        };
        write_open(&file, path, value)?;
        self.open = Some((path.to_owned(), file));
        Ok(())
    }
}

/// More than any file with one value has, and the most that the kernel makes of a file with many at a time.
const PAGE: usize = 4096;

/// Reads a file with one value, without the line break.
pub fn read(path: &Path) -> Called<String> {
    let mut buffer = [0; PAGE];
    let length = File::open(path).and_then(|mut file| file.read(&mut buffer));
    let length = length.map_err(failed(|| format!("read({path:?})")))?;
    Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
}

/// Reads a file of any length to its end.
pub fn read_list(path: &Path) -> Called<String> {
    // With room from the start, nothing is asked but the content itself.
    let mut content = Vec::with_capacity(PAGE);
    let read = File::open(path).and_then(|file| file.take(u64::MAX).read_to_end(&mut content));
    read.map_err(failed(|| format!("read({path:?})")))?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// The numbers of a list like `0-2,7`; `None` for what is no list.
pub fn numbers(list: &str) -> Option<Vec<u16>> {
    let mut numbers = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Whether an error says that the cgroup, or the file in it, doesn't exist (any more).
pub fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

/// Makes an error that says "gone" into `None`.
pub fn unless_gone<T>(result: Called<T>) -> Called<Option<T>> {
    match result {
        Err(error) if is_gone(error.errno) => Ok(None),
        other => other.map(Some),
    }
}

/// The names of what is in a directory.
pub fn names(dir: &Path) -> Called<Vec<OsString>> {
    let entries = std::fs::read_dir(dir).map_err(failed(|| format!("readdir({dir:?})")))?;
    Ok(entries.flatten().map(|entry| entry.file_name()).collect())
}

/// The directories directly below a cgroup; none where it doesn't exist.
pub fn children(dir: &Path) -> Called<Vec<PathBuf>> {
    // The link count of a cgroup's directory says for one call that there are none, which is the usual case.
    let call = || failed(|| format!("readdir({dir:?})"));
    match unless_gone(std::fs::metadata(dir).map_err(failed(|| format!("stat({dir:?})"))))? {
        Some(metadata) if metadata.nlink() > 2 => {}
        _ => return Ok(Vec::new()),
    }
    let Some(entries) = unless_gone(std::fs::read_dir(dir).map_err(call()))? else { return Ok(Vec::new()) };
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry.map_err(call())?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            children.push(entry.path());
        }
    }
    Ok(children)
}

/// The processes in a cgroup and those below it, by their ids in the runtime's pid namespace.
pub fn pids_below(dir: &Path) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        match read_list(&dir.join("cgroup.procs")) {
            Err(error) if is_gone(error.errno) => continue,
            // The processes of a threaded cgroup are listed by the nearest one above that isn't threaded.
            Err(error) if error.errno == Errno::EOPNOTSUPP => {}
            // The id of a process that can't be seen from here is 0.
            list => {
                pids.extend(list?.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0))
            }
        }
        left.extend(children(&dir)?);
    }
    Ok(pids)
}

/// Waits until a key of `cgroup.events` has a value: `populated 0`, `frozen 1`. Tells whether it did before the deadline; a
/// cgroup that is gone has every value.
pub fn wait_event(dir: &Path, line: &str, deadline: Instant) -> Called<bool> {
    let path = dir.join("cgroup.events");
    let Some(file) = unless_gone(open(&path))? else { return Ok(true) };
    loop {
        let mut buffer = [0; 256];
        let read = file.read_at(&mut buffer, 0).map_err(failed(|| format!("read({path:?})")));
        let Some(length) = unless_gone(read)? else { return Ok(true) };
        if String::from_utf8_lossy(&buffer[..length]).lines().any(|now| now == line) {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        poll(&[(file.as_fd(), Interest::Priority)], Some(deadline))?;
    }
}

/// Up to five processes with their state and what they wait for in the kernel, to tell in an error why they don't do as they should.
pub fn described(pids: &[i32]) -> String {
    let one = |pid: &i32| {
        let proc = |name: &str| read(format!("/proc/{pid}/{name}").as_ref()).unwrap_or_default();
        // pid (name) S ..., where the name may hold anything.
        let stat = proc("stat");
        let (name, rest) = stat.rsplit_once(')').unwrap_or_default();
        let name = name.split_once('(').map_or("gone", |(_, name)| name);
        let state = rest.split_whitespace().next().unwrap_or("?");
        match proc("wchan").as_str() {
            "" | "0" => format!("{pid} ({name}, state {state})"),
            place => format!("{pid} ({name}, state {state} in {place})"),
        }
    };
    let mut text = pids.iter().take(5).map(one).collect::<Vec<_>>().join(", ");
    if pids.len() > 5 {
        text.push_str(&format!(" and {} more", pids.len() - 5));
    }
    text
}
