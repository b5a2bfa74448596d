//! orlop turns an OCI bundle into a running container and steps out of the way.
//!
//! Start reading at `container/create.rs`, which tells the story of a container's beginning, and at ARCHITECTURE.md.

#![deny(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod cgroup;
mod cli;
mod commands;
mod container;
mod error;
mod host;
mod log;
mod net;
mod plan;
mod process;
mod rdt;
mod rootfs;
mod seccomp;
mod security;
mod spec;
mod sys;
mod time;

use clap::error::{ContextKind, ErrorKind};
use cli::{Command, Mounts};
use error::{Context, Error, Result};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use sys::entry::Arguments;
use sys::{Errno, cred, file, mount};

/// What `exec` exits with when it could not run the program, to be told from the program's own codes.
const EXEC_FAILED: u8 = 255;

/// What runc exits with when it does not know the command.
const UNKNOWN_COMMAND: u8 = 3;

sys::entry::entry!(run);

fn run(args: &Arguments) -> u8 {
    // Before anything else is opened: if it comes to executing a copy, all begins anew.
    if let Err(error) = seal_if_needed(args).doing(|| "protect the runtime's executable".into()) {
        return fail(&error, 1);
    }
    sys::entry::prepare();
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let inherited = inherit(&cli.command);
    let global = &cli.global;
    if let Err(error) = log::open(global.log.as_deref(), global.log_format.into(), global.debug) {
        return fail(&Error::new(format!("--log: {}", Errno::from(error))), 1);
    }
    let (verb, failure) = describe(&cli.command);
    match inherited.and_then(|()| commands::run(cli)).doing(|| verb) {
        Ok(code) => code,
        Err(error) => {
            log::line(log::Level::Error, &error.to_string());
            fail(&error, failure)
        }
    }
}

/// What the caller has left open must not reach a container (CVE-2024-21626), but for what it asks to pass on. Of that nothing may be
/// missing: a descriptor of the runtime's own would get the number, and into the container. So this comes before anything is opened.
fn inherit(command: &Command) -> Result<()> {
    let passed_on = match command {
        Command::Create(args) => args.preserve_fds.saturating_add(container::listen_fds()),
        Command::Run(args) => args.create.preserve_fds.saturating_add(container::listen_fds()),
        Command::Exec(args) => args.preserve_fds,
        _ => 0,
    };
    for number in 3..3i64.saturating_add(passed_on.into()) {
        if !i32::try_from(number).is_ok_and(file::is_open) {
            // The number as users of runc know it: how many come before.
            let what = format!("preserved-fd {}: descriptor {number} is not open", number - 3);
            return Err(
                Error::new(what).hint("--preserve-fds and LISTEN_FDS count the open descriptors from 3 on")
            );
        }
    }
    let first_other = 3u32.saturating_add(passed_on);
    // A process file of exec may be named by a descriptor, as the shell's <(...) does; what enters a container closes the rest itself.
    let cloexec = matches!(command, Command::Exec(_));
    if passed_on > 0 {
        file::close_range(3, first_other - 1, true)?;
    }
    Ok(file::close_range(first_other, u32::MAX, cloexec)?)
}

fn fail(error: &Error, code: u8) -> u8 {
    say(&format!("error: {error}\n"));
    code
}

/// The command as errors begin with it, and the exit code of its failure.
fn describe(command: &Command) -> (String, u8) {
    let (verb, id) = match command {
        Command::Create(args) => ("create", &args.id),
        Command::Run(args) => ("run", &args.create.id),
        Command::Exec(args) => return (format!("exec failed: {}", args.id), EXEC_FAILED),
        Command::Start(args) => ("start", &args.id),
        Command::State(args) => ("state", &args.id),
        Command::Kill(args) => ("kill", &args.id),
        Command::Delete(args) => ("delete", &args.id),
        Command::Ps(args) => ("ps", &args.id),
        Command::Pause(args) => ("pause", &args.id),
        Command::Resume(args) => ("resume", &args.id),
        Command::Events(args) => ("events", &args.id),
        Command::Update(args) => ("update", &args.id),
        Command::Mounts(Mounts::Add(args)) => ("mounts add", &args.id),
        Command::Mounts(Mounts::Remove(args)) => ("mounts remove", &args.id),
        Command::List(_) => return ("list".into(), 1),
        Command::Spec(_) => return ("spec".into(), 1),
        Command::Features => return ("features".into(), 1),
        Command::Seccomp(_) => return ("seccomp".into(), 1),
    };
    (format!("{verb} {id}"), 1)
}

/// Tells the caller. If nobody listens, the exit code still does.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Help goes to stdout and is no error; what can't be parsed is one line, in the log too.
fn usage(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            commands::print(&error.to_string());
            0
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            say(&error.to_string());
            1
        }
        kind => {
            let text = error.to_string();
            let first: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            // runc's words, by which callers know that there is no such command.
            let topic = match error.get(ContextKind::InvalidSubcommand) {
                Some(name) => format!(": No help topic for '{name}'"),
                None => String::new(),
            };
            let first = format!("{}{topic} (orlop --help lists commands and options)", first.join(" "));
            let (file, format) = cli::log_of(std::env::args_os());
            if log::open(file.as_deref(), format.into(), false).is_ok() {
                log::line(log::Level::Error, first.strip_prefix("error: ").unwrap_or(&first));
            }
            say(&format!("{first}\n"));
            if kind == ErrorKind::InvalidSubcommand { UNKNOWN_COMMAND } else { 1 }
        }
    }
}

/// Commands that enter a container leave no way to this program's file (CVE-2019-5736): as a rule they have left it when they began,
/// for memory of their own or a sealed copy.
fn seal_if_needed(args: &Arguments) -> Result<()> {
    let Err(refused) = args.execute_sealed_copy() else { return Ok(()) };
    // Where the kernel executes no memfd (vm.memfd_noexec=2), a read-only mount of the file at least can't be written, and an ordinary
    // user can't write what is root's: no container of his has more rights over it.
    let own = file::open_read(Path::new("/proc/self/exe"))?;
    let stat = file::stat(own.as_fd())?;
    let roots = stat.uid == 0 && stat.mode & 0o022 == 0 && cred::euid() != 0;
    if roots || mount::is_read_only(own.as_fd())? {
        return Ok(());
    }
    let execute_read_only = || {
        let tree = mount::clone_fd(own.as_fd(), false)?;
        let readonly = mount::Attributes { set: mount::attr::RDONLY, clear: 0 };
        mount::set_attributes(tree.as_fd(), readonly, None, false)?;
        Ok(args.execute(tree.as_fd()))
    };
    let also_refused = match execute_read_only() {
        Ok(refused) | Err(refused) => refused,
    };
    let hint = "where the kernel executes no memfd (vm.memfd_noexec=2), root needs the right to mount";
    Err(Error::from(also_refused).doing(Error::from(refused).to_string()).hint(hint))
}
