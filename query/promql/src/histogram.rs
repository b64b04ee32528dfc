//! Native histograms, and what PromQL does to them.
//!
//! The evaluator adds, scales and compares them, asks them for quantiles, and shows them as text and JSON. Every answer is that of
//! Prometheus 3.x: semantics, order of operations and rounding. Counts are absolute floats, as rates and averages are fractional.
//! Not here: checks of what senders send; a histogram that makes no sense gives odd answers, but no panic.
//! Histograms made of `_bucket` series are in [`crate::classic`].

use std::sync::Arc;

mod bounds;
mod buckets;
mod compare;
pub(crate) mod float;
mod layout;
mod merge;
mod quantile;
mod reset;
mod text;
mod trim;

#[cfg(test)]
mod tests;

pub(crate) use buckets::Bucket;
pub use merge::{Merged, Mismatch};
pub(crate) use quantile::NanObservations;

/// The schema of histograms that list the bounds of their buckets.
pub const CUSTOM: i32 = -53;

/// What is known of a counter reset between a histogram and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetHint {
    /// Nothing: compare the two.
    #[default]
    Unknown,
    /// There was one.
    Reset,
    /// There was none.
    NoReset,
    /// The histogram is a gauge, which has none.
    Gauge,
}

/// Consecutive buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The buckets between the span before and this one. Of the first span: the index of its first bucket.
    pub offset: i32,
    /// The buckets.
    pub length: u32,
}

/// The buckets of one side: spans say which, counts how many observations are in each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// Which buckets there are, by distance from zero.
    pub spans: Vec<Span>,
    /// Their observations: each bucket its own, neither deltas nor cumulative.
    pub counts: Vec<f64>,
}

/// A native histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Whether a counter reset came before.
    pub hint: ResetHint,
    /// How fine the buckets are, from -4 to 8: a factor of two has 2^schema of them. Or [`CUSTOM`].
    pub schema: i32,
    /// Observations at most this far from zero are in the zero bucket.
    pub zero_threshold: f64,
    /// The observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// The sum of what was observed. Its bits tell the stale marker.
    pub sum: f64,
    /// The buckets above zero; of a custom schema all there are.
    pub positive: Buckets,
    /// The buckets below zero.
    pub negative: Buckets,
    /// The upper bounds of custom buckets, ascending, without the infinite one.
    pub custom_values: Arc<[f64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            hint: ResetHint::Unknown,
            schema: 0,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: Buckets::default(),
            negative: Buckets::default(),
            custom_values: Arc::default(),
        }
    }
}

/// A histogram of integers as it comes over the wire: each bucket has the difference to the one before it on its side.
#[derive(Debug, Clone, Default)]
pub struct IntegerHistogram {
    /// Whether a counter reset came before.
    pub hint: ResetHint,
    /// How fine the buckets are.
    pub schema: i32,
    /// The width of the zero bucket.
    pub zero_threshold: f64,
    /// The observations in the zero bucket.
    pub zero_count: u64,
    /// All observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The spans and differences above zero.
    pub positive: (Vec<Span>, Vec<i64>),
    /// The spans and differences below zero.
    pub negative: (Vec<Span>, Vec<i64>),
    /// The upper bounds of custom buckets.
    pub custom_values: Arc<[f64]>,
}

impl From<IntegerHistogram> for Histogram {
    /// Fields that the schema does not use are left out.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus rounds counts beyond 2^53 as well")]
    fn from(integers: IntegerHistogram) -> Self {
        let (positive, negative) = (integers.positive, integers.negative);
        let histogram = Self {
            hint: integers.hint,
            schema: integers.schema,
            count: integers.count as f64,
            sum: integers.sum,
            positive: Buckets::from_deltas(positive.0, &positive.1),
            ..Self::default()
        };
        if histogram.is_custom() {
            return Self { custom_values: integers.custom_values, ..histogram };
        }
        Self {
            zero_threshold: integers.zero_threshold,
            zero_count: integers.zero_count as f64,
            negative: Buckets::from_deltas(negative.0, &negative.1),
            ..histogram
        }
    }
}

impl Buckets {
    /// Buckets of which each has the difference to the one before.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "Prometheus adds up floats as well")]
    pub(crate) fn from_deltas(spans: Vec<Span>, deltas: &[i64]) -> Self {
        let running = |count: &mut f64, delta: &i64| {
            *count += *delta as f64;
            Some(*count)
        };
        Self { spans, counts: deltas.iter().scan(0.0, running).collect() }
    }
}

impl Histogram {
    /// Whether the bounds are listed.
    #[must_use]
    pub(crate) fn is_custom(&self) -> bool {
        self.schema == CUSTOM
    }

    /// Whether this ends a series.
    #[must_use]
    pub(crate) fn is_stale(&self) -> bool {
        crate::samples::is_stale(self.sum)
    }

    /// Whether anything is infinite, as it gets when sums exceed what a float holds.
    #[must_use]
    pub(crate) fn has_overflow(&self) -> bool {
        let counts = self.positive.counts.iter().chain(&self.negative.counts);
        [self.zero_count, self.count, self.sum]
            .iter()
            .chain(counts)
            .chain(&*self.custom_values)
            .any(|number| number.is_infinite())
    }

    /// Multiplies every count and the sum. A negative factor makes a gauge.
    pub(crate) fn mul(&mut self, factor: f64) {
        self.scale(|number| number * factor);
        if factor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// Divides every count and the sum. Division by zero leaves no buckets.
    pub(crate) fn div(&mut self, divisor: f64) {
        if divisor == 0.0 {
            (self.positive, self.negative) = (Buckets::default(), Buckets::default());
        }
        self.scale(|number| number / divisor);
        if divisor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// The opposite of every count and the sum.
    pub(crate) fn neg(&mut self) {
        self.mul(-1.0);
    }

    fn scale(&mut self, scaled: impl Fn(f64) -> f64) {
        let counts = self.positive.counts.iter_mut().chain(&mut self.negative.counts);
        for number in [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().chain(counts) {
            *number = scaled(*number);
        }
    }

    /// The same observations in a coarser schema.
    ///
    /// # Errors
    ///
    /// Neither schema may be custom, the new one not finer, and the layout must be valid.
    pub(crate) fn copy_to_schema(&self, schema: i32) -> Result<Self, Mismatch> {
        if schema == self.schema {
            return Ok(self.clone());
        }
        if self.is_custom() || schema == CUSTOM {
            return Err(Mismatch::Schemas);
        }
        if schema > self.schema {
            let reason = format!("cannot copy from schema {} to {schema}", self.schema);
            return Err(Mismatch::Layout(reason));
        }
        self.check_layouts()?;
        let shift = layout::shift_between(self.schema, schema);
        Ok(Self {
            schema,
            positive: self.positive.coarser(shift),
            negative: self.negative.coarser(shift),
            custom_values: Arc::clone(&self.custom_values),
            ..*self
        })
    }

    /// Removes empty buckets, and merges and splits spans accordingly. Gaps of at most `empty_max` buckets are filled with empty
    /// ones, as a span costs as much as a bucket. Operators leave no empty buckets: they compact with 0.
    pub fn compact(&mut self, empty_max: usize) {
        self.positive.compact(None, empty_max);
        self.negative.compact(None, empty_max);
    }
}
