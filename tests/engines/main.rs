//! Engines on the runtime under test, driven by their own command lines: what their users see is asserted,
//! and that nothing is left. Each engine gets a world of its own (`harness/world.sh`) and is configured by
//! the text of docs/engines.md.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// Parts of it are those of tests/integration, of which not everything is used here.
#[allow(dead_code)]
mod harness;

mod containerd;
mod docker;
mod machine;
mod podman;
