//! Settings of the host.

use std::fs;
use std::path::PathBuf;

/// A file of the kernel's that a test writes to; dropping it writes once more, and all is as it was.
pub struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    /// The file, and what to write in the end.
    pub fn new(path: impl Into<PathBuf>, before: impl Into<String>) -> Self {
        Setting { path: path.into(), before: before.into() }
    }

    pub fn write(&self, value: &str) {
        fs::write(&self.path, value).unwrap();
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, &self.before);
    }
}
