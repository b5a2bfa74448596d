//! `mounts add` and `mounts remove`

use crate::cli::Mounts;
use crate::container::{Container, add_mounts, remove_mounts};
use crate::error::Result;
use crate::spec;
use std::path::Path;

/// Changes the mounts of a container that runs.
pub fn mounts(root: &Path, args: &Mounts) -> Result<u8> {
    let (change, args): (fn(&mut _, &[_]) -> _, _) = match args {
        Mounts::Add(args) => (add_mounts, args),
        Mounts::Remove(args) => (remove_mounts, args),
    };
    let given = spec::read_mounts(&args.file)?;
    change(&mut Container::open(root, &args.id)?, &given)?;
    Ok(0)
}
