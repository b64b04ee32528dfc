//! Incidents that a receiver keeps of our groups: who took one, and whether that still holds.
//!
//! Fed with what receivers tell us, by whoever checked that it was them; asked by the dispatcher before it repeats itself. Invariants: a step
//! that comes twice counts once; one that is older than what is known changes nothing; of a group and integration the last step is kept, and
//! forgotten with the group.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{outbox::Key, rows::Event};

/// Steps of one moment that are told apart; a receiver has one, or two, in a millisecond.
const AT_ONCE_MAX: usize = 16;

/// What happened to an incident at its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The key of the incident, as its receiver was told it.
    pub dedup_key: String,
    /// What happened: [`Event::Acknowledged`], [`Event::Unacknowledged`] or [`Event::Closed`].
    pub event: Event,
    /// When, milliseconds.
    pub at_ms: i64,
    /// Who did it; empty if it is not said.
    pub by: String,
    /// Is that a person, and no program?
    pub is_person: bool,
    /// Names the step, which may come twice.
    pub id: u128,
}

/// The last steps of incidents, by group and integration.
#[derive(Debug, Clone, Default)]
pub struct Incidents(HashMap<Key, Last>);

#[derive(Debug, Clone)]
struct Last {
    event: Event,
    by: Arc<str>,
    at_ms: i64,
    /// Of all steps of this time.
    ids: Vec<u128>,
}

impl Incidents {
    /// Is a step one that is not known, and not older than what is?
    #[must_use]
    pub fn is_news(&self, key: &Key, at_ms: i64, id: u128) -> bool {
        self.0.get(key).is_none_or(|last| at_ms > last.at_ms || (at_ms == last.at_ms && !last.ids.contains(&id)))
    }

    /// Takes a step in that is written down.
    pub fn put(&mut self, key: Key, event: Event, by: &str, (at_ms, id): (i64, u128)) {
        let before = self.0.remove(&key).filter(|last| last.at_ms == at_ms && last.ids.len() < AT_ONCE_MAX);
        let ids = before.map(|last| last.ids).unwrap_or_default().into_iter().chain([id]).collect();
        self.0.insert(key, Last { event, by: by.into(), at_ms, ids });
    }

    /// Who has taken the incident, if somebody has.
    #[must_use]
    pub fn taken_by(&self, key: &Key) -> Option<&Arc<str>> {
        self.0.get(key).filter(|last| last.event == Event::Acknowledged).map(|last| &last.by)
    }

    /// Forgets all that are not wanted.
    pub fn retain(&mut self, is_wanted: impl Fn(&Key) -> bool) {
        self.0.retain(|key, _| is_wanted(key));
    }

    /// Forgets one, because its group has ended.
    pub fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::receiver::ReceiverKind;

    #[test]
    fn a_step_counts_once_and_in_its_order() {
        let key = Key { group: "g".into(), receiver: "r".into(), kind: ReceiverKind::Webhook, integration: 0 };
        let mut incidents = Incidents::default();
        assert!(incidents.is_news(&key, 5, 1));
        incidents.put(key.clone(), Event::Acknowledged, "Ann", (5, 1));
        assert_eq!(incidents.taken_by(&key).unwrap().as_ref(), "Ann");
        assert!(!incidents.is_news(&key, 5, 1), "the same again");
        assert!(!incidents.is_news(&key, 4, 2), "older");
        assert!(incidents.is_news(&key, 5, 2), "another of the same moment");
        incidents.put(key.clone(), Event::Unacknowledged, "Ann", (5, 2));
        assert_eq!(incidents.taken_by(&key), None);
        assert!(!incidents.is_news(&key, 5, 1) && !incidents.is_news(&key, 5, 2));
        incidents.forget(&key);
        assert!(incidents.is_news(&key, 1, 1));
    }
}
