//! What functions make of one window.

use crate::{Error, Result, ast::Extent, duration::seconds, notes::Notes, samples::HistogramSample, value::Cell};

use super::{Context, Gathered, Window, sliding::order};
use crate::eval::{extended, native, rate};

/// Refuses numbers that a function cannot take.
pub(in crate::eval) fn check_scalars(function: &str, scalars: &[Vec<f64>]) -> Result<()> {
    if function != "double_exponential_smoothing" {
        return Ok(());
    }
    for (values, (what, short)) in scalars.iter().zip([("smoothing", "sf"), ("trend", "tf")]) {
        // NaN is between nothing.
        if let Some(wrong) = values.iter().find(|value| **value <= 0.0 || **value >= 1.0) {
            return Err(Error::execution(format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {wrong:.6}")));
        }
    }
    Ok(())
}

/// A function that makes a float of any window of floats, if it is one that needs nothing else.
pub(in crate::eval) fn simple(function: &str) -> Option<fn(&Window<'_>) -> f64> {
    Some(match function {
        "first_over_time" => |window| window.values.first().copied().unwrap_or(f64::NAN),
        "last_over_time" => |window| window.values.last().copied().unwrap_or(f64::NAN),
        "avg_over_time" => |window| average(window.values),
        "sum_over_time" => |window| sum(window.values),
        "count_over_time" => |window| count(window.values.len()),
        "present_over_time" | "absent_over_time" => |_| 1.0,
        "changes" => |window| changes(window.values),
        "resets" => resets,
        "stddev_over_time" => |window| variance(window.values).sqrt(),
        "stdvar_over_time" => |window| variance(window.values),
        _ => return None,
    })
}

/// The value of a function at a window, if it has one. `scalar` gives the other arguments.
pub(in crate::eval) fn call(
    window: &Window<'_>,
    context: &Context<'_>,
    scalar: &dyn Fn(usize) -> f64,
    scalars: usize,
    state: &mut Gathered,
) -> Option<Cell> {
    let has_histograms = !window.histograms.is_empty();
    let notes = &mut state.notes;
    match context.function {
        "rate" | "increase" | "delta" if context.extent != Extent::Plain => {
            return extended::rate(window, context, notes);
        }
        "rate" | "increase" | "delta" if has_histograms => return native::rate(window, context, notes),
        "rate" | "increase" | "delta" => return rate::window(window, context, state).map(Cell::Float),
        "irate" | "idelta" if has_histograms => return native::instant_rate(window, context, notes),
        "irate" | "idelta" => return rate::instant(window, context).map(Cell::Float),
        "avg_over_time" if has_histograms => return native::average(window, context, notes),
        "sum_over_time" if has_histograms => return native::sum(window, context, notes),
        "resets" if has_histograms || context.extent != Extent::Plain => return native::resets(window, context, notes),
        "changes" if has_histograms || context.extent != Extent::Plain => {
            return native::changes(window, context, notes);
        }
        "first_over_time" if has_histograms => return native::first(window, context, notes),
        "last_over_time" if has_histograms => return native::last(window, context, notes),
        _ => {}
    }
    let value = match context.function {
        "count_over_time" => count(window.times.len() + window.histograms.len()),
        "present_over_time" | "absent_over_time" => 1.0,
        "ts_of_first_over_time" => time_of(window, i64::min, |times| times.first(), |histograms| histograms.first())?,
        "ts_of_last_over_time" => time_of(window, i64::max, |times| times.last(), |histograms| histograms.last())?,
        _ => return floats(window, context, scalar, scalars, state).map(Cell::Float),
    };
    Some(Cell::Float(value))
}

/// Functions that look at floats alone.
fn floats(
    window: &Window<'_>,
    context: &Context<'_>,
    scalar: &dyn Fn(usize) -> f64,
    scalars: usize,
    state: &mut Gathered,
) -> Option<f64> {
    let (times, values) = (window.times, window.values);
    let least =
        if matches!(context.function, "deriv" | "predict_linear" | "double_exponential_smoothing") { 2 } else { 1 };
    if values.len() < least {
        if !values.is_empty() {
            note_ignored(window, context, &mut state.notes);
        }
        return None;
    }
    let value = match context.function {
        "first_over_time" => *values.first()?,
        "last_over_time" => *values.last()?,
        "avg_over_time" => average(values),
        "sum_over_time" => sum(values),
        "min_over_time" => extreme(values, |value, least| value < least),
        "max_over_time" => extreme(values, |value, most| value > most),
        "changes" => changes(values),
        "resets" => resets(window),
        "stddev_over_time" => variance(values).sqrt(),
        "stdvar_over_time" => variance(values),
        "ts_of_min_over_time" => time_of_extreme(times, values, |value, least| value <= least),
        "ts_of_max_over_time" => time_of_extreme(times, values, |value, most| value >= most),
        "mad_over_time" => median_deviation(values, &mut state.scratch),
        "quantile_over_time" => {
            note_quantile(scalar(0), context, &mut state.notes);
            state.scratch.clear();
            state.scratch.extend_from_slice(values);
            quantile(scalar(0), &mut state.scratch)
        }
        "deriv" => regression(times, values, *times.first()?).0,
        "predict_linear" => {
            let (slope, intercept) = regression(times, values, window.time);
            slope * scalar(0) + intercept
        }
        "double_exponential_smoothing" => smooth(values, scalar(0), scalar(1)),
        "integral" => {
            let rule = (scalars > 0).then(|| scalar(0));
            integral(times, values, rule, context, &mut state.notes)
        }
        _ => return None,
    };
    note_ignored(window, context, &mut state.notes);
    Some(value)
}

fn note_ignored(window: &Window<'_>, context: &Context<'_>, notes: &mut Notes) {
    if !window.histograms.is_empty() {
        let what = "ignored histograms in a range containing both floats and histograms for metric name";
        notes.info(format!("{what} {}", context.quoted_metric()), context.spans.first().copied().unwrap_or_default());
    }
}

pub(super) fn note_quantile(q: f64, context: &Context<'_>, notes: &mut Notes) {
    if !(0.0..=1.0).contains(&q) {
        let at = context.spans.first().copied().unwrap_or_default();
        notes.warn(format!("quantile value should be between 0 and 1, got {}", crate::number::short(q)), at);
    }
}

#[expect(clippy::cast_precision_loss, reason = "more samples than 2^53 do not fit into memory")]
pub(in crate::eval) fn count(samples: usize) -> f64 {
    samples as f64
}

fn time_of(
    window: &Window<'_>,
    choose: impl Fn(i64, i64) -> i64,
    of_floats: impl Fn(&[i64]) -> Option<&i64>,
    of_histograms: impl Fn(&[HistogramSample]) -> Option<&HistogramSample>,
) -> Option<f64> {
    let float = of_floats(window.times).copied();
    let histogram = of_histograms(window.histograms).map(|sample| sample.time);
    let time = match (float, histogram) {
        (Some(float), Some(histogram)) => choose(float, histogram),
        (float, histogram) => float.or(histogram)?,
    };
    Some(seconds(time))
}

pub(in crate::eval) use crate::histogram::float::kahan_step;

fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0, 0.0);
    for value in values {
        (sum, lost) = kahan_step(*value, sum, lost);
    }
    if sum.is_infinite() { sum } else { sum + lost }
}

