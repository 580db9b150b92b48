//! `csdrive exec`: Execute Program, once or many times.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use client::{Compound, Drive, DriveResult, Invocation, RunTime, Streaming};
use indicatif::ProgressBar;
use serde_json::json;

use super::Target;
use crate::input::{
    Parameters, is_standard, parse_blocks, parse_number, parse_range, parse_run_time, write_all,
};
use crate::report::{say, tell};
use crate::stream::{Chunks, Room};
use crate::{Outcome, usage};

/// Execute a program that is loaded and active
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Program index
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    program: u16,
    /// A memory range, as START:LENGTH in bytes of device memory; repeatable, in the program's order
    #[arg(short, long, value_name = "START:LENGTH", value_parser = parse_range, conflicts_with = "set")]
    range: Vec<(u64, u32)>,
    /// Identifier of a range set, instead of ranges
    #[arg(short, long, value_name = "ID", default_value_t = 0)]
    set: u16,
    #[command(flatten)]
    parameters: Parameters,
    /// Job group
    #[arg(short, long, value_name = "ID", default_value_t = 0)]
    group: u8,
    /// Where its run time comes from: instructions, measured, remote, declared, or a time to declare, as 50us
    #[arg(long, value_name = "HOW", value_parser = parse_run_time)]
    run_time: Option<RunTime>,
    /// Process so many blocks, from FIRST on, chunk by chunk, in place of ranges; results are added up
    #[arg(long, value_name = "FIRST:COUNT", value_parser = parse_blocks, conflicts_with_all = ["range", "set", "count", "depth"])]
    stream: Option<(u64, u64)>,
    #[command(flatten)]
    chunks: Chunks,
    /// Copy so many blocks, from FIRST on, to memory of the drive's own, run the program on them, and return its output: in one command
    #[arg(long, value_name = "FIRST:COUNT", value_parser = parse_blocks, conflicts_with_all = ["range", "count", "depth", "stream", "param2", "data", "run_time"])]
    compound: Option<(u64, u64)>,
    /// With --compound: receives the output; - = standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With --stream: where the chunks lie in device memory
    #[arg(long, value_name = "START", value_parser = parse_number)]
    memory: Option<u64>,
    /// With --stream: bytes of the output of a chunk; default: as many as a chunk has. With --compound: bytes of the output; default: 0
    #[arg(long, value_name = "SIZE", value_parser = config::parse_size)]
    output_size: Option<u64>,
    /// Execute it so many times
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// So many at a time
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    depth: u64,
    #[command(flatten)]
    target: Target,
}

/// What many executions gave.
struct Executed {
    /// Of the last: a program's result is a `long long`.
    result: i64,
    seconds: f64,
}

