//! A bundle: its files and its config.json.

use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Which cgroups the runtime sees. The cgroups themselves are the same in every view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// As the host has them.
    Host,
    /// Only the v1 hierarchies: the cgroup2 mount of a hybrid host is hidden.
    V1,
    /// Only the cgroup2 tree, as `/sys/fs/cgroup`.
    V2,
}

impl View {
    /// What `VIEW` asks for.
    pub fn from_env() -> Self {
        match std::env::var("VIEW").as_deref() {
            Ok("v1") => View::V1,
            Ok("v2") => View::V2,
            _ => View::Host,
        }
    }

    /// The shell command that makes it in a mount namespace of its own, on a host that shows more.
    pub(super) fn prelude(self) -> Option<String> {
        let unified = Path::new("/sys/fs/cgroup/unified").exists();
        let command = match self {
            View::V1 if unified => "mount -t tmpfs -o size=256k none /sys/fs/cgroup/unified",
            View::V2 if unified => "mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup",
            _ => return None,
        };
        Some(command.into())
    }
}

/// A bundle in a directory of its own. All that it makes carries its id in its name; dropping it deletes
/// the container, kills what is left of it, and removes its cgroups and files.
pub struct Bundle {
    pub id: String,
    pub config: Value,
    pub(super) base: PathBuf,
    pub(super) prelude: Vec<String>,
    pub(super) globals: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) commands: Cell<u32>,
    pub(super) view: View,
    /// Nothing was left of it, and no command has run since.
    pub(super) clean: Cell<bool>,
    /// What lies beside config.json, as it was when that was written.
    pub(super) beside: RefCell<Option<Vec<PathBuf>>>,
}

/// # The files and the configuration
impl Bundle {
    /// A container that runs `/bin/true`: new pid, mount, ipc, uts and network namespaces, `/proc`, `/dev`
    /// and `/dev/pts`, a usual set of capabilities, and a cgroup of its own.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        super::inherited::pass_nothing_on();
        let id = format!("ot-{}-{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let temp = std::env::var_os("TMPDIR").map_or(PathBuf::from("/var/tmp"), PathBuf::from);
        let base = temp.join(&id);
        super::rootfs::make(&base.join("bundle/rootfs"));
        fs::create_dir_all(base.join("io")).unwrap();
        Bundle {
            config: default_config(&id),
            id,
            base,
            prelude: Vec::new(),
            globals: Vec::new(),
            environment: Vec::new(),
            commands: Cell::new(0),
            view: View::from_env(),
            clean: Cell::new(false),
            beside: RefCell::new(None),
        }
    }

    /// A container that runs a shell script.
    pub fn sh(script: &str) -> Self {
        Self::new().args(["/bin/sh", "-c", script])
    }

    /// A container that prints `ready` and then waits for SIGTERM, on which it exits with 0. (The first
    /// process of a pid namespace does not die of a signal that it has no handler for.) It has all its processes by then.
    pub fn idle() -> Self {
        Self::sh("trap 'exit 0' TERM; sleep 300 & echo ready; while :; do wait; sleep 300 & done")
    }

    /// The bundle directory.
    pub fn dir(&self) -> PathBuf {
        self.base.join("bundle")
    }

