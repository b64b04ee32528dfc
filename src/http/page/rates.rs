//! What the server's counters say, and how fast they went of late.
//!
//! A task of the process ([`Rates::run`]) notes a few counters from time to time, so that whoever opens the page sees rates and how they
//! went, and not numbers since the start. Bound: `NOTES_MAX` notes. Not here: metrics for Prometheus, which has a store for this.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus::{Registry, proto::MetricFamily};
use storage::Clock;

/// Between two notes. Short enough that what a sender began is seen at the next look, long enough to cost nothing.
const EVERY: Duration = Duration::from_secs(10);
/// Ten minutes.
const NOTES_MAX: usize = 61;

/// The counters that are noted, with what they count.
pub(super) const NOTED: [(&str, &str); 6] = [
    ("samples", "streamgauge_remote_write_samples_written_total"),
    ("histograms", "streamgauge_remote_write_histograms_written_total"),
    ("refused", "streamgauge_remote_write_rejected_total"),
    ("bytes of the log", "streamgauge_wal_bytes_total"),
    ("SQL queries and questions of PromQL", "streamgauge_query_queries_total"),
    ("requests", "streamgauge_http_requests_total"),
];

/// All metrics at a moment.
pub(super) struct Look(Vec<MetricFamily>);

impl Look {
    /// Looks at all metrics.
    pub(super) fn at(registry: &Registry) -> Self {
        Self(registry.gather())
    }

    /// Each value of a counter or gauge, with the value of one of its labels; empty without that label.
    pub(super) fn by(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let family = self.0.iter().filter(|family| family.name() == name);
        let value = |metric: &prometheus::proto::Metric| {
            let labels = metric.get_label().iter();
            let of = labels.filter(|pair| pair.name() == label).map(|pair| pair.value().to_owned()).next();
            // Of what a metric is not there is an empty one, which is 0.
            (of.unwrap_or_default(), metric.get_counter().get_value() + metric.get_gauge().get_value())
        };
        family.flat_map(|family| family.get_metric().iter().map(value)).collect()
    }

    /// The sum over all labels; none if there is no such metric.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        let values = self.by(name, "");
        (!values.is_empty()).then(|| values.iter().map(|(_, value)| value).sum())
    }
}

/// Counters at a time, microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Note {
    at_us: i64,
    counts: [f64; NOTED.len()],
}

/// How fast counters went. Cheap to clone; clones share the notes.
#[derive(Clone)]
pub struct Rates {
    notes: Arc<Mutex<VecDeque<Note>>>,
    registry: Registry,
    clock: Clock,
}

/// How fast a counter went.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rate {
    /// What is counted.
    pub what: &'static str,
    /// Over the last minute, or since the first note, a second.
    pub now: f64,
    /// When a stretch between two notes began, seconds since the epoch, and how fast it went then.
    pub before: Vec<(f64, f64)>,
}

impl Rates {
    /// Counters of `registry`; the first note is now.
    #[must_use]
    pub fn new(registry: Registry, clock: Clock) -> Self {
        let rates = Self { notes: Arc::default(), registry, clock };
        rates.note();
        rates
    }

    /// Notes them for ever.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.note();
        }
    }

    fn note(&self) {
        let look = Look::at(&self.registry);
        let note = self.note_of(&look);
        let mut notes = self.notes.lock();
        notes.push_back(note);
        if notes.len() > NOTES_MAX {
            notes.pop_front();
        }
    }

    fn note_of(&self, look: &Look) -> Note {
        Note { at_us: self.clock.now_us(), counts: NOTED.map(|(_, name)| look.sum(name).unwrap_or(0.0)) }
    }

    /// How fast each went, up to a look of now.
    pub(super) fn shown(&self, look: &Look) -> Vec<Rate> {
        let mut notes: Vec<Note> = self.notes.lock().iter().copied().collect();
        notes.push(self.note_of(look));
        NOTED.iter().enumerate().map(|(at, (what, _))| rate(what, &notes, |note| note.counts[at])).collect()
    }
}

fn rate(what: &'static str, notes: &[Note], count: impl Fn(&Note) -> f64) -> Rate {
    /// What is now, microseconds.
    const NOW_US: i64 = 60_000_000;
    let between = |from: &Note, to: &Note| {
        let seconds = seconds(to.at_us - from.at_us);
        // A clock that is set back makes no rates.
        if seconds > 0.0 { (count(to) - count(from)) / seconds } else { 0.0 }
    };
    let last = notes.last();
    let now = last.and_then(|last| {
        let recent = notes.iter().find(|note| last.at_us - note.at_us <= NOW_US)?;
        Some(between(recent, last))
    });
    let before = notes.windows(2).map(|pair| (seconds(pair[0].at_us), between(&pair[0], &pair[1]))).collect();
    Rate { what, now: now.unwrap_or(0.0), before }
}

#[expect(clippy::cast_precision_loss, reason = "times of today are exact to a millisecond")]
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use prometheus::{IntCounterVec, IntGauge, Opts};

    use super::*;

    #[tokio::test]
    async fn a_rate_is_that_of_the_last_minute_and_notes_are_bounded() {
        let (registry, now_us) = (Registry::new(), Arc::new(AtomicI64::new(0)));
        let requests = IntCounterVec::new(Opts::new(NOTED[5].1, "x"), &["code"]).unwrap();
        registry.register(Box::new(requests.clone())).unwrap();
        let clock = Arc::clone(&now_us);
        let rates = Rates::new(registry.clone(), Clock::new(move || clock.load(Ordering::Relaxed)));
        for _ in 0..2 * NOTES_MAX {
            now_us.fetch_add(10_000_000, Ordering::Relaxed);
            requests.with_label_values(&["200"]).inc_by(15);
            requests.with_label_values(&["500"]).inc_by(5);
            rates.note();
        }
        let shown = rates.shown(&Look::at(&registry));
        let requests = &shown[5];
        assert_eq!((requests.what, requests.now, requests.before.len()), ("requests", 2.0, NOTES_MAX));
        assert!(shown[0].now == 0.0, "what nobody counts went at no rate");
    }

    #[test]
    fn values_are_found_by_label() {
        let registry = Registry::new();
        let files = prometheus::IntGaugeVec::new(Opts::new("files", "x"), &["dataset"]).unwrap();
        files.with_label_values(&["samples"]).set(3);
        files.with_label_values(&["costs"]).set(4);
        registry.register(Box::new(files)).unwrap();
        let one = IntGauge::new("one", "x").unwrap();
        one.set(1);
        registry.register(Box::new(one)).unwrap();
        let look = Look::at(&registry);
        assert_eq!(look.by("files", "dataset"), [("costs".to_owned(), 4.0), ("samples".to_owned(), 3.0)]);
        assert_eq!((look.sum("files"), look.sum("one"), look.sum("none")), (Some(7.0), Some(1.0), None));
    }
}
