//! Sums and differences of histograms.
//!
//! Two histograms may differ in schema, zero threshold and custom bounds; both become as coarse as needed. Exponential and custom
//! schemas do not mix. Compensated sums, for `sum` and `avg`, carry what rounding lost in a second histogram of the same layout.

use std::cmp::Ordering;
use std::sync::Arc;

use super::layout::{self, Cell, Layout};
use super::{Buckets, Histogram, ResetHint, bounds, float};

/// What had to be bent to make a sum or a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// One histogram came after a counter reset and the other did not: the hint is unknown now.
    pub hint_collision: bool,
    /// The custom bounds differed: those that both have are left.
    pub bounds_reconciled: bool,
}

/// Why two histograms make no sum. Neither has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// One has an exponential schema, the other custom bounds.
    Schemas,
    /// The one that has to become coarser has spans that make no sense. Validation keeps such histograms out.
    Layout(String),
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Schemas => f.write_str(
                "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas",
            ),
            Self::Layout(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Mismatch {}

impl Histogram {
    /// Adds another histogram. The result may have empty buckets.
    ///
    /// # Errors
    ///
    /// See [`Mismatch`].
    pub fn add(&mut self, other: &Histogram) -> Result<Merged, Mismatch> {
        self.combine(other, 1.0)
    }

    /// Subtracts another histogram. The operator `-` makes a gauge of the result as well, which is left to the caller.
    ///
    /// # Errors
    ///
    /// See [`Mismatch`].
    pub fn sub(&mut self, other: &Histogram) -> Result<Merged, Mismatch> {
        self.combine(other, -1.0)
    }

    /// Adds another histogram in a Kahan sum. The first call makes the compensation; whoever scales the sum scales it too, and at
    /// the end adds it.
    ///
    /// # Errors
    ///
    /// See [`Mismatch`].
    pub(crate) fn kahan_add(
        &mut self,
        other: &Histogram,
        compensation: &mut Option<Histogram>,
    ) -> Result<Merged, Mismatch> {
        self.check_mergeable(other)?;
        let hint_collision = self.join_hint(other.hint);
        let lost = compensation.get_or_insert_with(|| self.no_compensation());
        if !self.is_custom() {
            let theirs = self.reconcile_zero(other, Some(lost));
            (self.zero_count, lost.zero_count) = float::kahan_step(theirs.count, self.zero_count, lost.zero_count);
            (self.zero_count, lost.zero_count) =
                float::kahan_step(theirs.compensation, self.zero_count, lost.zero_count);
        }
        (self.count, lost.count) = float::kahan_step(other.count, self.count, lost.count);
        (self.sum, lost.sum) = float::kahan_step(other.sum, self.sum, lost.sum);
        let bounds_reconciled = self.custom_values != other.custom_values;
        if self.is_custom() && bounds_reconciled {
            lost.positive.counts = self.merge_custom(other, 1.0, &lost.positive.counts);
        } else {
            let sides = Sides::of(self, other, 1.0);
            sides.merge_compensated(&mut self.positive, &mut lost.positive.counts, &other.positive);
            sides.merge_compensated(&mut self.negative, &mut lost.negative.counts, &other.negative);
            self.schema = sides.schema;
        }
        (lost.schema, lost.zero_threshold) = (self.schema, self.zero_threshold);
        lost.custom_values = Arc::clone(&self.custom_values);
        lost.positive.spans.clone_from(&self.positive.spans);
        lost.negative.spans.clone_from(&self.negative.spans);
        Ok(Merged { hint_collision, bounds_reconciled: self.is_custom() && bounds_reconciled })
    }

    fn combine(&mut self, other: &Histogram, sign: f64) -> Result<Merged, Mismatch> {
        self.check_mergeable(other)?;
        let hint_collision = self.join_hint(other.hint);
        if !self.is_custom() {
            self.zero_count += sign * self.reconcile_zero(other, None).count;
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        let bounds_reconciled = self.is_custom() && self.custom_values != other.custom_values;
        if bounds_reconciled {
            self.merge_custom(other, sign, &[]);
        } else {
            let sides = Sides::of(self, other, sign);
            sides.merge(&mut self.positive, &other.positive);
            sides.merge(&mut self.negative, &other.negative);
            self.schema = sides.schema;
        }
        Ok(Merged { hint_collision, bounds_reconciled })
    }

    fn check_mergeable(&self, other: &Histogram) -> Result<(), Mismatch> {
        if self.is_custom() != other.is_custom() {
            return Err(Mismatch::Schemas);
        }
        match self.schema.cmp(&other.schema) {
            Ordering::Less => other.check_layouts(),
            Ordering::Equal => Ok(()),
            Ordering::Greater => self.check_layouts(),
        }
    }

    pub(super) fn check_layouts(&self) -> Result<(), Mismatch> {
        self.positive.check_layout().and_then(|()| self.negative.check_layout()).map_err(Mismatch::Layout)
    }

    /// The hint of a sum, and whether the two contradict. A gauge makes the sum a gauge; else what is unknown stays so.
    fn join_hint(&mut self, other: ResetHint) -> bool {
        let contradict = matches!(
            (self.hint, other),
            (ResetHint::Reset, ResetHint::NoReset) | (ResetHint::NoReset, ResetHint::Reset)
        );
        self.hint = match (self.hint, other) {
            (ours, theirs) if ours == theirs => ours,
            (ResetHint::Gauge, _) | (_, ResetHint::Gauge) => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        };
        contradict
    }

    fn no_compensation(&self) -> Histogram {
        let nothing = |side: &Buckets| Buckets { spans: side.spans.clone(), counts: vec![0.0; side.counts.len()] };
        Histogram {
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: nothing(&self.positive),
            negative: nothing(&self.negative),
            custom_values: Arc::clone(&self.custom_values),
            ..*self
        }
    }

    /// Brings both histograms to the bounds they share. Returns the new compensation, and takes that of this histogram.
    ///
    /// Within a bucket of the result the counts add up compensated even if the sum as a whole is not.
    fn merge_custom(&mut self, other: &Histogram, sign: f64, compensation: &[f64]) -> Vec<f64> {
        let shared: Vec<f64> = shared_bounds(&self.custom_values, &other.custom_values).collect();
        let mut cells: Vec<Cell> =
            (0..).take(shared.len() + 1).map(|index| Cell { index, count: 0.0, compensation: 0.0 }).collect();
        let mut put = |cell: Cell, own_bounds: &[f64], with_compensation: bool| {
            let place = match usize::try_from(cell.index).ok().and_then(|index| own_bounds.get(index)) {
                Some(upper) => shared.partition_point(|bound| bound < upper),
                None => shared.len(),
            };
            let Some(target) = cells.get_mut(place) else { return };
            let increments = [Some(cell.count), with_compensation.then_some(cell.compensation)];
            for increment in increments.into_iter().flatten() {
                (target.count, target.compensation) = float::kahan_step(increment, target.count, target.compensation);
            }
        };
        for cell in self.positive.cells_compensated(compensation) {
            put(cell, &self.custom_values, !compensation.is_empty());
        }
        for cell in other.positive.cells() {
            put(Cell { count: sign * cell.count, ..cell }, &other.custom_values, false);
        }
        let counted = |cell: &Cell| cell.count != 0.0 || cell.compensation != 0.0;
        let layout: Layout = cells.into_iter().filter(counted).collect();
        self.positive = layout.buckets;
        self.custom_values = shared.into();
        layout.compensation
    }

    /// Widens this histogram's zero bucket until no populated bucket of either lies across the wider threshold of both. Returns
    /// what the zero bucket of the other, which stays as it is, would count then.
    fn reconcile_zero(&mut self, other: &Histogram, mut compensation: Option<&mut Histogram>) -> ZeroBucket {
        let mut theirs = ZeroBucket { threshold: other.zero_threshold, count: other.zero_count, compensation: 0.0 };
        // Each round widens one by a bucket at least. Thresholds that have no order, as NaN has none, end it.
        while let Some(order) = theirs.threshold.partial_cmp(&self.zero_threshold) {
            match order {
                Ordering::Equal => break,
                Ordering::Less => theirs = other.widened_zero(self.zero_threshold, None),
                Ordering::Greater => {
                    let ours = self.widened_zero(theirs.threshold, compensation.as_deref());
                    (self.zero_count, self.zero_threshold) = (ours.count, ours.threshold);
                    if let Some(lost) = compensation.as_deref_mut() {
                        lost.zero_count = ours.compensation;
                    }
                    self.empty_within_zero(compensation.as_deref_mut());
                }
            }
        }
        theirs
    }

    /// The zero bucket if its threshold were a larger one, and larger still if that lies within a populated bucket.
    pub(super) fn widened_zero(&self, threshold: f64, compensation: Option<&Histogram>) -> ZeroBucket {
        let lost = compensation.map_or(0.0, |lost| lost.zero_count);
        let mut zero = ZeroBucket { threshold, count: self.zero_count, compensation: lost };
        if threshold == self.zero_threshold {
            return zero;
        }
        loop {
            zero.count = self.zero_count;
            self.take_in(&mut zero, &self.positive, compensation.map(|lost| &lost.positive));
            // If the negative side moved the threshold, the positive buckets were counted up to the wrong one. The compensation is
            // not taken back: neither does Prometheus.
            if !self.take_in(&mut zero, &self.negative, compensation.map(|lost| &lost.negative)) {
                return zero;
            }
        }
    }

    /// Counts the buckets of a side below the threshold, and moves it if it is within a populated one. Whether it did.
    fn take_in(&self, zero: &mut ZeroBucket, side: &Buckets, compensation: Option<&Buckets>) -> bool {
        for (at, (lower, upper, count)) in self.magnitudes(side).enumerate() {
            if lower >= zero.threshold {
                return false;
            }
            (zero.count, zero.compensation) = float::kahan_step(count, zero.count, zero.compensation);
            if let Some(lost) = compensation {
                let lost = lost.counts.get(at).copied().unwrap_or(0.0);
                (zero.count, zero.compensation) = float::kahan_step(lost, zero.count, zero.compensation);
            }
            if upper > zero.threshold {
                if count != 0.0 {
                    zero.threshold = upper;
                }
                return count != 0.0;
            }
        }
        false
    }

    /// Removes the buckets that are within the zero bucket, and so counted already.
    fn empty_within_zero(&mut self, compensation: Option<&mut Histogram>) {
        let within =
            |side: &Buckets| self.magnitudes(side).take_while(|(lower, ..)| *lower < self.zero_threshold).count();
        let (positive, negative) = (within(&self.positive), within(&self.negative));
        let (mut lost_positive, mut lost_negative) = (None, None);
        if let Some(lost) = compensation {
            lost_positive = Some(&mut lost.positive.counts);
            lost_negative = Some(&mut lost.negative.counts);
        }
        for (side, mut lost, within) in
            [(&mut self.positive, lost_positive, positive), (&mut self.negative, lost_negative, negative)]
        {
            side.counts.iter_mut().take(within).for_each(|count| *count = 0.0);
            if let Some(lost) = &mut lost {
                lost.iter_mut().take(within).for_each(|count| *count = 0.0);
            }
            side.compact(lost, 0);
        }
    }
}

/// A zero bucket that a histogram would have.
#[derive(Debug, Clone, Copy)]
pub(super) struct ZeroBucket {
    pub(super) threshold: f64,
    pub(super) count: f64,
    compensation: f64,
}

/// How the sides of two histograms are merged: to which schema, and from which threshold.
struct Sides {
    schema: i32,
    our_shift: u32,
    their_shift: u32,
    sign: f64,
    threshold: f64,
}

impl Sides {
    fn of(ours: &Histogram, theirs: &Histogram, sign: f64) -> Self {
        Self {
            schema: ours.schema.min(theirs.schema),
            our_shift: layout::shift_between(ours.schema, theirs.schema),
            their_shift: layout::shift_between(theirs.schema, ours.schema),
            sign,
            threshold: ours.zero_threshold,
        }
    }

    fn merge(&self, ours: &mut Buckets, theirs: &Buckets) {
        if theirs.counts.is_empty() && self.our_shift == 0 {
            return;
        }
        // Most sums are of histograms of the same layout.
        if ours.spans == theirs.spans && self.our_shift == self.their_shift && !self.hides_first_of(theirs) {
            for (ours, theirs) in ours.counts.iter_mut().zip(&theirs.counts) {
                *ours += self.sign * theirs;
            }
            return;
        }
        let join = layout::join_plainly;
        let cells = layout::coarse(ours.cells(), self.our_shift, join);
        (*ours, _) = layout::merge(cells, self.theirs(theirs, join), join);
    }

    fn merge_compensated(&self, ours: &mut Buckets, compensation: &mut Vec<f64>, theirs: &Buckets) {
        let join = layout::join_compensated;
        let cells = layout::coarse(ours.cells_compensated(compensation), self.our_shift, join);
        (*ours, *compensation) = layout::merge(cells, self.theirs(theirs, join), join);
    }

    /// The other side's buckets but those within the zero bucket.
    fn theirs(&self, theirs: &Buckets, join: layout::Join) -> impl Iterator<Item = Cell> {
        layout::coarse(theirs.cells(), self.their_shift, join)
            .skip_while(|cell| self.hides(cell.index))
            .map(|cell| Cell { count: self.sign * cell.count, compensation: self.sign * cell.compensation, ..cell })
    }

    fn hides_first_of(&self, side: &Buckets) -> bool {
        side.spans.first().is_some_and(|span| self.hides(span.offset))
    }

    fn hides(&self, index: i32) -> bool {
        bounds::is_exponential(self.schema) && bounds::exponential_bound(index, self.schema) <= self.threshold
    }
}

/// The custom bounds that two histograms share.
pub(super) fn shared_bounds(a: &[f64], b: &[f64]) -> impl Iterator<Item = f64> {
    let mut b = b.iter().copied().peekable();
    a.iter().copied().filter(move |bound| {
        while b.next_if(|other| other < bound).is_some() {}
        b.next_if_eq(bound).is_some()
    })
}
