//! `create`: the story of a container's beginning.

use super::delete::run_poststop;
use super::start::Told;
use super::{Container, InitProcess, State, StateDir};
use crate::cgroup::{self, Cgroup};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::log;
use crate::plan::cgroup::Layout;
use crate::plan::mounts::MountKind;
use crate::plan::{self, Plan};
use crate::process::attach::Attached;
use crate::process::hooks::HookState;
use crate::process::{create as init, notify};
use crate::rdt::Rdt;
use crate::spec::Spec;
use crate::sys::ns::Ns;
use crate::sys::{file, socket};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The copy of config.json in the state directory, from which later commands take what `exec` inherits, limits and mounts.
pub const CONFIG: &str = "config.json";

/// What the caller asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// The state root.
    pub root: PathBuf,
    /// The container's id.
    pub id: String,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The file that describes the container, relative to the bundle.
    pub config: PathBuf,
    /// Where to write init's pid.
    pub pid_file: Option<PathBuf>,
    /// The socket that takes the terminal.
    pub console_socket: Option<PathBuf>,
    /// The socket that takes a pidfd of init.
    pub pidfd_socket: Option<PathBuf>,
    /// Chroot instead of pivot_root.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Descriptors after 2 that the process inherits.
    pub preserve_fds: u32,
    /// `--systemd-cgroup`
    pub systemd_cgroup: bool,
    /// `--cgroup-manager disabled`: the container stays in the caller's cgroup.
    pub no_cgroup: bool,
    /// The command ends before the container does.
    pub detach: bool,
    /// The command starts the container, too.
    pub start: bool,
    /// An attached command does not adopt the container's orphans.
    pub no_subreaper: bool,
}

/// A container that waits to be started, or was told to start. Its lock is held.
#[derive(Debug)]
pub struct Created {
    /// The container.
    pub container: Container,
    /// Its init.
    pub init: OwnedFd,
    /// What an attached command has prepared.
    pub attached: Option<Attached>,
    /// The start of a container that does not wait for one.
    pub told: Option<Result<Told>>,
    _held: init::Held,
}

/// Creates a container.
pub fn create(options: &CreateOptions) -> Result<Created> {
    let bundle = file::real_dir(&options.bundle).doing(|| format!("bundle {}", options.bundle.display()))?;
    // What init is made from is not freed: since the clone it shares these pages, and the kernel would copy each that free writes to. That
    // were 30 page faults and a twentieth of `run`.
    let (spec, config) = Spec::read(&bundle, &options.config)?;
    let (spec, config) = (ManuallyDrop::new(spec), ManuallyDrop::new(config));
    let host = Host::probe()?;
    let layout = if options.no_cgroup { Layout::None } else { cgroup::layout()? };
    let plan = Plan::new(&spec, &host, layout, &plan_options(options, &bundle))?;
    let mut plan = ManuallyDrop::new(plan);
    if options.no_cgroup {
        // Podman gives both even to a container that it wants no cgroup for. Limits it has to leave out.
        plan.cgroup.devices.asked = false;
        plan.mounts.retain(|mount| mount.kind != MountKind::Cgroup);
    }
    for warning in &plan.warnings {
        log::line(log::Level::Warning, warning);
    }
    tell(&plan);
    let dir = StateDir::create(&options.root, &options.id)?;
    let mut undo = Undo { dir: &dir, pid_file: None, kept: false };
    let cgroup = Cgroup::locate(&plan.cgroup, layout, host.euid != 0 || host.in_userns)?;
    let mut state = State::new(&options.id, &bundle, &spec, &plan, cgroup.clone(), host.euid)?;
    state.rdt = plan.rdt.as_ref().map(Rdt::locate).transpose()?;
    // The record comes first: from here on `delete --force` finds whatever there is.
    dir.create_record(&state)?;
    file::create_at(dir.fd(), CONFIG, &config)?;
    if notify_socket().is_some() {
        file::make_dir(dir.fd(), Path::new(notify::DIR), 0o755)?;
    }
    let mut attached = match options.detach {
        true => None,
        false => Some(Attached::begin(&mut plan.process, !options.no_subreaper)?),
    };
    let hook_state = hook_state(&state);
    let rdt = state.rdt.clone();
    let request = init::Request {
        plan: &plan,
        host: &host,
        cgroup: &cgroup,
        rdt: rdt.as_ref(),
        state_dir: dir.fd(),
        console: console(options, &mut attached)?,
        hook_state: &hook_state,
    };
    let created = init::create(request, |pid| {
        state.init = Some(InitProcess::of(pid)?);
        dir.prepare_record(&state)
    });
    let (new_init, record) = created.inspect_err(|error| {
        // "If any prestart hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at" its
        // end, where the poststop hooks are; likewise of createRuntime and createContainer hooks: runtime.md, lifecycle.
        if error.is_about("hooks.") {
            run_poststop(&plan.hooks.poststop, &hook_state);
        }
    })?;
    log::debug(|| format!("child process in init(): init is process {}", new_init.pid));
    record.put()?;
    if let Some(path) = &options.pidfd_socket {
        send_pidfd(path, new_init.pidfd()?)?;
    }
    if let Some(path) = &options.pid_file {
        write_pid_file(path, new_init.pid)?;
        undo.pid_file = Some(path);
    }
    // Before init hears that it is kept: so it goes on right into its program instead of falling asleep again on the way. It needs its
    // creator until then, so that this is no promise yet. A failure is one of the start, after which the container is removed as any.
    let told = options.start.then(|| Told::new(&dir));
    let (init, held) = new_init.keep()?;
    log::debug(|| "init: closing the pipe to signal completion".into());
    undo.kept = true;
    drop(undo);
    Ok(Created { container: Container { dir, state }, init, attached, told, _held: held })
}

