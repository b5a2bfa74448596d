//! What is on record of a container, and the status that the kernel gives it.

use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::process::start;
use crate::rdt::Rdt;
use crate::spec::{self, Spec};
use crate::sys::ns::NsSet;
use crate::sys::{Errno, file, pidfd, proc};
use oci_spec::runtime::Hooks;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The name of the record in the state directory.
pub const FILE: &str = "state.json";

/// The form of the record; another one is refused, because it could name the wrong process.
const VERSION: u32 = 1;

/// The record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// The boot that it was made in. After another one nothing of the container exists.
    boot_id: String,
    /// `ociVersion` of config.json.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The root file system on the host, absolute.
    pub rootfs: PathBuf,
    /// When it was created, as RFC 3339.
    pub created: String,
    /// The user id of its creator.
    pub owner: u32,
    /// Annotations of config.json.
    pub annotations: BTreeMap<String, String>,
    /// Hooks of config.json. `start` and `delete` so need nothing else of that file, most of which is a seccomp profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Its first process; absent while the container is being created.
    pub init: Option<InitProcess>,
    /// Its cgroup.
    pub cgroup: Cgroup,
    /// Its groups in the resctrl file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdt: Option<Rdt>,
    /// The namespaces that it does not share with the runtime.
    pub namespaces: NsSet,
    /// The ids that own its user namespace, inside of it.
    pub root_ids: Option<(u32, u32)>,
    /// Whether its processes have a session keyring of their own.
    pub keyring: bool,
}

/// A process of this boot: its id, and the time that tells it from a later process of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitProcess {
    /// Its id in the runtime's pid namespace.
    pub pid: i32,
    /// Clock ticks since boot.
    pub start_time: u64,
}

impl InitProcess {
    /// The process that has this id now. The caller holds a pidfd of it, so that it is not another one.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = proc::stat(pid)?.ok_or_else(|| Error::new(format!("process {pid} has ended")))?;
        Ok(InitProcess { pid, start_time: stat.start_time })
    }

    /// A pidfd of the process while it is alive. The pidfd is opened before the start time is compared: what it means can't change
    /// in between.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        let pidfd = match pidfd::open(self.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let alive = |stat: proc::ProcessStat| stat.start_time == self.start_time && !stat.is_dead();
        Ok(proc::stat(self.pid)?.is_some_and(alive).then_some(pidfd))
    }
}

/// What a container is doing ([runtime.md, State](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/runtime.md#state)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` has not returned yet.
    Creating,
    /// Init waits for `start`.
    Created,
    /// It executes its program.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Init has ended.
    Stopped,
}

impl Status {
    /// As in the state JSON.
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// The kernel's random name for the time since it was booted ([random(4)](https://man7.org/linux/man-pages/man4/random.4.html)).
pub fn boot_id() -> Result<&'static str> {
    static READ: OnceLock<String> = OnceLock::new();
    if let Some(id) = READ.get() {
        return Ok(id);
    }
    let read = file::read_proc("/proc/sys/kernel/random/boot_id")?;
    Ok(READ.get_or_init(|| read.trim().to_owned()))
}

impl State {
    /// A record of the container that is being created from here on.
    pub fn new(
        id: &str,
        bundle: &Path,
        spec: &Spec,
        plan: &Plan,
        cgroup: Cgroup,
        owner: u32,
    ) -> Result<Self> {
        Ok(State {
            version: VERSION,
            boot_id: boot_id()?.to_owned(),
            oci_version: spec.oci_version.clone(),
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            rootfs: plan.root.path.clone(),
            created: crate::time::now_rfc3339(),
            owner,
            annotations: spec.annotations.clone(),
            hooks: spec.hooks.clone(),
            init: None,
            cgroup,
            rdt: None,
            namespaces: plan.namespaces.all(),
            root_ids: plan.namespaces.root_ids,
            keyring: plan.process.keyring.is_some(),
        })
    }

    /// Reads a record.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let state: State = spec::parse_record(bytes).doing(|| format!("corrupt {FILE}"))?;
        if state.version != VERSION {
            return Err(Error::new(format!("{FILE} is of version {}, not {VERSION}", state.version)));
        }
        Ok(state)
    }

    /// Whether what it names can still exist.
    pub fn is_of_this_boot(&self) -> Result<bool> {
        Ok(self.boot_id == boot_id()?)
    }

    /// A pidfd of init while it is alive.
    pub fn open_init(&self) -> Result<Option<OwnedFd>> {
        match self.init {
            Some(init) if self.is_of_this_boot()? => init.open(),
            _ => Ok(None),
        }
    }

    /// Whether init is about to end.
    pub fn is_ending(&self) -> Result<bool> {
        let stat = self.init.map(|init| proc::stat(init.pid)).transpose()?.flatten();
        Ok(stat.is_none_or(|stat| stat.is_ending || stat.is_dead()))
    }

    /// What the kernel says, and a pidfd of init while it is alive. `dir` is the container's state directory.
    pub fn look(&self, dir: BorrowedFd) -> Result<(Status, Option<OwnedFd>)> {
        if self.init.is_none() {
            // A creator that was killed has lost its lock.
            let abandoned = file::try_lock(dir)?;
            return Ok((if abandoned { Status::Stopped } else { Status::Creating }, None));
        }
        let Some(init) = self.open_init()? else { return Ok((Status::Stopped, None)) };
        let status = if self.cgroup.frozen()? {
            Status::Paused
        } else if start::is_waiting(dir)? {
            Status::Created
        } else {
            Status::Running
        };
        Ok((status, Some(init)))
    }
}
