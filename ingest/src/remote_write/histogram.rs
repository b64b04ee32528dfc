//! Decodes native histograms, says which contradict themselves, and scales down those finer than what is kept.
//!
//! Called by both decoders (the message is the same but for the start timestamp) and, after decoding, once per request.
//! Invariants: no bucket is expanded, so a span that claims four billion buckets costs nothing; an accepted histogram has
//! schema -4 to 8 or -53, and as many buckets as its spans say.
//! Spec: <https://prometheus.io/docs/specs/native_histograms/>

use xxhash_rust::xxh3::xxh3_64;

use super::{
    decoded::{self, Decoded, Histogram, Side},
    reject::{Reason, Reject},
};
use crate::{
    protobuf::{Reader, Result, Span, unzigzag},
    samples::{self, Buckets, Count, ResetHint},
};

/// Custom bounds instead of exponential ones.
const CUSTOM: i32 = -53;
/// Coarsest and finest exponential schema that is kept.
const SCHEMA_MIN: i32 = -4;
const SCHEMA_MAX: i32 = 8;
/// Finest schema the format reserves; up to here a histogram can be scaled down without loss of meaning.
const SCHEMA_RESERVED_MAX: i32 = 52;

/// Repeated fields of the histogram being read, which may come interleaved.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    negative: Buckets,
    positive: Buckets,
    custom_values: Vec<f64>,
    bytes: Vec<u8>,
}

impl Scratch {
    fn clear(&mut self) {
        for side in [&mut self.negative, &mut self.positive] {
            side.spans.clear();
            side.deltas.clear();
            side.counts.clear();
        }
        self.custom_values.clear();
    }
}

fn store_side(side: &Buckets, all: &mut decoded::Buckets) -> Side {
    Side {
        spans: store(&mut all.spans, &side.spans),
        deltas: store(&mut all.deltas, &side.deltas),
        counts: store(&mut all.floats, &side.counts),
    }
}

fn store<T: Copy>(all: &mut Vec<T>, items: &[T]) -> Span {
    let start = all.len();
    all.extend_from_slice(items);
    Span::new(start, all.len())
}

pub(super) fn read(out: &mut Decoded, mut reader: Reader<'_>) -> Result<()> {
    let at = reader.pos();
    let mut scratch = std::mem::take(&mut out.scratch);
    scratch.clear();
    let histogram = fields(&mut reader, &mut scratch);
    let stored = histogram.and_then(|mut histogram| {
        histogram.negative = store_side(&scratch.negative, &mut out.buckets);
        histogram.positive = store_side(&scratch.positive, &mut out.buckets);
        histogram.custom_values = store(&mut out.buckets.floats, &scratch.custom_values);
        out.push_histogram(at, histogram)
    });
    out.scratch = scratch;
    stored
}

/// One that stands alone, as an answer of remote read holds it: neither checked nor scaled.
pub(crate) fn whole(mut reader: Reader<'_>) -> Result<samples::Histogram> {
    let mut scratch = Scratch::default();
    let h = fields(&mut reader, &mut scratch)?;
    Ok(samples::Histogram {
        ts_ms: h.ts_ms,
        start_ms: h.start_ms,
        count: h.count,
        zero_count: h.zero_count,
        sum_bits: h.sum_bits,
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        reset_hint: h.reset_hint,
        positive: scratch.positive,
        negative: scratch.negative,
        custom_values: scratch.custom_values,
    })
}

