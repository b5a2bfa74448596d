//! The mounts of config.json as steps.
//!
//! What belongs here: what each mount is, from its type and options, and which ones are refused. What does
//! not: whether sources and destinations exist, and the symbolic links on their ways.

use super::mount_idmap::{MountIdMap, Owners};
use super::mount_label::Label;
use super::mount_options::{self, Data, MountOptions, SourceLink};
use super::mount_root;
use crate::error::{Context, Error, Result};
use crate::sys::mount::{Attributes, Propagation, attr};
use crate::sys::ns::Ns;
use oci_spec::runtime::Mount;
use std::path::{Component, Path, PathBuf};

#[cfg(test)]
mod tests;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountStep {
    /// Where, relative to the container's root.
    pub destination: PathBuf,
    /// What.
    pub kind: MountKind,
    /// Changes to the mount itself. Of a new file system `set` is all there is.
    pub attributes: Attributes,
    /// What of them holds only where the kernel lets it.
    pub implied: Implied,
    /// Changes to the mount and all mounts below it, made after those of `attributes`.
    pub recursive: Attributes,
    /// Propagation, to be set in this order, each for the mount or (`true`) for all mounts below it too.
    pub propagation: Vec<(Propagation, bool)>,
    /// Translation of the files' owners.
    pub id_map: Option<MountIdMap>,
    /// The destination has to be there, and is not followed if it is a symbolic link.
    pub no_follow: bool,
    /// `mounts[3]`
    pub field: String,
}

impl MountStep {
    /// A tmpfs becomes read-only only when its mount points and devices have been made.
    pub fn is_sealed_later(&self) -> bool {
        let tmpfs = matches!(&self.kind, MountKind::New { fs, .. } if fs == "tmpfs");
        tmpfs && self.attributes.set & attr::RDONLY != 0
    }
}

/// The first new procfs that is whole and writable and stays so: nothing is mounted on it or below it.
pub fn whole_procfs(steps: &[MountStep]) -> Option<usize> {
    let whole = |step: &MountStep| {
        let plain = matches!(&step.kind, MountKind::New { fs, flags, data, .. } if fs == "proc" && flags.is_empty() && data.is_empty());
        let writable = (step.attributes.set | step.recursive.set) & attr::RDONLY == 0;
        plain && writable && step.id_map.is_none()
    };
    let i = steps.iter().position(whole)?;
    let over = |step: &MountStep| step.destination.starts_with(&steps[i].destination);
    if steps[i + 1..].iter().any(over) { None } else { Some(i) }
}

/// As soon as an option names any flag, a bind has exactly those that are named, as in runc; otherwise it keeps those of its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Implied {
    /// Bits of the attributes to clear that are only left out, not named: one that is locked stays.
    pub clear: u64,
    /// The source's flags are locked, because the container is in a user namespace.
    pub locked: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// On the host, absolute.
        source: PathBuf,
        /// With all mounts below it.
        recursive: bool,
        /// What becomes of the source if it is a symbolic link.
        link: SourceLink,
        /// The source has to lie on procfs: it becomes the container's `/proc`, and whatever else is there
        /// can fake what the runtime and its callers read and write (CVE-2019-16884).
        procfs: bool,
        /// The source lies inside the container, relative to its root, and is to be found when the mounts before this one are in
        /// place: one of them has a part in it.
        within: Option<PathBuf>,
    },
    /// A file system of its own.
    New {
        /// Its type: `tmpfs`.
        fs: String,
        /// What it comes from, where the type has a use for it; otherwise its name in mountinfo.
        source: Option<String>,
        /// Flags of the superblock, for `FSCONFIG_SET_FLAG`, in order: `sync`, `dirsync`, `lazytime` ...
        flags: Vec<&'static str>,
        /// Options of the file system, in order; one with a value is for `FSCONFIG_SET_STRING`, else for
        /// `FSCONFIG_SET_FLAG`.
        data: Vec<Data>,
        /// The SELinux label of its root, of a type that takes none as an option.
        label: Option<String>,
        /// Copy what is at the destination into it first (`tmpcopyup`, tmpfs only).
        copy_up: bool,
    },
    /// The container's cgroup, by whatever cgroup layout the host has.
    Cgroup,
    /// A change of the mount that is there already. `ro` and the like change the mount, not the file system,
    /// which other mounts may share.
    Remount {
        /// Flags of the superblock, as of `New`; none with the option `bind`.
        flags: Vec<&'static str>,
        /// Options of the file system, as of `New`; none with the option `bind`.
        data: Vec<Data>,
    },
}

