//! The mount options that have a meaning to the runtime, in one table, and the sorting of a mount's options
//! by it: what is not in it is an option of the file system. The names are those of
//! [mount(8)](https://man7.org/linux/man-pages/man8/mount.8.html); an `r` before the name of an attribute
//! makes it recursive (runtime-spec, "Linux mount options"). Every kernel that the runtime supports has all
//! of them.

use crate::error::{Error, Result};
use crate::sys::mount::{Attributes, Propagation, attr};

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is what happens anyway, or the mount API has no place for it. mount(2) ignores `silent`
    /// but for what it logs, and a file system that counts changes (`iversion`) does so unasked.
    Nothing,
    /// A bind mount, with or without the mounts below the source.
    Bind {
        /// With them.
        recursive: bool,
    },
    /// A change of the mount that is there.
    Remount,
    /// Sets an attribute.
    Set(u64, Reach),
    /// Clears an attribute.
    Clear(u64, Reach),
    /// Chooses the access-time mode.
    Atime(u64, Reach),
    /// Takes back the choice of this access-time mode. Without a choice a mount keeps the mode that it has, as mount(2) does it; of
    /// the mounts below, which have modes of their own, `mount_setattr(2)` lets it go back to the default.
    NotAtime(u64, Reach),
    /// A flag of the superblock, by which `FSCONFIG_SET_FLAG` knows it too. On a bind it has no effect, as in
    /// mount(2).
    Superblock,
    /// Sets the propagation.
    Propagation(Propagation, Reach),
    /// Copies what the mount hides into it first.
    CopyUp,
    /// Maps the owners of the files. It may have a value: crun's form of a map.
    IdMap(Reach),
    /// What becomes of a source that is a symbolic link (crun).
    Source(SourceLink),
    /// Mounts over a symbolic link at the destination instead of following it (crun).
    DestinationNoFollow,
}

impl Effect {
    /// Whether it is about a flag of mount(2), of one mount alone.
    fn is_flag(self) -> bool {
        match self {
            Set(_, reach) | Clear(_, reach) | Atime(_, reach) | NotAtime(_, reach) => reach == Mount,
            Superblock => true,
            _ => false,
        }
    }
}

/// What becomes of the source of a bind if it is a symbolic link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceLink {
    /// What it leads to is mounted.
    #[default]
    Followed,
    /// The link itself is mounted (`src-nofollow`).
    Mounted,
    /// A link of the same content is made at the destination (`copy-symlink`).
    Copied,
}

/// How far an option reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount alone.
    Mount,
    /// All mounts below it too.
    Tree,
}

use Effect::{
    Atime, Bind, Clear, CopyUp, DestinationNoFollow, IdMap, NotAtime, Nothing, Remount, Set, Source,
    Superblock,
};
use Reach::{Mount, Tree};

