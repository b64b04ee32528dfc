//! Series in memory that PromQL is evaluated over.
//!
//! Filled by `unit` with the series of a test, and written to and asked by `group` as the real store is.
//!
//! Invariants: times ascend within a series, each once; a sample that contradicts one of the same time is refused, as Prometheus does, and so is
//! one that is older than the last; what was loaded is not seen before its time has come ([`Store::advance`]).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, atomic::AtomicBool},
};

use promql::{
    Control, Features, Gather, Histogram, HistogramSample, NO_START, Options, Outcome, Point as Cell, STALE, Samples,
    Symbols, Want,
};

use super::{
    Rows, Table,
    series::{Point, Values},
};
use crate::{
    Error, Labels, Result,
    query::{Found, Query, Sample, Sink, Value},
    rules::Sql,
};

/// More samples than a test has, few enough for a laptop.
const SAMPLES_MAX: usize = 50_000_000;

/// How a store evaluates.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How old a sample may be to be a series' value.
    pub lookback_ms: i64,
    /// Step of subqueries that name none.
    pub subquery_step_ms: i64,
    /// What PromQL may use.
    pub features: Features,
}

/// Series in memory.
pub struct Store<'a> {
    series: BTreeMap<Labels, Series>,
    /// Samples that were loaded and are not there yet.
    pending: Vec<Loaded>,
    symbols: Symbols,
    settings: Settings,
    tables: Vec<Table>,
    rows: Option<&'a dyn Rows>,
}

struct Loaded {
    labels: Labels,
    /// Of the next value.
    time: i64,
    interval_ms: i64,
    values: Values,
}

struct Series {
    labels: promql::Labels,
    samples: Vec<(i64, Point)>,
}

impl std::fmt::Debug for Store<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("series", &self.series.len()).finish_non_exhaustive()
    }
}

