//! Reads the protobuf wire format in place (varints, fixed words, sub-messages, nothing copied), and writes it.
//!
//! Called by the decoders of messages, and by what sends them. Offsets in errors are those of the decoded body, also inside sub-messages.
//! Invariants: never reads beyond its message; never recurses (a caller opens a sub-message explicitly, and the depth of
//! that is fixed by its code); groups, which nobody sends, are refused rather than skipped.
//! Spec: <https://protobuf.dev/programming-guides/encoding/>

mod write;

use std::{fmt, ops::Range};

pub use self::write::{put_bytes, put_double, put_nonzero, put_number, put_varint, zigzag};

/// A range of bytes or elements, half as large as [`Range<usize>`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Offsets come from vectors bounded far below `u32::MAX`, see `remote_write::BODY_BYTES_MAX`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn len(self) -> usize {
        self.range().len()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Why a body is no message, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset in the decompressed body, bytes.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at_byte={}", self.what, self.at)
    }
}

impl std::error::Error for DecodeError {}

pub(crate) type Result<T, E = DecodeError> = std::result::Result<T, E>;

/// How a field is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

/// Number and encoding of the field that follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub(crate) field: u32,
    pub(crate) wire: Wire,
    at: usize,
}

/// A message being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    body: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, pos: 0 }
    }

    pub(crate) fn over(body: &'a [u8], span: Span) -> Self {
        let range = span.range();
        Self { body: body.get(..range.end).unwrap_or_default(), pos: range.start }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.body.get(self.pos..).unwrap_or_default()
    }

    fn fault<T>(&self, what: &'static str) -> Result<T> {
        Err(DecodeError { at: self.pos, what })
    }

    /// The next field's tag, or `None` at the end of the message.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<Tag>> {
        if self.pos >= self.body.len() {
            return Ok(None);
        }
        let at = self.pos;
        let Ok(key) = u32::try_from(self.varint()?) else {
            return Err(DecodeError { at, what: "field number out of range" });
        };
        let wire = match key & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Bytes,
            5 => Wire::Fixed32,
            3 | 4 => return Err(DecodeError { at, what: "groups are not supported" }),
            _ => return Err(DecodeError { at, what: "unknown wire type" }),
        };
        match key >> 3 {
            0 => Err(DecodeError { at, what: "field number out of range" }),
            field => Ok(Some(Tag { field, wire, at })),
        }
    }

    /// Steps over all fields with this one-byte tag, of a length-delimited field, that follow each other.
    #[inline]
    pub(crate) fn skip_run(&mut self, tag: u8) -> Result<()> {
        while self.body.get(self.pos) == Some(&tag) {
            self.pos += 1;
            self.bytes()?;
        }
        Ok(())
    }

    #[inline]
    fn varint(&mut self) -> Result<u64> {
        match self.body.get(self.pos) {
            Some(&byte) if byte < 0x80 => {
                self.pos += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.rest().iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                return self.fault("varint longer than 64 bits");
            }
            value |= bits << (7 * i);
            if byte < 0x80 {
                self.pos += i + 1;
                return Ok(value);
            }
        }
        if self.rest().len() < 10 {
            self.fault("message ends inside a varint")
        } else {
            self.fault("varint longer than 64 bits")
        }
    }

    #[inline]
    fn fixed64(&mut self) -> Result<u64> {
        match self.rest().first_chunk::<8>() {
            Some(word) => {
                self.pos += 8;
                Ok(u64::from_le_bytes(*word))
            }
            None => self.fault("message ends inside a 64-bit word"),
        }
    }

    /// Reads a length and steps over so many bytes.
    #[inline]
    fn bytes(&mut self) -> Result<Span> {
        let at = self.pos;
        let len = self.varint()?;
        let left = self.body.len() - self.pos;
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                let start = self.pos;
                self.pos += len;
                Ok(Span::new(start, self.pos))
            }
            _ => Err(DecodeError { at, what: "length points beyond its message" }),
        }
    }

    fn expect(tag: Tag, wire: Wire) -> Result<()> {
        if tag.wire == wire { Ok(()) } else { Err(DecodeError { at: tag.at, what: "field has the wrong wire type" }) }
    }

    /// A sub-message.
    #[inline]
    pub(crate) fn message(&mut self, tag: Tag) -> Result<Reader<'a>> {
        let span = self.span(tag)?;
        Ok(Self::over(self.body, span))
    }

    /// Place of a string or of bytes.
    #[inline]
    pub(crate) fn span(&mut self, tag: Tag) -> Result<Span> {
        Self::expect(tag, Wire::Bytes)?;
        self.bytes()
    }

    #[inline]
    pub(crate) fn uint64(&mut self, tag: Tag) -> Result<u64> {
        Self::expect(tag, Wire::Varint)?;
        self.varint()
    }

    #[inline]
    pub(crate) fn int64(&mut self, tag: Tag) -> Result<i64> {
        Ok(self.uint64(tag)?.cast_signed())
    }

    /// A 32-bit integer; the spec says to drop higher bits.
    #[inline]
    pub(crate) fn uint32(&mut self, tag: Tag) -> Result<u32> {
        Ok(low_word(self.uint64(tag)?))
    }

    pub(crate) fn sint32(&mut self, tag: Tag) -> Result<i32> {
        let word = low_word(self.uint64(tag)?);
        Ok((word >> 1).cast_signed() ^ -(word & 1).cast_signed())
    }

    /// Bits of a double.
    #[inline]
    pub(crate) fn double_bits(&mut self, tag: Tag) -> Result<u64> {
        Self::expect(tag, Wire::Fixed64)?;
        self.fixed64()
    }

    pub(crate) fn double(&mut self, tag: Tag) -> Result<f64> {
        Ok(f64::from_bits(self.double_bits(tag)?))
    }

    /// A repeated varint field, packed or not.
    #[inline]
    pub(crate) fn varints(&mut self, tag: Tag, mut each: impl FnMut(u64) -> Result<()>) -> Result<()> {
        if tag.wire != Wire::Bytes {
            return each(self.uint64(tag)?);
        }
        let mut packed = self.message(tag)?;
        while packed.pos < packed.body.len() {
            each(packed.varint()?)?;
        }
        Ok(())
    }

    /// A repeated double field, packed or not.
    pub(crate) fn doubles(&mut self, tag: Tag, mut each: impl FnMut(f64) -> Result<()>) -> Result<()> {
        if tag.wire != Wire::Bytes {
            return each(self.double(tag)?);
        }
        let mut packed = self.message(tag)?;
        while packed.pos < packed.body.len() {
            each(f64::from_bits(packed.fixed64()?))?;
        }
        Ok(())
    }

    /// Steps over a field nobody here knows.
    pub(crate) fn skip(&mut self, tag: Tag) -> Result<()> {
        match tag.wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.fixed64().map(drop),
            Wire::Bytes => self.bytes().map(drop),
            Wire::Fixed32 if self.rest().len() >= 4 => {
                self.pos += 4;
                Ok(())
            }
            Wire::Fixed32 => self.fault("message ends inside a 32-bit word"),
        }
    }

    /// Reads `0x09 <8 bytes> 0x10 <varint>` to the end of the message: field 1 a double, field 2 an integer, as every
    /// sender lays out a sample. `None`, with nothing read, for any other layout.
    #[inline]
    pub(crate) fn double_then_varint(&self) -> Option<(u64, i64)> {
        let rest = self.rest();
        if rest.len() < 11 || rest[0] != 0x09 || rest[9] != 0x10 {
            return None;
        }
        let bits = u64::from_le_bytes(*rest[1..].first_chunk::<8>()?);
        let mut value = 0u64;
        // Nine groups of seven bits: a positive 63-bit integer. Negative times go the slow way.
        for (i, &byte) in rest[10..].iter().take(9).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return (rest.len() == 11 + i).then_some((bits, value.cast_signed()));
            }
        }
        None
    }
}

#[inline]
pub(crate) fn low_word(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
