//! What a history says of one namespace: its writes, when they are durable, and the moments at which power may go.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::ops::ControlFlow;

use history::{Change, Event, Range, What};

use crate::content::{ContentId, Contents};
use crate::state::{Base, State};

/// Why a history is of no use.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum WorkloadError {
    #[error("the history has no namespace of blocks {}", .0.map_or(String::new(), |nsid| format!("with NSID {nsid}")))]
    NoNamespace(Option<u32>),
    #[error("event {event}: {what}")]
    Event { event: usize, what: String },
    #[error(
        "a piece of {given} bytes: it is a multiple of a block of the namespace, {block_bytes} bytes, and at most all of it, {bytes}"
    )]
    Atomic { given: u64, block_bytes: u32, bytes: u64 },
    #[error(
        "nobody marked {0:?} in this history; marks are made with csdrive mark, and these are there: {1}"
    )]
    NoMark(String, String),
}

/// No file is longer.
const NAMESPACE_BYTES_MAX: u64 = i64::MAX as u64;

/// The same bytes, each once, in order.
fn merged(ranges: &[Range]) -> Vec<Range> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if last.end() >= range.start => {
                last.len = last.end().max(range.end()) - last.start;
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// How a command changes blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Write, or a copy into the namespace.
    Write,
    /// Write Zeroes.
    WriteZeroes,
    /// Dataset Management, Write Zeroes with deallocation, Format, Sanitize.
    Deallocate,
}

/// A change of blocks, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteInfo {
    /// Its number among all changes of the namespace, from 1.
    pub number: usize,
    /// When it began, in nanoseconds of the drive's time.
    pub at_ns: u64,
    /// How.
    pub kind: Kind,
    /// Byte ranges.
    pub ranges: Vec<Range>,
    /// It ends when it is durable (FUA).
    pub is_durable: bool,
}

/// A change of blocks.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) info: WriteInfo,
    /// Places in the history.
    pub(crate) begun: usize,
    pub(crate) ended: Option<usize>,
    /// Blocks and what they get, in pieces that a loss of power does not tear.
    pub(crate) pieces: Vec<Blocks>,
}

/// Blocks, and what they get.
pub(crate) type Blocks = Vec<(u64, ContentId)>;

/// What happened to the namespace.
#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    End(usize),
    FlushBegin(u64),
    FlushEnd { id: u64, is_success: bool },
    Mark,
}

/// What a history says of one namespace.
#[derive(Debug)]
pub struct Workload {
    nsid: u32,
    bytes: u64,
    block_bytes: u32,
    atomic_bytes: u64,
    pub(crate) contents: Contents,
    /// What was there before.
    beginning: Base,
    pub(crate) writes: Vec<Write>,
    steps: Vec<Step>,
    marks: Vec<String>,
    flushes: usize,
    /// Marks that were made before the namespace was.
    marks_before: usize,
    /// Steps before this one are not followed by a cut, nor are those after the last.
    first: usize,
    last: usize,
    /// Blocks that ever had a content: all others are zeroes whatever happens.
    written: BTreeSet<u64>,
    /// Writes to a namespace of the same number that is no more: they are left out.
    pub left_out: usize,
    /// It ends with a loss of power.
    pub ends_with_power_loss: bool,
}

/// Pieces that are not durable when power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// Index of the write.
    pub(crate) write: usize,
    /// Of its pieces.
    pub(crate) piece: usize,
}

/// A moment at which power goes.
#[derive(Debug)]
pub(crate) struct Cut<'a> {
    /// How many steps of the history happened.
    pub(crate) steps: usize,
    pub(crate) base: &'a Base,
    /// In the order in which they began. Blocks of them that a durable write has hidden are left out when they are applied.
    pub(crate) pieces: Vec<Piece>,
    pub(crate) marks: &'a [String],
    pub(crate) flushes_under_way: usize,
    /// There are writes of which the order is not promised: of two orders, one is tried.
    pub(crate) has_two_orders: bool,
}

