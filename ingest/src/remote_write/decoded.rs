//! A decoded request: flat vectors that are reused from request to request, holding ranges of the body instead of copies.
//!
//! Filled by [`v1`](super::v1) and [`v2`](super::v2), read by admission. Both messages end in the same value, so that
//! nothing after decoding knows which one was sent.
//!
//! Invariants: each vector has a limit; ranges are those of the body it was read from. Labels are located, not read: a
//! series that is known by the hash of its label bytes never has them looked at again.

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_128;

use super::{
    histogram,
    reject::{Reason, Reject},
    v1, v2,
};
use crate::{
    protobuf::{DecodeError, Reader, Result, Span},
    samples::{Count, ResetHint},
};

/// Largest decompressed body the decoders take; keeps offsets within 32 bits. The configured limit lies below.
pub const BODY_BYTES_MAX: usize = 1 << 30;
/// Senders pack 2,000 to 10,000 samples in a request; a hundred times that is not a request but an attack. At 64 bytes a
/// series these limits hold the vectors of one request to some tens of megabytes.
const SERIES_MAX: usize = 200_000;
const SAMPLES_MAX: usize = 2_000_000;
const HISTOGRAMS_MAX: usize = 100_000;
const EXEMPLARS_MAX: usize = 200_000;
const METADATA_MAX: usize = 200_000;
const SYMBOLS_MAX: usize = 1_000_000;
const REFS_MAX: usize = 8_000_000;
/// Buckets, spans and bounds of all histograms of a request.
const BUCKETS_MAX: usize = 4_000_000;

/// Which message a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// A decoded request. Keep one and read into it again: its vectors keep their capacity.
#[derive(Debug, Default)]
pub struct Decoded {
    pub(crate) series: Vec<Series>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) histograms: Vec<Histogram>,
    pub(crate) exemplars: Vec<Exemplar>,
    pub(crate) metadata: Vec<Metadata>,
    pub(crate) buckets: Buckets,
    pub(crate) refs: Vec<u32>,
    pub(crate) symbols: Vec<Symbol>,
    /// Label fields that did not stand together in the body, copied together.
    pub(crate) gathered: Vec<u8>,
    pub(crate) scratch: histogram::Scratch,
    hash_bytes: Vec<u8>,
}

/// One series of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series {
    /// Hash of the label bytes as sent: the key of the known-series cache.
    pub(crate) hash: u128,
    pub(crate) labels: Labels,
    pub(crate) samples: Span,
    pub(crate) histograms: Span,
    pub(crate) exemplars: Span,
    /// Index into [`Decoded::metadata`], `u32::MAX` for none.
    pub(crate) metadata: u32,
    pub(crate) fault: Option<Reject>,
}

/// Where the labels of a series or an exemplar are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    /// `Label` messages in the body, with their tags.
    Body(Span),
    /// The same in [`Decoded::gathered`].
    Gathered(Span),
    /// Pairs of symbol references in [`Decoded::refs`].
    Refs(Span),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) ts_ms: i64,
    pub(crate) bits: u64,
    /// When the counter began, 0 if unset.
    pub(crate) start_ms: i64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Exemplar {
    pub(crate) labels: Labels,
    pub(crate) ts_ms: i64,
    pub(crate) value: f64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Histogram {
    pub(crate) ts_ms: i64,
    pub(crate) start_ms: i64,
    pub(crate) count: Count,
    pub(crate) zero_count: Count,
    pub(crate) sum_bits: u64,
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) reset_hint: ResetHint,
    pub(crate) negative: Side,
    pub(crate) positive: Side,
    pub(crate) custom_values: Span,
    /// xxh3 of all but the times: tells a repeated histogram from another.
    pub(crate) bits: u64,
    pub(crate) fault: Option<Reject>,
}

/// Buckets on one side of zero: ranges of [`Buckets`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Side {
    pub(crate) spans: Span,
    pub(crate) deltas: Span,
    pub(crate) counts: Span,
}

