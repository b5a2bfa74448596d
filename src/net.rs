//! Moves network devices into the container's network namespace, and back if there will be no container.
//!
//! What becomes of them at the container's end is the kernel's business and must not be the runtime's ("The runtime MUST NOT attempt
//! to move the interface out of the namespace before deletion", config-linux.md, Network Devices): with the last process of the
//! namespace, virtual devices vanish and physical ones return to the initial namespace under the name that they have then.

use crate::error::{Context, Error, Result};
use crate::plan::net::{LONGEST_NAME, Name, NetDevice};
use crate::sys::netlink::{Address, Link, Netlink};
use crate::sys::ns::{self, Ns, NsSet};
use crate::sys::{CallError, Errno, file};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Devices that are in the container. They come back on drop unless they were left there.
#[derive(Debug)]
pub struct Moved {
    /// The runtime's network namespace.
    own: OwnedFd,
    outside: Netlink,
    /// Keeps the namespace alive for as long as there may be something to fetch from it.
    inside: Netlink,
    devices: Vec<Device>,
}

/// A device in the container, and what it was before.
#[derive(Debug)]
struct Device {
    before: Link,
    /// All addresses that it was given.
    addresses: Vec<Address>,
    now: Link,
}

/// Moves devices into the network namespace of `file`, the container's, which is not the runtime's.
pub fn move_in(devices: &[NetDevice], file: &Path) -> Result<Moved> {
    let own = file::open_read(Path::new("/proc/self/ns/net"))?;
    let target = file::open_read(file)?;
    let net = NsSet::default().with(Ns::Network);
    let outside = Netlink::open()?;
    ns::join(target.as_fd(), net)?;
    let inside = Netlink::open();
    ns::join(own.as_fd(), net)?;
    let mut moved = Moved { own, outside, inside: inside?, devices: Vec::new() };
    for device in devices {
        moved.move_one(device, target.as_fd()).field(|| device.field.clone())?;
    }
    Ok(moved)
}

impl Moved {
    /// Leaves the devices in the container.
    pub fn leave(mut self) {
        self.devices.clear();
    }

    /// "The runtime MUST check if moving the network interface to the container namespace is possible", "MUST preserve [...] all
    /// permanent IP addresses [...] of any family with global scope", "MUST set the network device state to "up"".
    fn move_one(&mut self, device: &NetDevice, target: BorrowedFd) -> Result<()> {
        let before = self.outside.find(&device.name)?.ok_or_else(|| {
            Error::new(format!("the runtime's network namespace has no device {}", device.name))
        })?;
        let name = self.free_name(&device.inside).field(|| format!("{}.name", device.field))?;
        let mut addresses = self.outside.addresses(&before)?;
        addresses.retain(Address::is_permanent);
        self.outside.move_to(&before, target, &name).map_err(|error| match error.errno {
            Errno::EINVAL => Error::from(error).hint("the kernel does not let go of this kind of device"),
            _ => error.into(),
        })?;
        let vanished = || Error::new(format!("{name} is gone from the container's network namespace"));
        let now = self.inside.find(&name)?.ok_or_else(vanished)?;
        self.devices.push(Device { before, addresses, now });
        let Some(Device { addresses, now, .. }) = self.devices.last() else { return Err(vanished()) };
        for address in addresses.iter().filter(|address| address.is_global()) {
            self.inside.add_address(now, address)?;
        }
        Ok(self.inside.set_up(now)?)
    }

    /// A name that no device of the container has. The kernel would move the device first and refuse the name afterwards.
    fn free_name(&self, name: &Name) -> Result<String> {
        let prefix = match name {
            Name::Exactly(name) => {
                return match self.inside.find(name)? {
                    None => Ok(name.clone()),
                    Some(_) => Err(Error::new(format!(
                        "the container's network namespace has a device {name} already"
                    ))),
                };
            }
            Name::Numbered(prefix) => prefix,
        };
        let taken = self.inside.links()?;
        let numbered = (0..=taken.len()).map(|n| format!("{prefix}{n}"));
        let free = |name: &String| taken.iter().all(|link| link.name != *name);
        numbered.take_while(|name| name.len() <= LONGEST_NAME).find(free).ok_or_else(|| {
            Error::new(format!("no {prefix}%d of at most {LONGEST_NAME} bytes is free in the container"))
        })
    }

    /// Moves a device back, with its name, its addresses, and up if it was up. Its routes are lost, as the kernel drops them.
    fn fetch(&self, device: &Device) -> std::result::Result<(), CallError> {
        let before = &device.before;
        self.inside.move_to(&device.now, self.own.as_fd(), &before.name)?;
        let Some(back) = self.outside.find(&before.name)? else { return Ok(()) };
        for address in &device.addresses {
            match self.outside.add_address(&back, address) {
                Err(error) if error.errno != Errno::EEXIST => return Err(error),
                _ => {}
            }
        }
        if before.up { self.outside.set_up(&back) } else { Ok(()) }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        for device in self.devices.iter().rev() {
            // The error that led here is the one to report.
            let _ = self.fetch(device);
        }
    }
}
