//! What Alertmanager does, with everything that must not be lost on disk first.
//!
//! Called by the API and by the rule evaluator with alerts, and run beside the server: a loop that wakes when a group is due or a message may
//! go out. Invariants: an intent is on disk before anybody is told, and its outcome after; alerts and silences are on disk before whoever sent
//! them has an answer; the lock is never held across a wait. Not here: what a clock says, how rows are kept ([`Record`]), how messages
//! travel ([`Deliver`]), how alerts are routed ([`Plan`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    Error, Result,
    alerts::{Alert, Change, Posted},
    dispatch::Dispatcher,
    forward::Forward,
    outbox::{Attempt, Fate, Verdict},
    pulse,
    rows::{Event, NotificationRow, Promise, Record, Rows},
    silence::Silence,
    watch::{Seen, Watches},
};

mod incidents;
mod look;
mod plan;
mod rehearsal;
mod reminders;
mod restore;
mod scheduled;
mod things;

pub use look::Look;
pub use plan::Plan;
pub use rehearsal::{Message, Rehearsal};
pub use restore::Known;
use things::{Things, posted_row};

/// How long an ended alert stays, so that whoever asks sees it.
const ENDED_KEPT_MS: i64 = 900_000;
/// How long an expired silence stays in memory; the table has all of them.
const SILENCES_KEPT_MS: i64 = 5 * 86_400_000;
/// How often what is over is forgotten.
const SWEEP: Duration = Duration::from_millis(pulse::STEP_MS.unsigned_abs());
/// When to try again what could not be written down.
const AGAIN: Duration = Duration::from_secs(1);

/// Alerts that are taken while others wait: some milliseconds, and all that a rule has.
const AT_ONCE: usize = 1_000;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// What the receiver answered.
    pub verdict: Verdict,
    /// What the next message to it needs, JSON.
    pub answer: String,
}

/// Tells receivers. Implemented over notifiers and whatever carries their requests.
pub trait Deliver: Send + Sync {
    /// Sends a message; `answers` are those of the messages before, by key.
    fn deliver<'a>(&'a self, attempt: &'a Attempt, answers: Vec<Option<String>>) -> Promise<'a, Delivered>;
}

/// What it needs of the world.
pub struct Outside {
    /// Writes down.
    pub record: Arc<dyn Record>,
    /// Tells.
    pub deliver: Arc<dyn Deliver>,
    /// Milliseconds since the epoch.
    pub now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Random numbers.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// Other Alertmanagers.
    pub forward: Forward,
    /// What has to arrive.
    pub watches: Watches,
}

/// Alerts, silences and notifications of a process. Cheap to clone.
#[derive(Clone)]
pub struct Alertmanager(Arc<Inner>);

struct Inner {
    state: Mutex<Things>,
    outside: Outside,
    watches: Mutex<Watches>,
    wake: Notify,
    /// When what is to be done was last done, milliseconds.
    stepped_ms: AtomicI64,
    /// Steps of incidents are written down one after the other: what comes twice is seen to.
    steps: tokio::sync::Mutex<()>,
    /// Messages under way; none once it is closed, and nobody is told any more.
    under_way: Mutex<Option<JoinSet<()>>>,
}

impl Alertmanager {
    /// Goes on where it was left.
    #[must_use]
    pub fn open(plan: Plan, known: Known, mut outside: Outside) -> Self {
        let now_ms = (outside.now_ms)();
        let watches = Mutex::new(std::mem::take(&mut outside.watches));
        let state = Mutex::new(restore::things(plan, known, now_ms));
        let (stepped_ms, steps) = (AtomicI64::new(now_ms), tokio::sync::Mutex::default());
        let under_way = Mutex::new(Some(JoinSet::new()));
        Self(Arc::new(Inner { state, outside, watches, wake: Notify::new(), stepped_ms, steps, under_way }))
    }

