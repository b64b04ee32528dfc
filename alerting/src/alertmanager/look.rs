//! What there is at a moment, for whoever asks.

use std::sync::Arc;

use super::{Plan, things::Things};
use crate::{alerts::Alert, dispatch::Group, silence::Silence};

/// What there is at a moment. Everything waits while somebody looks: what takes time is done with copies, after.
pub struct Look<'a> {
    things: &'a Things,
    /// The moment, milliseconds.
    pub now_ms: i64,
}

impl<'a> Look<'a> {
    pub(super) fn new(things: &'a Things, now_ms: i64) -> Self {
        Self { things, now_ms }
    }

    /// How alerts are routed.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.things.plan
    }

    /// All alerts, in no order.
    pub fn alerts(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.things.alerts.iter()
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
