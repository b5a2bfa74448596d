use super::message::{decode, encode};
use super::*;
use crate::plan::cgroup::systemd::{Property, Value};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// A message as systemd would send it.
struct Sent {
    kind: u8,
    /// (code, type, value); the value of type `u` as a number.
    fields: Vec<(u8, char, String)>,
    body: Vec<u8>,
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

impl Sent {
    fn new(kind: u8, fields: &[(u8, char, &str)], texts: &[&str]) -> Self {
        let mut body = Vec::new();
        for value in texts {
            text(&mut body, value);
        }
        let fields = fields.iter().map(|&(code, kind, value)| (code, kind, value.to_owned())).collect();
        Sent { kind, fields, body }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![b'l', self.kind, 1, 1];
        bytes.extend(u32::try_from(self.body.len()).unwrap().to_le_bytes());
        bytes.extend([9, 0, 0, 0, 0, 0, 0, 0]);
        for (code, kind, value) in &self.fields {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes.extend([*code, 1, u8::try_from(*kind).unwrap(), 0]);
            match kind {
                'u' => bytes.extend(value.parse::<u32>().unwrap().to_le_bytes()),
                'g' => {
                    bytes.push(u8::try_from(value.len()).unwrap());
                    bytes.extend(value.as_bytes());
                    bytes.push(0);
                }
                _ => text(&mut bytes, value),
            }
        }
        let fields = u32::try_from(bytes.len() - 16).unwrap();
        bytes[12..16].copy_from_slice(&fields.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(&self.body);
        bytes
    }
}

/// The answer to call 1, that it began a job.
fn job(name: &str) -> Sent {
    Sent::new(2, &[(5, 'u', "1"), (8, 'g', "o"), (7, 's', ":1.1")], &[name])
}

fn removed(job: &str, sender: &str, result: &str) -> Sent {
    // Its number, too, which comes first.
    let mut sent = Sent::new(
        4,
        &[(3, 's', "JobRemoved"), (7, 's', sender), (8, 'g', "uoss"), (2, 's', "i")],
        &[job, "u", result],
    );
    sent.body.splice(0..0, [7, 0, 0, 0]);
    sent
}

/// A systemd that has been told what to say, whatever it is asked.
fn peer(behave: impl FnOnce(UnixStream) + Send + 'static) -> (Address, JoinHandle<()>) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("orlop-unit-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    let address = Address::Direct(path.clone());
    let thread = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::fs::remove_file(path).unwrap();
        let mut hello = [0; 29];
        stream.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        behave(stream);
    });
    (address, thread)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(300)
}

