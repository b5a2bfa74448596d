//! The container's root file system: carries out the plan's mounts, devices, masks and the pivot.
//!
//! The order is what makes it safe. Every object of the host is opened before as a detached mount, while all paths
//! are the host's own; then the new root is entered, and only then are paths inside of it resolved, by descriptor and
//! confined to the root. From there on no path leads to the host.

mod aside;
mod attach;
mod bind;
mod device;
mod flags;
mod fresh;
mod graft;
mod idmapped;
mod mask;
mod no_pivot;
mod source;

pub use graft::{Graft, take_away};
pub use idmapped::UserNamespaces;
pub use source::{CgroupTree, Sources};

use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::sys::mount::{self, Attributes, Propagation, attr};
use crate::sys::ns::{self, Ns, NsSet};
use crate::sys::path::{self, Places};
use crate::sys::{file, process};
use attach::Unsealed;
use source::Source;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The root file system of a container that is being made, in the container's mount namespace.
#[derive(Debug)]
pub struct Rootfs<'a> {
    plan: &'a Plan,
    root: OwnedFd,
    mounts: Vec<Source>,
    devices: Vec<Option<OwnedFd>>,
    null: Option<OwnedFd>,
    unsealed: Vec<Unsealed<'a>>,
}

impl<'a> Rootfs<'a> {
    /// Attaches the root, still detached in `sources`, to the mount namespace that the process is in. Nothing that is mounted
    /// in it from now on reaches the host.
    ///
    /// Hooks that run before the pivot expect the root where config.json says it is; without such hooks it is stacked on `/`,
    /// which also works where init, in a user namespace, may not search the directories above the root.
    pub fn attach(plan: &'a Plan, sources: Sources) -> Result<Self> {
        let slash = file::open_dir(Path::new("/"))?;
        // Mounts of the host still come in, as in every runtime; none goes out.
        mount::set_attributes(slash.as_fd(), Attributes::default(), Some(Propagation::Slave), true)?;
        let (root, mounts, devices, null) = sources.into_parts();
        let place = if runs_hooks_before_pivot(plan) { file::open_dir(&plan.root.path) } else { Ok(slash) };
        let place = place.field(|| "root.path".into())?;
        mount::attach(root.as_fd(), place.as_fd()).field(|| "root.path".into())?;
        file::leave_open(place);
        Ok(Rootfs { plan, root, mounts, devices, null, unsealed: Vec::new() })
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Makes the root the process's root and takes the host's tree away.
    pub fn pivot(&self) -> Result<()> {
        process::change_dir(self.root.as_fd())?;
        if self.plan.root.no_pivot {
            let populated = runs_hooks_before_pivot(self.plan);
            // As mountinfo has it: the process stands there now.
            let own = if populated { Some(process::current_dir()?) } else { None };
            no_pivot::hide_hosts_procfs(own.as_deref())?;
            let slash = file::open_dir(Path::new("/"))?;
            if populated {
                mount::attach(self.root.as_fd(), slash.as_fd())?;
            }
            return Ok(process::chroot_here()?);
        }
        mount::pivot_here()
            .hint(|| "where the host's own root is an initramfs, use --no-pivot".into())
            .field(|| "root.path".into())?;
        // The old root lies on top of the new one now, and its mounts are slaves: nothing of this reaches the host.
        Ok(mount::detach_here()?)
    }

    /// Puts the mounts, devices and links into place. `map_owners` maps a detached mount as the mount of this index says, for those that
    /// could not be opened before.
    pub fn populate(&mut self, map_owners: impl Fn(usize, BorrowedFd) -> Result<()>) -> Result<()> {
        for (i, (step, source)) in self.plan.mounts.iter().zip(self.mounts.drain(..)).enumerate() {
            let source = match source {
                Source::Within(inherited) => {
                    bind::open_within(self.root.as_fd(), step, inherited, |tree| map_owners(i, tree))?
                }
                opened => opened,
            };
            self.unsealed.extend(attach::put(self.root.as_fd(), step, source)?);
        }
        let mut places = Places::inside(self.root.as_fd());
        for (step, source) in self.plan.devices.iter().zip(self.devices.drain(..)) {
            device::put(self.root.as_fd(), &mut places, step, source).field(|| step.field.clone())?;
        }
        for (link, target) in &self.plan.links {
            device::link(self.root.as_fd(), &mut places, link, target)?;
        }
        places.leave_open();
        Ok(())
    }

    /// Makes the working directory of the process where it does not exist.
    pub fn make_cwd(&self, cwd: &Path) -> Result<()> {
        let inside = cwd.strip_prefix("/").unwrap_or(cwd);
        if !inside.as_os_str().is_empty() {
            path::make_dirs(self.root.as_fd(), inside)?;
        }
        Ok(())
    }

    /// Puts the slave of the container's terminal at `/dev/console`.
    pub fn put_console(&self, slave: BorrowedFd) -> Result<()> {
        device::console(self.root.as_fd(), slave)
    }

    /// Hides and protects what config.json says, and sets the root's own propagation and read-only state: the end, because nothing
    /// can be made in it any more.
    pub fn seal(mut self) -> Result<()> {
        mask::hide(self.root.as_fd(), &self.plan.masked, self.null.take(), self.plan.mount_label.as_ref())?;
        for path in &self.plan.readonly {
            mask::protect(self.root.as_fd(), &path.path).field(|| path.field.clone())?;
        }
        self.unsealed.drain(..).try_for_each(Unsealed::seal)?;
        let (propagation, recursive) = self.plan.root.propagation;
        if (propagation, recursive) != (Propagation::Slave, true) {
            mount::set_attributes(self.root.as_fd(), Attributes::default(), Some(propagation), recursive)
                .field(|| "linux.rootfsPropagation".into())?;
        }
        if self.plan.root.readonly {
            let readonly = Attributes { set: attr::RDONLY, clear: 0 };
            mount::set_attributes(self.root.as_fd(), readonly, None, false)
                .field(|| "root.readonly".into())?;
        }
        file::leave_open(self.root);
        Ok(())
    }
}

/// Leaves the mount namespace that the container's tree was made in for `outer`, the runtime's, and takes the tree along as the root of
/// the process: a detached copy, which is nobody's mount and ends with the last process that has its root there.
pub fn leave_with_root(outer: BorrowedFd) -> Result<()> {
    let root = file::open_dir(Path::new("/"))?;
    // An unbindable mount would not come along, and to a mount in no namespace nothing is propagated anyway.
    mount::set_attributes(root.as_fd(), Attributes::default(), Some(Propagation::Private), true)?;
    let tree = mount::clone_fd(root.as_fd(), true)?;
    ns::join(outer, NsSet::default().with(Ns::Mount)).field(|| "linux.namespaces".into())?;
    process::change_dir(tree.as_fd())?;
    process::chroot_here()?;
    file::leave_open(tree);
    Ok(())
}

/// Whether hooks have to find the mounts in place while the host's tree is still there.
pub fn runs_hooks_before_pivot(plan: &Plan) -> bool {
    let hooks = &plan.hooks;
    !(hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && hooks.create_container.is_empty())
}
