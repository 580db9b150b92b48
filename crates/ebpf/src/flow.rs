//! Control flow of a program as the compilers need it: basic blocks, where code looks at its
//! budget, and how to count executed instructions exactly with as few counters as possible.
//!
//! **Checks.** Code looks at its budget at *check* blocks: the entry of a function, the target of
//! every backward jump, and after every call. Each has a *margin*: the most instructions that can
//! run before the next check, call or exit. If at least that much budget is left, nothing up to the
//! next check can exceed it; if not, compiled code hands over to the interpreter, which is exact.
//!
//! **Counters.** How executed instructions are counted is in `counting.rs`.

mod counting;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use crate::code::{Code, Op, opcode};
use crate::isa::{CALL, CALL_REGISTER, EXIT, jump};
pub(crate) use counting::{Position, Tally};

/// Back edges times blocks up to which loops are studied; beyond, a hostile program could make this
/// slow, and all edges count alike.
const LOOP_WORK_MAX: usize = 20_000_000;

/// Deepest nesting that matters for where counters go.
const DEPTH_MAX: u8 = 8;

/// Rounds that a loop is guessed to make.
const ROUNDS: f64 = 8.0;
/// How likely a branch out of a loop is guessed to be taken.
const LEAVES: f64 = 0.1;
/// How likely two values are guessed to be equal.
const EQUAL: f64 = 0.2;
/// A block entered in fewer of a loop's rounds is kept out of the way of the others.
const UNLIKELY: f64 = 0.3;

/// How a block ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Control goes on to a block.
    Next(usize),
    /// The last op is a conditional jump.
    Branch { taken: usize, next: usize },
    /// The last op is a call, after which control goes on to a block.
    Call { next: usize },
    /// The last op is an exit.
    Exit,
}

/// A basic block of a function. Successors are indices of blocks of the same function.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) ops: Range<usize>,
    pub(crate) end: End,
    /// If the budget is looked at here: the most instructions until the next look.
    pub(crate) check: Option<u64>,
    /// Edges that lead here.
    pub(crate) predecessors: u32,
    /// How many loops it is in.
    pub(crate) depth: u8,
    /// How often it is guessed to be entered for each call of the function.
    pub(crate) frequency: f64,
    /// True in a loop for what most rounds are guessed not to enter.
    pub(crate) is_unlikely: bool,
    /// Registers whose values may still be used, one bit each.
    pub(crate) live_in: u16,
}

/// An edge of the flow graph. Block number `blocks.len()` stands for everything outside.
#[derive(Clone, Copy, Debug)]
struct Edge {
    from: usize,
    to: usize,
    counter: Option<usize>,
}

/// The flow of one function.
#[derive(Debug)]
pub(crate) struct Function {
    /// Blocks that can be reached, the entry first, each after one that leads to it.
    pub(crate) blocks: Vec<Block>,
    /// Edge 0 is the entry; then each block's one or two.
    edges: Vec<Edge>,
    /// How often each edge is guessed to be taken.
    weight: Vec<f64>,
    /// First edge of each block.
    first_edge: Vec<usize>,
    /// Most loops that are nested, or overlap in other ways.
    pub(crate) nesting: usize,
    /// Tree edges in the order in which they can be solved, each with the block that solves it.
    order: Vec<(usize, usize)>,
}

impl Function {
    /// The counter of the function's entry.
    pub(crate) fn entry_counter(&self) -> Option<usize> {
        self.edges[0].counter
    }

    /// The counter of the edge from a block to its successor: 0, or 1 for the second of a branch.
    pub(crate) fn edge_counter(&self, block: usize, successor: usize) -> Option<usize> {
        self.edges[self.first_edge[block] + successor].counter
    }

    /// The successors of a block, and how often each is guessed to follow it.
    pub(crate) fn edge_weights(&self, block: usize) -> impl Iterator<Item = (usize, f64)> {
        let first = self.first_edge[block];
        let to = successors(self.blocks[block].end);
        to.enumerate().map(move |(n, to)| (to, self.weight[first + n]))
    }

    fn block_of(&self, op: usize) -> usize {
        let block = self.blocks.iter().position(|b| b.ops.contains(&op));
        block.expect("only what can be reached is ever active")
    }

    /// The successor that is the block itself, if it is a loop of one block.
    pub(crate) fn self_loop(&self, block: usize) -> Option<usize> {
        match self.blocks[block].end {
            End::Branch { taken, .. } if taken == block => Some(0),
            End::Branch { next, .. } if next == block => Some(1),
            _ => None,
        }
    }
}

