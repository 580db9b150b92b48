//! The part of a window in which context and counters are.
#![expect(unsafe_code, reason = "raw memory of the window; see the SAFETY comments")]

use super::context::{CONTEXT_WORDS, Context};
use crate::memory::Window;

/// The runtime's area of a window: the context, and counters.
pub(super) struct Area<'a> {
    words: &'a mut [u64],
}

impl<'a> Area<'a> {
    /// The area of a window, with a number of counters; what is in it stays.
    pub(super) fn new(window: &'a mut Window, counters: usize) -> std::io::Result<Self> {
        let len = CONTEXT_WORDS + counters;
        let start = window.runtime_area(len)?;
        // SAFETY: the window mapped that many words for this, and is borrowed as long as they are.
        let words = unsafe { std::slice::from_raw_parts_mut(start, len) };
        Ok(Self { words })
    }

    /// Puts a context there, and zeroes the counters.
    pub(super) fn begin(&mut self, context: Context) {
        self.words[CONTEXT_WORDS..].fill(0);
        // SAFETY: long enough and aligned.
        unsafe { self.words.as_mut_ptr().cast::<Context>().write(context) };
    }

    /// The context and the counters after a run.
    pub(super) fn end(&self) -> (Context, Vec<u64>) {
        // SAFETY: `begin` put a context there.
        let context = unsafe { self.words.as_ptr().cast::<Context>().read() };
        (context, self.words[CONTEXT_WORDS..].to_vec())
    }
}
