//! A compiler of seccomp profiles. Pure: it neither reads files nor calls the kernel.
//!
//! ```text
//! Policy   a checked profile                                  policy.rs   (made in plan/seccomp.rs)
//!   |      names -> numbers, which rules count                resolve.rs  (arch.rs, table/)
//! cases    what each number of each architecture gets
//!   |      intervals of numbers, a tree over them             compile.rs
//! graph    comparisons of 32-bit words, equal ones shared     graph.rs
//!   |      order, loads, long jumps                           emit.rs
//! program  checked by the kernel's rules                      bpf.rs
//! ```
//!
//! explain.rs tells from the cases what happens to a call and which rule says so.

#![forbid(unsafe_code)]

mod arch;
pub mod bpf;
mod compile;
mod emit;
mod explain;
mod graph;
mod policy;
mod resolve;
mod table;

pub use arch::Arch;
pub use compile::compile;
pub use explain::explain;
pub(crate) use policy::EPERM;
pub use policy::{Action, Condition, Flag, Listener, MAX_ERRNO, Operator, Policy, Rule};
