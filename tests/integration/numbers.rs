//! The budgets: system calls, memory and size, on the sample bundle. `tools/bench-calls.sh` prints the numbers
//! themselves, beside those of other runtimes.

use crate::harness::{Bundle, Need, Running, requires, runtime, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bundles/hello");

/// The sample bundle's configuration in a bundle of the test's own.
fn hello() -> Bundle {
    let config = fs::read(PathBuf::from(HELLO).join("config.json")).unwrap();
    let b = Bundle::new().edit(|own| *own = serde_json::from_slice(&config).unwrap());
    let b = b.set("/root/path", format!("{HELLO}/rootfs"));
    b.write_config();
    b
}

/// The calls of the program that makes the view would be counted, too.
fn in_a_view() -> bool {
    let set = std::env::var_os("VIEW").is_some();
    if set {
        eprintln!("skipped: needs VIEW to be unset");
    }
    set
}

/// The system calls of a command and its children, by name.
struct Calls(BTreeMap<String, usize>);

impl Calls {
    /// Parses what `strace -f` has written.
    fn parse(log: &str) -> Self {
        let mut calls = BTreeMap::new();
        for line in log.lines() {
            // `PID name(arguments...`; not the ends of interrupted calls, signals and exits.
            let text = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
            let name = text.split('(').next().unwrap_or_default();
            if text.contains('(') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        Calls(calls)
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }

    fn of(&self, names: &[&str]) -> usize {
        names.iter().filter_map(|name| self.0.get(*name)).sum()
    }

    #[track_caller]
    fn at_most(&self, most: usize) {
        assert!(self.total() <= most, "{} system calls, not at most {most}: {self}", self.total());
    }
}

impl std::fmt::Display for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut calls: Vec<_> = self.0.iter().collect();
        calls.sort_by(|a, b| b.1.cmp(a.1));
        calls.into_iter().try_for_each(|(name, count)| write!(f, "{count} {name}, "))
    }
}

/// Starts a command under strace, which writes to `log` and ends after the last process that the command has
/// made.
fn trace(b: &Bundle, args: &[&str], log: &Path) -> Running {
    let inner = b.command(args);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(log).arg(inner.get_program()).args(inner.get_args());
    strace.stdin(Stdio::null());
    b.spawn_command(strace)
}

fn calls_of(b: &Bundle, args: &[&str]) -> Calls {
    let log = b.io().join(format!("strace-{}", args[0]));
    trace(b, args, &log).wait().ok();
    Calls::parse(&fs::read_to_string(log).unwrap())
}

/// Both processes, init up to where it waits for `start`.
#[test]
fn create_makes_at_most_400_calls_and_one_process() {
    requires!(Need::InstalledExecutable, Need::Program("strace"));
    if in_a_view() {
        return;
    }
    let b = hello();
    let log = b.io().join("strace");
    let dir = b.dir();
    let strace = trace(&b, &["create", "--bundle", dir.to_str().unwrap(), &b.id], &log);
    let text = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("create ends", || text().contains("+++ exited with "));
    let calls = Calls::parse(&text());
    b.delete_force().ok();
    strace.wait().ok();
    assert_eq!(calls.of(&["clone", "clone3", "fork", "vfork"]), 1, "processes made: {calls}");
    calls.at_most(400);
}

#[test]
fn state_start_and_kill_make_at_most_100_calls_each() {
    requires!(Need::Program("strace"));
    if in_a_view() {
        return;
    }
    let b = hello().args(["/bin/sh", "-c", "sleep 100"]);
    b.create().ok();
    for args in
        [["state", b.id.as_str()].as_slice(), &["start", &b.id], &["state", &b.id], &["kill", &b.id, "KILL"]]
    {
        let calls = calls_of(&b, args);
        assert!(calls.total() <= 100, "{} calls of {}: {calls}", calls.total(), args[0]);
        assert_eq!(calls.of(&["clone", "clone3", "fork", "vfork"]), 0, "{}: {calls}", args[0]);
    }
}

