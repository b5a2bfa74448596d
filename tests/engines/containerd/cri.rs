//! containerd as a Kubernetes node uses it: by CRI, the gRPC interface between kubelet and engine
//! (k8s.io/cri-api, runtime/v1/api.proto, from which the numbers of the fields are). curl carries the calls.

use super::protobuf::{Answer, Message};
use super::{NEED, world};
use crate::harness::{HostNetwork, Need, Output, World, requires, wait_until};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// The states of a container.
const RUNNING: u64 = 1;
const EXITED: u64 = 2;

/// The command line that calls a method of the runtime service, and the file to which the answer goes.
pub fn line(world: &World, method: &str, request: &Message) -> (String, PathBuf) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let file = format!("/tmp/cri-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    fs::write(world.path(&file), request.framed()).unwrap();
    let socket = "--unix-socket /run/containerd/containerd.sock";
    let headers = "-H 'content-type: application/grpc' -H 'te: trailers'";
    let url = format!("http://localhost/runtime.v1.RuntimeService/{method}");
    let data = format!("--data-binary @{file} -D - -o {file}.out");
    let line = format!("curl -sS --http2-prior-knowledge {socket} {headers} {data} {url}");
    (line, world.path(&format!("{file}.out")))
}

/// Calls a method of the runtime service; the error is what the server says.
pub fn try_call_in(world: &World, method: &str, request: &Message) -> Result<Answer, String> {
    let (line, answer) = line(world, method, request);
    let out: Output = world.sh(&line).ok();
    let field = |name: &str| {
        out.lines().into_iter().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    match field("grpc-status:").as_str() {
        "0" => Ok(Answer::framed(&fs::read(answer).unwrap_or_default())),
        _ => Err(format!("{method}: {}", field("grpc-message:"))),
    }
}

fn try_call(method: &str, request: &Message) -> Result<Answer, String> {
    try_call_in(world(), method, request)
}

#[track_caller]
fn call(method: &str, request: &Message) -> Answer {
    try_call(method, request).unwrap_or_else(|error| panic!("{error}"))
}

/// A pod sandbox.
struct Pod {
    id: String,
    config: Message,
    _network: HostNetwork,
}

impl Pod {
    /// `pid` is the mode of its pid namespace: 0 for one of the pod, 1 for one a container.
    fn run(name: &str, pid: u64) -> Self {
        Self::of(name, &Message::new().number(2, pid))
    }

    /// `namespaces` are its NamespaceOption.
    fn of(name: &str, namespaces: &Message) -> Self {
        let metadata = Message::new().text(1, name).text(2, &format!("uid-{name}")).text(3, "default");
        let security = Message::new().message(1, namespaces);
        // As the kubelet names it to the one and the other manager of cgroups.
        let parent = match Need::Machine.is_met() {
            true => format!("/kubepods.slice/kubepods-{name}.slice"),
            false => format!("/kubepods/{name}"),
        };
        let linux = Message::new().text(1, &parent).message(2, &security);
        let config = Message::new()
            .message(1, &metadata)
            .text(2, name)
            .text(3, &format!("/var/log/pods/{name}"))
            .message(8, &linux);
        let request = Message::new().message(1, &config).text(2, "orlop");
        let network = HostNetwork::take();
        let id = call("RunPodSandbox", &request).text(1);
        Pod { id, config, _network: network }
    }

    fn container(&self, name: &str, script: &str, linux: &Message) -> Container {
        self.container_with(&[], name, script, linux)
    }

    fn container_with(&self, mounts: &[Message], name: &str, script: &str, linux: &Message) -> Container {
        let config = Message::new()
            .message(1, &Message::new().text(1, name))
            .message(2, &Message::new().text(1, "localhost/bb:1"))
            .texts(3, &["sh", "-c", script])
            .message(6, &Message::new().text(1, "GREETING").text(2, "hello"))
            .text(11, &format!("{name}.log"))
            .message(15, linux);
        let config = mounts.iter().fold(config, |config, mount| config.message(7, mount));
        let request = Message::new().text(1, &self.id).message(2, &config).message(3, &self.config);
        let container = Container { id: call("CreateContainer", &request).text(1) };
        call("StartContainer", &container.request());
        container
    }

    fn remove(self) {
        let request = Message::new().text(1, &self.id);
        call("StopPodSandbox", &request);
        call("RemovePodSandbox", &request);
        world().assert_nothing_left(&self.id);
    }
}

struct Container {
    id: String,
}

impl Container {
    fn request(&self) -> Message {
        Message::new().text(1, &self.id)
    }

    fn status(&self) -> Answer {
        call("ContainerStatus", &self.request()).message(1)
    }

    /// The exit code and the output, as a probe of the kubelet gets them.
    fn exec(&self, script: &str) -> (u64, String) {
        let request = self.request().texts(2, &["sh", "-c", script]).number(3, 30);
        let answer = call("ExecSync", &request);
        (answer.number(3), answer.text(1))
    }

    fn remove(self) {
        call("RemoveContainer", &self.request());
        world().assert_nothing_left(&self.id);
    }
}

const IDLE: &str = "trap 'exit 4' TERM; sleep 300 & echo up; while :; do wait; sleep 300 & done";

/// Limits of the processor's time, its shares and the memory.
fn resources(quota: u64, shares: u64, memory: u64) -> Message {
    Message::new().number(1, 100_000).number(2, quota).number(3, shares).number(4, memory)
}

#[test]
fn a_pod_of_two_containers() {
    requires!(NEED, Need::File("/usr/lib/cni/bridge"));
    let pod = Pod::run("pair", 0);
    let limits = Message::new().message(1, &resources(50_000, 512, 64 << 20));
    let one = pod.container("one", &format!("echo $GREETING >/tmp/said; {IDLE}"), &limits);
    let two = pod.container("two", IDLE, &Message::new());
    assert_eq!((one.status().number(3), two.status().number(3)), (RUNNING, RUNNING));
    let log = || fs::read_to_string(world().path("/var/log/pods/pair/one.log")).unwrap();
    wait_until("its output is in the log", || log().contains(" stdout F up"));
    for kind in ["net", "ipc", "uts", "pid"] {
        let of = |container: &Container| container.exec(&format!("readlink /proc/self/ns/{kind}"));
        assert_eq!(of(&one), of(&two), "{kind}");
    }
    assert_eq!(one.exec("cat /tmp/said; hostname; exit 3"), (3, "hello\npair\n".into()));

    let files = match Need::CgroupV1.is_met() {
        true => ["memory.limit_in_bytes", "cpu.cfs_quota_us", "cpu.shares"],
        false => ["memory.max", "cpu.max", "cpu.weight"],
    };
    let limits = || files.map(|name| world().cgroup_file(&one.id, name));
    let expected = |memory, quota, shares, weight| match Need::CgroupV1.is_met() {
        true => [memory, quota, shares].map(str::to_owned),
        false => [memory.to_owned(), format!("{quota} 100000"), String::from(weight)],
    };
    // As a weight, 1024 shares are 100.
    assert_eq!(limits(), expected("67108864", "50000", "512", "59"));
    call("UpdateContainerResources", &one.request().message(2, &resources(25_000, 1024, 128 << 20)));
    assert_eq!(limits(), expected("134217728", "25000", "1024", "100"));
    let stats = call("ContainerStats", &one.request()).message(1);
    assert_ne!(stats.message(3).message(2).number(1), 0, "the working set");
    if Need::Machine.is_met() {
        let scope = format!("cri-containerd-{}.scope", one.id);
        let unit = world().sh(&format!("systemctl show -P ControlGroup -P MemoryMax {scope}")).ok();
        assert_eq!(
            unit.lines(),
            [format!("/kubepods.slice/kubepods-pair.slice/{scope}"), "134217728".into()]
        );
    }

    // A probe that hangs.
    let hangs = two.request().texts(2, &["sleep", "777"]).number(3, 1);
    let error = try_call("ExecSync", &hangs).err().unwrap();
    assert!(error.contains("deadline exceeded"), "{error}");
    wait_until("its process is killed", || !two.exec("ps").1.contains("sleep 777"));
    assert_eq!(two.status().number(3), RUNNING);

    call("StopContainer", &one.request().number(2, 60));
    let status = one.status();
    assert_eq!((status.number(3), status.number(7)), (EXITED, 4));
    // Once more, as the kubelet does it, and of one that has no time left.
    call("StopContainer", &one.request().number(2, 60));
    call("StopContainer", &two.request());
    one.remove();
    two.remove();
    pod.remove();
}

#[test]
fn a_container_that_ends_is_started_again() {
    requires!(NEED, Need::File("/usr/lib/cni/bridge"));
    let pod = Pod::run("again", 1);
    for attempt in 0..3 {
        let c = pod.container(&format!("short{attempt}"), "exit 7", &Message::new());
        wait_until("it ends", || c.status().number(3) == EXITED);
        assert_eq!(c.status().number(7), 7);
        c.remove();
    }
    let missing = Message::new()
        .message(1, &Message::new().text(1, "none"))
        .message(2, &Message::new().text(1, "localhost/bb:1"));
    let missing = missing.texts(3, &["nosuch"]);
    let request = Message::new().text(1, &pod.id).message(2, &missing).message(3, &pod.config);
    let c = Container { id: call("CreateContainer", &request).text(1) };
    let error = try_call("StartContainer", &c.request()).err().unwrap();
    assert!(error.contains("executable file not found"), "{error}");
    c.remove();
    pod.remove();
}

/// A security context: user, capabilities, read-only root, no new privileges, masked paths.
#[test]
fn a_restricted_container() {
    requires!(NEED, Need::File("/usr/lib/cni/bridge"));
    let pod = Pod::run("restricted", 1);
    let capabilities = Message::new().texts(2, &["ALL"]);
    let security = Message::new()
        .message(1, &capabilities)
        .message(3, &Message::new().number(2, 1))
        .message(5, &Message::new().number(1, 1000))
        .number(7, 1)
        .number(11, 1)
        .texts(13, &["/proc/kcore"]);
    let c = pod.container("confined", IDLE, &Message::new().message(2, &security));
    let (code, out) =
        c.exec("id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /x || echo read-only; echo $$");
    assert_eq!(code, 0, "{out}");
    for text in ["1000\n", "CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n", "read-only\n"] {
        assert!(out.contains(text), "{text:?}: {out}");
    }
    call("StopContainer", &c.request());
    c.remove();
    pod.remove();
}

/// What containerd reads in the runtime's `features`, a node tells its cluster.
#[test]
fn a_node_tells_what_its_runtime_can() {
    requires!(NEED, Need::Version("containerd", 2));
    let handlers = call("Status", &Message::new()).messages(3);
    let features: Vec<Answer> = handlers
        .iter()
        .filter(|handler| handler.text(1) == "orlop")
        .map(|handler| handler.message(2))
        .collect();
    let [features] = features.as_slice() else { panic!("{} handlers of that name", features.len()) };
    assert_eq!(features.number(1), 1, "recursive read-only mounts");
    assert_eq!(features.number(2), 1, "user namespaces");
}

/// A volume of the host, as the kubelet asks for it: read-only with all that is mounted below it.
#[test]
fn a_recursively_read_only_volume() {
    requires!(NEED, Need::Version("containerd", 2), Need::File("/usr/lib/cni/bridge"));
    world().sh("mkdir -p /tmp/outer/inner && mount -t tmpfs none /tmp/outer/inner").ok();
    let mount = |path: &str| Message::new().text(1, path).text(2, "/tmp/outer").number(3, 1);
    let mounts = [mount("/plain"), mount("/recursive").number(8, 1)];
    let pod = Pod::run("volumes", 1);
    let c = pod.container_with(&mounts, "reader", IDLE, &Message::new());
    let touch = |path: &str| c.exec(&format!("touch {path} 2>&1")).0;
    assert_eq!((touch("/plain/x"), touch("/plain/inner/x")), (1, 0));
    assert_eq!((touch("/recursive/x"), touch("/recursive/inner/x")), (1, 1));
    call("StopContainer", &c.request());
    c.remove();
    pod.remove();
    world().sh("umount /tmp/outer/inner").ok();
}

/// A pod with `hostUsers: false`: its ids are others on the host, and its volume's files have the same owners all the same.
#[test]
fn a_pod_in_a_user_namespace() {
    requires!(NEED, Need::Version("containerd", 2), Need::File("/usr/lib/cni/bridge"), Need::UserNamespace);
    world().write("/tmp/owned/file", "of root");
    let ids = Message::new().number(1, 327_680).number(2, 0).number(3, 65536);
    let users = Message::new().message(2, &ids).message(3, &ids);
    let namespaces = Message::new().number(2, 1).message(5, &users);
    let volume = Message::new().text(1, "/owned").text(2, "/tmp/owned").message(6, &ids).message(7, &ids);
    let pod = Pod::of("mapped", &namespaces);
    let linux = Message::new().message(2, &Message::new().message(3, &namespaces));
    let c = pod.container_with(&[volume], "users", IDLE, &linux);
    let script =
        "id -u; cat /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g / /owned/file; touch /owned/new";
    let (code, out) = c.exec(script);
    let fields: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(fields, ["0", "0", "327680", "65536", "0", "327680", "65536", "0:0", "0:0"], "{out}");
    assert_eq!(code, 0, "{out}");
    assert_eq!(world().sh("stat -c %u:%g /tmp/owned/new").ok().stdout, "0:0\n");
    call("StopContainer", &c.request());
    c.remove();
    pod.remove();
}
