//! Chunks of native histograms, of integers and of floats.
//!
//! Called by the writer of chunks, a sample at a time. What all samples of a chunk have in common is written once, at its beginning:
//! schema, zero threshold, which buckets there are. A chunk also says that no counter was reset within it, so it is over where one was.
//!
//! Invariant: a histogram with other buckets than its spans say is an error, not a broken chunk.

use promql::{BucketSpan, CUSTOM, Histogram, IntegerHistogram, ResetHint, STALE};

use super::{
    bits::{Bits, Changing},
    chunks::{Chunk, Encoding, SAMPLES_MAX},
};
use crate::{Error, ErrorKind, Result, native::Kept};

/// What the first byte says of counter resets before the first histogram.
#[derive(Debug, Clone, Copy)]
enum Header {
    Unknown = 0,
    NoReset = 0b0100_0000,
    Reset = 0b1000_0000,
    Gauge = 0b1100_0000,
}

/// A chunk that is being written.
pub(super) struct Open {
    times_ms: (i64, i64),
    samples: u16,
    gap_ms: i64,
    header: Header,
    last: Kept,
    state: State,
    bits: Bits,
}

/// What the next histogram is written as the difference to.
enum State {
    Integers {
        sum: Changing,
        /// Differences of counts of all, of the zero bucket, and of each bucket.
        gaps: Vec<i64>,
    },
    Floats(Vec<Changing>),
}

/// What the histograms of a chunk have in common.
#[derive(PartialEq)]
struct Layout<'h> {
    is_integer: bool,
    is_gauge: bool,
    schema: i32,
    zero_threshold: f64,
    positive: &'h [BucketSpan],
    negative: &'h [BucketSpan],
    custom_values: &'h [f64],
}

impl Open {
    /// Adds a histogram to a chunk, or to a new one; also gives the chunk that is over.
    pub(super) fn add(open: Option<Self>, time_ms: i64, kept: Kept) -> Result<(Self, Option<Chunk>)> {
        let kept = checked(kept)?;
        let Some(mut open) = open else {
            let header = if layout(&kept).is_gauge { Header::Gauge } else { of_hint(&kept) };
            return Ok((Self::begin(time_ms, kept, header), None));
        };
        let is_alike = layout(&open.last) == layout(&kept) && !is_stale(&open.last) && !is_stale(&kept);
        let is_gauge = layout(&kept).is_gauge;
        let was_reset =
            is_alike && !is_gauge && counts(&open.last).zip(counts(&kept)).any(|(before, now)| now < before);
        let is_told = matches!(of_hint(&kept), Header::Reset);
        if is_alike && !was_reset && !is_told && open.samples < SAMPLES_MAX {
            open.append(time_ms, kept);
            return Ok((open, None));
        }
        let header = match () {
            () if is_gauge => Header::Gauge,
            () if was_reset || is_told => Header::Reset,
            () if is_alike => Header::NoReset,
            () => Header::Unknown,
        };
        Ok((Self::begin(time_ms, kept, header), Some(open.close())))
    }

    fn begin(time_ms: i64, kept: Kept, header: Header) -> Self {
        let mut bits = Bits::default();
        put_layout(&mut bits, &layout(&kept));
        bits.put_signed(time_ms);
        let state = match &kept {
            Kept::Integers(histogram) => {
                bits.put_unsigned(histogram.count);
                bits.put_unsigned(histogram.zero_count);
                bits.put_float(histogram.sum);
                let deltas = histogram.positive.1.iter().chain(&histogram.negative.1);
                deltas.for_each(|delta| bits.put_signed(*delta));
                State::Integers { sum: Changing::new(histogram.sum), gaps: vec![0; integers(histogram).count()] }
            }
            Kept::Floats(histogram) => {
                floats(histogram).for_each(|value| bits.put_float(value));
                State::Floats(floats(histogram).map(Changing::new).collect())
            }
        };
        Self { times_ms: (time_ms, time_ms), samples: 1, gap_ms: 0, header, last: kept, state, bits }
    }

