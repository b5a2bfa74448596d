//! `create`

use crate::cli::{self, CgroupManager, Global};
use crate::container::{self, CreateOptions};
use crate::error::Result;
use crate::sys::memory;
use std::path::PathBuf;

/// Creates a container.
pub fn create(global: &Global, root: PathBuf, args: cli::Create) -> Result<u8> {
    memory::populate();
    let created = container::create(&options(global, root, args, true)?)?;
    // The process ends now, and with it all that this holds open.
    std::mem::forget(created);
    Ok(0)
}

/// The options of `create` and `run` as the container layer takes them.
pub fn options(global: &Global, root: PathBuf, args: cli::Create, detach: bool) -> Result<CreateOptions> {
    Ok(CreateOptions {
        root,
        id: args.id,
        bundle: args.bundle,
        config: args.config,
        pid_file: args.pid_file,
        console_socket: args.console_socket,
        pidfd_socket: args.pidfd_socket,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        preserve_fds: args.preserve_fds,
        systemd_cgroup: global.systemd_cgroup || global.cgroup_manager == CgroupManager::Systemd,
        no_cgroup: global.cgroup_manager == CgroupManager::Disabled,
        detach,
        start: false,
        no_subreaper: args.no_subreaper,
    })
}
