//! Kernel parameters: only those that belong to a namespace which the container has; any other would change
//! the host.

use super::namespaces::Namespaces;
use crate::error::{Context, Error, Result};
use crate::sys::ns::Ns;
use oci_spec::runtime::Linux;

/// One kernel parameter to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Its path below `/proc/sys`: `net/ipv4/ip_forward`.
    pub path: String,
    /// What to write: one line, without its newline.
    pub value: String,
    /// The kind of namespace that it belongs to.
    pub namespace: Ns,
    /// `linux.sysctl.net.ipv4.ip_forward`
    pub field: String,
}

/// Parameters of `kernel` that belong to an IPC namespace
/// ([ipc_namespaces(7)](https://man7.org/linux/man-pages/man7/ipc_namespaces.7.html)).
const IPC_PARAMETERS: [&str; 8] =
    ["msgmax", "msgmnb", "msgmni", "sem", "shm_rmid_forced", "shmall", "shmmax", "shmmni"];

/// Checks `linux.sysctl`, "a set of key value pairs [...] set for the container"; in the order of their
/// names, as a JSON object has none.
pub fn plan(linux: &Linux, namespaces: &Namespaces, has_domainname: bool) -> Result<Vec<Sysctl>> {
    let mut given: Vec<_> = linux.sysctl().iter().flatten().collect();
    given.sort_unstable();
    let sysctl = |(name, value): (&String, &String)| {
        let field = format!("linux.sysctl.{name}");
        one(name, value, namespaces, has_domainname)
            .map(|(path, value, namespace)| Sysctl { path, value, namespace, field: field.clone() })
            .field(|| field)
    };
    given.into_iter().map(sysctl).collect()
}

/// Path, value and namespace of one parameter.
fn one(
    name: &str,
    value: &str,
    namespaces: &Namespaces,
    has_domainname: bool,
) -> Result<(String, String, Ns)> {
    let path = path(name)?;
    let namespace = check_namespace(&path, namespaces, has_domainname)?;
    Ok((path, line(value)?.to_owned(), namespace))
}

/// The path of a parameter. Both forms of sysctl(8) are known: where a dot comes first, dots separate and a
/// slash stands for a dot within a name, as in that of a network interface; where a slash comes first, it is
/// as it is.
fn path(name: &str) -> Result<String> {
    let slashes_separate = name.find(['.', '/']).is_some_and(|first| name[first..].starts_with('/'));
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    let path: String = if slashes_separate { name.to_owned() } else { name.chars().map(swap).collect() };
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.split('/').any(bad) || path.contains(|c: char| c.is_control() || c.is_whitespace() || c == '=') {
        return Err(Error::new("not the name of a kernel parameter: it contains an invalid path")
            .hint("such as net.ipv4.ip_forward"));
    }
    Ok(path)
}

/// A value of one line: a second one could be a second value to the kernel (CVE-2022-0811 came in this way).
fn line(value: &str) -> Result<&str> {
    match value.contains(['\n', '\0']) {
        true => Err(Error::new(format!("the value {value:?} is more than one line"))),
        false => Ok(value),
    }
}

fn check_namespace(path: &str, namespaces: &Namespaces, has_domainname: bool) -> Result<Ns> {
    let kind = match path.split_once('/') {
        Some(("kernel", "hostname")) => {
            return Err(Error::new("the host name has a field of its own").hint("use hostname"));
        }
        Some(("kernel", "domainname")) if has_domainname => {
            return Err(Error::new("contradicts the field domainname"));
        }
        Some(("kernel", "domainname")) => Ns::Uts,
        Some(("kernel", name)) if IPC_PARAMETERS.contains(&name) => Ns::Ipc,
        Some(("fs", name)) if name.starts_with("mqueue/") => Ns::Ipc,
        Some(("net", _)) => Ns::Network,
        _ => return Err(Error::new("belongs to no namespace: it would change the host")),
    };
    match namespaces.contains(kind) {
        true => Ok(kind),
        false => Err(Error::new(format!(
            "the container has no {} namespace of its own: it would change the host",
            kind.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(name: &str, value: &str, kinds: &[Ns]) -> Result<Vec<Sysctl>> {
        let linux = serde_json::from_value(json!({"sysctl": {name: value}})).unwrap();
        let new = kinds.iter().fold(Default::default(), |set: crate::sys::ns::NsSet, kind| set.with(*kind));
        plan(&linux, &Namespaces { new, ..Namespaces::default() }, false)
    }

    #[test]
    fn both_forms_of_a_name() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
            ("net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ] {
            let plan = of(name, "1 2", &[Ns::Network]).unwrap();
            let field = format!("linux.sysctl.{name}");
            let namespace = Ns::Network;
            assert_eq!(plan, [Sysctl { path: path.into(), value: "1 2".into(), namespace, field }]);
        }
    }

    #[test]
    fn only_with_the_namespace() {
        for (name, kind) in [
            ("net.core.somaxconn", Ns::Network),
            ("kernel.sem", Ns::Ipc),
            ("kernel/shmmax", Ns::Ipc),
            ("fs.mqueue.msg_max", Ns::Ipc),
            ("kernel.domainname", Ns::Uts),
        ] {
            assert!(of(name, "1", &[kind]).is_ok(), "{name}");
            assert_eq!(
                of(name, "1", &[]).unwrap_err().to_string(),
                format!(
                    "linux.sysctl.{name}: the container has no {} namespace of its own: it would change the host",
                    kind.name()
                )
            );
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let host = "belongs to no namespace: it would change the host";
        let name =
            "not the name of a kernel parameter: it contains an invalid path (such as net.ipv4.ip_forward)";
        for (key, value, text) in [
            ("kernel.core_pattern", "x", host),
            ("kernel.shmmax.x", "x", host),
            ("vm.overcommit_memory", "1", host),
            ("fs.mqueue", "1", host),
            ("net", "1", host),
            ("kernel.hostname", "x", "the host name has a field of its own (use hostname)"),
            ("net/../kernel/core_pattern", "x", name),
            ("net.//.kernel.core_pattern", "x", name),
            ("net..ipv4", "x", name),
            ("/net/core/x", "x", name),
            ("", "x", name),
            ("net.a=1+kernel.core_pattern", "x", name),
            ("net.a\nb", "x", name),
            ("net.core.x", "1\n2", "the value \"1\\n2\" is more than one line"),
        ] {
            let error = of(key, value, &Ns::ALL).unwrap_err().to_string();
            assert_eq!(error, format!("linux.sysctl.{}: {text}", key.replace('\n', " ")));
        }
    }
}
