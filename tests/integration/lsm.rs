//! AppArmor profiles and SELinux labels: what the kernel confines the program to, and what is refused.

use crate::harness::*;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// A profile that is loaded for as long as this lives: everything is allowed but writing to `/tmp/denied`.
struct Profile(String);

impl Profile {
    fn load(b: &Bundle, suffix: &str) -> Self {
        let profile = Profile(format!("{}-{suffix}", b.id));
        profile.parser("--replace");
        profile
    }

    fn parser(&self, action: &str) {
        let mut child = Command::new("apparmor_parser")
            .args([action, "--skip-cache"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let rules = "file, capability, mount, umount, signal, ptrace, network, deny /tmp/denied w,";
        let text = format!("profile {} flags=(attach_disconnected,mediate_deleted) {{ {rules} }}\n", self.0);
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}

/// The label of a container's processes and of its files.
const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";

/// A container with both, and a file system that it may write to by its label.
fn labelled(b: Bundle) -> Bundle {
    b.set("/process/selinuxLabel", PROCESS).set("/linux/mountLabel", FILES).mount(
        "/tmp",
        "tmpfs",
        "tmpfs",
        &[],
    )
}

/// The label of a file of the container.
fn label_of(b: &Bundle, path: &str) -> String {
    let path = format!("/proc/{}/root{path}", b.pid());
    let output = Command::new("stat").args(["-c", "%C", &path]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn without_the_module_a_profile_or_label_is_refused() {
    // With a policy, no process of the host is called that.
    let label = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    let no_policy = label.is_empty() || label.starts_with("kernel");
    for (field, module, missing) in [
        ("apparmorProfile", "AppArmor", !Need::AppArmor.is_met()),
        ("selinuxLabel", "SELinux", no_policy || !fs::exists("/sys/fs/selinux/enforce").unwrap()),
    ] {
        if missing {
            let b = Bundle::new().set(&format!("/process/{field}"), "some_profile");
            let says = format!("{module} is not enabled on this host");
            b.create().fails(1, &[&format!("process.{field}"), &says]).one_line();
            b.assert_nothing_left();
            let b = Bundle::idle().up();
            let option = if module == "AppArmor" { "--apparmor" } else { "--process-label" };
            b.exec_with(&[option, "some_profile"], &["true"]).fails(255, &[&says]).one_line();
            if module == "SELinux" {
                let b = Bundle::new().set("/linux/mountLabel", "some_label");
                b.create().fails(1, &["linux.mountLabel", &says]).one_line();
                b.assert_nothing_left();
            }
        }
    }
    // No profile is asked for.
    let b = Bundle::new().set("/process/apparmorProfile", "").set("/process/selinuxLabel", "");
    b.run().ok();
}

#[test]
fn the_program_is_confined() {
    requires!(Need::AppArmor, Need::Program("apparmor_parser"));
    let script =
        "cat /proc/self/attr/apparmor/current; echo x > /tmp/denied || echo denied; echo x > /tmp/allowed";
    for (privileges, user) in [(false, false), (true, false), (false, true)] {
        let b = Bundle::sh(script).set("/process/noNewPrivileges", privileges);
        let b = if user { b.user_namespace() } else { b };
        let profile = Profile::load(&b, "run");
        let out = b.set("/process/apparmorProfile", profile.0.as_str()).run().ok();
        assert_eq!(out.lines(), [&format!("{} (enforce)", profile.0), "denied"], "{out}");
    }
}

#[test]
fn an_exec_is_confined_like_the_container_or_as_it_says() {
    requires!(Need::AppArmor, Need::Program("apparmor_parser"));
    let b = Bundle::idle();
    let (own, other) = (Profile::load(&b, "own"), Profile::load(&b, "other"));
    let b = b.set("/process/apparmorProfile", own.0.as_str()).up();
    let current = ["cat", "/proc/self/attr/apparmor/current"];
    assert_eq!(b.exec(&current).ok().stdout.trim(), format!("{} (enforce)", own.0));
    let out = b.exec_with(&["--apparmor", &other.0], &current).ok();
    assert_eq!(out.stdout.trim(), format!("{} (enforce)", other.0));
    let file = b.io().join("process.json");
    let process = json!({"args": current, "cwd": "/", "env": ["PATH=/bin"]});
    fs::write(&file, process.to_string()).unwrap();
    let out = b.exec_with(&["--process", file.to_str().unwrap()], &[]).ok();
    assert_eq!(out.stdout.trim(), format!("{} (enforce)", own.0), "a process file that names none");
    b.delete_force().ok();
}

#[test]
fn a_profile_that_is_not_loaded_is_named() {
    requires!(Need::AppArmor);
    let b = Bundle::new().set("/process/apparmorProfile", "no-such-profile");
    // Podman looks for the name of the file in such quotes.
    let texts = [
        "`/proc/self/attr/apparmor/exec`",
        "process.apparmorProfile",
        "is a profile \"no-such-profile\" loaded?",
    ];
    b.create().fails(1, &texts).one_line();
    b.assert_nothing_left();
}

#[test]
fn nothing_of_the_image_stands_in_for_the_kernels_file() {
    requires!(Need::AppArmor, Need::Program("apparmor_parser"));
    // CVE-2019-16884: the image has a /proc of its own, and the program would have run unconfined.
    let b = Bundle::sh(
        "mount -t proc proc /mnt 2>/dev/null; cat /proc/1/attr/apparmor/exec; echo x > /tmp/denied || echo denied",
    );
    let profile = Profile::load(&b, "fake");
    let b = b.without_mount("/proc").file("/proc/1/attr/apparmor/exec", "fake\n").directory("/proc/self");
    let out = b.set("/process/apparmorProfile", profile.0.as_str()).run().ok();
    assert_eq!(out.lines(), ["fake", "denied"], "{out}");
}

#[test]
fn the_program_has_its_label() {
    requires!(Need::ContainerLabels);
    let script = "tr -d '\\0' < /proc/self/attr/current; echo
        echo x > /tmp/file && echo written; echo x > /var/file || echo denied";
    let b = || {
        let b = labelled(Bundle::sh(script));
        fs::set_permissions(b.rootfs().join("var"), fs::Permissions::from_mode(0o777)).unwrap();
        b
    };
    for (who, b) in [
        ("root", b()),
        ("with no_new_privs", b().set("/process/noNewPrivileges", true)),
        ("a user", b().set("/process/user", json!({"uid": 1000, "gid": 1000}))),
        ("in a user namespace", b().user_namespace()),
    ] {
        let out = b.run().ok();
        assert_eq!(out.lines(), [PROCESS, "written", "denied"], "{who}: {out}");
    }
}

#[test]
fn a_container_of_another_category_is_another() {
    requires!(Need::ContainerLabels);
    let b = labelled(Bundle::sh("echo x > /tmp/file || echo denied"));
    let b = b.set("/process/selinuxLabel", PROCESS.replace("c2", "c3"));
    assert_eq!(b.run().ok().lines(), ["denied"]);
}

#[test]
fn an_exec_has_the_containers_label_or_its_own() {
    requires!(Need::ContainerLabels);
    let b = labelled(Bundle::idle()).up();
    let current = ["sh", "-c", "tr -d '\\0' < /proc/self/attr/current"];
    assert_eq!(b.exec(&current).ok().stdout, PROCESS);
    let other = PROCESS.replace("c2", "c3");
    assert_eq!(b.exec_with(&["--process-label", &other], &current).ok().stdout, other);
    let file = b.io().join("process.json");
    let mut process = json!({"args": current, "cwd": "/", "env": ["PATH=/bin"]});
    for (given, expected) in [(None, PROCESS), (Some(other.as_str()), other.as_str())] {
        if let Some(label) = given {
            process["selinuxLabel"] = label.into();
        }
        fs::write(&file, process.to_string()).unwrap();
        let out = b.exec_with(&["--process", file.to_str().unwrap()], &[]).ok();
        assert_eq!(out.stdout, expected, "{given:?} in a process file");
    }
    let out = b.exec_with(&["--process-label", "no:such:label:s0"], &["true"]);
    out.fails(255, &["process.selinuxLabel", "does the policy know the label \"no:such:label:s0\""])
        .one_line();
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn a_label_that_the_policy_does_not_have_is_named() {
    requires!(Need::ContainerLabels);
    for (field, text) in [
        ("process.selinuxLabel", "does the policy know the label \"no:such:label:s0\""),
        ("linux.mountLabel", "the host's policy has no label \"no:such:label:s0\""),
    ] {
        let b = Bundle::new().set(&format!("/{}", field.replace('.', "/")), "no:such:label:s0");
        b.create().fails(1, &[field, text]).one_line();
        b.assert_nothing_left();
    }
}

#[test]
fn the_session_keyring_has_the_programs_label() {
    requires!(Need::ContainerLabels, Need::Keyrings);
    // The policy shows a process the keys of its own label only, which other tests' containers have as well.
    let other = Bundle::idle().up();
    let count = |b: Bundle, id: &str| {
        let script = format!("grep -c '_ses.{id}:' /proc/keys; :");
        b.args(["sh", "-c", &script]).run().ok().stdout
    };
    let b = labelled(Bundle::new());
    let own = b.id.clone();
    assert_eq!(count(b, &own), "1\n");
    assert_eq!(count(labelled(Bundle::new()), &other.id), "0\n");
    assert_eq!(count(Bundle::new(), &other.id), "1\n", "it is there");
}

#[test]
fn new_file_systems_have_the_label_of_mounts() {
    requires!(Need::ContainerLabels);
    for user_namespace in [false, true] {
        let b = labelled(Bundle::idle()).mount("/dev/mqueue", "mqueue", "mqueue", &[]);
        let b = b.mount("/mnt", "none", "/usr", &["bind"]).set("/linux/maskedPaths", json!(["/var"]));
        let b = if user_namespace { b.user_namespace() } else { b }.up();
        for path in ["/tmp", "/dev", "/dev/pts", "/dev/mqueue", "/var"] {
            assert_eq!(label_of(&b, path), FILES, "{path}, in a user namespace: {user_namespace}");
        }
        // What is the kernel's or the host's stays as it is.
        for path in ["/", "/mnt", "/proc"] {
            assert_ne!(label_of(&b, path), FILES, "{path}, in a user namespace: {user_namespace}");
        }
        let out = b.exec(&["cat", "/proc/self/mountinfo"]).ok();
        assert!(out.stdout.contains(&format!("context=\"{FILES}\"")), "{out}");
        b.delete_force().ok();
    }
}

#[test]
fn the_hosts_message_queues_keep_their_label() {
    requires!(Need::ContainerLabels);
    let b = labelled(Bundle::idle()).mount("/dev/mqueue", "mqueue", "mqueue", &[]);
    let b = b.without_namespace("ipc").up();
    assert_ne!(label_of(&b, "/dev/mqueue"), FILES);
    b.delete_force().ok();
}

#[test]
fn a_mount_that_comes_later_has_the_label() {
    requires!(Need::ContainerLabels);
    let b = labelled(Bundle::idle()).up();
    let file = b.io().join("mounts.json");
    fs::write(&file, json!([{"destination": "/mnt", "type": "tmpfs", "source": "t"}]).to_string()).unwrap();
    b.cmd(&["mounts", "add", &b.id, file.to_str().unwrap()]).ok();
    assert_eq!(label_of(&b, "/mnt"), FILES);
    b.exec(&["sh", "-c", "echo x > /mnt/file"]).ok();
    b.delete_force().ok();
}

#[test]
fn nothing_of_the_image_takes_the_label() {
    requires!(Need::ContainerLabels);
    let script =
        "cat /proc/1/attr/exec; echo x > /tmp/file && echo written; echo x > /var/file || echo denied";
    let b = labelled(Bundle::sh(script)).without_mount("/proc").directory("/proc/self").directory("/var");
    let b = b.file("/proc/1/attr/exec", "fake\n").file("/proc/1/attr/keycreate", "fake\n");
    let out = b.run().ok();
    assert_eq!(out.lines(), ["fake", "written", "denied"], "{out}");
}
