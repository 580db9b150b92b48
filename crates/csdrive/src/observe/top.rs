//! `csdrive top`: live drives in a terminal.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use analysis::{DriveSummary, Tally};
use anyhow::{Context, Result, anyhow};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};
use records::{CounterRecord, Kind};
use ring::Reader;

use super::seen::{POLL, ring_of, seconds, serial_of};
use crate::report::{grouped, time};
use crate::workload::rate;
use crate::{Outcome, usage};

/// Live drives in this terminal: queues, compute units, channels, dies, links, job groups as bars
///
/// The drives are served with --records; they may come later, go, and come again. Keys: Tab shows the next drive, p stops and goes on, q
/// ends.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The drives' serial numbers (drive.serial)
    #[arg(value_name = "SERIAL", default_value = "CSDRIVE0001")]
    drives: Vec<PathBuf>,
    /// Seconds between two pictures
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = seconds)]
    interval: f64,
    /// End after so many pictures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if !std::io::stdout().is_terminal() {
        return usage(Err(anyhow!(
            "standard output is no terminal: csdrive stat --follow prints lines"
        )));
    }
    let mut drives: Vec<Watched> = arguments.drives.iter().map(|path| Watched::new(path)).collect();
    // What is no ring is told now, and not in a picture.
    for drive in drives.iter_mut().filter(|drive| drive.path.exists()) {
        drive.reader = Some(usage(Reader::open(&drive.path).map_err(Into::into))?);
    }
    let mut terminal = ratatui::try_init().context("the terminal")?;
    let done = watch(arguments, &mut drives, &mut terminal);
    ratatui::restore();
    done.map(|()| Outcome::Success)
}

fn watch(
    arguments: &Arguments,
    drives: &mut [Watched],
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<()> {
    let interval = Duration::from_secs_f64(arguments.interval);
    let (mut shown, mut is_stopped, mut pictures) = (0, false, 0);
    let mut began = Instant::now();
    loop {
        drives.iter_mut().for_each(Watched::take);
        let took = began.elapsed();
        let is_over = took >= interval;
        if is_over {
            began = Instant::now();
            drives.iter_mut().for_each(|drive| drive.end_interval(took, is_stopped));
            pictures += 1;
        }
        let mut is_changed = is_over;
        if event::poll(POLL.min(interval.saturating_sub(took))).context("the terminal")? {
            is_changed = true;
            match act(&event::read().context("the terminal")?) {
                Act::End => return Ok(()),
                Act::Stop => is_stopped = !is_stopped,
                Act::Show(step) => shown = (shown + step) % drives.len(),
                Act::Draw => {}
            }
        }
        if is_changed {
            let place = (shown + 1, drives.len());
            let drive = &drives[shown];
            terminal.draw(|frame| drive.draw(frame, place, is_stopped)).context("the terminal")?;
        }
        if arguments.count == Some(pictures) {
            return Ok(());
        }
    }
}

/// What the user wants.
enum Act {
    End,
    Stop,
    /// So many drives on.
    Show(usize),
    Draw,
}

fn act(event: &Event) -> Act {
    let Event::Key(key) = event else { return Act::Draw };
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        _ if key.kind != KeyEventKind::Press => Act::Draw,
        KeyCode::Char('q') | KeyCode::Esc => Act::End,
        KeyCode::Char('c') if is_control => Act::End,
        KeyCode::Char('p') => Act::Stop,
        KeyCode::Tab | KeyCode::Right => Act::Show(1),
        _ => Act::Draw,
    }
}

/// Past intervals that are shown.
const HISTORY: usize = 400;

/// A drive that is watched.
struct Watched {
    serial: String,
    path: PathBuf,
    reader: Option<Reader>,
    tally: Tally,
    counters: Option<CounterRecord>,
    /// What it did in the last interval.
    last: DriveSummary,
    history: VecDeque<u64>,
    lost: u64,
}

impl Watched {
    fn new(path: &Path) -> Self {
        let serial = serial_of(path);
        Self {
            last: Tally::default().summary(&serial),
            path: ring_of(path),
            reader: None,
            tally: Tally::default(),
            counters: None,
            history: VecDeque::new(),
            lost: 0,
            serial,
        }
    }

