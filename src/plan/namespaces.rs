//! Namespaces: which are new, which are joined, at which moment, and the id maps and clock offsets of the
//! new ones.

use crate::error::{Context, Error, Result};
use crate::sys::ns::{Ns, NsSet};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};
use std::path::PathBuf;

/// The container's namespaces. A kind that is neither new nor joined is the caller's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// The kinds to make.
    pub new: NsSet,
    /// The existing ones to join, in the order of [`Ns::ALL`].
    pub join: Vec<Join>,
    /// User ids of the container's user namespace. Of a joined one they only say what config.json takes for
    /// granted.
    pub uid_map: Vec<IdMap>,
    /// Group ids, likewise.
    pub gid_map: Vec<IdMap>,
    /// What to write to `/proc/self/timens_offsets`
    /// ([time_namespaces(7)](https://man7.org/linux/man-pages/man7/time_namespaces.7.html)).
    pub time_offsets: Option<String>,
    /// With a user namespace, the (uid, gid) inside it that init takes to set the container up: 0 where it is
    /// mapped, else the first one that is.
    pub root_ids: Option<(u32, u32)>,
    /// The runtime is in a user namespace: from a PID namespace that it joins it may not come back into its own, which is not of that.
    pub one_way: bool,
}

/// An existing namespace to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// What kind it has to be.
    pub kind: Ns,
    /// Where it is: `/proc/PID/ns/net`, or a file it is bound to. Absolute.
    pub path: PathBuf,
    /// `linux.namespaces[2].path`
    pub field: String,
}

/// One line of a map of user or group ids
/// ([user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// The first id inside.
    pub container: u32,
    /// The first id in the parent namespace.
    pub host: u32,
    /// How many; at least 1.
    pub size: u32,
}

/// How many processes it takes to get into all namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The clone is the container's init.
    Direct,
    /// The clone joins what is to be joined, makes init as its sibling with the new namespaces, which so
    /// belong to the right user namespace, and ends.
    Relay,
}

impl Namespaces {
    /// Checks `namespaces`, `uidMappings`, `gidMappings` and `timeOffsets` of config.json.
    pub fn new(linux: &Linux) -> Result<Namespaces> {
        let mut namespaces = lists(linux)?;
        check_mount(&namespaces)?;
        namespaces.uid_map = id_map(linux.uid_mappings(), "linux.uidMappings")?;
        namespaces.gid_map = id_map(linux.gid_mappings(), "linux.gidMappings")?;
        check_maps(&namespaces)?;
        namespaces.time_offsets = time_offsets(linux, &namespaces)?;
        if namespaces.contains(Ns::User) {
            namespaces.root_ids = Some((root_id(&namespaces.uid_map), root_id(&namespaces.gid_map)));
        }
        Ok(namespaces)
    }

    /// Whether the container has a namespace of this kind that config.json asks for, new or joined.
    pub fn contains(&self, kind: Ns) -> bool {
        self.all().has(kind)
    }

    /// All kinds that config.json asks for, new or joined.
    pub fn all(&self) -> NsSet {
        self.join.iter().fold(self.new, |all, join| all.with(join.kind))
    }

