//! The commands, one file each: what was typed becomes calls of the layers below, and results become output.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod list;
mod mounts;
mod ps;
mod run;
mod seccomp;
mod spec;
mod state;
mod update;

use crate::cli::{Cli, Command, Global, Kill, Seccomp};
use crate::container::{self, Container};
use crate::error::{Error, Result};
use crate::sys::signal;
use std::path::PathBuf;

/// Runs a command; tells the exit code.
pub fn run(cli: Cli) -> Result<u8> {
    let global = &cli.global;
    let root = root(global)?;
    let open = |id: &str| Container::open(&root, id);
    match cli.command {
        Command::Create(args) => create::create(global, root, args),
        Command::Run(args) => run::run(global, root, args),
        Command::Exec(args) => exec::exec(&open(&args.id)?, *args),
        Command::Start(args) => open(&args.id)?.start().map(|()| 0),
        Command::State(args) => state::state(open(&args.id)?),
        Command::Kill(args) => kill(&open(&args.id)?, &args),
        Command::Delete(args) => delete::delete(&root, &args),
        Command::List(args) => list::list(&root, global.root.is_none(), &args),
        Command::Ps(args) => ps::ps(&open(&args.id)?, &args),
        Command::Pause(args) => open(&args.id)?.pause().map(|()| 0),
        Command::Resume(args) => open(&args.id)?.resume().map(|()| 0),
        Command::Events(args) => events::events(&open(&args.id)?, &args),
        Command::Update(args) => update::update(&mut open(&args.id)?, &args),
        Command::Mounts(args) => mounts::mounts(&root, &args),
        Command::Spec(args) => spec::spec(&args),
        Command::Features => features::features(),
        Command::Seccomp(Seccomp::Explain(args)) => seccomp::explain(&args),
    }
}

fn root(global: &Global) -> Result<PathBuf> {
    let root = global.root.clone().unwrap_or_else(container::default_root);
    let root = std::path::absolute(&root).map_err(|error| Error::new(format!("--root: {error}")))?;
    if root.parent().is_none() {
        return Err(Error::new("--root must not be /"));
    }
    Ok(root)
}

fn kill(container: &Container, args: &Kill) -> Result<u8> {
    let number = signal::parse(&args.signal);
    let number = number.ok_or_else(|| Error::new(format!("unknown signal {:?}", args.signal)))?;
    container.kill(number, args.all)?;
    Ok(0)
}

/// Prints what a command is asked for. A reader that has gone away is no failure of the command.
pub fn print(text: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
