//! The seccomp compiler beside libseccomp, in one run: time from the parsed profile to the program, length
//! of the program, time for the kernel to install it, instructions run for a call, and what a cheap system call
//! costs under it. `make bench-seccomp`; needs libseccomp (Debian: libseccomp-dev) to link with.
// The modules of the program are compiled into this one, which uses a part of them.
#![allow(dead_code, unused_imports, unused_macros)]
// A measurement that can't be made ends with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "../src/error.rs"]
mod error;
#[path = "../tests/seccomp/libseccomp.rs"]
mod libseccomp_filter;
#[path = "../tests/seccomp/machine.rs"]
mod machine;
#[path = "../src/plan/seccomp.rs"]
mod plan;
#[path = "../src/seccomp/mod.rs"]
mod seccomp;
#[path = "../src/sys/mod.rs"]
mod sys;

use machine::{Data, run};
use oci_spec::runtime::LinuxSeccomp;
use seccomp::Arch;
use seccomp::bpf::Instruction;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const PROFILE: &str = include_str!("../tests/seccomp/profiles/podman-4.3.json");

fn main() {
    let json: serde_json::Value = serde_json::from_str(PROFILE).unwrap();
    for archs in [&["SCMP_ARCH_X86_64"][..], &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]] {
        let mut json = json.clone();
        json["architectures"] = archs.into();
        let profile: LinuxSeccomp = serde_json::from_value(json.clone()).unwrap();
        println!("Podman's profile, {} architecture(s)", archs.len());
        println!(
            "{:18}{:>12}{:>14}{:>15}{:>12}{:>12}",
            "", "compile", "instructions", "mean executed", "install", "getppid"
        );
        let theirs = |optimize| {
            let json = &json;
            move || libseccomp_filter::compile(json, Arch::X86_64, optimize).unwrap()
        };
        let filters = [
            Filter::new("orlop", 5000, || {
                let policy = plan::policy(&profile, "linux.seccomp", Arch::X86_64).unwrap();
                seccomp::compile(&policy).unwrap().instructions
            }),
            Filter::new("libseccomp, list", 30, theirs(1)),
            Filter::new("libseccomp, tree", 30, theirs(2)),
        ];
        let under = getppid(&filters);
        for (filter, call) in filters.iter().zip(&under) {
            filter.report(*call);
        }
        println!("{:18}{:>65}\n", "no filter", format!("{:.0?}", under[filters.len()]));
    }
    println!("compile: from the parsed profile to the program, the best of many");
    println!("mean executed: over the numbers 0 to 479 of x86_64, x86 and x32 (of x86_64 for one");
    println!("  architecture), each with all arguments 0, 1 and 2^64-1");
    println!("install: seccomp(2), the best of 40");
    println!("getppid: one call, the best of 200 rounds in which all take turns");
}

/// A program for the profile, and what it took to make it.
struct Filter {
    name: &'static str,
    compile: Duration,
    program: Vec<Instruction>,
}

impl Filter {
    fn new(name: &'static str, rounds: usize, mut compile: impl FnMut() -> Vec<Instruction>) -> Filter {
        let program = compile();
        let compile = best(rounds, &mut || drop(std::hint::black_box(compile())));
        Filter { name, compile, program }
    }

    fn report(&self, getppid: Duration) {
        // A filter stays with the thread that installed it, so each try has a thread of its own.
        let install =
            || std::thread::scope(|scope| scope.spawn(|| best(1, &mut || self.install())).join().unwrap());
        println!(
            "{:18}{:>12}{:>14}{:>15.1}{:>12}{:>12}",
            self.name,
            format!("{:.1?}", self.compile),
            self.program.len(),
            mean_executed(&self.program),
            format!("{:.1?}", (0..40).map(|_| install()).min().unwrap()),
            format!("{getppid:.0?}"),
        );
    }

    /// Puts the calling thread under the filter.
    fn install(&self) {
        sys::process::set_no_new_privs().unwrap();
        sys::seccomp::install(&self.program, 0).unwrap();
    }
}

/// The time of the best round, in which others on the machine disturbed least.
fn best(rounds: usize, run: &mut dyn FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..rounds).map(|_| time(run)).min().unwrap()
}

/// Over every number of both native ABIs and x32, each with small and with large arguments.
fn mean_executed(program: &[Instruction]) -> f64 {
    let mut steps = Vec::new();
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        let base = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
        for number in base..base + 480 {
            for args in [[0; 6], [1; 6], [u64::MAX; 6]] {
                steps.push(run(program, &Data::new(arch.audit(), number, args, true)).1);
            }
        }
    }
    // A filter for one architecture ends at once for the others; count what it was made for.
    let alone = steps[..480 * 3].iter().sum::<usize>() as f64 / 1440.0;
    if steps[480 * 3..].iter().all(|n| *n < 5) {
        alone
    } else {
        steps.iter().sum::<usize>() as f64 / steps.len() as f64
    }
}

/// What a getppid(2) costs under each filter, and last without one. All take turns, so that what else the machine does
/// is not one's burden alone.
fn getppid(filters: &[Filter]) -> Vec<Duration> {
    const CALLS: u32 = 2000;
    let turns = Barrier::new(filters.len() + 1);
    let measure = |turn: usize, filter: Option<&Filter>| {
        if let Some(filter) = filter {
            filter.install();
        }
        let mut round = || {
            (0..CALLS).for_each(|_| {
                std::hint::black_box(std::os::unix::process::parent_id());
            })
        };
        let mut least = Duration::MAX;
        for now in 0..200 * (filters.len() + 1) {
            turns.wait();
            if now % (filters.len() + 1) == turn {
                least = least.min(best(1, &mut round));
            }
        }
        least / CALLS
    };
    let measure = &measure;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..=filters.len()).map(|turn| scope.spawn(move || measure(turn, filters.get(turn)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
