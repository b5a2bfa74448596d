//! The creator's side of a container's creation: opens what has to be opened outside, makes the process, gives it its cgroup, id maps and
//! limits, runs the hooks of the runtime's side, and waits until init is ready to be started.

use super::channel::{self, CreatorEnd, FromInit, InitEnd, ToInit};
use super::hooks::{self, HookState, Surroundings};
use super::init::{self, Init};
use super::{idmap, listener, program, start};
use crate::cgroup::{Birthplace, Cgroup, Doors, View};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::net::{self, Moved};
use crate::plan::Plan;
use crate::plan::namespaces::{Fork, Join, Namespaces};
use crate::plan::process::Process;
use crate::plan::schedule::{ALL_CPUS, scheduler_hint};
use crate::rdt::Rdt;
use crate::rootfs::{CgroupTree, Sources, UserNamespaces};
use crate::security;
use crate::sys::clone::{self, Child, Cloned};
use crate::sys::ns::{self, Ns, NsSet};
use crate::sys::{Errno, file, pidfd, proc, process, schedule, signal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a container is made from.
pub struct Request<'a> {
    /// The container.
    pub plan: &'a Plan,
    /// The host.
    pub host: &'a Host,
    /// Its cgroup, not made yet.
    pub cgroup: &'a Cgroup,
    /// Its groups in the resctrl file system, not made yet.
    pub rdt: Option<&'a Rdt>,
    /// Its state directory.
    pub state_dir: BorrowedFd<'a>,
    /// A socket that takes the master of its terminal.
    pub console: Option<OwnedFd>,
    /// What hooks are told.
    pub hook_state: &'a HookState,
}

/// How long init may be silent while nothing that config.json names is running in it. Its steps take milliseconds; copying up a large
/// directory, or a network file system that does not answer, may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A container's init that waits to be started. It is killed on drop unless it was kept, and its cgroup removed.
#[derive(Debug)]
pub struct NewInit<'a> {
    /// Its id in the runtime's pid namespace.
    pub pid: i32,
    process: Doomed,
    devices: Option<Moved>,
    groups: NewGroups<'a>,
    held: Held,
}

/// What the creator holds open for init: it costs a command that ends now nothing to leave the closing to its end.
#[derive(Debug)]
pub struct Held {
    channel: CreatorEnd,
    _born_in: Option<OwnedFd>,
    _doors: Option<Doors>,
}

/// A process that is killed on drop, and reaped, unless it was spared.
#[derive(Debug)]
pub struct Doomed(Option<OwnedFd>);

impl Doomed {
    /// Takes the pidfd of a child.
    pub fn new(pidfd: OwnedFd) -> Self {
        Doomed(Some(pidfd))
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Lets the process live.
    pub fn spare(mut self) -> Option<OwnedFd> {
        self.0.take()
    }

    /// The error of a process that has ended without saying why.
    pub fn ended_early(&self) -> Error {
        match self.0.as_ref().map(|pidfd| pidfd::wait(pidfd.as_fd())) {
            Some(Ok(pidfd::Exit::Signal(signal::KILL))) => {
                Error::new("the process was killed while it was set up")
                    .hint("if nobody killed it, the kernel did: is linux.resources.memory.limit too small?")
            }
            Some(Ok(pidfd::Exit::Signal(signal))) => {
                Error::new(format!("the process died of signal {signal}"))
            }
            _ => Error::new("the process ended without a word"),
        }
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.0 {
            // It may be dead already; waiting only reaps it.
            let _ = pidfd::send_signal(pidfd.as_fd(), signal::KILL);
            let _ = pidfd::wait(pidfd.as_fd());
        }
    }
}

/// A cgroup, and groups of resctrl, that are removed on drop once they are complete, unless they were kept.
#[derive(Debug)]
struct NewGroups<'a> {
    cgroup: &'a Cgroup,
    rdt: Option<&'a Rdt>,
    doomed: bool,
}

