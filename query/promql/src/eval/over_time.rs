//! Functions over the windows of a range vector.
//!
//! Each row is walked once: the window of a step begins and ends where that of the step before did, or later. What a function makes of
//! one window is in [`window`], rates are in `rate`, what only native histograms need in `native`.

mod sliding;
pub(super) mod window;

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    Histogram, Labels, Result, Symbols,
    ast::{Extent, Span},
    labels::Symbol,
    notes::Notes,
    plan::{Aggregation, Plan, Step},
    samples::{HistogramSample, Series, count_until},
    value::{Cell, Matrix, Row, Times, Value},
};

use super::{Evaluator, aggregate::Folding, metric_name, rate, rows, select::Ranged};

/// Samples that are looked at before the next look whether anybody still waits: some milliseconds.
const LOOKED_AT_MAX: usize = 1 << 18;

/// The samples of one series that a step looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'s> {
    /// Which of the series' floats is the first of the window.
    pub first: usize,
    pub times: &'s [i64],
    pub values: &'s [f64],
    /// As many as times, or none.
    pub starts: &'s [i64],
    pub histograms: &'s [HistogramSample],
    /// Time of the step, milliseconds.
    pub time: i64,
    /// Where the range begins, which is no part of it, and where it ends, which is. Extended windows hold samples outside.
    pub after: i64,
    pub to: i64,
}

/// What a function over windows is called with, beside the window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub function: &'static str,
    /// Is it `rate` or `increase`?
    pub is_counter: bool,
    /// Is it `rate`?
    pub is_rate: bool,
    /// The steps of all windows.
    pub times: Times,
    pub labels: &'a Labels,
    pub symbols: &'a Symbols,
    /// Place of the range vector.
    pub span: Span,
    /// Places of all arguments.
    pub spans: &'a [Span],
    pub extent: Extent,
    pub range_ms: i64,
    pub lookback_ms: i64,
    /// Are start times of counters taken into account?
    pub starts: bool,
}

/// A call: the function, and what stands in its parentheses.
struct Called<'a> {
    function: &'static str,
    ranged: Ranged<'a>,
    /// Which argument that is.
    at: usize,
    /// Places of all arguments.
    spans: Vec<Span>,
    /// The other arguments, by step.
    scalars: Vec<Vec<f64>>,
}

/// What a worker gathers.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub notes: Notes,
    histograms: Vec<(usize, usize, Arc<Histogram>)>,
    /// Room for values to be sorted.
    pub scratch: Vec<f64>,
    /// Samples at which a counter was reset.
    pub resets: Vec<usize>,
}

impl Context<'_> {
    /// Name of the metric, for notes.
    pub(super) fn metric(&self) -> &str {
        metric_name(self.labels, self.symbols)
    }

    /// The metric's name in quotes, for notes.
    pub(super) fn quoted_metric(&self) -> String {
        crate::literal::quoted(self.metric())
    }
}

/// Sets the cells of a row at some of the steps.
pub(super) type Fill<'f> = dyn Fn(usize, Range<usize>, &mut [f64], &mut Gathered) + Sync + 'f;

impl<'a> Evaluator<'a> {
    /// A function over a range vector.
    pub(super) fn over_time(&mut self, function: &'static str, args: &[Plan], times: Times) -> Result<Matrix> {
        let called = self.called(function, args, times)?;
        let at = called.at;
        let mut matrix = self.absent(called.ranged.rows.clone(), times.count)?;
        let weight = called.ranged.samples.floats_count() + matrix.cells.len();
        let threads = self.options.threads;
        let gathered = self.walk(&called, times, |fill| {
            let whole = |row: usize, cells: &mut [f64], state: &mut Gathered| fill(row, 0..times.count, cells, state);
            rows::fill(&mut matrix, threads, weight, whole, Gathered::default)
        });
        for part in gathered {
            self.notes.merge(part.notes);
            for (row, step, histogram) in part.histograms {
                matrix.set(row, step, Cell::Histogram(histogram));
            }
        }
        self.check()?;
        matrix.prune();
        if function == "absent_over_time" {
            return Ok(self.absent_of(&matrix, &args[at]));
        }
        if matches!(function, "rate" | "increase") {
            self.note_gauges(&matrix.rows, args[0].span);
        }
        if matches!(function, "first_over_time" | "last_over_time") {
            if !self.options.features.delayed_name_removal {
                for row in matrix.rows.iter_mut().filter(|row| row.drops_name) {
                    row.labels = row.labels.without_metric();
                }
            }
        } else {
            self.drop_names(&mut matrix);
        }
        self.merged(matrix)
    }

