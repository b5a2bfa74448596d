//! What every test needs: a world for its engine, and command lines in it.

mod cgroups;
mod commands;
pub mod container;
mod docs;
mod gate;
mod image;
#[path = "../integration/harness/inherited.rs"]
mod inherited;
#[path = "../integration/harness/mountinfo.rs"]
mod mountinfo;
mod need;
mod network;
#[path = "../integration/harness/output.rs"]
mod output;
mod recorder;
#[path = "../integration/harness/rootfs.rs"]
mod rootfs;
#[path = "../integration/harness/running.rs"]
mod running;
#[path = "../integration/harness/terminal.rs"]
mod terminal;
mod world;

pub use gate::{Gate, MOMENTS};
pub use need::{Need, skip_unless};
pub use network::HostNetwork;
pub use output::Output;
pub use running::wait_until;
pub use world::World;

/// Returns from the test unless the host has what it needs; the message names what is missing.
macro_rules! requires {
    ($($need:expr),+ $(,)?) => {
        $( if !$crate::harness::skip_unless($need) { return; } )+
    };
}
pub(crate) use requires;
