//! The compact form of rows in the log: columns back to back, little endian, without the schema (the dataset has it).
//!
//! Called by the log thread (encode) and by recovery (decode). Per column: a validity flag (all, some or no value there), then by type
//! - fixed width floats and decimals: raw values;
//! - integers, dates, timestamps: a tag, then raw values (ids are random) or zigzag varints of differences (times, counts);
//! - strings: varint lengths, then the bytes; dictionaries: used values as strings, then keys;
//! - lists and maps: varint lengths, then the child column; structs: children.
//!
//! Invariants: decoding what was encoded gives equal arrays, NaN bits included; decoding arbitrary bytes gives an error, never
//! a panic or an allocation beyond a small multiple of the input. The record's checksum is checked before.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
        ListArray, MapArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
    },
    buffer::{BooleanBuffer, NullBuffer, OffsetBuffer},
    datatypes::{DataType, Date32Type, Fields, Int32Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};

/// Why bytes are not rows: the place in the payload is added by the caller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} at payload byte {offset}")]
pub(crate) struct BadPayload {
    pub what: &'static str,
    pub offset: usize,
}

type Decoded<T> = Result<T, BadPayload>;

/// A fingerprint of names and types, so that rows are never decoded by another schema.
pub(crate) fn fingerprint(schema: &Schema) -> u32 {
    let mut text = String::new();
    for field in schema.fields() {
        text.push_str(&format!("{}:{}:{};", field.name(), field.data_type(), field.is_nullable()));
    }
    crc32c::crc32c(text.as_bytes())
}

// === encode ===

/// Appends the columns of `batch` to `out`.
pub(crate) fn encode(batch: &RecordBatch, out: &mut Vec<u8>) {
    for column in batch.columns() {
        encode_array(column, out);
    }
}

fn encode_array(array: &ArrayRef, out: &mut Vec<u8>) {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => out.push(0),
        Some(nulls) if nulls.null_count() == nulls.len() => return out.push(2),
        Some(nulls) => {
            out.push(1);
            encode_bits(nulls.inner(), out);
        }
    }
    match array.data_type() {
        DataType::Boolean => encode_bits(array.as_boolean().values(), out),
        DataType::Float64 => {
            for value in array.as_primitive::<arrow::datatypes::Float64Type>().values() {
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        }
        DataType::Int64 => encode_integers(array.as_primitive::<arrow::datatypes::Int64Type>().values(), out),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            encode_integers(array.as_primitive::<TimestampMicrosecondType>().values(), out);
        }
        DataType::Int32 => encode_small(array.as_primitive::<Int32Type>().values(), out),
        DataType::Date32 => encode_small(array.as_primitive::<Date32Type>().values(), out),
        DataType::Decimal128(_, _) => {
            for value in array.as_primitive::<arrow::datatypes::Decimal128Type>().values() {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        DataType::Utf8 => encode_strings(array.as_string::<i32>(), out),
        DataType::Dictionary(_, _) => encode_dictionary(array.as_dictionary::<Int32Type>(), out),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            encode_lengths(list.offsets(), out);
            encode_child(list.values(), list.offsets(), out);
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            encode_lengths(map.offsets(), out);
            let entries: ArrayRef = Arc::new(map.entries().clone());
            encode_child(&entries, map.offsets(), out);
        }
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|child| encode_array(child, out)),
        // `supported` refuses datasets with other types when storage opens.
        other => debug_assert!(false, "type {other} has no form in the log"),
    }
}

/// Types that have a form in the log.
pub(crate) fn supported(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Float64
        | DataType::Int64
        | DataType::Int32
        | DataType::Date32
        | DataType::Utf8
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::Decimal128(_, _) => true,
        DataType::Dictionary(key, value) => **key == DataType::Int32 && **value == DataType::Utf8,
        DataType::List(item) | DataType::Map(item, _) => supported(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| supported(field.data_type())),
        _ => false,
    }
}

fn encode_bits(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    let mut byte = 0u8;
    for (i, bit) in bits.iter().enumerate() {
        byte |= u8::from(bit) << (i % 8);
        if i % 8 == 7 {
            out.push(std::mem::take(&mut byte));
        }
    }
    if !bits.len().is_multiple_of(8) {
        out.push(byte);
    }
}

fn encode_child(values: &ArrayRef, offsets: &OffsetBuffer<i32>, out: &mut Vec<u8>) {
    let (start, end) = (index(offsets[0]), index(offsets[offsets.len() - 1]));
    varint((end - start) as u64, out);
    encode_array(&values.slice(start, end - start), out);
}

fn encode_lengths(offsets: &OffsetBuffer<i32>, out: &mut Vec<u8>) {
    for pair in offsets.windows(2) {
        varint(index(pair[1] - pair[0]) as u64, out);
    }
}