    /// Adds the rows of a function over a range vector up as they come, without a place for each; `None` if they have to be seen all
    /// at once.
    pub(super) fn fold_over_time(
        &mut self,
        aggregation: &Aggregation,
        names: &[Symbol],
        times: Times,
    ) -> Result<Option<Matrix>> {
        let Step::Call(function, args) = &aggregation.expr.node else { return Ok(None) };
        let range = args.iter().find_map(|arg| match &arg.node {
            Step::Range(select, _) => Some(select),
            _ => None,
        });
        let Some(select) = range else { return Ok(None) };
        let samples = &self.samples[select.want];
        // Rows of which the names are dropped may become one.
        let name = |labels: &Labels| [Symbol::NAME, Symbol::TYPE, Symbol::UNIT].map(|label| labels.get(label));
        let has_one_name = samples.labels.windows(2).all(|pair| name(&pair[0]) == name(&pair[1]));
        let by_name = !aggregation.without && names.iter().any(|name| name.is_of_metric());
        if select.extent != Extent::Plain
            || !samples.histograms.is_empty()
            || !has_one_name
            || by_name
            || function.name == "absent_over_time"
        {
            return Ok(None);
        }
        let called = self.called(function.name, args, times)?;
        let fold = Folding::new(self, aggregation, &called.ranged.rows, names, times)?;
        let Some(mut fold) = fold else { return Ok(None) };
        let gathered = self.walk(&called, times, |fill| fold.run(fill));
        for part in gathered {
            self.notes.merge(part.notes);
        }
        self.check()?;
        let matrix = fold.finish();
        if matches!(function.name, "rate" | "increase") && !matrix.rows.is_empty() {
            self.note_gauges(called.ranged.rows.get(..1).unwrap_or_default(), args[0].span);
        }
        Ok(Some(matrix))
    }

    fn called(&mut self, function: &'static str, args: &[Plan], times: Times) -> Result<Called<'a>> {
        let is_range = |arg: &Plan| matches!(arg.node, Step::Range(..) | Step::Subquery(_));
        let Some(at) = args.iter().position(is_range) else {
            return Err(crate::Error::new(crate::ErrorKind::Invalid, "a range vector was expected"));
        };
        let mut scalars = Vec::with_capacity(args.len() - 1);
        for arg in args.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, arg)| arg) {
            if let Value::Scalar(values) = self.eval(arg, times)? {
                scalars.push(values);
            }
        }
        window::check_scalars(function, &scalars)?;
        let ranged = self.range(&args[at], times)?;
        Ok(Called { function, ranged, at, spans: args.iter().map(|arg| arg.span).collect(), scalars })
    }

    /// Calls `drive` with what computes rows of a call.
    fn walk<T>(&self, called: &Called<'_>, times: Times, drive: impl FnOnce(&Fill<'_>) -> T) -> T {
        let Called { function, ranged, at, spans, scalars } = called;
        let function = *function;
        let symbols: &Symbols = self.symbols;
        let lookback_ms = self.options.lookback_ms;
        let simple = window::simple(function);
        let every = times.count;
        let starts =
            self.options.features.start_timestamps && matches!(function, "rate" | "irate" | "increase" | "resets");
        let fill = |row: usize, steps: Range<usize>, cells: &mut [f64], state: &mut Gathered| {
            let times = times.part(&steps);
            let context = Context {
                is_counter: matches!(function, "rate" | "increase"),
                is_rate: function == "rate",
                function,
                times,
                labels: &ranged.rows[row].labels,
                symbols,
                span: spans[*at],
                spans,
                extent: ranged.extent,
                range_ms: ranged.range_ms,
                lookback_ms,
                starts,
            };
            let mut series = ranged.samples.series(row);
            if cells.len() < every && ranged.extent == Extent::Plain {
                let (after, _) = ranged.bounds(times.start, lookback_ms);
                let (_, to) = ranged.bounds(times.last(), lookback_ms);
                series = series.between(after, to);
            }
            if !starts {
                series.starts = &[];
            }
            if self.control.stop.load(Ordering::Relaxed) {
                return;
            }
            if ranged.extent == Extent::Plain && series.histograms.is_empty() {
                match (function, simple) {
                    ("rate" | "increase" | "delta", _) => {
                        return rate::floats(series, ranged, &context, state, cells);
                    }
                    ("min_over_time" | "max_over_time", _) => {
                        return sliding::extremes(series, ranged, &context, cells);
                    }
                    ("quantile_over_time", _) if !series.times.is_empty() => {
                        let q = scalars.first().and_then(|q| q.get(steps.clone())).unwrap_or_default();
                        q.iter().for_each(|q| window::note_quantile(*q, &context, &mut state.notes));
                        return sliding::quantiles(series, ranged, &context, q, cells);
                    }
                    (_, Some(simple)) => {
                        return each_window(series, ranged, times, lookback_ms, |step, window| {
                            cells[step] = simple(&window);
                        });
                    }
                    _ => {}
                }
            }
            each_window(series, ranged, times, lookback_ms, |step, window| {
                let scalar = |at: usize| scalars.get(at).map_or(f64::NAN, |values| values[steps.start + step]);
                match window::call(&window, &context, &scalar, scalars.len(), state) {
                    Some(Cell::Float(value)) => cells[step] = value,
                    Some(Cell::Histogram(histogram)) => state.histograms.push((row, steps.start + step, histogram)),
                    None => {}
                }
            });
        };
        drive(&fill)
    }

    /// Notes metrics that look as if they were no counters.
    fn note_gauges(&mut self, rows: &[Row], span: Span) {
        for series in rows {
            let name = metric_name(&series.labels, self.symbols);
            if name.is_empty() {
                continue;
            }
            if self.options.features.type_and_unit {
                let kind = self.symbols.text(series.labels.get(crate::labels::Symbol::TYPE));
                if !matches!(kind, "counter" | "histogram") {
                    let (kind, name) = (crate::literal::quoted(kind), crate::literal::quoted(name));
                    let what =
                        "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\"";
                    self.notes.info(format!("{what}, got {kind}: {name}"), span);
                }
            } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
                let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
                self.notes.info(format!("{what}: {}", crate::literal::quoted(name)), span);
            }
        }
    }
}

