//! The intermediate form: a decision graph. Each inner node compares one 32-bit word of `seccomp_data` with a
//! constant and has two successors; each leaf is an action.
//!
//! Equal actions and equal comparisons of arguments are one node, so equality of what two calls get is equality
//! of two indices. A node is made after its successors, so the order of indices is a topological one, which code
//! generation relies on.

use super::arch::Arch;
use super::bpf;
use super::policy::{Action, Condition, Operator};
use super::resolve::{Case, split};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// An index in the graph's nodes.
pub(super) type Id = u32;

/// A node of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// The end: this action.
    Return(Action),
    /// Compare a field; go on at `yes` or `no`.
    Test(Test, Id, Id),
}

/// One comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Test {
    pub(super) field: Field,
    pub(super) compare: Compare,
}

/// A 32-bit word of `seccomp_data`, and which bits of it count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Field {
    pub(super) offset: u8,
    pub(super) mask: u32,
}

/// How a field is compared, as the machine can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Compare {
    /// Is it this?
    Equal(u32),
    /// Is it this or more?
    AtLeast(u32),
    /// Is any of these bits set?
    AnySet(u32),
}

impl Field {
    pub(super) const NUMBER: Field = Field::word(bpf::NUMBER);
    pub(super) const ARCH: Field = Field::word(bpf::ARCH);

    const fn word(offset: u8) -> Field {
        Field { offset, mask: u32::MAX }
    }

    /// The low and the high half of an argument.
    fn halves(index: u8, arch: Arch) -> (Field, Field) {
        let (first, second) = (bpf::ARGUMENTS + 8 * index, bpf::ARGUMENTS + 8 * index + 4);
        let (low, high) = if arch.is_little_endian() { (first, second) } else { (second, first) };
        (Field::word(low), Field::word(high))
    }
}

/// The nodes of a program under construction.
pub(super) struct Graph {
    nodes: Vec<Node>,
    ids: HashMap<Node, Id, BuildHasherDefault<NodeHasher>>,
    /// The leaves, of which there are few.
    actions: Vec<(Action, Id)>,
    /// See [`Graph::MAX_STEPS`].
    steps_left: usize,
    /// What [`Graph::cases`] has made of a graph already.
    short: HashMap<Id, Id, BuildHasherDefault<NodeHasher>>,
}

impl Graph {
    /// Room for an ordinary profile.
    pub(super) fn new() -> Graph {
        Graph {
            nodes: Vec::with_capacity(1024),
            ids: HashMap::default(),
            actions: Vec::new(),
            steps_left: Self::MAX_STEPS,
            short: HashMap::default(),
        }
    }

    pub(super) fn node(&self, id: Id) -> Node {
        self.nodes[id as usize]
    }

