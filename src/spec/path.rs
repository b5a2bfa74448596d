//! Where in a JSON text an error is, as the path that its reader looks for: `linux.namespaces[1].type`.
//!
//! serde_json tells an error's line and column. The path is found from them, by reading the text up to there, because the
//! deserialisers that keep track of it are a second copy of those that don't: a sixth of the whole program, which is read
//! and copied at every start and would be used after a failure only.

/// The index after the byte at a line and a column, both counted from 1.
pub fn index(json: &[u8], line: usize, column: usize) -> Option<usize> {
    let lines = json.split_inclusive(|byte| *byte == b'\n').take(line.checked_sub(1)?);
    lines.map(<[u8]>::len).sum::<usize>().checked_add(column)
}

/// The line and the column of the byte at an index, as serde_json counts them.
pub fn line_and_column(json: &[u8], at: usize) -> (usize, usize) {
    let before = &json[..at.min(json.len())];
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
    (1 + before.iter().filter(|byte| **byte == b'\n').count(), 1 + column)
}

/// The path of the innermost value that the byte before `end` is part of; `None` for the outermost one, and where the text isn't JSON up
/// to there.
pub fn at(json: &[u8], end: usize) -> Option<String> {
    let end = end.min(json.len());
    let mut open: Vec<Place> = Vec::new();
    // The value that has begun last, until something shows that it is over.
    let mut at = 0;
    while at < end {
        let byte = json[at];
        let start = at;
        at += 1;
        match byte {
            b'{' => open.push(Place::Field(None)),
            b'[' => open.push(Place::Element(0)),
            // The bracket itself belongs to what it closes.
            b'}' | b']' if at < end => drop(open.pop()),
            b'}' | b']' => {
                open.pop();
                return path(&open);
            }
            b',' => match open.last_mut()? {
                Place::Field(name) => *name = None,
                Place::Element(index) => *index += 1,
            },
            b'"' => {
                at = end_of_string(json, at)?;
                if let Some(Place::Field(name @ None)) = open.last_mut() {
                    *name = Some(&json[start..at]);
                }
            }
            _ => {}
        }
    }
    path(&open)
}

/// A step from a value into one of its parts.
enum Place<'a> {
    /// A field of an object: the name as it is written, with its quotes, once it has been read.
    Field(Option<&'a [u8]>),
    /// An element of an array.
    Element(usize),
}

/// The index after the closing quote of a string whose text begins at `at`.
pub fn end_of_string(json: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += json.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if json[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn path(open: &[Place]) -> Option<String> {
    let mut path = String::new();
    for place in open {
        match place {
            Place::Field(Some(name)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                let name: String = serde_json::from_slice(name).ok()?;
                path.push_str(&name);
            }
            Place::Field(None) => {}
            Place::Element(index) => path.push_str(&format!("[{index}]")),
        }
    }
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    /// The path at each place marked `^` in the second line of a pair.
    #[test]
    fn paths() {
        let json = br#"{"a": {"b": [1, {"c\"d": "x,]"}], "e": null}, "f": [[2]]}"#;
        let of = |text: &str| {
            let json = std::str::from_utf8(json).unwrap();
            super::at(json.as_bytes(), json.find(text).unwrap() + text.len())
        };
        for (upto, path) in [
            ("{", None),
            (r#"{"a""#, Some("a")),
            (r#""b": ["#, Some("a.b[0]")),
            ("[1", Some("a.b[0]")),
            ("[1,", Some("a.b[1]")),
            (r#""x,]""#, Some("a.b[1].c\"d")),
            (r#""x,]"}"#, Some("a.b[1]")),
            (r#""x,]"}]"#, Some("a.b")),
            ("null", Some("a.e")),
            ("null}", Some("a")),
            ("[[2", Some("f[0][0]")),
            ("[[2]", Some("f[0]")),
            ("[[2]]}", None),
        ] {
            assert_eq!(of(upto).as_deref(), path, "{upto}");
        }
        let lines = b"{\n\"a\":\n 7";
        let end = super::index(lines, 3, 2).unwrap();
        assert_eq!((end, super::at(lines, end).as_deref()), (lines.len(), Some("a")));
        assert_eq!(super::line_and_column(lines, end - 1), (3, 2));
    }

    #[test]
    fn any_text_and_position() {
        for json in [&b""[..], b"\"", b"{\"", b"]]]}", b"{\"a\\", b",", b"[\xff", b"{\"\xff\": 1"] {
            for (line, column) in [(0, 0), (1, 0), (1, 1), (1, 9), (7, 7), (usize::MAX, usize::MAX)] {
                super::index(json, line, column).map(|end| super::at(json, end));
            }
        }
    }
}
