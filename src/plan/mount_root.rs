//! Mounts that name the container's root by its path on the host. In the mount namespace of a container that is being made this path
//! leads through the mounts that are there already; callers of runc build trees of mounts that way.

use super::mounts::lexical;
use std::path::{Path, PathBuf};

/// A path of the host that lies below `root`, relative to it. Below `/` is everything, and the host's: there is no telling.
pub fn below(path: &Path, root: &Path) -> Option<PathBuf> {
    let root = lexical(root);
    let inside = lexical(path).strip_prefix(&root).ok()?.to_owned();
    root.parent().map(|_| inside)
}

/// The source of a bind, relative to the root, if mounts with the destinations `before` put something at it, above it or below.
pub fn made_before<'a>(
    source: &Path,
    root: &Path,
    before: impl Iterator<Item = &'a Path>,
) -> Option<PathBuf> {
    let inside = below(source, root)?;
    let mut before = before.map(lexical);
    before.any(|there| inside.starts_with(&there) || there.starts_with(&inside)).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_root() {
        let root = Path::new("/b/./rootfs");
        for (path, inside) in [
            ("/b/rootfs/a/b", Some("a/b")),
            ("/b/x/../rootfs/a", Some("a")),
            ("/b/rootfs", Some("")),
            ("/b/rootfs/../x", None),
            ("/b/rootfs2/a", None),
            ("rootfs/a", None),
        ] {
            assert_eq!(below(Path::new(path), root).as_deref(), inside.map(Path::new), "{path}");
        }
        assert_eq!(below(Path::new("/dev/fuse"), Path::new("/")), None);
    }

    #[test]
    fn what_earlier_mounts_have_a_part_in() {
        let root = Path::new("/b/rootfs");
        for (source, before, inside) in [
            ("/b/rootfs/mnt/x", "mnt", Some("mnt/x")),
            ("/b/rootfs/mnt", "mnt", Some("mnt")),
            ("/b/rootfs/mnt", "mnt/x/../y", Some("mnt")),
            ("/b/rootfs/mnt", "mn", None),
            ("/b/rootfs/mnt/x", "mnt/y", None),
            ("/srv/mnt", "mnt", None),
        ] {
            let found =
                made_before(Path::new(source), root, [Path::new("proc"), Path::new(before)].into_iter());
            assert_eq!(found.as_deref(), inside.map(Path::new), "{source}");
        }
    }
}