    /// How many nodes there are; each index is less than this.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn push(nodes: &mut Vec<Node>, node: Node) -> Id {
        nodes.push(node);
        // Memory ends long before indices do.
        Id::try_from(nodes.len() - 1).unwrap_or(Id::MAX)
    }

    fn add(&mut self, node: Node) -> Id {
        *self.ids.entry(node).or_insert_with(|| Self::push(&mut self.nodes, node))
    }

    /// A leaf.
    pub(super) fn action(&mut self, action: Action) -> Id {
        if let Some((_, id)) = self.actions.iter().find(|(known, _)| *known == action) {
            return *id;
        }
        let id = self.add(Node::Return(action));
        self.actions.push((action, id));
        id
    }

    /// A comparison; none is made where its outcome makes no difference.
    pub(super) fn test(&mut self, field: Field, compare: Compare, yes: Id, no: Id) -> Id {
        if yes == no { yes } else { self.add(Node::Test(Test { field, compare }, yes, no)) }
    }

    /// A comparison of the system call's number. Two of these hardly ever are equal, so that is not looked for.
    pub(super) fn test_number(&mut self, compare: Compare, yes: Id, no: Id) -> Id {
        Self::push(&mut self.nodes, Node::Test(Test { field: Field::NUMBER, compare }, yes, no))
    }

    /// What the cases come to, tried in order, for arguments of this architecture.
    pub(super) fn cases(&mut self, cases: &[Case], arch: Arch, default: Id) -> Id {
        let plain = cases.iter().rev().fold(default, |no, case| {
            let yes = self.action(case.action);
            case.conditions.iter().rev().fold(yes, |yes, condition| self.condition(condition, arch, yes, no))
        });
        if let Some(short) = self.short.get(&plain) {
            return *short;
        }
        // The work is bounded, and so is the depth of the recursion; what it does not come to is right all the
        // same, only longer.
        let size = self.reachable(plain);
        let steps = (4 * size).min(Self::MAX_DEPTH).min(self.steps_left);
        let mut left = steps;
        let short = self.resolve_known(plain, &mut Vec::new(), &mut left);
        self.steps_left -= steps - left;
        let short = if self.reachable(short) <= size { short } else { plain };
        self.short.insert(plain, short);
        short
    }

    /// The steps of [`Graph::resolve_known`] for one call, and so the depth of its recursion.
    const MAX_DEPTH: usize = 2048;
    /// Those for all calls. Podman's profile takes a hundredth of them.
    const MAX_STEPS: usize = 16384;

    /// One condition, split into comparisons of halves where arguments have 64 bits.
    fn condition(&mut self, condition: &Condition, arch: Arch, yes: Id, no: Id) -> Id {
        let (low, high) = Field::halves(condition.index, arch);
        let (value_high, value) = split(condition.value);
        let (two_high, two) = split(condition.value_two);
        let wide = arch.is_wide();
        let (op, yes, no) = match condition.op {
            Operator::Ne => (Operator::Eq, no, yes),
            Operator::Lt => (Operator::Ge, no, yes),
            Operator::Le => (Operator::Gt, no, yes),
            op => (op, yes, no),
        };
        match op {
            Operator::MaskedEq => {
                let yes = self.masked(low, value, two, yes, no);
                if wide { self.masked(high, value_high, two_high, yes, no) } else { yes }
            }
            Operator::Ge | Operator::Gt => {
                let low = if op == Operator::Ge {
                    self.at_least(low, value.into(), yes, no)
                } else {
                    self.at_least(low, u64::from(value) + 1, yes, no)
                };
                if !wide {
                    return low;
                }
                let equal = self.test(high, Compare::Equal(value_high), low, no);
                self.at_least(high, u64::from(value_high) + 1, yes, equal)
            }
            _ => {
                let yes = self.test(low, Compare::Equal(value), yes, no);
                if wide { self.test(high, Compare::Equal(value_high), yes, no) } else { yes }
            }
        }
    }

    /// `field & mask == value & mask`
    fn masked(&mut self, field: Field, mask: u32, value: u32, yes: Id, no: Id) -> Id {
        let value = value & mask;
        match (mask, value) {
            (0, _) => yes,
            (u32::MAX, _) => self.test(field, Compare::Equal(value), yes, no),
            (_, 0) => self.test(field, Compare::AnySet(mask), no, yes),
            _ if mask.is_power_of_two() => self.test(field, Compare::AnySet(mask), yes, no),
            _ => self.test(Field { mask, ..field }, Compare::Equal(value), yes, no),
        }
    }

    /// `field >= value`, where the value may be one more than any field
    fn at_least(&mut self, field: Field, value: u64, yes: Id, no: Id) -> Id {
        match u32::try_from(value) {
            Ok(0) => yes,
            // At least 1 is not 0; so the same comparison serves a following Equal.
            Ok(1) => self.test(field, Compare::Equal(0), no, yes),
            Ok(value) => self.test(field, Compare::AtLeast(value), yes, no),
            Err(_) => no,
        }
    }

    /// Leaves out comparisons whose outcome follows from those before them on the way.
    fn resolve_known(&mut self, id: Id, facts: &mut Vec<(Test, bool)>, steps: &mut usize) -> Id {
        let Node::Test(test, yes, no) = self.node(id) else { return id };
        if *steps == 0 {
            return id;
        }
        *steps -= 1;
        if let Some(outcome) = outcome(&test, facts) {
            return self.resolve_known(if outcome { yes } else { no }, facts, steps);
        }
        facts.push((test, true));
        let yes = self.resolve_known(yes, facts, steps);
        facts.pop();
        facts.push((test, false));
        let no = self.resolve_known(no, facts, steps);
        facts.pop();
        self.test(test.field, test.compare, yes, no)
    }

    /// How many nodes can be reached.
    fn reachable(&self, root: Id) -> usize {
        let mut reached = vec![false; self.nodes.len()];
        let mut pending = vec![root];
        let mut count = 0;
        while let Some(id) = pending.pop() {
            if !std::mem::replace(&mut reached[id as usize], true) {
                count += 1;
                if let Node::Test(_, yes, no) = self.node(id) {
                    pending.extend([yes, no]);
                }
            }
        }
        count
    }
}

