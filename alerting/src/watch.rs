//! Watches: alerts that have to arrive again and again, such as the Watchdog of another Prometheus. One that stays away is an alert here.
//!
//! Told by [`Alertmanager`](crate::alertmanager::Alertmanager) what is posted, and asked at each of its steps what changed; changes are on
//! disk before anybody is told, as with rules, whose [`alert::State`] keeps what fires. Invariants: what fired before a start fires until the
//! alert arrives; what did not has `within` from the start, so that a restart is no false alarm; an alert that is posted as ended is no sign
//! of life. Not here: who is told.

use std::sync::Arc;

use crate::{
    ALERTNAME, Labels, Matchers,
    alert::{self, Element, Input, Params, RESEND_MS},
    alerts::Alert,
    rows::{self, AlertRow, Rows},
};

/// How often an active alert is written down again, so that a start has not to read far back.
const SNAPSHOT_MS: i64 = 6 * 3_600_000;

/// What has to arrive, and what is told if it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Name of the alert that fires.
    pub name: String,
    /// What an alert has to be like.
    pub matchers: Matchers,
    /// How often it has to arrive, milliseconds.
    pub within_ms: i64,
    /// Labels of the alert that fires, beside its name.
    pub labels: Labels,
    /// What people read.
    pub annotations: Labels,
    /// Where to look.
    pub generator_url: Arc<str>,
}

/// Watches of a process.
#[derive(Debug, Default)]
pub struct Watches(Vec<Watched>);

/// A watch, and how it goes.
#[derive(Debug, Clone)]
struct Watched {
    watch: Arc<Watch>,
    /// When it arrived, or when waiting for it began; none since a start before which it stayed away.
    seen_ms: Option<i64>,
    alerts: alert::State,
    snapshot_ms: i64,
}

/// How a watch goes, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// When what it waits for arrived, or waiting began, milliseconds; none if it stayed away before the start and since.
    pub seen_ms: Option<i64>,
    /// Does its alert fire?
    pub is_missing: bool,
}

/// What a look at the watches found.
pub(crate) struct Checked {
    /// To be written down.
    pub rows: Rows,
    /// To be told.
    pub alerts: Vec<Alert>,
    after: Vec<Watched>,
}

impl Watch {
    fn source(&self) -> String {
        format!("watch;{}", self.name)
    }

    fn full_labels(&self) -> Labels {
        self.labels.with([(ALERTNAME, self.name.as_str())])
    }
}

impl Watches {
    /// Watches from now on; `known` is what was written down of alerts before.
    #[must_use]
    pub fn new(watches: impl IntoIterator<Item = Watch>, known: &[AlertRow], now_ms: i64) -> Self {
        let watched = |watch: Watch| {
            let (source, labels) = (watch.source(), watch.full_labels());
            let row = known.iter().find(|row| *row.source == *source && row.labels == labels);
            let before = row.and_then(AlertRow::instance).map(|instance| (labels, instance));
            let seen_ms = if before.is_some() { None } else { Some(now_ms) };
            Watched { watch: Arc::new(watch), seen_ms, alerts: before.into_iter().collect(), snapshot_ms: now_ms }
        };
        Self(watches.into_iter().map(watched).collect())
    }

    /// Notes what was posted.
    pub(crate) fn heard(&mut self, alerts: &[Alert], now_ms: i64) {
        for watched in &mut self.0 {
            let is_it = |alert: &Alert| !alert.is_resolved(now_ms) && watched.watch.matchers.matches(&alert.labels);
            if alerts.iter().any(is_it) {
                watched.seen_ms = Some(now_ms);
            }
        }
    }

    /// What there is to write down and to tell at a moment. Nothing changes before [`went`](Self::went).
    pub(crate) fn check(&self, now_ms: i64) -> Checked {
        let mut checked = Checked { rows: Rows::default(), alerts: Vec::new(), after: self.0.clone() };
        for watched in &mut checked.after {
            watched.check(now_ms, &mut checked.rows, &mut checked.alerts);
        }
        checked
    }

    /// What was found is on disk. What arrived meanwhile counts.
    pub(crate) fn went(&mut self, checked: Checked) {
        for (watched, after) in self.0.iter_mut().zip(checked.after) {
            *watched = Watched { seen_ms: watched.seen_ms, ..after };
        }
    }

    /// When there is something to do again, milliseconds.
    pub(crate) fn wakes_ms(&self, now_ms: i64) -> Option<i64> {
        self.0.iter().map(|watched| watched.wakes_ms(now_ms)).min()
    }

    /// How they go.
    pub fn seen(&self) -> impl Iterator<Item = Seen> {
        self.0.iter().map(|watched| Seen {
            name: watched.watch.name.clone(),
            seen_ms: watched.seen_ms,
            is_missing: watched.alerts.active() > 0,
        })
    }
}

impl Watched {
    fn check(&mut self, now_ms: i64, rows: &mut Rows, alerts: &mut Vec<Alert>) {
        let Self { watch, seen_ms, .. } = self;
        let is_missing = seen_ms.is_none_or(|seen_ms| now_ms - seen_ms > watch.within_ms);
        #[expect(clippy::cast_precision_loss, reason = "seconds since something arrived")]
        let element = || Element {
            labels: watch.full_labels(),
            annotations: watch.annotations.clone(),
            value: seen_ms.map_or(f64::NAN, |seen_ms| (now_ms - seen_ms) as f64 / 1000.0),
        };
        let elements = is_missing.then(element).into_iter().collect();
        let input = Input { elements, has_data: true, has_caught_up: true };
        // One element cannot be there twice, and there is no limit.
        let changes = self.alerts.step(now_ms, &input, &Params::default()).unwrap_or_default();
        let is_time = now_ms - self.snapshot_ms >= SNAPSHOT_MS;
        for (labels, instance) in self.alerts.instances() {
            let row = match changes.iter().find(|change| change.labels == *labels) {
                Some(change) => AlertRow::changed(change, Some(instance)),
                None if is_time && instance.is_active() => {
                    let (from, to) = (Some(instance.phase), Some(instance.phase));
                    let same = alert::Transition { labels: labels.clone(), from, to, at_ms: now_ms };
                    AlertRow { reason: rows::SNAPSHOT, ..AlertRow::changed(&same, Some(instance)) }
                }
                None => continue,
            };
            let (source, generator_url) = (watch.source().into(), Arc::clone(&watch.generator_url));
            rows.alerts.push(AlertRow { source, generator_url, ..row });
        }
        if is_time {
            self.snapshot_ms = now_ms;
        }
        let due = self.alerts.due(now_ms, RESEND_MS, RESEND_MS).into_iter();
        alerts.extend(due.map(|due| Alert {
            labels: due.labels,
            annotations: due.annotations,
            starts_ms: due.starts_at_ms,
            ends_ms: due.ends_at_ms,
            generator_url: Arc::clone(&watch.generator_url),
            updated_ms: now_ms,
            is_timeout: false,
            once: false,
        }));
    }

    fn wakes_ms(&self, now_ms: i64) -> i64 {
        let is_told = self.alerts.instances().next().is_some();
        let again_ms = if is_told { now_ms + RESEND_MS } else { i64::MAX };
        let missing_ms = self.seen_ms.map_or(i64::MAX, |seen_ms| seen_ms + self.watch.within_ms + 1);
        if missing_ms > now_ms { again_ms.min(missing_ms) } else { again_ms }
    }
}

#[cfg(test)]
mod tests;
