//! The cgroup as a unit of systemd, which makes it, owns all above it, and is told when it is no longer needed
//! ([CGROUP_DELEGATION](https://systemd.io/CGROUP_DELEGATION/)). Commands that make, change or remove the unit talk to systemd, over one
//! connection and in as few messages as it takes; whatever only looks, or signals, uses the cgroup's files.

mod place;
#[cfg(test)]
mod tests;

pub(super) use place::root;

use super::dbus::{Answer, Body, Connection, Message};
use super::{Cgroup, file};
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::Write;
use crate::plan::cgroup::systemd::{self as plan, Property, Value};
use crate::sys::clone::{Child, Cloned, clone3};
use crate::sys::ns::NsSet;
use crate::sys::{Errno, pidfd, process, signal, socket};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long systemd gets for what it is asked, which takes it milliseconds unless very much else is going on: while it reloads, it
/// answers nobody.
const PATIENCE: Duration = Duration::from_secs(30);

/// A unit, as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    pub name: String,
    /// It is one of the user's own systemd.
    pub user: bool,
}

/// A process without a purpose but to be the first one of a unit: systemd makes no scope around none, and takes it away when
/// the last process has left. It ends on drop.
#[derive(Debug)]
pub struct Placeholder {
    child: Child,
    _end: OwnedFd,
}

impl Placeholder {
    fn new() -> Result<Self> {
        let (ours, its) = socket::pair()?;
        match clone3(NsSet::default(), None, false)? {
            Cloned::Parent(child) => Ok(Placeholder { child, _end: ours }),
            Cloned::Child => {
                drop(ours);
                // Nothing is ever sent: it is over when nobody is there any more who could.
                let _ = socket::receive(its.as_fd(), 1);
                process::exit_now(0)
            }
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // It may be dead already; waiting only reaps it.
        let _ = pidfd::send_signal(self.child.pidfd.as_fd(), signal::KILL);
        let _ = pidfd::wait(self.child.pidfd.as_fd());
    }
}

/// A unit that was started, with the process in it; it is stopped on drop unless it was kept.
#[derive(Debug)]
pub(super) struct Started<'a> {
    unit: &'a Unit,
    connection: Connection,
    placeholder: Option<Placeholder>,
}

impl<'a> Started<'a> {
    /// Starts the unit that was planned, whose cgroup has to be `dir`, below `mount`.
    pub fn new(unit: &'a Unit, planned: &plan::Unit, mount: &Path, dir: &Path) -> Result<Self> {
        let placeholder = planned.is_scope().then(Placeholder::new).transpose()?;
        let mut connection = unit.connect(Instant::now() + PATIENCE)?;
        let mut properties = planned.properties.clone();
        if let Some(placeholder) = &placeholder {
            let pids = Value::Numbers(vec![placeholder.child.pid.unsigned_abs()]);
            properties.push(Property { name: "PIDs".to_owned(), value: pids });
        }
        unit.start(&mut connection, &properties)?;
        let started = Started { unit, connection, placeholder };
        started.settle(planned, mount, dir)?;
        Ok(started)
    }

    /// Makes sure that systemd has put the unit where it is expected, and moves the process into the cgroup below it that was asked
    /// for, since a cgroup with processes of its own passes no controllers on.
    fn settle(&self, planned: &plan::Unit, mount: &Path, dir: &Path) -> Result<()> {
        let Some(placeholder) = &self.placeholder else { return Ok(()) };
        let pid = placeholder.child.pid;
        let now = file::read_list(format!("/proc/{pid}/cgroup").as_ref())?;
        let now = super::entries(&now).find(|(controllers, _)| controllers.is_empty());
        let now = mount.join(now.map_or(Path::new(""), |(_, path)| path.strip_prefix("/").unwrap_or(path)));
        let expected = if planned.subgroup.is_some() { dir.parent().unwrap_or(dir) } else { dir };
        if now != expected {
            let what = format!("systemd has put {} at {now:?}, not at {expected:?}", self.unit.name);
            return Err(Error::new(what).field("linux.cgroupsPath"));
        }
        if planned.subgroup.is_some() {
            match std::fs::create_dir(dir).map_err(Errno::from) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::new(format!("mkdir({dir:?}): {errno}"))),
            }
            file::write(&dir.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Lets the unit be. The process has to stay until there is another one in it.
    pub fn keep(mut self) -> Option<Placeholder> {
        let placeholder = self.placeholder.take();
        std::mem::forget(self);
        placeholder
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.placeholder = None;
        // The error that led here is the one to report.
        let _ = self.unit.stop(&mut self.connection);
    }
}

impl Unit {
    /// Makes sure that there is a systemd to ask ([sd_booted(3)](https://man7.org/linux/man-pages/man3/sd_booted.3.html)).
    pub fn check_host(&self) -> Result<()> {
        match self.user || Path::new("/run/systemd/system").exists() {
            true => Ok(()),
            false => Err(Error::new("cgroups can't be made by systemd: this host was not booted with it")
                .hint("leave out --systemd-cgroup, and give linux.cgroupsPath as a path")),
        }
    }

