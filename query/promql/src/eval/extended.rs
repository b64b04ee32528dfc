//! The experimental modifiers `anchored` and `smoothed`.
//!
//! Both make a range as long as it is written: `anchored` takes the value at its beginning from the last sample before it, `smoothed`
//! interpolates values at both ends, for which it looks beyond the end as well. A smoothed instant selector interpolates at the step.
//! Called by `over_time` for rates and by `select`; what histograms need is in [`native`]. `resets` and `changes` are in
//! `super::native`, as they only need to know where an anchored window begins.

mod native;

use std::sync::Arc;

use crate::{
    Error, Histogram, ResetHint, Result,
    ast::{Extent, Span, Type},
    duration::seconds,
    notes::Notes,
    plan::{Plan, Select, Step},
    samples::NO_START,
    value::{Cell, Matrix, Times},
};

use super::{
    Evaluator, metric_name,
    native::{note_mixed, note_schemas},
    over_time::{Context, Window, each_window},
    rate::is_start_reset,
};

/// A float with its time.
#[derive(Debug, Clone, Copy)]
struct Point {
    time: i64,
    value: f64,
}

/// A float at an end of the range, with the start time of its counter.
#[derive(Debug, Clone, Copy)]
struct End {
    value: f64,
    start: i64,
}

/// `rate`, `increase` and `delta` of an extended window.
pub(super) fn rate(window: &Window<'_>, context: &Context<'_>, notes: &mut Notes) -> Option<Cell> {
    if window.histograms.is_empty() {
        return floats(window, context).map(Cell::Float);
    }
    if !window.times.is_empty() {
        note_mixed(context.metric(), context.span, notes);
        return None;
    }
    native::rate(window, context, notes).map(|histogram| Cell::Histogram(Arc::new(histogram)))
}

fn floats(window: &Window<'_>, context: &Context<'_>) -> Option<f64> {
    let range = Range {
        window,
        is_counter: context.function != "delta",
        is_smoothed: context.extent == Extent::Smoothed,
        seen_after: window.after.saturating_sub(context.lookback_ms),
    };
    let (first, last) = bounds(window.times, |time| *time, window, context.extent)?;
    if range.is_smoothed && range.time(first) > window.to && !range.begins_within(first) {
        return None;
    }
    let (left, right) = (range.left(first), range.right(last));
    let mut difference = right.value - left.value;
    if range.is_counter {
        // What happened at the ends is in their values already.
        difference += range.lost(left, right, range.between_ends(first, last));
    }
    Some(if context.function == "rate" { difference / seconds(context.range_ms) } else { difference })
}

/// The samples of an extended range vector that is a result: values at both ends, and the samples between. None if the range has
/// none. Prometheus refuses histograms.
pub(super) fn samples(window: &Window<'_>, extent: Extent) -> Result<(Vec<i64>, Vec<f64>)> {
    let is_smoothed = extent == Extent::Smoothed;
    if !window.histograms.is_empty() {
        let modifier = if is_smoothed { "smoothed" } else { "anchored" };
        return Err(Error::execution(format!("{modifier} modifier is not supported with histograms")));
    }
    let Some((first, last)) = bounds(window.times, |time| *time, window, extent) else { return Ok(Default::default()) };
    let range = Range { window, is_counter: false, is_smoothed, seen_after: window.after };
    let mut points = vec![Point { time: window.after, value: range.left(first).value }];
    points.extend(range.between_ends(first, last).map(|at| range.point(at)));
    points.push(Point { time: window.to, value: range.right(last).value });
    Ok(points.into_iter().map(|point| (point.time, point.value)).unzip())
}

/// The samples that make the ends of the range: the last one up to its beginning, and the first from its end on. `None` if nothing
/// is in it.
fn bounds<T>(samples: &[T], time: impl Fn(&T) -> i64, window: &Window<'_>, extent: Extent) -> Option<(usize, usize)> {
    let (_, earlier) = samples.split_last()?;
    let first = earlier.partition_point(|sample| time(sample) <= window.after).saturating_sub(1);
    let last = match extent {
        Extent::Smoothed => earlier.partition_point(|sample| time(sample) < window.to),
        _ => earlier.len(),
    };
    (time(samples.get(last)?) > window.after).then_some((first, last))
}

