//! Faults of the host in the middle of things: no room, no descriptors, calls that fail. One line says so, and nothing is left.

use crate::harness::{Bundle, Need, Output, View, place_of, requires};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

/// A bundle whose commands have a file system of their own at `$BASE/PLACE`, with these options of mount(8), which the script fills.
/// What is in it afterwards is printed.
fn with_small(place: &str, options: &str, fill: &str) -> Bundle {
    let script = format!(
        "cd $BASE\nmkdir -p {place}\nmount -t tmpfs -o mode=700,{options} t {place}\n{fill}\n\
         \"$@\" && code=0 || code=$?\nls -A {place}\nexit $code"
    );
    Bundle::new().prelude(&script)
}

/// Without room for the directory, the record, the copy of config.json, the socket; and one that can't be written at all.
#[test]
fn a_state_root_that_takes_nothing() {
    requires!(Need::Root);
    for (options, errno) in [
        ("nr_inodes=1", "ENOSPC"),
        ("nr_inodes=2", "ENOSPC"),
        ("nr_inodes=3", "ENOSPC"),
        ("nr_inodes=4", "ENOSPC"),
        ("size=4k", "ENOSPC"),
        ("ro", "EROFS"),
    ] {
        let b = with_small("state", options, ":");
        let out = b.create().fails(1, &[errno]).one_line();
        assert_eq!(out.stdout, "", "{options}");
        b.assert_nothing_left();
    }
}

/// What a command can't record doesn't come about, and the record is as it was.
#[test]
fn a_state_root_that_has_filled_up() {
    requires!(Need::Root, Need::Controller("pids"));
    let b = Bundle::idle();
    let script = "cd $BASE\nmkdir state\nmount -t tmpfs -o mode=700,size=64k t state\n\"$@\" >/dev/null\n\
         cp state/$ID/config.json before\nhead -c 64k /dev/zero > state/full || :\n\
         $1 --root state update --pids-limit 7 $ID && exit 9\n\
         $1 --root state mounts add $ID io/mounts.json && exit 9\n\
         cmp state/$ID/config.json before\nls -A state/$ID\n\
         $1 --root state state $ID; echo\n$1 --root state delete --force $ID\nls -A state; exit";
    let id = b.id.clone();
    let b = b.runtime_env("ID", &id).prelude(script);
    fs::write(b.io().join("mounts.json"), r#"[{"destination": "/added", "type": "tmpfs"}]"#).unwrap();
    let out = b.create().ok();
    assert_eq!(out.stderr.matches("ENOSPC").count(), 2, "{out}");
    let lines = out.lines();
    assert_eq!(lines[..3], ["config.json", "start", "state.json"], "{out}");
    assert!(out.stdout.contains("\"created\"") && lines.last() == Some(&"full"), "{out}");
    b.assert_nothing_left();
}

#[test]
fn a_pid_file_is_whole_or_not_there() {
    requires!(Need::Root);
    for (options, fill, left) in
        [("nr_inodes=1", ":", ""), ("size=4k", "head -c 4096 /dev/zero > pids/other", "other")]
    {
        let b = with_small("pids", options, fill);
        let out = b.create_with(&["--pid-file", "pids/pid"]).fails(1, &["--pid-file", "ENOSPC"]).one_line();
        assert_eq!(out.stdout.trim(), left);
        b.assert_nothing_left();
    }
    // Another one's file in the place of the temporary one is not written to.
    let b = Bundle::idle();
    let (path, other) = (b.io().join("pid"), b.io().join(".pid.new"));
    fs::write(&other, "").unwrap();
    let held = fs::File::open(&other).unwrap();
    b.create_with(&["--pid-file", path.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), b.pid().to_string());
    assert_eq!((held.metadata().unwrap().len(), other.exists()), (0, false));
}

#[test]
fn a_pid_file_names_no_process_that_has_failed() {
    let failing = |b: &Bundle, out: Output| {
        out.fails(1, &[]).one_line();
        assert!(!b.io().join("pid").exists());
        b.assert_nothing_left();
    };
    let b = Bundle::new();
    let pid_file = |b: &Bundle| b.io().join("pid").to_str().unwrap().to_owned();
    failing(&b, b.create_with(&["--pid-file", &pid_file(&b), "--pidfd-socket", "/nonexistent"]));
    let b = Bundle::new().hook("startContainer", "exit 1");
    failing(&b, b.run_with(&["--pid-file", &pid_file(&b)]));
    let b = Bundle::new().hook("startContainer", "exit 1");
    failing(&b, b.run_with(&["--detach", "--pid-file", &pid_file(&b)]));
    let b = Bundle::idle().up();
    let options = ["--detach", "--pid-file", &pid_file(&b), "--pidfd-socket", "/nonexistent"];
    b.exec_with(&options, &["sleep", "300"]).fails(255, &["--pidfd-socket"]).one_line();
    assert!(!b.io().join("pid").exists());
}

#[test]
fn few_descriptors() {
    let mut enough = false;
    for limit in 3..40 {
        let b = Bundle::new().prelude(&format!("ulimit -n {limit}"));
        let out = b.run();
        if out.code() != 0 {
            out.fails(1, &["EMFILE"]).one_line();
            enough = false;
        } else {
            enough = true;
        }
        b.assert_nothing_left();
    }
    assert!(enough);
}

/// The caller's own cgroup has no room for a process. (Cgroup v2 takes init in elsewhere.)
#[test]
fn no_room_for_a_process() {
    let Some(pids) = place_of("pids", View::from_env()).filter(|place| !place.v2) else {
        eprintln!("skipped: needs the controller pids of cgroup v1");
        return;
    };
    let b = Bundle::new();
    let own = pids.path.join(format!("caller-{}", std::process::id()));
    let own = own.to_str().unwrap();
    let script = format!("mkdir {own}\necho 1 > {own}/pids.max\necho $$ > {own}/cgroup.procs");
    let b = b.prelude(&script);
    let out = b.run();
    fs::remove_dir(own).unwrap();
    out.fails(1, &["clone3", "EAGAIN"]).one_line();
    b.assert_nothing_left();
}

/// The calls of a command, each with how many of its name there were so far: what strace's `inject` counts.
fn calls_of(b: &Bundle, args: &[String]) -> Vec<(String, u32)> {
    traced(b, args, &["-o", b.io().join("strace").to_str().unwrap()]).ok();
    let log = fs::read_to_string(b.io().join("strace")).unwrap();
    let mut seen = BTreeMap::new();
    let names = log.lines().filter_map(|line| Some(line.split_once('(')?.0.to_owned()));
    let counted = names.map(|name| {
        let count = seen.entry(name.clone()).or_insert(0);
        *count += 1;
        (name, *count)
    });
    counted.filter(|(name, _)| !["execve", "exit_group"].contains(&name.as_str())).collect()
}

/// Runs a command under strace with these options.
fn traced(b: &Bundle, args: &[String], options: &[&str]) -> Output {
    let inner = b.command(args);
    let mut strace = Command::new("strace");
    strace.args(options).arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
    b.spawn_command(strace).wait()
}

/// Whatever `delete` can't do is left for the next one, and so is the record of it.
#[test]
fn a_delete_that_fails_can_be_repeated() {
    requires!(Need::Root, Need::Program("strace"));
    let b = Bundle::idle().up();
    let delete = ["delete", "--force", &b.id].map(String::from);
    let calls = calls_of(&b, &delete);
    let mut failed = 0;
    for (name, count) in
        calls.iter().filter(|(name, _)| ["openat", "read", "pidfd_open"].contains(&name.as_str()))
    {
        let b = Bundle::idle().up();
        let delete = ["delete", "--force", &b.id].map(String::from);
        let out = traced(
            &b,
            &delete,
            &["-o", "/dev/null", "-e", &format!("inject={name}:error=EMFILE:when={count}")],
        );
        if out.code() != 0 {
            failed += 1;
            out.fails(1, &["EMFILE"]).one_line();
            b.delete_force().ok();
        }
        b.assert_nothing_left();
    }
    assert!(failed > 5, "{failed}");
}

/// Who may not look at a container can't tell that there is none.
#[test]
fn a_container_out_of_reach_is_not_gone() {
    requires!(Need::Root, Need::Program("setpriv"));
    let b = Bundle::new();
    b.create().ok();
    let delete = b.command(&["delete", "--force", &b.id]);
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    other.arg(delete.get_program()).args(delete.get_args());
    b.spawn_command(other).wait().fails(1, &["EACCES"]).one_line();
}

/// How often a call is made in a log of strace(1) of one process.
pub fn occurrences(log: &str, name: &str) -> u32 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('('));
    log.lines().filter(of_name).count().try_into().unwrap()
}

