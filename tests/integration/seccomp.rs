//! `linux.seccomp` as the container's processes see it: what becomes of their calls, whoever they are.

use crate::bad_input::table;
use crate::harness::*;
use libc::{SYS_add_key, SYS_getppid};
use serde_json::{Value, json};

const DOCKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/recorded/docker-20.10-run.json");

/// Lets every call through but those of the rules.
pub fn allowing(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

/// The same action for getppid(2), which takes no arguments and never fails by itself.
fn on_getppid(action: &str) -> Value {
    allowing(json!([{"names": ["getppid"], "action": action}]))
}

/// Docker's profile, as a recorded configuration has it.
fn docker() -> Value {
    let config: Value = serde_json::from_slice(&std::fs::read(DOCKER).unwrap()).unwrap();
    config["linux"]["seccomp"].clone()
}

/// What the container's calls come to under a profile.
#[track_caller]
fn results(profile: Value, calls: &[(i64, &[u64])]) -> Vec<String> {
    let out = Bundle::new().set("/linux/seccomp", profile).calls(calls).run().ok();
    out.results().into_iter().map(str::to_owned).collect()
}

#[test]
fn what_becomes_of_a_call_under_each_action() {
    for (action, expected) in [
        ("SCMP_ACT_ALLOW", "1"),
        ("SCMP_ACT_LOG", "1"),
        ("SCMP_ACT_ERRNO", "EPERM"),
        // Nobody traces it.
        ("SCMP_ACT_TRACE", "ENOSYS"),
        ("SCMP_ACT_TRAP", "SIGSYS"),
        ("SCMP_ACT_KILL", "SIGSYS"),
        ("SCMP_ACT_KILL_THREAD", "SIGSYS"),
        ("SCMP_ACT_KILL_PROCESS", "SIGSYS"),
    ] {
        assert_eq!(results(on_getppid(action), &[(SYS_getppid, &[])]), [expected], "{action}");
    }
}

#[test]
fn an_errno_is_the_rules_own() {
    for (errno, expected) in [(1, "EPERM"), (38, "ENOSYS"), (77, "EBADFD"), (4095, "UnknownErrno"), (0, "0")]
    {
        let rule = json!([{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]);
        assert_eq!(results(allowing(rule), &[(SYS_getppid, &[])]), [expected], "{errno}");
    }
}

#[test]
fn an_exit_code_tells_of_the_signal() {
    let with = |action: &str, args: &[&str]| {
        let rules = json!([{"names": ["mkdir", "mkdirat"], "action": action}]);
        Bundle::new().args(args.to_vec()).set("/linux/seccomp", allowing(rules)).run()
    };
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        assert_eq!(with(action, &["/bin/mkdir", "/made"]).code(), 128 + 31, "{action}");
        let out =
            with(action, &["/bin/sh", "-c", "mkdir /made; echo $?; ls -d /made; mkdir /other || exit 7"]);
        assert_eq!((out.code(), out.lines()[0]), (7, "159"), "{action}: {out}");
        assert!(!out.stdout.contains("/made"), "{out}");
    }
    with("SCMP_ACT_LOG", &["/bin/mkdir", "/made"]).ok();
    with("SCMP_ACT_ERRNO", &["/bin/mkdir", "/made"]).fails(1, &["Operation not permitted"]);
}

#[test]
fn a_trap_is_a_signal_that_can_be_handled() {
    let profile = allowing(json!([{"names": ["umask"], "action": "SCMP_ACT_TRAP"}]));
    let b = Bundle::sh("trap 'echo trapped' SYS; umask 077; echo after").set("/linux/seccomp", profile);
    assert_eq!(b.run().ok().lines(), ["trapped", "after"]);
}

#[test]
fn a_thread_is_killed_alone_or_with_its_process() {
    let run = |action| Bundle::new().probe("thread").set("/linux/seccomp", on_getppid(action)).run();
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        let out = run(action).ok();
        assert!(out.lines().contains(&"the others live"), "{out}");
    }
    let out = run("SCMP_ACT_KILL_PROCESS");
    assert_eq!(out.code(), 128 + 31, "{out}");
    assert!(!out.stdout.contains(" live"), "{out}");
}

