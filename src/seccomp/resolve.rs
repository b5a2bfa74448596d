//! From names to numbers: which rules speak of which system call number of an architecture, and what they
//! come to.
//!
//! The specification leaves open what several rules on one call mean. The reading here is the one that
//! profiles are written for, runc's with libseccomp: rules whose action is the default action are left out;
//! if a rule without conditions is left, the first such decides alone; otherwise the first rule whose
//! conditions are met does, and the default action if none is. A masked comparison whose mask has no bit
//! that the architecture compares is no condition.

use super::arch::Arch;
use super::policy::{Action, Condition, Operator, Policy, Rule};
use super::table::{Multiplexed, Syscall};

/// The known names of all rules, in the order of the profile.
pub(super) struct Names {
    known: Vec<(usize, Syscall)>,
    /// One line for each name that no architecture knows.
    pub(super) warnings: Vec<String>,
}

impl Names {
    /// Looks up the names of a profile.
    pub(super) fn of(policy: &Policy) -> Names {
        let mut names = Names { known: Vec::with_capacity(512), warnings: Vec::new() };
        for (rule, Rule { names: list, .. }) in policy.rules.iter().enumerate() {
            for (i, name) in list.iter().enumerate() {
                match Syscall::find(name) {
                    Some(syscall) => names.known.push((rule, syscall)),
                    None => names.warnings.push(format!(
                        "{}: unknown system call {name:?} is ignored",
                        policy.path(format_args!("syscalls[{rule}].names[{i}]"))
                    )),
                }
            }
        }
        names
    }
}

/// A rule's claim on a system call number: the number, the place of the name in [`Names`], and whether the
/// number is that of a multiplexer through which the call can be made. One integer, because sorting these is
/// a good part of the compilation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim(u64);

impl Claim {
    fn new(number: u32, place: u32, multiplexed: bool) -> Claim {
        Claim((u64::from(number) << 32) | (u64::from(place) << 1) | u64::from(multiplexed))
    }

    fn number(self) -> u32 {
        split(self.0).0
    }

    fn place(self) -> usize {
        split(self.0).1 as usize >> 1
    }

    fn is_multiplexed(self) -> bool {
        self.0 & 1 != 0
    }
}

/// The claims of all rules on the numbers of one architecture, sorted by number, and those on one number in
/// the order of the profile.
pub(super) struct Claims<'a> {
    names: &'a Names,
    arch: Arch,
    claims: Vec<Claim>,
}

/// The claims on one number.
pub(super) struct Claimed<'a> {
    names: &'a Names,
    arch: Arch,
    claims: &'a [Claim],
}

/// A call that meets all conditions gets the action.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
    /// Index in the policy's rules.
    pub(super) rule: usize,
}

impl<'a> Claims<'a> {
    /// Finds the numbers that the profile's rules speak of. A call that the architecture can also make
    /// through a multiplexer is claimed there too.
    pub(super) fn of(names: &'a Names, arch: Arch) -> Claims<'a> {
        let mut claims = Vec::with_capacity(names.known.len() + 16);
        let numbers = arch.numbers();
        let number_of = |inner: Multiplexed| inner.through().and_then(|syscall| numbers.of(syscall));
        let (socketcall, ipc) = (number_of(Multiplexed::Socketcall(0)), number_of(Multiplexed::Ipc(0)));
        let has_multiplexers = socketcall.or(ipc).is_some();
        for (place, (_, syscall)) in (0..).zip(&names.known) {
            if let Some(number) = numbers.of(*syscall) {
                claims.push(Claim::new(number, place, false));
            }
            let inner = if has_multiplexers { syscall.multiplexed() } else { None };
            let through = inner.and_then(|inner| match inner {
                Multiplexed::Socketcall(_) => socketcall,
                Multiplexed::Ipc(_) => ipc,
            });
            if let Some(number) = through {
                claims.push(Claim::new(number, place, true));
            }
        }
        Claims { names, arch, claims: sorted(&claims, arch.base()) }
    }

    /// The numbers with the claims on each, in ascending order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (u32, Claimed<'_>)> {
        let on_one = self.claims.chunk_by(|a, b| a.number() == b.number());
        on_one.map(|claims| (claims[0].number(), Claimed { names: self.names, arch: self.arch, claims }))
    }