impl NewGroups<'_> {
    fn complete(&mut self, birthplace: &mut Birthplace, plan: &Plan) -> Result<()> {
        birthplace.complete(&plan.cgroup)?;
        self.doomed = true;
        match (self.rdt, &plan.rdt) {
            (Some(rdt), Some(plan)) => rdt.create(plan),
            _ => Ok(()),
        }
    }
}

/// How long the removal of a failed container's cgroup may take.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(5);

impl Drop for NewGroups<'_> {
    fn drop(&mut self) {
        if self.doomed {
            // The error that led here is the one to report; `delete` finds what is left by the state on record.
            let deadline = Instant::now() + CLEANUP_PATIENCE;
            let _ = self.cgroup.kill_all(signal::KILL, deadline);
            let _ = self.cgroup.destroy(deadline);
            let _ = self.rdt.map(Rdt::remove);
        }
    }
}

impl NewInit<'_> {
    /// The descriptor of the process.
    pub fn pidfd(&self) -> Result<BorrowedFd<'_>> {
        self.process.pidfd().ok_or_else(|| Error::new("init was spared already"))
    }

    /// Lets init outlive its creator: the container is on record.
    pub fn keep(mut self) -> Result<(OwnedFd, Held)> {
        self.held.channel.send(ToInit::Kept)?;
        self.groups.doomed = false;
        if let Some(devices) = self.devices.take() {
            devices.leave();
        }
        let pidfd = self.process.spare().ok_or_else(|| Error::new("init was spared twice"))?;
        Ok((pidfd, self.held))
    }
}

