//! The command line: what can be typed, in runc's names. What it means is in `commands`.

mod create;
mod dashes;
mod events;
mod exec;
mod frequent;
mod global;
mod update;

pub use create::{Create, Run};
pub use events::Events;
pub use exec::Exec;
pub use global::{CgroupManager, Global, LogFormat};
pub use update::Update;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// What follows the program's name in the answer to `--version`, in the form that engines look for.
const VERSION: &str = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.3.0");

/// An OCI container runtime: sets a container up from a bundle and steps out of the way.
#[derive(Debug, Parser)]
#[command(
    name = "orlop",
    version = VERSION,
    disable_version_flag = true,
    disable_help_subcommand = true,
    subcommand_required = true
)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands. The definition of a command's options is only built when it is the one that was typed: to build all of them took
/// half a million instructions, most of what a short command did. It is built so late that a `///` comment on its type would replace
/// the text here. A second paragraph is for `--help` and the manual.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Create a container, ready to be started.
    ///
    /// It is set up completely, but its program is not executed yet: `start` does that.
    Create(Create),
    /// Start the program of a created container.
    Start(Id),
    /// Print a container's state as JSON.
    ///
    /// The keys are `ociVersion`, `id`, `pid` (0 if it has stopped), `status` (`creating`, `created`, `running`, `paused` or
    /// `stopped`), `bundle`, `rootfs`, `created` (the time) and `annotations`.
    State(Id),
    /// Send a signal to a container's first process.
    Kill(Kill),
    /// Remove a container that has stopped.
    ///
    /// That is what is left of it, its cgroup and its record. Of a container that has only been created the first process is killed.
    /// One that was killed a moment ago is waited for.
    Delete(Delete),
    /// Create and start a container, wait for its end, and delete it.
    ///
    /// Signals received meanwhile are forwarded to the container. A terminal is passed through, and resized with the caller's.
    Run(Run),
    /// Run a further program in a container, and wait for its end.
    ///
    /// The container may be a created or a running one. What no option says is taken from `process` in its configuration, except
    /// that there is no terminal without `--tty`.
    Exec(Box<Exec>),
    /// List the containers.
    List(List),
    /// List the processes of a container.
    Ps(Ps),
    /// Freeze all processes of a container.
    Pause(Id),
    /// Let the frozen processes of a container go on.
    Resume(Id),
    /// Print statistics and events of a container as JSON.
    ///
    /// One object a line, with the keys `type`, `id` and, but for `oom` and `exit`, `data`, until the container ends. The types are:
    ///
    /// `stats`: statistics in the form of runc(8), with pressure (PSI) where the kernel has it.
    ///
    /// `oom`: memory ran out at the container's limit, and the kernel looked for a process to kill.
    ///
    /// `memory.events`, `pids.events`: the counters of the kernel's file of this name, whenever one of them has grown. Among them
    /// are `high`, `max`, `oom` and `oom_kill` of memory, which only cgroup version 2 has, and `max` of processes: forks that failed
    /// at the limit.
    ///
    /// `exit`: the first process of the container has ended. Nothing comes after it.
    Events(Events),
    /// Change the limits of a running container.
    ///
    /// It may also be one that has only been created. Only what is named changes; what is empty or 0 names nothing, except for
    /// `cpu.burst`, `cpu.idle` and `memory.swappiness`, where 0 is a value. What the kernel makes of the values is read back. If one
    /// of them is refused, all are put back.
    Update(Box<Update>),
    /// Change the mounts of a running container.
    #[command(subcommand)]
    Mounts(Mounts),
    /// Write a sample config.json.
    ///
    /// It has a shell in a terminal, in namespaces of its own, a cgroup namespace among them if the host has cgroups of version 2. A
    /// file that exists is not overwritten.
    Spec(Spec),
    /// Print what this build can do, as JSON.
    ///
    /// In the form of the specification's features document.
    Features,
    /// Explain a seccomp profile.
    #[command(subcommand)]
    Seccomp(Seccomp),
}

/// What can be done to the mounts of a container that runs.
#[derive(Debug, Subcommand)]
pub enum Mounts {
    /// Add mounts: all of them, or none.
    ///
    /// The container has been created and has not stopped. Binds and new file systems can be added, with all their options; proc and
    /// cgroup can't. If this command is killed, the next change of mounts undoes what it has done.
    Add(ChangeMounts),
    /// Take mounts away again, or other mounts of the container's configuration.
    ///
    /// The last one of each destination. A mount that is busy is gone for everybody who does not use it already. A destination that
    /// leads to another mount of the configuration, or to a masked or read-only path, by a link that the container has made, is
    /// refused.
    Remove(ChangeMounts),
}

// Arguments of `mounts add` and `mounts remove`.
#[derive(Debug, Args)]
pub struct ChangeMounts {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
    /// A JSON file: an array like `mounts` in config.json, or an object that has one.
    ///
    /// Of mounts to take away only the destination counts.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// What can be asked of a seccomp profile.
#[derive(Debug, Subcommand)]
pub enum Seccomp {
    /// Tell what happens to a system call and which rule says so.
    ///
    /// It does so for each architecture that the profile is for.
    Explain(Explain),
}

// Arguments of `seccomp explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A file with a profile as in `linux.seccomp`, or a whole config.json.
    ///
    /// The file in which an engine holds its default profile is refused: which of its rules count, the engine decides for each
    /// container.
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    /// Name or number of a system call; without it the program is printed that the kernel runs.
    #[arg(value_name = "SYSCALL")]
    pub syscall: Option<String>,
    /// Its first arguments, as numbers.
    ///
    /// Decimal, or with `0x`. Those that are left out may be anything.
    #[arg(value_name = "ARG", allow_hyphen_values = true)]
    pub args: Vec<String>,
}

