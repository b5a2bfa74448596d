//! Any text for a seccomp profile, led by what code it reaches. `make fuzz` builds and runs it, with a stable
//! compiler; `fuzz::check` says what must hold.
#![no_main]
// The modules of the program are compiled into this one, which uses a part of them.
#![allow(dead_code, unused_imports, unused_macros)]

#[path = "../../src/error.rs"]
mod error;
#[path = "../../tests/seccomp/fuzz.rs"]
mod fuzz;
#[path = "../../tests/seccomp/machine.rs"]
mod machine;
#[path = "../../tests/seccomp/mutate.rs"]
mod mutate;
#[path = "../../tests/seccomp/oracle.rs"]
mod oracle;
#[path = "../../src/plan/seccomp.rs"]
mod plan;
#[path = "../../tests/seccomp/profiles.rs"]
mod profiles;
#[path = "../../src/seccomp/mod.rs"]
mod seccomp;
#[path = "../../src/sys/mod.rs"]
mod sys;

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};
use profiles::Random;

fuzz_target!(|text: &[u8]| -> Corpus {
    match fuzz::check(text) {
        // Bytes that are no profile say nothing of the compiler.
        fuzz::Outcome::Unread => Corpus::Reject,
        _ => Corpus::Keep,
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random(seed.into());
    if random.one_in(8) {
        return fuzzer_mutate(data, size, max_size);
    }
    let given = if size > 2 { data[..size].to_vec() } else { random.of(&fuzz::seeds()) };
    let text = mutate::mutate(&given, &mut random);
    let length = text.len().min(max_size);
    data[..length].copy_from_slice(&text[..length]);
    length
});
