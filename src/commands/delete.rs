//! `delete`

use crate::cli::Delete;
use crate::container;
use crate::error::Result;
use std::path::Path;

/// Removes a container.
pub fn delete(root: &Path, args: &Delete) -> Result<u8> {
    container::delete(root, &args.id, args.force)?;
    Ok(0)
}
