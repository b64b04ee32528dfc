//! What was left, from what was written down.
//!
//! Called at start. What has an intent and no end is owed; what was owed last is what a receiver knows; what fired is taken to fire until
//! whoever reports it had time to do so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::{HashMap, HashSet};

use super::{Plan, scheduled, things::Things};
use crate::{
    Labels,
    alerts::{Alert, Alerts},
    dedup::{Reason, Told},
    dispatch::{Dispatcher, Integration, Memory},
    incident::Incidents,
    outbox::{Key, Outbox, Owed, Rate},
    rows::{AlertRow, Event, NotificationRow},
    schedule::{Schedule, Schedules, Slot},
    silence::{self, Silence, Silences},
};

/// What is known of before: rows as they were written, oldest first.
#[derive(Debug, Default)]
pub struct Known {
    /// The last change of each alert.
    pub alerts: Vec<AlertRow>,
    /// Ends of alerts, also those that began anew since; as far back as a digest goes.
    pub ends: Vec<AlertRow>,
    /// Steps of notifications.
    pub notifications: Vec<NotificationRow>,
    /// Silences as they are.
    pub silences: Vec<Silence>,
    /// How much a silence may silence from now on.
    pub limits: silence::Limits,
    /// How long before its end somebody is reminded of a silence, milliseconds; 0 for never.
    pub remind_before_ms: i64,
    /// Questions that are asked at times from now on.
    pub schedules: Vec<Schedule>,
    /// The last row of each question that names a slot.
    pub slots: Vec<NotificationRow>,
}

/// Where goes what was owed to an integration that is not configured any more.
const NOBODY: &str = "nobody";

/// Everything as it was.
pub(super) fn things(plan: Plan, known: Known, now_ms: i64) -> Things {
    let Known { alerts: rows, ends, notifications, silences, limits, remind_before_ms, schedules, slots } = known;
    let mut alerts = Alerts::default();
    let mut history = History::default();
    // Whoever reports alerts does so every minute or so; none is taken for ended before it had time for it.
    let grace_ms = now_ms + plan.resolve_timeout_ms();
    for row in rows {
        let Some(alert) = row.alert(grace_ms) else { continue };
        history.last.insert(alert.labels.fingerprint(), Arc::new(alert.clone()));
        alerts.put(alert, now_ms);
    }
    for alert in ends.into_iter().filter_map(|row| row.alert(grace_ms)) {
        history.ends.entry(alert.labels.fingerprint()).or_default().push(Arc::new(alert));
    }
    let fallen = fallen(&notifications);
    let Left { memory, owed, answers } = Left::of(notifications);
    let dispatcher = Dispatcher::new(plan.receivers.clone(), memory);
    let mut outbox = Outbox::default();
    for intent in owed {
        let nobody = Integration {
            kind: intent.row.key.kind,
            destination: NOBODY.into(),
            sends_resolved: true,
            rate: Rate { every_ms: 0, burst: 1, takes_summaries: false },
            digest: None,
            hears_of_silence: false,
        };
        // What is not configured any more is refused when it is tried: that is written down, and a fallback is told.
        let integration = dispatcher.integration(&intent.row.key).unwrap_or(&nobody);
        let (at_ms, owed) = (intent.row.at_ms, owes(intent, integration, &history));
        let is_question = owed.reason == Reason::Scheduled;
        let (owed, rate) = if is_question {
            let fell_back = owed.fell_back || fallen.contains(&owed.key.group);
            scheduled::by(integration, Owed { fell_back, ..owed }, at_ms)
        } else {
            (owed, integration.rate)
        };
        outbox.owe(owed, rate);
    }
    let silences = Silences::new(limits, silences);
    let schedules = Schedules::new(schedules, &slots, now_ms);
    let plan = Arc::new(plan);
    let mut things = Things { plan, alerts, dispatcher, silences, remind_before_ms, outbox, schedules, answers };
    let known: Vec<Arc<Alert>> = things.alerts.iter().cloned().collect();
    // Also those that ended: somebody may know of them as firing.
    known.iter().for_each(|alert| things.take(alert, now_ms));
    things
}

/// What steps of notifications leave.
struct Left {
    /// What receivers know.
    memory: Memory,
    /// What they are owed.
    owed: Vec<Intent>,
    /// What they said of the last message of a key.
    answers: HashMap<Key, String>,
}

