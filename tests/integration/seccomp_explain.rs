//! `seccomp explain` and `features`: what the command line knows of profiles.

use crate::harness::*;
use serde_json::{Value, json};

/// A recorded configuration.
macro_rules! recorded {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/recorded/", $name, ".json")
    };
}

const DOCKER: &str = recorded!("docker-20.10-run");
const PODMAN: &str = recorded!("podman-4.3-run");

fn explain(args: &[&str]) -> Output {
    Bundle::new().cmd(&[&["seccomp", "explain"], args].concat())
}

#[test]
fn a_call_by_its_name_on_every_architecture() {
    let out = explain(&[PODMAN, "mount"]).ok();
    let allowed = "SCMP_ACT_ALLOW: linux.seccomp.syscalls[1]";
    let expected = [
        "SCMP_ARCH_X86_64 165 mount",
        allowed,
        "SCMP_ARCH_X86 21 mount",
        allowed,
        "SCMP_ARCH_X32 1073741989 mount",
        allowed,
    ];
    assert_eq!(out.lines(), expected);
    let out = explain(&[PODMAN, "bpf"]).ok();
    assert_eq!(out.lines()[1], "SCMP_ACT_ERRNO(1 EPERM): linux.seccomp.syscalls[10]");
    let out = explain(&[DOCKER, "keyctl"]).ok();
    assert_eq!(
        out.lines()[1],
        "SCMP_ACT_ERRNO(1 EPERM): linux.seccomp.defaultAction, for no rule says otherwise"
    );
    let out = explain(&[DOCKER, "clone3"]).ok();
    assert_eq!(out.lines()[1], "SCMP_ACT_ERRNO(38 ENOSYS): linux.seccomp.syscalls[10]");
}

#[test]
fn a_call_with_its_arguments() {
    let first = |args: &[&str]| explain(args).ok().lines()[1].trim().to_owned();
    let denied = "linux.seccomp.defaultAction, for no rule says otherwise";
    for arg in ["0", "8", "131072", "0x20008", "4294967295"] {
        assert!(first(&[DOCKER, "personality", arg]).starts_with("SCMP_ACT_ALLOW: linux.seccomp.syscalls["));
    }
    assert_eq!(first(&[DOCKER, "personality", "1"]), format!("SCMP_ACT_ERRNO(1 EPERM): {denied}"));
    assert_eq!(first(&[PODMAN, "personality", "-1"]), format!("SCMP_ACT_ERRNO(38 ENOSYS): {denied}"));
    assert_eq!(first(&[DOCKER, "clone", "0x10000000"]), format!("SCMP_ACT_ERRNO(1 EPERM): {denied}"));
    assert_eq!(
        first(&[PODMAN, "socket", "16", "3", "9"]),
        "SCMP_ACT_ERRNO(22 EINVAL): linux.seccomp.syscalls[18]"
    );
    // What may become of it, in order, as long as the arguments are open.
    let out = explain(&[PODMAN, "socket"]).ok();
    assert_eq!(
        out.lines()[1],
        "SCMP_ACT_ERRNO(22 EINVAL) if args[0] == 0x10 and args[2] == 0x9: linux.seccomp.syscalls[18]"
    );
    assert!(out.stdout.contains("SCMP_ARCH_X86 102 socketcall with args[0] == 1: socket\n"), "{out}");
}

#[test]
fn a_call_by_its_number() {
    requires!(Need::File("/proc/sys/abi/vsyscall32"));
    let out = explain(&[DOCKER, "39"]).ok();
    assert_eq!(out.lines(), ["SCMP_ARCH_X86_64 39 getpid", "SCMP_ACT_ALLOW: linux.seccomp.syscalls[0]"]);
    let out = explain(&[DOCKER, "9999"]).ok();
    assert_eq!(out.lines()[0], "SCMP_ARCH_X86_64 9999");
    assert!(out.lines()[1].starts_with("SCMP_ACT_ERRNO(38 ENOSYS): newer than every call"), "{out}");
}

#[test]
fn a_profile_without_a_call_is_disassembled() {
    for profile in [DOCKER, PODMAN] {
        let out = explain(&[profile]).ok();
        let lines = out.lines();
        assert!(lines.len() < 650 && lines[0].ends_with("A = arch"), "{out}");
        for (i, line) in lines.iter().enumerate() {
            assert!(line.trim_start().starts_with(&format!("{i} ")), "{line}");
        }
        assert!(lines.iter().any(|line| line.ends_with("return SCMP_ACT_ALLOW")), "{out}");
    }
}

