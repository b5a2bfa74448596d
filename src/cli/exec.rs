//! Options of `exec`.

use clap::Args;
use std::path::PathBuf;

// Options of `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Unix socket that takes the master of the process's terminal.
    ///
    /// Needed if and only if it has one and nobody waits for its end.
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that takes a pidfd of the process.
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Working directory, inside the container.
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Add a variable to the environment; may be repeated.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give the process a terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// User and group, as numbers.
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Add a supplementary group, as a number; may be repeated.
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// Take the whole process from a JSON file.
    ///
    /// It has the form of `process` in config.json. Capabilities, labels, scheduling and `oomScoreAdj` that it does not have are the
    /// container's.
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Don't wait for the process's end.
    ///
    /// The program has been started by then.
    #[arg(short, long)]
    pub detach: bool,
    /// Write the process's id to this file.
    ///
    /// It is the host's id of the process. The file appears at once and whole.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// SELinux label of the process.
    ///
    /// An error on a host where SELinux is not enabled or has no policy.
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile of the process.
    ///
    /// An error on a host where AppArmor is not enabled.
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Let the process gain no privileges by executing a program.
    ///
    /// This sets no_new_privs: a set-user-ID program, or one with file capabilities, gives it nothing more.
    #[arg(long)]
    pub no_new_privs: bool,
    /// Add a capability, CAP_NET_ADMIN for instance; may be repeated.
    #[arg(short, long, value_name = "CAP")]
    pub cap: Vec<String>,
    /// Pass on this many file descriptors, from 3 on.
    ///
    /// LISTEN_FDS is not looked at.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,
    /// Enter a cgroup below the container's own, of all or of some cgroup v1 controllers; may be repeated.
    ///
    /// It has to exist.
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    pub cgroup: Vec<String>,
    /// Also in a paused container: the process begins when that goes on.
    #[arg(long)]
    pub ignore_paused: bool,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
    /// The program and its arguments.
    ///
    /// Everything after the container belongs to it, also what looks like an option. With `--process` there is none.
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}
