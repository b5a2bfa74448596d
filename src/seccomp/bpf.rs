//! The machine that the kernel runs a filter on: its instructions, the rules a program has to keep, and
//! how to print one. See `Documentation/networking/filter.rst` and `Documentation/userspace-api/seccomp_filter.rst`
//! of the kernel.
//!
//! seccompiler has the same instruction as `sock_filter`; its compiler cannot express an OCI profile, and for one
//! struct of four fields this program does not depend on it.

use super::arch::Arch;
use super::policy::Action;
use std::fmt;

pub use crate::sys::seccomp::Instruction;

/// `A = the 32-bit word of seccomp_data at offset k`
pub const LOAD: u16 = 0x20;
/// `A &= k`
pub const AND: u16 = 0x54;
/// Skips k instructions.
pub const JUMP: u16 = 0x05;
/// `A == k`?
pub const JUMP_EQUAL: u16 = 0x15;
/// `A >= k`, without sign?
pub const JUMP_AT_LEAST: u16 = 0x35;
/// `A & k != 0`?
pub const JUMP_ANY_SET: u16 = 0x45;
/// Ends with the return value k.
pub const RETURN: u16 = 0x06;

/// `BPF_MAXINSNS` of `linux/bpf_common.h`: the longest program that the kernel takes.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Offsets in `struct seccomp_data` of `linux/seccomp.h`.
pub const NUMBER: u8 = 0;
/// `AUDIT_ARCH_*`
pub const ARCH: u8 = 4;
/// The first of six 64-bit arguments.
pub const ARGUMENTS: u8 = 16;
/// `sizeof(struct seccomp_data)`
const DATA_SIZE: u32 = 64;

impl Instruction {
    /// An instruction that does not compare.
    pub(super) const fn plain(code: u16, k: u32) -> Self {
        Instruction { code, jt: 0, jf: 0, k }
    }
}

/// Checks a program by the kernel's rules (`bpf_check_classic` and `seccomp_check_filter`), narrowed to the
/// instructions above: every jump goes forward and stays inside, and the end is never run past.
pub fn verify(program: &[Instruction]) -> Result<(), String> {
    if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
        return Err(format!("{} instructions, not 1 to {MAX_INSTRUCTIONS}", program.len()));
    }
    for (at, instruction) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        let reaches = |skip: u32| usize::try_from(skip).is_ok_and(|skip| skip < left);
        let good = match instruction.code {
            LOAD => instruction.k % 4 == 0 && instruction.k < DATA_SIZE && left > 0,
            AND => left > 0,
            JUMP => reaches(instruction.k),
            JUMP_EQUAL | JUMP_AT_LEAST | JUMP_ANY_SET => {
                reaches(instruction.jt.into()) && reaches(instruction.jf.into())
            }
            RETURN => true,
            _ => false,
        };
        if !good {
            return Err(format!("bad instruction {at}: {instruction:?}"));
        }
    }
    Ok(())
}

/// Prints a program, an instruction a line, with the targets of its jumps as line numbers.
pub fn disassemble(program: &[Instruction]) -> String {
    use fmt::Write as _;
    let mut out = String::new();
    for (at, instruction) in program.iter().enumerate() {
        let _ = writeln!(out, "{at:4}  {}", line(at, instruction));
    }
    out
}

fn line(at: usize, instruction: &Instruction) -> String {
    let Instruction { code, jt, jf, k } = *instruction;
    let next = at + 1;
    let compare = |sign: &str| {
        format!("if A {sign} {k:#x} goto {} else {}", next + usize::from(jt), next + usize::from(jf))
    };
    match code {
        LOAD => format!("A = {}", word(k)),
        AND => format!("A &= {k:#x}"),
        JUMP => format!("goto {}", next + k as usize),
        JUMP_EQUAL => {
            let name = Arch::ALL.iter().find(|arch| arch.audit() == k).map_or("", |arch| arch.name());
            let note = if name.is_empty() { "" } else { "  ; " };
            format!("{}{note}{name}", compare("=="))
        }
        JUMP_AT_LEAST => compare(">="),
        JUMP_ANY_SET => compare("&"),
        RETURN => match Action::of_ret(k) {
            Some(action) => format!("return {action}"),
            None => format!("return {k:#x}"),
        },
        _ => format!("{instruction:?}"),
    }
}

/// What stands at an offset of `struct seccomp_data`.
fn word(offset: u32) -> String {
    match offset {
        0 => "nr".into(),
        4 => "arch".into(),
        8 => "instruction_pointer".into(),
        12 => "instruction_pointer + 4".into(),
        _ => {
            let half = if offset.is_multiple_of(8) { "" } else { " + 4" };
            format!("args[{}]{half}", (offset - 16) / 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(jt: u8, jf: u8) -> Instruction {
        Instruction { code: JUMP_EQUAL, jt, jf, k: 0 }
    }

    #[test]
    fn verify_keeps_the_kernels_rules() {
        let load = Instruction::plain(LOAD, 0);
        let ret = Instruction::plain(RETURN, 0);
        assert!(verify(&[ret]).is_ok());
        assert!(verify(&[load, branch(0, 1), ret, ret]).is_ok());
        assert!(verify(&[Instruction::plain(JUMP, 1), ret, ret]).is_ok());
        let bad: [&[Instruction]; 9] = [
            &[],
            &[load],
            &[Instruction::plain(AND, 1)],
            &[branch(0, 1), ret],
            &[branch(1, 0), ret],
            &[Instruction::plain(JUMP, 1), ret],
            &[Instruction::plain(JUMP, u32::MAX), ret],
            &[Instruction::plain(LOAD, 64), ret],
            &[Instruction::plain(LOAD, 2), ret],
        ];
        for program in bad {
            assert!(verify(program).is_err(), "{program:?}");
        }
        assert!(verify(&vec![ret; MAX_INSTRUCTIONS]).is_ok());
        assert!(verify(&vec![ret; MAX_INSTRUCTIONS + 1]).is_err());
        assert!(verify(&[Instruction::plain(0x80, 0), ret]).is_err());
    }

    #[test]
    fn disassembly() {
        let program = [
            Instruction::plain(LOAD, 4),
            Instruction { code: JUMP_EQUAL, jt: 1, jf: 0, k: 0xc000_003e },
            Instruction::plain(RETURN, 0),
            Instruction::plain(LOAD, 28),
            Instruction::plain(AND, 0xff),
            Instruction { code: JUMP_ANY_SET, jt: 1, jf: 0, k: 3 },
            Instruction::plain(RETURN, 0x0005_0026),
            Instruction::plain(RETURN, 0x7fff_0000),
        ];
        let text = "   0  A = arch
   1  if A == 0xc000003e goto 3 else 2  ; SCMP_ARCH_X86_64
   2  return SCMP_ACT_KILL_THREAD
   3  A = args[1] + 4
   4  A &= 0xff
   5  if A & 0x3 goto 7 else 6
   6  return SCMP_ACT_ERRNO(38)
   7  return SCMP_ACT_ALLOW
";
        assert_eq!(disassemble(&program), text);
    }
}
