//! Windows that are not looked through again at every step: what leaves and what enters is enough to know.

use std::{cmp::Ordering, collections::VecDeque};

use super::{Context, each_window, window::rank};
use crate::{eval::select::Ranged, samples::Series};

/// `min_over_time` and `max_over_time`.
pub(super) fn extremes(series: Series<'_>, ranged: &Ranged<'_>, context: &Context<'_>, cells: &mut [f64]) {
    let is_max = context.function == "max_over_time";
    let is_worse = |value: f64, than: f64| if is_max { value < than } else { value > than };
    // Samples that can still be the best of a window, the best first; NaN is none while there is another.
    let mut best: VecDeque<usize> = VecDeque::new();
    let mut seen = 0;
    each_window(series, ranged, context.times, context.lookback_ms, |step, window| {
        let end = window.first + window.values.len();
        for at in seen.max(window.first)..end {
            let value = series.values[at];
            if value.is_nan() {
                continue;
            }
            while best.back().is_some_and(|last| is_worse(series.values[*last], value)) {
                best.pop_back();
            }
            best.push_back(at);
        }
        seen = end;
        while best.front().is_some_and(|front| *front < window.first) {
            best.pop_front();
        }
        // Of NaN alone, the last one, as Prometheus has it.
        cells[step] = match best.front() {
            Some(front) => series.values[*front],
            None => window.values.last().copied().unwrap_or(f64::NAN),
        };
    });
}

/// `quantile_over_time`; `q` gives the quantile of each step.
pub(super) fn quantiles(series: Series<'_>, ranged: &Ranged<'_>, context: &Context<'_>, q: &[f64], cells: &mut [f64]) {
    let mut sorted: Vec<f64> = Vec::new();
    let (mut begin, mut end) = (0, 0);
    each_window(series, ranged, context.times, context.lookback_ms, |step, window| {
        let (first, last) = (window.first, window.first + window.values.len());
        if first >= end || first - begin + last - end > sorted.len() {
            sorted.clear();
            sorted.extend_from_slice(window.values);
            sorted.sort_unstable_by(order);
        } else {
            for value in &series.values[begin..first] {
                sorted.remove(place(&sorted, *value));
            }
            for value in &series.values[end..last] {
                sorted.insert(place(&sorted, *value), *value);
            }
        }
        (begin, end) = (first, last);
        cells[step] = of_sorted(q[step], &sorted);
    });
}

/// How many of sorted values are before a value.
fn place(sorted: &[f64], value: f64) -> usize {
    /// Up to here, to count all is quicker than to guess.
    const COUNTED_MAX: usize = 128;
    if value.is_nan() {
        return 0;
    }
    if sorted.len() > COUNTED_MAX {
        return sorted.partition_point(|known| order(known, &value) == Ordering::Less);
    }
    // Those that are less, and NaN.
    sorted.iter().filter(|known| known.is_nan() || **known < value).count()
}

/// NaN is the least of values.
pub(super) fn order(left: &f64, right: &f64) -> Ordering {
    left.partial_cmp(right).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
}

/// A quantile of sorted values: interpolated between the two nearest ranks.
fn of_sorted(q: f64, values: &[f64]) -> f64 {
    let (lower, weight) = match rank(q, values.len()) {
        Ok(rank) => rank,
        Err(beyond) => return beyond,
    };
    let low = values[lower];
    if weight == 0.0 {
        return low;
    }
    let high = values.get(lower + 1).copied().unwrap_or(low);
    low * (1.0 - weight) + high * weight
}
