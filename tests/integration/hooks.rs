//! Hooks: when each kind runs, where, with what, and what its failure does.

use crate::harness::{Bundle, runtime, wait_until};
use serde_json::{Value, json};
use std::fs;

/// In the order of the lifecycle.
const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Its directory `log` is `/log` inside too: `startContainer` hooks see nothing else of the host.
fn with_log(b: Bundle) -> Bundle {
    let log = b.io().join("log");
    fs::create_dir(&log).unwrap();
    b.mount("/log", "bind", log.to_str().unwrap(), &["bind"])
}

/// Where a hook of this kind finds that directory.
fn log_of(b: &Bundle, kind: &str) -> String {
    if kind == "startContainer" { "/log".into() } else { b.io().join("log").to_str().unwrap().into() }
}

/// Adds a hook of every kind; `LOG` in the script is the directory, `KIND` the kind.
fn every_kind(b: Bundle, script: &str) -> Bundle {
    KINDS.iter().fold(with_log(b), |b, kind| {
        let script = script.replace("LOG", &log_of(&b, kind)).replace("KIND", kind);
        b.hook(kind, &script)
    })
}

fn read(b: &Bundle, name: &str) -> String {
    fs::read_to_string(b.io().join("log").join(name)).unwrap_or_default()
}

// runc 1.3 runs poststart hooks in create; crun 1.28 does not wait for startContainer hooks.
#[test]
fn each_kind_runs_in_its_phase_and_order() {
    let b = every_kind(Bundle::idle(), "echo KIND-1 >> LOG/order");
    let b = every_kind_again(b);
    let order = |b: &Bundle| read(b, "order").lines().map(String::from).collect::<Vec<_>>();
    let twice =
        |kinds: &[&str]| kinds.iter().flat_map(|k| [format!("{k}-1"), format!("{k}-2")]).collect::<Vec<_>>();
    b.create().ok();
    assert_eq!(order(&b), twice(&KINDS[..3]), "after create");
    b.start().ok();
    assert_eq!(order(&b), twice(&KINDS[..5]), "after start");
    b.kill("KILL").ok();
    wait_until("it stops", || b.status() == "stopped");
    assert_eq!(order(&b), twice(&KINDS[..5]), "before delete");
    b.delete().ok();
    assert_eq!(order(&b), twice(&KINDS), "after delete");
    b.assert_nothing_left();
}

/// A second hook of every kind, in the same log.
fn every_kind_again(b: Bundle) -> Bundle {
    KINDS.iter().fold(b, |b, kind| {
        let script = format!("echo {kind}-2 >> {}/order", log_of(&b, kind));
        b.hook(kind, &script)
    })
}

#[test]
fn a_run_has_them_all() {
    let b = every_kind(Bundle::sh("echo process >> /log/order"), "echo KIND >> LOG/order");
    b.run().ok();
    let text = read(&b, "order");
    let order: Vec<&str> = text.lines().collect();
    assert_eq!(order[..4], KINDS[..4]);
    // The process and the poststart hook run at the same time.
    let mut middle = order[4..6].to_vec();
    middle.sort_unstable();
    assert_eq!(middle, ["poststart", "process"]);
    assert_eq!(order[6..], ["poststop"]);
    b.assert_nothing_left();
}

#[test]
fn a_forced_deletion_runs_the_poststop_hooks() {
    let b = every_kind(Bundle::idle(), "echo KIND >> LOG/order").up();
    b.delete_force().ok();
    assert!(read(&b, "order").ends_with("poststop\n"));
    b.assert_nothing_left();
}

#[test]
fn each_gets_the_state_on_stdin() {
    let b =
        every_kind(Bundle::idle(), "cat > LOG/KIND").set("/annotations", json!({"some.key": "value"})).up();
    b.delete_force().ok();
    let states = ["created", "creating", "creating", "created", "running", "stopped"];
    for (kind, status) in KINDS.iter().zip(states) {
        let text = read(&b, kind);
        let state: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{kind}: {error}: {text}"));
        assert_eq!(state["id"], b.id.as_str(), "{kind}");
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["bundle"], b.dir().to_str().unwrap(), "{kind}");
        assert_eq!(state["annotations"], json!({"some.key": "value"}), "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}");
        assert_eq!(state["pid"].as_i64().unwrap_or(0) > 0, status != "stopped", "{kind}: {state}");
    }
}

