//! Writes values of a column as the protocol has them, in text or in binary.
//!
//! Called once per column and batch: the type is looked at once, then a closure writes any row, with its length before it. Texts are
//! those of PostgreSQL: `t`, `\x00ff`, `2026-01-31 00:00:00+00`, `{a,"b c",NULL}`; maps and structs are JSON.

use std::fmt::Write as _;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
        UInt32Type,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use query::{Error, format, types};

use crate::wire::Out;

/// Microseconds and days from the epoch to 2000-01-01, where PostgreSQL counts from.
pub(crate) const EPOCH_US: i64 = 946_684_800_000_000;
pub(crate) const EPOCH_DAYS: i32 = 10_957;

/// Writes one value of a row, without its length.
type Bare<'a> = Box<dyn Fn(usize, &mut Out) + Send + 'a>;

/// The values of a column.
pub(crate) struct Column {
    /// Of a type that is written directly.
    array: ArrayRef,
    is_binary: bool,
}

/// Writes values of a column.
pub(crate) struct Cells<'a> {
    array: &'a dyn Array,
    bare: Bare<'a>,
}

impl Column {
    /// Prepares a column: types that are written alike become one.
    pub fn new(array: &ArrayRef, is_binary: bool) -> Result<Self, Error> {
        let simple = match array.data_type() {
            DataType::Int8 | DataType::UInt8 => Some(DataType::Int16),
            DataType::UInt16 => Some(DataType::Int32),
            DataType::UInt64 => Some(DataType::Decimal128(20, 0)),
            DataType::Float16 => Some(DataType::Float32),
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                Some(DataType::Decimal128(*precision, *scale))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => None,
            DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            DataType::Date64 => Some(DataType::Date32),
            DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => {
                Some(DataType::Time64(TimeUnit::Microsecond))
            }
            DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime) | DataType::Duration(_) => {
                Some(DataType::Interval(IntervalUnit::MonthDayNano))
            }
            DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Some(DataType::Binary),
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(DataType::List(item.clone())),
            DataType::Dictionary(_, values) => return Self::new(&cast(array, values)?, is_binary),
            _ => None,
        };
        let array = match simple {
            Some(simple) => cast(array, &simple)?,
            None => ArrayRef::clone(array),
        };
        Ok(Self { array, is_binary })
    }

    pub fn cells(&self) -> Result<Cells<'_>, Error> {
        let bare = if self.is_binary { binary(&self.array)? } else { text(&self.array)? };
        Ok(Cells { array: &*self.array, bare })
    }
}

impl Cells<'_> {
    pub fn is_null(&self, row: usize) -> bool {
        // What has no type has no bits that say so.
        self.array.is_null(row) || *self.array.data_type() == DataType::Null
    }

    /// With its length before it.
    pub fn write(&self, row: usize, out: &mut Out) {
        if self.is_null(row) {
            out.put_u32(u32::MAX);
        } else {
            out.sized(0, |out| (self.bare)(row, out));
        }
    }

    /// Only the value, which is not null.
    pub fn bare(&self, row: usize, out: &mut Out) {
        (self.bare)(row, out);
    }
}

