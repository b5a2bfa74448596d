//! Unix sockets ([unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html)). Sockets with a name lie in directories that only
//! their owner can enter, never in the abstract namespace, which every process of a network namespace can reach
//! (CVE-2020-15257).

use super::file::shown;
use super::{CallError, Called, Errno, Result, retry};
use rustix::net as rx;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A pair of connected sockets that keep messages apart (`SOCK_SEQPACKET`).
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rx::socketpair(rx::AddressFamily::UNIX, rx::SocketType::SEQPACKET, rx::SocketFlags::CLOEXEC, None)
        .called(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".into())
}

/// How long connecting may take, and sending on such a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most descriptors that go with one message.
const MAX_FDS: usize = 8;

/// Sends one message, with descriptors; a peer that is gone is `EPIPE`, not a signal.
pub fn send(socket: BorrowedFd, message: &[u8], fds: &[BorrowedFd]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = rx::SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(rx::SendAncillaryMessage::ScmRights(fds)) {
        return Err(CallError { call: format!("sendmsg({} descriptors)", fds.len()), errno: Errno::EINVAL });
    }
    retry(|| rx::sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, rx::SendFlags::NOSIGNAL))
        .map(drop)
        .called(|| format!("sendmsg({}, {} bytes)", shown(socket), message.len()))
}

/// A buffer that costs less than a call.
const SHORT: usize = 512;

/// A message and the descriptors that came with it.
#[derive(Debug)]
pub struct Message {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
}

/// Receives one message of at most `limit` bytes from a socket that keeps messages apart; `None` at the end of the connection. A longer
/// message is cut.
pub fn receive(socket: BorrowedFd, limit: usize) -> Result<Option<Message>> {
    // Most messages are short: to ask is cheaper than to have memory for the longest one, unless that is short, too.
    let length = if limit <= SHORT { limit } else { length_of_next(socket)?.min(limit) };
    let mut bytes = vec![0; length];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = rx::RecvAncillaryBuffer::new(&mut space);
    let received = retry(|| {
        rx::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, rx::RecvFlags::CMSG_CLOEXEC)
    })
    .called(|| format!("recvmsg({})", shown(socket)))?;
    let fds = ancillary.drain().filter_map(|message| match message {
        rx::RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds: Vec<OwnedFd> = fds.flatten().collect();
    if received.bytes == 0 && fds.is_empty() {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    Ok(Some(Message { bytes, fds }))
}

/// Waits for a message, and leaves it where it is.
fn length_of_next(socket: BorrowedFd) -> Result<usize> {
    let peek = rx::RecvFlags::PEEK | rx::RecvFlags::TRUNC;
    let (_, length) = retry(|| rx::recv(socket, &mut [0; 0], peek))
        .called(|| format!("recv({}, MSG_PEEK)", shown(socket)))?;
    Ok(length)
}

/// The address of a socket file in an open directory. The way through the descriptor keeps within the 107 bytes of an
/// address however long the path of the directory is.
fn address(dir: BorrowedFd, name: &str) -> Result<rx::SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{name}", dir.as_raw_fd());
    rx::SocketAddrUnix::new(&path).called(|| format!("socket address {path:?}"))
}

fn new_socket(kind: rx::SocketType, flags: rx::SocketFlags) -> Result<OwnedFd> {
    rx::socket_with(rx::AddressFamily::UNIX, kind, flags | rx::SocketFlags::CLOEXEC, None)
        .called(|| "socket(AF_UNIX)".into())
}

/// A socket file `name` in a directory, on which messages of connections are awaited.
pub fn listen_at(dir: BorrowedFd, name: &str) -> Result<OwnedFd> {
    let socket = new_socket(rx::SocketType::SEQPACKET, rx::SocketFlags::empty())?;
    rx::bind(&socket, &address(dir, name)?).called(|| format!("bind({:?})", entry(dir, name)))?;
    rx::listen(&socket, 16).called(|| format!("listen({:?})", entry(dir, name)))?;
    Ok(socket)
}

/// Connects to the socket file `name` in a directory, without waiting: `EAGAIN` where too many are waiting already. There is nothing to
/// connect to if the file is missing, or nobody listens any more.
pub fn connect_at(dir: BorrowedFd, name: &str) -> Result<Option<OwnedFd>> {
    let socket = new_socket(rx::SocketType::SEQPACKET, rx::SocketFlags::NONBLOCK)?;
    match rx::connect(&socket, &address(dir, name)?) {
        Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => Ok(None),
        other => other.map(|()| Some(socket)).called(|| format!("connect({:?})", entry(dir, name))),
    }
}

/// Whether a process holds the socket with the file `name` in a directory. It does not learn that it was asked for: a socket of another
/// kind can't connect to it, and is told so before anybody is woken (`EPROTOTYPE`,
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html)).
pub fn is_held_at(dir: BorrowedFd, name: &str) -> Result<bool> {
    let socket = new_socket(rx::SocketType::DGRAM, rx::SocketFlags::empty())?;
    match rx::connect(&socket, &address(dir, name)?) {
        Err(rustix::io::Errno::PROTOTYPE) => Ok(true),
        Ok(()) | Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error).called(|| format!("connect({:?})", entry(dir, name))),
    }
}

