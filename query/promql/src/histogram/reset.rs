//! Counter resets of histograms.
//!
//! Rates ask for every sample whether the counter began anew since the one before.

use super::layout::{self, Cell};
use super::merge::shared_bounds;
use super::{Buckets, Histogram, ResetHint, bounds};

impl Histogram {
    /// Whether this counter was reset since `previous`: some bucket, the zero bucket or the count has become smaller, or the
    /// buckets have become finer. The sum is no sign, as observations can be negative. The hint settles it if it knows.
    ///
    /// If the zero bucket has become wider or the schema coarser, the previous histogram is seen the same way. A zero bucket that
    /// ends within a bucket that was populated is a reset. Gauges are treated as counters: that they should not be is the
    /// caller's warning.
    #[must_use]
    pub(crate) fn detect_reset(&self, previous: &Histogram) -> bool {
        match self.hint {
            ResetHint::Reset => return true,
            ResetHint::NoReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count || (self.is_custom() && !previous.is_custom()) {
            return true;
        }
        if self.is_custom() && self.custom_values != previous.custom_values {
            return self.detect_reset_within_shared_bounds(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let zero = previous.widened_zero(self.zero_threshold, None);
        if zero.threshold != self.zero_threshold || self.zero_count < zero.count {
            return true;
        }
        let shift = layout::shift_between(previous.schema, self.schema);
        self.has_shrunk(&self.positive, &previous.positive, shift)
            || self.has_shrunk(&self.negative, &previous.negative, shift)
    }

    /// Whether a populated bucket of a side outside of the zero bucket has become smaller or vanished.
    fn has_shrunk(&self, side: &Buckets, previous: &Buckets, shift: u32) -> bool {
        let mut now = side.cells().skip_while(|cell| self.is_within_zero(cell)).peekable();
        layout::coarse(previous.cells(), shift, layout::join_plainly).skip_while(|cell| self.is_within_zero(cell)).any(
            |before| {
                while now.next_if(|now| now.index < before.index).is_some() {}
                match now.peek() {
                    Some(now) if now.index == before.index => now.count < before.count,
                    _ => before.count != 0.0,
                }
            },
        )
    }

    fn is_within_zero(&self, cell: &Cell) -> bool {
        self.zero_threshold != 0.0
            && bounds::is_exponential(self.schema)
            && bounds::exponential_bound(cell.index, self.schema) <= self.zero_threshold
    }

    /// Whether fewer observations are between any two bounds that both histograms have.
    fn detect_reset_within_shared_bounds(&self, previous: &Histogram) -> bool {
        let (mut now, mut before) = (self.positive_buckets().peekable(), previous.positive_buckets().peekable());
        shared_bounds(&self.custom_values, &previous.custom_values).chain([f64::INFINITY]).any(|bound| {
            let (mut count_now, mut count_before) = (0.0, 0.0);
            while let Some(bucket) = now.next_if(|bucket| bucket.upper <= bound) {
                count_now += bucket.count;
            }
            while let Some(bucket) = before.next_if(|bucket| bucket.upper <= bound) {
                count_before += bucket.count;
            }
            count_now < count_before
        })
    }
}
