//! XOR chunks against an encoder of our own, and whatever bytes against all decoders.

use proptest::prelude::*;

use super::*;
use crate::{samples::Samples, tsdb::chunk};

/// Writes bits, most significant first.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    used: u32,
}

impl Out {
    fn bits(&mut self, value: u64, n: u32) {
        for i in (0..n).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let bit = u8::from(value >> i & 1 == 1) << (7 - self.used);
            *self.bytes.last_mut().unwrap() |= bit;
            self.used = (self.used + 1) % 8;
        }
    }

    fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bits(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.bits(value, 8);
    }

    /// The difference to the value before, in the window that holds or a new one.
    fn xor(&mut self, difference: u64, window: &mut Option<(u32, u32)>) {
        if difference == 0 {
            return self.bits(0, 1);
        }
        let (leading, trailing) = (difference.leading_zeros().min(31), difference.trailing_zeros());
        match *window {
            Some((l, t)) if leading >= l && trailing >= t => {
                self.bits(0b10, 2);
                self.bits(difference >> t, 64 - l - t);
            }
            _ => {
                *window = Some((leading, trailing));
                let width = 64 - leading - trailing;
                self.bits(0b11, 2);
                self.bits(leading.into(), 5);
                self.bits(u64::from(width) & 63, 6);
                self.bits(difference >> trailing, width);
            }
        }
    }
}

fn encoded(samples: &[(i64, u64)]) -> Vec<u8> {
    let mut out = Out::default();
    out.bits(samples.len().try_into().unwrap(), 16);
    let (mut before, mut delta, mut window) = ((0i64, 0u64), 0i64, None);
    for (i, &(ts, bits)) in samples.iter().enumerate() {
        let step = ts.wrapping_sub(before.0);
        match i {
            0 => {
                out.uvarint((ts << 1 ^ ts >> 63).cast_unsigned());
                out.bits(bits, 64);
            }
            1 => out.uvarint(step.cast_unsigned()),
            _ => {
                let dod = step.wrapping_sub(delta);
                let fits = |n: u32| (-(1i64 << (n - 1)) + 1..=1 << (n - 1)).contains(&dod);
                let (prefix, prefix_bits, n) = match dod {
                    0 => (0, 1, 0),
                    _ if fits(14) => (0b10, 2, 14),
                    _ if fits(17) => (0b110, 3, 17),
                    _ if fits(20) => (0b1110, 4, 20),
                    _ => (0b1111, 4, 64),
                };
                out.bits(prefix, prefix_bits);
                out.bits(dod.cast_unsigned(), n);
            }
        }
        if i > 0 {
            out.xor(bits ^ before.1, &mut window);
            delta = step;
        }
        before = (ts, bits);
    }
    out.bytes
}

fn decoded(bytes: &[u8]) -> Result<Vec<(i64, u64)>> {
    let mut out = Vec::new();
    xor(bytes, &mut out)?;
    Ok(out.iter().map(|sample| (sample.ts_ms, sample.bits)).collect())
}

fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => (0..20i32).prop_map(|v| f64::from(v).to_bits()),
        2 => any::<f64>().prop_map(f64::to_bits),
        1 => Just(STALE),
        1 => any::<u64>(),
    ]
}

fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![
        5 => Just(15_000i64),
        3 => 14_990..15_010i64,
        1 => -9_000_000..9_000_000i64,
        1 => any::<i64>(),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(first: i64, rest in prop::collection::vec((steps(), values()), 0..150)) {
        let mut ts = first;
        let samples: Vec<_> = rest.into_iter().map(|(step, value)| {
            ts = ts.wrapping_add(step);
            (ts, value)
        }).collect();
        prop_assert_eq!(decoded(&encoded(&samples)).unwrap(), samples);
    }

    #[test]
    fn a_chunk_that_is_cut_is_an_error(rest in prop::collection::vec(values(), 3..50), cut in 1..8usize) {
        let samples: Vec<_> = (0..).zip(rest).collect();
        let bytes = encoded(&samples);
        prop_assert!(decoded(&bytes[..bytes.len() - cut]).is_err());
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(encoding in 0..8u64, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut out = Samples::default();
        let decoded = chunk::decode(encoding, &bytes, &mut out);
        prop_assert!(decoded.is_ok() || out.is_empty());
    }
}

#[test]
fn a_count_that_lies_takes_no_memory() {
    let mut out = Vec::new();
    assert!(xor(&[0xff, 0xff, 0], &mut out).is_err());
    assert!(out.capacity() < 100);
    assert!(xor(&[0], &mut out).is_err() && xor2(&[0, 1], &mut out).is_err());
}
