//! Results of the engine as the tests want them.

use promql::{Columns, Labels, Outcome as Found, Point as Sampled, Symbols};

use super::script::{Outcome, Point, Value};

/// A result at a time, milliseconds, with its warnings and infos.
pub fn shown(
    result: &Found,
    symbols: &Symbols,
    start_ms: i64,
    (warnings, infos): (Vec<String>, Vec<String>),
) -> Outcome {
    let texts = |labels: &Labels| labels.texts(symbols).map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>();
    let point = |point: Sampled<'_>| match point {
        Sampled::Float(value) => Point::Float(value),
        Sampled::Histogram(histogram) => Point::Histogram(histogram.clone()),
    };
    let rows = |columns: &Columns| {
        let row = |(at, labels): (usize, &Labels)| {
            let points: Vec<_> = columns.points(at).map(|(time, sample)| (time, point(sample))).collect();
            (texts(labels), points)
        };
        columns.labels.iter().enumerate().map(row).collect::<Vec<_>>()
    };
    let value = match result {
        Found::Scalar(value) => Value::Scalar(start_ms, *value),
        Found::String(text) => Value::String(text.clone()),
        Found::Vector(columns) => {
            let first = |(labels, mut points): (Vec<_>, Vec<(i64, Point)>)| {
                let (time, point) = points.remove(0);
                (labels, time, point)
            };
            Value::Vector(rows(columns).into_iter().map(first).collect())
        }
        Found::Matrix(columns) => Value::Matrix(rows(columns)),
        Found::Raw(samples) => {
            let series = samples.labels.iter().enumerate().map(|(at, labels)| {
                let (times, values) = samples.floats_of(at);
                let floats = times.iter().zip(values).map(|(time, value)| (*time, Point::Float(*value)));
                let histograms = samples.histograms.get(at).into_iter().flatten();
                let histograms = histograms.map(|sample| (sample.time, Point::Histogram((*sample.histogram).clone())));
                let mut points: Vec<_> = floats.chain(histograms).collect();
                points.sort_by_key(|(time, _)| *time);
                (texts(labels), points)
            });
            Value::Matrix(series.collect())
        }
    };
    Outcome { value, warnings, infos }
}