fn fields(reader: &mut Reader<'_>, scratch: &mut Scratch) -> Result<Histogram> {
    let mut h = Histogram {
        ts_ms: 0,
        start_ms: 0,
        count: Count::Int(0),
        zero_count: Count::Int(0),
        sum_bits: 0,
        schema: 0,
        zero_threshold: 0.0,
        reset_hint: ResetHint::Unknown,
        negative: Side::default(),
        positive: Side::default(),
        custom_values: Span::default(),
        bits: 0,
        fault: None,
    };
    let mut zero_seen = false;
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => h.count = Count::Int(reader.uint64(tag)?),
            2 => h.count = Count::Float(reader.double(tag)?),
            3 => h.sum_bits = reader.double_bits(tag)?,
            4 => h.schema = reader.sint32(tag)?,
            5 => h.zero_threshold = reader.double(tag)?,
            6 => (h.zero_count, zero_seen) = (Count::Int(reader.uint64(tag)?), true),
            7 => (h.zero_count, zero_seen) = (Count::Float(reader.double(tag)?), true),
            8 => scratch.negative.spans.push(span(reader.message(tag)?)?),
            9 => reader.varints(tag, |v| push(&mut scratch.negative.deltas, unzigzag(v)))?,
            10 => reader.doubles(tag, |v| push(&mut scratch.negative.counts, v))?,
            11 => scratch.positive.spans.push(span(reader.message(tag)?)?),
            12 => reader.varints(tag, |v| push(&mut scratch.positive.deltas, unzigzag(v)))?,
            13 => reader.doubles(tag, |v| push(&mut scratch.positive.counts, v))?,
            // An open enumeration: a hint unknown here is no hint.
            14 => h.reset_hint = ResetHint::from_number(reader.uint64(tag)?),
            15 => h.ts_ms = reader.int64(tag)?,
            16 => reader.doubles(tag, |v| push(&mut scratch.custom_values, v))?,
            17 => h.start_ms = reader.int64(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    // A count of neither kind is the integer 0 of a stale marker, and so is a missing zero count, of either kind.
    if !zero_seen && matches!(h.count, Count::Float(_)) {
        h.zero_count = Count::Float(0.0);
    }
    Ok(h)
}

/// Each element takes at least a byte of the body, so the body's limit bounds these vectors.
fn push<T>(items: &mut Vec<T>, item: T) -> Result<()> {
    items.push(item);
    Ok(())
}

fn span(mut reader: Reader<'_>) -> Result<(i32, u32)> {
    let (mut offset, mut length) = (0, 0);
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => offset = reader.sint32(tag)?,
            2 => length = reader.uint32(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok((offset, length))
}

/// Checks, scales and hashes every histogram of a request.
pub(super) fn settle(out: &mut Decoded) {
    for i in 0..out.histograms.len() {
        let mut h = out.histograms[i];
        match check(&h, &out.buckets) {
            Err(text) => h.fault = Some(Reject::new(Reason::Histogram, text)),
            Ok(()) => {
                if h.schema > SCHEMA_MAX {
                    scale_down(&mut h, &mut out.buckets);
                }
                h.bits = content_hash(&h, &out.buckets, &mut out.scratch.bytes);
            }
        }
        out.histograms[i] = h;
    }
}

type Check = std::result::Result<(), &'static str>;

fn check(h: &Histogram, buckets: &decoded::Buckets) -> Check {
    match h.schema {
        CUSTOM => check_custom(h, buckets)?,
        SCHEMA_MIN..=SCHEMA_RESERVED_MAX => {
            if !h.custom_values.is_empty() {
                return Err("histogram has custom bounds but an exponential schema");
            }
            check_side(&h.negative, h.count, buckets)?;
        }
        _ => return Err("histogram has an unknown schema"),
    }
    check_side(&h.positive, h.count, buckets)?;
    match (h.count, h.zero_count) {
        (Count::Int(count), Count::Int(zero)) => check_sum(h, count, zero, buckets),
        (Count::Float(count), Count::Float(zero)) => {
            // Not compared with the sum of buckets: floats added in another order differ.
            if count < 0.0 || zero < 0.0 { Err("histogram has a negative count") } else { Ok(()) }
        }
        _ => Err("histogram mixes integer and float counts"),
    }
}

fn check_custom(h: &Histogram, buckets: &decoded::Buckets) -> Check {
    let bounds = &buckets.floats[h.custom_values.range()];
    let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    if !rising || bounds.iter().any(|b| b.is_nan()) || bounds.last() == Some(&f64::INFINITY) {
        return Err("histogram has custom bounds that do not rise, or that end in +Inf");
    }
    let zero = matches!(h.zero_count, Count::Int(0)) || h.zero_count == Count::Float(0.0);
    if !zero || h.zero_threshold != 0.0 {
        return Err("histogram has custom bounds and a zero bucket");
    }
    if !(h.negative.spans.is_empty() && h.negative.deltas.is_empty() && h.negative.counts.is_empty()) {
        return Err("histogram has custom bounds and negative buckets");
    }
    let last = indices_end(&buckets.spans[h.positive.spans.range()]);
    let first = buckets.spans[h.positive.spans.range()].first().map_or(0, |span| span.0);
    // One bucket more than bounds: the one up to +Inf.
    if first < 0 || last > i64::try_from(bounds.len()).unwrap_or(i64::MAX) + 1 {
        return Err("histogram has buckets beyond its custom bounds");
    }
    Ok(())
}

/// Index after the last bucket, counted from 0 as spans do.
fn indices_end(spans: &[(i32, u32)]) -> i64 {
    spans.iter().map(|(offset, length)| i64::from(*offset) + i64::from(*length)).sum()
}

fn check_side(side: &Side, count: Count, buckets: &decoded::Buckets) -> Check {
    let spans = &buckets.spans[side.spans.range()];
    if spans.iter().skip(1).any(|(offset, _)| *offset < 0) {
        return Err("histogram has overlapping spans");
    }
    let in_spans: u64 = spans.iter().map(|(_, length)| u64::from(*length)).sum();
    let (used, unused) = match count {
        Count::Int(_) => (side.deltas, side.counts),
        Count::Float(_) => (side.counts, side.deltas),
    };
    if !unused.is_empty() {
        return Err("histogram mixes integer and float buckets");
    }
    if usize::try_from(in_spans) != Ok(used.len()) {
        return Err("histogram has more or fewer buckets than its spans say");
    }
    if i32::try_from(indices_end(spans)).is_err() {
        return Err("histogram has a bucket index out of range");
    }
    match count {
        Count::Int(_) => int_sum(&buckets.deltas[side.deltas.range()]).map(drop),
        Count::Float(_) if buckets.floats[side.counts.range()].iter().any(|c| *c < 0.0) => {
            Err("histogram has a negative bucket")
        }
        Count::Float(_) => Ok(()),
    }
}

/// Sum of bucket counts that are given as differences.
fn int_sum(deltas: &[i64]) -> std::result::Result<u64, &'static str> {
    const OVERFLOW: &str = "histogram has bucket counts beyond 64 bits";
    let (mut bucket, mut sum) = (0i64, 0u64);
    for delta in deltas {
        bucket = bucket.checked_add(*delta).ok_or(OVERFLOW)?;
        let count = u64::try_from(bucket).map_err(|_| "histogram has a negative bucket")?;
        sum = sum.checked_add(count).ok_or(OVERFLOW)?;
    }
    Ok(sum)
}

fn check_sum(h: &Histogram, count: u64, zero: u64, buckets: &decoded::Buckets) -> Check {
    if i64::try_from(count).is_err() || i64::try_from(zero).is_err() {
        return Err("histogram has a count beyond 63 bits");
    }
    let negative = int_sum(&buckets.deltas[h.negative.deltas.range()])?;
    let positive = int_sum(&buckets.deltas[h.positive.deltas.range()])?;
    let Some(sum) = negative.checked_add(positive).and_then(|sum| sum.checked_add(zero)) else {
        return Err("histogram has bucket counts beyond 64 bits");
    };
    // An observation of NaN raises the count and is in no bucket; it also makes the sum NaN.
    if f64::from_bits(h.sum_bits).is_nan() {
        return if sum <= count {
            Ok(())
        } else {
            Err("histogram has more observations in its buckets than its count")
        };
    }
    if sum == count { Ok(()) } else { Err("histogram count is not the sum of its buckets") }
}

/// Merges buckets until the schema is the finest that is kept: bucket `i` of schema `s` lies in bucket
/// `((i - 1) >> (s - t)) + 1` of schema `t`.
fn scale_down(h: &mut Histogram, buckets: &mut decoded::Buckets) {
    let by = h.schema - SCHEMA_MAX;
    for side in [&mut h.negative, &mut h.positive] {
        let spans: Vec<(i32, u32)> = buckets.spans[side.spans.range()].to_vec();
        let mut runs = Vec::new();
        match h.count {
            Count::Int(_) => {
                let mut absolute = 0i64;
                let deltas = buckets.deltas[side.deltas.range()].to_vec();
                // Sums were checked to fit.
                let counts = deltas.iter().map(|delta| {
                    absolute += delta;
                    absolute
                });
                let merged = merge(&spans, counts, by, &mut runs);
                let mut before = 0;
                let deltas: Vec<i64> =
                    merged.iter().map(|count| count - std::mem::replace(&mut before, *count)).collect();
                side.deltas = store(&mut buckets.deltas, &deltas);
            }
            Count::Float(_) => {
                let counts = buckets.floats[side.counts.range()].to_vec();
                let merged = merge(&spans, counts.into_iter(), by, &mut runs);
                side.counts = store(&mut buckets.floats, &merged);
            }
        }
        side.spans = store(&mut buckets.spans, &runs);
    }
    h.schema = SCHEMA_MAX;
}

/// Merged bucket counts; their spans are put into `runs`.
fn merge<T: Copy + std::ops::AddAssign>(
    spans: &[(i32, u32)],
    mut counts: impl Iterator<Item = T>,
    by: i32,
    runs: &mut Vec<(i32, u32)>,
) -> Vec<T> {
    let mut merged: Vec<T> = Vec::new();
    let (mut index, mut last) = (0i64, None);
    for (offset, length) in spans {
        index += i64::from(*offset);
        for _ in 0..*length {
            let Some(count) = counts.next() else { return merged };
            let target = ((index - 1) >> by) + 1;
            index += 1;
            match (last, merged.last_mut()) {
                (Some(last), Some(sum)) if last == target => *sum += count,
                _ => {
                    merged.push(count);
                    run_on(runs, last, target);
                }
            }
            last = Some(target);
        }
    }
    merged
}

/// Lengthens the last run by the bucket `target`, or begins a new one after a gap.
fn run_on(runs: &mut Vec<(i32, u32)>, last: Option<i64>, target: i64) {
    match (last, runs.last_mut()) {
        (Some(last), Some(run)) if last + 1 == target => run.1 += 1,
        (last, _) => {
            let gap = target - last.map_or(0, |last| last + 1);
            // Indices were checked to fit 32 bits, and merging only makes them smaller.
            runs.push((i32::try_from(gap).unwrap_or(i32::MAX), 1));
        }
    }
}

fn content_hash(h: &Histogram, buckets: &decoded::Buckets, bytes: &mut Vec<u8>) -> u64 {
    bytes.clear();
    let mut word = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    for count in [h.count, h.zero_count] {
        match count {
            Count::Int(count) => [0, count].map(&mut word),
            Count::Float(count) => [1, count.to_bits()].map(&mut word),
        };
    }
    word(h.sum_bits);
    word(h.zero_threshold.to_bits());
    word(i64::from(h.schema).cast_unsigned());
    word(h.reset_hint as u64);
    for side in [h.negative, h.positive] {
        let spans = &buckets.spans[side.spans.range()];
        word(u64::try_from(spans.len()).unwrap_or(u64::MAX));
        for (offset, length) in spans {
            word(i64::from(*offset).cast_unsigned());
            word(u64::from(*length));
        }
        buckets.deltas[side.deltas.range()].iter().for_each(|delta| word(delta.cast_unsigned()));
        buckets.floats[side.counts.range()].iter().for_each(|count| word(count.to_bits()));
    }
    buckets.floats[h.custom_values.range()].iter().for_each(|bound| word(bound.to_bits()));
    xxh3_64(bytes)
}
