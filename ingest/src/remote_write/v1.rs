//! Decodes `prometheus.WriteRequest`, the message of remote write 1.0.
//!
//! Labels are stepped over and hashed as bytes, which is what makes a known series cheap: twenty strings are neither
//! checked nor copied. Spec: <https://prometheus.io/docs/specs/prw/remote_write_spec/>

use xxhash_rust::xxh3::xxh3_128;

use super::{
    decoded::{Decoded, Exemplar, Labels, Metadata, Sample, Series, Text},
    histogram,
};
use crate::protobuf::{DecodeError, Reader, Result, Span};

/// Tag byte of field 1 as a message: a label, in a series and in an exemplar.
const LABEL: u8 = 0x0a;

pub(super) fn read(out: &mut Decoded, body: &[u8]) -> Result<()> {
    let mut reader = Reader::new(body);
    let mut known = false;
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => time_series(out, body, reader.message(tag)?)?,
            3 => metadata(out, reader.message(tag)?)?,
            _ => {
                reader.skip(tag)?;
                continue;
            }
        }
        known = true;
    }
    if known || body.is_empty() {
        return Ok(());
    }
    // All fields unknown would otherwise be an empty request and a success, and everything sent would be lost.
    Err(DecodeError {
        at: 0,
        what: "body holds nothing of a prometheus.WriteRequest; is it the message of version 2.0?",
    })
}

fn time_series(out: &mut Decoded, body: &[u8], message: Reader<'_>) -> Result<()> {
    let (samples, histograms, exemplars) = (out.samples.len(), out.histograms.len(), out.exemplars.len());
    let mut reader = message;
    let start = reader.pos();
    reader.skip_run(LABEL)?;
    let mut labels = Labels::Body(Span::new(start, reader.pos()));
    let mut scattered = false;
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => {
                reader.span(tag)?;
                scattered = true;
            }
            2 => {
                let at = reader.pos();
                let sample = sample(reader.message(tag)?)?;
                out.push_sample(at, sample)?;
            }
            3 => exemplar(out, body, reader.message(tag)?)?,
            4 => histogram::read(out, reader.message(tag)?)?,
            _ => reader.skip(tag)?,
        }
    }
    if scattered {
        labels = out.gather_labels(body, message)?;
    }
    let series = Series {
        hash: xxh3_128(out.label_bytes(body, labels)),
        labels,
        samples: Span::new(samples, out.samples.len()),
        histograms: Span::new(histograms, out.histograms.len()),
        exemplars: Span::new(exemplars, out.exemplars.len()),
        metadata: u32::MAX,
        fault: None,
    };
    out.push_series(start, series)
}

#[inline]
fn sample(mut reader: Reader<'_>) -> Result<Sample> {
    if let Some((bits, ts_ms)) = reader.double_then_varint() {
        return Ok(Sample { ts_ms, bits, start_ms: 0 });
    }
    let mut sample = Sample { ts_ms: 0, bits: 0, start_ms: 0 };
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => sample.bits = reader.double_bits(tag)?,
            2 => sample.ts_ms = reader.int64(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(sample)
}

fn exemplar(out: &mut Decoded, body: &[u8], message: Reader<'_>) -> Result<()> {
    let mut reader = message;
    let start = reader.pos();
    reader.skip_run(LABEL)?;
    let mut exemplar = Exemplar { labels: Labels::Body(Span::new(start, reader.pos())), ts_ms: 0, value: 0.0 };
    let mut scattered = false;
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => {
                reader.span(tag)?;
                scattered = true;
            }
            2 => exemplar.value = reader.double(tag)?,
            3 => exemplar.ts_ms = reader.int64(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    if scattered {
        exemplar.labels = out.gather_labels(body, message)?;
    }
    out.push_exemplar(start, exemplar)
}

fn metadata(out: &mut Decoded, mut reader: Reader<'_>) -> Result<()> {
    let start = reader.pos();
    let (mut kind, mut family, mut help, mut unit) = (0, Span::default(), Span::default(), Span::default());
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => kind = reader.uint32(tag)?,
            2 => family = reader.span(tag)?,
            4 => help = reader.span(tag)?,
            5 => unit = reader.span(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    out.push_metadata(start, Metadata { family: Some(family), kind, help: Text::Body(help), unit: Text::Body(unit) })
}