    /// Routes by another configuration from now on.
    pub fn reload(&self, plan: Plan) {
        let now_ms = (self.0.outside.now_ms)();
        let mut things = self.0.state.lock();
        let before = std::mem::take(&mut things.dispatcher);
        // Those that ended and were flushed are over; of the others somebody may know as firing.
        let is_over = |alert: &&Arc<Alert>| alert.is_resolved(now_ms) && !before.has(&alert.labels);
        let alerts: Vec<Arc<Alert>> = things.alerts.iter().filter(|alert| !is_over(alert)).cloned().collect();
        things.dispatcher = Dispatcher::new(plan.receivers.clone(), before.into_memory());
        things.plan = Arc::new(plan);
        alerts.iter().for_each(|alert| things.take(alert, now_ms));
        drop(things);
        self.0.wake.notify_one();
    }

    /// Takes alerts that were posted. Returns when they are on disk; of each that is wrong, why.
    ///
    /// # Errors
    /// `Unavailable` if nothing can be written down: whoever posted sends them again.
    pub async fn post(&self, posted: Vec<Posted>) -> Result<Vec<Error>> {
        let now_ms = (self.0.outside.now_ms)();
        let (mut wrong, mut reports, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        let mut posted = posted.into_iter().peekable();
        while posted.peek().is_some() {
            let things = self.0.state.lock();
            let timeout_ms = things.plan.resolve_timeout_ms();
            for posted in posted.by_ref().take(AT_ONCE) {
                match posted.alert(now_ms, timeout_ms) {
                    Err(error) => wrong.push(error),
                    Ok(report) => {
                        // What is not on disk yet does not count: it would be taken for known when it is sent again.
                        let (alert, change) = things.alerts.with(report.clone(), now_ms);
                        if change != Change::Same {
                            rows.alerts.push(posted_row(&alert, "posted", now_ms));
                        }
                        reports.push(report);
                    }
                }
            }
        }
        if !rows.is_empty() {
            self.0.outside.record.append(&rows).await?;
        }
        self.0.watches.lock().heard(&reports, now_ms);
        self.take(reports);
        Ok(wrong)
    }

    /// Takes alerts of rules and watches, whose changes are on disk already, and hands them on to other Alertmanagers.
    pub fn tell(&self, alerts: Vec<Alert>) {
        self.0.outside.forward.put(&alerts);
        self.take(alerts);
    }

    fn take(&self, alerts: Vec<Alert>) {
        let now_ms = (self.0.outside.now_ms)();
        let mut alerts = alerts.into_iter().peekable();
        while alerts.peek().is_some() {
            let mut things = self.0.state.lock();
            for alert in alerts.by_ref().take(AT_ONCE) {
                let (alert, _) = things.alerts.put(alert, now_ms);
                things.take(&alert, now_ms);
            }
        }
        self.0.wake.notify_one();
    }

    /// Makes a silence, or changes one; gives its id, or none if the one to be changed is not there.
    ///
    /// # Errors
    /// `Invalid` if it silences too much, `Unavailable` if it cannot be written down.
    pub async fn silence(&self, asked: Silence) -> Result<Option<String>> {
        let (now_ms, id) = ((self.0.outside.now_ms)(), uuid((self.0.outside.random)()));
        let asked_id = asked.id.clone();
        let changes = {
            let things = self.0.state.lock();
            let Some(changes) = things.silences.change(asked, id, now_ms)? else { return Ok(None) };
            if let Some(new) = changes.last().filter(|silence| silence.id != asked_id) {
                let firing = things.alerts.iter().filter(|alert| !alert.is_resolved(now_ms));
                things.silences.check_breadth(new, firing.map(|alert| &alert.labels))?;
            }
            changes
        };
        let id = changes.last().map(|silence| silence.id.clone());
        self.keep(changes).await?;
        Ok(id)
    }

    /// Ends a silence, if it has not ended; was there one?
    ///
    /// # Errors
    /// `Unavailable` if that cannot be written down.
    pub async fn expire(&self, id: &str) -> Result<bool> {
        let ended = self.0.state.lock().silences.expire(id, (self.0.outside.now_ms)());
        let Some(ended) = ended else { return Ok(false) };
        self.keep(vec![ended]).await?;
        Ok(true)
    }

    async fn keep(&self, silences: Vec<Silence>) -> Result<()> {
        let rows = Rows { silences, ..Rows::default() };
        self.0.outside.record.append(&rows).await?;
        let mut things = self.0.state.lock();
        rows.silences.into_iter().for_each(|silence| things.silences.put(silence));
        Ok(())
    }

    /// Looks at what there is, which waits meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&Look<'_>) -> T) -> T {
        let things = self.0.state.lock();
        look(&Look::new(&things, (self.0.outside.now_ms)()))
    }

