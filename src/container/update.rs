//! `update`: other limits for a container that runs.

use super::create::CONFIG;
use super::{Container, Status};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::cgroup::update::Change;
use crate::sys::file;
use oci_spec::runtime::LinuxResources;

impl Container {
    /// Changes the limits that `asked` names, in the kernel and on record, where later commands find them; after a failure all are as
    /// before.
    pub fn update(&self, asked: &LinuxResources) -> Result<()> {
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
        let updated = cgroup.update(&change)?;
        linux.set_resources(Some(change.resources));
        spec.linux = Some(linux);
        let record = serde_json::to_vec(&spec).map_err(|error| Error::new(error.to_string()))?;
        file::replace_at(self.dir.fd(), CONFIG, &record, 0o600).doing(|| "record the limits".into())?;
        updated.keep();
        Ok(())
    }
}
