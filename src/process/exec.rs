//! A further process in a container: both sides of its creation.

use super::channel::{self, CreatorEnd, FromInit, InitEnd, ToInit};
use super::create::{Doomed, equip_process, unbind};
use super::init::{become_root, send_terminal, take_terminal};
use super::listener;
use super::program::{self, Program};
use crate::cgroup::Entrance;
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::log;
use crate::plan::process::Process;
use crate::plan::schedule::shown;
use crate::plan::seccomp::Seccomp;
use crate::rdt::Rdt;
use crate::security;
use crate::sys::clone::{self, Child, Cloned};
use crate::sys::ns::{self, NsSet};
use crate::sys::proc::Proc;
use crate::sys::{CallError, Errno, file, process, schedule, signal, tty};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// What the process is made from.
pub struct Request<'a> {
    /// The process.
    pub plan: &'a Process,
    /// The filter of its system calls, the container's own.
    pub filter: Option<&'a Seccomp>,
    /// The container's state, for who listens to the filter.
    pub state: serde_json::Value,
    /// The host.
    pub host: &'a Host,
    /// Where it enters the container's cgroup.
    pub entrance: &'a Entrance,
    /// The container's groups in the resctrl file system.
    pub rdt: Option<&'a Rdt>,
    /// A pidfd of the container's init.
    pub init: BorrowedFd<'a>,
    /// The namespaces that the container does not share with the runtime.
    pub namespaces: NsSet,
    /// Its root, where it shares the mount namespace: to join the others does not lead there.
    pub root: Option<OwnedFd>,
    /// The ids that own the container's user namespace, inside of it.
    pub root_ids: Option<(u32, u32)>,
    /// A socket that takes the master of its terminal.
    pub console: Option<OwnedFd>,
}

/// How long the new process may take to become the program.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a process in a container and returns when it has executed its program.
///
/// The clone is a relay: it joins all namespaces at once, makes the new process as its sibling, and ends. So the new one is born with
/// nothing of the host: the container's processes see it from its first moment, and with the right to trace it they would see the
/// host's root and directories through it until it had joined by itself (CVE-2016-9962).
pub fn exec(request: Request) -> Result<(i32, OwnedFd)> {
    security::lsm::check_enabled(request.plan)?;
    let (channel, end) = channel::pair()?;
    let ignored_signals = signal::ignored();
    let entrance = request.entrance;
    let affinity = request.plan.exec_affinity.as_ref();
    if let Some(cpus) = affinity.and_then(|affinity| affinity.initial.as_ref()) {
        log::debug(|| format!("nsexec: affinity: {}", shown(cpus)));
        // The new process begins where its maker runs.
        schedule::set_affinity(0, cpus).field(|| "process.execCPUAffinity.initial".into())?;
    }
    log::debug(|| "nsexec container setup: a process joins the namespaces".into());
    let born_in = entrance.unified.as_ref().map(AsFd::as_fd);
    let cloned = clone::clone3(NsSet::default(), born_in, false).map_err(|error| unborn(error, born_in))?;
    let relay = match cloned {
        Cloned::Child => {
            // Only the creator holds its end then, so that its death is noticed.
            drop(channel);
            newcomer(request, end, ignored_signals)
        }
        Cloned::Parent(relay) => relay,
    };
    drop(end);
    let child = super::create::from_relay(&channel, &relay)?;
    let Child { pid, pidfd } = child;
    let process = Doomed::new(pidfd);
    log::debug(|| format!("child process in init(): it is process {pid}"));
    request.rdt.map_or(Ok(()), |rdt| rdt.attach(pid))?;
    equip_process(request.plan, pid, request.root_ids.is_some())?;
    match affinity {
        Some(given) => {
            schedule::set_affinity(pid, &given.last).field(|| "process.execCPUAffinity.final".into())?;
        }
        None => unbind(pid),
    }
    log::debug(|| "setns_init: about to exec".into());
    channel.send(ToInit::Go)?;
    await_program(&channel, &process, |fd| {
        let to = request.filter.and_then(|filter| filter.listener.as_ref());
        to.map_or(Ok(()), |to| listener::hand_on(to, fd.as_fd(), pid, &request.state))
    })?;
    let pidfd = process.spare().ok_or_else(|| Error::new("the process was spared twice"))?;
    Ok((pid, pidfd))
}

