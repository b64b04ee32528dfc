//! Reads a bill from a text and shows its rows as texts; for tests.

use std::io::Cursor;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Decimal128Type, TimestampMicrosecondType, i256},
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::{Options, Reader, Report, decimal};

/// A bill that was read.
pub(crate) struct Read {
    pub text: String,
    pub batches: Vec<RecordBatch>,
    pub report: Report,
}

/// Reads a Parquet file that can be read.
pub(crate) fn read_parquet(bytes: bytes::Bytes) -> Read {
    let options = Options { scope: "test".to_owned(), file: "test.parquet".to_owned(), ..Options::default() };
    let mut reader = Reader::open_parquet(bytes, options).unwrap();
    let batches = reader.by_ref().collect::<Result<_, _>>().unwrap();
    Read { text: String::new(), batches, report: reader.report() }
}

/// Reads a bill that can be read.
pub(crate) fn read(text: &str, set: impl FnOnce(&mut Options)) -> Read {
    let mut options = Options { scope: "test".to_owned(), file: "test.csv".to_owned(), ..Options::default() };
    set(&mut options);
    let mut reader = Reader::open(Cursor::new(text.to_owned()), options).unwrap();
    let batches = reader.by_ref().collect::<Result<_, _>>().unwrap();
    Read { text: text.to_owned(), batches, report: reader.report() }
}

impl Read {
    /// Columns of each row, with `|` between.
    pub(crate) fn rows(&self, columns: &[&str]) -> Vec<String> {
        let row =
            |batch: &RecordBatch, row| columns.iter().map(|name| cell(batch, name, row)).collect::<Vec<_>>().join("|");
        self.batches
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>())
            .collect()
    }

    /// Sums of a currency over all categories.
    pub(crate) fn sums(&self, currency: &str) -> String {
        let (mut delivered, mut billed, mut effective) = (i256::ZERO, i256::ZERO, i256::ZERO);
        for ((of, _), totals) in &self.report.totals {
            if of == currency {
                (delivered, billed, effective) =
                    (delivered + totals.delivered, billed + totals.billed, effective + totals.effective);
            }
        }
        let text = |sum| decimal::text(sum, decimal::MONEY_SCALE);
        format!("delivered {} billed {} effective {}", text(delivered), text(billed), text(effective))
    }
}

fn cell(batch: &RecordBatch, name: &str, row: usize) -> String {
    let column = batch.column_by_name(name).unwrap();
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Decimal128(_, scale) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            decimal::text(i256::from_i128(value), u32::try_from(*scale).unwrap())
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            let pairs = keys.iter().zip(values).map(|(key, value)| format!("{}={}", key.unwrap(), value.unwrap()));
            pairs.collect::<Vec<_>>().join(" ")
        }
        DataType::Timestamp(..) => {
            let us = column.as_primitive::<TimestampMicrosecondType>().value(row);
            chrono::DateTime::from_timestamp_micros(us).unwrap().format("%FT%TZ").to_string()
        }
        _ => ArrayFormatter::try_new(column, &FormatOptions::new()).unwrap().value(row).to_string(),
    }
}
