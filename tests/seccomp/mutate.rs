//! Changes texts of profiles, as JSON and as bytes.

use crate::profiles::Random;
use crate::seccomp::{Action, Arch, Flag, Operator};
use serde_json::{Value, json};

/// A text that differs from the given one in a few places.
pub fn mutate(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut text = match serde_json::from_slice::<Value>(text) {
        Ok(mut profile) if !random.one_in(8) => {
            for _ in 0..=random.below(4) {
                change(&mut profile, random);
            }
            profile.to_string().into_bytes()
        }
        _ => text.to_vec(),
    };
    if random.one_in(6) {
        for _ in 0..=random.below(3) {
            change_bytes(&mut text, random);
        }
    }
    text
}

/// Changes one place somewhere in a value.
fn change(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(members) if !members.is_empty() && !random.one_in(5) => {
            let place = random.below(members.len());
            if let Some((_, member)) = members.iter_mut().nth(place) {
                change(member, random);
            }
        }
        Value::Object(members) => {
            let name = random.of(&MEMBERS);
            if random.one_in(3) {
                members.remove(name);
            } else {
                let member = fitting(name, random);
                members.insert(name.to_owned(), member);
            }
        }
        Value::Array(elements) if !elements.is_empty() && !random.one_in(4) => {
            let place = random.below(elements.len());
            change(&mut elements[place], random);
        }
        Value::Array(elements) => {
            let place = random.below(elements.len() + 1);
            match random.below(4) {
                0 if place < elements.len() => drop(elements.remove(place)),
                1 if !elements.is_empty() => {
                    let other = random.below(elements.len());
                    let last = elements.len() - 1;
                    elements.swap(other, place.min(last));
                }
                2 if !elements.is_empty() => elements.insert(place, random.of(elements)),
                _ => {
                    let element = element(elements.first(), random);
                    elements.insert(place, element);
                }
            }
        }
        Value::String(text) if !random.one_in(10) => *value = json!(like(text, random)),
        Value::Number(_) if !random.one_in(10) => *value = number(random),
        _ => *value = anything(random),
    }
}

const MEMBERS: [&str; 15] = [
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
    "names",
    "action",
    "errnoRet",
    "args",
    "index",
    "value",
    "valueTwo",
    "op",
];

/// What a member of this name could be.
fn fitting(name: &str, random: &mut Random) -> Value {
    match name {
        _ if random.one_in(12) => anything(random),
        "defaultAction" | "action" => json!(random.of(&Action::NAMES)),
        "defaultErrnoRet" | "errnoRet" | "index" | "value" | "valueTwo" => number(random),
        "op" => json!(random.of(&Operator::ALL).name()),
        "architectures" => json!([random.of(&Arch::ALL).name()]),
        "flags" => json!([random.of(&Flag::ALL).name()]),
        "names" => json!([like("read", random)]),
        "args" => json!([condition(random), condition(random)]),
        "syscalls" => json!([rule(random)]),
        _ => json!("/run/listener"),
    }
}

fn condition(random: &mut Random) -> Value {
    json!({"index": random.below(7), "op": fitting("op", random), "value": number(random), "valueTwo": number(random)})
}

fn rule(random: &mut Random) -> Value {
    json!({"names": [like("read", random)], "action": random.of(&Action::NAMES), "args": [condition(random)]})
}

/// One more element of a list that has this one.
fn element(beside: Option<&Value>, random: &mut Random) -> Value {
    match beside {
        _ if random.one_in(12) => anything(random),
        Some(Value::String(text)) => json!(like(text, random)),
        Some(Value::Object(members)) if members.contains_key("op") => condition(random),
        Some(Value::Object(_)) => rule(random),
        _ if random.one_in(3) => condition(random),
        _ if random.one_in(2) => rule(random),
        _ => json!(like("read", random)),
    }
}

/// Another word of the same kind.
fn like(text: &str, random: &mut Random) -> String {
    if text.starts_with("SCMP_ACT_") {
        random.of(&Action::NAMES).to_owned()
    } else if text.starts_with("SCMP_CMP_") {
        random.of(&Operator::ALL).name().to_owned()
    } else if text.starts_with("SCMP_ARCH_") {
        (if random.one_in(8) { "SCMP_ARCH_SH" } else { random.of(&Arch::ALL).name() }).to_owned()
    } else if text.starts_with("SECCOMP_") {
        random.of(&Flag::ALL).name().to_owned()
    } else {
        let calls =
            ["socket", "socketcall", "ipc", "semop", "read", "set_tls", "sendmsg", "execve", "", "\0ü\n"];
        match Arch::X86_64.name_of(random.below(480) as u32) {
            Some(name) if !random.one_in(3) => name.to_owned(),
            _ => random.of(&calls).to_owned(),
        }
    }
}

fn number(random: &mut Random) -> Value {
    let edges = [0, 1, 5, 6, 38, 4095, 4096, 65535, 65536, 0xffff_ffff, 1 << 32, 1 << 63, u64::MAX];
    match random.below(8) {
        0 => json!(random.next()),
        1 => json!(1_u64 << random.below(64)),
        2 => json!(-1),
        3 => json!(0.5),
        _ => json!(random.of(&edges)),
    }
}

fn anything(random: &mut Random) -> Value {
    let values = [json!(null), json!(true), json!([]), json!({}), json!(""), json!("\u{0}"), json!([[[]]])];
    if random.one_in(3) { number(random) } else { random.of(&values) }
}

/// Changes, takes out or puts in a few bytes.
fn change_bytes(text: &mut Vec<u8>, random: &mut Random) {
    let place = random.below(text.len() + 1);
    let some = random.below(text.len() + 1 - place).min(40);
    match random.below(5) {
        0 if place < text.len() => text[place] ^= 1 << random.below(8),
        1 if place < text.len() => text[place] = random.of(b"0123456789-.e\"\\{}[],:x"),
        2 => drop(text.drain(place..place + some)),
        3 => {
            let copy = text[place..place + some].to_vec();
            let target = random.below(text.len() + 1);
            text.splice(target..target, copy);
        }
        _ => text.truncate(place),
    }
}