/// The mean: of the sum, or, where that is too large a number, moved from value to value.
fn average(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (values.first().copied().unwrap_or(f64::NAN), 0.0);
    let mut mean = None;
    for (at, value) in values.iter().enumerate().skip(1) {
        let so_far = count(at + 1);
        if mean.is_none() {
            let (next, next_lost) = kahan_step(*value, sum, lost);
            if !next.is_infinite() {
                (sum, lost) = (next, next_lost);
                continue;
            }
            mean = Some(sum / (so_far - 1.0));
            lost /= so_far - 1.0;
        }
        if let Some(moved) = &mut mean {
            let share = (so_far - 1.0) / so_far;
            (*moved, lost) = kahan_step(*value / so_far, share * *moved, share * lost);
        }
    }
    let so_far = count(values.len());
    mean.map_or(sum / so_far + lost / so_far, |mean| mean + lost)
}

fn extreme(values: &[f64], is_better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = values.first().copied().unwrap_or(f64::NAN);
    for value in values {
        if is_better(*value, best) || best.is_nan() {
            best = *value;
        }
    }
    best
}

fn time_of_extreme(times: &[i64], values: &[f64], is_better: impl Fn(f64, f64) -> bool) -> f64 {
    let (mut best, mut at) = (values.first().copied().unwrap_or(f64::NAN), 0);
    for (other, value) in values.iter().enumerate() {
        if is_better(*value, best) || best.is_nan() {
            (best, at) = (*value, other);
        }
    }
    times.get(at).map_or(f64::NAN, |time| seconds(*time))
}

