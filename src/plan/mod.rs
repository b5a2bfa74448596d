//! The plan of a container: everything that config.json asks for, checked, and turned into steps that the
//! rest of the runtime only has to carry out.
//!
//! What belongs here: every rule of the runtime-spec, every default, every decision. What does not: any
//! system call and any file access; whether a file exists is found out by opening it. Tri-states, strings
//! and alternatives of config.json end here.

pub mod annotations;
pub mod capabilities;
pub mod cgroup;
pub mod hooks;
pub mod mount_idmap;
pub mod mount_label;
pub mod mount_options;
mod mount_root;
pub mod mounts;
pub mod namespaces;
pub mod net;
pub mod process;
pub mod rdt;
pub mod rootfs;
pub mod schedule;
pub mod seccomp;
pub mod sysctl;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::spec::Spec;
use crate::sys::mount::{Attributes, attr};
use crate::sys::ns::Ns;
use cgroup::{CgroupPlan, Layout, systemd};
use hooks::Hooks;
use mount_idmap::Owners;
use mount_label::Label;
use mount_options::{Data, SourceLink};
use mounts::{Implied, MountKind, MountStep, Scope};
use namespaces::Namespaces;
use net::NetDevice;
use process::{NOTIFY_SOCKET, Process};
use rootfs::{DeviceStep, Root};
use seccomp::Seccomp;
use std::path::{Path, PathBuf};
use sysctl::Sysctl;

/// What the caller asked for on the command line and in the environment.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// The bundle directory, absolute.
    pub bundle: PathBuf,
    /// `--no-pivot`: move the root over `/` and chroot into it, for hosts whose own root is an initramfs.
    pub no_pivot: bool,
    /// `--no-new-keyring`: keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// `--preserve-fds`: how many file descriptors after 2 the process inherits.
    pub preserve_fds: u32,
    /// Whether `--console-socket` was given.
    pub console_socket: bool,
    /// The runtime ends before the process does: `create`, `run --detach`.
    pub detach: bool,
    /// `--systemd-cgroup`
    pub systemd_cgroup: bool,
    /// `LISTEN_FDS` of the caller: how many sockets the process inherits from 3 on; 0 if none.
    pub listen_fds: u32,
    /// The host's directory that holds the socket through which readiness is passed on to the caller's
    /// `NOTIFY_SOCKET`, if it has one.
    pub notify: Option<PathBuf>,
}

/// A container, ready to be made.
#[derive(Debug)]
pub struct Plan {
    /// Which namespaces are made and joined, and their id maps.
    pub namespaces: Namespaces,
    /// The root file system.
    pub root: Root,
    /// The mounts, in the order of config.json.
    pub mounts: Vec<MountStep>,
    /// The SELinux label of file systems that the container gets besides, as an option (`linux.mountLabel`).
    pub mount_label: Option<Data>,
    /// The device nodes, made after the mounts.
    pub devices: Vec<DeviceStep>,
    /// Symbolic links in `/dev`, as (link, target); made after the devices. An existing file stays.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Whether the terminal is put at `/dev/console`.
    pub console: bool,
    /// What is hidden: a file behind `/dev/null`, a directory behind an empty read-only one.
    pub masked: Vec<PathField>,
    /// What is made read-only.
    pub readonly: Vec<PathField>,
    /// The host name of the UTS namespace.
    pub hostname: Option<String>,
    /// The NIS domain name of the UTS namespace.
    pub domainname: Option<String>,
    /// Kernel parameters.
    pub sysctl: Vec<Sysctl>,
    /// The network devices that it gets.
    pub net_devices: Vec<NetDevice>,
    /// Its cgroup.
    pub cgroup: CgroupPlan,
    /// Its shares of caches and memory bandwidth.
    pub rdt: Option<rdt::Rdt>,
    /// The filter of its system calls.
    pub seccomp: Option<Seccomp>,
    /// The container's own process.
    pub process: Process,
    /// Programs run at the turning points of the container's life.
    pub hooks: Hooks,
    /// What is odd but no error.
    pub warnings: Vec<String>,
}

