//! Protocol buffers, as much of them as remote read needs.
//!
//! Called by the readers and writers of its messages. Fields that are not known are passed over; a value that is zero is not written,
//! as the third version of the format has it.

use crate::{Error, ErrorKind, Result};

/// A field of a message.
pub(super) enum Field<'b> {
    Varint(u64),
    Bytes(&'b [u8]),
    /// Of four or eight bytes; no message that is read here has one.
    Fixed,
}

/// Fields of a message, one after another.
pub(super) struct Fields<'b>(pub &'b [u8]);

impl<'b> Fields<'b> {
    /// The next field and its number; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Field<'b>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| broken())?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return Err(broken()),
        };
        Ok(Some((key >> 3, field)))
    }

    /// A number of up to ten bytes.
    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(broken)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken())
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A text of a field.
pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| broken())
}

/// What is said of a message that cannot be read.
pub(super) fn broken() -> Error {
    Error::new(ErrorKind::Invalid, "the request is no protocol buffer of remote read")
}

/// A number of up to ten bytes.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A field that is a number.
pub(super) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        put_varint(out, field << 3);
        put_varint(out, value);
    }
}

/// A field that is a number with a sign, of a kind of which small negative ones are short.
pub(super) fn put_signed(out: &mut Vec<u8>, field: u64, value: i64) {
    put_number(out, field, zigzag(value));
}

/// A field that is a float, whatever its bits; only that without any is left out.
pub(super) fn put_float(out: &mut Vec<u8>, field: u64, value: f64) {
    if value.to_bits() != 0 {
        put_varint(out, field << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A field of bytes: a text, or a message.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A field that is a message, which may be empty.
pub(super) fn put_message(out: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    write(&mut message);
    put_bytes(out, field, &message);
}

/// A field of many signed numbers.
pub(super) fn put_signed_list(out: &mut Vec<u8>, field: u64, values: &[i64]) {
    if !values.is_empty() {
        put_message(out, field, |list| values.iter().for_each(|value| put_varint(list, zigzag(*value))));
    }
}

/// A field of many floats.
pub(super) fn put_float_list(out: &mut Vec<u8>, field: u64, values: &[f64]) {
    if !values.is_empty() {
        put_message(out, field, |list| values.iter().for_each(|value| list.extend_from_slice(&value.to_le_bytes())));
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
