//! Containers on record: a directory for each below the state root, with what later commands need to know.
//!
//! `state.json` is written before anything else of a container exists, so that `delete --force` finds all there is of it, whatever
//! moment its creator was killed at. The status is never stored: it is what the kernel says.

mod create;
mod delete;
mod events;
mod exec;
mod mounts;
mod signal;
mod start;
mod state;
mod update;

pub use create::{CreateOptions, create, listen_fds};
pub use delete::delete;
pub use events::Event;
pub use exec::{ExecOptions, exec};
pub use mounts::{add as add_mounts, remove as remove_mounts};
pub use state::{InitProcess, State, Status};

use crate::error::{Context, Error, Result};
use crate::host;
use crate::spec::{self, Spec};
use crate::sys::file::Replacement;
use crate::sys::{Errno, cred, file};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A container that is on record.
#[derive(Debug)]
pub struct Container {
    dir: StateDir,
    /// What is on record.
    pub state: State,
}

/// The state directory of one container.
#[derive(Debug)]
struct StateDir {
    fd: OwnedFd,
    path: PathBuf,
}

/// The longest id.
const MAX_ID: usize = 1024;

/// How long a command waits for another one that changes the same container.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Where containers are on record unless `--root` says otherwise: a directory in memory, of root or of the user.
pub fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if cred::euid() != 0 || is_users_root() => Path::new(&dir).join("orlop"),
        _ => PathBuf::from("/run/orlop"),
    }
}

/// Whether this is an ordinary user who is root in a user namespace of his own only, as below rootless Podman. It is told from the
/// namespace of a whole machine by what runc looks at, too: who the environment says that he is.
fn is_users_root() -> bool {
    std::env::var_os("USER").is_none_or(|user| user != "root") && host::in_userns().unwrap_or(false)
}

/// An id is one file name, of characters that need no quoting anywhere.
fn check_id(id: &str) -> Result<()> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id.is_empty() || id.len() > MAX_ID || !id.chars().all(valid) || matches!(id, "." | "..") {
        let shown: String = id.chars().take(64).collect();
        let which = match id.chars().find(|c| !valid(*c)) {
            Some(bad) => format!(": invalid character `{}` in the ID", bad.escape_default()),
            None => String::new(),
        };
        return Err(Error::new(format!("invalid container id {shown:?}{which}"))
            .hint(format!("1 to {MAX_ID} letters, digits and _+-. are allowed")));
    }
    Ok(())
}

impl Container {
    /// Opens a container on record.
    pub fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let dir = StateDir::open(root, id)?;
        let state = dir.load()?;
        Ok(Container { dir, state })
    }

    /// All containers on record, sorted by id, one after the other: there may be more than a process may have files open. One that
    /// disappears meanwhile, or can't be read, is left out with a warning.
    pub fn all(root: &Path) -> Result<impl Iterator<Item = Self>> {
        let entries = std::fs::read_dir(root).map_err(|error| {
            Error::new(format!("state root {}: {}", root.display(), Errno::from(error).text()))
        })?;
        let mut ids: Vec<_> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.sort();
        ids.retain(|id| check_id(id).is_ok());
        let open = |id: String| match Self::open(root, &id) {
            Ok(container) => Some(container),
            Err(_) if !root.join(&id).join(state::FILE).exists() => None,
            Err(error) => {
                crate::log::line(crate::log::Level::Warning, &format!("{id}: {error}"));
                None
            }
        };
        Ok(ids.into_iter().filter_map(open))
    }

    /// What config.json said when the container was created, and what has been changed since.
    pub fn spec(&self) -> Result<Spec> {
        let record = file::read_at(self.dir.fd.as_fd(), create::CONFIG, 16 << 20)?;
        spec::parse_record(&record).doing(|| format!("corrupt {}", create::CONFIG))
    }

    /// Takes the lock. Its creator may have had it until then, and finished the record.
    fn lock(&mut self) -> Result<()> {
        self.dir.lock()?;
        if self.state.init.is_none() {
            self.state = self.dir.load()?;
        }
        Ok(())
    }

    /// What the kernel says that the container is doing.
    pub fn status(&self) -> Result<Status> {
        Ok(self.look()?.0)
    }

    /// The same, and a pidfd of init while it is alive.
    fn look(&self) -> Result<(Status, Option<OwnedFd>)> {
        self.state.look(self.dir.fd())
    }
}

