//! `docs/conformance.md` against the JSON schema of the runtime-spec: every property has a row, every row a property and a test that
//! exists. And what this runtime says of itself, `features` and `spec`, against the same schema.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The parts of config.json that are for other platforms than Linux.
const OTHER_PLATFORMS: [&str; 5] = ["freebsd", "solaris", "windows", "vm", "zos"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The schema of 1.3.0: its files by name, with what only the text describes.
struct Schema(BTreeMap<String, Value>);

impl Schema {
    fn read() -> Self {
        let folder = Path::new("tests/conformance/schema");
        let added: Map<String, Value> =
            serde_json::from_str(&read(folder.join("only-in-the-text.json"))).unwrap();
        let names = [
            "config-schema",
            "config-linux",
            "defs",
            "defs-linux",
            "features-schema",
            "features-linux",
            "state-schema",
        ];
        let parsed = names.map(|name| format!("{name}.json")).map(|name| {
            let file: Value = serde_json::from_str(&read(folder.join(&name))).unwrap();
            (name, file)
        });
        let mut files = BTreeMap::from(parsed);
        for (name, changes) in added {
            let file = files.get_mut(&name).unwrap();
            for (pointer, value) in changes.as_object().unwrap() {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                let parent = file.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
                assert!(parent.insert(key.into(), value.clone()).is_none(), "{pointer}");
            }
        }
        Schema(files)
    }

    /// What a `$ref` in a file means: the file, the definition, and its name.
    fn follow<'a>(&'a self, file: &'a str, reference: &'a str) -> (&'a str, &'a Value, &'a str) {
        let (other, pointer) = reference.split_once('#').unwrap();
        let file = if other.is_empty() { file } else { other };
        let definition = self.0[file].pointer(pointer).unwrap_or_else(|| panic!("{file}: {reference}"));
        (file, definition, pointer.rsplit('/').next().unwrap())
    }

    /// All properties below a place. One that is an object with properties of its own is told by those; a definition that is used in
    /// several places is told once, by its name.
    fn properties(&self, (file, node): (&str, &Value), path: &str, found: &mut BTreeSet<String>) {
        if let Some(reference) = node["$ref"].as_str() {
            let (file, definition, name) = self.follow(file, reference);
            let named = definition.get("properties").is_some() || definition.get("allOf").is_some();
            let path = if named && name != "linux" { name } else { path };
            return self.properties((file, definition), path, found);
        }
        for part in ["allOf", "anyOf"].iter().filter_map(|key| node[*key].as_array()).flatten() {
            match part["$ref"].as_str() {
                // A part of the definition is no definition of its own.
                Some(reference) => {
                    let (file, definition, _) = self.follow(file, reference);
                    self.properties((file, definition), path, found);
                }
                None => self.properties((file, part), path, found),
            }
        }
        for (name, property) in node["properties"].as_object().into_iter().flatten() {
            if path.is_empty() && OTHER_PLATFORMS.contains(&name.as_str()) {
                continue;
            }
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let platform = property["$ref"].as_str().is_some_and(|reference| reference.ends_with("#/linux"));
            if property.get("properties").is_none() && !platform {
                found.insert(path.clone());
            }
            self.properties((file, property), &path, found);
        }
        for key in ["items", "additionalProperties"] {
            if node[key].is_object() {
                let suffix = if key == "items" { "[]" } else { ".*" };
                self.properties((file, &node[key]), &format!("{path}{suffix}"), found);
            }
        }
    }

    /// The place of every object with properties of its own, as JSON pointers; `0` is the element of a list, `x` a value of a map.
    fn objects(&self, (file, node): (&str, &Value), pointer: &str, found: &mut BTreeSet<String>) {
        if let Some(reference) = node["$ref"].as_str() {
            let (file, definition, _) = self.follow(file, reference);
            self.objects((file, definition), pointer, found);
        }
        for part in ["allOf", "anyOf"].iter().filter_map(|key| node[*key].as_array()).flatten() {
            self.objects((file, part), pointer, found);
        }
        for (name, property) in node["properties"].as_object().into_iter().flatten() {
            found.insert(pointer.to_owned());
            if !pointer.is_empty() || !OTHER_PLATFORMS.contains(&name.as_str()) {
                self.objects((file, property), &format!("{pointer}/{name}"), found);
            }
        }
        for (key, step) in [("items", "0"), ("additionalProperties", "x")] {
            if node[key].is_object() {
                self.objects((file, &node[key]), &format!("{pointer}/{step}"), found);
            }
        }
    }

    fn all_properties(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (name, path) in
            [("config-schema.json", ""), ("state-schema.json", "state"), ("features-schema.json", "features")]
        {
            self.properties((name, &self.0[name]), path, &mut found);
        }
        found
    }

    /// What is wrong with a value, by the words that the schema uses.
    fn faults(&self, (file, node): (&str, &Value), value: &Value, path: &str, faults: &mut Vec<String>) {
        if let Some(reference) = node["$ref"].as_str() {
            let (file, definition, _) = self.follow(file, reference);
            self.faults((file, definition), value, path, faults);
        }
        let is = match node["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some(other) => panic!("the schema has type {other}"),
            None => true,
        };
        if !is {
            faults.push(format!("{path}: {value} is no {}", node["type"]));
        }
        if node["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
            faults.push(format!("{path}: {value} is not one of the schema's"));
        }
        for name in node["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                faults.push(format!("{path}: no {name}"));
            }
        }
        for key in ["allOf", "anyOf"] {
            for part in node[key].as_array().into_iter().flatten() {
                self.faults((file, part), value, path, faults);
            }
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let property = node["properties"].get(name).or(node.get("additionalProperties"));
            if let Some(property) = property.filter(|property| property.is_object()) {
                self.faults((file, property), value, &format!("{path}.{name}"), faults);
            }
        }
        for (i, value) in value.as_array().into_iter().flatten().enumerate() {
            self.faults((file, &node["items"]), value, &format!("{path}[{i}]"), faults);
        }
    }

    fn check(&self, file: &str, value: &Value) {
        let mut faults = Vec::new();
        self.faults((file, &self.0[file]), value, "", &mut faults);
        assert_eq!(faults, Vec::<String>::new());
    }
}