/// The floats of an extended window.
struct Range<'s> {
    window: &'s Window<'s>,
    is_counter: bool,
    is_smoothed: bool,
    /// From where on samples were looked for.
    seen_after: i64,
}

impl Range<'_> {
    fn point(&self, at: usize) -> Point {
        let value = self.window.values.get(at).copied().unwrap_or(f64::NAN);
        Point { time: self.time(at), value }
    }

    fn time(&self, at: usize) -> i64 {
        self.window.times.get(at).copied().unwrap_or(i64::MAX)
    }

    fn start(&self, at: usize) -> i64 {
        self.window.starts.get(at).copied().unwrap_or(NO_START)
    }

    /// Did the counter of a sample begin after `time`?
    fn begins_after(&self, time: i64, at: usize) -> bool {
        // A sample that began at its own time stands for a beginning that is not known.
        self.start(at) > time && self.time(at) > time && is_start_reset((time, time), (self.start(at), self.time(at)))
    }

    /// Can a rate be told of a first sample that is behind the range: did its counter begin in what is seen of the time before?
    fn begins_within(&self, at: usize) -> bool {
        self.is_counter && self.begins_after(self.seen_after, at) && !self.begins_after(self.window.to, at)
    }

    /// The value of a counter that has no sample before: nothing before it began, or up to the first sample.
    fn alone(&self, at: usize, time: i64) -> f64 {
        let point = self.point(at);
        if !self.is_counter || !self.begins_after(self.seen_after, at) {
            point.value
        } else if self.is_smoothed && !self.begins_after(time, at) {
            self.between(Point { time: self.start(at), value: 0.0 }, point, time)
        } else {
            0.0
        }
    }

    fn between(&self, before: Point, after: Point, time: i64) -> f64 {
        interpolated(before, after, time, self.is_counter)
    }

    /// At the beginning of the range.
    fn left(&self, first: usize) -> End {
        let after = self.window.after;
        let (mut point, start) = (self.point(first), self.start(first));
        if point.time == after {
            return End { value: point.value, start };
        }
        let mut begun = if start > after { NO_START } else { start };
        if point.time > after {
            return End { value: self.alone(first, after), start: begun };
        }
        let (mut next, next_start) = (self.point(first + 1), self.start(first + 1));
        if self.is_counter && self.begins_after(after, first + 1) {
            next = Point { time: next_start, value: 0.0 };
        } else if self.is_counter && is_start_reset((start, point.time), (next_start, next.time)) {
            point = Point { time: next_start, value: 0.0 };
            begun = next_start;
        }
        let value = if self.is_smoothed { self.between(point, next, after) } else { point.value };
        End { value, start: begun }
    }

    /// At the end of the range.
    fn right(&self, last: usize) -> End {
        let to = self.window.to;
        let (mut point, start) = (self.point(last), self.start(last));
        let mut begun = if start > to { NO_START } else { start };
        if point.time <= to {
            return End { value: point.value, start: begun };
        }
        let Some(previous) = last.checked_sub(1) else {
            return End { value: self.alone(last, to), start: begun };
        };
        let (mut before, before_start) = (self.point(previous), self.start(previous));
        if self.is_counter && self.begins_after(to, last) {
            point = Point { time: start, value: 0.0 };
            begun = before_start;
        } else if self.is_counter && is_start_reset((before_start, before.time), (start, point.time)) {
            before = Point { time: start, value: 0.0 };
        }
        let value = if self.is_smoothed { self.between(before, point, to) } else { before.value };
        End { value, start: begun }
    }

    /// The samples that neither are at the ends nor beyond them.
    fn between_ends(&self, first: usize, last: usize) -> std::ops::Range<usize> {
        let from = if self.time(first) <= self.window.after { first + 1 } else { first };
        let to = if self.time(last) >= self.window.to { last } else { last + 1 };
        from..to
    }

    /// What resets took away between the ends.
    fn lost(&self, left: End, right: End, within: std::ops::Range<usize>) -> f64 {
        let mut lost = 0.0;
        let (mut before, mut at_before) = (left.value, (left.start, self.window.after));
        let samples = within.map(|at| (self.point(at).value, (self.start(at), self.time(at))));
        for (value, at) in samples.chain([(right.value, (right.start, self.window.to))]) {
            if value < before || is_start_reset(at_before, at) {
                lost += before;
            }
            (before, at_before) = (value, at);
        }
        lost
    }
}

