//! Attributes of the process itself, and the step into another program.

use super::{CallError, Called, Errno, Result, check};
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

fn prctl(what: &str, option: i32, value: u64) -> Result<()> {
    // SAFETY: the options used here take numbers only.
    let ret = unsafe { libc::syscall(libc::SYS_prctl, option, value, 0, 0, 0) };
    check(ret).map(drop).called(|| format!("prctl({what}, {value})"))
}

/// The process is killed when the one that made it ends; or no longer, with `false`.
/// [PR_SET_PDEATHSIG(2const)](https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html)
pub fn die_with_parent(die: bool) -> Result<()> {
    let signal = if die { libc::SIGKILL.unsigned_abs().into() } else { 0 };
    prctl("PR_SET_PDEATHSIG", libc::PR_SET_PDEATHSIG, signal)
}

/// Nobody but root of the user namespace that owns the program may trace the process or look into its `/proc` entries.
/// [PR_SET_DUMPABLE(2const)](https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html)
pub fn hide_from_tracers() -> Result<()> {
    prctl("PR_SET_DUMPABLE", libc::PR_SET_DUMPABLE, 0)
}

/// No execve gives privileges any more. It can't be undone.
/// [PR_SET_NO_NEW_PRIVS(2const)](https://man7.org/linux/man-pages/man2/PR_SET_NO_NEW_PRIVS.2const.html)
pub fn set_no_new_privs() -> Result<()> {
    prctl("PR_SET_NO_NEW_PRIVS", libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Orphans among the descendants become children of this process.
/// [PR_SET_CHILD_SUBREAPER(2const)](https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html)
pub fn become_subreaper() -> Result<()> {
    prctl("PR_SET_CHILD_SUBREAPER", libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// `personality(persona)`: [personality(2)](https://man7.org/linux/man-pages/man2/personality.2.html)
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: takes one number.
    let ret = unsafe { libc::syscall(libc::SYS_personality, persona) };
    check(ret).map(drop).called(|| format!("personality({persona:#x})"))
}

/// `sethostname(name)`
pub fn set_hostname(name: &str) -> Result<()> {
    nix::unistd::sethostname(name).called(|| format!("sethostname({name:?})"))
}

/// `setdomainname(name)`: the NIS domain name.
/// [setdomainname(2)](https://man7.org/linux/man-pages/man2/setdomainname.2.html)
pub fn set_domainname(name: &str) -> Result<()> {
    // SAFETY: the pointer and length describe the string, which outlives the call.
    let ret = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    check(ret.into()).map(drop).called(|| format!("setdomainname({name:?})"))
}

/// `umask(mask)`
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// `kill(-group, signal)`: to all processes of a process group, which the caller has made and not yet reaped.
pub fn kill_group(group: u32, signal: i32) {
    if let Ok(group) = i32::try_from(group)
        && group > 1
    {
        // SAFETY: takes two numbers. A group that is gone already needs no signal.
        unsafe { libc::kill(-group, signal) };
    }
}

/// `setsid()`: the process leads a session of its own, without a controlling terminal.
pub fn new_session() -> Result<()> {
    nix::unistd::setsid().map(drop).called(|| "setsid()".into())
}

/// `getpid()`: the id in the pid namespace that the process is in.
pub fn id() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// `setrlimit(resource, {soft, hard})`, of this process or of process `pid`.
/// [prlimit(2)](https://man7.org/linux/man-pages/man2/prlimit.2.html)
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let new = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the new limit is read during the call only; the pointer for the old one is null.
    let ret = unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const new, std::ptr::null::<libc::rlimit64>())
    };
    check(ret).map(drop).called(|| format!("prlimit({pid}, {resource}, soft {soft}, hard {hard})"))
}