/// The rows of the table: property, tests.
fn rows() -> Vec<(String, Vec<String>)> {
    let quoted =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(String::from).collect() };
    let text = read("docs/conformance.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut columns = row.trim_matches('|').split('|');
        let property = quoted(columns.next().unwrap()).remove(0);
        (property, columns.flat_map(quoted).collect())
    })
    .collect()
}

/// Whether there is a test: `process::umask` is in tests/integration/process.rs, `src/plan/net.rs::bad_names` in that file.
fn exists(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    let file =
        if file.contains('/') { PathBuf::from(file) } else { format!("tests/integration/{file}.rs").into() };
    let Ok(text) = std::fs::read_to_string(root().join(file)) else { return false };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let start = format!("fn {name}(");
    lines.iter().enumerate().any(|(i, line)| {
        let mut above = lines[..i].iter().rev().take_while(|line| line.starts_with("#["));
        line.starts_with(&start) && above.any(|line| *line == "#[test]")
    })
}

#[test]
fn every_property_has_a_row() {
    let rows: Vec<String> = rows().into_iter().map(|(property, _)| property).collect();
    let told: BTreeSet<String> = rows.iter().cloned().collect();
    let there = Schema::read().all_properties();
    assert!(there.len() > 150, "{there:?}");
    assert_eq!(
        there.difference(&told).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "properties without a row"
    );
    assert_eq!(told.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "rows without a property");
    assert_eq!(told.len(), rows.len(), "a property has two rows");
}

#[test]
fn every_row_has_a_test_that_exists() {
    for (property, tests) in rows() {
        assert!(!tests.is_empty(), "{property}: no test");
        for test in tests {
            assert!(exists(&test), "{property}: there is no test {test}");
        }
    }
    assert!(exists("process::umask") && !exists("process::nonsense") && !exists("nonsense"));
}

