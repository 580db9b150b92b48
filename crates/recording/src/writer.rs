//! The writer of a recording.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use records::{Column, Kind, Records};

use crate::checksum::Checksum;
use crate::table::{KIND_KEY, VERSION_KEY, is_wide, schema};
use crate::{Error, FORMAT_VERSION, Provenance, RECORD};

/// Records that are written together.
const GROUP: usize = 1 << 16;

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    tables: Vec<Table>,
}

impl Recorder {
    /// Begins a recording in a folder, which is made. One that is there must be empty.
    ///
    /// # Errors
    /// If something is in it, or it cannot be written.
    pub fn create(folder: &Path) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::File { path: folder.to_owned(), cause };
        fs::create_dir_all(folder).map_err(failed)?;
        if fs::read_dir(folder).map_err(failed)?.next().is_some() {
            let reason = "the folder is not empty: name a new one, or remove what is in it";
            return Err(Error::NotSound { path: folder.to_owned(), reason: reason.to_owned() });
        }
        let tables = Kind::ALL.into_iter().map(|kind| Table::create(folder, kind));
        Ok(Self { folder: folder.to_owned(), tables: tables.collect::<Result<_, _>>()? })
    }

    /// Adds records of a drive.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn put(&mut self, drive: u32, records: &Records) -> Result<(), Error> {
        for table in &mut self.tables {
            table.put(drive, records)?;
        }
        Ok(())
    }

    /// Ends the recording: what is put into it later is lost. How many records there are is filled in, and which versions wrote them.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&mut self, mut provenance: Provenance) -> Result<(), Error> {
        provenance.format_version = FORMAT_VERSION;
        provenance.records_version = records::VERSION;
        for table in self.tables.drain(..) {
            let name = table.kind.name().to_owned();
            let (count, sum) = table.close()?;
            provenance.records.insert(name.clone(), count.into());
            provenance.checksums.insert(name, sum.0);
        }
        let path = self.folder.join(RECORD);
        let failed = |cause: io::Error| Error::File { path: path.clone(), cause };
        let text = serde_json::to_string_pretty(&provenance).map_err(io::Error::from);
        let scratch = self.folder.join(".record.json");
        let text = text.map_err(failed)? + "\n";
        fs::write(&scratch, text).map_err(failed)?;
        fs::rename(&scratch, &path).map_err(failed)
    }
}

/// The file of a kind.
struct Table {
    kind: Kind,
    path: PathBuf,
    columns: Vec<Column>,
    writer: SerializedFileWriter<File>,
    /// What is not in the file yet: records, and the drive of each.
    bytes: Vec<u8>,
    drives: Vec<i32>,
    written: u64,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Table {
    fn create(folder: &Path, kind: Kind) -> Result<Self, Error> {
        let path = folder.join(format!("{}.parquet", kind.name()));
        let file =
            File::create(&path).map_err(|cause| Error::File { path: path.clone(), cause })?;
        let of_file = vec![
            KeyValue::new(VERSION_KEY.to_owned(), records::VERSION.to_string()),
            KeyValue::new(KIND_KEY.to_owned(), kind.name().to_owned()),
        ];
        // Times and identifiers are all different, and each is close to the one before.
        let mut properties = WriterProperties::builder();
        for column in kind.layout().columns().into_iter().filter(is_wide) {
            let path = ColumnPath::from(column.name);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        let properties = properties
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("csdrive {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(of_file))
            .build();
        let made = schema(kind)
            .and_then(|schema| SerializedFileWriter::new(file, schema, Arc::new(properties)));
        let writer = made.map_err(|error| failed(&path, error))?;
        let (bytes, drives) = (Vec::new(), Vec::new());
        Ok(Self { kind, path, columns: kind.layout().columns(), writer, bytes, drives, written: 0 })
    }

    fn put(&mut self, drive: u32, records: &Records) -> Result<(), Error> {
        let size = self.kind.layout().bytes;
        for part in records.bytes(self.kind).chunks(GROUP * size) {
            self.bytes.extend_from_slice(part);
            self.drives.resize(self.bytes.len() / size, drive as i32);
            if self.drives.len() >= GROUP {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let written = self.write();
        written.map_err(|error| failed(&self.path, error))?;
        self.written += self.drives.len() as u64;
        self.bytes.clear();
        self.drives.clear();
        Ok(())
    }

    fn write(&mut self) -> Result<(), ParquetError> {
        let size = self.kind.layout().bytes;
        let mut group = self.writer.next_row_group()?;
        if let Some(mut column) = group.next_column()? {
            column.typed::<Int32Type>().write_batch(&self.drives, None, None)?;
            column.close()?;
        }
        for of in &self.columns {
            let Some(mut column) = group.next_column()? else { break };
            let values = self.bytes.chunks_exact(size).map(|record| of.get(record));
            // Unsigned values have the bits of the signed type that they are stored as.
            if is_wide(of) {
                let values: Vec<i64> = values.map(u64::cast_signed).collect();
                column.typed::<Int64Type>().write_batch(&values, None, None)?;
            } else {
                let values: Vec<i32> = values.map(|value| (value as u32).cast_signed()).collect();
                column.typed::<Int32Type>().write_batch(&values, None, None)?;
            }
            column.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Ends the file; how many records it has, and its checksum.
    fn close(mut self) -> Result<(u64, Checksum), Error> {
        if !self.drives.is_empty() {
            self.flush()?;
        }
        self.writer.close().map_err(|error| failed(&self.path, error))?;
        let sum = File::open(&self.path).and_then(|file| Checksum::of(&file));
        let sum = sum.map_err(|cause| Error::File { path: self.path, cause })?;
        Ok((self.written, sum))
    }
}

fn failed(path: &Path, error: ParquetError) -> Error {
    Error::File { path: path.to_owned(), cause: io::Error::other(error) }
}
