//! Decodes chunks of values: XOR, which every Prometheus writes, and XOR2, which adds start timestamps and markers of staleness.
//!
//! Called by [`chunk`](super::chunk). Times are differences of differences, values differences by XOR; what widths there are is in
//! the format's description. Invariants: memory grows with the bytes given; a chunk that ends early is an error.
//! Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>

use promql::STALE;

use super::{
    Broken,
    bits::{Bits, Xor},
    starts::Starts,
};
use crate::samples::Sample;

type Result<T> = std::result::Result<T, Broken>;

/// Bits of the smallest sample: one for the time, one for the value; XOR2 joins them.
const SAMPLE_BITS_MIN: usize = 1;

pub(super) fn xor(data: &[u8], out: &mut Vec<Sample>) -> Result<()> {
    let Some((head, rest)) = data.split_first_chunk::<2>() else { return Err(Broken("chunk has no header")) };
    let (count, mut bits) = (u16::from_be_bytes(*head), Bits::new(rest));
    reserve(out, count, &bits);
    let (mut ts_ms, mut delta, mut value) = (0i64, 0i64, Xor::default());
    for i in 0..count {
        match i {
            0 => {
                ts_ms = bits.varint()?;
                value = Xor::new(bits.double_bits()?);
            }
            1 => {
                delta = bits.uvarint()?.cast_signed();
                ts_ms = ts_ms.wrapping_add(delta);
                value.read(&mut bits)?;
            }
            _ => {
                let change = match bits.ones(4)? {
                    0 => 0,
                    1 => bits.shifted(14)?,
                    2 => bits.shifted(17)?,
                    3 => bits.shifted(20)?,
                    _ => bits.shifted(64)?,
                };
                delta = delta.wrapping_add(change);
                ts_ms = ts_ms.wrapping_add(delta);
                value.read(&mut bits)?;
            }
        }
        out.push(Sample { ts_ms, bits: value.bits, start_ms: 0 });
    }
    Ok(())
}

pub(super) fn xor2(data: &[u8], out: &mut Vec<Sample>) -> Result<()> {
    let Some(([a, b, starts], rest)) = data.split_first_chunk::<3>() else {
        return Err(Broken("chunk has no header"));
    };
    let (count, mut bits) = (u16::from_be_bytes([*a, *b]), Bits::new(rest));
    reserve(out, count, &bits);
    let mut starts = Starts::new(*starts);
    let (mut ts_ms, mut delta) = (0i64, 0i64);
    // A marker of staleness leaves the value to which the next one differs as it was.
    let mut value = Xor::default();
    for i in 0..count {
        let before_ms = ts_ms;
        let stale = match i {
            0 => {
                ts_ms = bits.varint()?;
                let first = bits.double_bits()?;
                if first != STALE {
                    value = Xor::new(first);
                }
                first == STALE
            }
            1 => {
                delta = bits.uvarint()?.cast_signed();
                ts_ms = ts_ms.wrapping_add(delta);
                differs(&mut value, &mut bits)?
            }
            _ => {
                let (change, stale) = joint(&mut value, &mut bits)?;
                delta = delta.wrapping_add(change);
                ts_ms = ts_ms.wrapping_add(delta);
                stale
            }
        };
        let start_ms = starts.read(&mut bits, i, ts_ms, before_ms)?;
        out.push(Sample { ts_ms, bits: if stale { STALE } else { value.bits }, start_ms });
    }
    Ok(())
}

/// How the difference of times changes, and whether this is a marker of staleness.
#[inline]
fn joint(value: &mut Xor, bits: &mut Bits<'_>) -> Result<(i64, bool)> {
    let change = match bits.ones(5)? {
        0 => return Ok((0, false)),
        1 => {
            if bits.bit()? {
                value.read_window(bits)?;
            } else {
                value.read_kept(bits)?;
            }
            return Ok((0, false));
        }
        2 => bits.signed(13)?,
        3 => bits.signed(20)?,
        4 => bits.signed(64)?,
        _ => return Ok((0, true)),
    };
    Ok((change, differs(value, bits)?))
}

/// The value of XOR2 where the time does not say that it differs: `0` it does not; `10` in the window that holds; `110` in a new
/// one; `111` a marker of staleness.
#[inline]
fn differs(value: &mut Xor, bits: &mut Bits<'_>) -> Result<bool> {
    match bits.ones(3)? {
        0 => Ok(false),
        1 => value.read_kept(bits).map(|()| false),
        2 => value.read_window(bits).map(|()| false),
        _ => Ok(true),
    }
}

/// Room for as many samples as the header says, and the bytes can hold.
fn reserve(out: &mut Vec<Sample>, count: u16, bits: &Bits<'_>) {
    out.reserve(usize::from(count).min(bits.left() / SAMPLE_BITS_MIN));
}

#[cfg(test)]
mod tests;
