//! Counters to be waited for ([eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)).

use super::{Called, Errno, Result, retry};
use rustix::event::EventfdFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A counter that the kernel adds to when something happens.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// `eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)`
    pub fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        rustix::event::eventfd(0, flags).map(EventFd).called(|| "eventfd()".into())
    }

    /// How often it has happened since the last time.
    pub fn take(&self) -> Result<u64> {
        let mut count = [0; 8];
        match retry(|| rustix::io::read(&self.0, &mut count)) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(Errno::EAGAIN) => Ok(0),
            Err(errno) => Err(errno).called(|| "read(eventfd)".into()),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
