use super::*;
use crate::plan::namespaces::Namespaces;
use crate::sys::mount::attr;
use serde_json::{Value, json};

fn steps(mounts: Value) -> (Result<Vec<MountStep>>, Vec<String>) {
    let mounts: Vec<Mount> = serde_json::from_value(mounts).unwrap();
    let mut warnings = Vec::new();
    let owners = Owners { namespaces: &Namespaces::default(), can_mount: true };
    (
        plan(
            &mounts,
            Scope { bundle: Path::new("/bundle"), root: Path::new("/bundle/rootfs"), owners, label: None },
            &mut warnings,
        ),
        warnings,
    )
}

fn one(mount: Value) -> MountStep {
    steps(json!([mount])).0.unwrap().remove(0)
}

fn error(mount: Value) -> String {
    steps(json!([{"destination": "/a", "type": "tmpfs"}, mount])).0.unwrap_err().to_string()
}

fn new(step: MountStep) -> (String, Option<String>, Vec<&'static str>, Vec<Data>) {
    match step.kind {
        MountKind::New { fs, source, flags, data, .. } => (fs, source, flags, data),
        other => panic!("{other:?}"),
    }
}

#[test]
fn kinds_of_mounts() {
    let bind = |source: &str, recursive| MountKind::Bind {
        source: source.into(),
        recursive,
        link: SourceLink::Followed,
        procfs: false,
        within: None,
    };
    let remount = || MountKind::Remount { flags: Vec::new(), data: Vec::new() };
    for (mount, kind) in [
        (json!({"source": "/s", "options": ["bind"]}), bind("/s", false)),
        (json!({"source": "/s", "type": "tmpfs", "options": ["rbind"]}), bind("/s", true)),
        (json!({"source": "s/t", "type": "bind"}), bind("/bundle/s/t", false)),
        (json!({"source": "s", "type": "none", "options": ["rbind", "rw"]}), bind("/bundle/s", true)),
        (json!({"source": "cgroup", "type": "cgroup", "options": ["ro"]}), MountKind::Cgroup),
        (json!({"type": "cgroup2"}), MountKind::Cgroup),
        (json!({"options": ["remount", "ro"]}), remount()),
        (json!({"type": "bind", "options": ["bind", "remount", "sync"]}), remount()),
    ] {
        let mut mount = mount;
        mount["destination"] = json!("/d");
        assert_eq!(one(mount.clone()).kind, kind, "{mount}");
    }
}

#[test]
fn a_new_file_system() {
    let step = one(json!({
        "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["nosuid", "rnoexec", "newinstance", "mode=0620,gid=5,", "sync", "lazytime", "rslave",
                    "context=\"a:b:c0,c1\""],
    }));
    assert_eq!(step.attributes.set, attr::NOSUID | attr::NOEXEC);
    assert!(step.recursive.is_empty());
    assert_eq!(step.propagation, [(Propagation::Slave, true)]);
    assert_eq!((step.destination.to_str(), step.field.as_str()), (Some("dev/pts"), "mounts[0]"));
    let (fs, source, flags, data) = new(step);
    assert_eq!((fs.as_str(), source.as_deref()), ("devpts", Some("devpts")));
    assert_eq!(flags, ["sync", "lazytime"]);
    let expected = [("mode", Some("0620")), ("gid", Some("5")), ("context", Some("a:b:c0,c1"))];
    assert_eq!(data, expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))));
}

#[test]
fn tmpcopyup_is_for_a_tmpfs() {
    let step = one(json!({"destination": "/d", "type": "tmpfs", "options": ["tmpcopyup"]}));
    assert!(matches!(step.kind, MountKind::New { copy_up: true, .. }));
    assert_eq!(
        error(json!({"destination": "/d", "type": "proc", "options": ["ro", "tmpcopyup"]})),
        "mounts[1].options[1]: only a tmpfs can be filled by tmpcopyup"
    );
}

#[test]
fn propagation_keeps_its_order() {
    let step = one(json!({"destination": "/d", "source": "/s", "options": ["bind", "rshared", "slave"]}));
    assert_eq!(step.propagation, [(Propagation::Shared, true), (Propagation::Slave, false)]);
}

#[test]
fn destinations() {
    for (given, inside) in [("/a//b/./c/", "a/b/c"), ("/a/../b", "a/../b"), ("/../x", "../x")] {
        let step = one(json!({"destination": given, "type": "tmpfs"}));
        assert_eq!(step.destination, Path::new(inside));
    }
    let (result, warnings) = steps(json!([{"destination": "data/x", "type": "tmpfs"}]));
    assert_eq!(result.unwrap()[0].destination, Path::new("data/x"));
    assert_eq!(warnings, ["mounts[0].destination: \"data/x\" is relative, taken as /data/x"]);
    for root in ["/", "", ".", "/a/.."] {
        let text = error(json!({"destination": root, "type": "tmpfs"}));
        assert!(text.starts_with(&format!("mounts[1].destination: {root:?} is the root itself")), "{text}");
    }
}

