//! From the decision graph to a program.
//!
//! Jumps only go forward, so the program is written from its end: when a node's turn comes, the places of its
//! successors are known. Conditional jumps reach 255 instructions; a farther successor is brought nearer by
//! an unconditional jump, or, if it is an action, by another copy.

use super::bpf::{self, Instruction, MAX_INSTRUCTIONS};
use super::graph::{Compare, Field, Graph, Id, Node, Test};
use crate::error::{Error, Result};

/// Generates the program that starts at `root`.
pub(super) fn emit(graph: &Graph, root: Id) -> Result<Vec<Instruction>> {
    let mut emitter = Emitter { graph, program: Vec::with_capacity(1024), places: Vec::new() };
    let entered = entries(graph, root);
    emitter.places = vec![[None; 3]; graph.len()];
    for (id, entries) in (0..).zip(&entered) {
        if entries.contains(&true) {
            emitter.node(id, *entries);
        }
        if emitter.program.len() > MAX_INSTRUCTIONS {
            return Err(Error::new(format!(
                "the filter needs more than the kernel's {MAX_INSTRUCTIONS} instructions"
            ))
            .hint("fewer rules with conditions, or fewer architectures, make it shorter"));
        }
    }
    emitter.program.reverse();
    bpf::verify(&emitter.program)
        .map_err(|what| Error::new(format!("compiled to an invalid filter: {what}")))?;
    Ok(emitter.program)
}

/// What register A holds on the way to a node.
type Held = Option<Field>;

/// Where a node is entered, by what A holds: the field that the node compares (or whatever, for an action),
/// the same word without the node's mask, or anything.
const READY: usize = 0;
const UNMASKED: usize = 1;
const UNLOADED: usize = 2;

/// Which entry of a node serves.
fn entry(node: Node, held: Held) -> usize {
    match node {
        Node::Return(_) => READY,
        Node::Test(Test { field, .. }, ..) => match held {
            Some(held) if held == field => READY,
            Some(held) if held.offset == field.offset && held.mask == u32::MAX => UNMASKED,
            _ => UNLOADED,
        },
    }
}

/// Marks the entries that are used of the nodes that can be reached.
fn entries(graph: &Graph, root: Id) -> Vec<[bool; 3]> {
    let mut entries = vec![[false; 3]; graph.len()];
    entries[root as usize][entry(graph.node(root), None)] = true;
    for id in (0..=root).rev() {
        if let (true, Node::Test(test, yes, no)) = (entries[id as usize].contains(&true), graph.node(id)) {
            for next in [yes, no] {
                entries[next as usize][entry(graph.node(next), Some(test.field))] = true;
            }
        }
    }
    entries
}

/// Where an entry of a node is in the program, counted from its end.
#[derive(Clone, Copy)]
struct Place {
    /// The instruction itself.
    home: usize,
    /// The nearest jump there, or copy of it.
    near: usize,
}

struct Emitter<'g> {
    graph: &'g Graph,
    /// Last instruction first.
    program: Vec<Instruction>,
    places: Vec<[Option<Place>; 3]>,
}

/// How far back a place may be when it is made sure of: one instruction may still come between, which brings the
/// other successor nearer.
const REACH: usize = u8::MAX as usize;

