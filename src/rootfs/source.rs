//! The objects that a container's tree is put together from, as detached mounts: opened while all paths are the host's own.

use super::bind;
use super::device;
use super::flags;
use super::fresh::{self, Wanted, new_fs};
use super::idmapped::UserNamespaces;
use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::plan::mount_options::Data;
use crate::plan::mounts::{self, MountKind, MountStep};
use crate::plan::rootfs::DeviceStep;
use crate::sys::mount::{self, Attributes, Propagation, attr};
use crate::sys::proc::Proc;
use crate::sys::{CallError, Errno, file, path, selinux};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where the container's own cgroup is on the host, for a mount of type `cgroup`.
#[derive(Debug, Clone)]
pub enum CgroupTree {
    /// The one directory of cgroup v2.
    Unified(PathBuf),
    /// A directory for each hierarchy of cgroup v1, by its name below `/sys/fs/cgroup`; and links beside them, as (name, target):
    /// `cpu` for `cpu,cpuacct`.
    Hierarchies(Vec<(String, PathBuf)>, Vec<(String, String)>),
    /// The container has no cgroup of its own.
    None,
}

/// What is put at the destination of one mount.
#[derive(Debug)]
pub enum Source {
    /// A detached mount of a directory.
    Directory(OwnedFd),
    /// A detached mount of another file.
    File(OwnedFd),
    /// A new tmpfs, to be filled first with what lies at the destination.
    CopyUp(OwnedFd),
    /// A symbolic link of this content is made instead of a mount.
    Link(PathBuf),
    /// Something inside the container, to be opened when the mounts before are in place.
    Within(Option<Propagation>),
    /// The hierarchies of cgroup v1, to be put below a new tmpfs.
    Hierarchies { tmpfs: Option<OwnedFd>, dirs: Vec<(String, OwnedFd)>, links: Vec<(String, String)> },
    /// Nothing yet (a new file system), or nothing at all (a change of a mount that is there).
    Nothing,
}

/// The detached mounts of a plan. Those of the host are opened by whoever may, with [`Sources::open_host`]; new file systems belong
/// to the namespaces of the process that makes them, so that they are init's, with [`Sources::open_new`].
#[derive(Debug)]
pub struct Sources {
    root: OwnedFd,
    mounts: Vec<Source>,
    devices: Vec<Option<OwnedFd>>,
    null: Option<OwnedFd>,
}

impl Sources {
    /// The root, the sources of binds, the container's cgroup, and the host's devices. Init, when it opens them itself, makes the new
    /// file systems in between (`new_too`): since Linux 6.8 mountinfo is sorted by the moment when a mount was made, and is to show the
    /// order of config.json.
    pub fn open_host(
        plan: &Plan,
        cgroup: &CgroupTree,
        users: &UserNamespaces,
        new_too: bool,
    ) -> Result<Self> {
        // With the "." it has to be a directory.
        let root = mount::clone_path(&plan.root.path.join("."), true).field(|| "root.path".into())?;
        mount::set_attributes(root.as_fd(), Attributes::default(), Some(Propagation::Slave), true)?;
        let inherited = inherited_propagation(plan.root.propagation.0);
        let outside: Vec<_> = plan.devices.iter().filter(|step| step.outside.is_some()).collect();
        let mut made = device::make_outside(&outside)?.into_iter();
        let device = |step: &DeviceStep| match step.outside {
            Some(_) => Ok(made.next()),
            None => step.bind.then(|| open_device(step)).transpose(),
        };
        Ok(Sources {
            mounts: open_mounts(&plan.mounts, Some(root.as_fd()), cgroup, users, inherited, new_too)?,
            root,
            devices: plan.devices.iter().map(device).collect::<Result<_>>()?,
            null: if plan.masked.is_empty() { None } else { Some(open_null()?) },
        })
    }

    /// Makes the new file systems, of the namespaces that the process is in. It has to happen before the old root goes: in a user
    /// namespace the kernel gives a new proc or sysfs only where a whole one is in sight.
    pub fn open_new(&mut self, plan: &Plan) -> Result<()> {
        make_new(&plan.mounts, Some(self.root.as_fd()), &mut self.mounts, plan.mount_label.as_ref())
    }