/// At every twelfth of its calls; there is no difference to speak of between neighbours.
#[test]
fn a_command_is_killed_at_its_calls() {
    requires!(Need::Root, Need::Program("strace"));
    for verb in ["create", "start", "delete"] {
        let prepared = || {
            let b = Bundle::idle();
            b.write_config();
            let args = match verb {
                "create" => b.with_bundle("create", &[]),
                _ => [verb, &b.id].map(String::from).to_vec(),
            };
            if verb != "create" {
                b.create().ok();
            }
            (b, args)
        };
        let (b, args) = prepared();
        let calls = calls_of(&b, &args);
        assert!(calls.len() > 30, "{verb}: {calls:?}");
        let mut killed = 0;
        for (name, count) in calls.iter().step_by(12) {
            let (b, args) = prepared();
            let log = b.io().join("calls");
            let inject = format!("inject={name}:signal=KILL:when={count}");
            let out = traced(&b, &args, &["-o", log.to_str().unwrap(), "-e", &inject]);
            // What it waits for may come sooner than before, and so with fewer calls.
            let made = occurrences(&fs::read_to_string(&log).unwrap(), name);
            assert!(!out.status.success() || made < *count, "{verb}, {name} {count}: {out}");
            killed += u32::from(!out.status.success());
            b.delete_force().ok();
            b.assert_nothing_left();
        }
        assert!(killed > 2, "{verb}: {killed}");
    }
}

/// Every call that creation makes fails once, in the creator and in init.
#[test]
fn calls_that_fail() {
    requires!(Need::Root, Need::Program("strace"));
    let calls = "openat openat2 open_tree move_mount mount_setattr fsopen fsconfig fsmount mkdirat mknodat symlinkat pivot_root \
        umount2 fchdir socketpair socket bind listen clone3 sendmsg recvmsg renameat sethostname setgroups setresuid capset setsid \
        keyctl prctl flock fstat poll memfd_create execveat close_range mkdir";
    let mut failed = 0;
    for call in calls.split_whitespace() {
        for when in [1, 2] {
            let b = Bundle::new();
            b.write_config();
            let inject = format!("inject={call}:error=ENOMEM:when={when}");
            let out = traced(&b, &b.with_bundle("run", &[]), &["-f", "-o", "/dev/null", "-e", &inject]);
            if out.code() != 0 {
                out.fails(1, &["error"]).one_line();
                failed += 1;
            }
            b.assert_nothing_left();
        }
    }
    assert!(failed > 40, "{failed}");
}