/// Values of argument 0 that meet a comparison with 2^32 + 5, in every architecture's view of a number
/// without sign.
#[test]
fn each_operator_compares_64_bits_without_sign() {
    const FIVE: u64 = (1 << 32) + 5;
    let values = [0, 5, FIVE - 1, FIVE, FIVE + 1, 2 * FIVE, 1 << 63, u64::MAX];
    let met = |op: &str, holds: &dyn Fn(u64) -> bool| {
        let args = json!([{"index": 0, "value": FIVE, "op": op}]);
        compare(args, &values.map(|value| vec![value]), &|args| holds(args[0]));
    };
    met("SCMP_CMP_NE", &|value| value != FIVE);
    met("SCMP_CMP_LT", &|value| value < FIVE);
    met("SCMP_CMP_LE", &|value| value <= FIVE);
    met("SCMP_CMP_EQ", &|value| value == FIVE);
    met("SCMP_CMP_GE", &|value| value >= FIVE);
    met("SCMP_CMP_GT", &|value| value > FIVE);
    let (mask, masked) = ((0xff << 32) | 0xf0, (1 << 32) | 0x20);
    let args = json!([{"index": 0, "value": mask, "valueTwo": masked | 1, "op": "SCMP_CMP_MASKED_EQ"}]);
    let values = [masked, masked | (7 << 60) | 0xf, 0x20, 1 << 32, masked | (2 << 32), masked | 0x40];
    compare(args, &values.map(|value| vec![value]), &|args| args[0] & mask == masked);
}

#[test]
fn conditions_on_several_arguments_are_met_together_and_on_one_alternatively() {
    let eq = |index: u8, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    for other in 1..6 {
        let mut values = vec![vec![0; 6]; 4];
        (values[1][0], values[2][usize::from(other)]) = (7, 8);
        (values[3][0], values[3][usize::from(other)]) = (7, 8);
        compare(json!([eq(0, 7), eq(other, 8)]), &values, &|args| {
            args[0] == 7 && args[usize::from(other)] == 8
        });
    }
    let values: Vec<_> = [0, 1, 2, 3].map(|value| vec![value]).into();
    compare(json!([eq(0, 1), eq(0, 3)]), &values, &|args| args[0] == 1 || args[0] == 3);
}

/// Calls under a rule with these conditions fail exactly if they are met.
#[track_caller]
fn compare(conditions: Value, values: &[Vec<u64>], met: &dyn Fn(&[u64]) -> bool) {
    let rule =
        json!([{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71, "args": conditions}]);
    let calls: Vec<(i64, &[u64])> = values.iter().map(|args| (SYS_getppid, &args[..])).collect();
    let expected: Vec<_> = values.iter().map(|args| if met(args) { "EPROTO" } else { "1" }).collect();
    assert_eq!(results(allowing(rule), &calls), expected, "{conditions} on {values:x?}");
}

#[test]
fn calls_newer_than_the_profile_are_not_there() {
    // Docker's profile does not know cachestat(2), of Linux 6.5, and denies add_key(2).
    const CACHESTAT: i64 = 451;
    let calls: [(i64, &[u64]); 3] = [(CACHESTAT, &[u64::MAX]), (9999, &[]), (SYS_add_key, &[])];
    assert_eq!(results(docker(), &calls), ["ENOSYS", "ENOSYS", "EPERM"]);
    let mut profile = docker();
    profile["defaultErrnoRet"] = json!(13);
    assert_eq!(results(profile.clone(), &calls), ["ENOSYS", "ENOSYS", "EACCES"]);
    // Once it names a newer one, those in between are denied.
    profile["syscalls"][0]["names"].as_array_mut().unwrap().push(json!("mseal"));
    assert_eq!(results(profile, &calls), ["EACCES", "ENOSYS", "EACCES"]);
}

#[test]
fn names_that_nobody_knows_are_left_out_with_a_warning() {
    let profile = allowing(json!([
        {"names": ["getpid_of_mars", "getppid"], "action": "SCMP_ACT_ERRNO"},
    ]));
    let b = Bundle::new().set("/linux/seccomp", profile).calls(&[(SYS_getppid, &[])]);
    let out = b.run().ok();
    assert_eq!(out.results(), ["EPERM"]);
    for text in ["warning", "linux.seccomp.syscalls[0].names[0]", "getpid_of_mars"] {
        assert!(out.stderr.contains(text), "{text}: {out}");
    }
    assert_eq!(out.stderr.lines().count(), 1, "{out}");
}

