//! Holds a value against what is expected.
//!
//! Called by `expect` and, for the order of a range, by [`super::run`]. Floats are the same within a millionth of their sum;
//! histograms if their schema, their bounds and their populated buckets are, and their hint if one is expected.
//! A difference names the series and both sides; the first ten are told.

use std::collections::HashSet;

use super::expect::{Expect, Window};
use super::notation::Item;
use super::{Buckets, CUSTOM, Histogram, Labels, Point, STALE, Value, show};

const TOLERANCE: f64 = 1e-6;

/// How many differences are told: after these it is clear that all is wrong.
const TOLD_MAX: usize = 10;

/// Whether a value is as expected.
pub(super) fn value(expect: &Expect, got: &Value) -> Result<(), String> {
    match got {
        Value::String(text) if *text == expect.text => Ok(()),
        Value::String(text) => Err(format!("expected the text {:?}, got {text:?}", expect.text)),
        Value::Scalar(_, got) => match expect.scalar {
            None => Err(format!("expected series, got the scalar {}", show::float(*got))),
            Some(expected) if is_almost_equal(expected, *got) => Ok(()),
            Some(expected) => Err(format!("expected {}, got {}", show::float(expected), show::float(*got))),
        },
        Value::Vector(_) | Value::Matrix(_) if expect.scalar.is_some() => {
            let expected = expect.scalar.map(show::float).unwrap_or_default();
            Err(format!("expected the scalar {expected}, got {}", show::value(got)))
        }
        Value::Vector(points) => vector(expect, points),
        Value::Matrix(_) if expect.is_ordered => Err("expected an order, got a matrix".to_owned()),
        Value::Matrix(series) => {
            sorted(series)?;
            matrix(expect, series)
        }
    }
}

/// Whether the series of a range are in the order of their labels.
pub(super) fn sorted(series: &[(Labels, Vec<(i64, Point)>)]) -> Result<(), String> {
    match series.windows(2).find(|pair| pair[0].0 > pair[1].0) {
        None => Ok(()),
        Some(pair) => {
            let (first, second) = (show::labels(&pair[0].0), show::labels(&pair[1].0));
            Err(format!("the series are not sorted: {second} comes after {first}"))
        }
    }
}

fn vector(expect: &Expect, points: &[(Labels, i64, Point)]) -> Result<(), String> {
    let mut wrong = unexpected(expect, points.iter().map(|(labels, _, point)| (labels, show::point(point))));
    for (labels, place, items) in &expect.series {
        let at = points.iter().position(|(got, ..)| got == labels);
        let labels = show::labels(labels);
        let Some(at) = at else {
            wrong.push(format!("{labels}: expected {}, got nothing", show::items(items)));
            continue;
        };
        if expect.is_ordered && at + 1 != *place {
            wrong.push(format!("{labels}: expected at place {place}, got at {}", at + 1));
        }
        // A gap is compared as a zero by Prometheus.
        let expected = match items.first() {
            Some(Item::Gap) => Item::Float(0.0),
            Some(item) => item.clone(),
            None => {
                wrong.push(format!("{labels}: no value is expected"));
                continue;
            }
        };
        let got = &points[at].2;
        if !is_met(&expected, got) {
            wrong.push(format!("{labels}: expected {}, got {}", show::item(&expected), show::point(got)));
        }
    }
    told(&wrong)
}

fn matrix(expect: &Expect, series: &[(Labels, Vec<(i64, Point)>)]) -> Result<(), String> {
    let mut wrong = unexpected(expect, series.iter().map(|(labels, points)| (labels, show::points(points))));
    for (labels, _, items) in &expect.series {
        let got = series.iter().find(|(got, _)| got == labels).map(|(_, points)| points.as_slice());
        let labels = show::labels(labels);
        let Some(got) = got else {
            wrong.push(format!("{labels}: expected {}, got nothing", show::items(items)));
            continue;
        };
        let expected = match timed(items, expect.window) {
            Ok(expected) => expected,
            Err(error) => {
                wrong.push(format!("{labels}: {error}, got {}", show::points(got)));
                continue;
            }
        };
        // Floats and histograms may come apart.
        let mut got: Vec<_> = got.iter().collect();
        got.sort_by_key(|(t_ms, _)| *t_ms);
        let is_same =
            |((t_ms, item), (got_ms, point)): (&(i64, &Item), &&(i64, Point))| t_ms == got_ms && is_met(item, point);
        if expected.len() != got.len() || !expected.iter().zip(&got).all(is_same) {
            let first = expected.iter().zip(&got).position(|pair| !is_same(pair));
            let first = first.unwrap_or(expected.len().min(got.len()));
            wrong.push(show::sequences(&labels, &expected, &got, first));
        }
    }
    told(&wrong)
}

