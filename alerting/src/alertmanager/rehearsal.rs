//! Who would have been told of alerts, by a configuration.
//!
//! Given alerts in order of time, and told how far time has gone on; says what would have been owed then. The same dispatcher, inhibition,
//! times and silences as those of a server; nothing is sent, and every message counts as told.

use super::{Known, Plan, restore, things::Things};
use crate::{alerts::Alert, dedup::Reason, outbox::Key, silence::Silence};

/// How often what is over is forgotten, milliseconds.
const SWEEP_MS: i64 = 3_600_000;

/// A message that would have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When, milliseconds.
    pub at_ms: i64,
    /// To whom, and about which group.
    pub key: Key,
    /// Why.
    pub reason: Reason,
    /// How many alerts it tells of that fire.
    pub firing: usize,
    /// And that ended.
    pub resolved: usize,
}

/// A dispatcher whose time is told.
pub struct Rehearsal {
    things: Things,
    swept_ms: i64,
}

impl Rehearsal {
    /// Without alerts at a time, with the silences that are known.
    #[must_use]
    pub fn new(plan: Plan, silences: Vec<Silence>, now_ms: i64) -> Self {
        Self { things: restore::things(plan, Known { silences, ..Known::default() }, now_ms), swept_ms: now_ms }
    }

    /// Takes alerts at a time up to which everything was [told](Self::until) that would have been.
    pub fn tell(&mut self, alerts: Vec<Alert>, now_ms: i64) {
        for alert in alerts {
            let (alert, _) = self.things.alerts.put(alert, now_ms);
            self.things.take(&alert, now_ms);
        }
    }

    /// What would have been told up to a time, in order.
    pub fn until(&mut self, to_ms: i64) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut last_ms = i64::MIN;
        while let Some(at_ms) = self.things.dispatcher.wakes_ms().filter(|at_ms| *at_ms <= to_ms) {
            // Without an interval a group would be due for ever.
            if at_ms == last_ms {
                break;
            }
            last_ms = at_ms;
            let mut due = {
                let quiet = self.things.quiet(at_ms);
                self.things.dispatcher.due(&quiet, at_ms, || 0)
            };
            for (owed, _) in std::mem::take(&mut due.owed) {
                let resolved = owed.alerts.values().filter(|alert| alert.is_resolved(at_ms)).count();
                messages.push(Message {
                    at_ms,
                    reason: owed.reason,
                    firing: owed.alerts.len() - resolved,
                    resolved,
                    key: owed.key,
                });
            }
            self.things.dispatcher.went(due, at_ms);
            self.sweep(at_ms);
        }
        messages.sort_by(|left, right| {
            (left.at_ms, &left.key.receiver, &left.key.group).cmp(&(right.at_ms, &right.key.receiver, &right.key.group))
        });
        messages
    }

    fn sweep(&mut self, now_ms: i64) {
        if now_ms - self.swept_ms < SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        let things = &mut self.things;
        let kept_ms = things.plan.repeat_ms_max().saturating_mul(2);
        things.dispatcher.sweep(now_ms, kept_ms);
        let dispatcher = &things.dispatcher;
        things.alerts.sweep(now_ms - SWEEP_MS, |labels| dispatcher.has(labels));
    }
}

impl std::fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rehearsal").field("swept_ms", &self.swept_ms).finish_non_exhaustive()
    }
}

impl Message {
    /// Does it only say again what its receiver knows?
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        self.reason == Reason::Repeat
    }
}
