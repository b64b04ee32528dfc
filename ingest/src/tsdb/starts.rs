//! Start timestamps as the newer chunks carry them: a byte of header, then a difference after each sample from some sample on.
//!
//! Called by the decoders of XOR2 and of histograms with start timestamps, which store them the same way.

use super::{Broken, bits::Bits};

/// Start timestamps of a chunk being read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Starts {
    first_known: bool,
    /// Index of the first sample that has its own, 0 if none has.
    from: u16,
    start_ms: i64,
    /// How long before the sample before this one it was.
    age_ms: i64,
}

impl Starts {
    pub(super) fn new(header: u8) -> Self {
        Self { first_known: header & 0x80 != 0, from: u16::from(header & 0x7f), start_ms: 0, age_ms: 0 }
    }

    /// The start of sample `i`, which follows its time and value; 0 if it is not known.
    #[inline]
    pub(super) fn read(&mut self, bits: &mut Bits<'_>, i: u16, ts_ms: i64, before_ms: i64) -> Result<i64, Broken> {
        if i == 0 {
            if self.first_known {
                self.start_ms = ts_ms.wrapping_sub(bits.varint()?);
            }
        } else if self.from > 0 && i >= self.from {
            let change = bits.varbit()?;
            self.age_ms = if i == self.from { change } else { self.age_ms.wrapping_add(change) };
            self.start_ms = before_ms.wrapping_sub(self.age_ms);
        }
        Ok(self.start_ms)
    }
}
