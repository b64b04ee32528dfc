//! Everything that changes while alerts come and go, and what of it is written down.
//!
//! Held under one lock by [`Alertmanager`](super::Alertmanager).

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{Plan, scheduled};
use crate::{
    Labels, Route,
    alerts::{Alert, Alerts},
    dedup::Reason,
    dispatch::{Dispatcher, Due, Hush, Integration, Kept, Quiet},
    inhibit::Sources,
    outbox::{Attempt, Key, Outbox, Owed, Rate},
    rows::{self, AlertRow, Event, NotificationRow, Rows, State},
    schedule::Schedules,
    silence::Silences,
};

/// Everything that changes.
pub(super) struct Things {
    pub plan: Arc<Plan>,
    pub alerts: Alerts,
    pub dispatcher: Dispatcher,
    pub silences: Silences,
    /// How long before its end somebody is reminded of a silence, milliseconds; 0 for never.
    pub remind_before_ms: i64,
    pub outbox: Outbox,
    /// Questions, and what of them is due.
    pub schedules: Schedules,
    /// What receivers said of the last message of a key.
    pub answers: HashMap<Key, String>,
}

/// What is quiet at a moment.
pub(super) struct Now<'a> {
    things: &'a Things,
    sources: Sources<'a>,
}

impl Hush for Now<'_> {
    fn quiet(&self, alert: &Alert, route: &Route, now_ms: i64) -> Option<Quiet> {
        let inhibiting = self.sources.inhibiting(&alert.labels);
        if !inhibiting.is_empty() {
            return Some(Quiet::Inhibited(inhibiting.into_iter().map(Labels::fingerprint).collect()));
        }
        let muted = self.things.plan.muted(route, now_ms);
        if !muted.is_empty() {
            return Some(Quiet::Muted(muted));
        }
        let silencing = self.things.silences.silencing(&alert.labels, now_ms);
        (!silencing.is_empty()).then_some(Quiet::Silenced(silencing))
    }
}

impl Things {
    pub fn take(&mut self, alert: &Arc<Alert>, now_ms: i64) {
        let plan = Arc::clone(&self.plan);
        self.dispatcher.take(alert, &|labels: &Labels| plan.ways(labels), now_ms);
    }

