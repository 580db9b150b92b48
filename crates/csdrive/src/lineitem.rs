//! TPC-H lineitem in fixed-width columns on the NVM namespace (`docs/tpch-layout.md`).
//!
//! Columns lie one after the other, each from a 4 KiB boundary on, values little endian, in row
//! order. Money and discounts are hundredths, dates days since 1970-01-01. The comment column is
//! left out: it is random text that no predicate of TPC-H's scans uses.

use tpchgen::distribution::Distributions;
use tpchgen::generators::{LineItem, LineItemGenerator};
use tpchgen::text::TextPool;

/// A column: its name and the bytes of a value.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) width: usize,
    put: fn(&LineItem<'_>, &mut Vec<u8>),
}

macro_rules! column {
    ($name:ident, $width:literal, |$l:ident| $value:expr) => {
        Column {
            name: stringify!($name),
            width: $width,
            put: |$l, out| out.extend_from_slice(&$value),
        }
    };
}

/// Text of at most N bytes, padded with spaces.
fn text<const N: usize>(value: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let len = value.len().min(N);
    field[..len].copy_from_slice(&value.as_bytes()[..len]);
    field
}

/// All columns in the order in which they are stored.
pub(crate) static COLUMNS: &[Column] = &[
    column!(l_orderkey, 8, |l| l.l_orderkey.to_le_bytes()),
    column!(l_partkey, 8, |l| l.l_partkey.to_le_bytes()),
    column!(l_suppkey, 8, |l| l.l_suppkey.to_le_bytes()),
    column!(l_linenumber, 4, |l| l.l_linenumber.to_le_bytes()),
    column!(l_quantity, 8, |l| l.l_quantity.to_le_bytes()),
    column!(l_extendedprice, 8, |l| l.l_extendedprice.0.to_le_bytes()),
    column!(l_discount, 8, |l| l.l_discount.0.to_le_bytes()),
    column!(l_tax, 8, |l| l.l_tax.0.to_le_bytes()),
    column!(l_returnflag, 1, |l| text::<1>(l.l_returnflag)),
    column!(l_linestatus, 1, |l| text::<1>(l.l_linestatus)),
    column!(l_shipdate, 4, |l| l.l_shipdate.to_unix_epoch().to_le_bytes()),
    column!(l_commitdate, 4, |l| l.l_commitdate.to_unix_epoch().to_le_bytes()),
    column!(l_receiptdate, 4, |l| l.l_receiptdate.to_unix_epoch().to_le_bytes()),
    column!(l_shipinstruct, 25, |l| text::<25>(l.l_shipinstruct)),
    column!(l_shipmode, 10, |l| text::<10>(l.l_shipmode)),
];

/// The table, column by column.
pub(crate) struct Table {
    pub(crate) rows: u64,
    /// Contents of each of [`COLUMNS`].
    pub(crate) columns: Vec<Vec<u8>>,
}

/// Rows expected at a scale, for progress.
pub(crate) fn expected_rows(scale: f64) -> u64 {
    (6_001_215.0 * scale) as u64
}

/// Generates the table; `progress` is told the number of rows every now and then.
pub(crate) fn generate(scale: f64, mut progress: impl FnMut(u64)) -> Table {
    let distributions = Distributions::static_default();
    // Only the comments draw from the text pool, and they are not kept: a small one will do.
    let pool = TextPool::new(1 << 16, distributions);
    let generator =
        LineItemGenerator::new_with_distributions_and_text_pool(scale, 1, 1, distributions, &pool);
    let expected = expected_rows(scale) as usize + 64;
    let mut columns: Vec<Vec<u8>> =
        COLUMNS.iter().map(|c| Vec::with_capacity(c.width * expected)).collect();
    let mut rows = 0;
    for line in generator.iter() {
        for (column, out) in COLUMNS.iter().zip(&mut columns) {
            (column.put)(&line, out);
        }
        rows += 1;
        if rows % 65_536 == 0 {
            progress(rows);
        }
    }
    Table { rows, columns }
}

/// Position of a column.
pub(crate) fn column(name: &str) -> usize {
    let found = COLUMNS.iter().position(|c| c.name == name);
    found.expect("columns are named as in the table above")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first row of lineitem at scale 1, from the TPC-H specification's sample answer data:
    /// `1|155190|7706|1|17|21168.23|0.04|0.02|N|O|1996-03-13|1996-02-12|1996-03-22|DELIVER IN
    /// PERSON|TRUCK|...`. Keys depend on the scale, the rest does not.
    #[test]
    fn first_row_is_the_one_dbgen_writes() {
        let table = generate(0.001, |_| {});
        let value = |name: &str| {
            let n = column(name);
            table.columns[n][..COLUMNS[n].width].to_vec()
        };
        assert_eq!(table.rows, 6005);
        assert_eq!(value("l_orderkey"), 1i64.to_le_bytes());
        assert_eq!(value("l_quantity"), 17i64.to_le_bytes());
        assert_eq!(value("l_discount"), 4i64.to_le_bytes());
        assert_eq!(value("l_tax"), 2i64.to_le_bytes());
        assert_eq!(value("l_shipdate"), 9568i32.to_le_bytes()); // 1996-03-13
        assert_eq!(value("l_shipinstruct"), b"DELIVER IN PERSON        ");
        assert_eq!(value("l_shipmode"), b"TRUCK     ");
        for (column, bytes) in COLUMNS.iter().zip(&table.columns) {
            assert_eq!(bytes.len() as u64, table.rows * column.width as u64, "{}", column.name);
        }
    }
}
