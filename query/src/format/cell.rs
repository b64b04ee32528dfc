//! Writes single values of a column.
//!
//! Called by `format`, once per column and batch: the type is looked at once, then a closure writes any row.

use std::io::Write as _;

use arrow::{
    array::{Array, ArrowPrimitiveType, AsArray, OffsetSizeTrait},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use chrono::{DateTime, SecondsFormat};

use crate::Result;

/// Writes the value of a row.
pub type Cell<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As JSON.
    Json,
    /// As text, without quotes; null is nothing; what is inside lists and maps is JSON.
    Plain,
}

impl Style {
    /// Writes what is a string in JSON.
    fn text(self, out: &mut Vec<u8>, text: &str) {
        match self {
            Self::Json => quoted(out, text),
            Self::Plain => out.extend_from_slice(text.as_bytes()),
        }
    }
}

/// Writes a JSON string.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) {
    // Writing to a vector does not fail, and a string is always valid JSON.
    let _ = serde_json::to_writer(out, text);
}

/// A closure that writes rows of `array`.
pub(super) fn cell(array: &dyn Array, style: Style) -> Result<Cell<'_>> {
    let write = value(array, style)?;
    let nulls = array.logical_nulls();
    Ok(Box::new(move |row, out| match &nulls {
        Some(nulls) if nulls.is_null(row) => {
            if style == Style::Json {
                out.extend_from_slice(b"null");
            }
        }
        _ => write(row, out),
    }))
}

#[allow(clippy::too_many_lines, reason = "an arm per type")]
fn value(array: &dyn Array, style: Style) -> Result<Cell<'_>> {
    Ok(match array.data_type() {
        DataType::Int8 => number::<Int8Type>(array),
        DataType::Int16 => number::<Int16Type>(array),
        DataType::Int32 => number::<Int32Type>(array),
        DataType::Int64 => number::<Int64Type>(array),
        DataType::UInt8 => number::<UInt8Type>(array),
        DataType::UInt16 => number::<UInt16Type>(array),
        DataType::UInt32 => number::<UInt32Type>(array),
        DataType::UInt64 => number::<UInt64Type>(array),
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Box::new(move |row, out| match array.value(row) {
                v if v.is_finite() => json(out, &v),
                v => style.text(out, special(f64::from(v))),
            })
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Box::new(move |row, out| match array.value(row) {
                v if v.is_finite() => json(out, &v),
                v => style.text(out, special(v)),
            })
        }
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(move |row, out| out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }))
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Box::new(move |row, out| style.text(out, array.value(row)))
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            Box::new(move |row, out| style.text(out, array.value(row)))
        }
        DataType::Utf8View => {
            let array = array.as_string_view();
            Box::new(move |row, out| style.text(out, array.value(row)))
        }
        DataType::Timestamp(unit, _) => timestamp(array, *unit, style),
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Box::new(move |row, out| match array.value_as_date(row) {
                Some(date) => style.text(out, &date.to_string()),
                None => style.text(out, &array.value(row).to_string()),
            })
        }
        DataType::Decimal128(..) => {
            let array = array.as_primitive::<Decimal128Type>();
            Box::new(move |row, out| style.text(out, &array.value_as_string(row)))
        }
        DataType::Decimal256(..) => {
            let array = array.as_primitive::<Decimal256Type>();
            Box::new(move |row, out| style.text(out, &array.value_as_string(row)))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Box::new(move |row, out| hex(style, out, array.value(row)))
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            Box::new(move |row, out| hex(style, out, array.value(row)))
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            Box::new(move |row, out| hex(style, out, array.value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            Box::new(move |row, out| hex(style, out, array.value(row)))
        }
        _ => return nested(array, style),
    })
}

