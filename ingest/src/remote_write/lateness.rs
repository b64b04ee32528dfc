//! How long after its time a sample comes: what an evaluation of rules at that time does not see.
//!
//! Filled with what senders send; shown in `/metrics`, and asked by whoever suggests how far behind the clock rules are evaluated.
//!
//! Of each sample that was written its age is counted: the time at which its request was read, less its own time. Ages are counted up to an
//! hour: what is older is a history that is brought in, and no evaluation waits for it. What is suggested is the least of our bounds within
//! which [`SHARE`] of the samples of the last half an hour to an hour came.
//! Not here: what rules write themselves.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto,
};
use storage::Clock;

use super::decoded::Decoded;
use crate::Result;

/// Ages are told apart by these bounds, milliseconds; they are what people write as an offset.
const BOUNDS_MS: [i64; 12] =
    [1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000];
/// How long ages are gathered before those of before are forgotten.
const WINDOW_US: i64 = 1_800_000_000;
/// Of so many samples in a hundred nothing is suggested that leaves out more.
const SHARE: u64 = 99;
/// Fewer samples say nothing.
const SAMPLES_MIN: u64 = 1_000;

/// A number for each bound.
type ByBound = [u64; BOUNDS_MS.len()];

/// Ages of the samples of a request.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    counts: ByBound,
    sum_ms: u64,
    /// The time of the newest sample, milliseconds.
    newest_ms: Option<i64>,
}

/// How late samples came lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// How many samples that is known of.
    pub samples: u64,
    /// How many of them came within some milliseconds, in ascending order; the last is an hour.
    pub within: Vec<(i64, u64)>,
}

/// Counts ages. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lateness {
    clock: Clock,
    seconds: Desc,
    suggested: Desc,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    all: ByBound,
    sum_ms: u64,
    current: ByBound,
    previous: ByBound,
    since_us: i64,
    newest_ms: Option<i64>,
}

impl Ages {
    /// Of what was decoded, at a time.
    pub(crate) fn of(decoded: &Decoded, now_ms: i64) -> Self {
        let mut ages = Self::default();
        let floats = decoded.samples.iter().map(|sample| sample.ts_ms);
        let histograms = decoded.histograms.iter().map(|histogram| histogram.ts_ms);
        // Most of a request are of the same time.
        let (mut last_ms, mut place) = (i64::MIN, None);
        for ts_ms in floats.chain(histograms) {
            if ts_ms != last_ms {
                (last_ms, place) = (ts_ms, BOUNDS_MS.iter().position(|bound| now_ms.saturating_sub(ts_ms) <= *bound));
                ages.newest_ms = ages.newest_ms.max(Some(ts_ms));
            }
            if let Some(place) = place {
                ages.counts[place] += 1;
                ages.sum_ms += now_ms.saturating_sub(ts_ms).max(0).unsigned_abs();
            }
        }
        ages
    }
}

impl Lateness {
    pub(crate) fn register(registry: &Registry, clock: Clock) -> Result<Self> {
        let desc = |name: &str, help: &str| Desc::new(name.into(), help.into(), Vec::new(), [].into());
        let lateness = Self {
            seconds: desc(
                "streamgauge_ingest_lateness_seconds",
                "How long after their time samples come, up to an hour.",
            )?,
            suggested: desc(
                "streamgauge_rule_query_offset_suggested_seconds",
                "Offset of rules within which 99 of 100 samples of the last hour came; 0 if too few did.",
            )?,
            counts: Arc::new(Mutex::new(Counts { since_us: clock.now_us(), ..Counts::default() })),
            clock,
        };
        registry.register(Box::new(lateness.clone()))?;
        Ok(lateness)
    }

    pub(crate) fn observe(&self, ages: &Ages) {
        let mut counts = self.counts.lock();
        counts.rotate(self.clock.now_us());
        counts.sum_ms += ages.sum_ms;
        counts.newest_ms = counts.newest_ms.max(ages.newest_ms);
        for (at, count) in ages.counts.iter().enumerate() {
            counts.all[at] += count;
            counts.current[at] += count;
        }
    }

    pub(crate) fn newest_ms(&self) -> Option<i64> {
        self.counts.lock().newest_ms
    }

    pub(crate) fn late(&self) -> Late {
        let mut counts = self.counts.lock();
        counts.rotate(self.clock.now_us());
        let of_both: Vec<u64> = counts.current.iter().zip(&counts.previous).map(|(one, other)| one + other).collect();
        let within = running(&of_both);
        Late { samples: within.last().copied().unwrap_or(0), within: BOUNDS_MS.into_iter().zip(within).collect() }
    }
}

