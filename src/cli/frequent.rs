//! The commands that a container's life is made of, parsed with the definition of the typed one alone.

use super::{Cli, Create, Delete, Exec, Global, Id, Kill, Run, VERSION};
use clap::{Args, Command, FromArgMatches};
use std::ffi::OsString;
use std::mem::ManuallyDrop;

/// A command's name, and what adds its options.
type Definition = (&'static str, fn(Command) -> Command);

const FREQUENT: [Definition; 7] = [
    ("create", Create::augment_args),
    ("start", Id::augment_args),
    ("state", Id::augment_args),
    ("kill", Kill::augment_args),
    ("delete", Delete::augment_args),
    ("run", Run::augment_args),
    ("exec", Exec::augment_args),
];

/// What the whole definition would make of a command line; `None` for other commands, for help and for errors, which the whole
/// definition tells.
pub fn parse(args: &[OsString]) -> Option<Cli> {
    // Where an option's value is such a name, the command that follows is none of this definition.
    let (name, define) = args.iter().find_map(|arg| FREQUENT.iter().find(|(name, _)| arg == name))?;
    let root = Command::new("orlop").version(VERSION).disable_version_flag(true);
    let root = Global::augment_args(root.disable_help_subcommand(true).subcommand_required(true));
    let root = root.subcommand(Command::new(*name).defer(*define));
    // The memory is of no use to what comes, and goes with the process.
    let mut found = ManuallyDrop::new(root).try_get_matches_from_mut(args).ok()?;
    Cli::from_arg_matches_mut(&mut found).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_whole_definition_says_the_same() {
        for line in [
            "orlop create web",
            "orlop --debug --root /r create -b /b -f /c --pid-file=/p --preserve-fds 2 --no-pivot web",
            "orlop start web",
            "orlop --log /l --log-format json --cgroup-manager systemd state web",
            "orlop kill web",
            "orlop kill -a run 9",
            "orlop delete --force web",
            "orlop --root run run --detach --keep --bundle /b web",
            "orlop --rootless=true exec -t -e A=b -e C --cwd /x web create -x --help",
            "orlop exec --detach web -- ls",
        ] {
            let whole = Cli::try_parse_from(args(line)).unwrap();
            assert_eq!(format!("{:?}", parse(&args(line)).unwrap()), format!("{whole:?}"));
        }
    }

    #[test]
    fn the_rest_is_left_to_the_whole_definition() {
        for line in [
            "orlop",
            "orlop --help",
            "orlop -v",
            "orlop --version run web",
            "orlop run --help",
            "orlop exec web --help",
            "orlop help run",
            "orlop --root run state",
            "orlop --root run delete web",
            "orlop ps web run",
            "orlop runs web",
            "orlop run",
            "orlop run web web",
            "orlop kill --cwd / web",
            "orlop --log-format xml state web",
            "orlop create --preserve-fds x web",
        ] {
            assert!(parse(&args(line)).is_none(), "{line}");
        }
    }
}