impl Workload {
    /// What a history says of a namespace, or of the first. `atomic_bytes` is what a loss of power does not tear, if that is not to be
    /// what the drive promises.
    ///
    /// # Errors
    /// If there is no such namespace, or the history contradicts itself.
    pub fn new(
        events: &[Event],
        nsid: Option<u32>,
        atomic_bytes: Option<u64>,
    ) -> Result<Self, WorkloadError> {
        let namespace = |(number, event): (usize, &Event)| match event.what {
            What::Namespace { nsid: of, bytes, block_bytes, atomic_bytes }
                if nsid.is_none_or(|nsid| nsid == of) =>
            {
                Some((number, of, bytes, block_bytes, atomic_bytes))
            }
            _ => None,
        };
        let Some((_, nsid, ..)) = events.iter().enumerate().find_map(namespace) else {
            return Err(WorkloadError::NoNamespace(nsid));
        };
        // One that was deleted and made anew, or formatted with other blocks, is another: the last counts.
        let named = |found: &(usize, u32, u64, u32, u32)| found.1 == nsid;
        let last = events.iter().enumerate().filter_map(namespace).rfind(named);
        let (made, _, bytes, block_bytes, promised) = last.expect("there is one");
        let damaged = |what: &str| WorkloadError::Event { event: made, what: what.to_owned() };
        if !matches!(block_bytes, 512 | 4096) || !bytes.is_multiple_of(block_bytes.into()) {
            return Err(damaged("a namespace whose blocks are not of 512 or 4096 bytes"));
        }
        if bytes == 0 || bytes > NAMESPACE_BYTES_MAX {
            return Err(damaged("no namespace has so many bytes"));
        }
        let atomic_bytes = atomic_bytes.unwrap_or_else(|| u64::from(promised.max(block_bytes)));
        let is_atomic = (1..=bytes).contains(&atomic_bytes);
        if !is_atomic || !atomic_bytes.is_multiple_of(block_bytes.into()) {
            return Err(WorkloadError::Atomic { given: atomic_bytes, block_bytes, bytes });
        }
        let mut workload = Self {
            nsid,
            bytes,
            block_bytes,
            atomic_bytes,
            contents: Contents::new(block_bytes),
            beginning: Base::default(),
            writes: Vec::new(),
            steps: Vec::new(),
            marks: Vec::new(),
            flushes: 0,
            first: 0,
            last: usize::MAX,
            marks_before: 0,
            written: BTreeSet::new(),
            left_out: 0,
            ends_with_power_loss: false,
        };
        let mut open: HashMap<u64, Vec<usize>> = HashMap::new();
        for (number, event) in events.iter().enumerate() {
            if number < made {
                let is_of_before = |change: &Change| match change {
                    Change::Write { nsid: of, .. } | Change::Deallocate { nsid: of, .. } => {
                        *of == nsid
                    }
                    Change::Flush { .. } => false,
                };
                match &event.what {
                    // What was said stays said.
                    What::Mark(text) => {
                        workload.marks.push(text.clone());
                        workload.marks_before += 1;
                    }
                    What::Begin { change, .. } if is_of_before(change) => workload.left_out += 1,
                    _ => {}
                }
                continue;
            }
            let goes_on = workload.take(event, &mut open);
            let goes_on = goes_on.map_err(|what| WorkloadError::Event { event: number, what })?;
            if goes_on.is_break() {
                break;
            }
        }
        Ok(workload)
    }

