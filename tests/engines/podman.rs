//! Podman: with the cgroupfs manager in a world of its own, and with systemd's on the test machine, where it may be an ordinary user's,
//! too (`ROOTLESS=1`).

mod build;
mod limits;
mod namespaces;
mod pods;
mod process;
mod storm;

use crate::harness::container::{self, Engine};
use crate::harness::{Need, Output, World, requires, wait_until};
use crate::machine;
use std::sync::OnceLock;

const NEED: Need = Need::Program("podman");

/// The cgroup of an ordinary user's session.
const SESSION: &str = "/user.slice/user-1000.slice/user@1000.service";

/// Whether systemd makes the cgroups.
fn by_systemd() -> bool {
    Need::Machine.is_met()
}

/// Whether it is an ordinary user's.
fn is_rootless() -> bool {
    !Need::Root.is_met()
}

/// Podman's world.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| match by_systemd() {
        true => machine::Podman::new(!is_rootless(), "systemd").world,
        false => new_world("podman"),
    })
}

/// A world with Podman in it.
fn new_world(name: &str) -> World {
    let world = World::new(name);
    world.configure("Podman");
    // Podman's own defaults are over the limits of a host without CAP_SYS_RESOURCE.
    let ulimits = "default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]";
    let engine = "events_logger = \"file\"\ninfra_image = \"localhost/pause:1\"";
    let text = format!("[containers]\n{ulimits}\n[engine]\n{engine}\n");
    world.write("/etc/containers/containers.conf.d/test.conf", &text);
    // Whose ids --userns=auto takes.
    for file in ["/etc/subuid", "/etc/subgid"] {
        world.write(file, "containers:1000000:1000000\n");
    }
    for image in ["bb", "pause"] {
        world.sh(&format!("podman load -i /var/tmp/images/{image}.tar")).ok();
    }
    world
}

struct Podman;

impl Engine for Podman {
    const NAME: &'static str = "podman";
    const REMOVE: &'static str = "rm -f -t 0";
    fn world() -> &'static World {
        world()
    }
}

type Container = container::Container<Podman>;

impl Container {
    /// A file of its cgroup.
    fn cgroup_file(&self, name: &str) -> String {
        world().cgroup_file(&format!("libpod-{}", self.id), name)
    }
}

fn podman(args: &str) -> Output {
    container::command::<Podman>(args)
}

fn run(options: &str, script: &str) -> Output {
    container::run::<Podman>(options, script)
}

#[test]
fn run_passes_output_and_exit_code_on() {
    requires!(NEED);
    let out = run("", "echo out; echo err >&2; exit 3");
    assert_eq!((out.code(), out.stdout.as_str(), out.stderr.as_str()), (3, "out\n", "err\n"), "{out}");
    let out = world().sh("echo typed | podman run --rm -i --network none bb:1 cat").ok();
    assert_eq!(out.stdout, "typed\n");
    assert_eq!(run("", "kill -9 $$; sleep 1").code(), 0, "init is safe from its own signals");
    assert_eq!(run("--pid host", "kill -9 $$").code(), 137);
}

#[test]
fn run_removes_what_has_ended() {
    requires!(NEED);
    container::check_removal::<Podman>();
    podman("container exists gone").fails(1, &[]);
}

