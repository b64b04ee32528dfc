//! What a history is made of: samples and native histograms with their times.
//!
//! Filled by the decoders of blocks, of remote read and of OpenMetrics text; read by whoever sends them on. Values are kept as bits,
//! so that a marker of staleness, which is a NaN of its own, stays one.

use promql::STALE;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its time, milliseconds since the epoch.
    pub ts_ms: i64,
    /// The value's bits.
    pub bits: u64,
    /// When its counter began, 0 if nothing says so.
    pub start_ms: i64,
}

/// A number of observations: of histograms that count, or of those that were calculated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Count {
    /// Observations.
    Int(u64),
    /// Observations, not necessarily whole ones.
    Float(f64),
}

/// Buckets of one sign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Runs of buckets: the gap before each, and its length.
    pub spans: Vec<(i32, u32)>,
    /// Of an integer histogram: what each bucket has more than the one before.
    pub deltas: Vec<i64>,
    /// Of a float histogram: what each bucket has.
    pub counts: Vec<f64>,
}

/// What is known about resets of the counter between a histogram and the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// It has to be found out.
    #[default]
    Unknown = 0,
    /// There was one.
    Yes = 1,
    /// There was none.
    No = 2,
    /// It is not a counter.
    Gauge = 3,
}

impl ResetHint {
    /// As messages number it; what is not known here is no hint.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Yes,
            2 => Self::No,
            3 => Self::Gauge,
            _ => Self::Unknown,
        }
    }
}

/// A native histogram at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Its time, milliseconds since the epoch.
    pub ts_ms: i64,
    /// When its counter began, 0 if nothing says so.
    pub start_ms: i64,
    /// All observations.
    pub count: Count,
    /// Those in the bucket around zero.
    pub zero_count: Count,
    /// Bits of the sum of observations.
    pub sum_bits: u64,
    /// How fine the buckets are; -53 for bounds of one's own.
    pub schema: i32,
    /// Up to where the bucket around zero goes.
    pub zero_threshold: f64,
    /// About counter resets.
    pub reset_hint: ResetHint,
    /// Buckets above zero.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
    /// Bounds of one's own.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// Says that its series ends here.
    #[must_use]
    pub fn stale(ts_ms: i64, count: Count) -> Self {
        Self {
            ts_ms,
            start_ms: 0,
            count,
            zero_count: count,
            sum_bits: STALE,
            schema: 0,
            zero_threshold: 0.0,
            reset_hint: ResetHint::Unknown,
            positive: Buckets::default(),
            negative: Buckets::default(),
            custom_values: Vec::new(),
        }
    }
}

/// Samples of one series, each kind in order of time unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Values.
    pub floats: Vec<Sample>,
    /// Native histograms.
    pub histograms: Vec<Histogram>,
}

impl Samples {
    /// How many of both kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }

    /// Keeps what is at the times for which `keep` is true.
    pub fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        self.floats.retain(|sample| keep(sample.ts_ms));
        self.histograms.retain(|histogram| keep(histogram.ts_ms));
    }

    /// Brings both kinds into the order of time. Chunks overlap where out-of-order samples were written.
    pub fn sort(&mut self) {
        if !self.floats.is_sorted_by_key(|sample| sample.ts_ms) {
            self.floats.sort_by_key(|sample| sample.ts_ms);
        }
        if !self.histograms.is_sorted_by_key(|histogram| histogram.ts_ms) {
            self.histograms.sort_by_key(|histogram| histogram.ts_ms);
        }
    }
}