    fn append(&mut self, time_ms: i64, kept: Kept) {
        let bits = &mut self.bits;
        let gap_ms = time_ms.wrapping_sub(self.times_ms.1);
        bits.put_signed(gap_ms.wrapping_sub(self.gap_ms));
        match (&mut self.state, &self.last, &kept) {
            (State::Integers { sum, gaps }, Kept::Integers(before), Kept::Integers(now)) => {
                let all = integers(before).zip(integers(now)).zip(gaps).enumerate();
                for (at, ((before, now), gap)) in all {
                    let of_gap = now.wrapping_sub(before);
                    bits.put_signed(of_gap.wrapping_sub(*gap));
                    *gap = of_gap;
                    // The sum stands after the counts of all and of the zero bucket.
                    if at == 1 {
                        sum.put(bits, *sum_of(&kept));
                    }
                }
            }
            (State::Floats(values), _, Kept::Floats(now)) => {
                values.iter_mut().zip(floats(now)).for_each(|(value, now)| value.put(bits, now));
            }
            // A chunk takes histograms of its kind only.
            _ => {}
        }
        (self.times_ms.1, self.gap_ms, self.last) = (time_ms, gap_ms, kept);
        self.samples += 1;
    }

    /// The chunk as it is.
    pub(super) fn close(self) -> Chunk {
        let encoding = match &self.state {
            State::Integers { .. } => Encoding::Histogram,
            State::Floats(_) => Encoding::FloatHistogram,
        };
        let mut bytes = self.samples.to_be_bytes().to_vec();
        bytes.push(self.header as u8);
        bytes.append(&mut self.bits.into_bytes());
        Chunk { times_ms: self.times_ms, encoding, bytes }
    }
}

/// A histogram as chunks have it: one that says that its series has ended has nothing but that.
fn checked(kept: Kept) -> Result<Kept> {
    let kept = match kept {
        Kept::Integers(IntegerHistogram { sum, .. }) if sum.to_bits() == STALE => {
            Kept::Integers(IntegerHistogram { sum, ..IntegerHistogram::default() })
        }
        Kept::Floats(Histogram { sum, .. }) if sum.to_bits() == STALE => {
            Kept::Floats(Histogram { sum, ..Histogram::default() })
        }
        kept => kept,
    };
    let fits = |spans: &[BucketSpan], buckets: usize| {
        spans.iter().map(|span| u64::from(span.length)).sum::<u64>() == buckets as u64
    };
    let is_right = match &kept {
        Kept::Integers(histogram) => {
            let (positive, negative) = (&histogram.positive, &histogram.negative);
            fits(&positive.0, positive.1.len()) && fits(&negative.0, negative.1.len())
        }
        Kept::Floats(histogram) => {
            let (positive, negative) = (&histogram.positive, &histogram.negative);
            fits(&positive.spans, positive.counts.len()) && fits(&negative.spans, negative.counts.len())
        }
    };
    if is_right {
        return Ok(kept);
    }
    Err(Error::new(ErrorKind::Internal, "a histogram has other buckets than its spans say"))
}

fn layout(kept: &Kept) -> Layout<'_> {
    match kept {
        Kept::Integers(histogram) => Layout {
            is_integer: true,
            is_gauge: histogram.hint == ResetHint::Gauge,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            positive: &histogram.positive.0,
            negative: &histogram.negative.0,
            custom_values: &histogram.custom_values,
        },
        Kept::Floats(histogram) => Layout {
            is_integer: false,
            is_gauge: histogram.hint == ResetHint::Gauge,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            positive: &histogram.positive.spans,
            negative: &histogram.negative.spans,
            custom_values: &histogram.custom_values,
        },
    }
}

fn of_hint(kept: &Kept) -> Header {
    let hint = match kept {
        Kept::Integers(histogram) => histogram.hint,
        Kept::Floats(histogram) => histogram.hint,
    };
    match hint {
        ResetHint::Reset => Header::Reset,
        ResetHint::Gauge => Header::Gauge,
        // That there was none since a sample which may not be in the answer says nothing here.
        ResetHint::Unknown | ResetHint::NoReset => Header::Unknown,
    }
}