// A container.
#[derive(Debug, Args)]
pub struct Id {
    /// Its id.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}

// Options of `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Signal all processes, also if the first one has ended; that there is none is no error.
    #[arg(short, long)]
    pub all: bool,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
    /// A name with or without SIG, or a number.
    #[arg(default_value = "SIGTERM")]
    pub signal: String,
}

// Options of `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Kill it first if it has not stopped; that there is no such container is no error then.
    #[arg(short, long)]
    pub force: bool,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}

/// Form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// For programs: an array, or null if there is nothing to list.
    Json,
}

// Options of `list`.
#[derive(Debug, Args)]
pub struct List {
    /// Form of the list.
    #[arg(short, long, value_enum, default_value = "table")]
    pub format: ListFormat,
    /// Only the ids.
    #[arg(short, long)]
    pub quiet: bool,
}

// Options of `ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// Form of the list.
    ///
    /// JSON has only the ids of the processes, those of the host.
    #[arg(short, long, value_enum, default_value = "table")]
    pub format: ListFormat,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
    /// Options of the host's ps(1) [default: -ef].
    ///
    /// Everything after the container is among them.
    #[arg(value_name = "PS OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

// Options of `spec`.
#[derive(Debug, Args)]
pub struct Spec {
    /// The directory to write it into [default: the current one].
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub bundle: PathBuf,
    /// For the calling user, who is user 0 inside.
    #[arg(long)]
    pub rootless: bool,
}

/// Parses a command line.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args = dashes::doubled(args.collect());
    frequent::parse(&args).map_or_else(|| Cli::try_parse_from(&args), Ok)
}

/// The log that a command line names which can't be parsed as a whole.
pub fn log_of(args: impl Iterator<Item = OsString>) -> (Option<PathBuf>, LogFormat) {
    let partly = Cli::command().ignore_errors(true).try_get_matches_from(dashes::doubled(args.collect()));
    let found = partly.ok().map(|found| {
        let format = found.get_one::<LogFormat>("log_format").copied();
        (found.get_one::<PathBuf>("log").cloned(), format.unwrap_or(LogFormat::Text))
    });
    found.unwrap_or((None, LogFormat::Text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Cli {
        parse(line.split(' ').map(OsString::from)).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_is_what_the_list_of_commands_says() {
        let (listed, mut built) = (Cli::command(), Cli::command());
        built.build();
        for command in listed.get_subcommands() {
            let about = built.find_subcommand(command.get_name()).and_then(|built| built.get_about());
            assert_eq!(about.map(ToString::to_string), command.get_about().map(ToString::to_string));
        }
    }

    #[test]
    fn the_version_of_the_spec_is_one() {
        assert!(VERSION.ends_with(crate::spec::VERSION));
    }

    #[test]
    fn options_before_and_after_the_id() {
        for line in [
            "orlop run -b /b --pid-file /p web",
            "orlop run web -bundle=/b -pid-file /p",
            "orlop run -b /b web --pid-file=/p",
        ] {
            let Command::Run(run) = parsed(line).command else { panic!("{line}") };
            assert_eq!(run.create.id, "web", "{line}");
            assert_eq!(run.create.bundle, PathBuf::from("/b"), "{line}");
            assert_eq!(run.create.pid_file, Some(PathBuf::from("/p")), "{line}");
        }
    }

    #[test]
    fn the_arguments_of_a_program_are_its_own() {
        let Command::Exec(exec) =
            parsed("orlop -root /r exec -tty -cwd /x web -no-new-privs ls -cwd --all").command
        else {
            panic!()
        };
        assert!(exec.tty && exec.cwd.as_deref() == Some("/x"));
        assert_eq!(exec.id, "web");
        assert_eq!(exec.args, ["-no-new-privs", "ls", "-cwd", "--all"]);
        let Command::Ps(ps) = parsed("orlop ps -format json web -o pid").command else { panic!() };
        assert_eq!((ps.format, ps.args), (ListFormat::Json, vec!["-o".to_owned(), "pid".to_owned()]));
    }

    #[test]
    fn a_value_is_no_option() {
        let Command::Exec(exec) = parsed("orlop exec -e cwd web -cwd").command else { panic!() };
        assert_eq!((exec.env, exec.args), (vec!["cwd".to_owned()], vec!["-cwd".to_owned()]));
    }

    #[test]
    fn no_limit_is_a_negative_number() {
        let Command::Update(update) =
            parsed("orlop update --memory -1 web --cpu-quota -1 -pids-limit=-1 --cpu-shares 5").command
        else {
            panic!()
        };
        assert_eq!((update.memory, update.cpu_quota, update.pids_limit), (Some(-1), Some(-1), Some(-1)));
        assert_eq!((update.cpu_share, update.id.as_str()), (Some(5), "web"));
    }

    #[test]
    fn what_engines_pass() {
        for line in [
            "orlop --root /r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p --no-pivot --no-new-keyring --preserve-fds 2 --console-socket /c id",
            "orlop --rootless=true --root=/r --log-format=json --log=/l start id",
            "orlop --root /r kill --all id 9",
            "orlop --root /r kill id TERM",
            "orlop --root /r delete --force id",
            "orlop exec --process /f --console-socket /c --detach --pid-file /p id",
            "orlop ps --format json id",
            "orlop --root /r update --resources=- id",
            "orlop --root /r update --resources - id",
            "orlop update -r /f id",
            "orlop --cgroup-manager disabled create -b /b id",
            "orlop run --bundle /b --keep id",
        ] {
            parsed(line);
        }
    }
}
