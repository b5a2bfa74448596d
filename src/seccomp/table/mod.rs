//! System call numbers by name, for every ABI that a filter can serve.
//!
//! The generated rows are read at compile time only. What the binary holds is one string of all names,
//! one column of 16-bit numbers an ABI, and a hash table of indices: about 24 KiB without a pointer in it.

mod syscalls;

pub(super) use syscalls::KERNEL;
use syscalls::ROWS;

/// How many system call names there are.
const NAMES: usize = ROWS.len();
/// How many ABIs have numbers of their own.
const COLUMNS: usize = 14;
/// The call does not exist on the ABI.
const NONE: u16 = u16::MAX;
/// ARM's private calls, 0x0f0000 and up, are held as 0xf000 and up to fit in 16 bits.
const ARM_PRIVATE: u16 = 0xf000;

/// An ABI with its own numbers, in the order of the generated columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Column {
    X86_64,
    X86,
    X32,
    Arm,
    Aarch64,
    Riscv64,
    Loongarch64,
    Ppc,
    Ppc64,
    S390,
    S390x,
    Mips,
    Mips64,
    Mips64n32,
}

/// A system call name that some ABI knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syscall(u16);

/// A call that 32-bit ABIs can also make through one number for many calls, which is then argument 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Multiplexed {
    /// [socketcall(2)](https://man7.org/linux/man-pages/man2/socketcall.2.html)
    Socketcall(u8),
    /// [ipc(2)](https://man7.org/linux/man-pages/man2/ipc.2.html)
    Ipc(u8),
}

impl Syscall {
    /// Looks a name up.
    pub(super) fn find(name: &str) -> Option<Syscall> {
        let mut slot = hash(name.as_bytes());
        loop {
            match SLOTS[slot] {
                NONE => return None,
                id if name_bytes(id) == name.as_bytes() => return Some(Syscall(id)),
                _ => slot = (slot + 1) % SLOTS.len(),
            }
        }
    }

    /// All names, in alphabetical order.
    pub(super) fn all() -> impl Iterator<Item = Syscall> {
        (0u16..).take(NAMES).map(Syscall)
    }

    /// The name, as the kernel's headers have it.
    pub(super) fn name(self) -> &'static str {
        std::str::from_utf8(name_bytes(self.0)).unwrap_or_default()
    }

    /// The number on an ABI, without the ABI's base.
    pub(super) fn number(self, column: Column) -> Option<u32> {
        match NUMBERS[column as usize][usize::from(self.0)] {
            NONE => None,
            private if private >= ARM_PRIVATE => Some(0x0f_0000 + u32::from(private - ARM_PRIVATE)),
            number => Some(number.into()),
        }
    }

    /// The multiplexer that can make this call too, where an ABI has that multiplexer.
    pub(super) fn multiplexed(self) -> Option<Multiplexed> {
        match CALLS[usize::from(self.0)] {
            0 => None,
            call if call & IPC != 0 => Some(Multiplexed::Ipc(call & !IPC)),
            call => Some(Multiplexed::Socketcall(call)),
        }
    }
}

impl Multiplexed {
    /// The multiplexing system call.
    pub(super) fn through(self) -> Option<Syscall> {
        Syscall::find(match self {
            Multiplexed::Socketcall(_) => "socketcall",
            Multiplexed::Ipc(_) => "ipc",
        })
    }

    /// The call's number among those of its multiplexer: the value of argument 0.
    pub(super) fn call(self) -> u8 {
        match self {
            Multiplexed::Socketcall(call) | Multiplexed::Ipc(call) => call,
        }
    }
}

/// Marks the calls of ipc(2) in [`CALLS`].
const IPC: u8 = 0x80;

/// The numbers of `linux/net.h` (`SYS_SOCKET` ...) and `linux/ipc.h` (`SEMOP` ...).
const MULTIPLEXED: [(&str, u8); 32] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
    ("semop", IPC | 1),
    ("semget", IPC | 2),
    ("semctl", IPC | 3),
    ("semtimedop", IPC | 4),
    ("msgsnd", IPC | 11),
    ("msgrcv", IPC | 12),
    ("msgget", IPC | 13),
    ("msgctl", IPC | 14),
    ("shmat", IPC | 21),
    ("shmdt", IPC | 22),
    ("shmget", IPC | 23),
    ("shmctl", IPC | 24),
];

/// All names, one after the other.
static TEXT: [u8; TEXT_LEN] = text();
/// Where each name begins in [`TEXT`]; the last entry is its end.
static STARTS: [u16; NAMES + 1] = starts();
static NUMBERS: [[u16; NAMES]; COLUMNS] = numbers();
static CALLS: [u8; NAMES] = calls();
/// An open hash table of the names, about half full, so that a look-up takes one or two comparisons.
static SLOTS: [u16; 1024] = slots();

fn name_bytes(id: u16) -> &'static [u8] {
    let id = usize::from(id);
    &TEXT[usize::from(STARTS[id])..usize::from(STARTS[id + 1])]
}

