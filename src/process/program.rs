//! The last steps of a process on its way into the container's program, the same for init and for exec: who it is, what it may, where
//! it stands; then the execve.

use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::plan::capabilities::Caps;
use crate::plan::process::{Process, Rlimit};
use crate::plan::seccomp::{Before, Seccomp};
use crate::security;
use crate::sys::path::Node;
use crate::sys::proc::Proc;
use crate::sys::process::{self, CStrings};
use crate::sys::{CallError, Errno, cred, file, keyring, path, schedule, signal, tty};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A program that the process has become ready to execute.
#[derive(Debug)]
pub struct Program<'a> {
    filter: Option<&'a Seccomp>,
    /// The capabilities to come down to, if it takes more to install the filter.
    caps: Option<&'a Caps>,
    path: CString,
    args: CStrings,
    env: CStrings,
    preserve_fds: u32,
}

impl<'a> Program<'a> {
    /// Turns the process, which stands in the container's root, into what config.json says of it, up to the execve itself. A filter
    /// that has a listener comes into force here, and its notification descriptor comes back. `proc` is there if a security module has
    /// to be told of it.
    pub fn prepare(
        plan: &'a Process,
        filter: Option<&'a Seccomp>,
        host: &Host,
        ignored_signals: u64,
        proc: Option<Proc>,
    ) -> Result<(Self, Option<OwnedFd>)> {
        if let Some(persona) = plan.personality {
            process::set_personality(persona).field(|| "linux.personality".into())?;
        }
        if let Some(policy) = &plan.memory_policy {
            schedule::set_memory_policy(policy.mode, &policy.nodes)
                .hint(|| "are all of these nodes in linux.resources.cpu.mems, and is the mode known to this kernel?".into())
                .field(|| "linux.memoryPolicy".into())?;
        }
        if let Some(proc) = proc {
            // Before no_new_privs, with which a module lets a program only lose rights.
            security::lsm::label_program(plan, &proc)?;
        }
        let root = file::open_dir(Path::new("/"))?;
        let mut env = plan.env.clone();
        if plan.home_unset {
            env.push(home(root.as_fd(), plan.uid));
        }
        let entered = enter_cwd(root.as_fd(), &plan.cwd);
        give_stdio(plan.uid)?;
        plan.rlimits.iter().try_for_each(|limit| set_rlimit(0, limit, limit.soft, limit.hard))?;
        process::set_umask(plan.umask.unwrap_or(0o022));
        set_groups(plan, host)?;
        security::caps::drop_bounding(&plan.caps, host.last_cap)
            .field(|| "process.capabilities.bounding".into())?;
        if plan.uid != 0 {
            cred::keep_capabilities(true)?;
        }
        cred::set_ids(plan.uid, plan.gid).field(|| "process.user".into())?;
        // The filter comes last: whatever came after it would need its leave. So what it takes to install it goes last, too.
        let privileged = filter.is_some_and(|filter| filter.privileged);
        let retained = if privileged { security::caps::SYS_ADMIN } else { 0 };
        security::caps::set(&plan.caps, retained, host.last_cap).field(|| "process.capabilities".into())?;
        match entered {
            // The directory may be one that only the user can enter, on a network file system or behind a user namespace.
            Err(error) if error.errno() == Some(Errno::EACCES) => enter_cwd(root.as_fd(), &plan.cwd)?,
            other => other?,
        }
        check_cwd(&plan.cwd)?;
        file::leave_open(root);
        if plan.no_new_privs {
            process::set_no_new_privs().field(|| "process.noNewPrivileges".into())?;
        }
        signal::reset(ignored_signals)?;
        let path = match plan.args.first() {
            Some(name) => find(name, plan.path.as_deref())?,
            None => CString::default(),
        };
        let args = CStrings::new(plan.args.clone());
        let caps = privileged.then_some(&plan.caps);
        let program =
            Program { filter, caps, path, args, env: CStrings::new(env), preserve_fds: plan.preserve_fds };
        let listener = security::seccomp::install(filter, Before::Ready)?;
        Ok((program, listener))
    }