    /// The claims on one number.
    pub(super) fn on(&self, number: u32) -> Claimed<'_> {
        let start = self.claims.partition_point(|claim| claim.number() < number);
        let end = self.claims.partition_point(|claim| claim.number() <= number);
        Claimed { names: self.names, arch: self.arch, claims: &self.claims[start..end] }
    }

    /// The newest system call that the profile names for this architecture: what is above it was not known
    /// to the profile's author. Not counted are ARM's private calls, which are outside the sequence (runc
    /// counts them), and calls that only a multiplexer makes.
    pub(super) fn newest(&self, arch: Arch) -> Option<u32> {
        let direct = self.claims.iter().rev().filter(|claim| !claim.is_multiplexed());
        direct.map(|claim| claim.number()).find(|number| !arch.is_private(*number))
    }
}

impl Claimed<'_> {
    fn rule(&self, claim: Claim) -> usize {
        self.names.known[claim.place()].0
    }

    /// The cases to go through in order; the default action is for calls that meet none.
    pub(super) fn cases(&self, policy: &Policy) -> Vec<Case> {
        let mut all = Vec::new();
        for claim in self.claims {
            let rule = self.rule(*claim);
            if policy.rules[rule].action != policy.default {
                let syscall = self.names.known[claim.place()].1;
                let inner = if claim.is_multiplexed() { syscall.multiplexed() } else { None };
                all.extend(cases(&policy.rules[rule], rule, inner, self.arch));
            }
        }
        match all.iter().position(|case| case.conditions.is_empty()) {
            Some(alone) => vec![all.swap_remove(alone)],
            None => all,
        }
    }

    /// The rule, if only one speaks of this number, and not of a call inside it.
    pub(super) fn only_rule(&self) -> Option<usize> {
        match *self.claims {
            [claim] if !claim.is_multiplexed() => Some(self.rule(claim)),
            _ => None,
        }
    }
}

/// Sorts by number and keeps the order on each number. Numbers are dense, so each has a bucket; a comparing
/// sort took a sixth of the whole compilation. ARM's private calls share the last one.
fn sorted(claims: &[Claim], base: u32) -> Vec<Claim> {
    const BUCKETS: usize = 576;
    let bucket = |claim: &Claim| (claim.number().saturating_sub(base) as usize).min(BUCKETS - 1);
    let mut places = [0; BUCKETS];
    for claim in claims {
        places[bucket(claim)] += 1;
    }
    let mut sum = 0;
    for place in &mut places {
        let count = *place;
        *place = sum;
        sum += count;
    }
    let mut sorted = vec![Claim(0); claims.len()];
    for claim in claims {
        let place = &mut places[bucket(claim)];
        sorted[*place] = *claim;
        *place += 1;
    }
    sorted[places[BUCKETS - 2]..].sort_unstable();
    sorted
}

/// What one rule says of one number.
fn cases(rule: &Rule, index: usize, inner: Option<Multiplexed>, arch: Arch) -> impl Iterator<Item = Case> {
    let repeated =
        rule.conditions.iter().enumerate().any(|(i, condition)| {
            rule.conditions[..i].iter().any(|earlier| earlier.index == condition.index)
        });
    let alternatives: Vec<Vec<Condition>> = if repeated {
        rule.conditions.iter().map(|condition| vec![*condition]).collect()
    } else {
        vec![rule.conditions.clone()]
    };
    let action = rule.action;
    alternatives.into_iter().map(move |mut conditions| {
        conditions.retain(|condition| {
            condition.op != Operator::MaskedEq || condition.value & arch.argument_bits() != 0
        });
        if let Some(inner) = inner {
            // As libseccomp does it. The multiplexed call's own arguments are in memory, where no filter sees
            // them; conditions on argument 0 cannot be kept, and those on the others, which are left in
            // place, compare what the multiplexer is called with.
            conditions.retain(|condition| condition.index != 0);
            let call = Condition { index: 0, op: Operator::Eq, value: inner.call().into(), value_two: 0 };
            conditions.insert(0, call);
        }
        Case { conditions, action, rule: index }
    })
}