impl Arguments {
    /// Options of one way to execute a program do nothing in others.
    fn check_options(&self) -> Result<()> {
        let (streams, is_compound) = (self.stream.is_some(), self.compound.is_some());
        for (is_given, option, is_right, of) in [
            (self.chunks.is_given(), "--chunk, --in-flight and --overlap", streams, "--stream"),
            (self.memory.is_some(), "--memory", streams, "--stream"),
            (self.chunks.early, "--early", streams || is_compound, "--stream and --compound"),
            (self.output.is_some(), "--output", is_compound, "--compound"),
            (
                self.output_size.is_some(),
                "--output-size",
                streams || is_compound,
                "--stream and --compound (elsewhere ranges say how long an output is)",
            ),
        ] {
            ensure!(is_right || !is_given, "{option}: only with {of}");
        }
        Ok(())
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let target = &arguments.target;
    let data = usage(arguments.parameters.data(u32::MAX.into()))?;
    let invocation = Invocation {
        program: arguments.program,
        range_set: arguments.set,
        ranges: arguments.range.clone(),
        param1: arguments.parameters.param1,
        param2: arguments.parameters.param2,
        data,
        group: arguments.group,
        run_time: arguments.run_time.unwrap_or_default(),
    };
    let Arguments { count, depth, .. } = *arguments;
    usage(arguments.check_options())?;
    if let Some(blocks) = arguments.compound {
        return compound(arguments, &invocation, blocks);
    }
    if let Some(blocks) = arguments.stream {
        return stream(arguments, &invocation, blocks);
    }
    target.perform(
        |drive| execute(drive, &invocation, count, depth),
        |done| {
            let mut document = json!({ "result": done.result });
            if count > 1 {
                document["count"] = count.into();
                document["depth"] = depth.into();
                document["seconds"] = done.seconds.into();
                document["per_second"] = (count as f64 / done.seconds).into();
            }
            document
        },
        |done| {
            say!("{}", done.result);
            if count > 1 {
                let (seconds, rate) = (done.seconds, count as f64 / done.seconds);
                tell!("{count} executions, {depth} at a time: {seconds:.3} s, {rate:.0}/s");
            }
        },
    )
}

/// Has blocks copied, processed, and the output returned by one command.
fn compound(arguments: &Arguments, invocation: &Invocation, blocks: (u64, u64)) -> Result<Outcome> {
    let target = &arguments.target;
    let short = |number: u64, what: &str| {
        u32::try_from(number).map_err(|_| anyhow!("{what} {number}: at most {}", u32::MAX))
    };
    let (first, count) = blocks;
    if count == 0 {
        return usage(Err(anyhow!("--compound: COUNT 0: give the blocks to process")));
    }
    let compound = Compound {
        program: invocation.program,
        first,
        count: usage(short(count, "--compound: COUNT"))?,
        output: usage(short(arguments.output_size.unwrap_or(0), "--output-size"))?,
        param1: invocation.param1,
        range_set: invocation.range_set,
        group: invocation.group,
        early: arguments.chunks.early,
    };
    let mut drive = target.open()?;
    match drive.execute_compound(&compound) {
        Ok((result, output)) => {
            let result = result as i64;
            match &arguments.output {
                Some(path) if is_standard(path) => tell!("{result}"),
                _ => target.present(|| json!({ "result": result }), || say!("{result}")),
            }
            if let Some(path) = &arguments.output {
                let written = write_all(path, &output);
                usage(written.with_context(|| format!("--output {}", path.display())))?;
            }
            Ok(Outcome::Success)
        }
        Err(error) => target.refused(error),
    }
}

/// Has blocks processed chunk by chunk.
fn stream(arguments: &Arguments, invocation: &Invocation, blocks: (u64, u64)) -> Result<Outcome> {
    let Arguments { target, chunks, .. } = arguments;
    let mut drive = target.open()?;
    let (block, end) = (drive.block_bytes(), drive.geometry().memory_bytes);
    let room = Room { start: arguments.memory.unwrap_or(0), end };
    let ranges = usage(chunks.ranges(arguments.output_size, block, room))?;
    let (first, count) = blocks;
    let bytes = count.checked_mul(block).context("--stream: more blocks than bytes can be counted");
    let streaming = chunks.streaming(invocation, (first, usage(bytes)?), block);
    match with_ranges(&mut drive, &ranges, streaming) {
        Ok(result) => {
            target.present(|| json!({ "result": result }), || say!("{result}"));
            Ok(Outcome::Success)
        }
        Err(error) => target.refused(error),
    }
}

/// Makes a range set for a streaming execution, and deletes it again.
fn with_ranges(
    drive: &mut Drive,
    ranges: &[(u64, u32)],
    mut streaming: Streaming,
) -> DriveResult<i64> {
    streaming.invocation.range_set = drive.create_range_set(ranges)?;
    let result = drive.execute_stream(&streaming);
    // What the execution came to counts more.
    let deleted = drive.delete_range_set(streaming.invocation.range_set);
    let result = result?;
    deleted.map(|()| result as i64)
}

fn execute(
    drive: &mut Drive,
    invocation: &Invocation,
    count: u64,
    depth: u64,
) -> DriveResult<Executed> {
    let bar = if count > 1 { ProgressBar::new(count) } else { ProgressBar::hidden() };
    let start = Instant::now();
    let (mut started, mut ended, mut result) = (0, 0, 0);
    while ended < count {
        while started < count && started - ended < depth {
            drive.start_execute(invocation)?;
            started += 1;
        }
        let done = drive.wait()?;
        result = drive.executed(done)? as i64;
        ended += 1;
        if ended % 64 == 0 {
            bar.set_position(ended);
        }
    }
    bar.finish_and_clear();
    Ok(Executed { result, seconds: start.elapsed().as_secs_f64() })
}
