//! `/proc/PID/mountinfo` (proc(5)), as the tests read it.

/// One line of mountinfo.
#[derive(Debug, Clone)]
pub struct MountEntry {
    /// The directory of the file system that is mounted.
    pub root: String,
    /// Where it is mounted.
    pub point: String,
    /// Options of the mount: `ro`, `nosuid`, ...
    pub options: Vec<String>,
    /// `shared:N`, `master:N`, `unbindable`.
    pub propagation: Vec<String>,
    pub fs_type: String,
    pub source: String,
    /// Options of the file system.
    pub super_options: Vec<String>,
}

impl MountEntry {
    fn parse(line: &str) -> Option<Self> {
        let (mount, fs) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let fs: Vec<&str> = fs.split(' ').collect();
        let list = |text: &str| text.split(',').map(String::from).collect();
        Some(MountEntry {
            root: (*mount.get(3)?).into(),
            point: (*mount.get(4)?).into(),
            options: list(mount.get(5)?),
            propagation: mount[6..].iter().map(|field| (*field).into()).collect(),
            fs_type: (*fs.first()?).into(),
            source: (*fs.get(1)?).into(),
            super_options: list(fs.get(2)?),
        })
    }

    /// Whether the mount has this option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|have| have == option)
    }

    /// Whether the file system has this option.
    pub fn fs_has(&self, option: &str) -> bool {
        self.super_options.iter().any(|have| have == option)
    }

    /// Whether the propagation fields hold one of this kind: `shared`, `master`, `unbindable`.
    pub fn propagates(&self, kind: &str) -> bool {
        self.propagation.iter().any(|field| field.split(':').next() == Some(kind))
    }

    /// Neither shared nor a slave nor unbindable.
    pub fn is_private(&self) -> bool {
        self.propagation.is_empty()
    }
}

/// All mounts of a mountinfo text, in its order; other lines are passed over.
pub fn mounts(text: &str) -> Vec<MountEntry> {
    text.lines().filter_map(MountEntry::parse).collect()
}

impl super::Output {
    /// The topmost mount at `point` in the mountinfo that the container printed.
    #[track_caller]
    pub fn mount_at(&self, point: &str) -> MountEntry {
        let found = mounts(&self.stdout).into_iter().rfind(|mount| mount.point == point);
        found.unwrap_or_else(|| panic!("no mount at {point}: {self}"))
    }
}
