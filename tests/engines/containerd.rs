//! containerd by its own client, through the shim `io.containerd.runc.v2`; and as Kubernetes uses it.

mod cri;
mod deaths;
mod protobuf;
mod tasks;

use crate::harness::{Need, Output, World, wait_until};
use std::sync::OnceLock;

const NEED: Need = Need::Program("containerd");

/// containerd's world, in which its daemon runs: on the test machine that itself, where systemd manages the cgroups of
/// Kubernetes' containers.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let machine = Need::Machine.is_met();
        let world = if machine { World::machine() } else { World::new("containerd") };
        configure(&world, machine);
        start(&world);
        world
    })
}

fn configure(world: &World, systemd: bool) {
    world.configure("Kubernetes");
    // With --uidmap ctr 1 makes the task's options anew, and the name of the runtime is lost: then the shim executes runc.
    world.sh("ln -sf orlop /usr/local/sbin/runc && runc --version | grep orlop").ok();
    // The image of the tests, what a host without CAP_SYS_RESOURCE needs, Debian's folder of CNI plugins, and a network.
    let cri = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"localhost/pause:1\"\nrestrict_oom_score_adj = true\n\
                   [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/usr/lib/cni\"\n";
    world.append("/etc/containerd/config.toml", cri);
    if systemd {
        // containerd 2.1 waits 2 s for what a shim says of its task; then it tells `ctr task rm -f` of a task with pid 0, and
        // that is not killed, whatever the runtime is. 2 s are short on a machine that is emulated.
        world.append(
            "/etc/containerd/config.toml",
            "[timeouts]\n\"io.containerd.timeout.task.state\" = \"5m\"\n",
        );
        world.sh("sed -i 's/SystemdCgroup = false/SystemdCgroup = true/' /etc/containerd/config.toml").ok();
    }
    let network = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/16"}]]}}]}"#;
    world.write("/etc/cni/net.d/10-pods.conflist", network);
}

/// Starts the daemon, and gives it the images.
fn start(world: &World) {
    world.daemon("containerd", "containerd", "ctr version");
    for (image, namespace) in [("bb", "default"), ("bb", "k8s.io"), ("pause", "k8s.io")] {
        world.sh(&format!("ctr -n {namespace} image import /var/tmp/images/{image}.tar")).ok();
    }
}

/// A command line of ctr.
fn ctr(args: &str) -> Output {
    world().sh(&format!("ctr {args}"))
}

/// The options of `ctr run` that choose the runtime.
const RUNTIME: &str = "--runc-binary /usr/local/sbin/orlop";
const IMAGE: &str = "localhost/bb:1";

/// `ctr run --rm` of a shell script.
fn run(id: &str, options: &str, script: &str) -> Output {
    let out = ctr(&format!("run --rm {RUNTIME} {options} {IMAGE} {id} sh -c '{script}'"));
    world().assert_nothing_left(id);
    out
}

/// A container in the background, which ends with 4 on SIGTERM.
struct Task {
    id: &'static str,
}

impl Task {
    fn up(id: &'static str, options: &str) -> Self {
        let script = "trap \"exit 4\" TERM; sleep 300 & echo $$ >/tmp/up; while :; do wait; sleep 300 & done";
        ctr(&format!("run -d {RUNTIME} {options} {IMAGE} {id} sh -c '{script}' </dev/null")).ok();
        let task = Task { id };
        wait_until("it runs", || task.exec("look", "test -e /tmp/up").status.success());
        task
    }

    fn exec(&self, exec: &str, script: &str) -> Output {
        ctr(&format!("task exec --exec-id {}-{exec} {} sh -c '{script}'", self.id, self.id))
    }

    fn status(&self) -> String {
        let list = ctr("task ls").ok();
        let line = list.lines().into_iter().find(|line| line.split_whitespace().next() == Some(self.id));
        line.map_or("none", |line| line.split_whitespace().last().unwrap()).to_owned()
    }

    /// Removes it; nothing of it is left.
    fn remove(self) {
        ctr(&format!("task rm -f {}", self.id));
        ctr(&format!("container rm {}", self.id)).ok();
        world().assert_nothing_left(self.id);
    }
}