/// Where the windows of one step after another begin and end: after a time and up to another, and which samples are in between.
pub(super) struct Walk {
    pub after: i64,
    pub to: i64,
    step_ms: i64,
    /// Is it at the first step? Before that it is at none.
    is_first: Option<bool>,
}

impl Walk {
    pub(super) fn new(ranged: &Ranged<'_>, times: Times, lookback_ms: i64) -> Self {
        let (after, to) = ranged.bounds(times.start, lookback_ms);
        // Windows of a fixed time are all the same.
        let step_ms = if ranged.moment.at_ms.is_some() { 0 } else { times.step };
        Self { after, to, step_ms, is_first: None }
    }

    /// Goes on to the next step, or to the first.
    #[inline]
    pub(super) fn step(&mut self) {
        if self.is_first.is_some() {
            (self.after, self.to) = (self.after.saturating_add(self.step_ms), self.to.saturating_add(self.step_ms));
        }
        self.is_first = Some(self.is_first.is_none());
    }

    /// Goes on in samples of ascending time from where the window before was.
    #[inline]
    pub(super) fn within<T>(&self, samples: &[T], time: impl Fn(&T) -> i64, place: &mut Range<usize>) {
        if self.is_first == Some(true) {
            place.start = count_until(samples, &time, self.after);
            place.end = count_until(samples, &time, self.to);
        } else {
            while samples.get(place.start).is_some_and(|sample| time(sample) <= self.after) {
                place.start += 1;
            }
            while samples.get(place.end).is_some_and(|sample| time(sample) <= self.to) {
                place.end += 1;
            }
        }
        place.end = place.end.max(place.start);
    }
}

/// Calls `visit` with the window of each step that has samples.
#[inline]
pub(super) fn each_window(
    series: Series<'_>,
    ranged: &Ranged<'_>,
    times: Times,
    lookback_ms: i64,
    mut visit: impl FnMut(usize, Window<'_>),
) {
    let mut walk = Walk::new(ranged, times, lookback_ms);
    let (mut floats, mut histograms) = (0..0, 0..0);
    let mut looked_at = 0_usize;
    for (step, time) in times.iter().enumerate() {
        walk.step();
        walk.within(series.times, |time| *time, &mut floats);
        walk.within(series.histograms, |sample| sample.time, &mut histograms);
        if floats.is_empty() && histograms.is_empty() {
            continue;
        }
        looked_at += floats.len() + histograms.len();
        if looked_at >= LOOKED_AT_MAX {
            looked_at = 0;
            if ranged.stop.load(Ordering::Relaxed) {
                return;
            }
        }
        let reference = ranged.moment.of(time);
        let window = Window {
            first: floats.start,
            times: &series.times[floats.clone()],
            values: &series.values[floats.clone()],
            starts: series.starts.get(floats.clone()).unwrap_or_default(),
            histograms: &series.histograms[histograms.clone()],
            time,
            after: reference.saturating_sub(ranged.range_ms),
            to: reference,
        };
        visit(step, window);
    }
}