/// The result of a job, of a systemd that says this.
fn result_of(said: Vec<u8>) -> Result<String> {
    let (address, thread) = peer(move |mut stream| {
        // Who has enough of it hangs up.
        let _ = stream.write_all(b"DATA\r\nOK 0123\r\n").and_then(|()| stream.write_all(&said));
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let result = Connection::open(&address, "x.scope", soon()).and_then(|mut connection| {
        match connection.call("StartTransientUnit", &Body::default().text("x.scope"))? {
            Answer::Done(message) => connection.job_result(&message),
            Answer::Refused { name, text } => Ok(format!("{name}: {text}")),
        }
    });
    thread.join().unwrap();
    result
}

fn bytes(messages: &[Sent]) -> Vec<u8> {
    messages.iter().flat_map(Sent::bytes).collect()
}

#[test]
fn calls_as_bytes() {
    let body = Body::default().text("a").bool(true);
    // The header with its five fields, each at a multiple of eight, and the body.
    let expected = b"l\x01\x00\x01\x0c\x00\x00\x00\x02\x00\x00\x00\x98\x00\x00\x00\
        \x01\x01o\x00\x19\x00\x00\x00/org/freedesktop/systemd1\x00\x00\x00\x00\x00\x00\x00\
        \x02\x01s\x00 \x00\x00\x00org.freedesktop.systemd1.Manager\x00\x00\x00\x00\x00\x00\x00\x00\
        \x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00\
        \x06\x01s\x00\x18\x00\x00\x00org.freedesktop.systemd1\x00\x00\x00\x00\x00\x00\x00\x00\
        \x08\x01g\x00\x02sb\x00\
        \x01\x00\x00\x00a\x00\x00\x00\x01\x00\x00\x00";
    assert_eq!(String::from_utf8_lossy(&encode(2, &MANAGER, "M", &body)), String::from_utf8_lossy(expected));
}

#[test]
fn properties_as_bytes() {
    let value = |value: Value| {
        let property = Property { name: "N".into(), value };
        let message = encode(1, &MANAGER, "M", &Body::default().properties([&property]));
        let body = u32::from_le_bytes(message[4..8].try_into().unwrap());
        let body = message[message.len() - usize::try_from(body).unwrap()..].to_vec();
        // The length of the array, a gap, the name.
        let length = u32::from_le_bytes(body[..4].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), body.len() - 8);
        assert_eq!(&body[4..14], b"\0\0\0\0\x01\0\0\0N\0");
        body[14..].to_vec()
    };
    assert_eq!(value(Value::Bool(true)), b"\x01b\0\0\0\0\x01\0\0\0");
    assert_eq!(value(Value::Byte(7)), b"\x01y\0\x07");
    assert_eq!(value(Value::Int16(-1)), b"\x01n\0\0\xff\xff");
    assert_eq!(value(Value::Uint16(1)), b"\x01q\0\0\x01\0");
    assert_eq!(value(Value::Int32(-2)), b"\x01i\0\0\0\0\xfe\xff\xff\xff");
    assert_eq!(value(Value::Uint32(2)), b"\x01u\0\0\0\0\x02\0\0\0");
    assert_eq!(value(Value::Int64(-2)), b"\x01x\0\0\0\0\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(value(Value::Uint64(u64::MAX)), b"\x01t\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(value(Value::Text("ab".into())), b"\x01s\0\0\0\0\x02\0\0\0ab\0");
    let texts = Value::Texts(vec!["a".into(), "b".into()]);
    assert_eq!(value(texts), b"\x02as\0\0\0\x0e\0\0\0\x01\0\0\0a\0\0\0\x01\0\0\0b\0");
    assert_eq!(value(Value::Bytes(vec![5, 6])), b"\x02ay\0\0\0\x02\0\0\0\x05\x06");
    assert_eq!(value(Value::Numbers(vec![9])), b"\x02au\0\0\0\x04\0\0\0\x09\0\0\0");
}

#[test]
fn what_was_made_can_be_read() {
    let made = encode(3, &MANAGER, "M", &Body::default().text("a").text("bc"));
    for length in 0..made.len() {
        assert!(decode(&made[..length]).unwrap().is_none(), "{length}");
    }
    let (message, length) = decode(&made).unwrap().unwrap();
    assert_eq!((length, message.kind, message.member.as_str()), (made.len(), Kind::Other, "M"));
    assert_eq!(message.texts(), ["a", "bc"]);
}

#[test]
fn the_other_order_of_bytes() {
    let mut bytes = b"B\x02\x01\x01\0\0\0\x06\0\0\0\x01\0\0\0\x0f\x05\x01u\0\0\0\0\x01".to_vec();
    bytes.extend(b"\x08\x01g\0\x01s\0\0\0\0\0\x01x\0");
    let (message, _) = decode(&bytes).unwrap().unwrap();
    assert_eq!((message.reply_to, message.texts()), (Some(1), vec!["x".to_owned()]));
}

#[test]
fn a_job_is_waited_for() {
    let said = [
        Sent::new(4, &[(3, 's', "UnitNew"), (8, 'g', "so")], &["a", "/b"]),
        Sent::new(2, &[(5, 'u', "77")], &[]),
        job("/job/1"),
        removed("/job/2", ":1.1", "failed"),
        // Somebody else says so.
        removed("/job/1", ":1.666", "failed"),
        removed("/job/1", ":1.1", "done"),
    ];
    assert_eq!(result_of(bytes(&said)).unwrap(), "done");
    assert_eq!(result_of(bytes(&[job("/j"), removed("/j", ":1.1", "timeout")])).unwrap(), "timeout");
}

#[test]
fn an_error_is_an_answer() {
    let said = Sent::new(3, &[(5, 'u', "1"), (4, 's', "org.x.UnitExists"), (8, 'g', "s")], &["it is there"]);
    assert_eq!(result_of(said.bytes()).unwrap(), "org.x.UnitExists: it is there");
    // Without a text.
    assert_eq!(result_of(Sent::new(3, &[(5, 'u', "1"), (4, 's', "x")], &[]).bytes()).unwrap(), "x: ");
}

#[test]
fn odd_answers_are_errors_and_end() {
    let odd = |said: Vec<u8>| result_of(said).unwrap_err().to_string();
    let late = "no answer in time (is systemd hanging, or very busy?)";
    assert_eq!(odd(Vec::new()), late);
    assert_eq!(odd(job("/j").bytes()), late);
    assert_eq!(odd(bytes(&[job("/j"), removed("/other", ":1.1", "done")])), late);
    assert_eq!(odd(job("/j").bytes()[..30].to_vec()), late);
    // The answer names no job, because it says something else.
    assert_eq!(odd(Sent::new(2, &[(5, 'u', "1"), (8, 'g', "u")], &["x"]).bytes()), "systemd named no job");
    assert_eq!(odd(Sent::new(2, &[(5, 'u', "1"), (8, 'g', "o")], &[]).bytes()), "systemd named no job");
    let wrong = "what systemd sent is not a message of D-Bus";
    assert_eq!(odd(b"HTTP/1.1 400 Bad Request\r\n".to_vec()), wrong);
    assert_eq!(odd(Sent::new(2, &[(5, 'd', "1")], &[]).bytes()), wrong);
    let mut long = job("/j").bytes();
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(odd(long), "systemd sent a message of absurd length");
    // A string that is longer than the message.
    let mut long = job("/j").bytes();
    let at = long.len() - 7;
    long[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(odd(long), "systemd named no job");
}

#[test]
fn endless_talk_ends_at_the_deadline() {
    let (address, thread) = peer(|mut stream| {
        let signal = Sent::new(4, &[(3, 's', "UnitNew")], &[]).bytes();
        let _ = stream.write_all(b"OK\r\n");
        while stream.write_all(&signal).is_ok() {}
    });
    let mut connection = Connection::open(&address, "x.scope", soon()).unwrap();
    let error = connection.call("M", &Body::default()).unwrap_err().to_string();
    assert!(error.starts_with("no answer in time"), "{error}");
    drop(connection);
    thread.join().unwrap();
}

#[test]
fn who_is_refused_or_hung_up_on_is_told() {
    let open = |behave: fn(UnixStream)| {
        let (address, thread) = peer(behave);
        let error = Connection::open(&address, "x.scope", soon()).unwrap_err().to_string();
        thread.join().unwrap();
        error
    };
    let rejected = open(|mut stream| stream.write_all(b"REJECTED EXTERNAL\r\n").unwrap());
    assert_eq!(rejected, "the connection was refused: \"REJECTED EXTERNAL\"");
    assert_eq!(open(drop), "the connection was closed");
    let silent = open(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    assert!(silent.starts_with("no answer in time"), "{silent}");
    let nobody = Address::Bus("/nowhere/bus".into());
    assert!(Connection::open(&nobody, "x.scope", soon()).unwrap_err().to_string().contains("ENOENT"));
}

#[test]
fn a_bus_is_greeted_and_told_what_is_wanted() {
    let (Address::Direct(path), thread) = peer(|mut stream| {
        stream.write_all(b"OK\r\n").unwrap();
        let mut received = Vec::new();
        let mut buffer = [0; 1024];
        let mut members = Vec::new();
        while members.len() < 3 {
            let length = stream.read(&mut buffer).unwrap();
            received.extend(&buffer[..length]);
            while let Some((message, length)) = decode(&received).unwrap() {
                received.drain(..length);
                members.push((message.member.clone(), message.texts().concat()));
            }
        }
        assert_eq!(members[0].0, "Hello");
        assert_eq!(members[1].0, "AddMatch");
        assert!(members[1].1.contains("member='JobRemoved'") && members[1].1.ends_with("arg2='x.scope'"));
        let answer = Sent::new(2, &[(5, 'u', "3")], &[]).bytes();
        stream.write_all(&answer).unwrap();
    }) else {
        panic!()
    };
    let mut connection = Connection::open(&Address::Bus(path), "x.scope", soon()).unwrap();
    assert!(matches!(connection.call("M", &Body::default()).unwrap(), Answer::Done(_)));
    thread.join().unwrap();
}
