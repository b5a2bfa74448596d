//! Writes the table of system call numbers that the seccomp compiler uses.
//!
//! Source: the kernel's own user headers (`asm/unistd*.h`) of every architecture, as Debian packs them in
//! `linux-libc-dev` (architecture `all` since 6.12). The 31-bit s390 ABI left the kernel in 6.19, so its
//! numbers come from the headers of an older kernel.
//!
//! ```text
//! apt-get download linux-libc-dev=7.2.13-1 && dpkg-deb -x linux-libc-dev_7.2.13-1_all.deb new
//! apt-get download linux-libc-dev=6.12.107-1 && dpkg-deb -x linux-libc-dev_6.12.107-1_all.deb old
//! cargo run -- new old > ../../src/seccomp/table/syscalls.rs
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// One column: its name in the table, the header under `usr/lib/linux/uapi`, and the macro that the header
/// adds to each number. The base is left out of the table.
struct Abi {
    name: &'static str,
    header: &'static str,
    base: Option<&'static str>,
}

const ABIS: [Abi; 14] = [
    Abi { name: "X86_64", header: "x86/asm/unistd_64.h", base: None },
    Abi { name: "X86", header: "x86/asm/unistd_32.h", base: None },
    Abi { name: "X32", header: "x86/asm/unistd_x32.h", base: Some("__X32_SYSCALL_BIT") },
    Abi { name: "ARM", header: "arm/asm/unistd-eabi.h", base: Some("__NR_SYSCALL_BASE") },
    Abi { name: "AARCH64", header: "arm64/asm/unistd_64.h", base: None },
    Abi { name: "RISCV64", header: "riscv/asm/unistd_64.h", base: None },
    Abi { name: "LOONGARCH64", header: "loongarch/asm/unistd_64.h", base: None },
    Abi { name: "PPC", header: "powerpc/asm/unistd_32.h", base: None },
    Abi { name: "PPC64", header: "powerpc/asm/unistd_64.h", base: None },
    Abi { name: "S390", header: "s390/asm/unistd_32.h", base: None },
    Abi { name: "S390X", header: "s390/asm/unistd_64.h", base: None },
    Abi { name: "MIPS", header: "mips/asm/unistd_o32.h", base: Some("__NR_Linux") },
    Abi { name: "MIPS64", header: "mips/asm/unistd_n64.h", base: Some("__NR_Linux") },
    Abi { name: "MIPS64N32", header: "mips/asm/unistd_n32.h", base: Some("__NR_Linux") },
];

/// The column that is read from the older kernel's headers.
const OLD: &str = "S390";

/// From this number on a system call has the same number on every ABI (5.1 and later), so that the older
/// kernel's column can be completed from the newer ones.
const COMMON_FROM: u32 = 424;

/// The newest system call of the last kernel that had the 31-bit s390 ABI, 6.18: `file_setattr`.
const OLD_LAST: u32 = 469;

/// ARM's private calls. They are `__ARM_NR_*` macros of `arm/asm/unistd.h`, so no rule of this tool finds
/// them. The table holds them as `ARM_PRIVATE + n` for the kernel's 0x0f0000 + n.
const ARM_PRIVATE: u32 = 0xf000;
const ARM_PRIVATE_CALLS: [(&str, u32); 6] =
    [("breakpoint", 1), ("cacheflush", 2), ("usr26", 3), ("usr32", 4), ("set_tls", 5), ("get_tls", 6)];

/// Second names of the same call that headers define by macro outside of the lists read here.
const ALIASES: [(&str, &str, &str); 1] = [("ARM", "sync_file_range2", "arm_sync_file_range")];

type Table = BTreeMap<String, u32>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [new, old] = args.as_slice() else {
        return Err("usage: gen-syscalls NEW-HEADERS OLD-HEADERS (unpacked linux-libc-dev packages)".into());
    };
    let mut tables = Vec::new();
    for abi in &ABIS {
        let root = if abi.name == OLD { old } else { new };
        let path = Path::new(root).join("usr/lib/linux/uapi").join(abi.header);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        tables.push(parse(&text, abi).map_err(|e| format!("{}: {e}", path.display()))?);
    }
    complete(&mut tables);
    print!("{}", render(&tables, &version(new)?, &version(old)?));
    Ok(())
}