/// Says what is going to be done, for whoever looks for the reason of something (`--debug`).
fn tell(plan: &Plan) {
    log::debug(|| format!("root is {}, with {} mounts", plan.root.path.display(), plan.mounts.len()));
    log::debug(|| {
        let all = plan.namespaces.all();
        let names: Vec<_> = Ns::ALL.into_iter().filter(|kind| all.has(*kind)).map(Ns::name).collect();
        format!("nsexec container setup: namespaces: {}", names.join(" "))
    });
    for join in &plan.namespaces.join {
        log::debug(|| format!("the {} namespace is {}", join.kind.name(), join.path.display()));
    }
    let idle = plan.process.caps.idle;
    if idle != 0 {
        let names = plan::capabilities::names(idle);
        log::debug(|| {
            format!("process.capabilities.ambient: can't raise {names}: not both permitted and inheritable")
        });
    }
    if let Some(filter) = &plan.seccomp {
        log::debug(|| format!("seccomp filter instructions: {}", filter.program.len()));
        log::debug(|| format!("seccomp filter flags: {}", filter.flags));
    }
}

/// The socket of the caller's service manager.
pub fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// How many sockets the caller passes on to the container, from descriptor 3 on. With the pid of another process beside it, the number
/// was meant for that, which left it in the environment
/// ([sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html)).
pub fn listen_fds() -> u32 {
    if std::env::var("LISTEN_PID").is_ok_and(|pid| pid != std::process::id().to_string()) {
        return 0;
    }
    std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn plan_options(options: &CreateOptions, bundle: &Path) -> plan::Options {
    plan::Options {
        id: options.id.clone(),
        bundle: bundle.to_owned(),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserve_fds: options.preserve_fds,
        console_socket: options.console_socket.is_some(),
        detach: options.detach,
        systemd_cgroup: options.systemd_cgroup && !options.no_cgroup,
        listen_fds: listen_fds(),
        notify: notify_socket().map(|_| options.root.join(&options.id).join(notify::DIR)),
    }
}

/// What hooks are told of a container.
pub fn hook_state(state: &State) -> HookState {
    HookState {
        oci_version: state.oci_version.clone(),
        id: state.id.clone(),
        bundle: state.bundle.clone(),
        annotations: state.annotations.clone(),
    }
}

fn console(options: &CreateOptions, attached: &mut Option<Attached>) -> Result<Option<OwnedFd>> {
    match (&options.console_socket, attached) {
        (Some(path), _) => Ok(Some(socket::connect_stream(path).doing(|| "--console-socket".into())?)),
        (None, Some(attached)) => attached.console_end(),
        (None, None) => Ok(None),
    }
}

/// Sends a pidfd to the caller's socket.
pub fn send_pidfd(path: &Path, pidfd: BorrowedFd) -> Result<()> {
    let doing = || format!("--pidfd-socket {}", path.display());
    let socket = socket::connect_stream(path).doing(doing)?;
    socket::send(socket.as_fd(), b"pidfd", &[pidfd]).doing(doing)
}

/// Writes a pid where the caller looks for it, as one step: whoever sees the file sees the pid.
pub fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let doing = || format!("--pid-file {}", path.display());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| Error::new("not a file name"))
        .doing(doing)?;
    let dir = file::open_dir(parent).doing(doing)?;
    file::replace_at(dir.as_fd(), name, pid.to_string().as_bytes(), 0o644).doing(doing)
}

/// Removes the state directory of a container that did not come about, and the file with a pid that is nobody's any more.
struct Undo<'a> {
    dir: &'a StateDir,
    pid_file: Option<&'a Path>,
    kept: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // The error that led here is the one to report.
            let _ = self.dir.remove();
            let _ = self.pid_file.map(std::fs::remove_file);
        }
    }
}