/// The high and the low half.
pub(super) fn split(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(names: &[String], action: Action, conditions: Vec<Condition>) -> Rule<'_> {
        Rule { names, action, conditions }
    }

    fn eq(index: u8, value: u64) -> Condition {
        Condition { index, op: Operator::Eq, value, value_two: 0 }
    }

    fn policy(rules: Vec<Rule<'_>>) -> Policy<'_> {
        Policy {
            field: "linux.seccomp".into(),
            default: Action::Errno(1),
            archs: vec![Arch::X86_64, Arch::X86],
            rules,
            flags: Vec::new(),
            listener: None,
        }
    }

    fn cases_on(policy: &Policy, arch: Arch, name: &str) -> Vec<(Vec<Condition>, Action, usize)> {
        let names = Names::of(policy);
        let claims = Claims::of(&names, arch);
        let cases = claims.on(arch.number_of(name).unwrap()).cases(policy);
        cases.into_iter().map(|case| (case.conditions, case.action, case.rule)).collect()
    }

    #[test]
    fn the_first_rule_without_conditions_decides_alone() {
        let read = ["read".to_owned()];
        let policy = policy(vec![
            rule(&read, Action::Log, vec![eq(0, 1)]),
            rule(&read, Action::Errno(1), vec![]),
            rule(&read, Action::Trap, vec![]),
            rule(&read, Action::Allow, vec![]),
        ]);
        assert_eq!(cases_on(&policy, Arch::X86_64, "read"), [(vec![], Action::Trap, 2)]);
    }

    #[test]
    fn a_mask_without_bits_is_no_condition() {
        let read = ["read".to_owned()];
        let masked = |value| vec![Condition { index: 0, op: Operator::MaskedEq, value, value_two: 1 }];
        let high = 1 << 32;
        let policy = policy(vec![
            rule(&read, Action::Log, masked(high)),
            rule(&read, Action::Trap, masked(0)),
            rule(&read, Action::Allow, vec![]),
        ]);
        assert_eq!(cases_on(&policy, Arch::X86_64, "read"), [(vec![], Action::Trap, 1)]);
        assert_eq!(cases_on(&policy, Arch::X86, "read"), [(vec![], Action::Log, 0)]);
    }

    #[test]
    fn two_conditions_on_one_argument_are_alternatives() {
        let read = ["read".to_owned()];
        let policy = policy(vec![rule(&read, Action::Allow, vec![eq(0, 1), eq(1, 7), eq(0, 2)])]);
        let expected = [
            (vec![eq(0, 1)], Action::Allow, 0),
            (vec![eq(1, 7)], Action::Allow, 0),
            (vec![eq(0, 2)], Action::Allow, 0),
        ];
        assert_eq!(cases_on(&policy, Arch::X86_64, "read"), expected);
    }

    #[test]
    fn a_multiplexed_call_is_claimed_twice() {
        let names = ["socket".to_owned(), "semop".to_owned()];
        let policy = policy(vec![rule(&names, Action::Allow, vec![eq(0, 16), eq(2, 9)])]);
        let direct = [(vec![eq(0, 16), eq(2, 9)], Action::Allow, 0)];
        assert_eq!(cases_on(&policy, Arch::X86_64, "socket"), direct);
        assert_eq!(cases_on(&policy, Arch::X86, "socket"), direct);
        assert_eq!(
            cases_on(&policy, Arch::X86, "socketcall"),
            [(vec![eq(0, 1), eq(2, 9)], Action::Allow, 0)]
        );
        assert_eq!(cases_on(&policy, Arch::X86, "ipc"), [(vec![eq(0, 1), eq(2, 9)], Action::Allow, 0)]);
    }

    #[test]
    fn unknown_names_are_told() {
        let names = ["read".to_owned(), "reed".to_owned()];
        let policy = policy(vec![rule(&names, Action::Allow, vec![])]);
        assert_eq!(
            Names::of(&policy).warnings,
            ["linux.seccomp.syscalls[0].names[1]: unknown system call \"reed\" is ignored"]
        );
    }

    #[test]
    fn the_newest_call_is_an_ordinary_one() {
        let names = ["read".to_owned(), "openat2".to_owned(), "set_tls".to_owned()];
        let policy = policy(vec![rule(&names, Action::Allow, vec![])]);
        let names = Names::of(&policy);
        assert_eq!(Claims::of(&names, Arch::Arm).newest(Arch::Arm), Some(437));
        assert_eq!(Claims::of(&names, Arch::Mips).newest(Arch::Mips), Some(4437));
        assert_eq!(Claims::of(&names, Arch::X32).newest(Arch::X32), Some(0x4000_0000 + 437));
    }
}
