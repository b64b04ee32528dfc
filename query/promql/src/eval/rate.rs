//! Rates of counters and differences of gauges, over floats.
//!
//! What Prometheus does: the difference of the last and the first sample in the window, corrected for resets of the counter, and
//! extrapolated to the ends of the window where samples come near to them.

use crate::{
    duration::seconds,
    samples::{NO_START, Series},
};

use super::{
    over_time::{Context, Gathered, Walk, Window, each_window, window::count},
    select::Ranged,
};

/// Rates of all windows of a series of floats.
pub(super) fn floats(
    series: Series<'_>,
    ranged: &Ranged<'_>,
    context: &Context<'_>,
    state: &mut Gathered,
    cells: &mut [f64],
) {
    state.resets.clear();
    if context.function != "delta" {
        // Whether a sample begins anew depends on the one before it alone: found once, looked up by each window.
        let is_reset = |at: &usize| is_reset(series.times, series.values, series.starts, *at);
        state.resets.extend((1..series.values.len()).filter(is_reset));
    }
    if series.starts.is_empty() && state.resets.is_empty() {
        return rising(series, ranged, context, cells);
    }
    let mut last_ends = None;
    let (mut first, mut last) = (0, 0);
    let (resets, notes) = (&state.resets, &mut state.notes);
    each_window(series, ranged, context.times, context.lookback_ms, |step, window| {
        while resets.get(first).is_some_and(|at| *at <= window.first) {
            first += 1;
        }
        while resets.get(last).is_some_and(|at| *at < window.first + window.times.len()) {
            last += 1;
        }
        if !window.starts.is_empty() {
            note_overlap(&window, context, notes);
        }
        let within = resets.get(first..last).unwrap_or_default();
        let lost = within.iter().map(|at| series.values[at - 1]);
        if let Some(value) = extrapolated(&window, context, lost, &mut last_ends) {
            cells[step] = value;
        }
    });
}

/// Of a series that never begins anew, which most are: what is left of [`extrapolated`] then, without a window for each step.
fn rising(series: Series<'_>, ranged: &Ranged<'_>, context: &Context<'_>, cells: &mut [f64]) {
    let is_counter = context.is_counter;
    let mut walk = Walk::new(ranged, context.times, context.lookback_ms);
    let (mut window, mut last_ends) = (0..0, None);
    for cell in cells {
        walk.step();
        walk.within(series.times, |time| *time, &mut window);
        let samples = window.len();
        let (Some([first_time, .., last_time]), Some([low, .., high])) =
            (series.times.get(window.clone()), series.values.get(window.clone()))
        else {
            continue;
        };
        let (after, to) = (walk.after, walk.to);
        let shape =
            Shape { after, to, first_time: *first_time, last_time: *last_time, samples, start: NO_START, is_counter };
        if let Some(ends) = ends(&shape, context, &mut last_ends) {
            *cell = (high - low) * ends.factor_for(*low, high - low, context);
        }
    }
}

/// The rate of one window of floats.
pub(super) fn window(window: &Window<'_>, context: &Context<'_>, state: &mut Gathered) -> Option<f64> {
    if context.function == "delta" {
        return extrapolated(window, context, std::iter::empty(), &mut None);
    }
    note_overlap(window, context, &mut state.notes);
    let is_reset = |at: &usize| is_reset(window.times, window.values, window.starts, *at);
    let lost = (1..window.values.len()).filter(is_reset).map(|at| window.values[at - 1]);
    extrapolated(window, context, lost, &mut None)
}

fn note_overlap(window: &Window<'_>, context: &Context<'_>, notes: &mut crate::notes::Notes) {
    let overlaps = |at: usize| {
        let (before, start) = (window.starts[at - 1], window.starts[at]);
        start != NO_START && start < window.times[at - 1] && start != before
    };
    if (1..window.starts.len()).any(overlaps) {
        let what = "sample has start time that overlaps with previous sample timestamp for metric";
        notes.warn_counted(format!("{what} {}", context.quoted_metric()), context.span);
    }
}

/// Has the counter begun anew between a sample and the one before it?
pub(super) fn is_reset(times: &[i64], values: &[f64], starts: &[i64], at: usize) -> bool {
    values[at] < values[at - 1]
        || (!starts.is_empty() && is_start_reset((starts[at - 1], times[at - 1]), (starts[at], times[at])))
}

/// Does the start time of a sample say that its counter began after the sample before it? Both are (start, time).
pub(super) fn is_start_reset(before: (i64, i64), sample: (i64, i64)) -> bool {
    let ((start_before, time_before), (start, time)) = (before, sample);
    if start_before == start || start == NO_START || start >= time || start < time_before {
        return false;
    }
    if start > time_before {
        return true;
    }
    // It begins with the sample before: deltas do, and sums of which the beginning is not known, which are told by that sample.
    start_before <= time_before && start_before != NO_START && start_before != time_before
}

/// The difference over a window, or the rate; `lost` are the values that resets took away. Windows of a series that is scraped on
/// time all have the same ends, so those of the window before are remembered: divisions are most of the work.
fn extrapolated(
    window: &Window<'_>,
    context: &Context<'_>,
    lost: impl Iterator<Item = f64>,
    last_ends: &mut Option<(Shape, Ends)>,
) -> Option<f64> {
    let (first_time, last_time) = (*window.times.first()?, *window.times.last()?);
    let (first, last) = (*window.values.first()?, *window.values.last()?);
    let difference = lost.fold(last - first, |difference, lost| difference + lost);
    let is_counter = context.is_counter;
    let start = if is_counter { window.starts.first().copied().unwrap_or(NO_START) } else { NO_START };
    let samples = window.times.len();
    let shape = Shape { after: window.after, to: window.to, first_time, last_time, samples, start, is_counter };
    let (difference, factor) = if shape.has_start() {
        let factor = shape.factor_from_start();
        (difference + first, if context.is_rate { factor / seconds(context.range_ms) } else { factor })
    } else {
        let ends = ends(&shape, context, last_ends)?;
        (difference, ends.factor_for(first, difference, context))
    };
    Some(difference * factor)
}

