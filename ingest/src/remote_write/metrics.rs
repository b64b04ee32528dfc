//! What `/metrics` says about remote write: `streamgauge_remote_write_*`.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use storage::{Clock, Latency};

use super::{admit::Report, decoded::Version, reject::Reason};
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
    pub(crate) series: IntGauge,
    pub(crate) latency: Latency,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry, clock: Clock) -> Result<Self> {
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
        let series = IntGauge::new("streamgauge_remote_write_series", "Series known to admission.")?;
        registry.register(Box::new(series.clone()))?;
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
            series,
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

    pub(crate) fn written(&self, report: &Report) {
        self.samples.inc_by(report.samples_written);
        self.histograms.inc_by(report.histograms_written);
        self.exemplars.inc_by(report.exemplars_written);
        self.metadata.inc_by(report.metadata_written);
        self.late.inc_by(report.late);
        self.duplicates.inc_by(report.duplicates);
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
