//! The life of a container: run, create + start + delete, exec, in a crowd, several at once.

use crate::Bench;
use crate::bundle::Bundle;
use crate::command::{Cost, cost, end_children, quiet, reap, wait_for_children, wait_until};
use crate::report::{Row, Table};
use crate::runtimes::Runtime;
use anyhow::Result;
use nix::sys::wait::waitpid;
use std::time::Instant;

/// All measures of this file.
pub fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let mut times = Table::of_runtimes("The life of a container", bench);
    for (name, bundle) in bench.scratch.all("life")? {
        if bench.wants("run") {
            let costs = in_turns(bench, 40, |runtime| {
                // The floor is hard-coded to one bundle.
                (!runtime.is_floor() || name == "podman").then(|| cost(|| quiet(&mut runtime.run(&bundle))))
            })?;
            times.rows.extend(rows(&format!("run ({name})"), &costs));
        }
        if bench.wants("life") {
            let costs = in_turns(bench, 20, |runtime| {
                (!runtime.is_floor()).then(|| cost(|| life(runtime, &bundle)))
            })?;
            times.rows.extend(rows(&format!("create + start + delete ({name})"), &costs));
        }
    }
    if bench.wants("exec") {
        times.rows.extend(exec(bench)?);
    }
    if bench.wants("parallel") {
        times.rows.extend(parallel(bench)?);
    }
    let mut tables = vec![times];
    if bench.wants("crowd") {
        tables.push(crowd(bench)?);
    }
    Ok(tables)
}

/// Lets each runtime have its turn, many times. `None` is a runtime that can't be measured in this way.
fn in_turns(
    bench: &Bench,
    turns: usize,
    work: impl Fn(&Runtime) -> Option<Result<Cost>>,
) -> Result<Vec<Vec<Cost>>> {
    let mut costs = vec![Vec::new(); bench.runtimes.len()];
    // The first turn finds cold caches and is not counted.
    for turn in 0..=bench.turns(turns) {
        for (costs, runtime) in costs.iter_mut().zip(&bench.runtimes) {
            match work(runtime) {
                Some(Ok(cost)) if turn > 0 => costs.push(cost),
                Some(Err(error)) if turn == 0 => eprintln!("{}: {error:#}", runtime.name),
                _ => {}
            }
        }
    }
    Ok(costs)
}

fn rows(name: &str, costs: &[Vec<Cost>]) -> [Row; 3] {
    let series = |of: fn(&Cost) -> f64| costs.iter().map(|costs| costs.iter().map(of).collect()).collect();
    [
        Row::new(name, "ms", series(|cost| cost.wall)),
        Row::new(format!("{name}: CPU"), "ms", series(|cost| cost.cpu)),
        Row::new(format!("{name}: page faults"), "", series(|cost| cost.faults)),
    ]
}

fn life(runtime: &Runtime, bundle: &Bundle) -> Result<()> {
    let lived = || {
        quiet(&mut runtime.create(bundle))?;
        quiet(&mut runtime.command(&["start", &bundle.id]))?;
        // The container's init was left to this process, so its end is waited for as an engine's monitor does.
        wait_for_children();
        quiet(&mut runtime.command(&["delete", &bundle.id]))
    };
    lived().inspect_err(|_| {
        // What is left of it would be waited for by the next one.
        let _ = quiet(&mut runtime.command(&["delete", "--force", &bundle.id]));
        end_children();
    })
}

