//! The architecture, held by a test: which module may use which, where `unsafe` and the system-call crates
//! may stand, that planning stays pure, and how long a file may get.
//!
//! The sources are read as tokens, so comments and string literals do not count, and a path counts wherever
//! it stands: in a (nested) `use`, or written out in an expression.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "layering/source.rs"]
mod source;

use source::{Token, UsedPath, paths, tokens};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules at the crate's root, the lowest row first. A module uses lower rows only; modules on one row
/// do not know each other.
const ROWS: &[&[&str]] = &[
    &["sys", "time"],
    &["error", "log"],
    &["spec", "host", "seccomp"],
    &["plan"],
    &["rootfs", "cgroup", "security", "net", "rdt"],
    &["process"],
    &["container"],
    // The command line: the arguments as typed, the verbs, and `main`, which ties them together.
    &["cli"],
    &["commands"],
    &["main"],
];

/// Modules that compute and do nothing else: no system call, no file.
const PURE: &[&str] = &["plan", "seccomp"];

/// The parts of the standard library through which a pure module would reach the system.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::os::fd",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Methods of `Path` that ask the file system.
const IMPURE_METHODS: &[&str] =
    &["canonicalize", "exists", "is_dir", "is_file", "is_symlink", "metadata", "read_dir", "read_link"];

/// The crates that make system calls.
const CALLING: &[&str] = &["libc", "nix", "rustix"];

/// The longest file, in lines. The tables of system calls are generated and may be longer.
const LONGEST: usize = 500;
const GENERATED: &str = "src/seccomp/table";

#[test]
fn modules_use_lower_rows_only() {
    report(sources("src").iter().flat_map(Source::forbidden_edges));
}

#[test]
fn planning_is_pure() {
    let sources = sources("src");
    let modules: Vec<_> = sources.iter().flat_map(Source::modules).collect();
    report(sources.iter().flat_map(|source| source.impurities(&modules)));
}

#[test]
fn the_system_is_called_in_sys_only() {
    report(sources("src").iter().flat_map(Source::calls_outside_sys));
}

#[test]
fn unsafe_stands_in_sys_and_gives_its_reason() {
    let sources = sources("src");
    let main = sources.iter().find(|source| source.file == "src/main.rs").unwrap();
    assert!(main.text.contains("#![deny(unsafe_code)]"), "src/main.rs must have #![deny(unsafe_code)]");
    report(sources.iter().flat_map(Source::unsafe_misuse));
}

#[test]
fn files_are_short_enough_to_read() {
    let all = [sources("src"), sources("tests")].concat();
    let long = all.iter().filter(|source| !source.file.starts_with(GENERATED));
    report(long.filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > LONGEST).then(|| format!("{}: {lines} lines; at most {LONGEST}", source.file))
    }));
}

/// Fails with all violations, one a line.
fn report(violations: impl Iterator<Item = String>) {
    let violations: Vec<_> = violations.collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// A file of the project.
#[derive(Clone)]
struct Source {
    /// From the project's root: `src/plan/mounts.rs`.
    file: String,
    text: String,
    tokens: Vec<Token>,
    /// Every path of the file, from its first `::` on.
    paths: Vec<UsedPath>,
}

/// All Rust files under a directory of the project.
fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting = vec![root.join(directory)];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {directory}");
    found.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| Source::new(&name(path), fs::read_to_string(path).unwrap())).collect()
}

impl Source {
    fn new(file: &str, text: String) -> Self {
        let tokens = tokens(&text);
        let paths = paths(&tokens, &module_of(file));
        Source { file: file.to_owned(), text, tokens, paths }
    }

    /// The module at the crate's root that the file belongs to.
    fn top(&self) -> String {
        module_of(&self.file).first().cloned().unwrap_or_else(|| "main".to_owned())
    }

    fn at(&self, line: usize, what: String) -> String {
        format!("{}:{line}: {what}", self.file)
    }

    fn forbidden_edges(&self) -> Vec<String> {
        let top = self.top();
        let Some(row) = row_of(&top) else {
            return vec![format!("{}: module {top} has no row in tests/layering.rs", self.file)];
        };
        let used = self.paths.iter().filter(|path| path.segments[0] == "crate");
        used.filter_map(|path| {
            // Whatever is no module stands in main.rs itself.
            let used = path.segments.get(1).map_or("main", String::as_str);
            let (used, used_row) = row_of(used).map_or(("main", ROWS.len() - 1), |row| (used, row));
            let allowed = used == top || used_row < row;
            (!allowed).then(|| self.at(path.line, format!("{top} uses {used}, which is not in a lower row")))
        })
        .collect()
    }

