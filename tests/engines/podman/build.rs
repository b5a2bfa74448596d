//! `podman build`: every RUN is a container that buildah makes.

use super::{NEED, podman, world};
use crate::harness::{Need, requires};

#[test]
fn build_runs_its_steps() {
    requires!(NEED);
    let file = "FROM localhost/bb:1\nRUN echo built >/file && id -u\nRUN cat /file && mkdir /d\nWORKDIR /d\nUSER app\n\
                RUN id -un\nCMD [\"sh\", \"-c\", \"cat /file; pwd; id -un\"]\n";
    world().write("/tmp/build/Containerfile", file);
    let out = podman("build --network none -t built /tmp/build").ok();
    assert!(out.stdout.contains("built\n") && out.stdout.contains("app\n"), "{out}");
    assert!(!out.stderr.contains("warning"), "{out}");
    let out = podman("run --rm --network none built").ok();
    assert_eq!(out.stdout, "built\n/d\napp\n");
    world().write("/tmp/build/Failing", "FROM localhost/bb:1\nRUN exit 3\n");
    podman("build --network none -f /tmp/build/Failing /tmp/build").fails(3, &["exit status 3"]);
    podman("rmi -f built").ok();
}

/// It is the configured runtime that runs the steps, and no other one that the host may have.
#[test]
fn steps_are_the_runtimes() {
    requires!(NEED, Need::Root);
    let recorder = world().recorder("podman-build");
    world().write("/tmp/recorded/Containerfile", "FROM localhost/bb:1\nRUN echo built >/file\n");
    podman(&format!("--runtime {} build --network none -t recorded /tmp/recorded", recorder.path)).ok();
    assert_eq!(["create", "start", "delete"].map(|command| recorder.count(command)), [1, 1, 1]);
    podman("rmi -f recorded").ok();
}