    /// Connects to the systemd that has the unit.
    fn connect(&self, deadline: Instant) -> Result<Connection> {
        let mut first = None;
        for address in place::addresses(self.user) {
            match Connection::open(&address, &self.name, deadline) {
                Ok(connection) => return Ok(connection),
                Err(error) => first = first.or(Some(error)),
            }
        }
        let error = first.unwrap_or_else(|| Error::new("no address of it is known"));
        let hint = match self.user {
            true => {
                "a user's systemd runs while he is logged in, or with `loginctl enable-linger`; $XDG_RUNTIME_DIR leads to it"
            }
            false => "is systemd's socket /run/systemd/private there?",
        };
        Err(error.doing("talk to systemd").hint(hint))
    }

    /// Starts it and waits until it runs. One of the same name that has failed gives its place up.
    fn start(&self, connection: &mut Connection, properties: &[Property]) -> Result<()> {
        let name = &self.name;
        let doing = || format!("start {name} by systemd");
        let call = |connection: &mut Connection| {
            let body =
                |properties: &_| Body::default().text(name).text("replace").properties(properties).no_units();
            call_with(connection, "StartTransientUnit", body, properties).doing(doing)
        };
        let mut answer = call(connection)?;
        if matches!(&answer, Answer::Refused { name, .. } if name == UNIT_EXISTS) {
            connection.call("ResetFailedUnit", &Body::default().text(name)).doing(doing)?;
            answer = call(connection)?;
        }
        match answer {
            Answer::Done(message) => self.finish(connection, &message),
            Answer::Refused { name: error, text } if error == UNIT_EXISTS => {
                Err(Error::new(text).hint("is there another container with this linux.cgroupsPath or id?"))
            }
            Answer::Refused { text, .. } => Err(Error::new(text)),
        }
        .map_err(|error| error.doing(doing()).field("linux.cgroupsPath"))
    }

    fn finish(&self, connection: &mut Connection, answer: &Message) -> Result<()> {
        match connection.job_result(answer)?.as_str() {
            "done" => Ok(()),
            result => Err(Error::new(format!("the job's result is {result:?}"))
                .hint(format!("`journalctl -u {}` may tell more", self.name))),
        }
    }

    /// Stops it and waits for that; it is no error if there is none.
    fn stop(&self, connection: &mut Connection) -> Result<()> {
        let body = Body::default().text(&self.name).text("replace");
        match connection.call("StopUnit", &body)? {
            Answer::Done(message) => drop(connection.job_result(&message)?),
            Answer::Refused { name, .. } if name == NO_SUCH_UNIT => return Ok(()),
            Answer::Refused { text, .. } => return Err(Error::new(text)),
        }
        if self.is_loaded() {
            // What has failed, and by its annotations is not to be forgotten for that, would keep the name.
            connection.call("ResetFailedUnit", &Body::default().text(&self.name))?;
        }
        Ok(())
    }

    /// Whether systemd knows of it: it keeps the definition of a transient unit in a file for just as long
    /// ([systemd.unit(5)](https://man7.org/linux/man-pages/man5/systemd.unit.5.html)).
    fn is_loaded(&self) -> bool {
        let run = if self.user { place::runtime_dir() } else { PathBuf::from("/run") };
        run.join("systemd/transient").join(&self.name).exists()
    }

