//! The table of mount options, each read back from mountinfo or by its effect.

use crate::harness::{Bundle, Need, Output, requires};

const MOUNTINFO: &str = "cat /proc/self/mountinfo";

/// A container with one tmpfs at `/m/N` for each list of options.
fn with_tmpfs(cases: &[&[&str]]) -> Output {
    let b = cases.iter().enumerate().fold(Bundle::sh(MOUNTINFO), |b, (n, options)| {
        b.mount(&format!("/m/{n}"), "tmpfs", "tmpfs", options)
    });
    b.run().ok()
}

/// Mounts a tmpfs at `$BASE/io/tree` and another one in its directory `sub`, both with these flags.
fn tree_of_two(flags: &str) -> String {
    format!(
        "cd $BASE/io; mkdir -p tree; mount -t tmpfs top tree; mkdir tree/sub; mount -t tmpfs below tree/sub
         mount -o remount,bind,{flags} tree/sub; mount -o remount,bind,{flags} tree"
    )
}

/// A container with that tree bound to `/m/N` with each list of options.
fn with_tree(flags: &str, cases: &[&[&str]]) -> Output {
    let b = Bundle::sh(MOUNTINFO).prelude(&tree_of_two(flags));
    let tree = b.io().join("tree").to_str().unwrap().to_owned();
    let b = cases
        .iter()
        .enumerate()
        .fold(b, |b, (n, options)| b.mount(&format!("/m/{n}"), "bind", &tree, options));
    b.run().ok()
}

#[test]
fn options_of_the_mount() {
    // Options, what the mount must have, what it must not have.
    let cases: [(&[&str], &str, &[&str]); 20] = [
        (&[], "rw", &["nosuid", "nodev", "noexec"]),
        // runc takes it for an option of the file system.
        (&["defaults"], "rw", &["nosuid", "nodev", "noexec"]),
        (&["ro"], "ro", &["rw"]),
        (&["ro", "rw"], "rw", &["ro"]),
        (&["nosuid"], "nosuid", &["nodev", "noexec"]),
        (&["nosuid", "suid"], "rw", &["nosuid"]),
        (&["nodev"], "nodev", &["nosuid", "noexec"]),
        (&["nodev", "dev"], "rw", &["nodev"]),
        (&["noexec"], "noexec", &["nosuid", "nodev"]),
        (&["noexec", "exec"], "rw", &["noexec"]),
        (&["noatime"], "noatime", &["relatime"]),
        (&["relatime"], "relatime", &["noatime"]),
        (&["strictatime"], "rw", &["noatime", "relatime"]),
        (&["noatime", "atime"], "rw", &["noatime"]),
        (&["nodiratime"], "nodiratime", &["noatime"]),
        (&["nodiratime", "diratime"], "rw", &["nodiratime"]),
        (&["noatime", "nodiratime"], "noatime", &["relatime"]),
        // crun does not know nosymfollow.
        (&["nosymfollow"], "nosymfollow", &["nosuid"]),
        (&["nosymfollow", "symfollow"], "rw", &["nosymfollow"]),
        (&["ro", "nosuid", "nodev", "noexec", "noatime"], "ro", &["rw", "relatime"]),
    ];
    let out = with_tmpfs(&cases.map(|(options, ..)| options));
    for (n, (options, has, has_not)) in cases.iter().enumerate() {
        let mount = out.mount_at(&format!("/m/{n}"));
        assert!(mount.has(has), "{options:?}: {mount:?}");
        assert!(has_not.iter().all(|option| !mount.has(option)), "{options:?}: {mount:?}");
    }
}