/// Raw when differences are wide (random ids), varints of differences when they are narrow (times, counts).
fn encode_integers(values: &[i64], out: &mut Vec<u8>) {
    const SAMPLE: usize = 32;
    let wide = values.windows(2).take(SAMPLE).filter(|pair| zigzag(pair[1].wrapping_sub(pair[0])) >= 1 << 42).count();
    if wide * 4 > values.len().min(SAMPLE) {
        out.push(0);
        out.reserve(values.len() * 8);
        for value in values {
            out.extend_from_slice(&value.to_le_bytes());
        }
        return;
    }
    out.push(1);
    let mut last = 0i64;
    for &value in values {
        varint(zigzag(value.wrapping_sub(last)), out);
        last = value;
    }
}

fn encode_small(values: &[i32], out: &mut Vec<u8>) {
    let mut last = 0i64;
    for &value in values {
        varint(zigzag(i64::from(value) - last), out);
        last = i64::from(value);
    }
}

fn encode_strings(strings: &StringArray, out: &mut Vec<u8>) {
    for i in 0..strings.len() {
        varint(strings.value(i).len() as u64, out);
    }
    for i in 0..strings.len() {
        out.extend_from_slice(strings.value(i).as_bytes());
    }
}

fn encode_dictionary(array: &DictionaryArray<Int32Type>, out: &mut Vec<u8>) {
    let values = array.values().as_string::<i32>();
    // A slice of a larger batch may carry values it does not use; only used ones are written.
    let mut numbers = vec![-1i32; values.len()];
    let mut used = Vec::new();
    let mut keys = Vec::with_capacity(array.len());
    for key in array.keys() {
        let Some(key) = key else {
            keys.push(0);
            continue;
        };
        let number = &mut numbers[index(key)];
        if *number < 0 {
            *number = i32::try_from(used.len()).unwrap_or(i32::MAX);
            used.push(values.value(index(key)));
        }
        keys.push(*number);
    }
    varint(used.len() as u64, out);
    used.iter().for_each(|value| varint(value.len() as u64, out));
    used.iter().for_each(|value| out.extend_from_slice(value.as_bytes()));
    encode_small(&keys, out);
}

pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Arrow offsets and keys are never negative in a valid array.
fn index(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}

// === decode ===

/// Reads `rows` rows of `schema`.
pub(crate) fn decode(schema: &SchemaRef, rows: usize, input: &mut Input<'_>) -> Decoded<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| decode_array(field.data_type(), rows, input))
        .collect::<Decoded<Vec<ArrayRef>>>()?;
    let offset = input.offset;
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|_| BadPayload { what: "columns do not fit the dataset", offset })
}

/// Bytes being decoded.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(crate) fn bad<T>(&self, what: &'static str) -> Decoded<T> {
        Err(BadPayload { what, offset: self.offset })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offset == self.bytes.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Decoded<&'a [u8]> {
        match self.bytes[self.offset..].get(..len) {
            Some(taken) => {
                self.offset += len;
                Ok(taken)
            }
            None => self.bad("value cut short"),
        }
    }

    pub(crate) fn byte(&mut self) -> Decoded<u8> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn varint(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.bad("varint longer than 10 bytes")
    }

    /// A count of things, bounded by the payload's length: a row takes a byte in some column at least.
    pub(crate) fn count(&mut self) -> Decoded<usize> {
        let count = self.varint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len() => Ok(count),
            _ => self.bad("count larger than the payload"),
        }
    }

    /// `rows` values of at least `bits` bits each must still fit, which bounds what is allocated for them.
    fn fits(&self, rows: usize, bits: usize) -> Decoded<()> {
        let left = self.bytes.len() - self.offset;
        if rows.saturating_mul(bits).div_ceil(8) > left { self.bad("more rows than bytes") } else { Ok(()) }
    }
}

fn decode_array(data_type: &DataType, rows: usize, input: &mut Input<'_>) -> Decoded<ArrayRef> {
    let nulls = match input.byte()? {
        0 => None,
        1 => Some(NullBuffer::new(decode_bits(rows, input)?)),
        2 => return Ok(arrow::array::new_null_array(data_type, rows)),
        _ => return input.bad("unknown validity flag"),
    };
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::new(decode_bits(rows, input)?, nulls)),
        DataType::Float64 => Arc::new(Float64Array::new(
            decode_fixed(rows, input, |bytes| f64::from_bits(u64::from_le_bytes(bytes)))?.into(),
            nulls,
        )),
        DataType::Int64 => Arc::new(Int64Array::new(decode_integers(rows, input)?.into(), nulls)),
        DataType::Timestamp(_, _) => Arc::new(
            PrimitiveArray::<TimestampMicrosecondType>::new(decode_integers(rows, input)?.into(), nulls)
                .with_data_type(data_type.clone()),
        ),
        DataType::Int32 => Arc::new(Int32Array::new(decode_small(rows, input)?.into(), nulls)),
        DataType::Date32 => Arc::new(PrimitiveArray::<Date32Type>::new(decode_small(rows, input)?.into(), nulls)),
        DataType::Decimal128(_, _) => Arc::new(
            Decimal128Array::new(decode_fixed(rows, input, i128::from_le_bytes)?.into(), nulls)
                .with_data_type(data_type.clone()),
        ),
        DataType::Utf8 => {
            let strings = decode_strings(rows, input)?;
            let (offsets, bytes, _) = strings.into_parts();
            Arc::new(StringArray::new(offsets, bytes, nulls))
        }
        DataType::Dictionary(_, _) => decode_dictionary(rows, nulls, input)?,
        DataType::List(item) => {
            let offsets = decode_offsets(rows, input)?;
            let child = decode_child(item.data_type(), &offsets, input)?;
            let offset = input.offset;
            Arc::new(
                ListArray::try_new(Arc::clone(item), offsets, child, nulls)
                    .map_err(|_| BadPayload { what: "list does not fit its type", offset })?,
            )
        }
        DataType::Map(entries, sorted) => {
            let offsets = decode_offsets(rows, input)?;
            let child = decode_child(entries.data_type(), &offsets, input)?;
            let offset = input.offset;
            Arc::new(
                MapArray::try_new(Arc::clone(entries), offsets, child.as_struct().clone(), nulls, *sorted)
                    .map_err(|_| BadPayload { what: "map does not fit its type", offset })?,
            )
        }
        DataType::Struct(fields) => Arc::new(decode_struct(fields, rows, nulls, input)?),
        _ => return input.bad("type has no form in the log"),
    })
}

