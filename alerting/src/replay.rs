//! What rules would have done: groups are evaluated at the slots of a time that is over.
//!
//! Whoever replays makes a [`Replay`] and calls [`Replay::step`] until there is nothing left; each step is one group at one slot, in order of
//! time. What a step changed is handed out to be written down or told; [`Replay::end`] says what it came to, rule by rule.
//!
//! Stored data is asked through [`Stored`], a range of slots at once where an expression reads nothing that rules of the replay write
//! (`past`). What they write is kept in memory, where the others of them find it, and nowhere else (`made`). Of a series that a rule of the
//! replay writes, stored samples count before the replay begins, and those of the replay after.
//!
//! Invariants: the same comes of it as of evaluating slot by slot; alerts begin when the replay does, as if nothing had been known before;
//! nothing here writes, tells, waits or reads a clock; memory is bounded, whatever rules find.
//! Not here: who would have been told ([`Rehearsal`](crate::alertmanager::Rehearsal)).

mod made;
mod past;
mod tally;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use promql::Want;

use crate::{
    Labels, Result,
    alert::{Instance, Transition},
    alerts::Alert,
    group::{Done, Run, Slots, State},
    memory,
    query::{Expand, Found, Value},
    rules::{Action, Group, NoData, Notify, Rule, Sql},
};

use self::past::Past;
pub use self::tally::{Firing, Tally};

/// A group that is replayed.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The file it is in, which says when its slots are.
    pub file: String,
    /// What it says.
    pub group: Group,
    /// Between its evaluations, milliseconds.
    pub interval_ms: i64,
}

/// How groups are replayed.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a template engine shows nothing")]
pub struct Settings<'a> {
    /// Slots in this range, milliseconds, half-open.
    pub from_ms: i64,
    /// The end of the range.
    pub to_ms: i64,
    /// Expands templates.
    pub expand: &'a dyn Expand,
    /// Labels of this program, for templates.
    pub external_labels: &'a Labels,
    /// Where this program is found, for templates.
    pub external_url: &'a str,
    /// How long before its time a group is asked that does not say.
    pub query_offset_ms: i64,
    /// How often it is told again that an alert fires.
    pub resend_ms: i64,
    /// How PromQL is evaluated over what rules of the replay write.
    pub memory: memory::Settings,
}

/// Times that are one step apart, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The first.
    pub first_ms: i64,
    /// The last.
    pub last_ms: i64,
    /// Between two, positive.
    pub step_ms: i64,
}

/// A series with its samples, in ascending time.
pub type Series = (Labels, Vec<(i64, Value)>);

/// What a query finds at many times.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ahead {
    /// Series with the samples that the query has at these times.
    pub series: Vec<Series>,
    /// Of each time, what [`Found::fresh`] would be; empty if it is not known.
    pub fresh: BTreeMap<i64, u64>,
    /// What is doubtful about it.
    pub warnings: Vec<String>,
}

/// Answers queries over what is stored.
pub trait Stored {
    /// A query at many times, as if it was asked at each; `None` if there are more samples of it than are wanted. Comes with whether it
    /// matters how many series its selectors match, and how many samples are wanted at most.
    ///
    /// # Errors
    /// It fails at one of these times, or asks too much at once.
    fn range(&mut self, query: &promql::Query, times: Times, wanted: (bool, usize)) -> Result<Option<Ahead>>;

    /// A query at a time.
    ///
    /// # Errors
    /// As [`Query::instant`](crate::query::Query::instant).
    fn instant(&mut self, query: &promql::Query, at_ms: i64, looks_for_data: bool) -> Result<Found>;

    /// A query of SQL at a time.
    ///
    /// # Errors
    /// As [`Query::sql`](crate::query::Query::sql).
    fn sql(&mut self, sql: &Sql, at_ms: i64) -> Result<Found>;

    /// The samples of a want, staleness markers among them; `None` if there are more than `most`.
    ///
    /// # Errors
    /// They cannot be read.
    fn samples(&mut self, want: &Want, most: usize) -> Result<Option<Vec<Series>>>;
}

/// Rules over a time that is over.
pub struct Replay<'a> {
    settings: Settings<'a>,
    groups: &'a [Replayed],
    going: Vec<Going>,
    past: Past,
}

/// A group on its way.
struct Going {
    slots: Slots,
    steps: Vec<Range<usize>>,
    next_ms: i64,
    state: State,
    tallies: Vec<tally::Counter>,
}

/// What one group did at one slot.
#[derive(Debug, Default)]
pub struct Step {
    /// Which group.
    pub group: usize,
    /// When, milliseconds.
    pub at_ms: i64,
    /// Changes of alerts: which rule, what, and how the alert is now.
    pub changes: Vec<(usize, Transition, Option<Instance>)>,
    /// Alerts that ended having fired, and which rule's.
    pub ended: Vec<(usize, Firing)>,
    /// Alerts that the dispatcher would be told of, without labels of this program.
    pub told: Vec<Alert>,
}

