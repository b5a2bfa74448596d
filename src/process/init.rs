//! The container's side of its creation: what the new process does, in order, from the clone to the execve.

use super::channel::{FromInit, InitEnd, ToInit};
use super::hooks::{self, HookState, Surroundings};
use super::program::{self, Program};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::namespaces::Join;
use crate::plan::process::Process;
use crate::rootfs::{self, CgroupTree, Rootfs, Sources, UserNamespaces};
use crate::sys::ns::{self, Ns, NsSet};
use crate::sys::proc::Proc;
use crate::sys::tty::{self, Pty};
use crate::sys::{CallError, Errno, cred, file, net, process, signal, socket};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What init has from its creator, whose copy it is: the plan, and all that had to be opened outside.
pub struct Init<'a> {
    pub plan: &'a Plan,
    pub host: &'a Host,
    pub channel: InitEnd,
    /// Where `start` will say that the program may begin.
    pub listener: OwnedFd,
    /// The number of the state directory's descriptor, which init has no use for.
    pub state_dir: u32,
    /// The namespaces to join, in the order of the plan.
    pub joins: Vec<OwnedFd>,
    /// The mount namespace that it goes back to, where it has none of its own.
    pub outer_mounts: Option<OwnedFd>,
    /// Takes it into its cgroup, unless a relay has done so already.
    pub enter_cgroup: Option<&'a dyn Fn() -> Result<()>>,
    /// The objects of the host, where init could not open them itself.
    pub sources: Option<Sources>,
    /// Room for many mounts.
    pub files: Option<process::ManyFiles>,
    /// What translates the owners of id-mapped mounts.
    pub users: &'a UserNamespaces,
    pub cgroup: CgroupTree,
    /// Where the master of the terminal goes.
    pub console: Option<OwnedFd>,
    pub hook_state: &'a HookState,
    pub ignored_signals: u64,
}

/// How long `start` may take to say its one word once it has connected.
const START_PATIENCE: Duration = Duration::from_secs(5);

impl<'a> Init<'a> {
    /// Becomes the container's process. Never returns: what goes wrong is reported to the creator, or to `start`.
    pub fn run(mut self) -> ! {
        let outcome = self.set_up().and_then(|program| {
            // The order of these three lets either side end at any moment: until the container is on record, init ends with its creator.
            process::die_with_parent(false)?;
            self.channel.send(&FromInit::Ready, &[])?;
            self.channel.wait_for(ToInit::Kept)?;
            Ok(program)
        });
        match outcome {
            Ok(program) => self.wait_for_start(program),
            Err(error) => {
                // If the creator is gone, nobody wants to know.
                let _ = self.channel.send(&FromInit::Failed(error), &[]);
                process::exit_now(1)
            }
        }
    }

