//! PromQL over samples in memory, and results as rules see them.
//!
//! Called by `testing` and `replay`, which hold samples, and by whoever makes a [`Found`] of an engine's answer.

use std::sync::{Arc, atomic::AtomicBool};

use promql::{
    Control, Gather, Histogram, HistogramSample, NO_START, Options, Outcome, Point, STALE, Samples, Symbols, Want,
};

use crate::{
    Error, Labels, Result,
    query::{Found, Sample, Value},
};

/// More samples than a rule has, few enough for a laptop.
pub(crate) const SAMPLES_MAX: usize = 50_000_000;

/// How PromQL is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How old a sample may be to be a series' value, milliseconds.
    pub lookback_ms: i64,
    /// Step of subqueries that name none, milliseconds.
    pub subquery_step_ms: i64,
    /// What PromQL may use.
    pub features: promql::Features,
}

impl Settings {
    /// Of a query at a time.
    pub(crate) fn at(&self, at_ms: i64) -> Options {
        Options {
            start_ms: at_ms,
            end_ms: at_ms,
            step_ms: 1,
            is_instant: true,
            lookback_ms: self.lookback_ms,
            subquery_step_ms: self.subquery_step_ms,
            samples_max: SAMPLES_MAX,
            threads: 1,
            features: self.features,
        }
    }
}

/// The samples of a result that is a vector or a number; `None` of any other. A number is a sample without labels.
#[must_use]
pub fn samples(result: &Outcome, symbols: &Symbols) -> Option<Vec<Sample>> {
    match result {
        Outcome::Scalar(value) => Some(vec![Sample { labels: Labels::default(), value: Value::Float(*value) }]),
        Outcome::Vector(columns) => {
            let sample = |(row, labels): (usize, &promql::Labels)| {
                let (_, point) = columns.points(row).next()?;
                Some(Sample { labels: labels.texts(symbols).collect(), value: point.into() })
            };
            Some(columns.labels.iter().enumerate().filter_map(sample).collect())
        }
        _ => None,
    }
}

impl From<Point<'_>> for Value {
    fn from(point: Point<'_>) -> Self {
        match point {
            Point::Float(value) => Self::Float(value),
            Point::Histogram(histogram) => Self::Histogram(Arc::new(histogram.clone())),
        }
    }
}

/// Evaluates a query at a time over the samples that `give` has of each want.
pub(crate) fn instant(
    query: &promql::Query,
    options: Options,
    symbols: &mut Symbols,
    mut give: impl FnMut(&Want, &mut Symbols) -> Samples,
) -> Result<Found> {
    let wrong = |error: promql::Error| Error::invalid(error.to_string()).caused_by(error);
    let lookback_ms = options.lookback_ms;
    let planned = query.plan(options).map_err(wrong)?;
    let given: Vec<Samples> = planned.wants().iter().map(|want| give(want, symbols)).collect();
    let fresh = planned.wants().iter().zip(&given).map(|(want, samples)| fresh(want, samples, lookback_ms)).min();
    let stop = AtomicBool::new(false);
    let control = Control { stop: &stop, reserve: &|_| true };
    let answer = planned.evaluate(&given, symbols, control).map_err(wrong)?;
    let Some(samples) = samples(&answer.result, symbols) else {
        let kind = query.type_text();
        return Err(Error::invalid(format!("the result is neither a vector nor a scalar: type={kind}")));
    };
    Ok(Found { samples, warnings: answer.warnings, fresh })
}

/// Adds the samples of a series that are wanted.
pub(crate) fn gather(out: &mut Gather, labels: &promql::Labels, all: &[(i64, Value)], want: &Want) {
    let first = all.partition_point(|(time, _)| *time <= want.after_ms);
    let last = all.partition_point(|(time, _)| *time <= want.to_ms);
    if first == last {
        return;
    }
    // Whether a counter was reset is told from the histogram before.
    let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (time, value)) in all.iter().enumerate().take(last).skip(first.saturating_sub(1)) {
        match value {
            Value::Float(value) if at >= first => {
                times.push(*time);
                values.push(*value);
            }
            Value::Float(_) => {}
            Value::Histogram(histogram) => {
                histograms.push(HistogramSample::new(*time, NO_START, Arc::clone(histogram)));
            }
        }
    }
    let histograms = HistogramSample::linked(histograms, want.after_ms);
    out.add(labels.clone(), (&times, &values, &[]), histograms);
}

/// A sample as it is kept after another one: what ends a series of histograms is a histogram.
pub(crate) fn following(value: Value, last: Option<&(i64, Value)>) -> Value {
    match (value, last) {
        (Value::Float(value), Some((_, Value::Histogram(_)))) if value.to_bits() == STALE => {
            Value::Histogram(Arc::new(Histogram { sum: value, ..Histogram::default() }))
        }
        (value, _) => value,
    }
}

/// How many series have a sample that is recent at the end of what is wanted.
fn fresh(want: &Want, samples: &Samples, lookback_ms: i64) -> u64 {
    let after_ms = want.after_ms.max(want.to_ms.saturating_sub(lookback_ms));
    let is_fresh = |at: &usize| {
        let (times, values) = samples.floats_of(*at);
        let float =
            times.last().is_some_and(|time| *time > after_ms) && values.last().is_some_and(|v| v.to_bits() != STALE);
        let histogram = samples.histograms.get(*at).and_then(|samples| samples.last());
        float || histogram.is_some_and(|sample| sample.time > after_ms && sample.histogram.sum.to_bits() != STALE)
    };
    (0..samples.labels.len()).filter(is_fresh).count() as u64
}