/// What the mounts are for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The bundle directory, which relative sources are relative to.
    pub bundle: &'a Path,
    /// The container's root on the host.
    pub root: &'a Path,
    /// What id maps can refer to.
    pub owners: Owners<'a>,
    /// `linux.mountLabel`
    pub label: Option<Label<'a>>,
}

/// The steps for `mounts` of config.json, in its order.
pub fn plan(mounts: &[Mount], scope: Scope, warnings: &mut Vec<String>) -> Result<Vec<MountStep>> {
    let mut steps: Vec<MountStep> = Vec::with_capacity(mounts.len());
    for (i, mount) in mounts.iter().enumerate() {
        let field = format!("mounts[{i}]");
        let destination = destination(mount, scope.root, &field, warnings)?;
        let mut step = step(mount, destination, scope, &field, warnings)?;
        if let MountKind::Bind { source, within, .. } = &mut step.kind {
            let before = steps.iter().map(|step| step.destination.as_path());
            *within = mount_root::made_before(source, scope.root, before);
        }
        steps.push(step);
    }
    Ok(steps)
}

fn step(
    mount: &Mount,
    destination: PathBuf,
    scope: Scope,
    field: &str,
    warnings: &mut Vec<String>,
) -> Result<MountStep> {
    let options = MountOptions::new(mount.options().as_deref().unwrap_or_default(), field)?;
    let place = lexical(&destination);
    let kind = kind(mount, &options, scope, field, place == Path::new("proc"), warnings)?;
    check_proc(&place, &kind).field(|| format!("{field}.destination"))?;
    check_links(&options, &kind)?;
    let id_map = MountIdMap::new(mount, options.id_map.as_ref(), scope.owners, field)?;
    if id_map.is_some() && !matches!(kind, MountKind::Bind { .. } | MountKind::New { .. }) {
        let what = "only a bind mount or a new file system can be id-mapped";
        return Err(Error::new(what).field(field));
    }
    let no_follow = options.no_follow.is_some();
    let MountOptions { mut attributes, mut recursive, propagation, names_flags, .. } = options;
    let mut implied = Implied::default();
    if matches!(kind, MountKind::Bind { .. }) && names_flags {
        let exact = mount_options::exactly(attributes);
        implied.clear = exact.clear & !attributes.clear;
        implied.locked = scope.owners.namespaces.contains(Ns::User);
        attributes = exact;
    }
    if matches!(kind, MountKind::New { .. }) {
        // Nothing is mounted below a new file system yet: what is recursive reaches the mount alone.
        mount_options::merge(&mut attributes, recursive);
        recursive = Attributes::default();
    }
    let field = field.to_owned();
    Ok(MountStep { destination, kind, attributes, implied, recursive, propagation, id_map, no_follow, field })
}

/// crun's options about symbolic links, where they have no meaning.
fn check_links(options: &MountOptions, kind: &MountKind) -> Result<()> {
    let (link, field) = &options.source;
    let wrong = |what: &str, field: &Option<String>| {
        Err(Error::new(what).field(field.as_deref().unwrap_or_default()))
    };
    match kind {
        MountKind::Bind { .. } if *link == SourceLink::Copied && options.no_follow.is_some() => wrong(
            "copy-symlink makes the destination, so that there is nothing to follow",
            &options.no_follow,
        ),
        MountKind::Bind { .. } => Ok(()),
        _ if *link != SourceLink::Followed => wrong("only a bind mount has a source to follow", field),
        MountKind::Remount { .. } if options.no_follow.is_some() => {
            wrong("there is no mount on a symbolic link to change", &options.no_follow)
        }
        _ => Ok(()),
    }
}

/// "destination (string, REQUIRED) Destination of mount point: path inside container. Linux: This value
/// SHOULD be an absolute path." `..` stays: it is resolved inside the root when the mount is made.
fn destination(mount: &Mount, root: &Path, field: &str, warnings: &mut Vec<String>) -> Result<PathBuf> {
    let given = mount.destination();
    let below = mount_root::below(given, root);
    if let Some(below) = &below {
        let taken = below.display();
        warnings.push(format!("{field}.destination: {given:?} is below root.path, taken as /{taken}"));
    }
    let inside = below.unwrap_or_else(|| inside(given));
    if lexical(&inside).as_os_str().is_empty() {
        return Err(Error::new(format!("{given:?} is the root itself"))
            .field(format!("{field}.destination"))
            .hint("root.path and root.readonly are about the root"));
    }
    if given.is_relative() {
        warnings.push(format!("{field}.destination: {given:?} is relative, taken as /{}", inside.display()));
    }
    Ok(inside)
}

