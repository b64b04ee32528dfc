//! Buckets with their bounds, in order.
//!
//! Quantiles, fractions and the HTTP API read a histogram this way. Empty buckets that the histogram has are among them.

use super::layout::Cell;
use super::{Buckets, CUSTOM, Histogram, bounds};

/// A bucket: a count of observations within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Bucket {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// Whether an observation of the lower bound is in it.
    pub lower_inclusive: bool,
    /// Whether an observation of the upper bound is in it.
    pub upper_inclusive: bool,
    /// The observations.
    pub count: f64,
    /// Where it is on its side. The zero bucket has none.
    pub index: i32,
}

impl Histogram {
    /// All buckets, the lowest first: negative, zero, positive.
    ///
    /// The zero bucket is there if it counts anything. Buckets that reach into it end where it begins.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let (before, after) = (self.negative_buckets_reversed(), self.positive_buckets());
        let outside = |bucket| self.outside_zero(bucket);
        before.map(outside).chain(self.counted_zero_bucket()).chain(after.map(outside))
    }

    /// All buckets, the highest first.
    pub(crate) fn buckets_reversed(&self) -> impl Iterator<Item = Bucket> {
        let (before, after) = (self.positive_buckets_reversed(), self.negative_buckets());
        let outside = |bucket| self.outside_zero(bucket);
        before.map(outside).chain(self.counted_zero_bucket()).chain(after.map(outside))
    }

    /// The positive buckets, the lowest first. Those of a custom schema are all positive, even below zero.
    pub(crate) fn positive_buckets(&self) -> impl Iterator<Item = Bucket> {
        self.positive.cells().map(|cell| self.positive_bucket(cell))
    }

    /// The positive buckets, the highest first.
    pub(crate) fn positive_buckets_reversed(&self) -> impl Iterator<Item = Bucket> {
        self.positive.cells_reversed().map(|cell| self.positive_bucket(cell))
    }

    /// The negative buckets, the highest first: away from zero, as they are stored.
    pub(crate) fn negative_buckets(&self) -> impl Iterator<Item = Bucket> {
        self.negative.cells().map(|cell| self.negative_bucket(cell))
    }

    /// The negative buckets, the lowest first.
    pub(crate) fn negative_buckets_reversed(&self) -> impl Iterator<Item = Bucket> {
        self.negative.cells_reversed().map(|cell| self.negative_bucket(cell))
    }

    /// The bucket around zero, which has both its bounds.
    #[must_use]
    pub(crate) fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// The buckets as the HTTP API shows them: which bounds are inclusive, both bounds, the count. Empty ones are not shown.
    ///
    /// The first number is 0 for the upper bound, 1 for the lower, 2 for neither, 3 for both.
    #[must_use]
    pub fn json_buckets(&self) -> Vec<(u8, f64, f64, f64)> {
        let rule = |bucket: &Bucket| match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        self.buckets()
            .filter(|bucket| bucket.count != 0.0)
            .map(|bucket| (rule(&bucket), bucket.lower, bucket.upper, bucket.count))
            .collect()
    }

    /// The bounds of the buckets of one side, by distance from zero.
    pub(super) fn magnitudes(&self, side: &Buckets) -> impl Iterator<Item = (f64, f64, f64)> {
        side.cells().map(|cell| {
            let (lower, upper) = self.bounds(cell.index);
            (lower, upper, cell.count)
        })
    }

    fn bounds(&self, index: i32) -> (f64, f64) {
        let bound = |index| bounds::bound(index, self.schema, &self.custom_values);
        (bound(index.wrapping_sub(1)), bound(index))
    }

    fn positive_bucket(&self, cell: Cell) -> Bucket {
        let (lower, upper) = self.bounds(cell.index);
        self.with_inclusion(lower, upper, cell)
    }

    fn negative_bucket(&self, cell: Cell) -> Bucket {
        let (near, far) = self.bounds(cell.index);
        self.with_inclusion(-far, -near, cell)
    }

    fn with_inclusion(&self, lower: f64, upper: f64, cell: Cell) -> Bucket {
        // The bound away from zero belongs to the bucket; of custom buckets always the upper one, and of the first both.
        let (lower_inclusive, upper_inclusive) =
            if self.schema == CUSTOM { (cell.index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count: cell.count, index: cell.index }
    }

    fn outside_zero(&self, bucket: Bucket) -> Bucket {
        let threshold = self.zero_threshold;
        if bucket.upper < 0.0 && bucket.upper > -threshold {
            Bucket { upper: -threshold, ..bucket }
        } else if bucket.lower > 0.0 && bucket.lower < threshold {
            Bucket { lower: threshold, ..bucket }
        } else {
            bucket
        }
    }

    fn counted_zero_bucket(&self) -> Option<Bucket> {
        (self.zero_count > 0.0 && !self.is_custom()).then(|| self.zero_bucket())
    }
}