#[test]
fn the_state_names_the_pid_of_init_on_the_host() {
    let b = every_kind(Bundle::idle(), "cat > LOG/KIND").up();
    let pid = b.pid();
    for kind in ["prestart", "createRuntime", "poststart"] {
        let state: Value = serde_json::from_str(&read(&b, kind)).unwrap();
        assert_eq!(state["pid"], pid, "{kind}");
    }
}

#[test]
fn each_runs_in_its_namespaces() {
    let links = "for ns in mnt net uts ipc; do readlink /proc/self/ns/$ns; done";
    let process = format!(
        "({links}) > /log/process; trap 'exit 0' TERM; echo ready; while :; do sleep 300 & wait; done"
    );
    let b = every_kind(Bundle::sh(&process), &format!("({links}) > LOG/KIND")).up();
    b.delete_force().ok();
    let container = read(&b, "process");
    assert_eq!(container.lines().count(), 4, "{container}");
    for kind in ["createContainer", "startContainer"] {
        assert_eq!(read(&b, kind), container, "{kind}");
    }
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        let links = read(&b, kind);
        let shared = links.lines().filter(|link| container.contains(link)).count();
        assert_eq!((links.lines().count(), shared), (4, 0), "{kind}: {links}");
    }
}

#[test]
fn paths_are_of_the_host_but_for_start_container() {
    let b = every_kind(
        Bundle::idle().file("/only-inside", ""),
        "[ -e /only-inside ] && echo inside > LOG/KIND; :",
    )
    .up();
    b.delete_force().ok();
    for kind in KINDS {
        let expected = if kind == "startContainer" { "inside\n" } else { "" };
        assert_eq!(read(&b, kind), expected, "{kind}");
    }
}

#[test]
fn create_container_hooks_see_the_mounts_below_the_rootfs() {
    let b = with_log(Bundle::new());
    fs::write(b.io().join("file"), "bound\n").unwrap();
    let source = b.io().join("file").to_str().unwrap().to_owned();
    let script = format!(
        "cat {rootfs}/etc/bound > {log}/seen; [ -e {rootfs}/proc/self/status ] && echo proc >> {log}/seen",
        rootfs = b.rootfs().display(),
        log = log_of(&b, "createContainer")
    );
    let b = b.mount("/etc/bound", "bind", &source, &["bind"]).hook("createContainer", &script);
    b.run().ok();
    assert_eq!(read(&b, "seen").lines().next(), Some("bound"));
    b.assert_nothing_left();
}

#[test]
fn what_create_runtime_hooks_do_to_the_network_namespace_stays() {
    // What engines use them for: the pid of the state leads to the namespaces.
    let b = with_log(Bundle::sh("cat /proc/sys/net/ipv4/ip_default_ttl"));
    let script = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | grep -x '[0-9][0-9]*' | head -n 1)
                  nsenter --net=/proc/$pid/ns/net sh -c 'echo 77 > /proc/sys/net/ipv4/ip_default_ttl'";
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]});
    let b = b.push("/hooks/createRuntime", hook);
    assert_eq!(b.run().ok().stdout, "77\n");
}

#[test]
fn the_environment_and_the_arguments_are_the_configured_ones() {
    let b = with_log(Bundle::new());
    let log = log_of(&b, "prestart");
    let script = format!("echo \"$0\" \"$@\" > {log}/args; /usr/bin/env > {log}/env");
    let hook = json!({"path": "/bin/sh", "args": ["zero", "-c", script, "one", "two words"], "env": ["A=1", "B=two words"]});
    let b = b.push("/hooks/prestart", hook).push("/hooks/poststop", json!({"path": "/bin/true"}));
    b.run().ok();
    assert_eq!(read(&b, "args"), "one two words\n");
    let env = read(&b, "env");
    let mut names: Vec<&str> = env.lines().filter(|line| !line.starts_with("PWD=")).collect();
    names.sort_unstable();
    assert_eq!(names, ["A=1", "B=two words"], "the runtime's own environment is not inherited");
}

