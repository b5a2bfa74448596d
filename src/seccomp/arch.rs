//! The architectures (more exactly: ABIs) that a filter can serve, and what differs between them.

use super::table::{Column, Syscall};

/// An architecture of `linux.seccomp.architectures`.
///
/// The specification's others (`SCMP_ARCH_PARISC`, `PARISC64`, `M68K`, `SH`, `SHEB`) have no table: no host
/// that this program can be built for runs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Arch {
    X86_64,
    X86,
    X32,
    Arm,
    Aarch64,
    Riscv64,
    Loongarch64,
    Ppc,
    Ppc64,
    Ppc64le,
    S390,
    S390x,
    Mips,
    Mipsel,
    Mips64,
    Mipsel64,
    Mips64n32,
    Mipsel64n32,
}

/// What differs between architectures.
struct Facts {
    /// As the specification names it.
    name: &'static str,
    /// `AUDIT_ARCH_*` of `linux/audit.h`: what the kernel puts into `seccomp_data.arch`.
    audit: u32,
    /// Whose numbers it has.
    column: Column,
    /// What its numbers start from.
    base: u32,
    /// Whether an argument has 64 bits.
    wide: bool,
    /// Architectures of one family run under one kernel.
    family: Family,
}

#[derive(PartialEq)]
enum Family {
    X86,
    Arm,
    Riscv,
    Loongarch,
    Power,
    PowerLe,
    S390,
    Mips,
    MipsLe,
}

/// The system call numbers of an architecture.
pub(super) struct Numbers {
    column: Column,
    base: u32,
}

impl Numbers {
    /// The number of a system call, as it stands in `seccomp_data.nr`.
    pub(super) fn of(&self, syscall: Syscall) -> Option<u32> {
        syscall.number(self.column).map(|number| self.base + number)
    }
}

/// Marks the system call numbers of x32, whose audit architecture is that of x86_64
/// (`__X32_SYSCALL_BIT` of `asm/unistd.h`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// `__AUDIT_ARCH_LE` of `linux/audit.h`.
const AUDIT_LE: u32 = 0x4000_0000;

impl Arch {
    /// Every architecture that has a table; `features` lists them.
    pub const ALL: [Arch; 18] = [
        Arch::X86_64,
        Arch::X86,
        Arch::X32,
        Arch::Arm,
        Arch::Aarch64,
        Arch::Riscv64,
        Arch::Loongarch64,
        Arch::Ppc,
        Arch::Ppc64,
        Arch::Ppc64le,
        Arch::S390,
        Arch::S390x,
        Arch::Mips,
        Arch::Mipsel,
        Arch::Mips64,
        Arch::Mipsel64,
        Arch::Mips64n32,
        Arch::Mipsel64n32,
    ];

