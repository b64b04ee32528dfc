//! The alerts there are: what was posted, merged by labels.
//!
//! Filled by the rule evaluator and by whoever posts to the API; read by the dispatcher and the API. Invariants: one alert for a set of
//! labels; of overlapping reports of one alert the earliest start and the newest annotations stay; an alert that nobody reports any more
//! ends at its time. Not here: who is told (`dispatch`).
//! Spec: Alertmanager's API v2, `POST /api/v2/alerts`.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{Error, Labels, Result};

/// An alert as it is known. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its identity.
    pub labels: Labels,
    /// What people read.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_ms: i64,
    /// When it ended, or will be taken for ended if nobody reports it again.
    pub ends_ms: i64,
    /// Where to look.
    pub generator_url: Arc<str>,
    /// When it was last reported.
    pub updated_ms: i64,
    /// Is the end a guess, because the report had none?
    pub is_timeout: bool,
    /// Is it told once only, however long it fires?
    pub once: bool,
}

impl Alert {
    /// Has it ended?
    #[must_use]
    pub fn is_resolved(&self, now_ms: i64) -> bool {
        self.ends_ms <= now_ms
    }

    /// One of two reports of the same alert, the other being older or as old.
    fn merged(mut self, older: &Self, now_ms: i64) -> Self {
        self.starts_ms = self.starts_ms.min(older.starts_ms);
        let later = older.ends_ms > self.ends_ms;
        let end_counts = match self.is_resolved(now_ms) {
            // Of two ends that have passed the later one is true.
            true => older.is_resolved(now_ms),
            // A known end counts more than a guess.
            false => !older.is_timeout,
        };
        if later && end_counts {
            self.ends_ms = older.ends_ms;
        }
        self
    }

    fn overlaps(&self, other: &Self) -> bool {
        let within = |ms: i64| other.starts_ms < ms && ms < other.ends_ms;
        within(self.ends_ms) || within(self.starts_ms)
    }
}

/// An alert as it is posted; what is left out is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posted {
    /// Its identity; those that are empty are left out.
    pub labels: Labels,
    /// What people read.
    pub annotations: Labels,
    /// Since when it fires, milliseconds; since now.
    pub starts_ms: Option<i64>,
    /// When it ended or will be taken for ended, milliseconds; after `resolve_timeout` if nobody says so.
    pub ends_ms: Option<i64>,
    /// Where to look.
    pub generator_url: Arc<str>,
}

impl Posted {
    /// The alert that it reports.
    ///
    /// # Errors
    /// `Invalid` if it has no labels, or ends before it starts.
    pub fn alert(self, now_ms: i64, resolve_timeout_ms: i64) -> Result<Alert> {
        let Self { labels, annotations, starts_ms, ends_ms, generator_url } = self;
        if labels.is_empty() {
            return Err(Error::invalid("an alert needs at least one label"));
        }
        let starts_ms = starts_ms.unwrap_or_else(|| ends_ms.map_or(now_ms, |ends_ms| ends_ms.min(now_ms)));
        let (ends_ms, is_timeout) = ends_ms.map_or((now_ms + resolve_timeout_ms, true), |ends_ms| (ends_ms, false));
        if ends_ms < starts_ms {
            let message = format!("an alert starts before it ends: look at startsAt and endsAt labels={labels:?}");
            return Err(Error::invalid(message));
        }
        Ok(Alert {
            labels,
            annotations,
            starts_ms,
            ends_ms,
            generator_url,
            updated_ms: now_ms,
            is_timeout,
            once: false,
        })
    }
}

/// What a report did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The alert began, or began anew.
    Began,
    /// It ended.
    Ended,
    /// It goes on, with other annotations, another start or another source.
    Differs,
    /// It goes on as it was.
    Same,
}

/// All alerts. An ended one stays until it is [swept](Self::sweep).
#[derive(Debug, Default)]
pub struct Alerts(HashMap<Labels, Arc<Alert>>);

impl Alerts {
    /// Takes a report in; gives the alert as it is known now, and what changed.
    pub fn put(&mut self, report: Alert, now_ms: i64) -> (Arc<Alert>, Change) {
        let (alert, change) = self.with(report, now_ms);
        let alert = Arc::new(alert);
        self.0.insert(alert.labels.clone(), Arc::clone(&alert));
        (alert, change)
    }

    /// The alert as it would be known with a report, and what would change.
    #[must_use]
    pub fn with(&self, report: Alert, now_ms: i64) -> (Alert, Change) {
        let old = self.0.get(&report.labels);
        let alert = match old {
            Some(old) if report.overlaps(old) && old.updated_ms > report.updated_ms => {
                Alert::clone(old).merged(&report, now_ms)
            }
            Some(old) if report.overlaps(old) => report.merged(old, now_ms),
            _ => report,
        };
        let was_firing = old.is_some_and(|old| !old.is_resolved(now_ms));
        let change = match (was_firing, alert.is_resolved(now_ms), old) {
            (true, true, _) => Change::Ended,
            (false, false, _) => Change::Began,
            (_, _, Some(old)) if old.says_the_same(&alert) => Change::Same,
            _ => Change::Differs,
        };
        (alert, change)
    }

