//! Evaluates a planned query over its samples.
//!
//! Called with a plan and the samples of each of its wants; gives rows of cells, a column for each step. An expression is evaluated for
//! all steps at once, children first: selectors look up samples (`select`), functions go along the rows (`over_time`, `rate`, `math`,
//! `call`), operators match rows (`binary`), aggregations add rows up (`aggregate`, `ranked`). Rows are shared out among threads where
//! there is much to compute.
//!
//! Invariants: a result is that of Prometheus evaluating step after step; order of rows has no meaning but for sorted instant queries;
//! what is held at once is counted, and the query ends when it is more than it may hold or when it is told to stop.

mod aggregate;
mod binary;
mod call;
mod classic;
mod extended;
mod info;
mod labelled;
mod math;
mod native;
mod over_time;
mod ranked;
mod rate;
mod repeats;
mod rows;
mod select;
mod set;

use std::sync::atomic::{AtomicBool, Ordering};

use self::repeats::Repeats;

use crate::{
    Error, ErrorKind, Labels, Planned, Result, Symbols,
    ast::Type,
    notes::{Level, Notes},
    plan::{Options, Plan, Step},
    samples::{HistogramSample, Samples},
    value::{Matrix, Row, Times, Value, is_present},
};

/// Notes of each level that an answer has at most.
const NOTES_MAX: usize = 10;

/// What an evaluation may use, and whether it is to end.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "functions show nothing")]
pub struct Control<'a> {
    /// Set to end the evaluation.
    pub stop: &'a AtomicBool,
    /// Is asked with the bytes that are held, each time they grow; false ends the evaluation.
    pub reserve: &'a (dyn Fn(usize) -> bool + Sync),
}

/// A query's result with the notes on it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The result.
    pub result: Outcome,
    /// Texts of warnings, with places.
    pub warnings: Vec<String>,
    /// Texts of infos, with places.
    pub infos: Vec<String>,
}

/// A query's result.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A number.
    Scalar(f64),
    /// A text.
    String(String),
    /// Series with one sample each, in their order.
    Vector(Columns),
    /// Series with samples at steps, sorted by labels.
    Matrix(Columns),
    /// Series with the samples they have.
    Raw(Samples),
}

/// Series over the steps of a query.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Of each row.
    pub labels: Vec<Labels>,
    pub(crate) times: Times,
    pub(crate) matrix: Matrix,
    /// Which row of the matrix each is; empty if they are in the same order.
    pub(crate) order: Vec<usize>,
}

/// A sample of a result.
#[derive(Debug, Clone, Copy)]
pub enum Point<'a> {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(&'a crate::Histogram),
}

impl Columns {
    /// Times and samples of a row.
    pub fn points(&self, row: usize) -> impl Iterator<Item = (i64, Point<'_>)> {
        let row = self.order.get(row).copied().unwrap_or(row);
        let values = self.matrix.row(row).iter().enumerate();
        values.filter_map(move |(step, value)| {
            let point = if is_present(*value) {
                Point::Float(*value)
            } else {
                Point::Histogram(self.matrix.histogram(row, step)?)
            };
            Some((self.times.get(step), point))
        })
    }

    /// The time of each step, milliseconds.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.times.iter()
    }

    /// Floats of a row, and which step each is of.
    pub fn floats(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        self.row(row).iter().copied().enumerate().filter(|(_, value)| is_present(*value))
    }

    /// Floats of a row, of each step.
    pub(crate) fn row(&self, row: usize) -> &[f64] {
        self.matrix.row(self.order.get(row).copied().unwrap_or(row))
    }

    /// Is there any native histogram?
    #[must_use]
    pub fn has_histograms(&self) -> bool {
        !self.matrix.histograms.is_empty()
    }

    /// Keeps the first rows; says whether there were more.
    pub fn truncate(&mut self, rows: usize) -> bool {
        let more = self.labels.len() > rows;
        self.labels.truncate(rows);
        more
    }
}

/// Evaluates a plan.
pub(crate) fn evaluate(
    planned: &Planned,
    samples: &[Samples],
    symbols: &mut Symbols,
    control: Control<'_>,
) -> Result<Answer> {
    let Planned { text, plan, options, met, .. } = planned;
    let held = samples.iter().map(Samples::count).sum();
    let is_instant = options.is_instant;
    let times = if is_instant {
        Times::at(options.start_ms)
    } else {
        Times::range(options.start_ms, options.end_ms, options.step_ms)
    };
    let repeats = Repeats::new(text, met);
    let texts_before = symbols.bytes();
    let notes = Notes::default();
    let mut evaluator =
        Evaluator { options, samples, symbols, control, notes, held, beside: 0, texts_before, repeats, is_instant };
    evaluator.check()?;
    let result = evaluator.outcome(plan, times)?;
    let notes = std::mem::take(&mut evaluator.notes);
    let texts = |level, name| {
        let mut texts = notes.texts(level, text);
        if texts.len() > NOTES_MAX {
            let omitted = texts.len() - NOTES_MAX;
            texts.truncate(NOTES_MAX);
            texts.push(format!("{omitted} more {name} annotations omitted"));
        }
        texts
    };
    Ok(Answer { result, warnings: texts(Level::Warning, "warning"), infos: texts(Level::Info, "info") })
}