    /// Takes what came.
    fn take(&mut self) {
        if self.reader.is_none() {
            self.reader = Reader::open(&self.path).ok().filter(|open| !open.is_closed());
            self.counters = self.reader.as_ref().and_then(Reader::last_counters);
        }
        let Some(reader) = &mut self.reader else { return };
        let is_closed = reader.is_closed();
        let batch = reader.read();
        self.tally.add(&batch.records);
        let lost = Kind::ALL.map(|kind| batch.lost[kind as usize]).iter().sum::<u64>();
        self.tally.lose(lost);
        self.lost += lost;
        if is_closed {
            (self.reader, self.counters) = (None, None);
        }
    }

    /// What came since the last time is what is shown.
    fn end_interval(&mut self, took: Duration, is_stopped: bool) {
        let mut tally = std::mem::take(&mut self.tally);
        let counters = tally.counters().copied();
        tally.lasts(took.as_nanos() as u64);
        if let Some(before) = self.counters {
            tally.since(before);
        }
        self.counters = counters.or(self.counters);
        if is_stopped {
            return;
        }
        self.last = tally.summary(&self.serial);
        let iops: f64 = self.last.commands.iter().filter(|c| !c.is_admin).map(|c| c.iops).sum();
        self.history.push_back(iops as u64);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    fn draw(&self, frame: &mut Frame<'_>, (place, of): (usize, usize), is_stopped: bool) {
        let groups = self.last.groups.len().clamp(1, 6) as u16 + 2;
        let commands = self.last.commands.len().clamp(1, 8) as u16 + 3;
        let parts = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(5),
            Constraint::Length(commands),
            Constraint::Min(6),
            Constraint::Length(groups),
            Constraint::Length(1),
        ]);
        let [title, history, table, busy, jobs, keys] = parts.areas(frame.area());
        let state = match (&self.reader, is_stopped) {
            (None, _) => " waits for the drive: csdrive serve --records ".black().on_yellow(),
            (_, true) => " stopped ".black().on_yellow(),
            _ => " live ".black().on_green(),
        };
        let name = format!(" {} ({place} of {of}) ", self.serial);
        let mut line = vec![name.bold(), state];
        if self.lost > 0 {
            line.push(format!("  {} records lost", grouped(self.lost)).red());
        }
        frame.render_widget(Line::from(line), title);
        self.draw_history(frame, history);
        self.draw_commands(frame, table);
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)])
                .areas(busy);
        let rows = left.height.saturating_sub(2) as usize;
        draw_bars(frame, left, "compute units", "unit", &self.last.units_busy, rows);
        let [flash, links] =
            Layout::vertical([Constraint::Min(3), Constraint::Length(4)]).areas(right);
        self.draw_flash(frame, flash);
        self.draw_links(frame, links);
        self.draw_groups(frame, jobs);
        let help = " q ends   p stops and goes on   Tab next drive ";
        frame.render_widget(Line::from(help.dark_gray()), keys);
    }

    fn draw_history(&self, frame: &mut Frame<'_>, area: Rect) {
        let width = area.width.saturating_sub(2) as usize;
        let from = self.history.len().saturating_sub(width);
        let data: Vec<u64> = self.history.iter().skip(from).copied().collect();
        let now = grouped(self.history.back().copied().unwrap_or_default());
        let most = grouped(data.iter().copied().max().unwrap_or_default());
        let title = format!(" I/O commands per second: {now} (most {most}) ");
        let spark = Sparkline::default().data(data).style(Style::new().cyan());
        frame.render_widget(spark.block(Block::bordered().title(title)), area);
    }

    fn draw_commands(&self, frame: &mut Frame<'_>, area: Rect) {
        let head = format!(
            "{:<28}{:>11}{:>12}{:>8}{:>11}{:>11}{:>11}{:>11}",
            "command", "per second", "bandwidth", "depth", "mean", "p50", "p99", "max"
        );
        let mut lines = vec![Line::from(head.bold())];
        for c in self.last.commands.iter().take(8) {
            let depth = c.lat_ns.mean * c.lat_ns.count as f64 / self.last.elapsed_ns.max(1) as f64;
            let text = format!(
                "{:<28}{:>11}{:>12}{:>8.2}{:>11}{:>11}{:>11}{:>11}",
                c.name,
                grouped(c.iops as u64),
                if c.bytes > 0 { rate(c.bw_bytes) } else { "-".to_owned() },
                depth,
                time(c.lat_ns.mean as u64),
                time(c.lat_ns.at(50.0)),
                time(c.lat_ns.at(99.0)),
                time(c.lat_ns.max)
            );
            let line = if c.failed > 0 {
                format!("{text}  {} failed", grouped(c.failed)).red()
            } else {
                text.into()
            };
            lines.push(Line::from(line));
        }
        if self.last.commands.is_empty() {
            lines.push(Line::from("no command ended".dark_gray()));
        }
        frame.render_widget(
            Paragraph::new(lines).block(Block::bordered().title(" commands ")),
            area,
        );
    }

    /// A letter for each die, by channel.
    fn draw_flash(&self, frame: &mut Frame<'_>, area: Rect) {
        let (channels, dies) = (&self.last.channels_busy, &self.last.dies_busy);
        let mut lines = Vec::new();
        let mut free = area.height.saturating_sub(2) as usize;
        // Dies of a channel follow each other: see ssd::Geometry.
        let width = 14;
        for (n, share) in channels.iter().enumerate() {
            if free == 0 {
                break;
            }
            free -= 1;
            let mut spans = vec![Span::from(format!("channel {n:<3}"))];
            spans.extend(bar(*share, width));
            spans.push(Span::from(format!("{:>5.0} %  dies ", 100.0 * share.min(1.0))));
            spans.extend(
                dies.iter()
                    .enumerate()
                    .filter(|(die, _)| channel_of(*die, dies.len(), channels.len()) == n)
                    .map(|(_, share)| level(*share)),
            );
            lines.push(Line::from(spans));
        }
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" flash ")), area);
    }

    fn draw_links(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut lines = Vec::new();
        if let Some(drive) = &self.last.drive {
            let seconds = self.last.elapsed_ns.max(1) as f64 / 1e9;
            for (name, share, bytes) in [
                ("to the host  ", drive.link_out_busy, drive.bytes.to_host),
                ("from the host", drive.link_in_busy, drive.bytes.from_host),
            ] {
                let mut spans = vec![Span::from(format!("{name} "))];
                spans.extend(bar(share, 14));
                let per_second = (bytes as f64 / seconds) as u64;
                spans.push(Span::from(format!("{:>5.1} %  {}", 100.0 * share, rate(per_second))));
                lines.push(Line::from(spans));
            }
        }
        let late = self.last.drive.as_ref().map_or(0, |drive| drive.late.commands);
        let title = match late {
            0 => " links ".to_owned(),
            late => format!(" links; {} completions late ", grouped(late)),
        };
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
    }

    fn draw_groups(&self, frame: &mut Frame<'_>, area: Rect) {
        let seconds = self.last.elapsed_ns.max(1) as f64 / 1e9;
        let mut lines = Vec::new();
        for group in self.last.groups.iter().take(6) {
            let name = if group.group == 0 {
                "no group".to_owned()
            } else {
                format!("group {}", group.group)
            };
            let mut spans = vec![Span::from(format!("{name:<10}"))];
            spans.extend(bar(group.service, 24));
            spans.push(Span::from(format!(
                "{:>5.0} % of units {:>9} jobs/s   waited {} (p99 {})   ran {}",
                100.0 * group.service,
                grouped((group.jobs as f64 / seconds) as u64),
                time(group.waited_ns.mean as u64),
                time(group.waited_ns.at(99.0)),
                time(group.ran_ns.mean as u64)
            )));
            lines.push(Line::from(spans));
        }
        if lines.is_empty() {
            lines.push(Line::from("no job ended".dark_gray()));
        }
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" jobs ")), area);
    }
}