/// `CAP_MKNOD`
const MKNOD: u64 = 1 << 27;

/// A path inside the container and the field of config.json that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathField {
    /// Relative to the container's root.
    pub path: PathBuf,
    /// `linux.maskedPaths[2]`
    pub field: String,
}

impl Plan {
    /// Plans the container that config.json describes.
    pub fn new(spec: &Spec, host: &Host, layout: Layout, options: &Options) -> Result<Plan> {
        let linux =
            spec.linux.as_ref().ok_or_else(|| missing("linux", "it says which namespaces to make"))?;
        let mut warnings = Vec::new();
        annotations::check(&spec.annotations, &mut warnings)?;
        let namespaces = Namespaces { one_way: host.in_userns, ..Namespaces::new(linux)? };
        let in_userns = host.in_userns || namespaces.contains(Ns::User);
        let owners = Owners { namespaces: &namespaces, can_mount: host.can_mount };
        let label = Label::new(linux.mount_label().as_deref(), &spec.annotations)?;
        let root = Root::new(spec.root.as_ref(), linux.rootfs_propagation().as_deref(), options)?;
        let scope = Scope { bundle: &options.bundle, root: &root.path, owners, label };
        let mut mounts = mounts::plan(&spec.mounts, scope, &mut warnings)?;
        mounts.extend(options.notify.as_deref().map(notify));
        let dev_is_hosts = rootfs::dev_is_hosts(&mounts);
        let devices = linux.devices().as_deref().unwrap_or_default();
        let mut devices = rootfs::devices(devices, dev_is_hosts, in_userns)?;
        // Where the creator can't mount, init opens what the mounts take from the host, and it is in the user namespace.
        let can_make = host.can_mount && !host.in_userns && host.permitted & MKNOD != 0;
        if can_make && !namespaces.uid_map.is_empty() {
            rootfs::make_outside(&mut devices, &namespaces);
        }
        let mut process = match &spec.process {
            Some(process) => Process::new(process, host, options, &mut warnings)?,
            None => Process::unset(host, options)?,
        };
        process.adopt(linux, &spec.annotations)?;
        if !namespaces.contains(Ns::User) {
            process.caps.limit(host.permitted, &mut warnings);
        }
        check_ids(&process, &namespaces)?;
        let systemd = systemd::Request {
            id: &options.id,
            annotations: &spec.annotations,
            user: host.euid != 0 || host.in_userns,
        };
        let systemd = Some(&systemd).filter(|_| options.systemd_cgroup);
        let mut cgroup = CgroupPlan::new(Some(linux), &options.id, layout, systemd)?;
        cgroup.owner =
            cgroup_owner(&namespaces, &mounts, process.uid, layout).filter(|uid| *uid != host.euid);
        Ok(Plan {
            root,
            devices,
            links: rootfs::links(dev_is_hosts),
            mount_label: label.map(Label::option),
            console: process.terminal,
            masked: rootfs::paths(linux.masked_paths().as_deref(), "maskedPaths")?,
            readonly: rootfs::paths(linux.readonly_paths().as_deref(), "readonlyPaths")?,
            hostname: uts_name(spec.hostname.as_deref(), "hostname", &namespaces)?,
            domainname: uts_name(spec.domainname.as_deref(), "domainname", &namespaces)?,
            sysctl: sysctl::plan(linux, &namespaces, spec.domainname.is_some())?,
            net_devices: net::plan(linux, &namespaces, host)?,
            cgroup,
            rdt: rdt::plan(linux, &options.id)?,
            seccomp: linux
                .seccomp()
                .as_ref()
                .map(|seccomp| Seccomp::new(seccomp, process.no_new_privs, &mut warnings))
                .transpose()?,
            hooks: Hooks::new(spec.hooks.as_ref())?,
            namespaces,
            mounts,
            process,
            warnings,
        })
    }
}