    /// The container's new procfs, if it has a whole one, for writing through before any program is in there. With a thousand containers
    /// a name below `net` is found in 0.9 ms in the host's procfs, where the entries of all network namespaces are in one chain of the
    /// kernel's cache, and at once in a new one.
    pub fn new_procfs(&self, plan: &Plan) -> Result<Option<Proc>> {
        match mounts::whole_procfs(&plan.mounts).map(|i| &self.mounts[i]) {
            Some(Source::Directory(procfs)) => Ok(Some(Proc::of(procfs.as_fd())?)),
            _ => Ok(None),
        }
    }

    /// Takes the parts: the root, one source for each mount of the plan and one place for each of its devices, and `/dev/null`.
    pub fn into_parts(self) -> (OwnedFd, Vec<Source>, Vec<Option<OwnedFd>>, Option<OwnedFd>) {
        (self.root, self.mounts, self.devices, self.null)
    }
}

/// Opens what the mounts take from the host. An id-mapped new file system is made here too: one that belonged to a user namespace
/// of the container could be mapped by nobody.
pub fn open_mounts(
    steps: &[MountStep],
    root: Option<BorrowedFd>,
    cgroup: &CgroupTree,
    users: &UserNamespaces,
    inherited: Option<Propagation>,
    new_too: bool,
) -> Result<Vec<Source>> {
    let open = |(i, step): (usize, &MountStep)| match (&step.kind, &step.id_map) {
        (MountKind::New { .. }, Some(_)) => {
            let source = make(steps, i, root)?;
            if let Source::Directory(tree) | Source::CopyUp(tree) = &source {
                users.apply(tree.as_fd(), step)?;
            }
            Ok(source)
        }
        (MountKind::New { .. }, None) if new_too => make(steps, i, root),
        _ => open_host(step, cgroup, users, inherited),
    };
    steps.iter().enumerate().map(open).collect()
}

