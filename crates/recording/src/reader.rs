//! The reader of a recording. Nothing in it is believed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use records::{Column, Kind, Records};

use crate::checksum::Checksum;
use crate::file::open_regular;
use crate::table::{DRIVE, KIND_KEY, VERSION_KEY, schema};
use crate::{Error, FORMAT_VERSION, Provenance, RECORD};

/// Records that are read together.
const BATCH: usize = 1 << 16;

/// Drives of one recording.
const DRIVES_MAX: usize = 256;

/// Longer documents are none.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// A recorded run.
#[derive(Clone, Debug)]
pub struct Recording {
    folder: PathBuf,
    provenance: Provenance,
}

impl Recording {
    /// Opens a recording: its folder, or the `record.json` in it.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let folder = match path.file_name().is_some_and(|name| name == RECORD) {
            true => path.parent().unwrap_or(Path::new("")),
            false => path,
        };
        let document = folder.join(RECORD);
        let failed = |cause: io::Error| Error::File { path: document.clone(), cause };
        let wrong = |reason: String| Error::NotSound { path: document.clone(), reason };
        if !document.exists() {
            let reason = "no record.json: the folder is no recorded run (--record makes one), or the run was not finished";
            return Err(Error::NotSound { path: folder.to_owned(), reason: reason.to_owned() });
        }
        let mut text = String::new();
        let file = open_regular(&document)?;
        file.take(RECORD_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > RECORD_BYTES_MAX {
            return Err(wrong("too long to be what a run leaves".to_owned()));
        }
        let provenance: Provenance =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let Provenance { format_version, records_version, .. } = provenance;
        if (format_version, records_version) != (FORMAT_VERSION, records::VERSION) {
            return Err(wrong(format!(
                "format {format_version} with records of version {records_version}; this csdrive reads {FORMAT_VERSION} with {}: use the one that made it",
                records::VERSION
            )));
        }
        if provenance.drives.len() > DRIVES_MAX {
            return Err(wrong(format!("more than {DRIVES_MAX} drives")));
        }
        Ok(Self { folder: folder.to_owned(), provenance })
    }

    /// What was run.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Hands out all records, in pieces: with the number of the drive, of each kind and drive in the order in which they were made.
    ///
    /// # Errors
    /// If a file cannot be read or is not sound. What was handed out before is.
    pub fn read(&self, each: &mut dyn FnMut(usize, &Records)) -> Result<(), Error> {
        Kind::ALL.into_iter().try_for_each(|kind| self.read_kind(kind, each))
    }

    /// The same for one kind.
    ///
    /// # Errors
    /// If its file cannot be read or is not sound.
    pub fn read_kind(
        &self,
        kind: Kind,
        each: &mut dyn FnMut(usize, &Records),
    ) -> Result<(), Error> {
        let path = self.folder.join(format!("{}.parquet", kind.name()));
        let file = open_regular(&path)?;
        let wrong = |reason: String| Error::NotSound { path: path.clone(), reason };
        let damaged = |error: ParquetError| wrong(format!("not a sound Parquet file: {error}"));
        let sum = Checksum::of(&file).map_err(|cause| Error::File { path: path.clone(), cause })?;
        if self.provenance.checksums.get(kind.name()) != Some(&sum.0) {
            let reason =
                "it was changed or damaged since the run: its checksum is not that in record.json";
            return Err(wrong(reason.to_owned()));
        }
        let reader = careful(|| SerializedFileReader::new(file).map_err(damaged))
            .unwrap_or_else(|reason| Err(wrong(reason)))?;
        let about = reader.metadata().file_metadata();
        let says = |key: &str| {
            let all = about.key_value_metadata()?;
            all.iter().find(|pair| pair.key == key)?.value.clone()
        };
        let expected = (Some(records::VERSION.to_string()), Some(kind.name().to_owned()));
        if (says(VERSION_KEY), says(KIND_KEY)) != expected {
            return Err(wrong(format!("no {} of this version of csdrive", kind.name())));
        }
        let columns = kind.layout().columns();
        if schema(kind).map_err(damaged)?.get_fields() != about.schema().get_fields() {
            return Err(wrong(format!(
                "its columns are not those of {}: the first is {DRIVE}",
                kind.name()
            )));
        }
        for number in 0..reader.num_row_groups() {
            let open = || Group::new(&*reader.get_row_group(number)?, &columns);
            let mut group = careful(open).map_err(wrong)?.map_err(damaged)?;
            let drives = self.provenance.drives.len();
            while careful(|| group.next(kind, drives)).flatten().map_err(wrong)? {
                for (drive, records) in &group.records {
                    each(*drive, records);
                }
            }
        }
        Ok(())
    }
}

/// Does something with the Parquet library, which panics at some files that are not sound. (Those that were damaged by accident are
/// found by their checksums before.)
fn careful<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    let done = catch_unwind(AssertUnwindSafe(act));
    done.map_err(|_| "not a sound Parquet file: its reader gave up".to_owned())
}

/// A part of a table that is being read.
struct Group<'a> {
    columns: &'a [Column],
    drive: ColumnReader,
    readers: Vec<ColumnReader>,
    /// By drive.
    records: BTreeMap<usize, Records>,
}

impl<'a> Group<'a> {
    fn new(group: &dyn RowGroupReader, columns: &'a [Column]) -> Result<Self, ParquetError> {
        let readers = (1..=columns.len()).map(|n| group.get_column_reader(n));
        Ok(Self {
            columns,
            drive: group.get_column_reader(0)?,
            readers: readers.collect::<Result<_, _>>()?,
            records: BTreeMap::new(),
        })
    }

    /// Reads the next records; false if there are none.
    fn next(&mut self, kind: Kind, drives: usize) -> Result<bool, String> {
        let numbers = values(&mut self.drive)?;
        let size = kind.layout().bytes;
        let mut bytes = vec![0; numbers.len() * size];
        for (column, reader) in self.columns.iter().zip(&mut self.readers) {
            let values = values(reader)?;
            if values.len() != numbers.len() {
                return Err(format!("{}: not as long as other columns", column.name));
            }
            for (record, value) in bytes.chunks_exact_mut(size).zip(values) {
                if !column.set(record, value) {
                    return Err(format!("{}: {value} is too large for it", column.name));
                }
            }
        }
        self.records.clear();
        for (record, number) in bytes.chunks_exact(size).zip(&numbers) {
            let drive = usize::try_from(*number).ok().filter(|drive| *drive < drives);
            let drive = drive.ok_or_else(|| format!("drive {number}: the run has {drives}"))?;
            self.records.entry(drive).or_default().extend_from_bytes(kind, record);
        }
        Ok(!numbers.is_empty())
    }
}

/// The next values of a column.
fn values(reader: &mut ColumnReader) -> Result<Vec<u64>, String> {
    let wrong = |error: ParquetError| format!("not a sound Parquet file: {error}");
    match reader {
        ColumnReader::Int32ColumnReader(reader) => {
            let mut values = Vec::new();
            reader.read_records(BATCH, None, None, &mut values).map_err(wrong)?;
            Ok(values.into_iter().map(|value| value.cast_unsigned().into()).collect())
        }
        ColumnReader::Int64ColumnReader(reader) => {
            let mut values = Vec::new();
            reader.read_records(BATCH, None, None, &mut values).map_err(wrong)?;
            Ok(values.into_iter().map(i64::cast_unsigned).collect())
        }
        _ => Err("a column of another type".to_owned()),
    }
}
