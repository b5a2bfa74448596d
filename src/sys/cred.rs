//! Credentials of the process: ids, groups, capabilities
//! ([credentials(7)](https://man7.org/linux/man-pages/man7/credentials.7.html),
//! [capabilities(7)](https://man7.org/linux/man-pages/man7/capabilities.7.html)).

use super::{Called, Errno, Result, check};

/// Effective user id.
pub fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Effective group id.
pub fn egid() -> u32 {
    nix::unistd::getegid().as_raw()
}

/// `setresuid(uid, uid, uid)` and `setresgid(gid, gid, gid)`, the group first, while it is still allowed.
pub fn set_ids(uid: u32, gid: u32) -> Result<()> {
    nix::unistd::setresgid(gid.into(), gid.into(), gid.into()).called(|| format!("setresgid({gid})"))?;
    nix::unistd::setresuid(uid.into(), uid.into(), uid.into()).called(|| format!("setresuid({uid})"))
}

/// `setgroups(groups)`: exactly these supplementary groups.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    let gids: Vec<_> = groups.iter().copied().map(nix::unistd::Gid::from_raw).collect();
    nix::unistd::setgroups(&gids).called(|| format!("setgroups({groups:?})"))
}

/// The capability sets that `capset` knows, as masks: bit `n` is capability number `n`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSets {
    /// What is in force.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What survives an execve together with the inheritable set of the file.
    pub inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`
const CAP_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `capget()`: [capget(2)](https://man7.org/linux/man-pages/man2/capget.2.html)
pub fn capabilities() -> Result<CapSets> {
    let header = CapHeader { version: CAP_VERSION, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 fills two structures; both arguments outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    check(ret).called(|| "capget()".into())?;
    let join = |part: fn(&CapData) -> u32| u64::from(part(&data[1])) << 32 | u64::from(part(&data[0]));
    Ok(CapSets {
        effective: join(|d| d.effective),
        permitted: join(|d| d.permitted),
        inheritable: join(|d| d.inheritable),
    })
}

/// `capset(sets)`: [capset(2)](https://man7.org/linux/man-pages/man2/capset.2.html)
pub fn set_capabilities(sets: CapSets) -> Result<()> {
    let header = CapHeader { version: CAP_VERSION, pid: 0 };
    let half = |shift: u32| {
        let word = |mask: u64| u32::try_from((mask >> shift) & u64::from(u32::MAX)).unwrap_or(0);
        CapData {
            effective: word(sets.effective),
            permitted: word(sets.permitted),
            inheritable: word(sets.inheritable),
        }
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads two structures; both arguments outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(ret).map(drop).called(|| {
        format!(
            "capset(effective {:#x}, permitted {:#x}, inheritable {:#x})",
            sets.effective, sets.permitted, sets.inheritable
        )
    })
}

fn prctl(what: &str, option: i32, arg2: u64, arg3: u64) -> Result<libc::c_long> {
    // SAFETY: the options used here take numbers only.
    let ret = unsafe { libc::syscall(libc::SYS_prctl, option, arg2, arg3, 0, 0) };
    check(ret).called(|| format!("prctl({what}, {arg2})"))
}

/// Whether a capability is in the bounding set; `None` where the kernel doesn't know it.
pub fn in_bounding_set(cap: u32) -> Result<Option<bool>> {
    match prctl("PR_CAPBSET_READ", libc::PR_CAPBSET_READ, cap.into(), 0) {
        Ok(value) => Ok(Some(value != 0)),
        Err(error) if error.errno == Errno::EINVAL => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes a capability out of the bounding set.
pub fn drop_from_bounding_set(cap: u32) -> Result<()> {
    prctl("PR_CAPBSET_DROP", libc::PR_CAPBSET_DROP, cap.into(), 0).map(drop)
}

/// Puts a capability into the ambient set (since Linux 4.3).
pub fn raise_ambient(cap: u32) -> Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE.unsigned_abs().into();
    prctl("PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE", libc::PR_CAP_AMBIENT, raise, cap.into()).map(drop)
}

/// Empties the ambient set (since Linux 4.3).
pub fn clear_ambient() -> Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL.unsigned_abs().into();
    prctl("PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL", libc::PR_CAP_AMBIENT, clear, 0).map(drop)
}

/// Keeps the permitted capabilities over the change from uid 0 to another one.
pub fn keep_capabilities(keep: bool) -> Result<()> {
    prctl("PR_SET_KEEPCAPS", libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}
