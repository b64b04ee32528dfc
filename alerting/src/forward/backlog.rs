//! What waits for one Alertmanager: the newest state of each alert, in the order in which alerts came.
//!
//! Filled and emptied by `forward`. Invariant: what is replaced while it is on the way stays, and is sent again.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;

use crate::{Labels, alerts::Alert};

/// Alerts of one request, as Prometheus 2 sent them: any Alertmanager and any proxy takes it.
pub(super) const BATCH: usize = 64;
/// Alerts that wait: ten times what Prometheus keeps, as rules may have as many.
const ALERTS_MAX: usize = 100_000;
/// Their bytes.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of an alert beside its texts.
const ALERT_BYTES: usize = 256;

/// Alerts that wait.
#[derive(Debug)]
pub(super) struct Backlog {
    alerts: BTreeMap<u64, Arc<Alert>>,
    places: HashMap<Labels, u64>,
    next: u64,
    bytes: usize,
    alerts_max: usize,
    bytes_max: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self::bounded(ALERTS_MAX, BYTES_MAX)
    }
}

impl Backlog {
    pub fn bounded(alerts_max: usize, bytes_max: usize) -> Self {
        Self { alerts: BTreeMap::new(), places: HashMap::new(), next: 0, bytes: 0, alerts_max, bytes_max }
    }

    /// Takes an alert, in place of what was known of it; gives how many had to go for it.
    pub fn put(&mut self, alert: Arc<Alert>) -> usize {
        // It keeps its place: one that changes all the time is sent nevertheless.
        let next = self.next;
        let place = *self.places.entry(alert.labels.clone()).or_insert(next);
        self.next += u64::from(place == next);
        self.bytes += bytes(&alert);
        if let Some(old) = self.alerts.insert(place, alert) {
            self.bytes -= bytes(&old);
        }
        let mut dropped = 0;
        while self.alerts.len() > self.alerts_max || (self.bytes > self.bytes_max && self.alerts.len() > 1) {
            let Some((_, oldest)) = self.alerts.pop_first() else { break };
            self.places.remove(&oldest.labels);
            self.bytes -= bytes(&oldest);
            dropped += 1;
        }
        dropped
    }

    /// What goes next.
    pub fn batch(&self, most: usize) -> Vec<Arc<Alert>> {
        self.alerts.values().take(most).cloned().collect()
    }

    /// Forgets what has been sent, or was refused.
    pub fn done(&mut self, batch: &[Arc<Alert>]) {
        for sent in batch {
            let Some(place) = self.places.get(&sent.labels).copied() else { continue };
            if self.alerts.get(&place).is_some_and(|now| Arc::ptr_eq(now, sent)) {
                self.alerts.remove(&place);
                self.places.remove(&sent.labels);
                self.bytes -= bytes(sent);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.alerts.len()
    }
}

fn bytes(alert: &Alert) -> usize {
    ALERT_BYTES + alert.labels.bytes() + alert.annotations.bytes() + alert.generator_url.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(instance: &str, ends_ms: i64) -> Arc<Alert> {
        let labels = [("alertname", "a"), ("instance", instance)].into_iter().collect();
        Arc::new(Alert {
            labels,
            annotations: Labels::default(),
            starts_ms: 0,
            ends_ms,
            generator_url: Arc::default(),
            updated_ms: 0,
            is_timeout: false,
            once: false,
        })
    }

    fn waits(backlog: &Backlog) -> Vec<(String, i64)> {
        backlog.batch(BATCH).iter().map(|alert| (alert.labels.get("instance").to_owned(), alert.ends_ms)).collect()
    }

    #[test]
    fn the_newest_state_of_an_alert_waits_in_its_place() {
        let mut backlog = Backlog::default();
        for (instance, ends_ms) in [("1", 10), ("2", 10), ("1", 20), ("3", 10), ("1", 5)] {
            assert_eq!(backlog.put(alert(instance, ends_ms)), 0);
        }
        assert_eq!(waits(&backlog), [("1".into(), 5), ("2".into(), 10), ("3".into(), 10)]);
    }

    #[test]
    fn what_changes_on_the_way_is_sent_again() {
        let mut backlog = Backlog::default();
        backlog.put(alert("1", 10));
        backlog.put(alert("2", 10));
        let under_way = backlog.batch(BATCH);
        backlog.put(alert("1", 5));
        backlog.done(&under_way);
        assert_eq!(waits(&backlog), [("1".into(), 5)]);
        backlog.done(&backlog.batch(BATCH));
        assert_eq!((backlog.len(), backlog.bytes, backlog.places.len()), (0, 0, 0));
        // What was dropped meanwhile is not missed.
        backlog.done(&under_way);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut backlog = Backlog::bounded(2, 1 << 20);
        let dropped: Vec<usize> = ["1", "2", "3", "2"].iter().map(|name| backlog.put(alert(name, 10))).collect();
        assert_eq!((dropped, waits(&backlog)), (vec![0, 0, 1, 0], vec![("2".into(), 10), ("3".into(), 10)]));
        let mut small = Backlog::bounded(100, 2 * (ALERT_BYTES + 30));
        let dropped: usize = ["1", "2", "3"].iter().map(|name| small.put(alert(name, 10))).sum();
        assert_eq!((dropped, small.len()), (1, 2));
        // One that is larger than all there may be is sent nevertheless.
        let mut tiny = Backlog::bounded(100, 1);
        assert_eq!((tiny.put(alert("1", 10)), tiny.len()), (0, 1));
    }
}
