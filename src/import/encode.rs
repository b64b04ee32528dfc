//! Writes requests of remote write 2.0: series with samples, histograms, exemplars and what is known of their metric.
//!
//! Called by [`Sink`](super::sink::Sink). Version 2.0, because it carries start timestamps and bounds of histograms, and its answers
//! say how much was written. Invariants: a request is not larger than its limit by more than a series with one sample; a series that does
//! not fit goes on in the next request; an empty request takes one value whatever its size, so each request goes on. Not here:
//! compression, sending.
//! Spec: <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
};

use ingest::{
    protobuf::{put_bytes, put_double, put_nonzero, put_number, put_varint, zigzag},
    samples::{Buckets, Count, Histogram, Sample, Samples},
};

/// Longest text about a metric: what the server takes. A longer one is cut, since the samples are what is wanted.
const ABOUT_BYTES_MAX: usize = 16 << 10;

/// A series to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series<'a> {
    /// Names and values, by name.
    pub(crate) labels: &'a [(&'a str, &'a str)],
    /// Samples in order of time.
    pub(crate) samples: &'a Samples,
    /// Exemplars in order of time.
    pub(crate) exemplars: &'a [Exemplar],
    /// What is known of its metric.
    pub(crate) about: Option<&'a About>,
}

/// Something seen when a value was counted.
#[derive(Clone, Debug)]
pub(crate) struct Exemplar {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) ts_ms: i64,
    pub(crate) value: f64,
}

/// What is known of a metric.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// Its type, as messages number it.
    pub(crate) kind: u32,
    pub(crate) help: String,
    pub(crate) unit: String,
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) samples: u64,
    pub(crate) histograms: u64,
    pub(crate) exemplars: u64,
}

impl Counts {
    pub(crate) fn total(self) -> u64 {
        self.samples + self.histograms + self.exemplars
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
    }
}

/// How much of a series is in requests already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    floats: usize,
    histograms: usize,
    exemplars: usize,
}

/// A request being made.
#[derive(Debug, Default)]
pub(crate) struct Request {
    symbols: HashMap<Box<str>, u32>,
    message: Vec<u8>,
    scratch: Vec<u8>,
    sample: Vec<u8>,
    /// Hashes of the series in it.
    pub(crate) series: Vec<u64>,
    pub(crate) counts: Counts,
}