    /// Whether one of this kind is joined.
    pub fn joins(&self, kind: Ns) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }

    /// How many processes it takes. A PID namespace belongs to the user namespace of the process that makes
    /// it, and holds only its children: with an existing user namespace, somebody has to join that before
    /// init is born. And in a new user namespace init has no rights over existing namespaces: somebody has to
    /// join them before. To join a PID namespace takes nobody else, unless there is no way back from it.
    pub fn fork(&self) -> Fork {
        let new_pid_in_joined_user = self.joins(Ns::User) && self.new.has(Ns::Pid);
        let joins_beside_new_user = self.new.has(Ns::User) && !self.join.is_empty();
        let joins_pid_for_good = self.one_way && self.joins(Ns::Pid);
        match new_pid_in_joined_user || joins_beside_new_user || joins_pid_for_good {
            true => Fork::Relay,
            false => Fork::Direct,
        }
    }

    /// The kinds that the clone of init makes. Not the cgroup namespace, whose root would be the cgroup of
    /// the moment; not the time namespace, which only children of its maker are in; beside a new user
    /// namespace not the network and IPC namespaces, whose files in /sys, /proc/sys and mqueue would belong to
    /// ids that are not mapped yet; and beside a user namespace that init has yet to join none at all, as they have to
    /// belong to that. Nor what init makes [ahead](Self::ahead). A mount namespace in any case, if only for as long as the container's
    /// tree is put together.
    pub fn at_clone(&self) -> NsSet {
        if self.joins(Ns::User) && self.fork() == Fork::Direct {
            return NsSet::default();
        }
        let new = if self.contains(Ns::Mount) { self.new } else { self.new.with(Ns::Mount) };
        let set = new.without(Ns::Cgroup).without(Ns::Time).minus(self.ahead());
        if set.has(Ns::User) { set.without(Ns::Network).without(Ns::Ipc) } else { set }
    }

    /// The kinds that init makes itself before its creator lets it go on: to make a network namespace takes half a millisecond, in which
    /// the other one completes the cgroup. None where there is a user namespace to own them, or where something is joined.
    pub fn ahead(&self) -> NsSet {
        match self.new.has(Ns::User) || !self.join.is_empty() {
            true => NsSet::default(),
            false => self.new.with(Ns::Mount).without(Ns::Pid).without(Ns::Cgroup).without(Ns::Time),
        }
    }

    /// The kinds that init makes itself by unshare when it has joined the others. The time namespace is none of them: to be in it takes
    /// more than to make it.
    pub fn later(&self) -> NsSet {
        self.new.minus(self.at_clone()).minus(self.ahead()).without(Ns::Time)
    }

    /// Whether a user id of the container means something: true where there is no map to say that it doesn't.
    pub fn maps_uid(&self, id: u32) -> bool {
        maps(&self.uid_map, id)
    }

    /// The same of a group id.
    pub fn maps_gid(&self, id: u32) -> bool {
        maps(&self.gid_map, id)
    }

    /// The id outside of the container that a user id of the container is; `None` for one that is not mapped.
    pub fn host_uid(&self, id: u32) -> Option<u32> {
        outside(&self.uid_map, id)
    }

    /// The same of a group id.
    pub fn host_gid(&self, id: u32) -> Option<u32> {
        outside(&self.gid_map, id)
    }
}

fn outside(map: &[IdMap], id: u32) -> Option<u32> {
    if map.is_empty() {
        return Some(id);
    }
    map.iter().find_map(|line| {
        let offset = id.checked_sub(line.container).filter(|offset| *offset < line.size)?;
        line.host.checked_add(offset)
    })
}

fn maps(map: &[IdMap], id: u32) -> bool {
    map.is_empty() || map.iter().any(|line| id.checked_sub(line.container).is_some_and(|nth| nth < line.size))
}

fn root_id(map: &[IdMap]) -> u32 {
    if maps(map, 0) { 0 } else { map.first().map_or(0, |line| line.container) }
}

/// "namespaces [...] If a namespace type is not specified in the namespaces array, the container MUST inherit
/// the runtime namespace of that type. If a namespaces field contains duplicated namespaces with same type,
/// the runtime MUST generate an error." and "path [...] This value MUST be an absolute path."
fn lists(linux: &Linux) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    for (i, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let kind = kind(namespace.typ());
        if namespaces.contains(kind) {
            let error = Error::new(format!("a second {} namespace", kind.name()));
            return Err(error.field(format!("linux.namespaces[{i}].type")));
        }
        match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            None => namespaces.new = namespaces.new.with(kind),
            Some(path) => {
                let field = format!("linux.namespaces[{i}].path");
                if !path.is_absolute() {
                    return Err(Error::new(format!("{path:?} is not an absolute path")).field(field));
                }
                namespaces.join.push(Join { kind, path: path.clone(), field });
            }
        }
    }
    namespaces.join.sort_by_key(|join| Ns::ALL.iter().position(|kind| *kind == join.kind));
    Ok(namespaces)
}

fn kind(kind: LinuxNamespaceType) -> Ns {
    match kind {
        LinuxNamespaceType::User => Ns::User,
        LinuxNamespaceType::Mount => Ns::Mount,
        LinuxNamespaceType::Pid => Ns::Pid,
        LinuxNamespaceType::Network => Ns::Network,
        LinuxNamespaceType::Ipc => Ns::Ipc,
        LinuxNamespaceType::Uts => Ns::Uts,
        LinuxNamespaceType::Cgroup => Ns::Cgroup,
        LinuxNamespaceType::Time => Ns::Time,
    }
}

