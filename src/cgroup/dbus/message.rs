//! Messages of D-Bus as bytes. All values are aligned to their size, counted from the beginning of the message; its body
//! begins at a multiple of eight.

use crate::error::{Error, Result};
use crate::plan::cgroup::systemd::{Property, Value};

/// Who is called.
#[derive(Debug)]
pub struct Target {
    pub destination: &'static str,
    pub path: &'static str,
    pub interface: &'static str,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The answer to a call.
    Return,
    /// The same, of a call that failed.
    Error,
    /// Something has happened.
    Signal,
    /// A call, or what is not known.
    Other,
}

/// A message that was received.
#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    /// The serial number of the call that it answers.
    pub reply_to: Option<u32>,
    /// The name of the error.
    pub error: Option<String>,
    /// The name of the signal.
    pub member: String,
    /// Who sent it, on a bus.
    pub sender: Option<String>,
    signature: String,
    body: Vec<u8>,
    big_endian: bool,
}

/// Codes of the header's fields.
mod field {
    pub const PATH: u8 = 1;
    pub const INTERFACE: u8 = 2;
    pub const MEMBER: u8 = 3;
    pub const ERROR_NAME: u8 = 4;
    pub const REPLY_SERIAL: u8 = 5;
    pub const DESTINATION: u8 = 6;
    pub const SENDER: u8 = 7;
    pub const SIGNATURE: u8 = 8;
}

/// The longest message that is taken. systemd's own are a few kilobytes.
const LONGEST: usize = 4 << 20;

/// The bytes of a message that is being made, from a multiple of eight on.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

/// A length as it is sent. Nothing here comes near the limit: it all stems from one config.json.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.align(8);
        self.0.extend(number.to_le_bytes());
    }

    /// A string, or the path of an object.
    fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// An array: its length in bytes, which does not count the gap before its first element.
    fn array<T>(
        &mut self,
        align: usize,
        elements: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, T),
    ) {
        self.u32(0);
        let at = self.0.len() - 4;
        self.align(align);
        let start = self.0.len();
        for element in elements {
            self.align(align);
            write(self, element);
        }
        let bytes = length(self.0.len() - start);
        self.0[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
    }

    /// A value that brings its type along.
    fn variant(&mut self, value: &Value) {
        self.signature(match value {
            Value::Bool(_) => "b",
            Value::Byte(_) => "y",
            Value::Int16(_) => "n",
            Value::Uint16(_) => "q",
            Value::Int32(_) => "i",
            Value::Uint32(_) => "u",
            Value::Int64(_) => "x",
            Value::Uint64(_) => "t",
            Value::Text(_) => "s",
            Value::Texts(_) => "as",
            Value::Bytes(_) => "ay",
            Value::Numbers(_) => "au",
        });
        match value {
            Value::Bool(yes) => self.u32(u32::from(*yes)),
            Value::Byte(byte) => self.0.push(*byte),
            Value::Int16(number) => {
                self.align(2);
                self.0.extend(number.to_le_bytes());
            }
            Value::Uint16(number) => {
                self.align(2);
                self.0.extend(number.to_le_bytes());
            }
            Value::Int32(number) => self.u32(u32::from_le_bytes(number.to_le_bytes())),
            Value::Uint32(number) => self.u32(*number),
            Value::Int64(number) => self.u64(u64::from_le_bytes(number.to_le_bytes())),
            Value::Uint64(number) => self.u64(*number),
            Value::Text(text) => self.text(text),
            Value::Texts(texts) => self.array(4, texts, |w, text| w.text(text)),
            Value::Bytes(bytes) => self.array(1, bytes, |w, byte| w.0.push(*byte)),
            Value::Numbers(numbers) => self.array(4, numbers, |w, number| w.u32(*number)),
        }
    }
}

/// The arguments of a call.
#[derive(Debug, Default)]
pub struct Body {
    signature: String,
    bytes: Writer,
}

impl Body {
    /// Appends a string.
    pub fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.bytes.text(text);
        self
    }

    /// Appends a boolean.
    pub fn bool(mut self, yes: bool) -> Self {
        self.signature.push('b');
        self.bytes.u32(u32::from(yes));
        self
    }

    /// Appends an array of names and values.
    pub fn properties<'a>(mut self, properties: impl IntoIterator<Item = &'a Property>) -> Self {
        self.signature.push_str("a(sv)");
        self.bytes.array(8, properties, |w, property| {
            w.text(&property.name);
            w.variant(&property.value);
        });
        self
    }

    /// Appends an empty array of units with their properties.
    pub fn no_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        self.bytes.array(8, [], |_, ()| {});
        self
    }
}

