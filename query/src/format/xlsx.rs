//! An answer as a workbook for spreadsheets.
//!
//! Numbers, truths, days and times are cells of their kind; everything else is text, and text that begins like a formula is marked as what
//! a person wrote with a `'` before it, so it stays text when it is edited. Spreadsheets count with 15 digits: whole numbers that have more,
//! such as ids, are text; amounts are rounded.
//!
//! Invariant: a workbook can only be written when all rows are there, so its cells are bounded, and their memory is taken of the queries'
//! pool.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Date32Type, Field, Schema, TimeUnit, TimestampMicrosecondType},
};
use datafusion::execution::memory_pool::MemoryReservation;
use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use super::{cells, is_formula};
use crate::{Error, ErrorKind, Result};

/// Cells of a workbook: some 200 MB while it is made, and more than anybody scrolls through.
const CELLS_MAX: usize = 1_000_000;
/// Bytes that a cell takes while a workbook is made, and what is written of it, about; texts come on top.
const CELL_BYTES: usize = 160;
/// Digits that a spreadsheet keeps of a number.
const DIGITS: usize = 15;
/// Days from 1899-12-30, from which spreadsheets count, to 1970.
const EPOCH_DAYS: f64 = 25_569.0;
/// The first day that all spreadsheets agree on: 1900-03-01.
const FIRST_DAY: f64 = 61.0;
const DAY_US: f64 = 86_400e6;

/// A workbook that is being made.
pub(super) struct Sheet {
    workbook: Workbook,
    formats: Formats,
    rows: u32,
    cells: usize,
    memory: Option<MemoryReservation>,
}

struct Formats {
    text: Format,
    day: Format,
    time: Format,
}

/// How the cells of a column are written.
#[derive(Clone, Copy)]
enum Kind {
    Whole,
    Number,
    Truth,
    Day,
    Time,
    Text,
}

impl Sheet {
    pub(super) fn begin(schema: &Schema) -> Result<Self> {
        let formats = Formats {
            text: Format::new().set_quote_prefix(),
            day: Format::new().set_num_format("yyyy-mm-dd"),
            time: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
        };
        let mut workbook = Workbook::new();
        let sheet = workbook.add_worksheet();
        let bold = Format::new().set_bold();
        let heads = schema.fields().iter().map(|field| field.name());
        for (column, name) in (0..).zip(heads) {
            let format = if is_formula(name.as_bytes()) { bold.clone().set_quote_prefix() } else { bold.clone() };
            sheet.write_string_with_format(0, column, name, &format).map_err(refused)?;
        }
        sheet.set_freeze_panes(1, 0).map_err(refused)?;
        Ok(Self { workbook, formats, rows: 1, cells: 0, memory: None })
    }

    /// Takes the memory of further cells of `memory`.
    pub(super) fn bounded_by(&mut self, memory: MemoryReservation) {
        self.memory = Some(memory);
    }

    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = batch.num_rows() * batch.num_columns().max(1);
        self.cells += cells;
        if self.cells > CELLS_MAX {
            let message = "answer is too large for a spreadsheet; ask for csv or parquet, or for less";
            return Err(Error::new(ErrorKind::Execution, format!("{message} cells_max={CELLS_MAX}")));
        }
        if let Some(memory) = &self.memory {
            memory.try_grow(cells * CELL_BYTES + batch.get_array_memory_size())?;
        }
        let sheet = self.workbook.worksheet_from_index(0).map_err(refused)?;
        for (column, (field, array)) in (0..).zip(batch.schema().fields().iter().zip(batch.columns())) {
            let kind = kind(field);
            let one = RecordBatch::try_from_iter([("x", array.clone())])?;
            let written = cells_of(&one)?;
            for row in (0..batch.num_rows()).filter(|row| array.is_valid(*row)) {
                let at = self.rows + u32::try_from(row).unwrap_or(u32::MAX);
                write(sheet, (at, column), (kind, array.as_ref(), row), &written[row], &self.formats)?;
            }
        }
        self.rows += u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.workbook.save_to_buffer().map_err(refused)
    }
}

/// The texts of a column.
fn cells_of(batch: &RecordBatch) -> Result<Vec<String>> {
    let cells = cells(batch, super::Style::Plain)?;
    let text = |row| {
        let mut out = Vec::new();
        cells.iter().for_each(|cell| cell(row, &mut out));
        String::from_utf8_lossy(&out).into_owned()
    };
    Ok((0..batch.num_rows()).map(text).collect())
}

fn kind(field: &Field) -> Kind {
    match field.data_type() {
        data_type if data_type.is_integer() => Kind::Whole,
        data_type if data_type.is_numeric() => Kind::Number,
        DataType::Boolean => Kind::Truth,
        DataType::Date32 => Kind::Day,
        DataType::Timestamp(TimeUnit::Microsecond, _) => Kind::Time,
        _ => Kind::Text,
    }
}

fn write(
    sheet: &mut Worksheet,
    (at, column): (u32, u16),
    (kind, array, row): (Kind, &dyn Array, usize),
    written: &str,
    formats: &Formats,
) -> Result<()> {
    let dated = |sheet: &mut Worksheet, days: f64, format: &Format| match days >= FIRST_DAY {
        true => sheet.write_number_with_format(at, column, days, format).map(|_| ()),
        false => sheet.write_string(at, column, written).map(|_| ()),
    };
    let done = match kind {
        Kind::Day => dated(sheet, f64::from(array.as_primitive::<Date32Type>().value(row)) + EPOCH_DAYS, &formats.day),
        Kind::Time => {
            // Spreadsheets have no microseconds.
            let us = array.as_primitive::<TimestampMicrosecondType>().value(row) as f64;
            dated(sheet, us / DAY_US + EPOCH_DAYS, &formats.time)
        }
        Kind::Truth => sheet.write_boolean(at, column, array.as_boolean().value(row)).map(|_| ()),
        Kind::Whole | Kind::Number => match number(kind, written) {
            Some(number) => sheet.write_number(at, column, number).map(|_| ()),
            None => sheet.write_string(at, column, written).map(|_| ()),
        },
        Kind::Text if is_formula(written.as_bytes()) => {
            sheet.write_string_with_format(at, column, written, &formats.text).map(|_| ())
        }
        Kind::Text => sheet.write_string(at, column, written).map(|_| ()),
    };
    done.map_err(refused)
}

/// A number that a spreadsheet can hold.
fn number(kind: Kind, written: &str) -> Option<f64> {
    let digits = written.bytes().filter(u8::is_ascii_digit).count();
    if matches!(kind, Kind::Whole) && digits > DIGITS {
        return None;
    }
    written.parse().ok().filter(|number: &f64| number.is_finite())
}

fn refused(error: XlsxError) -> Error {
    Error::new(
        ErrorKind::Execution,
        format!("answer cannot be written for a spreadsheet, ask for csv or parquet: {error}"),
    )
}