impl Left {
    /// Of steps, oldest first.
    fn of(notifications: Vec<NotificationRow>) -> Self {
        let (mut told, mut owed, mut answers) = (HashMap::<Key, Told>::new(), Vec::<Intent>::new(), HashMap::new());
        // Intents of which each key was told last, by id.
        let mut last: HashMap<Key, u128> = HashMap::new();
        let mut incidents = Incidents::default();
        for row in notifications {
            let reason = reason_of(&row);
            let is_of_alerts = reason.is_of_alerts();
            match row.event {
                Event::Intent => {
                    if is_of_alerts {
                        // What was taken before was another incident.
                        let has_ended = row.firing.is_empty() && row.held.is_empty();
                        if has_ended || reason == Reason::First {
                            incidents.forget(&row.key);
                        }
                    }
                    let before = told.get(&row.key);
                    let is_new = |fingerprint: &&u64| before.is_none_or(|told| !told.firing.contains(*fingerprint));
                    let untold = row.firing.iter().filter(is_new).copied().collect();
                    if is_of_alerts {
                        told.insert(row.key.clone(), knows(&row, before));
                        last.insert(row.key.clone(), row.id);
                    } else if reason == Reason::Silenced
                        && let Some(told) = told.get_mut(&row.key)
                    {
                        told.is_silenced = true;
                    }
                    owed.push(Intent { row, untold });
                }
                // A part of it was told, if there is an answer.
                Event::Waits if !row.answer.is_empty() => drop(answers.insert(row.key, row.answer)),
                Event::Waits | Event::Kept => {}
                Event::Acknowledged | Event::Unacknowledged | Event::Closed => {
                    let by = row.by.first().map(String::as_str).unwrap_or_default();
                    if row.event == Event::Unacknowledged
                        && let Some(told) = told.get_mut(&row.key)
                    {
                        told.is_silenced = false;
                    }
                    incidents.put(row.key, row.event, by, (row.at_ms, row.id));
                }
                Event::Sent | Event::Dead => {
                    let ended = owed.iter().position(|intent| intent.row.id == row.id).map(|nth| owed.remove(nth));
                    if row.event == Event::Dead {
                        if is_of_alerts && last.get(&row.key) == Some(&row.id) {
                            told.remove(&row.key);
                        }
                        let after = owed.iter_mut().filter(|intent| intent.row.key == row.key && is_of_alerts);
                        let lost = ended.map(|intent| intent.untold).unwrap_or_default();
                        after.for_each(|intent| intent.untold.extend(&lost));
                    } else if !row.answer.is_empty() {
                        answers.insert(row.key, row.answer);
                    }
                }
            }
        }
        Self { memory: Memory { told, incidents }, owed, answers }
    }
}

/// Something that was owed, and the alerts of which its receiver had not been told as firing.
struct Intent {
    row: NotificationRow,
    untold: BTreeSet<u64>,
}

fn knows(row: &NotificationRow, before: Option<&Told>) -> Told {
    Told {
        at_ms: row.at_ms,
        began_ms: Told::began_ms(before, row.at_ms),
        firing: row.firing.iter().chain(&row.held).copied().collect(),
        resolved: row.resolved.iter().copied().collect(),
        is_silenced: false,
    }
}

/// Alerts by fingerprint.
#[derive(Default)]
struct History {
    /// As they were last.
    last: HashMap<u64, Arc<Alert>>,
    /// As they ended, oldest first.
    ends: HashMap<u64, Vec<Arc<Alert>>>,
}

impl History {
    /// An alert that fired, or had ended, at a time.
    fn at(&self, fingerprint: u64, at_ms: i64, is_firing: bool) -> Option<&Arc<Alert>> {
        let ends = self.ends.get(&fingerprint).map(Vec::as_slice).unwrap_or_default();
        let (before, after) = ends.split_at(ends.partition_point(|alert| alert.updated_ms <= at_ms));
        let then = if is_firing { after.first().filter(|alert| alert.starts_ms <= at_ms) } else { before.last() };
        then.or_else(|| self.last.get(&fingerprint))
    }
}

fn owes(Intent { row, untold }: Intent, integration: &Integration, history: &History) -> Owed {
    let firing = row.firing.iter().map(|fingerprint| (*fingerprint, true));
    let all = firing.chain(row.resolved.iter().map(|fingerprint| (*fingerprint, false)));
    let known = all.filter_map(|(fingerprint, is_firing)| {
        Some((fingerprint, Arc::clone(history.at(fingerprint, row.at_ms, is_firing)?)))
    });
    let reason = reason_of(&row);
    let key = row.key;
    Owed {
        id: row.id,
        destination: Arc::clone(&integration.destination),
        group_labels: row.group_labels,
        route_labels: Labels::default(),
        merged: Vec::new(),
        reason,
        by: row.by.first().map(|by| by.as_str().into()),
        alerts: known.collect(),
        untold,
        held: row.held.into_iter().collect(),
        past: BTreeMap::new(),
        since_ms: integration.due_ms(row.at_ms),
        is_digest: integration.digest.is_some(),
        failures: 0,
        // One that was told because another one could not be has nobody behind it.
        fell_back: row.reason.starts_with("fallback") || reason.is_remark(),
        fallback_of: None,
        key,
    }
}

/// Questions of which a fallback was owed the answer: it is not owed it once more.
fn fallen(notifications: &[NotificationRow]) -> HashSet<Arc<str>> {
    let is_fallback = |row: &&NotificationRow| row.event == Event::Intent && row.reason.starts_with("fallback");
    let groups = notifications.iter().filter(is_fallback).map(|row| Arc::clone(&row.key.group));
    groups.filter(|group| Slot::of(group).is_some()).collect()
}

/// Why somebody is told; of a question also where its row says that somebody else could not be.
fn reason_of(row: &NotificationRow) -> Reason {
    Slot::of(&row.key.group).map_or_else(|| Reason::of(&row.reason), |_| Reason::Scheduled)
}
