//! Single containers and their networks.

use super::{Container, Docker, NEED, docker, run, world};
use crate::harness::container::{check_detaching, check_exec_terminal, check_removal, check_terminal};
use crate::harness::{Need, Output, requires, wait_until};

#[test]
fn it_is_the_default_runtime() {
    requires!(NEED);
    assert_eq!(docker("info --format '{{.DefaultRuntime}}'").ok().stdout, "orlop\n");
    let c = Container::up("default", "");
    assert_eq!(c.inspect(".HostConfig.Runtime"), "orlop");
    c.remove();
    run("--runtime orlop", "true").ok();
    docker("run --rm --runtime nosuch bb:1 true").fails(125, &["nosuch"]);
}

#[test]
fn run_passes_output_and_exit_code_on() {
    requires!(NEED);
    let out = run("", "echo out; echo err >&2; exit 3");
    assert_eq!((out.code(), out.stdout.as_str(), out.stderr.as_str()), (3, "out\n", "err\n"), "{out}");
    assert_eq!(world().sh("echo typed | docker run --rm -i --network none bb:1 cat").ok().stdout, "typed\n");
    assert_eq!(run("--pid host", "kill -9 $$").code(), 137);
}

#[test]
fn run_removes_what_has_ended() {
    requires!(NEED);
    check_removal::<Docker>();
}

/// Exit codes that dockerd makes of the runtime's text.
#[test]
fn run_tells_what_cannot_be_executed() {
    requires!(NEED);
    for (command, code, text) in [
        ("nosuch", 127, "executable file not found in $PATH"),
        ("/nosuch", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, "is a directory"),
    ] {
        docker(&format!("run --rm --network none bb:1 {command}")).fails(code, &[text]);
    }
    let mount = docker("run --rm --network none -v /tmp:/etc/passwd bb:1 true");
    mount.fails(125, &["not a directory", "Are you trying to mount a directory onto a file"]);
}

#[test]
fn a_container_in_the_background_lives_its_life() {
    requires!(NEED);
    let c = Container::up("life", "");
    assert_eq!(c.inspect(".State.Status"), "running");
    c.cmd("pause", "").ok();
    assert_eq!(c.inspect(".State.Status"), "paused");
    assert!(world().is_frozen(&c.id));
    c.cmd("exec", "true").fails(1, &["paused"]);
    c.cmd("unpause", "").ok();
    let top = c.cmd("top", "-o pid,comm").ok();
    assert!(top.stdout.contains("sh") && top.stdout.contains("sleep"), "{top}");
    let stats = c.cmd("stats --no-stream --format '{{.PIDs}}'", "").ok();
    assert_eq!(stats.stdout, "2\n");
    c.cmd("stop -t 60", "").ok();
    assert_eq!(c.inspect(".State.ExitCode"), "4");
    assert_eq!(c.cmd("logs", "").ok().stdout, "started\nbye\n");
    assert!(world().cgroups(&c.id).is_empty());
    c.cmd("start", "").ok();
    c.says("started\nbye\nstarted");
    let (pid, time) = (c.inspect(".State.Pid"), c.inspect(".State.StartedAt"));
    c.cmd("restart -t 0", "").ok();
    // Docker says TERM even then, and may hear `bye`.
    wait_until("a third start", || c.cmd("logs", "").stdout.matches("started").count() == 3);
    assert_eq!(c.inspect(".State.Status"), "running");
    assert_ne!(c.inspect(".State.Pid"), pid);
    assert_ne!(c.inspect(".State.StartedAt"), time);
    c.cmd("kill -s USR1", "").ok();
    assert_eq!(c.cmd("wait", "& docker kill -s 9 life >/dev/null; wait").ok().lines().last(), Some(&"137"));
    c.remove();
}

#[test]
fn exec_runs_further_processes() {
    requires!(NEED);
    let c = Container::up("exec", "");
    let script = "sh -c 'echo $A; pwd; id -u; id -g; exit 7'";
    let out = docker(&format!("exec -e A=b -w /tmp -u 1000:5 exec {script}"));
    assert_eq!((out.code(), out.stdout.as_str()), (7, "b\n/tmp\n1000\n5\n"), "{out}");
    assert_eq!(world().sh("echo typed | docker exec -i exec cat").ok().stdout, "typed\n");
    // Newer ones tell it from what can't be executed.
    let missing = c.cmd("exec", "nosuch");
    assert!([126, 127].contains(&missing.code()), "{missing}");
    c.cmd("exec", "/etc/passwd").fails(126, &[]);
    c.cmd("exec", "sh -c 'kill -9 $$'").fails(137, &[]);
    c.remove();
}

