//! What `/metrics` says about remote write: `streamgauge_remote_write_*`.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use storage::{Clock, Latency};

use super::{
    decoded::Version,
    lateness::Lateness,
    refused::Worst,
    reject::Reason,
    report::{Report, SetAside},
};
use crate::Result;

#[derive(Clone)]
pub(crate) struct Metrics {
    samples: IntCounter,
    histograms: IntCounter,
    exemplars: IntCounter,
    metadata: IntCounter,
    rejected: IntCounterVec,
    late: IntCounter,
    duplicates: IntCounter,
    requests: IntCounterVec,
    body_bytes: IntCounter,
    dropped: IntCounterVec,
    pub(crate) failovers: IntCounter,
    pub(crate) clusters: IntGauge,
    pub(crate) series: IntGauge,
    refused: IntCounterVec,
    refused_metric: IntGaugeVec,
    worst: Arc<Mutex<Worst>>,
    pub(crate) latency: Latency,
    pub(crate) lateness: Lateness,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry, clock: Clock, series_max: usize) -> Result<Self> {
        let counter = |name: &str, help: &str| -> Result<IntCounter> {
            let counter = IntCounter::new(format!("streamgauge_remote_write_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec> {
            let counters = IntCounterVec::new(Opts::new(format!("streamgauge_remote_write_{name}"), help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let refused = Opts::new("streamgauge_series_refused_total", "New series refused, by the limit that did.");
        let refused = IntCounterVec::new(refused, &["limit"])?;
        registry.register(Box::new(refused.clone()))?;
        let refused_metric = Opts::new(
            "streamgauge_series_refused_metric",
            "New series refused of the metrics with the most of them, at most so many each.",
        );
        let refused_metric = IntGaugeVec::new(refused_metric, &["metric"])?;
        registry.register(Box::new(refused_metric.clone()))?;
        gauge("streamgauge_series_max", "Series that may be known at once.")?
            .set(i64::try_from(series_max).unwrap_or(i64::MAX));
        let metrics = Self {
            samples: counter("samples_written_total", "Float samples acknowledged, repeated ones included.")?,
            histograms: counter("histograms_written_total", "Native histograms acknowledged, repeated ones included.")?,
            exemplars: counter("exemplars_written_total", "Exemplars acknowledged, repeated ones included.")?,
            metadata: counter("metadata_written_total", "Changes of metric metadata written.")?,
            rejected: counters("rejected_total", "Parts of requests refused, by reason.", &["reason"])?,
            late: counter("late_total", "Samples, histograms and exemplars not newer than the last of their series.")?,
            duplicates: counter("duplicates_total", "Samples, histograms and exemplars that were stored already.")?,
            requests: counters(
                "requests_total",
                "Requests answered, by message version and status.",
                &["version", "code"],
            )?,
            body_bytes: counter("body_bytes_total", "Compressed bytes of the bodies received.")?,
            dropped: counters("dropped_total", "Parts of requests acknowledged and not kept, by rule.", &["reason"])?,
            failovers: counter("ha_failovers_total", "Replicas elected in place of one that was silent.")?,
            clusters: gauge("streamgauge_remote_write_ha_clusters", "Clusters of which a replica is elected.")?,
            series: gauge("streamgauge_series", "Series known to admission.")?,
            refused,
            refused_metric,
            worst: Arc::default(),
            lateness: Lateness::register(registry, clock.clone())?,
            latency: Latency::register(
                registry,
                clock,
                "streamgauge_remote_write_latency_seconds",
                "Time from a request's headers to its answer.",
            )?,
        };
        // Shown from the start, so that an alert on them needs no `or vector(0)`.
        for reason in Reason::ALL {
            metrics.rejected.with_label_values(&[reason.name()]);
        }
        for reason in ["relabel", "replica"] {
            metrics.dropped.with_label_values(&[reason]);
        }
        for limit in ["series_max", "series_per_metric_max"] {
            metrics.refused.with_label_values(&[limit]);
        }
        Ok(metrics)
    }

    pub(crate) fn received(&self, body_bytes: usize) {
        self.body_bytes.inc_by(u64::try_from(body_bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn rejected(&self, report: &Report) {
        for (reason, count) in Reason::ALL.iter().zip(report.rejects.counts) {
            if count > 0 {
                self.rejected.with_label_values(&[reason.name()]).inc_by(count);
            }
        }
    }

    /// Counts the series that there was no room for, and tells the log from time to time.
    pub(crate) fn refused(&self, report: &Report, now_ms: i64) {
        let refused = &report.refused;
        if refused.total() == 0 {
            return;
        }
        self.refused.with_label_values(&["series_max"]).inc_by(refused.by_tenant);
        self.refused.with_label_values(&["series_per_metric_max"]).inc_by(refused.by_metric);
        let mut worst = self.worst.lock();
        worst.add(refused, |metric, count| match count {
            Some(count) => {
                self.refused_metric.with_label_values(&[metric]).set(i64::try_from(count).unwrap_or(i64::MAX))
            }
            // It was shown, so it can be removed.
            None => drop(self.refused_metric.remove_label_values(&[metric])),
        });
        if let Some(series) = worst.tell(now_ms) {
            let most = refused.metrics.iter().max_by_key(|(_, count)| *count);
            let metric = most.map_or("", |(metric, _)| metric);
            tracing::warn!(metric, series, "new series are refused; {}", report.rejects.first().unwrap_or_default());
        }
    }

    pub(crate) fn written(&self, report: &Report) {
        self.set_aside("relabel", &report.dropped);
        self.set_aside("replica", &report.replicated);
        self.samples.inc_by(report.samples_written);
        self.histograms.inc_by(report.histograms_written);
        self.exemplars.inc_by(report.exemplars_written);
        self.metadata.inc_by(report.metadata_written);
        self.late.inc_by(report.late);
        self.duplicates.inc_by(report.duplicates);
    }

    fn set_aside(&self, reason: &str, parts: &SetAside) {
        if parts.total() > 0 {
            self.dropped.with_label_values(&[reason]).inc_by(parts.total());
        }
    }

    pub(crate) fn answered(&self, version: Option<Version>, code: u16) {
        let version = match version {
            Some(Version::V1) => "1.0",
            Some(Version::V2) => "2.0",
            None => "unknown",
        };
        self.requests.with_label_values(&[version, &code.to_string()]).inc();
    }
}
