//! A world for tests: a disk that is a list of rows, receivers whose answers are scripted, and a clock that is moved. A crash is the end of
//! everything but the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use serde_json::Value;

use super::*;
use crate::{
    Config, Labels,
    config::receiver,
    dedup::Reason,
    dispatch,
    notify::{self, Notification, Outgoing, Render, Report},
    outbox::{Key, Owed},
    rows::AlertRow,
    schedule::{Schedule, Slot},
    silence::Limits,
    watch::Watch,
};

/// A plan of what a configuration says. Receivers take as much as comes.
pub fn plan_of(text: &str) -> Plan {
    let config = Arc::new(Config::parse(text, std::path::Path::new(".")).unwrap());
    let integration = |(_, configured): (usize, receiver::Integration<'_>)| dispatch::Integration {
        kind: configured.kind(),
        destination: notify::destination(configured).into(),
        sends_resolved: configured.send_resolved(),
        rate: notify::rate(configured, None),
        digest: None,
        hears_of_silence: false,
    };
    let receivers =
        config.receivers().map(|of| (of.name.as_str().into(), of.integrations().map(integration).collect())).collect();
    Plan { config, receivers }
}

/// Everything outside of the process.
#[derive(Default)]
pub struct World {
    pub now_ms: AtomicI64,
    pub random: AtomicU64,
    pub disk: Mutex<Rows>,
    /// Can nothing be written?
    pub is_full: AtomicBool,
    /// Answers that come before `Sent`.
    pub verdicts: Mutex<Vec<Verdict>>,
    /// Receivers as they are configured.
    pub config: Mutex<Option<Arc<Config>>>,
    /// Addresses that cannot be told.
    pub down: Mutex<BTreeSet<String>>,
    pub told: Mutex<Vec<Message>>,
    /// What a destination answers, for the message after.
    pub answers: Mutex<BTreeMap<String, String>>,
    /// What deliveries were given of the answers before.
    pub given: Mutex<Vec<Option<String>>>,
    /// Digests, as people read them, each with its time.
    pub digests: Mutex<Vec<(i64, String)>>,
    /// What was remarked about groups: destination, reason and who.
    pub remarks: Mutex<Vec<String>>,
    /// The process ends once so many more steps of a delivery or a write are done: before or after each.
    pub ends_after: Mutex<Option<u64>>,
    /// The next messages, the last of these first, are under way until they are let go.
    pub holds: Mutex<Vec<Arc<Notify>>>,
    /// What has to arrive.
    pub watches: Vec<Watch>,
    /// What is asked at times.
    pub schedules: Mutex<Vec<Schedule>>,
    pub has_ended: AtomicBool,
}

/// A message as the receiver has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub at_ms: i64,
    pub firing: Vec<String>,
    pub resolved: Vec<String>,
    /// Address and body, if its receiver is a configured one.
    pub sent: Option<(String, Value)>,
}

/// A renderer of texts without templates.
struct Plain;

impl Render for Plain {
    fn text(&self, template: &str, _: &Notification) -> Result<String> {
        Err(Error::invalid(format!("there are no templates: {template}")))
    }

    fn html(&self, template: &str, data: &Notification) -> Result<String> {
        self.text(template, data)
    }
}

impl World {
    /// A process over its disk.
    pub fn start(self: &Arc<Self>, plan: Plan) -> Alertmanager {
        self.has_ended.store(false, Ordering::Relaxed);
        *self.ends_after.lock() = None;
        *self.config.lock() = Some(Arc::clone(&plan.config));
        let disk = self.disk.lock().clone();
        let names_slot = |row: &&NotificationRow| matches!(row.event, Event::Intent | Event::Kept);
        let is_told = |row: &&NotificationRow| row.reason == Reason::Scheduled.text();
        let slots = disk.notifications.iter().filter(names_slot).filter(is_told).cloned().collect();
        let mut alerts: BTreeMap<Labels, AlertRow> = BTreeMap::new();
        let ends = disk.alerts.iter().filter(|row| row.state == crate::rows::State::Resolved).cloned().collect();
        alerts.extend(disk.alerts.into_iter().map(|row| (row.labels.clone(), row)));
        let known = Known {
            alerts: alerts.into_values().collect(),
            ends,
            notifications: disk.notifications,
            silences: disk.silences,
            limits: Limits { alerts_max: Some(3), ..Limits::default() },
            remind_before_ms: 900_000,
            schedules: self.schedules.lock().clone(),
            slots,
        };
        let watches = Watches::new(self.watches.clone(), &known.alerts, self.now());
        let (clock, random) = (Arc::clone(self), Arc::clone(self));
        let outside = Outside {
            record: Arc::new(Disk(Arc::clone(self))),
            deliver: Arc::new(Wire(Arc::clone(self))),
            now_ms: Arc::new(move || clock.now()),
            random: Arc::new(move || u128::from(random.random.fetch_add(1, Ordering::Relaxed) + 1)),
            forward: Forward::default(),
            watches,
        };
        Alertmanager::open(plan, known, outside)
    }

