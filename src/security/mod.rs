//! What the container's process may do: capabilities, and which system calls.

pub mod caps;
pub mod seccomp;
