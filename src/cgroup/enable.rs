//! Giving the cgroup its controllers, in cgroup v2: every cgroup above it, from the root down, has to pass them on.

use super::{Cgroup, Hierarchy, file};
use crate::error::{Error, Result};
use crate::plan::cgroup::Write;
use crate::sys::{CallError, Errno};
use std::collections::BTreeSet;
use std::path::Path;

/// What statistics and later limits need. A new cgroup with these has been given controllers by whoever made the one above it.
const USUAL: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

impl Cgroup {
    /// Makes sure of the controllers that the writes need. Where the usual ones are missing too, nobody has cared for the cgroups
    /// further up: then it tries to get all that the host has.
    pub(super) fn enable(&self, hierarchy: &Hierarchy, writes: &[Write]) -> Result<()> {
        let (mount, dir) = (&hierarchy.mount, &hierarchy.dir);
        let present = controllers(dir)?;
        // The files of "cgroup" belong to no controller.
        let needed: Vec<&Write> = writes
            .iter()
            .filter(|write| write.controller != "cgroup" && !present.contains(write.controller.as_ref()))
            .collect();
        if needed.is_empty() && USUAL.iter().all(|name| present.contains(*name)) {
            return Ok(());
        }
        let offered = controllers(mount)?;
        let wanted: Vec<&str> = offered.difference(&present).map(String::as_str).collect();
        if let Some(write) = needed.iter().find(|write| !offered.contains(write.controller.as_ref())) {
            let what = format!(
                "the requested cgroup controller `{}` is not available, of version 2",
                write.controller
            );
            let hint = "the kernel may lack it, or have it on a hierarchy of cgroup v1";
            return Err(Error::new(what).field(write.field.as_str()).hint(hint));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut refused = Vec::new();
        let mut above: Vec<&Path> =
            dir.ancestors().skip(1).take_while(|dir| dir.starts_with(mount)).collect();
        above.reverse();
        for dir in above {
            pass_on(dir, &wanted, &mut refused);
        }
        let kind = file::read(&dir.join("cgroup.type"))?;
        if kind != "domain" {
            return Err(Error::new(format!(
                "the cgroup is in a threaded subtree: the type of {dir:?} is {kind:?}"
            ))
            .field("linux.cgroupsPath"));
        }
        if needed.is_empty() {
            return Ok(());
        }
        let present = controllers(dir)?;
        match needed.into_iter().find(|write| !present.contains(write.controller.as_ref())) {
            Some(write) => Err(not_passed_on(write, refused, self.rootless)),
            None => Ok(()),
        }
    }
}

fn controllers(dir: &Path) -> std::result::Result<BTreeSet<String>, CallError> {
    Ok(file::read(&dir.join("cgroup.controllers"))?.split_whitespace().map(str::to_owned).collect())
}

/// Has a cgroup pass controllers on to those below it; collects what goes wrong, which matters only if the container needs it.
fn pass_on(dir: &Path, wanted: &[&str], refused: &mut Vec<CallError>) {
    let path = dir.join("cgroup.subtree_control");
    let all: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    // The kernel refuses it to a cgroup with processes, but for cpu, cpuset and pids: these it passes on to threads only, and all cgroups
    // below become a threaded subtree, which takes no container, not even one without limits.
    if has_processes(dir) {
        let call = format!("write({path:?}, {:?})", all.join(" "));
        refused.push(CallError { call, errno: Errno::EBUSY });
        return;
    }
    let Err(error) = file::write(&path, &all.join(" ")) else { return };
    // One that is refused takes the others with it; a file that can't be opened refuses them all.
    let each = if matches!(error.errno, Errno::EACCES | Errno::EROFS) { &[] } else { all.as_slice() };
    refused.push(error);
    refused.extend(each.iter().filter_map(|one| file::write(&path, one).err()));
}

/// Whether a cgroup has processes of its own. The root of all may have them; it is the one without a type.
fn has_processes(dir: &Path) -> bool {
    file::read(&dir.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
        && dir.join("cgroup.type").exists()
}

fn not_passed_on(write: &Write, refused: Vec<CallError>, rootless: bool) -> Error {
    let names = ['"', ' '].map(|end| format!("+{}{end}", write.controller));
    let cause = refused.into_iter().rfind(|error| names.iter().any(|name| error.call.contains(name)));
    let hint = match cause.as_ref().map(|error| error.errno) {
        Some(Errno::EBUSY) => {
            "that cgroup has processes of its own, so that cgroup v2 lets it pass on nothing"
        }
        _ if rootless => {
            "`systemctl edit user@.service`, with Delegate=cpu cpuset io memory pids below [Service], delegates controllers to users"
        }
        _ => "a cgroup on the way doesn't pass the controller on",
    };
    let what = format!("the container's cgroup can't have controller {:?}", write.controller);
    match cause {
        Some(cause) => Error::from(cause).doing(what).field(write.field.as_str()).hint(hint),
        None => Error::new(what).field(write.field.as_str()).hint(hint),
    }
}