/// The value at a time on the line between two points. A counter that has become smaller began with nothing at the first.
fn interpolated(before: Point, after: Point, time: i64, is_counter: bool) -> f64 {
    let from = if is_counter && after.value < before.value { 0.0 } else { before.value };
    from + (after.value - from) * whole(time - before.time) / whole(after.time - before.time)
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus computes times in doubles")]
fn whole(milliseconds: i64) -> f64 {
    milliseconds as f64
}

impl Evaluator<'_> {
    /// A selector with `smoothed`: the value at each step is interpolated between the samples around it.
    pub(super) fn smoothed(&mut self, select: &Select, span: Span, times: Times) -> Result<Matrix> {
        let Select { want, moment, extent, totals, .. } = *select;
        let select = Select { want, matchers: Arc::clone(&select.matchers), moment, extent, totals };
        // An empty range, of which the window is what is looked at before and after each step.
        let plan =
            Plan { node: Step::Range(select, 0), span, fixed: moment.at_ms.is_some(), returns: Type::Matrix, class: 0 };
        let ranged = self.range(&plan, times)?;
        let mut matrix = self.absent(ranged.rows.clone(), times.count)?;
        let lookback_ms = self.options.lookback_ms;
        for (row, series) in ranged.rows.iter().enumerate() {
            self.check()?;
            let metric = metric_name(&series.labels, self.symbols);
            let notes = &mut self.notes;
            each_window(ranged.samples.series(row), &ranged, times, lookback_ms, |step, window| {
                if let Some(cell) = smoothed(&window, metric, span, notes) {
                    matrix.set(row, step, cell);
                }
            });
        }
        matrix.prune();
        Ok(matrix)
    }
}

/// The value in the middle of a window.
fn smoothed(window: &Window<'_>, metric: &str, span: Span, notes: &mut Notes) -> Option<Cell> {
    let time = window.to;
    if window.histograms.is_empty() {
        let at = window.times.partition_point(|known| *known < time);
        let point = |at: usize| Some(Point { time: *window.times.get(at)?, value: *window.values.get(at)? });
        let (before, after) = (at.checked_sub(1).and_then(point), point(at));
        return Some(Cell::Float(match (before, after) {
            (_, Some(after)) if after.time == time => after.value,
            (Some(before), Some(after)) => interpolated(before, after, time, false),
            (before, _) => before?.value,
        }));
    }
    if !window.times.is_empty() {
        note_mixed(metric, span, notes);
        return None;
    }
    let at = window.histograms.partition_point(|sample| sample.time < time);
    let (before, after) = (at.checked_sub(1).and_then(|at| window.histograms.get(at)), window.histograms.get(at));
    Some(Cell::Histogram(match (before, after) {
        (_, Some(after)) if after.time == time => Arc::clone(&after.histogram),
        (Some(before), Some(after)) => {
            if before.histogram.is_custom() != after.histogram.is_custom() {
                note_schemas(metric, span, notes);
                return None;
            }
            let is_gauge = |histogram: &Histogram| histogram.hint == ResetHint::Gauge;
            let is_counter = !is_gauge(&before.histogram) || !is_gauge(&after.histogram);
            Arc::new(native::interpolated([before, after], time, is_counter, (metric, span), notes)?)
        }
        // The hint is about the sample, which this one no longer is.
        (before, _) => Arc::new(Histogram { hint: ResetHint::Unknown, ..Histogram::clone(&before?.histogram) }),
    }))
}
