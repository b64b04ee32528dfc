//! What rules ask and write: the engine answers, remote write keeps.
//!
//! Called by the evaluator on a thread that may wait. Samples of a group gather until a query could read one of them, or the group is done,
//! so that a group whose rules do not read one another is one record of the log.

use std::collections::BTreeMap;

use alerting::{
    Error, ErrorKind, Result,
    query::{Found, Query, Sample, Sink, VALUES, Value},
    rules::Sql,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use ingest::{
    remote_write::RemoteWrite,
    samples::{self, Count, ResetHint, Samples},
};
use query::{Engine, When};
use tokio::runtime::Handle;

use crate::import::encode::{Request, Sent, Series};

/// Bytes of one message of samples that rules write.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Samples of rules that wait: those of a usual group are one record of the log, those of very many alerts are several.
const WAITING_MAX: usize = 16_384;
/// Rows of an answer of SQL that become alerts: beyond that it is no list that anybody reads.
const ROWS_MAX: usize = 100_000;

/// The data of this program, as rules see it.
pub struct World {
    engine: Engine,
    remote_write: RemoteWrite,
    runtime: Handle,
    /// Is it to be found out whether selectors have recent samples?
    looks_for_data: bool,
    /// Samples that are not written yet, and their time.
    waiting: Vec<Sample>,
    at_ms: i64,
}

impl World {
    /// For one evaluation of a group; `looks_for_data` if one of its rules says what becomes of its alerts without data.
    #[must_use]
    pub fn new(engine: Engine, remote_write: RemoteWrite, runtime: Handle, looks_for_data: bool) -> Self {
        Self { engine, remote_write, runtime, looks_for_data, waiting: Vec::new(), at_ms: 0 }
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    /// Some were not written.
    pub fn flush(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by(|one, other| one.labels.cmp(&other.labels));
        let written = self.write_all(&waiting);
        // Written twice they are the same samples; what is left is written with what follows.
        if written.as_ref().is_err_and(|error| error.kind == ErrorKind::Unavailable) && waiting.len() < WAITING_MAX {
            self.waiting = waiting;
        }
        written
    }

    fn write_all(&self, waiting: &[Sample]) -> Result<()> {
        let mut request = Request::default();
        for sample in waiting {
            let (labels, samples) = (sample.labels.iter().collect::<Vec<_>>(), one(&sample.value, self.at_ms));
            let series = Series { labels: &labels, samples: &samples, exemplars: &[], about: None };
            let mut sent = Sent::default();
            while !request.add(&series, &mut sent, MESSAGE_BYTES_MAX) {
                self.send(&mut request)?;
            }
        }
        if request.is_empty() { Ok(()) } else { self.send(&mut request) }
    }

    fn send(&self, request: &mut Request) -> Result<()> {
        let (message, ..) = request.take();
        let report = self.runtime.block_on(self.remote_write.message(&message)).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("what rules found cannot be written: {error}"))
        })?;
        match report.rejects.first() {
            Some(reject) => Err(Error::invalid(format!("some of what rules found was refused: {reject}"))),
            None => Ok(()),
        }
    }

    /// Could a query read what is not written yet?
    fn may_read(&self, query: &promql::Query) -> bool {
        query.selectors().iter().any(|selector| {
            self.waiting.iter().any(|sample| {
                selector.matchers().iter().all(|matcher| matcher.matches(sample.labels.get(matcher.label())))
            })
        })
    }
}

impl Query for World {
    fn instant(&mut self, query: &promql::Query, at_ms: i64) -> Result<Found> {
        let mut found = self.instants(&[query], at_ms);
        found.pop().unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "a query was not answered")))
    }

    fn instants(&mut self, queries: &[&promql::Query], at_ms: i64) -> Vec<Result<Found>> {
        if queries.iter().any(|query| self.may_read(query))
            && let Err(error) = self.flush()
        {
            return queries.iter().map(|_| Err(error.again())).collect();
        }
        let found = ask(&self.engine, queries, at_ms).into_iter().map(|found| {
            let found = found?;
            let samples = alerting::memory::samples(&found.result, &found.symbols).ok_or_else(no_vector)?;
            Ok(Found { samples, warnings: found.warnings, fresh: None })
        });
        let found: Vec<Result<Found>> = found.collect();
        if !self.looks_for_data {
            return found;
        }
        let fewest = fewest(&self.engine, &queries[..found.len().min(queries.len())], at_ms);
        found.into_iter().zip(fewest).map(|(found, fresh)| Ok(Found { fresh: fresh?, ..found? })).collect()
    }

    fn sql(&mut self, sql: &Sql, at_ms: i64) -> Result<Found> {
        self.flush()?;
        let asks = (&self.engine, &self.runtime);
        let answer = self.runtime.block_on(async { self.engine.sql(&sql.text).await?.collect().await });
        let samples = of_answer(&answer.map_err(failed)?, sql)?;
        let fresh = match (&sql.table, sql.max_age_ms) {
            (Some(table), Some(max_age_ms)) => Some(recent(asks, table, (at_ms - max_age_ms, None))?),
            _ => None,
        };
        Ok(Found { samples, warnings: Vec::new(), fresh })
    }
}