fn missing(field: &str, hint: &str) -> Error {
    Error::new("missing").field(field).hint(hint)
}

/// An id that the user namespace has no place for can't be taken; the kernel would only say EINVAL.
fn check_ids(process: &Process, namespaces: &Namespaces) -> Result<()> {
    let (uid, gid) = (process.uid, process.gid);
    let groups = process.groups.iter().enumerate();
    let groups = groups.map(|(i, gid)| (format!("additionalGids[{i}]"), namespaces.maps_gid(*gid), *gid));
    let ids = [
        ("uid".to_owned(), namespaces.maps_uid(uid), uid),
        ("gid".to_owned(), namespaces.maps_gid(gid), gid),
    ];
    for (name, mapped, id) in ids.into_iter().chain(groups) {
        if !mapped {
            return Err(Error::new(format!("{id} is not mapped in the container's user namespace"))
                .field(format!("process.user.{name}")));
        }
    }
    Ok(())
}

/// The user of the host that the container's cgroup belongs to: the one of its process, where the container sees its own cgroups only
/// and may write to them (runtime-spec, config-linux.md, "Cgroup ownership"). In version 1 that would not be safe.
fn cgroup_owner(namespaces: &Namespaces, mounts: &[MountStep], uid: u32, layout: Layout) -> Option<u32> {
    let is_its_tree = |mount: &&MountStep| {
        mount.kind == MountKind::Cgroup && mount.destination == Path::new("sys/fs/cgroup")
    };
    let writable = mounts.iter().rfind(is_its_tree)?.attributes.set & attr::RDONLY == 0;
    if !writable || layout != Layout::V2 || !namespaces.new.has(Ns::Cgroup) || namespaces.joins(Ns::User) {
        return None;
    }
    namespaces.host_uid(uid)
}

/// Host and domain name: the kernel takes 64 bytes
/// ([sethostname(2)](https://man7.org/linux/man-pages/man2/sethostname.2.html)). In a joined namespace they
/// may be changed too, as runc and crun do.
fn uts_name(name: Option<&str>, field: &str, namespaces: &Namespaces) -> Result<Option<String>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    if !namespaces.contains(Ns::Uts) {
        return Err(Error::new("the container has no uts namespace of its own: it would change the host")
            .field(field)
            .hint("add {\"type\": \"uts\"} to linux.namespaces"));
    }
    if name.len() > 64 {
        return Err(Error::new(format!("{} bytes, the kernel takes 64", name.len())).field(field));
    }
    Ok(Some(name.to_owned()))
}