fn sum_of(kept: &Kept) -> &f64 {
    match kept {
        Kept::Integers(histogram) => &histogram.sum,
        Kept::Floats(histogram) => &histogram.sum,
    }
}

fn is_stale(kept: &Kept) -> bool {
    sum_of(kept).to_bits() == STALE
}

/// The numbers of a histogram of integers that are written as differences.
fn integers(histogram: &IntegerHistogram) -> impl Iterator<Item = i64> {
    let totals = [histogram.count, histogram.zero_count].map(u64::cast_signed);
    totals.into_iter().chain(histogram.positive.1.iter().copied()).chain(histogram.negative.1.iter().copied())
}

/// The numbers of a histogram of floats.
fn floats(histogram: &Histogram) -> impl Iterator<Item = f64> {
    let totals = [histogram.count, histogram.zero_count, histogram.sum];
    let buckets = histogram.positive.counts.iter().chain(&histogram.negative.counts);
    totals.into_iter().chain(buckets.copied())
}

/// What does not decrease unless a counter is reset.
fn counts(kept: &Kept) -> Box<dyn Iterator<Item = f64> + '_> {
    match kept {
        Kept::Integers(histogram) => {
            #[expect(clippy::cast_precision_loss, reason = "a reset is no difference of one in 2^53")]
            let totals = [histogram.count, histogram.zero_count].map(|count| count as f64);
            let side = |deltas: &'_ [i64]| -> Vec<f64> {
                let absolute = deltas.iter().scan(0_i64, |count, delta| {
                    *count = count.wrapping_add(*delta);
                    Some(*count)
                });
                #[expect(clippy::cast_precision_loss, reason = "as above")]
                absolute.map(|count| count as f64).collect()
            };
            let (positive, negative) = (side(&histogram.positive.1), side(&histogram.negative.1));
            Box::new(totals.into_iter().chain(positive).chain(negative))
        }
        Kept::Floats(histogram) => {
            let buckets = histogram.positive.counts.iter().chain(&histogram.negative.counts);
            Box::new([histogram.count, histogram.zero_count].into_iter().chain(buckets.copied()))
        }
    }
}

fn put_layout(bits: &mut Bits, layout: &Layout<'_>) {
    put_zero_threshold(bits, layout.zero_threshold);
    bits.put_signed(layout.schema.into());
    for spans in [layout.positive, layout.negative] {
        bits.put_unsigned(spans.len() as u64);
        for span in spans {
            bits.put_unsigned(span.length.into());
            bits.put_signed(span.offset.into());
        }
    }
    if layout.schema == CUSTOM {
        bits.put_unsigned(layout.custom_values.len() as u64);
        layout.custom_values.iter().for_each(|bound| put_bound(bits, *bound));
    }
}

/// Powers of two, which thresholds are, take one byte.
fn put_zero_threshold(bits: &mut Bits, threshold: f64) {
    let all = threshold.to_bits();
    // Of 2^(n - 1022) with half as the fraction.
    let exponent = i64::try_from(all >> 52).unwrap_or(0) - 1022;
    let is_power = all & ((1 << 52) - 1) == 0;
    match u8::try_from(exponent + 243) {
        _ if threshold == 0.0 => bits.put_byte(0),
        Ok(byte @ 1..=254) if is_power => bits.put_byte(byte),
        _ => {
            bits.put_byte(255);
            bits.put_float(threshold);
        }
    }
}

/// Bounds of whole thousandths are short.
fn put_bound(bits: &mut Bits, bound: f64) {
    let thousandths = (bound * 1000.0).round();
    let is_whole = thousandths / 1000.0 == bound;
    if !(0.0..=33_554_430.0).contains(&(bound * 1000.0)) || !is_whole {
        bits.put_bit(false);
        bits.put_float(bound);
        return;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range and whole")]
    bits.put_unsigned(thousandths as u64 + 1);
}