    /// Makes sure that systemd forgets the unit, whose cgroup has been removed. Mostly it has noticed that by itself.
    pub fn forget(&self) -> Result<()> {
        if !self.is_loaded() {
            return Ok(());
        }
        let stopped =
            self.connect(Instant::now() + PATIENCE).and_then(|mut connection| self.stop(&mut connection));
        // A reload at the wrong moment can swallow the word that a job has ended: what counts is the end of the unit.
        match stopped {
            Err(_) if !self.is_loaded() => Ok(()),
            stopped => stopped.doing(|| format!("stop {}", self.name)),
        }
    }
}

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const INVALID: &str = "org.freedesktop.DBus.Error.InvalidArgs";
/// What a property is called that systemd has not.
const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Limits that systemd was told of; what it knew before is told again on drop, unless they hold.
#[derive(Debug)]
pub(super) struct Told {
    unit: Unit,
    before: Vec<Write>,
    dir: PathBuf,
}

impl Told {
    /// They hold.
    pub fn keep(mut self) {
        self.before.clear();
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // The error that led here is the one to report.
        let _ = self.unit.tell(&self.before, &self.dir);
    }
}

impl Cgroup {
    /// Tells systemd of limits that are in the files already, where the cgroup is a unit of it. `before` is what the same files said.
    pub(super) fn tell_systemd(&self, writes: &[Write], before: Vec<Write>) -> Result<Option<Told>> {
        let (Some(unit), Some(hierarchy)) = (&self.unit, self.only_v2()) else { return Ok(None) };
        let told = Told { unit: unit.clone(), before, dir: hierarchy.dir.clone() };
        unit.tell(writes, &told.dir).map(|()| Some(told))
    }
}

impl Unit {
    /// With every property systemd writes all files of its controller anew, some of them rounded: they are put back.
    fn tell(&self, writes: &[Write], dir: &Path) -> Result<()> {
        let properties = plan::limits(writes);
        if properties.is_empty() {
            return Ok(());
        }
        let now = |file: &&str| {
            let path = dir.join(file);
            let value = file::read(&path).ok()?.lines().next()?.to_owned();
            Some((path, value))
        };
        let exact: Vec<(PathBuf, String)> = WRITTEN_BY_SYSTEMD.iter().filter_map(now).collect();
        let doing = || format!("tell systemd of the limits of {}", self.name);
        let mut connection = self.connect(Instant::now() + PATIENCE)?;
        let body = |properties: &_| Body::default().text(&self.name).bool(true).properties(properties);
        let answer = call_with(&mut connection, "SetUnitProperties", body, &properties).doing(doing)?;
        if let Answer::Refused { text, .. } = answer {
            return Err(Error::new(text).doing(doing()));
        }
        // systemd writes the files when it has answered, but before it answers again.
        connection.call("GetUnit", &Body::default().text(&self.name)).doing(doing)?;
        for (path, value) in exact {
            if file::read(&path)?.lines().next() != Some(value.as_str()) {
                file::write(&path, &value)?;
            }
        }
        Ok(())
    }
}

/// Calls a method with properties; if they are refused, once more without those that an older systemd does not take.
fn call_with(
    connection: &mut Connection,
    method: &str,
    body: impl Fn(&[Property]) -> Body,
    properties: &[Property],
) -> Result<Answer> {
    let answer = connection.call(method, &body(properties))?;
    match (&answer, plan::without_newer(properties)) {
        (Answer::Refused { name, .. }, Some(fewer)) if [INVALID, READ_ONLY].contains(&name.as_str()) => {
            connection.call(method, &body(&fewer))
        }
        _ => Ok(answer),
    }
}

/// The files with one value each that systemd writes for properties.
const WRITTEN_BY_SYSTEMD: [&str; 16] = [
    "cpu.idle",
    "cpu.weight",
    "cpu.max",
    "cpuset.cpus",
    "cpuset.mems",
    "io.bfq.weight",
    "io.weight",
    "memory.high",
    "memory.low",
    "memory.max",
    "memory.min",
    "memory.oom.group",
    "memory.swap.max",
    "memory.zswap.max",
    "memory.zswap.writeback",
    "pids.max",
];
