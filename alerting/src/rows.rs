//! What is written down: changes of alerts, steps of notifications, changes of silences.
//!
//! Made by the rule evaluator, the dispatcher and the API; turned into rows of the datasets of the same names, and back at start, by whoever
//! implements [`Record`]. Times are milliseconds since the epoch.

use std::{borrow::Cow, future::Future, pin::Pin, sync::Arc};

use crate::{
    Labels, Result,
    alert::{Instance, Phase, Transition},
    alerts::Alert,
    outbox::Key,
    silence::Silence,
};

/// Source of alerts that were posted.
pub const API: &str = "api";

/// What an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its condition holds, not for long enough.
    Pending,
    /// It fires.
    Firing,
    /// It fired.
    Resolved,
    /// Its condition held, and does not any more.
    Inactive,
}

impl State {
    /// As it is written.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Inactive => "inactive",
        }
    }

    /// As it was written.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        [Self::Pending, Self::Firing, Self::Resolved, Self::Inactive].into_iter().find(|state| state.text() == text)
    }
}

/// Why there is a row of an alert: its rule was evaluated.
pub const EVALUATED: Cow<'static, str> = Cow::Borrowed("evaluated");

/// Why there is a row of an alert: to say how it is, so that a start has not to read far back.
pub const SNAPSHOT: Cow<'static, str> = Cow::Borrowed("snapshot");

/// One change of one alert, or how an active one is.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    /// When it changed.
    pub at_ms: i64,
    /// What it is now.
    pub state: State,
    /// Why there is a row.
    pub reason: Cow<'static, str>,
    /// Its rule, or `api`.
    pub source: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// What people read.
    pub annotations: Labels,
    /// Value of the expression.
    pub value: Option<f64>,
    /// Since when its condition holds.
    pub active_ms: Option<i64>,
    /// Since when it fires.
    pub starts_ms: Option<i64>,
    /// When it ended, or will be taken for ended.
    pub ends_ms: Option<i64>,
    /// Since when it fires only because it is to be kept firing.
    pub keep_firing_ms: Option<i64>,
    /// Where to look.
    pub generator_url: Arc<str>,
    /// Empty for what happened; the name of a replay for what would have.
    pub run: Arc<str>,
}

impl AlertRow {
    /// A change of an alert that is evaluated here, and how it is now. Its source and where to look are for the caller to say.
    #[must_use]
    pub fn changed(change: &Transition, instance: Option<&Instance>) -> Self {
        let state = match (change.to, change.from) {
            (Some(Phase::Pending), _) => State::Pending,
            (Some(Phase::Firing), _) => State::Firing,
            (Some(Phase::Resolved), _) | (None, Some(Phase::Firing)) => State::Resolved,
            (None, _) => State::Inactive,
        };
        Self {
            at_ms: change.at_ms,
            state,
            reason: EVALUATED,
            source: Arc::default(),
            labels: change.labels.clone(),
            annotations: instance.map(|instance| instance.annotations.clone()).unwrap_or_default(),
            value: instance.map(|instance| instance.value),
            active_ms: instance.map(|instance| instance.active_at_ms),
            starts_ms: instance.and_then(|instance| instance.fired_at_ms),
            ends_ms: instance.and_then(|instance| instance.resolved_at_ms),
            keep_firing_ms: instance.and_then(|instance| instance.keep_firing_since_ms),
            generator_url: Arc::default(),
            run: Arc::default(),
        }
    }

    /// The alert as whoever evaluates it goes on with it; none if it is over.
    #[must_use]
    pub fn instance(&self) -> Option<Instance> {
        let phase = match self.state {
            State::Pending => Phase::Pending,
            State::Firing => Phase::Firing,
            State::Resolved | State::Inactive => return None,
        };
        Some(Instance {
            phase,
            active_at_ms: self.active_ms.unwrap_or(self.at_ms),
            fired_at_ms: self.starts_ms,
            resolved_at_ms: None,
            keep_firing_since_ms: self.keep_firing_ms,
            sent_at_ms: None,
            value: self.value.unwrap_or(f64::NAN),
            annotations: self.annotations.clone(),
        })
    }

    /// The alert as people are told of it; none if it never fired. One that fires does so until `until_ms` at least, as nobody could say
    /// otherwise while we were away.
    #[must_use]
    pub fn alert(&self, until_ms: i64) -> Option<Alert> {
        let (ends_ms, is_timeout) = match self.state {
            State::Firing => (self.ends_ms.unwrap_or(until_ms).max(until_ms), true),
            State::Resolved => (self.ends_ms.unwrap_or(self.at_ms).min(self.at_ms), false),
            State::Pending | State::Inactive => return None,
        };
        Some(Alert {
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            starts_ms: self.starts_ms.unwrap_or(self.at_ms),
            ends_ms,
            generator_url: self.generator_url.clone(),
            updated_ms: self.at_ms,
            is_timeout,
            once: false,
        })
    }
}

/// What happened to a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// It is owed.
    Intent,
    /// It was told.
    Sent,
    /// It is tried again.
    Waits,
    /// It is given up.
    Dead,
    /// Nobody is told.
    Kept,
    /// Somebody took the incident that the receiver keeps of it.
    Acknowledged,
    /// Nobody has the incident any more.
    Unacknowledged,
    /// Somebody ended the incident, which says nothing of the alerts.
    Closed,
}

impl Event {
    /// As it is written.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Sent => "sent",
            Self::Waits => "waits",
            Self::Dead => "dead",
            Self::Kept => "kept",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Closed => "closed",
        }
    }

    /// As it was written.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let of_ours = [Self::Intent, Self::Sent, Self::Waits, Self::Dead, Self::Kept];
        let of_theirs = [Self::Acknowledged, Self::Unacknowledged, Self::Closed];
        of_ours.into_iter().chain(of_theirs).find(|event| event.text() == text)
    }
}

/// One step of one notification.
#[derive(Debug, Clone, PartialEq)]
pub struct NotificationRow {
    /// When it happened.
    pub at_ms: i64,
    /// Who is told of which group.
    pub key: Key,
    /// What happened.
    pub event: Event,
    /// Names the intent, or what a receiver told us of its incident; 0 for what is kept.
    pub id: u128,
    /// Why it is told, or kept.
    pub reason: String,
    /// Alerts that fire, by fingerprint.
    pub firing: Vec<u64>,
    /// Alerts that ended.
    pub resolved: Vec<u64>,
    /// Alerts that fire and are not told.
    pub held: Vec<u64>,
    /// What keeps it, or who did it.
    pub by: Vec<String>,
    /// Labels that its alerts have in common.
    pub group_labels: Labels,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// What went wrong.
    pub error: String,
    /// How long the attempt took, milliseconds.
    pub took_ms: i64,
    /// What the next message needs of the receiver's answer, JSON.
    pub answer: String,
}

/// Rows that are written together, or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Changes of alerts.
    pub alerts: Vec<AlertRow>,
    /// Steps of notifications.
    pub notifications: Vec<NotificationRow>,
    /// Changes of silences, with their times.
    pub silences: Vec<Silence>,
}

impl Rows {
    /// Is there nothing to write?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.notifications.is_empty() && self.silences.is_empty()
    }
}

/// A future that goes to another thread.
pub type Promise<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Writes down. Implemented by the program over its storage.
pub trait Record: Send + Sync {
    /// Returns once rows are durable and visible.
    ///
    /// # Errors
    /// `Unavailable` if they cannot be written now; nothing is then.
    fn append<'a>(&'a self, rows: &'a Rows) -> Promise<'a, Result<()>>;
}
