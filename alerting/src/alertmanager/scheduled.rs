//! Questions that are due, as something that is owed.
//!
//! Called with each step. An answer goes a way of its own to where its integration's alerts go: a question may take minutes, and nobody who is
//! called at night waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::things::Things;
use crate::{
    Labels,
    dedup::Reason,
    dispatch::Integration,
    outbox::{Key, Owed, Rate},
    rows::{Event, NotificationRow},
    schedule::{Schedule, Slot, Turn},
};

/// Shortest time between two answers to one destination, milliseconds: so that one is under way there.
const EVERY_MS_MIN: i64 = 1_000;

/// Something owed of a question, by the way that an integration has for answers, from a time on.
pub(super) fn by(integration: &Integration, owed: Owed, since_ms: i64) -> (Owed, Rate) {
    let destination = format!("answers: {}", integration.destination).into();
    let rate = Rate { every_ms: integration.rate.every_ms.max(EVERY_MS_MIN), burst: 1, takes_summaries: false };
    (Owed { destination, since_ms, is_digest: false, ..owed }, rate)
}

impl Things {
    /// What receivers are owed of questions that have come to something, and rows about what they are not.
    pub fn scheduled(
        &self,
        turns: &[Turn],
        mut id: impl FnMut() -> u128,
        now_ms: i64,
    ) -> (Vec<(Owed, Rate)>, Vec<NotificationRow>) {
        let (mut owed, mut rows) = (Vec::new(), Vec::new());
        for Turn { schedule, due, kept, .. } in turns {
            if let Some(slot) = due {
                owed.extend(self.ways(schedule, slot).map(|(key, integration)| {
                    by(integration, Owed { id: id(), ..self::owed(key, schedule, slot) }, now_ms)
                }));
            }
            if let Some((slot, why)) = kept {
                let key = self.ways(schedule, slot).next().map(|(key, _)| key);
                rows.extend(key.map(|key| NotificationRow {
                    error: why.clone(),
                    ..Self::row(&self::owed(key, schedule, slot), Event::Kept, now_ms)
                }));
            }
        }
        (owed, rows)
    }

    /// The integrations that are told of a slot.
    fn ways<'a>(
        &'a self,
        schedule: &'a Schedule,
        slot: &Slot,
    ) -> impl Iterator<Item = (Key, &'a Integration)> + use<'a> {
        let all = self.dispatcher.integrations(&schedule.receiver, &slot.group());
        all.filter(|(key, _)| key.kind.takes_answers())
    }
}

fn owed(key: Key, schedule: &Schedule, slot: &Slot) -> Owed {
    Owed {
        id: 0,
        key,
        destination: Arc::default(),
        group_labels: slot.labels(),
        route_labels: Labels::default(),
        merged: Vec::new(),
        reason: Reason::Scheduled,
        by: Some(schedule.times.to_string().into()),
        alerts: BTreeMap::new(),
        untold: BTreeSet::new(),
        held: BTreeSet::new(),
        past: BTreeMap::new(),
        since_ms: 0,
        is_digest: false,
        failures: 0,
        fell_back: false,
        fallback_of: None,
    }
}
