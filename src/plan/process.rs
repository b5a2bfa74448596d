//! A process of the container: its own one from config.json, and those of `exec`.

use super::Options;
use super::annotations;
use super::capabilities::Caps;
use super::schedule::{self, ExecAffinity, MemoryPolicy};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::spec;
use crate::sys::schedule::Attributes;
use oci_spec::runtime::{Linux, LinuxPersonality, LinuxPersonalityDomain, PosixRlimit, PosixRlimitType};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// A process, ready to be executed.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its arguments, of which the first names the program; there are none where config.json has no process.
    pub args: Vec<CString>,
    /// Its environment; names are unique.
    pub env: Vec<CString>,
    /// `PATH` of its environment, which the program is looked up in.
    pub path: Option<String>,
    /// `HOME` is not in its environment, and is to be set from the container's user database.
    pub home_unset: bool,
    /// Its working directory inside the container, absolute.
    pub cwd: PathBuf,
    /// User id in the container's user namespace.
    pub uid: u32,
    /// Group id, likewise.
    pub gid: u32,
    /// All of its supplementary groups.
    pub groups: Vec<u32>,
    /// It keeps the caller's groups instead.
    pub keep_groups: bool,
    /// File mode creation mask; `None` is 0022.
    pub umask: Option<u32>,
    /// Its capabilities.
    pub caps: Caps,
    /// Its resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Executing a program can't gain privileges.
    pub no_new_privs: bool,
    /// How ready the kernel is to kill it when memory runs out: -1000 to 1000; `None` keeps the caller's.
    pub oom_score_adj: Option<i32>,
    /// It has a terminal of its own.
    pub terminal: bool,
    /// Size of the terminal: rows, columns.
    pub console_size: Option<(u16, u16)>,
    /// Its terminal leaves the ends of lines to that of the caller, to which the bytes go on.
    pub passed_through: bool,
    /// Name of the session keyring made for it; `None` keeps the caller's keyring.
    pub keyring: Option<String>,
    /// How many file descriptors after 2 it inherits.
    pub preserve_fds: u32,
    /// How its turns on a CPU are scheduled; `None` keeps the caller's way.
    pub scheduler: Option<Attributes>,
    /// Its rank in disk access, as ioprio_set(2) takes it; `None` keeps the caller's.
    pub io_priority: Option<u32>,
    /// Its CPUs, if `exec` makes it.
    pub exec_affinity: Option<ExecAffinity>,
    /// The execution domain: the argument of [personality(2)](https://man7.org/linux/man-pages/man2/personality.2.html).
    pub personality: Option<u64>,
    /// Where its memory is taken from.
    pub memory_policy: Option<MemoryPolicy>,
    /// The AppArmor profile of its program.
    pub apparmor: Option<String>,
    /// The SELinux label of its program.
    pub selinux: Option<String>,
}

/// A resource limit ([setrlimit(2)](https://man7.org/linux/man-pages/man2/setrlimit.2.html)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// Its number.
    pub resource: u32,
    /// Its name: `RLIMIT_NOFILE`.
    pub name: &'static str,
    /// What the kernel enforces; `u64::MAX` is unlimited.
    pub soft: u64,
    /// How far an unprivileged process can raise it.
    pub hard: u64,
    /// `process.rlimits[0]`
    pub field: String,
}

/// Where the container finds the socket of [`Options::notify`].
pub const NOTIFY_SOCKET: &str = "/run/notify/notify.sock";

