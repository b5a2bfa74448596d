//! `update`: other limits for a container that runs.

use super::create::CONFIG;
use super::{Container, Status};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::cgroup::update::Change;
use crate::plan::rdt;
use crate::sys::file;
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};

impl Container {
    /// Changes the limits that `asked` names, in the kernel and on record, where later commands find them; after a failure all are as
    /// before. `shares` are what `linux.intelRdt` can say of caches and memory bandwidth, in its first two schemata.
    pub fn update(&mut self, asked: &LinuxResources, shares: &LinuxIntelRdt) -> Result<()> {
        let schemata = rdt::short(shares.l3_cache_schema().as_deref(), shares.mem_bw_schema().as_deref())?;
        self.lock()?;
        if matches!(self.status()?, Status::Stopped | Status::Creating) {
            return Err(Error::new("container not running"));
        }
        let mut spec = self.spec()?;
        let mut linux = spec.linux.take().unwrap_or_default();
        let cgroup = &self.state.cgroup;
        let change = Change::new(linux.resources().as_ref(), asked, cgroup.layout())?;
        for warning in &change.warnings {
            log::line(log::Level::Warning, warning);
        }
        let rdt = match &self.state.rdt {
            None if !schemata.is_empty() => {
                return Err(Error::new("the container was created without it").field("linux.intelRdt"));
            }
            rdt => rdt.as_ref(),
        };
        let updated = cgroup.update(&change)?;
        linux.set_resources(Some(change.resources));
        if let Some(mut recorded) = linux.intel_rdt().clone() {
            let asked = |share: &Option<String>| share.clone().filter(|line| !line.is_empty());
            recorded
                .set_l3_cache_schema(asked(shares.l3_cache_schema()).or(recorded.l3_cache_schema().clone()));
            recorded.set_mem_bw_schema(asked(shares.mem_bw_schema()).or(recorded.mem_bw_schema().clone()));
            linux.set_intel_rdt(Some(recorded));
        }
        spec.linux = Some(linux);
        let record = || {
            let record = serde_json::to_vec(&spec).map_err(|error| Error::new(error.to_string()))?;
            file::replace_at(self.dir.fd(), CONFIG, &record, 0o600).doing(|| "record the limits".into())
        };
        match rdt {
            Some(rdt) => rdt.update(&schemata, record)?,
            None => record()?,
        }
        updated.keep();
        Ok(())
    }
}