    /// Takes an event; breaks when the namespace is no more.
    fn take(
        &mut self,
        event: &Event,
        open: &mut HashMap<u64, Vec<usize>>,
    ) -> Result<ControlFlow<()>, String> {
        match &event.what {
            What::Content { nsid, start, bytes } if *nsid == self.nsid => {
                let range = Range { start: *start, len: bytes.len() as u64 };
                for (block, content) in self.blocks(&[range], Some(bytes))? {
                    self.beginning.set(block, content, 0);
                }
            }
            What::Begin { id, change: Change::Write { nsid, ranges, bytes, is_durable } }
                if *nsid == self.nsid =>
            {
                let kind = if bytes.is_some() { Kind::Write } else { Kind::WriteZeroes };
                self.begin(event.at_ns, kind, ranges, bytes.as_deref(), *is_durable)?;
                open.entry(*id).or_default().push(self.writes.len() - 1);
            }
            What::Begin { id, change: Change::Deallocate { nsid, ranges, is_durable } }
                if *nsid == self.nsid =>
            {
                self.begin(event.at_ns, Kind::Deallocate, &merged(ranges), None, *is_durable)?;
                open.entry(*id).or_default().push(self.writes.len() - 1);
            }
            What::Begin { id, change: Change::Flush { nsid } }
                if *nsid == self.nsid || *nsid == history::ALL =>
            {
                self.flushes += 1;
                self.steps.push(Step::FlushBegin(*id));
            }
            What::End { id, is_success } => match open.remove(id) {
                Some(writes) if *is_success => {
                    for write in writes {
                        self.writes[write].ended = Some(self.steps.len());
                        self.steps.push(Step::End(write));
                    }
                }
                // What failed may be there or not, for ever.
                Some(_) => {}
                None => {
                    self.steps.push(Step::FlushEnd { id: *id, is_success: *is_success });
                }
            },
            What::Mark(text) => {
                self.marks.push(text.clone());
                self.steps.push(Step::Mark);
            }
            What::Gone { nsid } if *nsid == self.nsid => return Ok(ControlFlow::Break(())),
            What::PowerLost => {
                self.ends_with_power_loss = true;
                return Ok(ControlFlow::Break(()));
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn begin(
        &mut self,
        at_ns: u64,
        kind: Kind,
        ranges: &[Range],
        bytes: Option<&[u8]>,
        is_durable: bool,
    ) -> Result<(), String> {
        let blocks = self.blocks(ranges, bytes)?;
        let unit = self.atomic_bytes / u64::from(self.block_bytes);
        let mut pieces: Vec<Blocks> = Vec::new();
        for (block, content) in blocks {
            let is_same = |piece: &&mut Blocks| {
                piece.last().is_some_and(|(last, _)| last / unit == block / unit)
            };
            match pieces.last_mut().filter(is_same) {
                Some(piece) => piece.push((block, content)),
                None => pieces.push(vec![(block, content)]),
            }
        }
        let number = self.writes.len() + 1;
        let info = WriteInfo { number, at_ns, kind, ranges: ranges.to_vec(), is_durable };
        let begun = self.steps.len();
        self.writes.push(Write { info, begun, ended: None, pieces });
        self.steps.push(Step::Begin(number - 1));
        Ok(())
    }

    /// The blocks of byte ranges, with what they get; `None` = zeroes.
    fn blocks(&mut self, ranges: &[Range], bytes: Option<&[u8]>) -> Result<Blocks, String> {
        let block_bytes = u64::from(self.block_bytes);
        let (mut blocks, mut rest) = (Vec::new(), bytes);
        for range in ranges {
            let is_whole = range.start.is_multiple_of(block_bytes)
                && range.len.is_multiple_of(block_bytes)
                && range.end() <= self.bytes;
            if !is_whole {
                let Range { start, len } = range;
                return Err(format!("{len} bytes at {start} are no blocks of the namespace"));
            }
            let all = range.start / block_bytes..range.end() / block_bytes;
            let Some(bytes) = &mut rest else {
                blocks.extend(self.written.range(all).map(|block| (*block, ContentId::ZEROES)));
                continue;
            };
            for block in all {
                let (one, tail) = bytes
                    .split_at_checked(self.block_bytes as usize)
                    .ok_or("fewer bytes than its ranges have")?;
                *bytes = tail;
                self.written.insert(block);
                blocks.push((block, self.contents.keep(one)));
            }
        }
        Ok(blocks)
    }

    /// From now on, power goes only after this mark was made the first time.
    ///
    /// # Errors
    /// If it was not made.
    pub fn begin_after(&mut self, mark: &str) -> Result<(), WorkloadError> {
        self.first = self.step_of(mark)?;
        Ok(())
    }

    /// Power goes no later than when this mark was made the first time: what comes after it counts no more.
    ///
    /// # Errors
    /// If it was not made.
    pub fn end_with(&mut self, mark: &str) -> Result<(), WorkloadError> {
        self.last = self.step_of(mark)?;
        Ok(())
    }

    /// The step that is a mark's; the beginning, if it was made before the namespace was.
    fn step_of(&self, mark: &str) -> Result<usize, WorkloadError> {
        let unknown = || {
            let mut known = self.marks.clone();
            known.dedup();
            known.truncate(20);
            let known = match known.is_empty() {
                true => "none".to_owned(),
                false => known.join(", "),
            };
            WorkloadError::NoMark(mark.to_owned(), known)
        };
        let wanted = self.marks.iter().position(|text| text == mark).ok_or_else(unknown)?;
        let Some(wanted) = wanted.checked_sub(self.marks_before) else { return Ok(0) };
        let is_mark = |(_, step): &(usize, &Step)| matches!(step, Step::Mark);
        let step = self.steps.iter().enumerate().filter(is_mark).nth(wanted);
        Ok(step.expect("each of these has a step").0)
    }

    /// The namespace.
    pub fn nsid(&self) -> u32 {
        self.nsid
    }

    /// Bytes of the namespace.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of a logical block.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Bytes that a loss of power does not tear.
    pub fn atomic_bytes(&self) -> u64 {
        self.atomic_bytes
    }

    /// Changes of blocks, in the order in which they began.
    pub fn write_count(&self) -> usize {
        self.writes.len()
    }

    /// Flushes.
    pub fn flush_count(&self) -> usize {
        self.flushes
    }

    /// What the host said.
    pub fn marks(&self) -> &[String] {
        &self.marks
    }

    /// Goes through the moments at which power may go, from the first. Between two of them nothing happens that would leave a state
    /// which neither leaves: just before something becomes durable there is the most that may be there or not.
    pub(crate) fn cuts<E>(
        &self,
        mut visit: impl FnMut(&Cut<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let mut base = self.beginning.clone();
        let mut pending: Vec<usize> = Vec::new();
        let mut flushes: HashMap<u64, usize> = HashMap::new();
        let (mut marks, mut is_new) = (self.marks_before, true);
        for (at, step) in self.steps.iter().enumerate().take_while(|(at, _)| *at <= self.last) {
            let becomes_durable = match step {
                Step::End(write) => self.writes[*write].info.is_durable,
                Step::FlushEnd { is_success, .. } => *is_success,
                Step::Mark => is_new,
                Step::Begin(_) | Step::FlushBegin(_) => false,
            };
            if becomes_durable && is_new && at > self.first {
                let cut = self.cut(at, &base, &pending, &self.marks[..marks], flushes.len());
                if visit(&cut)?.is_break() {
                    return Ok(());
                }
                is_new = false;
            }
            match step {
                Step::Begin(write) => {
                    pending.push(*write);
                    is_new = true;
                }
                Step::End(write) if self.writes[*write].info.is_durable => {
                    self.settle(&mut base, &mut pending, |index| index == *write);
                }
                Step::End(_) => {}
                Step::FlushBegin(id) => drop(flushes.insert(*id, at)),
                Step::FlushEnd { id, is_success } => {
                    // Ends of commands that are of other namespaces look like those of a flush.
                    let began = flushes.remove(id);
                    if let Some(began) = began.filter(|_| *is_success) {
                        let covered = |index: usize| {
                            self.writes[index].ended.is_some_and(|ended| ended < began)
                        };
                        self.settle(&mut base, &mut pending, covered);
                    }
                }
                Step::Mark => {
                    marks += 1;
                    is_new = true;
                }
            }
        }
        // The end is a moment of its own: what became durable last can be missed only there. It is the last, whatever is wanted.
        let at = self.end();
        let _ = visit(&self.cut(at, &base, &pending, &self.marks[..marks], flushes.len()))?;
        Ok(())
    }

    /// Does something at one moment; `None` if there is none after so many steps.
    pub(crate) fn at<T>(&self, steps: usize, act: impl FnOnce(&Cut<'_>) -> T) -> Option<T> {
        let (mut act, mut given) = (Some(act), None);
        let visited: Result<(), Infallible> = self.cuts(|cut| {
            if cut.steps != steps {
                return Ok(ControlFlow::Continue(()));
            }
            given = act.take().map(|act| act(cut));
            Ok(ControlFlow::Break(()))
        });
        let Ok(()) = visited;
        given
    }

    /// Pending writes become durable.
    fn settle(
        &self,
        base: &mut Base,
        pending: &mut Vec<usize>,
        is_durable: impl Fn(usize) -> bool,
    ) {
        pending.retain(|&index| {
            if !is_durable(index) {
                return true;
            }
            let write = &self.writes[index];
            for (block, content) in write.pieces.iter().flatten() {
                base.set(*block, *content, write.begun + 1);
            }
            false
        });
    }

    fn cut<'a>(
        &self,
        steps: usize,
        base: &'a Base,
        pending: &[usize],
        marks: &'a [String],
        flushes_under_way: usize,
    ) -> Cut<'a> {
        let pieces = pending.iter().flat_map(|&write| {
            let visible = move |piece: &usize| {
                self.writes[write].pieces[*piece]
                    .iter()
                    .any(|(block, _)| !self.is_hidden(base, write, *block))
            };
            (0..self.writes[write].pieces.len())
                .filter(visible)
                .map(move |piece| Piece { write, piece })
        });
        let pieces = pieces.collect();
        let has_two_orders = self.has_two_orders(base, pending);
        Cut { steps, base, pieces, marks, flushes_under_way, has_two_orders }
    }

    /// True if writes of a block were under way at the same time: NVMe promises no order of them.
    fn has_two_orders(&self, base: &Base, pending: &[usize]) -> bool {
        let mut last: HashMap<u64, usize> = HashMap::new();
        pending.iter().any(|&index| {
            let write = &self.writes[index];
            write.pieces.iter().flatten().any(|(block, _)| {
                let earlier = last.insert(*block, index);
                let ended = earlier.map(|earlier| self.writes[earlier].ended);
                let beside = ended.is_some_and(|ended| ended.is_none_or(|at| at > write.begun));
                let hidden = base.blocks.get(block).is_some_and(|durable| {
                    durable.begun > write.begun + 1
                        && write.ended.is_none_or(|ended| ended + 1 >= durable.begun)
                });
                beside || hidden
            })
        })
    }

    /// How many steps there are.
    pub(crate) fn end(&self) -> usize {
        self.steps.len().min(self.last.saturating_add(1))
    }

    /// A cut's pieces by the unit that they are of, without blocks that are hidden.
    pub(crate) fn pieces_by_unit(&self, cut: &Cut<'_>) -> HashMap<u64, Vec<Blocks>> {
        let unit = self.atomic_bytes / u64::from(self.block_bytes);
        let mut units: HashMap<u64, Vec<Blocks>> = HashMap::new();
        for piece in &cut.pieces {
            let mut blocks = self.writes[piece.write].pieces[piece.piece].clone();
            blocks.retain(|(block, _)| !self.is_hidden(cut.base, piece.write, *block));
            if let Some((block, _)) = blocks.first() {
                units.entry(block / unit).or_default().push(blocks);
            }
        }
        units
    }

    /// True if what a write put into a block cannot be seen: a durable write began after this one.
    fn is_hidden(&self, base: &Base, write: usize, block: u64) -> bool {
        let begun = self.writes[write].begun + 1;
        base.blocks.get(&block).is_some_and(|durable| durable.begun > begun)
    }

    /// The state in which some of a cut's pieces are there.
    pub(crate) fn state<'a>(&'a self, cut: &Cut<'a>, is_there: &[bool]) -> State<'a> {
        let mut state = State {
            bytes: self.bytes,
            block_bytes: self.block_bytes,
            contents: &self.contents,
            base: cut.base,
            over: Default::default(),
            marks: cut.marks,
        };
        for (piece, _) in cut.pieces.iter().zip(is_there).filter(|(_, is_there)| **is_there) {
            for (block, content) in &self.writes[piece.write].pieces[piece.piece] {
                if !self.is_hidden(cut.base, piece.write, *block) {
                    state.over.insert(*block, *content);
                }
            }
        }
        state.over.retain(|block, content| cut.base.content(*block) != *content);
        state
    }
}