/// The series nobody expects, and those that are there twice.
fn unexpected<'v>(expect: &Expect, got: impl Iterator<Item = (&'v Labels, String)>) -> Vec<String> {
    let (mut seen, mut wrong) = (HashSet::new(), Vec::new());
    for (labels, points) in got {
        if !expect.series.iter().any(|(expected, ..)| expected == labels) {
            wrong.push(format!("{}: expected nothing, got {points}", show::labels(labels)));
        }
        if !seen.insert(labels) {
            wrong.push(format!("{}: is there twice", show::labels(labels)));
        }
    }
    wrong
}

fn told(wrong: &[String]) -> Result<(), String> {
    if wrong.is_empty() {
        return Ok(());
    }
    let more = if wrong.len() > TOLD_MAX { format!("\n… {} more", wrong.len() - TOLD_MAX) } else { String::new() };
    Err(format!("{}{more}", wrong[..wrong.len().min(TOLD_MAX)].join("\n")))
}

/// The values that are expected and their times.
fn timed(items: &[Item], window: Option<Window>) -> Result<Vec<(i64, &Item)>, String> {
    let too_many = || format!("expected {} values, which the times of the query do not have", items.len());
    let Some(Window { start_ms, end_ms, step_ms }) = window else {
        return if items.is_empty() { Ok(Vec::new()) } else { Err(too_many()) };
    };
    let (mut t_ms, mut out) = (start_ms, Vec::new());
    for item in items {
        if t_ms > end_ms {
            return Err(too_many());
        }
        if *item != Item::Gap {
            out.push((t_ms, item));
        }
        t_ms += step_ms;
    }
    Ok(out)
}

fn is_met(expected: &Item, got: &Point) -> bool {
    match (expected, got) {
        (Item::Float(expected), Point::Float(got)) => is_almost_equal(*expected, *got),
        (Item::Histogram(expected, is_hinted), Point::Histogram(got)) => is_same_histogram(expected, got, *is_hinted),
        _ => false,
    }
}

/// Whether two floats differ by less than a millionth of their sum. All NaNs are the same but stale markers, which are only so
/// among themselves.
pub(super) fn is_almost_equal(a: f64, b: f64) -> bool {
    let is_stale = |value: f64| value.to_bits() == STALE;
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// Whether two histograms say the same. How their buckets are laid out in spans does not matter.
pub(super) fn is_same_histogram(expected: &Histogram, got: &Histogram, is_hinted: bool) -> bool {
    expected.schema == got.schema
        && is_almost_equal(expected.count, got.count)
        && is_almost_equal(expected.sum, got.sum)
        && (expected.schema != CUSTOM || expected.custom_values == got.custom_values)
        && expected.zero_threshold == got.zero_threshold
        && is_almost_equal(expected.zero_count, got.zero_count)
        && is_same_side(&expected.negative, &got.negative)
        && is_same_side(&expected.positive, &got.positive)
        && (!is_hinted || expected.hint == got.hint)
}

fn is_same_side(expected: &Buckets, got: &Buckets) -> bool {
    let (expected, got) = (populated(expected), populated(got));
    expected.len() == got.len()
        && expected
            .iter()
            .zip(&got)
            .all(|((index, count), (got_index, got_count))| index == got_index && is_almost_equal(*count, *got_count))
}

/// The indices and counts of the buckets that are not empty.
pub(super) fn populated(buckets: &Buckets) -> Vec<(i64, f64)> {
    let (mut index, mut indices) = (0_i64, Vec::new());
    for span in &buckets.spans {
        index += i64::from(span.offset);
        indices.extend(index..index + i64::from(span.length));
        index += i64::from(span.length);
    }
    indices.into_iter().zip(buckets.counts.iter().copied()).filter(|(_, count)| *count != 0.0).collect()
}
