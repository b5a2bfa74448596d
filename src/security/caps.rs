//! Puts capability sets in force ([capabilities(7)](https://man7.org/linux/man-pages/man7/capabilities.7.html)). The sets of the
//! container start from nothing: what config.json does not name, the process does not have (CVE-2022-24769).

use crate::error::Result;
use crate::plan::capabilities::Caps;
use crate::sys::cred;

fn numbers(mask: u64, last_cap: u8) -> impl Iterator<Item = u32> {
    (0..=u32::from(last_cap).min(63)).filter(move |cap| mask >> cap & 1 == 1)
}

/// Takes out of the bounding set what the container must never get. It needs `CAP_SETPCAP`, so that it comes before the ids change.
pub fn drop_bounding(caps: &Caps, last_cap: u8) -> Result<()> {
    for cap in numbers(!caps.bounding, last_cap) {
        // A set that the caller has narrowed already has nothing to drop, and may not be allowed to.
        match cred::drop_from_bounding_set(cap) {
            Err(error) if cred::in_bounding_set(cap)? == Some(true) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// `CAP_SYS_ADMIN`, which it takes to install a filter without no_new_privs: the last capability that a process gives up.
pub const SYS_ADMIN: u64 = 1 << 21;

/// Sets the other four sets, after the ids have changed. The `retained` ones stay in force until [`set_all_but_ambient`] is called without
/// them.
pub fn set(caps: &Caps, retained: u64, last_cap: u8) -> Result<()> {
    set_all_but_ambient(caps, retained)?;
    // capset has taken out of the ambient set what is not both permitted and inheritable.
    if caps.permitted & caps.inheritable != caps.ambient {
        cred::clear_ambient()?;
    }
    Ok(numbers(caps.ambient, last_cap).try_for_each(cred::raise_ambient)?)
}

/// Sets the effective, permitted and inheritable capabilities; the ambient ones that this leaves no room for go too.
pub fn set_all_but_ambient(caps: &Caps, retained: u64) -> Result<()> {
    Ok(cred::set_capabilities(cred::CapSets {
        effective: caps.effective | retained,
        permitted: caps.permitted | retained,
        inheritable: caps.inheritable,
    })?)
}