impl Process {
    /// Checks `process` of config.json, or the process that `exec` adds.
    pub fn new(
        given: &spec::Process,
        host: &Host,
        options: &Options,
        warnings: &mut Vec<String>,
    ) -> Result<Process> {
        check_terminal(given.terminal, options)?;
        let env = environment(given, options)?;
        let user = &given.user;
        Ok(Process {
            args: arguments(&given.args)?,
            path: env.iter().find_map(|variable| variable.strip_prefix("PATH=")).map(str::to_owned),
            home_unset: !env.iter().any(|variable| variable.starts_with("HOME=")),
            env: c_strings(&env, "process.env")?,
            cwd: cwd(&given.cwd)?,
            uid: id(user.uid(), || "process.user.uid".into())?,
            gid: id(user.gid(), || "process.user.gid".into())?,
            groups: groups(user.additional_gids().as_deref().unwrap_or_default())?,
            keep_groups: false,
            umask: user.umask().map(umask).transpose()?,
            caps: Caps::new(given.capabilities.as_ref(), host.last_cap, warnings)?,
            rlimits: rlimits(&given.rlimits)?,
            no_new_privs: given.no_new_privileges,
            oom_score_adj: given.oom_score_adj.map(oom_score_adj).transpose()?,
            terminal: given.terminal,
            console_size: console_size(given)?,
            passed_through: false,
            keyring: (!options.no_new_keyring).then(|| format!("_ses.{}", options.id)),
            preserve_fds: options.preserve_fds.saturating_add(options.listen_fds),
            scheduler: given.scheduler.as_ref().map(schedule::scheduler).transpose()?,
            io_priority: given.io_priority.as_ref().map(schedule::io_priority).transpose()?,
            exec_affinity: match &given.exec_cpu_affinity {
                Some(given) => schedule::exec_affinity(given)?,
                None => None,
            },
            personality: None,
            memory_policy: None,
            apparmor: label(&given.apparmor_profile, "process.apparmorProfile")?,
            selinux: label(&given.selinux_label, "process.selinuxLabel")?,
        })
    }

    /// What waits for `start` where config.json has no `process`: that "is REQUIRED when start is called" (config.md), not before, and
    /// start "MUST generate an error if process was not set" (runtime.md).
    pub fn unset(host: &Host, options: &Options) -> Result<Process> {
        let given = spec::Process { args: vec![String::new()], cwd: "/".into(), ..spec::Process::default() };
        let process = Process::new(&given, host, options, &mut Vec::new())?;
        Ok(Process { args: Vec::new(), ..process })
    }

    /// Takes over what config.json says of all processes of the container.
    pub fn adopt(&mut self, linux: &Linux, annotations: &BTreeMap<String, String>) -> Result<()> {
        self.keep_groups = annotations.contains_key(annotations::KEEP_GROUPS);
        self.personality = linux.personality().as_ref().map(personality).transpose()?;
        self.memory_policy = linux.memory_policy().as_ref().map(schedule::memory_policy).transpose()?;
        Ok(())
    }

    /// Whether a security module is to be told what its program is.
    pub fn is_labelled(&self) -> bool {
        self.apparmor.is_some() || self.selinux.is_some()
    }
}

/// Somebody has to hold the other end of the terminal: whoever listens on the console socket, or the runtime
/// while it waits for the process.
fn check_terminal(terminal: bool, options: &Options) -> Result<()> {
    if terminal && options.detach && !options.console_socket {
        let error = Error::new("cannot allocate tty if orlop will detach without setting console socket");
        return Err(error.field("process.terminal").hint("give --console-socket"));
    }
    if options.console_socket && !(terminal && options.detach) {
        let error = Error::new("cannot use console socket if orlop will not detach or allocate tty");
        return Err(error.field("process.terminal"));
    }
    Ok(())
}

/// "args (array of strings, REQUIRED) [...] at least one entry".
fn arguments(args: &[String]) -> Result<Vec<CString>> {
    if args.is_empty() {
        return Err(Error::new("missing: the program to run").field("process.args"));
    }
    c_strings(args, "process.args")
}

fn c_strings<T: AsRef<str>>(texts: &[T], field: &str) -> Result<Vec<CString>> {
    let c_string = |(i, text): (usize, &T)| {
        CString::new(text.as_ref())
            .map_err(|_| Error::new("contains a NUL character").field(format!("{field}[{i}]")))
    };
    texts.iter().enumerate().map(c_string).collect()
}

