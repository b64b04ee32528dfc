//! Writes labels, values and histograms as the scripts do, for the texts of failures.
//!
//! Called by `compare` and `expect`.

use super::notation::Item;
use super::{Buckets, Histogram, Labels, Point, ResetHint, STALE, Value, compare};

/// How many series of a value are told.
const SERIES_MAX: usize = 5;

/// How many buckets are written one after another before only the populated ones are.
const BUCKETS_MAX: i64 = 100;

pub(super) fn value(value: &Value) -> String {
    let series = match value {
        Value::Scalar(_, value) => return format!("the scalar {}", float(*value)),
        Value::String(text) => return format!("the text {text:?}"),
        Value::Vector(series) => series.iter().map(|(of, _, at)| format!("{} {}", labels(of), point(at))).collect(),
        Value::Matrix(series) => series.iter().map(|(of, at)| format!("{} {}", labels(of), points(at))).collect(),
    };
    let series: Vec<String> = series;
    let kind = if matches!(value, Value::Vector(_)) { "vector" } else { "matrix" };
    let more = if series.len() > SERIES_MAX { ", …" } else { "" };
    format!("a {kind} of {} series: {}{more}", series.len(), series[..series.len().min(SERIES_MAX)].join(", "))
}

pub(super) fn labels(labels: &Labels) -> String {
    let name = labels.iter().find(|(name, _)| name == "__name__").map_or("", |(_, value)| value.as_str());
    let others = labels.iter().filter(|(name, _)| name != "__name__");
    let others: Vec<_> = others.map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", others.join(", "))
}

pub(super) fn points(points: &[(i64, Point)]) -> String {
    let points: Vec<_> = points.iter().map(|(t_ms, at)| format!("{} @{t_ms}", point(at))).collect();
    format!("[{}]", points.join(", "))
}

pub(super) fn point(point: &Point) -> String {
    match point {
        Point::Float(value) => float(*value),
        Point::Histogram(of) => histogram(of),
    }
}

pub(super) fn items(items: &[Item]) -> String {
    items.iter().map(item).collect::<Vec<_>>().join(" ")
}

pub(super) fn item(item: &Item) -> String {
    match item {
        Item::Gap => "_".to_owned(),
        Item::Float(value) => float(*value),
        Item::Histogram(of, _) => histogram(of),
    }
}

/// Both sides of a series of a range, and where they part.
pub(super) fn sequences(labels: &str, expected: &[(i64, &Item)], got: &[&(i64, Point)], first: usize) -> String {
    let show_expected = |(t_ms, at): &(i64, &Item)| format!("{} @{t_ms}", item(at));
    let show_got = |(t_ms, at): &&(i64, Point)| format!("{} @{t_ms}", point(at));
    let nothing = || "nothing".to_owned();
    let (here, there) =
        (expected.get(first).map_or_else(nothing, show_expected), got.get(first).map_or_else(nothing, show_got));
    let expected: Vec<_> = expected.iter().map(show_expected).collect();
    let got: Vec<_> = got.iter().map(show_got).collect();
    let (expected, got) = (expected.join(", "), got.join(", "));
    format!("{labels}: expected {here}, got {there}\n  expected [{expected}]\n  got      [{got}]")
}

pub(super) fn float(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if value.to_bits() == STALE => "stale".to_owned(),
        _ if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        _ if size != 0.0 && !(1e-5..1e21).contains(&size) && !value.is_nan() => format!("{value:e}"),
        _ => format!("{value}"),
    }
}

pub(super) fn histogram(of: &Histogram) -> String {
    let mut parts = Vec::new();
    if of.schema != 0 {
        parts.push(format!("schema:{}", of.schema));
    }
    let numbers =
        [("count", of.count), ("sum", of.sum), ("z_bucket", of.zero_count), ("z_bucket_w", of.zero_threshold)];
    let numbers = numbers.iter().filter(|(_, value)| *value != 0.0);
    parts.extend(numbers.map(|(key, value)| format!("{key}:{}", float(*value))));
    if !of.custom_values.is_empty() {
        parts.push(format!("custom_values:[{}]", floats(&of.custom_values)));
    }
    match of.hint {
        ResetHint::Unknown => {}
        ResetHint::Reset => parts.push("counter_reset_hint:reset".to_owned()),
        ResetHint::NoReset => parts.push("counter_reset_hint:not_reset".to_owned()),
        ResetHint::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
    }
    parts.extend(side("", &of.positive));
    parts.extend(side("n_", &of.negative));
    format!("{{{{{}}}}}", parts.join(" "))
}

fn side(prefix: &str, buckets: &Buckets) -> Option<String> {
    let populated = compare::populated(buckets);
    let ((first, _), (last, _)) = (*populated.first()?, *populated.last()?);
    if last - first > BUCKETS_MAX {
        let far: Vec<_> = populated.iter().map(|(index, count)| format!("{index}:{}", float(*count))).collect();
        return Some(format!("{prefix}buckets at [{}]", far.join(" ")));
    }
    let count = |at| populated.iter().find(|(index, _)| *index == at).map_or(0.0, |(_, count)| *count);
    let counts: Vec<_> = (first..=last).map(count).collect();
    let offset = if first == 0 { String::new() } else { format!("{prefix}offset:{first} ") };
    Some(format!("{offset}{prefix}buckets:[{}]", floats(&counts)))
}

fn floats(values: &[f64]) -> String {
    values.iter().copied().map(float).collect::<Vec<_>>().join(" ")
}
