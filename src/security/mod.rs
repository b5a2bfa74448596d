//! What the container's process may do: capabilities.

pub mod caps;