/// Which series it is.
pub(crate) fn identity(labels: &[(&str, &str)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    labels.hash(&mut hasher);
    hasher.finish()
}

impl Request {
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The message, and a new request in its place.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Vec<u64>, Counts) {
        let done = mem::take(self);
        (done.message, done.series, done.counts)
    }

    /// Adds what there is room for. Says whether that was all.
    pub(crate) fn add(&mut self, series: &Series<'_>, sent: &mut Sent, bytes_max: usize) -> bool {
        let has_room = |request: &Self| {
            request.counts == Counts::default() || request.message.len() + request.scratch.len() < bytes_max
        };
        let before = self.counts;
        // One series has samples or histograms: two kinds are two series of the same labels.
        self.begin(series);
        while let Some(exemplar) = series.exemplars.get(sent.exemplars).filter(|_| has_room(self)) {
            self.exemplar(exemplar);
            sent.exemplars += 1;
        }
        while let Some(sample) = series.samples.floats.get(sent.floats).filter(|_| has_room(self)) {
            self.float(*sample);
            sent.floats += 1;
        }
        self.end(before);
        let values = self.counts;
        self.begin(series);
        while let Some(histogram) = series.samples.histograms.get(sent.histograms).filter(|_| has_room(self)) {
            self.histogram(histogram);
            sent.histograms += 1;
        }
        self.end(values);
        if self.counts != before {
            self.series.push(identity(series.labels));
        }
        sent.floats >= series.samples.floats.len()
            && sent.histograms >= series.samples.histograms.len()
            && sent.exemplars >= series.exemplars.len()
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if self.symbols.is_empty() {
            self.symbols.insert("".into(), 0);
            put_bytes(&mut self.message, 4, b"");
        }
        if let Some(symbol) = self.symbols.get(text) {
            return *symbol;
        }
        let symbol = u32::try_from(self.symbols.len()).unwrap_or(u32::MAX);
        self.symbols.insert(text.into(), symbol);
        put_bytes(&mut self.message, 4, text.as_bytes());
        symbol
    }

    fn refs<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
        let mut refs = Vec::new();
        for (name, value) in labels {
            put_varint(&mut refs, u64::from(self.symbol(name)));
            put_varint(&mut refs, u64::from(self.symbol(value)));
        }
        refs
    }

    fn begin(&mut self, series: &Series<'_>) {
        self.scratch.clear();
        let refs = self.refs(series.labels.iter().copied());
        put_bytes(&mut self.scratch, 1, &refs);
        if let Some(about) = series.about {
            let cut = |text: &'_ str| text.floor_char_boundary(ABOUT_BYTES_MAX);
            let help = self.symbol(about.help.split_at(cut(&about.help)).0);
            let unit = self.symbol(about.unit.split_at(cut(&about.unit)).0);
            let mut metadata = Vec::new();
            put_number(&mut metadata, 1, u64::from(about.kind));
            put_number(&mut metadata, 3, u64::from(help));
            put_number(&mut metadata, 4, u64::from(unit));
            put_bytes(&mut self.scratch, 5, &metadata);
        }
    }

    /// Takes the series into the request, if there is anything of it.
    fn end(&mut self, before: Counts) {
        if self.counts != before {
            put_bytes(&mut self.message, 5, &self.scratch);
        }
        self.scratch.clear();
    }

    fn float(&mut self, sample: Sample) {
        self.sample.clear();
        put_double(&mut self.sample, 1, sample.bits);
        put_number(&mut self.sample, 2, sample.ts_ms.cast_unsigned());
        put_nonzero(&mut self.sample, 3, sample.start_ms.cast_unsigned());
        put_bytes(&mut self.scratch, 2, &self.sample);
        self.counts.samples += 1;
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        let refs = self.refs(exemplar.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.sample.clear();
        put_bytes(&mut self.sample, 1, &refs);
        put_double(&mut self.sample, 2, exemplar.value.to_bits());
        put_number(&mut self.sample, 3, exemplar.ts_ms.cast_unsigned());
        put_bytes(&mut self.scratch, 4, &self.sample);
        self.counts.exemplars += 1;
    }

    fn histogram(&mut self, h: &Histogram) {
        let out = &mut self.sample;
        out.clear();
        match h.count {
            Count::Int(count) => put_number(out, 1, count),
            Count::Float(count) => put_double(out, 2, count.to_bits()),
        }
        put_double(out, 3, h.sum_bits);
        put_nonzero(out, 4, zigzag(i64::from(h.schema)));
        put_double(out, 5, h.zero_threshold.to_bits());
        match h.zero_count {
            Count::Int(count) => put_number(out, 6, count),
            Count::Float(count) => put_double(out, 7, count.to_bits()),
        }
        buckets(out, 8, &h.negative);
        buckets(out, 11, &h.positive);
        put_nonzero(out, 14, h.reset_hint as u64);
        put_number(out, 15, h.ts_ms.cast_unsigned());
        doubles(out, 16, &h.custom_values);
        put_nonzero(out, 17, h.start_ms.cast_unsigned());
        put_bytes(&mut self.scratch, 3, &self.sample);
        self.counts.histograms += 1;
    }
}

/// Spans, deltas and counts in three fields from `field` on.
fn buckets(out: &mut Vec<u8>, field: u32, buckets: &Buckets) {
    for (offset, length) in &buckets.spans {
        let mut span = Vec::new();
        put_nonzero(&mut span, 1, zigzag(i64::from(*offset)));
        put_nonzero(&mut span, 2, u64::from(*length));
        put_bytes(out, field, &span);
    }
    if !buckets.deltas.is_empty() {
        let mut packed = Vec::new();
        buckets.deltas.iter().for_each(|delta| put_varint(&mut packed, zigzag(*delta)));
        put_bytes(out, field + 1, &packed);
    }
    doubles(out, field + 2, &buckets.counts);
}

fn doubles(out: &mut Vec<u8>, field: u32, values: &[f64]) {
    if !values.is_empty() {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        put_bytes(out, field, &packed);
    }
}

#[cfg(test)]
mod tests;
