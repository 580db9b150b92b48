//! The Parquet table of a kind of record.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::errors::Result;
use parquet::schema::types::Type;
use records::{Column, Kind};

/// The column that says which drive a record is of.
pub(crate) const DRIVE: &str = "drive";

/// Keys in a file's metadata.
pub(crate) const VERSION_KEY: &str = "csdrive.records_version";
pub(crate) const KIND_KEY: &str = "csdrive.kind";

/// Values of 64 bits have a type of their own; all others are stored in 32.
pub(crate) fn is_wide(column: &Column) -> bool {
    column.bytes == 8
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
    let columns = kind.layout().columns();
    let all = drive.chain(columns.iter().map(|column| unsigned(&column.name, column.bytes)));
    let fields = all.collect::<Result<Vec<_>>>()?;
    Type::group_type_builder(kind.name()).with_fields(fields).build().map(Arc::new)
}
