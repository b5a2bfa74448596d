//! `ps`

use crate::cli::{ListFormat, Ps};
use crate::container::Container;
use crate::error::{Error, Result};
use std::process::Command;

/// Lists the processes of a container, in the words of the host's ps(1).
pub fn ps(container: &Container, args: &Ps) -> Result<u8> {
    let pids = container.pids()?;
    if args.format == ListFormat::Json {
        // Callers that know runc expect its word for an empty list.
        let listed = Some(&pids).filter(|pids| !pids.is_empty());
        let json = serde_json::to_string(&listed).map_err(|error| Error::new(error.to_string()))?;
        super::print(&format!("{json}\n"));
        return Ok(0);
    }
    let options = if args.args.is_empty() { vec!["-ef".to_owned()] } else { args.args.clone() };
    let output = Command::new("ps").args(&options).output();
    let output =
        output.map_err(|error| Error::new(format!("run ps: {error}")).hint("--format json needs no ps"))?;
    if !output.status.success() {
        // The rest of it is how to use ps.
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|line| !line.is_empty()).unwrap_or("it failed without a word");
        return Err(Error::new(format!("ps {}: {said}", options.join(" "))));
    }
    super::print(&only(&String::from_utf8_lossy(&output.stdout), &pids)?);
    Ok(0)
}

/// The header, and the lines whose PID is one of `pids`.
fn only(listing: &str, pids: &[i32]) -> Result<String> {
    let mut lines = listing.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|name| name == "PID");
    let column =
        column.ok_or_else(|| Error::new("the output of ps has no column PID").hint("let it print pid"))?;
    let wanted = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(header).chain(lines.filter(wanted)).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn the_pid_is_looked_for_in_its_column() {
        let listing = "UID PID PPID CMD\nroot 7 1 sh\nroot 71 7 cat 7\n";
        assert_eq!(only(listing, &[71]).unwrap(), "UID PID PPID CMD\nroot 71 7 cat 7\n");
        assert!(only("CMD\nsh\n", &[1]).is_err());
    }
}
