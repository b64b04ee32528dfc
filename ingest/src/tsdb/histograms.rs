//! Decodes chunks of native histograms, integer and float, with and without start timestamps.
//!
//! Called by [`chunk`](super::chunk). A chunk has one layout (schema, spans, bounds) for all its histograms. Invariants: a span that
//! claims more buckets than there are bits is refused before memory is taken; what the chunk's header says about counter resets is
//! true of the histograms after the first only, since the chunk before may be gone.
//! Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>

use super::{
    Broken,
    bits::{Bits, Xor},
    samples::{Buckets, Count, Histogram, ResetHint, STALE_BITS},
    starts::Starts,
};

type Result<T> = std::result::Result<T, Broken>;

/// Bounds of one's own instead of exponential ones.
const CUSTOM: i32 = -53;
/// Exponential schemas that the format reserves.
const SCHEMAS: std::ops::RangeInclusive<i32> = -9..=52;

/// What all histograms of a chunk share.
struct Layout {
    schema: i32,
    zero_threshold: f64,
    positive: Spans,
    negative: Spans,
    custom_values: Vec<f64>,
}

struct Spans {
    spans: Vec<(i32, u32)>,
    buckets: usize,
}

/// Where a chunk keeps what: with start timestamps, the hint of resets has moved to make room.
struct Head {
    count: u16,
    gauge: bool,
    starts: Starts,
}

impl Head {
    fn read(data: &[u8], started: bool) -> Result<(Self, Bits<'_>)> {
        let Some(([a, b, c], rest)) = data.split_first_chunk::<3>() else {
            return Err(Broken("chunk has no header"));
        };
        let count = u16::from_be_bytes([*a, *b]);
        let head = if started {
            Self { count: count & 0x3fff, gauge: a >> 6 == 0b11, starts: Starts::new(*c) }
        } else {
            Self { count, gauge: c >> 6 == 0b11, starts: Starts::default() }
        };
        Ok((head, Bits::new(rest)))
    }

    fn hint(&self, i: u16) -> ResetHint {
        match i {
            _ if self.gauge => ResetHint::Gauge,
            0 => ResetHint::Unknown,
            _ => ResetHint::No,
        }
    }
}

/// Histograms that count observations.
pub(super) fn int(data: &[u8], started: bool, out: &mut Vec<Histogram>) -> Result<()> {
    let (mut head, mut bits) = Head::read(data, started)?;
    if head.count == 0 {
        return Ok(());
    }
    let layout = Layout::read(&mut bits, 1)?;
    let mut time = Dod::default();
    let (mut count, mut zero_count, mut sum) = (Dod::default(), Dod::default(), Xor::default());
    let mut positive = vec![Dod::default(); layout.positive.buckets];
    let mut negative = vec![Dod::default(); layout.negative.buckets];
    for i in 0..head.count {
        let before_ms = time.value;
        if i == 0 {
            time.value = bits.varbit()?;
            count.value = bits.varbit_unsigned()?.cast_signed();
            zero_count.value = bits.varbit_unsigned()?.cast_signed();
            sum = Xor::new(bits.double_bits()?);
        } else {
            time.read(&mut bits)?;
            count.read(&mut bits)?;
            zero_count.read(&mut bits)?;
            sum.read(&mut bits)?;
        }
        // A marker of staleness has no buckets; only the first of a chunk is written like any other.
        if i == 0 || sum.bits != STALE_BITS {
            for bucket in positive.iter_mut().chain(&mut negative) {
                if i == 0 { bucket.value = bits.varbit()? } else { bucket.read(&mut bits)? }
            }
        }
        let start_ms = head.starts.read(&mut bits, i, time.value, before_ms)?;
        let of = |count: Dod| Count::Int(count.value.cast_unsigned());
        let deltas = |buckets: &[Dod]| buckets.iter().map(|bucket| bucket.value).collect();
        out.push(if sum.bits == STALE_BITS {
            Histogram { start_ms, ..Histogram::stale(time.value, Count::Int(0)) }
        } else {
            Histogram {
                positive: Buckets { deltas: deltas(&positive), ..layout.positive.buckets() },
                negative: Buckets { deltas: deltas(&negative), ..layout.negative.buckets() },
                start_ms,
                ..layout.histogram(time.value, of(count), of(zero_count), (sum.bits, head.hint(i)))
            }
        });
    }
    Ok(())
}

