//! The part of a window in which context and counters are.
#![expect(unsafe_code, reason = "raw memory of the window; see the SAFETY comments")]

use super::context::{CONTEXT_WORDS, Context, FRAME_WORDS, NativeFrame};
use crate::memory::Window;

/// The runtime's area of a window: the context, counters, and callers.
pub(super) struct Area<'a> {
    words: &'a mut [u64],
    counters: usize,
}

impl<'a> Area<'a> {
    /// The area of a window, with numbers of counters and of callers; what is in it stays.
    pub(super) fn new(
        window: &'a mut Window,
        (counters, frames): (usize, usize),
    ) -> std::io::Result<Self> {
        let len = CONTEXT_WORDS + counters + frames * FRAME_WORDS;
        let start = window.runtime_area(len)?;
        // SAFETY: the window mapped that many words for this, and is borrowed as long as they are.
        let words = unsafe { std::slice::from_raw_parts_mut(start, len) };
        Ok(Self { words, counters })
    }

    /// Puts a context there, and zeroes the counters.
    pub(super) fn begin(&mut self, context: Context) {
        self.words[CONTEXT_WORDS..][..self.counters].fill(0);
        // SAFETY: long enough and aligned.
        unsafe { self.words.as_mut_ptr().cast::<Context>().write(context) };
    }

    /// The context, the counters and the callers after a run.
    pub(super) fn end(&self) -> (Context, Vec<u64>, Vec<NativeFrame>) {
        // SAFETY: `begin` put a context there.
        let context = unsafe { self.words.as_ptr().cast::<Context>().read() };
        let (counters, frames) = self.words[CONTEXT_WORDS..].split_at(self.counters);
        let frame = |&[return_to, r6, r7, r8, r9]: &[u64; FRAME_WORDS]| NativeFrame {
            return_to,
            saved: [r6, r7, r8, r9],
        };
        let (frames, _) = frames.as_chunks();
        (context, counters.to_vec(), frames.iter().map(frame).collect())
    }
}
