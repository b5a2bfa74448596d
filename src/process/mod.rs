//! Processes of a container, from the clone to the execve, on both sides.

pub mod attach;
mod channel;
pub mod create;
pub mod exec;
pub mod hooks;
mod idmap;
mod init;
mod listener;
pub mod mounts;
pub mod notify;
mod program;
pub mod start;
