//! Options with a single dash.

use super::Cli;
use clap::CommandFactory;
use std::ffi::OsString;

/// Long options may have a single dash (`-no-subreaper`), as callers that know runc's parser write them. Only what is the name of a
/// long option is changed, and nothing after the container of `exec` and `ps`, where other programs' arguments begin.
pub fn doubled(mut args: Vec<OsString>) -> Vec<OsString> {
    // Hardly anybody does, and it takes the definition of the options to know.
    if !args.iter().any(|arg| matches!(arg.as_encoded_bytes(), [b'-', second, _, ..] if *second != b'-')) {
        return args;
    }
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    let mut i = 1;
    while let Some(arg) = args.get(i).and_then(|arg| arg.to_str()).map(str::to_owned) {
        i += 1;
        if arg == "--" {
            break;
        }
        if !arg.starts_with('-') || arg == "-" {
            if command.get_name() == root.get_name() {
                match root.find_subcommand(&arg) {
                    Some(found) => command = found,
                    None => break,
                }
            } else if matches!(command.get_name(), "exec" | "ps") {
                break;
            }
            continue;
        }
        let name = arg.trim_start_matches('-').split('=').next().unwrap_or_default();
        let long = command.get_arguments().find(|option| option.get_long() == Some(name));
        if long.is_some() && !arg.starts_with("--") && name.len() > 1 {
            args[i - 1] = format!("-{arg}").into();
        }
        let short = arg.chars().nth(1).filter(|_| arg.len() == 2);
        let short = command.get_arguments().find(|option| short.is_some() && option.get_short() == short);
        // The value of an option is no option.
        if !arg.contains('=') && long.or(short).is_some_and(|option| option.get_action().takes_values()) {
            i += 1;
        }
    }
    args
}
