//! What `report.sh` prints in a container.

use crate::harness::{MountEntry, mounts};
use std::collections::BTreeMap;

/// The program of the container: the text of the shell script.
pub const SCRIPT: &str = include_str!("report.sh");

/// Its output, by section.
pub struct Report(BTreeMap<String, String>);

impl Report {
    /// Parses what came out of the container, through a terminal or not.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let text = text.replace('\r', "");
        let mut sections = BTreeMap::new();
        for part in text.split("=== ").skip(1) {
            let (name, body) = part.split_once('\n').unwrap_or((part, ""));
            sections.insert(name.to_owned(), body.to_owned());
        }
        assert!(sections.contains_key("end"), "the report is cut off: {text}");
        Report(sections)
    }

    #[track_caller]
    pub fn section(&self, name: &str) -> &str {
        self.0[name].trim_end()
    }

    /// The rest of the line that starts with `key`, its words separated by one space.
    #[track_caller]
    pub fn line(&self, section: &str, key: &str) -> String {
        let found = self.find(section, key);
        found.unwrap_or_else(|| panic!("no line starts with {key:?} in {section}: {}", self.section(section)))
    }

    /// The same where there may be no such line.
    pub fn find(&self, section: &str, key: &str) -> Option<String> {
        let rest = self.section(section).lines().find_map(|line| {
            line.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        })?;
        Some(rest.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Whether the section has this line.
    pub fn has(&self, section: &str, line: &str) -> bool {
        self.section(section).lines().any(|have| have == line)
    }

    /// The topmost mount at a path, if there is one.
    pub fn mount_at(&self, path: &str) -> Option<MountEntry> {
        mounts(self.section("mountinfo")).into_iter().rfind(|mount| mount.point == path)
    }
}