/// The table: one row an option, in the order of mount(8), opposites side by side.
const OPTIONS: &[(&str, Effect)] = &[
    ("defaults", Nothing),
    ("bind", Bind { recursive: false }),
    ("rbind", Bind { recursive: true }),
    ("remount", Remount),
    ("ro", Set(attr::RDONLY, Mount)),
    ("rw", Clear(attr::RDONLY, Mount)),
    ("nosuid", Set(attr::NOSUID, Mount)),
    ("suid", Clear(attr::NOSUID, Mount)),
    ("nodev", Set(attr::NODEV, Mount)),
    ("dev", Clear(attr::NODEV, Mount)),
    ("noexec", Set(attr::NOEXEC, Mount)),
    ("exec", Clear(attr::NOEXEC, Mount)),
    ("nosymfollow", Set(attr::NOSYMFOLLOW, Mount)),
    ("symfollow", Clear(attr::NOSYMFOLLOW, Mount)),
    ("nodiratime", Set(attr::NODIRATIME, Mount)),
    ("diratime", Clear(attr::NODIRATIME, Mount)),
    ("noatime", Atime(attr::NOATIME, Mount)),
    ("atime", NotAtime(attr::NOATIME, Mount)),
    ("strictatime", Atime(attr::STRICTATIME, Mount)),
    ("nostrictatime", NotAtime(attr::STRICTATIME, Mount)),
    ("relatime", Atime(attr::RELATIME, Mount)),
    ("norelatime", NotAtime(attr::RELATIME, Mount)),
    ("rro", Set(attr::RDONLY, Tree)),
    ("rrw", Clear(attr::RDONLY, Tree)),
    ("rnosuid", Set(attr::NOSUID, Tree)),
    ("rsuid", Clear(attr::NOSUID, Tree)),
    ("rnodev", Set(attr::NODEV, Tree)),
    ("rdev", Clear(attr::NODEV, Tree)),
    ("rnoexec", Set(attr::NOEXEC, Tree)),
    ("rexec", Clear(attr::NOEXEC, Tree)),
    ("rnosymfollow", Set(attr::NOSYMFOLLOW, Tree)),
    ("rsymfollow", Clear(attr::NOSYMFOLLOW, Tree)),
    ("rnodiratime", Set(attr::NODIRATIME, Tree)),
    ("rdiratime", Clear(attr::NODIRATIME, Tree)),
    ("rnoatime", Atime(attr::NOATIME, Tree)),
    ("ratime", NotAtime(attr::NOATIME, Tree)),
    ("rstrictatime", Atime(attr::STRICTATIME, Tree)),
    ("rnostrictatime", NotAtime(attr::STRICTATIME, Tree)),
    ("rrelatime", Atime(attr::RELATIME, Tree)),
    // The default can't be left without choosing another mode.
    ("rnorelatime", Nothing),
    ("sync", Superblock),
    ("async", Superblock),
    ("dirsync", Superblock),
    ("lazytime", Superblock),
    ("nolazytime", Superblock),
    ("mand", Superblock),
    ("nomand", Superblock),
    ("iversion", Nothing),
    ("noiversion", Nothing),
    ("silent", Nothing),
    ("loud", Nothing),
    ("private", Effect::Propagation(Propagation::Private, Mount)),
    ("rprivate", Effect::Propagation(Propagation::Private, Tree)),
    ("slave", Effect::Propagation(Propagation::Slave, Mount)),
    ("rslave", Effect::Propagation(Propagation::Slave, Tree)),
    ("shared", Effect::Propagation(Propagation::Shared, Mount)),
    ("rshared", Effect::Propagation(Propagation::Shared, Tree)),
    ("unbindable", Effect::Propagation(Propagation::Unbindable, Mount)),
    ("runbindable", Effect::Propagation(Propagation::Unbindable, Tree)),
    ("tmpcopyup", CopyUp),
    ("idmap", IdMap(Mount)),
    ("ridmap", IdMap(Tree)),
    ("src-nofollow", Source(SourceLink::Mounted)),
    ("copy-symlink", Source(SourceLink::Copied)),
    ("dest-nofollow", DestinationNoFollow),
];

/// The option of this name, under the name in the table, which lives as long as the program.
pub fn lookup(name: &str) -> Option<(&'static str, Effect)> {
    OPTIONS.iter().find(|(known, _)| *known == name).copied()
}

/// `idmap` or `ridmap` with a value.
fn id_map(piece: &str) -> Option<(&'static str, Effect)> {
    let (name, _) = piece.split_once('=')?;
    lookup(name).filter(|(_, effect)| matches!(effect, IdMap(_)))
}

/// The propagation that an option stands for: `rslave`. `linux.rootfsPropagation` takes the same words.
pub fn propagation(name: &str) -> Option<(Propagation, Reach)> {
    match lookup(name) {
        Some((_, Effect::Propagation(kind, reach))) => Some((kind, reach)),
        _ => None,
    }
}

/// The names of all options that are supported, for `features`.
pub fn known() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name)
}

/// An option of a file system and its value.
pub type Data = (String, Option<String>);

/// The option `idmap` or `ridmap` of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMapOption {
    /// `ridmap`
    pub recursive: bool,
    /// Its value, a map in crun's form.
    pub map: Option<String>,
    /// `mounts[3].options[1]`
    pub field: String,
}

/// The options of one mount, sorted by what they are about; later ones have won over earlier ones.
#[derive(Debug, Default)]
pub struct MountOptions {
    /// `bind` (false) or `rbind` (true).
    pub bind: Option<bool>,
    /// `remount`
    pub remount: bool,
    /// Whether there is any flag of mount(2) among them, set or cleared.
    pub names_flags: bool,
    /// Changes to the mount itself.
    pub attributes: Attributes,
    /// Changes to the mount and all mounts below it.
    pub recursive: Attributes,
    /// Propagation of the mount or (`true`) of all mounts below it too, in order.
    pub propagation: Vec<(Propagation, bool)>,
    /// Flags of the superblock, in order.
    pub flags: Vec<&'static str>,
    /// Field of the option `tmpcopyup`.
    pub copy_up: Option<String>,
    /// `idmap` or `ridmap`.
    pub id_map: Option<IdMapOption>,
    /// What becomes of a source that is a symbolic link, and the field that says so if it is not followed.
    pub source: (SourceLink, Option<String>),
    /// Field of the option `dest-nofollow`.
    pub no_follow: Option<String>,
    /// Options of the file system, in order.
    pub data: Vec<Data>,
    /// Field and text of each of them.
    unknown: Vec<(String, String)>,
}

