//! Puts the container's system call filter in force.

use crate::error::{Context, Result};
use crate::plan::seccomp::{Before, Seccomp};
use crate::sys::seccomp;
use std::os::fd::OwnedFd;

/// Installs the filter if this is the moment for it; a filter with a listener gives its notification descriptor.
pub fn install(filter: Option<&Seccomp>, now: Before) -> Result<Option<OwnedFd>> {
    match filter {
        Some(filter) if filter.install == now => seccomp::install(&filter.program, filter.flags)
            .hint(|| "does this kernel know all flags of linux.seccomp.flags?".into())
            .field(|| "linux.seccomp".into()),
        _ => Ok(None),
    }
}
