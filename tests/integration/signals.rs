//! The end of a container as an attached command tells it, and signals on their way in.

use crate::harness::Bundle;
use nix::sys::signal::Signal;
use std::fs;

#[test]
fn the_exit_code_is_the_processes() {
    for code in [0, 1, 7, 42, 126, 127, 255] {
        assert_eq!(Bundle::sh(&format!("exit {code}")).run().code(), code);
    }
}

#[test]
fn a_process_that_dies_of_a_signal_gives_128_and_its_number() {
    // The first process of a pid namespace would not die of its own signal.
    for (name, code) in [("TERM", 143), ("KILL", 137), ("HUP", 129), ("USR1", 138)] {
        let b = Bundle::sh(&format!("kill -{name} $$; sleep 60")).without_namespace("pid");
        assert_eq!(b.run().code(), code, "{name}");
        b.assert_nothing_left();
    }
}

#[test]
fn a_container_that_is_killed_gives_137() {
    let b = Bundle::idle();
    let run = b.spawn_run(&[]);
    run.wait_for("ready");
    b.kill("KILL").ok();
    assert_eq!(run.wait().code(), 137);
    b.assert_nothing_left();
}

#[test]
fn an_attached_run_forwards_signals() {
    let names = ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "CONT", "TERM"];
    let traps: Vec<String> = names.iter().map(|name| format!("trap 'echo got {name}' {name}")).collect();
    let script =
        format!("{}; trap 'exit 9' PWR; echo ready; while :; do sleep 1 & wait $!; done", traps.join("; "));
    let b = Bundle::sh(&script);
    let run = b.spawn_run(&[]);
    run.wait_for("ready");
    for name in names {
        run.signal(format!("SIG{name}").parse().unwrap());
        run.wait_for(&format!("got {name}"));
    }
    run.signal(Signal::SIGPWR);
    assert_eq!(run.wait().code(), 9);
    b.assert_nothing_left();
}

#[test]
fn a_detached_run_returns_at_once_and_writes_the_pid_file() {
    let b = Bundle::idle();
    let pid_file = b.io().join("pid");
    b.run_with(&["--detach", "--pid-file", pid_file.to_str().unwrap()]).ok();
    assert_eq!(b.status(), "running");
    assert_eq!(std::fs::read_to_string(pid_file).unwrap(), b.pid().to_string());
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn run_deletes_the_container_unless_told_to_keep_it() {
    let b = Bundle::new();
    b.run().ok();
    b.cmd(&["state", &b.id]).fails(1, &["does not exist"]);
    b.assert_nothing_left();

    let b = Bundle::sh("exit 3");
    assert_eq!(b.run_with(&["--keep"]).code(), 3);
    assert_eq!(b.status(), "stopped");
    b.delete().ok();
    b.assert_nothing_left();
}

#[test]
fn an_attached_run_passes_input_and_output_through() {
    use std::process::Stdio;
    let b = Bundle::sh("read line; echo out: $line; echo err: $line >&2; cat");
    b.write_config();
    let input = b.io().join("input");
    std::fs::write(&input, "first\nrest\n").unwrap();
    let mut command = b.command(&b.with_bundle("run", &[]));
    command.stdin(Stdio::from(std::fs::File::open(input).unwrap()));
    let out = b.spawn_command(command).wait().ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out: first\nrest\n", "err: first\n"));
}

// Without a pid namespace crun waits for the process that is left.
#[test]
fn a_container_may_leave_no_one_behind() {
    // Processes that outlive the first one die with the pid namespace, or, without one, with the container.
    for b in [Bundle::sh("sleep 100 & exit 5"), Bundle::sh("sleep 100 & exit 5").without_namespace("pid")] {
        assert_eq!(b.run().code(), 5);
        b.assert_nothing_left();
    }
}

/// Somebody else may remove what an attached `run` lasts for, and take its name before `run` sees that.
#[test]
fn an_attached_run_leaves_the_next_container_of_its_name_alone() {
    let b = Bundle::sh("echo ready; sleep 300");
    let run = b.spawn_run(&[]);
    run.wait_for("ready");
    // That waits until `run` needs no lock any more.
    b.start().fails(1, &["cannot start an already running container"]);
    run.signal(Signal::SIGSTOP);
    b.delete_force().ok();
    b.create().ok();
    run.signal(Signal::SIGCONT);
    assert_eq!(run.wait().code(), 137);
    assert_eq!(b.status(), "created");
    b.delete().ok();
    b.assert_nothing_left();
}

/// A command that was killed may have left a file half-written, and whoever has the right may put anything there.
#[test]
fn whatever_lies_in_the_state_directory_goes_with_it() {
    let leave = |b: &Bundle| {
        let dir = b.state_root().join(&b.id);
        fs::write(dir.join(".state.json.new"), "{").unwrap();
        fs::create_dir_all(dir.join("a/b")).unwrap();
        // More than one read of the directory takes.
        (0..300).for_each(|i| fs::write(dir.join(format!("a-long-name-of-a-file-{i}")), "").unwrap());
    };
    let b = Bundle::idle();
    b.create().ok();
    leave(&b);
    b.delete().ok();
    b.assert_nothing_left();
    let b = Bundle::sh("echo ready; sleep 300");
    let run = b.spawn_run(&[]);
    run.wait_for("ready");
    leave(&b);
    b.kill("KILL").ok();
    assert_eq!(run.wait().code(), 137);
    b.assert_nothing_left();
}
