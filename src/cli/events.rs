//! Options of `events`.

use clap::Args;
use std::time::Duration;

// Options of `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// How often statistics are printed: 5s, 100ms, 1m30s.
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true, value_parser = interval)]
    pub interval: Duration,
    /// Print the statistics once and end.
    #[arg(long)]
    pub stats: bool,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = crate::time::parse_duration(text).ok_or("not a time like 5s, 100ms or 1m30s")?;
    if interval.is_zero() { Err("duration interval must be greater than 0".into()) } else { Ok(interval) }
}