/// The outcome of a comparison, if earlier ones leave only one.
fn outcome(test: &Test, facts: &[(Test, bool)]) -> Option<bool> {
    // What is known of the whole word: bits, and bounds.
    let (mut mask, mut bits, mut least, mut most) = (0, 0, 0, u32::MAX);
    let facts = facts.iter().filter(|(fact, _)| fact.field.offset == test.field.offset);
    for (fact, holds) in facts {
        if fact == test {
            return Some(*holds);
        }
        match (fact.compare, holds) {
            (Compare::Equal(value), true) => {
                mask |= fact.field.mask;
                bits |= value;
            }
            (Compare::AnySet(set), false) => mask |= set,
            (Compare::AnySet(set), true) if set.is_power_of_two() => {
                mask |= set;
                bits |= set;
            }
            (Compare::AtLeast(value), true) => least = least.max(value),
            (Compare::AtLeast(value), false) => most = most.min(value - 1),
            _ => {}
        }
    }
    if mask == u32::MAX {
        (least, most) = (bits, bits);
    }
    match test.compare {
        Compare::Equal(value) => {
            let whole = test.field.mask == u32::MAX;
            if bits & test.field.mask != value & mask || whole && (value < least || value > most) {
                Some(false)
            } else {
                (test.field.mask & !mask == 0).then_some(true)
            }
        }
        Compare::AtLeast(value) if least >= value => Some(true),
        Compare::AtLeast(value) if most < value => Some(false),
        Compare::AnySet(set) if bits & set != 0 => Some(true),
        Compare::AnySet(set) if set & !mask == 0 => Some(false),
        _ => None,
    }
}

/// Hashes the few words of a node by multiplication; the standard hash takes longer than all the rest of the
/// compilation.
#[derive(Default)]
struct NodeHasher(u64);