    /// Tells whoever is to be told, until the end of the process.
    pub async fn run(&self) {
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let pause = match self.step().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, "notifications wait, because nothing can be written down");
                    Some(AGAIN)
                }
            };
            let due = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.0.wake.notified() => {}
                _ = sweep.tick() => {
                    self.sweep();
                    if let Err(error) = self.remind().await {
                        tracing::warn!(%error, "reminders of silences wait, because nothing can be written down");
                    }
                }
            }
        }
    }

    /// Begins no message any more, and returns once those under way have ended and that is on disk. What is owed goes on to be written
    /// down; the next process tells it. Whoever cannot wait drops it: what is under way then is told once more.
    pub async fn close(&self) {
        let under_way = self.0.under_way.lock().take();
        if let Some(mut under_way) = under_way {
            while under_way.join_next().await.is_some() {}
        }
    }

    /// Does what is to be done now; gives the time until something is again.
    ///
    /// # Errors
    /// `Unavailable` if intents cannot be written down; nobody was told then.
    pub async fn step(&self) -> Result<Option<Duration>> {
        let inner = &self.0;
        let now_ms = (inner.outside.now_ms)();
        let watch_wakes_ms = self.watch(now_ms).await?;
        let (mut due, turns, rows) = {
            let things = inner.state.lock();
            let quiet = things.quiet(now_ms);
            let mut due = things.dispatcher.due(&quiet, now_ms, || (inner.outside.random)());
            due.wait_for(|key| things.outbox.owes_alerts(key));
            let turns = things.schedules.turns(now_ms);
            let (scheduled, kept) = things.scheduled(&turns, || (inner.outside.random)(), now_ms);
            due.owed.extend(scheduled);
            let mut rows = Things::rows(&due, now_ms);
            rows.notifications.extend(kept);
            (due, turns, rows)
        };
        if !rows.is_empty() {
            inner.outside.record.append(&rows).await?;
        }
        let wakes_ms = {
            let mut under_way = inner.under_way.lock();
            let mut things = inner.state.lock();
            for (owed, rate) in std::mem::take(&mut due.owed) {
                things.outbox.owe(owed, rate);
            }
            things.dispatcher.went(due, now_ms);
            things.schedules.went(turns);
            let outbox_wakes_ms = under_way.as_mut().and_then(|under_way| {
                while under_way.try_join_next().is_some() {}
                for attempt in things.outbox.take(now_ms) {
                    let (this, (attempt, answers)) = (self.clone(), things.current(attempt));
                    under_way.spawn(async move { this.attempt(attempt, answers).await });
                }
                things.outbox.wakes_ms()
            });
            let wakes_ms = [things.dispatcher.wakes_ms(), things.schedules.wakes_ms(), outbox_wakes_ms, watch_wakes_ms];
            wakes_ms.into_iter().flatten().min()
        };
        inner.stepped_ms.store(now_ms, Ordering::Relaxed);
        let pause_ms = wakes_ms.map(|wakes_ms| (wakes_ms - (inner.outside.now_ms)()).max(0));
        Ok(pause_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default())))
    }

    /// Tells of watches that wait in vain; gives the time of the next look, milliseconds.
    async fn watch(&self, now_ms: i64) -> Result<Option<i64>> {
        let checked = self.0.watches.lock().check(now_ms);
        if !checked.rows.is_empty() {
            self.0.outside.record.append(&checked.rows).await?;
        }
        let alerts = checked.alerts.clone();
        let wakes_ms = {
            let mut watches = self.0.watches.lock();
            watches.went(checked);
            watches.wakes_ms(now_ms)
        };
        if !alerts.is_empty() {
            self.tell(alerts);
        }
        Ok(wakes_ms)
    }

    /// How the watches go.
    #[must_use]
    pub fn watches(&self) -> Vec<Seen> {
        self.0.watches.lock().seen().collect()
    }

    /// When what is to be done was last done, milliseconds; every minute at least, unless nothing can be written down.
    #[must_use]
    pub fn stepped_ms(&self) -> i64 {
        self.0.stepped_ms.load(Ordering::Relaxed)
    }

    /// Tells somebody, and writes down what became of it.
    async fn attempt(&self, attempt: Attempt, answers: Vec<Option<String>>) {
        let inner = &self.0;
        let began_ms = (inner.outside.now_ms)();
        let Delivered { verdict, answer } = inner.outside.deliver.deliver(&attempt, answers).await;
        let now_ms = (inner.outside.now_ms)();
        let (rows, fallbacks) = {
            let mut things = inner.state.lock();
            let jitter = jitter((inner.outside.random)());
            let ended = things.outbox.ended(attempt, &verdict, now_ms, jitter);
            let mut rows = Rows::default();
            for (owed, fate) in &ended.fates {
                let (event, error) = match fate {
                    Fate::Sent => (Event::Sent, ""),
                    Fate::Waits(_, why) => (Event::Waits, why.as_str()),
                    Fate::Dead(why) => (Event::Dead, why.as_str()),
                };
                match fate {
                    // Of what waits only if a part of it was told.
                    Fate::Sent | Fate::Waits(..) if !answer.is_empty() => {
                        things.answers.insert(owed.key.clone(), answer.clone());
                    }
                    // What is owed after it tells all that there is to be told.
                    Fate::Dead(_) if owed.reason.is_of_alerts() && !things.outbox.owes_alerts(&owed.key) => {
                        things.dispatcher.failed(&owed.key);
                    }
                    _ => {}
                }
                let row = NotificationRow {
                    attempt: owed.failures + u32::from(event != Event::Waits),
                    error: error.to_owned(),
                    took_ms: now_ms - began_ms,
                    answer: if event == Event::Dead { String::new() } else { answer.clone() },
                    ..Things::row(owed, event, now_ms)
                };
                let merged = owed.merged.iter().map(|id| NotificationRow { id: *id, ..row.clone() });
                // What waits goes on under its first name.
                let merged: Vec<_> = if event == Event::Waits { Vec::new() } else { merged.collect() };
                rows.notifications.push(row);
                rows.notifications.extend(merged);
            }
            let mut fallbacks = Vec::new();
            for (owed, why) in &ended.fallbacks {
                let owed = things.fallback(owed, (inner.outside.random)(), now_ms);
                let intents = owed.iter().map(|(owed, _)| NotificationRow {
                    reason: format!("fallback: {why}"),
                    ..Things::row(owed, Event::Intent, now_ms)
                });
                rows.notifications.extend(intents);
                fallbacks.extend(owed);
            }
            (rows, fallbacks)
        };
        if let Verdict::Refused(why) | Verdict::Failed(why) | Verdict::Limited(_, why) = &verdict {
            let of = rows.notifications.first().map(|row| row.key.receiver.to_string()).unwrap_or_default();
            tracing::warn!(receiver = of, "somebody was not told: {why}");
        }
        // Who was told stays told in memory; a crash before this is on disk tells it once more.
        while let Err(error) = inner.outside.record.append(&rows).await {
            tracing::warn!(%error, "what became of a notification cannot be written down yet");
            tokio::time::sleep(AGAIN).await;
        }
        let mut things = inner.state.lock();
        fallbacks.into_iter().for_each(|(owed, rate)| things.outbox.owe(owed, rate));
        drop(things);
        inner.wake.notify_one();
    }

    fn sweep(&self) {
        let now_ms = (self.0.outside.now_ms)();
        let mut things = self.0.state.lock();
        let things = &mut *things;
        let kept_ms = things.plan.repeat_ms_max().saturating_mul(2);
        things.dispatcher.sweep(now_ms, kept_ms);
        let dispatcher = &things.dispatcher;
        things.alerts.sweep(now_ms - ENDED_KEPT_MS, |labels| dispatcher.has(labels));
        things.silences.sweep(now_ms - SILENCES_KEPT_MS);
        let outbox = &things.outbox;
        things.answers.retain(|key, _| dispatcher.knows(key).is_some() || outbox.owes(key).is_some());
    }
}

/// A number from 0 to 1 of random bits.
fn jitter(random: u128) -> f64 {
    f64::from(u32::try_from(random & u128::from(u32::MAX)).unwrap_or_default()) / f64::from(u32::MAX)
}

/// An id as people know them.
fn uuid(random: u128) -> String {
    let hex = format!("{random:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod world;