    /// The alert of these labels.
    #[must_use]
    pub fn get(&self, labels: &Labels) -> Option<&Arc<Alert>> {
        self.0.get(labels)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets alerts that ended before a time, unless somebody needs them.
    pub fn sweep(&mut self, before_ms: i64, is_needed: impl Fn(&Labels) -> bool) {
        self.0.retain(|labels, alert| alert.ends_ms > before_ms || is_needed(labels));
    }
}

impl Alert {
    /// Does another report say the same but for when it ends?
    fn says_the_same(&self, other: &Self) -> bool {
        self.annotations == other.annotations
            && self.starts_ms == other.starts_ms
            && self.generator_url == other.generator_url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn posted(starts_ms: Option<i64>, ends_ms: Option<i64>, annotation: &str) -> Posted {
        Posted {
            labels: [("alertname", "a")].into_iter().collect(),
            annotations: [("note", annotation)].into_iter().collect(),
            starts_ms,
            ends_ms,
            generator_url: "".into(),
        }
    }

    fn alert(starts_ms: i64, ends_ms: Option<i64>, annotation: &str, now_ms: i64) -> Alert {
        posted(Some(starts_ms), ends_ms, annotation).alert(now_ms, 300_000).unwrap()
    }

    #[test]
    fn what_a_report_leaves_out_is_found_out() {
        let open = posted(None, None, "x").alert(NOW_MS, 300_000).unwrap();
        assert_eq!((open.starts_ms, open.ends_ms, open.is_timeout), (NOW_MS, NOW_MS + 300_000, true));
        let ended = posted(None, Some(NOW_MS - 5), "x").alert(NOW_MS, 300_000).unwrap();
        assert_eq!((ended.starts_ms, ended.ends_ms, ended.is_timeout), (NOW_MS - 5, NOW_MS - 5, false));
        assert!(posted(Some(NOW_MS + 1), Some(NOW_MS), "x").alert(NOW_MS, 0).is_err());
        let nobody = Posted { labels: [("a", "")].into_iter().collect(), ..Posted::default() };
        assert!(nobody.alert(NOW_MS, 0).unwrap_err().message().contains("at least one label"));
    }

    #[test]
    fn overlapping_reports_are_one_alert() {
        let mut alerts = Alerts::default();
        let (_, change) = alerts.put(alert(NOW_MS, None, "first", NOW_MS), NOW_MS);
        assert_eq!(change, Change::Began);
        // Earliest start, newest annotations, and a guessed end is pushed on.
        let (merged, change) = alerts.put(alert(NOW_MS - 10, None, "second", NOW_MS + 50), NOW_MS + 50);
        assert_eq!(
            (merged.starts_ms, merged.annotations.get("note"), change),
            (NOW_MS - 10, "second", Change::Differs)
        );
        let (_, change) = alerts.put(alert(NOW_MS, None, "second", NOW_MS + 60), NOW_MS + 60);
        assert_eq!(change, Change::Same);
        // A known end that is later rules over a guess that is earlier.
        let known = NOW_MS + 900_000;
        alerts.put(alert(NOW_MS, Some(known), "second", NOW_MS + 70), NOW_MS + 70);
        let (merged, _) = alerts.put(alert(NOW_MS, None, "second", NOW_MS + 80), NOW_MS + 80);
        assert_eq!(merged.ends_ms, known);
        // Its end, and what is like it again later, which is another occurrence.
        let (ended, change) = alerts.put(alert(NOW_MS, Some(NOW_MS + 100), "second", NOW_MS + 100), NOW_MS + 100);
        assert_eq!((ended.ends_ms, change), (NOW_MS + 100, Change::Ended));
        let (again, change) = alerts.put(alert(NOW_MS + 200, None, "third", NOW_MS + 200), NOW_MS + 200);
        assert_eq!((again.starts_ms, change), (NOW_MS + 200, Change::Began));
        assert_eq!(alerts.len(), 1);
    }

    #[test]
    fn of_two_ends_that_have_passed_the_later_one_stays() {
        let mut alerts = Alerts::default();
        alerts.put(alert(0, Some(500), "x", NOW_MS), NOW_MS);
        let (merged, _) = alerts.put(alert(0, Some(400), "y", NOW_MS + 1), NOW_MS + 1);
        assert_eq!((merged.ends_ms, merged.annotations.get("note")), (500, "y"));
    }

    #[test]
    fn ended_alerts_are_swept_unless_needed() {
        let mut alerts = Alerts::default();
        alerts.put(alert(0, Some(500), "x", NOW_MS), NOW_MS);
        alerts.sweep(400, |_| false);
        assert_eq!(alerts.len(), 1);
        alerts.sweep(500, |_| true);
        assert_eq!(alerts.len(), 1);
        alerts.sweep(500, |_| false);
        assert!(alerts.is_empty());
    }
}