    /// The modules that the file is or holds.
    fn modules(&self) -> Vec<String> {
        let file = module_of(&self.file);
        let mut inner: Vec<&[String]> = self.tokens.iter().map(|token| &token.inner[..]).collect();
        inner.push(&[]);
        inner.dedup();
        inner.iter().map(|inner| [&file, *inner].concat().join("::")).collect()
    }

    /// What a pure module does that it should not. Its tests may read files, so they do not count.
    fn impurities(&self, modules: &[String]) -> Vec<String> {
        if !PURE.contains(&self.top().as_str()) || self.file.ends_with("/tests.rs") {
            return Vec::new();
        }
        let paths = self.paths.iter().filter(|path| !path.in_tests).filter_map(|path| {
            let whole = self.expanded(path);
            let what = match whole.strip_prefix("crate::sys") {
                // A type or a constant, and what belongs to one, has a capital in its path. Of the other
                // names, only those of modules may be used, on the way to a type or a constant.
                Some(rest) if !rest.contains(capital) && !modules.contains(&format!("sys{rest}")) => {
                    "not a type or a constant of sys"
                }
                None if IMPURE.iter().any(|impure| whole.starts_with(impure)) => "reaches the system",
                _ => return None,
            };
            Some(self.at(path.line, format!("{whole}: {what}")))
        });
        let calls = self.tokens.windows(3).filter_map(|window| match window {
            [dot, method, open] if dot.text == "." && open.text == "(" && !method.in_tests => Some(method),
            _ => None,
        });
        let methods = calls
            .filter(|method| IMPURE_METHODS.contains(&method.text.as_str()))
            .map(|method| self.at(method.line, format!("{}: asks the file system", method.text)));
        paths.chain(methods).collect()
    }

    /// A path with the name it begins with replaced by what a `use` has brought in under it.
    fn expanded(&self, path: &UsedPath) -> String {
        let imported = self.paths.iter().find(|import| {
            import.name == path.segments[0] && import.segments[0] == "crate" && path.segments.len() > 1
        });
        match imported {
            Some(import) => [import.segments.join("::"), path.segments[1..].join("::")].join("::"),
            None => path.segments.join("::"),
        }
    }

    fn calls_outside_sys(&self) -> Vec<String> {
        if self.top() == "sys" {
            return Vec::new();
        }
        let calling = self.paths.iter().filter(|path| CALLING.contains(&path.segments[0].as_str()));
        calling
            .map(|path| self.at(path.line, format!("{} outside src/sys", path.segments.join("::"))))
            .collect()
    }

    fn unsafe_misuse(&self) -> Vec<String> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut found = Vec::new();
        for window in self.tokens.windows(3) {
            let (token, next) = (&window[0], &window[1]);
            let opens_a_block = matches!(next.text.as_str(), "{" | "impl");
            let above = &lines[token.line.saturating_sub(6)..token.line];
            match token.text.as_str() {
                "unsafe" if self.top() != "sys" => {
                    found.push(self.at(token.line, "unsafe outside src/sys".to_owned()));
                }
                "unsafe" if opens_a_block && !above.iter().any(|line| line.contains("SAFETY:")) => {
                    found.push(self.at(token.line, "unsafe without a SAFETY comment right above".to_owned()));
                }
                "allow" | "expect" | "warn" if window[2].text == "unsafe_code" && self.top() != "sys" => {
                    found.push(self.at(token.line, "only src/sys may allow unsafe_code".to_owned()));
                }
                _ => {}
            }
        }
        found
    }
}

/// The path of a file's module: `src/plan/mounts.rs` is plan::mounts, `src/main.rs` the crate's root.
fn module_of(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "main")) {
        module.pop();
    }
    module
}