/// The environment: of several variables of one name the last one, as a shell would have it; an empty `HOME`
/// is none; and what passes sockets on.
fn environment(given: &spec::Process, options: &Options) -> Result<Vec<String>> {
    let mut env: Vec<String> = Vec::with_capacity(given.env.len());
    for (i, variable) in given.env.iter().enumerate() {
        let name = match variable.split_once('=') {
            Some((name, _)) if !name.is_empty() => name,
            _ => {
                let error = Error::new(format!("{variable:?} is not of the form NAME=VALUE"));
                return Err(error.field(format!("process.env[{i}]")));
            }
        };
        put(&mut env, name, variable.clone());
    }
    env.retain(|variable| variable != "HOME=");
    if options.listen_fds > 0 {
        put(&mut env, "LISTEN_FDS", format!("LISTEN_FDS={}", options.listen_fds));
        put(&mut env, "LISTEN_PID", "LISTEN_PID=1".to_owned());
    }
    if options.notify.is_some() {
        put(&mut env, "NOTIFY_SOCKET", format!("NOTIFY_SOCKET={NOTIFY_SOCKET}"));
    }
    Ok(env)
}

fn put(env: &mut Vec<String>, name: &str, variable: String) {
    env.retain(|earlier| earlier.strip_prefix(name).is_none_or(|rest| !rest.starts_with('=')));
    env.push(variable);
}

/// "cwd (string, REQUIRED) is the working directory that will be set for the executable. This value MUST be
/// an absolute path."
fn cwd(given: &str) -> Result<PathBuf> {
    match given {
        "" => Err(Error::new("missing").field("process.cwd")),
        path if !path.starts_with('/') => {
            Err(Error::new(format!("{path:?} is not an absolute path")).field("process.cwd"))
        }
        path => Ok(Path::new(path).to_owned()),
    }
}

/// The largest number is no id: to setresuid(2) it means "leave as it is", which would be root.
fn id(id: u32, field: impl Fn() -> String) -> Result<u32> {
    match id {
        u32::MAX => Err(Error::new(format!("{id} is not an id")).field(field())),
        id => Ok(id),
    }
}

fn groups(given: &[u32]) -> Result<Vec<u32>> {
    let group = |(i, gid): (usize, &u32)| id(*gid, || format!("process.user.additionalGids[{i}]"));
    given.iter().enumerate().map(group).collect()
}

fn umask(mask: u32) -> Result<u32> {
    match mask {
        0..=0o777 => Ok(mask),
        _ => Err(Error::new(format!("{mask} is not from 0 to 511 (0777)")).field("process.user.umask")),
    }
}

fn oom_score_adj(value: i32) -> Result<i32> {
    match value {
        -1000..=1000 => Ok(value),
        _ => Err(Error::new(format!("{value} is not from -1000 to 1000")).field("process.oomScoreAdj")),
    }
}

/// A size of nothing is what callers write who know none.
fn console_size(given: &spec::Process) -> Result<Option<(u16, u16)>> {
    let Some(size) = given.console_size.filter(|size| size.height() != 0 || size.width() != 0) else {
        return Ok(None);
    };
    let side = |name: &str, value: u64| {
        u16::try_from(value)
            .map_err(|_| Error::new(format!("{value} is more than 65535")))
            .field(|| format!("process.consoleSize.{name}"))
    };
    Ok(Some((side("height", size.height())?, side("width", size.width())?)))
}

/// A security module reads the name as one line of one file; an empty one is none.
fn label(given: &Option<String>, field: &str) -> Result<Option<String>> {
    let label = given.as_ref().filter(|label| !label.is_empty());
    match label {
        Some(label) if label.contains(char::is_control) => {
            Err(Error::new("contains a control character").field(field))
        }
        label => Ok(label.cloned()),
    }
}

