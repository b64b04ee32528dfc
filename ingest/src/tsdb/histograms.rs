//! Decodes chunks of native histograms, integer and float, with and without start timestamps.
//!
//! Called by [`chunk`](super::chunk). A chunk has one layout (schema, spans, bounds) for all its histograms. Invariants: a span that
//! claims more buckets than there are bits is refused before memory is taken, and so is a layout that all histograms together would make
//! too large; what the chunk's header says about counter resets is true of the histograms after the first only, since the chunk before
//! may be gone.
//! Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>

use promql::STALE;

use super::{
    Broken,
    bits::{Bits, Xor},
    starts::Starts,
};
use crate::samples::{Buckets, Count, Histogram, ResetHint};

type Result<T> = std::result::Result<T, Broken>;

/// Bounds of one's own instead of exponential ones.
const CUSTOM: i32 = -53;
/// Exponential schemas that the format reserves.
const SCHEMAS: std::ops::RangeInclusive<i32> = -9..=52;

/// Spans of a sign, or bounds, that are believed. A span is a few bits, also one without buckets, which Prometheus writes as well; real
/// histograms have some hundred buckets in all.
const PARTS_MAX: u64 = 10_000;
/// Spans, buckets and bounds of all histograms of a chunk, some 128 MiB. Each histogram gets the spans and bounds of its chunk, which
/// has them once: without a limit a megabyte of chunk would fill the memory. Real chunks have some hundred histograms.
const ELEMENTS_MAX: usize = 16 << 20;

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

/// A number that changes from histogram to histogram: counts of observations as integers, or as doubles.
trait Changing: Copy + Default {
    /// Bits of the shortest bucket of a chunk's first histogram.
    const FIRST_BITS_MIN: usize;

    /// A count in a chunk's first histogram.
    fn first_count(bits: &mut Bits<'_>) -> Result<Self>;

    /// A bucket there.
    fn first_bucket(bits: &mut Bits<'_>) -> Result<Self>;

    /// Goes on to the next histogram's.
    fn next(&mut self, bits: &mut Bits<'_>) -> Result<()>;

    fn count(self) -> Count;

    fn put_buckets(values: &[Self], buckets: &mut Buckets);
}

impl Changing for Dod {
    const FIRST_BITS_MIN: usize = 1;

    fn first_count(bits: &mut Bits<'_>) -> Result<Self> {
        Ok(Self { value: bits.varbit_unsigned()?.cast_signed(), delta: 0 })
    }

    fn first_bucket(bits: &mut Bits<'_>) -> Result<Self> {
        Ok(Self { value: bits.varbit()?, delta: 0 })
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<()> {
        self.read(bits)
    }

    fn count(self) -> Count {
        Count::Int(self.value.cast_unsigned())
    }

    fn put_buckets(values: &[Self], buckets: &mut Buckets) {
        buckets.deltas = values.iter().map(|bucket| bucket.value).collect();
    }
}

impl Changing for Xor {
    const FIRST_BITS_MIN: usize = 64;

    fn first_count(bits: &mut Bits<'_>) -> Result<Self> {
        Ok(Self::new(bits.double_bits()?))
    }

    fn first_bucket(bits: &mut Bits<'_>) -> Result<Self> {
        Self::first_count(bits)
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<()> {
        self.read(bits)
    }

    fn count(self) -> Count {
        Count::Float(f64::from_bits(self.bits))
    }

    fn put_buckets(values: &[Self], buckets: &mut Buckets) {
        buckets.counts = values.iter().map(|bucket| f64::from_bits(bucket.bits)).collect();
    }
}

/// Histograms that count observations.
pub(super) fn int(data: &[u8], started: bool, out: &mut Vec<Histogram>) -> Result<()> {
    decode::<Dod>(data, started, out)
}

/// Histograms that were calculated.
pub(super) fn float(data: &[u8], started: bool, out: &mut Vec<Histogram>) -> Result<()> {
    decode::<Xor>(data, started, out)
}

fn decode<C: Changing>(data: &[u8], started: bool, out: &mut Vec<Histogram>) -> Result<()> {
    let (mut head, mut bits) = Head::read(data, started)?;
    if head.count == 0 {
        return Ok(());
    }
    let layout = Layout::read(&mut bits, C::FIRST_BITS_MIN)?;
    if layout.elements().saturating_mul(usize::from(head.count)) > ELEMENTS_MAX {
        return Err(Broken("histograms of the chunk are too large together"));
    }
    let mut time = Dod::default();
    let (mut count, mut zero_count, mut sum) = (C::default(), C::default(), Xor::default());
    let mut positive = vec![C::default(); layout.positive.buckets];
    let mut negative = vec![C::default(); layout.negative.buckets];
    for i in 0..head.count {
        let before_ms = time.value;
        if i == 0 {
            time.value = bits.varbit()?;
            count = C::first_count(&mut bits)?;
            zero_count = C::first_count(&mut bits)?;
            sum = Xor::new(bits.double_bits()?);
        } else {
            time.read(&mut bits)?;
            count.next(&mut bits)?;
            zero_count.next(&mut bits)?;
            sum.read(&mut bits)?;
        }
        // A marker of staleness has no buckets; only the first of a chunk is written like any other.
        if i == 0 || sum.bits != STALE {
            for bucket in positive.iter_mut().chain(&mut negative) {
                if i == 0 { *bucket = C::first_bucket(&mut bits)? } else { bucket.next(&mut bits)? }
            }
        }
        let start_ms = head.starts.read(&mut bits, i, time.value, before_ms)?;
        if sum.bits == STALE {
            out.push(Histogram { start_ms, ..Histogram::stale(time.value, C::default().count()) });
            continue;
        }
        let mut histogram = layout.histogram(time.value, count.count(), zero_count.count());
        (histogram.start_ms, histogram.sum_bits, histogram.reset_hint) = (start_ms, sum.bits, head.hint(i));
        C::put_buckets(&positive, &mut histogram.positive);
        C::put_buckets(&negative, &mut histogram.negative);
        out.push(histogram);
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
            let bounds = bits.varbit_unsigned()?;
            if bounds > PARTS_MAX {
                return Err(Broken("histogram has too many bounds"));
            }
            for _ in 0..bounds {
                custom_values.push(bound(bits)?);
            }
        }
        let buckets = positive.buckets.saturating_add(negative.buckets);
        if buckets.saturating_mul(bucket_bits_min) > bits.left() {
            return Err(Broken("histogram has more buckets than there are bytes"));
        }
        Ok(Self { schema, zero_threshold, positive, negative, custom_values })
    }

    /// Spans, buckets and bounds of each histogram.
    fn elements(&self) -> usize {
        let sides = [&self.positive, &self.negative].map(|side| side.spans.len().saturating_add(side.buckets));
        sides.into_iter().fold(self.custom_values.len(), usize::saturating_add)
    }

    /// A histogram of which sum, hint and what is in the buckets are still missing.
    fn histogram(&self, ts_ms: i64, count: Count, zero_count: Count) -> Histogram {
        Histogram {
            zero_count,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            positive: self.positive.buckets(),
            negative: self.negative.buckets(),
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
        let spans = bits.varbit_unsigned()?;
        if spans > PARTS_MAX {
            return Err(Broken("histogram has too many spans"));
        }
        for _ in 0..spans {
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

#[cfg(test)]
mod tests;