fn row_of(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn capital(letter: char) -> bool {
    letter.is_ascii_uppercase()
}

/// The rules themselves, tried on small sources.
mod rules {
    use super::Source;

    fn source(file: &str, text: &str) -> Source {
        Source::new(file, text.to_owned())
    }

    fn edges(file: &str, text: &str) -> Vec<String> {
        source(file, text).forbidden_edges()
    }

    #[test]
    fn an_edge_is_seen_however_it_is_written() {
        let all = "use crate::{error::Error, process::{init, channel as c}};\n\
                   fn f() { crate::container::open(); }\n\
                   mod tests {\n use super::super::commands;\n use super::*; }";
        assert_eq!(
            edges("src/plan.rs", all),
            [
                "src/plan.rs:1: plan uses process, which is not in a lower row",
                "src/plan.rs:1: plan uses process, which is not in a lower row",
                "src/plan.rs:2: plan uses container, which is not in a lower row",
                "src/plan.rs:4: plan uses commands, which is not in a lower row",
            ]
        );
    }

    #[test]
    fn siblings_and_strangers_are_refused() {
        assert_eq!(edges("src/rootfs/mount.rs", "use crate::cgroup::Cgroup;").len(), 1);
        assert_eq!(edges("src/rootfs/mount.rs", "use crate::NAME;").len(), 1);
        assert_eq!(edges("src/utils.rs", "").len(), 1);
        assert!(edges("src/rootfs/mount.rs", "use crate::rootfs::mask; use super::pivot;").is_empty());
        assert!(edges("src/main.rs", "use crate::commands::run; cli::parse();").is_empty());
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "// crate::process::a\n/* crate::process /* b */ crate::process::c */\n\
                    /// [`crate::process`]\nconst A: &str = \"crate::process::d \\\" \";\n\
                    const B: &[u8] = br#\"crate::process::e \" \"#; const C: char = '\"';\n\
                    fn f<'a>(x: &'a str) -> char { '\\'' } // \" crate::process::g";
        assert!(edges("src/plan/mod.rs", text).is_empty());
        assert_eq!(edges("src/plan/mod.rs", &format!("{text}\nuse crate::process;")).len(), 1);
    }

    #[test]
    fn a_plan_takes_types_and_constants_of_sys_only() {
        let sys =
            source("src/sys/mount.rs", "pub fn attach() {} pub mod attr { pub const RDONLY: u64 = 1; }");
        let impurities = |file, text| source(file, text).impurities(&sys.modules());
        let good = "use crate::sys::mount::{attr, Flags, MS_BIND}; const A: u32 = crate::sys::Errno::EIO.0;\n\
                    fn f() -> u64 { attr::RDONLY | Flags::empty().bits() }\n\
                    #[cfg(test)] mod tests { fn f() { std::fs::read(\"x\"); } }";
        assert!(impurities("src/plan/mounts.rs", good).is_empty());
        for bad in [
            "use crate::sys::mount::attach;",
            "use crate::sys::mount; fn f() { mount::attach(); }",
            "use crate::sys::mount as m; fn f() { m::attach(); }",
            "use crate::sys::mount::*;",
            "fn f() { crate::sys::mount::attach(); }",
            "use std::{fmt, fs};",
            "fn f(p: &Path) { p.exists(); }",
        ] {
            assert_eq!(impurities("src/plan/mounts.rs", bad).len(), 1, "{bad}");
        }
        assert!(impurities("src/host.rs", "use std::fs;").is_empty());
    }

    #[test]
    fn system_calls_and_unsafe_belong_to_sys() {
        for bad in ["use libc;", "use nix::fcntl;", "fn f() { rustix::io::dup(); }"] {
            assert_eq!(source("src/host.rs", bad).calls_outside_sys().len(), 1, "{bad}");
            assert!(source("src/sys/fs.rs", bad).calls_outside_sys().is_empty(), "{bad}");
        }
        let block = "fn f() {\n // SAFETY: why\n unsafe { g() }\n}";
        assert!(source("src/sys/fs.rs", block).unsafe_misuse().is_empty());
        assert_eq!(source("src/sys/fs.rs", "fn f() { unsafe { g() } }").unsafe_misuse().len(), 1);
        assert_eq!(source("src/host.rs", block).unsafe_misuse().len(), 1);
        assert_eq!(source("src/host.rs", "#![allow(unsafe_code)]").unsafe_misuse().len(), 1);
        assert!(source("src/host.rs", "#![forbid(unsafe_code)]").unsafe_misuse().is_empty());
    }
}
