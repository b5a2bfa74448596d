//! From a policy to a filter program.
//!
//! The numbers of an architecture fall into intervals of equal treatment, and a balanced tree of comparisons
//! finds the interval of a call. With the profile that Podman ships this takes about half the instructions
//! of libseccomp's list and tree, and the kernel, which emulates each new filter for every system call number
//! to learn which it always allows, installs it in a quarter of the time.

use super::arch::{Arch, X32_BIT};
use super::bpf::Instruction;
use super::emit;
use super::graph::{Compare, Field, Graph, Id};
use super::policy::{Action, Policy, Rule};
use super::resolve::{Claims, Names};
use crate::error::{Context, Result};
use std::ops::Range;

/// A filter for the kernel.
#[derive(Debug, Clone)]
pub struct Program {
    /// Checked by the kernel's rules.
    pub instructions: Vec<Instruction>,
    /// One line for each part of the profile that has no effect.
    pub warnings: Vec<String>,
}

/// For calls of an architecture that the profile does not have, as libseccomp has it.
pub(super) const OTHER_ARCH: Action = Action::KillThread;

/// ENOSYS: for calls newer than every one that the profile names.
pub(super) const NEWER: Action = Action::Errno(38);

/// Not a system call: what a tracer puts in place of one that is to be skipped.
pub(super) const NO_CALL: u32 = u32::MAX;

/// Compiles a policy.
pub fn compile(policy: &Policy) -> Result<Program> {
    let names = Names::of(policy);
    let mut compiler = Compiler::new(policy, &names);
    let mut root = compiler.graph.action(OTHER_ARCH);
    // The first architecture is the native one and is asked for first, so it is added last.
    for (i, arch) in policy.archs.iter().enumerate().rev() {
        let audit = arch.audit();
        if policy.archs[..i].iter().any(|earlier| earlier.audit() == audit) {
            continue;
        }
        let intervals = compiler.intervals(audit);
        let tree = tree(&mut compiler.graph, &intervals, 1 << 32);
        root = compiler.graph.test(Field::ARCH, Compare::Equal(audit), tree, root);
    }
    let instructions = emit::emit(&compiler.graph, root).field(|| policy.path("syscalls"))?;
    Ok(Program { instructions, warnings: names.warnings })
}

/// The least number of an interval, and what its numbers get. An interval ends where the next one begins.
type Interval = (u32, Id);

struct Compiler<'a> {
    policy: &'a Policy<'a>,
    names: &'a Names,
    graph: Graph,
    /// What the rules without conditions come to.
    unconditional: Vec<Option<Id>>,
    default: Id,
    newer: Id,
}

impl<'a> Compiler<'a> {
    fn new(policy: &'a Policy<'a>, names: &'a Names) -> Self {
        let mut graph = Graph::new();
        let (default, newer) = (graph.action(policy.default), graph.action(NEWER));
        let mut id = |rule: &Rule| rule.conditions.is_empty().then(|| graph.action(rule.action));
        let unconditional = policy.rules.iter().map(&mut id).collect();
        Compiler { policy, names, graph, unconditional, default, newer }
    }

    /// All numbers that the kernel can report together with an audit architecture.
    fn intervals(&mut self, audit: u32) -> Vec<Interval> {
        let mut intervals = Vec::with_capacity(256);
        let starts = if audit == Arch::X32.audit() { &[0, X32_BIT][..] } else { &[0] };
        for start in starts {
            let serves =
                |arch: &&Arch| arch.audit() == audit && (arch.base() == X32_BIT) == (*start == X32_BIT);
            match self.policy.archs.iter().find(serves) {
                Some(arch) => self.add_arch(&mut intervals, *arch, *start),
                None => add(&mut intervals, *start, self.graph.action(OTHER_ARCH)),
            }
        }
        add(&mut intervals, NO_CALL, self.default);
        intervals
    }

