//! Rates of counters and differences of gauges, over histograms.
//!
//! As over floats: the difference of the last and the first sample, to which is added what resets of the counter took away, extrapolated
//! to the ends of the window.

use std::sync::Arc;

use crate::{
    Histogram, ResetHint,
    duration::seconds,
    notes::Notes,
    samples::{HistogramSample, NO_START},
    value::Cell,
};

use super::{add, note_mixed, note_no_counter, note_no_gauge, note_schemas, subtract};
use crate::eval::{
    over_time::{Context, Window},
    rate::{Shape, is_start_reset},
};

/// `rate`, `increase` and `delta` of a window that has a histogram.
pub(in crate::eval) fn rate(window: &Window<'_>, context: &Context<'_>, notes: &mut Notes) -> Option<Cell> {
    if !window.times.is_empty() {
        note_mixed(context.metric(), context.span, notes);
        return None;
    }
    let samples = window.histograms;
    let (first, last) = (samples.first()?, samples.last()?);
    let is_counter = context.function != "delta";
    let difference = match samples {
        [_] => None,
        _ if is_counter => Some(increase(samples, context, notes)?),
        _ => Some(change(samples, context, notes)?),
    };
    let shape = Shape {
        after: window.after,
        to: window.to,
        first_time: first.time,
        last_time: last.time,
        samples: samples.len(),
        start: if context.starts { first.start } else { NO_START },
        is_counter,
    };
    let (mut result, factor) = if shape.has_start() {
        // It began with nothing.
        let result = match difference {
            Some(mut difference) => add(&mut difference, &first.histogram, context, notes).then_some(difference)?,
            None => Histogram::clone(&first.histogram),
        };
        (result, shape.factor_from_start())
    } else {
        let difference = difference?;
        let is_sized = difference.count > 0.0 && first.histogram.count >= 0.0;
        let size = is_sized.then_some((first.histogram.count, difference.count));
        (difference, shape.factor(size)?)
    };
    result.mul(if context.function == "rate" { factor / seconds(context.range_ms) } else { factor });
    Some(Cell::Histogram(Arc::new(result)))
}

/// How much a gauge has changed.
fn change(samples: &[HistogramSample], context: &Context<'_>, notes: &mut Notes) -> Option<Histogram> {
    let (first, last) = (&samples.first()?.histogram, &samples.last()?.histogram);
    let mut difference = start_of_difference(first, last, last.schema.min(first.schema), context, notes)?;
    if [first, last].iter().any(|end| end.hint != ResetHint::Gauge) {
        note_no_gauge(context.metric(), context.span, notes);
    }
    difference.hint = ResetHint::Gauge;
    difference.compact(0);
    Some(difference)
}

/// How much a counter has counted. Of histograms that do not go together, as a rule, only that is noted.
fn increase(samples: &[HistogramSample], context: &Context<'_>, notes: &mut Notes) -> Option<Histogram> {
    let [first, between @ .., last] = samples else { return None };
    let second = samples.get(1)?;
    let mut own = Notes::default();
    let is_gauge = |sample: &HistogramSample| sample.histogram.hint == ResetHint::Gauge;
    if samples.iter().any(is_gauge) {
        note_no_counter(context.metric(), context.span, &mut own);
    }
    // Of a first sample before a reset nothing remains, whatever its buckets are.
    let nothing = began_anew(second, first, &first.histogram, context).then(|| Histogram {
        schema: second.histogram.schema,
        custom_values: Arc::clone(&second.histogram.custom_values),
        ..Histogram::default()
    });
    let mut before: &Histogram = nothing.as_ref().unwrap_or(&first.histogram);
    let is_custom = before.is_custom();
    let is_other = |sample: &HistogramSample| sample.histogram.is_custom() != is_custom;
    if is_other(last) && [first, last].into_iter().any(is_gauge) {
        note_no_counter(context.metric(), context.span, notes);
    }
    if between.iter().chain([last]).any(is_other) {
        note_schemas(context.metric(), context.span, notes);
        return None;
    }
    let schemas = between.iter().chain([last]).map(|sample| sample.histogram.schema);
    let schema = schemas.fold(before.schema, i32::min);
    let Some(mut difference) = start_of_difference(before, &last.histogram, schema, context, &mut own) else {
        notes.merge(own);
        return None;
    };
    note_overlap(samples, context, &mut own);
    for pair in samples.windows(2) {
        let [previous, sample] = pair else { continue };
        if began_anew(sample, previous, before, context) && !add(&mut difference, before, context, &mut own) {
            note_schemas(context.metric(), context.span, notes);
            return None;
        }
        before = &sample.histogram;
    }
    notes.merge(own);
    difference.hint = ResetHint::Gauge;
    difference.compact(0);
    Some(difference)
}