/// The flow of a program.
#[derive(Debug)]
pub(crate) struct Flow {
    /// In the order of [`Code::functions`].
    pub(crate) functions: Vec<Function>,
    /// Number of counters.
    pub(crate) counters: usize,
    /// The counter that code does not keep, and what one more of it adds to the instructions
    /// executed: their total says what it would be.
    derived: Option<(usize, i64)>,
}

impl Flow {
    /// The counter of the rounds of the one-block loop that an op is in.
    pub(crate) fn loop_counter(&self, code: &Code, op: usize) -> usize {
        let function = code.functions.iter().position(|f| f.contains(&op));
        let function = &self.functions[function.expect("ops belong to functions")];
        let block = function.block_of(op);
        let again = function.self_loop(block).expect("only such loops are unrolled");
        function.edge_counter(block, again).expect("an edge to itself is in no tree")
    }

    pub(crate) fn new(code: &Code) -> Self {
        let mut counters = 0;
        let functions =
            code.functions.iter().map(|ops| analyse(code, ops.clone(), &mut counters)).collect();
        let mut flow = Self { functions, counters, derived: None };
        flow.derived = flow.choose_derived();
        flow
    }
}

/// Instructions that have run but are not yet taken from the budget.
///
/// At checks there are none. Elsewhere a block begins with what the likeliest way to it brings, and only
/// other ways must settle the difference: a loop takes from the budget about once a round.
#[derive(Debug)]
pub(crate) struct Pending {
    /// At the start of each block.
    pub(crate) before: Vec<u64>,
    /// At its end, before it goes on to another.
    after: Vec<u64>,
}

impl Pending {
    /// Calls, exits and blocks that `settles` names leave nothing pending.
    pub(crate) fn new(flow: &Function, settles: impl Fn(usize) -> bool) -> Self {
        let count = flow.blocks.len();
        let mut pending = Self { before: vec![0; count], after: vec![0; count] };
        let mut likeliest = vec![0.0; count];
        for (n, block) in flow.blocks.iter().enumerate() {
            if !matches!(block.end, End::Call { .. } | End::Exit) && !settles(n) {
                pending.after[n] = pending.before[n] + block.ops.len() as u64;
            }
            for (to, weight) in flow.edge_weights(n) {
                if to > n && flow.blocks[to].check.is_none() && weight > likeliest[to] {
                    (pending.before[to], likeliest[to]) = (pending.after[n], weight);
                }
            }
        }
        pending
    }

    /// What must be taken from the budget on the way from one block to another; negative if too much
    /// was taken.
    pub(crate) fn difference(&self, from: usize, to: usize) -> i64 {
        self.after[from] as i64 - self.before[to] as i64
    }
}

/// Splits a function into blocks and plans its checks and counters.
fn analyse(code: &Code, ops: Range<usize>, counters: &mut usize) -> Function {
    let mut blocks = split(code, &ops);
    for from in 0..blocks.len() {
        for to in successors(blocks[from].end) {
            blocks[to].predecessors += 1;
        }
    }
    blocks[0].predecessors += 1;
    let back_edges = mark_checks(&mut blocks);
    let nesting = nesting(&back_edges);
    let loops = loops(&blocks, &back_edges);
    for (block, &(depth, _)) in blocks.iter_mut().zip(&loops) {
        block.depth = depth;
    }
    drop_checks(&mut blocks, &back_edges);
    set_margins(&mut blocks);
    set_liveness(code, &mut blocks);
    set_frequencies(code, &mut blocks, &back_edges);
    for (n, &(depth, head)) in loops.iter().enumerate() {
        let rounds = blocks[head].frequency;
        blocks[n].is_unlikely = depth > 0 && blocks[n].frequency < UNLIKELY * rounds;
    }
    Function { nesting, ..counting::plan(code, blocks, counters) }
}

/// Most loops that a block is in, if each consists of the blocks from its head to its last back edge.
fn nesting(back_edges: &[(usize, usize)]) -> usize {
    let mut last_of: BTreeMap<usize, usize> = BTreeMap::new();
    for &(from, head) in back_edges {
        let last = last_of.entry(head).or_insert(from);
        *last = from.max(*last);
    }
    // By head; of those that are open, the ends.
    let (mut open, mut most) = (BinaryHeap::new(), 0);
    for (head, last) in last_of {
        while open.peek().is_some_and(|&Reverse(end)| end < head) {
            open.pop();
        }
        open.push(Reverse(last));
        most = most.max(open.len());
    }
    most
}

fn successors(end: End) -> impl Iterator<Item = usize> {
    let (first, second) = match end {
        End::Next(next) | End::Call { next } => (Some(next), None),
        End::Branch { taken, next } => (Some(taken), Some(next)),
        End::Exit => (None, None),
    };
    first.into_iter().chain(second)
}

fn is_call(op: Op) -> bool {
    matches!(op.code, CALL | CALL_REGISTER | opcode::CALL_LOCAL)
}

