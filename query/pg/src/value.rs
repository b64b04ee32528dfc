//! Writes values of a column as the protocol has them, in text or in binary.
//!
//! Called once per column and batch: the type is looked at once, then a closure writes any row straight into what is sent. Texts are
//! those of PostgreSQL: `t`, `\x00ff`, `2026-01-31 00:00:00+00`, `{a,"b c",NULL}`; maps and structs are JSON.

mod number;
mod time;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray},
    buffer::NullBuffer,
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
        UInt32Type,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use query::{Error, format, types};

use crate::wire::Out;
use time::Days;

/// Microseconds and days from the epoch to 2000-01-01, where PostgreSQL counts from.
pub(crate) const EPOCH_US: i64 = 946_684_800_000_000;
pub(crate) const EPOCH_DAYS: i32 = 10_957;

/// Writes one value of a row, without its length.
type Bare = Box<dyn FnMut(usize, &mut Out) + Send>;

/// Writes the values of a column.
pub(crate) struct Column {
    nulls: Option<NullBuffer>,
    bare: Bare,
    is_plain: bool,
}

impl Column {
    pub fn new(array: &ArrayRef, is_binary: bool) -> Result<Self, Error> {
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        if let Some(dictionary) = array.as_any_dictionary_opt() {
            let mut values = Self::new(dictionary.values(), is_binary)?;
            // Without values all rows are null.
            let is_empty = dictionary.values().is_empty();
            let keys = if is_empty { Vec::new() } else { dictionary.normalized_keys() };
            let is_plain = values.is_plain;
            let bare = Box::new(move |row: usize, out: &mut Out| values.bare(keys[row], out));
            return Ok(Self { nulls, bare, is_plain });
        }
        let array = &simple(array)?;
        let bare = if is_binary { binary(array)? } else { text(array)? };
        Ok(Self { nulls, bare, is_plain: is_plain(array.data_type()) })
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Are texts of the column made of nothing but [`is_plain_byte`]s, one at least?
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// With its length before it.
    pub fn write(&mut self, row: usize, out: &mut Out) {
        if self.is_null(row) {
            out.put_u32(u32::MAX);
        } else {
            out.sized(0, |out| (self.bare)(row, out));
        }
    }

    /// Only the value, which is not null.
    pub fn bare(&mut self, row: usize, out: &mut Out) {
        (self.bare)(row, out);
    }
}

/// Can a byte be in numbers, times and the like?
pub(crate) fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.: ".contains(&byte)
}

fn is_plain(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Boolean) || data_type.is_temporal()
}

/// Makes one of the types that are written alike.
fn simple(array: &ArrayRef) -> Result<ArrayRef, Error> {
    let simple = match array.data_type() {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime) | DataType::Duration(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => DataType::List(item.clone()),
        _ => return Ok(ArrayRef::clone(array)),
    };
    Ok(cast(array, &simple)?)
}

