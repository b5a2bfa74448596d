//! docs/engines.md as configuration: a line that is nothing but a path and a colon, and the block of code
//! after it, are a file.

const DOCS: &str = include_str!("../../../docs/engines.md");

/// The files that a section shows, by the text of its heading.
pub fn files(section: &str) -> Vec<(String, String)> {
    let heading = format!("## {section}");
    let lines = DOCS.lines().skip_while(|line| *line != heading).skip(1);
    let mut lines = lines.take_while(|line| !line.starts_with("## "));
    let mut files = Vec::new();
    while let Some(line) = lines.next() {
        let path = line.strip_prefix('`').and_then(|line| line.strip_suffix("`:"));
        let Some(path) = path.filter(|path| path.starts_with('/')) else { continue };
        let block = lines.by_ref().skip_while(|line| !line.starts_with("```")).skip(1);
        let text: String = block.take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
        files.push((path.to_owned(), text));
    }
    assert!(!files.is_empty(), "docs/engines.md shows no file in {section:?}");
    files
}