    /// The root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.base.join("bundle/rootfs")
    }

    /// A directory for files and sockets of the test, removed with the bundle.
    pub fn io(&self) -> PathBuf {
        self.base.join("io")
    }

    /// What `--root` is.
    pub fn state_root(&self) -> PathBuf {
        self.base.join("state")
    }

    /// Everything of this bundle is below this directory.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The absolute cgroup path of the default configuration.
    pub fn cgroup(&self) -> String {
        format!("/orlop-test-{}", self.id)
    }

    /// Writes a file of the root file system with mode 0755, and the directories above it.
    pub fn file(self, path: &str, content: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = self.rootfs().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        super::rootfs::await_writers(&path);
        self
    }

    /// Makes a directory of the root file system.
    pub fn directory(self, path: &str) -> Self {
        fs::create_dir_all(self.rootfs().join(path.trim_start_matches('/'))).unwrap();
        self
    }

    /// Makes a symbolic link in the root file system, instead of what is there.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let path = self.rootfs().join(path.trim_start_matches('/'));
        let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// Changes the configuration.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets the value at a JSON pointer; objects on the way are made.
    pub fn set(self, pointer: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.edit(|config| *place(config, pointer) = value)
    }

    /// Appends to the array at a JSON pointer, which is made if it is absent.
    pub fn push(self, pointer: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.edit(|config| match place(config, pointer) {
            Value::Array(array) => array.push(value),
            absent => *absent = json!([value]),
        })
    }

    /// Takes the member at a JSON pointer away.
    pub fn remove(self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.edit(|config| {
            let members = config.pointer_mut(parent).and_then(Value::as_object_mut);
            members.and_then(|members| members.remove(key));
        })
    }

    pub fn args<S: Into<String>>(self, args: impl IntoIterator<Item = S>) -> Self {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        self.set("/process/args", args)
    }

    /// Appends `NAME=value` to the environment of the process.
    pub fn env(self, entry: &str) -> Self {
        self.push("/process/env", entry)
    }

    pub fn mount(self, destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.push("/mounts", mount)
    }

    /// Takes the mount at this destination out of the configuration.
    pub fn without_mount(self, destination: &str) -> Self {
        self.edit(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != destination);
        })
    }

    /// A new namespace of this kind.
    pub fn namespace(self, kind: &str) -> Self {
        self.without_namespace(kind).push("/linux/namespaces", json!({"type": kind}))
    }

    /// Joins the namespace of this kind at a path.
    pub fn join(self, kind: &str, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_str().unwrap();
        self.without_namespace(kind).push("/linux/namespaces", json!({"type": kind, "path": path}))
    }

    pub fn without_namespace(self, kind: &str) -> Self {
        self.edit(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != kind);
        })
    }

    /// A new user namespace in which 0-65535 are 100000-165535 of the host.
    pub fn user_namespace(self) -> Self {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        self.namespace("user").set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    /// Runs all commands as nobody, who maps only himself, as root of a new user namespace.
    pub fn unprivileged(self) -> Self {
        let map = json!([{"containerID": 0, "hostID": 65_534, "size": 1}]);
        self.namespace("user")
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
            .remove("/linux/cgroupsPath")
            .edit(|config| {
                config["mounts"][2]["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
            })
            .prelude("chown -R 65534:65534 $BASE")
            .prelude("set -- setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"")
    }

    /// Sets these capabilities in all of `sets`: `bounding`, `effective`, ...
    pub fn capabilities(self, sets: &[&str], names: &[&str]) -> Self {
        sets.iter().fold(self, |b, set| b.set(&format!("/process/capabilities/{set}"), names))
    }

    /// Appends a hook that is a shell script.
    pub fn hook(self, kind: &str, script: &str) -> Self {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        self.push(&format!("/hooks/{kind}"), hook)
    }

    /// Runs each command in a private mount namespace, after this shell script: for fixtures that are
    /// mounts, and for inherited descriptors (`exec 3<file`). `$BASE`, `$BUNDLE` and `$ROOTFS` are set.
    pub fn prelude(mut self, script: &str) -> Self {
        self.prelude.push(script.into());
        self
    }

    /// What the runtime sees of cgroups, instead of what `VIEW` says.
    pub fn view(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// All mounts that the runtime sees are shared, as systemd makes them, but not with the host, where they may be
    /// shared already.
    pub fn shared_mounts(self) -> Self {
        self.prelude("mount --make-rprivate /; mount --make-rshared /")
    }

    /// An option before the command: `--log`, `--debug`.
    pub fn global(mut self, option: &str) -> Self {
        self.globals.push(option.into());
        self
    }

    /// A variable of the runtime's own environment, which is otherwise only `PATH`.
    pub fn runtime_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Writes config.json; `run` and `create` do it themselves.
    pub fn write_config(&self) {
        fs::write(self.dir().join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
        *self.beside.borrow_mut() = Some(super::leftovers::entries(&self.dir()));
    }
}

/// The place of a JSON pointer; objects on the way are made.
fn place<'a>(config: &'a mut Value, pointer: &str) -> &'a mut Value {
    pointer.split('/').skip(1).fold(config, |value, key| match value {
        Value::Array(array) => &mut array[key.parse::<usize>().unwrap()],
        object => &mut object[key],
    })
}

fn default_config(id: &str) -> Value {
    let capabilities = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP \
                        SETGID SETPCAP SETUID SYS_CHROOT";
    let capabilities: Vec<String> = capabilities.split(' ').map(|name| format!("CAP_{name}")).collect();
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "hostname": "orlop-test",
        "process": {
            "args": ["/bin/true"],
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        ],
        "linux": {
            "cgroupsPath": format!("/orlop-test-{id}"),
            "namespaces": namespaces,
        },
    })
}
