//! Profiles: those that engines were recorded with, and generated ones.

use crate::seccomp::Arch;
use serde_json::{Map, Value, json};

/// Profiles that engines handed to their runtime.
pub fn recorded() -> Vec<(&'static str, Value)> {
    let files = [
        ("Podman 4.3", include_str!("profiles/podman-4.3.json")),
        ("Docker 20.10", include_str!("profiles/docker-20.10.json")),
        ("Docker 20.10 without capabilities", include_str!("profiles/docker-20.10-locked-down.json")),
        ("containerd 1.6", include_str!("profiles/containerd-1.6.json")),
    ];
    files.map(|(name, text)| (name, serde_json::from_str(text).unwrap())).to_vec()
}

/// The architectures of a profile, the native one first.
pub fn archs(profile: &Value, native: Arch) -> Vec<Arch> {
    let mut archs = vec![native];
    for name in profile["architectures"].as_array().into_iter().flatten() {
        let arch = by_name(name.as_str().unwrap());
        if !archs.contains(&arch) {
            archs.push(arch);
        }
    }
    archs
}

pub fn by_name(name: &str) -> Arch {
    *Arch::ALL.iter().find(|arch| arch.name() == name).unwrap_or_else(|| panic!("{name}"))
}

/// Numbers that look random but are the same in every run (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One time in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
}

/// What generated profiles may consist of.
#[derive(Clone)]
pub struct Choice {
    pub actions: Vec<&'static str>,
    pub operators: Vec<&'static str>,
    pub archs: Vec<Arch>,
    /// Whether one argument may have several conditions in one rule.
    pub repeated: bool,
}

impl Choice {
    /// Everything that the specification has.
    pub fn all() -> Choice {
        Choice {
            actions: vec![
                "SCMP_ACT_KILL",
                "SCMP_ACT_KILL_THREAD",
                "SCMP_ACT_KILL_PROCESS",
                "SCMP_ACT_TRAP",
                "SCMP_ACT_ERRNO",
                "SCMP_ACT_TRACE",
                "SCMP_ACT_LOG",
                "SCMP_ACT_ALLOW",
                "SCMP_ACT_NOTIFY",
            ],
            operators: vec![
                "SCMP_CMP_NE",
                "SCMP_CMP_LT",
                "SCMP_CMP_LE",
                "SCMP_CMP_EQ",
                "SCMP_CMP_GE",
                "SCMP_CMP_GT",
                "SCMP_CMP_MASKED_EQ",
            ],
            archs: Arch::ALL.to_vec(),
            repeated: true,
        }
    }
}

/// Names that have something special about them on some architecture.
const SPECIAL: [&str; 14] = [
    "read",
    "socket",
    "socketcall",
    "ipc",
    "semop",
    "shmat",
    "accept4",
    "set_tls",
    "breakpoint",
    "_llseek",
    "personality",
    "clone",
    "no_such_call",
    "file_setattr",
];

/// A profile and its native architecture.
pub fn generate(random: &mut Random, choice: &Choice) -> (Value, Arch) {
    let native = random.of(&choice.archs);
    let mut archs = Vec::new();
    for _ in 0..random.below(4) {
        archs.push(json!(random.of(&choice.archs).name()));
    }
    let default = loop {
        match random.of(&choice.actions) {
            "SCMP_ACT_NOTIFY" => {}
            action => break action,
        }
    };
    let mut profile = json!({"architectures": archs, "defaultAction": default});
    errno(random, default, &mut profile, "defaultErrnoRet");
    // Few names make many rules on one call; many names make many intervals.
    let names: Vec<&str> = match random.below(3) {
        0 => SPECIAL.to_vec(),
        1 => (0..6).filter_map(|_| native.name_of(numbers_from(native) + random.below(460) as u32)).collect(),
        _ => (0..460).filter_map(|n| native.name_of(numbers_from(native) + n)).collect(),
    };
    let names = if names.is_empty() { SPECIAL.to_vec() } else { names };
    let values = values(random);
    let mut rules = Vec::new();
    for _ in 0..random.below(16) {
        let action = random.of(&choice.actions);
        let most = if random.one_in(4) { 100 } else { 4 };
        let listed: Vec<&str> = (0..=random.below(most)).map(|_| random.of(&names)).collect();
        let mut rule = json!({"names": listed, "action": action});
        errno(random, action, &mut rule, "errnoRet");
        let conditions = if random.one_in(2) { 0 } else { random.below(5) };
        let args = args(random, choice, &values, conditions);
        if !args.is_empty() || random.one_in(2) {
            rule["args"] = json!(args);
        }
        if action == "SCMP_ACT_NOTIFY" {
            profile["listenerPath"] = json!("/run/listener");
        }
        rules.push(rule);
    }
    profile["syscalls"] = json!(rules);
    (profile, native)
}

