//! `seccomp explain`: what a profile does with a system call, for whoever asks "why EPERM?".

use crate::cli::Explain;
use crate::error::{Context, Error, Result};
use crate::plan::seccomp::policy;
use crate::seccomp::{Arch, explain as explanation};
use crate::spec;
use oci_spec::runtime::LinuxSeccomp;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// A config.json, as far as it matters. A profile that is a file of its own has no `linux`.
#[derive(Deserialize)]
struct Config {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    seccomp: Option<Box<LinuxSeccomp>>,
}

/// Prints what happens to a call and which rule says so; without a call, the program that the kernel runs.
pub fn explain(args: &Explain) -> Result<u8> {
    let (seccomp, field) = match spec::read_json::<Config>(&args.profile)?.linux {
        Some(linux) => (linux.seccomp, "linux.seccomp"),
        None => {
            check_resolved(&args.profile)?;
            (spec::read_json(&args.profile)?, "")
        }
    };
    let seccomp = seccomp.ok_or_else(|| {
        Error::new(format!("{}: no profile", args.profile.display())).field("linux.seccomp")
    })?;
    let native =
        Arch::native().ok_or_else(|| Error::new("the system calls of this machine are not known"))?;
    let policy = policy(&seccomp, field, native).doing(|| args.profile.display().to_string())?;
    super::print(&explanation(&policy, args.syscall.as_deref(), &args.args)?);
    Ok(0)
}

/// Refuses the files that engines hold their default profiles in. They look like `linux.seccomp`, but for members by
/// which the engine picks the rules and architectures that count for one container; without these, a rule for privileged
/// containers would seem to be for all. See containers-seccomp.json(5) and Docker's `profiles/seccomp`.
fn check_resolved(file: &Path) -> Result<()> {
    let profile: Value = spec::read_json(file)?;
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let foreign = |of: &Value, names: &[&'static str]| names.iter().copied().find(|name| says(&of[*name]));
    let rules = profile["syscalls"].as_array().map_or(&[][..], Vec::as_slice);
    let in_rules = rules.iter().enumerate().find_map(|(i, rule)| {
        Some(format!("syscalls[{i}].{}", foreign(rule, &["includes", "excludes", "errno"])?))
    });
    let found = foreign(&profile, &["archMap", "defaultErrno"]).map(str::to_owned).or(in_rules);
    found.map_or(Ok(()), |field| {
        Err(Error::new("an engine's own profile, of which it makes linux.seccomp anew for each container")
            .hint("explain the config.json of a container that the engine has made")
            .field(field)
            .doing(file.display().to_string()))
    })
}