    fn set_up(&mut self) -> Result<Program<'a>> {
        process::die_with_parent(true)?;
        // Its lock is the creator's, and others in a joined PID namespace may look at what init holds.
        file::close_range(self.state_dir, self.state_dir, false)?;
        let ahead = self.plan.namespaces.ahead();
        // A creator that still has other things to do learns later of what has failed: when it listens.
        let made = if ahead.is_empty() { Ok(()) } else { unshare(ahead) };
        self.channel.wait_for(ToInit::Go)?;
        made?;
        self.enter_cgroup.map_or(Ok(()), |enter| enter())?;
        self.enter_namespaces()?;
        process::new_session()?;
        let proc = if self.plan.process.is_labelled() { Some(self.open_proc()?) } else { None };
        program::join_keyring(&self.plan.process, proc.as_ref())?;
        if self.plan.namespaces.new.has(Ns::Network) {
            net::loopback_up()?;
        }
        if !self.plan.net_devices.is_empty() {
            self.channel.send(&FromInit::Entered, &[])?;
            self.channel.wait_for(ToInit::DevicesMoved)?;
        }
        let terminal = self.set_up_rootfs()?;
        if let Some(slave) = terminal {
            take_terminal(slave.as_fd())?;
        }
        // Whoever kills a container that is not started yet expects it to end.
        signal::end_on_term()?;
        let filter = self.plan.seccomp.as_ref();
        let (program, listener) =
            Program::prepare(&self.plan.process, filter, self.host, self.ignored_signals, proc)?;
        if let Some(fd) = listener {
            self.channel.send(&FromInit::Listener, &[fd.as_fd()])?;
        }
        // Nothing of the host stays open while init waits, and the many descriptors of the root file system go in one call.
        let first_other = self.plan.process.preserve_fds.saturating_add(3);
        file::close_others(first_other, &[self.channel.as_fd(), self.listener.as_fd()])?;
        Ok(program)
    }

    fn enter_namespaces(&mut self) -> Result<()> {
        let namespaces = &self.plan.namespaces;
        let new_time = namespaces.new.has(Ns::Time);
        if !new_time {
            // Before any process of the container can see this one (CVE-2016-9962).
            process::hide_from_tracers()?;
        }
        join(&namespaces.join, &self.joins)?;
        self.joins.clear();
        if new_time {
            // Before the ids change, too: after that a process's own files of proc belong to root of the host.
            enter_new_time(namespaces.time_offsets.as_deref())?;
            process::hide_from_tracers()?;
        }
        if let Some((uid, gid)) = namespaces.root_ids {
            become_root(uid, gid, self.plan.process.keep_groups, self.host)?;
        }
        let later = namespaces.later();
        if !later.is_empty() {
            unshare(later)?;
        }
        Ok(())
    }

    /// Makes the root file system and enters it; returns the slave of the terminal, if the process gets one.
    fn set_up_rootfs(&mut self) -> Result<Option<OwnedFd>> {
        let plan = self.plan;
        // Modes of what is made are exact from here on.
        process::set_umask(0);
        let mut sources = match self.sources.take() {
            Some(sources) => sources,
            None => Sources::open_host(plan, &self.cgroup, self.users, true)?,
        };
        sources.open_new(plan)?;
        // What is written to belongs to the namespaces of the writer, whichever procfs it is.
        let proc = match plan.sysctl.is_empty() {
            true => None,
            false => Some(sources.new_procfs(plan)?.map_or_else(|| self.open_proc(), Ok)?),
        };
        let mut rootfs = Rootfs::attach(plan, sources)?;
        if rootfs::runs_hooks_before_pivot(plan) {
            rootfs.populate(|i, tree| self.map_owners(i, tree))?;
            self.files = None;
            self.run_hooks_before_pivot(&rootfs)?;
            rootfs.pivot()?;
        } else {
            rootfs.pivot()?;
            rootfs.populate(|i, tree| self.map_owners(i, tree))?;
            self.files = None;
        }
        let terminal = if plan.process.terminal { Some(self.open_terminal(&rootfs)?) } else { None };
        if let Some(name) = &plan.hostname {
            process::set_hostname(name).field(|| "hostname".into())?;
        }
        if let Some(name) = &plan.domainname {
            process::set_domainname(name).field(|| "domainname".into())?;
        }
        for sysctl in &plan.sysctl {
            if let Some(proc) = &proc {
                proc.write(&format!("sys/{}", sysctl.path), &sysctl.value).field(|| sysctl.field.clone())?;
            }
        }
        rootfs.make_cwd(&plan.process.cwd).field(|| "process.cwd".into())?;
        rootfs.seal()?;
        if let Some(outer) = &self.outer_mounts {
            rootfs::leave_with_root(outer.as_fd())?;
        }
        Ok(terminal)
    }

    /// A procfs that no container has changed, while the host's tree is in sight.
    fn open_proc(&self) -> Result<Proc> {
        Ok(if self.plan.namespaces.new.has(Ns::Mount) { Proc::open_hosts()? } else { Proc::open()? })
    }

    /// Has the creator map the owners of a mount that was made here: a user namespace has no right over the host's file systems.
    fn map_owners(&self, index: usize, tree: BorrowedFd) -> Result<()> {
        if self.plan.mounts.get(index).is_none_or(|step| step.id_map.is_none()) {
            return Ok(());
        }
        self.channel.send(&FromInit::Unmapped { mount: index }, &[tree])?;
        self.channel.wait_for(ToInit::Mapped)
    }

    fn run_hooks_before_pivot(&self, rootfs: &Rootfs) -> Result<()> {
        self.channel.send(&FromInit::RunHooks, &[])?;
        self.channel.wait_for(ToInit::HooksDone)?;
        let hooks = &self.plan.hooks.create_container;
        if !hooks.is_empty() {
            self.channel.send(&FromInit::RunningHooks, &[])?;
            // What they look for is in the root, which the state doesn't name.
            process::change_dir(rootfs.root())?;
            hooks::run(hooks, &self.hook_state.json("creating", process::id()))?;
        }
        Ok(())
    }

    fn open_terminal(&mut self, rootfs: &Rootfs) -> Result<OwnedFd> {
        let field = || "process.terminal".to_owned();
        let pty = tty::open_pty(rootfs.root())
            .hint(|| "a terminal needs a mount of type devpts at /dev/pts".into())
            .field(field)?;
        if self.plan.console {
            rootfs.put_console(pty.slave.as_fd()).field(field)?;
        }
        send_terminal(&pty, &self.plan.process, self.console.take()).field(field)?;
        Ok(pty.slave)
    }

    fn wait_for_start(self, program: Program) -> ! {
        let start = match await_start(self.listener.as_fd()) {
            Ok(start) => start,
            // Nobody can start the container any more.
            Err(_) => process::exit_now(1),
        };
        let error = match self.begin(program, start.as_fd()) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        report(start.as_fd(), error)
    }

    fn begin(&self, program: Program, start: BorrowedFd) -> Result<Infallible> {
        if self.plan.process.args.is_empty() {
            return Err(Error::new("missing").field("process").hint("it says what to run"));
        }
        if !self.plan.hooks.start_container.is_empty() {
            let state = self.hook_state.json("created", process::id());
            // Their programs are the container's, too.
            let around = Surroundings { env: program.env(), filter: self.plan.seccomp.as_ref(), dir: None };
            hooks::run_in(&self.plan.hooks.start_container, &state, around)?;
        }
        let copy = program::beyond_preserved(start, self.plan.process.preserve_fds)?;
        let start = copy.as_ref().map_or(start, AsFd::as_fd);
        let error = program.execute(start);
        // Everything else is closed by now, so that only this descriptor can carry the error.
        report(start, error)
    }
}

