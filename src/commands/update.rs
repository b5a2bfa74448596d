//! `update`

use crate::cli::Update;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::log;
use crate::spec;
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use serde_json::json;
use std::path::Path;

/// Changes limits of a container that runs.
pub fn update(container: &mut Container, args: &Update) -> Result<u8> {
    let asked = match &args.resources {
        Some(path) if path == Path::new("-") => spec::read_json_stdin()?,
        Some(path) => spec::read_json(path)?,
        None => from_flags(args)?,
    };
    let mut shares = LinuxIntelRdt::default();
    shares.set_l3_cache_schema(args.l3_cache_schema.clone());
    shares.set_mem_bw_schema(args.mem_bw_schema.clone());
    container.update(&asked, &shares)?;
    Ok(0)
}

fn from_flags(args: &Update) -> Result<LinuxResources> {
    for (value, flag) in
        [(&args.kernel_memory, "kernel-memory"), (&args.kernel_memory_tcp, "kernel-memory-tcp")]
    {
        if value.is_some() {
            log::line(log::Level::Warning, &format!("--{flag} is ignored"));
        }
    }
    let asked = json!({
        "memory": {"limit": args.memory, "reservation": args.memory_reservation, "swap": args.memory_swap},
        "cpu": {
            "shares": args.cpu_share,
            "quota": args.cpu_quota,
            "period": args.cpu_period,
            "burst": args.cpu_burst,
            "idle": args.cpu_idle,
            "realtimePeriod": args.cpu_rt_period,
            "realtimeRuntime": args.cpu_rt_runtime,
            "cpus": args.cpuset_cpus,
            "mems": args.cpuset_mems,
        },
        "blockIO": {"weight": args.blkio_weight},
        // In JSON 0 asks for nothing. Here it was typed, and as in config.json there can't be less than init alone.
        "pids": args.pids_limit.map(|limit| json!({"limit": if limit == 0 { 1 } else { limit }})),
    });
    serde_json::from_value(asked).map_err(|error| Error::new(error.to_string()))
}
