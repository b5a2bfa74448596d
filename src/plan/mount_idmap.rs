//! Id-mapped mounts: on whose behalf the owners of a mount's files are translated
//! (runtime-spec, config.md, "uidMappings" of a mount and the options `idmap` and `ridmap`).

use super::mount_options::IdMapOption;
use super::namespaces::{self, IdMap, Namespaces};
use crate::error::{Context, Error, Result};
use crate::sys::ns::Ns;
use oci_spec::runtime::Mount;

/// How a mount is id-mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountIdMap {
    /// Whose maps translate the owners.
    pub users: Users,
    /// With all mounts below it (`ridmap`).
    pub recursive: bool,
}

/// The user namespace whose maps translate owners: an id that a file has in its file system is looked up as
/// an id inside, and the file belongs to the id outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// The one that the container joins.
    Joined,
    /// One that exists only for its maps. What the container's own new user namespace maps is mapped by one of
    /// these too: only the maps count, and the container's does not exist yet when its mounts are opened.
    Mapped {
        /// Map of users.
        uids: Vec<IdMap>,
        /// Map of groups.
        gids: Vec<IdMap>,
    },
}

/// What the maps of a mount can refer to.
#[derive(Debug, Clone, Copy)]
pub struct Owners<'a> {
    /// The container's namespaces.
    pub namespaces: &'a Namespaces,
    /// The runtime can mount in the namespaces that it is in; without that the kernel maps nothing.
    pub can_mount: bool,
}

impl MountIdMap {
    /// The map of a mount, from its `uidMappings` and `gidMappings`, from the value of the option in crun's form, or
    /// from the container's user namespace: "If they are not specified, the runtime MAY use the container's user
    /// namespace mapping, otherwise an error MUST be returned."
    pub fn new(
        mount: &Mount,
        option: Option<&IdMapOption>,
        owners: Owners,
        field: &str,
    ) -> Result<Option<MountIdMap>> {
        if option.is_none() && mount.uid_mappings().is_none() && mount.gid_mappings().is_none() {
            return Ok(None);
        }
        let uids = namespaces::id_map(mount.uid_mappings(), &format!("{field}.uidMappings"))?;
        let gids = namespaces::id_map(mount.gid_mappings(), &format!("{field}.gidMappings"))?;
        let given = !(uids.is_empty() && gids.is_empty());
        // Maps alone ask for it too: to leave them out would give the files to other users.
        let asked_by = match option {
            Some(option) => option.field.clone(),
            None if given => format!("{field}.uidMappings"),
            None => return Ok(None),
        };
        if !owners.can_mount {
            return Err(Error::new("id-mapped mounts are not possible without privileges")
                .field(asked_by)
                .hint("the kernel lets only those map owners who may mount on the host"));
        }
        let custom = option.and_then(|option| option.map.as_deref());
        let users = match (custom, given) {
            (Some(_), true) => {
                return Err(
                    Error::new("has a map of its own beside uidMappings and gidMappings").field(asked_by)
                );
            }
            (Some(text), false) => custom_maps(text, owners.namespaces).field(|| asked_by)?,
            (None, true) => {
                for (name, map, other) in [("uidMappings", &uids, "gid"), ("gidMappings", &gids, "uid")] {
                    if map.is_empty() {
                        let error = Error::new(format!("missing beside {other}Mappings"));
                        return Err(error.field(format!("{field}.{name}")));
                    }
                }
                Users::Mapped { uids, gids }
            }
            (None, false) => containers_own(owners.namespaces).field(|| asked_by)?,
        };
        Ok(Some(MountIdMap { users, recursive: option.is_some_and(|option| option.recursive) }))
    }
}

fn containers_own(namespaces: &Namespaces) -> Result<Users> {
    if namespaces.joins(Ns::User) {
        return Ok(Users::Joined);
    }
    if !namespaces.new.has(Ns::User) {
        return Err(Error::new("an id-mapped mount without a map")
            .hint("give the mount uidMappings and gidMappings, or the container a user namespace"));
    }
    Ok(Users::Mapped { uids: namespaces.uid_map.clone(), gids: namespaces.gid_map.clone() })
}