fn nested(array: &dyn Array, style: Style) -> Result<Cell<'_>> {
    Ok(match array.data_type() {
        DataType::List(_) => list::<i32>(array)?,
        DataType::LargeList(_) => list::<i64>(array)?,
        DataType::FixedSizeList(_, _) => {
            let array = array.as_fixed_size_list();
            let item = cell(array.values().as_ref(), Style::Json)?;
            let length = usize::try_from(array.value_length()).unwrap_or(0);
            Box::new(move |row, out| items(&item, row * length..(row + 1) * length, out))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().map(|c| cell(c.as_ref(), Style::Json));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Box::new(move |row, out| {
                out.push(b'{');
                for (i, (field, column)) in fields.iter().zip(&columns).enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    quoted(out, field.name());
                    out.push(b':');
                    column(row, out);
                }
                out.push(b'}');
            })
        }
        DataType::Map(..) => {
            let array = array.as_map();
            let key = cell(array.keys().as_ref(), Style::Plain)?;
            let value = cell(array.values().as_ref(), Style::Json)?;
            let offsets = array.value_offsets();
            Box::new(move |row, out| {
                out.push(b'{');
                let mut name = Vec::new();
                for (i, entry) in range(offsets, row).enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    name.clear();
                    key(entry, &mut name);
                    quoted(out, &String::from_utf8_lossy(&name));
                    out.push(b':');
                    value(entry, out);
                }
                out.push(b'}');
            })
        }
        DataType::Dictionary(_, _) => {
            let array = array.as_any_dictionary();
            let value = cell(array.values().as_ref(), style)?;
            let keys = array.normalized_keys();
            Box::new(move |row, out| value(keys[row], out))
        }
        _ => {
            let shown = ArrayFormatter::try_new(array, &FormatOptions::default())?;
            Box::new(move |row, out| style.text(out, &shown.value(row).to_string()))
        }
    })
}

fn number<T: ArrowPrimitiveType<Native: serde::Serialize>>(array: &dyn Array) -> Cell<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |row, out| json(out, &array.value(row)))
}

fn json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Writing a finite number to a vector does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// Prometheus' names of what is no finite number.
fn special(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

fn timestamp(array: &dyn Array, unit: TimeUnit, style: Style) -> Cell<'_> {
    match unit {
        TimeUnit::Second => time::<TimestampSecondType>(array, style, |v| (v, 0)),
        TimeUnit::Millisecond => time::<TimestampMillisecondType>(array, style, |v| split(v, 1_000)),
        TimeUnit::Microsecond => time::<TimestampMicrosecondType>(array, style, |v| split(v, 1_000_000)),
        TimeUnit::Nanosecond => time::<TimestampNanosecondType>(array, style, |v| split(v, 1_000_000_000)),
    }
}

/// Seconds and nanoseconds of a value that counts `per_second`.
fn split(value: i64, per_second: i64) -> (i64, u32) {
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    (value.div_euclid(per_second), u32::try_from(nanos).unwrap_or(0))
}

fn time<T: ArrowPrimitiveType<Native = i64>>(
    array: &dyn Array,
    style: Style,
    split: fn(i64) -> (i64, u32),
) -> Cell<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |row, out| {
        let (seconds, nanos) = split(array.value(row));
        // As many digits as the value has, by threes: samples have milliseconds.
        let digits = match nanos {
            n if n % 1_000_000 == 0 => SecondsFormat::Millis,
            n if n % 1_000 == 0 => SecondsFormat::Micros,
            _ => SecondsFormat::Nanos,
        };
        match DateTime::from_timestamp(seconds, nanos) {
            Some(time) => style.text(out, &time.to_rfc3339_opts(digits, true)),
            // Beyond the years chrono knows.
            None => style.text(out, &array.value(row).to_string()),
        }
    })
}

fn hex(style: Style, out: &mut Vec<u8>, bytes: &[u8]) {
    let quote: &[u8] = if style == Style::Json { b"\"" } else { b"" };
    out.extend_from_slice(quote);
    for byte in bytes {
        // Writing to a vector does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    out.extend_from_slice(quote);
}

fn list<O: OffsetSizeTrait>(array: &dyn Array) -> Result<Cell<'_>> {
    let array = array.as_list::<O>();
    let item = cell(array.values().as_ref(), Style::Json)?;
    let offsets = array.value_offsets();
    Ok(Box::new(move |row, out| items(&item, range(offsets, row), out)))
}

fn items(item: &Cell<'_>, rows: std::ops::Range<usize>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, row) in rows.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        item(row, out);
    }
    out.push(b']');
}

fn range<O: OffsetSizeTrait>(offsets: &[O], row: usize) -> std::ops::Range<usize> {
    offsets[row].as_usize()..offsets[row + 1].as_usize()
}
