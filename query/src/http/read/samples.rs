//! Samples of series as one message: `prometheus.ReadResponse`.
//!
//! Called by the endpoint for clients that take nothing else. Histograms are written as they were sent.

use promql::{BucketSpan, Buckets, Histogram, IntegerHistogram, ResetHint};

use super::wire::{
    put_bytes, put_float, put_float_list, put_message, put_number, put_signed, put_signed_list, put_varint,
};
use crate::{
    native::Kept,
    raw::{Raw, RawSeries},
};

/// Bytes of a sample at most.
pub(super) const SAMPLE_BYTES: usize = 24;

/// Adds the answer to one query.
pub(super) fn put_result(out: &mut Vec<u8>, raw: &Raw) {
    put_message(out, 1, |result| {
        for at in 0..raw.len() {
            put_message(result, 1, |series| put_series(series, &raw.series(at)));
        }
    });
}

fn put_series(out: &mut Vec<u8>, series: &RawSeries<'_>) {
    put_labels(out, series);
    for (time_ms, value) in series.times_ms.iter().zip(series.values) {
        let mut sample = Sample::default();
        sample.write(*value, *time_ms);
        put_bytes(out, 2, sample.bytes());
    }
    for (time_ms, kept) in series.histograms() {
        put_message(out, 4, |histogram| put_histogram(histogram, time_ms, &kept));
    }
}

/// Labels in order of their names; the same in a series of chunks.
pub(super) fn put_labels(out: &mut Vec<u8>, series: &RawSeries<'_>) {
    for (name, value) in series.texts() {
        put_message(out, 1, |label| {
            put_bytes(label, 1, name.as_bytes());
            put_bytes(label, 2, value.as_bytes());
        });
    }
}

/// A sample, of which there are too many to take memory for each.
#[derive(Default)]
struct Sample {
    bytes: [u8; SAMPLE_BYTES],
    length: usize,
}

impl Sample {
    fn write(&mut self, value: f64, time_ms: i64) {
        if value.to_bits() != 0 {
            self.push(&[1 << 3 | 1]);
            self.push(&value.to_le_bytes());
        }
        let mut time = time_ms.cast_unsigned();
        if time != 0 {
            self.push(&[2 << 3]);
            while time >= 0x80 {
                self.push(&[time.to_le_bytes()[0] | 0x80]);
                time >>= 7;
            }
            self.push(&[time.to_le_bytes()[0]]);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn put_histogram(out: &mut Vec<u8>, time_ms: i64, kept: &Kept) {
    let (hint, custom_values) = match kept {
        Kept::Integers(histogram) => {
            put_integers(out, histogram);
            (histogram.hint, &histogram.custom_values)
        }
        Kept::Floats(histogram) => {
            put_floats(out, histogram);
            (histogram.hint, &histogram.custom_values)
        }
    };
    let hint = match hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NoReset => 2,
        ResetHint::Gauge => 3,
    };
    put_number(out, 14, hint);
    put_number(out, 15, time_ms.cast_unsigned());
    put_float_list(out, 16, custom_values);
}

fn put_integers(out: &mut Vec<u8>, histogram: &IntegerHistogram) {
    // One of several fields is there though it is zero: it says which kind of histogram it is.
    put_varint(out, 1 << 3);
    put_varint(out, histogram.count);
    put_float(out, 3, histogram.sum);
    put_signed(out, 4, histogram.schema.into());
    put_float(out, 5, histogram.zero_threshold);
    put_varint(out, 6 << 3);
    put_varint(out, histogram.zero_count);
    put_spans(out, 8, &histogram.negative.0);
    put_signed_list(out, 9, &histogram.negative.1);
    put_spans(out, 11, &histogram.positive.0);
    put_signed_list(out, 12, &histogram.positive.1);
}

fn put_floats(out: &mut Vec<u8>, histogram: &Histogram) {
    let always = |out: &mut Vec<u8>, field: u64, value: f64| {
        put_varint(out, field << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    };
    always(out, 2, histogram.count);
    put_float(out, 3, histogram.sum);
    put_signed(out, 4, histogram.schema.into());
    put_float(out, 5, histogram.zero_threshold);
    always(out, 7, histogram.zero_count);
    let side = |out: &mut Vec<u8>, field: u64, side: &Buckets| {
        put_spans(out, field, &side.spans);
        put_float_list(out, field + 2, &side.counts);
    };
    side(out, 8, &histogram.negative);
    side(out, 11, &histogram.positive);
}

fn put_spans(out: &mut Vec<u8>, field: u64, spans: &[BucketSpan]) {
    for span in spans {
        put_message(out, field, |message| {
            put_signed(message, 1, span.offset.into());
            put_number(message, 2, span.length.into());
        });
    }
}
