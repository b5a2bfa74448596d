//! The options before the command.

use crate::log::Format;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

// Options before the command.
#[derive(Debug, Args)]
pub struct Global {
    /// Print the version
    #[arg(short, visible_short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Directory in which containers are on record [default: /run/orlop, or $XDG_RUNTIME_DIR/orlop]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Append what goes wrong to this file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Form of the log
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Log what is done, too
    #[arg(long)]
    pub debug: bool,
    /// Have cgroups made by systemd; linux.cgroupsPath is slice:prefix:name then
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who makes cgroups; `disabled` runs containers in the caller's
    #[arg(long, value_name = "NAME", value_enum, default_value = "cgroupfs", hide = true)]
    pub cgroup_manager: CgroupManager,
    /// Accepted for other runtimes' callers: whether it runs without privileges is found out
    #[arg(long, value_name = "BOOL", hide = true)]
    pub rootless: Option<String>,
    /// Accepted for other runtimes' callers
    #[arg(long, value_name = "PATH", hide = true)]
    pub criu: Option<PathBuf>,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text.
    Text,
    /// JSON.
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
    /// systemd.
    Systemd,
    /// Nobody.
    Disabled,
}