#[test]
fn a_failing_hook_of_create_ends_it_and_is_named() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let b = with_log(Bundle::idle());
        let log = log_of(&b, kind);
        let (third, poststop) =
            (format!("echo too far > {log}/third"), format!("echo poststop > {log}/poststop"));
        let b = b.hook(kind, "exit 0").hook(kind, "echo first line >&2; echo the reason >&2; exit 7");
        let b = b.hook(kind, &third).hook("poststop", &poststop);
        let out = b.create().fails(1, &[kind, "7", "the reason"]).one_line();
        // runc: `prestart hook #1`; crun names neither.
        assert!(out.stderr.contains(&format!("hooks.{kind}[1]")), "{out}");
        assert_eq!(read(&b, "third"), "");
        assert_eq!(read(&b, "poststop"), "poststop\n", "{kind}: the lifecycle goes on with its end");
        b.assert_nothing_left();
    }
}

#[test]
fn a_hook_that_dies_of_a_signal_is_named() {
    let b = Bundle::new().hook("createRuntime", "kill -SEGV $$");
    b.create().fails(1, &["hooks.createRuntime[0]", "signal"]);
    b.assert_nothing_left();
}

#[test]
fn a_hook_that_does_not_exist_is_named() {
    let b = Bundle::new().push("/hooks/prestart", json!({"path": "/no/such/hook"}));
    b.create().fails(1, &["hooks.prestart[0]", "/no/such/hook"]);
    b.assert_nothing_left();
}

#[test]
fn a_failing_start_container_hook_stops_the_container() {
    let b = with_log(Bundle::sh("echo ran > /log/ran")).hook("startContainer", "echo the reason >&2; exit 9");
    b.create().ok();
    b.start().fails(1, &["hooks.startContainer[0]", "9", "the reason"]);
    assert_eq!(b.status(), "stopped");
    assert_eq!(read(&b, "ran"), "");
    b.delete().ok();
    b.assert_nothing_left();
}

#[test]
fn a_failing_poststart_hook_stops_the_container() {
    // So the specification since 1.2; before, and in crun, it was a warning.
    let b = Bundle::idle().hook("poststart", "echo the reason >&2; exit 9");
    b.create().ok();
    b.start().fails(1, &["hooks.poststart[0]", "9", "the reason"]);
    assert_eq!(b.status(), "stopped");
    b.delete().ok();
    b.assert_nothing_left();
}

#[test]
fn a_run_whose_hook_fails_leaves_nothing_but_runs_the_poststop_hooks() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let b = with_log(Bundle::idle());
        let poststop = format!("echo poststop >> {}/poststop", log_of(&b, "poststop"));
        let b = b.hook(kind, "echo the reason >&2; exit 3").hook("poststop", &poststop);
        b.run().fails(1, &[&format!("hooks.{kind}[0]"), "exit status 3", "the reason"]);
        assert_eq!(read(&b, "poststop"), "poststop\n", "{kind}");
        b.assert_nothing_left();
    }
}

#[test]
fn other_commands_see_the_container_that_is_being_created() {
    let b = with_log(Bundle::idle()).set("/ociVersion", "1.0.1");
    let runtime = format!("{} --root {}", runtime().display(), b.state_root().display());
    let (id, log) = (&b.id, log_of(&b, "createRuntime"));
    let script = format!("{runtime} state {id} > {log}/state; {runtime} exec {id} true 2> {log}/exec; :");
    let b = b.hook("createRuntime", &script).up();
    let state: Value = serde_json::from_str(&read(&b, "state")).unwrap();
    assert_eq!((&state["status"], &state["ociVersion"]), (&json!("creating"), &json!("1.0.1")));
    assert!(read(&b, "exec").contains("still being created"), "{}", read(&b, "exec"));
    assert_eq!(b.state()["ociVersion"], "1.0.1");
}

#[test]
fn a_failing_poststop_hook_is_only_warned_of() {
    let b = with_log(Bundle::idle());
    let last = format!("echo last > {}/last", log_of(&b, "poststop"));
    let b = b.hook("poststop", "echo the reason >&2; exit 9").hook("poststop", &last).up();
    let out = b.delete_force().ok();
    assert!(out.stderr.contains("hooks.poststop[0]") && out.stderr.contains("the reason"), "{out}");
    assert_eq!(read(&b, "last"), "last\n", "the remaining hooks run");
    b.assert_nothing_left();
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_all_it_has_started() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let b = Bundle::new();
        let script =
            format!("tail -f {file} & tail -f {file}", file = b.rootfs().join("etc/passwd").display());
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1});
        let b = b.push(&format!("/hooks/{kind}"), hook);
        let out = b.create().fails(1, &[&format!("hooks.{kind}[0]")]);
        assert!(["timeout", "timed out"].iter().any(|word| out.stderr.contains(word)), "{out}");
        b.assert_nothing_left();
    }
}