#[test]
fn flags_reach_the_kernel() {
    requires!(Need::Program("strace"));
    const SPEC_ALLOW: &str = "SECCOMP_FILTER_FLAG_SPEC_ALLOW";
    for (flags, expected) in [
        (json!(null), SPEC_ALLOW),
        (json!([]), "0"),
        (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), "SECCOMP_FILTER_FLAG_TSYNC"),
        (json!(["SECCOMP_FILTER_FLAG_LOG"]), "SECCOMP_FILTER_FLAG_LOG"),
        (json!([SPEC_ALLOW]), SPEC_ALLOW),
        (
            json!(["SECCOMP_FILTER_FLAG_LOG", SPEC_ALLOW]),
            "SECCOMP_FILTER_FLAG_LOG|SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        ),
    ] {
        let b = Bundle::new().args(["/bin/cat", "/proc/self/status"]);
        let b = b.set("/linux/seccomp", on_getppid("SCMP_ACT_ERRNO"));
        let b = if flags.is_null() { b } else { b.set("/linux/seccomp/flags", flags) };
        b.write_config();
        let log = b.io().join("strace");
        let run = b.command(&b.with_bundle("run", &[]));
        let mut strace = std::process::Command::new("strace");
        strace
            .args(["-f", "-e", "trace=seccomp", "-o"])
            .arg(&log)
            .arg(run.get_program())
            .args(run.get_args());
        assert_eq!(b.spawn_command(strace).wait().ok().field("Seccomp:"), "2");
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains(&format!("seccomp(SECCOMP_SET_MODE_FILTER, {expected}, ")), "{expected}: {log}");
    }
}

/// Whoever the process is, there is one filter, and `no_new_privs` is what config.json says.
#[test]
fn every_process_of_the_container_is_under_the_filter() {
    requires!(Need::UserNamespace);
    for no_new_privs in [false, true] {
        for uid in [0, 1000] {
            for bundle in [Bundle::idle(), Bundle::idle().user_namespace()] {
                let b = bundle
                    .set("/process/noNewPrivileges", no_new_privs)
                    .set("/process/user/uid", uid)
                    .set("/linux/seccomp", docker())
                    .up();
                let init = std::fs::read_to_string(format!("/proc/{}/status", b.pid())).unwrap();
                let own = ["cat", "/proc/self/status"];
                let execs = [b.exec(&own).ok().stdout, b.exec_with(&["--user", "7"], &own).ok().stdout];
                for status in execs.iter().chain([&init]) {
                    let lines: Vec<_> = status.lines().collect();
                    let expected = format!("NoNewPrivs:\t{}", u8::from(no_new_privs));
                    for line in ["Seccomp:\t2", "Seccomp_filters:\t1", &expected] {
                        assert!(lines.contains(&line), "{line} with uid {uid}: {status}");
                    }
                }
                let out = b.exec_with(&["--no-new-privs"], &own).ok();
                assert_eq!((out.field("Seccomp:"), out.field("NoNewPrivs:")), ("2", "1"));
            }
        }
    }
}

#[test]
fn exec_is_under_the_containers_filter() {
    let profile =
        allowing(json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]));
    let b = Bundle::idle().set("/linux/seccomp", profile).up();
    b.exec(&["mkdir", "/made"]).fails(1, &["No space left"]);
    // The container's own configuration counts, not what has become of the bundle's since.
    std::fs::write(b.dir().join("config.json"), "{}").unwrap();
    b.exec(&["mkdir", "/made"]).fails(1, &["No space left"]);
}

#[test]
fn other_ways_to_call_are_filtered_or_closed() {
    requires!(Need::File("/proc/sys/abi/vsyscall32"));
    const GETPPID: i64 = 64;
    const X32: i64 = 0x4000_0000;
    let by_interrupt = |profile: Value| {
        let calls: &[(i64, &[u64])] = &[(GETPPID, &[5]), (GETPPID, &[6])];
        let b = Bundle::new().set("/linux/seccomp", profile).calls(calls).env("PROBE=calls-32-bit");
        b.run().ok().results().join(" ")
    };
    let five = json!([{"index": 0, "value": (1_u64 << 32) + 5, "op": "SCMP_CMP_EQ"}]);
    let rule = json!({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "args": five});
    let mut profile = allowing(json!([rule]));
    // The profile does not speak of x86.
    assert_eq!(by_interrupt(profile.clone()), "SIGSYS SIGSYS");
    assert_eq!(results(profile.clone(), &[(X32 + SYS_getppid, &[])]), ["SIGSYS"]);
    profile["architectures"] = json!(["SCMP_ARCH_X86"]);
    // Its registers have 32 bits, and so many are compared.
    assert_eq!(by_interrupt(profile.clone()), "EPERM 1");
    assert_eq!(results(profile.clone(), &[(SYS_getppid, &[5])]), ["1"]);
    profile["architectures"] = json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]);
    assert_eq!(results(profile, &[(X32 + SYS_getppid, &[5])]), ["EPERM"]);
}