/// crun's form of maps in an option: `uids=0-1000-10#10-2000-5;gids=@0-0-10`. Each range is the first id in the file
/// system, the first id on the host and how many there are; after an `@` the second is an id of the container.
fn custom_maps(text: &str, namespaces: &Namespaces) -> Result<Users> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (map, own, ranges) = match part.split_once('=') {
            Some(("uids", ranges)) => (&mut uids, &namespaces.uid_map, ranges),
            Some(("gids", ranges)) => (&mut gids, &namespaces.gid_map, ranges),
            _ => return Err(Error::new(format!("{part:?} is neither uids=... nor gids=..."))),
        };
        for range in ranges.split('#').filter(|range| !range.is_empty()) {
            let line = custom_range(range, own)?;
            namespaces::check_line(line, map).doing(|| range.to_owned())?;
            map.push(line);
        }
    }
    if uids.is_empty() || gids.is_empty() {
        return Err(Error::new("a map needs both uids and gids"));
    }
    Ok(Users::Mapped { uids, gids })
}

fn custom_range(range: &str, own: &[IdMap]) -> Result<IdMap> {
    let (relative, numbers) = match range.strip_prefix('@') {
        Some(numbers) => (true, numbers),
        None => (false, range),
    };
    let wrong = || Error::new(format!("{range:?} is not three numbers with a - between them"));
    let numbers: Vec<u32> =
        numbers.split('-').map(|n| n.parse().map_err(|_| wrong())).collect::<Result<_>>()?;
    let [inside, outside, size] = numbers[..] else { return Err(wrong()) };
    if !relative {
        return Ok(IdMap { container: inside, host: outside, size });
    }
    let holds = |line: &&IdMap| {
        outside.checked_sub(line.container).is_some_and(|nth| nth < line.size && size <= line.size - nth)
    };
    let line = own.iter().find(holds).ok_or_else(|| {
        Error::new(format!(
            "{range:?}: no one line of the container's own map holds {size} ids from {outside} on"
        ))
    })?;
    Ok(IdMap { container: inside, host: line.host + (outside - line.container), size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::mount_options::MountOptions;
    use serde_json::{Value, json};

    fn own(kind: &str) -> Namespaces {
        let line = |container, host, size| IdMap { container, host, size };
        let mut namespaces = Namespaces::default();
        if kind == "new" {
            namespaces.new = namespaces.new.with(Ns::User);
            namespaces.uid_map = vec![line(0, 0, 1), line(1, 2, 1000)];
            namespaces.gid_map = vec![line(0, 5000, 100)];
        }
        if kind == "joined" {
            let field = "linux.namespaces[0].path".to_owned();
            namespaces.join.push(namespaces::Join { kind: Ns::User, path: "/proc/7/ns/user".into(), field });
        }
        namespaces
    }

    fn mapped(mount: &Value, namespaces: &Namespaces, can_mount: bool) -> Result<Option<MountIdMap>> {
        let mount: Mount = serde_json::from_value(mount.clone()).unwrap();
        let options = MountOptions::new(mount.options().as_deref().unwrap_or_default(), "mounts[1]").unwrap();
        let owners = Owners { namespaces, can_mount };
        MountIdMap::new(&mount, options.id_map.as_ref(), owners, "mounts[1]")
    }

    type Lines = Vec<(u32, u32, u32)>;

    fn maps(mount: &Value, kind: &str) -> (Lines, Lines, bool) {
        let map = mapped(mount, &own(kind), true).unwrap().unwrap();
        let lines = |map: &[IdMap]| map.iter().map(|line| (line.container, line.host, line.size)).collect();
        match &map.users {
            Users::Mapped { uids, gids } => (lines(uids), lines(gids), map.recursive),
            Users::Joined => panic!("joined"),
        }
    }

    #[test]
    fn where_the_map_comes_from() {
        let line = |first| json!([{"containerID": 0, "hostID": first, "size": 10}]);
        let with = |options: Value| json!({"destination": "/d", "options": options, "uidMappings": line(70), "gidMappings": line(80)});
        for (options, recursive) in [(json!([]), false), (json!(["idmap"]), false), (json!(["ridmap"]), true)]
        {
            // The container's own map does not matter then.
            for kind in ["", "new", "joined"] {
                assert_eq!(
                    maps(&with(options.clone()), kind),
                    (vec![(0, 70, 10)], vec![(0, 80, 10)], recursive)
                );
            }
        }
        let bare = json!({"destination": "/d", "options": ["ridmap", "idmap"]});
        assert_eq!(maps(&bare, "new"), (vec![(0, 0, 1), (1, 2, 1000)], vec![(0, 5000, 100)], false));
        assert_eq!(mapped(&bare, &own("joined"), true).unwrap().unwrap().users, Users::Joined);
        assert_eq!(mapped(&json!({"destination": "/d"}), &own("new"), false).unwrap(), None);
    }

    #[test]
    fn maps_in_the_option() {
        let with = |map: &str| json!({"destination": "/d", "options": [format!("ro,ridmap={map}")]});
        assert_eq!(
            maps(&with("uids=0-1-10#10-11-10;gids=0-100-10"), ""),
            (vec![(0, 1, 10), (10, 11, 10)], vec![(0, 100, 10)], true)
        );
        // The example of crun(1).
        assert_eq!(
            maps(&with("gids=@0-7-2;uids=@1-3-10"), "new"),
            (vec![(1, 4, 10)], vec![(0, 5007, 2)], true)
        );
        for (map, text) in [
            ("uids=0-1-10", "a map needs both uids and gids"),
            ("", "a map needs both uids and gids"),
            ("uids=0-1;gids=0-1-1", "\"0-1\" is not three numbers with a - between them"),
            ("uids=0-x-1;gids=0-1-1", "\"0-x-1\" is not three numbers with a - between them"),
            ("users=0-1-1", "\"users=0-1-1\" is neither uids=... nor gids=..."),
            ("uids=0-1-0;gids=0-1-1", "size is 0"),
            ("uids=0-1-5#4-9-5;gids=0-1-1", "the range of containerID overlaps with that of line 0"),
            (
                "uids=@0-995-7;gids=0-1-1",
                "\"@0-995-7\": no one line of the container's own map holds 7 ids from 995 on",
            ),
        ] {
            let error = mapped(&with(map), &own("new"), true).unwrap_err().to_string();
            assert!(error.contains("mounts[1].options[0]") && error.ends_with(text), "{error}");
        }
    }

    #[test]
    fn what_is_refused() {
        let line = json!([{"containerID": 0, "hostID": 1, "size": 10}]);
        for (mount, kind, can_mount, text) in [
            (
                json!({"options": ["idmap"]}),
                "",
                true,
                "mounts[1].options[0]: an id-mapped mount without a map (give the mount uidMappings and gidMappings, \
                 or the container a user namespace)",
            ),
            (
                json!({"options": ["idmap"]}),
                "new",
                false,
                "mounts[1].options[0]: id-mapped mounts are not possible without privileges (the kernel lets only \
                 those map owners who may mount on the host)",
            ),
            (json!({"uidMappings": line}), "", true, "mounts[1].gidMappings: missing beside uidMappings"),
            (json!({"gidMappings": line}), "", true, "mounts[1].uidMappings: missing beside gidMappings"),
            (
                json!({"uidMappings": [{"containerID": 0, "hostID": 1, "size": 0}], "gidMappings": line}),
                "",
                true,
                "mounts[1].uidMappings[0]: size is 0",
            ),
            (
                json!({"uidMappings": line, "gidMappings": line, "options": ["ro", "idmap=uids=0-1-1;gids=0-1-1"]}),
                "",
                true,
                "mounts[1].options[1]: has a map of its own beside uidMappings and gidMappings",
            ),
        ] {
            let mut mount = mount;
            mount["destination"] = json!("/d");
            assert_eq!(mapped(&mount, &own(kind), can_mount).unwrap_err().to_string(), text);
        }
    }
}
