//! The options before the command.

use crate::log::Format;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

// Options before the command.
#[derive(Debug, Args)]
pub struct Global {
    /// Print the version, and that of the specification.
    #[arg(short, visible_short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Directory in which containers are on record [default: /run/orlop, or $XDG_RUNTIME_DIR/orlop].
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Append what goes wrong to this file.
    ///
    /// Errors are on standard error as well, warnings only without this option.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Form of the log.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Log what is done, too.
    ///
    /// That is what belongs to the normal course: root and namespaces, size and flags of the seccomp filter, hooks, and the processes
    /// made.
    #[arg(long)]
    pub debug: bool,
    /// Have cgroups made by systemd.
    ///
    /// The same as `--cgroup-manager systemd`. `linux.cgroupsPath` is slice:prefix:name then.
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who makes cgroups.
    ///
    /// Where nobody does, device rules and mounts of type cgroup are passed over; limits can't be met.
    #[arg(long, value_name = "NAME", value_enum, default_value = "cgroupfs")]
    pub cgroup_manager: CgroupManager,
    /// Accepted for other runtimes' callers: true, false or auto.
    ///
    /// Whether it runs without privileges is found out.
    #[arg(long, value_name = "BOOL", hide_short_help = true)]
    pub rootless: Option<String>,
    /// Accepted for other runtimes' callers.
    ///
    /// CRIU is not used.
    #[arg(long, value_name = "PATH", hide_short_help = true)]
    pub criu: Option<PathBuf>,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines of `time=... level=... msg=...`.
    Text,
    /// An object a line, with these keys.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        }
    }
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    /// The runtime, by the kernel's files.
    Cgroupfs,
    /// The host's systemd, or the user's, as orlop(8) tells under CGROUPS MADE BY SYSTEMD.
    Systemd,
    /// Nobody, so that the container stays in the caller's.
    Disabled,
}