/// The whole life of a container in one command, and what a health check costs. Budgets a little above what was counted: more is
/// no fault, but has to be meant.
#[test]
fn run_exec_and_delete_keep_to_their_budgets() {
    requires!(Need::Program("strace"));
    if in_a_view() {
        return;
    }
    let b = hello().args(["/bin/true"]);
    b.write_config();
    let dir = b.dir();
    calls_of(&b, &["run", "--bundle", dir.to_str().unwrap(), &b.id]).at_most(600);
    let b = hello().args(["/bin/sh", "-c", "sleep 100"]);
    b.create().ok();
    b.start().ok();
    calls_of(&b, &["exec", &b.id, "/bin/true"]).at_most(300);
    b.kill("KILL").ok();
    wait_until("it has stopped", || b.status() == "stopped");
    calls_of(&b, &["delete", &b.id]).at_most(75);
}

#[test]
fn update_of_one_value_makes_at_most_120_calls() {
    requires!(Need::Program("strace"), Need::Controller("pids"));
    if in_a_view() {
        return;
    }
    let b = hello().args(["/bin/sh", "-c", "sleep 100"]);
    b.create().ok();
    let calls = calls_of(&b, &["update", "--pids-limit", "50", &b.id]);
    calls.at_most(120);
    assert_eq!(calls.of(&["clone", "clone3", "fork", "vfork"]), 0, "{calls}");
}

/// A plain reader opens, reads and closes each file.
#[test]
fn statistics_make_under_1_5_times_the_calls_of_reading_their_files() {
    requires!(Need::Program("strace"), Need::Controller("pids"));
    if in_a_view() {
        return;
    }
    let b = hello().args(["/bin/sh", "-c", "sleep 100"]);
    b.create().ok();
    let calls = calls_of(&b, &["events", "--stats", &b.id]);
    let log = fs::read_to_string(b.io().join("strace-events")).unwrap();
    let opened =
        |line: &&str| line.contains("open") && line.contains("/sys/fs/cgroup/") && !line.contains("ENOENT");
    let files = log.lines().filter(opened).count();
    assert!(files >= 10, "{log}");
    assert!(2 * calls.total() < 3 * 3 * files, "{} calls for {files} files: {calls}", calls.total());
}

/// Of the runtime and its init together, up to the end of an attached `run`, which its last hook reads.
#[test]
fn run_takes_at_most_300_page_faults() {
    requires!(Need::InstalledExecutable);
    let b = hello().args(["/bin/true"]);
    let file = b.io().join("faults");
    let b = b.hook("poststop", &format!("cat /proc/$PPID/stat > {}", file.display()));
    b.run().ok();
    let stat = fs::read_to_string(file).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // minflt and cminflt, fields 10 and 11 of proc_pid_stat(5).
    let faults: u64 = fields[7..9].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    // Where the kernel has no huge pages, each page of the program's is counted instead of one.
    let modes = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let huge = modes.contains("[madvise]") || modes.contains("[always]");
    let most = if huge { 300 } else { 300 + 511 };
    assert!(faults <= most, "{faults} page faults");
}

/// The most that the process of an attached `run` has had in memory, read when it is about to end.
#[test]
fn run_takes_at_most_3_mb_of_memory() {
    requires!(Need::InstalledExecutable);
    let b = hello();
    let file = b.io().join("peak");
    let b = b.hook("poststop", &format!("grep VmHWM /proc/$PPID/status > {}", file.display()));
    b.run().ok();
    let line = fs::read_to_string(file).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes <= 3 * 1024, "{kilobytes} kB");
}

/// Of the executable that is installed; a test build is not stripped.
#[test]
fn the_executable_is_at_most_2_5_mb() {
    requires!(Need::InstalledExecutable);
    let size = fs::metadata(runtime()).unwrap().len();
    assert!(size <= 5 << 19, "{size} bytes");
}
