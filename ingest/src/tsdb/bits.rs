//! Reads a chunk bit by bit: single bits, words of up to 64, and the numbers of variable width that chunks are made of.
//!
//! Called by the decoders of this folder. Bits come most significant first. Invariants: never reads beyond the bytes given; a
//! number that does not fit is an error and never wraps silently into another.

use super::Broken;

type Result<T> = std::result::Result<T, Broken>;

const ENDED: Broken = Broken("chunk ends inside a sample");

/// Bytes being read by the bit.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    /// The lowest `valid` bits are next.
    buffer: u64,
    valid: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, buffer: 0, valid: 0 }
    }

    /// Bits that are left, the padding of the last byte among them.
    pub(super) fn left(&self) -> usize {
        self.rest.len().saturating_mul(8).saturating_add(self.valid as usize)
    }

    fn refill(&mut self) {
        if let Some((word, rest)) = self.rest.split_first_chunk::<8>() {
            (self.buffer, self.valid, self.rest) = (u64::from_be_bytes(*word), 64, rest);
            return;
        }
        let buffer = self.rest.iter().fold(0, |buffer, byte| buffer << 8 | u64::from(*byte));
        // Fewer than eight bytes.
        self.valid = u32::try_from(self.rest.len()).unwrap_or_default() * 8;
        (self.buffer, self.rest) = (buffer, &[]);
    }

    #[inline]
    fn low(&self, n: u32) -> u64 {
        if n >= 64 { self.buffer } else { self.buffer & ((1 << n) - 1) }
    }

    #[inline]
    pub(super) fn bit(&mut self) -> Result<bool> {
        Ok(self.word(1)? == 1)
    }

    /// The next `n` bits, 64 at most.
    #[inline]
    pub(super) fn word(&mut self, n: u32) -> Result<u64> {
        if n <= self.valid {
            self.valid -= n;
            let word = self.buffer >> (self.valid % 64);
            return Ok(if n >= 64 { word } else { word & ((1 << n) - 1) });
        }
        let (high, lacking) = (self.low(self.valid), n - self.valid);
        self.refill();
        if lacking > self.valid {
            return Err(ENDED);
        }
        self.valid -= lacking;
        let low = self.buffer >> (self.valid % 64);
        Ok(if lacking >= 64 { low } else { high << lacking | (low & ((1 << lacking) - 1)) })
    }

    /// Ones up to the first zero, `max` at most. The zero is taken as well.
    #[inline]
    pub(super) fn ones(&mut self, max: u32) -> Result<u32> {
        let mut ones = 0;
        while ones < max && self.bit()? {
            ones += 1;
        }
        Ok(ones)
    }

    /// A signed number of `n` bits whose range is shifted by one: `-(2^(n-1) - 1)..=2^(n-1)`.
    #[inline]
    pub(super) fn shifted(&mut self, n: u32) -> Result<i64> {
        let word = self.word(n)?;
        let negative = n < 64 && word > 1 << (n - 1);
        Ok(if negative { word.wrapping_sub(1 << n) } else { word }.cast_signed())
    }

    /// A number in two's complement of `n` bits.
    #[inline]
    pub(super) fn signed(&mut self, n: u32) -> Result<i64> {
        let word = self.word(n)?;
        let negative = n < 64 && word >= 1 << (n - 1);
        Ok(if negative { word.wrapping_sub(1 << n) } else { word }.cast_signed())
    }

    /// A number in groups of seven bits, least significant first.
    pub(super) fn uvarint(&mut self) -> Result<u64> {
        let mut value = 0;
        for i in 0..10 {
            let byte = self.word(8)?;
            if i == 9 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Broken("number is longer than 64 bits"))
    }

    pub(super) fn varint(&mut self) -> Result<i64> {
        let value = self.uvarint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A signed number in one of nine widths, small ones shortest.
    #[inline]
    pub(super) fn varbit(&mut self) -> Result<i64> {
        match self.width()? {
            0 => Ok(0),
            width => self.shifted(width),
        }
    }

    /// As [`Self::varbit`], without a sign.
    pub(super) fn varbit_unsigned(&mut self) -> Result<u64> {
        let width = self.width()?;
        self.word(width)
    }

    fn width(&mut self) -> Result<u32> {
        const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];
        Ok(WIDTHS[self.ones(8)? as usize])
    }

    pub(super) fn double_bits(&mut self) -> Result<u64> {
        self.word(64)
    }
}

/// A double of which each value is stored as its difference, by XOR, to the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Xor {
    pub(super) bits: u64,
    leading: u32,
    trailing: u32,
}

impl Xor {
    pub(super) fn new(bits: u64) -> Self {
        Self { bits, ..Self::default() }
    }

    /// `0`: unchanged; `10`: bits in the window that holds; `11`: a new window and its bits.
    #[inline]
    pub(super) fn read(&mut self, bits: &mut Bits<'_>) -> Result<()> {
        if !bits.bit()? {
            return Ok(());
        }
        if bits.bit()? { self.read_window(bits) } else { self.read_kept(bits) }
    }

    /// The bits of the window that holds.
    #[inline]
    pub(super) fn read_kept(&mut self, bits: &mut Bits<'_>) -> Result<()> {
        self.bits ^= bits.word(64 - self.leading - self.trailing)? << self.trailing;
        Ok(())
    }

    /// A new window: zeros before it, its width, and its bits.
    #[inline]
    pub(super) fn read_window(&mut self, bits: &mut Bits<'_>) -> Result<()> {
        let leading = super::low_u32(bits.word(5)?);
        // 64 does not fit into six bits, and 0 is never needed.
        let width = match super::low_u32(bits.word(6)?) {
            0 => 64,
            width => width,
        };
        let Some(trailing) = 64u32.checked_sub(leading + width) else {
            return Err(Broken("difference of two values is wider than a value"));
        };
        (self.leading, self.trailing) = (leading, trailing);
        self.read_kept(bits)
    }
}
