//! `-v` and `CSDRIVE_LOG`: what the shells tell by `tracing`, on standard error.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, Targets};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::{Layer as _, Registry, fmt as format};

use crate::report::tell;

/// Which messages are shown, by crate or module; as `-v` counts, but finer.
const VARIABLE: &str = "CSDRIVE_LOG";

/// Messages of one place in the code that are shown in a [`WINDOW`].
const LIMIT: u64 = 100;

const WINDOW: Duration = Duration::from_secs(1);

/// Shows what is asked for from now on: `CSDRIVE_LOG`, or else as many steps beyond warnings as there are `-v`.
///
/// # Errors
/// If the variable cannot be read as levels.
pub(crate) fn start(verbosity: u8) -> Result<()> {
    let levels = match std::env::var(VARIABLE) {
        Ok(text) => text.parse::<Targets>().map_err(|_| {
            anyhow!(
                "{VARIABLE}={text:?}: not levels; give off, error, warn, info, debug or trace, also by module: \
                 info,emulator::command=trace"
            )
        })?,
        Err(_) => Targets::new().with_default(match verbosity {
            0 => LevelFilter::WARN,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }),
    };
    let lines = format::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        // A closed standard error is no reason for more messages, nor for a panic.
        .log_internal_errors(false)
        .with_timer(SinceStart(Instant::now()))
        .with_filter(levels.and(RateLimit::default()));
    // It fails only if it was done before.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(lines));
    Ok(())
}

/// The time of a message, in seconds since the program began: as the drive's own clock, nearly.
struct SinceStart(Instant);

impl format::time::FormatTime for SinceStart {
    fn format_time(&self, to: &mut format::format::Writer<'_>) -> fmt::Result {
        write!(to, "{:12.6}", self.0.elapsed().as_secs_f64())
    }
}

/// How many messages of a place were seen in its window.
struct Seen {
    since: Instant,
    count: u64,
}

/// Lets so many messages of each place through, and says when there are more: a client must not be able to fill a disk.
#[derive(Default)]
struct RateLimit {
    seen: Mutex<HashMap<Identifier, Seen>>,
}

impl<S: Subscriber> Filter<S> for RateLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let place = event.metadata();
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(place.callsite()).or_insert(Seen { since: now, count: 0 });
        if now.duration_since(seen.since) >= WINDOW {
            if let Some(more) = seen.count.checked_sub(LIMIT).filter(|&more| more > 0) {
                tell!("csdrive: {more} more messages of {} were not shown", place.target());
            }
            *seen = Seen { since: now, count: 0 };
        }
        seen.count += 1;
        if seen.count == LIMIT + 1 {
            tell!(
                "csdrive: more than {LIMIT} messages of {} in a second; the rest of this second is not shown",
                place.target()
            );
        }
        seen.count <= LIMIT
    }
}
