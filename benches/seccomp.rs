//! The seccomp compiler beside libseccomp, in one run: time from the parsed profile to the program, length
//! of the program, time for the kernel to install it, instructions run for a call, and what a cheap system call
//! costs under it. `cargo bench --bench seccomp`; needs libseccomp (Debian: libseccomp-dev) to link with.
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
            "{:22}{:>12}{:>14}{:>14}{:>12}{:>12}",
            "", "compile", "instructions", "mean executed", "install", "getppid"
        );
        report("orlop", 2000, || {
            let policy = plan::policy(&profile, "linux.seccomp", Arch::X86_64).unwrap();
            seccomp::compile(&policy).unwrap().instructions
        });
        for (name, optimize) in [("libseccomp, list", 1), ("libseccomp, tree", 2)] {
            report(name, 10, || libseccomp_filter::compile(&json, Arch::X86_64, optimize).unwrap());
        }
    }
    println!("{:64}{:>24}", "no filter", format!("{:.0?}", getppid()));
}

fn report(name: &str, rounds: usize, mut compile: impl FnMut() -> Vec<Instruction>) {
    let program = compile();
    let time = best(rounds, &mut || drop(std::hint::black_box(compile())));
    // A filter stays with the thread that installed it, so each try has a thread of its own.
    let install = (0..20).map(|_| in_thread(&program, || Duration::ZERO).0).min().unwrap();
    let getppid = in_thread(&program, getppid).1;
    println!(
        "{name:22}{:>12}{:>14}{:>14.1}{:>12}{:>12}",
        format!("{time:.1?}"),
        program.len(),
        mean_executed(&program),
        format!("{install:.1?}"),
        format!("{getppid:.0?}"),
    );
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

/// Installs the filter in a thread and runs something under it: the time of both.
fn in_thread(program: &[Instruction], under: impl FnOnce() -> Duration + Send) -> (Duration, Duration) {
    let program: Vec<seccompiler::sock_filter> = program
        .iter()
        .map(|i| seccompiler::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k })
        .collect();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let start = Instant::now();
            seccompiler::apply_filter(&program).unwrap();
            (start.elapsed(), under())
        });
        thread.join().unwrap()
    })
}

/// What a getppid(2) costs.
fn getppid() -> Duration {
    const CALLS: u32 = 100_000;
    let mut round = || {
        (0..CALLS).for_each(|_| {
            std::hint::black_box(std::os::unix::process::parent_id());
        })
    };
    best(20, &mut round) / CALLS
}