#[allow(clippy::too_many_lines, reason = "an arm per type")]
fn text(array: &ArrayRef) -> Result<Bare, Error> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean().clone();
            Box::new(move |row, out| out.put_u8(if array.value(row) { b't' } else { b'f' }))
        }
        DataType::Int16 => each::<Int16Type>(array, |value, out| number::whole(out, value.into())),
        DataType::Int32 => each::<Int32Type>(array, |value, out| number::whole(out, value.into())),
        DataType::Int64 => each::<Int64Type>(array, |value, out| number::whole(out, value)),
        DataType::UInt32 => each::<UInt32Type>(array, |value, out| number::whole(out, value.into())),
        DataType::Float32 => each::<Float32Type>(array, |value, out| number::float4(out, value)),
        DataType::Float64 => each::<Float64Type>(array, |value, out| number::float8(out, value)),
        DataType::Decimal128(_, scale) if *scale >= 0 => {
            let places = usize::from(scale.unsigned_abs());
            each::<Decimal128Type>(array, move |value, out| number::decimal(out, value, places))
        }
        DataType::Decimal128(..) => {
            let array = array.as_primitive::<Decimal128Type>().clone();
            Box::new(move |row, out| out.bytes(array.value_as_string(row).as_bytes()))
        }
        DataType::Decimal256(..) => {
            let array = array.as_primitive::<Decimal256Type>().clone();
            Box::new(move |row, out| out.bytes(array.value_as_string(row).as_bytes()))
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>().clone();
            Box::new(move |row, out| out.bytes(array.value(row).as_bytes()))
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>().clone();
            Box::new(move |row, out| out.bytes(array.value(row).as_bytes()))
        }
        DataType::Utf8View => {
            let array = array.as_string_view().clone();
            Box::new(move |row, out| out.bytes(array.value(row).as_bytes()))
        }
        DataType::Timestamp(_, zone) => {
            let (mut days, has_zone) = (Days::default(), zone.is_some());
            each::<TimestampMicrosecondType>(array, move |value, out| days.timestamp(out, value, has_zone))
        }
        DataType::Date32 => {
            let mut days = Days::default();
            each::<Date32Type>(array, move |value, out| days.date(out, value.into()))
        }
        DataType::Time64(_) => {
            each::<Time64MicrosecondType>(array, |value, out| time::clock(out, value.unsigned_abs()))
        }
        DataType::Interval(_) => each::<IntervalMonthDayNanoType>(array, |value, out| {
            time::interval(out, value.months, value.days, value.nanoseconds / 1_000);
        }),
        DataType::Binary => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row, out| {
                out.bytes(b"\\x");
                array.value(row).iter().for_each(|byte| out.bytes(&[hex(byte >> 4), hex(byte & 15)]));
            })
        }
        DataType::List(_) if types::of(array.data_type()) != types::JSONB => {
            let array = array.as_list::<i32>();
            let (mut items, offsets) = (Column::new(array.values(), false)?, array.offsets().clone());
            let mut item = Out::default();
            Box::new(move |row, out| list(out, &mut items, index(offsets[row])..index(offsets[row + 1]), &mut item))
        }
        DataType::Map(..) | DataType::Struct(_) | DataType::List(_) => json(array)?,
        _ => {
            // Whatever the type is, its text is the same for every row of the column.
            let texts = ArrayFormatter::try_new(array, &FormatOptions::default())?;
            let texts: Vec<String> = (0..array.len()).map(|row| texts.value(row).to_string()).collect();
            Box::new(move |row, out| out.bytes(texts[row].as_bytes()))
        }
    })
}

fn binary(array: &ArrayRef) -> Result<Bare, Error> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean().clone();
            Box::new(move |row, out| out.put_u8(u8::from(array.value(row))))
        }
        DataType::Int16 => each::<Int16Type>(array, |value, out| out.bytes(&value.to_be_bytes())),
        DataType::Int32 => each::<Int32Type>(array, |value, out| out.bytes(&value.to_be_bytes())),
        DataType::UInt32 => each::<UInt32Type>(array, |value, out| out.put_u32(value)),
        DataType::Int64 => each::<Int64Type>(array, |value, out| out.bytes(&value.to_be_bytes())),
        DataType::Float32 => each::<Float32Type>(array, |value, out| out.bytes(&value.to_be_bytes())),
        DataType::Float64 => each::<Float64Type>(array, |value, out| out.bytes(&value.to_be_bytes())),
        DataType::Decimal128(..) => {
            let array = array.as_primitive::<Decimal128Type>().clone();
            Box::new(move |row, out| numeric(out, &array.value_as_string(row)))
        }
        DataType::Decimal256(..) => {
            let array = array.as_primitive::<Decimal256Type>().clone();
            Box::new(move |row, out| numeric(out, &array.value_as_string(row)))
        }
        DataType::Timestamp(..) => each::<TimestampMicrosecondType>(array, |value, out| {
            out.bytes(&value.saturating_sub(EPOCH_US).to_be_bytes());
        }),
        DataType::Date32 => {
            each::<Date32Type>(array, |value, out| out.bytes(&value.saturating_sub(EPOCH_DAYS).to_be_bytes()))
        }
        DataType::Time64(_) => each::<Time64MicrosecondType>(array, |value, out| out.bytes(&value.to_be_bytes())),
        DataType::Interval(_) => each::<IntervalMonthDayNanoType>(array, |value, out| {
            out.bytes(&(value.nanoseconds / 1_000).to_be_bytes());
            out.bytes(&value.days.to_be_bytes());
            out.bytes(&value.months.to_be_bytes());
        }),
        DataType::Binary => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row, out| out.bytes(array.value(row)))
        }
        DataType::List(item) if types::of(array.data_type()) != types::JSONB => {
            let oid = types::of(item.data_type());
            let array = array.as_list::<i32>();
            let (mut items, offsets) = (Column::new(array.values(), true)?, array.offsets().clone());
            Box::new(move |row, out| {
                let range = index(offsets[row])..index(offsets[row + 1]);
                let has_nulls = range.clone().any(|item| items.is_null(item));
                out.put_u32(u32::from(!range.is_empty()));
                out.put_u32(u32::from(has_nulls));
                out.put_u32(oid);
                if !range.is_empty() {
                    out.put_u32(u32::try_from(range.len()).unwrap_or(u32::MAX));
                    out.put_u32(1);
                }
                range.for_each(|item| items.write(item, out));
            })
        }
        DataType::Map(..) | DataType::Struct(_) | DataType::List(_) => {
            let mut json = json(array)?;
            Box::new(move |row, out| {
                out.put_u8(1);
                json(row, out);
            })
        }
        _ => text(array)?,
    })
}