fn exec(bench: &Bench) -> Result<Vec<Row>> {
    let mut bundles = Vec::new();
    for runtime in bench.runtimes.iter().filter(|runtime| !runtime.is_floor()) {
        let bundle = bench.scratch.podman(&format!("exec-{}", runtime.name))?.work("sleep")?;
        quiet(&mut runtime.create(&bundle))?;
        quiet(&mut runtime.command(&["start", &bundle.id]))?;
        bundles.push(bundle);
    }
    let costs = in_turns(bench, 40, |runtime| {
        let id = format!("exec-{}", runtime.name);
        let exec = || quiet(&mut runtime.command(&["exec", &id, "/bin/workload", "true"]));
        (!runtime.is_floor()).then(|| cost(exec))
    })?;
    for (runtime, bundle) in bench.runtimes.iter().zip(&bundles) {
        quiet(&mut runtime.command(&["delete", "--force", &bundle.id]))?;
    }
    reap();
    Ok(rows("exec (podman)", &costs).into())
}

/// How many containers a second `run` gets through when several are run at once.
fn parallel(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for workers in [2, 8] {
        let mut bundles = Vec::new();
        for worker in 0..workers {
            bundles.push(bench.scratch.podman(&format!("parallel-{worker}"))?);
        }
        let each = bench.turns(40) / if workers > 2 { 2 } else { 1 };
        let mut rates = vec![Vec::new(); bench.runtimes.len()];
        for _ in 0..bench.turns(15) {
            for (rates, runtime) in rates.iter_mut().zip(&bench.runtimes) {
                let start = Instant::now();
                let done = std::thread::scope(|scope| {
                    let all: Vec<_> = bundles
                        .iter()
                        .map(|bundle| {
                            scope.spawn(|| (0..each).try_for_each(|_| quiet(&mut runtime.run(bundle))))
                        })
                        .collect();
                    all.into_iter().all(|one| one.join().is_ok_and(|result| result.is_ok()))
                });
                if done {
                    rates.push((workers * each) as f64 / start.elapsed().as_secs_f64());
                }
            }
        }
        rows.push(Row::new(format!("run, {workers} at once"), "containers/s", rates).more_is_better());
    }
    Ok(rows)
}

/// Creating beside many others that exist already, and asking about all of them.
fn crowd(bench: &Bench) -> Result<Table> {
    let sizes: &[usize] = if bench.quick { &[0, 10, 100] } else { &[0, 10, 100, 500, 1000] };
    let mut table = Table::of_runtimes("In a crowd", bench);
    let empty = || vec![Vec::new(); bench.runtimes.len()];
    let mut create = vec![empty(); sizes.len()];
    let (mut list, mut state) = (empty(), empty());
    let one = bench.scratch.podman("crowd-one")?;
    let mut bundles = Vec::new();
    for number in 0..sizes[sizes.len() - 1] {
        bundles.push(bench.scratch.podman(&format!("crowd-{number}"))?.work("sleep")?);
    }
    for (column, runtime) in bench.runtimes.iter().enumerate().filter(|(_, runtime)| !runtime.is_floor()) {
        let mut there = 0;
        for (create, size) in create.iter_mut().zip(sizes) {
            while there < *size {
                quiet(&mut runtime.create(&bundles[there]))?;
                there += 1;
            }
            for _ in 0..bench.turns(20) {
                create[column].push(cost(|| quiet(&mut runtime.create(&one)))?.wall);
                quiet(&mut runtime.command(&["delete", "--force", &one.id]))?;
            }
        }
        for _ in 0..bench.turns(20) {
            list[column].push(cost(|| quiet(&mut runtime.command(&["list"])))?.wall);
            state[column].push(cost(|| quiet(&mut runtime.command(&["state", "crowd-0"])))?.wall);
        }
        for bundle in &bundles[..there] {
            quiet(&mut runtime.command(&["delete", "--force", &bundle.id]))?;
        }
        wait_until("the crowd is gone", || {
            waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)).is_err()
        })?;
    }
    for (create, size) in create.into_iter().zip(sizes) {
        table.rows.push(Row::new(format!("create beside {size} others"), "ms", create));
    }
    let size = sizes[sizes.len() - 1];
    table.rows.push(Row::new(format!("list of {size}"), "ms", list));
    table.rows.push(Row::new(format!("state beside {size} others"), "ms", state));
    Ok(table)
}
