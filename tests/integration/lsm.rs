//! AppArmor profiles and SELinux labels: what the kernel confines the program to, and what is refused.

use crate::harness::*;
use std::fs;
use std::io::Write;
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
    let process = serde_json::json!({"args": current, "cwd": "/", "env": ["PATH=/bin"]});
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