    /// Is the process there after another step?
    fn lives(&self) -> bool {
        if let Some(left) = &mut *self.ends_after.lock() {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => self.has_ended.store(true, Ordering::Relaxed),
            }
        }
        !self.has_ended.load(Ordering::Relaxed)
    }

    pub fn now(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub fn told(&self) -> Vec<String> {
        let text = |message: &Message| {
            let resolved: Vec<String> = message.resolved.iter().map(|name| format!("-{name}")).collect();
            format!("{} {}", message.at_ms, [message.firing.join(" "), resolved.join(" ")].join(" ").trim())
        };
        self.told.lock().iter().map(text).collect()
    }
}

struct Disk(Arc<World>);

impl Record for Disk {
    fn append<'a>(&'a self, rows: &'a Rows) -> Promise<'a, Result<()>> {
        Box::pin(async move {
            if self.0.is_full.load(Ordering::Relaxed) {
                return Err(Error::new(crate::ErrorKind::Unavailable, "disk full"));
            }
            if !self.0.lives() {
                std::future::pending::<()>().await;
            }
            {
                let mut disk = self.0.disk.lock();
                disk.alerts.extend_from_slice(&rows.alerts);
                disk.notifications.extend_from_slice(&rows.notifications);
                disk.silences.extend_from_slice(&rows.silences);
            }
            // Written, and nobody was told.
            if !self.0.lives() {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

struct Wire(Arc<World>);

impl Wire {
    /// Has its receiver others that are configured, and not this?
    fn is_gone(&self, key: &Key) -> bool {
        let config = self.0.config.lock().clone();
        let receiver = config.as_ref().and_then(|config| config.receiver(&key.receiver));
        receiver.is_some_and(|receiver| {
            receiver.integrations().next().is_some() && receiver.integration(key.kind, key.integration).is_none()
        })
    }

    fn message(&self, attempt: &Attempt) -> Option<Message> {
        let Self(world) = self;
        let all = match attempt {
            Attempt::One(owed) => std::slice::from_ref(owed),
            Attempt::Summary(all) => all.as_slice(),
        };
        let now_ms = world.now();
        let names = |is_resolved: bool| {
            let alerts = all.iter().flat_map(|owed| owed.alerts.values());
            let alerts = alerts.filter(|alert| alert.is_resolved(now_ms) == is_resolved);
            let mut names: Vec<String> = alerts.map(|alert| alert.labels.get("instance").to_owned()).collect();
            names.sort();
            names
        };
        let key = &all.first()?.key;
        let config = world.config.lock().clone()?;
        let receiver = config.receiver(&key.receiver);
        let sent = match receiver.and_then(|receiver| receiver.integration(key.kind, key.integration)) {
            None => None,
            Some(integration) => {
                let mut told = Notification::of(attempt, &[], &Arc::from("http://gauge.test"), now_ms)?;
                told.report = Slot::of(&key.group).map(|slot| {
                    Arc::new(Report { title: slot.query.to_string(), time: slot.time(), ..Report::default() })
                });
                let message = notify::message(integration, &told, &Plain, &notify::Extra::default()).unwrap();
                let Outgoing::Http(request) = message? else { panic!("mail") };
                Some((request.url, serde_json::from_slice(&request.body).unwrap()))
            }
        };
        Some(Message { at_ms: now_ms, firing: names(false), resolved: names(true), sent })
    }
}

impl Deliver for Wire {
    fn deliver<'a>(&'a self, attempt: &'a Attempt, answers: Vec<Option<String>>) -> Promise<'a, Delivered> {
        Box::pin(async move {
            self.0.given.lock().extend(answers);
            if !self.0.lives() {
                std::future::pending::<()>().await;
            }
            let hold = self.0.holds.lock().pop();
            if let Some(hold) = hold {
                hold.notified().await;
            }
            let mut verdict = self.0.verdicts.lock().pop().unwrap_or(Verdict::Sent);
            let all = match attempt {
                Attempt::One(owed) => std::slice::from_ref(owed),
                Attempt::Summary(all) => all.as_slice(),
            };
            let answer = self.0.answers.lock().get(&*all[0].destination).cloned().unwrap_or_default();
            let message = self.message(attempt);
            let is_down = |(url, _): &(String, Value)| self.0.down.lock().contains(url);
            if message.as_ref().and_then(|message| message.sent.as_ref()).is_some_and(is_down) {
                verdict = Verdict::Failed("503".into());
            }
            if self.is_gone(&all[0].key) {
                verdict = Verdict::Refused("the receiver is not configured any more".to_owned());
            }
            if all[0].reason.is_remark() {
                let Owed { destination, reason, by, .. } = &all[0];
                let by = by.as_deref().unwrap_or_default();
                self.0.remarks.lock().push(format!("{destination}: {} {by}", reason.text()));
            } else if all[0].is_digest && verdict == Verdict::Sent {
                let told = Notification::of(attempt, &[], &"u".into(), self.0.now()).unwrap();
                let text = format!("{}\n{}", told.summary_title(), told.summary_lines(1_000));
                self.0.digests.lock().push((self.0.now(), text));
            } else if verdict == Verdict::Sent {
                self.0.told.lock().extend(message);
            }
            if !self.0.lives() {
                std::future::pending::<()>().await;
            }
            Delivered { verdict, answer }
        })
    }
}