#[test]
fn what_a_profile_cannot_say() {
    requires!(Need::Root);
    let first = |key: &str, value: Value| {
        let mut rule = json!({"names": ["getppid"], "action": "SCMP_ACT_ERRNO"});
        rule[key] = value;
        allowing(json!([{"names": ["acct"], "action": "SCMP_ACT_LOG"}, rule]))
    };
    let with = |key: &str, value: Value| {
        let mut profile = on_getppid("SCMP_ACT_ERRNO");
        profile[key] = value;
        profile
    };
    let arg = |index: u64, op: &str| json!([{"index": index, "value": 0, "op": op}]);
    let notify = |default: &str, call: &str, path: Value| {
        json!({"defaultAction": default, "listenerPath": path,
            "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}, {"names": [call], "action": "SCMP_ACT_NOTIFY"}]})
    };
    let rows: [(Value, &[&str]); 21] = [
        // Under these no program could be started, or nobody would ever answer.
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}),
            &["linux.seccomp.syscalls", "no rule allows execve"],
        ),
        (
            json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"}),
            &["linux.seccomp.syscalls", "no rule allows execve"],
        ),
        (
            notify("SCMP_ACT_ERRNO", "mkdir", json!("/s")),
            &["linux.seccomp.syscalls", "no rule allows sendmsg"],
        ),
        (
            notify("SCMP_ACT_ALLOW", "sendmsg", json!("/s")),
            &["linux.seccomp.syscalls[1].names", "sendmsg cannot have SCMP_ACT_NOTIFY"],
        ),
        (notify("SCMP_ACT_ALLOW", "mkdir", json!(1)), &["linux.seccomp.listenerPath", "integer"]),
        (json!({}), &["linux.seccomp", "defaultAction"]),
        (with("defaultAction", json!("SCMP_ACT_X")), &["linux.seccomp.defaultAction", "SCMP_ACT_X"]),
        (with("defaultAction", json!("SCMP_ACT_NOTIFY")), &["linux.seccomp.defaultAction", "cannot"]),
        (with("defaultErrnoRet", json!(1)), &["linux.seccomp.defaultErrnoRet", "SCMP_ACT_ALLOW takes no"]),
        (with("defaultErrnoRet", json!(-1)), &["linux.seccomp.defaultErrnoRet"]),
        (with("architectures", json!(["SCMP_ARCH_Z80"])), &["linux.seccomp.architectures[0]", "Z80"]),
        (with("flags", json!(["X"])), &["linux.seccomp.flags[0]", "X"]),
        (with("listenerMetadata", json!("s")), &["linux.seccomp.listenerMetadata", "listenerPath"]),
        (first("action", json!("SCMP_ACT_X")), &["linux.seccomp.syscalls[1].action", "SCMP_ACT_X"]),
        (first("action", json!("SCMP_ACT_NOTIFY")), &["linux.seccomp.syscalls[1].action", "listenerPath"]),
        (first("errnoRet", json!(4096)), &["linux.seccomp.syscalls[1].errnoRet", "4095"]),
        (first("args", arg(6, "SCMP_CMP_EQ")), &["linux.seccomp.syscalls[1].args[0].index", "0 to 5"]),
        (first("args", arg(0, "SCMP_CMP_X")), &["linux.seccomp.syscalls[1].args[0].op", "SCMP_CMP_X"]),
        (first("args", json!([{"index": 0}])), &["linux.seccomp.syscalls[1].args[0]", "value"]),
        (first("names", json!("read")), &["linux.seccomp.syscalls[1].names"]),
        (
            allowing(json!([{"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1}])),
            &["linux.seccomp.syscalls[0].errnoRet", "takes no value"],
        ),
    ];
    let rows = rows.map(|(profile, texts)| ("/linux/seccomp", profile, texts));
    table(Bundle::new(), &rows);
}
