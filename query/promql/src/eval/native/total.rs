//! Sums and means of histograms, compensated for what rounding loses.

use std::sync::Arc;

use crate::{Histogram, ast::Span, histogram::Mismatch, notes::Notes, value::Cell};

use super::{AGGREGATION, Hints, note_mismatch, note_reconciled};
use crate::eval::over_time::window::count;

/// A sum of histograms that grows, or their mean.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    /// The sum; the mean once `is_mean`.
    value: Histogram,
    lost: Option<Histogram>,
    added: usize,
    is_avg: bool,
    /// Was the sum of an average too large, so that the mean is moved from histogram to histogram?
    is_mean: bool,
}

/// What `sum` and `avg` make of a group at one step at which it has a histogram.
#[derive(Debug, Clone)]
pub(in crate::eval) struct Total {
    is_avg: bool,
    /// None before the first cell, and if that is a float.
    sum: Option<Sum>,
    hints: Hints,
    has_float: bool,
    has_histogram: bool,
    /// Were there exponential and custom buckets?
    is_incompatible: bool,
}

impl Sum {
    pub(super) fn new(first: &Histogram, is_avg: bool) -> Self {
        Self { value: first.clone(), lost: None, added: 1, is_avg, is_mean: false }
    }

    /// Adds a histogram; says whether custom bounds were reconciled. After an error it is of no use.
    pub(super) fn add(&mut self, histogram: &Histogram) -> Result<bool, Mismatch> {
        if !self.is_avg {
            return Ok(self.value.kahan_add(histogram, &mut self.lost)?.bounds_reconciled);
        }
        let before = count(self.added);
        self.added += 1;
        let mut is_reconciled = false;
        if !self.is_mean {
            // The sum so far is what the mean begins with if this one is too much.
            let (mut value, mut lost) = (self.value.clone(), self.lost.clone());
            is_reconciled = value.kahan_add(histogram, &mut lost)?.bounds_reconciled;
            if !value.has_overflow() {
                (self.value, self.lost) = (value, lost);
                return Ok(is_reconciled);
            }
            self.is_mean = true;
            self.each(|part| part.div(before));
        }
        let all = count(self.added);
        self.each(|part| part.mul(before / all));
        let mut share = histogram.clone();
        share.div(all);
        Ok(self.value.kahan_add(&share, &mut self.lost)?.bounds_reconciled || is_reconciled)
    }

    pub(super) fn finish(mut self) -> Histogram {
        if self.is_avg && !self.is_mean {
            let all = count(self.added);
            self.each(|part| part.div(all));
        }
        if let Some(lost) = self.lost {
            // It has the layout of the sum, so that nothing can go wrong.
            let _ = self.value.add(&lost);
        }
        self.value
    }

    fn each(&mut self, change: impl Fn(&mut Histogram)) {
        change(&mut self.value);
        if let Some(lost) = &mut self.lost {
            change(lost);
        }
    }
}

impl Total {
    pub(in crate::eval) fn new(is_avg: bool) -> Self {
        Self {
            is_avg,
            sum: None,
            hints: Hints::default(),
            has_float: false,
            has_histogram: false,
            is_incompatible: false,
        }
    }

    /// Adds the cell of a metric. Floats make the result none, and are not added up.
    pub(in crate::eval) fn add(&mut self, cell: &Cell, metric: &str, span: Span, notes: &mut Notes) {
        if self.is_incompatible {
            return;
        }
        let histogram = match cell {
            Cell::Float(_) => {
                self.has_float = true;
                return;
            }
            Cell::Histogram(histogram) => histogram,
        };
        let is_first = !self.has_float && !self.has_histogram;
        self.has_histogram = true;
        if is_first {
            self.hints.see(histogram.hint);
            self.sum = Some(Sum::new(histogram, self.is_avg));
            return;
        }
        let Some(sum) = &mut self.sum else { return };
        self.hints.see(histogram.hint);
        match sum.add(histogram) {
            Ok(true) => note_reconciled(AGGREGATION, span, notes),
            Ok(false) => {}
            Err(mismatch) => {
                note_mismatch(&mismatch, metric, span, notes);
                self.is_incompatible = true;
            }
        }
    }

    /// The result, if the cells have one.
    pub(in crate::eval) fn finish(self, span: Span, notes: &mut Notes) -> Option<Cell> {
        if self.has_float && self.has_histogram {
            notes.warn("encountered a mix of histograms and floats for aggregation", span);
            return None;
        }
        if self.is_incompatible {
            return None;
        }
        let mut histogram = self.sum?.finish();
        histogram.compact(0);
        self.hints.note(span, notes);
        Some(Cell::Histogram(Arc::new(histogram)))
    }
}
