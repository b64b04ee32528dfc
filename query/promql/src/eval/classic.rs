//! Quantiles and fractions of histograms, of both kinds: native ones, and those whose buckets are series with a label `le`.

use hashbrown::HashMap;

use crate::{
    Labels, Result,
    ast::Span,
    classic::{bucket_fraction, bucket_quantile},
    histogram::NanObservations,
    labels::Symbol,
    notes::{Forced, with_metric},
    number::short,
    plan::Plan,
    value::{Matrix, Row, Times, Value, is_present},
};

use super::{Evaluator, labelled, metric_name};

/// What is asked of each histogram at a step.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Quantile(f64),
    Fraction(f64, f64),
}

/// What is asked of the histograms of a vector.
struct Question<'a> {
    matrix: &'a Matrix,
    /// The classic ones.
    histograms: &'a [Buckets],
    /// Place of the vector.
    span: Span,
    /// By step.
    asked: &'a dyn Fn(usize) -> Asked,
    /// The label that names the quantile, and the quantiles by step.
    label: Option<(Symbol, &'a [f64])>,
}

/// The series of one classic histogram.
struct Buckets {
    labels: Labels,
    drops_name: bool,
    /// Upper bound and row of each bucket.
    rows: Vec<(f64, usize)>,
}

impl Evaluator<'_> {
    pub(super) fn of_buckets(&mut self, name: &str, args: &[Plan], times: Times) -> Result<Matrix> {
        let (vector, from) = match name {
            "histogram_quantile" => (1, 0..1),
            "histogram_fraction" => (2, 0..2),
            _ => (0, 2..args.len()),
        };
        let mut scalars = Vec::new();
        for arg in &args[from.clone()] {
            match self.eval(arg, times)? {
                Value::Scalar(values) => scalars.push(values),
                _ => scalars.push(vec![f64::NAN; times.count]),
            }
        }
        let matrix = self.vector(&args[vector], times)?;
        let span = args[vector].span;
        if name != "histogram_fraction" {
            for (values, arg) in scalars.iter().zip(&args[from]) {
                for value in values.iter().filter(|value| !(0.0..=1.0).contains(*value)) {
                    self.notes
                        .warn(format!("quantile value should be between 0 and 1, got {}", short(*value)), arg.span);
                }
            }
        }
        let histograms = self.histograms_of(&matrix, span);
        let mut out = Matrix { steps: matrix.steps, ..Matrix::default() };
        let (matrix, histograms) = (&matrix, histograms.as_slice());
        if name == "histogram_fraction" {
            let asked = &|step: usize| Asked::Fraction(scalars[0][step], scalars[1][step]);
            self.ask(&Question { matrix, histograms, span, asked, label: None }, &mut out)?;
        } else if name == "histogram_quantile" {
            let asked = &|step: usize| Asked::Quantile(scalars[0][step]);
            self.ask(&Question { matrix, histograms, span, asked, label: None }, &mut out)?;
        } else {
            let label = self.symbols.number(labelled::text(args, 1));
            for quantiles in &scalars {
                let asked = &|step: usize| Asked::Quantile(quantiles[step]);
                let label = Some((label, quantiles.as_slice()));
                self.ask(&Question { matrix, histograms, span, asked, label }, &mut out)?;
            }
        }
        out.prune();
        self.merge(out)
    }

    /// The classic histograms of a vector: rows by their labels but `le`.
    fn histograms_of(&mut self, matrix: &Matrix, span: Span) -> Vec<Buckets> {
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut histograms: Vec<Buckets> = Vec::new();
        for (at, row) in matrix.rows.iter().enumerate() {
            if !matrix.row(at).iter().any(|value| is_present(*value)) {
                continue;
            }
            let text = self.symbols.text(row.labels.get(Symbol::LE));
            let Some(bound) = text.parse::<f64>().ok().filter(|bound| !bound.is_nan()) else {
                let what = format!(
                    "bucket label \"le\" is missing or has a malformed value of {}",
                    crate::literal::quoted(text)
                );
                let what = with_metric(&what, self.shown_metric(&row.labels));
                self.notes.warn(what, span);
                continue;
            };
            let labels = row.labels.filtered(|name| name != Symbol::LE);
            let next = histograms.len();
            let of = *known.entry(labels.clone()).or_insert(next);
            if of == next {
                histograms.push(Buckets { labels, drops_name: row.drops_name, rows: Vec::new() });
            }
            histograms[of].rows.push((bound, at));
        }
        for histogram in &mut histograms {
            histogram.rows.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        }
        histograms
    }

    /// The name of a metric as notes show it: of names that are dropped already there is nothing to show.
    fn shown_metric(&self, labels: &Labels) -> &str {
        if self.options.features.delayed_name_removal { metric_name(labels, self.symbols) } else { "" }
    }

    fn ask(&mut self, question: &Question<'_>, out: &mut Matrix) -> Result<()> {
        let Question { matrix, histograms, span, asked, label } = *question;
        let mut mixed = vec![false; histograms.len() * matrix.steps];
        if !matrix.histograms.is_empty() {
            self.ask_native(question, &mut mixed, out);
        }
        let mut buckets = Vec::new();
        for (at, histogram) in histograms.iter().enumerate() {
            let mut target = Target::new(&histogram.labels, true, label);
            for step in 0..matrix.steps {
                if mixed[at * matrix.steps + step] {
                    continue;
                }
                buckets.clear();
                let present = histogram.rows.iter().map(|(bound, row)| (*bound, matrix.row(*row)[step]));
                buckets.extend(present.filter(|(_, value)| is_present(*value)));
                if buckets.is_empty() {
                    continue;
                }
                let value = match asked(step) {
                    Asked::Fraction(lower, upper) => bucket_fraction(lower, upper, &mut buckets),
                    Asked::Quantile(q) => {
                        let found = bucket_quantile(q, &mut buckets);
                        if found.mended.forced_monotonic {
                            let time = self.step_time(step);
                            let forced = Forced {
                                times_ms: (time, time),
                                buckets: (found.mended.min_bucket, found.mended.max_bucket),
                                difference: found.mended.max_diff,
                                count: 1,
                            };
                            let metric = self.shown_metric(&histogram.labels).to_owned();
                            self.notes.forced(&metric, span, forced);
                        }
                        found.value
                    }
                };
                let row = target.row(step, out, self);
                out.cells[row * matrix.steps + step] = value;
            }
            debug_assert!(histogram.drops_name || !histogram.rows.is_empty());
        }
        self.check()
    }

    /// Asks native histograms; marks the steps at which there is a classic one of the same labels, of which neither is asked.
    fn ask_native(&mut self, question: &Question<'_>, mixed: &mut [bool], out: &mut Matrix) {
        let Question { matrix, histograms, span, asked, label } = *question;
        for (at, row) in matrix.rows.iter().enumerate() {
            let twin = histograms.iter().position(|histogram| histogram.labels == row.labels);
            let mut target = Target::new(&row.labels, true, label);
            for step in 0..matrix.steps {
                let Some(histogram) = matrix.histogram(at, step) else { continue };
                let has_buckets =
                    |twin: usize| histograms[twin].rows.iter().any(|(_, row)| is_present(matrix.row(*row)[step]));
                if let Some(twin) = twin.filter(|twin| has_buckets(*twin)) {
                    mixed[twin * matrix.steps + step] = true;
                    let what = "vector contains a mix of classic and native histograms";
                    let what = with_metric(what, self.shown_metric(&row.labels));
                    self.notes.warn(what, span);
                    continue;
                }
                let found = match asked(step) {
                    Asked::Quantile(q) => histogram.quantile(q),
                    Asked::Fraction(lower, upper) => histogram.fraction(lower, upper),
                };
                if let Some(nan) = found.nan_observations {
                    let what = with_metric(about_nan(nan), self.shown_metric(&row.labels));
                    self.notes.info(what, span);
                }
                let row = target.row(step, out, self);
                out.cells[row * matrix.steps + step] = found.value;
            }
        }
    }

    fn step_time(&self, step: usize) -> i64 {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.options.start_ms.saturating_add(self.options.step_ms.saturating_mul(step))
    }
}

