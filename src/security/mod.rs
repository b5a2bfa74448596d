//! What the container's process may do: capabilities, which system calls, and what a security module lets it.

pub mod caps;
pub mod lsm;
pub mod seccomp;
