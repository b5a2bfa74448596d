//! Options of `create` and `run`.

use clap::Args;
use std::path::PathBuf;

// Options of `create`, which `run` has too.
#[derive(Debug, Args)]
pub struct Create {
    /// The bundle: a directory with config.json [default: the current one].
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub bundle: PathBuf,
    /// A file of the bundle to read instead of config.json, as with crun(1).
    #[arg(short = 'f', long, value_name = "FILE", default_value = "config.json", hide_default_value = true)]
    pub config: PathBuf,
    /// Unix socket that takes the master of the container's terminal.
    ///
    /// Needed if and only if `process.terminal` is true and this is not an attached `run`.
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that takes a pidfd of the container's first process.
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Write the id of the container's first process to this file.
    ///
    /// It is the host's id of the process. The file appears at once and whole.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Enter the root file system by chroot instead of pivot_root, for a host that runs from an initramfs.
    ///
    /// The container's root is laid over the host's then. This is less safe, and meant for hosts where pivot_root(2) is not possible.
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    ///
    /// Without this the container gets its own.
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Pass on this many file descriptors, from 3 on.
    ///
    /// Those that LISTEN_FDS announces come first and are passed on in any case.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,
    /// Don't adopt the orphans of the container's processes.
    ///
    /// `create` never adopts any.
    #[arg(long)]
    pub no_subreaper: bool,
    /// A name for the container.
    ///
    /// Up to 1024 letters, digits and the signs `_`, `+`, `-`, `.`; not `.` or `..`.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}

// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Those of `create`.
    #[command(flatten)]
    pub create: Create,
    /// Don't wait for the container's end.
    ///
    /// The program has been started by then.
    #[arg(short, long)]
    pub detach: bool,
    /// Keep the container on record after its end.
    #[arg(long)]
    pub keep: bool,
}
