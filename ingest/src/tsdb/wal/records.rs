//! Decodes the records of a log: series, samples, histograms, deletions. Exemplars, metadata and marks of the server's own are passed
//! over.
//!
//! Called by [`wal`](super). Samples are differences to the first of their record; the newer kinds carry start timestamps, and are
//! differences to the one before.

use promql::STALE;

use super::Logged;
use crate::{
    samples::{Buckets, Count, Histogram, ResetHint, Sample},
    tsdb::{Broken, file::Cursor},
};

type Each<'e, E> = &'e mut dyn FnMut(Logged<'_>) -> Result<(), E>;

const ENDED: Broken = Broken("record ends too early");
/// Bounds of one's own instead of exponential ones.
const CUSTOM: i32 = -53;

/// Hands on what a record has, up to what is damaged.
pub(super) fn read<E>(record: &[u8], each: Each<'_, E>) -> Result<Result<(), Broken>, E> {
    let Some((kind, rest)) = record.split_first() else { return Ok(Ok(())) };
    let cursor = Cursor(rest);
    match kind {
        1 => series(cursor, each),
        2 => samples(cursor, Times::based, each, sample),
        3 => deleted(cursor, each),
        7 | 9 => samples(cursor, Times::based, each, |cursor, ts, start| histogram(cursor, ts, start, false)),
        8 | 10 => samples(cursor, Times::based, each, |cursor, ts, start| histogram(cursor, ts, start, true)),
        11 => samples(cursor, Times::chained, each, sample),
        12 => samples(cursor, Times::chained, each, |cursor, ts, start| histogram(cursor, ts, start, false)),
        13 => samples(cursor, Times::chained, each, |cursor, ts, start| histogram(cursor, ts, start, true)),
        4..=6 | 14 => Ok(Ok(())),
        _ => Ok(Err(Broken("record is of a kind that is not known; is it of a newer Prometheus?"))),
    }
}

fn series<E>(mut cursor: Cursor<'_>, each: Each<'_, E>) -> Result<Result<(), Broken>, E> {
    while !cursor.0.is_empty() {
        let one = (|| {
            let (series, count) = (cursor.long()?, cursor.uvarint()?);
            let mut labels = Vec::new();
            for _ in 0..count {
                let name = str::from_utf8(cursor.text()?).ok()?;
                labels.push((name, str::from_utf8(cursor.text()?).ok()?));
            }
            Some(Logged::Series(series, labels))
        })();
        let Some(one) = one else { return Ok(Err(ENDED)) };
        each(one)?;
    }
    Ok(Ok(()))
}

fn deleted<E>(mut cursor: Cursor<'_>, each: Each<'_, E>) -> Result<Result<(), Broken>, E> {
    while !cursor.0.is_empty() {
        let one = (|| Some(Logged::Deleted(cursor.long()?, cursor.varint()?, cursor.varint()?)))();
        let Some(one) = one else { return Ok(Err(ENDED)) };
        each(one)?;
    }
    Ok(Ok(()))
}

/// Which series, when, and since when: as the samples of a record have it.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    first: Option<(u64, i64, i64)>,
    series: u64,
    start_ms: i64,
}

impl Times {
    /// Series and time as differences to those at the head of the record; no start.
    fn based(&mut self, cursor: &mut Cursor<'_>) -> Option<(u64, i64, i64)> {
        let (series, ts_ms, _) = match self.first {
            Some(first) => first,
            None => *self.first.insert((cursor.long()?, cursor.long()?.cast_signed(), 0)),
        };
        Some((series.wrapping_add_signed(cursor.varint()?), ts_ms.wrapping_add(cursor.varint()?), 0))
    }

