//! What a replay came to, rule by rule.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Replayed;
use crate::{
    Error, Labels,
    alert::{Phase, State, Transition},
    rules::{Action, Rule},
};

/// Alerts that are told apart when it is counted how many there were of a rule; beyond, the number is a lower bound.
const ALERTS_MAX: usize = 100_000;

/// One time that an alert fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// Its labels.
    pub labels: Labels,
    /// From when on, milliseconds.
    pub from_ms: i64,
    /// Until when; the end of the replay, if it fired then.
    pub to_ms: i64,
    /// Did it fire still when the replay ended?
    pub goes_on: bool,
}

/// What a rule would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The file it is in.
    pub file: String,
    /// Its group.
    pub group: String,
    /// Its name.
    pub rule: String,
    /// Does it make alerts, or series?
    pub is_alert: bool,
    /// Evaluations.
    pub evaluations: u64,
    /// Those that failed.
    pub failures: u64,
    /// When one failed last, and why.
    pub last_failure: Option<(i64, String)>,
    /// What was doubtful about its last answer that was doubtful.
    pub warning: Option<String>,
    /// How often an alert began to fire.
    pub firings: u64,
    /// How many alerts fired, by their labels.
    pub alerts: u64,
    /// How often a condition held, and not for long enough.
    pub lapsed: u64,
    /// How long alerts fired, all added up, milliseconds.
    pub firing_ms: i64,
    /// How long at least one fired, as often as evaluations saw it, milliseconds.
    pub any_firing_ms: i64,
    /// How many fired at once, at most.
    pub at_once: u64,
    /// When one fired first, milliseconds.
    pub first_ms: Option<i64>,
    /// When one began to fire last.
    pub last_ms: Option<i64>,
    /// Samples that it would have written.
    pub written: u64,
}

/// Counts what one rule does.
#[derive(Debug, Default)]
pub(super) struct Counter {
    evaluations: u64,
    failures: u64,
    last_failure: Option<(i64, String)>,
    warning: Option<String>,
    firings: u64,
    lapsed: u64,
    firing_ms: i64,
    evaluations_firing: u64,
    at_once: u64,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    written: u64,
    fired: BTreeSet<u64>,
    /// Since when what fires now does.
    since: BTreeMap<Labels, i64>,
}

impl Counter {
    /// Takes a failure; gives alerts that it ended, which a limit does in Prometheus' way.
    pub(super) fn failed(&mut self, at_ms: i64, error: &Error, alerts: &State) -> Vec<Firing> {
        self.failures += 1;
        self.last_failure = Some((at_ms, error.to_string()));
        if self.since.is_empty() {
            return Vec::new();
        }
        let there: BTreeSet<&Labels> = alerts.instances().map(|(labels, _)| labels).collect();
        let (open, gone) = std::mem::take(&mut self.since).into_iter().partition(|(labels, _)| there.contains(labels));
        self.since = open;
        let gone: BTreeMap<Labels, i64> = gone;
        self.firing_ms += gone.values().map(|from_ms| at_ms - from_ms).sum::<i64>();
        gone.into_iter().map(|(labels, from_ms)| Firing { labels, from_ms, to_ms: at_ms, goes_on: false }).collect()
    }

    /// Takes a change; gives how long the alert fired if that is over.
    pub(super) fn changed(&mut self, change: &Transition) -> Option<Firing> {
        let fires = change.to == Some(Phase::Firing);
        if fires && !self.since.contains_key(&change.labels) {
            self.firings += 1;
            self.first_ms.get_or_insert(change.at_ms);
            self.last_ms = Some(change.at_ms);
            if self.fired.len() < ALERTS_MAX {
                self.fired.insert(change.labels.fingerprint());
            }
            self.since.insert(change.labels.clone(), change.at_ms);
        }
        if change.from == Some(Phase::Pending) && change.to.is_none() {
            self.lapsed += 1;
        }
        if fires {
            return None;
        }
        let from_ms = self.since.remove(&change.labels)?;
        self.firing_ms += change.at_ms - from_ms;
        Some(Firing { labels: change.labels.clone(), from_ms, to_ms: change.at_ms, goes_on: false })
    }

    pub(super) fn evaluated(&mut self, alerts: &State, written: usize, warnings: &[String]) {
        self.evaluations += 1;
        self.written += written as u64;
        let firing = alerts.instances().filter(|(_, instance)| instance.phase == Phase::Firing).count() as u64;
        self.at_once = self.at_once.max(firing);
        self.evaluations_firing += u64::from(firing > 0);
        if let Some(warning) = warnings.last() {
            self.warning = Some(warning.clone());
        }
    }

    pub(super) fn end(mut self, (of, rule): (&Replayed, &Rule), to_ms: i64) -> (Tally, Vec<Firing>) {
        let since = std::mem::take(&mut self.since).into_iter();
        let open: Vec<Firing> =
            since.map(|(labels, from_ms)| Firing { labels, from_ms, to_ms, goes_on: true }).collect();
        self.firing_ms += open.iter().map(|firing| to_ms - firing.from_ms).sum::<i64>();
        let any = i64::try_from(self.evaluations_firing).unwrap_or(i64::MAX);
        let tally = Tally {
            file: of.file.clone(),
            group: of.group.name.clone(),
            rule: rule.name().to_owned(),
            is_alert: matches!(rule.action, Action::Alert(_)),
            evaluations: self.evaluations,
            failures: self.failures,
            last_failure: self.last_failure,
            warning: self.warning,
            firings: self.firings,
            alerts: self.fired.len() as u64,
            lapsed: self.lapsed,
            firing_ms: self.firing_ms,
            any_firing_ms: any.saturating_mul(of.interval_ms),
            at_once: self.at_once,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            written: self.written,
        };
        (tally, open)
    }
}
