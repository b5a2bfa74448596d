//! Putting the device filter into effect.

use super::Cgroup;
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::devices::DeviceFilter;
use crate::sys::{Errno, bpf};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const FIELD: &str = "linux.resources.devices";

impl Cgroup {
    /// Restricts the cgroup to the devices that the filter lets through. A runtime without privileges over devices leaves them as
    /// they are, like the other runtimes: nobody can make device nodes there, and those of the host are guarded by their modes.
    pub(super) fn filter_devices(
        &self,
        filter: &DeviceFilter,
        unified: Option<&OwnedFd>,
        is_new: impl Fn(&Path) -> bool,
    ) -> Result<()> {
        let place = self.only_v2().or(self.controller("devices"));
        let is_new = place.is_none_or(|place| is_new(&place.dir));
        // A new cgroup allows everything that those above it allow.
        if filter.everything && is_new {
            return Ok(());
        }
        let result = match (self.only_v2(), unified) {
            _ if self.hierarchies.is_empty() && filter.asked => {
                Err(Error::new("the container gets no cgroup to set it in"))
            }
            _ if self.hierarchies.is_empty() => Ok(()),
            (Some(_), Some(dir)) => install(dir.as_fd(), &filter.program, is_new),
            _ => self.write(&filter.writes),
        };
        match result {
            Err(_) if self.rootless => Ok(()),
            other => other.field(|| FIELD.into()),
        }
    }
}

/// Loads the program, and puts it into the place of the one that an older cgroup may already have. Where there are several, they
/// are not the runtime's to remove; an access then needs the leave of all of them.
fn install(cgroup: BorrowedFd, program: &[bpf::Insn], is_new: bool) -> Result<()> {
    let program = bpf::load(program)?;
    let attached = if is_new { Vec::new() } else { bpf::attached(cgroup)? };
    let attached = match attached.as_slice() {
        [id] => Some(bpf::by_id(*id)?),
        _ => None,
    };
    match bpf::attach(cgroup, program.as_fd(), attached.as_ref().map(AsFd::as_fd)) {
        Err(error) if error.errno == Errno::EPERM => {
            Err(error).hint(|| "a program attached further up may forbid others below it".into())
        }
        other => Ok(other?),
    }
}
