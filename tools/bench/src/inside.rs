//! What a workload feels of being contained: the same pieces of work outside and inside.

use crate::Bench;
use crate::command::output;
use crate::report::{Row, Table};
use anyhow::Result;
use std::process::Command;

/// All measures of this file.
pub fn measure(bench: &Bench) -> Result<Vec<Table>> {
    if !bench.wants("inside") {
        return Ok(Vec::new());
    }
    let mut table = Table::of_runtimes("The same work outside and inside, under Podman's profile", bench);
    table.columns.insert(0, "outside".to_owned());
    for (work, name) in [
        ("cpu", "processor loop"),
        ("getpid", "getppid loop"),
        ("pipe", "pipe ping-pong"),
        ("file", "files written and read"),
        ("memory", "memory copied"),
    ] {
        let bundle = bench.scratch.podman("inside")?.work(work)?;
        let mut times = vec![Vec::new(); table.columns.len()];
        for _ in 0..bench.turns(15) {
            let mut outside = Command::new(bench.scratch.dir.join("rootfs/bin/workload"));
            // The same file system as the container's root.
            outside.arg(work).current_dir(bench.scratch.dir.join("rootfs"));
            times[0].push(milliseconds(&mut outside)?);
            for (times, runtime) in times[1..].iter_mut().zip(&bench.runtimes) {
                times.push(milliseconds(&mut runtime.run(&bundle))?);
            }
        }
        table.rows.push(Row::new(name, "ms", times));
    }
    Ok(vec![table])
}

fn milliseconds(command: &mut Command) -> Result<f64> {
    let nanoseconds: f64 = output(command)?.trim().parse()?;
    Ok(nanoseconds / 1e6)
}