/// Makes the container's init, up to where it waits to be started. While it sets the container up, the caller does what there is to
/// do with its pid.
pub fn create<T>(request: Request, meanwhile: impl FnOnce(i32) -> Result<T>) -> Result<(NewInit, T)> {
    let Request { plan, host, cgroup, rdt, state_dir, console, hook_state } = request;
    let namespaces = &plan.namespaces;
    security::lsm::check_enabled(&plan.process)?;
    security::lsm::check_mounts(plan.mount_label.as_ref().and_then(|(_, label)| label.as_deref()))?;
    let joins = open_joins(&namespaces.join)?;
    refuse_hosts_own(plan, &joins)?;
    let listener = start::listen(state_dir)?;
    let mut birthplace = cgroup.create(&plan.cgroup)?;
    let mut groups = NewGroups { cgroup, rdt, doomed: false };
    // All else of it is made while init makes its namespaces. An init that can't do so yet may have no right to open the way in either.
    let doors = match namespaces.ahead().is_empty() {
        false => None,
        true => {
            groups.complete(&mut birthplace, plan)?;
            Some(cgroup.doors()?)
        }
    };
    let enter_cgroup = || match &doors {
        Some(doors) => doors.enter(),
        None => {
            let doors = cgroup.doors()?;
            doors.enter()?;
            doors.leave_open();
            Ok(())
        }
    };
    let tree = cgroup_tree(cgroup);
    // Init sees the same paths in its own mount namespace, unless it is in a user namespace, which may not search them, or joins a
    // mount namespace, where they mean something else.
    let init_sees_host = !namespaces.contains(Ns::User) && !namespaces.joins(Ns::Mount);
    let outer_mounts = match namespaces.contains(Ns::Mount) {
        true => None,
        false => Some(file::open_read(Path::new("/proc/self/ns/mnt"))?),
    };
    // All mounts of the host are open before the first one is put into place.
    let files = process::ManyFiles::allow(plan.mounts.len() + plan.devices.len())
        .hint(|| "raise the hard limit of open files".into())
        .field(|| "mounts".into())?;
    let joined = || match namespaces.join.iter().zip(&joins).find(|(join, _)| join.kind == Ns::User) {
        Some((_, fd)) => Ok(file::dup_above(fd.as_fd(), 3)?),
        None => Err(Error::new("the container joins no user namespace")),
    };
    let users = UserNamespaces::open(&plan.mounts, |users| idmap::translator(users, joined))?;
    let sources = if init_sees_host || !host.can_mount {
        None
    } else {
        Some(Sources::open_host(plan, &tree, &users, false)?)
    };
    let (channel, end) = channel::pair()?;
    let ignored_signals = signal::ignored();
    let init = |joins, enter_cgroup, channel| Init {
        plan,
        host,
        channel,
        listener,
        state_dir: state_dir.as_raw_fd().unsigned_abs(),
        joins,
        outer_mounts,
        enter_cgroup,
        sources,
        users: &users,
        files,
        cgroup: tree,
        console,
        hook_state,
        ignored_signals,
    };
    let born_in = birthplace.unified.as_ref().map(AsFd::as_fd);
    let child = match namespaces.fork() {
        Fork::Direct => match clone_into_pid_namespace(namespaces, &joins, born_in)? {
            Cloned::Child => {
                // Only the creator holds its end then, so that its death is noticed.
                drop(channel);
                init(joins, Some(&enter_cgroup), end).run()
            }
            Cloned::Parent(child) => child,
        },
        Fork::Relay => match clone::clone3(NsSet::default(), born_in, false)? {
            Cloned::Child => {
                drop(channel);
                match relay(namespaces, &joins, &enter_cgroup, &end) {
                    Ok(Relay::Init) => init(Vec::new(), None, end).run(),
                    Ok(Relay::Done) => process::exit_now(0),
                    Err(error) => {
                        // If the creator is gone, nobody wants to know.
                        let _ = end.send(&FromInit::Failed(error), &[]);
                        process::exit_now(1)
                    }
                }
            }
            Cloned::Parent(relay) => from_relay(&channel, &relay)?,
        },
    };
    // Only the new process holds its end now, so that its death is noticed.
    drop(end);
    // Hooks get the limit of open files as the caller has set it.
    drop(init);
    let Child { pid, pidfd } = child;
    let process = Doomed::new(pidfd);
    if doors.is_none() {
        groups.complete(&mut birthplace, plan)?;
    }
    // Init is in the cgroup now.
    drop(birthplace.placeholder.take());
    equip(plan, host, pid)?;
    rdt.map_or(Ok(()), |rdt| rdt.attach(pid))?;
    let done = match channel.send(ToInit::Go) {
        // It has ended, and may have said why.
        Err(error) if error.errno() == Some(Errno::EPIPE) => None,
        sent => Some(sent.and_then(|()| meanwhile(pid))?),
    };
    let devices = converse(&channel, pid, &process, plan, &users, hook_state)?;
    let done = done.ok_or_else(|| process.ended_early())?;
    let held = Held { channel, _born_in: birthplace.unified.take(), _doors: doors };
    Ok((NewInit { pid, process, devices, groups, held }, done))
}

fn open_joins(joins: &[Join]) -> Result<Vec<OwnedFd>> {
    let open =
        |join: &Join| {
            let fd = file::open_read(&join.path).field(|| join.field.clone())?;
            match ns::kind_of(fd.as_fd())? {
                Some(kind) if kind == join.kind => Ok(fd),
                Some(kind) => {
                    let what = format!("{} is a {} namespace", join.path.display(), kind.name());
                    Err(Error::new(what).field(join.field.clone()))
                }
                None => Err(Error::new(format!("{} is not a namespace", join.path.display()))
                    .field(join.field.clone())),
            }
        };
    joins.iter().map(open).collect()
}

/// What config.json changes in a namespace that the container joins must not be a change of the host: a path may lead to the runtime's
/// own namespace.
fn refuse_hosts_own(plan: &Plan, joins: &[OwnedFd]) -> Result<()> {
    let is_hosts = |kind: Ns| -> Result<bool> {
        let Some((_, fd)) = plan.namespaces.join.iter().zip(joins).find(|(join, _)| join.kind == kind) else {
            return Ok(false);
        };
        let own = file::open_read(Path::new(&format!("/proc/self/ns/{}", kind.proc_name())))?;
        Ok(file::stat(fd.as_fd())?.inode == file::stat(own.as_fd())?.inode)
    };
    let refuse = |kind: Ns, field: &str| match is_hosts(kind)? {
        true => {
            Err(Error::new(format!("the {} namespace to join is the host's own", kind.name())).field(field))
        }
        false => Ok(()),
    };
    plan.sysctl.iter().try_for_each(|sysctl| refuse(sysctl.namespace, &sysctl.field))?;
    if !plan.net_devices.is_empty() {
        refuse(Ns::Network, "linux.netDevices")?;
    }
    for (name, field) in [(&plan.hostname, "hostname"), (&plan.domainname, "domainname")] {
        if name.is_some() {
            refuse(Ns::Uts, field)?;
        }
    }
    Ok(())
}