/// Those of the last window, if samples lie in this one as they did there.
#[inline]
fn ends(shape: &Shape, context: &Context<'_>, last: &mut Option<(Shape, Ends)>) -> Option<Ends> {
    match last {
        Some((of, ends)) if of.is_like(shape) => Some(*ends),
        _ => Some(last.insert((*shape, shape.ends(context)?)).1),
    }
}

/// How far the samples of a window are extrapolated, seconds.
#[derive(Debug, Clone, Copy)]
struct Ends {
    sampled: f64,
    to_start: f64,
    to_end: f64,
    /// By how much the difference grows, by the second if it is a rate.
    factor: f64,
}

impl Ends {
    /// The factor for a window whose first value and whose growth are these.
    #[inline]
    fn factor_for(&self, first: f64, difference: f64, context: &Context<'_>) -> f64 {
        if context.is_counter && difference > 0.0 && first >= 0.0 && !self.is_within(first, difference) {
            self.factor_of(first / difference, context)
        } else {
            self.factor
        }
    }

    /// Was the counter far from zero where the window begins? Most are, and a division takes longer than this.
    fn is_within(&self, first: f64, difference: f64) -> bool {
        /// More than rounding makes of the quotient.
        const MARGIN: f64 = 1.0 + 1e-9;
        self.sampled * first > self.to_start * difference * MARGIN
    }

    /// The factor for a counter whose first value is `share` of its growth: it was zero so long before.
    fn factor_of(&self, share: f64, context: &Context<'_>) -> f64 {
        let to_zero = self.sampled * share;
        if to_zero < self.to_start { factor(self.sampled, to_zero, self.to_end, context) } else { self.factor }
    }
}

fn factor(sampled: f64, to_start: f64, to_end: f64, context: &Context<'_>) -> f64 {
    let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    if context.is_rate { factor / seconds(context.range_ms) } else { factor }
}

/// How samples lie in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub after: i64,
    pub to: i64,
    pub first_time: i64,
    pub last_time: i64,
    pub samples: usize,
    /// Start time of the first sample, or [`NO_START`].
    pub start: i64,
    pub is_counter: bool,
}

impl Shape {
    /// Did the counter begin in the window, before its first sample?
    pub(super) fn has_start(&self) -> bool {
        self.is_counter && self.start != NO_START && self.start > self.after && self.start < self.first_time
    }

    /// Does it lie in its window as another does?
    fn is_like(&self, other: &Self) -> bool {
        (self.samples, self.last_time - self.first_time) == (other.samples, other.last_time - other.first_time)
            && (self.first_time - self.after, self.to - self.last_time)
                == (other.first_time - other.after, other.to - other.last_time)
    }

    /// `None` if there are too few samples.
    fn ends(&self, context: &Context<'_>) -> Option<Ends> {
        if self.samples < 2 {
            return None;
        }
        let (sampled, to_start, to_end) = (seconds(self.last_time - self.first_time), self.to_start(), self.to_end());
        Some(Ends { sampled, to_start, to_end, factor: factor(sampled, to_start, to_end, context) })
    }

    fn average(&self) -> f64 {
        if self.samples < 2 {
            return 0.0;
        }
        seconds(self.last_time - self.first_time) / (count(self.samples) - 1.0)
    }

    fn to_end(self) -> f64 {
        let to_end = seconds(self.to - self.last_time);
        if to_end >= self.average() * 1.1 { self.average() / 2.0 } else { to_end }
    }

    fn to_start(self) -> f64 {
        let to_start = seconds(self.first_time - self.after);
        if to_start >= self.average() * 1.1 { self.average() / 2.0 } else { to_start }
    }

    /// By how much the difference grows if the counter began at its start time with nothing.
    pub(super) fn factor_from_start(&self) -> f64 {
        let sampled = seconds(self.last_time - self.start);
        if sampled == 0.0 { 1.0 } else { (sampled + self.to_end()) / sampled }
    }

    /// By how much the difference grows; `size` is the first value and the difference, by which it is told when a counter was zero.
    /// `None` if there are too few samples.
    pub(super) fn factor(&self, size: Option<(f64, f64)>) -> Option<f64> {
        if self.samples < 2 {
            return None;
        }
        let sampled = seconds(self.last_time - self.first_time);
        let mut to_start = self.to_start();
        if self.is_counter
            && let Some((first, difference)) = size
        {
            let to_zero = sampled * (first / difference);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        Some(if sampled == 0.0 { 1.0 } else { (sampled + to_start + self.to_end()) / sampled })
    }
}

/// `irate` and `idelta` of floats.
pub(super) fn instant(window: &Window<'_>, context: &Context<'_>) -> Option<f64> {
    let at = window.values.len().checked_sub(1).filter(|at| *at > 0)?;
    let interval = window.times[at] - window.times[at - 1];
    if interval == 0 {
        return None;
    }
    if context.function == "idelta" {
        return Some(window.values[at] - window.values[at - 1]);
    }
    let value = if is_reset(window.times, window.values, window.starts, at) {
        window.values[at]
    } else {
        window.values[at] - window.values[at - 1]
    };
    Some(value / seconds(interval))
}
