//! Measures orlop beside the other runtimes and beside the floor, which does the same with system calls alone.
//!
//! All runtimes take turns within one run, so that a slow moment of the machine meets all of them; what counts is the
//! ratio of their medians. Times of different runs are not comparable.

mod bundle;
mod command;
mod inside;
mod lifecycle;
mod report;
mod runtimes;
mod shares;
mod single;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Compares container runtimes.
#[derive(Parser)]
struct Options {
    /// The executable under test.
    #[arg(long, default_value = "target/orlop")]
    orlop: PathBuf,
    /// What tools/bench/peers.sh printed: a line "NAME PATH" for each other runtime.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// The compiled floor.c.
    #[arg(long)]
    floor: PathBuf,
    /// The compiled workload.c.
    #[arg(long)]
    workload: PathBuf,
    /// How the host's cgroups are shown to the runtimes, in a mount namespace of their own.
    #[arg(long, value_enum, default_value = "v1")]
    view: View,
    /// Fewer turns and no crowd of a thousand.
    #[arg(long)]
    quick: bool,
    /// Only the measures with this in their names.
    #[arg(long, default_value = "")]
    only: String,
    /// Where to write NAME.md and the plots; without it, the table is only printed.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Which cgroups there are below `/sys/fs/cgroup`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum View {
    /// The hierarchies of version 1 alone: crun refuses a hybrid layout.
    V1,
    /// One of version 2.
    V2,
}

impl View {
    fn name(self) -> &'static str {
        match self {
            View::V1 => "v1",
            View::V2 => "v2",
        }
    }
}

/// Set once the process is in the mount namespace of its view.
const INSIDE: &str = "BENCH_INSIDE_VIEW";

fn main() -> Result<()> {
    let options = Options::parse();
    if !nix::unistd::geteuid().is_root() {
        bail!("creating containers needs root");
    }
    if std::env::var_os(INSIDE).is_none() {
        return enter(options.view);
    }
    // Containers that a runtime has left running are this process's children then, and are reaped by it.
    nix::sys::prctl::set_child_subreaper(true)?;

    let scratch = bundle::Scratch::new(&options.workload, options.view)?;
    let runtimes = runtimes::find(&options, &scratch)?;
    let bench = Bench { quick: options.quick, only: options.only.clone(), runtimes, scratch };
    let mut tables = Vec::new();
    tables.extend(lifecycle::measure(&bench)?);
    tables.extend(single::measure(&bench)?);
    tables.extend(shares::measure(&bench)?);
    tables.extend(inside::measure(&bench)?);
    let report = report::Report::new(&bench, options.view, tables);
    print!("{}", report.markdown());
    match options.out {
        Some(dir) => report.write(&dir),
        None => Ok(()),
    }
}

/// What every measure needs.
struct Bench {
    quick: bool,
    only: String,
    runtimes: Vec<runtimes::Runtime>,
    scratch: bundle::Scratch,
}

impl Bench {
    /// Whether a measure is wanted.
    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// How often each runtime has its turn.
    fn turns(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(5) } else { full }
    }
}

/// A null device of its own: crun gives its standard streams to root of the container's user namespace, the host's `/dev/null` too.
const OWN_NULL: &str = "dir=$(mktemp -d); mount -t tmpfs none $dir; mknod -m 666 $dir/null c 1 3
    mount --bind $dir/null /dev/null; umount $dir; rmdir $dir";

/// Runs this program again in a mount namespace that shows one version of cgroups.
fn enter(view: View) -> Result<()> {
    let script = match view {
        View::V1 => "[ ! -d /sys/fs/cgroup/unified ] || mount -t tmpfs none /sys/fs/cgroup/unified",
        View::V2 => "[ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 none /sys/fs/cgroup",
    };
    let error = Command::new("unshare")
        .args(["--mount", "sh", "-ec", &format!("{OWN_NULL}\n{script}\nexec \"$@\""), "sh"])
        .arg(std::env::current_exe().context("find the own executable")?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("run unshare")
}
