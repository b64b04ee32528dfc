//! Counts what is told, and shows how much is owed.
//!
//! Invariant: labels are kinds of integrations, which are few.

use alerting::{alertmanager::Alertmanager, outbox::Verdict, watch::Seen};
use anyhow::Result;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::http::status;

/// Metrics of notifications. Cheap to clone.
#[derive(Clone)]
pub struct Meter {
    sent: IntCounterVec,
    failed: IntCounterVec,
    owed: IntGauge,
    alerts: IntGaugeVec,
    watch_seen: GaugeVec,
    watch_missing: IntGaugeVec,
}

impl Meter {
    /// Registers the metrics; among them what clients of Alertmanager look for to know what they speak to.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| -> Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(format!("streamgauge_{name}"), help), &["integration"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let owed = IntGauge::new("streamgauge_notifications_owed", "Messages that wait to be told.")?;
        registry.register(Box::new(owed.clone()))?;
        let help = "Alerts that fire or were resolved not long ago.";
        let alerts = IntGaugeVec::new(Opts::new("streamgauge_alerts", help), &["state"])?;
        registry.register(Box::new(alerts.clone()))?;
        let help =
            "When what a watch waits for arrived last, seconds since the epoch; before that, when waiting began.";
        let watch_seen = GaugeVec::new(Opts::new("streamgauge_watch_seen_timestamp_seconds", help), &["watch"])?;
        registry.register(Box::new(watch_seen.clone()))?;
        let help = "1 while what a watch waits for stays away.";
        let watch_missing = IntGaugeVec::new(Opts::new("streamgauge_watch_missing", help), &["watch"])?;
        registry.register(Box::new(watch_missing.clone()))?;
        let labels = [("version", status::VERSION), ("revision", status::REVISION), ("branch", "")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let help = "Always 1; for clients of Alertmanager, whose API is spoken here.";
        let build = IntGauge::with_opts(Opts::new("alertmanager_build_info", help).const_labels(labels))?;
        build.set(1);
        registry.register(Box::new(build))?;
        Ok(Self {
            sent: counter("notifications_total", "Messages to receivers that were tried.")?,
            failed: counter("notifications_failed_total", "Messages that a receiver did not take.")?,
            owed,
            alerts,
            watch_seen,
            watch_missing,
        })
    }

    /// A message was tried.
    pub fn told(&self, integration: &str, verdict: &Verdict) {
        self.sent.with_label_values(&[integration]).inc();
        self.failed.with_label_values(&[integration]).inc_by(u64::from(*verdict != Verdict::Sent));
    }

    /// Shows how things are.
    pub fn show(&self, manager: &Alertmanager) {
        let (owed, firing, all) = manager.look(|look| {
            let firing = look.alerts().filter(|alert| !alert.is_resolved(look.now_ms)).count();
            (look.owed(), firing, look.alerts().count())
        });
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.owed.set(number(owed));
        self.alerts.with_label_values(&["firing"]).set(number(firing));
        self.alerts.with_label_values(&["resolved"]).set(number(all - firing));
        for Seen { name, seen_ms, is_missing } in manager.watches() {
            self.watch_missing.with_label_values(&[&name]).set(i64::from(is_missing));
            if let Some(seen_ms) = seen_ms {
                #[expect(clippy::cast_precision_loss, reason = "a time of this millennium")]
                self.watch_seen.with_label_values(&[&name]).set(seen_ms as f64 / 1000.0);
            }
        }
    }
}