#[test]
fn a_hook_that_ends_in_time_is_not_disturbed_by_its_timeout() {
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "exit 0"], "timeout": 20});
    Bundle::new().push("/hooks/prestart", hook).run().ok();
}

#[test]
fn a_talkative_hook_that_does_not_listen_is_no_problem() {
    // More output and more input than a pipe holds.
    let noisy = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exec <&-; exit 0";
    let annotation = "x".repeat(200_000);
    let b = Bundle::sh("echo fine").set("/annotations", json!({"big": annotation})).hook("prestart", noisy);
    let out = b.hook("createRuntime", "exec <&-; sleep 0.1").run().ok();
    assert!(out.stdout.ends_with("fine\n"), "{}", out.stdout.len());
}

#[test]
fn a_hook_that_leaves_a_process_with_its_output_open_holds_nobody_up() {
    let b = Bundle::sh("echo fine");
    let daemon = format!("tail -f {} & exit 0", b.rootfs().join("etc/passwd").display());
    let b = b.hook("prestart", &daemon);
    assert!(b.run().ok().stdout.ends_with("fine\n"));
}

#[test]
fn the_error_has_the_words_of_runc() {
    let b = Bundle::new().hook("createRuntime", "true").hook("createRuntime", "exit 3");
    let words = ["hooks.createRuntime[1]: error running createRuntime hook #1: /bin/sh", "exit status 3"];
    b.create().fails(1, &words).one_line();
}

#[test]
fn each_stands_where_runcs_do() {
    let b = every_kind(Bundle::new(), "pwd > LOG/KIND");
    b.run().ok();
    let (bundle, rootfs) = (format!("{}\n", b.dir().display()), format!("{}\n", b.rootfs().display()));
    let expected = [("prestart", &bundle), ("createRuntime", &bundle), ("createContainer", &rootfs)];
    for (kind, dir) in expected {
        assert_eq!(read(&b, kind), *dir, "{kind}");
    }
    assert_eq!(read(&b, "startContainer"), "/\n");
}

#[test]
fn start_container_hooks_have_the_environment_of_the_process() {
    let b = with_log(Bundle::new()).env("A=of the process").runtime_env("SECRET", "of the host");
    let b = b.hook("startContainer", "env > /log/inherited");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "/bin/env > /log/own"], "env": ["B=its own"]});
    let b = b.push("/hooks/startContainer", hook);
    b.run().ok();
    let (inherited, own) = (read(&b, "inherited"), read(&b, "own"));
    assert!(inherited.contains("A=of the process\n") && inherited.contains("HOME=/root\n"), "{inherited}");
    assert!(!inherited.contains("SECRET"), "{inherited}");
    assert!(own.contains("B=its own\n") && !own.contains("A="), "{own}");
}

#[test]
fn the_system_calls_of_start_container_hooks_are_filtered() {
    let rule = |action: &str| json!({"names": ["mkdir", "mkdirat"], "action": action, "errnoRet": 95});
    for no_new_privs in [false, true] {
        let b = with_log(Bundle::sh("mkdir /tmp/b 2> /log/process; :"))
            .set("/process/noNewPrivileges", no_new_privs)
            .set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("SCMP_ACT_ERRNO")]}),
            )
            .hook("startContainer", "mkdir /tmp/a 2> /log/hook; grep Seccomp: /proc/self/status > /log/mode");
        // Others are the host's own programs.
        let create_runtime = format!("mkdir {}/made", log_of(&b, "createRuntime"));
        let b = b.hook("createRuntime", &create_runtime);
        b.run().ok();
        for log in ["hook", "process"] {
            let text = read(&b, log).to_lowercase();
            assert!(text.contains("not supported"), "{log}: {text}");
        }
        assert_eq!(read(&b, "mode").split_whitespace().last(), Some("2"));
        assert!(b.io().join("log/made").is_dir() && !b.rootfs().join("tmp/a").exists());

        let b = Bundle::new()
            .set("/process/noNewPrivileges", no_new_privs)
            .set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]))
            .set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}),
            )
            .hook("startContainer", "exec mkdir /tmp/a");
        b.run().fails(1, &["hooks.startContainer[0]", "killed by signal 31: bad system call"]);
    }
}
