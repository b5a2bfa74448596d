//! `state`, and the form of a container's state that callers parse.

use crate::container::{Container, Status};
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The state as runc prints it: that of the runtime-spec, and `rootfs`, `created` and `owner`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    oci_version: String,
    /// The id.
    pub id: String,
    /// Init's id, 0 when there is none.
    pub pid: i32,
    /// The status.
    pub status: &'static str,
    /// The bundle directory.
    pub bundle: PathBuf,
    rootfs: PathBuf,
    /// When it was created.
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    /// The name of its owner, which only `list` tells.
    pub owner: String,
}

impl Shown {
    /// The state of a container now.
    pub fn of(container: Container, owner: String) -> Result<Self> {
        let status = container.status()?;
        let state = container.state;
        let pid = if status == Status::Stopped { 0 } else { state.init.map_or(0, |init| init.pid) };
        Ok(Shown {
            oci_version: state.oci_version,
            id: state.id,
            pid,
            status: status.name(),
            bundle: state.bundle,
            rootfs: state.rootfs,
            created: state.created,
            annotations: state.annotations,
            owner,
        })
    }
}

/// Prints the state of a container.
pub fn state(container: Container) -> Result<u8> {
    let shown = Shown::of(container, String::new())?;
    let json = serde_json::to_string_pretty(&shown).map_err(|error| Error::new(error.to_string()))?;
    super::print(&json);
    Ok(0)
}
