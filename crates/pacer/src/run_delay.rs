//! How long the calling thread was ready to run and did not.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::thread::ThreadId;
use std::time::Duration;

/// A source of a thread's `run_delay`.
pub trait RunDelay {
    /// Time that the calling thread has spent waiting for a processor since it was started; `None` if nobody counts.
    fn run_delay(&mut self) -> Option<Duration>;
}

/// The kernel's count: the second number of `/proc/thread-self/schedstat` (Linux, Documentation/scheduler/sched-stats.rst).
/// Kernels without `CONFIG_SCHED_INFO` and systems without `/proc` have none.
#[derive(Debug, Default)]
pub struct SchedStat {
    file: Source,
    /// The thread whose file it is.
    thread: Option<ThreadId>,
}

#[derive(Debug, Default)]
enum Source {
    /// Not opened yet: the file is that of the thread that opens it.
    #[default]
    Unopened,
    Open(File),
    Missing,
}

impl RunDelay for SchedStat {
    fn run_delay(&mut self) -> Option<Duration> {
        let thread = Some(std::thread::current().id());
        if matches!(self.file, Source::Unopened) || self.thread != thread {
            self.thread = thread;
            self.file =
                File::open("/proc/thread-self/schedstat").map_or(Source::Missing, Source::Open);
        }
        let Source::Open(file) = &self.file else { return None };
        let mut text = [0; 96];
        let len = loop {
            match file.read_at(&mut text, 0) {
                Ok(len) => break len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        };
        parse(&text[..len])
    }
}

/// The second of three numbers: nanoseconds.
fn parse(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_counts() {
        assert_eq!(parse(b"118 2576223 1\n"), Some(Duration::from_nanos(2_576_223)));
        for text in [&b""[..], b"1", b"1 x 2", b"\xFF \xFF"] {
            assert_eq!(parse(text), None);
        }
    }

    #[test]
    fn a_thread_that_is_kept_off_sees_it() {
        let mut source = SchedStat::default();
        let Some(before) = source.run_delay() else {
            println!("SKIPPED: this kernel has no /proc/thread-self/schedstat");
            return;
        };
        // More threads than processors, all busy: each is kept off for some of the time.
        let count = std::thread::available_parallelism().map_or(2, usize::from) + 1;
        let end = std::time::Instant::now() + Duration::from_millis(300);
        let others: Vec<_> = (0..count)
            .map(|_| std::thread::spawn(move || while std::time::Instant::now() < end {}))
            .collect();
        while std::time::Instant::now() < end {}
        assert!(source.run_delay().is_some_and(|after| after > before));
        others.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
