//! Writes the protobuf wire format: fields appended to bytes. A message inside another is written first and appended as bytes.

use super::Wire;

/// A varint without a tag, as packed fields hold them.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// A varint field.
#[inline]
pub fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    put_tag(out, field, Wire::Varint);
    put_varint(out, number);
}

/// A varint field, left out if it is 0 as a reader takes it for that.
#[inline]
pub fn put_nonzero(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        put_number(out, field, number);
    }
}

/// A double by its bits.
#[inline]
pub fn put_double(out: &mut Vec<u8>, field: u32, bits: u64) {
    put_tag(out, field, Wire::Fixed64);
    out.extend_from_slice(&bits.to_le_bytes());
}

/// Bytes: a text, a message, or packed numbers.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_tag(out, field, Wire::Bytes);
    put_varint(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

/// A signed number such that small ones are short, as `sint32` and `sint64` are sent.
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn put_tag(out: &mut Vec<u8>, field: u32, wire: Wire) {
    put_varint(out, u64::from(field << 3 | wire as u32));
}
