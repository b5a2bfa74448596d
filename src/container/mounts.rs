//! `mounts add` and `mounts remove`: changes the mounts of a container that has been created and has not stopped.

use super::create::CONFIG;
use super::{Container, Status};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::log;
use crate::plan::mount_idmap::Owners;
use crate::plan::mount_label::Label;
use crate::plan::mount_options::SourceLink;
use crate::plan::mounts::{self, MountKind, MountStep, Scope};
use crate::plan::namespaces::Namespaces;
use crate::plan::rootfs;
use crate::process::mounts::{self as process, Change, Outcome};
use crate::spec::{self, Spec};
use crate::sys::ns::Ns;
use crate::sys::{Errno, file};
use oci_spec::runtime::Mount;
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Adds mounts: all of them, or none. They are on record like those of config.json from then on.
pub fn add(container: &mut Container, given: &[Mount]) -> Result<()> {
    container.lock()?;
    let mut spec = container.spec()?;
    let host = Host::probe()?;
    settle(container, &spec, &host)?;
    let mut warnings = Vec::new();
    let steps = plan(container, &spec, given, &host, &mut warnings)?;
    warnings.iter().for_each(|warning| log::line(log::Level::Warning, warning));
    steps.iter().try_for_each(check)?;
    let propagation = spec.linux.as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let (propagation, _) = rootfs::root_propagation(propagation.unwrap_or_default())?;
    let others = others(&spec, &recorded(container, &spec, &host)?)?;
    // Noted first, so that what a kill leaves can be taken away.
    save(container, ADDING, &(spec.mounts.len(), given))?;
    let added = match change(container, &steps, Change::Add(propagation), &others, &host) {
        Ok(Outcome::Done) => {
            spec.mounts.extend_from_slice(given);
            save(container, CONFIG, &spec)
        }
        Ok(Outcome::Failed(error)) => {
            forget(container)?;
            return Err(error);
        }
        Err(error) => Err(error),
    };
    match added {
        Ok(()) => forget(container),
        Err(error) => settle(container, &container.spec()?, &host).and(Err(error)),
    }
}

/// What is being added: how many mounts were on record before, and the mounts.
const ADDING: &str = "mounts.json";

/// Ends an `add`, also one that was killed: takes away what it has mounted but not put on record.
fn settle(container: &Container, spec: &Spec, host: &Host) -> Result<()> {
    let noted = match file::read_at(container.dir.fd(), ADDING, 16 << 20) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(()),
        noted => noted?,
    };
    // A record that has grown was written when all of them had been mounted: they stay.
    if let Ok((before, given)) = spec::parse_record::<(usize, Vec<Mount>)>(&noted)
        && before == spec.mounts.len()
    {
        let recorded = recorded(container, spec, host)?;
        let others = others(spec, &recorded)?;
        for step in plan(container, spec, &given, host, &mut Vec::new())?.iter().rev() {
            // That it was never mounted is no error. Over another mount of the container, which must stay, it can't be told from that.
            if recorded.iter().all(|other| other.destination != step.destination) {
                let _ = change(container, std::slice::from_ref(step), Change::Remove, &others, host);
            }
        }
    }
    forget(container)
}

fn forget(container: &Container) -> Result<()> {
    let removed = std::fs::remove_file(container.dir.path.join(ADDING));
    removed.map_err(|error| Error::new(Errno::from(error).to_string())).doing(|| format!("remove {ADDING}"))
}