/// Reads the `#define __NR_name number` lines of one header.
fn parse(text: &str, abi: &Abi) -> Result<Table, String> {
    let mut table = Table::new();
    for line in text.lines() {
        let Some(define) = line.strip_prefix("#define __NR_") else { continue };
        let (name, value) = define.split_once([' ', '\t']).ok_or(line)?;
        let value = value.trim();
        let number = match abi.base {
            Some(base) => value.strip_prefix(&format!("({base} + ")).and_then(|v| v.strip_suffix(')')),
            None => Some(value),
        };
        let number: u32 = number.and_then(|n| n.parse().ok()).ok_or(line)?;
        if number >= ARM_PRIVATE {
            return Err(format!("number too large for the table: {line}"));
        }
        table.insert(name.to_owned(), number);
    }
    Ok(table)
}

/// Adds what the headers' plain lists do not say.
fn complete(tables: &mut [Table]) {
    let column = |name: &str| ABIS.iter().position(|abi| abi.name == name).expect("a column");
    for (abi, alias, of) in ALIASES {
        let table = &mut tables[column(abi)];
        table.insert(alias.to_owned(), table[of]);
    }
    for (name, n) in ARM_PRIVATE_CALLS {
        tables[column("ARM")].insert(name.to_owned(), ARM_PRIVATE + n);
    }
    let (s390, s390x) = (column(OLD), column("S390X"));
    let newest = tables[s390].values().copied().max().unwrap_or(0);
    assert!(newest >= COMMON_FROM, "the older headers are too old");
    let missing: Vec<_> = tables[s390x].iter().filter(|e| (newest + 1..=OLD_LAST).contains(e.1)).collect();
    let missing: Vec<(String, u32)> = missing.into_iter().map(|(name, n)| (name.clone(), *n)).collect();
    tables[s390].extend(missing);
}

/// The kernel's version, `7.2.13`, out of `linux/version.h`.
fn version(root: &str) -> Result<String, String> {
    let path = Path::new(root).join("usr/include/linux/version.h");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let part = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(&format!("#define LINUX_VERSION_{name} ")));
        line.map(str::trim).ok_or(format!("{}: no LINUX_VERSION_{name}", path.display()))
    };
    Ok(format!("{}.{}.{}", part("MAJOR")?, part("PATCHLEVEL")?, part("SUBLEVEL")?))
}

fn render(tables: &[Table], new: &str, old: &str) -> String {
    let names: BTreeSet<&str> = tables.iter().flat_map(|t| t.keys().map(String::as_str)).collect();
    let columns: Vec<&str> = ABIS.iter().map(|abi| abi.name).collect();
    let mut out = String::new();
    let _ = write!(
        out,
        "//! System call numbers. Generated by tools/gen-syscalls; do not edit.
//!
//! Source: asm/unistd*.h of Linux {new} (s390: of Linux {old}, completed to 6.18, the last with that
//! ABI), from Debian's package linux-libc-dev.
//!
//! Columns: {}.
//! Numbers are without their ABI's base (x32's bit 30, the 4000, 5000 and 6000 of MIPS); ARM's private
//! calls 0x0f0000 + n are 0xf000 + n.

use super::{{COLUMNS, NONE as __}};

/// The newest kernel whose system calls are in the table.
pub(crate) const KERNEL: &str = \"{new}\";

#[rustfmt::skip]
pub(super) static ROWS: [(&str, [u16; COLUMNS]); {}] = [
",
        columns.join(", "),
        names.len()
    );
    for name in names {
        let cells: Vec<String> = tables
            .iter()
            .map(|t| {
                t.get(name).map_or("__".to_owned(), |n| {
                    if *n >= ARM_PRIVATE { format!("{n:#x}") } else { n.to_string() }
                })
            })
            .collect();
        let _ = writeln!(out, "    ({:34}[{}]),", format!("\"{name}\","), cells.join(", "));
    }
    out.push_str("];\n");
    out
}