/// Histograms that were calculated.
pub(super) fn float(data: &[u8], started: bool, out: &mut Vec<Histogram>) -> Result<()> {
    let (mut head, mut bits) = Head::read(data, started)?;
    if head.count == 0 {
        return Ok(());
    }
    let layout = Layout::read(&mut bits, 64)?;
    let mut time = Dod::default();
    let (mut count, mut zero_count, mut sum) = (Xor::default(), Xor::default(), Xor::default());
    let mut positive = vec![Xor::default(); layout.positive.buckets];
    let mut negative = vec![Xor::default(); layout.negative.buckets];
    for i in 0..head.count {
        let before_ms = time.value;
        if i == 0 {
            time.value = bits.varbit()?;
            for value in [&mut count, &mut zero_count, &mut sum] {
                *value = Xor::new(bits.double_bits()?);
            }
        } else {
            time.read(&mut bits)?;
            count.read(&mut bits)?;
            zero_count.read(&mut bits)?;
            sum.read(&mut bits)?;
        }
        if i == 0 || sum.bits != STALE_BITS {
            for bucket in positive.iter_mut().chain(&mut negative) {
                if i == 0 { *bucket = Xor::new(bits.double_bits()?) } else { bucket.read(&mut bits)? }
            }
        }
        let start_ms = head.starts.read(&mut bits, i, time.value, before_ms)?;
        let of = |count: Xor| Count::Float(f64::from_bits(count.bits));
        let counts = |buckets: &[Xor]| buckets.iter().map(|bucket| f64::from_bits(bucket.bits)).collect();
        out.push(if sum.bits == STALE_BITS {
            Histogram { start_ms, ..Histogram::stale(time.value, Count::Float(0.0)) }
        } else {
            Histogram {
                positive: Buckets { counts: counts(&positive), ..layout.positive.buckets() },
                negative: Buckets { counts: counts(&negative), ..layout.negative.buckets() },
                start_ms,
                ..layout.histogram(time.value, of(count), of(zero_count), (sum.bits, head.hint(i)))
            }
        });
    }
    Ok(())
}

/// A number of which the change of its change is stored.
#[derive(Clone, Copy, Default)]
struct Dod {
    value: i64,
    delta: i64,
}

impl Dod {
    #[inline]
    fn read(&mut self, bits: &mut Bits<'_>) -> Result<()> {
        self.delta = self.delta.wrapping_add(bits.varbit()?);
        self.value = self.value.wrapping_add(self.delta);
        Ok(())
    }
}

impl Layout {
    /// Reads it, of a chunk whose first histogram has so many bits a bucket at least.
    fn read(bits: &mut Bits<'_>, bucket_bits_min: usize) -> Result<Self> {
        let zero_threshold = match bits.word(8)? {
            0 => 0.0,
            255 => f64::from_bits(bits.double_bits()?),
            // A power of two; its exponent is between -243 and 10, so this is an exact, normal number.
            exponent => f64::from_bits((exponent + 1023 - 244) << 52),
        };
        let schema = i32::try_from(bits.varbit()?).ok().filter(|schema| *schema == CUSTOM || SCHEMAS.contains(schema));
        let schema = schema.ok_or(Broken("histogram has a schema that is not known"))?;
        let positive = Spans::read(bits)?;
        let negative = Spans::read(bits)?;
        let mut custom_values = Vec::new();
        if schema == CUSTOM {
            for _ in 0..bits.varbit_unsigned()? {
                custom_values.push(bound(bits)?);
            }
        }
        let buckets = positive.buckets.saturating_add(negative.buckets);
        if buckets.saturating_mul(bucket_bits_min) > bits.left() {
            return Err(Broken("histogram has more buckets than there are bytes"));
        }
        Ok(Self { schema, zero_threshold, positive, negative, custom_values })
    }

    /// A histogram without buckets; sum and hint as a pair.
    fn histogram(&self, ts_ms: i64, count: Count, zero_count: Count, (sum_bits, hint): (u64, ResetHint)) -> Histogram {
        Histogram {
            zero_count,
            sum_bits,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            reset_hint: hint,
            custom_values: self.custom_values.clone(),
            ..Histogram::stale(ts_ms, count)
        }
    }
}

/// A bound: thousandths plus one if that is exact, else a zero and the double.
fn bound(bits: &mut Bits<'_>) -> Result<f64> {
    match bits.varbit_unsigned()? {
        0 => Ok(f64::from_bits(bits.double_bits()?)),
        #[allow(clippy::cast_precision_loss, reason = "writers keep below 2^25")]
        thousandths => Ok((thousandths - 1) as f64 / 1000.0),
    }
}

impl Spans {
    fn read(bits: &mut Bits<'_>) -> Result<Self> {
        let mut read = Self { spans: Vec::new(), buckets: 0 };
        for _ in 0..bits.varbit_unsigned()? {
            let length = u32::try_from(bits.varbit_unsigned()?);
            let offset = i32::try_from(bits.varbit()?);
            let (Ok(length), Ok(offset)) = (length, offset) else {
                return Err(Broken("span of buckets is out of range"));
            };
            read.buckets = read.buckets.saturating_add(length as usize);
            read.spans.push((offset, length));
        }
        Ok(read)
    }

    fn buckets(&self) -> Buckets {
        Buckets { spans: self.spans.clone(), ..Buckets::default() }
    }
}