/// The directory with the socket through which the container says that it is ready.
fn notify(directory: &Path) -> MountStep {
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    MountStep {
        destination: mounts::inside(Path::new(NOTIFY_SOCKET).parent().unwrap_or(Path::new("/"))),
        kind: MountKind::Bind {
            source: directory.to_owned(),
            recursive: false,
            link: SourceLink::Followed,
            procfs: false,
            within: None,
        },
        attributes: Attributes { set, clear: 0 },
        implied: Implied::default(),
        recursive: Attributes::default(),
        propagation: Vec::new(),
        id_map: None,
        no_follow: false,
        field: "NOTIFY_SOCKET".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HOST: Host = Host { euid: 0, in_userns: false, can_mount: true, last_cap: 40, permitted: u64::MAX };

    /// The plan of a small container, after a change of its config.json.
    fn plan(change: impl Fn(&mut Value)) -> Result<Plan> {
        plan_with(change, &Options { bundle: "/bundle".into(), ..Options::default() })
    }

    fn plan_with(change: impl Fn(&mut Value), options: &Options) -> Result<Plan> {
        let mut json = json!({
            "ociVersion": "1.3.0",
            "process": {"args": ["sh"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        });
        change(&mut json);
        Plan::new(&Spec::parse(json.to_string().as_bytes())?, &HOST, Layout::V2, options)
    }

    fn error(change: impl Fn(&mut Value)) -> String {
        plan(change).unwrap_err().to_string()
    }

    #[test]
    fn a_small_container() {
        let plan = plan(|_| ()).unwrap();
        assert_eq!(plan.root.path, Path::new("/bundle/rootfs"));
        assert_eq!((plan.devices.len(), plan.links.len()), (6, 6));
        assert!(plan.mounts.is_empty() && plan.warnings.is_empty() && !plan.console);
        assert_eq!((plan.process.personality, plan.process.memory_policy), (None, None));
    }

    #[test]
    fn what_has_to_be_there() {
        // Not before the start.
        let unset = plan(|json| drop(json.as_object_mut().unwrap().remove("process"))).unwrap().process;
        assert_eq!((unset.args.len(), unset.uid, unset.cwd.as_path()), (0, 0, Path::new("/")));
        assert_eq!(unset.caps.bounding | unset.caps.permitted | unset.caps.effective, 0);
        let without = |field: &str| error(|json| drop(json.as_object_mut().unwrap().remove(field)));
        assert_eq!(without("root"), "root: missing");
        assert_eq!(without("linux"), "linux: missing (it says which namespaces to make)");
    }

    #[test]
    fn names_need_their_namespace() {
        let uts = |json: &mut Value| json["linux"]["namespaces"][1] = json!({"type": "uts", "path": "/ns"});
        for field in ["hostname", "domainname"] {
            assert_eq!(
                error(|json| json[field] = json!("a")),
                format!(
                    "{field}: the container has no uts namespace of its own: it would change the host (add {{\"type\": \"uts\"}} to linux.namespaces)"
                )
            );
            let long = error(|json| {
                uts(json);
                json[field] = json!("a".repeat(65));
            });
            assert_eq!(long, format!("{field}: 65 bytes, the kernel takes 64"));
        }
        let plan = plan(|json| {
            uts(json);
            json["hostname"] = json!("a");
            json["domainname"] = json!("");
        });
        let plan = plan.unwrap();
        assert_eq!((plan.hostname.as_deref(), plan.domainname), (Some("a"), None));
    }

    #[test]
    fn ids_have_to_be_mapped() {
        let user = |user: Value| {
            plan(|json| {
                let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
                json["linux"] = json!({
                    "namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": map, "gidMappings": map,
                });
                json["process"]["user"] = user.clone();
            })
        };
        let good = user(json!({"uid": 9, "gid": 9})).unwrap();
        assert!(good.devices.iter().all(|device| device.bind));
        let not = "is not mapped in the container's user namespace";
        for (given, text) in [
            (json!({"uid": 10}), format!("process.user.uid: 10 {not}")),
            (json!({"gid": 10}), format!("process.user.gid: 10 {not}")),
            (json!({"additionalGids": [3, 10]}), format!("process.user.additionalGids[1]: 10 {not}")),
        ] {
            assert_eq!(user(given).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn what_holds_for_all_processes() {
        let plan = plan(|json| {
            json["linux"]["personality"] = json!({"domain": "LINUX32", "flags": []});
            json["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
        });
        let process = plan.unwrap().process;
        assert_eq!(
            (process.personality, process.memory_policy.map(|policy| policy.mode)),
            (Some(8), Some(2))
        );
        let flags = error(|json| json["linux"]["personality"] = json!({"domain": "LINUX", "flags": ["X"]}));
        assert_eq!(flags, "linux.personality.flags: the runtime-spec has none yet");
    }

    #[test]
    fn the_notify_socket_is_mounted_last() {
        let options = Options { notify: Some("/run/state".into()), ..Options::default() };
        let plan =
            plan_with(|json| json["mounts"] = json!([{"destination": "/run", "type": "tmpfs"}]), &options);
        let last = plan.unwrap().mounts.pop().unwrap();
        assert_eq!(last.destination, Path::new("run/notify"));
        assert!(matches!(last.kind, MountKind::Bind { source, .. } if source == Path::new("/run/state")));
    }
}