/// Without a mount namespace of its own a container goes back to the runtime's in the end, over which a user namespace of the container has
/// no right.
fn check_mount(namespaces: &Namespaces) -> Result<()> {
    match namespaces.contains(Ns::Mount) || !namespaces.contains(Ns::User) {
        true => Ok(()),
        false => Err(Error::new("a user namespace without a mount namespace has no right to mount anything")
            .field("linux.namespaces")
            .hint("add {\"type\": \"mount\"}")),
    }
}

/// A new user namespace without a map of both kinds of ids has no user that can do anything, and a map
/// without a user namespace maps nothing. Beside a joined one, callers repeat the map that it has.
fn check_maps(namespaces: &Namespaces) -> Result<()> {
    let maps = [("linux.uidMappings", &namespaces.uid_map), ("linux.gidMappings", &namespaces.gid_map)];
    for (field, map) in maps {
        if namespaces.new.has(Ns::User) && map.is_empty() {
            return Err(Error::new("missing: a new user namespace needs it").field(field));
        }
        if !namespaces.contains(Ns::User) && !map.is_empty() {
            return Err(Error::new("the container has no user namespace to map ids in")
                .field(field)
                .hint("add {\"type\": \"user\"} to linux.namespaces"));
        }
    }
    Ok(())
}

/// The kernel takes no more lines (since Linux 4.15).
const MAX_ID_MAPS: usize = 340;

/// Checks what the kernel would refuse without a word about which line it means.
pub fn id_map(given: &Option<Vec<LinuxIdMapping>>, field: &str) -> Result<Vec<IdMap>> {
    let lines = given.as_ref().map_or(0, Vec::len);
    if lines > MAX_ID_MAPS {
        return Err(Error::new(format!("{lines} lines, the kernel takes {MAX_ID_MAPS}")).field(field));
    }
    let mut map: Vec<IdMap> = Vec::with_capacity(lines);
    for (i, line) in given.iter().flatten().enumerate() {
        let line = IdMap { container: line.container_id(), host: line.host_id(), size: line.size() };
        check_line(line, &map).field(|| format!("{field}[{i}]"))?;
        map.push(line);
    }
    Ok(map)
}

/// Checks one line of a map against the ids that there are and against the lines before it.
pub fn check_line(line: IdMap, earlier: &[IdMap]) -> Result<()> {
    if line.size == 0 {
        return Err(Error::new("size is 0"));
    }
    for (name, first) in [("containerID", line.container), ("hostID", line.host)] {
        if first.checked_add(line.size).is_none() {
            let size = line.size;
            return Err(Error::new(format!(
                "{name} {first} and size {size} go beyond the largest id, 4294967294"
            )));
        }
    }
    for (i, other) in earlier.iter().enumerate() {
        for (name, a, b) in
            [("containerID", line.container, other.container), ("hostID", line.host, other.host)]
        {
            if a < b.saturating_add(other.size) && b < a.saturating_add(line.size) {
                return Err(Error::new(format!("the range of {name} overlaps with that of line {i}")));
            }
        }
    }
    Ok(())
}