/// The reachable blocks of a function, in reverse postorder.
fn split(code: &Code, ops: &Range<usize>) -> Vec<Block> {
    let is_jump = |op: Op| op.ends_block() && !is_call(op);
    let mut leader = vec![false; ops.len() + 1];
    leader[0] = true;
    for at in ops.clone() {
        let op = code.ops[at];
        if op.ends_block() {
            leader[at + 1 - ops.start] = true;
            if is_jump(op) && op.code != EXIT {
                leader[op.offset as usize - ops.start] = true;
            }
        }
    }
    let starts: Vec<usize> = (0..ops.len()).filter(|&n| leader[n]).map(|n| n + ops.start).collect();
    let block_at = |op: usize| starts.partition_point(|&s| s <= op) - 1;
    let end_of = |n: usize| starts.get(n + 1).copied().unwrap_or(ops.end);
    let end = |n: usize| {
        let last = end_of(n) - 1;
        let op = code.ops[last];
        let target = |op: Op| block_at(op.offset as usize);
        match op.code {
            EXIT => End::Exit,
            _ if is_call(op) => End::Call { next: n + 1 },
            0x05 => End::Next(target(op)),
            _ if is_jump(op) && target(op) == n + 1 => End::Next(n + 1),
            _ if is_jump(op) => End::Branch { taken: target(op), next: n + 1 },
            _ => End::Next(n + 1),
        }
    };
    let ends: Vec<End> = (0..starts.len()).map(end).collect();
    // Depth first; explicit stack: programs may be long.
    let mut postorder = Vec::new();
    let mut seen = vec![false; starts.len()];
    let mut stack = vec![(0usize, 0usize)];
    seen[0] = true;
    while let Some((block, visited)) = stack.last_mut() {
        match successors(ends[*block]).nth(*visited) {
            Some(next) => {
                *visited += 1;
                if !std::mem::replace(&mut seen[next], true) {
                    stack.push((next, 0));
                }
            }
            None => {
                postorder.push(*block);
                stack.pop();
            }
        }
    }
    let mut number = vec![usize::MAX; starts.len()];
    for (n, &block) in postorder.iter().rev().enumerate() {
        number[block] = n;
    }
    let renumbered = |end: End| match end {
        End::Next(next) => End::Next(number[next]),
        End::Call { next } => End::Call { next: number[next] },
        End::Branch { taken, next } => End::Branch { taken: number[taken], next: number[next] },
        End::Exit => End::Exit,
    };
    let block = |&n: &usize| Block {
        ops: starts[n]..end_of(n),
        end: renumbered(ends[n]),
        check: None,
        predecessors: 0,
        depth: 0,
        frequency: 0.0,
        is_unlikely: false,
        live_in: 0,
    };
    postorder.iter().rev().map(block).collect()
}

/// Marks the check blocks; returns the edges that go backward in the order of blocks.
fn mark_checks(blocks: &mut [Block]) -> Vec<(usize, usize)> {
    let mut back_edges = Vec::new();
    blocks[0].check = Some(0);
    for from in 0..blocks.len() {
        let end = blocks[from].end;
        for to in successors(end) {
            // In reverse postorder every cycle has an edge to a block at or before its start.
            if to <= from {
                back_edges.push((from, to));
                blocks[to].check = Some(0);
            }
        }
        if let End::Call { next } = end {
            blocks[next].check = Some(0);
        }
    }
    back_edges
}

/// Drops checks of outer loops in which every round meets the check of an inner one.
fn drop_checks(blocks: &mut [Block], back_edges: &[(usize, usize)]) {
    let mut heads: Vec<usize> = back_edges.iter().map(|&(_, head)| head).collect();
    heads.sort_unstable();
    heads.dedup();
    if heads.len().saturating_mul(blocks.len()) > LOOP_WORK_MAX {
        return;
    }
    for head in heads {
        // The entry is checked anyhow, and so is what follows a call.
        let after_call = blocks.iter().any(|b| b.end == End::Call { next: head });
        if head == 0 || after_call {
            continue;
        }
        let mut seen = vec![false; blocks.len()];
        let mut stack: Vec<usize> = successors(blocks[head].end).collect();
        let mut returns = false;
        while let Some(block) = stack.pop() {
            returns |= block == head;
            if blocks[block].check.is_none() && !std::mem::replace(&mut seen[block], true) {
                stack.extend(successors(blocks[block].end));
            }
        }
        if !returns {
            blocks[head].check = None;
        }
    }
}