    /// Adds the numbers of one architecture from `start` on.
    fn add_arch(&mut self, intervals: &mut Vec<Interval>, arch: Arch, start: u32) {
        let claims = Claims::of(self.names, arch);
        let newest = newest(self.policy, &claims, arch);
        let mut next = start;
        for (number, claimed) in claims.numbers() {
            if next < number {
                self.add_unclaimed(intervals, next..number, arch, newest);
            }
            let id = match claimed.only_rule().and_then(|rule| self.unconditional[rule]) {
                // Nearly all numbers of nearly all profiles.
                Some(id) => id,
                None => self.graph.cases(&claimed.cases(self.policy), arch, self.default),
            };
            add(intervals, number, id);
            next = number + 1;
        }
        self.add_unclaimed(intervals, next..NO_CALL, arch, newest);
    }

    /// Adds a gap between claimed numbers. In it, calls may become newer than all of the profile.
    fn add_unclaimed(&self, intervals: &mut Vec<Interval>, gap: Range<u32>, arch: Arch, newest: Option<u32>) {
        let Some(newest) = newest else { return add(intervals, gap.start, self.default) };
        let mut start = gap.start;
        // It is the least number of all, so it is at the start of its gap.
        if arch.stands_for_unknown() == Some(start) {
            add(intervals, start, self.newer);
            start += 1;
        }
        if start < gap.end && start <= newest {
            add(intervals, start, self.default);
        }
        let start = start.max(newest + 1);
        if start < gap.end {
            add(intervals, start, self.newer);
        }
    }
}

/// The newest call that the profile names for the architecture, if calls above it are to fail with ENOSYS.
///
/// Programs try a new system call and fall back to older ones on ENOSYS, not on the EPERM or the signal of a
/// profile that was written before the call existed. The rule is runc's, and callers rely on it.
pub(super) fn newest(policy: &Policy, claims: &Claims, arch: Arch) -> Option<u32> {
    if policy.default.lets_unknown_calls_through() { None } else { claims.newest(arch) }
}

/// Adds an interval, unless it continues the last one.
fn add(intervals: &mut Vec<Interval>, start: u32, id: Id) {
    if intervals.last().is_none_or(|(_, last)| *last != id) {
        intervals.push((start, id));
    }
}

/// The comparisons that find the interval of a number. The last interval ends before `end`.
fn tree(graph: &mut Graph, intervals: &[Interval], end: u64) -> Id {
    if let Some(id) = few_exceptions(graph, intervals, end) {
        return id;
    }
    let (left, right) = intervals.split_at(intervals.len() / 2);
    let middle = right[0].0;
    let yes = tree(graph, right, end);
    let no = tree(graph, left, middle.into());
    graph.test_number(Compare::AtLeast(middle), yes, no)
}

