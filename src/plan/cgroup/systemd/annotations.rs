//! Properties that config.json asks for by annotations: `org.systemd.property.TimeoutStopUSec: "uint64 10000000"`. The values are
//! in the text form of GVariant, as runc and crun take them: booleans, integers with or without a type, strings and
//! lists of strings ([the format](https://docs.gtk.org/glib/gvariant-text-format.html)).

use super::{Property, Value};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the names of such annotations begin with.
pub const PREFIX: &str = "org.systemd.property.";

/// The properties, in the order of their names.
pub fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let ours = annotations.iter().filter_map(|(key, value)| Some((key, key.strip_prefix(PREFIX)?, value)));
    ours.map(|(key, name, value)| {
        property(name, value).map_err(|error| error.field(format!("annotations[{key:?}]")))
    })
    .collect()
}

fn property(name: &str, text: &str) -> Result<Property> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_uppercase());
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Error::new(format!("{name:?} is not the name of a property, like TimeoutStopUSec")));
    }
    // The documentation has times in seconds under the name without the U.
    match name.strip_suffix("Sec") {
        Some(stem) if !stem.ends_with('U') => {
            Ok(Property { name: format!("{stem}USec"), value: Value::Uint64(microseconds(text)?) })
        }
        _ => Ok(Property { name: name.to_owned(), value: value(text)? }),
    }
}

fn wrong(text: &str) -> Error {
    Error::new(format!("{text:?} is not a value of GVariant that is understood here"))
        .hint("true, 5, uint64 5, 'text' and ['text', ...] are")
}

fn microseconds(text: &str) -> Result<u64> {
    // The number of seconds may have a type before it.
    let number = text.split_whitespace().last().unwrap_or_default();
    let seconds = number.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let micros = seconds.and_then(|seconds| u64::try_from(seconds.as_micros()).ok());
    micros.ok_or_else(|| Error::new(format!("{text:?} is not a number of seconds")))
}

fn value(text: &str) -> Result<Value> {
    let mut left = text.trim();
    let value = take_value(&mut left).filter(|_| left.trim_start().is_empty());
    value.filter(|value| !has_nul(value)).ok_or_else(|| wrong(text))
}

/// Strings of D-Bus have no zeros in them.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains('\0'),
        Value::Texts(texts) => texts.iter().any(|text| text.contains('\0')),
        _ => false,
    }
}

/// Takes one value from the beginning of a text.
fn take_value(left: &mut &str) -> Option<Value> {
    if left.starts_with(['\'', '"']) {
        return take_string(left).map(Value::Text);
    }
    if left.starts_with(['[', '@']) {
        *left = left.strip_prefix("@as").unwrap_or(left).trim_start();
        return take_strings(left).map(Value::Texts);
    }
    let end = left.find(char::is_whitespace).unwrap_or(left.len());
    let (word, rest) = left.split_at(end);
    *left = rest.trim_start();
    match word {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        "byte" | "int16" | "uint16" | "int32" | "uint32" | "int64" | "uint64" => {
            let end = left.find(char::is_whitespace).unwrap_or(left.len());
            let (number, rest) = left.split_at(end);
            *left = rest;
            typed(word, integer(number)?)
        }
        "string" => take_string(left).map(Value::Text),
        number => typed("int32", integer(number)?),
    }
}

fn typed(kind: &str, number: i128) -> Option<Value> {
    Some(match kind {
        "byte" => Value::Byte(number.try_into().ok()?),
        "int16" => Value::Int16(number.try_into().ok()?),
        "uint16" => Value::Uint16(number.try_into().ok()?),
        "int32" => Value::Int32(number.try_into().ok()?),
        "uint32" => Value::Uint32(number.try_into().ok()?),
        "int64" => Value::Int64(number.try_into().ok()?),
        _ => Value::Uint64(number.try_into().ok()?),
    })
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => i128::from(u64::from_str_radix(hex, 16).ok()?),
        None if digits.len() > 1 && digits.starts_with('0') => {
            i128::from(u64::from_str_radix(digits, 8).ok()?)
        }
        None => i128::from(digits.parse::<u64>().ok()?),
    };
    Some(if negative { -number } else { number })
}

/// A string in quotes of either kind, with backslashes before what would end it.
fn take_string(left: &mut &str) -> Option<String> {
    let mut chars = left.char_indices();
    let (_, quote) = chars.next().filter(|(_, c)| matches!(c, '\'' | '"'))?;
    let mut text = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            c if c == quote => {
                *left = left.get(at + 1..)?;
                return Some(text);
            }
            other => text.push(other),
        }
    }
    None
}

fn take_strings(left: &mut &str) -> Option<Vec<String>> {
    *left = left.strip_prefix('[')?.trim_start();
    let mut texts = Vec::new();
    while !left.starts_with(']') {
        if !texts.is_empty() {
            *left = left.strip_prefix(',')?.trim_start();
        }
        texts.push(take_string(left)?);
        *left = left.trim_start();
    }
    *left = left.strip_prefix(']')?;
    Some(texts)
}