#[test]
fn terminals() {
    requires!(NEED);
    check_terminal::<Docker>();
    check_detaching::<Docker>();
    check_exec_terminal::<Docker>();
}

/// Files of the container's cgroup, of either version, and what they say at first and after the update.
const LIMITS_V1: [(&str, &str, &str); 6] = [
    ("memory.limit_in_bytes", "67108864", "134217728"),
    ("memory.memsw.limit_in_bytes", "134217728", "268435456"),
    ("cpu.cfs_quota_us", "50000", "25000"),
    ("cpu.shares", "512", "512"),
    ("pids.max", "20", "30"),
    ("cpuset.cpus", "0", "0"),
];
const LIMITS_V2: [(&str, &str, &str); 6] = [
    ("memory.max", "67108864", "134217728"),
    ("memory.swap.max", "67108864", "134217728"),
    ("cpu.max", "50000 100000", "25000 100000"),
    ("cpu.weight", "59", "59"),
    ("pids.max", "20", "30"),
    ("cpuset.cpus", "0", "0"),
];

#[test]
fn limits_and_update() {
    requires!(NEED);
    let limits = if Need::CgroupV1.is_met() { LIMITS_V1 } else { LIMITS_V2 };
    let c =
        Container::up("limits", "--memory 64m --cpus 0.5 --pids-limit 20 --cpuset-cpus 0 --cpu-shares 512");
    let file = |name: &str| world().cgroup_file(&c.id, name);
    for (name, value, _) in limits {
        assert_eq!(file(name), value, "{name}");
    }
    c.cmd("update --memory 128m --memory-swap 256m --cpus 0.25 --pids-limit 30", "").ok();
    for (name, _, value) in limits {
        assert_eq!(file(name), value, "{name}");
    }
    c.remove();
    assert_eq!(run("--memory 16m --memory-swap 16m", "tail -c 64m /dev/zero").code(), 137);
}

#[test]
fn systemd_manages_the_cgroup() {
    requires!(NEED, Need::Machine);
    let driver = docker("info --format '{{.CgroupDriver}} {{.CgroupVersion}}'").ok();
    assert_eq!(driver.stdout, "systemd 2\n");
    let c = Container::up("scope", "--memory 64m");
    let scope = format!("docker-{}.scope", c.id);
    let show = format!("systemctl show -P ControlGroup -P MemoryMax {scope}");
    let cgroup = format!("/system.slice/{scope}");
    assert_eq!(world().sh(&show).ok().lines(), [cgroup.as_str(), "67108864"]);
    c.cmd("update --memory 128m --memory-swap 256m", "").ok();
    assert_eq!(world().sh(&show).ok().lines(), [cgroup.as_str(), "134217728"]);
    world().sh("systemctl daemon-reload").ok();
    assert_eq!(world().cgroup_file(&c.id, "memory.max"), "134217728");
    c.remove();
    let units = world().sh("systemctl list-units --all --plain 'docker-*'").ok();
    assert!(!units.stdout.contains(&scope), "{units}");
}

#[test]
fn security_options() {
    requires!(NEED);
    let options = "--read-only --tmpfs /tmp --cap-drop ALL -u 1000 --security-opt no-new-privileges";
    let out = run(
        options,
        "grep -E \"CapEff|NoNewPrivs|Seccomp:\" /proc/self/status; touch /tmp/x && echo made; touch /x",
    );
    assert_eq!(out.field("CapEff:"), "0000000000000000");
    assert_eq!(out.field("NoNewPrivs:"), "1");
    assert_eq!(out.field("Seccomp:"), "2");
    assert!(out.stdout.contains("made"), "{out}");
    out.fails(1, &["Read-only file system"]);
    run("", "mount -t tmpfs none /mnt").fails(1, &["denied"]);
}

/// Docker asks for all capabilities, of which the host may lack one.
#[test]
fn privileged() {
    requires!(NEED);
    run("--privileged", "mount -t tmpfs none /mnt").ok();
}

