use super::*;
use crate::sys::bpf::op;

fn policy(rules: &str) -> Policy {
    Policy::new(&serde_json::from_str::<Vec<LinuxDeviceCgroup>>(rules).unwrap()).unwrap()
}

fn error(rules: &str) -> String {
    let rules = serde_json::from_str::<Vec<LinuxDeviceCgroup>>(rules).unwrap();
    Policy::new(&rules).and_then(|policy| policy.writes()).unwrap_err().to_string()
}

/// What the rules mean: the definition in the module's comment, one bit after the other, without any of the policy's reductions.
fn evaluate(rules: &[DeviceRule], block: bool, major: u32, minor: u32, wanted: u8) -> bool {
    [access::MKNOD, access::READ, access::WRITE].into_iter().filter(|bit| wanted & bit != 0).all(|bit| {
        let applies = |rule: &&DeviceRule| {
            rule.access & bit != 0
                && (rule.kind == Kind::All || (rule.kind == Kind::Block) == block)
                && rule.major.is_none_or(|number| number == major)
                && rule.minor.is_none_or(|number| number == minor)
        };
        rules.iter().rev().find(applies).is_some_and(|rule| rule.allow)
    })
}

/// What the kernel's virtual machine makes of a program.
fn run(program: &[Insn], block: bool, major: u32, minor: u32, wanted: u8) -> bool {
    let context = [u32::from(wanted) << 16 | if block { 1 } else { 2 }, major, minor];
    let mut registers = [0_u32; 11];
    let mut at = 0;
    loop {
        let insn = program[at];
        at += 1;
        let (to, k) = (usize::from(insn.to), insn.immediate);
        let jump = match insn.code {
            op::JA => true,
            op::JEQ => registers[to] == k,
            op::JNE => registers[to] != k,
            op::JSET => registers[to] & k != 0,
            op::JLE => registers[to] <= k,
            op::EXIT => return registers[0] == 1,
            _ => false,
        };
        match insn.code {
            op::MOV => registers[to] = k,
            op::AND => registers[to] &= k,
            op::LSH => registers[to] <<= k,
            op::OR_REG => registers[to] |= registers[usize::from(insn.from)],
            op::LOAD => registers[to] = context[usize::try_from(insn.offset).unwrap() / 4],
            _ => {}
        }
        if jump {
            at += usize::try_from(insn.offset).expect("the kernel takes no jumps backwards");
        }
    }
}

/// What cgroup v1 makes of its lines, after `security/device_cgroup.c`.
fn v1(writes: &[Write], block: bool, major: u32, minor: u32, wanted: u8) -> bool {
    let mut allow_all = true;
    let mut exceptions = Vec::new();
    for write in writes {
        let allow = write.file == "devices.allow";
        if write.value == "a" {
            allow_all = allow;
            exceptions.clear();
            continue;
        }
        assert_ne!(allow, allow_all, "{write:?} is no exception");
        let words: Vec<&str> = write.value.split([' ', ':']).collect();
        let [kind, maj, min, bits] = words[..] else { panic!("{write:?}") };
        let matches = |word: &str, number: u32| word == "*" || word == number.to_string();
        if kind == if block { "b" } else { "c" } && matches(maj, major) && matches(min, minor) {
            let bit = |letter| match letter {
                'r' => access::READ,
                'w' => access::WRITE,
                _ => access::MKNOD,
            };
            exceptions.push(bits.chars().fold(0, |bits, letter| bits | bit(letter)));
        }
    }
    match allow_all {
        true => exceptions.iter().all(|bits| bits & wanted == 0),
        false => exceptions.iter().any(|bits| wanted & !bits == 0),
    }
}

const DENY_ALL: &str = r#"{"allow":false,"access":"rwm"}"#;

#[test]
fn the_usual_policy_is_short() {
    let usual = policy(&format!("[{DENY_ALL}]"));
    assert_eq!(program::compile(&usual).unwrap().len(), 21);
    assert_eq!(usual.writes().unwrap().len(), 12);
    // Deny-all is also what no rules mean.
    assert_eq!(usual.rules, policy("[]").rules);
}