#[test]
fn options_of_the_file_system() {
    let cases: [(&[&str], &str, bool); 7] = [
        (&["sync"], "sync", true),
        (&["sync", "async"], "sync", false),
        (&["dirsync"], "dirsync", true),
        // crun passes lazytime to the file system as data, which refuses it.
        (&["lazytime"], "lazytime", true),
        (&["lazytime", "nolazytime"], "lazytime", false),
        // No effect that the kernel would show, but engines send them.
        (&["silent", "loud"], "silent", false),
        (&["noiversion", "nomand"], "mand", false),
    ];
    let out = with_tmpfs(&cases.map(|(options, ..)| options));
    for (n, (options, option, has)) in cases.iter().enumerate() {
        let mount = out.mount_at(&format!("/m/{n}"));
        assert_eq!(mount.fs_has(option), *has, "{options:?}: {mount:?}");
    }
}

#[test]
fn the_options_have_their_effect() {
    let script =
        "touch /m/ro/new || echo ro; /m/noexec/true || echo noexec; echo x > /m/nodev/null || echo nodev;
                  cat /m/nosymfollow/link || echo nosymfollow";
    let prelude = "cd $BASE/io; for m in ro noexec nodev nosymfollow; do mkdir -p $m; mount -t tmpfs none $m; done;
                   cp $ROOTFS/bin/busybox noexec/true; mknod -m 666 nodev/null c 1 3; echo x > nosymfollow/file;
                   ln -s file nosymfollow/link";
    let b = Bundle::sh(script).prelude(prelude);
    let io = b.io().to_str().unwrap().to_owned();
    let b = ["ro", "noexec", "nodev", "nosymfollow"].iter().fold(b, |b, option| {
        b.mount(&format!("/m/{option}"), "bind", &format!("{io}/{option}"), &["bind", option])
    });
    let out = b.run().ok();
    assert_eq!(out.lines(), ["ro", "noexec", "nodev", "nosymfollow"], "{out}");
}

#[test]
fn a_bind_mount_takes_the_options_of_the_mount() {
    let cases: [(&[&str], &[&str]); 8] = [
        (&["bind", "ro"], &["ro"]),
        (&["rbind", "ro", "nosuid", "nodev", "noexec"], &["ro", "nosuid", "nodev", "noexec"]),
        (&["bind", "nosuid"], &["rw", "nosuid"]),
        (&["bind", "noatime"], &["rw", "noatime"]),
        (&["bind", "strictatime"], &["rw"]),
        (&["bind", "nodiratime"], &["rw", "nodiratime"]),
        (&["bind", "nosymfollow"], &["nosymfollow"]),
        (&["rbind"], &["rw"]),
    ];
    let out = with_tree("rw", &cases.map(|(options, _)| options));
    for (n, (options, has)) in cases.iter().enumerate() {
        let mount = out.mount_at(&format!("/m/{n}"));
        assert!(has.iter().all(|option| mount.has(option)), "{options:?}: {mount:?}");
    }
    let strict = out.mount_at("/m/4");
    assert!(!strict.has("relatime") && !strict.has("noatime"), "{strict:?}");
}

#[test]
fn only_rbind_brings_the_mounts_below_along() {
    let out = with_tree("rw", &[&["bind"], &["rbind", "ro"]]);
    assert!(!out.stdout.contains(" /m/0/sub "), "{out}");
    let (top, below) = (out.mount_at("/m/1"), out.mount_at("/m/1/sub"));
    assert!(top.has("ro") && below.has("rw"), "ro is for the top mount alone: {out}");
}

#[test]
fn recursive_options_reach_the_mounts_below() {
    // Option, what both mounts have then.
    let cases: [(&str, &str); 7] = [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
        // crun does not know it.
        ("rnosymfollow", "nosymfollow"),
    ];
    let options = cases.map(|(option, _)| ["rbind", option]);
    let out = with_tree("rw", &options.each_ref().map(|pair| &pair[..]));
    for (n, (option, has)) in cases.iter().enumerate() {
        for point in [format!("/m/{n}"), format!("/m/{n}/sub")] {
            let mount = out.mount_at(&point);
            assert!(mount.has(has), "{option}: {mount:?}");
        }
    }
}

