//! How to count executed instructions exactly with as few counters as possible.
//!
//! What a run executed by class, and the bytes it moved, are sums over blocks of
//! (times entered) x (what one pass costs). Times are a flow: what enters a block leaves it. So
//! counters are needed only on the edges outside a spanning tree of the flow graph (Knuth 1973; Ball
//! and Larus, "Optimally profiling and tracing programs", TOPLAS 1994); the tree holds the edges
//! that loops run most. A stopped run breaks the flow where it stands in each active function;
//! [`Flow::tally`] is told these places and stays exact.

use super::{Block, Edge, End, Flow, Function, likelihoods, successors};
use crate::code::{Code, Op};
use crate::isa::{InstructionClass, class};

/// Counters that are tried for the one that is derived.
const CANDIDATES_MAX: usize = 16;

/// Work by class and bytes moved: what a run-time model charges for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) instructions: [u64; InstructionClass::ALL.len()],
    pub(crate) bytes_loaded: u64,
    pub(crate) bytes_stored: u64,
}

/// Where an active function stands when a run ends early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    /// The op it stands at.
    pub(crate) op: usize,
    /// True if that op counts as executed.
    pub(crate) executed: bool,
    /// True if it has moved its bytes, too.
    pub(crate) moved: bool,
}

impl Flow {
    /// The hottest counter whose rounds execute a number of instructions that is not zero.
    pub(super) fn choose_derived(&self) -> Option<(usize, i64)> {
        let mut candidates = Vec::new();
        for function in &self.functions {
            for (n, edge) in function.edges.iter().enumerate() {
                // Loops of one block are unrolled: their counters are cheap.
                let is_loop = edge.from == edge.to;
                candidates.extend(
                    edge.counter
                        .filter(|_| n > 0 && !is_loop)
                        .map(|counter| (function.weight[n], counter, function)),
                );
            }
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        // One that is much colder is not worth the search.
        candidates.into_iter().take(CANDIDATES_MAX).find_map(|(_, counter, function)| {
            let flow = function.solve(&[], |c| i64::from(c == counter));
            let entered = function.entered(&flow);
            let lengths = function.blocks.iter().map(|b| b.ops.len() as i64);
            let round: i64 = entered.iter().zip(lengths).map(|(n, len)| n * len).sum();
            (round != 0).then_some((counter, round))
        })
    }

    /// True if code must keep a counter.
    pub(crate) fn is_kept(&self, counter: usize) -> bool {
        self.derived.is_none_or(|(derived, _)| derived != counter)
    }

    /// What was executed: from the counters, the places where active functions stand, and the number
    /// of all instructions executed.
    pub(crate) fn tally(
        &self,
        code: &Code,
        counters: &[u64],
        active: &[Position],
        executed: u64,
    ) -> Tally {
        let count = |value: i64| {
            let mut sums = Sums::default();
            for (function, ops) in self.functions.iter().zip(&code.functions) {
                let here: Vec<Position> =
                    active.iter().copied().filter(|p| ops.contains(&p.op)).collect();
                if here.is_empty() && function.entry_counter().is_some_and(|c| counters[c] == 0) {
                    continue;
                }
                let counter = |c: usize| match self.derived {
                    Some((derived, _)) if derived == c => value,
                    _ => counters[c] as i64,
                };
                function.add_to(&mut sums, code, counter, &here);
            }
            sums
        };
        let mut sums = count(0);
        if let Some((_, round)) = self.derived {
            let rest = executed as i64 - sums.instructions.iter().sum::<i64>();
            debug_assert_eq!(rest % round, 0, "{rest} instructions in rounds of {round}");
            if rest != 0 {
                sums = count(rest / round);
            }
        }
        let total: i64 = sums.instructions.iter().sum();
        debug_assert_eq!(total, executed as i64, "the counters and the budget disagree");
        Tally {
            instructions: sums.instructions.map(|n| n as u64),
            bytes_loaded: sums.bytes_loaded as u64,
            bytes_stored: sums.bytes_stored as u64,
        }
    }
}

/// A tally on the way: parts may be taken away before they are added.
#[derive(Default)]
struct Sums {
    instructions: [i64; InstructionClass::ALL.len()],
    bytes_loaded: i64,
    bytes_stored: i64,
}

impl Sums {
    /// Adds an op as executed some number of times, and as having moved its bytes.
    fn add(&mut self, op: Op, executed: i64, moved: i64) {
        self.instructions[usize::from(op.cost_class)] += executed;
        // Atomic operations and helpers count their own bytes.
        if op.is_memory_access() {
            let bytes = moved * i64::from(op.access_size());
            match op.code & 7 {
                class::LDX => self.bytes_loaded += bytes,
                _ => self.bytes_stored += bytes,
            }
        }
    }
}

impl Function {
    /// The flow through each edge. Active functions stand in some blocks: as many as enter those,
    /// less do not leave them.
    fn solve(&self, standing: &[usize], counter: impl Fn(usize) -> i64) -> Vec<i64> {
        let mut flow: Vec<i64> = self.edges.iter().map(|e| e.counter.map_or(0, &counter)).collect();
        // Of each block, over the edges solved so far: what entered and has not left.
        let mut balance = vec![0; self.blocks.len() + 1];
        for &block in standing {
            balance[block] -= 1;
            balance[self.blocks.len()] += 1;
        }
        for (edge, &n) in self.edges.iter().zip(&flow) {
            balance[edge.to] += n;
            balance[edge.from] -= n;
        }
        for &(edge, block) in &self.order {
            let Edge { from, to, .. } = self.edges[edge];
            let n = if from == block { balance[block] } else { -balance[block] };
            flow[edge] = n;
            balance[to] += n;
            balance[from] -= n;
        }
        flow
    }

