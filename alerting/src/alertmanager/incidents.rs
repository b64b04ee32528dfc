//! What receivers tell us of the incidents they keep: it is written down, and whoever else was told of the group may hear of it.
//!
//! Called by the endpoints of receivers' webhooks, after they checked who speaks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Alertmanager, things::Things};
use crate::{
    Labels, Result,
    config::receiver::ReceiverKind,
    dedup::Reason,
    incident::Step,
    notify,
    outbox::{Key, Owed, Rate},
    rows::{Event, NotificationRow, Rows},
};

/// So far may the clock of a receiver be behind ours, milliseconds.
const SKEW_MS: i64 = 60_000;

impl Alertmanager {
    /// Takes a step of an incident; gives to how many integrations of ours it is news. Returns when it is on disk.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written down: whoever tells it tells it again.
    pub async fn incident(&self, step: &Step) -> Result<usize> {
        let inner = &self.0;
        let _in_order = inner.steps.lock().await;
        let (keys, remarks, rows) = {
            let things = inner.state.lock();
            let now_ms = (inner.outside.now_ms)();
            let keys = things.keys_of(step);
            let remarks: Vec<_> =
                keys.iter().flat_map(|key| things.remarks(key, step, || (inner.outside.random)(), now_ms)).collect();
            let steps = keys.iter().map(|key| things.step_row(key, step));
            let intents = remarks.iter().map(|(owed, _)| Things::row(owed, Event::Intent, now_ms));
            let rows = Rows { notifications: steps.chain(intents).collect(), ..Rows::default() };
            (keys, remarks, rows)
        };
        if keys.is_empty() {
            return Ok(0);
        }
        inner.outside.record.append(&rows).await?;
        let mut things = inner.state.lock();
        for key in &keys {
            things.dispatcher.incidents_mut().put(key.clone(), step.event, &step.by, (step.at_ms, step.id));
            if step.event == Event::Unacknowledged {
                things.dispatcher.given_up(key);
            }
        }
        remarks.into_iter().for_each(|(owed, rate)| things.outbox.owe(owed, rate));
        drop(things);
        inner.wake.notify_one();
        Ok(keys.len())
    }
}

impl Things {
    /// Groups and integrations whose incident it is, and to whom the step is news.
    fn keys_of(&self, step: &Step) -> Vec<Key> {
        let answer = notify::pagerduty::answer(&step.dedup_key);
        let is_its = |(key, known): &(&Key, &String)| **known == answer && key.kind == ReceiverKind::PagerDuty;
        let keys = self.answers.iter().filter(is_its).map(|(key, _)| key);
        // The incident before has the same name: what is sent once more of it says nothing of this one.
        let is_of_now = |key: &&Key| {
            let told = self.dispatcher.knows(key);
            told.is_none_or(|told| step.at_ms >= told.began_ms - SKEW_MS)
        };
        let keys = keys.filter(is_of_now);
        // What we acknowledge ourselves comes back to us, perhaps late. Nobody has it for that: it is silenced, and is told again after that.
        let hears = |key: &Key| self.dispatcher.integration(key).is_some_and(|of| of.hears_of_silence);
        let is_ours = step.event == Event::Acknowledged && !step.is_person;
        if is_ours && self.answers.iter().filter(is_its).any(|(key, _)| hears(key)) {
            return Vec::new();
        }
        keys.filter(|key| self.dispatcher.incidents().is_news(key, step.at_ms, step.id)).cloned().collect()
    }

    fn step_row(&self, key: &Key, step: &Step) -> NotificationRow {
        let told = self.dispatcher.knows(key);
        NotificationRow {
            at_ms: step.at_ms,
            key: key.clone(),
            event: step.event,
            id: step.id,
            reason: "at the receiver".to_owned(),
            firing: told.map(|told| told.firing.iter().copied().collect()).unwrap_or_default(),
            resolved: Vec::new(),
            held: Vec::new(),
            by: Some(step.by.clone()).filter(|by| !by.is_empty()).into_iter().collect(),
            group_labels: self.labels_of(key),
            attempt: 0,
            error: String::new(),
            took_ms: 0,
            answer: String::new(),
        }
    }

    fn labels_of(&self, key: &Key) -> Labels {
        self.dispatcher
            .groups()
            .find(|group| group.key == key.group)
            .map(|group| group.labels.clone())
            .unwrap_or_default()
    }

    /// What others are owed who have a message about the same group to which a remark can be added.
    fn remarks(&self, key: &Key, step: &Step, id: impl Fn() -> u128, now_ms: i64) -> Vec<(Owed, Rate)> {
        let reason = match step.event {
            Event::Acknowledged => Reason::Acknowledged,
            Event::Unacknowledged => Reason::Unacknowledged,
            _ => Reason::Closed,
        };
        let others = self.answers.iter().filter(|(other, answer)| {
            other.group == key.group && other.kind == ReceiverKind::Slack && notify::slack::has_message(answer)
        });
        let remark = |other: &Key| {
            let integration = self.dispatcher.integration(other)?;
            let owed = Owed {
                id: id(),
                key: other.clone(),
                destination: Arc::clone(&integration.destination),
                group_labels: self.labels_of(key),
                route_labels: Labels::default(),
                merged: Vec::new(),
                reason,
                by: Some(step.by.as_str().into()).filter(|by: &Arc<str>| !by.is_empty()),
                alerts: BTreeMap::new(),
                untold: BTreeSet::new(),
                // The group has not ended.
                held: self.dispatcher.knows(other).map(|told| told.firing.clone()).unwrap_or_default(),
                past: BTreeMap::new(),
                since_ms: now_ms,
                is_digest: false,
                failures: 0,
                // Nobody is told that a remark could not be made.
                fell_back: true,
                fallback_of: None,
            };
            Some((owed, integration.rate))
        };
        others.filter_map(|(other, _)| remark(other)).collect()
    }
}
