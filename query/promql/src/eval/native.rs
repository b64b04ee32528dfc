//! Windows and groups that hold native histograms.
//!
//! Called where a function, an operator or an aggregation meets a histogram; what sees floats alone is elsewhere. Rates are in
//! [`mod@rate`], operators in [`mod@operate`], sums and means of groups in [`total`]; here is what goes over a window sample by sample.
//!
//! Invariant: a mix of floats and histograms has no value but where Prometheus gives it one, and a note says so.

mod operate;
mod rate;
mod total;

pub(super) use operate::operate;
pub(super) use rate::{instant_rate, rate};
pub(super) use total::Total;

use std::sync::Arc;

use crate::{
    Histogram, ResetHint,
    ast::{Extent, Span},
    histogram::Mismatch,
    notes::Notes,
    samples::NO_START,
    value::Cell,
};

use super::{
    over_time::{Context, Window, window::count},
    rate::is_start_reset,
};
use total::Sum;

/// During what custom bounds were reconciled or hints contradicted each other, as notes call it.
pub(super) const ADDITION: &str = "addition";
pub(super) const SUBTRACTION: &str = "subtraction";
pub(super) const AGGREGATION: &str = "aggregation";

/// A sample of a window that holds both kinds.
#[derive(Debug, Clone, Copy)]
enum Sample<'s> {
    Float(f64),
    Histogram(&'s Histogram),
}

/// `avg_over_time`.
pub(super) fn average(window: &Window<'_>, context: &Context<'_>, notes: &mut Notes) -> Option<Cell> {
    summed(window, context, true, notes)
}

/// `sum_over_time`.
pub(super) fn sum(window: &Window<'_>, context: &Context<'_>, notes: &mut Notes) -> Option<Cell> {
    summed(window, context, false, notes)
}

fn summed(window: &Window<'_>, context: &Context<'_>, is_avg: bool, notes: &mut Notes) -> Option<Cell> {
    if !window.times.is_empty() {
        note_mixed(context.metric(), context.span, notes);
        return None;
    }
    let (first, others) = window.histograms.split_first()?;
    let mut hints = Hints::default();
    hints.see(first.histogram.hint);
    let mut sum = Sum::new(&first.histogram, is_avg);
    let mut is_reconciled = false;
    for sample in others {
        hints.see(sample.histogram.hint);
        match sum.add(&sample.histogram) {
            Ok(reconciled) => is_reconciled |= reconciled,
            Err(mismatch) => {
                note_mismatch(&mismatch, context.metric(), context.span, notes);
                return None;
            }
        }
    }
    hints.note(context.span, notes);
    if is_reconciled {
        note_reconciled(AGGREGATION, context.span, notes);
    }
    Some(Cell::Histogram(Arc::new(sum.finish())))
}

/// `resets`: how often a counter began anew. A change between floats and histograms counts as well.
pub(super) fn resets(window: &Window<'_>, context: &Context<'_>, _: &mut Notes) -> Option<Cell> {
    counted(window, context, |(sample, at), (before, at_before)| {
        let began_anew = is_start_reset(at_before, at);
        match (before, sample) {
            (Sample::Float(before), Sample::Float(value)) => value < before || began_anew,
            (Sample::Histogram(before), Sample::Histogram(histogram)) => began_anew || histogram.detect_reset(before),
            _ => true,
        }
    })
}

/// `changes`: how often a sample differs from the one before.
pub(super) fn changes(window: &Window<'_>, context: &Context<'_>, _: &mut Notes) -> Option<Cell> {
    counted(window, context, |(sample, _), (before, _)| match (before, sample) {
        (Sample::Float(before), Sample::Float(value)) => value != before && !(value.is_nan() && before.is_nan()),
        (Sample::Histogram(before), Sample::Histogram(histogram)) => !histogram.equals(before),
        _ => true,
    })
}

/// A sample with its start time and its time.
type Timed<'s> = (Sample<'s>, (i64, i64));

