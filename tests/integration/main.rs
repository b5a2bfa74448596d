//! Tests in real containers: what a config.json asks for is read back from inside the container or from
//! `/proc`, and what a command must say or leave is compared with what callers match.
//!
//! They drive the command line only, so they run against any runtime: `RUNTIME=/usr/sbin/runc` shows where
//! this one alone differs. `VIEW=v1` or `VIEW=v2` runs every container in a view of the host that has only
//! this version of cgroups.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod activation;
mod attacks;
mod attacks_credentials;
mod attacks_descriptors;
mod attacks_host;
mod attacks_mounts;
mod bad_input;
mod bad_input_commands;
mod bad_input_fields;
mod callers;
mod capabilities;
mod cgroup;
mod cgroup_felt;
mod cgroup_limits;
mod cgroup_v2;
mod cli;
mod events;
mod exec;
mod faults;
mod harness;
mod hooks;
mod host_mounts;
mod kill_storm;
mod lifecycle;
mod lsm;
mod mount_idmap;
mod mount_links;
mod mount_options;
mod mount_propagation;
mod mounts;
mod mounts_change;
mod mounts_fresh;
mod mounts_within;
mod namespaces;
mod net_devices;
mod numbers;
mod probe;
mod process;
mod ps;
mod rdt;
mod recorded;
mod rootfs;
mod rootless;
mod schedule;
mod seccomp;
mod seccomp_effects;
mod seccomp_explain;
mod seccomp_listener;
mod signals;
mod systemd;
mod systemd_reload;
mod terminal;
mod update;
