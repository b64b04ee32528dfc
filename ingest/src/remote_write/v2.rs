//! Decodes `io.prometheus.write.v2.Request`, the message of remote write 2.0.
//!
//! Fields come in any order, so references are only resolved when the whole request has been read: each symbol is hashed
//! once, each series by the hashes of its symbols. Spec: <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>

use xxhash_rust::xxh3::xxh3_128;

use super::{
    decoded::{Decoded, Exemplar, Labels, Metadata, Sample, Series, Symbol, Text},
    histogram,
    reject::{Reason, Reject},
};
use crate::protobuf::{DecodeError, Reader, Result, Span, low_word};

pub(super) fn read(out: &mut Decoded, body: &[u8]) -> Result<()> {
    let mut reader = Reader::new(body);
    let mut known = false;
    while let Some(tag) = reader.tag()? {
        match tag.field {
            4 => {
                let text = reader.span(tag)?;
                let hash = xxh3_128(&body[text.range()]);
                out.push_symbol(text.range().start, Symbol { text, hash })?;
            }
            5 => time_series(out, reader.message(tag)?)?,
            _ => {
                reader.skip(tag)?;
                continue;
            }
        }
        known = true;
    }
    if !known && !body.is_empty() {
        // As in version 1: an empty success would lose everything.
        let what = "body holds nothing of an io.prometheus.write.v2.Request; is it the message of version 1.0?";
        return Err(DecodeError { at: 0, what });
    }
    if out.symbols.first().is_some_and(|symbol| !symbol.text.is_empty()) {
        return Err(DecodeError { at: 0, what: "the first symbol is not the empty string" });
    }
    resolve(out);
    Ok(())
}

fn time_series(out: &mut Decoded, message: Reader<'_>) -> Result<()> {
    let (samples, histograms, exemplars) = (out.samples.len(), out.histograms.len(), out.exemplars.len());
    let (mut reader, start) = (message, message.pos());
    let mut refs = Refs::new(out);
    let mut metadata_at = u32::MAX;
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => refs.read(out, &mut reader, tag)?,
            2 => {
                let at = reader.pos();
                let sample = sample(reader.message(tag)?)?;
                out.push_sample(at, sample)?;
            }
            3 => histogram::read(out, reader.message(tag)?)?,
            4 => exemplar(out, reader.message(tag)?)?,
            5 => metadata_at = metadata(out, reader.message(tag)?)?,
            _ => reader.skip(tag)?,
        }
    }
    let labels = refs.finish(out, message)?;
    let series = Series {
        hash: 0,
        labels: Labels::Refs(labels),
        samples: Span::new(samples, out.samples.len()),
        histograms: Span::new(histograms, out.histograms.len()),
        exemplars: Span::new(exemplars, out.exemplars.len()),
        metadata: metadata_at,
        fault: None,
    };
    out.push_series(start, series)
}

/// Label references of one message, which may come in several pieces with those of exemplars in between.
struct Refs {
    start: usize,
    end: usize,
    scattered: bool,
}

impl Refs {
    fn new(out: &Decoded) -> Self {
        Self { start: out.refs.len(), end: out.refs.len(), scattered: false }
    }

    #[inline]
    fn read(&mut self, out: &mut Decoded, reader: &mut Reader<'_>, tag: crate::protobuf::Tag) -> Result<()> {
        if self.end == self.start {
            (self.start, self.end) = (out.refs.len(), out.refs.len());
        } else if self.end != out.refs.len() {
            self.scattered = true;
        }
        let at = reader.pos();
        reader.varints(tag, |symbol| out.push_ref(at, symbol_ref(symbol)))?;
        self.end = out.refs.len();
        Ok(())
    }

    fn finish(self, out: &mut Decoded, mut message: Reader<'_>) -> Result<Span> {
        if !self.scattered {
            return Ok(Span::new(self.start, self.end));
        }
        let start = out.refs.len();
        while let Some(tag) = message.tag()? {
            let at = message.pos();
            match tag.field {
                1 => message.varints(tag, |symbol| out.push_ref(at, symbol_ref(symbol)))?,
                _ => message.skip(tag)?,
            }
        }
        Ok(Span::new(start, out.refs.len()))
    }
}

#[inline]
fn symbol_ref(value: u64) -> u32 {
    low_word(value)
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
            3 => sample.start_ms = reader.int64(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(sample)
}

fn exemplar(out: &mut Decoded, message: Reader<'_>) -> Result<()> {
    let (mut reader, start) = (message, message.pos());
    let mut refs = Refs::new(out);
    let (mut value, mut ts_ms) = (0.0, 0);
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => refs.read(out, &mut reader, tag)?,
            2 => value = reader.double(tag)?,
            3 => ts_ms = reader.int64(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    let labels = Labels::Refs(refs.finish(out, message)?);
    out.push_exemplar(start, Exemplar { labels, ts_ms, value })
}

/// Index of the metadata, `u32::MAX` if it says nothing.
fn metadata(out: &mut Decoded, mut reader: Reader<'_>) -> Result<u32> {
    let start = reader.pos();
    let (mut kind, mut help, mut unit) = (0, 0, 0);
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => kind = reader.uint32(tag)?,
            3 => help = reader.uint32(tag)?,
            4 => unit = reader.uint32(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    if (kind, help, unit) == (0, 0, 0) {
        return Ok(u32::MAX);
    }
    out.push_metadata(start, Metadata { family: None, kind, help: Text::Symbol(help), unit: Text::Symbol(unit) })?;
    Ok(u32::try_from(out.metadata.len() - 1).unwrap_or(u32::MAX))
}

/// Gives every series its hash, and the faulty ones their fault.
fn resolve(out: &mut Decoded) {
    for i in 0..out.series.len() {
        let series = out.series[i];
        let Labels::Refs(refs) = series.labels else { continue };
        match fault(out, &series, refs).map_or_else(|| out.hash_of_refs(refs), Err) {
            Ok(hash) => out.series[i].hash = hash,
            Err(reject) => out.series[i].fault = Some(reject),
        }
    }
}

fn fault(out: &Decoded, series: &Series, refs: Span) -> Option<Reject> {
    if refs.len() % 2 == 1 {
        return Some(Reject::new(Reason::Symbol, "odd number of label references"));
    }
    if !series.samples.is_empty() && !series.histograms.is_empty() {
        return Some(Reject::new(Reason::Series, "series has both samples and histograms"));
    }
    // A series with exemplars or metadata alone is odd but says something; one with labels alone says nothing.
    if series.samples.is_empty()
        && series.histograms.is_empty()
        && series.exemplars.is_empty()
        && series.metadata == u32::MAX
    {
        return Some(Reject::new(Reason::Series, "series has neither samples nor histograms"));
    }
    let metadata = out.metadata.get(series.metadata as usize)?;
    let missing = |text| matches!(text, Text::Symbol(symbol) if symbol as usize >= out.symbols.len().max(1));
    (missing(metadata.help) || missing(metadata.unit))
        .then_some(Reject::new(Reason::Symbol, "metadata refers to a symbol that is not there"))
}