/// Intervals that are alike but for a few single numbers: one comparison for each of these saves one of the
/// two that it takes to set its interval apart.
fn few_exceptions(graph: &mut Graph, intervals: &[Interval], end: u64) -> Option<Id> {
    const FEW: usize = 2;
    if intervals.len() > 2 * FEW + 1 {
        return None;
    }
    let end_of = |i: usize| intervals.get(i + 1).map_or(end, |(start, _)| u64::from(*start));
    let is_single = |i: usize| u64::from(intervals[i].0) + 1 == end_of(i);
    let rest = intervals[(0..intervals.len()).find(|i| !is_single(*i)).unwrap_or(0)].1;
    let exceptions = (0..intervals.len()).filter(|i| intervals[*i].1 != rest);
    if exceptions.clone().count() > FEW || !exceptions.clone().all(is_single) {
        return None;
    }
    Some(exceptions.rev().fold(rest, |no, i| {
        let (number, yes) = intervals[i];
        graph.test_number(Compare::Equal(number), yes, no)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::graph::Node;

    /// The actions of all numbers of an audit architecture, for a profile that allows some calls.
    fn intervals_of(names: &[&str], default: Action, archs: &[Arch], audit: u32) -> Vec<(u32, Action)> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let rules = vec![Rule { names: &names, action: Action::Allow, conditions: Vec::new() }];
        let (archs, flags) = (archs.to_vec(), Vec::new());
        let policy = Policy { field: String::new(), default, archs, rules, flags, listener: None };
        let names = Names::of(&policy);
        let mut compiler = Compiler::new(&policy, &names);
        let intervals = compiler.intervals(audit);
        let action = |(start, id): &Interval| match compiler.graph.node(*id) {
            Node::Return(action) => (*start, action),
            node => panic!("{node:?}"),
        };
        intervals.iter().map(action).collect()
    }

    #[test]
    fn intervals_of_one_architecture() {
        let (allow, default) = (Action::Allow, Action::Errno(1));
        let expected =
            [(0, default), (56, allow), (59, default), (63, allow), (64, NEWER), (NO_CALL, default)];
        let names = ["openat", "close", "vhangup", "read"];
        assert_eq!(intervals_of(&names, default, &[Arch::Aarch64], Arch::Aarch64.audit()), expected);
        let expected = [
            (0, allow),
            (2, default),
            (3, allow),
            (4, default),
            (437, allow),
            (438, NEWER),
            (X32_BIT, OTHER_ARCH),
            (NO_CALL, default),
        ];
        let names = ["write", "read", "close", "openat2"];
        assert_eq!(intervals_of(&names, default, &[Arch::X86_64], Arch::X86_64.audit()), expected);
    }

    #[test]
    fn x32_follows_x86_64() {
        let (allow, default) = (Action::Allow, Action::Trap);
        let expected = [(0, allow), (1, NEWER), (X32_BIT, allow), (X32_BIT + 1, NEWER), (NO_CALL, default)];
        let archs = [Arch::X86_64, Arch::X32];
        assert_eq!(intervals_of(&["read"], default, &archs, Arch::X32.audit()), expected);
        let expected = [(0, OTHER_ARCH), (X32_BIT, allow), (X32_BIT + 1, NEWER), (NO_CALL, default)];
        assert_eq!(intervals_of(&["read"], default, &[Arch::X32], Arch::X32.audit()), expected);
    }

    #[test]
    fn newer_calls_pass_if_unknown_ones_do() {
        for default in [Action::Allow, Action::Log, Action::Trace(1)] {
            let intervals = intervals_of(&["read"], default, &[Arch::Riscv64], Arch::Riscv64.audit());
            assert!(intervals.iter().all(|(_, action)| *action != NEWER), "{intervals:?}");
        }
        // A profile that names no call of the architecture does not say what its author knew.
        let none = intervals_of(&["fork"], Action::Errno(1), &[Arch::Riscv64], Arch::Riscv64.audit());
        assert_eq!(none, [(0, Action::Errno(1))]);
    }

    #[test]
    fn number_zero_of_s390_stands_for_unknown_calls() {
        let default = Action::Errno(1);
        let expected = [(0, NEWER), (1, default), (3, Action::Allow), (4, NEWER), (NO_CALL, default)];
        assert_eq!(intervals_of(&["read"], default, &[Arch::S390x], Arch::S390x.audit()), expected);
        let expected = [(0, NEWER), (1, Action::Allow), (2, NEWER), (NO_CALL, default)];
        assert_eq!(intervals_of(&["exit"], default, &[Arch::S390], Arch::S390.audit()), expected);
    }

    #[test]
    fn private_calls_of_arm_are_outside_the_sequence() {
        let (allow, default) = (Action::Allow, Action::Errno(1));
        let expected = [
            (0, default),
            (3, allow),
            (4, NEWER),
            (0x0f_0005, allow),
            (0x0f_0006, NEWER),
            (NO_CALL, default),
        ];
        assert_eq!(intervals_of(&["set_tls", "read"], default, &[Arch::Arm], Arch::Arm.audit()), expected);
    }
}