struct Evaluator<'a> {
    options: &'a Options,
    samples: &'a [Samples],
    symbols: &'a mut Symbols,
    control: Control<'a>,
    notes: Notes,
    /// Samples and cells that are held.
    held: usize,
    /// Numbers that are held beside cells; they take memory and are no samples.
    beside: usize,
    /// Bytes of texts that labels of samples have; those that are made come on top.
    texts_before: usize,
    repeats: Repeats<'a>,
    is_instant: bool,
}

impl Evaluator<'_> {
    fn outcome(&mut self, plan: &Plan, times: Times) -> Result<Outcome> {
        if plan.returns == Type::Matrix {
            let mut range = self.range(plan, times)?;
            let order = self.sorted(&range.rows.iter().map(|row| row.labels.clone()).collect::<Vec<_>>());
            return range.window(times.start, self.options, &order).map(Outcome::Raw);
        }
        match self.eval(plan, times)? {
            Value::String(text) => Ok(Outcome::String(text)),
            Value::Scalar(values) if self.is_instant => {
                Ok(Outcome::Scalar(values.first().copied().unwrap_or(f64::NAN)))
            }
            Value::Scalar(cells) => {
                let matrix =
                    Matrix { rows: vec![Row::new(Labels::none())], steps: times.count, cells, histograms: Vec::new() };
                Ok(Outcome::Matrix(Columns { labels: vec![Labels::none()], times, matrix, order: Vec::new() }))
            }
            Value::Vector(mut matrix) => {
                if self.options.features.delayed_name_removal {
                    for row in &mut matrix.rows {
                        if row.drops_name {
                            row.labels = row.labels.without_metric();
                        }
                    }
                    matrix = self.merge(matrix)?;
                }
                matrix.prune();
                let mut labels: Vec<Labels> = matrix.rows.iter().map(|row| row.labels.clone()).collect();
                if !self.is_instant {
                    let order = self.sorted(&labels);
                    labels = order.iter().map(|row| labels[*row].clone()).collect();
                    return Ok(Outcome::Matrix(Columns { labels, times, matrix, order }));
                }
                Ok(Outcome::Vector(Columns { labels, times, matrix, order: Vec::new() }))
            }
        }
    }

    /// The order of rows by labels.
    fn sorted(&self, labels: &[Labels]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|left, right| labels[*left].compare(&labels[*right], self.symbols));
        order
    }

    /// Ends a query that was told to stop or holds too much.
    fn check(&self) -> Result<()> {
        if self.control.stop.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Stopped, "query was stopped"));
        }
        let samples_max = self.options.samples_max;
        let held = self.held.saturating_add(self.repeats.cells());
        if held > samples_max {
            return Err(Error::execution(format!(
                "query processing would load too many samples into memory in query execution; narrow it or raise \
                 `promql.samples_max` samples_max={samples_max}"
            )));
        }
        let texts = self.symbols.bytes().saturating_sub(self.texts_before);
        let numbers = held.saturating_add(self.beside);
        if !(self.control.reserve)(numbers.saturating_mul(size_of::<f64>()).saturating_add(texts)) {
            return Err(Error::execution(
                "query needs more memory than all queries may take together; narrow it or raise `memory`",
            ));
        }
        Ok(())
    }

    /// Takes note of cells that are about to be made.
    fn hold(&mut self, cells: usize) -> Result<()> {
        self.held = self.held.saturating_add(cells);
        self.check()
    }

    /// Takes note of numbers beside cells, until the expression has its value.
    fn hold_beside(&mut self, numbers: usize) -> Result<()> {
        self.beside = self.beside.saturating_add(numbers);
        self.check()
    }

    /// Rows without samples, after it was made sure that there is room for them.
    fn absent(&mut self, rows: Vec<Row>, steps: usize) -> Result<Matrix> {
        self.hold(rows.len().saturating_mul(steps))?;
        Ok(Matrix::absent(rows, steps))
    }

    /// The value of an expression; of one that occurs again, evaluated once.
    fn eval(&mut self, plan: &Plan, times: Times) -> Result<Value> {
        if !self.repeats.is_worth(plan) {
            return self.eval_once(plan, times);
        }
        if let Some((value, notes)) = self.repeats.take(plan, times) {
            self.notes.merge(notes);
            self.hold(value.cells())?;
            return Ok(value);
        }
        let before = std::mem::take(&mut self.notes);
        let value = self.eval_once(plan, times);
        let own = std::mem::replace(&mut self.notes, before);
        let value = value?;
        self.repeats.met(plan);
        if value.cells() <= self.options.samples_max.saturating_sub(self.held) / 2 {
            self.repeats.keep(plan, times, &value, &own);
        }
        self.notes.merge(own);
        self.check()?;
        Ok(value)
    }

    fn eval_once(&mut self, plan: &Plan, times: Times) -> Result<Value> {
        let (before, beside) = (self.held, self.beside);
        // There are as many steps as a query asks for: a row of them must find room before it is made.
        self.hold(times.count)?;
        let mut value = if plan.fixed && times.count > 1 && !matches!(plan.node, Step::Number(_) | Step::String(_)) {
            let once = self.eval_node(plan, Times { count: 1, ..times })?;
            match once {
                Value::Scalar(values) => Value::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); times.count]),
                Value::Vector(matrix) => {
                    self.hold(matrix.rows.len().saturating_mul(times.count))?;
                    Value::Vector(matrix.broadcast(times.count))
                }
                text @ Value::String(_) => text,
            }
        } else {
            self.eval_node(plan, times)?
        };
        if let Value::Vector(matrix) = &mut value {
            // Of no rows nobody knew the steps.
            matrix.steps = times.count;
        }
        self.held = before.saturating_add(value.cells());
        self.beside = beside;
        self.check()?;
        Ok(value)
    }

    fn eval_node(&mut self, plan: &Plan, times: Times) -> Result<Value> {
        match &plan.node {
            Step::Number(value) => Ok(Value::Scalar(vec![*value; times.count])),
            Step::String(text) => Ok(Value::String(text.clone())),
            Step::Negate(operand) => self.negate(operand, times),
            Step::Binary(operation) => self.binary(operation, times),
            Step::Aggregate(aggregation) => self.aggregate(aggregation, times).map(Value::Vector),
            Step::Call(function, args) => self.call(function, args, plan.span, times),
            Step::Instant(select) => self.instant(select, plan.span, times).map(Value::Vector),
            Step::Range(..) | Step::Subquery(_) => {
                Err(Error::new(ErrorKind::Invalid, "a range vector is no value of a step"))
            }
        }
    }

    /// The value of an expression that is a vector.
    fn vector(&mut self, plan: &Plan, times: Times) -> Result<Matrix> {
        match self.eval(plan, times)? {
            Value::Vector(matrix) => Ok(matrix),
            _ => Err(Error::new(ErrorKind::Invalid, "a vector was expected")),
        }
    }

    /// The value of an expression that is a scalar.
    fn scalar(&mut self, plan: &Plan, times: Times) -> Result<Vec<f64>> {
        match self.eval(plan, times)? {
            Value::Scalar(values) => Ok(values),
            _ => Err(Error::new(ErrorKind::Invalid, "a scalar was expected")),
        }
    }

    fn negate(&mut self, operand: &Plan, times: Times) -> Result<Value> {
        match self.eval(operand, times)? {
            Value::Scalar(values) => Ok(Value::Scalar(values.into_iter().map(|value| -value).collect())),
            Value::Vector(mut matrix) => {
                for value in matrix.cells.iter_mut().filter(|value| is_present(**value)) {
                    *value = -*value;
                }
                for histogram in matrix.histograms.iter_mut().flatten() {
                    std::sync::Arc::make_mut(histogram).neg();
                }
                self.drop_names(&mut matrix);
                self.merged(matrix).map(Value::Vector)
            }
            text @ Value::String(_) => Ok(text),
        }
    }

    /// Drops the names of all rows: now, or when the query has been evaluated.
    fn drop_names(&self, matrix: &mut Matrix) {
        for row in &mut matrix.rows {
            row.drops_name = true;
            if !self.options.features.delayed_name_removal {
                row.labels = row.labels.without_metric();
            }
        }
    }

    /// Makes one row of those that dropping names has made the same, unless names are dropped later.
    fn merged(&self, matrix: Matrix) -> Result<Matrix> {
        if self.options.features.delayed_name_removal { Ok(matrix) } else { self.merge(matrix) }
    }

    /// Makes one row of those with the same labels.
    fn merge(&self, matrix: Matrix) -> Result<Matrix> {
        let mut known = hashbrown::HashMap::with_capacity(matrix.rows.len());
        let mut target = Vec::with_capacity(matrix.rows.len());
        for row in &matrix.rows {
            let next = known.len();
            target.push(*known.entry(row.labels.clone()).or_insert(next));
        }
        if known.len() == matrix.rows.len() {
            return Ok(matrix);
        }
        let mut out = Matrix { steps: matrix.steps, ..Matrix::default() };
        for (row, to) in target.into_iter().enumerate() {
            if to == out.rows.len() {
                out.push(matrix.rows[row].clone());
            }
            for step in 0..matrix.steps {
                let Some(cell) = matrix.cell(row, step) else { continue };
                if out.has(to, step) {
                    return Err(same_labels());
                }
                out.set(to, step, cell);
            }
        }
        Ok(out)
    }
}

/// What Prometheus says if two series of a vector become the same.
fn same_labels() -> Error {
    Error::execution("vector cannot contain metrics with the same labelset")
}

/// Name of a metric.
fn metric_name<'s>(labels: &Labels, symbols: &'s Symbols) -> &'s str {
    symbols.text(labels.get(crate::labels::Symbol::NAME))
}

/// Histograms of a window.
fn in_window(histograms: &[HistogramSample], after: i64, to: i64) -> &[HistogramSample] {
    let first = histograms.partition_point(|sample| sample.time <= after);
    let last = histograms.partition_point(|sample| sample.time <= to);
    &histograms[first..last.max(first)]
}
