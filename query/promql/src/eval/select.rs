//! Selectors: the sample of each step, and the samples of each window.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    Result,
    ast::{Extent, Span},
    labels::Symbol,
    plan::{Aggregation, Moment, Options, Plan, Select, Step},
    samples::{Gather, HistogramSample, NO_START, Samples, Series, is_stale},
    value::{Cell, Matrix, Row, Times, Value, is_present},
};

use super::{Evaluator, aggregate::Folding, extended, over_time::Window, rows};

/// The samples of a range vector: rows, and for each the samples of which windows are taken.
pub(super) struct Ranged<'s> {
    /// Is set when nobody waits any more.
    pub stop: &'s AtomicBool,
    pub rows: Vec<Row>,
    pub samples: Cow<'s, Samples>,
    pub moment: Moment,
    pub range_ms: i64,
    pub extent: Extent,
}

/// What of a series' newest sample is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Value,
    /// Seconds.
    Time,
    /// Seconds.
    Start,
}

/// How newest samples are looked up.
#[derive(Debug, Clone, Copy)]
struct LookUp {
    times: Times,
    /// How old a sample may be, milliseconds.
    lookback_ms: i64,
    wanted: Wanted,
}

impl<'a> Evaluator<'a> {
    /// The newest sample of each series at each step.
    pub(super) fn instant(&mut self, select: &Select, span: Span, times: Times) -> Result<Matrix> {
        if select.extent == Extent::Smoothed {
            return self.smoothed(select, span, times);
        }
        self.newest(select, times, Wanted::Value)
    }

    /// What is wanted of the newest samples. Rows without one stay, and are empty.
    pub(super) fn newest(&mut self, select: &Select, times: Times, wanted: Wanted) -> Result<Matrix> {
        let samples = &self.samples[select.want];
        let rows: Vec<Row> = samples.labels.iter().cloned().map(Row::new).collect();
        let mut matrix = self.absent(rows, times.count)?;
        let look_up = LookUp { times, lookback_ms: self.options.lookback_ms, wanted };
        let fill = |row: usize, cells: &mut [f64], _: &mut ()| {
            newest_of(samples.series(row), select.moment, look_up, cells);
        };
        let weight = samples.floats_count() + matrix.cells.len();
        rows::fill(&mut matrix, self.options.threads, weight, fill, || ());
        if !samples.histograms.is_empty() {
            newest_histograms(samples, select, look_up, &mut matrix);
        }
        matrix.prune();
        Ok(matrix)
    }

    /// Adds the newest samples of each series up as they come, without a place for each; `None` if they have to be seen all at once.
    pub(super) fn fold_newest(
        &mut self,
        aggregation: &Aggregation,
        names: &[Symbol],
        times: Times,
    ) -> Result<Option<Matrix>> {
        let Step::Instant(select) = &aggregation.expr.node else { return Ok(None) };
        let samples = &self.samples[select.want];
        if select.extent == Extent::Smoothed || !samples.histograms.is_empty() {
            return Ok(None);
        }
        let rows: Vec<Row> = samples.labels.iter().cloned().map(Row::new).collect();
        let Some(mut fold) = Folding::new(self, aggregation, &rows, names, times)? else { return Ok(None) };
        let (lookback_ms, stop) = (self.options.lookback_ms, self.control.stop);
        fold.run(&|row, steps, cells, _| {
            if !stop.load(Ordering::Relaxed) {
                let look_up = LookUp { times: times.part(&steps), lookback_ms, wanted: Wanted::Value };
                newest_of(samples.series(row), select.moment, look_up, cells);
            }
        });
        self.check()?;
        Ok(Some(fold.finish()))
    }

