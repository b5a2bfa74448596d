//! Options of `update`.

use clap::Args;
use std::path::PathBuf;

// Options of `update`. What is empty or 0 changes nothing.
#[derive(Debug, Args)]
pub struct Update {
    /// Take the limits from a JSON file like `linux.resources`, `-` for the standard input.
    ///
    /// All other options but the schemas are ignored then. Device rules in it are left alone, as by runc(8). With
    /// `memory.checkBeforeUpdate`, here or in the configuration, a limit of memory below what is in use is refused; otherwise cgroup
    /// version 2 kills processes to reach it.
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight for block devices, 10 to 1000.
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Period in which the quota is granted, in microseconds.
    #[arg(long, value_name = "US")]
    pub cpu_period: Option<u64>,
    /// CPU time in a period, in microseconds; -1 for no limit.
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// Unused quota that may be saved up, in microseconds.
    #[arg(long, value_name = "US")]
    pub cpu_burst: Option<u64>,
    /// Share of CPU time, relative to others.
    #[arg(long, visible_alias = "cpu-shares", value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// Period of real-time scheduling, in microseconds; cgroup version 1 only.
    #[arg(long, value_name = "US")]
    pub cpu_rt_period: Option<u64>,
    /// CPU time of real-time scheduling in a period, in microseconds; cgroup version 1 only.
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs, as a list: 0-3,7; all of them have to be there.
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as a list; all of them have to be there.
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Accepted for other runtimes' callers: no kernel has it any more.
    #[arg(long, value_name = "BYTES", hide = true, allow_hyphen_values = true)]
    pub kernel_memory: Option<String>,
    /// Accepted for other runtimes' callers: no kernel has it any more.
    #[arg(long, value_name = "BYTES", hide = true, allow_hyphen_values = true)]
    pub kernel_memory_tcp: Option<String>,
    /// Limit of memory, in bytes or with a unit: 64M, 1.5GiB; -1 for no limit.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    pub memory: Option<i64>,
    /// 1 to run only when nobody else wants the CPU, 0 for the normal course.
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<i64>,
    /// Memory that is left to the container when it gets scarce, in bytes or with a unit; -1 for no limit.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    pub memory_reservation: Option<i64>,
    /// Limit of memory and swap together, in bytes or with a unit; -1 for no limit.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    pub memory_swap: Option<i64>,
    /// Limit of processes and threads; -1 for none, 0 is taken as 1.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Schema of Intel RDT for the L3 cache.
    ///
    /// Other lines for the `schemata` file of the container's class in resctrl, where config.json has `linux.intelRdt`.
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Schema of Intel RDT for memory bandwidth, like that for the L3 cache.
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}

/// A size in bytes, with a unit if it has one: `64M`, `1.5 GiB`, `512kb`. All units are powers of 1024, as in other runtimes; -1 is
/// "no limit".
fn bytes(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let invalid = || "not a size like 67108864, 64M or 1.5GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = unit.strip_suffix('b').unwrap_or(&unit);
    let letter = letter.strip_suffix('i').unwrap_or(letter);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter);
    let factor = 1u128 << (10 * power.ok_or_else(invalid)?);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let parse = |digits: &str| digits.parse::<u64>().map(u128::from).map_err(|_| invalid());
    let places = u32::try_from(fraction.len()).ok().filter(|places| *places <= 18).ok_or_else(invalid)?;
    let size = parse(whole)? * factor + parse(fraction)? * factor / 10u128.pow(places);
    i64::try_from(size).map_err(|_| "more than any memory has".to_owned())
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("67108864", Some(64 << 20)),
            ("64M", Some(64 << 20)),
            ("64mb", Some(64 << 20)),
            ("64 MiB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("32k", Some(32 << 10)),
            ("7b", Some(7)),
            ("1t", Some(1 << 40)),
            ("", None),
            ("M", None),
            ("-2", None),
            ("1.2.3", None),
            ("64x", None),
            ("8192P", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(bytes(text).ok(), size, "{text:?}");
        }
    }
}
