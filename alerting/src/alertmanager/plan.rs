//! How alerts are routed, as the configuration says.
//!
//! Made of a configuration whenever it is read; asked for each alert and each flush.

use std::{collections::BTreeMap, sync::Arc};

use chrono::DateTime;

use crate::{
    Config, Labels, Route,
    alerts::Alert,
    dispatch::{Integration, ms},
    inhibit::Sources,
};

/// A configuration, and the integrations of its receivers.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration.
    pub config: Arc<Config>,
    /// Ways to tell, by receiver, in the order of its integrations.
    pub receivers: BTreeMap<Arc<str>, Arc<[Integration]>>,
}

impl Plan {
    /// The routes of an alert, with the labels of its groups.
    #[must_use]
    pub fn ways(&self, labels: &Labels) -> Vec<(Arc<Route>, Labels)> {
        let routes = self.config.routes.matching(labels).into_iter();
        routes.map(|route| (Arc::clone(route), route.group_labels(labels))).collect()
    }

    /// Names of the times that keep a route quiet now: those that mute it, or those outside of which it is.
    #[must_use]
    pub fn muted(&self, route: &Route, now_ms: i64) -> Vec<String> {
        let now = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        let is_now = |name: &&String| {
            self.config.intervals.get(*name).is_some_and(|all| all.iter().any(|interval| interval.contains(now)))
        };
        let muting: Vec<String> = route.mute_time_intervals().iter().filter(is_now).cloned().collect();
        let active = route.active_time_intervals();
        if muting.is_empty() && !active.is_empty() && !active.iter().any(|name| is_now(&name)) {
            return active.to_vec();
        }
        muting
    }

    /// Alerts that may inhibit others.
    #[must_use]
    pub fn sources<'a>(&'a self, alerts: impl Iterator<Item = &'a Arc<Alert>>, now_ms: i64) -> Sources<'a> {
        let active = alerts.filter(move |alert| !alert.is_resolved(now_ms)).map(|alert| &alert.labels);
        Sources::new(&self.config.inhibit_rules, active)
    }

    /// Who is told when a receiver cannot be.
    #[must_use]
    pub fn fallback(&self, receiver: &str) -> Option<Arc<str>> {
        let fallback = self.config.receiver(receiver)?.fallback.as_ref()?;
        Some(fallback.value.as_str().into())
    }

    /// After what time an alert that nobody reports any more has ended, milliseconds.
    #[must_use]
    pub fn resolve_timeout_ms(&self) -> i64 {
        ms(self.config.global().resolve_timeout.0)
    }

    /// The longest time until the same is told again, milliseconds.
    #[must_use]
    pub fn repeat_ms_max(&self) -> i64 {
        self.config.routes.iter().map(|route| ms(route.repeat_interval())).max().unwrap_or_default()
    }
}