impl MountOptions {
    /// Sorts the options of the mount `field`.
    pub fn new(options: &[String], field: &str) -> Result<MountOptions> {
        let mut all = MountOptions::default();
        for (i, option) in options.iter().enumerate() {
            let field = || format!("{field}.options[{i}]");
            for piece in pieces(option) {
                match lookup(piece).or_else(|| id_map(piece)) {
                    Some((name, effect)) => {
                        all.apply(name, effect, field)?;
                        if let (Some(option), Some((_, map))) = (&mut all.id_map, piece.split_once('=')) {
                            option.map = Some(map.to_owned());
                        }
                    }
                    None => {
                        all.unknown.push((field(), piece.to_owned()));
                        all.data.push(data(piece));
                    }
                }
            }
        }
        Ok(all)
    }

    fn apply(&mut self, name: &'static str, effect: Effect, field: impl Fn() -> String) -> Result<()> {
        self.names_flags |= effect.is_flag();
        match effect {
            Effect::Nothing => {}
            Effect::Bind { recursive } => self.bind = Some(recursive),
            Effect::Remount => self.remount = true,
            Effect::Set(bits, reach) => merge(self.of(reach), Attributes { set: bits, clear: 0 }),
            Effect::Clear(bits, reach) => merge(self.of(reach), Attributes { set: 0, clear: bits }),
            Effect::Atime(mode, reach) => merge(self.of(reach), Attributes { set: mode, clear: attr::ATIME }),
            Effect::NotAtime(mode, reach) => {
                let attributes = self.of(reach);
                let chosen = (attributes.clear & attr::ATIME != 0).then_some(attributes.set & attr::ATIME);
                // `noatime,nostrictatime` is still noatime.
                if chosen == Some(mode) {
                    attributes.set &= !attr::ATIME;
                    attributes.clear &= !attr::ATIME;
                }
                if reach == Reach::Tree && [None, Some(mode)].contains(&chosen) {
                    attributes.clear |= attr::ATIME;
                }
            }
            Effect::Superblock => self.flags.push(name),
            Effect::Propagation(kind, reach) => self.propagation.push((kind, reach == Reach::Tree)),
            Effect::CopyUp => self.copy_up = Some(field()),
            Effect::IdMap(reach) => {
                let recursive = reach == Reach::Tree;
                self.id_map = Some(IdMapOption { recursive, map: None, field: field() });
            }
            Effect::Source(link) if [SourceLink::Followed, link].contains(&self.source.0) => {
                self.source = (link, Some(field()));
            }
            Effect::Source(_) => {
                let error = Error::new("a link can't be both mounted and copied").field(field());
                return Err(error.hint("src-nofollow mounts it, copy-symlink copies it"));
            }
            Effect::DestinationNoFollow => self.no_follow = Some(field()),
        }
        Ok(())
    }

    fn of(&mut self, reach: Reach) -> &mut Attributes {
        match reach {
            Reach::Mount => &mut self.attributes,
            Reach::Tree => &mut self.recursive,
        }
    }

    /// Refuses options that only a file system can know, of which `what` is none.
    pub fn no_data(&self, what: &str) -> Result<()> {
        match self.unknown.first() {
            Some((field, text)) => Err(wrong(field, text, what)),
            None => Ok(()),
        }
    }

    /// The same for a bind mount: a word may be an attribute that is misspelt, but an option with a value can only be one of the file
    /// system, which mount(2) passes over.
    pub fn without_effect(&self, warnings: &mut Vec<String>) -> Result<()> {
        for (field, text) in &self.unknown {
            if !text.contains('=') {
                return Err(wrong(field, text, "a bind mount"));
            }
            warnings.push(format!("{field}: {text:?} has no effect on a bind mount"));
        }
        Ok(())
    }
}

fn wrong(field: &str, text: &str, what: &str) -> Error {
    Error::new(format!("{text:?} is not an option of {what}")).field(field)
}

