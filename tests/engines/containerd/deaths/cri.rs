//! Parts of containerd that are killed while it works for a kubelet, which then asks again until all is removed.

use super::patient;
use crate::containerd::NEED;
use crate::containerd::cri::{line, try_call_in};
use crate::containerd::protobuf::Message;
use crate::harness::{Gate, MOMENTS, World, requires, wait_until};

/// It is the one of all containers of the pod.
#[test]
fn the_shim_of_a_pod_is_killed() {
    requires!(NEED);
    killed("cri-shim-killed", "-f '^[^ ]*containerd-shim'");
}

/// Unlike `ctr`, CRI finds what the containerd before has begun to create.
#[test]
fn containerd_is_killed() {
    requires!(NEED);
    killed("cri-containerd-killed", "-x containerd");
}

/// A pod in the network of the host, and a container of it that is not started: the requests that name them.
fn pod(world: &World, name: &str) -> (Message, Message) {
    let call = |method: &str, request: &Message| {
        try_call_in(world, method, request).unwrap_or_else(|error| panic!("{error}"))
    };
    let metadata = Message::new().text(1, name).text(2, &format!("uid-{name}")).text(3, "default");
    let security = Message::new().message(1, &Message::new().number(1, 2).number(2, 1));
    let linux = Message::new().text(1, "/kubepods").message(2, &security);
    let config = Message::new().message(1, &metadata).message(8, &linux);
    let id = call("RunPodSandbox", &Message::new().message(1, &config).text(2, "orlop")).text(1);
    let pod = Message::new().text(1, &id);
    let container = Message::new()
        .message(1, &Message::new().text(1, "sleeper"))
        .message(2, &Message::new().text(1, "localhost/bb:1"))
        .texts(3, &["sleep", "300"]);
    let request = Message::new().text(1, &id).message(2, &container).message(3, &config);
    let container = Message::new().text(1, &call("CreateContainer", &request).text(1));
    (pod, container)
}

/// The kubelet removes whatever there is, and then everything is as it was before, without the help of orlop.
fn killed(name: &str, victims: &str) {
    let world = patient(name);
    let call = |method: &str, request: &Message| try_call_in(&world, method, request);
    let remove = |pod: &Message, container: &Message| {
        call("StopContainer", container)?;
        call("RemoveContainer", container)?;
        call("StopPodSandbox", pod)?;
        call("RemovePodSandbox", pod)
    };
    let gate = Gate::install(&world, || {
        let (pod, container) = pod(&world, "first");
        call("StartContainer", &container).unwrap();
        remove(&pod, &container).unwrap();
    });
    for moment in MOMENTS {
        let (pod, container) = pod(&world, &moment.replace('.', "-"));
        let (method, request) = match moment.split_once('.') {
            Some(("create", _)) => ("StartContainer", container.clone()),
            Some(("exec", _)) => ("ExecSync", container.clone().texts(2, &["true"])),
            _ => ("StopContainer", container.clone()),
        };
        if method != "StartContainer" {
            call("StartContainer", &container).unwrap();
        }
        gate.kill_at(moment, &line(&world, method, &request).0, victims);
        if !world.sh("pgrep -x containerd").status.success() {
            world.daemon("containerd", "containerd", "ctr version");
        }
        wait_until("it is removed", || remove(&pod, &container).is_ok());
        gate.assert_idle(moment);
    }
}