/// The place of a name in [`SLOTS`], from its length, its first and its last eight bytes.
const fn hash(name: &[u8]) -> usize {
    let (first, last) = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => {
            let (mut word, mut i) = (0, 0);
            while i < name.len() {
                word = word << 8 | name[i] as u64;
                i += 1;
            }
            (word, 0)
        }
    };
    let mixed = first ^ last.rotate_left(29) ^ name.len() as u64;
    // The top ten bits of a multiplication by 2^64 divided by the golden ratio.
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
}

const TEXT_LEN: usize = {
    let (mut len, mut row) = (0, 0);
    while row < NAMES {
        len += ROWS[row].0.len();
        row += 1;
    }
    len
};

const fn text() -> [u8; TEXT_LEN] {
    let mut text = [0; TEXT_LEN];
    let (mut at, mut row) = (0, 0);
    while row < NAMES {
        let name = ROWS[row].0.as_bytes();
        let mut i = 0;
        while i < name.len() {
            text[at] = name[i];
            at += 1;
            i += 1;
        }
        row += 1;
    }
    text
}

// The casts below are of sizes known at compile time: TEXT is about 6 KiB and there are about 500 names.
#[allow(clippy::cast_possible_truncation)]
const fn starts() -> [u16; NAMES + 1] {
    assert!(TEXT_LEN < NONE as usize && NAMES * 5 < SLOTS.len() * 3);
    let mut starts = [0; NAMES + 1];
    let mut row = 0;
    while row < NAMES {
        starts[row + 1] = starts[row] + ROWS[row].0.len() as u16;
        row += 1;
    }
    starts
}

const fn numbers() -> [[u16; NAMES]; COLUMNS] {
    let mut numbers = [[NONE; NAMES]; COLUMNS];
    let mut row = 0;
    while row < NAMES {
        let mut column = 0;
        while column < COLUMNS {
            numbers[column][row] = ROWS[row].1[column];
            column += 1;
        }
        row += 1;
    }
    numbers
}

const fn calls() -> [u8; NAMES] {
    let mut calls = [0; NAMES];
    let mut row = 0;
    while row < NAMES {
        let mut i = 0;
        while i < MULTIPLEXED.len() {
            if same(ROWS[row].0.as_bytes(), MULTIPLEXED[i].0.as_bytes()) {
                calls[row] = MULTIPLEXED[i].1;
            }
            i += 1;
        }
        row += 1;
    }
    calls
}

#[allow(clippy::cast_possible_truncation)]
const fn slots() -> [u16; 1024] {
    let mut slots = [NONE; 1024];
    let mut row = 0;
    while row < NAMES {
        let mut slot = hash(ROWS[row].0.as_bytes());
        while slots[slot] != NONE {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = row as u16;
        row += 1;
    }
    slots
}

/// Equality of byte strings, which `==` cannot decide in a constant.
const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        for syscall in Syscall::all() {
            assert_eq!(Syscall::find(syscall.name()), Some(syscall));
        }
        assert_eq!(Syscall::all().count(), NAMES);
        for unknown in ["", "reads", "rea", "READ", "no_such_call"] {
            assert_eq!(Syscall::find(unknown), None);
        }
        // How far look-ups have to go on average.
        let steps = |s: Syscall| (1024 + slot_of(s) - hash(s.name().as_bytes())) % 1024 + 1;
        let steps: usize = Syscall::all().map(steps).sum();
        assert!(steps < 2 * NAMES, "{steps} steps for {NAMES} names");
    }

    fn slot_of(syscall: Syscall) -> usize {
        SLOTS.iter().position(|id| *id == syscall.0).unwrap()
    }

    #[test]
    fn numbers_of_the_kernel() {
        let number = |name, column| Syscall::find(name).and_then(|s| s.number(column));
        assert_eq!(number("read", Column::X86_64), Some(0));
        assert_eq!(number("writev", Column::X32), Some(516));
        assert_eq!(number("socketcall", Column::X86), Some(102));
        assert_eq!(number("socketcall", Column::X86_64), None);
        assert_eq!(number("set_tls", Column::Arm), Some(0x0f_0005));
        assert_eq!(number("sync_file_range2", Column::Arm), Some(341));
        assert_eq!(number("newfstatat", Column::Aarch64), Some(79));
        assert_eq!(number("open", Column::Aarch64), None);
        assert_eq!(number("cachestat", Column::Mips64n32), Some(451));
        assert_eq!(number("file_setattr", Column::S390), Some(469));
    }

    #[test]
    fn multiplexed_calls() {
        let of = |name| Syscall::find(name).and_then(Syscall::multiplexed);
        assert_eq!(of("socket"), Some(Multiplexed::Socketcall(1)));
        assert_eq!(of("shmctl"), Some(Multiplexed::Ipc(24)));
        assert_eq!(of("read"), None);
        assert_eq!(CALLS.iter().filter(|call| **call != 0).count(), MULTIPLEXED.len());
    }
}