#[test]
fn recursive_options_clear_flags_of_the_mounts_below() {
    // Option, what neither mount has then.
    let cases: [(&str, &str); 8] = [
        ("rrw", "ro"),
        ("rsuid", "nosuid"),
        ("rdev", "nodev"),
        ("rexec", "noexec"),
        ("rrelatime", "noatime"),
        ("rstrictatime", "noatime"),
        ("rdiratime", "nodiratime"),
        ("rsymfollow", "nosymfollow"),
    ];
    let options = cases.map(|(option, _)| ["rbind", option]);
    let flags = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    let out = with_tree(flags, &options.each_ref().map(|pair| &pair[..]));
    for (n, (option, has_not)) in cases.iter().enumerate() {
        for point in [format!("/m/{n}"), format!("/m/{n}/sub")] {
            let mount = out.mount_at(&point);
            assert!(!mount.has(has_not), "{option}: {mount:?}");
        }
        let below = out.mount_at(&format!("/m/{n}/sub"));
        let kept = flags.split(',').filter(|flag| flag != has_not && !option.contains("atime"));
        assert!(kept.clone().all(|flag| below.has(flag)), "{option} keeps the others: {below:?}");
    }
    assert!(out.mount_at("/m/4/sub").has("relatime"), "{out}");
    assert!(!out.mount_at("/m/5/sub").has("relatime"), "{out}");
}

// runc ignores them there.
#[test]
fn recursive_options_work_on_a_fresh_file_system() {
    let out = with_tmpfs(&[&["rro", "rnosuid"]]);
    let mount = out.mount_at("/m/0");
    assert!(mount.has("ro") && mount.has("nosuid"), "{mount:?}");
}

/// The flags that are named, those that the mount has then, and those that it has not.
type FlagCase = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

fn check_flags(source: &str, cases: &[FlagCase], adjust: impl Fn(Bundle) -> Bundle) {
    let b = Bundle::sh(MOUNTINFO).prelude(&tree_of_two(source));
    let tree = b.io().join("tree").to_str().unwrap().to_owned();
    let b = cases.iter().enumerate().fold(b, |b, (n, _)| b.directory(&format!("/m/{n}")));
    let b = cases.iter().enumerate().fold(adjust(b), |b, (n, (options, ..))| {
        b.mount(&format!("/m/{n}"), "bind", &tree, &[&["rbind"], *options].concat())
    });
    let out = b.run().ok();
    for (n, (options, has, has_not)) in cases.iter().enumerate() {
        let mount = out.mount_at(&format!("/m/{n}"));
        assert!(has.iter().all(|flag| mount.has(flag)), "{options:?}: {mount:?}");
        assert!(!has_not.iter().any(|flag| mount.has(flag)), "{options:?}: {mount:?}");
        let below = out.mount_at(&format!("/m/{n}/sub"));
        assert!(source.split(',').all(|flag| below.has(flag)), "{options:?} is for the top alone: {below:?}");
    }
}

#[test]
fn a_bind_mount_has_the_flags_of_its_source_until_one_is_named() {
    let cases: [FlagCase; 9] = [
        (&[], &["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"], &[]),
        (&["rprivate"], &["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"], &[]),
        (&["rnosuid"], &["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"], &[]),
        (&["ro"], &["ro", "noatime"], &["nosuid", "nodev", "noexec", "nosymfollow"]),
        (&["rw"], &["rw", "noatime"], &["nosuid", "nodev", "noexec", "nosymfollow"]),
        (&["dev", "nosuid"], &["rw", "nosuid", "noatime"], &["nodev", "noexec", "nosymfollow"]),
        // As in mount(2), a mode that was not chosen can't be taken back.
        (&["atime"], &["rw", "noatime"], &["nosuid", "nodev", "noexec", "nosymfollow"]),
        (&["relatime"], &["rw", "relatime"], &["noatime", "nosuid"]),
        (&["nodiratime"], &["rw", "relatime", "nodiratime"], &["noatime", "nosuid"]),
    ];
    check_flags("ro,nosuid,nodev,noexec,noatime,nosymfollow", &cases, |b| b);
}

