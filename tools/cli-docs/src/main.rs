//! `cli-docs DIR` writes `orlop.bash`, `_orlop` and `orlop.fish` into a directory, and the manual: `orlop.8`, and a page for each
//! command.

mod manual;

use clap::CommandFactory;
use clap_complete::Shell;
use std::path::PathBuf;

/// The runtime's command line, as it is.
#[path = "../../../src"]
#[allow(dead_code, unused_imports)]
mod orlop {
    pub mod cli;
}

/// What the command line reads durations with.
#[path = "../../../src/time.rs"]
#[allow(dead_code)]
mod time;

/// Stands for the runtime's own `log`, of which the command line has this one type.
mod log {
    /// The form of the lines.
    pub enum Format {
        Text,
        Json,
    }
}

fn main() -> std::io::Result<()> {
    let dir = std::env::args_os().nth(1).ok_or_else(|| std::io::Error::other("usage: cli-docs DIR"))?;
    let dir = PathBuf::from(dir);
    let mut command = orlop::cli::Cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "orlop", &dir)?;
    }
    manual::write(&dir, orlop::cli::Cli::command())
}
