//! Who the container's processes are: exactly who config.json or the command line says, whatever the caller
//! is and whatever the image's files say (CVE-2016-3697, CVE-2016-8867, CVE-2022-24769, CVE-2022-29162,
//! CVE-2023-25173, CVE-2024-40635, CVE-2026-30892, CVE-2026-47262).

use crate::harness::*;
use serde_json::json;
use std::fs;

const STATUS: &str = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs):' /proc/self/status";

/// The mask of all sets of the default configuration, as the kernel prints it.
const DOCKERS: &str = "00000000a80425fb";
const NONE: &str = "0000000000000000";

/// Runs the runtime with inheritable and ambient capabilities and in groups of the host.
const RICH_CALLER: &str = "exec setpriv --groups 4,27,100 --inh-caps +chown,+kill,+sys_admin --ambient-caps +chown,+kill,+sys_admin \"$@\"";

#[track_caller]
fn assert_caps(
    out: &Output,
    inheritable: &str,
    permitted: &str,
    effective: &str,
    bounding: &str,
    ambient: &str,
) {
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|key| out.field(key));
    assert_eq!(sets, [inheritable, permitted, effective, bounding, ambient], "{out}");
}

#[test]
fn nothing_is_inherited_from_the_caller() {
    requires!(Need::Root, Need::Program("setpriv"));
    let out = Bundle::sh(STATUS).prelude(RICH_CALLER).run().ok();
    assert_caps(&out, NONE, DOCKERS, DOCKERS, DOCKERS, NONE);
    assert_eq!(out.field("Groups:"), "", "{out}");
    let b = Bundle::sh(STATUS)
        .prelude(RICH_CALLER)
        .set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5]}));
    let out = b.run().ok();
    assert_caps(&out, NONE, NONE, NONE, DOCKERS, NONE);
    assert_eq!(out.field("Groups:"), "5", "{out}");
    let b = Bundle::idle().prelude(RICH_CALLER).up();
    let out = b.exec(&["/bin/sh", "-c", STATUS]).ok();
    assert_caps(&out, NONE, DOCKERS, DOCKERS, DOCKERS, NONE);
    assert_eq!(out.field("Groups:"), "", "{out}");
    let out = b.exec_with(&["--cap", "CAP_SYS_PTRACE", "--user", "1000"], &["/bin/sh", "-c", STATUS]).ok();
    assert_eq!((out.field("CapInh:"), out.field("CapAmb:")), (NONE, NONE), "{out}");
}

#[test]
fn without_capabilities_there_are_none() {
    requires!(Need::Root);
    for b in [
        Bundle::sh(STATUS).remove("/process/capabilities"),
        Bundle::sh(STATUS).set("/process/capabilities", json!({})),
    ] {
        assert_caps(&b.prelude(RICH_CALLER).run().ok(), NONE, NONE, NONE, NONE, NONE);
    }
    let b = Bundle::idle().remove("/process/capabilities").up();
    assert_caps(&b.exec(&["/bin/sh", "-c", STATUS]).ok(), NONE, NONE, NONE, NONE, NONE);
}