/// In how many pairs of neighbours the second one counts, given first.
fn counted<'s>(
    window: &Window<'s>,
    context: &Context<'_>,
    counts: impl Fn(Timed<'s>, Timed<'s>) -> bool,
) -> Option<Cell> {
    let (mut floats, mut histograms) = if context.extent == Extent::Anchored { anchored(window)? } else { (0, 0) };
    let (mut before, mut counted): (Option<Timed<'_>>, usize) = (None, 0);
    loop {
        let float = window.times.get(floats).zip(window.values.get(floats));
        let histogram = window.histograms.get(histograms);
        let sample = match (float, histogram) {
            (Some((time, value)), next) if next.is_none_or(|next| *time <= next.time) => {
                let start = window.starts.get(floats).copied().unwrap_or(NO_START);
                floats += 1;
                (Sample::Float(*value), (start, *time))
            }
            (_, Some(next)) => {
                histograms += 1;
                let start = if context.starts { next.start } else { NO_START };
                (Sample::Histogram(&next.histogram), (start, next.time))
            }
            _ => break,
        };
        if let Some(before) = before.replace(sample)
            && counts(sample, before)
        {
            counted += 1;
        }
    }
    Some(Cell::Float(count(counted)))
}

/// Where an anchored window begins among its floats and among its histograms: with the last sample before the range, of either kind.
/// `None` if the range itself has none.
fn anchored(window: &Window<'_>) -> Option<(usize, usize)> {
    let floats = window.times.partition_point(|time| *time <= window.after);
    let histograms = window.histograms.partition_point(|sample| sample.time <= window.after);
    if floats == window.times.len() && histograms == window.histograms.len() {
        return None;
    }
    let last_float = floats.checked_sub(1).and_then(|at| window.times.get(at));
    let last_histogram = histograms.checked_sub(1).and_then(|at| window.histograms.get(at)).map(|sample| &sample.time);
    Some(match (last_float, last_histogram) {
        (None, None) => (0, 0),
        (Some(float), histogram) if histogram.is_none_or(|histogram| float >= histogram) => (floats - 1, histograms),
        _ => (floats, histograms - 1),
    })
}

/// `first_over_time`. Of the same time, the histogram.
pub(super) fn first(window: &Window<'_>, _: &Context<'_>, _: &mut Notes) -> Option<Cell> {
    let float = window.times.first().zip(window.values.first());
    let histogram = window.histograms.first();
    match (float, histogram) {
        (Some((time, value)), histogram) if histogram.is_none_or(|sample| *time < sample.time) => {
            Some(Cell::Float(*value))
        }
        (_, histogram) => histogram.map(|sample| Cell::Histogram(Arc::clone(&sample.histogram))),
    }
}

/// `last_over_time`. Of the same time, the histogram.
pub(super) fn last(window: &Window<'_>, _: &Context<'_>, _: &mut Notes) -> Option<Cell> {
    let float = window.times.last().zip(window.values.last());
    let histogram = window.histograms.last();
    match (float, histogram) {
        (Some((time, value)), histogram) if histogram.is_none_or(|sample| *time > sample.time) => {
            Some(Cell::Float(*value))
        }
        (_, histogram) => histogram.map(|sample| Cell::Histogram(Arc::clone(&sample.histogram))),
    }
}

/// Which hints the parts of a sum have.
#[derive(Debug, Clone, Copy, Default)]
struct Hints {
    reset: bool,
    no_reset: bool,
}

impl Hints {
    fn see(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.no_reset |= hint == ResetHint::NoReset;
    }

    /// Notes hints that contradict each other.
    fn note(self, span: Span, notes: &mut Notes) {
        if self.reset && self.no_reset {
            note_collision(AGGREGATION, span, notes);
        }
    }
}

pub(super) fn note_mixed(metric: &str, span: Span, notes: &mut Notes) {
    let metric = crate::literal::quoted(metric);
    notes.warn(format!("encountered a mix of histograms and floats for metric name {metric}"), span);
}

/// Notes why two histograms made no sum. Those with a layout that makes no sense are kept out where samples enter.
pub(super) fn note_mismatch(mismatch: &Mismatch, metric: &str, span: Span, notes: &mut Notes) {
    match mismatch {
        Mismatch::Schemas => note_schemas(metric, span, notes),
        Mismatch::Layout(reason) => notes.warn(reason.clone(), span),
    }
}

pub(super) fn note_schemas(metric: &str, span: Span, notes: &mut Notes) {
    let what = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
    notes.warn(format!("{what} {}", crate::literal::quoted(metric)), span);
}

pub(super) fn note_reconciled(operation: &str, span: Span, notes: &mut Notes) {
    notes.info(format!("mismatched custom buckets were reconciled during {operation}"), span);
}

fn note_collision(operation: &str, span: Span, notes: &mut Notes) {
    notes.warn(format!("conflicting counter resets during histogram {operation}"), span);
}

pub(super) fn note_no_counter(metric: &str, span: Span, notes: &mut Notes) {
    let metric = crate::literal::quoted(metric);
    notes.warn(format!("this native histogram metric is not a counter: {metric}"), span);
}

pub(super) fn note_no_gauge(metric: &str, span: Span, notes: &mut Notes) {
    let metric = crate::literal::quoted(metric);
    notes.warn(format!("this native histogram metric is not a gauge: {metric}"), span);
}

/// Adds a histogram to another, and notes what had to be bent; says whether it could.
pub(super) fn add(to: &mut Histogram, other: &Histogram, context: &Context<'_>, notes: &mut Notes) -> bool {
    let merged = to.add(other).map(|merged| merged.bounds_reconciled);
    noted(&merged, ADDITION, context, notes)
}

/// Subtracts a histogram from another, as [`add`] adds it.
pub(super) fn subtract(from: &mut Histogram, other: &Histogram, context: &Context<'_>, notes: &mut Notes) -> bool {
    let merged = from.sub(other).map(|merged| merged.bounds_reconciled);
    noted(&merged, SUBTRACTION, context, notes)
}

fn noted(merged: &Result<bool, Mismatch>, operation: &str, context: &Context<'_>, notes: &mut Notes) -> bool {
    match merged {
        Ok(true) => note_reconciled(operation, context.span, notes),
        Ok(false) => {}
        Err(mismatch) => note_mismatch(mismatch, context.metric(), context.span, notes),
    }
    merged.is_ok()
}
