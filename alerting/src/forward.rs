//! Hands alerts on to other Alertmanagers, as Prometheus does.
//!
//! Filled by [`Alertmanager::tell`](crate::alertmanager::Alertmanager::tell) with alerts of rules and watches, whose changes are on disk
//! already; a loop for each Alertmanager sends what waits for it. Invariants: every Alertmanager has every alert, whatever becomes of the
//! others; what waits for one is the newest state of each alert, so that an end is not lost while it is away; it is bounded, the oldest goes
//! first, and that is counted; a request is tried again with a pause, at most as long as the time after which whoever reports alerts does so
//! again. Not here: alerts that were posted, whose senders know other Alertmanagers themselves, and which two servers would hand to each
//! other for ever; how requests travel ([`Reach`]). What waits is no rows: a rule tells of an alert every minute, and of its end for a quarter
//! of an hour, also after a start ([`Forward::restore`]).
//! Spec: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#alertmanager_config>

mod backlog;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use self::backlog::{BATCH, Backlog};
use crate::{
    Labels, Result,
    alert::{RESEND_MS, RESOLVED_KEPT_MS},
    alerts::Alert,
    config::{http::HttpConfig, values::Timeout},
    http::time::Time,
    notify::{Answer, Request, http},
    outbox::Verdict,
    rows::{API, AlertRow, Promise, State},
};

/// First pause after a failure, milliseconds; it doubles with each.
const PAUSE_MS: i64 = 1_000;
/// The longest: by then whoever reports alerts has done so again.
const PAUSE_MS_MAX: i64 = RESEND_MS;

/// Where alerts are posted, below what an Alertmanager's address may begin with.
pub const PATH: &str = "/api/v2/alerts";

/// What becomes of an alert's labels on the way to an Alertmanager; none if it is not sent.
pub type Relabelled = Arc<dyn Fn(&Labels) -> Option<Labels> + Send + Sync>;

/// How an Alertmanager is reached. Implemented by the program.
pub trait Reach: Send + Sync {
    /// Posts alerts.
    fn post(&self, alerts: Vec<Arc<Alert>>) -> Promise<'_, Verdict>;

    /// So many alerts wait now, and so many more were dropped: because there were too many, or because they were refused.
    fn note(&self, waits: usize, dropped: usize);
}

/// Other Alertmanagers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Forward(Arc<[Peer]>);

/// An Alertmanager, and what waits for it.
struct Peer {
    relabelled: Relabelled,
    reach: Arc<dyn Reach>,
    backlog: Mutex<Backlog>,
    /// Something waits.
    wake: Notify,
    is_closing: AtomicBool,
    /// Is told to send what waits at once, for the last time.
    close: Notify,
    closed: Notify,
}

impl Forward {
    /// To these Alertmanagers.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = (Arc<dyn Reach>, Relabelled)>) -> Self {
        let peer = |(reach, relabelled)| Peer {
            relabelled,
            reach,
            backlog: Mutex::default(),
            wake: Notify::new(),
            is_closing: AtomicBool::new(false),
            close: Notify::new(),
            closed: Notify::new(),
        };
        Self(peers.into_iter().map(peer).collect())
    }

    /// Takes alerts for everybody.
    pub fn put(&self, alerts: &[Alert]) {
        for peer in &*self.0 {
            peer.put(alerts);
        }
    }

    /// Takes up what ended shortly before a start: nobody else reports it again.
    pub fn restore(&self, rows: &[AlertRow], now_ms: i64) {
        // A rule that was moved has another name, under which the same alert may have begun anew.
        let mut last: HashMap<&Labels, &AlertRow> = HashMap::new();
        for row in rows.iter().filter(|row| &*row.source != API) {
            let known = last.entry(&row.labels).or_insert(row);
            if known.at_ms < row.at_ms {
                *known = row;
            }
        }
        let is_recent = |row: &&&AlertRow| now_ms.saturating_sub(row.at_ms) <= RESOLVED_KEPT_MS;
        let ended = last.values().filter(|row| row.state == State::Resolved).filter(is_recent);
        let mut ended: Vec<Alert> = ended.filter_map(|row| row.alert(now_ms)).collect();
        ended.sort_by_key(|alert| alert.ends_ms);
        self.put(&ended);
    }

    /// Sends what waits, until [`close`](Self::close).
    pub async fn run(&self) {
        join_all(self.0.iter().map(Peer::run)).await;
    }

    /// Tries once more to send what waits, and returns when that is done or has failed. [`run`](Self::run) ends then.
    pub async fn close(&self) {
        for peer in &*self.0 {
            peer.is_closing.store(true, Ordering::Relaxed);
            peer.close.notify_one();
        }
        join_all(self.0.iter().map(|peer| peer.closed.notified())).await;
    }
}

