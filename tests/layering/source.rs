//! Reads a source file as tokens, without its comments and literals, and finds the paths in it.

/// A path as the file uses it, resolved to `crate::…` where it stands for a module of the project.
#[derive(Clone)]
pub struct UsedPath {
    pub line: usize,
    pub segments: Vec<String>,
    /// What it is called in the file: its last segment, or what stands after `as`.
    pub name: String,
    pub in_tests: bool,
}

/// The paths of a file, which is the module named.
pub fn paths(tokens: &[Token], file_module: &[String]) -> Vec<UsedPath> {
    let mut paths = Paths { tokens, found: Vec::new() };
    let mut at = 0;
    while at < tokens.len() {
        at = paths.next(at, file_module);
    }
    paths.found
}

/// Collects the paths of a file.
struct Paths<'a> {
    tokens: &'a [Token],
    found: Vec<UsedPath>,
}

impl<'a> Paths<'a> {
    /// Takes the path that begins at a token, if one does; returns where to go on.
    fn next(&mut self, at: usize, file_module: &[String]) -> usize {
        let before = if at == 0 { "" } else { self.text(at - 1) };
        if matches!(before, "::" | ".") {
            return at + 1;
        }
        match (self.text(at), self.text(at + 1)) {
            ("crate", "::") => self.tree(at + 2, &["crate".to_owned()]),
            ("self" | "super", "::") => {
                let module = [file_module, &self.tokens[at].inner].concat();
                self.relative(at, module)
            }
            (name, next) if word(name) && (next == "::" || before == "use") => self.tree(at, &[]),
            _ => at + 1,
        }
    }

    /// The text of a token; beyond the end, none.
    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    /// `self::` and `super::`, any number of them, from inside a module.
    fn relative(&mut self, mut at: usize, mut module: Vec<String>) -> usize {
        while matches!(self.text(at), "self" | "super") && self.text(at + 1) == "::" {
            if self.text(at) == "super" {
                module.pop();
            }
            at += 2;
        }
        module.insert(0, "crate".to_owned());
        self.tree(at, &module)
    }

    /// The rest of a path, which in a `use` may branch; returns where it ends.
    fn tree(&mut self, mut at: usize, prefix: &[String]) -> usize {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        while word(self.text(at)) {
            if self.text(at) != "self" {
                segments.push(self.text(at).to_owned());
            }
            at += 1;
            if self.text(at) != "::" {
                break;
            }
            at += 1;
        }
        if self.text(at) == "{" && self.text(at - 1) == "::" {
            at += 1;
            while !matches!(self.text(at), "}" | "") {
                at = self.tree(at, &segments).max(at + 1);
                if self.text(at) == "," {
                    at += 1;
                }
            }
            return at + 1;
        }
        if self.text(at) == "*" && self.text(at - 1) == "::" {
            segments.push("*".to_owned());
            at += 1;
        }
        let in_tests = self.tokens.get(at.saturating_sub(1)).is_some_and(|token| token.in_tests);
        let mut name = segments.last().cloned().unwrap_or_default();
        if self.text(at) == "as" {
            name = self.text(at + 1).to_owned();
            at += 2;
        }
        self.found.push(UsedPath { line, segments, name, in_tests });
        at
    }
}

fn word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// A word, a number, a `::` or one other sign.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    pub line: usize,
    /// The modules of the file that it stands in, the outermost first.
    pub inner: Vec<String>,
    /// Whether one of them is called `tests`.
    pub in_tests: bool,
}

/// The tokens of a file, without its comments, strings, characters and lifetimes.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = text;
    let mut line = 1;
    let mut depth = 0;
    let mut modules: Vec<(String, usize)> = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = ignored(rest);
        if length > 0 {
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
            continue;
        }
        let length = match rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            Some(0) if rest.starts_with("::") => 2,
            Some(0) => first.len_utf8(),
            Some(length) => length,
            None => rest.len(),
        };
        let token = &rest[..length];
        match (token, &found[..]) {
            ("{", [.., keyword, name]) if keyword.text == "mod" => {
                modules.push((name.text.clone(), depth));
                depth += 1;
            }
            ("{", _) => depth += 1,
            ("}", _) => {
                depth = depth.saturating_sub(1);
                modules.retain(|(_, opened)| *opened < depth);
            }
            _ => {}
        }
        let inner: Vec<String> = modules.iter().map(|(name, _)| name.clone()).collect();
        let in_tests = inner.iter().any(|name| name == "tests");
        found.push(Token { text: token.to_owned(), line, inner, in_tests });
        rest = &rest[length..];
    }
    found
}

/// How much of the text's beginning is no token.
fn ignored(text: &str) -> usize {
    let spaces = text.len() - text.trim_start().len();
    if spaces > 0 {
        return spaces;
    }
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let prefix = text.find(|c: char| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(0);
    let (prefix, literal) = text.split_at(if prefix > 2 { 0 } else { prefix });
    let fence = literal.len() - literal.trim_start_matches('#').len();
    if prefix.ends_with('r') && literal[fence..].starts_with('"') {
        let end = format!("\"{}", &literal[..fence]);
        let body = prefix.len() + fence + 1;
        return text[body..].find(&end).map_or(text.len(), |length| body + length + end.len());
    }
    match literal.chars().next() {
        Some('"') => prefix.len() + quoted(literal, '"'),
        Some('\'') => prefix.len() + character_or_lifetime(literal),
        _ => 0,
    }
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let (step, change) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a literal in quotes, with escapes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn character_or_lifetime(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (_, Some('\'')) => quoted(text, '\''),
        _ => 1 + text[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len() - 1),
    }
}