impl StateDir {
    /// Makes the directory, which takes the id: of two creators at once one succeeds. The lock on it is held until
    /// [`StateDir::unlock`] or the end of the process.
    fn create(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let root_fd = open_root(root)?;
        file::make_dir(root_fd.as_fd(), Path::new(id), 0o700).map_err(|error| match error.errno {
            Errno::EEXIST => Error::new("container with given ID already exists"),
            _ => Error::from(error),
        })?;
        let path = root.join(id);
        let lock = || match file::open_dir_at(root_fd.as_fd(), Path::new(id))? {
            fd if file::try_lock(fd.as_fd())? => Ok(fd),
            _ => Err(Error::new("another command holds the new container's lock")),
        };
        match lock() {
            Ok(fd) => Ok(StateDir { fd, path }),
            Err(error) => {
                let _ = std::fs::remove_dir(path);
                Err(error)
            }
        }
    }

    fn open(root: &Path, id: &str) -> Result<Self> {
        let path = root.join(id);
        let fd = file::open_lockable_dir(&path).map_err(|error| match error.errno {
            Errno::ENOENT => Error::new("container does not exist"),
            _ => Error::from(error),
        })?;
        Ok(StateDir { fd, path })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes the lock, which `create`, `start`, `update`, `mounts` and `delete` hold while they work.
    fn lock(&self) -> Result<()> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        while !file::try_lock(self.fd())? {
            if Instant::now() >= deadline {
                let seconds = LOCK_PATIENCE.as_secs();
                return Err(Error::new(format!(
                    "waited {seconds} s for another command on the same container"
                )));
            }
            // flock has no deadline of its own.
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Gives the lock up before the process ends: an attached `run` lasts as long as the container.
    fn unlock(&self) -> Result<()> {
        Ok(file::unlock(self.fd())?)
    }

    fn load(&self) -> Result<State> {
        let bytes = file::read_at(self.fd(), state::FILE, 16 << 20).map_err(|error| match error.errno {
            Errno::ENOENT => Error::new("container does not exist"),
            _ => Error::from(error),
        })?;
        State::parse(&bytes).hint(|| "`delete --force` removes what is left".into())
    }

    /// Writes the first record, before there is anything else of the container: what a killed creator has left of it half-written
    /// is worth nothing, and stands for nothing.
    fn create_record(&self, state: &State) -> Result<()> {
        Ok(file::create_at(self.fd(), state::FILE, &to_bytes(state)?)?)
    }

    /// Writes a new record, which is put in the place of the old one later.
    fn prepare_record(&self, state: &State) -> Result<Replacement<'_>> {
        Ok(Replacement::write(self.fd(), state::FILE, &to_bytes(state)?, 0o600)?)
    }

    /// Whether somebody else has removed the directory, as far as can be seen. What has the container's name now is another one.
    fn is_gone(&self) -> bool {
        file::stat(self.fd()).is_ok_and(|dir| dir.removed)
    }

    /// Removes the directory, the record last: until then another `delete` can finish what this one began.
    fn remove(&self) -> Result<()> {
        let failed = |errno: Errno| Error::new(format!("remove {}: {errno}", self.path.display()));
        let gone = |result: std::result::Result<(), Errno>| match result {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed(errno)),
        };
        let remove_file = |name: &OsStr| match file::remove_at(self.fd(), name) {
            Err(Errno::EISDIR) => Ok(std::fs::remove_dir_all(self.path.join(name))?),
            other => other,
        };
        let names = match file::names(self.fd()) {
            Err(error) if error.errno == Errno::ENOENT => return Ok(()),
            other => other?,
        };
        let (record, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| *name == state::FILE);
        others.into_iter().chain(record).try_for_each(|name| gone(remove_file(name)))?;
        gone(std::fs::remove_dir(&self.path).map_err(Errno::from))
    }
}

fn to_bytes(state: &State) -> Result<Vec<u8>> {
    serde_json::to_vec(state).map_err(|error| Error::new(error.to_string()))
}

/// The state root, made for its owner alone where it doesn't exist. One that others could write to, or lead elsewhere, is refused
/// (CVE-2015-1331).
fn open_root(root: &Path) -> Result<OwnedFd> {
    let doing = || format!("state root {}", root.display());
    let opened = match file::open_dir_nofollow(root) {
        Err(error) if error.errno == Errno::ENOENT => {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
            made.map_err(|error| Error::new(Errno::from(error).to_string())).doing(doing)?;
            file::open_dir_nofollow(root)
        }
        other => other,
    };
    let fd = opened.hint(|| "it has to be a directory, not a symbolic link".into()).doing(doing)?;
    let about = file::stat(fd.as_fd())?;
    if about.uid != cred::euid() {
        return Err(Error::new("belongs to another user").doing(doing()));
    }
    if about.mode & 0o022 != 0 {
        return Err(Error::new("others than its owner can write to it").doing(doing()).hint("chmod go-w"));
    }
    Ok(fd)
}