/// Buckets of all histograms of a request.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    /// Offset and length of each run.
    pub(crate) spans: Vec<(i32, u32)>,
    pub(crate) deltas: Vec<i64>,
    /// Float counts and custom bounds.
    pub(crate) floats: Vec<f64>,
}

/// Type, help and unit of a metric family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metadata {
    /// Family name in the body; `None` if it is the metric of the series that carries the metadata.
    pub(crate) family: Option<Span>,
    pub(crate) kind: u32,
    pub(crate) help: Text,
    pub(crate) unit: Text,
}

/// Where a text is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text {
    Body(Span),
    Symbol(u32),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol {
    pub(crate) text: Span,
    pub(crate) hash: u128,
}

macro_rules! bounded_push {
    ($name:ident, $field:ident, $item:ty, $max:expr, $what:literal) => {
        #[inline]
        pub(crate) fn $name(&mut self, at: usize, item: $item) -> Result<()> {
            if self.$field.len() >= $max {
                return Err(DecodeError {
                    at,
                    what: concat!("too many ", $what, " in one request; send smaller requests"),
                });
            }
            self.$field.push(item);
            Ok(())
        }
    };
}

impl Decoded {
    /// Reads a decompressed body. On an error the value is incomplete and must not be used.
    ///
    /// # Errors
    /// If the body is not a message of this version, with the offset; or if it holds more than a request may.
    pub fn read(&mut self, version: Version, body: &[u8]) -> Result<()> {
        self.clear();
        if body.len() > BODY_BYTES_MAX {
            return Err(DecodeError { at: BODY_BYTES_MAX, what: "body too long" });
        }
        match version {
            Version::V1 => v1::read(self, body)?,
            Version::V2 => v2::read(self, body)?,
        }
        histogram::settle(self);
        Ok(())
    }

    /// Bytes of memory held by the vectors that grow with every request.
    pub(crate) fn bytes(&self) -> usize {
        self.series.capacity() * size_of::<Series>()
            + self.samples.capacity() * size_of::<Sample>()
            + self.histograms.capacity() * size_of::<Histogram>()
            + self.exemplars.capacity() * size_of::<Exemplar>()
            + self.refs.capacity() * size_of::<u32>()
            + self.symbols.capacity() * size_of::<Symbol>()
    }

    fn clear(&mut self) {
        self.series.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.buckets.spans.clear();
        self.buckets.deltas.clear();
        self.buckets.floats.clear();
        self.refs.clear();
        self.symbols.clear();
        self.gathered.clear();
    }

    bounded_push!(push_series, series, Series, SERIES_MAX, "series");
    bounded_push!(push_sample, samples, Sample, SAMPLES_MAX, "samples");
    bounded_push!(push_exemplar, exemplars, Exemplar, EXEMPLARS_MAX, "exemplars");
    bounded_push!(push_metadata, metadata, Metadata, METADATA_MAX, "metadata");
    bounded_push!(push_symbol, symbols, Symbol, SYMBOLS_MAX, "symbols");
    bounded_push!(push_ref, refs, u32, REFS_MAX, "label references");

    pub(crate) fn push_histogram(&mut self, at: usize, item: Histogram) -> Result<()> {
        let buckets = self.buckets.spans.len() + self.buckets.deltas.len() + self.buckets.floats.len();
        if self.histograms.len() >= HISTOGRAMS_MAX || buckets > BUCKETS_MAX {
            return Err(DecodeError { at, what: "too many histograms in one request; send smaller requests" });
        }
        self.histograms.push(item);
        Ok(())
    }

    /// Copies the label fields of a message together, if they did not stand together in the body.
    pub(crate) fn gather_labels(&mut self, body: &[u8], mut message: Reader<'_>) -> Result<Labels> {
        let start = self.gathered.len();
        let mut from = message.pos();
        while let Some(tag) = message.tag()? {
            message.skip(tag)?;
            if tag.field == 1 {
                self.gathered.extend_from_slice(&body[from..message.pos()]);
            }
            from = message.pos();
        }
        Ok(Labels::Gathered(Span::new(start, self.gathered.len())))
    }