impl Hasher for NodeHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_isize(&mut self, value: isize) {
        // The discriminant of an enum.
        self.write_u64(value.unsigned_abs() as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes the top bits for its tags and the low ones for the place.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: Action = Action::Allow;
    const NO: Action = Action::Errno(1);

    fn condition(index: u8, op: Operator, value: u64, value_two: u64) -> Condition {
        Condition { index, op, value, value_two }
    }

    fn case(conditions: Vec<Condition>, action: Action) -> Case {
        Case { conditions, action, rule: 0 }
    }

    /// Follows the graph for arguments of x86_64 or x86.
    fn follow(graph: &Graph, mut id: Id, args: &[u64; 6]) -> Action {
        loop {
            match graph.node(id) {
                Node::Return(action) => return action,
                Node::Test(Test { field, compare }, yes, no) => {
                    let at = field.offset - bpf::ARGUMENTS;
                    let (high, low) = split(args[usize::from(at / 8)]);
                    let word = if at.is_multiple_of(8) { low } else { high } & field.mask;
                    let holds = match compare {
                        Compare::Equal(value) => word == value,
                        Compare::AtLeast(value) => word >= value,
                        Compare::AnySet(bits) => word & bits != 0,
                    };
                    id = if holds { yes } else { no };
                }
            }
        }
    }

    fn holds(condition: &Condition, arg: u64, bits: u64) -> bool {
        let (arg, value, value_two) = (arg & bits, condition.value & bits, condition.value_two & bits);
        match condition.op {
            Operator::Ne => arg != value,
            Operator::Lt => arg < value,
            Operator::Le => arg <= value,
            Operator::Eq => arg == value,
            Operator::Ge => arg >= value,
            Operator::Gt => arg > value,
            Operator::MaskedEq => arg & value == value_two & value,
        }
    }

    const VALUES: [u64; 14] = [
        0,
        1,
        2,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0001,
        0x2_0000_0001,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        0xffff_ffff_0000_0000,
        0xffff_ffff_ffff_fffe,
        u64::MAX,
    ];

    #[test]
    fn every_operator_at_every_boundary() {
        for (arch, bits) in [(Arch::X86_64, u64::MAX), (Arch::X86, 0xffff_ffff)] {
            for op in Operator::ALL {
                for value in VALUES {
                    for value_two in [0, value, 0x1_0000_0001] {
                        let condition = condition(3, op, value, value_two);
                        let mut graph = Graph::new();
                        let default = graph.action(NO);
                        let id = graph.cases(&[case(vec![condition], YES)], arch, default);
                        for arg in VALUES {
                            let expected = if holds(&condition, arg, bits) { YES } else { NO };
                            let args = [9, 9, 9, arg, 9, 9];
                            assert_eq!(follow(&graph, id, &args), expected, "{condition} with {arg:#x}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn pairs_of_conditions_on_one_argument() {
        // What is known from the first is used for the second, whatever the operators.
        for first in Operator::ALL {
            for second in Operator::ALL {
                for (a, b) in
                    [(1, 2), (2, 1), (0x1_0000_0001, 1), (7, 7), (0xffff_ffff, 0x1_0000_0000), (6, 2)]
                {
                    let conditions = [condition(0, first, a, 2), condition(0, second, b, 3)];
                    let mut graph = Graph::new();
                    let default = graph.action(NO);
                    let cases = [case(vec![conditions[0]], YES), case(vec![conditions[1]], Action::Log)];
                    let id = graph.cases(&cases, Arch::X86_64, default);
                    for arg in VALUES.into_iter().chain(3..9) {
                        let met = conditions.iter().position(|condition| holds(condition, arg, u64::MAX));
                        let expected = [YES, Action::Log, NO][met.unwrap_or(2)];
                        assert_eq!(follow(&graph, id, &[arg; 6]), expected, "{conditions:?} with {arg:#x}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_known_is_not_asked_again() {
        // The rules on personality(2) that engines have.
        let personas = [0, 8, 0x20000, 0x20008, 0xffff_ffff];
        let cases = personas.map(|value| case(vec![condition(0, Operator::Eq, value, 0)], YES));
        let mut graph = Graph::new();
        let default = graph.action(NO);
        let id = graph.cases(&cases, Arch::X86_64, default);
        // One comparison of the high half, one of the low half for each value, two actions.
        assert_eq!(graph.reachable(id), 1 + personas.len() + 2);
    }

    #[test]
    fn equal_parts_are_one_part() {
        let mut graph = Graph::new();
        let default = graph.action(NO);
        let cases = [case(vec![condition(1, Operator::Gt, 5, 0)], YES)];
        let first = graph.cases(&cases, Arch::X86_64, default);
        let len = graph.len();
        assert_eq!(graph.cases(&cases, Arch::X86_64, default), first);
        assert_eq!(graph.len(), len);
    }
}