#[test]
fn exec_takes_users_as_exact_numbers() {
    requires!(Need::Root);
    // The image claims that the names 1000 and 1 are root's.
    let passwd = "1000:x:0:0::/root:/bin/sh\n1:x:0:0::/:/bin/sh\nroot:x:0:0::/root:/bin/sh\n";
    let b = Bundle::idle().file("/etc/passwd", passwd).file("/etc/group", "1000:x:0:\n2:x:0:\n").up();
    let id = |user: &str| b.exec_with(&[&format!("--user={user}")], &["/bin/sh", "-c", STATUS]);
    for (user, uid, gid) in [
        ("0", "0", "0"),
        ("1", "1", "0"),
        ("1:2", "1", "2"),
        ("1000", "1000", "0"),
        ("1000:1000", "1000", "1000"),
        ("2147483648", "2147483648", "0"),
        ("4294967294:4294967294", "4294967294", "4294967294"),
    ] {
        let out = id(user).ok();
        assert_eq!(out.field("Uid:"), [uid; 4].join("\t"), "{user}: {out}");
        assert_eq!(out.field("Gid:"), [gid; 4].join("\t"), "{user}: {out}");
        assert_eq!(out.field("Groups:"), "", "{user}: {out}");
    }
    for user in [
        "",
        ":",
        "1:",
        ":1",
        " 1",
        "1 ",
        "1x",
        "0x1",
        "-1",
        "+1",
        "1.0",
        "1:2:3",
        "4294967295",
        "1:4294967295",
        "4294967296",
        "18446744073709551616",
        "root",
        "1000:root",
        "\u{661}",
    ] {
        let out = id(user);
        assert!(out.code() == 255 && out.stdout.is_empty(), "{user:?}: {out}");
        out.one_line();
    }
    let process =
        json!({"args": ["/bin/sh", "-c", STATUS], "cwd": "/", "user": {"uid": 4_294_967_295_u32, "gid": 0}});
    let file = b.io().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    b.exec_with(&["--process", file.to_str().unwrap()], &[])
        .fails(255, &["4294967295 is not an id"])
        .one_line();
}

/// `HOME` is the one thing that is looked up in a file of the image.
#[test]
fn home_from_odd_user_databases() {
    requires!(Need::Root);
    let home = |content: &str| {
        let b = Bundle::sh("echo HOME=$HOME")
            .file("/etc/passwd", content)
            .set("/process/user", json!({"uid": 1000, "gid": 0}));
        b.run().ok().field("HOME=").to_owned()
    };
    let long = format!("{}\nx:x:1000:0::/late:/bin/sh\n", "#".repeat(2 << 20));
    for (content, expected) in [
        ("a:x:1000:0::/first:/bin/sh\nb:x:1000:0::/second:/bin/sh\n", "/first"),
        ("a:x:1000:0::/no-newline:/bin/sh", "/no-newline"),
        ("a:x:1000:0::/short", "/short"),
        ("", "/"),
        ("\n\n:::::\n::::::::\na:x:1000\n", "/"),
        ("a:x:1000:0:::/bin/sh\n", "/"),
        ("a:x:1000:0::relative:/bin/sh\n", "/"),
        ("a:x:1000 :0::/space:/bin/sh\na:x: 1000:0::/space:/bin/sh\n", "/"),
        ("a:x:4294968296:0::/overflow:/bin/sh\na:x:-1:0::/minus:/bin/sh\n", "/"),
        ("1000:x:0:0::/name:/bin/sh\n", "/"),
        ("+\n+::::::\na:x:1000:0::/nis:/bin/sh\n", "/nis"),
        ("a:x:1000:0::/cr:/bin/sh\r\n", "/cr"),
        ("a:x:1000:0::/a\0b:/bin/sh\n", "/"),
        (long.as_str(), "/"),
    ] {
        assert_eq!(home(content), expected, "{:?}", &content[..content.len().min(60)]);
    }
}