/// "timeOffsets (object, OPTIONAL) sets the offset for Time Namespace", by the name of a clock.
fn time_offsets(linux: &Linux, namespaces: &Namespaces) -> Result<Option<String>> {
    let Some(given) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) else {
        return Ok(None);
    };
    let error = |what: &str| Err(Error::new(what).field("linux.timeOffsets"));
    if namespaces.joins(Ns::Time) {
        return error("the clocks of a time namespace that is joined are set already");
    }
    if !namespaces.new.has(Ns::Time) {
        return error("the container has no time namespace to set the clocks of");
    }
    let mut lines = String::new();
    let mut clocks: Vec<_> = given.iter().collect();
    clocks.sort_unstable_by_key(|(clock, _)| *clock);
    for (clock, offset) in clocks {
        let field = || format!("linux.timeOffsets.{clock}");
        if !["boottime", "monotonic"].contains(&clock.as_str()) {
            return Err(Error::new("unknown clock").field(field()).hint("known are boottime and monotonic"));
        }
        let nanosecs = offset.nanosecs().unwrap_or(0);
        if nanosecs >= 1_000_000_000 {
            return Err(Error::new(format!("{nanosecs} is a second or more")).field(field() + ".nanosecs"));
        }
        lines += &format!("{clock} {} {nanosecs}\n", offset.secs().unwrap_or(0));
    }
    Ok(Some(lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn namespaces(json: Value) -> Result<Namespaces> {
        Namespaces::new(&serde_json::from_value(json).unwrap())
    }

    /// Namespaces by words: `user` is a new one, `user=/path` a joined one; mount is always new.
    fn of(words: &str) -> Namespaces {
        let mut list = vec![json!({"type": "mount"})];
        for word in words.split_whitespace() {
            list.push(match word.split_once('=') {
                Some((kind, path)) => json!({"type": kind, "path": path}),
                None => json!({"type": word}),
            });
        }
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        let maps = if words.contains("user") { map } else { json!(null) };
        namespaces(json!({"namespaces": list, "uidMappings": maps, "gidMappings": maps})).unwrap()
    }

    fn set(kinds: &[Ns]) -> NsSet {
        kinds.iter().fold(NsSet::default(), |set, kind| set.with(*kind))
    }

    #[test]
    fn when_each_is_made() {
        use Fork::{Direct, Relay};
        use Ns::{Cgroup, Ipc, Mount, Network, Pid, Time, User};
        for (words, fork, at_clone, ahead, later) in [
            ("", Direct, &[][..], &[Mount][..], &[][..]),
            ("pid network ipc cgroup time", Direct, &[Pid], &[Mount, Network, Ipc], &[Cgroup]),
            ("user pid network cgroup", Direct, &[User, Mount, Pid], &[], &[Network, Cgroup]),
            ("pid=/p network", Direct, &[Mount, Network], &[], &[]),
            ("user=/u network cgroup time", Direct, &[], &[], &[Mount, Network, Cgroup]),
            ("user=/u pid=/p ipc", Direct, &[], &[], &[Mount, Ipc]),
            ("user=/u pid network cgroup", Relay, &[Mount, Pid, Network], &[], &[Cgroup]),
        ] {
            let namespaces = of(words);
            assert_eq!(namespaces.fork(), fork, "{words}");
            assert_eq!(namespaces.at_clone(), set(at_clone), "at clone: {words}");
            assert_eq!(namespaces.ahead(), set(ahead), "ahead: {words}");
            assert_eq!(namespaces.later(), set(later), "later: {words}");
            assert_eq!(namespaces.new.has(Time), words.contains("time"));
        }
        let from_within = |words: &str| Namespaces { one_way: true, ..of(words) }.fork();
        assert_eq!([from_within("pid=/p network"), from_within("pid network=/n")], [Relay, Direct]);
    }

    #[test]
    fn joined_ones_are_in_the_order_of_joining() {
        let joined = of("time=/t network=/n user=/u");
        let kinds: Vec<_> = joined.join.iter().map(|join| join.kind).collect();
        assert_eq!(kinds, [Ns::User, Ns::Network, Ns::Time]);
        assert_eq!(joined.join[1].field, "linux.namespaces[2].path");
        assert!(joined.contains(Ns::Network) && joined.contains(Ns::Mount) && !joined.contains(Ns::Uts));
    }

    #[test]
    fn ids_of_init() {
        let with = |map: Value| {
            let list = json!([{"type": "mount"}, {"type": "user"}]);
            let zero = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
            namespaces(json!({"namespaces": list, "uidMappings": map, "gidMappings": zero})).unwrap()
        };
        let shifted =
            with(json!([{"containerID": 7, "hostID": 5, "size": 2}, {"containerID": 3, "size": 1}]));
        assert_eq!(shifted.root_ids, Some((7, 0)));
        assert!(shifted.maps_uid(8) && shifted.maps_uid(3) && !shifted.maps_uid(9) && !shifted.maps_uid(0));
        assert!(shifted.maps_gid(0) && !shifted.maps_gid(1));
        assert_eq!(of("user=/u").root_ids, Some((0, 0)));
        assert_eq!(of("").root_ids, None);
        assert!(of("").maps_uid(4242));
    }

    #[test]
    fn contradictions_name_their_field() {
        let mount = json!({"type": "mount"});
        let user = json!({"type": "user"});
        let ids = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        for (linux, text) in [
            (
                json!({"namespaces": [user]}),
                "linux.namespaces: a user namespace without a mount namespace has no right to mount anything (add {\"type\": \"mount\"})",
            ),
            (json!({"namespaces": [mount, mount]}), "linux.namespaces[1].type: a second mount namespace"),
            (
                json!({"namespaces": [mount, {"type": "pid", "path": "/p"}, {"type": "pid"}]}),
                "linux.namespaces[2].type: a second pid namespace",
            ),
            (
                json!({"namespaces": [mount, {"type": "uts", "path": "ns"}]}),
                "linux.namespaces[1].path: \"ns\" is not an absolute path",
            ),
            (
                json!({"namespaces": [mount, user], "uidMappings": ids}),
                "linux.gidMappings: missing: a new user namespace needs it",
            ),
            (
                json!({"namespaces": [mount], "uidMappings": ids}),
                "linux.uidMappings: the container has no user namespace to map ids in (add {\"type\": \"user\"} to linux.namespaces)",
            ),
            (
                json!({"namespaces": [mount], "timeOffsets": {"boottime": {"secs": 1}}}),
                "linux.timeOffsets: the container has no time namespace to set the clocks of",
            ),
            (
                json!({"namespaces": [mount, {"type": "time", "path": "/t"}], "timeOffsets": {"boottime": {}}}),
                "linux.timeOffsets: the clocks of a time namespace that is joined are set already",
            ),
        ] {
            assert_eq!(namespaces(linux).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn bad_maps_name_the_line() {
        let line = |container: u32, host: u32, size: u32| json!({"containerID": container, "hostID": host, "size": size});
        let maps = |uid: Value| {
            let list = json!([{"type": "mount"}, {"type": "user"}]);
            namespaces(json!({"namespaces": list, "uidMappings": uid, "gidMappings": [line(0, 0, 1)]}))
        };
        assert!(maps(json!([line(0, 0, u32::MAX)])).is_ok());
        for (map, text) in [
            (json!([line(0, 0, 0)]), "linux.uidMappings[0]: size is 0"),
            (
                json!([line(1, 0, u32::MAX)]),
                "linux.uidMappings[0]: containerID 1 and size 4294967295 go beyond the largest id, 4294967294",
            ),
            (
                json!([line(0, 10, 5), line(5, 20, 5), line(9, 30, 1)]),
                "linux.uidMappings[2]: the range of containerID overlaps with that of line 1",
            ),
            (
                json!([line(0, 10, 5), line(5, 14, 1)]),
                "linux.uidMappings[1]: the range of hostID overlaps with that of line 0",
            ),
        ] {
            assert_eq!(maps(map).unwrap_err().to_string(), text);
        }
        let many: Vec<_> = (0..341).map(|n| line(n * 2, n * 2, 1)).collect();
        assert_eq!(
            maps(json!(many)).unwrap_err().to_string(),
            "linux.uidMappings: 341 lines, the kernel takes 340"
        );
    }

    #[test]
    fn clock_offsets_are_what_the_kernel_reads() {
        let with = |offsets: Value| {
            namespaces(json!({"namespaces": [{"type": "mount"}, {"type": "time"}], "timeOffsets": offsets}))
        };
        let both =
            with(json!({"monotonic": {"secs": -5, "nanosecs": 7}, "boottime": {"secs": 86400}})).unwrap();
        assert_eq!(both.time_offsets.as_deref(), Some("boottime 86400 0\nmonotonic -5 7\n"));
        assert_eq!(with(json!({})).unwrap().time_offsets, None);
        assert_eq!(
            with(json!({"realtime": {}})).unwrap_err().to_string(),
            "linux.timeOffsets.realtime: unknown clock (known are boottime and monotonic)"
        );
        assert_eq!(
            with(json!({"boottime": {"nanosecs": 1_000_000_000}})).unwrap_err().to_string(),
            "linux.timeOffsets.boottime.nanosecs: 1000000000 is a second or more"
        );
    }
}
