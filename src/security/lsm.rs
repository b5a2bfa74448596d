//! Tells the host's security module what the program is: under which AppArmor profile, or with which SELinux label.
//!
//! Both have a file of the process itself for it, whose content holds from the next execve on. It is written through a procfs that is
//! known to be one: a file of the container that only looks like it would leave the program unconfined (CVE-2019-16884).

use crate::error::{Context, Error, Result};
use crate::plan::process::Process;
use crate::sys::file;
use crate::sys::proc::Proc;
use crate::sys::selinux::Selinux;

/// A property that can't be applied is an error: on a host without the module, the program would run unconfined.
pub fn check_enabled(process: &Process) -> Result<()> {
    if process.apparmor.is_some() && !apparmor_is_enabled() {
        return Err(Error::new("AppArmor is not enabled on this host").field("process.apparmorProfile"));
    }
    if process.selinux.is_some() {
        open_selinux().field(|| "process.selinuxLabel".into())?;
    }
    Ok(())
}

/// The label of the container's mounts, likewise. A label that the policy does not know is told of here, where it can be named.
pub fn check_mounts(label: Option<&str>) -> Result<()> {
    let Some(label) = label else { return Ok(()) };
    let field = || "linux.mountLabel".into();
    match open_selinux().field(field)?.knows(label) {
        Ok(false) => Err(Error::new(format!("the host's policy has no label {label:?}")).field(field())),
        // A runtime that may not ask will see what the mounts say.
        Ok(true) | Err(_) => Ok(()),
    }
}

fn apparmor_is_enabled() -> bool {
    file::read_proc("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.starts_with('Y'))
}

fn open_selinux() -> Result<Selinux> {
    Selinux::open().ok_or_else(|| Error::new("SELinux is not enabled on this host"))
}

/// The keyring that is made next belongs to the program's label, or the program may not use it.
pub fn label_keyring(process: &Process, proc: &Proc) -> Result<()> {
    match &process.selinux {
        Some(label) => write_label(proc, "attr/keycreate", label),
        None => Ok(()),
    }
}

/// The program that is executed next runs confined.
pub fn label_program(process: &Process, proc: &Proc) -> Result<()> {
    if let Some(profile) = &process.apparmor {
        write(proc, "attr/apparmor/exec", &format!("exec {profile}"))
            .hint(|| format!("is a profile {profile:?} loaded? aa-status lists them"))
            .field(|| "process.apparmorProfile".into())?;
    }
    match &process.selinux {
        Some(label) => write_label(proc, "attr/exec", label),
        None => Ok(()),
    }
}

fn write_label(proc: &Proc, name: &str, label: &str) -> Result<()> {
    write(proc, name, label)
        .hint(|| format!("does the policy know the label {label:?}, and let the runtime change to it?"))
        .field(|| "process.selinuxLabel".into())
}

/// Engines look for the name of the file, in such quotes, to tell this failure from others.
fn write(proc: &Proc, name: &str, value: &str) -> Result<()> {
    proc.write_own(name, value).doing(|| format!("write `/proc/self/{name}`"))
}