#[test]
fn in_a_user_namespace_the_flags_of_the_source_are_locked() {
    requires!(Need::UserNamespace);
    let cases: [FlagCase; 6] = [
        (&[], &["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"], &[]),
        (&["ro"], &["ro", "nosuid", "nodev", "noexec", "noatime"], &["nosymfollow"]),
        (&["nosuid"], &["ro", "nosuid", "nodev", "noexec", "noatime"], &["nosymfollow"]),
        (&["symfollow", "noatime"], &["ro", "nosuid", "nodev", "noexec", "noatime"], &["nosymfollow"]),
        (&["rro"], &["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"], &[]),
        (&["ro", "atime"], &["ro", "nosuid", "nodev", "noexec", "noatime"], &["nosymfollow"]),
    ];
    check_flags("ro,nosuid,nodev,noexec,noatime,nosymfollow", &cases, |b| b.user_namespace());
}

#[test]
fn in_a_user_namespace_a_locked_flag_can_not_be_taken_away() {
    requires!(Need::UserNamespace);
    for (source, option) in [
        ("ro", "rw"),
        ("nosuid", "suid"),
        ("nodev", "dev"),
        ("noexec", "exec"),
        ("noatime", "relatime"),
        ("relatime", "noatime"),
    ] {
        let b = Bundle::sh("echo begun").prelude(&tree_of_two(source)).directory("/m").user_namespace();
        let tree = b.io().join("tree").to_str().unwrap().to_owned();
        let b = b.mount("/m", "bind", &tree, &["rbind", option]);
        let out = b.run();
        assert!(!out.status.success() && !out.stdout.contains("begun"), "{option}: {out}");
        assert!(out.stderr.contains(".options: ") && out.stderr.contains("operation not permitted"), "{out}");
    }
}

// Most callers name `rw` unasked.
#[test]
fn in_a_user_namespace_a_read_only_file_system_takes_rw() {
    requires!(Need::UserNamespace);
    let b =
        Bundle::sh("cat /proc/self/mountinfo; cat /m/file; ! touch /m/new").directory("/m").user_namespace();
    let source = b.io().join("source").to_str().unwrap().to_owned();
    let prelude = "mkdir $BASE/io/source; mount -t tmpfs t $BASE/io/source; echo kept >$BASE/io/source/file;
                   mount -o remount,ro $BASE/io/source; mount -o remount,bind,rw $BASE/io/source";
    let out = b.prelude(prelude).mount("/m", "bind", &source, &["rbind", "rw"]).run().ok();
    assert!(out.stdout.contains("\nkept\n"), "{out}");
    assert!(out.mount_at("/m").fs_has("ro"), "{out}");
}

#[test]
fn an_option_of_a_file_system_has_no_effect_on_a_bind_and_is_named() {
    let b = Bundle::sh(MOUNTINFO).prelude("mkdir $BASE/io/source");
    let source = b.io().join("source").to_str().unwrap().to_owned();
    // runc refuses it, crun says nothing.
    let b = b.mount("/m", "bind", &source, &["bind", "nosuid", "size=1k"]);
    let number = b.config["mounts"].as_array().unwrap().len() - 1;
    let out = b.run().ok();
    let mount =
        out.stdout.lines().find(|line| line.contains(" /m ")).unwrap_or_else(|| panic!("no mount: {out}"));
    assert!(mount.contains("nosuid") && !mount.contains("size=1k"), "{mount}");
    let named =
        out.stderr.contains(&format!("mounts[{number}].options[2]")) && out.stderr.contains("size=1k");
    assert!(named, "{out}");
}
