//! The Parquet table of a kind of record.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::errors::Result;
use parquet::schema::types::Type;
use records::Kind;

/// The column that says which drive a record is of.
pub(crate) const DRIVE: &str = "drive";

/// Keys in a file's metadata.
pub(crate) const VERSION_KEY: &str = "csdrive.records_version";
pub(crate) const KIND_KEY: &str = "csdrive.kind";

/// A column of records: where in a record its value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

impl Column {
    /// Values of 64 bits have a type of their own; all others are stored in 32.
    pub(crate) fn is_wide(&self) -> bool {
        self.bytes == 8
    }

    /// Its value in a record.
    pub(crate) fn get(&self, record: &[u8]) -> u64 {
        let mut value = [0; 8];
        value[..self.bytes].copy_from_slice(&record[self.offset..self.offset + self.bytes]);
        u64::from_le_bytes(value)
    }

    /// Puts its value into a record; false if it is too large.
    pub(crate) fn set(&self, record: &mut [u8], value: u64) -> bool {
        let bytes = value.to_le_bytes();
        record[self.offset..self.offset + self.bytes].copy_from_slice(&bytes[..self.bytes]);
        bytes[self.bytes..].iter().all(|byte| *byte == 0)
    }
}

/// The columns of a kind, without that of the drive.
pub(crate) fn columns(kind: Kind) -> Vec<Column> {
    let fields = kind.layout().fields.iter();
    let of_field = |field: &'static records::Field| {
        let names = field.columns().into_iter().enumerate();
        names.map(|(n, name)| {
            let offset = field.offset + n * field.element_bytes;
            Column { name, offset, bytes: field.element_bytes }
        })
    };
    fields.flat_map(of_field).collect()
}

/// The schema of a kind's table.
pub(crate) fn schema(kind: Kind) -> Result<Arc<Type>> {
    let unsigned = |name: &str, bytes: usize| {
        let physical = if bytes == 8 { Physical::INT64 } else { Physical::INT32 };
        let logical = LogicalType::integer(8 * bytes as i8, false);
        let column = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(logical));
        column.build().map(Arc::new)
    };
    let drive = std::iter::once(unsigned(DRIVE, 4));
    let columns = columns(kind);
    let all = drive.chain(columns.iter().map(|column| unsigned(&column.name, column.bytes)));
    let fields = all.collect::<Result<Vec<_>>>()?;
    Type::group_type_builder(kind.name()).with_fields(fields).build().map(Arc::new)
}
