//! Reaches other Alertmanagers.
//!
//! Made by the service of the settings; `alerting::forward` says what is posted when. Invariants: an Alertmanager of the settings is reached
//! wherever it is, on loopback and on private networks too: who writes the settings may as well log in to this machine, while what a file of
//! receivers says may come from a team; it is told in the log once that one does not take alerts, and once that it does again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use alerting::{
    alerts::Alert,
    forward::{Forward, Reach, Relabelled, request, verdict},
    outbox::Verdict,
    rows::Promise,
};
use anyhow::Result;
use chrono::DateTime;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use storage::Clock;
use tracing::{info, warn};

use super::carrier::Carrier;
use crate::config::outbound::{Other, Others};

/// Metrics of other Alertmanagers, by their addresses, which are those of the settings. Cheap to clone.
#[derive(Clone)]
struct Meter {
    sent: IntCounterVec,
    errors: IntCounterVec,
    dropped: IntCounterVec,
    waits: IntGaugeVec,
    latency: HistogramVec,
}

impl Meter {
    fn register(registry: &Registry) -> Result<Self> {
        const LABELS: [&str; 1] = ["alertmanager"];
        let counter = |name: &str, help: &str| -> Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(format!("streamgauge_alertmanagers_{name}"), help), &LABELS)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let help = "Alerts that wait for an Alertmanager.";
        let waits = IntGaugeVec::new(Opts::new("streamgauge_alertmanagers_queue_length", help), &LABELS)?;
        registry.register(Box::new(waits.clone()))?;
        let help = "How long an Alertmanager took to answer, seconds.";
        let latency =
            HistogramVec::new(HistogramOpts::new("streamgauge_alertmanagers_latency_seconds", help), &LABELS)?;
        registry.register(Box::new(latency.clone()))?;
        Ok(Self {
            sent: counter("sent_total", "Alerts that another Alertmanager has taken.")?,
            errors: counter("errors_total", "Alerts of requests that another Alertmanager has not taken.")?,
            dropped: counter("dropped_total", "Alerts that were refused, or had no room any more.")?,
            waits,
            latency,
        })
    }
}

/// One Alertmanager.
struct Reached {
    other: Arc<Other>,
    carrier: Arc<Carrier>,
    clock: Clock,
    meter: Meter,
    is_away: AtomicBool,
}

/// The Alertmanagers of the settings.
///
/// # Errors
/// If metrics are registered already.
pub fn forward(others: &Others, carrier: &Arc<Carrier>, clock: &Clock, registry: &Registry) -> Result<Forward> {
    let meter = Meter::register(registry)?;
    let reached = |other: &Other| -> (Arc<dyn Reach>, Relabelled) {
        let other = Arc::new(other.clone());
        let (carrier, clock, meter) = (Arc::clone(carrier), clock.clone(), meter.clone());
        let relabelled = Arc::clone(&other);
        let reached = Reached { other, carrier, clock, meter, is_away: AtomicBool::new(false) };
        reached.note(0, 0);
        (Arc::new(reached), Arc::new(move |labels| relabelled.relabelled(labels)))
    };
    Ok(Forward::new(others.active.iter().map(reached)))
}

impl Reach for Reached {
    fn post(&self, alerts: Vec<Arc<Alert>>) -> Promise<'_, Verdict> {
        Box::pin(async move {
            let (labels, count) = ([self.other.url.as_str()], alerts.len() as u64);
            let (other, carrier) = (Arc::clone(&self.other), Arc::clone(&self.carrier));
            let began_us = self.clock.now_us();
            let now = DateTime::from_timestamp_micros(began_us).unwrap_or_default();
            let posted = tokio::task::spawn_blocking(move || {
                let request = request(&other.url, &other.http, other.timeout, &alerts);
                carrier.send(&request.map_err(|error| error.to_string())?, &other.http, now)
            });
            let verdict = match posted.await {
                Ok(Ok(answer)) => verdict(&answer),
                Ok(Err(why)) => Verdict::Failed(why),
                Err(_) => Verdict::Failed("a request broke off; this is a defect of ours".to_owned()),
            };
            #[expect(clippy::cast_precision_loss, reason = "microseconds of a request")]
            let seconds = (self.clock.now_us() - began_us) as f64 / 1e6;
            self.meter.latency.with_label_values(&labels).observe(seconds);
            let counter = if verdict == Verdict::Sent { &self.meter.sent } else { &self.meter.errors };
            counter.with_label_values(&labels).inc_by(count);
            self.tell(&verdict);
            verdict
        })
    }

    fn note(&self, waits: usize, dropped: usize) {
        let labels = [self.other.url.as_str()];
        self.meter.waits.with_label_values(&labels).set(i64::try_from(waits).unwrap_or(i64::MAX));
        self.meter.dropped.with_label_values(&labels).inc_by(dropped as u64);
    }
}

impl Reached {
    fn tell(&self, verdict: &Verdict) {
        let url = &self.other.url;
        match verdict {
            Verdict::Sent if self.is_away.swap(false, Ordering::Relaxed) => {
                info!(url, "an Alertmanager takes alerts again");
            }
            Verdict::Sent => {}
            Verdict::Refused(why) => warn!(url, "an Alertmanager refuses alerts: {why}"),
            Verdict::Failed(why) | Verdict::Limited(_, why) => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    warn!(url, "an Alertmanager does not take alerts, which wait: {why}");
                }
            }
        }
    }
}
