//! `seccomp explain`: what a profile does with a system call, for whoever asks "why EPERM?".

use crate::cli::Explain;
use crate::error::{Context, Error, Result};
use crate::plan::seccomp::policy;
use crate::seccomp::{Arch, explain as explanation};
use crate::spec;
use oci_spec::runtime::LinuxSeccomp;
use serde::Deserialize;

/// A profile: a whole config.json, or its `linux.seccomp` alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Profile {
    Config { linux: Linux },
    Alone(Box<LinuxSeccomp>),
}

#[derive(Deserialize)]
struct Linux {
    seccomp: Box<LinuxSeccomp>,
}

/// Prints what happens to a call and which rule says so; without a call, the program that the kernel runs.
pub fn explain(args: &Explain) -> Result<u8> {
    let profile: Profile = spec::read_json(&args.profile)?;
    let (seccomp, field) = match &profile {
        Profile::Config { linux } => (&linux.seccomp, "linux.seccomp"),
        Profile::Alone(seccomp) => (seccomp, ""),
    };
    let native =
        Arch::native().ok_or_else(|| Error::new("the system calls of this machine are not known"))?;
    let policy = policy(seccomp, field, native).doing(|| args.profile.display().to_string())?;
    super::print(&explanation(&policy, args.syscall.as_deref(), &args.args)?);
    Ok(0)
}