/// The last histogram without the first, in a schema that all have.
fn start_of_difference(
    first: &Histogram,
    last: &Histogram,
    schema: i32,
    context: &Context<'_>,
    notes: &mut Notes,
) -> Option<Histogram> {
    if last.is_custom() != first.is_custom() {
        note_schemas(context.metric(), context.span, notes);
        return None;
    }
    let mut difference = match last.copy_to_schema(schema) {
        Ok(difference) => difference,
        Err(mismatch) => {
            super::note_mismatch(&mismatch, context.metric(), context.span, notes);
            return None;
        }
    };
    subtract(&mut difference, first, context, notes).then_some(difference)
}

/// Has the counter begun anew with a sample? `before` is the histogram before it, or what it is taken for.
fn began_anew(sample: &HistogramSample, previous: &HistogramSample, before: &Histogram, context: &Context<'_>) -> bool {
    has_new_start(sample, previous, context) || sample.histogram.detect_reset(before)
}

fn has_new_start(sample: &HistogramSample, previous: &HistogramSample, context: &Context<'_>) -> bool {
    context.starts && is_start_reset((previous.start, previous.time), (sample.start, sample.time))
}

fn note_overlap(samples: &[HistogramSample], context: &Context<'_>, notes: &mut Notes) {
    let overlaps = |pair: &[HistogramSample]| match pair {
        [before, sample] => sample.start != NO_START && sample.start < before.time && sample.start != before.start,
        _ => false,
    };
    if context.starts && samples.windows(2).any(overlaps) {
        let what = "sample has start time that overlaps with previous sample timestamp for metric";
        notes.warn_counted(format!("{what} {}", context.quoted_metric()), context.span);
    }
}

/// One of the last two samples of a window.
#[derive(Debug, Clone, Copy)]
enum Last<'s> {
    Float { value: f64, start: i64, time: i64 },
    Histogram(&'s HistogramSample),
}

impl Last<'_> {
    fn time(&self) -> i64 {
        match self {
            Self::Float { time, .. } => *time,
            Self::Histogram(sample) => sample.time,
        }
    }
}

/// `irate` and `idelta` of a window that has a histogram.
pub(in crate::eval) fn instant_rate(window: &Window<'_>, context: &Context<'_>, notes: &mut Notes) -> Option<Cell> {
    let (before, last) = last_two(window)?;
    let interval = last.time() - before.time();
    if interval == 0 {
        return None;
    }
    let is_rate = context.function == "irate";
    match (before, last) {
        (Last::Float { value: before, start, time }, Last::Float { value, start: new_start, time: new_time }) => {
            let is_reset = is_rate && (value < before || is_start_reset((start, time), (new_start, new_time)));
            let difference = if is_reset { value } else { value - before };
            Some(Cell::Float(if is_rate { difference / seconds(interval) } else { difference }))
        }
        (Last::Histogram(before), Last::Histogram(last)) => {
            let mut difference = instant_difference(before, last, context, notes)?;
            if is_rate {
                difference.div(seconds(interval));
            }
            Some(Cell::Histogram(Arc::new(difference)))
        }
        _ => {
            note_mixed(context.metric(), context.span, notes);
            None
        }
    }
}

fn instant_difference(
    before: &HistogramSample,
    last: &HistogramSample,
    context: &Context<'_>,
    notes: &mut Notes,
) -> Option<Histogram> {
    let is_rate = context.function == "irate";
    let mut gauges = [before, last].into_iter().map(|sample| sample.histogram.hint == ResetHint::Gauge);
    if is_rate && gauges.any(|is_gauge| is_gauge) {
        note_no_counter(context.metric(), context.span, notes);
    } else if !is_rate && !gauges.all(|is_gauge| is_gauge) {
        note_no_gauge(context.metric(), context.span, notes);
    }
    let mut difference = Histogram::clone(&last.histogram);
    let is_reset = is_rate && began_anew(last, before, &before.histogram, context);
    if !is_reset && !subtract(&mut difference, &before.histogram, context, notes) {
        return None;
    }
    difference.hint = ResetHint::Gauge;
    difference.compact(0);
    Some(difference)
}

/// The last two samples of a window, whatever they are.
fn last_two<'s>(window: &Window<'s>) -> Option<(Last<'s>, Last<'s>)> {
    let floats = window.times.iter().zip(window.values).enumerate().rev().take(2).map(|(at, (time, value))| {
        Last::Float { value: *value, start: window.starts.get(at).copied().unwrap_or(NO_START), time: *time }
    });
    let histograms = window.histograms.iter().rev().take(2).map(Last::Histogram);
    let mut samples: Vec<Last<'_>> = floats.chain(histograms).collect();
    samples.sort_by_key(Last::time);
    let last = samples.pop()?;
    Some((samples.pop()?, last))
}
