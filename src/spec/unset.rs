//! Objects without a value in them, by which programs written in Go ask for nothing. The types of oci-spec take them for a value, or for
//! an error.

use super::{Spec, parse_record};
use crate::error::Result;
use serde_json::Value;

impl Spec {
    /// `pids` without a limit asks for nothing, as in runc. To the type of oci-spec it is a limit of 0, which asks for room for nobody.
    pub(super) fn leave_out_missing_limit(&mut self, json: &[u8]) -> Result<()> {
        let resources = self.linux.as_mut().and_then(|linux| linux.resources_mut().as_mut());
        if let Some(resources) = resources
            && resources.pids().is_some_and(|pids| pids.limit() == 0)
            && parse_record::<Value>(json)?.pointer("/linux/resources/pids/limit").is_none()
        {
            resources.set_pids(None);
        }
        Ok(())
    }
}

/// Parses a config.json; one with an empty `linux.memoryPolicy`, as if it had none. What has been parsed comes along, for the record.
pub fn parse(json: Vec<u8>) -> Result<(Spec, Vec<u8>)> {
    let error = match Spec::parse(&json) {
        Err(error) if error.is_about("linux.memoryPolicy") => error,
        other => return Ok((other?, json)),
    };
    if let Some(without) = without_policy(&json) {
        return Ok((Spec::parse(&without)?, without));
    }
    // Callers of runc know the error by these words.
    let flag = error.is_about("linux.memoryPolicy.flags");
    Err(error.hint(format!("invalid memory policy {}", if flag { "flag" } else { "mode" })))
}

fn without_policy(json: &[u8]) -> Option<Vec<u8>> {
    let mut config: Value = parse_record(json).ok()?;
    let policy = config.get_mut("linux")?.as_object_mut()?.remove("memoryPolicy")?;
    policy.as_object()?.is_empty().then(|| config.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_memory_policy_is_none() {
        let parsed = |policy: &str| {
            parse(format!(r#"{{"ociVersion": "1.3.0", "linux": {{"memoryPolicy": {policy}}}}}"#).into_bytes())
        };
        let (spec, record) = parsed("{}").unwrap();
        assert!(spec.linux.unwrap().memory_policy().is_none());
        assert!(parse_record::<Spec>(&record).unwrap().linux.unwrap().memory_policy().is_none());
        for (policy, words) in [
            (r#"{"nodes": "0-7"}"#, "(invalid memory policy mode)"),
            (r#"{"mode": "INTERLEAVE"}"#, "(invalid memory policy mode)"),
            (r#"{"mode": "MPOL_BIND", "flags": ["bad"]}"#, "(invalid memory policy flag)"),
        ] {
            let error = parsed(policy).unwrap_err().to_string();
            assert!(error.starts_with("linux.memoryPolicy") && error.ends_with(words), "{error}");
        }
    }
}
