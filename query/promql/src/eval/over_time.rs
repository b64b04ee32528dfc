//! Functions over the windows of a range vector.
//!
//! Each row is walked once: the window of a step begins and ends where that of the step before did, or later. What a function makes of
//! one window is in [`window`], rates are in `rate`, what only native histograms need in `native`.

mod sliding;
pub(super) mod window;

use std::sync::Arc;

use crate::{
    Histogram, Labels, Result, Symbols,
    ast::{Extent, Span},
    notes::Notes,
    plan::{Plan, Step},
    samples::{HistogramSample, Series},
    value::{Cell, Matrix, Times, Value, is_present},
};

use super::{Evaluator, metric_name, rate, rows, select::Ranged};

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

/// A call: the function, and what stands in its parentheses beside the range vector.
struct Called {
    function: &'static str,
    /// Which argument the range vector is.
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

impl Evaluator<'_> {
    /// A function over a range vector.
    pub(super) fn over_time(&mut self, function: &'static str, args: &[Plan], times: Times) -> Result<Matrix> {
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
        let called = Called { function, at, spans: args.iter().map(|arg| arg.span).collect(), scalars };
        let mut matrix = self.absent(ranged.rows.clone(), times.count)?;
        let gathered = self.walk(&called, &ranged, times, &mut matrix);
        for part in gathered {
            self.notes.merge(part.notes);
            for (row, step, histogram) in part.histograms {
                matrix.set(row, step, Cell::Histogram(histogram));
            }
        }
        self.check()?;
        if function == "absent_over_time" {
            return Ok(self.absent_of(&matrix, &args[at]));
        }
        if matches!(function, "rate" | "increase") {
            self.note_gauges(&matrix, args[0].span);
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
        matrix.prune();
        self.merged(matrix)
    }

    fn walk(&self, called: &Called, ranged: &Ranged<'_>, times: Times, matrix: &mut Matrix) -> Vec<Gathered> {
        let Called { function, at, spans, scalars } = called;
        let function = *function;
        let symbols: &Symbols = self.symbols;
        let lookback_ms = self.options.lookback_ms;
        let simple = window::simple(function);
        let starts =
            self.options.features.start_timestamps && matches!(function, "rate" | "irate" | "increase" | "resets");
        let fill = |row: usize, cells: &mut [f64], state: &mut Gathered| {
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
            if !starts {
                series.starts = &[];
            }
            if self.control.stop.load(std::sync::atomic::Ordering::Relaxed) {
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
                        let q = scalars.first().map(Vec::as_slice).unwrap_or_default();
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
                let scalar = |at: usize| scalars.get(at).map_or(f64::NAN, |values| values[step]);
                match window::call(&window, &context, &scalar, scalars.len(), state) {
                    Some(Cell::Float(value)) => cells[step] = value,
                    Some(Cell::Histogram(histogram)) => state.histograms.push((row, step, histogram)),
                    None => {}
                }
            });
        };
        let weight = ranged.samples.floats_count() + matrix.cells.len();
        rows::fill(matrix, self.options.threads, weight, fill, Gathered::default)
    }

    /// Notes metrics that look as if they were no counters.
    fn note_gauges(&mut self, matrix: &Matrix, span: Span) {
        for (row, series) in matrix.rows.iter().enumerate() {
            if !matrix.row(row).iter().any(|value| is_present(*value)) {
                continue;
            }
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

/// Calls `visit` with the window of each step that has samples.
pub(super) fn each_window(
    series: Series<'_>,
    ranged: &Ranged<'_>,
    times: Times,
    lookback_ms: i64,
    mut visit: impl FnMut(usize, Window<'_>),
) {
    let (mut first, mut last, mut first_histogram, mut last_histogram) = (0, 0, 0, 0);
    let histogram_times = |at: usize| series.histograms[at].time;
    for step in 0..times.count {
        let time = times.get(step);
        let (after, to) = ranged.bounds(time, lookback_ms);
        if step == 0 {
            first = series.times.partition_point(|time| *time <= after);
            last = series.times.partition_point(|time| *time <= to);
            first_histogram = series.histograms.partition_point(|sample| sample.time <= after);
            last_histogram = series.histograms.partition_point(|sample| sample.time <= to);
        } else {
            while first < series.times.len() && series.times[first] <= after {
                first += 1;
            }
            while last < series.times.len() && series.times[last] <= to {
                last += 1;
            }
            while first_histogram < series.histograms.len() && histogram_times(first_histogram) <= after {
                first_histogram += 1;
            }
            while last_histogram < series.histograms.len() && histogram_times(last_histogram) <= to {
                last_histogram += 1;
            }
        }
        last = last.max(first);
        last_histogram = last_histogram.max(first_histogram);
        if first == last && first_histogram == last_histogram {
            continue;
        }
        let reference = ranged.moment.of(time);
        let window = Window {
            first,
            times: &series.times[first..last],
            values: &series.values[first..last],
            starts: series.starts.get(first..last).unwrap_or_default(),
            histograms: &series.histograms[first_histogram..last_histogram],
            time,
            after: reference.saturating_sub(ranged.range_ms),
            to: reference,
        };
        visit(step, window);
    }
}
