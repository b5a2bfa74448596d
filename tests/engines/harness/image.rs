//! The images: archives as `docker save` makes them, which every engine loads.

use super::world::World;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Makes `/images/bb.tar` and `/images/pause.tar`. Both are the busybox root file system of the tests; the
/// second one does nothing, as the first container of a pod.
pub fn make(world: &World) {
    let dir = world.path("/var/tmp/images");
    super::rootfs::make(&dir.join("rootfs"));
    applets(&dir.join("rootfs/bin"));
    fs::create_dir_all(dir.join("rootfs/home/app")).unwrap();
    tar(&dir.join("layer.tar"), &dir.join("rootfs"), ".");
    image(&dir, "bb", &json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]}));
    image(&dir, "pause", &json!({"Entrypoint": ["/bin/sleep", "infinity"], "Env": ["PATH=/bin"]}));
    fs::remove_dir_all(dir.join("rootfs")).unwrap();
}

fn image(dir: &Path, name: &str, config: &Value) {
    let sum = Command::new("sha256sum").arg(dir.join("layer.tar")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap()[..64].to_owned();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2024-01-01T00:00:00Z", "config": config,
        "history": [{"created": "2024-01-01T00:00:00Z"}],
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
    });
    let tag = format!("localhost/{name}:1");
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]);
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let mut command = Command::new("tar");
    command.arg("-C").arg(dir).arg("-cf").arg(dir.join(format!("{name}.tar")));
    assert!(command.args(["manifest.json", "config.json", "layer.tar"]).status().unwrap().success());
}

/// Whatever an engine's container calls by name.
fn applets(bin: &Path) {
    let list = Command::new(bin.join("busybox")).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines() {
        // Some are there.
        let _ = symlink("busybox", bin.join(applet));
    }
}

fn tar(to: &Path, dir: &Path, what: &str) {
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "-C"]).arg(dir).arg("-cf").arg(to).arg(what);
    assert!(command.status().unwrap().success());
}
