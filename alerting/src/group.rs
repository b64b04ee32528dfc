//! A group of rules at one of its times.
//!
//! The scheduler asks [`Slots`] when, and calls [`Run::evaluate`] with the group's [`State`]: rules that do not read one another are asked
//! together; what each finds becomes samples (`outcome`), which are written before a rule is asked that reads them, and alerts that `alert`
//! keeps.
//!
//! Invariants: all rules of a group have the same time, which is the slot and not when they are evaluated; a rule that fails hides nothing
//! of the others, keeps its alerts and writes nothing; a series that a rule wrote at its evaluation before and not at this one is marked as
//! ended; nothing here waits or reads a clock.
//! Not here: when a group is evaluated, where samples are kept, who is told.

mod outcome;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, ops::Range};

use crate::{
    Error, ErrorKind, Labels, Result,
    alert::{self, Transition},
    query::{Expand, Query, Sink},
    rules::{Condition, Group, Rule},
};

/// When a group is evaluated: each interval, and within it as far from its beginning as the group's name says, so that not all groups
/// are evaluated at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    interval_ms: i64,
    offset_ms: i64,
}

/// What is kept of a group between evaluations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The time of the last evaluation.
    pub last_ms: Option<i64>,
    /// Of each rule.
    pub rules: Vec<RuleState>,
}

/// What is kept of a rule between evaluations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleState {
    /// Its alerts.
    pub alerts: alert::State,
    /// The series that it recorded last; those of alerts follow from the alerts.
    pub recorded: BTreeSet<Labels>,
    /// Why its last evaluation failed, if it did.
    pub error: Option<String>,
}

/// How groups are evaluated.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a template engine shows nothing")]
pub struct Run<'a> {
    /// The group.
    pub group: &'a Group,
    /// Parts of it that are asked together: [`Group::steps`].
    pub steps: &'a [Range<usize>],
    /// Expands its templates.
    pub expand: &'a dyn Expand,
    /// Labels of this program, for templates.
    pub external_labels: &'a Labels,
    /// Where this program is found, for templates.
    pub external_url: &'a str,
    /// How long before its time a group is asked that does not say.
    pub query_offset_ms: i64,
}

/// What came of a rule.
#[derive(Debug, Default)]
pub struct Done {
    /// Changes of its alerts.
    pub transitions: Vec<Transition>,
    /// What is doubtful about the answer.
    pub warnings: Vec<String>,
    /// How many series its query matched, as [`Found::fresh`](crate::query::Found::fresh) says it.
    pub fresh: Option<u64>,
    /// How many series it wrote.
    pub written: usize,
    /// How many series ended.
    pub ended: usize,
    /// Why not all samples were written.
    pub write_error: Option<Error>,
}

impl Slots {
    /// The slots of a group that is evaluated each interval.
    #[must_use]
    pub fn new(file: &str, group: &str, interval_ms: i64) -> Self {
        let interval_ms = interval_ms.max(1);
        let identity: Labels = [("file", file), ("group", group)].into_iter().collect();
        let hash = identity.fingerprint() % interval_ms.unsigned_abs();
        Self { interval_ms, offset_ms: i64::try_from(hash).unwrap_or(0) }
    }

    /// The last slot that is not after a time.
    #[must_use]
    pub fn at_or_before(self, now_ms: i64) -> i64 {
        now_ms - (now_ms - self.offset_ms).rem_euclid(self.interval_ms)
    }

    /// The first slot after a time.
    #[must_use]
    pub fn after(self, now_ms: i64) -> i64 {
        self.at_or_before(now_ms) + self.interval_ms
    }

    /// How many slots are between two: evaluations for which there was no time. They are not made up for.
    #[must_use]
    pub fn missed(self, last_ms: i64, slot_ms: i64) -> i64 {
        ((slot_ms - last_ms) / self.interval_ms - 1).max(0)
    }
}

impl State {
    /// The state of a group that has not been evaluated.
    #[must_use]
    pub fn new(group: &Group) -> Self {
        Self { last_ms: None, rules: group.rules.iter().map(|_| RuleState::default()).collect() }
    }

    /// The state of a group of which this is the state under its old rules: rules take over from those with the same name and labels, the
    /// first from the first. Comes with the series that no rule writes any more; they end two intervals later, unless another rule writes
    /// them by then.
    #[must_use]
    pub fn taken_over(self, old: &Group, new: &Group) -> (Self, BTreeSet<Labels>) {
        let mut left: Vec<(&Rule, RuleState)> = old.rules.iter().zip(self.rules).collect();
        let mut take = |rule: &Rule| {
            let at = left.iter().position(|(known, _)| known.is_same(rule));
            at.map(|at| left.remove(at).1).unwrap_or_default()
        };
        let rules = new.rules.iter().map(&mut take).collect();
        let ended = left.iter().flat_map(|(_, state)| state.series()).collect();
        (Self { last_ms: self.last_ms, rules }, ended)
    }
}

/// What a rule asks in PromQL.
fn query(rule: &Rule) -> Option<&promql::Query> {
    match &rule.condition {
        Condition::Promql(query) => Some(query),
        Condition::Sql(_) => None,
    }
}

fn unanswered() -> Error {
    Error::new(ErrorKind::Internal, "a rule's query was not answered; this is a defect of ours")
}

impl RuleState {
    /// All series that the rule wrote last.
    pub fn series(&self) -> impl Iterator<Item = Labels> {
        self.recorded.iter().cloned().chain(self.alerts.written())
    }
}

impl Run<'_> {
    /// How long before its time the group is asked.
    #[must_use]
    pub fn offset_ms(&self) -> i64 {
        self.group.query_offset_ms.unwrap_or(self.query_offset_ms)
    }

    /// Evaluates all rules at a slot, and says what came of each. Nothing ends or begins to fire unless `has_caught_up`: not before ingest
    /// has caught up.
    pub fn evaluate<W>(&self, state: &mut State, slot_ms: i64, has_caught_up: bool, world: &mut W) -> Vec<Result<Done>>
    where
        W: Query + Sink + ?Sized,
    {
        let (rules, at_ms) = (&self.group.rules, slot_ms - self.offset_ms());
        state.rules.resize_with(rules.len(), RuleState::default);
        let mut all = Vec::with_capacity(rules.len());
        for step in self.steps {
            let queries: Vec<&promql::Query> = rules[step.clone()].iter().filter_map(query).collect();
            let (mut left, mut found) = (queries.as_slice(), Vec::new().into_iter());
            for (rule, state) in rules[step.clone()].iter().zip(&mut state.rules[step.clone()]) {
                let found = match &rule.condition {
                    Condition::Promql(_) => {
                        if found.len() == 0 {
                            let some = world.instants(left, at_ms);
                            left = left.get(some.len()..).unwrap_or_default();
                            found = some.into_iter();
                        }
                        found.next().unwrap_or_else(|| Err(unanswered()))
                    }
                    Condition::Sql(sql) => world.sql(sql, at_ms),
                };
                let done = found.and_then(|found| self.outcome((rule, state), (slot_ms, has_caught_up), found, world));
                state.error = match &done {
                    Ok(done) => done.write_error.as_ref().map(ToString::to_string),
                    Err(error) => Some(error.to_string()),
                };
                all.push(done);
            }
        }
        state.last_ms = Some(slot_ms);
        all
    }
}