/// Sums up to each place.
fn running(counts: &[u64]) -> Vec<u64> {
    let sum = |sum: &mut u64, count: &u64| {
        *sum += count;
        Some(*sum)
    };
    counts.iter().scan(0, sum).collect()
}

impl Counts {
    fn rotate(&mut self, now_us: i64) {
        let passed_us = now_us - self.since_us;
        if passed_us >= WINDOW_US {
            self.previous = std::mem::take(&mut self.current);
            if passed_us >= 2 * WINDOW_US {
                self.previous = ByBound::default();
            }
            self.since_us = now_us;
        }
    }
}

impl Late {
    /// How far behind the clock rules miss little, milliseconds; `None` if too few samples came to tell.
    #[must_use]
    pub fn suggested_ms(&self) -> Option<i64> {
        if self.samples < SAMPLES_MIN {
            return None;
        }
        let is_most = |count: u64| u128::from(count) * 100 >= u128::from(self.samples) * u128::from(SHARE);
        self.within.iter().find(|(_, count)| is_most(*count)).map(|(bound, _)| *bound)
    }
}

impl Collector for Lateness {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.seconds, &self.suggested]
    }

    #[allow(clippy::cast_precision_loss, reason = "shown as seconds; 53 bits are enough")]
    fn collect(&self) -> Vec<proto::MetricFamily> {
        let (all, sum_ms) = {
            let counts = self.counts.lock();
            (counts.all, counts.sum_ms)
        };
        let cumulative = running(&all);
        let buckets = BOUNDS_MS.iter().zip(&cumulative).map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e3);
            bucket.set_cumulative_count(*count);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(cumulative.last().copied().unwrap_or(0));
        histogram.set_sample_sum(sum_ms as f64 / 1e3);
        let mut gauge = proto::Gauge::default();
        gauge.set_value(self.late().suggested_ms().unwrap_or(0) as f64 / 1e3);
        let family = |desc: &Desc, kind: proto::MetricType, metric: proto::Metric| {
            let mut family = proto::MetricFamily::default();
            family.set_name(desc.fq_name.clone());
            family.set_help(desc.help.clone());
            family.set_field_type(kind);
            family.set_metric(vec![metric]);
            family
        };
        let (mut ages, mut suggested) = (proto::Metric::default(), proto::Metric::default());
        ages.set_histogram(histogram);
        suggested.set_gauge(gauge);
        vec![
            family(&self.seconds, proto::MetricType::HISTOGRAM, ages),
            family(&self.suggested, proto::MetricType::GAUGE, suggested),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::remote_write::decoded::Sample;

    fn of(ages_ms: &[(i64, usize)]) -> Ages {
        let samples = ages_ms
            .iter()
            .flat_map(|(age, count)| vec![Sample { ts_ms: 10_000_000 - age, bits: 0, start_ms: 0 }; *count]);
        let mut decoded = Decoded::default();
        decoded.samples.extend(samples);
        Ages::of(&decoded, 10_000_000)
    }

    #[test]
    fn an_offset_is_suggested_within_which_nearly_all_came() {
        let now = Arc::new(AtomicI64::new(0));
        let reads = Arc::clone(&now);
        let registry = Registry::new();
        let lateness = Lateness::register(&registry, Clock::new(move || reads.load(Ordering::Relaxed))).unwrap();
        lateness.observe(&of(&[(400, 900)]));
        assert_eq!(lateness.late().suggested_ms(), None, "too few");
        lateness.observe(&of(&[(-3_000, 90), (4_000, 5), (9_000, 4), (20_000, 1)]));
        // What is older than an hour is a history.
        lateness.observe(&of(&[(3_700_000, 5_000)]));
        let late = lateness.late();
        assert_eq!((late.samples, late.suggested_ms()), (1_000, Some(1_000)));
        lateness.observe(&of(&[(9_000, 100)]));
        assert_eq!(lateness.late().suggested_ms(), Some(10_000));
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("streamgauge_ingest_lateness_seconds_bucket{le=\"10\"} 1099\n"), "{text}");
        assert!(text.contains("streamgauge_ingest_lateness_seconds_count 1100\n"), "{text}");
        assert!(text.contains("streamgauge_rule_query_offset_suggested_seconds 10\n"), "{text}");
        // Half an hour later it still counts, an hour later nothing is known.
        now.store(WINDOW_US, Ordering::Relaxed);
        assert_eq!(lateness.late().samples, 1_100);
        now.store(2 * WINDOW_US, Ordering::Relaxed);
        assert_eq!(lateness.late().samples, 0);
        lateness.observe(&of(&[(100, 1_000)]));
        now.store(5 * WINDOW_US, Ordering::Relaxed);
        assert_eq!(lateness.late().samples, 0);
    }
}
