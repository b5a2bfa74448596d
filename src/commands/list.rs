//! `list`

use super::state::Shown;
use crate::cli::{List, ListFormat};
use crate::container::Container;
use crate::error::{Error, Result};
use std::path::Path;

const HEADER: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/// Lists the containers. A state root that was named has to exist; the default one need not.
pub fn list(root: &Path, is_default: bool, args: &List) -> Result<u8> {
    let none = is_default && !root.exists();
    let containers = if none { None } else { Some(Container::all(root)?) };
    let containers = containers.into_iter().flatten();
    if args.quiet {
        let ids: String = containers.map(|container| format!("{}\n", container.state.id)).collect();
        super::print(&ids);
        return Ok(0);
    }
    // The names of owners are read from the file itself: a static program has no name service.
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    // One that is deleted meanwhile has no state any more.
    let shown = |container: Container| {
        let owner = owner(&passwd, container.state.owner);
        Shown::of(container, owner).ok()
    };
    let shown: Vec<Shown> = containers.filter_map(shown).collect();
    match args.format {
        // Callers that know runc expect its word for an empty list.
        ListFormat::Json if shown.is_empty() => super::print("null\n"),
        ListFormat::Json => {
            let json = serde_json::to_string(&shown).map_err(|error| Error::new(error.to_string()))?;
            super::print(&format!("{json}\n"));
        }
        ListFormat::Table => super::print(&table(&shown)),
    }
    Ok(0)
}

/// The name of a user of the host, or `#` and the number.
fn owner(passwd: &str, uid: u32) -> String {
    let uid = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}

/// Columns of at least 12 characters and 3 between them; the last one ends where its text does.
fn table(shown: &[Shown]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(shown.iter().map(|shown| {
        let bundle = shown.bundle.display().to_string();
        [
            shown.id.clone(),
            shown.pid.to_string(),
            shown.status.into(),
            bundle,
            shown.created.clone(),
            shown.owner.clone(),
        ]
    }));
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..HEADER.len() - 1).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{cells}{}\n", row[HEADER.len() - 1])
    };
    rows.iter().map(line).collect()
}
