//! `ps`: the processes of a container, for people in the words of the host's ps(1), for programs as JSON.

use crate::harness::{Bundle, Need, requires, wait_until};

fn ps(b: &Bundle, options: &[&str]) -> crate::harness::Output {
    b.cmd(&[&["ps"], options].concat())
}

#[test]
fn as_json_it_is_a_list_of_pids_of_the_host() {
    let b = Bundle::sh("sleep 300 & echo ready; wait").up();
    let pids = |options: &[&str]| -> Vec<i32> {
        let out = ps(&b, options).ok();
        assert!(out.stdout.ends_with("]\n"), "{out}");
        let mut pids: Vec<i32> = serde_json::from_str(&out.stdout).unwrap();
        pids.sort_unstable();
        pids
    };
    let listed = pids(&["--format", "json", &b.id]);
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&b.pid()), "{listed:?}");
    let own = std::fs::read_link(format!("/proc/{}/ns/pid", b.pid())).unwrap();
    for pid in &listed {
        assert_eq!(std::fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap(), own);
    }
    for options in [&["-f", "json", &b.id][..], &["-format=json", &b.id]] {
        assert_eq!(pids(options), listed);
    }
    // What follows the id is for ps(1), which JSON takes nothing from.
    assert_eq!(pids(&["-f", "json", &b.id, "--nosuch"]), listed);
}

#[test]
fn as_a_table_it_is_what_ps_prints() {
    requires!(Need::Program("ps"));
    let b = Bundle::sh("sleep 300 & echo ready; wait").up();
    let pid = b.pid().to_string();
    let out = ps(&b, &[&b.id]).ok();
    assert_eq!(out.stdout.lines().count(), 3, "{out}");
    assert_eq!(out.lines()[0].split_whitespace().next(), Some("UID"), "the host's ps -ef: {out}");
    assert!(out.stdout.contains("sleep 300") && out.stdout.contains(&pid), "{out}");
    // Options of ps follow the id. runc takes none behind a `--`.
    for options in [&[&b.id, "-e", "-o", "pid,comm"][..], &[&b.id, "--", "-e", "-o", "pid,comm"]] {
        let out = ps(&b, options).ok();
        assert_eq!(out.lines()[0].split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND"]);
        assert_eq!(out.stdout.lines().count(), 3, "{out}");
    }
}

#[test]
fn errors_tell_what_ps_said() {
    requires!(Need::Program("ps"));
    let b = Bundle::idle().up();
    ps(&b, &[&b.id, "-o", "comm"]).fails(1, &["no column PID"]).one_line();
    ps(&b, &[&b.id, "--nosuch"]).fails(1, &["ps --nosuch: error:"]).one_line();
    ps(&b, &["--format", "xml", &b.id]).fails(1, &["xml", "table, json"]).one_line();
    ps(&b, &["nope"]).fails(1, &["container does not exist"]).one_line();
    let b = b.runtime_env("PATH", "/nonexistent");
    ps(&b, &[&b.id]).fails(1, &["run ps", "--format json needs no ps"]).one_line();
    ps(&b, &["-f", "json", &b.id]).ok();
}

#[test]
fn a_container_that_has_stopped_has_no_processes() {
    requires!(Need::Program("ps"));
    let b = Bundle::idle().up();
    b.kill("KILL").ok();
    wait_until("it is stopped", || b.status() == "stopped");
    assert_eq!(ps(&b, &["-f", "json", &b.id]).ok().stdout, "null\n");
    let out = ps(&b, &[&b.id]).ok();
    assert_eq!(out.stdout.lines().count(), 1, "only the header: {out}");
}

// Its processes outlive the first one, as they are in nobody's PID namespace but the host's.
#[test]
fn what_is_left_of_a_container_is_listed() {
    requires!(Need::Root);
    let b = Bundle::sh("trap '' TERM; sleep 300 & echo ready; wait").without_namespace("pid").up();
    let before: Vec<i32> = serde_json::from_str(&ps(&b, &["-f", "json", &b.id]).ok().stdout).unwrap();
    assert_eq!(before.len(), 2, "{before:?}");
    let init = nix::unistd::Pid::from_raw(b.pid());
    nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("it is stopped", || b.status() == "stopped");
    let left: Vec<i32> = serde_json::from_str(&ps(&b, &["-f", "json", &b.id]).ok().stdout).unwrap();
    assert_eq!(left, before.into_iter().filter(|pid| *pid != init.as_raw()).collect::<Vec<_>>());
    b.delete().ok();
    b.assert_nothing_left();
}