    /// Its environment.
    pub fn env(&self) -> &[CString] {
        self.env.strings()
    }

    /// Executes the program. Every descriptor but the standard streams, the preserved ones and `report` is closed before, not by the
    /// execve: else the program could be reached through one of them (CVE-2024-21626). `report` is closed by the execve, which tells
    /// whoever holds its other end. Comes back only with an error.
    pub fn execute(self, report: BorrowedFd) -> Error {
        let filtered = self
            .close_others(report)
            .and_then(|()| security::seccomp::install(self.filter, Before::Exec))
            .and_then(|_| self.caps.map_or(Ok(()), |caps| security::caps::set_all_but_ambient(caps, 0)));
        if let Err(error) = filtered {
            return error;
        }
        let error = process::execve(&self.path, &self.args, &self.env);
        let name = self.path.to_string_lossy().into_owned();
        let hint = match error.errno {
            Errno::ENOENT => {
                Some("the file is there: is the interpreter or dynamic loader that it names missing?")
            }
            Errno::ENOEXEC => Some("not an executable of this architecture, and without a #! line"),
            _ => None,
        };
        let what = format!("exec {name}: {}", error.errno.text());
        let error = Error::new(what).field("process.args[0]");
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn close_others(&self, report: BorrowedFd) -> Result<()> {
        let first_other = 3u32.saturating_add(self.preserve_fds);
        for number in 3..first_other {
            let number = RawFd::try_from(number).map_err(|_| Error::new("--preserve-fds: too many"))?;
            file::keep_on_exec(number)?;
        }
        Ok(file::close_others(first_other, &[report])?)
    }
}

/// Takes a session keyring of the container's own instead of the caller's.
pub fn join_keyring(plan: &Process, proc: Option<&Proc>) -> Result<()> {
    let Some(name) = &plan.keyring else { return Ok(()) };
    if let Some(proc) = proc {
        security::lsm::label_keyring(plan, proc)?;
    }
    Ok(keyring::join_session(name)?)
}

/// A copy of a descriptor that does not lie among those that the program keeps; none where it does not anyway.
pub fn beyond_preserved(fd: BorrowedFd, preserve_fds: u32) -> Result<Option<OwnedFd>> {
    let least = RawFd::try_from(preserve_fds).ok().and_then(|n| n.checked_add(3));
    let least = least.ok_or_else(|| Error::new("--preserve-fds: too many"))?;
    if fd.as_raw_fd() >= least { Ok(None) } else { Ok(Some(file::dup_above(fd, least)?)) }
}

/// The home directory that `/etc/passwd` of the container gives a user, or `/`. The file is the container's: it is read only if it is a
/// regular one, and no further than 1 MiB (CVE-2026-47262).
fn home(root: BorrowedFd, uid: u32) -> CString {
    let passwd = path::open_file(root, Path::new("etc/passwd")).and_then(|fd| file::read(fd, 1 << 20).ok());
    let passwd = passwd.unwrap_or_default();
    let entry = |line: &[u8]| {
        let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
        let id: u32 = std::str::from_utf8(fields.get(2)?).ok()?.parse().ok()?;
        let home = fields.get(5).filter(|home| home.first() == Some(&b'/'))?;
        (id == uid).then(|| home.to_vec())
    };
    let home = passwd.split(|byte| *byte == b'\n').find_map(entry).unwrap_or_else(|| b"/".to_vec());
    CString::new([b"HOME=", &home[..]].concat()).unwrap_or_else(|_| c"HOME=/".to_owned())
}

/// Stands in a directory of the container, reached without magic links: `/proc/self/fd/N` leads nowhere (CVE-2024-21626).
fn enter_cwd(root: BorrowedFd, cwd: &Path) -> Result<()> {
    let inside = cwd.strip_prefix("/").unwrap_or(cwd);
    if inside.as_os_str().is_empty() {
        // There it stands already, whether it has come by a pivot or by joining.
        return Ok(());
    }
    let dir = path::resolve_dir(root, inside).field(|| "process.cwd".into())?;
    process::change_dir(dir.as_fd()).doing(|| format!("{}", cwd.display())).field(|| "process.cwd".into())
}

fn check_cwd(cwd: &Path) -> Result<()> {
    if cwd == Path::new("/") {
        return Ok(());
    }
    let here = process::current_dir();
    if here.as_ref().is_ok_and(|here| here.is_absolute()) {
        return Ok(());
    }
    Err(Error::new(format!("{} is not inside the container's root", cwd.display())).field("process.cwd"))
}

/// Gives the standard streams to the user, so that programs can open `/dev/stdout` again. What is not ours to give stays, and so does
/// a device that is no terminal: it is the host's, and all others who use it see its owner, too.
fn give_stdio(uid: u32) -> Result<()> {
    for stream in file::stdio() {
        // A closed stream has nobody to give it to.
        let Ok(stat) = file::stat(stream) else { continue };
        let is_device = matches!(stat.node(), Some(Node::Char | Node::Block));
        if stat.uid == uid || (is_device && !tty::is_terminal(stream)) {
            continue;
        }
        match file::set_owner(stream, uid, None) {
            Err(CallError { errno: Errno::EINVAL | Errno::EPERM | Errno::EROFS, .. }) | Ok(()) => {}
            Err(error) => return Err(Error::from(error).doing("give the standard streams to the user")),
        }
    }
    Ok(())
}

/// Sets one limit of a process; 0 is the process itself.
pub fn set_rlimit(pid: i32, limit: &Rlimit, soft: u64, hard: u64) -> Result<()> {
    process::set_rlimit(pid, limit.resource, soft, hard)
        .map_err(|error| {
            let now = process::rlimit(limit.resource).map_or(0, |(_, hard)| hard);
            let hint = format!("this host's hard limit is {now}, and raising it needs CAP_SYS_RESOURCE");
            Error::from(error).hint(hint)
        })
        .doing(|| limit.name.to_owned())
        .field(|| limit.field.clone())
}

fn set_groups(plan: &Process, host: &Host) -> Result<()> {
    if plan.keep_groups {
        return Ok(());
    }
    match cred::set_groups(&plan.groups) {
        // A user who maps only himself can't drop groups, or he could get around files that a group is barred from.
        Err(error) if error.errno == Errno::EPERM && plan.groups.is_empty() && !host.can_mount => Ok(()),
        other => other.field(|| "process.user.additionalGids".into()),
    }
}

/// The file that `args[0]` names, looked up in the container's `PATH` with the rights of its user.
fn find(name: &CStr, search: Option<&str>) -> Result<CString> {
    let shown = name.to_string_lossy();
    let fail = |what: String| Error::new(format!("exec: {shown:?}: {what}")).field("process.args[0]");
    if name.to_bytes().contains(&b'/') {
        return match executable(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => {
                Err(fail(format!("stat {shown}: {}", errno.text())))
            }
            // Engines take the second half for exit code 126.
            Err(Errno::EISDIR) => Err(fail("is a directory: permission denied".into())),
            Err(errno) => Err(fail(errno.text())),
        };
    }
    let candidates = search.unwrap_or_default().split(':').filter_map(|dir| {
        let dir = if dir.is_empty() { "." } else { dir };
        CString::new(Path::new(dir).join(std::ffi::OsStr::from_bytes(name.to_bytes())).as_os_str().as_bytes())
            .ok()
    });
    let found = candidates.into_iter().find(|candidate| executable(candidate).is_ok());
    let hint = || format!("PATH is {:?}", search.unwrap_or_default());
    found.ok_or_else(|| fail("executable file not found in $PATH".into()).hint(hint()))
}

fn executable(path: &CStr) -> std::result::Result<(), Errno> {
    match process::is_regular(path) {
        Ok(true) => process::may_execute(path).map_err(|error| error.errno),
        Ok(false) => Err(Errno::EISDIR),
        Err(error) => Err(error.errno),
    }
}