/// Writes the values of a type that has them side by side.
fn each<T: ArrowPrimitiveType>(array: &ArrayRef, mut write: impl FnMut(T::Native, &mut Out) + Send + 'static) -> Bare {
    let values = array.as_primitive::<T>().values().clone();
    Box::new(move |row, out| write(values[row], out))
}

fn json(array: &ArrayRef) -> Result<Bare, Error> {
    let cell = format::json_of(array)?;
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let mut text = Vec::new();
        cell(row, &mut text);
        texts.push(text);
    }
    Ok(Box::new(move |row, out| out.bytes(&texts[row])))
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// Offsets of lists are never negative.
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

/// `item` is used for each of the items, whose text must be seen before it is written.
fn list(out: &mut Out, items: &mut Column, range: std::ops::Range<usize>, item: &mut Out) {
    out.put_u8(b'{');
    for (at, row) in range.enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        if items.is_null(row) {
            out.bytes(b"NULL");
            continue;
        }
        item.clear();
        items.bare(row, item);
        let text = item.as_bytes();
        let is_plain = |byte: &u8| !b"{}\",\\ \t\n\r\x0b\x0c".contains(byte);
        if !text.is_empty() && text.iter().all(is_plain) && !text.eq_ignore_ascii_case(b"null") {
            out.bytes(text);
            continue;
        }
        out.put_u8(b'"');
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.put_u8(b'\\');
            }
            out.put_u8(*byte);
        }
        out.put_u8(b'"');
    }
    out.put_u8(b'}');
}

/// A decimal as groups of four digits, counted from the point.
fn numeric(out: &mut Out, text: &str) {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, behind) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let padded =
        format!("{}{whole}{behind}{}", "0".repeat((4 - whole.len() % 4) % 4), "0".repeat((4 - behind.len() % 4) % 4));
    let group = |digits: &[u8]| digits.iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
    let groups: Vec<u16> = padded.as_bytes().chunks(4).map(group).collect();
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let used = groups.len() - groups.iter().rev().take_while(|group| **group == 0).count();
    let groups = groups.get(leading..used).unwrap_or_default();
    // The place of the first group; a number without groups is zero, whatever its place.
    let before = i16::try_from(whole.len().div_ceil(4)).unwrap_or(0);
    let weight = if groups.is_empty() { 0 } else { before - 1 - i16::try_from(leading).unwrap_or(0) };
    out.put_u16(u16::try_from(groups.len()).unwrap_or(0));
    out.bytes(&weight.to_be_bytes());
    out.put_u16(if is_negative && !groups.is_empty() { 0x4000 } else { 0 });
    out.put_u16(u16::try_from(behind.len()).unwrap_or(0));
    groups.iter().for_each(|group| out.put_u16(*group));
}

#[cfg(test)]
mod tests;