fn decode_struct(
    fields: &Fields,
    rows: usize,
    nulls: Option<NullBuffer>,
    input: &mut Input<'_>,
) -> Decoded<StructArray> {
    let children =
        fields.iter().map(|field| decode_array(field.data_type(), rows, input)).collect::<Decoded<Vec<ArrayRef>>>()?;
    let offset = input.offset;
    StructArray::try_new(fields.clone(), children, nulls)
        .map_err(|_| BadPayload { what: "struct does not fit its type", offset })
}

fn decode_bits(rows: usize, input: &mut Input<'_>) -> Decoded<BooleanBuffer> {
    let bytes = input.take(rows.div_ceil(8))?;
    Ok(BooleanBuffer::new(arrow::buffer::Buffer::from(bytes), 0, rows))
}

fn decode_fixed<const N: usize, T>(rows: usize, input: &mut Input<'_>, read: fn([u8; N]) -> T) -> Decoded<Vec<T>> {
    input.fits(rows, N * 8)?;
    (0..rows).map(|_| Ok(read(input.array()?))).collect()
}

fn decode_integers(rows: usize, input: &mut Input<'_>) -> Decoded<Vec<i64>> {
    match input.byte()? {
        0 => decode_fixed(rows, input, i64::from_le_bytes),
        1 => {
            input.fits(rows, 8)?;
            let mut last = 0i64;
            (0..rows)
                .map(|_| {
                    last = last.wrapping_add(unzigzag(input.varint()?));
                    Ok(last)
                })
                .collect()
        }
        _ => input.bad("unknown integer form"),
    }
}

fn decode_small(rows: usize, input: &mut Input<'_>) -> Decoded<Vec<i32>> {
    input.fits(rows, 8)?;
    let mut last = 0i64;
    (0..rows)
        .map(|_| {
            last = last.wrapping_add(unzigzag(input.varint()?));
            i32::try_from(last).or_else(|_| input.bad("integer out of range"))
        })
        .collect()
}

fn decode_offsets(rows: usize, input: &mut Input<'_>) -> Decoded<OffsetBuffer<i32>> {
    input.fits(rows, 8)?;
    let mut lengths = Vec::with_capacity(rows);
    let mut total = 0u64;
    for _ in 0..rows {
        let length = input.varint()?;
        total = total.saturating_add(length);
        if total > i32::MAX as u64 {
            return input.bad("lengths overflow");
        }
        lengths.push(usize::try_from(length).unwrap_or(usize::MAX));
    }
    Ok(OffsetBuffer::from_lengths(lengths))
}

fn decode_child(data_type: &DataType, offsets: &OffsetBuffer<i32>, input: &mut Input<'_>) -> Decoded<ArrayRef> {
    let rows = input.count()?;
    if rows != index(offsets[offsets.len() - 1]) {
        return input.bad("child rows differ from the lengths");
    }
    decode_array(data_type, rows, input)
}

fn decode_strings(rows: usize, input: &mut Input<'_>) -> Decoded<StringArray> {
    let offsets = decode_offsets(rows, input)?;
    let bytes = input.take(index(offsets[rows]))?;
    let offset = input.offset;
    StringArray::try_new(offsets, arrow::buffer::Buffer::from(bytes), None)
        .map_err(|_| BadPayload { what: "text is not utf-8", offset })
}

fn decode_dictionary(rows: usize, nulls: Option<NullBuffer>, input: &mut Input<'_>) -> Decoded<ArrayRef> {
    let count = input.count()?;
    let values = decode_strings(count, input)?;
    let keys = Int32Array::new(decode_small(rows, input)?.into(), nulls);
    let offset = input.offset;
    let array = DictionaryArray::try_new(keys, Arc::new(values))
        .map_err(|_| BadPayload { what: "dictionary key out of range", offset })?;
    Ok(Arc::new(array))
}

#[cfg(test)]
mod tests;
