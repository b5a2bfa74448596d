//! `exec`

use crate::cgroup::SubCgroup;
use crate::cli::Exec;
use crate::container::{self, Container, ExecOptions};
use crate::error::{Error, Result};
use crate::spec::{Capabilities, Process};
use oci_spec::runtime::User;

/// Runs a further program in a container; attached, it takes over its exit code.
pub fn exec(container: &Container, args: Exec) -> Result<u8> {
    let spec = container.spec()?;
    let process = match &args.process {
        Some(path) => Process::read(path)?,
        None => from_flags(spec.process.clone().unwrap_or_default(), &args)?,
    };
    let options = ExecOptions {
        process,
        pid_file: args.pid_file,
        console_socket: args.console_socket,
        pidfd_socket: args.pidfd_socket,
        sub_cgroups: args.cgroup.iter().map(|text| SubCgroup::parse(text)).collect::<Result<_>>()?,
        preserve_fds: args.preserve_fds,
        detach: args.detach,
        ignore_paused: args.ignore_paused,
    };
    let exit = container::exec(container, spec, options)?;
    Ok(exit.map_or(0, |exit| exit.code()))
}

/// The container's own process, with what the command line says instead.
fn from_flags(mut process: Process, args: &Exec) -> Result<Process> {
    if args.args.is_empty() {
        return Err(Error::new("process args cannot be empty").hint("name a program, or give --process"));
    }
    process.args.clone_from(&args.args);
    process.terminal = args.tty;
    if !args.tty {
        process.console_size = None;
    }
    process.env.extend(args.env.iter().cloned());
    if let Some(cwd) = &args.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = &args.user {
        set_user(&mut process.user, user)?;
    }
    let mut groups = process.user.additional_gids().clone().unwrap_or_default();
    groups.extend(&args.additional_gids);
    process.user.set_additional_gids(Some(groups));
    process.no_new_privileges |= args.no_new_privs;
    if let Some(label) = &args.process_label {
        process.selinux_label = Some(label.clone());
    }
    if let Some(profile) = &args.apparmor {
        process.apparmor_profile = Some(profile.clone());
    }
    let capabilities = process.capabilities.get_or_insert_with(Capabilities::default);
    // Never the inheritable set: what the program executes in turn would get them too (CVE-2022-29162). Where config.json has put a
    // capability there, it is ambient as well, or it would be lost on a program of another user than root.
    for cap in &args.cap {
        for set in [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted] {
            set.push(cap.clone());
        }
        if capabilities.inheritable.contains(cap) {
            capabilities.ambient.push(cap.clone());
        }
    }
    Ok(process)
}

/// `UID` or `UID:GID`, as plain numbers: a name would have to be looked up in files of the container.
fn set_user(user: &mut User, text: &str) -> Result<()> {
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { part.parse().ok() } else { None };
        number.ok_or_else(|| Error::new(format!("--user {text:?}: {part:?} is not a user or group number")))
    };
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(number(gid)?)),
        None => (text, None),
    };
    user.set_uid(number(uid)?);
    if let Some(gid) = gid {
        user.set_gid(gid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_exact_numbers_or_errors() {
        let parse = |text| {
            let mut user = User::default();
            set_user(&mut user, text).map(|()| (user.uid(), user.gid())).ok()
        };
        for (text, ids) in [
            ("1", Some((1, 0))),
            ("1:2", Some((1, 2))),
            ("01", Some((1, 0))),
            ("2147483648", Some((1 << 31, 0))),
            (" 1", None),
            ("1x", None),
            ("-1", None),
            ("+1", None),
            ("4294967296", None),
            ("", None),
            (":", None),
            ("1:", None),
            ("root", None),
        ] {
            assert_eq!(parse(text), ids, "{text:?}");
        }
    }
}
