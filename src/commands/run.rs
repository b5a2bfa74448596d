//! `run`: create, start, wait, delete.

use super::create::options;
use crate::cli::{Global, Run};
use crate::container;
use crate::error::Result;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Runs a container; attached, it takes over the exit code of its first process.
pub fn run(global: &Global, root: PathBuf, args: Run) -> Result<u8> {
    let pid_file = args.create.pid_file.clone();
    let created = container::create(&options(global, root, args.create, args.detach)?)?;
    let mut container = created.container;
    // What was started here is ended here, whatever goes wrong.
    let outcome = match created.attached {
        None => container.start_detached().map(|()| None),
        Some(attached) => container.start().and_then(|notify| {
            let pid = container.state.init.map_or(0, |init| init.pid);
            attached.serve((pid, created.init.as_fd()), notify).map(Some)
        }),
    };
    match outcome {
        Ok(None) => Ok(0),
        Ok(Some(exit)) => {
            if !args.keep {
                container.remove_forced()?;
            }
            Ok(exit.code())
        }
        Err(error) => {
            // The first error is the one to report. The pid is nobody's any more.
            let _ = container.remove_forced();
            let _ = pid_file.map(std::fs::remove_file);
            Err(error)
        }
    }
}
