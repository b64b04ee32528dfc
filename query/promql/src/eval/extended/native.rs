//! Extended windows of native histograms.

use crate::{
    Histogram, ResetHint,
    ast::{Extent, Span},
    duration::seconds,
    notes::Notes,
    samples::HistogramSample,
};

use super::{bounds, whole};
use crate::eval::{
    native::{
        ADDITION, SUBTRACTION, add, note_mismatch, note_no_counter, note_no_gauge, note_reconciled, note_schemas,
        subtract,
    },
    over_time::{Context, Window},
};

/// `rate`, `increase` and `delta` of an extended window of histograms.
pub(super) fn rate(window: &Window<'_>, context: &Context<'_>, notes: &mut Notes) -> Option<Histogram> {
    let (first, last) = bounds(window.histograms, |sample| sample.time, window, context.extent)?;
    let samples = window.histograms.get(first..=last)?;
    let is_smoothed = context.extent == Extent::Smoothed;
    if is_smoothed && samples.first()?.time > window.to {
        return None;
    }
    let is_counter = context.function != "delta";
    if !check(samples, is_counter, context, notes) {
        return None;
    }
    let about = (context.metric(), context.span);
    let left = match samples {
        [before, after, ..] if is_smoothed && before.time < window.after => {
            interpolated([before, after], window.after, is_counter, about, notes)?
        }
        _ => Histogram::clone(&samples.first()?.histogram),
    };
    let after_end = samples.last().filter(|sample| is_smoothed && sample.time > window.to);
    let right = match (last.checked_sub(1).and_then(|at| window.histograms.get(at)), after_end) {
        (Some(before), Some(after)) => interpolated([before, after], window.to, is_counter, about, notes)?,
        _ => Histogram::clone(&samples.last()?.histogram),
    };
    if !is_counter && [&left, &right].iter().any(|end| end.hint != ResetHint::Gauge) {
        note_no_gauge(context.metric(), context.span, notes);
    }
    let mut difference = right.clone();
    if !subtract(&mut difference, &left, context, notes) {
        return None;
    }
    if is_counter
        && let Some(lost) = lost(samples, (&left, &right), window, context, notes)?
        && !add(&mut difference, &lost, context, notes)
    {
        return None;
    }
    if context.function == "rate" {
        difference.div(seconds(context.range_ms));
    }
    difference.hint = ResetHint::Gauge;
    difference.compact(0);
    Some(difference)
}

/// Do histograms go together? Notes if they do not, and those that are no counter.
fn check(samples: &[HistogramSample], is_counter: bool, context: &Context<'_>, notes: &mut Notes) -> bool {
    let is_custom = samples.first().is_some_and(|sample| sample.histogram.is_custom());
    for sample in samples {
        if sample.histogram.is_custom() != is_custom {
            note_schemas(context.metric(), context.span, notes);
            return false;
        }
        if is_counter && sample.histogram.hint == ResetHint::Gauge {
            note_no_counter(context.metric(), context.span, notes);
        }
    }
    true
}

/// What resets took away between the ends; `None` if it cannot be added up.
fn lost(
    samples: &[HistogramSample],
    (left, right): (&Histogram, &Histogram),
    window: &Window<'_>,
    context: &Context<'_>,
    notes: &mut Notes,
) -> Option<Option<Histogram>> {
    // The first and the last sample are in the ends; the last one would see its own hint again.
    let mut between = samples.get(1..).unwrap_or_default();
    let mut before = left;
    if let [first, second, ..] = samples
        && context.extent == Extent::Smoothed
        && first.time < window.after
        && second.histogram.detect_reset(&first.histogram)
    {
        // The interpolation knew of that reset.
        before = &second.histogram;
        between = samples.get(2..).unwrap_or_default();
        if between.is_empty() {
            return Some(None);
        }
    }
    let Some((_, between)) = between.split_last() else { return Some(None) };
    let mut lost: Option<Histogram> = None;
    for histogram in between.iter().map(|sample| &*sample.histogram).chain([right]) {
        if histogram.detect_reset(before) {
            if let Some(lost) = &mut lost {
                add(lost, before, context, notes).then_some(())?;
            } else {
                lost = Some(before.clone());
            }
        }
        before = histogram;
    }
    Some(lost)
}

/// The histogram at a time between two others. A counter that began anew is taken to have begun with nothing at the first.
pub(super) fn interpolated(
    [before, after]: [&HistogramSample; 2],
    time: i64,
    is_counter: bool,
    (metric, span): (&str, Span),
    notes: &mut Notes,
) -> Option<Histogram> {
    let mut result = Histogram::clone(&after.histogram);
    if time == before.time {
        return Some(Histogram::clone(&before.histogram));
    }
    if time == after.time {
        return Some(result);
    }
    let fraction = whole(time - before.time) / whole(after.time - before.time);
    if is_counter && after.histogram.detect_reset(&before.histogram) {
        result.mul(fraction);
        return Some(result);
    }
    let merged = result.sub(&before.histogram).and_then(|subtracted| {
        result.mul(fraction);
        result.add(&before.histogram).map(|added| (subtracted, added))
    });
    match merged {
        Ok((subtracted, added)) => {
            if subtracted.bounds_reconciled {
                note_reconciled(SUBTRACTION, span, notes);
            }
            if added.bounds_reconciled {
                note_reconciled(ADDITION, span, notes);
            }
            Some(result)
        }
        Err(mismatch) => {
            note_mismatch(&mismatch, metric, span, notes);
            None
        }
    }
}
