//! Network devices ([netdevice(7)](https://man7.org/linux/man-pages/man7/netdevice.7.html)).

use super::{Called, Result, check};
use std::os::fd::AsRawFd;

/// Sets the loopback device of the process's network namespace up, which a new namespace begins with down.
pub fn loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .called(|| "socket(AF_INET, SOCK_DGRAM)".into())?;
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = c_char(b'l');
    request.ifr_name[1] = c_char(b'o');
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which outlives the call.
    let ret = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    super::file::leave_open(socket);
    check(ret.into()).map(drop).called(|| "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into())
}

fn c_char(byte: u8) -> libc::c_char {
    libc::c_char::try_from(byte).unwrap_or(0)
}
