//! Runs Prometheus' own test scripts (`promqltest`) against any [`Backend`].
//!
//! A script is lines: `load` gives series, `eval` a query and what must come of it, `clear` forgets all. `command` makes commands of
//! lines with the help of `notation` (series and their values), `expect` (expectations) and `literal`;
//! `classic` makes histograms with custom buckets of classic ones; `compare` holds an answer against what was expected and `show`
//! writes both down.
//! Called by the integration tests, which have the scripts and the engine.
//!
//! Invariants, all of Prometheus' runner: an instant query is asked once more as the middle step of a range query, and again pinned
//! with `@` at other times, with the same expectations; floats may differ by a millionth; a script is read as a whole before
//! anything runs.
//! Different here: an evaluation that fails does not end the script.
//! Not here: the syntax of PromQL, hence the rewriting with `@`, which is the backend's.
//! Spec: <https://github.com/prometheus/prometheus/blob/main/promql/promqltest/README.md>

mod classic;
mod command;
mod compare;
mod expect;
mod literal;
mod notation;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use command::{Command, Eval, When};
use promql::{BucketSpan as Span, Buckets, CUSTOM, Histogram, ResetHint, STALE};

/// Names and values, in the order of names; the name of the metric is `__name__`.
pub type Labels = Vec<(String, String)>;

/// What a series has at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Histogram),
}

/// A point and its times.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where it stands.
    pub t_ms: i64,
    /// What it is. A stale marker is a float with the bits [`STALE`], and after a histogram a histogram with that sum.
    pub point: Point,
    /// Since when a counter counts.
    pub start_ms: Option<i64>,
}

/// A series of a `load`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedSeries {
    /// What it is called.
    pub labels: Labels,
    /// At least one, in the order of time.
    pub samples: Vec<Sample>,
}

/// What a query yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number at a time.
    Scalar(i64, f64),
    /// A text.
    String(String),
    /// Series with a point each.
    Vector(Vec<(Labels, i64, Point)>),
    /// Series with points.
    Matrix(Vec<(Labels, Vec<(i64, Point)>)>),
}

/// An answer. The annotations are texts as the API gives them, with their place at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What came of the query.
    pub value: Value,
    /// `PromQL warning: …`
    pub warnings: Vec<String>,
    /// `PromQL info: …`
    pub infos: Vec<String>,
}

/// A store with an engine.
pub trait Backend {
    /// Forgets everything.
    ///
    /// # Errors
    /// Ends the script.
    fn clear(&mut self) -> Result<(), String>;

    /// Adds samples to what is there.
    ///
    /// # Errors
    /// Ends the script.
    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), String>;

    /// Evaluates at a time.
    ///
    /// # Errors
    /// The query failed, as scripts may expect.
    fn instant(&mut self, query: &str, at_ms: i64) -> Result<Outcome, String>;

    /// Evaluates from a time to another, both included.
    ///
    /// # Errors
    /// The query failed, as scripts may expect.
    fn range(&mut self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Outcome, String>;

    /// The query with `@ at_ms` at every selector and subquery that can have one, with the times to evaluate it at; `None` if it
    /// cannot be pinned. [`pinned_times`] gives the times.
    fn pinned(&mut self, query: &str, at_ms: i64) -> Option<Vec<(String, i64)>>;
}

/// How a query was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the script says.
    Plain,
    /// An instant query as the middle of a range.
    AsRange,
    /// With `@`, both as an instant query and as the middle of a range.
    Pinned,
}

/// What was not as expected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The line of the `eval`, the first being 1.
    pub line: usize,
    /// The query as the script has it.
    pub query: String,
    /// What was expected and what came.
    pub what: String,
    /// How it was asked.
    pub mode: Mode,
}

/// An `eval` in one mode.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The line of the `eval`, the first being 1.
    pub line: usize,
    /// The query as the script has it.
    pub query: String,
    /// How it was asked.
    pub mode: Mode,
    /// Whether all was as expected.
    pub passed: bool,
}

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many `eval` commands the script has.
    pub evaluations: usize,
    /// At most one per command and mode.
    pub failures: Vec<Failure>,
    /// Every command in every mode it was asked in.
    pub evaluated: Vec<Evaluation>,
}

impl Report {
    fn enter(&mut self, eval: &Eval, mode: Mode, result: Result<(), String>) {
        let (line, query) = (eval.line, &eval.query);
        self.evaluated.push(Evaluation { line, query: query.clone(), mode, passed: result.is_ok() });
        if let Err(what) = result {
            self.failures.push(Failure { line, query: query.clone(), what, mode });
        }
    }
}

/// Half of the range around an instant.
const AROUND_MS: i64 = 60_000;