impl<'a> Store<'a> {
    /// An empty store.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            series: BTreeMap::new(),
            pending: Vec::new(),
            symbols: Symbols::default(),
            settings,
            tables: Vec::new(),
            rows: None,
        }
    }

    /// With rows of tables, and what answers SQL over them.
    #[must_use]
    pub fn with_rows(self, tables: Vec<Table>, rows: Option<&'a dyn Rows>) -> Self {
        Self { tables, rows, ..self }
    }

    /// Loads the samples of a series, the first at a time and the others an interval apart. They are there once that is so far. A series
    /// that is loaded again has the samples that were loaded last.
    pub fn load(&mut self, labels: Labels, values: Values, start_ms: i64, interval_ms: i64) {
        self.pending.retain(|known| known.labels != labels);
        self.pending.push(Loaded { labels, time: start_ms, interval_ms, values });
    }

    /// All that was loaded up to a time is there.
    ///
    /// # Errors
    /// The series has a sample of that time or a later one already.
    pub fn advance(&mut self, to_ms: i64) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        for Loaded { labels, time, interval_ms, values } in &mut pending {
            while *time <= to_ms
                && let Some(point) = values.next()
            {
                if let Some(point) = point {
                    self.append(labels, *time, point)?;
                }
                *time = time.saturating_add((*interval_ms).max(1));
            }
        }
        self.pending = pending;
        Ok(())
    }

    fn append(&mut self, labels: &Labels, time: i64, point: Point) -> Result<()> {
        if !self.series.contains_key(labels) {
            let known = promql::Labels::of(labels.iter(), &mut self.symbols);
            self.series.insert(labels.clone(), Series { labels: known, samples: Vec::new() });
        }
        let Some(series) = self.series.get_mut(labels) else { return Ok(()) };
        let point = match (point, series.samples.last()) {
            // What ends a series of histograms is a histogram.
            (Point::Float(value), Some((_, Point::Histogram(_)))) if value.to_bits() == STALE => {
                Point::Histogram(Arc::new(Histogram { sum: value, ..Histogram::default() }))
            }
            (point, _) => point,
        };
        match series.samples.last() {
            Some((last, known)) if *last == time && is_same(known, &point) => return Ok(()),
            Some((last, _)) if *last == time => {
                return Err(Error::invalid(format!(
                    "another value for the same time: labels={labels:?} time_ms={time}"
                )));
            }
            Some((last, _)) if *last > time => {
                return Err(Error::invalid(format!("out of order: labels={labels:?} time_ms={time} last_ms={last}")));
            }
            _ => series.samples.push((time, point)),
        }
        Ok(())
    }

    /// All samples as text, a series each line.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut out = String::new();
        for (labels, series) in &self.series {
            let _ = write!(out, "{}", shown(labels));
            for (time, point) in &series.samples {
                let _ = match point {
                    Point::Float(value) if value.to_bits() == STALE => write!(out, " stale@{time}ms"),
                    Point::Float(value) => write!(out, " {}@{time}ms", promql::format_float(*value)),
                    Point::Histogram(histogram) => write!(out, " {histogram}@{time}ms"),
                };
            }
            out.push('\n');
        }
        out
    }

    fn samples(&self, want: &Want) -> Samples {
        let mut out = Gather::default();
        for (labels, series) in &self.series {
            if !want.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.label()))) {
                continue;
            }
            let all = &series.samples;
            let first = all.partition_point(|(time, _)| *time <= want.after_ms);
            let last = all.partition_point(|(time, _)| *time <= want.to_ms);
            if first == last {
                continue;
            }
            // Whether a counter was reset is told from the histogram before.
            let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
            for (at, (time, point)) in all.iter().enumerate().take(last).skip(first.saturating_sub(1)) {
                match point {
                    Point::Float(value) if at >= first => {
                        times.push(*time);
                        values.push(*value);
                    }
                    Point::Float(_) => {}
                    Point::Histogram(histogram) => {
                        histograms.push(HistogramSample::new(*time, NO_START, Arc::clone(histogram)));
                    }
                }
            }
            let histograms = HistogramSample::linked(histograms, want.after_ms);
            out.add(series.labels.clone(), (&times, &values, &[]), histograms);
        }
        out.finish()
    }

    fn options(&self, at_ms: i64) -> Options {
        Options {
            start_ms: at_ms,
            end_ms: at_ms,
            step_ms: 1,
            is_instant: true,
            lookback_ms: self.settings.lookback_ms,
            subquery_step_ms: self.settings.subquery_step_ms,
            samples_max: SAMPLES_MAX,
            threads: 1,
            features: self.settings.features,
        }
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

fn is_same(left: &Point, right: &Point) -> bool {
    match (left, right) {
        (Point::Float(left), Point::Float(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

impl Query for Store<'_> {
    fn instant(&mut self, query: &promql::Query, at_ms: i64) -> Result<Found> {
        let wrong = |error: promql::Error| Error::invalid(error.to_string()).caused_by(error);
        let planned = query.plan(self.options(at_ms)).map_err(wrong)?;
        let samples: Vec<Samples> = planned.wants().iter().map(|want| self.samples(want)).collect();
        let fresh = planned
            .wants()
            .iter()
            .zip(&samples)
            .map(|(want, samples)| fresh(want, samples, self.settings.lookback_ms))
            .min();
        let stop = AtomicBool::new(false);
        let control = Control { stop: &stop, reserve: &|_| true };
        let answer = planned.evaluate(&samples, &mut self.symbols, control).map_err(wrong)?;
        let samples = match answer.result {
            Outcome::Scalar(value) => vec![Sample { labels: Labels::default(), value: Value::Float(value) }],
            Outcome::Vector(columns) => {
                let sample = |(row, labels): (usize, &promql::Labels)| {
                    let value = match columns.points(row).next()?.1 {
                        Cell::Float(value) => Value::Float(value),
                        Cell::Histogram(histogram) => Value::Histogram(Arc::new(histogram.clone())),
                    };
                    Some(Sample { labels: labels.texts(&self.symbols).collect(), value })
                };
                columns.labels.iter().enumerate().filter_map(sample).collect()
            }
            _ => {
                let kind = query.type_text();
                return Err(Error::invalid(format!("the result is neither a vector nor a scalar: type={kind}")));
            }
        };
        Ok(Found { samples, warnings: answer.warnings, fresh })
    }

    fn sql(&mut self, sql: &Sql, at_ms: i64) -> Result<Found> {
        let rows = self.rows.ok_or_else(|| Error::invalid("this rule asks SQL, and nothing here answers it"))?;
        rows.sql(&self.tables, sql, at_ms)
    }
}

impl Sink for Store<'_> {
    fn write(&mut self, samples: &[Sample], at_ms: i64) -> Result<()> {
        let mut first_error = None;
        for Sample { labels, value } in samples {
            let (point, is_end) = match value {
                Value::Float(value) => (Point::Float(*value), value.to_bits() == STALE),
                Value::Histogram(histogram) => (Point::Histogram(Arc::clone(histogram)), false),
            };
            // A series that somebody else goes on with has not ended.
            if let Err(error) = self.append(labels, at_ms, point)
                && !is_end
            {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// Labels as PromQL writes them.
pub(super) fn shown(labels: &Labels) -> String {
    let is_plain = |text: &str| {
        let is_part = |c: char| c == '_' || c == ':' || c.is_ascii_alphanumeric();
        text.chars().all(is_part) && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty()
    };
    let quoted = |text: &str| if is_plain(text) { text.to_owned() } else { promql::quoted(text) };
    let metric = labels.get(promql::NAME);
    let mut inner = Vec::new();
    if !metric.is_empty() && !is_plain(metric) {
        inner.push(promql::quoted(metric));
    }
    let others = labels.iter().filter(|(name, _)| *name != promql::NAME);
    inner.extend(others.map(|(name, value)| format!("{}={}", quoted(name), promql::quoted(value))));
    let metric = if is_plain(metric) { metric } else { "" };
    if inner.is_empty() && !metric.is_empty() { metric.to_owned() } else { format!("{metric}{{{}}}", inner.join(", ")) }
}