/// The soft and hard limit of this process.
pub fn rlimit(resource: u32) -> Result<(u64, u64)> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the old limit is written during the call only; the pointer for a new one is null.
    let ret = unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, std::ptr::null::<libc::rlimit64>(), &raw mut old)
    };
    check(ret).map(|_| (old.rlim_cur, old.rlim_max)).called(|| format!("prlimit(0, {resource})"))
}

/// Room for many open files: while it exists, the soft limit is the hard one.
#[derive(Debug)]
pub struct ManyFiles {
    before: u64,
}

/// A process may have this many files open on every host.
const ALWAYS: usize = 1024;

impl ManyFiles {
    /// Makes room for `count` descriptors and those that the process has anyway. Nothing is asked of the kernel for few.
    pub fn allow(count: usize) -> Result<Option<Self>> {
        if count < ALWAYS / 2 {
            return Ok(None);
        }
        let (before, hard) = rlimit(libc::RLIMIT_NOFILE)?;
        if u64::try_from(count + ALWAYS / 2).unwrap_or(u64::MAX) > hard {
            return Err(Errno::EMFILE)
                .called(|| format!("{count} files open at once, the hard limit is {hard}"));
        }
        set_rlimit(0, libc::RLIMIT_NOFILE, hard, hard)?;
        Ok(Some(ManyFiles { before }))
    }
}

impl Drop for ManyFiles {
    fn drop(&mut self) {
        // The hard limit may have been raised meanwhile; only the soft one is given back.
        if let Ok((_, hard)) = rlimit(libc::RLIMIT_NOFILE) {
            let _ = set_rlimit(0, libc::RLIMIT_NOFILE, self.before, hard);
        }
    }
}

/// `fchdir(dir)`
pub fn change_dir(dir: BorrowedFd) -> Result<()> {
    rustix::process::fchdir(dir).called(|| format!("fchdir({})", super::file::shown(dir)))
}

/// `chroot(".")`
pub fn chroot_here() -> Result<()> {
    rustix::process::chroot(c".").called(|| "chroot(\".\")".into())
}

/// `getcwd()`; it is relative, beginning with `(unreachable)`, where the directory lies outside of the root.
/// [getcwd(2)](https://man7.org/linux/man-pages/man2/getcwd.2.html)
pub fn current_dir() -> Result<PathBuf> {
    let path = rustix::process::getcwd(Vec::new()).called(|| "getcwd()".into())?;
    Ok(PathBuf::from(std::ffi::OsString::from(String::from_utf8_lossy(path.as_bytes()).into_owned())))
}

/// Whether the effective ids may execute a file: `faccessat(path, X_OK, AT_EACCESS)`, which glibc does by `faccessat2` (since Linux 5.8).
pub fn may_execute(path: &CStr) -> Result<()> {
    // SAFETY: the path is a C string that outlives the call.
    let ret = unsafe {
        libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS)
    };
    check(ret).map(drop).called(|| format!("faccessat2({path:?}, X_OK)"))
}

/// Whether a path of the process's own root is a regular file; a symbolic link is followed.
pub fn is_regular(path: &CStr) -> Result<bool> {
    let stat = rustix::fs::stat(path).called(|| format!("stat({path:?})"))?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile)
}

/// Argument or environment vector of a program, ready for execve.
#[derive(Debug)]
pub struct CStrings {
    strings: Vec<CString>,
}

impl CStrings {
    /// Takes the strings.
    pub fn new(strings: Vec<CString>) -> Self {
        CStrings { strings }
    }

    /// The strings.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        self.strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    }
}

/// `execve(path, args, env)`: returns only when it has failed.
/// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html)
pub fn execve(path: &CStr, args: &CStrings, env: &CStrings) -> CallError {
    let (argv, envp) = (args.pointers(), env.pointers());
    // SAFETY: both vectors end with a null pointer, and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    CallError { call: format!("execve({path:?})"), errno: Errno(nix::errno::Errno::last_raw()) }
}

/// Ends the process at once, without running what the program it was cloned from has to do at its end.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory of the process.
    unsafe { libc::_exit(code) }
}
