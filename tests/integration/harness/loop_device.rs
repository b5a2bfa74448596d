//! A block device of the test's own.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device of 16 MiB; dropping it gives it back.
pub struct LoopDevice {
    pub path: PathBuf,
    pub major: u64,
    pub minor: u64,
}

impl LoopDevice {
    /// One over a new file.
    pub fn new(file: &Path) -> Self {
        File::create_new(file).unwrap().set_len(16 << 20).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().unwrap();
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let node = fs::metadata(&path).unwrap();
        assert!(node.file_type().is_block_device(), "{}", path.display());
        let device = node.rdev();
        LoopDevice { path, major: nix::sys::stat::major(device), minor: nix::sys::stat::minor(device) }
    }

    /// `7:0`
    pub fn number(&self) -> String {
        format!("{}:{}", self.major, self.minor)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}