    /// The samples of a range vector.
    pub(super) fn range(&mut self, plan: &Plan, times: Times) -> Result<Ranged<'a>> {
        match &plan.node {
            Step::Range(select, range_ms) => {
                let samples = &self.samples[select.want];
                Ok(Ranged {
                    stop: self.control.stop,
                    rows: samples.labels.iter().cloned().map(Row::new).collect(),
                    samples: told(without_stale(samples), select.totals),
                    moment: select.moment,
                    range_ms: *range_ms,
                    extent: select.extent,
                })
            }
            Step::Subquery(window) => {
                // With a fixed time all steps look at one window.
                let outer = if plan.fixed { Times { count: 1, ..times } } else { times };
                let inner = window.times(outer);
                let matrix = match self.eval(&window.expr, inner)? {
                    Value::Vector(matrix) => matrix,
                    Value::Scalar(_) | Value::String(_) => Matrix::default(),
                };
                // A time and a value for each, beside the cells.
                self.hold_beside(matrix.cells.len().saturating_mul(2))?;
                let (rows, samples) = as_samples(matrix, inner);
                Ok(Ranged {
                    stop: self.control.stop,
                    rows,
                    samples: Cow::Owned(samples),
                    moment: window.moment,
                    range_ms: window.range_ms,
                    extent: Extent::Plain,
                })
            }
            _ => Err(crate::Error::new(crate::ErrorKind::Invalid, "a range vector was expected")),
        }
    }
}

impl Ranged<'_> {
    /// The window of a step, after and to which times.
    pub(super) fn bounds(&self, time: i64, lookback: i64) -> (i64, i64) {
        let to = self.moment.of(time);
        let after = to.saturating_sub(self.range_ms);
        match self.extent {
            Extent::Plain => (after, to),
            Extent::Anchored => (after.saturating_sub(lookback), to),
            Extent::Smoothed => (after.saturating_sub(lookback), to.saturating_add(lookback)),
        }
    }

    /// The samples of one window, rows in an order.
    pub(super) fn window(&mut self, time: i64, options: &Options, order: &[usize]) -> Result<Samples> {
        let (after, to) = self.bounds(time, options.lookback_ms);
        let reference = self.moment.of(time);
        let mut out = Gather::default();
        for row in order {
            let series = self.samples.series(*row);
            let first = series.times.partition_point(|time| *time <= after);
            let last = series.times.partition_point(|time| *time <= to).max(first);
            let window = Window {
                times: &series.times[first..last],
                values: &series.values[first..last],
                starts: &[],
                first,
                histograms: super::in_window(series.histograms, after, to),
                time,
                after: reference.saturating_sub(self.range_ms),
                to: reference,
            };
            let (times, values) = match self.extent {
                Extent::Plain => (Cow::Borrowed(window.times), Cow::Borrowed(window.values)),
                _ => {
                    let (times, values) = extended::samples(&window, self.extent)?;
                    (Cow::Owned(times), Cow::Owned(values))
                }
            };
            if times.is_empty() && window.histograms.is_empty() {
                continue;
            }
            let row = &self.rows[*row];
            let drops = row.drops_name && options.features.delayed_name_removal;
            let labels = if drops { row.labels.without_metric() } else { row.labels.clone() };
            out.add(labels, (&times, &values, &[]), window.histograms.to_vec());
        }
        Ok(out.finish())
    }
}

fn newest_of(series: Series<'_>, moment: Moment, look_up: LookUp, cells: &mut [f64]) {
    let LookUp { times, lookback_ms, wanted } = look_up;
    let mut reference = moment.of(times.start);
    let step_ms = if moment.at_ms.is_some() { 0 } else { times.step };
    let mut next = series.times.partition_point(|time| *time <= reference);
    for (step, cell) in cells.iter_mut().enumerate() {
        if step > 0 {
            reference = reference.saturating_add(step_ms);
        }
        while series.times.get(next).is_some_and(|time| *time <= reference) {
            next += 1;
        }
        let Some(at) = next.checked_sub(1) else { continue };
        if series.times[at] <= reference.saturating_sub(lookback_ms) || is_stale(series.values[at]) {
            continue;
        }
        *cell = match wanted {
            Wanted::Value => series.values[at],
            Wanted::Time => crate::duration::seconds(series.times[at]),
            Wanted::Start => crate::duration::seconds(series.starts.get(at).copied().unwrap_or(NO_START)),
        };
    }
}

