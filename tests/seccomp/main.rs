//! The seccomp compiler against everything that can say what a filter should do: an evaluator of the rules
//! that shares nothing with it, libseccomp, seccompiler, and the kernel.
//!
//! `ORLOP_SECCOMP_CASES` is how many calls are judged in the large comparison with the evaluator,
//! `ORLOP_SECCOMP_FUZZ` how many mutated profiles are tried, `ORLOP_SECCOMP_SEED` where generated ones begin.
// The modules of the program are compiled into this one, which uses a part of them.
#![allow(dead_code, unused_imports, unused_macros)]
// A test says what it expects by failing, and its numbers are its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/plan/seccomp.rs"]
mod plan;
#[path = "../../src/seccomp/mod.rs"]
mod seccomp;
#[path = "../../src/sys/mod.rs"]
mod sys;

mod child;
mod exact;
mod fuzz;
mod kernel;
mod libseccomp;
mod limits;
mod machine;
mod mutate;
mod oracle;
mod peers;
mod profiles;
mod tables;

use seccomp::bpf::Instruction;
use seccomp::{Arch, Policy};
use serde_json::Value;

/// Compiles a profile for a native architecture. All architectures of the profile are compiled, even those
/// that its kernel could not run, which the plan would leave out.
fn compile(profile: &Value, native: Arch) -> error::Result<Vec<Instruction>> {
    let parsed = serde_json::from_value(profile.clone()).expect("a profile of the right form");
    let mut policy: Policy = plan::policy(&parsed, "linux.seccomp", native)?;
    policy.archs = profiles::archs(profile, native);
    Ok(seccomp::compile(&policy)?.instructions)
}
