//! Tests of remote write, and what they share.

#[path = "../../tests/support/messages.rs"]
mod messages;

mod admission;
mod body;
mod decoding;
mod delete;
mod ha;
mod histograms;
mod http;
mod index;
mod limits;
mod relabel;
mod window;

use std::fmt::Write as _;

use super::{
    Config, Decoded, Limits, Version, Window,
    decoded::{Histogram, Labels, Text},
};
use crate::samples::Count;

/// Noon of 2026-11-22.
const NOW_MS: i64 = 1_795_348_800_000;
const HOUR_MS: i64 = 3_600_000;

fn limits() -> Limits {
    Config::default().limits()
}

fn window() -> Window {
    Window::at(NOW_MS, &limits())
}

/// A decoded request in words, one line a part.
fn readable(decoded: &Decoded, body: &[u8]) -> String {
    let mut out = String::new();
    let label_set = |labels: Labels| {
        let mut text = Vec::new();
        let read = decoded.each_label(body, labels, |name, value| {
            text.push(format!("{}={:?}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
            Ok(())
        });
        format!("{{{}}}{}", text.join(", "), if read.is_err() { " broken" } else { "" })
    };
    let text = |text: Text| decoded.text(body, text).map_or("?".into(), String::from_utf8_lossy).into_owned();
    for series in &decoded.series {
        let fault = series.fault.map_or("", |fault| fault.text);
        writeln!(out, "series {} {fault}", label_set(series.labels)).unwrap();
        for s in &decoded.samples[series.samples.range()] {
            writeln!(out, "  sample {} {} start {}", s.ts_ms, number(s.bits), s.start_ms).unwrap();
        }
        for h in &decoded.histograms[series.histograms.range()] {
            writeln!(out, "  histogram {}", readable_histogram(h, decoded)).unwrap();
        }
        for e in &decoded.exemplars[series.exemplars.range()] {
            writeln!(out, "  exemplar {} {} {}", e.ts_ms, number(e.value.to_bits()), label_set(e.labels)).unwrap();
        }
        if let Some(m) = decoded.metadata.get(series.metadata as usize) {
            writeln!(out, "  metadata {} {:?} {:?}", m.kind, text(m.unit), text(m.help)).unwrap();
        }
    }
    for m in &decoded.metadata {
        if let Some(family) = m.family {
            let family = String::from_utf8_lossy(&body[family.range()]);
            writeln!(out, "metadata {family} {} {:?} {:?}", m.kind, text(m.unit), text(m.help)).unwrap();
        }
    }
    out
}

fn number(bits: u64) -> String {
    let value = f64::from_bits(bits);
    if value.is_nan() { format!("NaN({bits:#x})") } else { format!("{value:?}") }
}

fn readable_histogram(h: &Histogram, decoded: &Decoded) -> String {
    let count = |count: Count| match count {
        Count::Int(count) => count.to_string(),
        Count::Float(count) => format!("{count:?}"),
    };
    let side = |side: &super::decoded::Side| {
        format!(
            "{:?} {:?} {:?}",
            &decoded.buckets.spans[side.spans.range()],
            &decoded.buckets.deltas[side.deltas.range()],
            &decoded.buckets.floats[side.counts.range()]
        )
    };
    format!(
        "{} count {} sum {} schema {} zero {} {} hint {} start {} negative {} positive {} custom {:?} {}",
        h.ts_ms,
        count(h.count),
        number(h.sum_bits),
        h.schema,
        h.zero_threshold,
        count(h.zero_count),
        h.reset_hint as i32,
        h.start_ms,
        side(&h.negative),
        side(&h.positive),
        &decoded.buckets.floats[h.custom_values.range()],
        h.fault.map_or("", |fault| fault.text),
    )
}

fn decode(version: Version, body: &[u8]) -> Result<Decoded, crate::protobuf::DecodeError> {
    let mut decoded = Decoded::default();
    decoded.read(version, body).map(|()| decoded)
}

/// The request in words, or the error.
fn read(version: Version, body: &[u8]) -> String {
    match decode(version, body) {
        Ok(decoded) => readable(&decoded, body),
        Err(error) => error.to_string(),
    }
}