/// The likelihood of each successor of a block.
fn likelihoods(
    code: &Code,
    blocks: &[Block],
    block: usize,
) -> impl Iterator<Item = (usize, f64)> + use<> {
    let chances = match blocks[block].end {
        End::Branch { taken, next } => {
            let leaves = |to: usize| blocks[to].depth < blocks[block].depth;
            match (leaves(taken), leaves(next)) {
                (true, false) => [LEAVES, 1.0 - LEAVES],
                (false, true) => [1.0 - LEAVES, LEAVES],
                _ => match code.ops[blocks[block].ops.end - 1].code & 0xF0 {
                    jump::JEQ => [EQUAL, 1.0 - EQUAL],
                    jump::JNE => [1.0 - EQUAL, EQUAL],
                    _ => [0.5, 0.5],
                },
            }
        }
        _ => [1.0, 1.0],
    };
    successors(blocks[block].end).zip(chances)
}

/// Guesses how often blocks are entered, from loops and the likelihood of branches.
fn set_frequencies(code: &Code, blocks: &mut [Block], back_edges: &[(usize, usize)]) {
    let mut is_head = vec![false; blocks.len()];
    for &(_, head) in back_edges {
        is_head[head] = true;
    }
    blocks[0].frequency = 1.0;
    for n in 0..blocks.len() {
        if is_head[n] && blocks[n].depth > 0 {
            blocks[n].frequency = (blocks[n].frequency * ROUNDS).min(1e15);
        }
        for (to, chance) in likelihoods(code, blocks, n) {
            if to > n {
                // Every round leaves the loop through some edge, in the end.
                let leaves = blocks[to].depth < blocks[n].depth;
                let rounds = if leaves { ROUNDS * LEAVES } else { 1.0 };
                blocks[to].frequency += blocks[n].frequency * chance / rounds;
            }
        }
    }
}

/// Gives each check its margin. Without the ways into checks the flow has no cycle, but ways may lead
/// backward: to the head of a loop whose check was dropped.
fn set_margins(blocks: &mut [Block]) {
    let mut longest: Vec<Option<u64>> = vec![None; blocks.len()];
    for n in 0..blocks.len() {
        let mut stack = vec![n];
        while let Some(&block) = stack.last() {
            let beyond = || successors(blocks[block].end).filter(|&s| blocks[s].check.is_none());
            let open = beyond().find(|&s| longest[s].is_none());
            if let Some(open) = open.filter(|_| longest[block].is_none()) {
                stack.push(open);
                continue;
            }
            let most = beyond().filter_map(|s| longest[s]).max().unwrap_or(0);
            longest[block] = Some(blocks[block].ops.len() as u64 + most);
            stack.pop();
        }
    }
    for (block, longest) in blocks.iter_mut().zip(longest) {
        if block.check.is_some() {
            block.check = longest;
        }
    }
}

fn set_liveness(code: &Code, blocks: &mut [Block]) {
    let mut changed = true;
    // Bounded: hostile flow could need many rounds, and more live registers are never wrong.
    let mut rounds = 0;
    while changed {
        changed = false;
        rounds += 1;
        for n in (0..blocks.len()).rev() {
            let mut live = successors(blocks[n].end).fold(0, |l, s| l | blocks[s].live_in);
            for at in blocks[n].ops.clone().rev() {
                let (used, defined) = code.ops[at].registers();
                live = live & !defined | used;
            }
            if rounds > 64 {
                live = 0x7FF;
            }
            changed |= blocks[n].live_in != live;
            blocks[n].live_in = live;
        }
        if rounds > 65 {
            break;
        }
    }
}

/// How many loops each block is in, and the head of the innermost.
fn loops(blocks: &[Block], back_edges: &[(usize, usize)]) -> Vec<(u8, usize)> {
    let mut loops = vec![(0u8, 0); blocks.len()];
    if back_edges.len().saturating_mul(blocks.len()) > LOOP_WORK_MAX {
        return loops;
    }
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); blocks.len()];
    for (from, block) in blocks.iter().enumerate() {
        for to in successors(block.end) {
            before[to].push(from);
        }
    }
    let mut heads: Vec<usize> = back_edges.iter().map(|&(_, head)| head).collect();
    heads.sort_unstable();
    heads.dedup();
    for head in heads {
        let mut inside = vec![false; blocks.len()];
        inside[head] = true;
        let mut stack: Vec<usize> =
            back_edges.iter().filter(|&&(_, h)| h == head).map(|&(from, _)| from).collect();
        while let Some(block) = stack.pop() {
            if !std::mem::replace(&mut inside[block], true) {
                // Blocks before the head are outside, unless the flow is irreducible.
                stack.extend(before[block].iter().copied().filter(|&b| b >= head));
            }
        }
        // Outer loops have their heads first.
        for (this, _) in loops.iter_mut().zip(inside).filter(|(_, inside)| *inside) {
            *this = ((this.0 + 1).min(DEPTH_MAX), head);
        }
    }
    loops
}