/// The clone that becomes init. A process is born into the PID namespace that its parent has chosen for its children, so that one to
/// be joined is joined here, around the clone.
fn clone_into_pid_namespace(
    namespaces: &Namespaces,
    joins: &[OwnedFd],
    cgroup: Option<BorrowedFd>,
) -> Result<Cloned> {
    let pid = NsSet::default().with(Ns::Pid);
    let joined = namespaces.join.iter().zip(joins).find(|(join, _)| join.kind == Ns::Pid);
    let own = match joined {
        Some((join, fd)) => {
            let own = file::open_read(Path::new("/proc/self/ns/pid"))?;
            ns::join(fd.as_fd(), pid).field(|| join.field.clone())?;
            Some(own)
        }
        None => None,
    };
    let cloned = clone::clone3(namespaces.at_clone(), cgroup, false)?;
    if let (Cloned::Parent(_), Some(own)) = (&cloned, own) {
        ns::join(own.as_fd(), pid)?;
    }
    Ok(cloned)
}

/// Which process comes back from the relay's work.
enum Relay {
    Init,
    Done,
}

/// The rare process in between: it joins what init could not join any more, makes init as its sibling, and ends.
fn relay(
    namespaces: &Namespaces,
    joins: &[OwnedFd],
    enter_cgroup: &dyn Fn() -> Result<()>,
    end: &InitEnd,
) -> Result<Relay> {
    process::die_with_parent(true)?;
    process::hide_from_tracers()?;
    enter_cgroup()?;
    init::join(&namespaces.join, joins)?;
    match clone::clone3(namespaces.at_clone(), None, true)? {
        Cloned::Child => Ok(Relay::Init),
        Cloned::Parent(child) => {
            end.send(&FromInit::Relayed { pid: child.pid }, &[child.pidfd.as_fd()])?;
            Ok(Relay::Done)
        }
    }
}

/// What a mount of type `cgroup` shows, as the rootfs layer takes it.
fn cgroup_tree(cgroup: &Cgroup) -> CgroupTree {
    match cgroup.view() {
        Some(View::Unified(dir)) => CgroupTree::Unified(dir),
        Some(View::Split { dirs, links }) => CgroupTree::Hierarchies(dirs, links),
        None => CgroupTree::None,
    }
}

/// The process that a relay has made; the relay itself is reaped.
pub fn from_relay(channel: &CreatorEnd, relay: &Child) -> Result<Child> {
    let answer = channel.receive(Some(PATIENCE), "the process that joins namespaces");
    // It has nothing more to do, whether it has made init or failed.
    let _ = pidfd::send_signal(relay.pidfd.as_fd(), signal::KILL);
    pidfd::wait(relay.pidfd.as_fd())?;
    match answer? {
        Some((FromInit::Relayed { pid }, fds)) => match fds.into_iter().next() {
            Some(pidfd) => Ok(Child { pid, pidfd }),
            None => Err(Error::new("the relay sent no pidfd")),
        },
        Some((FromInit::Failed(error), _)) => Err(error),
        _ => Err(Error::new("the process that joins namespaces ended")),
    }
}

/// Gives init what only its creator can give: ids, and limits that only the host's privileges can raise.
fn equip(plan: &Plan, host: &Host, pid: i32) -> Result<()> {
    unbind(pid);
    if plan.namespaces.new.has(Ns::User) {
        idmap::write(host, &plan.namespaces, pid)?;
    }
    equip_process(&plan.process, pid, plan.namespaces.contains(Ns::User))
}

