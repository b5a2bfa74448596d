//! `seccomp explain`: what a profile does with a system call, for whoever asks "why EPERM?".

use crate::cli::Explain;
use crate::error::{Context, Error, Result};
use crate::plan::seccomp::policy;
use crate::seccomp::{Arch, explain as explanation};
use crate::spec;
use oci_spec::runtime::LinuxSeccomp;
use serde::Deserialize;

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
        None => (spec::read_json(&args.profile)?, ""),
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
