//! Series in memory that PromQL is evaluated over.
//!
//! Filled by `unit` with the series of a test, and written to and asked by `group` as the real store is.
//!
//! Invariants: times ascend within a series, each once; a sample that contradicts one of the same time is refused, as Prometheus does, and so is
//! one that is older than the last; what was loaded is not seen before its time has come ([`Store::advance`]).

use std::{collections::BTreeMap, fmt::Write as _};

use promql::{Gather, STALE, Samples, Symbols, Want};

use super::{
    Rows, Table,
    series::{Point, Values},
};
use crate::{
    Error, Labels, Result,
    memory::{self, Settings},
    query::{Found, Query, Sample, Sink, Value},
    rules::Sql,
};

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
        let point = memory::following(point, series.samples.last());
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
            memory::gather(&mut out, &series.labels, &series.samples, want);
        }
        out.finish()
    }
}

fn is_same(left: &Point, right: &Point) -> bool {
    match (left, right) {
        (Point::Float(left), Point::Float(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

impl Query for Store<'_> {
    fn instant(&mut self, query: &promql::Query, at_ms: i64) -> Result<Found> {
        let mut symbols = std::mem::take(&mut self.symbols);
        let found = memory::instant(query, self.settings.at(at_ms), &mut symbols, |want, _| self.samples(want));
        self.symbols = symbols;
        found
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
            let is_end = matches!(value, Value::Float(value) if value.to_bits() == STALE);
            // A series that somebody else goes on with has not ended.
            if let Err(error) = self.append(labels, at_ms, value.clone())
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
