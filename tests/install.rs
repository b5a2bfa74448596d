//! What `make install` puts where, out of what `make` has built.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
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

/// A directory of this name, which is not there yet.
fn place(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    dir
}

/// Runs make, unless that or what it needs is missing: then it says one of these, and the test is skipped.
fn make(args: &[&str], missing: &[(&str, &str)]) -> Option<()> {
    let mut command = Command::new("make");
    command.args(["-s", "-C", env!("CARGO_MANIFEST_DIR")]).args(args);
    // cargo may have been started by make.
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    let Ok(out) = command.output() else {
        eprintln!("skipped: needs the program make");
        return None;
    };
    let said = said(&out);
    if let Some((_, what)) = missing.iter().find(|(text, _)| said.contains(text)) {
        eprintln!("skipped: needs {what}");
        return None;
    }
    assert!(out.status.success(), "{said}");
    Some(())
}

/// `make install` into a directory of this name, unless nothing is built.
fn install(name: &str, variables: &[&str]) -> Option<PathBuf> {
    let dir = place(name);
    let destination = format!("DESTDIR={}", dir.display());
    let args = [&["install", destination.as_str()], variables].concat();
    make(&args, &[("run make first", "what `make` builds")]).map(|()| dir)
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&[out.stdout.as_slice(), &out.stderr].concat()).into_owned()
}

/// What `--help` says of a command, as in "orlop create".
fn help(orlop: &Path, command: &str) -> String {
    let out = Command::new(orlop).args(command.split(' ').skip(1)).arg("--help").output().unwrap();
    assert!(out.status.success(), "{command}: {}", said(&out));
    said(&out)
}

/// The names in the list of commands of a help text.
fn listed_in(help: &str) -> Vec<&str> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    commands.map_while(|line| line.split_whitespace().next()).collect()
}

/// The program itself and all of its commands, with what `--help` says of them.
fn commands(orlop: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec!["orlop".to_owned()];
    while let Some(command) = left.pop() {
        let help = help(orlop, &command);
        left.extend(listed_in(&help).iter().map(|name| format!("{command} {name}")));
        found.insert(command, help);
    }
    for command in ["orlop create", "orlop features", "orlop mounts add", "orlop seccomp explain"] {
        assert!(found.contains_key(command), "{command}: {found:?}");
    }
    found
}

/// The manual page of a command.
fn page_of(command: &str) -> String {
    format!("share/man/man8/{}.8", command.replace(' ', "-"))
}

#[test]
fn everything_has_its_place() {
    for (name, variables, prefix) in
        [("by-default", [].as_slice(), "usr/local"), ("prefix", &["PREFIX=/usr"], "usr")]
    {
        let Some(dir) = install(name, variables) else { return };
        let orlop = dir.join(prefix).join("sbin/orlop");
        let expected = [
            ("sbin/orlop", 0o755),
            ("share/bash-completion/completions/orlop", 0o644),
            ("share/fish/vendor_completions.d/orlop.fish", 0o644),
            ("share/man/man8/orlop.8", 0o644),
            ("share/man/man8/orlop-seccomp-explain.8", 0o644),
            ("share/zsh/site-functions/_orlop", 0o644),
        ];
        let pages = commands(&orlop).into_keys().map(|command| (page_of(&command), 0o644));
        let expected = expected.into_iter().map(|(path, mode)| (path.to_owned(), mode)).chain(pages);
        let expected: BTreeMap<String, u32> =
            expected.map(|(path, mode)| (format!("{prefix}/{path}"), mode)).collect();
        assert_eq!(files(&dir), expected);
        let version = Command::new(&orlop).arg("--version").output().unwrap();
        assert!(said(&version).starts_with("orlop version "), "{}", said(&version));
        fs::remove_dir_all(dir).unwrap();
    }
}