/// `accept4(socket, SOCK_CLOEXEC)`: waits for the next connection.
pub fn accept(socket: BorrowedFd) -> Result<OwnedFd> {
    retry(|| rx::accept_with(socket, rx::SocketFlags::CLOEXEC))
        .called(|| format!("accept4({})", shown(socket)))
}

/// Connects to the stream socket of a path of the host, or an abstract one (`@name`). Neither this nor a later write to it waits for a
/// server that doesn't react beyond the deadline.
pub fn connect_stream_until(path: &Path, deadline: Instant) -> Result<OwnedFd> {
    let socket = new_socket(rx::SocketType::STREAM, rx::SocketFlags::empty())?;
    // No time at all would mean "for ever".
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    limit_sends(&socket, left)?;
    connect_named(&socket, path)?;
    Ok(socket)
}

/// Connects to the stream socket of a path of the host, as a console socket is one. Whoever listens there may be busy for
/// [`PATIENCE`], then it is `EAGAIN`.
pub fn connect_stream(path: &Path) -> Result<OwnedFd> {
    let socket = new_socket(rx::SocketType::STREAM, rx::SocketFlags::empty())?;
    limit_sends(&socket, PATIENCE)?;
    connect_path(&socket, path)?;
    Ok(socket)
}

/// Connecting and sending end after this time.
fn limit_sends(socket: &OwnedFd, time: Duration) -> Result<()> {
    rx::sockopt::set_socket_timeout(socket, rx::sockopt::Timeout::Send, Some(time))
        .called(|| "setsockopt(SO_SNDTIMEO)".into())
}

/// A datagram socket with the file `name` in a directory, which everybody may write to.
pub fn bind_datagram(dir: BorrowedFd, name: &str) -> Result<OwnedFd> {
    let socket = new_socket(rx::SocketType::DGRAM, rx::SocketFlags::NONBLOCK)?;
    rx::bind(&socket, &address(dir, name)?).called(|| format!("bind({:?})", entry(dir, name)))?;
    let mode = rustix::fs::Mode::from_raw_mode(0o777);
    rustix::fs::chmodat(dir, name, mode, rustix::fs::AtFlags::empty())
        .called(|| format!("chmod({:?})", entry(dir, name)))?;
    Ok(socket)
}

/// A datagram socket connected to the one of a path of the host; a path that begins with `@` is abstract, as systemd writes it.
pub fn connect_datagram(path: &Path) -> Result<OwnedFd> {
    let socket = new_socket(rx::SocketType::DGRAM, rx::SocketFlags::empty())?;
    connect_named(&socket, path)?;
    Ok(socket)
}

/// Connects to a path, or with `@` before it to a name of the abstract namespace.
fn connect_named(socket: &OwnedFd, path: &Path) -> Result<()> {
    match path.as_os_str().as_encoded_bytes() {
        [b'@', name @ ..] => {
            let call = || format!("connect({path:?})");
            let address = rx::SocketAddrUnix::new_abstract_name(name).called(call)?;
            rx::connect(socket, &address).called(call)
        }
        _ => connect_path(socket, path),
    }
}

/// Connects by way of the directory, because the path may be longer than an address.
fn connect_path(socket: &OwnedFd, path: &Path) -> Result<()> {
    let call = || format!("connect({path:?})");
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::EINVAL).called(call)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let dir = super::file::open_dir(parent)?;
    let address = address(std::os::fd::AsFd::as_fd(&dir), name)?;
    retry(|| rx::connect(socket, &address)).called(call)
}

fn entry(dir: BorrowedFd, name: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).unwrap_or_default().join(name)
}