    /// What is quiet now.
    pub fn quiet(&self, now_ms: i64) -> Now<'_> {
        Now { things: self, sources: self.plan.sources(self.alerts.iter(), now_ms) }
    }

    /// What has to be written down before what is due may go on.
    pub fn rows(due: &Due, now_ms: i64) -> Rows {
        let mut seen = HashSet::new();
        let all = due.flushed.iter().flat_map(|(_, alerts)| alerts);
        // Those of which nobody said that they ended.
        let timed_out = all.filter(|alert| alert.is_resolved(now_ms) && alert.ends_ms > alert.updated_ms);
        let alerts =
            timed_out.filter(|alert| seen.insert(&alert.labels)).map(|alert| posted_row(alert, "timed out", now_ms));
        let intents = due.owed.iter().map(|(owed, _)| Self::row(owed, Event::Intent, now_ms));
        let kept = due.kept.iter().flat_map(|kept| Self::kept(kept, now_ms));
        Rows { alerts: alerts.collect(), notifications: intents.chain(kept).collect(), silences: Vec::new() }
    }

    /// One step of something owed.
    pub fn row(owed: &Owed, event: Event, at_ms: i64) -> NotificationRow {
        let ids = |is_resolved: bool| {
            let alerts = owed.alerts.iter().filter(|(_, alert)| alert.is_resolved(at_ms) == is_resolved);
            alerts.map(|(fingerprint, _)| *fingerprint).collect()
        };
        NotificationRow {
            at_ms,
            key: owed.key.clone(),
            event,
            id: owed.id,
            reason: owed.reason.text().to_owned(),
            firing: ids(false),
            resolved: ids(true),
            held: owed.held.iter().copied().collect(),
            by: owed.by.iter().map(ToString::to_string).collect(),
            group_labels: owed.group_labels.clone(),
            attempt: 0,
            error: String::new(),
            took_ms: 0,
            answer: String::new(),
        }
    }

    /// What is kept from a receiver, a row for each reason.
    fn kept(kept: &Kept, at_ms: i64) -> Vec<NotificationRow> {
        let mut reasons: BTreeMap<&Option<Quiet>, Vec<u64>> = BTreeMap::new();
        for (fingerprint, quiet) in &kept.alerts {
            reasons.entry(quiet).or_default().push(*fingerprint);
        }
        let row = |(quiet, held): (&Option<Quiet>, Vec<u64>)| {
            let (reason, by) = match quiet {
                Some(Quiet::Silenced(ids)) => ("silenced", ids.clone()),
                Some(Quiet::Inhibited(by)) => ("inhibited", by.iter().map(|by| format!("{by:016x}")).collect()),
                Some(Quiet::Muted(times)) => ("muted", times.clone()),
                Some(Quiet::Acknowledged(by)) => ("acknowledged", vec![by.to_string()]),
                None => ("told already", Vec::new()),
            };
            NotificationRow {
                at_ms,
                key: kept.key.clone(),
                event: Event::Kept,
                id: 0,
                reason: reason.to_owned(),
                firing: Vec::new(),
                resolved: Vec::new(),
                held,
                by,
                group_labels: Labels::default(),
                attempt: 0,
                error: String::new(),
                took_ms: 0,
                answer: String::new(),
            }
        };
        reasons.into_iter().map(row).collect()
    }

    /// What the fallback of a receiver is owed, if it has one.
    pub fn fallback(&self, owed: &Owed, id: u128, now_ms: i64) -> Vec<(Owed, Rate)> {
        let Some(receiver) = self.plan.fallback(&owed.key.receiver) else { return Vec::new() };
        let is_question = owed.reason == Reason::Scheduled;
        let integrations = self.dispatcher.integrations(&receiver, &owed.key.group).enumerate();
        let integrations = integrations.filter(|(_, (key, _))| !is_question || key.kind.takes_answers());
        let of = Some(Arc::clone(&owed.key.receiver));
        let owed = |(nth, (key, integration)): (usize, (Key, &Integration))| {
            let destination = Arc::clone(&integration.destination);
            let id = id.wrapping_add(nth as u128);
            let (since_ms, is_digest) = (integration.due_ms(now_ms), integration.digest.is_some());
            // It was told nothing of it yet.
            let firing = owed.alerts.iter().filter(|(_, alert)| !alert.is_resolved(now_ms));
            let untold = owed.untold.iter().chain(firing.map(|(fingerprint, _)| fingerprint)).copied().collect();
            let owed = Owed { since_ms, is_digest, untold, failures: 0, merged: Vec::new(), ..owed.clone() };
            let owed = Owed { id, key, destination, ..owed };
            // A fallback has no fallback of its own: two that name each other would tell each other for ever.
            let owed = Owed { fell_back: true, fallback_of: of.clone(), ..owed };
            if is_question { scheduled::by(integration, owed, now_ms) } else { (owed, integration.rate) }
        };
        integrations.map(owed).collect()
    }
}

impl Things {
    /// An attempt with its alerts as they are now, and what was answered before.
    pub fn current(&self, mut attempt: Attempt) -> (Attempt, Vec<Option<String>>) {
        let all = match &mut attempt {
            Attempt::One(owed) => std::slice::from_mut(owed),
            Attempt::Summary(all) => all,
        };
        for owed in &mut *all {
            for alert in owed.alerts.values_mut() {
                // Another occurrence is told by itself.
                if let Some(now) = self.alerts.get(&alert.labels).filter(|now| now.starts_ms <= alert.ends_ms) {
                    *alert = Arc::clone(now);
                }
            }
        }
        let answers = all.iter().map(|owed| self.answers.get(&owed.key).cloned()).collect();
        (attempt, answers)
    }
}

/// A row about an alert that was posted.
pub(super) fn posted_row(alert: &Alert, reason: &'static str, now_ms: i64) -> AlertRow {
    AlertRow {
        at_ms: now_ms,
        state: if alert.is_resolved(now_ms) { State::Resolved } else { State::Firing },
        reason: reason.into(),
        source: rows::API.into(),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        value: None,
        active_ms: Some(alert.starts_ms),
        starts_ms: Some(alert.starts_ms),
        ends_ms: Some(alert.ends_ms),
        keep_firing_ms: None,
        generator_url: Arc::clone(&alert.generator_url),
        run: "".into(),
    }
}