/// What is said of a native histogram whose observations of NaN show in an answer.
fn about_nan(nan: NanObservations) -> &'static str {
    match nan {
        NanObservations::NanQuantile => "input to histogram_quantile has NaN observations, result is NaN",
        NanObservations::SkewedQuantile => "input to histogram_quantile has NaN observations, result is skewed higher",
        NanObservations::ExcludedFromFraction => {
            "input to histogram_fraction has NaN observations, which are excluded from all fractions"
        }
    }
}

/// The row, or rows, that a histogram's results go to: one, or one for each quantile that is asked at its steps.
struct Target<'a> {
    labels: &'a Labels,
    drops_name: bool,
    label: Option<(Symbol, &'a [f64])>,
    rows: HashMap<u64, usize>,
}

impl<'a> Target<'a> {
    fn new(labels: &'a Labels, drops_name: bool, label: Option<(Symbol, &'a [f64])>) -> Self {
        Self { labels, drops_name, label, rows: HashMap::new() }
    }

    fn row(&mut self, step: usize, out: &mut Matrix, evaluator: &mut Evaluator<'_>) -> usize {
        let key = self.label.map_or(0, |(_, quantiles)| quantiles[step].to_bits());
        if let Some(row) = self.rows.get(&key) {
            return *row;
        }
        let delayed = evaluator.options.features.delayed_name_removal;
        let mut labels = if delayed { self.labels.clone() } else { self.labels.without_metric() };
        if let Some((label, quantiles)) = self.label {
            let value = evaluator.symbols.number(&open_metrics(quantiles[step]));
            labels = labels.with(label, value, evaluator.symbols);
        }
        let row = out.push(Row { labels, drops_name: self.drops_name });
        self.rows.insert(key, row);
        row
    }
}

/// A number as OpenMetrics writes it in labels: with a point, so that it is seen to be one.
fn open_metrics(value: f64) -> String {
    let text = short(value);
    if value.is_finite() && !text.contains(['.', 'e']) { format!("{text}.0") } else { text }
}
