//! `run`: create, start, wait, delete.

use super::create::options;
use crate::cli::{Global, Run};
use crate::container::{self, CreateOptions};
use crate::error::Result;
use crate::sys::memory;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Runs a container; attached, it takes over the exit code of its first process.
pub fn run(global: &Global, root: PathBuf, args: Run) -> Result<u8> {
    memory::populate();
    let pid_file = args.create.pid_file.clone();
    let options = CreateOptions { start: true, ..options(global, root, args.create, args.detach)? };
    let mut created = container::create(&options)?;
    let (container, init, told) = (&created.container, created.init.as_fd(), created.told.take());
    // What was started here is ended here, whatever goes wrong.
    let outcome = match &mut created.attached {
        None => container.begin_detached(told, init).map(|()| None),
        Some(attached) => container
            .begin(told, init)
            .and_then(|notify| attached.serve((container.pid(), init), notify).map(Some)),
    };
    let code = match outcome {
        Ok(None) => 0,
        Ok(Some(exit)) => {
            if !args.keep {
                container.remove_ended()?;
            }
            exit.code()
        }
        Err(error) => {
            // The first error is the one to report. The pid is nobody's any more.
            let _ = container.remove_forced();
            let _ = pid_file.map(std::fs::remove_file);
            return Err(error);
        }
    };
    // The process ends now, and with it all that this holds open.
    std::mem::forget(created);
    Ok(code)
}