/// The bytes of a call.
pub fn encode(serial: u32, target: &Target, method: &str, body: &Body) -> Vec<u8> {
    // Little-endian, a call, no flags, version 1 of the protocol.
    let mut writer = Writer(vec![b'l', 1, 0, 1]);
    writer.u32(length(body.bytes.0.len()));
    writer.u32(serial);
    let fields = [
        (field::PATH, "o", target.path),
        (field::INTERFACE, "s", target.interface),
        (field::MEMBER, "s", method),
        (field::DESTINATION, "s", target.destination),
        (field::SIGNATURE, "g", &body.signature),
    ];
    let present = fields.into_iter().filter(|(_, _, value)| !value.is_empty());
    writer.array(8, present, |w, (code, kind, value)| {
        w.0.push(code);
        w.signature(kind);
        if kind == "g" { w.signature(value) } else { w.text(value) }
    });
    writer.align(8);
    writer.0.extend(&body.bytes.0);
    writer.0
}

/// Reads values; `None` is what does not fit into the bytes that are there.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        self.terminated(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(*self.take(1)?.first()?);
        self.terminated(length)
    }

    fn terminated(&mut self, length: usize) -> Option<String> {
        let text = self.take(length)?;
        self.take(1)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

impl Message {
    /// The strings and object paths among the arguments, up to one of another type than these and numbers.
    pub fn texts(&self) -> Vec<String> {
        let mut reader = Reader { bytes: &self.body, at: 0, big_endian: self.big_endian };
        let mut texts = Vec::new();
        for kind in self.signature.chars() {
            match kind {
                's' | 'o' => match reader.text() {
                    Some(text) => texts.push(text),
                    None => break,
                },
                'u' | 'i' | 'b' if reader.u32().is_some() => {}
                _ => break,
            }
        }
        texts
    }
}

/// Reads the message that the bytes begin with, and tells how long it is; `None` if it is not all there yet.
pub fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>> {
    let Some(start) = bytes.get(..16) else { return Ok(None) };
    let wrong = || Error::new("what systemd sent is not a message of D-Bus");
    let big_endian = match (start[0], start[3]) {
        (b'l', 1) => false,
        (b'B', 1) => true,
        _ => return Err(wrong()),
    };
    let mut reader = Reader { bytes, at: 4, big_endian };
    let body = reader.length().ok_or_else(wrong)?;
    reader.at = 12;
    let fields = reader.length().ok_or_else(wrong)?;
    if body > LONGEST || fields > LONGEST {
        return Err(Error::new("systemd sent a message of absurd length"));
    }
    let header = 16 + fields.next_multiple_of(8);
    if bytes.len() < header + body {
        return Ok(None);
    }
    reader.bytes = &bytes[..16 + fields];
    let mut message = Message {
        kind: match start[1] {
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => Kind::Other,
        },
        reply_to: None,
        error: None,
        member: String::new(),
        sender: None,
        signature: String::new(),
        body: bytes[header..header + body].to_owned(),
        big_endian,
    };
    while reader.at < reader.bytes.len() {
        message.take_field(&mut reader).ok_or_else(wrong)?;
    }
    Ok(Some((message, header + body)))
}

impl Message {
    fn take_field(&mut self, reader: &mut Reader) -> Option<()> {
        reader.align(8);
        let code = *reader.take(1)?.first()?;
        match (code, reader.signature()?.as_str()) {
            (field::REPLY_SERIAL, "u") => self.reply_to = Some(reader.u32()?),
            (field::SIGNATURE, "g") => self.signature = reader.signature()?,
            (field::ERROR_NAME, "s") => self.error = Some(reader.text()?),
            (field::MEMBER, "s") => self.member = reader.text()?,
            (field::SENDER, "s") => self.sender = Some(reader.text()?),
            // Fields that don't matter here, and those that are not known: of the types that fields have.
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.u32()?),
            _ => return None,
        }
        Some(())
    }
}