/// Adds a later change to an earlier one.
pub fn merge(to: &mut Attributes, change: Attributes) {
    to.set = to.set & !change.clear | change.set;
    // The bits of the access-time mode stay cleared: the kernel takes a mode only together with all of them.
    to.clear = (to.clear | change.clear) & !(change.set & !attr::ATIME);
}

/// Attributes that a bind gets or loses by whether they are named, if any is; access times are another matter.
const FLAGS: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;

/// The change that leaves a mount with exactly the attributes that options name, as a remount by mount(2) does it. Its access-time mode
/// stays unless one is chosen.
pub fn exactly(named: Attributes) -> Attributes {
    let atime = match named.set & attr::NODIRATIME | named.clear & attr::ATIME {
        0 => 0,
        _ => attr::ATIME | attr::NODIRATIME,
    };
    Attributes { set: named.set, clear: (FLAGS | atime) & !(named.set & !attr::ATIME) }
}

/// The parts of an option that holds several, as the string of mount(2) does; commas inside double quotes, as
/// in a SELinux context, divide nothing.
fn pieces(option: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let divides = move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    option.split(divides).filter(|piece| !piece.is_empty())
}

/// An option of a file system, divided into name and value; the quotes around a value are not part of it.
fn data(option: &str) -> Data {
    match option.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.trim_matches('"').to_owned())),
        None => (option.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = OPTIONS.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPTIONS.len());
    }

    #[test]
    fn every_recursive_attribute_has_its_plain_twin() {
        for (name, effect) in OPTIONS {
            let plain = match *effect {
                Set(bits, Tree) => Set(bits, Mount),
                Clear(bits, Tree) => Clear(bits, Mount),
                Atime(mode, Tree) => Atime(mode, Mount),
                NotAtime(mode, Tree) => NotAtime(mode, Mount),
                Effect::Propagation(kind, Tree) => Effect::Propagation(kind, Mount),
                IdMap(Tree) => IdMap(Mount),
                _ => continue,
            };
            assert_eq!(lookup(&name[1..]).map(|(_, effect)| effect), Some(plain), "{name}");
        }
    }

    #[test]
    fn an_id_map_may_have_a_value() {
        let of = |option: &str| MountOptions::new(&[option.to_owned()], "mounts[0]").unwrap().id_map;
        let (recursive, field) = (true, "mounts[0].options[0]".to_owned());
        let map = Some("uids=0-1-1;gids=0-1-1".to_owned());
        assert_eq!(of("ro,ridmap=uids=0-1-1;gids=0-1-1,rw"), Some(IdMapOption { recursive, map, field }));
        assert_eq!(of("idmap").unwrap().map, None);
        assert_eq!(of("uid=1"), None);
    }

    #[test]
    fn later_attributes_win() {
        use attr::*;
        for (options, mount, tree) in [
            ("", (0, 0), (0, 0)),
            ("ro nosuid nodev noexec", (RDONLY | NOSUID | NODEV | NOEXEC, 0), (0, 0)),
            ("ro rw", (0, RDONLY), (0, 0)),
            ("rw ro", (RDONLY, 0), (0, 0)),
            ("rro rnosuid suid", (0, NOSUID), (RDONLY | NOSUID, 0)),
            ("noatime", (NOATIME, ATIME), (0, 0)),
            ("noatime strictatime", (STRICTATIME, ATIME), (0, 0)),
            ("noatime relatime", (0, ATIME), (0, 0)),
            ("noatime norelatime nostrictatime", (NOATIME, ATIME), (0, 0)),
            ("noatime atime", (0, 0), (0, 0)),
            ("relatime norelatime", (0, 0), (0, 0)),
            ("rnoatime ratime", (0, 0), (0, ATIME)),
            ("ratime", (0, 0), (0, ATIME)),
            ("nodiratime rdiratime", (NODIRATIME, 0), (0, NODIRATIME)),
            ("rnoatime nosymfollow", (NOSYMFOLLOW, 0), (NOATIME, ATIME)),
            ("defaults sync silent iversion", (0, 0), (0, 0)),
        ] {
            let words: Vec<_> = options.split_whitespace().map(str::to_owned).collect();
            let all = MountOptions::new(&words, "mounts[0]").unwrap();
            let bits = [all.attributes, all.recursive].map(|change| (change.set, change.clear));
            assert_eq!(bits, [mount, tree], "{options}");
        }
    }
}