    /// How often each block was entered.
    fn entered(&self, flow: &[i64]) -> Vec<i64> {
        let mut entered = vec![0; self.blocks.len()];
        for (edge, n) in self.edges.iter().zip(flow).filter(|(e, _)| e.to < self.blocks.len()) {
            entered[edge.to] += n;
        }
        entered
    }

    fn add_to(
        &self,
        sums: &mut Sums,
        code: &Code,
        counter: impl Fn(usize) -> i64,
        active: &[Position],
    ) {
        let standing: Vec<usize> = active.iter().map(|p| self.block_of(p.op)).collect();
        for (position, &block) in active.iter().zip(&standing) {
            // What the block would have done from here on.
            for at in position.op..self.blocks[block].ops.end {
                let here = at == position.op;
                let executed = i64::from(here && position.executed) - 1;
                let moved = i64::from(here && position.moved) - 1;
                sums.add(code.ops[at], executed, moved);
            }
        }
        let entered = self.entered(&self.solve(&standing, counter));
        for (block, times) in self.blocks.iter().zip(entered) {
            for at in block.ops.clone() {
                sums.add(code.ops[at], times, times);
            }
        }
    }
}

/// Puts counters on the edges outside a spanning tree that prefers edges in deep loops.
pub(super) fn plan(code: &Code, blocks: Vec<Block>, counters: &mut usize) -> Function {
    let outside = blocks.len();
    let mut edges = vec![Edge { from: outside, to: 0, counter: None }];
    let mut first_edge = Vec::with_capacity(blocks.len());
    for (from, block) in blocks.iter().enumerate() {
        first_edge.push(edges.len());
        edges.extend(successors(block.end).map(|to| Edge { from, to, counter: None }));
        if block.end == End::Exit {
            edges.push(Edge { from, to: outside, counter: None });
        }
    }
    let mut weight = vec![1.0];
    for (from, block) in blocks.iter().enumerate() {
        weight.extend(likelihoods(code, &blocks, from).map(|(_, chance)| block.frequency * chance));
        if block.end == End::Exit {
            weight.push(block.frequency);
        }
    }
    let mut heaviest: Vec<usize> = (1..edges.len()).collect();
    heaviest.sort_by(|&a, &b| weight[b].total_cmp(&weight[a]));
    let mut root: Vec<usize> = (0..=outside).collect();
    fn find(root: &mut [usize], mut n: usize) -> usize {
        while root[n] != n {
            root[n] = root[root[n]];
            n = root[n];
        }
        n
    }
    // The entry never is in the tree: how often a function is called must be counted.
    let mut tree: Vec<Vec<usize>> = vec![Vec::new(); outside + 1];
    edges[0].counter = Some(*counters);
    *counters += 1;
    for e in heaviest {
        let Edge { from, to, .. } = edges[e];
        let (a, b) = (find(&mut root, from), find(&mut root, to));
        if a == b {
            edges[e].counter = Some(*counters);
            *counters += 1;
        } else {
            root[a] = b;
            tree[from].push(e);
            tree[to].push(e);
        }
    }
    // Leaves first: a block with one unsolved edge solves it.
    let mut open: Vec<usize> = tree.iter().map(Vec::len).collect();
    let mut leaves: Vec<usize> = (0..=outside).filter(|&n| open[n] == 1).collect();
    let mut solved = vec![false; edges.len()];
    let mut order = Vec::new();
    while let Some(block) = leaves.pop() {
        let Some(&edge) = tree[block].iter().find(|&&e| !solved[e]) else { continue };
        solved[edge] = true;
        order.push((edge, block));
        let Edge { from, to, .. } = edges[edge];
        let other = if from == block { to } else { from };
        open[other] -= 1;
        if open[other] == 1 {
            leaves.push(other);
        }
    }
    Function { blocks, edges, weight, first_edge, nesting: 0, order }
}
