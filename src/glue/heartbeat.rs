//! Reports life to a dead man's switch, while evaluation is healthy.
//!
//! Run by the service beside notifications, and ended with them, whatever ends them. Invariants: the first report comes an interval after the
//! start, so that a server that starts again and again is silent; neither an error nor a metric has the address in it. Not here: what is
//! healthy (`alerting::pulse`).

use std::{sync::Arc, time::Duration};

use alerting::{alertmanager::Alertmanager, pulse};
use anyhow::Result;
use chrono::DateTime;
use prometheus::{IntCounter, IntGauge, Registry};
use storage::{Clock, Storage};
use tracing::{info, warn};

use super::{carrier::Carrier, rules::Rules};
use crate::config::outbound::Heartbeat;

/// When to try again what did not arrive: long before a switch of a minute gives up.
const AGAIN: Duration = Duration::from_secs(10);

/// What is looked at, and where to report to.
pub struct Heart {
    /// Of the settings.
    pub settings: Heartbeat,
    /// Reaches any address.
    pub carrier: Arc<Carrier>,
    /// Evaluated.
    pub rules: Rules,
    /// Tells.
    pub manager: Alertmanager,
    /// Keeps rows.
    pub storage: Storage,
    /// What time it is.
    pub clock: Clock,
}

/// Metrics of reports.
pub struct Meter {
    sent: IntCounter,
    failed: IntCounter,
    withheld: IntCounter,
    healthy: IntGauge,
}

impl Meter {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| -> Result<IntCounter> {
            let counter = IntCounter::new(format!("streamgauge_heartbeat_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let healthy = IntGauge::new("streamgauge_heartbeat_healthy", "1 while evaluation is healthy.")?;
        registry.register(Box::new(healthy.clone()))?;
        Ok(Self {
            sent: counter("sent_total", "Heartbeats that arrived.")?,
            failed: counter("failed_total", "Heartbeats that did not arrive.")?,
            withheld: counter("withheld_total", "Heartbeats that were not sent, because evaluation is not healthy.")?,
            healthy,
        })
    }
}

/// What the last report came to, so that only changes are logged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Sent,
    Failed,
    Withheld,
}

impl Heart {
    /// Reports until it is dropped.
    pub async fn run(self, meter: Meter) {
        let (mut last, mut pause) = (Last::Sent, self.settings.every);
        loop {
            tokio::time::sleep(pause).await;
            let (now, told) = match self.ill() {
                Some(why) => (Last::Withheld, why),
                None => match self.send().await {
                    Ok(()) => (Last::Sent, String::new()),
                    Err(why) => (Last::Failed, why),
                },
            };
            meter.healthy.set(i64::from(now != Last::Withheld));
            pause = self.settings.every;
            match now {
                Last::Sent => meter.sent.inc(),
                Last::Withheld => meter.withheld.inc(),
                Last::Failed => {
                    meter.failed.inc();
                    pause = pause.min(AGAIN);
                }
            }
            if now != last {
                match now {
                    Last::Sent => info!("the heartbeat is sent again"),
                    Last::Failed => warn!("the heartbeat does not arrive: {told}"),
                    Last::Withheld => warn!("the heartbeat is withheld: {told}"),
                }
            }
            last = now;
        }
    }

    fn ill(&self) -> Option<String> {
        if let Err(error) = self.storage.healthy() {
            return Some(error.chain());
        }
        pulse::ill(&self.rules.pulses(), self.manager.stepped_ms(), self.clock.now_ms())
    }

    async fn send(&self) -> Result<(), String> {
        let (settings, carrier) = (self.settings.clone(), Arc::clone(&self.carrier));
        let now = DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default();
        let sent = tokio::task::spawn_blocking(move || {
            let request = pulse::request(&settings.url, &settings.http).map_err(|error| error.to_string())?;
            carrier.send(&request, &settings.http, now)
        });
        match sent.await {
            Ok(Ok(answer)) if answer.is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("status {}", answer.status)),
            Ok(Err(why)) => Err(why),
            Err(_) => Err("a request broke off; this is a defect of ours".to_owned()),
        }
    }
}
