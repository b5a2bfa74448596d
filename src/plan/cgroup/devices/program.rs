//! The device policy as a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`, with as few instructions as a list of comparisons needs:
//! `/dev/null` is decided after some ten of them, and the usual policy fits into about twenty.
//!
//! The kernel hands it `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`, with the access in the upper half of
//! `access_type` and the type of the device in the lower, and takes 1 for "allowed" and 0 for "denied"
//! ([linux/bpf.h](https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/include/uapi/linux/bpf.h)).

use super::{DeviceRule, Kind, Policy, access};
use crate::error::{Error, Result};
use crate::sys::bpf::{Insn, op};

/// The verdict.
const R0: u8 = 0;
/// The context.
const R1: u8 = 1;
/// The type of the device, and the bits of the access that no rule has allowed yet, which are shifted left by [`ACCESS`].
const WANTED: u8 = 2;
const ACCESS: u32 = 16;
/// The major number, the minor number, and both in one word as in `dev_t`.
const MAJOR: u8 = 3;
const MINOR: u8 = 4;
const DEVICE: u8 = 5;
const MINOR_BITS: u32 = 20;

/// `BPF_DEVCG_DEV_BLOCK`, `BPF_DEVCG_DEV_CHAR`
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// The program under construction.
#[derive(Default)]
struct Code {
    insns: Vec<Insn>,
    /// Jumps to the verdict: where they are, and which.
    verdicts: Vec<(usize, bool)>,
}

pub fn compile(policy: &Policy) -> Result<Vec<Insn>> {
    let mut code = Code::default();
    if !policy.rules.is_empty() {
        // Only jumps to the other verdict leave this in place.
        code.put(op::MOV, R0, u32::from(!policy.allow));
        code.load(policy);
    }
    // The last rule decides, so it is asked first. Among rules of one verdict the order is free.
    let rules: Vec<&DeviceRule> = policy.rules.iter().rev().collect();
    for run in rules.chunk_by(|a, b| a.allow == b.allow) {
        for (kind, others) in [(Kind::All, None), (Kind::Char, Some(BLOCK)), (Kind::Block, Some(CHAR))] {
            let mut rules = run.iter().filter(|rule| rule.kind == kind).peekable();
            if rules.peek().is_none() {
                continue;
            }
            let skip = others.map(|others| code.put(op::JSET, WANTED, others));
            rules.for_each(|rule| code.rule(rule));
            if let Some(skip) = skip {
                code.land(skip, code.insns.len())?;
            }
        }
    }
    let (in_general, otherwise) = (code.put(op::MOV, R0, u32::from(policy.allow)), code.put(op::EXIT, R0, 0));
    for (jump, allow) in std::mem::take(&mut code.verdicts) {
        code.land(jump, if allow == policy.allow { in_general } else { otherwise })?;
    }
    Ok(code.insns)
}

impl Code {
    fn put(&mut self, code: u8, register: u8, immediate: u32) -> usize {
        self.insns.push(Insn { code, to: register, from: 0, offset: 0, immediate });
        self.insns.len() - 1
    }

    /// Loads what the rules look at.
    fn load(&mut self, policy: &Policy) {
        let read = |to, offset| Insn { code: op::LOAD, to, from: R1, offset, immediate: 0 };
        self.insns.push(read(WANTED, 0));
        let any = |which: fn(&DeviceRule) -> bool| policy.rules.iter().any(which);
        let both = any(|rule| rule.major.is_some() && rule.minor.is_some());
        if any(|rule| rule.major.is_some() && rule.minor.is_none()) {
            self.insns.push(read(MAJOR, 4));
        }
        if both || any(|rule| rule.major.is_none() && rule.minor.is_some()) {
            self.insns.push(read(MINOR, 8));
        }
        if both {
            self.insns.push(read(DEVICE, 4));
            self.put(op::LSH, DEVICE, MINOR_BITS);
            self.insns.push(Insn { code: op::OR_REG, to: DEVICE, from: MINOR, offset: 0, immediate: 0 });
        }
    }

    fn rule(&mut self, rule: &DeviceRule) {
        let test = match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => Some((DEVICE, major << MINOR_BITS | minor)),
            (Some(major), None) => Some((MAJOR, major)),
            (None, Some(minor)) => Some((MINOR, minor)),
            (None, None) => None,
        };
        let bits = u32::from(rule.access) << ACCESS;
        match test {
            // All of the access at once.
            Some((register, number)) if rule.access == access::ALL => {
                self.verdict(op::JEQ, register, number, rule.allow);
            }
            None if rule.access == access::ALL => self.verdict(op::JA, R0, 0, rule.allow),
            // Some bits: each one alone can be enough to deny, all that are left must be allowed.
            _ => {
                let skip = test.map(|(register, number)| self.put(op::JNE, register, number));
                if rule.allow {
                    self.put(op::AND, WANTED, !bits);
                    self.verdict(op::JLE, WANTED, (1 << ACCESS) - 1, true);
                } else {
                    self.verdict(op::JSET, WANTED, bits, false);
                }
                if let Some(skip) = skip {
                    self.insns[skip].offset = if rule.allow { 2 } else { 1 };
                }
            }
        }
    }

    fn verdict(&mut self, code: u8, register: u8, immediate: u32, allow: bool) {
        let jump = self.put(code, register, immediate);
        self.verdicts.push((jump, allow));
    }

    /// Makes the jump at `from` lead to `to`.
    fn land(&mut self, from: usize, to: usize) -> Result<()> {
        // An offset of 0 is the next instruction.
        self.insns[from].offset = i16::try_from(to - from - 1)
            .map_err(|_| Error::new("too many rules for one program").field("linux.resources.devices"))?;
        Ok(())
    }
}
