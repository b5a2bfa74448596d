//! `exec`: a further process in a container.

use super::create::write_pid_file;
use super::{Container, Status};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::log;
use crate::plan;
use crate::plan::process::Process;
use crate::process::attach::Attached;
use crate::process::exec;
use crate::spec;
use crate::sys::pidfd::Exit;
use crate::sys::socket;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// What the caller asked for.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// The process; what the command line does not name is that of config.json.
    pub process: spec::Process,
    /// Where to write its pid.
    pub pid_file: Option<PathBuf>,
    /// The socket that takes its terminal.
    pub console_socket: Option<PathBuf>,
    /// Descriptors after 2 that it inherits.
    pub preserve_fds: u32,
    /// The command ends before the process does.
    pub detach: bool,
    /// Also in a container whose processes are frozen: it begins when they go on.
    pub ignore_paused: bool,
}

/// Makes the process; attached, it lasts until the process ends, and tells how.
pub fn exec(container: &Container, options: ExecOptions) -> Result<Option<Exit>> {
    match container.status()? {
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
    let pidfd = state.open_init()?.ok_or_else(stopped)?;
    let host = Host::probe()?;
    let mut warnings = Vec::new();
    let plan = Process::new(&options.process, &host, &plan_options(container, &options), &mut warnings)?;
    for warning in &warnings {
        log::line(log::Level::Warning, warning);
    }
    let mut attached = if options.detach { None } else { Some(Attached::begin(plan.terminal, false)?) };
    let console = match (&options.console_socket, &mut attached) {
        (Some(path), _) => Some(socket::connect_stream(path).doing(|| "--console-socket".into())?),
        (None, Some(attached)) => attached.console_end()?,
        (None, None) => None,
    };
    let (pid, process) = exec::exec(exec::Request {
        plan: &plan,
        host: &host,
        cgroup: &state.cgroup,
        init: (init.pid, pidfd.as_fd()),
        namespaces: state.namespaces,
        root_ids: state.root_ids,
        console,
    })?;
    if let Some(path) = &options.pid_file {
        write_pid_file(path, pid)?;
    }
    attached.map(|attached| attached.serve((pid, process.as_fd()), None)).transpose()
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