/// The least number of an architecture.
pub fn numbers_from(arch: Arch) -> u32 {
    match arch.name() {
        "SCMP_ARCH_X32" => 0x4000_0000,
        "SCMP_ARCH_MIPS" | "SCMP_ARCH_MIPSEL" => 4000,
        "SCMP_ARCH_MIPS64" | "SCMP_ARCH_MIPSEL64" => 5000,
        "SCMP_ARCH_MIPS64N32" | "SCMP_ARCH_MIPSEL64N32" => 6000,
        _ => 0,
    }
}

fn errno(random: &mut Random, action: &str, of: &mut Value, key: &str) {
    if matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") && !random.one_in(3) {
        of[key] = json!(random.of(&[0, 1, 1, 22, 38, 4094]));
    }
}

/// A few values, so that rules meet each other.
fn values(random: &mut Random) -> Vec<u64> {
    let mut values = vec![0, 1, u64::MAX, 0xffff_ffff, 1 << 32, 0x8000_0000, 1 << 63];
    for _ in 0..4 {
        let bits = random.below(64);
        values.push(random.next() >> bits);
        values.push(1 << bits);
    }
    (0..5).map(|_| random.of(&values)).collect()
}

fn args(random: &mut Random, choice: &Choice, values: &[u64], count: usize) -> Vec<Value> {
    let mut free: Vec<usize> = (0..6).collect();
    let mut args = Vec::new();
    let repeated = choice.repeated && random.one_in(3);
    for _ in 0..count {
        let index = if repeated { random.below(2) } else { free.remove(random.below(free.len())) };
        let op = random.of(&choice.operators);
        let mut arg = Map::new();
        arg.insert("index".into(), json!(index));
        arg.insert("op".into(), json!(op));
        arg.insert("value".into(), json!(random.of(values)));
        if op == "SCMP_CMP_MASKED_EQ" && !random.one_in(4) || random.one_in(8) {
            arg.insert("valueTwo".into(), json!(random.of(values)));
        }
        args.push(arg.into());
    }
    args
}

/// Arguments at, below and above each constant of a profile, with halves swapped and sign-extended.
pub fn arguments(profile: &Value) -> Vec<u64> {
    let mut values = vec![0, 1, u64::MAX, 0x1234_5678_9abc_def0];
    for rule in profile["syscalls"].as_array().into_iter().flatten() {
        for arg in rule["args"].as_array().into_iter().flatten() {
            for value in [&arg["value"], &arg["valueTwo"]].into_iter().filter_map(Value::as_u64) {
                let sign_extended = value as u32 as i32 as i64 as u64;
                for value in [value, value.rotate_left(32), value & 0xffff_ffff, sign_extended, !value] {
                    values.extend([value, value.wrapping_sub(1), value.wrapping_add(1)]);
                    values.extend([value.wrapping_add(1 << 32), value.wrapping_sub(1 << 32)]);
                }
            }
        }
    }
    // Calls inside multiplexers.
    values.extend(1..=24);
    values.sort_unstable();
    values.dedup();
    values
}