/// Where a mount with this destination is, relative to the root. One that begins with the root's own path on the host is taken from there.
pub fn place(destination: &Path, root: &Path) -> PathBuf {
    mount_root::below(destination, root).unwrap_or_else(|| inside(destination))
}

/// A path inside the container, relative to its root, without `.` and doubled slashes.
pub fn inside(path: &Path) -> PathBuf {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    let mut inside = PathBuf::with_capacity(path.as_os_str().len());
    inside.extend(parts);
    inside
}

/// What is mounted. "For bind mounts (when options include either bind or rbind), the type is a dummy, often
/// "none"."
fn kind(
    mount: &Mount,
    options: &MountOptions,
    scope: Scope,
    field: &str,
    procfs: bool,
    warnings: &mut Vec<String>,
) -> Result<MountKind> {
    let fs = mount.typ().as_deref().unwrap_or_default();
    let source = mount.source().as_deref().filter(|source| !source.as_os_str().is_empty());
    if let (Some(field), false) = (&options.copy_up, fs == "tmpfs") {
        return Err(Error::new("only a tmpfs can be filled by tmpcopyup").field(field.clone()));
    }
    if options.remount {
        if options.bind.is_some() {
            options.without_effect(warnings)?;
            return Ok(MountKind::Remount { flags: Vec::new(), data: Vec::new() });
        }
        return Ok(MountKind::Remount { flags: options.flags.clone(), data: options.data.clone() });
    }
    if options.bind.is_some() || fs == "bind" || fs == "none" {
        options.without_effect(warnings)?;
        let missing = || Error::new("missing: a bind mount needs one").field(format!("{field}.source"));
        let source = scope.bundle.join(source.ok_or_else(missing)?);
        let (recursive, link) = (options.bind.unwrap_or(false), options.source.0);
        return Ok(MountKind::Bind { source, recursive, link, procfs, within: None });
    }
    match fs {
        "" => Err(Error::new("missing")
            .field(format!("{field}.type"))
            .hint("a mount has a file system type or the option bind or rbind")),
        "cgroup" | "cgroup2" => {
            options.no_data("a cgroup mount")?;
            Ok(MountKind::Cgroup)
        }
        _ => {
            let mut data = options.data.clone();
            // Every devpts is a new instance since Linux 4.7.
            data.retain(|(key, _)| fs != "devpts" || key != "newinstance");
            let label = scope.label.and_then(|label| label.add_to(&mut data, fs));
            // Without a namespace of its own it shows the message queues of the host, which stay as they are.
            let label = label.filter(|_| scope.owners.namespaces.contains(Ns::Ipc));
            Ok(MountKind::New {
                fs: fs.to_owned(),
                source: source.map(|source| source.to_string_lossy().into_owned()),
                flags: options.flags.clone(),
                data,
                label,
                copy_up: options.copy_up.is_some(),
            })
        }
    }
}

/// Files of proc that may be bind-mounted over: what [lxcfs](https://linuxcontainers.org/lxcfs/) shows a
/// container of itself, and two single values.
const PROC_FILES: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// Refuses what would hide parts of `/proc`: there the container, its callers and the runtime read and write
/// what they must be able to trust (CVE-2019-16884). `place` is lexical; symbolic links on the way to it are found when the mount
/// is made.
fn check_proc(place: &Path, kind: &MountKind) -> Result<()> {
    let Ok(below) = place.strip_prefix("proc") else { return Ok(()) };
    let shown = Path::new("/").join(place);
    let allowed = match kind {
        MountKind::Remount { .. } => true,
        MountKind::Bind { procfs: true, .. } => true,
        MountKind::New { fs, .. } if below.as_os_str().is_empty() => fs == "proc",
        MountKind::Bind { .. } => PROC_FILES.iter().any(|file| below == Path::new(file)),
        _ => false,
    };
    match allowed {
        true => Ok(()),
        false if below.as_os_str().is_empty() => {
            Err(Error::new(format!("{shown:?} cannot be mounted because it is not of type proc")))
        }
        false => Err(Error::new(format!("{shown:?} cannot be mounted because it is inside /proc"))),
    }
}

/// The path with `..` taken away as if there were no symbolic links.
pub fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::with_capacity(path.as_os_str().len());
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    clean
}