/// Sets cells whose newest sample is a histogram.
fn newest_histograms(samples: &Samples, select: &Select, look_up: LookUp, matrix: &mut Matrix) {
    let LookUp { times, lookback_ms, wanted } = look_up;
    let moment = select.moment;
    for row in 0..samples.len() {
        let series = samples.series(row);
        if series.histograms.is_empty() {
            continue;
        }
        for (step, time) in times.iter().enumerate() {
            let reference = moment.of(time);
            let at = series.histograms.partition_point(|sample| sample.time <= reference);
            let Some(sample) = at.checked_sub(1).map(|at| &series.histograms[at]) else { continue };
            let newest_float = series.times.partition_point(|time| *time <= reference);
            let float_time = newest_float.checked_sub(1).map(|at| series.times[at]);
            if sample.time <= reference.saturating_sub(lookback_ms) || float_time.is_some_and(|time| time > sample.time)
            {
                continue;
            }
            if sample.histogram.is_stale() {
                matrix.cells[row * times.count + step] = crate::value::ABSENT;
                continue;
            }
            let cell = match wanted {
                Wanted::Value if select.totals => Cell::Histogram(sample.told().histogram),
                Wanted::Value => Cell::Histogram(Arc::clone(&sample.histogram)),
                Wanted::Time => Cell::Float(crate::duration::seconds(sample.time)),
                Wanted::Start => Cell::Float(crate::duration::seconds(sample.start)),
            };
            matrix.cells[row * times.count + step] = crate::value::ABSENT;
            matrix.set(row, step, cell);
        }
    }
}

/// Windows have no staleness markers.
fn without_stale(samples: &Samples) -> Cow<'_, Samples> {
    let has_stale = |row: usize| samples.series(row).values.iter().any(|value| is_stale(*value));
    let stale_floats = samples.may_be_stale() && (0..samples.len()).any(has_stale);
    let stale_histograms = samples.histograms.iter().flatten().any(|sample| sample.histogram.is_stale());
    if !stale_floats && !stale_histograms {
        return Cow::Borrowed(samples);
    }
    let mut out = Gather::default();
    let (mut times, mut values, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for (row, labels) in samples.labels.iter().enumerate() {
        let series = samples.series(row);
        times.clear();
        values.clear();
        starts.clear();
        for (at, value) in series.values.iter().enumerate().filter(|(_, value)| !is_stale(**value)) {
            times.push(series.times[at]);
            values.push(*value);
            starts.extend(series.starts.get(at));
        }
        let kept = series.histograms.iter().filter(|sample| !sample.histogram.is_stale()).cloned();
        out.add(labels.clone(), (&times, &values, &starts), kept.collect());
    }
    Cow::Owned(out.finish())
}

/// With hints that tell of resets, if they are wanted.
fn told(samples: Cow<'_, Samples>, wanted: bool) -> Cow<'_, Samples> {
    if !wanted || !samples.histograms.iter().flatten().any(|sample| sample.is_reset) {
        return samples;
    }
    let mut samples = samples.into_owned();
    for sample in samples.histograms.iter_mut().flatten() {
        *sample = sample.told();
    }
    Cow::Owned(samples)
}

/// The cells of a subquery as samples at its steps.
fn as_samples(matrix: Matrix, times: Times) -> (Vec<Row>, Samples) {
    let mut out = Gather::with_room(matrix.cells.iter().filter(|value| is_present(**value)).count());
    let (mut at, mut values) = (Vec::new(), Vec::new());
    for (row, of) in matrix.rows.iter().enumerate() {
        at.clear();
        values.clear();
        for (step, value) in matrix.row(row).iter().enumerate().filter(|(_, value)| is_present(**value)) {
            at.push(times.get(step));
            values.push(*value);
        }
        let sample = |(step, histogram): (usize, &Option<Arc<crate::Histogram>>)| {
            let histogram = histogram.as_ref()?;
            // What a hint says holds between samples of storage, not between those of a subquery.
            Some(HistogramSample::new(times.get(step), NO_START, unhinted(histogram)))
        };
        let histograms = matrix.row_histograms(row).iter().enumerate().filter_map(sample).collect();
        out.add(of.labels.clone(), (&at, &values, &[]), histograms);
    }
    (matrix.rows, out.finish())
}

fn unhinted(histogram: &Arc<crate::Histogram>) -> Arc<crate::Histogram> {
    use crate::ResetHint::{NoReset, Reset, Unknown};
    match histogram.hint {
        NoReset | Reset => Arc::new(crate::Histogram { hint: Unknown, ..crate::Histogram::clone(histogram) }),
        _ => Arc::clone(histogram),
    }
}