/// What it means that there can be no further process in a cgroup. The relay and its sibling are both counted there.
fn unborn(error: CallError, cgroup: Option<BorrowedFd>) -> Error {
    match (error.errno, cgroup) {
        (Errno::EAGAIN, _) => {
            Error::from(error).hint("linux.resources.pids.limit leaves no room for two more processes")
        }
        // The words are those that callers of runc know.
        (Errno::EBUSY, Some(cgroup)) => {
            let what = "adding pid of the new process to cgroups";
            Error::new(format!("{what}: {}/cgroup.procs: device or resource busy", file::shown(cgroup)))
                .hint("a cgroup of version 2 that passes controllers on takes no processes itself")
        }
        _ => error.into(),
    }
}

fn await_program(
    channel: &CreatorEnd,
    process: &Doomed,
    hand_on: impl Fn(OwnedFd) -> Result<()>,
) -> Result<()> {
    let mut ready = false;
    loop {
        match channel.receive(Some(PATIENCE), "the new process")? {
            Some((FromInit::Listener, fds)) => fds.into_iter().try_for_each(&hand_on)?,
            Some((FromInit::Ready, _)) => ready = true,
            Some((FromInit::Failed(error), _)) => return Err(error),
            Some(_) => return Err(Error::new("the new process spoke out of turn")),
            // The execve has closed the other end.
            None if ready => return Ok(()),
            None => return Err(process.ended_early()),
        }
    }
}

/// The relay's and the new process's side: never returns.
fn newcomer(request: Request, end: InitEnd, ignored_signals: u64) -> ! {
    let outcome = enter(&request, &end).and_then(|()| become_program(request, &end, ignored_signals));
    let error = match outcome {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // If the creator is gone, nobody wants to know.
    let _ = end.send(&FromInit::Failed(error), &[]);
    process::exit_now(1)
}

/// Comes back as the new process only.
fn enter(request: &Request, end: &InitEnd) -> Result<()> {
    process::die_with_parent(true)?;
    process::hide_from_tracers()?;
    request.entrance.doors.enter()?;
    let init = request.init;
    let mut needed = vec![end.as_fd(), init];
    needed.extend([&request.console, &request.root].into_iter().flatten().map(AsFd::as_fd));
    file::close_others(request.plan.preserve_fds.saturating_add(3), &needed)?;
    ns::join(init, request.namespaces)?;
    if let Some(root) = &request.root {
        process::change_dir(root.as_fd())?;
        process::chroot_here()?;
    }
    match clone::clone3(NsSet::default(), None, true).map_err(|error| unborn(error, None))? {
        Cloned::Parent(child) => {
            end.send(&FromInit::Relayed { pid: child.pid }, &[child.pidfd.as_fd()])?;
            process::exit_now(0)
        }
        Cloned::Child => {
            process::die_with_parent(true)?;
            end.wait_for(ToInit::Go)
        }
    }
}

fn become_program(request: Request, end: &InitEnd, ignored_signals: u64) -> Result<Infallible> {
    let Request { plan, filter, host, root_ids, console, .. } = request;
    if let Some((uid, gid)) = root_ids {
        become_root(uid, gid, plan.keep_groups, host)?;
    }
    process::new_session()?;
    let proc = if plan.is_labelled() { Some(Proc::open()?) } else { None };
    program::join_keyring(plan, proc.as_ref())?;
    if plan.terminal {
        let root = file::open_dir(Path::new("/"))?;
        let pty = tty::open_pty(root.as_fd())
            .hint(|| "a terminal needs a mount of type devpts at /dev/pts".into())
            .field(|| "process.terminal".into())?;
        send_terminal(&pty, plan, console)?;
        take_terminal(pty.slave.as_fd())?;
    }
    let (program, listener) = Program::prepare(plan, filter, host, ignored_signals, proc)?;
    if let Some(fd) = listener {
        end.send(&FromInit::Listener, &[fd.as_fd()])?;
    }
    process::die_with_parent(false)?;
    end.send(&FromInit::Ready, &[])?;
    let copy = program::beyond_preserved(end.as_fd(), plan.preserve_fds)?.map(InitEnd::from);
    let report = copy.as_ref().unwrap_or(end);
    let error = program.execute(report.as_fd());
    // Everything else is closed by now, so that only this descriptor can carry the error.
    report.send(&FromInit::Failed(error), &[])?;
    process::exit_now(1)
}
