//! Samples of a series as chunks of Prometheus' database: XOR for floats, and those of histograms (`histograms`).
//!
//! Called by the writer of frames. A chunk is over when it has as many samples as there, or when the kind of samples changes.
//!
//! Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>

use super::{
    bits::{Bits, Changing},
    histograms::Open,
};
use crate::{Result, raw::RawSeries};

/// Samples of a chunk, as many as in Prometheus' database.
pub(super) const SAMPLES_MAX: u16 = 120;

/// A chunk.
#[derive(Debug, PartialEq)]
pub(super) struct Chunk {
    /// Of the first and the last sample, milliseconds.
    pub times_ms: (i64, i64),
    pub encoding: Encoding,
    pub bytes: Vec<u8>,
}

/// How a chunk is written, by the number Prometheus gives to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Xor = 1,
    Histogram = 2,
    FloatHistogram = 3,
}

/// The chunks of a series, in ascending time.
pub(super) fn chunks(series: &RawSeries<'_>) -> Result<Vec<Chunk>> {
    let (mut done, mut open) = (Vec::new(), None::<Open>);
    let (mut times, mut values) = (series.times_ms, series.values);
    for (time_ms, kept) in series.histograms() {
        let before = times.partition_point(|time| *time < time_ms);
        if before > 0 {
            done.extend(open.take().map(Open::close));
            put_floats(&times[..before], &values[..before], &mut done);
            (times, values) = (&times[before..], &values[before..]);
        }
        // Of one time the float holds.
        if times.first() == Some(&time_ms) {
            continue;
        }
        let (next, closed) = Open::add(open.take(), time_ms, kept)?;
        open = Some(next);
        done.extend(closed);
    }
    done.extend(open.map(Open::close));
    put_floats(times, values, &mut done);
    Ok(done)
}

fn put_floats(times: &[i64], values: &[f64], chunks: &mut Vec<Chunk>) {
    let most = usize::from(SAMPLES_MAX);
    chunks.extend(times.chunks(most).zip(values.chunks(most)).filter_map(|(times, values)| xor(times, values)));
}

/// A chunk of floats; none of no floats.
fn xor(times: &[i64], values: &[f64]) -> Option<Chunk> {
    let (first, last) = (*times.first()?, *times.last()?);
    let mut bits = Bits::default();
    bits.put(times.len() as u64, 16);
    let (mut time, mut gap, mut value) = (first, 0_i64, Changing::new(*values.first()?));
    // Go writes the first time with its sign in the lowest bit.
    bits.put_varint((first << 1 ^ first >> 63).cast_unsigned());
    bits.put_float(*values.first()?);
    for (at, (of_time, of_value)) in times.iter().zip(values).enumerate().skip(1) {
        let of_gap = of_time.wrapping_sub(time);
        match at {
            1 => bits.put_varint(of_gap.cast_unsigned()),
            _ => bits.put_time_change(of_gap.wrapping_sub(gap)),
        }
        value.put(&mut bits, *of_value);
        (time, gap) = (*of_time, of_gap);
    }
    Some(Chunk { times_ms: (first, last), encoding: Encoding::Xor, bytes: bits.into_bytes() })
}
