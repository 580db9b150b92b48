//! Files that drives keep their flash in: the store of a drive, and `csdrive storage`.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use controller::{
    Config, Controller, NamespaceConfig, NamespaceKind, Parts, StorageConfig, ZonedConfig,
};
use flash_file::{Damage, FlashFile, Summary};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use simulator::Session;
use ssd::{DaxPolicy, SyncPolicy};

use crate::report::{bytes, say, tell};
use crate::{Outcome, usage};

/// What keeps the pages of a drive's flash, if they are not in memory.
pub(crate) fn store(config: &Config) -> Result<Option<Box<dyn ssd::Store>>> {
    let StorageConfig { file, sync, dax } = &config.storage;
    if file.is_empty() {
        return Ok(None);
    }
    let store = FlashFile::open_store(file.as_ref(), &config.flash, *sync, *dax)?;
    Ok(Some(Box::new(store)))
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// What a file holds: the flash that it was made for, its namespaces, how much is written
    Info(OneFile),
    /// Compare all pages of a file with their checksums; exit code 1 if something is damaged
    Check(OneFile),
    /// Give up what is damaged in a file, so that the rest can be used
    Repair(OneFile),
    /// Copy a file, holes as holes; where the file system can, both share their blocks until one is written
    Clone {
        /// File of a drive that is not running
        from: PathBuf,
        /// File to make
        to: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Write the blocks of a namespace to a raw image, what was never written as holes
    Export(WithImage),
    /// Write a raw image to the blocks of a namespace, from the first on; the file must be there (csdrive serve or run makes it)
    Import(WithImage),
}

#[derive(Debug, clap::Args)]
pub(crate) struct WithImage {
    /// File of a drive that is not running
    file: PathBuf,
    /// Image of the namespace's blocks; export makes it
    image: PathBuf,
    /// Which namespace
    #[arg(long, value_name = "ID", default_value_t = controller::NVM_NSID)]
    namespace: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OneFile {
    /// File of a drive that is not running
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Info(arguments) => info(arguments),
        Command::Check(arguments) => check(arguments),
        Command::Repair(OneFile { file, json }) => {
            let damage = usage(FlashFile::open_existing(file).map_err(Into::into))?.repair()?;
            if *json {
                say!(
                    "{}",
                    json!({ "format_version": 1, "file": file, "given_up": damage_json(&damage) })
                );
            } else if damage == Damage::default() {
                say!("{}: nothing is damaged", file.display());
            } else {
                say!("{}: given up what was {damage}", file.display());
            }
            Ok(Outcome::Success)
        }
        Command::Clone { from, to, json } => {
            let bar = progress(*json)?;
            usage(
                flash_file::clone_file(from, to, |at, len| show(&bar, at, len)).map_err(Into::into),
            )?;
            bar.finish_and_clear();
            if *json {
                say!("{}", json!({ "format_version": 1, "from": from, "to": to }));
            } else {
                say!("{}: a copy of {}", to.display(), from.display());
            }
            Ok(Outcome::Success)
        }
        Command::Export(with) => told(with, export(with)?),
        Command::Import(with) => told(with, import(with)?),
    }
}

fn told(with: &WithImage, written: u64) -> Result<Outcome> {
    let WithImage { file, image, namespace, json } = with;
    if *json {
        let document = json!({ "format_version": 1, "file": file, "image": image, "namespace": namespace, "bytes_copied": written });
        say!("{document}");
    } else {
        say!("namespace {namespace} of {}: {} copied", file.display(), bytes(written));
    }
    Ok(Outcome::Success)
}

fn progress(hidden: bool) -> Result<ProgressBar> {
    if hidden {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {percent}% {eta}")?;
    Ok(ProgressBar::new(1000).with_style(style))
}

fn show(bar: &ProgressBar, at: u64, of: u64) {
    bar.set_position((u128::from(at) * 1000 / u128::from(of.max(1))) as u64);
}

fn damage_json(damage: &Damage) -> Value {
    let Damage { header, state, own_state, blocks, records } = damage;
    json!({ "header": header, "state": state, "namespaces": own_state, "block_entries": blocks, "page_records": records })
}

fn info(OneFile { file, json }: &OneFile) -> Result<Outcome> {
    let opened = usage(FlashFile::open_existing(file).map_err(Into::into))?;
    let (summary, damage) = opened.examine(false, |_, _| {})?;
    let flash = opened.config();
    let namespaces = match opened.saved()? {
        Some(state) => {
            usage(controller::remembered_namespaces(&state, &flash).map_err(Into::into))?
        }
        None => Vec::new(),
    };
    if *json {
        let listed: Vec<Value> = namespaces.iter().filter_map(namespace_json).collect();
        let document = json!({
            "format_version": 1,
            "file": file,
            "flash": {
                "capacity_bytes": flash.capacity_bytes, "channels": flash.channels,
                "dies_per_channel": flash.dies_per_channel, "planes_per_die": flash.planes_per_die,
                "blocks_per_plane": flash.blocks_per_plane, "pages_per_block": flash.pages_per_block,
                "page_bytes": flash.page_bytes, "indirection_bytes": flash.mapped_bytes(),
                "pages_per_program": flash.pages_per_program,
            },
            "namespaces": listed,
            "contents": summary_json(&summary),
            "damage": damage_json(&damage),
        });
        say!("{document}");
        return Ok(Outcome::Success);
    }
    say!(
        "{}: flash for {} in {} channels x {} dies x {} planes x {} blocks x {} pages of {}",
        file.display(),
        bytes(flash.capacity_bytes),
        flash.channels,
        flash.dies_per_channel,
        flash.planes_per_die,
        flash.blocks_per_plane,
        flash.pages_per_block,
        bytes(flash.page_bytes.into()),
    );
    for NamespaceConfig { nsid, kind } in namespaces {
        match kind {
            NamespaceKind::Nvm { bytes: size, block_bytes: block } => {
                say!("namespace {nsid}: {} in blocks of {block} bytes", bytes(size));
            }
            NamespaceKind::Zoned(zoned) => say!(
                "namespace {nsid}: {} zones of {}, of which {} can be written, in blocks of {} bytes",
                zoned.zones,
                bytes(zoned.zone_bytes),
                bytes(zoned.zone_capacity),
                zoned.block_bytes
            ),
            _ => {}
        }
    }
    say_summary(&summary, flash.mapped_bytes());
    if damage != Damage::default() {
        tell!("csdrive: {}: {damage}; csdrive storage repair gives that up", file.display());
    }
    Ok(Outcome::Success)
}

fn namespace_json(NamespaceConfig { nsid, kind }: &NamespaceConfig) -> Option<Value> {
    match kind {
        NamespaceKind::Nvm { bytes, block_bytes } => {
            Some(json!({ "nsid": nsid, "bytes": bytes, "block_bytes": block_bytes }))
        }
        NamespaceKind::Zoned(zoned) => Some(json!({
            "nsid": nsid, "bytes": space(zoned), "block_bytes": zoned.block_bytes,
            "zones": zoned.zones, "zone_bytes": zoned.zone_bytes, "zone_capacity": zoned.zone_capacity,
        })),
        _ => None,
    }
}

/// From the first zone to the end of the last.
fn space(zoned: &ZonedConfig) -> u64 {
    u64::from(zoned.zones) * zoned.zone_bytes
}

fn summary_json(summary: &Summary) -> Value {
    let Summary {
        blocks_used,
        blocks,
        pages,
        pages_unreadable,
        erases,
        erases_max,
        file_bytes,
        disk_bytes,
    } = summary;
    json!({
        "blocks": blocks, "blocks_used": blocks_used, "pages": pages, "pages_unreadable": pages_unreadable,
        "erases": erases, "erases_of_a_block_max": erases_max, "file_bytes": file_bytes, "disk_bytes": disk_bytes,
    })
}

fn say_summary(summary: &Summary, page_bytes: u32) {
    let pages = summary.pages * u64::from(page_bytes);
    say!(
        "{} pages written ({}), in {} of {} blocks",
        summary.pages,
        bytes(pages),
        summary.blocks_used,
        summary.blocks
    );
    say!("{} erases, at most {} of a block", summary.erases, summary.erases_max);
    say!(
        "the file takes {} of the disk; it is {} long",
        bytes(summary.disk_bytes),
        bytes(summary.file_bytes)
    );
}

fn check(OneFile { file, json }: &OneFile) -> Result<Outcome> {
    let opened = usage(FlashFile::open_existing(file).map_err(Into::into))?;
    let bar = progress(*json)?;
    let (summary, damage) = opened.examine(true, |at, of| show(&bar, at, of))?;
    bar.finish_and_clear();
    let unreadable = summary.pages_unreadable.unwrap_or(0);
    let is_sound = damage == Damage::default() && unreadable == 0;
    if *json {
        let document = json!({
            "format_version": 1, "file": file, "is_sound": is_sound,
            "contents": summary_json(&summary), "damage": damage_json(&damage),
        });
        say!("{document}");
    } else {
        say_summary(&summary, opened.config().mapped_bytes());
        if unreadable > 0 {
            say!(
                "{unreadable} pages do not match their checksums: reads of them fail (Unrecovered Read Error)"
            );
        }
        if damage != Damage::default() {
            say!("{damage}: csdrive storage repair gives that up");
        }
        if is_sound {
            say!("nothing is damaged");
        }
    }
    Ok(if is_sound { Outcome::Success } else { Outcome::ErrorStatus })
}

/// A drive with the blocks of a file, and nothing else.
fn drive_of(file: FlashFile) -> Result<Controller> {
    let mut flash = file.config();
    // Zones need their streams.
    let saved = usage(file.saved().map_err(Into::into))?;
    let known = saved.map(|state| controller::remembered_namespaces(&state, &flash));
    let known = usage(known.transpose().map_err(Into::into))?.unwrap_or_default();
    flash.zone_streams = known.iter().map(|listed| listed.kind.zone_streams()).sum();
    let bytes = flash.capacity_bytes;
    let kind = NamespaceKind::Nvm { bytes, block_bytes: 4096 };
    let namespaces = vec![NamespaceConfig { nsid: controller::NVM_NSID, kind }];
    let store = usage(file.store(SyncPolicy::Flush, DaxPolicy::Auto).map_err(Into::into))?;
    let parts = Parts { store: Some(Box::new(store)), ..Parts::default() };
    usage(
        Controller::with_parts(Config { flash, namespaces, ..Config::default() }, parts)
            .map_err(Into::into),
    )
}

/// A host of that drive that uses one namespace; how long it is.
fn open(file: &Path, nsid: u32) -> Result<(Session, u64)> {
    let drive = drive_of(usage(FlashFile::open_existing(file).map_err(Into::into))?)?;
    let found = drive.namespaces().into_iter().find_map(|listed| match listed.kind {
        NamespaceKind::Nvm { bytes, .. } if listed.nsid == nsid => Some(bytes),
        NamespaceKind::Zoned(zoned) if listed.nsid == nsid => Some(space(&zoned)),
        _ => None,
    });
    let known: Vec<String> =
        drive.namespaces().iter().map(|listed| listed.nsid.to_string()).collect();
    let bytes = usage(found.ok_or_else(|| {
        anyhow!("--namespace {nsid}: {} has the namespaces {}", file.display(), known.join(", "))
    }))?;
    let session = usage(simulator::open_namespace(drive, nsid).map_err(Into::into))?;
    Ok((session, bytes))
}

/// Bytes of a command.
const PIECE: u64 = 1 << 20;

/// Copies a namespace to an image; how many bytes were written there.
fn export(with: &WithImage) -> Result<u64> {
    let WithImage { file, image, namespace: nsid, json } = with;
    let (nsid, json) = (*nsid, *json);
    let (mut session, len) = open(file, nsid)?;
    let target = OpenOptions::new().write(true).create_new(true).open(image);
    let target = usage(target.with_context(|| image.display().to_string()))?;
    let copied = (|| {
        target.set_len(len)?;
        let (bar, block) = (progress(json)?, session.block_bytes());
        let mut written = 0;
        for at in (0..len).step_by(PIECE as usize) {
            let count = PIECE.min(len - at);
            show(&bar, at, len);
            if !session.transport.driver.port.drive.is_written(nsid, at, count) {
                continue;
            }
            let piece = session
                .read_blocks(at / block, count / block)
                .with_context(|| format!("{}: bytes {at} to {}", file.display(), at + count))?;
            target.write_all_at(&piece, at)?;
            written += count;
        }
        bar.finish_and_clear();
        target.sync_all()?;
        // Nothing was written; the drive was on, and is switched off in order.
        session.transport.driver.port.shut_down();
        Ok(written)
    })();
    if copied.is_err() {
        let _ = std::fs::remove_file(image);
    }
    copied.map_err(|error: anyhow::Error| error.context(image.display().to_string()))
}

fn is_empty(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Copies an image to a namespace; how many bytes were written there.
fn import(with: &WithImage) -> Result<u64> {
    let WithImage { file, image, namespace: nsid, json } = with;
    let (nsid, json) = (*nsid, *json);
    let source = usage(File::open(image).with_context(|| image.display().to_string()))?;
    let (mut session, room) = open(file, nsid)?;
    let listed = session.transport.driver.port.drive.namespaces();
    let is_zoned = |n: &NamespaceConfig| matches!(n.kind, NamespaceKind::Zoned(_));
    if listed.iter().any(|n| n.nsid == nsid && is_zoned(n)) {
        let text = "--namespace {nsid}: it is zoned, and an image does not say how far zones are written; import it into a namespace of kind nvm";
        return usage(Err(anyhow!(text.replace("{nsid}", &nsid.to_string()))));
    }
    let len = source.metadata()?.len();
    if len > room {
        let text = format!(
            "{}: {} are more than the {} of namespace {nsid}",
            image.display(),
            bytes(len),
            bytes(room)
        );
        return usage(Err(anyhow!(text)));
    }
    let (bar, block) = (progress(json)?, session.block_bytes());
    let (mut source, mut at, mut written) = (source, 0, 0);
    let mut piece = vec![0; PIECE as usize];
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match source.read(&mut piece[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            break;
        }
        // How long a pipe or a device is shows only now.
        if at + filled as u64 > room {
            let text = format!(
                "{}: it is longer than the {} of namespace {nsid}; they were written",
                image.display(),
                bytes(room)
            );
            return Err(anyhow!(text));
        }
        // The last block is filled up with zeroes.
        let count = (filled as u64).next_multiple_of(block).min(room - at);
        piece[filled..].fill(0);
        // What is empty and was never written stays so.
        let blocks: Vec<&[u8]> = piece[..count as usize].chunks(block as usize).collect();
        let mut run = at;
        for blocks in blocks.chunk_by(|a, b| is_empty(a) == is_empty(b)) {
            let len = blocks.len() as u64 * block;
            let drive = &session.transport.driver.port.drive;
            if !is_empty(blocks[0]) || drive.is_written(nsid, run, len) {
                session.write_blocks(run / block, &blocks.concat())?;
                written += len;
            }
            run += len;
        }
        at += count;
        show(&bar, at, len);
        if filled < piece.len() {
            break;
        }
    }
    session.flush()?;
    session.transport.driver.port.shut_down();
    bar.finish_and_clear();
    Ok(written)
}