/// The channel of a die: dies are numbered channel by channel (`ssd::Geometry::channel_of`).
fn channel_of(die: usize, dies: usize, channels: usize) -> usize {
    die / (dies / channels.max(1)).max(1)
}

/// Bars for some shares, as many as there is room for.
fn draw_bars(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    what: &str,
    shares: &[f64],
    rows: usize,
) {
    let mean = shares.iter().map(|share| share.min(1.0)).sum::<f64>() / shares.len().max(1) as f64;
    let width = area.width.saturating_sub(22) as usize;
    let mut lines = Vec::new();
    let shown = if shares.len() > rows { rows.saturating_sub(1) } else { shares.len() };
    for (n, share) in shares.iter().enumerate().take(shown) {
        let mut spans = vec![Span::from(format!("{what} {n:<4}"))];
        spans.extend(bar(*share, width));
        spans.push(Span::from(format!("{:>5.0} %", 100.0 * share.min(1.0))));
        lines.push(Line::from(spans));
    }
    if shown < shares.len() {
        let mut spans = vec![Span::from(format!("{} more  ", shares.len() - shown))];
        spans.extend(shares[shown..].iter().take(width).map(|share| level(*share)));
        lines.push(Line::from(spans));
    }
    let title = format!(" {title}: {:.0} % of {} ", 100.0 * mean, shares.len());
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

fn colour(share: f64) -> Color {
    match share {
        share if share >= 0.9 => Color::Red,
        share if share >= 0.6 => Color::Yellow,
        _ => Color::Green,
    }
}

/// A bar, and what is left of its width.
fn bar(share: f64, width: usize) -> [Span<'static>; 2] {
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    [
        Span::styled("\u{2588}".repeat(full), Style::new().fg(colour(share))),
        Span::styled("\u{2591}".repeat(width - full), Style::new().fg(Color::DarkGray)),
    ]
}

/// A letter for a share.
fn level(share: f64) -> Span<'static> {
    let levels = [
        "\u{2581}", "\u{2582}", "\u{2583}", "\u{2584}", "\u{2585}", "\u{2586}", "\u{2587}",
        "\u{2588}",
    ];
    let n = (share.clamp(0.0, 1.0) * 7.0).round() as usize;
    Span::styled(levels[n], Style::new().fg(colour(share)))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use records::{CommandRecord, JobRecord, Records, UnitRecord};

    use super::*;

    /// The picture as text.
    fn picture(drive: &Watched, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| drive.draw(frame, (1, 1), false)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn bars_are_as_long_as_what_they_show() {
        let mut drive = Watched::new(Path::new("TEST"));
        let command = CommandRecord {
            sqid: 1,
            opcode: 2,
            bytes: 4096,
            completed_ns: 250_000,
            ..Default::default()
        };
        drive.tally.add(&Records {
            commands: vec![command; 1000],
            jobs: vec![JobRecord {
                group: 2,
                ran_ns: 500_000_000,
                waited_ns: 1000,
                ..Default::default()
            }],
            units: vec![UnitRecord {
                unit: 1,
                start_ns: 0,
                end_ns: 500_000_000,
                ..Default::default()
            }],
            ..Default::default()
        });
        drive.end_interval(Duration::from_secs(1), false);
        let text = picture(&drive, 120, 34);
        assert!(text.contains("TEST (1 of 1)") && text.contains("Read"), "{text}");
        let line = text.lines().find(|line| line.contains("unit 1")).unwrap();
        let (full, empty) = (line.matches('\u{2588}').count(), line.matches('\u{2591}').count());
        assert!(full == empty && full > 10 && line.contains("50 %"), "{line}");
        assert!(text.contains("group 2") && text.contains("100 % of units"), "{text}");
    }

    /// However small the terminal is.
    #[test]
    fn any_size_will_do() {
        let mut drive = Watched::new(Path::new("TEST"));
        drive.end_interval(Duration::from_secs(1), false);
        for (width, height) in [(1, 1), (10, 3), (20, 10), (300, 100)] {
            picture(&drive, width, height);
        }
    }
}