/// Tells `start` why the program did not begin, and ends.
fn report(start: BorrowedFd, error: Error) -> ! {
    if let Ok(bytes) = serde_json::to_vec(&error) {
        let _ = socket::send(start, &bytes, &[]);
    }
    process::exit_now(1)
}

/// Sleeps until `start` comes. One that is killed may go away again without a word.
fn await_start(listener: BorrowedFd) -> Result<OwnedFd> {
    loop {
        let connection = socket::accept(listener)?;
        let deadline = Instant::now() + START_PATIENCE;
        if file::poll(&[(connection.as_fd(), file::Interest::Read)], Some(deadline))?[0]
            && let Ok(Some(message)) = socket::receive(connection.as_fd(), super::start::WORD.len())
            && message.bytes == super::start::WORD
        {
            return Ok(connection);
        }
    }
}

fn unshare(kinds: NsSet) -> Result<()> {
    ns::unshare(kinds).field(|| "linux.namespaces".into())
}

/// Joins existing namespaces. Those that the runtime may join in its own right come before the user namespace, in which it has rights
/// over nothing but what belongs to that; the others come after it.
pub fn join(joins: &[Join], fds: &[OwnedFd]) -> Result<()> {
    let one = |(join, fd): &(&Join, &OwnedFd)| {
        ns::join(fd.as_fd(), NsSet::default().with(join.kind)).field(|| join.field.clone())
    };
    let (user, others): (Vec<_>, Vec<_>) = joins.iter().zip(fds).partition(|(join, _)| join.kind == Ns::User);
    let mut refused = Vec::new();
    for pair in others {
        match one(&pair) {
            Err(error) if error.errno() == Some(Errno::EPERM) && !user.is_empty() => refused.push(pair),
            other => other?,
        }
    }
    user.iter().try_for_each(one)?;
    refused.iter().try_for_each(one)
}

/// Takes the ids that own the user namespace, as a rule without the groups that the caller was in.
pub fn become_root(uid: u32, gid: u32, keep_groups: bool, host: &Host) -> Result<()> {
    if !keep_groups {
        match cred::set_groups(&[]) {
            Err(CallError { errno: Errno::EPERM, .. }) if !host.can_mount => {}
            other => other?,
        }
    }
    cred::set_ids(uid, gid)
        .doing(|| "become root of the user namespace".into())
        .field(|| "linux.uidMappings".into())
}

/// A time namespace takes its offsets before the first process is in it, and `unshare` gives it to children only; joining it
/// afterwards takes this process in, without another fork.
fn enter_new_time(offsets: Option<&str>) -> Result<()> {
    unshare(NsSet::default().with(Ns::Time))?;
    if let Some(offsets) = offsets {
        Proc::open_mounted()?.write_own("timens_offsets", offsets).field(|| "linux.timeOffsets".into())?;
    }
    let own = file::open_read(std::path::Path::new("/proc/self/ns/time_for_children"))?;
    Ok(ns::join(own.as_fd(), NsSet::default().with(Ns::Time))?)
}

/// Sets up a new terminal and hands its master to whoever serves it, named as callers expect it.
pub fn send_terminal(pty: &Pty, plan: &Process, console: Option<OwnedFd>) -> Result<()> {
    if let Some((rows, columns)) = plan.console_size {
        tty::set_size(pty.master.as_fd(), tty::Size { rows, columns })
            .field(|| "process.consoleSize".into())?;
    }
    if plan.passed_through {
        tty::keep_newlines(pty.slave.as_fd())?;
    }
    let console = console.ok_or_else(|| Error::new("nobody takes the terminal"))?;
    Ok(socket::send(console.as_fd(), pty.name.as_bytes(), &[pty.master.as_fd()])?)
}

/// Makes a terminal the controlling one and the standard streams of the process.
pub fn take_terminal(slave: BorrowedFd) -> Result<()> {
    tty::take_control(slave)?;
    (0..3).try_for_each(|stream| Ok(file::dup_to(slave, stream)?))
}
