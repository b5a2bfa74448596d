//! `exec`: a further process in a container.

use super::create::{hook_state, send_pidfd, write_pid_file};
use super::{Container, Status};
use crate::cgroup::SubCgroup;
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::log;
use crate::plan;
use crate::plan::process::Process;
use crate::plan::seccomp::Seccomp;
use crate::process::attach::Attached;
use crate::process::exec;
use crate::spec::{self, Spec};
use crate::sys::ns::Ns;
use crate::sys::pidfd::{self, Exit};
use crate::sys::{file, signal, socket};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the caller asked for.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// The process; what the command line does not name is that of config.json.
    pub process: spec::Process,
    /// Where to write its pid.
    pub pid_file: Option<PathBuf>,
    /// The socket that takes its terminal.
    pub console_socket: Option<PathBuf>,
    /// The socket that takes a pidfd of it.
    pub pidfd_socket: Option<PathBuf>,
    /// Cgroups below the container's own to enter: of some controllers of cgroup v1, or of all hierarchies.
    pub sub_cgroups: Vec<SubCgroup>,
    /// Descriptors after 2 that it inherits.
    pub preserve_fds: u32,
    /// The command ends before the process does.
    pub detach: bool,
    /// Also in a container whose processes are frozen: it begins when they go on.
    pub ignore_paused: bool,
}

/// Makes the process in a container with this config.json; attached, it lasts until the process ends, and tells how.
pub fn exec(container: &Container, spec: Spec, options: ExecOptions) -> Result<Option<Exit>> {
    let (status, pidfd) = container.look()?;
    match status {
        Status::Running | Status::Created => {}
        Status::Paused if options.ignore_paused => {}
        Status::Paused => {
            return Err(Error::new("cannot exec in a paused container (use --ignore-paused to override)"));
        }
        Status::Stopped => return Err(Error::new("cannot exec in a stopped container")),
        Status::Creating => return Err(Error::new("the container is still being created")),
    }
    let state = &container.state;
    let stopped = || Error::new("cannot exec in a stopped container");
    let init = state.init.ok_or_else(stopped)?;
    let pidfd = pidfd.ok_or_else(stopped)?;
    let host = Host::probe()?;
    let mut warnings = Vec::new();
    let mut process = options.process.clone();
    process.inherit(spec.process.unwrap_or_default());
    let plan = Process::new(&process, &host, &plan_options(container, &options), &mut warnings)?;
    // As in `create`, nothing that the new process shares is freed.
    let (mut plan, linux) = (ManuallyDrop::new(plan), ManuallyDrop::new(spec.linux));
    if !state.namespaces.has(Ns::User) {
        plan.caps.limit(host.permitted, &mut warnings);
    }
    // A process that joins the container is held to the same calls; only its own no_new_privs tells when the filter comes into force.
    linux.as_ref().map_or(Ok(()), |linux| plan.adopt(linux, &spec.annotations))?;
    let filter = linux.as_ref().and_then(|linux| linux.seccomp().as_ref());
    let filter = filter.map(|seccomp| Seccomp::new(seccomp, plan.no_new_privs, &mut warnings)).transpose()?;
    for warning in &warnings {
        log::line(log::Level::Warning, warning);
    }
    let mut attached = if options.detach { None } else { Some(Attached::begin(&mut plan, false)?) };
    let console = match (&options.console_socket, &mut attached) {
        (Some(path), _) => Some(socket::connect_stream(path).doing(|| "--console-socket".into())?),
        (None, Some(attached)) => attached.console_end()?,
        (None, None) => None,
    };
    let root = match state.namespaces.has(Ns::Mount) {
        true => None,
        false => Some(root_of(init.pid, pidfd.as_fd())?),
    };
    let entrance = state.cgroup.entrance(init.pid, &options.sub_cgroups)?;
    let (pid, process) = exec::exec(exec::Request {
        plan: &plan,
        filter: filter.as_ref(),
        state: hook_state(state).value(status.name(), init.pid),
        host: &host,
        entrance: &entrance,
        rdt: state.rdt.as_ref(),
        init: pidfd.as_fd(),
        namespaces: state.namespaces,
        root,
        root_ids: state.root_ids,
        console,
    })?;
    log::debug(|| format!("the program has begun as process {pid}"));
    announce(&options, pid, process.as_fd()).inspect_err(|_| {
        // A process that the caller can't know of is not left to itself.
        let _ = pidfd::send_signal(process.as_fd(), signal::KILL);
        let _ = pidfd::wait(process.as_fd());
    })?;
    attached.map(|mut attached| attached.serve((pid, process.as_fd()), None)).transpose()
}

/// The root of the process that a pidfd stands for: if that is there still, its id was not another's when the root was opened.
fn root_of(pid: i32, process: BorrowedFd) -> Result<OwnedFd> {
    let root = file::open_dir(Path::new(&format!("/proc/{pid}/root")))?;
    pidfd::send_signal(process, 0).doing(|| "cannot exec in a stopped container".into())?;
    Ok(root)
}

/// Tells the caller which process it is, in the ways that were asked for. The file comes last: after a failure there is none.
fn announce(options: &ExecOptions, pid: i32, process: BorrowedFd) -> Result<()> {
    if let Some(path) = &options.pidfd_socket {
        send_pidfd(path, process)?;
    }
    options.pid_file.as_deref().map_or(Ok(()), |path| write_pid_file(path, pid))
}

fn plan_options(container: &Container, options: &ExecOptions) -> plan::Options {
    plan::Options {
        id: container.state.id.clone(),
        bundle: container.state.bundle.clone(),
        no_new_keyring: !container.state.keyring,
        preserve_fds: options.preserve_fds,
        console_socket: options.console_socket.is_some(),
        detach: options.detach,
        ..plan::Options::default()
    }
}