#[test]
fn an_init_reaps_and_a_check_is_run() {
    requires!(NEED);
    let options = "--init --health-cmd \"test -e /tmp/well\" --health-interval 1s --health-retries 1";
    let c = Container::up("init", options);
    assert!(c.cmd("exec", "cat /proc/1/comm").ok().stdout.contains("init"));
    wait_until("unhealthy", || c.inspect(".State.Health.Status") == "unhealthy");
    c.assert_reaps();
    c.cmd("exec", "touch /tmp/well").ok();
    wait_until("healthy", || c.inspect(".State.Health.Status") == "healthy");
    c.cmd("stop -t 60", "").ok();
    assert_eq!(c.inspect(".State.ExitCode"), "4", "the signal is passed on");
    c.remove();
}

#[test]
fn volumes() {
    requires!(NEED);
    world().write("/tmp/shared/file", "of the host\n");
    let out = run("-v /tmp/shared:/mnt:ro", "cat /mnt/file; touch /mnt/new");
    assert_eq!(out.stdout, "of the host\n");
    out.fails(1, &["Read-only file system"]);
    docker("volume create data").ok();
    run("-v data:/data", "echo kept >/data/file").ok();
    assert_eq!(run("--mount type=volume,source=data,target=/d", "cat /d/file").ok().stdout, "kept\n");
    docker("volume rm data").ok();
}

#[test]
fn containers_on_a_network_of_their_own() {
    requires!(NEED, Need::Program("iptables"));
    docker("network create backend").ok();
    let server = Container::of(
        "server",
        "--network backend -p 8080:80",
        "echo hello >/index.html; exec httpd -f -h /",
    );
    let address = server.inspect(".NetworkSettings.Networks.backend.IPAddress");
    let ask = format!("printf \"GET / HTTP/1.0\\r\\n\\r\\n\" | nc {address} 80 | tail -n 1");
    wait_until("the server answers", || {
        docker(&format!("run --rm --network backend bb:1 sh -c '{ask}'")).stdout == "hello\n"
    });
    assert_eq!(world().sh("curl -s http://127.0.0.1:8080/").ok().stdout, "hello\n");
    // Docker answers for the name by rules that it makes in the container's network namespace.
    let by_name = docker("run --rm --network backend bb:1 wget -q -O - http://server/").ok();
    assert_eq!(by_name.stdout, "hello\n");
    let joined = docker("run --rm --network container:server bb:1 readlink /proc/self/ns/net").ok().stdout;
    assert_eq!(server.cmd("exec", "readlink /proc/1/ns/net").ok().stdout, joined);
    server.remove();
    docker("network rm backend").ok();
}

fn run_image(image: &str) -> Output {
    docker(&format!("run --rm --network none {image}")).ok()
}

#[test]
fn build_runs_its_steps() {
    requires!(NEED);
    let file = "FROM localhost/bb:1\nRUN echo built >/file && id -u\nWORKDIR /d\nUSER app\nRUN id -un\n\
                CMD [\"sh\", \"-c\", \"cat /file; pwd; id -un\"]\n";
    world().write("/tmp/build/Dockerfile", file);
    let out = world().sh("DOCKER_BUILDKIT=0 docker build --network none -t built /tmp/build").ok();
    assert!(out.stdout.contains("app\n"), "{out}");
    assert_eq!(run_image("built").stdout, "built\n/d\napp\n");
}

/// By BuildKit, which is part of dockerd and starts the runtime by itself.
#[test]
fn buildkit_runs_its_steps() {
    requires!(NEED, Need::File("/usr/libexec/docker/cli-plugins/docker-buildx"));
    let file = "FROM localhost/bb:1\nRUN id -u >/uid; sleep 3\nUSER app\nRUN id -un\n\
                CMD [\"sh\", \"-c\", \"cat /uid; id -un\"]\n";
    world().write("/tmp/buildkit/Dockerfile", file);
    let build = world().spawn("docker build --progress plain --network none -t by-buildkit /tmp/buildkit");
    // Not the `runc` of the host.
    wait_until("it runs a step", || world().sh("pgrep -f '^/usr/local/sbin/orlop .*run '").status.success());
    let out = build.wait().ok();
    assert!(out.stderr.contains("app\n"), "{out}");
    assert_eq!(run_image("by-buildkit").stdout, "0\napp\n");
}