/// Takes mounts away that are on record, whose destinations `given` names: all of them, or none.
pub fn remove(container: &mut Container, given: &[Mount]) -> Result<()> {
    container.lock()?;
    let mut spec = container.spec()?;
    let host = Host::probe()?;
    settle(container, &spec, &host)?;
    let mut recorded = recorded(container, &spec, &host)?;
    let mut steps = Vec::new();
    for (i, mount) in given.iter().enumerate() {
        let field = format!("mounts[{i}]");
        let destination = mounts::place(mount.destination(), &container.state.rootfs);
        let at = recorded.iter().rposition(|step| step.destination == destination);
        let at = at.ok_or_else(|| {
            Error::new(format!("{:?} is no mount of this container", mount.destination()))
                .field(format!("{field}.destination"))
        })?;
        steps.push(MountStep { field, ..recorded.remove(at) });
        spec.mounts.remove(at);
    }
    change(container, &steps, Change::Remove, &others(&spec, &recorded)?, &host)?.done()?;
    save(container, CONFIG, &spec)
}

/// The mounts that the container has by its record. What there is to warn of has been said when they were made.
fn recorded(container: &Container, spec: &Spec, host: &Host) -> Result<Vec<MountStep>> {
    plan(container, spec, &spec.mounts, host, &mut Vec::new())
}

fn plan(
    container: &Container,
    spec: &Spec,
    given: &[Mount],
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<Vec<MountStep>> {
    let linux = spec.linux.as_ref().ok_or_else(|| Error::new("missing").field("linux"))?;
    let namespaces = Namespaces::new(linux)?;
    let owners = Owners { namespaces: &namespaces, can_mount: host.can_mount };
    let label = Label::new(linux.mount_label().as_deref(), &spec.annotations)?;
    let scope = Scope { bundle: &container.state.bundle, root: &container.state.rootfs, owners, label };
    mounts::plan(given, scope, warnings)
}

/// What else is mounted: what confines the container, and its mounts on record.
fn others(spec: &Spec, recorded: &[MountStep]) -> Result<Vec<PathBuf>> {
    let linux = spec.linux.as_ref();
    let mut others: Vec<PathBuf> = recorded.iter().map(|step| step.destination.clone()).collect();
    for (paths, name) in [
        (linux.and_then(|linux| linux.masked_paths().as_deref()), "maskedPaths"),
        (linux.and_then(|linux| linux.readonly_paths().as_deref()), "readonlyPaths"),
    ] {
        others.extend(rootfs::paths(paths, name)?.into_iter().map(|path| path.path));
    }
    Ok(others)
}

/// What could not be taken away again, or would show something else than in a container that is being made.
fn check(step: &MountStep) -> Result<()> {
    let what = match &step.kind {
        MountKind::Bind { link: SourceLink::Copied, .. } => "copy-symlink makes no mount",
        MountKind::Bind { within: Some(_), .. } => "its source is what another one mounts",
        MountKind::Bind { .. } => return Ok(()),
        MountKind::New { fs, .. } if fs == "proc" => "it would show the processes of the host",
        MountKind::New { .. } => return Ok(()),
        MountKind::Remount { .. } => "a remount adds nothing",
        MountKind::Cgroup => "a cgroup mount belongs to the container's creation",
    };
    Err(Error::new(format!("can't be added to a container that runs: {what}")).field(step.field.clone()))
}

fn change(
    container: &Container,
    steps: &[MountStep],
    change: Change,
    others: &[PathBuf],
    host: &Host,
) -> Result<Outcome> {
    let state = &container.state;
    let (status, pidfd) = container.look()?;
    let (init, pidfd) = match (status, state.init.zip(pidfd)) {
        (Status::Created | Status::Running | Status::Paused, Some(init)) => init,
        _ => return Err(Error::new(format!("the container is {}", status.name()))),
    };
    if !state.namespaces.has(Ns::Mount) {
        return Err(Error::new("the container has no mount namespace of its own"));
    }
    process::change(&process::Request {
        steps,
        change,
        others,
        host,
        init: (init.pid, pidfd.as_fd()),
        namespaces: state.namespaces,
        root_ids: state.root_ids,
    })
}

fn save(container: &Container, name: &str, what: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(what).map_err(|error| Error::new(error.to_string()))?;
    file::replace_at(container.dir.fd(), name, &bytes, 0o600).doing(|| "record the mounts".into())
}
