//! Where the processor time of `run` goes: samples of whole call stacks, each given to the first kind of work that its stack tells
//! of. What the kernel does later or elsewhere, as to take a network namespace apart, is on nobody's stack and so in no row.

use crate::Bench;
use crate::command::{cost, quiet};
use crate::report::{Row, Table};
use crate::runtimes::Runtime;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Kinds of work, and what a function on the stack of a sample is called that tells of it.
const KINDS: [(&str, &[&str]); 11] = [
    (
        "copy of the executable",
        &[
            "do_sendfile",
            "copy_file_range",
            "memfd_create",
            "__x64_sys_pread64",
            "faultin_page_range",
            "prctl_set_mm",
        ],
    ),
    ("new namespaces", &["copy_namespaces", "create_new_namespaces", "setns"]),
    ("rest of clone", &["kernel_clone"]),
    ("cgroups", &["cgroup", "kernfs_iop_mkdir", "kernfs_iop_rmdir", "kernfs_fop_write_iter"]),
    (
        "mounts",
        &[
            "fsopen",
            "fsconfig",
            "fsmount",
            "open_tree",
            "move_mount",
            "mount_setattr",
            "pivot_root",
            "umount",
            "path_mount",
        ],
    ),
    ("execve", &["do_execveat_common", "bprm_execve"]),
    ("seccomp filter in the kernel", &["do_seccomp", "prctl_set_seccomp"]),
    ("end of processes", &["do_exit", "do_group_exit"]),
    ("page faults", &["exc_page_fault"]),
    ("other system calls", &["do_syscall_64", "entry_SYSCALL"]),
    ("own code", &[]),
];

/// All measures of this file.
pub fn measure(bench: &Bench) -> Result<Vec<Table>> {
    if !bench.wants("shares") {
        return Ok(Vec::new());
    }
    if let Err(error) = quiet(Command::new("perf").arg("--version")) {
        eprintln!("left out: where the time goes: {error:#}");
        return Ok(Vec::new());
    }
    let mut table = Table::of_runtimes("Where the processor time of run goes (podman)", bench);
    let mut series: Vec<Vec<Vec<f64>>> = vec![Vec::new(); KINDS.len()];
    for runtime in &bench.runtimes {
        let times = times(bench, runtime).with_context(|| format!("shares of {}", runtime.name))?;
        for (series, time) in series.iter_mut().zip(times) {
            series.push(vec![time]);
        }
    }
    table.rows.extend(KINDS.iter().zip(series).map(|((kind, _), series)| Row::new(*kind, "ms", series)));
    Ok(vec![table])
}

/// Milliseconds that one `run` spends on each kind of work.
fn times(bench: &Bench, runtime: &Runtime) -> Result<[f64; KINDS.len()]> {
    let bundle = bench.scratch.podman("shares")?;
    let turns = bench.turns(200);
    let mut each = Vec::new();
    for _ in 0..bench.turns(25) {
        each.push(cost(|| quiet(&mut runtime.run(&bundle)))?.cpu);
    }
    each.sort_by(f64::total_cmp);

    let data = bench.scratch.dir.join("perf.data");
    let run = runtime.run(&bundle);
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-g", "-e", "cpu-clock", "-F", "20000", "-o"]).arg(&data);
    // The shell that counts is on the record as well, under its own name.
    let script = format!("i=0; while [ $i -lt {turns} ]; do \"$@\" || exit; i=$((i+1)); done");
    perf.args(["--", "sh", "-c", &script, "sh"]).arg(run.get_program()).args(run.get_args());
    // Longer than any command may take that is watched.
    let status = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if !status.success() {
        bail!("{perf:?}: {status}");
    }

    let mut perf = Command::new("perf");
    perf.args(["script", "-F", "comm,ip,sym", "-i"]).arg(&data).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut perf = perf.spawn()?;
    let lines = BufReader::new(perf.stdout.take().context("no output of perf")?).lines();
    let counts = count(lines.map_while(Result::ok));
    perf.wait()?;
    let all: u32 = counts.iter().sum();
    let median = each.get(each.len() / 2).copied().unwrap_or_default();
    Ok(counts.map(|count| median * f64::from(count) / f64::from(all.max(1))))
}

/// Counts the samples of each kind in the output of `perf script`: the name of the program, then a line for each function, then an empty
/// one. Those of the shell are nobody's.
fn count(lines: impl Iterator<Item = String>) -> [u32; KINDS.len()] {
    let mut counts = [0; KINDS.len()];
    let mut stack: Option<Vec<String>> = None;
    for line in lines {
        if line.is_empty() {
            if let Some(stack) = stack.take() {
                counts[kind(&stack)] += 1;
            }
        } else if line.starts_with('\t') || stack.is_some() {
            if let Some(stack) = &mut stack {
                stack.push(line);
            }
        } else if line.trim() != "sh" {
            stack = Some(Vec::new());
        }
    }
    counts
}

fn kind(stack: &[String]) -> usize {
    let tells =
        |names: &[&str]| stack.iter().any(|function| names.iter().any(|name| function.contains(name)));
    KINDS.iter().position(|(_, names)| tells(names)).unwrap_or(KINDS.len() - 1)
}
