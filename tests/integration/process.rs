//! The process: what it is called with, who it is, and where it runs.

use crate::harness::{Bundle, Need, requires};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

#[test]
fn arguments_arrive_as_they_are() {
    let b = Bundle::new().args([
        "sh",
        "-c",
        "printf '<%s>' \"$0\" \"$@\"",
        "zero",
        "",
        "two words",
        "a\nb",
        "üñï",
        "$HOME",
    ]);
    assert_eq!(b.run().ok().stdout, "<zero><><two words><a\nb><üñï><$HOME>");
}

#[test]
fn the_program_is_looked_up_in_the_path_of_the_containers_environment() {
    let b = Bundle::new()
        .file("/opt/first/tool", "not executable")
        .file("/opt/second/tool", "#!/bin/sh\necho \"$0\"\n")
        .args(["tool"])
        .set("/process/env", vec!["PATH=/opt/first:/opt/absent:/opt/second"]);
    fs::set_permissions(b.rootfs().join("opt/first/tool"), fs::Permissions::from_mode(0o644)).unwrap();
    // The runtime's own PATH has no part in it.
    assert_eq!(b.run().ok().stdout.trim(), "/opt/second/tool");
}

#[test]
fn a_program_with_a_slash_is_relative_to_cwd() {
    let b = Bundle::new()
        .file("/opt/dir/tool", "#!/bin/sh\npwd\n")
        .args(["./dir/tool"])
        .set("/process/cwd", "/opt");
    assert_eq!(b.run().ok().stdout, "/opt\n");
}

#[test]
fn the_environment_is_the_configured_one_and_home() {
    let b = Bundle::new().args(["env"]).env("WITH=equals=signs").env("EMPTY=").runtime_env("HOSTS", "own");
    let out = b.run().ok();
    let mut lines = out.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["EMPTY=", "HOME=/root", "PATH=/bin", "WITH=equals=signs"]);
}

#[test]
fn home_comes_from_the_passwd_file_of_the_container() {
    let home = |uid: u32| {
        let b = Bundle::sh("echo $HOME").set("/process/user", json!({"uid": uid, "gid": 0}));
        b.run().ok().stdout.trim().to_owned()
    };
    assert_eq!(home(1000), "/home/app");
    assert_eq!(home(4242), "/");
    let b = Bundle::sh("echo $HOME").env("HOME=/elsewhere");
    assert_eq!(b.run().ok().stdout, "/elsewhere\n");
}

#[test]
fn a_container_without_a_passwd_file_has_a_home_too() {
    let b = Bundle::sh("echo $HOME");
    fs::remove_file(b.rootfs().join("etc/passwd")).unwrap();
    assert_eq!(b.run().ok().stdout, "/\n");
}

// runc applies the caller's umask.
#[test]
fn cwd_is_entered_and_made_if_it_is_missing() {
    let b = Bundle::sh("pwd; stat -c %a .").set("/process/cwd", "/srv/new/dir").prelude("umask 077");
    assert_eq!(b.run().ok().lines(), ["/srv/new/dir", "755"]);
    assert!(b.rootfs().join("srv/new/dir").is_dir());
    b.assert_nothing_left();
}

#[test]
fn cwd_may_be_a_link_within_the_root() {
    let b = Bundle::sh("pwd -P; cat marker").file("/real/dir/marker", "here\n").symlink("/link", "/real");
    assert_eq!(b.set("/process/cwd", "/link/dir").run().ok().lines(), ["/real/dir", "here"]);
}

#[test]
fn cwd_may_be_a_directory_that_only_the_user_can_enter() {
    let b = Bundle::sh("pwd").directory("/home/app");
    fs::set_permissions(b.rootfs().join("home/app"), fs::Permissions::from_mode(0o700)).unwrap();
    chown(b.rootfs().join("home/app"), Some(1000), Some(1000)).unwrap();
    let b = b.set("/process/user", json!({"uid": 1000, "gid": 1000})).set("/process/cwd", "/home/app");
    assert_eq!(b.set("/process/capabilities", json!({})).run().ok().stdout, "/home/app\n");
}

#[test]
fn the_user_has_exactly_the_configured_ids() {
    let b = Bundle::sh("grep -E '^(Uid|Gid|Groups):' /proc/self/status")
        .set("/process/user", json!({"uid": 1234, "gid": 99, "additionalGids": [5, 2000, 70000]}));
    let out = b.run().ok();
    let words = |key: &str| out.field(key).split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(words("Uid:"), ["1234"; 4]);
    assert_eq!(words("Gid:"), ["99"; 4]);
    // crun's and runc's lists hold these too; the kernel sorts them.
    assert_eq!(words("Groups:"), ["5", "2000", "70000"]);
}

#[test]
fn standard_streams_become_the_users_but_devices_stay_the_hosts() {
    requires!(Need::Root, Need::Program("mknod"));
    let b = Bundle::sh("stat -L -c %u /proc/self/fd/0 /proc/self/fd/1")
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .prelude("cd $BASE; [ -e zero ] || mknod zero c 1 5; exec <zero");
    assert_eq!(b.run().ok().lines(), ["0", "1000"]);
    assert_eq!(fs::metadata(b.base().join("zero")).unwrap().uid(), 0);
}

