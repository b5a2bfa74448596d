//! What `make install` puts where, out of what `make` has built.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Files below a directory, by their path in it, with their modes.
fn files(dir: &Path) -> BTreeMap<String, u32> {
    fn walk(dir: &Path, top: &Path, found: &mut BTreeMap<String, u32>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, top, found);
            } else {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, dir, &mut found);
    found
}

/// `make install` into a directory of this name, unless nothing is built.
fn install(name: &str, variables: &[&str]) -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    let mut command = Command::new("make");
    command.args(["-s", "-C", env!("CARGO_MANIFEST_DIR"), "install"]).args(variables);
    command.arg(format!("DESTDIR={}", dir.display()));
    // cargo may have been started by make.
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    let Ok(out) = command.output() else {
        eprintln!("skipped: needs the program make");
        return None;
    };
    let said = said(&out);
    if said.contains("run make first") {
        eprintln!("skipped: needs what `make` builds");
        return None;
    }
    assert!(out.status.success(), "{said}");
    Some(dir)
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&[out.stdout.as_slice(), &out.stderr].concat()).into_owned()
}

#[test]
fn everything_has_its_place() {
    for (name, variables, prefix) in
        [("by-default", [].as_slice(), "usr/local"), ("prefix", &["PREFIX=/usr"], "usr")]
    {
        let Some(dir) = install(name, variables) else { return };
        let expected = [
            ("sbin/orlop", 0o755),
            ("share/bash-completion/completions/orlop", 0o644),
            ("share/fish/vendor_completions.d/orlop.fish", 0o644),
            ("share/man/man8/orlop.8", 0o644),
            ("share/zsh/site-functions/_orlop", 0o644),
        ];
        let expected: BTreeMap<String, u32> =
            expected.into_iter().map(|(path, mode)| (format!("{prefix}/{path}"), mode)).collect();
        assert_eq!(files(&dir), expected);
        let version = Command::new(dir.join(prefix).join("sbin/orlop")).arg("--version").output().unwrap();
        assert!(said(&version).starts_with("orlop version "), "{}", said(&version));
        fs::remove_dir_all(dir).unwrap();
    }
}

/// What the shells offer at the press of a key is what the command line takes.
#[test]
fn shells_complete_commands_and_options() {
    let Some(dir) = install("completed", &[]) else { return };
    let share = dir.join("usr/local/share");
    let bash = share.join("bash-completion/completions/orlop");
    let complete = |words: &[&str]| {
        let script = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD={last}; COMP_LINE='{words}'; \
             _orlop orlop '{current}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            bash.display(),
            words = words.join(" "),
            last = words.len() - 1,
            current = words[words.len() - 1],
            before = words[words.len() - 2],
        );
        said(&Command::new("bash").args(["-c", &script]).output().unwrap())
    };
    assert_eq!(complete(&["orlop", "cr"]), "create\n");
    assert_eq!(complete(&["orlop", "create", "--bun"]), "--bundle\n");

    let help = Command::new(dir.join("usr/local/sbin/orlop")).arg("--help").output().unwrap();
    let help = said(&help);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands.map_while(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"create") && commands.contains(&"features"), "{help}");
    for file in [
        bash.as_path(),
        &share.join("zsh/site-functions/_orlop"),
        &share.join("fish/vendor_completions.d/orlop.fish"),
    ] {
        let text = fs::read_to_string(file).unwrap();
        for command in &commands {
            assert!(text.contains(command), "{command} in {}", file.display());
        }
    }
    fs::remove_dir_all(dir).unwrap();
}