impl Sink for World {
    fn write(&mut self, samples: &[Sample], at_ms: i64) -> Result<()> {
        if self.at_ms != at_ms {
            self.flush()?;
            self.at_ms = at_ms;
        }
        self.waiting.extend_from_slice(samples);
        if self.waiting.len() >= WAITING_MAX { self.flush() } else { Ok(()) }
    }
}

/// Who is asked, from a thread that may wait.
pub(super) type Asks<'a> = (&'a Engine, &'a Handle);

/// Samples of the answer to a query of SQL.
///
/// # Errors
/// `Invalid` if its rows are none, or are too many.
pub(super) fn of_answer(answer: &[RecordBatch], sql: &Sql) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for rows in answer {
        samples.append(&mut of_rows(rows, sql)?);
        if samples.len() > ROWS_MAX {
            return Err(Error::invalid(format!("a rule's answer has too many rows rows_max={ROWS_MAX}")));
        }
    }
    Ok(samples)
}

/// Queries that count what each selector of a query selects.
///
/// # Errors
/// `Internal`: what was read once cannot be read again.
pub(super) fn counts(engine: &Engine, query: &promql::Query) -> Result<Vec<promql::Query>> {
    let count = |selector: &promql::Selector| {
        let matchers = selector.matchers().iter().map(|matcher| {
            let (label, op, value) = matcher.as_written();
            format!("{}{op}{}", promql::quoted(label), promql::quoted(value))
        });
        let matchers: Vec<String> = matchers.collect();
        engine.parse(&format!("count({{{}}})", matchers.join(","))).map_err(failed)
    };
    query.selectors().iter().map(count).collect()
}

/// Answers of the engine to the first of some queries, from a thread that may wait.
fn ask(engine: &Engine, queries: &[&promql::Query], at_ms: i64) -> Vec<Result<query::Found>> {
    let when = When { anew: true, ..When::at(at_ms) };
    match engine.promql_together(queries, when) {
        Ok(answers) => answers.into_iter().map(|answer| answer.map_err(failed)).collect(),
        Err(error) => {
            let error = failed(error);
            queries.iter().map(|_| Err(error.again())).collect()
        }
    }
}

/// Of each query, how many series the selector has that has the fewest. Errors are as of [`Query::instant`].
pub(super) fn fewest(engine: &Engine, queries: &[&promql::Query], at_ms: i64) -> Vec<Result<Option<u64>>> {
    let counts: Vec<Result<Vec<promql::Query>>> = queries.iter().map(|query| counts(engine, query)).collect();
    let all: Vec<&promql::Query> = counts.iter().flatten().flatten().collect();
    let mut answers = Vec::with_capacity(all.len());
    while let Some(left) = all.get(answers.len()..).filter(|left| !left.is_empty()) {
        answers.extend(ask(engine, left, at_ms).into_iter().map(|found| Ok(count(&found?))));
    }
    let mut answers = answers.into_iter();
    let of_query = |counts: Result<Vec<promql::Query>>| {
        // All of them, whatever the first one is: the next ones are of other queries.
        let of_selectors: Vec<Result<Option<u64>>> = answers.by_ref().take(counts?.len()).collect();
        let of_selectors: Option<Vec<u64>> = of_selectors.into_iter().collect::<Result<_>>()?;
        Ok(of_selectors.and_then(|counts| counts.into_iter().min()))
    };
    counts.into_iter().map(of_query).collect()
}

/// What a query counted; `None` if it was none that counts.
fn count(found: &query::Found) -> Option<u64> {
    let promql::Outcome::Vector(columns) = &found.result else { return None };
    if columns.labels.is_empty() {
        return Some(0);
    }
    Some(columns.floats(0).next().map_or(0, |(_, value)| count_of(value)))
}

