//! `events`

use crate::cgroup;
use crate::cli::Events;
use crate::container::{Container, Event};
use crate::error::Result;
use serde_json::{Value, json};
use std::io::Write;

/// Prints statistics and events, one JSON object a line, in the form of runc's.
pub fn events(container: &Container, args: &Events) -> Result<u8> {
    let id = &container.state.id;
    if args.stats {
        super::print(&line(id, "stats", Some(container.stats()?)));
        return Ok(0);
    }
    container.watch(args.interval, |event| {
        let line = match event {
            Event::Stats(stats) => line(id, "stats", Some(stats)),
            Event::Cgroup(cgroup::Event::Oom) => line(id, "oom", None),
            Event::Cgroup(cgroup::Event::Counted(name, counters)) => line(id, name, Some(json!(counters))),
            Event::Exit => line(id, "exit", None),
        };
        // A reader that has gone away ends it, and is no failure.
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_ok()
    })?;
    Ok(0)
}

/// The members stand in the order that runc has them in.
fn line(id: &str, kind: &str, data: Option<Value>) -> String {
    let (id, kind) = (Value::from(id), Value::from(kind));
    let data = data.map(|data| format!(",\"data\":{data}")).unwrap_or_default();
    format!("{{\"type\":{kind},\"id\":{id}{data}}}\n")
}