/// Lets a process run on every CPU that its cgroup has, whichever the caller was bound to: the kernel hands that down, and remembers it
/// even where the cgroup has others (since Linux 6.2). Where a sandbox forbids it, it stays bound.
pub fn unbind(pid: i32) {
    let _ = schedule::set_affinity(pid, &ALL_CPUS);
}

/// The same for any process of a container: its OOM score, its place in the queues for CPU and disk, and in a user namespace room for
/// its limits. The limits themselves are set last, by the process itself: a small one could stop its own set-up.
pub fn equip_process(plan: &Process, pid: i32, in_user_namespace: bool) -> Result<()> {
    if let Some(adjustment) = plan.oom_score_adj {
        proc::write_of(pid, "oom_score_adj", &adjustment.to_string())
            .hint(|| "lowering it needs CAP_SYS_RESOURCE".into())
            .field(|| "process.oomScoreAdj".into())?;
    }
    if let Some(scheduler) = &plan.scheduler {
        schedule::set_attributes(pid, scheduler)
            .hint(|| scheduler_hint(scheduler).into())
            .field(|| "process.scheduler".into())?;
    }
    if let Some(priority) = plan.io_priority {
        schedule::set_io_priority(pid, priority)
            .hint(|| "IOPRIO_CLASS_RT takes CAP_SYS_NICE".into())
            .field(|| "process.ioPriority".into())?;
    }
    for limit in plan.rlimits.iter().filter(|_| in_user_namespace) {
        let (soft, hard) = process::rlimit(limit.resource)?;
        if limit.hard > hard {
            program::set_rlimit(pid, limit, soft, limit.hard)?;
        }
    }
    Ok(())
}

/// Listens to init until it is ready. Returns the network devices that were moved in.
fn converse(
    channel: &CreatorEnd,
    pid: i32,
    process: &Doomed,
    plan: &Plan,
    users: &UserNamespaces,
    hook_state: &HookState,
) -> Result<Option<Moved>> {
    let mut devices = None;
    let mut patience = Some(PATIENCE);
    loop {
        match channel.receive(patience, "the container's init")? {
            Some((FromInit::Entered, _)) => {
                let namespace = format!("/proc/{pid}/ns/net");
                devices = Some(net::move_in(&plan.net_devices, Path::new(&namespace))?);
                channel.send(ToInit::DevicesMoved)?;
            }
            Some((FromInit::Unmapped { mount }, trees)) => {
                for (step, tree) in plan.mounts.get(mount).into_iter().zip(trees) {
                    users.apply(tree.as_fd(), step)?;
                }
                channel.send(ToInit::Mapped)?;
            }
            Some((FromInit::RunHooks, _)) => {
                // "The prestart hooks MUST be called after the start operation is called but before the user-specified program command is
                // executed": to them, as the specification's own validation wants it, the container is created.
                let around = Surroundings { dir: Some(&hook_state.bundle), ..Surroundings::default() };
                hooks::run_in(&plan.hooks.prestart, &hook_state.json("created", pid), around)?;
                hooks::run_in(&plan.hooks.create_runtime, &hook_state.json("creating", pid), around)?;
                channel.send(ToInit::HooksDone)?;
            }
            Some((FromInit::RunningHooks, _)) => patience = None,
            Some((FromInit::Listener, fds)) => {
                let filter = plan.seccomp.as_ref().and_then(|filter| filter.listener.as_ref());
                for (to, fd) in filter.into_iter().zip(fds) {
                    listener::hand_on(to, fd.as_fd(), pid, &hook_state.value("creating", pid))?;
                }
            }
            Some((FromInit::Ready, _)) => return Ok(devices),
            Some((FromInit::Failed(error), _)) => return Err(error),
            Some((FromInit::Relayed { .. }, _)) => return Err(Error::new("init spoke out of turn")),
            None => return Err(process.ended_early()),
        }
    }
}
