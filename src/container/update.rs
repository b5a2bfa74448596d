//! `update`: other limits for a container that runs.

use super::create::CONFIG;
use super::{Container, Status};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::cgroup::update::Change;
use crate::plan::rdt::Schema;
use crate::sys::file;
use oci_spec::runtime::LinuxResources;

impl Container {
    /// Changes the limits that `asked` names, in the kernel and on record, where later commands find them; after a failure all are as
    /// before. `schemata` go to the container's group in the resctrl file system.
    pub fn update(&self, asked: &LinuxResources, schemata: &[Schema]) -> Result<()> {
        self.dir.lock()?;
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
        rdt.map_or(Ok(()), |rdt| rdt.write(schemata))?;
        linux.set_resources(Some(change.resources));
        spec.linux = Some(linux);
        let record = serde_json::to_vec(&spec).map_err(|error| Error::new(error.to_string()))?;
        file::replace_at(self.dir.fd(), CONFIG, &record, 0o600).doing(|| "record the limits".into())?;
        updated.keep();
        Ok(())
    }
}
