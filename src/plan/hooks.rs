//! Hooks: programs that config.json has run at the turning points of the container's life.

use crate::error::{Error, Result};
use oci_spec::runtime as oci;
use std::path::PathBuf;
use std::time::Duration;

/// The kinds of hooks, in the order in which they run.
pub const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// All hooks, each kind in the order of config.json. Where and when each runs: runtime-spec, config.md
/// "POSIX-platform Hooks".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Deprecated; runs before `create_runtime`, in the runtime's namespaces.
    pub prestart: Vec<Hook>,
    /// After the namespaces are there, before the root is changed; in the runtime's namespaces.
    pub create_runtime: Vec<Hook>,
    /// Likewise, in the container's namespaces.
    pub create_container: Vec<Hook>,
    /// Before the container's process is executed, in the container.
    pub start_container: Vec<Hook>,
    /// After the container's process was executed, in the runtime's namespaces.
    pub poststart: Vec<Hook>,
    /// After the container was deleted, in the runtime's namespaces.
    pub poststop: Vec<Hook>,
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program, absolute.
    pub path: PathBuf,
    /// All of its arguments, the first being its name for itself.
    pub args: Vec<String>,
    /// All of its environment; `None` is the runtime's own.
    pub env: Option<Vec<String>>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// `hooks.prestart[0]`
    pub field: String,
    /// `prestart hook #0`, as runc's errors have it.
    pub name: String,
}

impl Hooks {
    /// Checks the hooks of config.json.
    pub fn new(hooks: Option<&oci::Hooks>) -> Result<Hooks> {
        let Some(hooks) = hooks else { return Ok(Hooks::default()) };
        Ok(Hooks {
            #[allow(deprecated)]
            prestart: list(hooks.prestart(), "prestart")?,
            create_runtime: list(hooks.create_runtime(), "createRuntime")?,
            create_container: list(hooks.create_container(), "createContainer")?,
            start_container: list(hooks.start_container(), "startContainer")?,
            poststart: list(hooks.poststart(), "poststart")?,
            poststop: list(hooks.poststop(), "poststop")?,
        })
    }
}

fn list(hooks: &Option<Vec<oci::Hook>>, name: &str) -> Result<Vec<Hook>> {
    let hook = |(i, hook)| one(hook, format!("hooks.{name}[{i}]"), format!("{name} hook #{i}"));
    hooks.iter().flatten().enumerate().map(hook).collect()
}

fn one(hook: &oci::Hook, field: String, name: String) -> Result<Hook> {
    // "path (string, REQUIRED) [...] This value MUST be an absolute path."
    if !hook.path().is_absolute() {
        let error = Error::new(format!("{:?} is not an absolute path", hook.path()));
        return Err(error.field(format!("{field}.path")));
    }
    let nul = |text: &String| text.contains('\0');
    if hook.args().iter().flatten().chain(hook.env().iter().flatten()).any(nul) {
        return Err(Error::new("an argument or variable contains a NUL character").field(field));
    }
    if let Some(i) = hook.env().iter().flatten().position(|variable| !variable.contains('=')) {
        return Err(Error::new("not of the form NAME=VALUE").field(format!("{field}.env[{i}]")));
    }
    // "timeout (int, OPTIONAL) is the number of seconds before aborting the hook. If set, timeout MUST be
    // greater than zero."
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds @ 1..) => Some(Duration::from_secs(seconds)),
            _ => {
                let error = Error::new(format!("{seconds} is not greater than zero"));
                return Err(error.field(format!("{field}.timeout")));
            }
        },
    };
    // "args (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008 execv's argv."
    let args = match hook.args().as_deref() {
        None | Some([]) => vec![hook.path().to_string_lossy().into_owned()],
        Some(args) => args.to_vec(),
    };
    Ok(Hook { path: hook.path().clone(), args, env: hook.env().clone(), timeout, field, name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn hooks(json: Value) -> Result<Hooks> {
        Hooks::new(Some(&serde_json::from_value(json).unwrap()))
    }

    #[test]
    fn all_six_kinds() {
        let hook = |name: &str| json!([{"path": format!("/bin/{name}")}]);
        let hooks = hooks(json!({
            "prestart": hook("a"), "createRuntime": hook("b"), "createContainer": hook("c"),
            "startContainer": hook("d"), "poststart": hook("e"), "poststop": hook("f"),
        }))
        .unwrap();
        let kinds = [
            (&hooks.prestart, "hooks.prestart[0]", "/bin/a"),
            (&hooks.create_runtime, "hooks.createRuntime[0]", "/bin/b"),
            (&hooks.create_container, "hooks.createContainer[0]", "/bin/c"),
            (&hooks.start_container, "hooks.startContainer[0]", "/bin/d"),
            (&hooks.poststart, "hooks.poststart[0]", "/bin/e"),
            (&hooks.poststop, "hooks.poststop[0]", "/bin/f"),
        ];
        for (list, field, path) in kinds {
            let expected = Hook {
                path: path.into(),
                args: vec![path.into()],
                env: None,
                timeout: None,
                field: field.into(),
                name: format!("{} hook #0", &field["hooks.".len()..field.len() - "[0]".len()]),
            };
            assert_eq!(*list, [expected]);
        }
    }

    #[test]
    fn what_is_given_is_kept() {
        let hooks = hooks(json!({
            "prestart": [{"path": "/h", "args": ["name", "x"], "env": [], "timeout": 3}],
        }))
        .unwrap();
        let hook = &hooks.prestart[0];
        assert_eq!(hook.args, ["name", "x"]);
        assert_eq!(hook.env, Some(Vec::new()));
        assert_eq!(hook.timeout, Some(Duration::from_secs(3)));
        assert_eq!(Hooks::new(None).unwrap(), Hooks::default());
    }

    #[test]
    fn errors_name_the_field() {
        for (hook, text) in [
            (json!({"path": "h"}), "hooks.poststop[0].path: \"h\" is not an absolute path"),
            (json!({"path": "/h", "timeout": 0}), "hooks.poststop[0].timeout: 0 is not greater than zero"),
            (json!({"path": "/h", "timeout": -1}), "hooks.poststop[0].timeout: -1 is not greater than zero"),
            (
                json!({"path": "/h", "env": ["a\0"]}),
                "hooks.poststop[0]: an argument or variable contains a NUL character",
            ),
        ] {
            assert_eq!(hooks(json!({"poststop": [hook]})).unwrap_err().to_string(), text);
        }
    }
}