/// "domain (string, REQUIRED) - the execution domain"; "flags [...] currently no flag values are supported".
fn personality(personality: &LinuxPersonality) -> Result<u64> {
    if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(Error::new("the runtime-spec has none yet").field("linux.personality.flags"));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// The resources by number: those of asm-generic, which all processors but Alpha, MIPS and SPARC have.
const RESOURCES: [(PosixRlimitType, &str); 16] = [
    (PosixRlimitType::RlimitCpu, "RLIMIT_CPU"),
    (PosixRlimitType::RlimitFsize, "RLIMIT_FSIZE"),
    (PosixRlimitType::RlimitData, "RLIMIT_DATA"),
    (PosixRlimitType::RlimitStack, "RLIMIT_STACK"),
    (PosixRlimitType::RlimitCore, "RLIMIT_CORE"),
    (PosixRlimitType::RlimitRss, "RLIMIT_RSS"),
    (PosixRlimitType::RlimitNproc, "RLIMIT_NPROC"),
    (PosixRlimitType::RlimitNofile, "RLIMIT_NOFILE"),
    (PosixRlimitType::RlimitMemlock, "RLIMIT_MEMLOCK"),
    (PosixRlimitType::RlimitAs, "RLIMIT_AS"),
    (PosixRlimitType::RlimitLocks, "RLIMIT_LOCKS"),
    (PosixRlimitType::RlimitSigpending, "RLIMIT_SIGPENDING"),
    (PosixRlimitType::RlimitMsgqueue, "RLIMIT_MSGQUEUE"),
    (PosixRlimitType::RlimitNice, "RLIMIT_NICE"),
    (PosixRlimitType::RlimitRtprio, "RLIMIT_RTPRIO"),
    (PosixRlimitType::RlimitRttime, "RLIMIT_RTTIME"),
];

/// "If rlimits contains duplicated entries with same type, the runtime MUST generate an error."
fn rlimits(given: &[PosixRlimit]) -> Result<Vec<Rlimit>> {
    let mut limits: Vec<Rlimit> = Vec::with_capacity(given.len());
    for (i, limit) in given.iter().enumerate() {
        let field = format!("process.rlimits[{i}]");
        let (soft, hard) = (limit.soft(), limit.hard());
        for (resource, (_, name)) in (0..).zip(RESOURCES).filter(|(_, (kind, _))| *kind == limit.typ()) {
            if limits.iter().any(|earlier| earlier.resource == resource) {
                return Err(Error::new(format!("a second {name}")).field(field + ".type"));
            }
            if soft > hard {
                let what = format!("the soft limit {soft} of {name} is above the hard limit {hard}");
                return Err(Error::new(what).field(field + ".soft"));
            }
            limits.push(Rlimit { resource, name, soft, hard, field: field.clone() });
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HOST: Host = Host { euid: 0, in_userns: false, can_mount: true, last_cap: 40, permitted: u64::MAX };

    /// A process of these fields and those that it must have.
    fn process(fields: Value, options: &Options) -> Result<Process> {
        let mut json = json!({"args": ["sh"], "cwd": "/"});
        for (name, value) in fields.as_object().unwrap() {
            json[name] = value.clone();
        }
        Process::new(&serde_json::from_value(json).unwrap(), &HOST, options, &mut Vec::new())
    }

    fn error(fields: Value) -> String {
        process(fields, &Options::default()).unwrap_err().to_string()
    }

    fn env(process: &Process) -> Vec<&str> {
        process.env.iter().map(|variable| variable.to_str().unwrap()).collect()
    }

    #[test]
    fn defaults() {
        let options = Options { id: "web".into(), preserve_fds: 1, ..Options::default() };
        let process = process(json!({}), &options).unwrap();
        assert_eq!((process.uid, process.gid, process.umask, process.caps), (0, 0, None, Caps::default()));
        assert_eq!(process.keyring.as_deref(), Some("_ses.web"));
        assert_eq!((process.preserve_fds, process.no_new_privs), (1, false));
        assert!(process.home_unset && process.path.is_none() && process.env.is_empty());
    }

    #[test]
    fn environment_has_each_name_once() {
        let fields = json!({"env": ["PATH=/a", "HOME=", "X=1", "XY=2", "PATH=/b", "X="]});
        let process = process(fields, &Options::default()).unwrap();
        assert_eq!(env(&process), ["XY=2", "PATH=/b", "X="]);
        assert_eq!(process.path.as_deref(), Some("/b"));
        assert!(process.home_unset);
    }

    #[test]
    fn sockets_are_passed_on() {
        let options = Options {
            listen_fds: 2,
            preserve_fds: 3,
            notify: Some("/run/x".into()),
            no_new_keyring: true,
            ..Options::default()
        };
        let process = process(json!({"env": ["LISTEN_PID=77", "HOME=/r"]}), &options).unwrap();
        assert_eq!(
            env(&process),
            ["HOME=/r", "LISTEN_FDS=2", "LISTEN_PID=1", "NOTIFY_SOCKET=/run/notify/notify.sock"]
        );
        assert_eq!((process.preserve_fds, process.keyring, process.home_unset), (5, None, false));
    }

    #[test]
    fn user_limits_and_terminal() {
        let fields = json!({
            "user": {"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 18},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}, {"type": "RLIMIT_RTTIME", "soft": 1, "hard": 1}],
            "terminal": true, "consoleSize": {"height": 24, "width": 80}, "oomScoreAdj": -1000,
        });
        let process = process(fields, &Options::default()).unwrap();
        assert_eq!((process.uid, process.gid, process.umask), (7, 8, Some(0o22)));
        assert_eq!(process.groups, [9, 10]);
        let limits: Vec<_> = process.rlimits.iter().map(|l| (l.resource, l.name, l.soft, l.hard)).collect();
        assert_eq!(limits, [(7, "RLIMIT_NOFILE", 5, 6), (15, "RLIMIT_RTTIME", 1, 1)]);
        assert_eq!((process.console_size, process.oom_score_adj), (Some((24, 80)), Some(-1000)));
    }

    #[test]
    fn bad_values_name_their_field() {
        for (fields, text) in [
            (json!({"args": []}), "process.args: missing: the program to run"),
            (json!({"args": ["a", "b\0"]}), "process.args[1]: contains a NUL character"),
            (json!({"env": ["A=1", "B"]}), "process.env[1]: \"B\" is not of the form NAME=VALUE"),
            (json!({"env": ["=1"]}), "process.env[0]: \"=1\" is not of the form NAME=VALUE"),
            (json!({"env": ["A=\0"]}), "process.env[0]: contains a NUL character"),
            (json!({"cwd": ""}), "process.cwd: missing"),
            (json!({"cwd": "a"}), "process.cwd: \"a\" is not an absolute path"),
            (json!({"user": {"uid": u32::MAX}}), "process.user.uid: 4294967295 is not an id"),
            (json!({"user": {"gid": u32::MAX}}), "process.user.gid: 4294967295 is not an id"),
            (
                json!({"user": {"additionalGids": [1, u32::MAX]}}),
                "process.user.additionalGids[1]: 4294967295 is not an id",
            ),
            (json!({"user": {"umask": 512}}), "process.user.umask: 512 is not from 0 to 511 (0777)"),
            (json!({"oomScoreAdj": 1001}), "process.oomScoreAdj: 1001 is not from -1000 to 1000"),
            (
                json!({"consoleSize": {"height": 1, "width": 65536}}),
                "process.consoleSize.width: 65536 is more than 65535",
            ),
            (
                json!({"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]}),
                "process.rlimits[0].soft: the soft limit 2 of RLIMIT_CORE is above the hard limit 1",
            ),
            (
                json!({"rlimits": [{"type": "RLIMIT_CORE"}, {"type": "RLIMIT_CORE"}]}),
                "process.rlimits[1].type: a second RLIMIT_CORE",
            ),
            (json!({"apparmorProfile": "a\nb"}), "process.apparmorProfile: contains a control character"),
            (json!({"selinuxLabel": "a\0"}), "process.selinuxLabel: contains a control character"),
        ] {
            assert_eq!(error(fields), text);
        }
        let empty = json!({"selinuxLabel": "", "apparmorProfile": "", "execCPUAffinity": {}});
        let process = process(empty, &Options::default()).unwrap();
        assert!(!process.is_labelled() && process.exec_affinity.is_none());
    }

    #[test]
    fn somebody_holds_the_terminal() {
        let without = "process.terminal: cannot allocate tty if orlop will detach without setting console socket (give --console-socket)";
        let idle = "process.terminal: cannot use console socket if orlop will not detach or allocate tty";
        for (terminal, detach, console_socket, text) in [
            (false, false, false, None),
            (false, true, false, None),
            (true, false, false, None),
            (true, true, true, None),
            (true, true, false, Some(without)),
            (true, false, true, Some(idle)),
            (false, true, true, Some(idle)),
        ] {
            let options = Options { detach, console_socket, ..Options::default() };
            let result = process(json!({"terminal": terminal}), &options);
            assert_eq!(result.err().map(|error| error.to_string()).as_deref(), text);
        }
    }
}