    /// Series as a difference to the one before, time as one to the first, and a start.
    fn chained(&mut self, cursor: &mut Cursor<'_>) -> Option<(u64, i64, i64)> {
        let Some((_, first_ms, first_start_ms)) = self.first else {
            let first = (cursor.varint()?.cast_unsigned(), cursor.varint()?, cursor.varint()?);
            (self.series, self.start_ms) = (first.0, first.2);
            return Some(*self.first.insert(first));
        };
        self.series = self.series.wrapping_add_signed(cursor.varint()?);
        let ts_ms = first_ms.wrapping_add(cursor.varint()?);
        self.start_ms = match cursor.byte()? {
            0 => 0,
            1 => self.start_ms,
            _ => first_start_ms.wrapping_add(cursor.varint()?),
        };
        Some((self.series, ts_ms, self.start_ms))
    }
}

/// A value or a histogram.
enum Value {
    Sample(Sample),
    Histogram(Box<Histogram>),
}

fn samples<E>(
    mut cursor: Cursor<'_>,
    next: impl Fn(&mut Times, &mut Cursor<'_>) -> Option<(u64, i64, i64)>,
    each: Each<'_, E>,
    value: impl Fn(&mut Cursor<'_>, i64, i64) -> Option<Value>,
) -> Result<Result<(), Broken>, E> {
    let mut times = Times::default();
    while !cursor.0.is_empty() {
        let one = next(&mut times, &mut cursor)
            .and_then(|(series, ts_ms, start_ms)| Some((series, value(&mut cursor, ts_ms, start_ms)?)));
        match one {
            Some((series, Value::Sample(sample))) => each(Logged::Sample(series, sample))?,
            Some((series, Value::Histogram(histogram))) => each(Logged::Histogram(series, histogram))?,
            None => return Ok(Err(ENDED)),
        }
    }
    Ok(Ok(()))
}

fn sample(cursor: &mut Cursor<'_>, ts_ms: i64, start_ms: i64) -> Option<Value> {
    Some(Value::Sample(Sample { ts_ms, bits: cursor.long()?, start_ms }))
}

fn histogram(cursor: &mut Cursor<'_>, ts_ms: i64, start_ms: i64, is_float: bool) -> Option<Value> {
    let mut h = Histogram::stale(ts_ms, Count::Int(0));
    h.start_ms = start_ms;
    h.reset_hint = ResetHint::from_number(cursor.byte()?.into());
    h.schema = i32::try_from(cursor.varint()?).ok()?;
    h.zero_threshold = f64::from_bits(cursor.long()?);
    let count = |cursor: &mut Cursor<'_>| {
        Some(if is_float { Count::Float(f64::from_bits(cursor.long()?)) } else { Count::Int(cursor.uvarint()?) })
    };
    h.zero_count = count(cursor)?;
    h.count = count(cursor)?;
    h.sum_bits = cursor.long()?;
    h.positive.spans = spans(cursor)?;
    h.negative.spans = spans(cursor)?;
    buckets(cursor, &mut h.positive, is_float)?;
    buckets(cursor, &mut h.negative, is_float)?;
    if h.schema == CUSTOM {
        for _ in 0..cursor.uvarint()? {
            h.custom_values.push(f64::from_bits(cursor.long()?));
        }
    }
    if h.sum_bits == STALE {
        // Whatever else a marker of staleness carries has no meaning.
        let none = if is_float { Count::Float(0.0) } else { Count::Int(0) };
        h = Histogram { start_ms, ..Histogram::stale(ts_ms, none) };
    }
    Some(Value::Histogram(Box::new(h)))
}

fn spans(cursor: &mut Cursor<'_>) -> Option<Vec<(i32, u32)>> {
    let mut spans = Vec::new();
    for _ in 0..cursor.uvarint()? {
        spans.push((i32::try_from(cursor.varint()?).ok()?, u32::try_from(cursor.uvarint()?).ok()?));
    }
    Some(spans)
}

fn buckets(cursor: &mut Cursor<'_>, buckets: &mut Buckets, is_float: bool) -> Option<()> {
    for _ in 0..cursor.uvarint()? {
        if is_float {
            buckets.counts.push(f64::from_bits(cursor.long()?));
        } else {
            buckets.deltas.push(cursor.varint()?);
        }
    }
    Some(())
}
