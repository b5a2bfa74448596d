//! Arrays that stand where the runtime-spec has an object. serde takes an array for a struct, as the values of its fields in the order
//! of their declaration, so that `"resources": []` would ask for nothing without an error. It is the text that is looked through: the
//! deserialisers that would notice are a second copy of those of all types.

use super::path::end_of_string;

/// What the value of a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object with fields of its own.
    Object,
    /// An array of such objects.
    List,
    /// An object whose fields have any name, each with such an object.
    Map,
    /// What has none of them in it, or is not the runtime-spec's.
    Other,
}

/// The shape of a field, by its name with the quotes. None has two in different places.
fn of_field(name: &[u8]) -> Shape {
    match name {
        br#""process""# | br#""root""# | br#""hooks""# | br#""linux""# => Shape::Object,
        br#""consoleSize""# | br#""user""# | br#""capabilities""# | br#""scheduler""# => Shape::Object,
        br#""ioPriority""# | br#""execCPUAffinity""# => Shape::Object,
        br#""resources""# | br#""seccomp""# | br#""intelRdt""# => Shape::Object,
        br#""memoryPolicy""# | br#""personality""# => Shape::Object,
        br#""memory""# | br#""cpu""# | br#""pids""# | br#""blockIO""# | br#""network""# => Shape::Object,
        br#""mounts""# | br#""rlimits""# | br#""uidMappings""# | br#""gidMappings""# => Shape::List,
        br#""namespaces""# | br#""devices""# | br#""syscalls""# | br#""args""# => Shape::List,
        br#""hugepageLimits""# | br#""priorities""# | br#""weightDevice""# => Shape::List,
        br#""throttleReadBpsDevice""# | br#""throttleWriteBpsDevice""# => Shape::List,
        br#""throttleReadIOPSDevice""# | br#""throttleWriteIOPSDevice""# => Shape::List,
        br#""prestart""# | br#""createRuntime""# | br#""createContainer""# => Shape::List,
        br#""startContainer""# | br#""poststart""# | br#""poststop""# => Shape::List,
        br#""netDevices""# | br#""rdma""# | br#""timeOffsets""# => Shape::Map,
        _ => Shape::Other,
    }
}

/// The index of the first bracket of an array in the place of an object; `outermost` is the shape of the whole text. For a text that
/// is not JSON the answer means nothing: its parser refuses it.
pub fn misplaced_array(json: &[u8], outermost: Shape) -> Option<usize> {
    let mut open: Vec<Shape> = Vec::new();
    // What the next value is to be.
    let mut next = outermost;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'[' if next == Shape::Object => return Some(at),
            b'{' | b'[' => {
                open.push(next);
                next = in_each(next);
            }
            b'}' | b']' => drop(open.pop()),
            b',' => next = in_each(*open.last()?),
            b'"' => {
                let end = end_of_string(json, at + 1)?;
                // It is the name of a field, or a value, after which a comma comes or the end.
                if open.last() == Some(&Shape::Object) {
                    next = of_field(&json[at..end]);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// What is in a value, unless the name of a field says so.
fn in_each(shape: Shape) -> Shape {
    match shape {
        Shape::List | Shape::Map => Shape::Object,
        Shape::Object | Shape::Other => Shape::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_in_the_place_of_objects() {
        for (json, found) in [
            (r#"{"linux": {"resources": {"memory": ^[]}}}"#, true),
            (r#"{"process": {"args": ["[", "linux", "["], "user": ^[0]}}"#, true),
            (r#"{"mounts": [{"destination": "/"}, ^["/"]]}"#, true),
            (r#"{"linux": {"netDevices": {"mounts": ^[]}}}"#, true),
            (r#"{"hooks": {"poststop": [{"args": ["root"]}, ^[]]}}"#, true),
            (r#"^["1.3.0"]"#, true),
            (
                r#"{"root" :"linux", "annotations": {"linux": "["}, "x": {"linux": [[]]}, "y": ["linux", []]}"#,
                false,
            ),
            (r#"{"process": {"args": ["user", "x"], "env": []}, "linux": null, "hooks": {}}"#, false),
        ] {
            let text = json.replace('^', "");
            let expected = found.then(|| json.find('^').unwrap());
            assert_eq!(misplaced_array(text.as_bytes(), Shape::Object), expected, "{json}");
        }
        assert_eq!(misplaced_array(b"[{}, []]", Shape::List), Some(5));
        for text in [&b""[..], b"\"", b"{\"a", b",", b"}]"] {
            assert_eq!(misplaced_array(text, Shape::Object), None);
        }
    }
}
