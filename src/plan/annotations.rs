//! crun's annotations, which engines set whatever the runtime is. Those of systemd units are in `cgroup/systemd`.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// What the names of crun's annotations begin with.
pub const PREFIX: &str = "run.oci.";

/// Keep the supplementary groups of the caller; Podman's `--group-add keep-groups`.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// The program that a container is to be run by, such as a virtual machine, instead of the kernel.
const HANDLER: &str = "run.oci.handler";

/// Those that have an effect, here or elsewhere in the plan.
const KNOWN: [&str; 4] = [
    KEEP_GROUPS,
    super::mount_label::CONTEXT_ANNOTATION,
    "run.oci.systemd.subgroup",
    "run.oci.systemd.force_cgroup_v1",
];

/// "Implementations [...] MUST NOT generate an error if they encounter an unknown annotation key", but who asked crun for something is
/// told that it does not happen; and a container that was to be kept in a virtual machine must not run without.
pub fn check(annotations: &BTreeMap<String, String>, warnings: &mut Vec<String>) -> Result<()> {
    for (name, value) in annotations.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        if name == HANDLER && !value.is_empty() {
            return Err(
                Error::new(format!("there is no handler {value:?}")).field(format!("annotations[{name:?}]"))
            );
        }
        if !KNOWN.contains(&name.as_str()) && name != HANDLER {
            warnings.push(format!("annotations[{name:?}] has no effect"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::json;

    #[test]
    fn what_crun_would_do_and_does_not_happen_is_told() {
        let told = |given| {
            let mut warnings = Vec::new();
            check(&serde_json::from_value(given).unwrap(), &mut warnings).map(|()| warnings)
        };
        let harmless =
            json!({"run.oci.keep_original_groups": "1", "run.oci.handler": "", "com.example": "x"});
        assert_eq!(told(harmless).unwrap(), Vec::<String>::new());
        let vain = told(json!({"run.oci.delegate-cgroup": "below"})).unwrap();
        assert_eq!(vain, ["annotations[\"run.oci.delegate-cgroup\"] has no effect"]);
        let error = told(json!({"run.oci.handler": "krun"})).unwrap_err().to_string();
        assert_eq!(error, "annotations[\"run.oci.handler\"]: there is no handler \"krun\"");
    }
}