/// Makes those new file systems that are not made yet. `label` is for those that config.json does not name.
pub fn make_new(
    steps: &[MountStep],
    root: Option<BorrowedFd>,
    sources: &mut [Source],
    label: Option<&Data>,
) -> Result<()> {
    for (i, source) in sources.iter_mut().enumerate() {
        match (&steps[i].kind, &mut *source) {
            (MountKind::New { .. }, Source::Nothing) => *source = make(steps, i, root)?,
            (_, Source::Hierarchies { tmpfs, .. }) => {
                // It becomes read-only only when it has been filled.
                let attributes = steps[i].attributes.set & !attr::RDONLY;
                let mode = ("mode".to_owned(), Some("755".to_owned()));
                let data: Vec<Data> = label.cloned().into_iter().chain([mode]).collect();
                let wanted =
                    Wanted { fs: "tmpfs", source: Some("cgroup"), flags: &[], data: &data, attributes };
                *tmpfs = Some(new_fs(wanted).field(|| steps[i].field.clone())?);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes the new file system of one step.
fn make(steps: &[MountStep], i: usize, root: Option<BorrowedFd>) -> Result<Source> {
    let step = &steps[i];
    let MountKind::New { fs, source, flags, data, label, copy_up } = &step.kind else {
        return Ok(Source::Nothing);
    };
    let covered = steps[..i].iter().any(|before| step.destination.starts_with(&before.destination));
    let mut data = data.clone();
    if fs == "tmpfs" && !covered && !data.iter().any(|(key, _)| key == "mode") {
        data.extend(root.and_then(|root| mode_of(root, &step.destination)));
    }
    let later = if step.is_sealed_later() { attr::RDONLY } else { 0 };
    let attributes = step.attributes.set & !later;
    let new = match new_fs(Wanted { fs, source: source.as_deref(), flags, data: &data, attributes }) {
        Err(error) if fs == "sysfs" && error.errno() == Some(Errno::EPERM) => {
            fresh::hosts_sysfs(step.attributes.set)
        }
        other => other,
    };
    let new = new.field(|| step.field.clone())?;
    if let Some(label) = label {
        selinux::label_dir(new.as_fd(), label).field(|| step.field.clone())?;
    }
    set_propagation(new.as_fd(), step, &step.propagation)?;
    Ok(if *copy_up { Source::CopyUp(new) } else { Source::Directory(new) })
}

/// The mode of the directory that a tmpfs will cover, as an option of the tmpfs. The kernel gives it mode 1777 unless it is told
/// another: over `/run` of an image that would let everybody in. A destination that can't be reached is reported when it is needed.
fn mode_of(root: BorrowedFd, destination: &Path) -> Option<Data> {
    let found = path::find(root, destination).ok().flatten()?;
    let stat = file::stat(found.as_fd()).ok()?;
    Some(("mode".to_owned(), Some(format!("{:o}", stat.mode))))
}

/// The propagation of a bind that asks for none. As in runc it is what the root's propagation made of all mounts of the new mount
/// namespace, among which runc looks the source up.
pub fn inherited_propagation(root: Propagation) -> Option<Propagation> {
    match root {
        Propagation::Shared => None,
        Propagation::Slave => Some(Propagation::Slave),
        Propagation::Private | Propagation::Unbindable => Some(Propagation::Private),
    }
}

fn open_host(
    step: &MountStep,
    cgroup: &CgroupTree,
    users: &UserNamespaces,
    inherited: Option<Propagation>,
) -> Result<Source> {
    match (&step.kind, cgroup) {
        (MountKind::Bind { within: Some(_), .. }, _) => Ok(Source::Within(inherited)),
        (MountKind::Bind { source, recursive, link, .. }, _) => {
            let opened = bind::open(source, *recursive, *link).field(|| format!("{}.source", step.field))?;
            bind::source(opened, step, inherited, |tree| users.apply(tree, step))
        }
        (MountKind::Cgroup, CgroupTree::Unified(dir)) => {
            let tree = cgroup_dir(dir, step)?;
            configure(tree.as_fd(), step, Some(Propagation::Private), false)?;
            Ok(Source::Directory(tree))
        }
        (MountKind::Cgroup, CgroupTree::Hierarchies(dirs, links)) => {
            let open = |(name, dir): &(String, PathBuf)| Ok((name.clone(), cgroup_dir(dir, step)?));
            let dirs = dirs.iter().map(open).collect::<Result<_>>()?;
            Ok(Source::Hierarchies { tmpfs: None, dirs, links: links.clone() })
        }
        (MountKind::Cgroup, CgroupTree::None) => {
            Err(Error::new("the container has no cgroup to mount").field(step.field.clone()))
        }
        (MountKind::New { .. } | MountKind::Remount { .. }, _) => Ok(Source::Nothing),
    }
}

/// The container's own directory of a cgroup hierarchy. A bind of it shows the same as a new mount in the container's cgroup
/// namespace would, and without such a namespace it keeps the cgroups of others out of sight (CVE-2023-25809); it costs
/// 0.02 ms, while a new mount of cgroup2 was measured at 21 ms where it changes the flags of the root.
fn cgroup_dir(dir: &Path, step: &MountStep) -> Result<OwnedFd> {
    mount::clone_path(dir, false).field(|| step.field.clone())
}

/// Sets the attributes and propagation of a copied mount: first the propagation that it has where no option names one, on all mounts of
/// the tree.
pub fn configure(
    tree: BorrowedFd,
    step: &MountStep,
    inherited: Option<Propagation>,
    has_submounts: bool,
) -> Result<()> {
    let field = || format!("{}.options", step.field);
    let (first, then) = needed(inherited, &step.propagation, has_submounts);
    if has_submounts && first.is_some() {
        mount::set_attributes(tree, Attributes::default(), first, true).field(field)?;
        flags::set(tree, step, None).field(field)?;
    } else {
        flags::set(tree, step, first).field(field)?;
    }
    if !step.recursive.is_empty() {
        mount::set_attributes(tree, step.recursive, None, true).hint(flags::hint).field(field)?;
    }
    set_propagation(tree, step, then)
}

/// What has to be set of a propagation that is inherited and of those that options name: private and unbindable leave nothing of what a
/// mount was before, while slave and shared depend on it. Of a single mount the last such one comes in the place of the inherited one, and
/// so costs no call of its own; in a tree only one for all of its mounts makes the inherited one needless.
fn needed(
    inherited: Option<Propagation>,
    named: &[(Propagation, bool)],
    has_submounts: bool,
) -> (Option<Propagation>, &[(Propagation, bool)]) {
    let leaves_nothing = |(propagation, recursive): &(Propagation, bool)| {
        matches!(propagation, Propagation::Private | Propagation::Unbindable)
            && (*recursive || !has_submounts)
    };
    match named.iter().rposition(leaves_nothing) {
        Some(last) if has_submounts => (None, &named[last..]),
        Some(last) => (Some(named[last].0), &named[last + 1..]),
        None => (inherited, named),
    }
}

fn set_propagation(tree: BorrowedFd, step: &MountStep, propagation: &[(Propagation, bool)]) -> Result<()> {
    for (propagation, recursive) in propagation {
        mount::set_attributes(tree, Attributes::default(), Some(*propagation), *recursive)
            .field(|| format!("{}.options", step.field))?;
    }
    Ok(())
}

/// The host's own node of a device. Its mount is that of the host's `/dev`: what the container mounts over it must not reach that.
fn open_device(step: &DeviceStep) -> Result<OwnedFd> {
    let open = || {
        let node = mount::clone_path(&Path::new("/").join(&step.path), false)?;
        let attributes = Attributes { set: attr::NOSUID | attr::NOEXEC, clear: 0 };
        mount::set_attributes(node.as_fd(), attributes, Some(Propagation::Private), false)?;
        Ok::<_, CallError>(node)
    };
    open().field(|| step.field.clone())
}

/// The host's own `/dev/null`, for masked files. One that the container made, or exchanged, could be anything (CVE-2025-31133).
fn open_null() -> Result<OwnedFd> {
    let null = mount::clone_path(Path::new("/dev/null"), false)?;
    let stat = file::stat(null.as_fd())?;
    if stat.rdev != (1, 3) {
        return Err(CallError {
            call: "open_tree(/dev/null): not the null device".into(),
            errno: Errno::ENODEV,
        }
        .into());
    }
    mount::set_attributes(null.as_fd(), Attributes::default(), Some(Propagation::Private), false)?;
    Ok(null)
}

#[cfg(test)]
mod tests {
    use super::needed;
    use crate::sys::mount::Propagation::{Private, Shared, Slave, Unbindable};

    #[test]
    fn only_what_leaves_nothing_of_before_makes_that_needless() {
        let slave = Some(Slave);
        // One mount: recursion reaches nothing else.
        for all in [false, true] {
            assert_eq!(needed(slave, &[(Private, all)], false), (Some(Private), &[][..]));
            assert_eq!(needed(None, &[(Unbindable, all)], false), (Some(Unbindable), &[][..]));
            assert_eq!(needed(slave, &[(Shared, all)], false), (slave, &[(Shared, all)][..]));
            assert_eq!(needed(slave, &[(Slave, all)], false), (slave, &[(Slave, all)][..]));
            let then = [(Shared, all), (Private, all), (Shared, all)];
            assert_eq!(needed(slave, &then, false), (Some(Private), &then[2..]));
        }
        assert_eq!(needed(slave, &[], false), (slave, &[][..]));
        // A tree: what is not for all of it leaves the rest as it was.
        assert_eq!(needed(slave, &[(Private, true)], true), (None, &[(Private, true)][..]));
        assert_eq!(needed(slave, &[(Private, false)], true), (slave, &[(Private, false)][..]));
        assert_eq!(needed(slave, &[(Slave, true)], true), (slave, &[(Slave, true)][..]));
        let then = [(Private, true), (Private, false), (Shared, true)];
        assert_eq!(needed(slave, &then, true), (None, &then[..]));
    }
}
