//! The one error type. It says what was being done, to which field of config.json, by which call, why
//! that failed, and what the user may do about it; it is printed once, by `main`.
//!
//! It is serialisable because most steps of a container's creation run in its init process, whose error
//! has to reach the creator whole.

use crate::sys::{CallError, Errno};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What went wrong, as one line: `create web: mounts[3] /data: move_mount(...): EACCES (permission denied)`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Error(Box<Inner>);

/// The result of everything above the system calls.
pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Inner {
    /// What was being done, the innermost first.
    doing: Vec<String>,
    /// Path of the field of config.json that asked for it: `mounts[3].destination`.
    field: Option<String>,
    /// What is wrong, where it is not a failed call.
    what: Option<String>,
    /// The failed call as one would type it.
    call: Option<String>,
    errno: Option<i32>,
    /// What the user may do about it.
    hint: Option<String>,
}

impl Error {
    /// An error that is not a failed system call.
    pub fn new(what: impl Into<String>) -> Self {
        Error(Box::new(Inner { what: Some(short(what.into())), ..Inner::default() }))
    }

    /// Says what was being done; the outermost context comes first in the line.
    pub fn doing(mut self, what: impl Into<String>) -> Self {
        self.0.doing.push(short(what.into()));
        self
    }

    /// Names the field of config.json. A field that is already there is kept: it is the more exact one.
    pub fn field(mut self, path: impl Into<String>) -> Self {
        self.0.field.get_or_insert_with(|| path.into());
        self
    }

    /// Adds advice for the user; the first advice given is kept.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| short(hint.into()));
        self
    }

    /// Whether the field that it names begins like this.
    pub fn is_about(&self, fields: &str) -> bool {
        self.0.field.as_ref().is_some_and(|field| field.starts_with(fields))
    }

    /// The errno of the failed call, if that is what went wrong.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno.map(Errno)
    }
}

/// Bytes of one part of an error: enough for a path and the end of a hook's output, and few enough for a whole error to be one message.
const LONGEST: usize = 2048;

/// A text without its middle if it is too long to be read by anybody.
fn short(mut text: String) -> String {
    if text.len() > LONGEST {
        let boundary = |mut at: usize| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let middle = boundary(LONGEST / 2)..boundary(text.len() - LONGEST / 2);
        text.replace_range(middle, "...");
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        let errno = inner.errno.map(|errno| Errno(errno).to_string());
        let parts = inner.doing.iter().rev().chain(&inner.field).chain(&inner.what).chain(&inner.call);
        for (i, part) in parts.chain(&errno).enumerate() {
            let separator = if i == 0 { "" } else { ": " };
            // One error is one line of plain text, whatever a file name or a hook's output contains.
            write!(f, "{separator}{}", part.replace(char::is_control, " "))?;
        }
        match &inner.hint {
            Some(hint) => write!(f, " ({})", hint.replace(char::is_control, " ")),
            None => Ok(()),
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Error(Box::new(Inner {
            call: Some(short(error.call)),
            errno: Some(error.errno.0),
            ..Inner::default()
        }))
    }
}

/// Adds context to the error of a `Result`.
pub trait Context<T> {
    /// See [`Error::doing`].
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
    /// See [`Error::field`].
    fn field(self, path: impl FnOnce() -> String) -> Result<T>;
    /// See [`Error::hint`].
    fn hint(self, hint: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.into().doing(what()))
    }

    fn field(self, path: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.into().field(path()))
    }

    fn hint(self, hint: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.into().hint(hint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_from_the_outside_in() {
        let call = CallError { call: "mount(\"/a\", \"/b\")".into(), errno: Errno::EACCES };
        let error = Error::from(call).field("mounts[3]").doing("create web").hint("try x");
        assert_eq!(
            error.to_string(),
            "create web: mounts[3]: mount(\"/a\", \"/b\"): EACCES (permission denied) (try x)"
        );
    }

    #[test]
    fn what_is_very_long_loses_its_middle() {
        let text = Error::new(format!("exec: {}: not found", "\u{e4}".repeat(10_000))).to_string();
        assert!(text.starts_with("exec: \u{e4}") && text.ends_with("\u{e4}: not found") && text.len() < 2200);
    }

    #[test]
    fn survives_the_way_from_init_to_its_creator() {
        let error = Error::new("bad\nline").field("process.cwd").doing("set up");
        let json = serde_json::to_vec(&error).unwrap();
        let back: Error = serde_json::from_slice(&json).unwrap();
        assert_eq!(back.to_string(), "set up: process.cwd: bad line");
    }
}