/// How many rows of a table are not before a time, and not after another if there is one; milliseconds.
///
/// # Errors
/// As of [`Query::sql`].
pub(super) fn recent(
    (engine, runtime): Asks<'_>,
    table: &str,
    (since_ms, until_ms): (i64, Option<i64>),
) -> Result<u64> {
    let Some(dataset) = schemas::all().into_iter().find(|dataset| dataset.name == table) else {
        return Err(Error::invalid(format!("`table` of a rule names a table: there is no {table:?}")));
    };
    let time = |ms: i64| format!("to_timestamp_micros({})", ms.saturating_mul(1000));
    let until = until_ms.map(|ms| format!(" AND {:?} <= {}", dataset.time, time(ms))).unwrap_or_default();
    let sql = format!("SELECT count(*) AS n FROM {table} WHERE {:?} >= {}{until}", dataset.time, time(since_ms));
    let rows = runtime.block_on(async { engine.sql(&sql).await?.collect().await }).map_err(failed)?;
    let count = rows.first().map(|rows| cast(rows.column(0), &DataType::UInt64)).transpose().map_err(unreadable)?;
    Ok(count.map_or(0, |count| count.as_primitive::<arrow::datatypes::UInt64Type>().value(0)))
}

/// The result of a rule's expression is none that a rule can use.
pub(super) fn no_vector() -> Error {
    Error::invalid("a rule's expression gives a vector or a number, and this one does not")
}

/// A count, which is a whole number.
pub(super) fn count_of(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it counts series")]
    let count = value as u64;
    count
}

pub(super) fn failed(error: query::Error) -> Error {
    let kind = match error.kind {
        query::ErrorKind::Invalid | query::ErrorKind::Execution => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, error.to_string())
}

fn unreadable(error: arrow::error::ArrowError) -> Error {
    Error::invalid(format!("a rule's answer cannot be read: {error}"))
}

/// Rows as samples: texts and booleans are labels, one number is the value; other columns are labels that begin with `__`, for templates.
pub(super) fn of_rows(rows: &RecordBatch, sql: &Sql) -> Result<Vec<Sample>> {
    let schema = rows.schema();
    let is_text = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string() || *other == DataType::Boolean,
    };
    let columns: Vec<(&str, &ArrayRef)> =
        schema.fields().iter().map(|field| field.name().as_str()).zip(rows.columns()).collect();
    let is_named = |name: &str| sql.labels.as_ref().is_some_and(|labels| labels.iter().any(|label| label == name));
    let mut numbers = columns.iter().filter(|(name, column)| column.data_type().is_numeric() && !is_named(name));
    let value = match sql.value.is_empty() {
        true => numbers.next_back(),
        false => columns.iter().find(|(name, _)| *name == sql.value),
    };
    let Some((value_name, value)) = value else {
        return Err(Error::invalid(format!("a rule's answer has no number for its value value={:?}", sql.value)));
    };
    let values = cast(value, &DataType::Float64).map_err(unreadable)?;
    let values = values.as_primitive::<Float64Type>();
    let options = FormatOptions::default().with_null("");
    let mut samples = vec![BTreeMap::<String, String>::new(); rows.num_rows()];
    for (name, column) in &columns {
        let is_label = match &sql.labels {
            Some(_) => is_named(name),
            None => name != value_name && is_text(column.data_type()),
        };
        let texts = ArrayFormatter::try_new(column.as_ref(), &options).map_err(unreadable)?;
        for (row, labels) in samples.iter_mut().enumerate() {
            let text = texts.value(row).to_string();
            labels.insert(if is_label { (*name).to_owned() } else { format!("{VALUES}{name}") }, text);
        }
    }
    let sample = |(row, labels): (usize, BTreeMap<String, String>)| {
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        values.is_valid(row).then(|| Sample { labels, value: Value::Float(values.value(row)) })
    };
    Ok(samples.into_iter().enumerate().filter_map(sample).collect())
}

/// A sample as remote write has it.
fn one(value: &Value, ts_ms: i64) -> Samples {
    let mut samples = Samples::default();
    match value {
        Value::Float(value) => {
            samples.floats.push(samples::Sample { ts_ms, bits: value.to_bits(), start_ms: 0 });
        }
        Value::Histogram(histogram) => samples.histograms.push(wire(histogram, ts_ms)),
    }
    samples
}

fn wire(histogram: &promql::Histogram, ts_ms: i64) -> samples::Histogram {
    let buckets = |buckets: &promql::Buckets| samples::Buckets {
        spans: buckets.spans.iter().map(|span| (span.offset, span.length)).collect(),
        deltas: Vec::new(),
        counts: buckets.counts.to_vec(),
    };
    samples::Histogram {
        ts_ms,
        start_ms: 0,
        count: Count::Float(histogram.count),
        zero_count: Count::Float(histogram.zero_count),
        sum_bits: histogram.sum.to_bits(),
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        reset_hint: match histogram.hint {
            promql::ResetHint::Gauge => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        },
        positive: buckets(&histogram.positive),
        negative: buckets(&histogram.negative),
        custom_values: histogram.custom_values.to_vec(),
    }
}
