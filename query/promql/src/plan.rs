//! A query at a time: all that can be told before a sample is read.
//!
//! Made of a tree and [`Options`] by [`planner`]; handed to the evaluator. Durations become milliseconds, `start()`, `end()`, `range()` and `step()`
//! become numbers, features that are switched off are refused, and what each selector reads is noted as a [`Want`], so that whoever
//! has the samples reads them once, before evaluation begins. What occurs more than once is found (`repeats`).
//!
//! Invariants: an expression is marked as fixed exactly if it has the same value at every step; the samples of a want suffice for
//! every selector that names it.

mod lag;
mod planner;
mod repeats;

use std::{ops::Range, sync::Arc};

use crate::{
    ast::{Aggregator, Extent, Matching, Operator, Span, Type},
    functions::Signature,
    selector::{Matcher, NAME, Op},
    value::Times,
};

pub(crate) use planner::{Made, plan};

/// When a query is evaluated, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Milliseconds since 1970.
    pub start_ms: i64,
    /// Included; the same as `start_ms` for an instant query.
    pub end_ms: i64,
    /// Milliseconds, positive; of an instant query, without a meaning.
    pub step_ms: i64,
    /// Is it asked about one moment? A range may have one step, too, and has another kind of result.
    pub is_instant: bool,
    /// How old a sample may be to be a series' value, milliseconds.
    pub lookback_ms: i64,
    /// Step of subqueries that name none, milliseconds.
    pub subquery_step_ms: i64,
    /// Samples that may be held at once.
    pub samples_max: usize,
    /// Threads that may work on it.
    pub threads: usize,
    /// What is switched on.
    pub features: Features,
}

/// What Prometheus keeps behind a switch; all off as there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Features {
    /// Functions and aggregations that may still change.
    pub experimental_functions: bool,
    /// `fill`, `fill_left` and `fill_right`.
    pub fill: bool,
    /// Names are dropped after the query instead of by each function.
    pub delayed_name_removal: bool,
    /// Counters begin where their start time says.
    pub start_timestamps: bool,
    /// `__type__` says whether a metric is a counter.
    pub type_and_unit: bool,
}

/// Samples that a query needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Want {
    /// Of series of which all are true.
    pub matchers: Arc<[Matcher]>,
    /// After this time, milliseconds.
    pub after_ms: i64,
    /// To this time, included.
    pub to_ms: i64,
    /// Does only matter when there are samples, and not what they are?
    pub presence: bool,
}

/// An expression whose times are known.
#[derive(Debug)]
pub(crate) struct Plan {
    pub node: Step,
    pub span: Span,
    /// Has it the same value at every step?
    pub fixed: bool,
    pub returns: Type,
    /// Two of a class have the same value at the same times.
    pub class: u32,
}

#[derive(Debug)]
pub(crate) enum Step {
    Number(f64),
    String(String),
    Negate(Box<Plan>),
    Binary(Box<Operation>),
    Aggregate(Box<Aggregation>),
    Call(&'static Signature, Vec<Plan>),
    Instant(Select),
    Range(Select, i64),
    Subquery(Box<Window>),
}

#[derive(Debug)]
pub(crate) struct Operation {
    pub op: Operator,
    pub span: Span,
    pub left: Plan,
    pub right: Plan,
    pub returns_bool: bool,
    pub matching: Option<Matching>,
}

#[derive(Debug)]
pub(crate) struct Aggregation {
    pub op: Aggregator,
    pub span: Span,
    pub expr: Plan,
    pub param: Option<Plan>,
    pub labels: Vec<String>,
    pub without: bool,
}

/// What a selector selects.
#[derive(Debug)]
pub(crate) struct Select {
    /// Which of the wants has its samples.
    pub want: usize,
    pub matchers: Arc<[Matcher]>,
    pub moment: Moment,
    pub extent: Extent,
    /// Are native histograms only asked for their count and sum? Then Prometheus tells of resets that it keeps to itself otherwise.
    pub totals: bool,
}

/// A subquery.
#[derive(Debug)]
pub(crate) struct Window {
    pub expr: Plan,
    pub range_ms: i64,
    pub step_ms: i64,
    pub moment: Moment,
}

/// Which time is looked at when a time is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub offset_ms: i64,
    pub at_ms: Option<i64>,
}

impl Moment {
    pub(crate) fn of(self, time_ms: i64) -> i64 {
        self.at_ms.unwrap_or(time_ms).saturating_sub(self.offset_ms)
    }

    /// The steps at which a time of these is looked at; none are `start..start`.
    pub(crate) fn steps_in(self, times_ms: &Range<i64>, times: Times) -> Range<usize> {
        let first = self.of(times.start);
        if self.at_ms.is_some() {
            return 0..if times_ms.contains(&first) { times.count } else { 0 };
        }
        // The first step that is not before a time.
        let step = |time: i64| {
            let after = time.saturating_sub(first).max(0).unsigned_abs().div_ceil(times.step.unsigned_abs());
            usize::try_from(after).unwrap_or(usize::MAX).min(times.count)
        };
        let start = step(times_ms.start);
        start..step(times_ms.end).max(start)
    }

    /// The first and the last time that is looked at.
    fn of_first_and_last(self, times: Times) -> (i64, i64) {
        let (first, last) = (self.of(times.start), self.of(times.last()));
        (first.min(last), first.max(last))
    }
}

impl Window {
    /// The times at which the subquery of an expression evaluated at `times` is evaluated.
    pub(crate) fn times(&self, times: Times) -> Times {
        let (first, last) = (self.moment.of(times.start), self.moment.of(times.last()));
        let after = first.saturating_sub(self.range_ms);
        let aligned = self.step_ms * (after / self.step_ms);
        let start = if aligned <= after { aligned.saturating_add(self.step_ms) } else { aligned };
        Times::range(start, last, self.step_ms)
    }
}

/// Functions whose value depends on the time even if their arguments do not.
pub(crate) const OF_TIME: [&str; 11] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
];
/// Labels that a selector says are one value, for a series that is absent.
pub(crate) fn implied_labels(matchers: &[Matcher]) -> Vec<(&str, &str)> {
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers {
        let label = matcher.label();
        if matches!(label, NAME | "__type__" | "__unit__") {
            continue;
        }
        if matcher.op == Op::Equal && !seen.contains(&label) {
            seen.push(label);
            labels.push((label, &matcher.value));
        } else {
            labels.retain(|(known, _)| *known != label);
        }
    }
    labels
}
