//! How long this machine's processor takes for a program.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::engine::Worker;
use crate::memory::{PAGE, SharedMemory};
use crate::program::{Invocation, Outcome, Program, Range};

/// Ranges of so many bytes together are backed by memory before the clock starts: a drive has no page faults. Larger ones
/// may have holes that the program does not touch.
pub(crate) const POPULATED_MAX: u64 = 256 << 20;

/// Processor time of the runs of one execution, without compiling and without making the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTime {
    /// Runs.
    pub samples: u32,
    /// Of an even number, the greater of the two in the middle.
    pub median: Duration,
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl CpuTime {
    /// Sums up samples; zeroes without any.
    pub fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let at = |n: usize| samples.get(n).copied().unwrap_or_default();
        Self {
            samples: samples.len() as u32,
            median: at(samples.len() / 2),
            least: at(0),
            most: at(samples.len().saturating_sub(1)),
        }
    }
}

/// Time that this thread has had a processor.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Makes a run, which says what it came to, whether it ended as a whole, and how much processor time it took: and `samples - 1` runs
/// before it, each on a copy of the ranges as they are, which nobody else sees.
pub fn measured<O>(
    invocation: &Invocation,
    samples: u32,
    mut run: impl FnMut(&Invocation) -> (O, bool, Duration),
) -> (O, CpuTime) {
    let mut times = Vec::new();
    for _ in 1..samples {
        // Without room for a copy there are fewer samples.
        let Ok(copy) = copy_of(invocation) else { break };
        let (_, is_whole, time) = run(&copy);
        times.push(time);
        // What ends early is no sample of the whole run, and neither are those that follow.
        if !is_whole {
            break;
        }
    }
    let (outcome, _, time) = run(invocation);
    times.push(time);
    (outcome, CpuTime::of(times))
}

impl Program {
    /// As [`Program::execute`], and [`measured`].
    pub fn measure(
        &self,
        worker: &mut Worker,
        invocation: &Invocation,
        samples: u32,
    ) -> (Outcome, CpuTime) {
        measured(invocation, samples, |invocation| {
            worker.cpu_time = Some(Duration::ZERO);
            let outcome = self.execute(worker, invocation);
            let is_whole = outcome.result.is_ok();
            (outcome, is_whole, worker.cpu_time.take().unwrap_or_default())
        })
    }
}

/// The same invocation with ranges of its own, which begin at the same places in their pages: where that is decides how
/// accesses are checked.
fn copy_of(invocation: &Invocation) -> io::Result<Invocation> {
    let mut copy = invocation.clone();
    for range in &mut copy.ranges {
        let Range { memory, offset, len, .. } = range;
        let at = *offset % PAGE;
        let own = SharedMemory::new((at + *len).next_multiple_of(PAGE))?;
        if !own.copy_from(memory, *offset, at, *len) {
            return Err(io::Error::other("a range is not within its memory"));
        }
        (*memory, *offset) = (Arc::new(own), at);
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, isa::InstructionClass};

    #[test]
    fn median_least_and_most() {
        let of =
            |times: &[u64]| CpuTime::of(times.iter().map(|n| Duration::from_nanos(*n)).collect());
        let time = of(&[5, 1, 3]);
        assert_eq!((time.samples, time.median.as_nanos()), (3, 3));
        assert_eq!((time.least.as_nanos(), time.most.as_nanos()), (1, 5));
        assert_eq!(of(&[]), CpuTime::default());
    }

    /// Adds 1 to the first byte of range 0, 10 000 times.
    fn counting() -> Program {
        let code: [[u8; 8]; 8] = [
            [0x79, 0x12, 4, 0, 0, 0, 0, 0],       // r2 = *(u64 *)(r1 + 4): mr_addr
            [0x79, 0x22, 0, 0, 0, 0, 0, 0],       // r2 = *(u64 *)(r2 + 0)
            [0xb7, 0x03, 0, 0, 0x10, 0x27, 0, 0], // r3 = 10000
            [0x71, 0x20, 0, 0, 0, 0, 0, 0],       // r0 = *(u8 *)(r2 + 0)
            [0x07, 0x00, 0, 0, 1, 0, 0, 0],       // r0 += 1
            [0x73, 0x02, 0, 0, 0, 0, 0, 0],       // *(u8 *)(r2 + 0) = r0
            [0x17, 0x03, 0, 0, 1, 0, 0, 0],       // r3 -= 1
            [0x55, 0x03, 0xfb, 0xff, 0, 0, 0, 0], // if r3 != 0 goto -5
        ];
        let end = [[0x95, 0, 0, 0, 0, 0, 0, 0]];
        Program::from_instructions(&[&code[..], &end[..]].concat().concat()).unwrap()
    }

    #[test]
    fn samples_leave_memory_as_one_run_does() {
        let program = counting();
        for (engine, offset) in [(Engine::Interpreter, 0), (Engine::Tier1, 0), (Engine::Tier1, 5)] {
            let memory = Arc::new(SharedMemory::new(8192).unwrap());
            let ranges = vec![Range { memory: memory.clone(), offset, len: 4096, writable: true }];
            let invocation = Invocation { ranges, budget: 100_000, ..Default::default() };
            let mut worker = Worker::new(engine);
            let (outcome, time) = program.measure(&mut worker, &invocation, 5);
            let mut byte = [0];
            assert!(memory.read(offset, &mut byte));
            // 10 000 = 16 modulo 256, once.
            assert_eq!((outcome.result, byte), (Ok(16), [16]), "{engine} at {offset}");
            assert_eq!(time.samples, 5);
            assert!(Duration::ZERO < time.least && time.least <= time.median, "{time:?}");
            assert!(time.median <= time.most, "{time:?}");
            assert_eq!(outcome.counts.instructions[InstructionClass::Load as usize], 10_002);
        }
    }
}
