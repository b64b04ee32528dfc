//! Cuts runs of fields without quotes, 64 bytes at a time.
//!
//! Called by `csv` for each record, and again behind each quoted field. A block becomes a word with a bit for each comma and one with a bit
//! for each line end and quote; fields follow from the bits, so that a branch is decided once in a block and not at every byte.
//!
//! Invariants: no byte is looked at beyond the data. Not here: what is in a quoted field.

use super::before_return;
use crate::record::Span;

/// Bytes that are looked at together: as many as a word has bits.
const BLOCK: usize = 64;

/// Where a run of fields without quotes stops.
pub(super) enum Stop {
    /// A line ends; without the carriage return in front of it, the record does so at `end`.
    LineEnd { end: usize, next: usize },
    /// A field begins with a quote.
    Quote { field: usize },
    /// The bytes end in a field.
    Open { field: usize },
}

/// Places in a block, a bit each.
struct Marks {
    commas: u64,
    /// Line ends and quotes.
    stops: u64,
}

/// Cuts fields from `start` on, the begin of one.
pub(super) fn unquoted(data: &[u8], start: usize, spans: &mut Vec<Span>) -> Stop {
    let (mut field, mut at) = (start, start);
    while at < data.len() {
        let rest = data.get(at..).unwrap_or_default();
        let Marks { mut commas, stops } = match rest.first_chunk::<BLOCK>() {
            Some(block) => marks(block),
            None => marks_of_end(rest),
        };
        let mut stop = stops;
        // Up to the first stop that is one, the commas are separators.
        while stop != 0 {
            let place = at + stop.trailing_zeros() as usize;
            let below = (stop & stop.wrapping_neg()) - 1;
            field = fields(commas & below, at, field, spans);
            commas &= !below;
            if data.get(place) == Some(&b'\n') {
                let end = before_return(data, place).max(field);
                spans.push(Span::raw(field, end));
                return Stop::LineEnd { end, next: place + 1 };
            }
            if place == field {
                return Stop::Quote { field };
            }
            // A quote within a field is a character like others.
            stop &= stop - 1;
        }
        field = fields(commas, at, field, spans);
        at += BLOCK;
    }
    Stop::Open { field }
}

/// Ends a field at each of the commas, and tells where the next one begins. Records are bounded far below what a place can be.
fn fields(mut commas: u64, at: usize, field: usize, spans: &mut Vec<Span>) -> usize {
    let [at, mut field] = [at, field].map(|place| u32::try_from(place).unwrap_or(u32::MAX));
    // How many there are is told first, so that there is room for them all.
    spans.extend((0..commas.count_ones()).map(|_| {
        let place = at.wrapping_add(commas.trailing_zeros());
        commas &= commas.wrapping_sub(1);
        let span = Span::at(field, place);
        field = place.wrapping_add(1);
        span
    }));
    field as usize
}

/// What is left of the data, with zeros behind.
#[cold]
fn marks_of_end(rest: &[u8]) -> Marks {
    let mut block = [0; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    marks(&block)
}

/// Bytes are compared in a loop that compilers turn into instructions for many bytes at once; what comes of eight is then one product.
fn marks(block: &[u8; BLOCK]) -> Marks {
    /// Any of the three, of each byte.
    const ANY: u64 = 0x0101_0101_0101_0101;
    /// Moves the lowest bit of each byte next to that of the one before, into the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut kinds = [0_u8; BLOCK];
    for (kind, byte) in kinds.iter_mut().zip(block) {
        let is_stop = u8::from(*byte == b'\n') | u8::from(*byte == b'"');
        *kind = u8::from(*byte == b',') | is_stop | (is_stop << 1);
    }
    let (words, _) = kinds.as_chunks::<8>();
    let gather = |shift: u32| {
        let bits = |word: &[u8; 8]| ((u64::from_le_bytes(*word) >> shift) & ANY).wrapping_mul(GATHER) >> 56;
        words.iter().rev().fold(0, |all, word| (all << 8) | bits(word))
    };
    let (any, stops) = (gather(0), words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word)) & (ANY << 1));
    // Most blocks have none.
    let stops = if stops == 0 { 0 } else { gather(1) };
    Marks { commas: any ^ stops, stops }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_those_of_a_byte_at_a_time() {
        let bytes = [b',', b'\n', b'"', b'a', 0, 0x80, 0xac, 0xff, b'-', b'+', 0x0b, 0x23];
        for start in 0..200_usize {
            let block: [u8; BLOCK] = std::array::from_fn(|i| bytes[(start * 7 + i * i + i * start) % bytes.len()]);
            let bits = |is: &dyn Fn(u8) -> bool| (0..BLOCK).fold(0, |bits, i| bits | (u64::from(is(block[i])) << i));
            let found = marks(&block);
            assert_eq!(found.commas, bits(&|byte| byte == b','));
            assert_eq!(found.stops, bits(&|byte| byte == b'\n' || byte == b'"'));
        }
    }
}