#[test]
fn a_privileged_container_may_do_everything() {
    let all = policy(r#"[{"allow":true,"access":"rwm"}]"#);
    let filter = DeviceFilter::new(&all, true, Layout::V1).unwrap();
    assert!(filter.everything);
    assert_eq!(filter.writes.len(), 1);
    assert_eq!((filter.writes[0].file.as_str(), filter.writes[0].value.as_str()), ("devices.allow", "a"));
    assert_eq!(program::compile(&all).unwrap().len(), 2);
}

#[test]
fn lines_of_cgroup_v1() {
    // As Docker writes it: repeats what every container has, and denies what nobody allowed.
    let docker = policy(&format!(
        r#"[{DENY_ALL},{{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}},
            {{"allow":true,"type":"b","major":8,"minor":-1,"access":"r"}},
            {{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}}]"#
    ));
    let lines: Vec<String> =
        docker.writes().unwrap().iter().map(|write| format!("{} {}", write.file, write.value)).collect();
    let expected = [
        "devices.deny a",
        "devices.allow c 1:3 rwm",
        "devices.allow b 8:* r",
        "devices.allow c *:* m",
        "devices.allow b *:* m",
        "devices.allow c 1:5 rwm",
        "devices.allow c 1:7 rwm",
        "devices.allow c 1:8 rwm",
        "devices.allow c 1:9 rwm",
        "devices.allow c 5:0 rwm",
        "devices.allow c 5:2 rwm",
        "devices.allow c 136:* rwm",
        "devices.allow c 10:200 rwm",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn rules_that_make_no_sense() {
    let cases = [
        (
            r#"[{"allow":true}]"#,
            "linux.resources.devices[0].access: says nothing: some of r, w, m are needed",
        ),
        (r#"[{"allow":true,"access":"rwx"}]"#, "linux.resources.devices[0].access: 'x' is none of r, w, m"),
        (
            r#"[{"allow":true,"access":"r"},{"allow":true,"type":"p","access":"r"}]"#,
            "linux.resources.devices[1].type: \"p\" is none of a, b, c",
        ),
        (
            r#"[{"allow":true,"type":"c","major":4096,"access":"r"}]"#,
            "linux.resources.devices[0].major: 4096 is not between 0 and 4095 (-1 means all)",
        ),
        (
            r#"[{"allow":true,"type":"c","minor":-2,"access":"r"}]"#,
            "linux.resources.devices[0].minor: -2 is not between 0 and 1048575 (-1 means all)",
        ),
        (
            r#"[{"allow":true,"type":"b","major":8,"access":"rw"},
                {"allow":false,"type":"b","major":8,"minor":1,"access":"w"}]"#,
            "linux.resources.devices: cgroup v1 can't deny b 8:1 after a rule to allow b 8:* (name the devices one by one)",
        ),
    ];
    for (rules, expected) in cases {
        assert_eq!(error(rules), expected, "{rules}");
    }
}

/// A generator of numbers that needs no crate (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 33).unwrap() % limit
    }

    fn rule(&mut self) -> DeviceRule {
        let mut number = || match self.below(3) {
            0 => None,
            n => Some(n),
        };
        let (major, minor) = (number(), number());
        let kind = [Kind::All, Kind::Char, Kind::Block][self.below(3) as usize];
        let access = if self.below(2) == 0 { access::ALL } else { u8::try_from(self.below(7)).unwrap() + 1 };
        DeviceRule { allow: self.below(2) == 0, kind, major, minor, access }
    }
}

/// Every access to every device of a small world.
fn questions() -> impl Iterator<Item = (bool, u32, u32, u8)> {
    (0..4 * 4 * 7 * 2_u32)
        .map(|n| (n & 1 == 1, n >> 1 & 3, n >> 3 & 3, u8::try_from(n / 32 % 7).unwrap() + 1))
}

#[test]
fn programs_and_lines_mean_what_the_rules_say() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut lines_compared = 0;
    for _ in 0..2_000 {
        let rules: Vec<DeviceRule> = (0..random.below(7)).map(|_| random.rule()).collect();
        let mut policy = Policy { allow: false, rules: Vec::new() };
        rules.iter().for_each(|rule| policy.add(*rule));
        let program = program::compile(&policy).unwrap();
        let lines = policy.writes();
        lines_compared += u32::from(lines.is_ok());
        for (block, major, minor, wanted) in questions() {
            let expected = evaluate(&rules, block, major, minor, wanted);
            let question = (block, major, minor, wanted);
            assert_eq!(
                run(&program, block, major, minor, wanted),
                expected,
                "{question:?} {rules:?} {program:?}"
            );
            let Ok(lines) = &lines else { continue };
            let allowed = v1(lines, block, major, minor, wanted);
            // Cgroup v1 wants one line to allow all bits of an access, so it may deny several that it allows one by one.
            assert!(
                allowed == expected || expected && wanted.count_ones() > 1,
                "{question:?} {rules:?} {lines:?}"
            );
        }
    }
    assert!(lines_compared > 500);
}