/// Runs a script. The backend is cleared first.
///
/// # Errors
/// The script cannot be read or the backend refuses a `clear` or a `load`; the line is named.
pub fn run(text: &str, backend: &mut dyn Backend) -> Result<Report, String> {
    let commands = command::read(text)?;
    backend.clear()?;
    let (mut report, mut ended_kinds) = (Report::default(), BTreeMap::new());
    for (line, command) in commands {
        match command {
            Command::Clear => {
                ended_kinds.clear();
                backend.clear().map_err(|error| format!("line {line}: clear: {error}"))?;
            }
            Command::Load(mut series) => {
                end_histograms(&mut series, &mut ended_kinds);
                backend.load(series).map_err(|error| format!("line {line}: load: {error}"))?;
            }
            Command::Eval(eval) => {
                report.evaluations += 1;
                evaluate(&eval, backend, &mut report);
            }
        }
    }
    Ok(report)
}

/// When Prometheus evaluates a query that is pinned to a time.
pub fn pinned_times(at_ms: i64) -> Vec<i64> {
    if at_ms == 0 { vec![-1000, 0, 1000] } else { vec![-10 * at_ms, 0, at_ms / 5, at_ms, 10 * at_ms] }
}

/// Makes histograms of the stale markers that follow histograms, as the head of Prometheus does.
fn end_histograms(series: &mut [LoadedSeries], is_histogram: &mut BTreeMap<Labels, bool>) {
    for LoadedSeries { labels, samples } in series {
        let is_histogram = is_histogram.entry(labels.clone()).or_default();
        for Sample { point, .. } in samples {
            match point {
                Point::Float(value) if value.to_bits() == STALE && *is_histogram => {
                    *point = Point::Histogram(Histogram { sum: *value, ..Histogram::default() });
                }
                Point::Float(_) => *is_histogram = false,
                Point::Histogram(_) => *is_histogram = true,
            }
        }
    }
}

fn evaluate(eval: &Eval, backend: &mut dyn Backend, report: &mut Report) {
    let at_ms = match eval.when {
        When::Range { start_ms, end_ms, step_ms } => {
            let outcome = backend.range(&eval.query, start_ms, end_ms, step_ms);
            return report.enter(eval, Mode::Plain, eval.expect.check(&outcome));
        }
        When::Instant { at_ms } => at_ms,
    };
    let (plain, as_range) = instant(eval, &eval.query, at_ms, backend);
    report.enter(eval, Mode::Plain, plain);
    if let Some(as_range) = as_range {
        report.enter(eval, Mode::AsRange, as_range);
    }
    let Some(pinned) = backend.pinned(&eval.query, at_ms) else { return };
    let mut wrong = Vec::new();
    for (query, at_ms) in &pinned {
        let (plain, as_range) = instant(eval, query, *at_ms, backend);
        wrong.extend(plain.err().map(|what| format!("{query} at {at_ms} ms: {what}")));
        wrong.extend(as_range.and_then(Result::err).map(|what| format!("{query} around {at_ms} ms: {what}")));
    }
    let more = if wrong.len() > 1 { format!(" (and {} more of them)", wrong.len() - 1) } else { String::new() };
    report.enter(eval, Mode::Pinned, wrong.first().map_or(Ok(()), |what| Err(format!("{what}{more}"))));
}

/// Asks at a time and, if that gives a value, around it.
fn instant(
    eval: &Eval,
    query: &str,
    at_ms: i64,
    backend: &mut dyn Backend,
) -> (Result<(), String>, Option<Result<(), String>>) {
    // These tell of the range that is asked for, so another range gives something else.
    let depends_on_range = ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call));
    let outcome = backend.instant(query, at_ms);
    let result = eval.expect.check(&outcome);
    let Ok(Outcome { value, .. }) = outcome else { return (result, None) };
    if eval.expect.is_instant_only || eval.expect.fails() || depends_on_range {
        return (result, None);
    }
    let is_scalar = matches!(value, Value::Scalar(..));
    let around = backend.range(query, at_ms - AROUND_MS, at_ms + AROUND_MS, AROUND_MS);
    let as_range = around.map_err(|error| format!("the query failed: {error}")).and_then(|outcome| {
        // A range is sorted by labels, whatever the query orders.
        if eval.expect.is_ordered {
            return Ok(());
        }
        let Value::Matrix(series) = outcome.value else {
            return Err(format!("expected a matrix, got {}", show::value(&outcome.value)));
        };
        eval.expect.check_value(&middle(series, at_ms, is_scalar)?)
    });
    (result, Some(as_range))
}

/// What a range query says of one of its times.
fn middle(series: Vec<(Labels, Vec<(i64, Point)>)>, at_ms: i64, is_scalar: bool) -> Result<Value, String> {
    compare::sorted(&series)?;
    let at = |points: Vec<(i64, Point)>| points.into_iter().find(|(t_ms, _)| *t_ms == at_ms);
    let points =
        series.into_iter().filter_map(|(labels, points)| at(points).map(|(t_ms, point)| (labels, t_ms, point)));
    let points: Vec<_> = points.collect();
    match (is_scalar, points.as_slice()) {
        (false, _) => Ok(Value::Vector(points)),
        (true, [(_, _, Point::Float(value))]) => Ok(Value::Scalar(at_ms, *value)),
        (true, _) => Err(format!("expected a scalar at {at_ms} ms, got {}", show::value(&Value::Vector(points)))),
    }
}