/// Engines hold a profile in a file of its own; then the paths begin there.
#[test]
fn a_profile_alone() {
    let b = Bundle::new();
    let file = b.io().join("profile.json");
    let explain = |profile: Value, call: &str| {
        std::fs::write(&file, profile.to_string()).unwrap();
        b.cmd(&["seccomp", "explain", file.to_str().unwrap(), call])
    };
    let profile = json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP"}]});
    let out = explain(profile, "read").ok();
    assert_eq!(out.lines()[1], "SCMP_ACT_TRAP: syscalls[0]");
    for (profile, text) in [
        (json!({}), "defaultAction"),
        (json!({"linux": {}}), "linux.seccomp"),
        (json!({"linux": {"seccomp": {"defaultAction": "X"}}}), "linux.seccomp.defaultAction"),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": [], "action": "X"}]}),
            "syscalls[0].action",
        ),
        (json!({"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "x"}), "listenerMetadata: there is no"),
    ] {
        explain(profile, "read").fails(1, &[text, "profile.json"]).one_line();
    }
}

/// An engine picks from its own profile what counts for a container; what that is cannot be seen in the file.
#[test]
fn a_profile_that_is_still_to_be_resolved() {
    let b = Bundle::new();
    let file = b.io().join("seccomp.json");
    let explain = |profile: &Value| {
        std::fs::write(&file, profile.to_string()).unwrap();
        b.cmd(&["seccomp", "explain", file.to_str().unwrap(), "mount"])
    };
    let rule = |key: &str, value: Value| json!({"names": ["mount"], "action": "SCMP_ACT_ALLOW", "comment": "", "args": [], key: value});
    let profile = |rule: Value| {
        let first = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}});
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [first, rule]})
    };
    // What says nothing does no harm.
    for value in [json!({}), json!(null)] {
        let out = explain(&profile(rule("includes", value))).ok();
        assert_eq!(out.lines()[1], "SCMP_ACT_ALLOW: syscalls[1]");
    }
    let caps = json!({"caps": ["CAP_SYS_ADMIN"]});
    let map = json!([{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]);
    let mut with_map = profile(rule("includes", json!({})));
    with_map["archMap"] = map;
    let mut by_name = with_map.clone();
    by_name["archMap"] = json!(null);
    by_name["defaultErrno"] = json!("ENOSYS");
    for (profile, field) in [
        (with_map, "archMap"),
        (by_name, "defaultErrno"),
        (profile(rule("includes", caps.clone())), "syscalls[1].includes"),
        (profile(rule("excludes", caps)), "syscalls[1].excludes"),
        (profile(rule("errno", json!("EPERM"))), "syscalls[1].errno"),
    ] {
        let texts = [&format!("seccomp.json: {field}: "), "an engine's own profile", "config.json"];
        explain(&profile).fails(1, &texts.map(|text| text as &str)).one_line();
    }
}

#[test]
fn what_cannot_be_explained() {
    explain(&[PODMAN, "mountt"]).fails(1, &["unknown system call \"mountt\""]).one_line();
    explain(&[PODMAN, "read", "fd"]).fails(1, &["\"fd\" is not a number"]).one_line();
    explain(&[PODMAN, "read", "1", "2", "3", "4", "5", "6", "7"]).fails(1, &["at most 6"]).one_line();
    explain(&["/no/such/profile", "read"]).fails(1, &["/no/such/profile", "no such file"]).one_line();
    explain(&[recorded!("containerd-1.6-run"), "read"]).fails(1, &["linux.seccomp", "no profile"]).one_line();
}

#[test]
fn features_lists_every_word_of_a_profile() {
    let features: Value = serde_json::from_str(&Bundle::new().cmd(&["features"]).ok().stdout).unwrap();
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], true);
    let words = |key: &str| -> Vec<&str> {
        seccomp[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
    };
    let all = |key: &str, prefix: &str, expected: &str| {
        for word in expected.split(' ').map(|word| format!("{prefix}{word}")) {
            assert!(words(key).contains(&word.as_str()), "{word}: {:?}", words(key));
        }
    };
    all("actions", "SCMP_ACT_", "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY");
    all("operators", "SCMP_CMP_", "NE LT LE EQ GE GT MASKED_EQ");
    all(
        "archs",
        "SCMP_ARCH_",
        "X86 X86_64 X32 ARM AARCH64 RISCV64 LOONGARCH64 PPC64LE S390 S390X MIPS MIPSEL MIPS64 MIPSEL64 MIPS64N32 \
         MIPSEL64N32",
    );
    all("knownFlags", "SECCOMP_FILTER_FLAG_", "TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV");
    all("supportedFlags", "SECCOMP_FILTER_FLAG_", "TSYNC LOG SPEC_ALLOW");
}

/// A kernel before Linux 5.19 answers EINVAL to the last of the flags.
#[test]
fn features_tell_what_the_kernel_lacks() {
    requires!(Need::Program("strace"));
    let b = Bundle::new();
    let orlop = b.command(&["features"]);
    let mut strace = std::process::Command::new("strace");
    strace.args(["-o", "/dev/null", "-e", "inject=seccomp:error=EINVAL:when=4"]);
    let out = b.spawn_command({
        strace.arg(orlop.get_program()).args(orlop.get_args());
        strace
    });
    let features: Value = serde_json::from_str(&out.wait().ok().stdout).unwrap();
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(
        seccomp["supportedFlags"].as_array().unwrap()[..],
        seccomp["knownFlags"].as_array().unwrap()[..3]
    );
}