    /// Bytes of labels sent as messages.
    #[inline]
    pub(crate) fn label_bytes<'a>(&'a self, body: &'a [u8], labels: Labels) -> &'a [u8] {
        match labels {
            Labels::Body(span) => body.get(span.range()).unwrap_or_default(),
            Labels::Gathered(span) => self.gathered.get(span.range()).unwrap_or_default(),
            Labels::Refs(_) => &[],
        }
    }

    /// The hash by which a series is known. References are replaced by the hashes of their symbols, since another request
    /// numbers them otherwise; the leading word keeps the two kinds of keys apart.
    // Inlined into the whole of decoding, it costs the loop around it registers: 5 % of a request.
    #[inline(never)]
    pub(crate) fn hash_of_refs(&mut self, refs: Span) -> Result<u128, Reject> {
        self.hash_bytes.clear();
        self.hash_bytes.extend_from_slice(b"symbol references");
        for &symbol in &self.refs[refs.range()] {
            let Some(symbol) = self.symbols.get(symbol as usize) else {
                return Err(Reject::new(Reason::Symbol, "label refers to a symbol that is not there"));
            };
            self.hash_bytes.extend_from_slice(&symbol.hash.to_le_bytes());
        }
        Ok(xxh3_128(&self.hash_bytes))
    }

    /// Hands each name and value to `each`, in the order sent.
    pub(crate) fn each_label<'a>(
        &'a self,
        body: &'a [u8],
        labels: Labels,
        mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Reject>,
    ) -> Result<(), Reject> {
        if let Labels::Refs(span) = labels {
            let refs = &self.refs[span.range()];
            let text = |symbol: u32| match self.symbols.get(symbol as usize) {
                Some(symbol) => Ok(&body[symbol.text.range()]),
                None => Err(Reject::new(Reason::Symbol, "label refers to a symbol that is not there")),
            };
            if refs.len() % 2 == 1 {
                return Err(Reject::new(Reason::Symbol, "odd number of label references"));
            }
            return refs.chunks_exact(2).try_for_each(|pair| each(text(pair[0])?, text(pair[1])?));
        }
        let bytes = self.label_bytes(body, labels);
        let broken = |_| Reject::new(Reason::Labels, "label is no protobuf message");
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag().map_err(broken)? {
            let mut label = reader.message(tag).map_err(broken)?;
            let (mut name, mut value) = (Span::default(), Span::default());
            while let Some(tag) = label.tag().map_err(broken)? {
                match tag.field {
                    1 => name = label.span(tag).map_err(broken)?,
                    2 => value = label.span(tag).map_err(broken)?,
                    _ => label.skip(tag).map_err(broken)?,
                }
            }
            each(&bytes[name.range()], &bytes[value.range()])?;
        }
        Ok(())
    }

    /// Bytes of a text; `None` if it refers to a symbol that is not there.
    pub(crate) fn text<'a>(&self, body: &'a [u8], text: Text) -> Option<&'a [u8]> {
        match text {
            Text::Body(span) => body.get(span.range()),
            Text::Symbol(symbol) => body.get(self.symbols.get(symbol as usize)?.text.range()),
        }
    }

    /// A series in words, for an error: `{name="value", …}` of whatever can be read.
    pub(crate) fn describe(&self, body: &[u8], labels: Labels) -> String {
        let mut out = String::from("{");
        let _ = self.each_label(body, labels, |name, value| {
            // Enough for the answer, which cuts it anyway.
            if out.len() < 1024 {
                let comma = if out.len() > 1 { ", " } else { "" };
                let _ = write!(out, "{comma}{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            }
            Ok(())
        });
        out.push('}');
        out
    }
}
