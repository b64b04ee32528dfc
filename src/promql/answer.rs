//! An answer of Prometheus' API, read and laid out; the page for people reads one, too, and lays it out itself.
//!
//! Numbers stay the texts they came as. What a label holds was written by whoever sends metrics: it is shown in quotes, with what is
//! not printable escaped.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
    sync::Arc,
};

use anyhow::{Context, Result};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use chrono::{DateTime, SecondsFormat};
use query::{When, format::table, quoted};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::spark;
use crate::folder::told;

/// Characters of a sparkline.
const SPARK: usize = 48;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Data<'a>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    result_type: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

/// A series of an answer.
#[derive(Deserialize)]
pub(crate) struct Series {
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    histogram: Option<(f64, Value)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, Value)>,
}

/// What a result is.
pub(crate) enum Content {
    /// A number or a text at a time.
    One(f64, String),
    /// Series.
    Many(Vec<Series>),
}

/// What was answered.
pub(crate) struct Answer<'a> {
    /// The result.
    pub(crate) content: Content,
    /// Of several series, each as it came.
    elements: Vec<&'a RawValue>,
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl<'a> Answer<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn read(text: &'a str) -> Result<Self> {
        let foreign = "the server's answer is none of Prometheus' API";
        let Envelope { data, warnings, infos } = serde_json::from_str(text).context(foreign)?;
        let raw = data.result.get();
        let (content, elements) = if matches!(data.result_type.as_str(), "scalar" | "string") {
            let (time, value): (f64, String) = serde_json::from_str(raw).context(foreign)?;
            (Content::One(time, value), vec![data.result])
        } else {
            (Content::Many(serde_json::from_str(raw).context(foreign)?), serde_json::from_str(raw).context(foreign)?)
        };
        Ok(Self { content, elements, warnings, infos })
    }

    /// Warnings and infos, as they are shown.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let warnings = self.warnings.iter().map(|text| format!("warning: {}", printable(text)));
        warnings.chain(self.infos.iter().map(|text| format!("info: {}", printable(text))))
    }

    /// Each element of the result on a line.
    pub(super) fn ndjson(&self, out: &mut impl Write) -> io::Result<()> {
        self.elements.iter().try_for_each(|element| writeln!(out, "{element}"))
    }

    /// A line for each sample.
    pub(super) fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "series,time,value")?;
        let field = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        match &self.content {
            Content::One(time, value) => writeln!(out, ",{},{}", show(*time), field(&printable(value))),
            Content::Many(series) => series.iter().try_for_each(|series| {
                let name = field(&series.name());
                let mut samples = series.samples();
                samples.try_for_each(|(time, value)| {
                    let is_plain = !value.contains([',', '"']);
                    writeln!(out, "{name},{},{}", show(time), if is_plain { value } else { field(&value) })
                })
            }),
        }
    }

    /// Aligned columns. Over a range, a series is a line with its sparkline; else each sample is.
    pub(super) fn table(&self, out: &mut impl Write, range: Option<When>) -> Result<()> {
        let series = match &self.content {
            Content::One(_, value) => return Ok(writeln!(out, "{}", printable(value))?),
            Content::Many(series) if series.is_empty() => return Ok(writeln!(out, "no series")?),
            Content::Many(series) => series,
        };
        let text = match range {
            Some(range) => over_time(series, range)?,
            None if series.iter().any(|series| series.value.is_none() && series.histogram.is_none()) => {
                let samples = |series: &Series| {
                    let name = series.name();
                    series.samples().map(|(time, value)| [name.clone(), show(time), value]).collect::<Vec<_>>()
                };
                columns(["series", "time", "value"], series.iter().flat_map(samples))?
            }
            None => {
                let value = |series: &Series| series.samples().next().map(|(_, value)| [series.name(), value]);
                columns(["series", "value"], series.iter().filter_map(value))?
            }
        };
        Ok(writeln!(out, "{text}")?)
    }
}

fn over_time(series: &[Series], range: When) -> Result<String> {
    let [from, to] = [range.start_ms, range.end_ms].map(seconds);
    // A character for each step, if there are few.
    let steps = (range.end_ms - range.start_ms) / range.step_ms.max(1) + 1;
    let width = usize::try_from(steps).unwrap_or(SPARK).min(SPARK);
    let row = |series: &Series| {
        let points = series.points();
        // Infinities take part; what is no number is passed over.
        let by = |is_better: fn(f64, f64) -> bool| {
            let numbers = points.iter().filter(|(_, value, _)| !value.is_nan());
            let best = numbers.reduce(|best, point| if is_better(point.1, best.1) { point } else { best });
            best.map_or_else(|| "NaN".to_owned(), |(.., text)| text.clone())
        };
        let last = points.last().map_or_else(String::new, |(.., text)| text.clone());
        let places: Vec<(f64, f64)> = points.iter().map(|(time, value, _)| (*time, *value)).collect();
        let line = spark::line(&places, from, to, width);
        [series.name(), last, by(|a, b| a < b), by(|a, b| a > b), line]
    };
    let times = format!("{} to {}", show(from), show(to));
    columns(["series", "last", "min", "max", &times], series.iter().map(row))
}

/// A table of texts.
fn columns<const N: usize>(names: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Result<String> {
    let mut texts: [Vec<String>; N] = std::array::from_fn(|_| Vec::new());
    for row in rows {
        texts.iter_mut().zip(row).for_each(|(column, text)| column.push(text));
    }
    let schema = Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, false)).to_vec()));
    let arrays = texts.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    table(&schema, &[batch]).map_err(told)
}

impl Series {
    /// As PromQL writes it.
    pub(crate) fn name(&self) -> String {
        let mut out = String::new();
        let mut labels = Vec::new();
        for (name, value) in &self.metric {
            let is_plain = |name: &str, more: &str| {
                name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c))
                    && !name.starts_with(|c: char| c.is_ascii_digit())
                    && !name.is_empty()
            };
            match name.as_str() {
                "__name__" if is_plain(value, ":") => out.push_str(value),
                "__name__" => labels.insert(0, quoted(value)),
                _ if is_plain(name, "") => labels.push(format!("{name}={}", quoted(value))),
                _ => labels.push(format!("{}={}", quoted(name), quoted(value))),
            }
        }
        if !labels.is_empty() || out.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(out, "{{{}}}", labels.join(", "));
        }
        out
    }

    /// Times in seconds, and what is there, in the order of time.
    fn samples(&self) -> impl Iterator<Item = (f64, String)> {
        self.points().into_iter().map(|(time, _, text)| (time, text))
    }

    /// The same with the number that is drawn: of a histogram, how many observations it has.
    pub(crate) fn points(&self) -> Vec<(f64, f64, String)> {
        let floats = self.value.iter().chain(&self.values);
        let floats = floats.map(|(time, text)| (*time, number(text), text.clone()));
        let histograms = self.histogram.iter().chain(&self.histograms).map(|(time, histogram)| {
            let of = |key: &str| histogram[key].as_str().unwrap_or_default().to_owned();
            (*time, number(&of("count")), format!("{{count:{}, sum:{}}}", of("count"), of("sum")))
        });
        let mut points: Vec<_> = floats.chain(histograms).collect();
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        points
    }
}

/// A value as Prometheus writes it.
fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "times of today are exact")]
/// Milliseconds as seconds.
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A time for people.
fn show(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "times beyond are the ends of time")]
    let ms = (seconds * 1000.0).round() as i64;
    DateTime::from_timestamp_millis(ms)
        .map_or_else(|| seconds.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// With what is not printable escaped, line by line.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}
