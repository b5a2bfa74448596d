//! The log that callers read: `--log FILE`, in lines of text or of JSON.
//!
//! containerd and Podman look in it for the reason of a failure: one line of level `error`, written by `main`, and as a rule nothing
//! else. What belongs to the normal course is said at level `debug`, and only with `--debug`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `time="..." level=error msg="..."`
    #[default]
    Text,
    /// `{"level":"error","msg":"...","time":"..."}`
    Json,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Written with `--debug` only.
    Debug,
    /// Something odd that is no failure.
    Warning,
    /// Why the command failed.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

struct Log {
    /// The file of `--log`; without it warnings and debug lines go to stderr.
    path: Option<PathBuf>,
    format: Format,
    debug: bool,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Names the log, and makes the file. It is opened anew for each of the few lines: a process that enters a container holds nothing of
/// the host.
pub fn open(path: Option<&Path>, format: Format, debug: bool) -> std::io::Result<()> {
    // The directory may be one that later is not "." any more.
    let path = path.map(std::path::absolute).transpose()?;
    path.as_deref().map(append).transpose()?;
    // A second call would be a mistake of main, which makes none.
    let _ = LOG.set(Log { path, format, debug });
    Ok(())
}

fn append(path: &Path) -> std::io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

/// Writes a line of level `debug`, which is made only if somebody asked for it. Some begin with the words by which runc's log tells of the
/// same moment: these are what its users look for.
pub fn debug(message: impl FnOnce() -> String) {
    if LOG.get().is_some_and(|log| log.debug) {
        line(Level::Debug, &message());
    }
}

/// Writes a line to the log file, or to stderr where there is none.
pub fn line(level: Level, message: &str) {
    let Some(log) = LOG.get() else { return };
    if level == Level::Debug && !log.debug {
        return;
    }
    let time = crate::time::now_rfc3339();
    let name = level.name();
    let line = match log.format {
        Format::Json => format!("{}\n", serde_json::json!({"level": name, "msg": message, "time": time})),
        Format::Text => format!("time=\"{time}\" level={name} msg={message:?}\n"),
    };
    // A log that can't be written must not stop a container.
    let _ = match log.path.as_deref() {
        Some(path) => append(path).and_then(|mut file| file.write_all(line.as_bytes())),
        // The error itself is printed to stderr by main in any case.
        None if level == Level::Error => Ok(()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}
