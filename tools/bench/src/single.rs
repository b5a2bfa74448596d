//! What is the same on every run, and so is counted once: system calls, memory, sizes. And two times that need a look
//! inside: how long until the program of the container runs, and what a seccomp profile adds.

use crate::Bench;
use crate::bundle::Bundle;
use crate::command::{output, quiet, reap, wait_until};
use crate::report::{Row, Table};
use crate::runtimes::Runtime;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::process::Command;

/// All measures of this file.
pub fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let mut table = Table::of_runtimes("Counts and sizes", bench);
    let podman = bench.scratch.podman("single")?;
    let mut row =
        |name: &str, unit: &'static str, of: &dyn Fn(&Runtime) -> Result<Option<f64>>| -> Result<()> {
            if !bench.wants(name) {
                return Ok(());
            }
            let mut values = Vec::new();
            for runtime in &bench.runtimes {
                let value = of(runtime).with_context(|| format!("{name} of {}", runtime.name));
                values.push(value.unwrap_or_else(|error| {
                    eprintln!("{error:#}");
                    None
                }));
            }
            let values = values.into_iter().map(|value| value.into_iter().collect()).collect();
            table.rows.push(Row::new(name, unit, values));
            Ok(())
        };
    row("system calls of run", "", &|runtime| traced(bench, &mut [runtime.run(&podman)]).map(Some))?;
    row("system calls of create + start + delete", "", &|runtime| life(bench, runtime, &podman))?;
    row("peak memory of run", "kB", &|runtime| peak(bench, runtime))?;
    row("smallest memory limit that starts", "kB", &|runtime| smallest(bench, runtime))?;
    row("size of the executable", "kB", &|runtime| {
        Ok(Some(fs::metadata(&runtime.path)?.len() as f64 / 1024.0))
    })?;
    let mut tables = vec![table];
    if bench.wants("until") {
        tables.push(inside_looks(bench)?);
    }
    Ok(tables)
}

/// The system calls of these commands and of all their children.
fn traced(bench: &Bench, commands: &mut [Command]) -> Result<f64> {
    let mut calls = 0;
    for command in commands {
        let log = bench.scratch.dir.join("strace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(&log).arg(command.get_program()).args(command.get_args());
        quiet(&mut strace)?;
        let log = fs::read_to_string(&log)?;
        // Second halves of interrupted calls and signals have no name and bracket after the pid.
        let is_call = |line: &&str| {
            let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
            call.split_once('(')
                .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        };
        calls += log.lines().filter(is_call).count();
    }
    Ok(calls as f64)
}

/// Of create up to where the container waits for start, which strace must not follow: it would never return.
fn life(bench: &Bench, runtime: &Runtime, bundle: &Bundle) -> Result<Option<f64>> {
    if runtime.is_floor() {
        return Ok(None);
    }
    let log = bench.scratch.dir.join("strace.create");
    let mut strace = Command::new("strace");
    let create = runtime.create(bundle);
    strace.args(["-f", "-qq", "-o"]).arg(&log).arg(create.get_program()).args(create.get_args());
    let mut strace = strace
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    wait_until("it is created", || runtime.status(&bundle.id) == "created")?;
    // Everything until here is create's; the calls after it are start's and of the program.
    let others = traced(bench, &mut [runtime.command(&["start", &bundle.id])])?;
    strace.wait()?;
    reap();
    let deleting = traced(bench, &mut [runtime.command(&["delete", &bundle.id])])?;
    let log = fs::read_to_string(&log)?;
    let calls = log.lines().filter(|line| line.contains('(')).filter(|line| !line.contains("<... ")).count();
    Ok(Some(calls as f64 + others + deleting))
}

/// The peak of the runtime's own process, which a poststop hook reads as its child.
fn peak(bench: &Bench, runtime: &Runtime) -> Result<Option<f64>> {
    if runtime.is_floor() {
        return Ok(None);
    }
    let out = bench.scratch.dir.join("peak");
    let script = format!("grep VmHWM /proc/$PPID/status >{}", out.display());
    let bundle = bench.scratch.podman("peak")?.edit(|config| {
        config["hooks"] = json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    })?;
    quiet(&mut runtime.run(&bundle))?;
    let text = fs::read_to_string(&out)?;
    let number = text.split_whitespace().nth(1).context("no VmHWM")?;
    Ok(Some(number.parse()?))
}

/// By halving, down to steps of 64 kB.
fn smallest(bench: &Bench, runtime: &Runtime) -> Result<Option<f64>> {
    if runtime.is_floor() {
        return Ok(None);
    }
    let starts = |kilobytes: u64| -> Result<bool> {
        let bundle = bench.scratch.podman("small")?.edit(|config| {
            config["linux"]["resources"]["memory"] =
                json!({"limit": kilobytes * 1024, "swap": kilobytes * 1024});
        })?;
        // Three times, because the kernel charges in batches.
        let all = (0..3).all(|_| quiet(&mut runtime.run(&bundle)).is_ok());
        let _ = quiet(&mut runtime.command(&["delete", "--force", &bundle.id]));
        Ok(all)
    };
    let (mut fails, mut works) = (0, 64 * 1024);
    if !starts(works)? {
        // A host without the memory controller.
        return Ok(None);
    }
    while works - fails > 64 {
        let middle = (fails + works) / 2;
        if starts(middle)? { works = middle } else { fails = middle }
    }
    Ok(Some(works as f64))
}

/// Times that `run` alone doesn't tell.
fn inside_looks(bench: &Bench) -> Result<Table> {
    let mut table = Table::of_runtimes("Until the program runs", bench);
    let now = bench.scratch.podman("now")?.work("now")?;
    let bare = bench.scratch.podman("bare")?.work("now")?.edit(|config| {
        if let Some(linux) = config["linux"].as_object_mut() {
            linux.remove("seccomp");
        }
    })?;
    let mut with = vec![Vec::new(); bench.runtimes.len()];
    let mut without = with.clone();
    for _ in 0..bench.turns(40) {
        for (column, runtime) in bench.runtimes.iter().enumerate() {
            with[column].push(until_now(runtime, &now)?);
            if !runtime.is_floor() {
                without[column].push(until_now(runtime, &bare)?);
            }
        }
    }
    table.rows.push(Row::new("until the program runs (podman)", "ms", with));
    table.rows.push(Row::new("the same without the seccomp profile", "ms", without));
    Ok(table)
}

/// From before the runtime is executed until the container's program reads the clock.
fn until_now(runtime: &Runtime, bundle: &Bundle) -> Result<f64> {
    let clock = || -> Result<i128> {
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
        Ok(i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()))
    };
    let start = clock()?;
    let end: i128 = output(&mut runtime.run(bundle))?.trim().parse()?;
    Ok((end - start) as f64 / 1e6)
}
