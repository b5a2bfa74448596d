//! Network devices and their addresses, by rtnetlink
//! ([rtnetlink(7)](https://man7.org/linux/man-pages/man7/rtnetlink.7.html)): a request, and its answers up to the acknowledgement.

use super::{CallError, Called, Errno, Result, retry};
use rustix::net as rx;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A conversation with the kernel about the devices of one network namespace: the one that its process was in when it was opened,
/// which exists for as long as it is open.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number, which may change on the way into another namespace.
    pub index: i32,
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
}

/// An address of a device, as much of it as does not depend on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// It was given to the device, and does not run out.
    pub fn is_permanent(&self) -> bool {
        self.flags & libc::IFA_F_PERMANENT != 0
    }

    /// It is valid beyond its link.
    pub fn is_global(&self) -> bool {
        self.scope == libc::RT_SCOPE_UNIVERSE
    }
}

/// What an address is added with: the flags that are properties of the address and not the state that it is in.
const KEPT_FLAGS: u32 = libc::IFA_F_NODAD
    | libc::IFA_F_HOMEADDRESS
    | libc::IFA_F_MANAGETEMPADDR
    | libc::IFA_F_NOPREFIXROUTE
    | libc::IFA_F_MCAUTOJOIN
    | libc::IFA_F_PERMANENT;

/// `IFA_RT_PRIORITY`, the metric of the route to an address's network (since Linux 4.18).
const IFA_RT_PRIORITY: u16 = 9;

/// The attributes of an address that are the same on any device. A label is not: it begins with the device's name.
const KEPT_ATTRIBUTES: [u16; 4] = [libc::IFA_ADDRESS, libc::IFA_LOCAL, libc::IFA_BROADCAST, IFA_RT_PRIORITY];

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;

/// Bytes of `struct nlmsghdr`, `struct ifinfomsg` and `struct ifaddrmsg`.
const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// More than the kernel puts into one answer.
const BUFFER: usize = 32 << 10;

impl Netlink {
    /// `socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)`
    pub fn open() -> Result<Self> {
        // NETLINK_ROUTE is protocol 0.
        rx::socket_with(rx::AddressFamily::NETLINK, rx::SocketType::RAW, rx::SocketFlags::CLOEXEC, None)
            .map(Netlink)
            .called(|| "socket(AF_NETLINK, NETLINK_ROUTE)".into())
    }

