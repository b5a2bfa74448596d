//! The kernel's machine, as far as filters use it: an interpreter of classic BPF over `struct seccomp_data`.
//! Written from the kernel's documentation, without a look at the compiler.

use crate::seccomp::bpf::Instruction;

/// `struct seccomp_data` as 16 words in the order of memory.
pub struct Data(pub [u32; 16]);

impl Data {
    /// The data of one call, as a kernel of this byte order lays it out.
    pub fn new(audit: u32, number: u32, args: [u64; 6], little_endian: bool) -> Data {
        let mut words = [0; 16];
        words[0] = number;
        words[1] = audit;
        words[2..4].fill(0xdead_beef);
        for (i, arg) in args.into_iter().enumerate() {
            let (low, high) = if little_endian { (0, 1) } else { (1, 0) };
            words[4 + 2 * i + low] = (arg & 0xffff_ffff) as u32;
            words[4 + 2 * i + high] = (arg >> 32) as u32;
        }
        Data(words)
    }
}

/// Runs a program: the return value, and how many instructions it took.
pub fn run(program: &[Instruction], data: &Data) -> (u32, usize) {
    let (mut a, mut at, mut steps) = (0u32, 0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        let branch = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => a = data.0[k as usize / 4],
            // BPF_ALU | BPF_AND | BPF_K
            0x54 => a &= k,
            // BPF_JMP | BPF_JA
            0x05 => at += k as usize,
            // BPF_JMP | BPF_JEQ, JGT, JGE, JSET | BPF_K
            0x15 => at += branch(a == k),
            0x25 => at += branch(a > k),
            0x35 => at += branch(a >= k),
            0x45 => at += branch(a & k != 0),
            // BPF_RET | BPF_K
            0x06 => return (k, steps),
            _ => panic!("instruction {code:#x} at {}", at - 1),
        }
    }
}