#[allow(clippy::too_many_lines, reason = "an arm per type")]
fn text(array: &dyn Array) -> Result<Bare<'_>, Error> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(|row, out| out.put_u8(if array.value(row) { b't' } else { b'f' }))
        }
        DataType::Int16 => shown(array.as_primitive::<Int16Type>().values()),
        DataType::Int32 => shown(array.as_primitive::<Int32Type>().values()),
        DataType::Int64 => shown(array.as_primitive::<Int64Type>().values()),
        DataType::UInt32 => shown(array.as_primitive::<UInt32Type>().values()),
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values();
            Box::new(|row, out| float(out, f64::from(values[row]), &format!("{:e}", values[row]), 6))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            Box::new(|row, out| float(out, values[row], &format!("{:e}", values[row]), 15))
        }
        DataType::Decimal128(..) => {
            let array = array.as_primitive::<Decimal128Type>();
            Box::new(|row, out| out.bytes(array.value_as_string(row).as_bytes()))
        }
        DataType::Decimal256(..) => {
            let array = array.as_primitive::<Decimal256Type>();
            Box::new(|row, out| out.bytes(array.value_as_string(row).as_bytes()))
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Box::new(|row, out| out.bytes(array.value(row).as_bytes()))
        }
        DataType::Timestamp(_, zone) => {
            let (values, has_zone) = (array.as_primitive::<TimestampMicrosecondType>().values(), zone.is_some());
            Box::new(move |row, out| timestamp(out, values[row], has_zone))
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Box::new(|row, out| match array.value_as_date(row) {
                Some(day) => date(out, day),
                None => put(out, format_args!("{}", array.value(row))),
            })
        }
        DataType::Time64(_) => {
            let values = array.as_primitive::<Time64MicrosecondType>().values();
            Box::new(|row, out| clock(out, values[row]))
        }
        DataType::Interval(_) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>().values();
            Box::new(|row, out| interval(out, values[row].months, values[row].days, values[row].nanoseconds / 1_000))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Box::new(|row, out| {
                out.bytes(b"\\x");
                array.value(row).iter().for_each(|byte| put(out, format_args!("{byte:02x}")));
            })
        }
        DataType::List(_) if types::of(array.data_type()) != types::JSONB => {
            let array = array.as_list::<i32>();
            let items = Column::new(array.values(), false)?;
            let offsets = array.value_offsets();
            Box::new(move |row, out| {
                let Ok(cells) = items.cells() else { return };
                list(out, &cells, index(offsets[row])..index(offsets[row + 1]));
            })
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

#[allow(clippy::too_many_lines, reason = "an arm per type")]
fn binary(array: &dyn Array) -> Result<Bare<'_>, Error> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(|row, out| out.put_u8(u8::from(array.value(row))))
        }
        DataType::Int16 => {
            let values = array.as_primitive::<Int16Type>().values();
            Box::new(|row, out| out.bytes(&values[row].to_be_bytes()))
        }
        DataType::Int32 => {
            let values = array.as_primitive::<Int32Type>().values();
            Box::new(|row, out| out.bytes(&values[row].to_be_bytes()))
        }
        DataType::UInt32 => {
            let values = array.as_primitive::<UInt32Type>().values();
            Box::new(|row, out| out.put_u32(values[row]))
        }
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>().values();
            Box::new(|row, out| out.bytes(&values[row].to_be_bytes()))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values();
            Box::new(|row, out| out.bytes(&values[row].to_be_bytes()))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            Box::new(|row, out| out.bytes(&values[row].to_be_bytes()))
        }
        DataType::Decimal128(..) => {
            let array = array.as_primitive::<Decimal128Type>();
            Box::new(|row, out| numeric(out, &array.value_as_string(row)))
        }
        DataType::Decimal256(..) => {
            let array = array.as_primitive::<Decimal256Type>();
            Box::new(|row, out| numeric(out, &array.value_as_string(row)))
        }
        DataType::Timestamp(..) => {
            let values = array.as_primitive::<TimestampMicrosecondType>().values();
            Box::new(|row, out| out.bytes(&values[row].saturating_sub(EPOCH_US).to_be_bytes()))
        }
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>().values();
            Box::new(|row, out| out.bytes(&values[row].saturating_sub(EPOCH_DAYS).to_be_bytes()))
        }
        DataType::Time64(_) => {
            let values = array.as_primitive::<Time64MicrosecondType>().values();
            Box::new(|row, out| out.bytes(&values[row].to_be_bytes()))
        }
        DataType::Interval(_) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>().values();
            Box::new(|row, out| {
                out.bytes(&(values[row].nanoseconds / 1_000).to_be_bytes());
                out.bytes(&values[row].days.to_be_bytes());
                out.bytes(&values[row].months.to_be_bytes());
            })
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Box::new(|row, out| out.bytes(array.value(row)))
        }
        DataType::List(item) if types::of(array.data_type()) != types::JSONB => {
            let array = array.as_list::<i32>();
            let (items, oid) = (Column::new(array.values(), true)?, types::of(item.data_type()));
            let offsets = array.value_offsets();
            Box::new(move |row, out| {
                let Ok(cells) = items.cells() else { return };
                let range = index(offsets[row])..index(offsets[row + 1]);
                let has_nulls = range.clone().any(|item| cells.is_null(item));
                out.put_u32(u32::from(!range.is_empty()));
                out.put_u32(u32::from(has_nulls));
                out.put_u32(oid);
                if !range.is_empty() {
                    out.put_u32(u32::try_from(range.len()).unwrap_or(u32::MAX));
                    out.put_u32(1);
                }
                range.for_each(|item| cells.write(item, out));
            })
        }
        DataType::Map(..) | DataType::Struct(_) | DataType::List(_) => {
            let json = json(array)?;
            Box::new(move |row, out| {
                out.put_u8(1);
                json(row, out);
            })
        }
        _ => text(array)?,
    })
}

