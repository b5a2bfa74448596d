//! Tells the host's security module what the program is: under which AppArmor profile, or with which SELinux label.
//!
//! Both have a file of the process itself for it, whose content holds from the next execve on. It is written through a procfs that is
//! known to be one: a file of the container that only looks like it would leave the program unconfined (CVE-2019-16884).

use crate::error::{Context, Error, Result};
use crate::plan::process::Process;
use crate::sys::proc::Proc;
use crate::sys::{file, mount};
use std::os::fd::AsFd;
use std::path::Path;

/// The label of the container's mounts, likewise.
pub fn check_mounts(labelled: bool) -> Result<()> {
    match labelled && !selinux_is_enabled() {
        true => Err(Error::new("SELinux is not enabled on this host").field("linux.mountLabel")),
        false => Ok(()),
    }
}

/// A property that can't be applied is an error: on a host without the module, the program would run unconfined.
pub fn check_enabled(process: &Process) -> Result<()> {
    if process.apparmor.is_some() && !apparmor_is_enabled() {
        return Err(Error::new("AppArmor is not enabled on this host").field("process.apparmorProfile"));
    }
    if process.selinux.is_some() && !selinux_is_enabled() {
        return Err(Error::new("SELinux is not enabled on this host").field("process.selinuxLabel"));
    }
    Ok(())
}

fn apparmor_is_enabled() -> bool {
    file::read_proc("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.starts_with('Y'))
}

fn selinux_is_enabled() -> bool {
    let root = file::open_dir(Path::new("/sys/fs/selinux"));
    let mounted =
        root.and_then(|root| mount::fs_magic(root.as_fd())).is_ok_and(|magic| magic == mount::SELINUX_MAGIC);
    // Without a policy all processes are "kernel", and the kernel takes any label, which means nothing.
    let own = || file::read_proc("/proc/self/attr/current");
    mounted && own().is_ok_and(|label| label.trim_end_matches(['\0', '\n']) != "kernel")
}

/// The keyring that is made next belongs to the program's label, or the program may not use it.
pub fn label_keyring(process: &Process, proc: &Proc) -> Result<()> {
    match &process.selinux {
        Some(label) => write(proc, "attr/keycreate", label).field(|| "process.selinuxLabel".into()),
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
        Some(label) => write(proc, "attr/exec", label)
            .hint(|| format!("does the policy know the label {label:?}, and let the runtime change to it?"))
            .field(|| "process.selinuxLabel".into()),
        None => Ok(()),
    }
}

/// Engines look for the name of the file, in such quotes, to tell this failure from others.
fn write(proc: &Proc, name: &str, value: &str) -> Result<()> {
    proc.write_own(name, value).doing(|| format!("write `/proc/self/{name}`"))
}