impl Emitter<'_> {
    fn node(&mut self, id: Id, entries: [bool; 3]) {
        match self.graph.node(id) {
            Node::Return(action) => self.place(id, READY, Instruction::plain(bpf::RETURN, action.ret())),
            Node::Test(Test { field, compare }, yes, no) => {
                let targets = [yes, no].map(|next| (next, entry(self.graph.node(next), Some(field))));
                for (next, entry) in targets {
                    self.bring_near(next, entry);
                }
                let [jt, jf] = targets.map(|(next, entry)| self.skip(next, entry));
                let (code, k) = match compare {
                    Compare::Equal(k) => (bpf::JUMP_EQUAL, k),
                    Compare::AtLeast(k) => (bpf::JUMP_AT_LEAST, k),
                    Compare::AnySet(k) => (bpf::JUMP_ANY_SET, k),
                };
                self.place(id, READY, Instruction { code, jt, jf, k });
                let load = entries[UNLOADED];
                if field.mask != u32::MAX && (load || entries[UNMASKED]) {
                    self.place(id, UNMASKED, Instruction::plain(bpf::AND, field.mask));
                }
                if load {
                    self.place(id, UNLOADED, Instruction::plain(bpf::LOAD, field.offset.into()));
                }
            }
        }
    }

    fn place(&mut self, id: Id, entry: usize, instruction: Instruction) {
        let at = self.program.len();
        self.program.push(instruction);
        self.places[id as usize][entry] = Some(Place { home: at, near: at });
    }

    /// Makes sure that the next instructions can jump to an entry.
    fn bring_near(&mut self, id: Id, entry: usize) {
        let at = self.program.len();
        let Some(place) = self.places[id as usize][entry] else { return };
        if at - place.near <= REACH {
            return;
        }
        let instruction = match self.graph.node(id) {
            Node::Return(action) => Instruction::plain(bpf::RETURN, action.ret()),
            // The program is checked for its length after each node.
            Node::Test(..) => {
                Instruction::plain(bpf::JUMP, u32::try_from(at - place.home - 1).unwrap_or(u32::MAX))
            }
        };
        self.program.push(instruction);
        self.places[id as usize][entry] = Some(Place { home: place.home, near: at });
    }

    /// How many instructions the next one has to skip to reach an entry.
    fn skip(&self, id: Id, entry: usize) -> u8 {
        let place = self.places[id as usize][entry];
        // Successors have places within reach; if that were not so, the check of the program would fail.
        place.and_then(|place| u8::try_from(self.program.len() - place.near - 1).ok()).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::policy::Action;

    fn word(offset: u8, mask: u32) -> Field {
        Field { offset, mask }
    }

    fn lines(graph: &Graph, root: Id) -> String {
        bpf::disassemble(&emit(graph, root).unwrap())
    }

    #[test]
    fn a_word_is_loaded_when_another_is_held() {
        let mut graph = Graph::new();
        let (allow, trap) = (graph.action(Action::Allow), graph.action(Action::Trap));
        let field = word(16, u32::MAX);
        let second = graph.test(field, Compare::Equal(2), allow, trap);
        let first = graph.test(field, Compare::Equal(1), allow, second);
        let root = graph.test(Field::NUMBER, Compare::AtLeast(9), first, second);
        let text = "   0  A = nr
   1  if A >= 0x9 goto 2 else 4
   2  A = args[0]
   3  if A == 0x1 goto 7 else 5
   4  A = args[0]
   5  if A == 0x2 goto 7 else 6
   6  return SCMP_ACT_TRAP
   7  return SCMP_ACT_ALLOW
";
        assert_eq!(lines(&graph, root), text);
    }

    #[test]
    fn a_masked_word_needs_no_load_after_the_whole_word() {
        let mut graph = Graph::new();
        let (allow, trap) = (graph.action(Action::Allow), graph.action(Action::Trap));
        let masked = graph.test(word(16, 0xf0), Compare::Equal(0x30), allow, trap);
        let whole = graph.test(word(16, u32::MAX), Compare::AtLeast(9), masked, trap);
        let root = graph.test(word(16, 0x0f), Compare::Equal(3), whole, masked);
        let text = "   0  A = args[0]
   1  A &= 0xf
   2  if A == 0x3 goto 3 else 5
   3  A = args[0]
   4  if A >= 0x9 goto 6 else 8
   5  A = args[0]
   6  A &= 0xf0
   7  if A == 0x30 goto 9 else 8
   8  return SCMP_ACT_TRAP
   9  return SCMP_ACT_ALLOW
";
        assert_eq!(lines(&graph, root), text);
    }

    #[test]
    fn the_kernels_limit() {
        let emit_chain = |length: u32| {
            let mut graph = Graph::new();
            let (allow, trap) = (graph.action(Action::Allow), graph.action(Action::Trap));
            let root =
                (0..length).fold(trap, |no, number| graph.test_number(Compare::Equal(number), allow, no));
            emit(&graph, root)
        };
        // A load, two actions, and a copy of one for each 255 comparisons after the first.
        let longest = emit_chain(4078).unwrap();
        assert_eq!(longest.len(), MAX_INSTRUCTIONS);
        assert!(emit_chain(4079).is_err());
    }

    #[test]
    fn a_far_action_is_copied_and_a_far_comparison_jumped_to() {
        let mut graph = Graph::new();
        let (allow, trap) = (graph.action(Action::Allow), graph.action(Action::Trap));
        let far = graph.test(word(24, u32::MAX), Compare::Equal(1), allow, trap);
        let field = word(16, u32::MAX);
        let chain = (0..300).fold(trap, |no, value| graph.test(field, Compare::Equal(value), far, no));
        let root = graph.test(field, Compare::Equal(1000), allow, chain);
        let program = emit(&graph, root).unwrap();
        assert_eq!(program.iter().filter(|i| i.code == bpf::JUMP).count(), 1);
        assert_eq!(program.iter().filter(|i| i.code == bpf::RETURN).count(), 3);
        assert_eq!(program.len(), 4 + 1 + 301 + 1 + 1);
    }
}