/// Exit codes that Podman makes of the runtime's text.
#[test]
fn run_tells_what_cannot_be_executed() {
    requires!(NEED);
    for (command, code, text) in [
        ("nosuch", 127, "executable file not found in $PATH"),
        ("/nosuch", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
    ] {
        podman(&format!("run --rm --name bad --network none bb:1 {command}")).fails(code, &[text]).one_line();
    }
    podman("container exists bad").fails(1, &[]);
    let left = podman("ps -aq --filter name=bad").ok();
    assert_eq!(left.stdout, "");
}

#[test]
fn a_container_in_the_background_lives_its_life() {
    requires!(NEED);
    let c = Container::up("life", "");
    c.says("started");
    assert_eq!(c.inspect(".State.Status"), "running");
    let pid: i32 = c.inspect(".State.Pid").parse().unwrap();
    let in_world = world().sh(&format!("cat /proc/{pid}/cgroup")).ok();
    let path = match (by_systemd(), is_rootless()) {
        (false, _) => format!("/libpod_parent/libpod-{}", c.id),
        (true, false) => format!("/machine.slice/libpod-{}.scope", c.id),
        (true, true) => format!("{SESSION}/user.slice/libpod-{}.scope", c.id),
    };
    assert!(in_world.stdout.lines().all(|line| line.ends_with(&path)), "{in_world}");
    assert_eq!(c.inspect(".State.CgroupPath"), path);

    c.cmd("pause", "").ok();
    assert_eq!(c.inspect(".State.Status"), "paused");
    assert!(world().is_frozen(&format!("libpod-{}", c.id)));
    c.cmd("exec", "true").fails(255, &[]);
    c.cmd("unpause", "").ok();
    assert_eq!(c.inspect(".State.Status"), "running");

    let top = c.cmd("top", "pid comm").ok();
    assert!(top.stdout.contains("sh") && top.stdout.contains("sleep"), "{top}");
    let stats = c.cmd("stats --no-stream --format '{{.PIDs}} {{.MemUsage}}'", "").ok();
    assert!(stats.stdout.starts_with("2 "), "{stats}");

    // TERM, within the time that stop gives it.
    c.cmd("stop -t 60", "").ok();
    assert_eq!(c.inspect(".State.ExitCode"), "4");
    assert_eq!(c.cmd("wait", "").ok().stdout, "4\n");
    assert_eq!(c.cmd("logs", "").ok().stdout, "started\nbye\n");
    assert!(world().cgroups(&c.id).is_empty());

    c.cmd("start", "").ok();
    c.says("started\nbye\nstarted");
    let pid = c.inspect(".State.Pid");
    c.cmd("restart -t 0", "").ok();
    c.says("started\nbye\nstarted\nstarted");
    assert_eq!(c.inspect(".State.Status"), "running");
    assert_ne!(c.inspect(".State.Pid"), pid);
    c.remove();
}

/// Who hears SIGTERM and goes on gets SIGKILL when the time is over.
#[test]
fn stop_becomes_a_kill() {
    requires!(NEED);
    let script = "trap \"echo heard\" TERM; echo started; while :; do sleep 0.1; done";
    let c = Container::of("stubborn", "--network none", script);
    c.says("started");
    c.cmd("stop -t 2", "").ok();
    assert_eq!(c.inspect(".State.ExitCode"), "137");
    assert_eq!(c.cmd("logs", "").ok().stdout, "started\nheard\n");
    c.remove();
}

#[test]
fn wait_gives_the_code_of_one_that_runs() {
    requires!(NEED);
    let script = "until test -e /tmp/go; do sleep 0.1; done; exit 7";
    let c = Container::of("awaited", "--network none", script);
    let wait = world().spawn("podman wait awaited");
    wait_until("it waits", || world().sh("pgrep -f '^podman wait awaited'").status.success());
    c.cmd("exec", "touch /tmp/go").ok();
    assert_eq!(wait.wait().ok().stdout, "7\n");
    c.remove();
}

#[test]
fn kill_takes_names_and_numbers() {
    requires!(NEED);
    let script =
        "trap \"echo usr1\" USR1; trap \"echo usr2\" USR2; echo started; while :; do sleep 300 & wait; done";
    let c = Container::of("signals", "--network none", script);
    c.says("started");
    for (signal, says) in [("USR1", "usr1"), ("SIGUSR2", "usr2"), ("10", "usr1\nusr2\nusr1")] {
        c.cmd(&format!("kill -s {signal}"), "").ok();
        c.says(says);
    }
    let stop = c.cmd("stop -t 0", "").ok();
    assert!(!stop.stderr.contains("rror"), "{stop}");
    assert_eq!(c.inspect(".State.ExitCode"), "137");
    c.cmd("kill", "").fails(125, &["can only kill running containers"]);
    c.remove();
}

#[test]
fn exec_runs_further_processes() {
    requires!(NEED);
    let c = Container::up("exec", "");
    let script = "sh -c 'echo $A; pwd; id -u; id -g; exit 7'";
    let out = podman(&format!("exec -e A=b -w /tmp -u 1000:5 exec {script}"));
    assert_eq!((out.code(), out.stdout.as_str()), (7, "b\n/tmp\n1000\n5\n"), "{out}");
    assert_eq!(podman("exec -u app exec id -un").ok().stdout, "app\n");
    let piped = world().sh("echo typed | podman exec -i exec cat").ok();
    assert_eq!(piped.stdout, "typed\n");
    c.cmd("exec", "nosuch").fails(127, &["executable file not found in $PATH"]);
    c.cmd("exec", "/etc/passwd").fails(126, &["permission denied"]);
    c.cmd("exec", "sh -c 'kill -9 $$'").fails(137, &[]);
    let capabilities = |options: &str| {
        let out = podman(&format!("{options} grep CapEff /proc/self/status")).ok();
        out.field("CapEff:").to_owned()
    };
    let all = capabilities("run --rm --network none --privileged bb:1");
    assert_eq!(capabilities("exec --privileged exec"), all);
    assert_ne!(capabilities("exec exec"), all);
    c.cmd("exec -d", "sh -c 'echo detached >/tmp/made; sleep 300'").ok();
    wait_until("it runs", || c.cmd("exec", "cat /tmp/made").stdout == "detached\n");
    let sleeping =
        || c.cmd("exec", "ps").ok().lines().iter().filter(|line| line.ends_with(" sleep 300")).count();
    wait_until("init's, and what the detached shell has become", || sleeping() == 2);
    c.remove();
}

#[test]
fn a_terminal_is_one_and_follows_its_size() {
    requires!(NEED);
    container::check_terminal::<Podman>();
}

#[test]
fn a_terminal_is_left_and_taken_up_again() {
    requires!(NEED);
    container::check_detaching::<Podman>();
}

#[test]
fn exec_gives_a_terminal() {
    requires!(NEED);
    container::check_exec_terminal::<Podman>();
}

#[test]
fn attach_passes_both_directions_on() {
    requires!(NEED);
    let c = Container::of("attach", "-i --network none", "while read line; do echo got $line; done; exit 9");
    let out = world().sh("(echo one; echo two) | podman attach attach").ok();
    assert_eq!(out.stdout.trim(), "got one\ngot two", "{out}");
    // Podman 4.3 itself exits with 0 then.
    wait_until("it exits", || c.inspect(".State.Status") == "exited");
    assert_eq!(c.inspect(".State.ExitCode"), "9");
    c.remove();
}

#[test]
fn create_then_start() {
    requires!(NEED);
    let id = podman("create --name made --network none bb:1 sh -c 'echo started; exit 5'").ok();
    podman("init made").ok();
    assert_eq!(podman("inspect --format '{{.State.Status}}' made").ok().stdout, "initialized\n");
    let out = podman("start -a made");
    assert_eq!((out.code(), out.stdout.as_str()), (5, "started\n"), "{out}");
    podman("rm made").ok();
    world().assert_nothing_left(id.stdout.trim());
}

#[test]
fn a_health_check_is_run() {
    requires!(NEED);
    // No systemd is there to run it at its times.
    let c = Container::up(
        "health",
        "--health-cmd \"test -e /tmp/well\" --health-interval disable --health-retries 1",
    );
    c.cmd("healthcheck run", "").fails(1, &[]);
    assert_eq!(c.inspect(".State.Health.Status"), "unhealthy");
    c.cmd("exec", "touch /tmp/well").ok();
    c.cmd("healthcheck run", "").ok();
    assert_eq!(c.inspect(".State.Health.Status"), "healthy");
    c.remove();
}

#[test]
fn the_version_and_the_runtime_are_shown() {
    requires!(NEED);
    let out = podman("info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Version}}'").ok();
    assert!(out.stdout.starts_with("orlop ") && out.stdout.contains(" version "), "{out}");
}