fn shown<T: std::fmt::Display + Sync>(values: &[T]) -> Bare<'_> {
    Box::new(|row, out| put(out, format_args!("{}", values[row])))
}

fn json(array: &dyn Array) -> Result<Bare<'_>, Error> {
    let cell = format::json_of(array)?;
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let mut text = Vec::new();
        cell(row, &mut text);
        texts.push(text);
    }
    Ok(Box::new(move |row, out| out.bytes(&texts[row])))
}

fn put(out: &mut Out, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

impl std::fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// Offsets of lists are never negative.
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

/// The shortest text that is the same number; with an exponent where there would be more than `digits` before the point, or four zeros
/// behind it.
fn float(out: &mut Out, value: f64, scientific: &str, digits: i32) {
    if value.is_nan() {
        return out.bytes(b"NaN");
    }
    if value.is_infinite() {
        return out.bytes(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..digits).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return put(out, format_args!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()));
    }
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let plain: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    out.bytes(sign.as_bytes());
    let point = usize::try_from(exponent + 1).unwrap_or(0);
    if exponent < 0 {
        put(out, format_args!("0.{}{plain}", "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0))));
    } else if plain.len() <= point {
        put(out, format_args!("{plain}{}", "0".repeat(point - plain.len())));
    } else {
        put(out, format_args!("{}.{}", &plain[..point], &plain[point..]));
    }
}

fn date(out: &mut Out, day: NaiveDate) {
    let (is_common, year) = day.year_ce();
    put(out, format_args!("{year:04}-{:02}-{:02}{}", day.month(), day.day(), if is_common { "" } else { " BC" }));
}

fn timestamp(out: &mut Out, value_us: i64, has_zone: bool) {
    let Some(time) = DateTime::from_timestamp_micros(value_us) else {
        return put(out, format_args!("{value_us}"));
    };
    let (is_common, year) = time.year_ce();
    let (month, day) = (time.month(), time.day());
    put(
        out,
        format_args!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second()),
    );
    fraction(out, time.timestamp_subsec_micros());
    out.bytes(if has_zone { b"+00" } else { b"" });
    out.bytes(if is_common { b"" } else { b" BC" });
}

fn fraction(out: &mut Out, micros: u32) {
    if micros > 0 {
        out.bytes(format!(".{micros:06}").trim_end_matches('0').as_bytes());
    }
}

fn clock(out: &mut Out, value_us: i64) {
    let seconds = value_us / 1_000_000;
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60));
    fraction(out, u32::try_from(value_us % 1_000_000).unwrap_or(0));
}

fn interval(out: &mut Out, months: i32, days: i32, value_us: i64) {
    let before = out.len();
    for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if count != 0 {
            let space = if out.len() > before { " " } else { "" };
            put(out, format_args!("{space}{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if value_us != 0 || out.len() == before {
        out.bytes(if out.len() > before { b" " } else { b"" });
        out.bytes(if value_us < 0 { b"-" } else { b"" });
        clock(out, value_us.saturating_abs());
    }
}

fn list(out: &mut Out, cells: &Cells<'_>, range: std::ops::Range<usize>) {
    out.put_u8(b'{');
    let mut item = Out::default();
    for (at, row) in range.enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        if cells.is_null(row) {
            out.bytes(b"NULL");
            continue;
        }
        item.clear();
        cells.bare(row, &mut item);
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