fn changes(values: &[f64]) -> f64 {
    let differ = |pair: &&[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
    count(values.windows(2).filter(differ).count())
}

fn resets(window: &Window<'_>) -> f64 {
    count((1..window.values.len()).filter(|at| rate::is_reset(window.times, window.values, window.starts, *at)).count())
}

fn variance(values: &[f64]) -> f64 {
    let (mut so_far, mut mean, mut mean_lost, mut squares, mut squares_lost) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for value in values {
        so_far += 1.0;
        let delta = value - (mean + mean_lost);
        (mean, mean_lost) = kahan_step(delta / so_far, mean, mean_lost);
        (squares, squares_lost) = kahan_step(delta * (value - (mean + mean_lost)), squares, squares_lost);
    }
    (squares + squares_lost) / so_far
}

/// The lower one of the two ranks between which a quantile is, and how far it is from it; or the value of a quantile that is none.
pub(super) fn rank(q: f64, count_of: usize) -> Result<(usize, f64), f64> {
    if count_of == 0 || q.is_nan() {
        return Err(f64::NAN);
    }
    if q < 0.0 {
        return Err(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return Err(f64::INFINITY);
    }
    let rank = q * (count(count_of) - 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is between 0 and the number of values"
    )]
    let lower = rank.floor() as usize;
    Ok((lower, rank - rank.floor()))
}

/// A quantile of values, which are put in another order for it: interpolated between the two nearest ranks.
pub(in crate::eval) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    let (lower, weight) = match rank(q, values.len()) {
        Ok(rank) => rank,
        Err(beyond) => return beyond,
    };
    let (_, low, above) = values.select_nth_unstable_by(lower, order);
    let low = *low;
    if weight == 0.0 {
        return low;
    }
    let high = above.iter().copied().min_by(order).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

fn median_deviation(values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    scratch.clear();
    scratch.extend_from_slice(values);
    let median = quantile(0.5, scratch);
    for value in scratch.iter_mut() {
        *value = (*value - median).abs();
    }
    quantile(0.5, scratch)
}

/// Slope and intercept of the line of least squares, the latter at a time.
fn regression(times: &[i64], values: &[f64], at: i64) -> (f64, f64) {
    let first = values.first().copied().unwrap_or(f64::NAN);
    let samples = count(values.len());
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
    let mut is_constant = true;
    let add = |to: &mut (f64, f64), value: f64| *to = kahan_step(value, to.0, to.1);
    for (nth, (time, value)) in times.iter().zip(values).enumerate() {
        is_constant &= nth == 0 || *value == first;
        let x = seconds(time - at);
        add(&mut x_sum, x);
        add(&mut y_sum, *value);
        add(&mut xy_sum, x * value);
        add(&mut xx_sum, x * x);
    }
    if is_constant {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(|(sum, lost)| sum + lost);
    let slope = (xy - x * y / samples) / (xx - x * x / samples);
    (slope, y / samples - slope * x / samples)
}

/// Holt's linear smoothing.
fn smooth(values: &[f64], level: f64, trend: f64) -> f64 {
    let (mut before, mut smoothed, mut slope) = (0.0, values[0], values[1] - values[0]);
    for (at, value) in values.iter().enumerate().skip(1) {
        if at > 1 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        let next = level * value + (1.0 - level) * (smoothed + slope);
        (before, smoothed) = (smoothed, next);
    }
    smoothed
}

/// The area under the samples, in value times seconds; by the rule of rectangles to the left (0), to the right (1) or of trapezoids (2).
fn integral(times: &[i64], values: &[f64], rule: Option<f64>, context: &Context<'_>, notes: &mut Notes) -> f64 {
    let rule = match rule {
        Some(rule) if [0.0, 1.0, 2.0].contains(&rule) => rule,
        Some(rule) => {
            let what = "strategy should be 0, 1, or 2 (default), using 2";
            let at = context.spans.get(1).copied().unwrap_or_default();
            notes.warn(format!("{what}, got {}", crate::number::short(rule)), at);
            2.0
        }
        None => 2.0,
    };
    let number = |value: f64| if value.is_nan() { 0.0 } else { value };
    let (mut sum, mut lost) = (0.0, 0.0);
    for at in 1..values.len() {
        let (left, right) = (number(values[at - 1]), number(values[at]));
        let (height, height_lost) = if rule == 0.0 {
            (left, 0.0)
        } else if rule == 1.0 {
            (right, 0.0)
        } else {
            mean_of_two(left, right)
        };
        if height != 0.0 || height_lost != 0.0 {
            let width = seconds(times[at] - times[at - 1]);
            (sum, lost) = kahan_step(height * width, sum, lost + height_lost * width);
        }
    }
    if sum.is_infinite() { sum } else { sum + lost }
}

fn mean_of_two(left: f64, right: f64) -> (f64, f64) {
    if left == 0.0 && right == 0.0 {
        return (0.0, 0.0);
    }
    let (sum, lost) = kahan_step(right, left, 0.0);
    if sum.is_infinite() && left.is_finite() && right.is_finite() {
        return kahan_step(right / 2.0, left / 2.0, 0.0);
    }
    (sum / 2.0, lost / 2.0)
}