impl Peer {
    fn put(&self, alerts: &[Alert]) {
        let mut backlog = self.backlog.lock();
        let mut dropped = 0;
        for alert in alerts {
            if let Some(labels) = (self.relabelled)(&alert.labels).filter(|labels| !labels.is_empty()) {
                dropped += backlog.put(Arc::new(Alert { labels, ..alert.clone() }));
            }
        }
        self.reach.note(backlog.len(), dropped);
        drop(backlog);
        self.wake.notify_one();
    }

    async fn run(&self) {
        let mut pace = Pace { failures: 0, batch: BATCH };
        loop {
            let batch = self.backlog.lock().batch(pace.batch);
            let is_closing = self.is_closing.load(Ordering::Relaxed);
            if batch.is_empty() {
                if is_closing {
                    break;
                }
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = self.close.notified() => {}
                }
                continue;
            }
            let verdict = self.reach.post(batch.clone()).await;
            let Some(pause) = self.ended(&batch, &verdict, &mut pace) else { continue };
            if is_closing {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.close.notified() => {}
            }
        }
        self.closed.notify_one();
    }

    /// Notes what became of a batch; gives the pause before the next.
    fn ended(&self, batch: &[Arc<Alert>], verdict: &Verdict, pace: &mut Pace) -> Option<Duration> {
        let mut backlog = self.backlog.lock();
        let pause_ms = pace.after(verdict, batch.len());
        let is_refused = matches!(verdict, Verdict::Refused(_)) && batch.len() == 1;
        if is_refused || *verdict == Verdict::Sent {
            backlog.done(batch);
        }
        self.reach.note(backlog.len(), usize::from(is_refused));
        pause_ms.map(|ms| Duration::from_millis(ms.unsigned_abs()))
    }
}

/// How fast an Alertmanager is told.
struct Pace {
    /// Failures since something was taken.
    failures: u32,
    /// Alerts of the next request.
    batch: usize,
}

impl Pace {
    /// The pause after a request of so many alerts, milliseconds.
    fn after(&mut self, verdict: &Verdict, alerts: usize) -> Option<i64> {
        match verdict {
            Verdict::Sent => {
                *self = Self { failures: 0, batch: (self.batch * 2).min(BATCH) };
                None
            }
            // One of them is wrong, or all are too long: it is found by halves, so that it does not cost its neighbours.
            Verdict::Refused(_) => {
                *self = Self { failures: 0, batch: (alerts / 2).max(1) };
                None
            }
            Verdict::Failed(_) => {
                let doubled = PAUSE_MS << self.failures.min(16);
                self.failures += 1;
                Some(doubled.min(PAUSE_MS_MAX))
            }
            Verdict::Limited(after_ms, _) => Some((*after_ms).clamp(PAUSE_MS, PAUSE_MS_MAX)),
        }
    }
}

/// An alert as it is posted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Postable<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: Time,
    ends_at: Time,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

impl<'a> Postable<'a> {
    fn of(alert: &'a Alert) -> Self {
        let Alert { labels, annotations, starts_ms, ends_ms, generator_url, .. } = alert;
        Self { labels, annotations, starts_at: Time(*starts_ms), ends_at: Time(*ends_ms), generator_url }
    }
}

/// The request that posts alerts to an address that ends in [`PATH`].
///
/// # Errors
/// `Unavailable` if a secret cannot be read.
pub fn request(url: &str, http: &HttpConfig, timeout: Duration, alerts: &[Arc<Alert>]) -> Result<Request> {
    let body = http::json(&alerts.iter().map(|alert| Postable::of(alert)).collect::<Vec<_>>())?;
    http::post_json(url.to_owned(), body, Some(http), Some(Timeout(timeout)))
}

/// What an answer means. Only what is said of these very alerts is final: they would be refused again. A wrong password or path is mended by
/// somebody, and until then they wait.
#[must_use]
pub fn verdict(answer: &Answer) -> Verdict {
    let status = answer.status;
    match status {
        200..300 => Verdict::Sent,
        400 | 413 | 422 => Verdict::Refused(format!("status {status}: {}", answer.text())),
        429 => Verdict::Limited(answer.retry_after_ms.unwrap_or(http::LIMITED_MS), format!("status {status}")),
        _ => Verdict::Failed(format!("status {status}")),
    }
}
