//! A latency distribution with exact quantiles, shown in `/metrics` as a summary.
//!
//! Used by every crate that times something; the caller measures, this only keeps. Quantiles are those of the last one to
//! two minutes, count and sum those since start, as Prometheus' client libraries do it.

use std::sync::Arc;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::Clock;

const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
/// Age at which the current window becomes the previous one.
const WINDOW_US: i64 = 60_000_000;
/// Longest duration told apart; longer ones count as this.
const MAX_US: u64 = 3_600_000_000;

/// A latency distribution. Cheap to clone; clones share the data.
#[derive(Clone)]
pub struct Latency {
    desc: Desc,
    clock: Clock,
    windows: Arc<Mutex<Windows>>,
}

struct Windows {
    current: Histogram<u64>,
    previous: Histogram<u64>,
    since_us: i64,
    count: u64,
    sum_us: u64,
}

impl Latency {
    /// A distribution called `name`, described by `help`, registered in `registry`.
    ///
    /// # Errors
    /// If `name` is no metric name or is registered already.
    pub fn register(
        registry: &prometheus::Registry,
        clock: Clock,
        name: &str,
        help: &str,
    ) -> Result<Self, prometheus::Error> {
        let desc = Desc::new(name.into(), help.into(), Vec::new(), std::collections::HashMap::new())?;
        let empty =
            || Histogram::new_with_bounds(1, MAX_US, 3).map_err(|error| prometheus::Error::Msg(error.to_string()));
        let windows = Windows { current: empty()?, previous: empty()?, since_us: clock.now_us(), count: 0, sum_us: 0 };
        let latency = Self { desc, clock, windows: Arc::new(Mutex::new(windows)) };
        registry.register(Box::new(latency.clone()))?;
        Ok(latency)
    }

    /// Records a duration that began at `start_us` by the same clock and ends now.
    pub fn observe_since(&self, start_us: i64) {
        self.observe_us(u64::try_from(self.clock.now_us() - start_us).unwrap_or(0));
    }

    /// Records a duration.
    pub fn observe_us(&self, duration_us: u64) {
        let now_us = self.clock.now_us();
        let mut windows = self.windows.lock();
        windows.rotate(now_us);
        windows.current.saturating_record(duration_us.max(1));
        windows.count += 1;
        windows.sum_us += duration_us;
    }
}

impl Windows {
    fn rotate(&mut self, now_us: i64) {
        if now_us - self.since_us >= WINDOW_US {
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.reset();
            self.since_us = now_us;
        }
    }
}

impl Collector for Latency {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    #[allow(clippy::cast_precision_loss, reason = "shown as seconds; 53 bits are enough")]
    fn collect(&self) -> Vec<proto::MetricFamily> {
        let (merged, count, sum_us) = {
            let mut windows = self.windows.lock();
            windows.rotate(self.clock.now_us());
            let mut merged = windows.current.clone();
            // Same bounds by construction, so the addition cannot fail.
            let _ = merged.add(&windows.previous);
            (merged, windows.count, windows.sum_us)
        };
        let mut summary = proto::Summary::default();
        summary.set_sample_count(count);
        summary.set_sample_sum(sum_us as f64 / 1e6);
        let quantiles = QUANTILES.map(|q| {
            let mut quantile = proto::Quantile::default();
            quantile.set_quantile(q);
            let value = if merged.is_empty() { f64::NAN } else { merged.value_at_quantile(q) as f64 / 1e6 };
            quantile.set_value(value);
            quantile
        });
        summary.set_quantile(quantiles.to_vec());
        let mut metric = proto::Metric::default();
        metric.set_summary(summary);
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(proto::MetricType::SUMMARY);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