    /// The device of this name; `None` where there is none.
    pub fn find(&self, name: &str) -> Result<Option<Link>> {
        let mut message = Message::link(libc::RTM_GETLINK, REQUEST | ACK, 0, 0);
        message.attribute(libc::IFLA_IFNAME, &c_name(name));
        match self.ask(message, || format!("RTM_GETLINK({name})")) {
            Ok(answers) => Ok(answers.iter().find_map(|answer| link(answer))),
            Err(error) if error.errno == Errno::ENODEV => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All devices.
    pub fn links(&self) -> Result<Vec<Link>> {
        let message = Message::link(libc::RTM_GETLINK, REQUEST | DUMP, 0, 0);
        let answers = self.ask(message, || "RTM_GETLINK(all)".into())?;
        Ok(answers.iter().filter_map(|answer| link(answer)).collect())
    }

    /// Moves a device into another namespace, under a name that is free there. Its addresses and routes go, and it is down.
    pub fn move_to(&self, link: &Link, namespace: BorrowedFd, name: &str) -> Result<()> {
        let mut message = Message::link(libc::RTM_NEWLINK, REQUEST | ACK, link.index, 0);
        message.attribute(libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        message.attribute(libc::IFLA_IFNAME, &c_name(name));
        let old = &link.name;
        self.ask(message, || format!("RTM_NEWLINK({old}, IFLA_NET_NS_FD, IFLA_IFNAME {name})")).map(drop)
    }

    /// Sets a device up.
    pub fn set_up(&self, link: &Link) -> Result<()> {
        let up = libc::IFF_UP.cast_unsigned();
        let message = Message::link(libc::RTM_NEWLINK, REQUEST | ACK, link.index, up);
        self.ask(message, || format!("RTM_NEWLINK({}, IFF_UP)", link.name)).map(drop)
    }

    /// The addresses of a device, of all families.
    pub fn addresses(&self, link: &Link) -> Result<Vec<Address>> {
        let mut message = Message::new(libc::RTM_GETADDR, REQUEST | DUMP);
        message.bytes.extend([0; ADDRESS_HEADER]);
        let answers = self.ask(message, || "RTM_GETADDR(all)".into())?;
        Ok(answers.iter().filter_map(|answer| address(answer, link.index)).collect())
    }

    /// Gives a device an address. `EEXIST` if it has it already.
    pub fn add_address(&self, link: &Link, address: &Address) -> Result<()> {
        let flags = address.flags & KEPT_FLAGS;
        let mut message = Message::new(libc::RTM_NEWADDR, REQUEST | ACK | CREATE | EXCL);
        let [low, ..] = flags.to_le_bytes();
        message.bytes.extend([address.family, address.prefix, low, address.scope]);
        message.bytes.extend(link.index.to_ne_bytes());
        message.attribute(libc::IFA_FLAGS, &flags.to_ne_bytes());
        for (kind, value) in &address.attributes {
            message.attribute(*kind, value);
        }
        self.ask(message, || format!("RTM_NEWADDR({})", link.name)).map(drop)
    }

    /// Sends a request and reads its answers. The kernel answers while it takes the request, so that nothing is waited for.
    fn ask(&self, message: Message, call: impl Fn() -> String) -> Result<Vec<Vec<u8>>> {
        let failed = |errno| CallError { call: call(), errno };
        let bytes = message.finish();
        retry(|| rx::send(&self.0, &bytes, rx::SendFlags::empty())).map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        let mut answers = Vec::new();
        loop {
            let (_, length) =
                retry(|| rx::recv(&self.0, &mut buffer[..], rx::RecvFlags::TRUNC)).map_err(failed)?;
            let mut rest = buffer.get(..length).ok_or_else(|| failed(Errno::EINVAL))?;
            while let Some((kind, payload, next)) = split(rest) {
                rest = next;
                match i32::from(kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        let error = number(payload, 0).map_or(0, u32::cast_signed);
                        return if error == 0 {
                            Ok(answers)
                        } else {
                            Err(failed(Errno(error.wrapping_neg())))
                        };
                    }
                    _ => answers.push(payload.to_vec()),
                }
            }
        }
    }
}

/// A request in the making: header, body, attributes; each aligned to 4 bytes, in the machine's own byte order.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.resize(HEADER, 0);
        Message { bytes }
    }

    /// A request about a device: `struct ifinfomsg`, with these of its flags set.
    fn link(kind: u16, flags: u16, index: i32, set: u32) -> Self {
        let mut message = Message::new(kind, flags);
        message.bytes.extend([0; 4]);
        message.bytes.extend(index.to_ne_bytes());
        message.bytes.extend(set.to_ne_bytes());
        message.bytes.extend(set.to_ne_bytes());
        message
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

fn c_name(name: &str) -> Vec<u8> {
    name.bytes().chain([0]).collect()
}

/// A number of 4 bytes.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The first message of some bytes: its type, what follows its header, and the bytes after it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(number(bytes, 0)?).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let payload = bytes.get(HEADER..length)?;
    Some((kind, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes of a message, as (type, value).
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn link(message: &[u8]) -> Option<Link> {
    let (_, name) = attributes(message.get(LINK_HEADER..)?).find(|(kind, _)| *kind == libc::IFLA_IFNAME)?;
    Some(Link {
        index: number(message, 4)?.cast_signed(),
        name: String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned(),
        up: number(message, 8)? & libc::IFF_UP.cast_unsigned() != 0,
    })
}

/// The address that a message tells of, if it is one of this device.
fn address(message: &[u8], device: i32) -> Option<Address> {
    let [family, prefix, flags, scope] = *message.first_chunk()?;
    if number(message, 4)?.cast_signed() != device {
        return None;
    }
    let all: Vec<_> = attributes(message.get(ADDRESS_HEADER..)?).collect();
    let wide = all.iter().find(|(kind, _)| *kind == libc::IFA_FLAGS).and_then(|(_, value)| number(value, 0));
    let kept = all.into_iter().filter(|(kind, _)| KEPT_ATTRIBUTES.contains(kind));
    Some(Address {
        family,
        prefix,
        scope,
        flags: wide.unwrap_or(flags.into()),
        attributes: kept.map(|(kind, value)| (kind, value.to_vec())).collect(),
    })
}