    /// The architecture that this program was built for; `None` where its system calls are not known.
    pub const fn native() -> Option<Arch> {
        let little = cfg!(target_endian = "little");
        Some(if cfg!(all(target_arch = "x86_64", target_pointer_width = "32")) {
            Arch::X32
        } else if cfg!(target_arch = "x86_64") {
            Arch::X86_64
        } else if cfg!(target_arch = "x86") {
            Arch::X86
        } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
            Arch::Aarch64
        } else if cfg!(all(target_arch = "arm", target_endian = "little")) {
            Arch::Arm
        } else if cfg!(target_arch = "riscv64") {
            Arch::Riscv64
        } else if cfg!(target_arch = "loongarch64") {
            Arch::Loongarch64
        } else if cfg!(target_arch = "powerpc64") {
            if little { Arch::Ppc64le } else { Arch::Ppc64 }
        } else if cfg!(target_arch = "powerpc") {
            Arch::Ppc
        } else if cfg!(target_arch = "s390x") {
            Arch::S390x
        } else if cfg!(all(target_arch = "mips64", target_pointer_width = "32")) {
            if little { Arch::Mipsel64n32 } else { Arch::Mips64n32 }
        } else if cfg!(target_arch = "mips64") {
            if little { Arch::Mipsel64 } else { Arch::Mips64 }
        } else if cfg!(target_arch = "mips") {
            if little { Arch::Mipsel } else { Arch::Mips }
        } else {
            return None;
        })
    }

    const fn facts(self) -> Facts {
        let (name, audit, column, base, wide, family) = match self {
            Arch::X86_64 => ("SCMP_ARCH_X86_64", 0xc000_003e, Column::X86_64, 0, true, Family::X86),
            Arch::X86 => ("SCMP_ARCH_X86", 0x4000_0003, Column::X86, 0, false, Family::X86),
            Arch::X32 => ("SCMP_ARCH_X32", 0xc000_003e, Column::X32, X32_BIT, false, Family::X86),
            Arch::Arm => ("SCMP_ARCH_ARM", 0x4000_0028, Column::Arm, 0, false, Family::Arm),
            Arch::Aarch64 => ("SCMP_ARCH_AARCH64", 0xc000_00b7, Column::Aarch64, 0, true, Family::Arm),
            Arch::Riscv64 => ("SCMP_ARCH_RISCV64", 0xc000_00f3, Column::Riscv64, 0, true, Family::Riscv),
            Arch::Loongarch64 => {
                ("SCMP_ARCH_LOONGARCH64", 0xc000_0102, Column::Loongarch64, 0, true, Family::Loongarch)
            }
            Arch::Ppc => ("SCMP_ARCH_PPC", 0x0000_0014, Column::Ppc, 0, false, Family::Power),
            Arch::Ppc64 => ("SCMP_ARCH_PPC64", 0x8000_0015, Column::Ppc64, 0, true, Family::Power),
            Arch::Ppc64le => ("SCMP_ARCH_PPC64LE", 0xc000_0015, Column::Ppc64, 0, true, Family::PowerLe),
            Arch::S390 => ("SCMP_ARCH_S390", 0x0000_0016, Column::S390, 0, false, Family::S390),
            Arch::S390x => ("SCMP_ARCH_S390X", 0x8000_0016, Column::S390x, 0, true, Family::S390),
            Arch::Mips => ("SCMP_ARCH_MIPS", 0x0000_0008, Column::Mips, 4000, false, Family::Mips),
            Arch::Mipsel => ("SCMP_ARCH_MIPSEL", 0x4000_0008, Column::Mips, 4000, false, Family::MipsLe),
            Arch::Mips64 => ("SCMP_ARCH_MIPS64", 0x8000_0008, Column::Mips64, 5000, true, Family::Mips),
            Arch::Mipsel64 => ("SCMP_ARCH_MIPSEL64", 0xc000_0008, Column::Mips64, 5000, true, Family::MipsLe),
            Arch::Mips64n32 => {
                ("SCMP_ARCH_MIPS64N32", 0xa000_0008, Column::Mips64n32, 6000, false, Family::Mips)
            }
            Arch::Mipsel64n32 => {
                ("SCMP_ARCH_MIPSEL64N32", 0xe000_0008, Column::Mips64n32, 6000, false, Family::MipsLe)
            }
        };
        Facts { name, audit, column, base, wide, family }
    }

    /// The name in the specification: `SCMP_ARCH_X86_64`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// What the kernel reports in `seccomp_data.arch`. x32 shares x86_64's.
    pub const fn audit(self) -> u32 {
        self.facts().audit
    }

    /// Whether a kernel whose native architecture is `native` also runs programs of this one.
    pub fn runs_on(self, native: Arch) -> bool {
        self.facts().family == native.facts().family
    }

    /// Whether arguments are compared as 64 bits. On x32, as in libseccomp, only the low halves are, though
    /// the kernel hands 64 bits on.
    pub(super) const fn is_wide(self) -> bool {
        self.facts().wide
    }

    /// The bits of an argument that are compared.
    pub(super) const fn argument_bits(self) -> u64 {
        if self.is_wide() { u64::MAX } else { 0xffff_ffff }
    }

    /// Whether the low half of a 64-bit argument comes first.
    pub(super) const fn is_little_endian(self) -> bool {
        self.audit() & AUDIT_LE != 0
    }

    /// The least number a system call of this architecture can have.
    pub(super) const fn base(self) -> u32 {
        self.facts().base
    }

    /// The numbers of its system calls.
    pub(super) fn numbers(self) -> Numbers {
        let Facts { column, base, .. } = self.facts();
        Numbers { column, base }
    }

    /// The number of a system call, as it stands in `seccomp_data.nr`.
    #[cfg(any(test, fuzzing))]
    pub fn number_of(self, name: &str) -> Option<u32> {
        self.numbers().of(Syscall::find(name)?)
    }

    /// The name of a system call number.
    pub fn name_of(self, number: u32) -> Option<&'static str> {
        let numbers = self.numbers();
        Syscall::all().find(|syscall| numbers.of(*syscall) == Some(number)).map(Syscall::name)
    }

    /// Whether a number is outside the sequence to which new system calls are added: ARM's private calls.
    pub(super) fn is_private(self, number: u32) -> bool {
        self == Arch::Arm && number >= 0x0f_0000
    }

    /// A number that the kernel leaves in place of one it does not know, so that it must be answered as a
    /// new call would be. On s390 the number of a call beyond 255 is passed in a register while the
    /// instruction says 0, and stays 0 if it is not in the kernel's table.
    pub(super) fn stands_for_unknown(self) -> Option<u32> {
        matches!(self, Arch::S390 | Arch::S390x).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_agree_with_the_kernel_numbering() {
        for arch in Arch::ALL {
            let read = arch.number_of("read").unwrap();
            assert!(read >= arch.base() && read < arch.base() + 70, "{}", arch.name());
            assert_eq!(arch.name_of(read), Some("read"));
            assert!(arch.runs_on(arch));
            // __AUDIT_ARCH_64BIT; n32 and x32 set it for their kernel's sake.
            assert!(!arch.is_wide() || arch.audit() & 0x8000_0000 != 0);
        }
        assert!(Arch::X32.runs_on(Arch::X86_64) && Arch::Arm.runs_on(Arch::Aarch64));
        assert!(!Arch::Aarch64.runs_on(Arch::X86_64) && !Arch::Ppc64.runs_on(Arch::Ppc64le));
        assert!(Arch::native().is_some());
    }
}