/// The Debian package has the same files, where Debian wants them, and the program as it was built.
#[test]
fn the_package_has_all_that_is_installed() {
    let Some(dir) = install("unpackaged", &["PREFIX=/usr"]) else { return };
    let place = place("package");
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    // What is there is not built again.
    let (program, docs) = (format!("{target}/orlop"), format!("{target}/cli-docs"));
    let output = format!("DEB_DIR={}", place.display());
    let args = ["-o", &program, "-o", &docs, "deb", &output];
    let Some(()) = make(&args, &[("needs cargo-deb", "the program cargo-deb")]) else { return };
    let package = place.join(files(&place).into_keys().next().unwrap());
    let tree = place.join("tree");
    let Ok(unpacked) = Command::new("dpkg-deb").arg("-x").args([&package, &tree]).output() else {
        eprintln!("skipped: needs the program dpkg-deb");
        return;
    };
    assert!(unpacked.status.success(), "{}", said(&unpacked));

    let installed = files(&dir).into_iter().map(|(path, mode)| match path.as_str() {
        "usr/share/zsh/site-functions/_orlop" => ("usr/share/zsh/vendor-completions/_orlop".into(), mode),
        page if page.ends_with(".8") => (format!("{page}.gz"), mode),
        _ => (path, mode),
    });
    let pages = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let texts = pages.filter(|name| name.ends_with(".md")).chain(["README.md".into(), "copyright".into()]);
    let texts = texts.map(|name| (format!("usr/share/doc/orlop/{name}"), 0o644));
    assert_eq!(files(&tree), installed.chain(texts).collect());
    let program = |dir: &Path| fs::read(dir.join("usr/sbin/orlop")).unwrap();
    assert!(program(&tree) == program(&dir), "the program is another one");
    for dir in [dir, place] {
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

    let (zsh, fish) =
        (share.join("zsh/site-functions/_orlop"), share.join("fish/vendor_completions.d/orlop.fish"));
    for (shell, option, file) in [("bash", "-n", &bash), ("zsh", "-n", &zsh), ("fish", "--no-execute", &fish)]
    {
        let Ok(out) = Command::new(shell).arg(option).arg(file).output() else {
            eprintln!("skipped: needs the program {shell}");
            continue;
        };
        assert!(out.status.success() && said(&out).is_empty(), "{shell}: {}", said(&out));
    }

    let help = help(&dir.join("usr/local/sbin/orlop"), "orlop");
    let commands = listed_in(&help);
    assert!(commands.contains(&"create") && commands.contains(&"features"), "{help}");
    for file in [&bash, &zsh, &fish] {
        let text = fs::read_to_string(file).unwrap();
        for command in &commands {
            assert!(text.contains(command), "{command} in {}", file.display());
        }
    }
    fs::remove_dir_all(dir).unwrap();
}

/// The long options that have a line of their own in a help text or manual page.
fn options_in(text: &str) -> BTreeSet<&str> {
    let names = text.lines().filter_map(|line| {
        line.split_whitespace().take_while(|word| word.starts_with('-')).find(|word| word.starts_with("--"))
    });
    names.map(|name| name.trim_end_matches(',')).collect()
}

/// All long options that a text mentions, among them the other names of its own ones.
fn mentioned_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.starts_with("--") && word.len() > 2).collect()
}

/// The manual has what the command line takes: each command, each option, and none that is not there.
#[test]
fn the_manual_has_every_command_and_option() {
    let Some(dir) = install("manual", &[]) else { return };
    let commands = commands(&dir.join("usr/local/sbin/orlop"));
    let page = |command: &str| {
        let mut text = fs::read_to_string(dir.join("usr/local").join(page_of(command))).unwrap();
        for (escaped, plain) in [("\\-", "-"), ("\\fB", ""), ("\\fI", ""), ("\\fR", "")] {
            text = text.replace(escaped, plain);
        }
        text
    };
    let all: BTreeSet<&str> = commands.values().flat_map(|help| options_in(help)).collect();
    for (name, help) in &commands {
        let page = page(name);
        assert!(options_in(help).contains("--help"), "{name}: {help}");
        assert_eq!(options_in(&page), options_in(help), "{name}");
        for command in listed_in(help) {
            let entry = format!("{} {command}(8)", name).replace(' ', "-");
            assert!(page.lines().any(|line| line == entry), "{entry} in {name}");
        }
        // By another name an option may go on its own page.
        let aliases: BTreeSet<&str> =
            help.lines().filter(|line| line.contains("[alias")).flat_map(mentioned_in).collect();
        let mentioned = mentioned_in(&page);
        assert!(aliases.is_subset(&mentioned), "{name}: {aliases:?}");
        for option in mentioned.difference(&aliases) {
            assert!(all.contains(option), "{name} mentions {option}");
        }
    }
    // The examples have options of the command that they are of.
    let manual = page("orlop");
    let examples: Vec<&str> = manual
        .lines()
        .skip_while(|line| *line != ".SH EXAMPLES")
        .filter(|line| line.starts_with("orlop "))
        .collect();
    assert!(examples.len() > 5, "{examples:?}");
    for example in examples {
        let of = |(command, _): &(&String, &String)| example.starts_with(&format!("{command} "));
        let (_, help) = commands.iter().rfind(of).unwrap();
        assert!(mentioned_in(example).is_subset(&options_in(help)), "{example}");
    }
    fs::remove_dir_all(dir).unwrap();
}