#[test]
fn no_group_of_the_runtime_is_inherited() {
    requires!(Need::Program("setpriv"));
    let b =
        Bundle::sh("grep ^Groups: /proc/self/status").set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let out = b.prelude("set -- setpriv --groups 4,24,27 \"$@\"").run().ok();
    assert_eq!(out.field("Groups:"), "");
}

// What Podman's --group-add keep-groups asks for. runc does not know it.
#[test]
fn the_callers_groups_are_kept_where_an_annotation_says_so() {
    requires!(Need::Program("setpriv"), Need::UserNamespace);
    let b = || {
        let b = Bundle::sh("grep ^Groups: /proc/self/status; echo ready; sleep 300")
            .set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [9]}))
            .set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
        b.prelude("set -- setpriv --groups 4,24,27 \"$@\"")
    };
    for (b, groups) in [(b(), "4 24 27"), (b().user_namespace(), "65534 65534 65534")] {
        let b = b.up();
        let shown = b.logs(0);
        assert_eq!(
            shown.lines().next().unwrap().split_whitespace().skip(1).collect::<Vec<_>>().join(" "),
            groups
        );
        let out = b.exec(&["grep", "^Groups:", "/proc/self/status"]).ok();
        assert_eq!(out.field("Groups:"), groups);
    }
}

#[test]
fn annotations_for_another_runtime_are_told_of() {
    let b = Bundle::sh("echo ran").set("/annotations", json!({"run.oci.delegate-cgroup": "below"}));
    let out = b.run().ok();
    assert_eq!(out.stdout, "ran\n");
    assert!(out.stderr.contains("run.oci.delegate-cgroup") && out.stderr.contains("has no effect"), "{out}");
    let b = Bundle::new().set("/annotations", json!({"run.oci.handler": "krun"}));
    b.run().fails(1, &["run.oci.handler", "krun"]).one_line();
    b.assert_nothing_left();
}

#[test]
fn ids_in_a_user_namespace_are_the_containers() {
    requires!(Need::UserNamespace);
    let b = Bundle::sh("id -u; id -g; id -G").user_namespace();
    let out = b.set("/process/user", json!({"uid": 1000, "gid": 7, "additionalGids": [8]})).run().ok();
    assert_eq!(out.lines(), ["1000", "7", "7 8"]);
}

#[test]
fn umask() {
    let mask = |b: Bundle| b.prelude("umask 027").run().ok().field("Umask:").to_owned();
    let b = || Bundle::sh("grep ^Umask: /proc/self/status");
    assert_eq!(mask(b().set("/process/user/umask", 0o77)), "0077");
    assert_eq!(mask(b().set("/process/user/umask", 0)), "0000");
    // The caller's own is not inherited.
    assert_eq!(mask(b()), "0022");
}

#[test]
fn resource_limits_of_every_type() {
    // Type, line of /proc/PID/limits, value; what the host allows may be lower.
    let cases = [
        ("RLIMIT_AS", "Max address space", 1_u64 << 40),
        ("RLIMIT_CORE", "Max core file size", 0),
        ("RLIMIT_CPU", "Max cpu time", 1000),
        ("RLIMIT_DATA", "Max data size", 1 << 39),
        ("RLIMIT_FSIZE", "Max file size", 1 << 30),
        ("RLIMIT_LOCKS", "Max file locks", 77),
        ("RLIMIT_MEMLOCK", "Max locked memory", 65536),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", 4096),
        ("RLIMIT_NICE", "Max nice priority", 0),
        ("RLIMIT_NOFILE", "Max open files", 123),
        ("RLIMIT_NPROC", "Max processes", 234),
        ("RLIMIT_RSS", "Max resident set", 1 << 38),
        ("RLIMIT_RTPRIO", "Max realtime priority", 0),
        ("RLIMIT_RTTIME", "Max realtime timeout", 999),
        ("RLIMIT_SIGPENDING", "Max pending signals", 99),
        ("RLIMIT_STACK", "Max stack size", 1 << 22),
    ];
    let limits: Vec<_> =
        cases.iter().map(|(name, _, value)| json!({"type": name, "soft": value, "hard": value})).collect();
    let out = Bundle::new().args(["cat", "/proc/self/limits"]).set("/process/rlimits", limits).run().ok();
    for (name, line, value) in cases {
        let words: Vec<&str> = out.field(line).split_whitespace().collect();
        assert_eq!(words[..2], [value.to_string(), value.to_string()], "{name}");
    }
}

#[test]
fn soft_and_hard_limits_differ() {
    let b = Bundle::new().args(["cat", "/proc/self/limits"]);
    let out =
        b.push("/process/rlimits", json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200})).run().ok();
    assert_eq!(out.field("Max open files").split_whitespace().collect::<Vec<_>>()[..2], ["100", "200"]);
}