fn output(args: &[&str], directory: &Path) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_orlop")).args(args).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn features_are_of_the_schema_and_complete() {
    let features: Value = serde_json::from_str(&output(&["features"], &root())).unwrap();
    let schema = Schema::read();
    schema.check("features-schema.json", &features);
    let mut properties = BTreeSet::new();
    schema.properties(("features-schema.json", &schema.0["features-schema.json"]), "", &mut properties);
    for property in properties {
        let pointer = format!("/{}", property.replace('.', "/"));
        assert!(features.pointer(&pointer).is_some(), "features has no {property}");
    }
    for capability in features["linux"]["capabilities"].as_array().unwrap() {
        assert!(capability.as_str().unwrap().starts_with("CAP_"), "{capability}");
    }
}

/// Whatever the schema lets config.json say, `features` has to list: a word that is missing here is one that is refused.
#[test]
fn features_list_every_word_of_the_schema() {
    let features: Value = serde_json::from_str(&output(&["features"], &root())).unwrap();
    let schema = Schema::read();
    for (pointer, definition) in [
        ("/linux/namespaces", "NamespaceType"),
        ("/linux/seccomp/actions", "SeccompAction"),
        ("/linux/seccomp/operators", "SeccompOperators"),
        ("/linux/seccomp/archs", "SeccompArch"),
        ("/linux/seccomp/knownFlags", "SeccompFlag"),
        ("/linux/memoryPolicy/modes", "MemoryPolicyMode"),
        ("/linux/memoryPolicy/flags", "MemoryPolicyFlag"),
    ] {
        let listed: BTreeSet<&str> =
            features.pointer(pointer).unwrap().as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let words = schema.0["defs-linux.json"]["definitions"][definition]["enum"].as_array().unwrap();
        let mut words: BTreeSet<&str> = words.iter().filter_map(Value::as_str).collect();
        // A profile may name these, but no machine that this runs on has them.
        words.retain(|word| {
            !["PARISC", "PARISC64", "M68K", "SH", "SHEB"]
                .iter()
                .any(|arch| word.ends_with(&format!("ARCH_{arch}")))
        });
        assert_eq!(listed, words, "{pointer}");
    }
}

/// An array says nothing about an object's members, so that taking one for it would ignore whatever was meant.
#[test]
fn no_array_is_taken_for_an_object() {
    let schema = Schema::read();
    let mut objects = BTreeSet::new();
    schema.objects(("config-schema.json", &schema.0["config-schema.json"]), "", &mut objects);
    assert!(objects.len() > 40, "{objects:?}");
    let bundle = std::env::temp_dir().join(format!("orlop-conformance-array-{}", std::process::id()));
    std::fs::create_dir_all(&bundle).unwrap();
    for pointer in objects {
        let around = |value: Value, step: &&str| match *step {
            "0" => Value::Array(vec![value]),
            name => Value::Object(Map::from_iter([(name.to_owned(), value)])),
        };
        let steps: Vec<&str> = pointer.split('/').skip(1).collect();
        let config = steps.iter().rev().fold(Value::Array(Vec::new()), around);
        std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let mut orlop = Command::new(env!("CARGO_BIN_EXE_orlop"));
        let root = bundle.join("state");
        orlop.arg("--root").arg(&root).args(["create", "--bundle"]).arg(&bundle).arg("array");
        let stderr = String::from_utf8(orlop.output().unwrap().stderr).unwrap();
        let path = steps.iter().map(|step| if *step == "0" { "[0]".into() } else { format!(".{step}") });
        let path = path.collect::<String>();
        let path = path.trim_start_matches('.');
        let said = format!("config.json: {path}{}", if path.is_empty() { "" } else { ": " });
        // The second is serde's, of what is a map to it.
        let words = ["an array where none is expected at line 1", "invalid type: sequence, expected a map"];
        assert!(words.iter().any(|word| stderr.contains(&format!("{said}{word}"))), "{pointer}: {stderr}");
    }
    std::fs::remove_dir_all(&bundle).unwrap();
}

#[test]
fn the_configuration_that_spec_writes_is_of_the_schema() {
    let folder = std::env::temp_dir().join(format!("orlop-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    output(&["spec"], &folder);
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    Schema::read().check("config-schema.json", &serde_json::from_str(&config).unwrap());
}