impl<'a> Replay<'a> {
    /// All slots of these groups are still to come.
    #[must_use]
    pub fn new(groups: &'a [Replayed], settings: Settings<'a>) -> Self {
        let going = groups.iter().map(|of| {
            let slots = Slots::new(&of.file, &of.group.name, of.interval_ms);
            Going {
                slots,
                steps: of.group.steps(),
                next_ms: slots.after(settings.from_ms - 1),
                state: State::new(&of.group),
                tallies: of.group.rules.iter().map(|_| tally::Counter::default()).collect(),
            }
        });
        Self { settings, groups, going: going.collect(), past: Past::new(groups, &settings) }
    }

    /// How many evaluations of groups are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        let of_group = |(going, of): (&Going, &Replayed)| {
            let left_ms = (self.settings.to_ms - going.next_ms).max(0);
            left_ms.unsigned_abs().div_ceil(of.interval_ms.max(1).unsigned_abs())
        };
        self.going.iter().zip(self.groups).map(of_group).sum()
    }

    /// Evaluates the next group at its next slot; `None` if there is none.
    ///
    /// # Errors
    /// `Invalid` if what rules write needs more memory than there is for it. That a rule fails is none: it is counted.
    pub fn step(&mut self, stored: &mut dyn Stored) -> Result<Option<Step>> {
        let next = self.going.iter().enumerate().min_by_key(|(_, going)| going.next_ms);
        let Some((nth, at_ms)) = next.map(|(nth, going)| (nth, going.next_ms)) else { return Ok(None) };
        if at_ms >= self.settings.to_ms {
            return Ok(None);
        }
        let (Some(going), Some(of)) = (self.going.get_mut(nth), self.groups.get(nth)) else { return Ok(None) };
        let run = Run {
            group: &of.group,
            steps: &going.steps,
            expand: self.settings.expand,
            external_labels: self.settings.external_labels,
            external_url: self.settings.external_url,
            query_offset_ms: self.settings.query_offset_ms,
        };
        let mut world = self.past.at(stored, nth, (at_ms, self.settings.to_ms));
        let done = run.evaluate(&mut going.state, at_ms, true, &mut world);
        self.past.settle(at_ms)?;
        going.next_ms = going.slots.after(at_ms);
        Ok(Some(going.step(of, (nth, at_ms), done, self.settings.resend_ms)))
    }

    /// What it came to: of each group, its rules, with what was still firing at the end.
    #[must_use]
    pub fn end(self) -> Vec<(Tally, Vec<Firing>)> {
        let to_ms = self.settings.to_ms;
        let of_group = |(going, of): (Going, &Replayed)| {
            let rules = of.group.rules.iter().zip(going.tallies);
            let ended = rules.map(|(rule, counter)| counter.end((of, rule), to_ms));
            ended.collect::<Vec<_>>()
        };
        self.going.into_iter().zip(self.groups).flat_map(of_group).collect()
    }
}

impl Going {
    /// Counts what was done, and gathers what others want of it.
    fn step(&mut self, of: &Replayed, (group, at_ms): (usize, i64), done: Vec<Result<Done>>, resend_ms: i64) -> Step {
        let mut step = Step { group, at_ms, ..Step::default() };
        let rules = of.group.rules.iter().zip(&mut self.state.rules).zip(&mut self.tallies);
        for (nth, (((rule, state), counter), done)) in rules.zip(done).enumerate() {
            let done = done.unwrap_or_else(|error| {
                let ended = counter.failed(at_ms, &error, &state.alerts);
                step.ended.extend(ended.into_iter().map(|firing| (nth, firing)));
                Done::default()
            });
            for change in done.transitions.iter() {
                step.ended.extend(counter.changed(change).map(|firing| (nth, firing)));
            }
            let changes = done.transitions.into_iter().map(|change| {
                let instance = state.alerts.get(&change.labels).cloned();
                (nth, change, instance)
            });
            step.changes.extend(changes);
            counter.evaluated(&state.alerts, done.written, &done.warnings);
            let due = state.alerts.due(at_ms, resend_ms, of.interval_ms).into_iter();
            step.told.extend(due.map(|due| Alert {
                labels: due.labels,
                annotations: due.annotations,
                starts_ms: due.starts_at_ms,
                ends_ms: due.ends_at_ms,
                generator_url: Arc::default(),
                updated_ms: at_ms,
                is_timeout: false,
                once: matches!(&rule.action, Action::Alert(alert) if alert.notify == Notify::Once),
            }));
        }
        step
    }
}

/// Does a rule of the group say what becomes of its alerts without data?
fn looks_for_data(rule: &Rule) -> bool {
    matches!(&rule.action, Action::Alert(alert) if alert.no_data != NoData::Resolve)
}