#[test]
fn limits_above_the_runtimes_own_hold_for_any_user() {
    requires!(Need::RaisedLimits, Need::UserNamespace);
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 700, "hard": 800}]);
    let b = || Bundle::new().args(["cat", "/proc/self/limits"]).set("/process/rlimits", limits.clone());
    let user = json!({"uid": 1000, "gid": 1000});
    for (who, b) in [
        ("a user", b().set("/process/user", user.clone())),
        ("root of a user namespace", b().user_namespace()),
        ("a user of a user namespace", b().user_namespace().set("/process/user", user)),
    ] {
        let out = b.prelude("ulimit -n 600").run().ok();
        let words: Vec<&str> = out.field("Max open files").split_whitespace().collect();
        assert_eq!(words[..2], ["700", "800"], "{who}");
    }
}

#[test]
fn no_new_privileges() {
    let flag = |b: Bundle| b.run().ok().field("NoNewPrivs:").to_owned();
    let b = || Bundle::sh("grep ^NoNewPrivs: /proc/self/status");
    assert_eq!(flag(b().set("/process/noNewPrivileges", true)), "1");
    assert_eq!(flag(b().set("/process/noNewPrivileges", false)), "0");
    assert_eq!(flag(b()), "0");
}

#[test]
fn oom_score_adj() {
    let b = Bundle::sh("cat /proc/self/oom_score_adj").set("/process/oomScoreAdj", 567);
    assert_eq!(b.run().ok().stdout, "567\n");
    requires!(Need::UserNamespace);
    let b = Bundle::sh("cat /proc/self/oom_score_adj").set("/process/oomScoreAdj", 321).user_namespace();
    assert_eq!(b.run().ok().stdout, "321\n");
}

#[test]
fn the_runtimes_oom_score_adj_stays_where_none_is_configured() {
    let b = Bundle::sh("cat /proc/self/oom_score_adj").prelude("echo 77 > /proc/self/oom_score_adj");
    assert_eq!(b.run().ok().stdout, "77\n");
}

#[test]
fn hostname_and_domainname() {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let b = Bundle::sh("hostname; cat /proc/sys/kernel/domainname");
    let b = b.set("/hostname", "some.name").set("/domainname", "example.org").set("/ociVersion", "1.1.0");
    assert_eq!(b.run().ok().lines(), ["some.name", "example.org"]);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn personality() {
    requires!(Need::File("/proc/self/personality"));
    let b = || Bundle::sh("cat /proc/self/personality; uname -m");
    let out = b().set("/linux/personality", json!({"domain": "LINUX32"})).run().ok();
    assert_eq!(out.lines()[0], "00000008");
    assert_ne!(out.lines()[1], std::env::consts::ARCH);
    let out = b().set("/linux/personality", json!({"domain": "LINUX"})).run().ok();
    assert_eq!(out.lines()[0], "00000000");
    // It is the container's, not only its first process's.
    let b = Bundle::idle().set("/linux/personality", json!({"domain": "LINUX32", "flags": []})).up();
    assert_eq!(b.exec(&["cat", "/proc/self/personality"]).ok().stdout, "00000008\n");
}

#[test]
fn a_user_name_is_left_to_windows() {
    let b = Bundle::sh("id -u").set("/process/user", json!({"uid": 7, "gid": 0, "username": "app"}));
    assert_eq!(b.run().ok().stdout, "7\n");
}

#[test]
fn the_process_has_only_its_three_descriptors() {
    let b = Bundle::new().args(["ls", "/proc/self/fd"]);
    // Whatever the caller has left open; the fourth is the directory that ls reads.
    let out = b.prelude("exec 7</etc/passwd 8<$BASE 9</").run().ok();
    assert_eq!(out.lines(), ["0", "1", "2", "3"]);
}

#[test]
fn preserved_descriptors_are_handed_on() {
    let b = Bundle::sh("cat <&3; cat <&4; [ -e /proc/self/fd/5 ] || echo closed; ls -l /proc/self/fd >&2");
    let b = b.prelude("cd $BASE/io; echo three > a; echo four > b; exec 3<a 4<b 5</etc/passwd");
    assert_eq!(b.run_with(&["--preserve-fds", "2"]).ok().lines(), ["three", "four", "closed"]);
}

#[test]
fn the_signal_mask_and_dispositions_are_the_default_ones() {
    let out = Bundle::new().args(["cat", "/proc/self/status"]).run().ok();
    for key in ["SigBlk:", "SigIgn:"] {
        assert_eq!(out.field(key).trim_start_matches('0'), "", "{key}");
    }
}

#[test]
fn a_root_user_of_a_file_system_keeps_its_owners() {
    let b = Bundle::sh("touch /tmp/mine").set("/process/user", json!({"uid": 1000, "gid": 2000}));
    b.run().ok();
    let made = fs::metadata(b.rootfs().join("tmp/mine")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 2000));
}

#[test]
fn words_of_windows_change_nothing() {
    let b = Bundle::sh("echo $(id -u)").set("/process/commandLine", "cmd.exe /c dir");
    let out = b.set("/process/user/username", "Administrator").run().ok();
    assert_eq!(out.lines(), ["0"]);
}