#[test]
fn proc_is_not_hidden() {
    let bind = |to: &str| json!({"destination": to, "source": "/proc/x", "options": ["bind"]});
    for good in [
        json!({"destination": "/proc", "type": "proc"}),
        json!({"destination": "/process", "type": "tmpfs"}),
        json!({"destination": "/proc/sys", "options": ["remount", "bind", "ro"]}),
        bind("/proc/cpuinfo"),
        bind("/proc/./net/dev"),
    ] {
        one(good);
    }
    assert!(matches!(one(bind("/a/../proc")).kind, MountKind::Bind { procfs: true, .. }));
    let inside = |path: &str| {
        format!("mounts[1].destination: \"{path}\" cannot be mounted because it is inside /proc")
    };
    for (mount, text) in [
        (bind("/proc/self"), inside("/proc/self")),
        (bind("/x/../proc/sys/kernel"), inside("/proc/sys/kernel")),
        (json!({"destination": "/proc/cpuinfo", "type": "tmpfs"}), inside("/proc/cpuinfo")),
        (json!({"destination": "/proc/p", "type": "proc"}), inside("/proc/p")),
        (
            json!({"destination": "/proc", "type": "tmpfs"}),
            "mounts[1].destination: \"/proc\" cannot be mounted because it is not of type proc".to_owned(),
        ),
    ] {
        assert_eq!(error(mount), text);
    }
}

#[test]
fn a_bind_passes_over_options_of_the_file_system() {
    let bind = json!({"destination": "/d", "source": "/s", "options": ["bind", "mode=755", "ro", "size=1k"]});
    let (result, warnings) = steps(json!([bind]));
    assert!(matches!(result.unwrap()[0].kind, MountKind::Bind { .. }));
    let warning =
        |n: usize, text: &str| format!("mounts[0].options[{n}]: \"{text}\" has no effect on a bind mount");
    assert_eq!(warnings, [warning(1, "mode=755"), warning(3, "size=1k")]);
}

#[test]
fn errors_name_the_option() {
    for (mount, text) in [
        (
            json!({"source": "/s", "options": ["bind", "size=1k", "nosiud"]}),
            "mounts[1].options[2]: \"nosiud\" is not an option of a bind mount",
        ),
        (
            json!({"source": "/s", "options": ["rbind", "x-foo"]}),
            "mounts[1].options[1]: \"x-foo\" is not an option of a bind mount",
        ),
        (
            json!({"type": "cgroup", "options": ["nsdelegate"]}),
            "mounts[1].options[0]: \"nsdelegate\" is not an option of a cgroup mount",
        ),
        (json!({"options": ["bind"]}), "mounts[1].source: missing: a bind mount needs one"),
        (json!({"type": "bind", "source": ""}), "mounts[1].source: missing: a bind mount needs one"),
        (
            json!({"source": "/s"}),
            "mounts[1].type: missing (a mount has a file system type or the option bind or rbind)",
        ),
        (
            json!({"source": "/s", "options": ["rbind", "idmap"]}),
            "mounts[1].options[1]: an id-mapped mount without a map (give the mount uidMappings and \
             gidMappings, or the container a user namespace)",
        ),
        (
            json!({"type": "cgroup", "options": ["idmap=uids=0-1-1;gids=0-1-1"]}),
            "mounts[1]: only a bind mount or a new file system can be id-mapped",
        ),
        (
            json!({"type": "tmpfs", "options": ["ro", "src-nofollow"]}),
            "mounts[1].options[1]: only a bind mount has a source to follow",
        ),
        (
            json!({"source": "/s", "options": ["bind", "copy-symlink", "src-nofollow"]}),
            "mounts[1].options[2]: a link can't be both mounted and copied (src-nofollow mounts it, \
             copy-symlink copies it)",
        ),
        (
            json!({"source": "/s", "options": ["dest-nofollow", "bind", "copy-symlink"]}),
            "mounts[1].options[0]: copy-symlink makes the destination, so that there is nothing to follow",
        ),
        (
            json!({"options": ["remount", "ro", "dest-nofollow"]}),
            "mounts[1].options[2]: there is no mount on a symbolic link to change",
        ),
    ] {
        let mut mount = mount;
        mount["destination"] = json!("/d");
        assert_eq!(error(mount), text);
    }
}
