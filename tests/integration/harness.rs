//! What every test needs: a bundle with a busybox root file system, the runtime under test run on it with
//! a deadline, and the removal of all that a failed test leaves behind.
//!
//! Nothing here changes the machine: a fixture that needs a mount gets it in a private mount namespace
//! ([`Bundle::prelude`]), and every object carries the id of its bundle in its name.

mod bundle;
mod cgroups;
mod commands;
mod host;
mod inherited;
mod leftovers;
mod loop_device;
mod mountinfo;
mod output;
mod rootfs;
mod running;
mod setting;
mod terminal;
mod tty;

pub use bundle::{Bundle, View};
pub use cgroups::{Hierarchy, cgroups_named, hierarchies, place_of};
pub use commands::runtime;
pub use host::{Need, skip_unless};
pub use leftovers::processes_of;
pub use loop_device::LoopDevice;
pub use mountinfo::{MountEntry, mounts};
pub use output::Output;
pub use rootfs::copy_program;
pub use running::{Running, wait_until};
pub use setting::Setting;
pub use terminal::{Terminal, wait_readable};
pub use tty::ConsoleSocket;

/// Returns from the test unless the host has what it needs; the message names what is missing.
macro_rules! requires {
    ($($need:expr),+ $(,)?) => {
        $( if !$crate::harness::skip_unless($need) { return; } )+
    };
}
pub(crate) use requires;
