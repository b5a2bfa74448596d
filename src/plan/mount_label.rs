//! The SELinux label of a container's file systems: `linux.mountLabel`.

use super::mount_options::Data;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// The SELinux label of new file systems.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// The option by which file systems take it, one of [`CONTEXTS`].
    pub option: &'a str,
    /// `system_u:object_r:container_file_t:s0:c1,c2`
    pub text: &'a str,
}

/// What a label can be given for ([mount(8)](https://man7.org/linux/man-pages/man8/mount.8.html)): the file system and all its
/// files; itself; those of its files that have none; its root.
const CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// crun's annotation for what the label of the mounts is given for.
pub const CONTEXT_ANNOTATION: &str = "run.oci.mount_context_type";

impl<'a> Label<'a> {
    /// "mountLabel (string, OPTIONAL) will set the Selinux context for the mounts in the container."
    pub fn new(text: Option<&'a str>, annotations: &'a BTreeMap<String, String>) -> Result<Option<Self>> {
        let option = annotations.get(CONTEXT_ANNOTATION).map_or("context", String::as_str);
        if !CONTEXTS.contains(&option) {
            return Err(Error::new(format!("{option:?} is none of {}", CONTEXTS.join(", ")))
                .field(format!("annotations[\"{CONTEXT_ANNOTATION}\"]")));
        }
        match text {
            None | Some("") => Ok(None),
            Some(text) if text.contains(char::is_control) => {
                Err(Error::new("contains a control character").field("linux.mountLabel"))
            }
            Some(text) => Ok(Some(Label { option, text })),
        }
    }

    /// As an option of a new file system.
    pub fn option(self) -> Data {
        (self.option.to_owned(), Some(self.text.to_owned()))
    }

    /// As an option of a new file system, unless it has a label of its own; what comes back is for the root of one that takes none.
    pub fn add_to(self, data: &mut Vec<Data>, fs: &str) -> Option<String> {
        let given = data.iter().any(|(key, _)| CONTEXTS.contains(&key.as_str()));
        match fs {
            // The policy labels what is in there.
            "proc" | "sysfs" => return None,
            // It is as old as its IPC namespace, which is too old for options.
            "mqueue" => return Some(self.text.to_owned()),
            _ if given => {}
            _ => data.push(self.option()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::mount_idmap::Owners;
    use crate::plan::mounts::{MountKind, Scope, plan};
    use crate::plan::namespaces::Namespaces;
    use oci_spec::runtime::Mount;
    use serde_json::{Value, json};
    use std::path::Path;

    #[test]
    fn new_file_systems_get_the_label() {
        let labelled = |annotations: Value, fs: &str, options: Value| {
            let annotations = serde_json::from_value(annotations).unwrap();
            let mount = json!([{"destination": "/d", "type": fs, "source": "/s", "options": options}]);
            let mounts: Vec<Mount> = serde_json::from_value(mount).unwrap();
            let owners = Owners { namespaces: &Namespaces::default(), can_mount: true };
            let label = Label::new(Some("a:b:c0,c1"), &annotations)?;
            let scope =
                Scope { bundle: Path::new("/bundle"), root: Path::new("/bundle/rootfs"), owners, label };
            let step = plan(&mounts, scope, &mut Vec::new())?.remove(0);
            Ok::<_, Error>(match step.kind {
                MountKind::New { data, .. } => {
                    data.into_iter().map(|(k, v)| format!("{k}={}", v.unwrap())).collect()
                }
                _ => Vec::new(),
            })
        };
        let kind = |name: &str| json!({CONTEXT_ANNOTATION: name});
        for (annotations, fs, options, expected) in [
            (json!({}), "tmpfs", json!(["mode=700"]), vec!["mode=700", "context=a:b:c0,c1"]),
            (json!({}), "devpts", json!([]), vec!["context=a:b:c0,c1"]),
            (kind("rootcontext"), "ext4", json!([]), vec!["rootcontext=a:b:c0,c1"]),
            (json!({}), "tmpfs", json!(["fscontext=x"]), vec!["fscontext=x"]),
            (json!({}), "proc", json!([]), vec![]),
            (json!({}), "sysfs", json!([]), vec![]),
            (json!({}), "mqueue", json!([]), vec![]),
            (json!({}), "none", json!(["bind"]), vec![]),
        ] {
            assert_eq!(labelled(annotations, fs, options).unwrap(), expected, "{fs}");
        }
        assert_eq!(
            labelled(kind("label"), "tmpfs", json!([])).unwrap_err().to_string(),
            "annotations[\"run.oci.mount_context_type\"]: \"label\" is none of context, fscontext, defcontext, rootcontext"
        );
        assert!(Label::new(Some(""), &BTreeMap::new()).unwrap().is_none());
    }
}