#[test]
fn user_databases_that_are_no_files() {
    requires!(Need::Root);
    let secret = "host:x:0:0::/seen-outside:/bin/sh\n";
    let tricks: [&dyn Fn(&Bundle); 7] = [
        &|b| {
            nix::unistd::mkfifo(
                &b.rootfs().join("etc/passwd"),
                nix::sys::stat::Mode::from_bits_truncate(0o644),
            )
            .unwrap()
        },
        &|b| fs::create_dir(b.rootfs().join("etc/passwd")).unwrap(),
        &|b| std::os::unix::fs::symlink("passwd", b.rootfs().join("etc/passwd")).unwrap(),
        &|b| std::os::unix::fs::symlink("/dev/zero", b.rootfs().join("etc/passwd")).unwrap(),
        &|b| std::os::unix::fs::symlink("/proc/self/fd/0", b.rootfs().join("etc/passwd")).unwrap(),
        &|b| fs::File::create(b.rootfs().join("etc/passwd")).unwrap().set_len(1 << 40).unwrap(),
        &|b| {
            fs::write(b.io().join("passwd"), secret).unwrap();
            std::os::unix::fs::symlink(b.io().join("passwd"), b.rootfs().join("etc/passwd")).unwrap();
        },
    ];
    for (number, trick) in tricks.iter().enumerate() {
        let b = Bundle::idle();
        fs::remove_file(b.rootfs().join("etc/passwd")).unwrap();
        trick(&b);
        let b = b.up();
        assert_eq!(b.exec(&["/bin/sh", "-c", "echo HOME=$HOME"]).ok().field("HOME="), "/", "{number}");
    }
}

/// A process that cannot gain privileges, and files that would give it some.
#[test]
fn set_user_id_programs_give_what_the_bounding_set_allows() {
    requires!(Need::Root);
    use std::os::unix::fs::PermissionsExt;
    let b = Bundle::new().directory("/bin/suid").set("/process/user", json!({"uid": 1000, "gid": 1000}));
    copy_program(b.rootfs().join("bin/busybox"), b.rootfs().join("bin/suid/busybox"));
    fs::set_permissions(b.rootfs().join("bin/suid/busybox"), fs::Permissions::from_mode(0o4755)).unwrap();
    let b = b
        .args(["/bin/suid/busybox", "grep", "-E", "^(Uid|Cap...):", "/proc/self/status"])
        .remove("/process/capabilities");
    let out = b.run().ok();
    assert_caps(&out, NONE, NONE, NONE, NONE, NONE);
    let b = b.set("/process/noNewPrivileges", true);
    assert_eq!(b.run().ok().field("Uid:"), "1000\t1000\t1000\t1000");
}

// CVE-2016-10124, CVE-2017-5226: input pushed into the terminal of the caller, who is not in the container.
#[test]
fn the_callers_terminal_is_not_the_containers() {
    requires!(Need::Root);
    let script = "(echo pushed < /dev/tty) 2>&1 | sed 's/^/tty: /'; cut -d' ' -f6,7 /proc/self/stat | sed 's/^/session and tty: /'";
    let b = Bundle::sh(script);
    b.write_config();
    let (running, mut terminal) = b.spawn_on_terminal(&b.with_bundle("run", &[]));
    let seen = terminal.read_to_end().to_owned();
    running.wait().ok();
    assert!(seen.contains("No such device or address"), "/dev/tty is somebody's: {seen}");
    assert!(seen.contains("session and tty: 1 0"), "{seen}");
    let b = Bundle::new();
    copy_program(std::env::current_exe().unwrap(), b.rootfs().join("bin/probe"));
    let b = b.env("PUSH=1").args(["/bin/probe", "--exact", "attacks_credentials::push", "--nocapture"]);
    b.write_config();
    let (running, mut terminal) = b.spawn_on_terminal(&b.with_bundle("run", &[]));
    let seen = terminal.read_to_end().to_owned();
    running.wait().ok();
    // EPERM for a terminal that is not the caller's own; EIO for any, where dev.tty.legacy_tiocsti is 0 (since Linux 6.2).
    assert!(seen.contains("push: EPERM") || seen.contains("push: EIO"), "{seen}");
}

/// Inside: TIOCSTI on whatever terminal stdin is.
#[test]
fn push() {
    if std::env::var_os("PUSH").is_none() {
        return;
    }
    // SAFETY: TIOCSTI reads the one byte that the pointer leads to.
    let pushed = unsafe { nix::libc::ioctl(0, nix::libc::TIOCSTI, c"x".as_ptr()) };
    println!(
        "push: {}",
        if pushed == 0 { "done".into() } else { format!("{:?}", nix::errno::Errno::last()) }
    );
}
