//! What there is at a moment, for whoever asks.

use std::sync::Arc;

use super::things::Things;
use crate::{Labels, Route, alerts::Alert, dispatch::Group, inhibit::Sources, silence::Silence};

/// What there is at a moment.
pub struct Look<'a> {
    things: &'a Things,
    sources: Sources<'a>,
    /// The moment, milliseconds.
    pub now_ms: i64,
}

impl<'a> Look<'a> {
    pub(super) fn new(things: &'a Things, now_ms: i64) -> Self {
        Self { things, sources: things.plan.sources(things.alerts.iter(), now_ms), now_ms }
    }

    /// All alerts, in no order.
    pub fn alerts(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.things.alerts.iter()
    }

    /// Where an alert goes.
    #[must_use]
    pub fn ways(&self, alert: &Alert) -> Vec<(Arc<Route>, Labels)> {
        self.things.plan.ways(&alert.labels)
    }

    /// What silences an alert: ids.
    #[must_use]
    pub fn silencing(&self, alert: &Alert) -> Vec<String> {
        self.things.silences.silencing(&alert.labels, self.now_ms)
    }

    /// What inhibits an alert: fingerprints.
    #[must_use]
    pub fn inhibiting(&self, alert: &Alert) -> Vec<u64> {
        self.sources.inhibiting(&alert.labels).into_iter().map(Labels::fingerprint).collect()
    }

    /// What mutes a route: names of times.
    #[must_use]
    pub fn muted(&self, route: &Route) -> Vec<String> {
        self.things.plan.muted(route, self.now_ms)
    }

    /// Groups, in no order.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.things.dispatcher.groups()
    }

    /// All silences, by id.
    pub fn silences(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.things.silences.iter()
    }

    /// The silence of an id.
    #[must_use]
    pub fn silence(&self, id: &str) -> Option<&Arc<Silence>> {
        self.things.silences.get(id)
    }

    /// How many messages are owed.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.things.outbox.len()
    }
}
