//! Evaluates rules: a task for each group, which wakes at its slots.
//!
//! Called by `app` with the files that the settings name, again whenever they change. Invariants: files that are wrong change nothing; groups
//! that mean what they meant go on undisturbed; a change of an alert is on disk before anybody is told; nothing ends or begins to fire after a
//! start before samples have caught up, or five minutes are over; no more groups are evaluated at once than there is room for.

mod files;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use alerting::{
    Labels,
    alert::{Instance, Phase, Transition},
    alertmanager::Alertmanager,
    alerts::Alert,
    group::{Done, Run, Slots, State},
    rows::{self, AlertRow, Record, Rows},
    rules::{Action, Condition, Group, NoData, Notify, Rule},
};

use ingest::remote_write::RemoteWrite;
use parking_lot::Mutex;
use query::Engine;
use storage::Clock;
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};
use tracing::{info, warn};

pub use self::files::{Loaded, load};
use self::status::Meter;
pub use self::status::{GroupStatus, RuleStatus};
use super::world::World;
use crate::config;

/// Groups that are evaluated at once: queries of people want their share of the processors.
const AT_ONCE: usize = 4;
/// How often somebody is told again that an alert fires.
const RESEND_MS: i64 = 60_000;
/// For so long nothing ends or begins to fire after a start, unless samples have caught up before.
const CATCH_UP_MS: i64 = 300_000;
/// How often active alerts are written down again, so that a start has not to read far back.
const SNAPSHOT_MS: i64 = 6 * 3_600_000;
/// How far a start reads back.
pub const READ_BACK_MS: i64 = 8 * 86_400_000;
/// When to try again what could not be written down.
const AGAIN: Duration = Duration::from_secs(1);

/// What evaluation needs of the rest.
#[derive(Clone)]
pub struct Parts {
    /// Answers queries.
    pub engine: Engine,
    /// Keeps samples.
    pub remote_write: RemoteWrite,
    /// Writes down.
    pub record: Arc<dyn Record>,
    /// Is told of alerts.
    pub manager: Alertmanager,
    /// What time it is.
    pub clock: Clock,
    /// Of rules and notifications.
    pub settings: config::alerting::Alerting,
    /// Where this program is found.
    pub external_url: String,
}

/// The rules of this program. Cheap to clone.
#[derive(Clone)]
pub struct Rules(Arc<Inner>);

struct Inner {
    parts: Parts,
    meter: Meter,
    at_once: Semaphore,
    groups: Mutex<BTreeMap<Id, Arc<Running>>>,
    /// What was known of alerts when the program began, by rule.
    before: Mutex<HashMap<String, Vec<AlertRow>>>,
    began_ms: i64,
    has_caught_up: AtomicBool,
}

/// A group: its file and its name.
type Id = (String, String);

/// A group that is evaluated.
struct Running {
    id: Id,
    group: Group,
    slots: Slots,
    interval_ms: i64,
    state: Mutex<State>,
    status: Mutex<GroupStatus>,
    snapshot_ms: AtomicI64,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

impl Rules {
    /// Without groups; what is known of alerts is taken up by their rules.
    ///
    /// # Errors
    /// If metrics are registered already.
    pub fn new(parts: Parts, known: Vec<AlertRow>, registry: &prometheus::Registry) -> anyhow::Result<Self> {
        let mut before: HashMap<String, Vec<AlertRow>> = HashMap::new();
        for row in known {
            before.entry(row.source.to_string()).or_default().push(row);
        }
        let began_ms = parts.clock.now_ms();
        Ok(Self(Arc::new(Inner {
            parts,
            meter: Meter::register(registry)?,
            at_once: Semaphore::new(AT_ONCE),
            groups: Mutex::default(),
            before: Mutex::new(before),
            began_ms,
            has_caught_up: AtomicBool::new(false),
        })))
    }

    /// Evaluates these groups from now on, and no others.
    pub fn apply(&self, loaded: Vec<Loaded>) {
        let mut old = std::mem::take(&mut *self.0.groups.lock());
        let mut groups = BTreeMap::new();
        for Loaded { file, groups: of_file } in loaded {
            for group in of_file {
                let id = (file.clone(), group.name.clone());
                let running = match old.remove(&id) {
                    Some(running) if running.group.means_the_same(&group) => running,
                    other => self.start(id.clone(), group, other.as_deref()),
                };
                groups.insert(id, running);
            }
        }
        let rules: usize = groups.values().map(|running| running.group.rules.len()).sum();
        info!(groups = groups.len(), rules, "rules are in force");
        *self.0.groups.lock() = groups;
    }

    fn start(&self, id: Id, group: Group, old: Option<&Running>) -> Arc<Running> {
        let interval_ms = group.interval_ms.unwrap_or(self.0.parts.settings.evaluation_interval_ms);
        let state = match old {
            // The series that nobody writes any more end by their age.
            Some(old) => old.state.lock().clone().taken_over(&old.group, &group).0,
            None => self.restored(&id, &group),
        };
        let running = Arc::new(Running {
            slots: Slots::new(&id.0, &id.1, interval_ms),
            status: Mutex::new(GroupStatus::new(&group)),
            snapshot_ms: AtomicI64::new(self.0.parts.clock.now_ms()),
            state: Mutex::new(state),
            task: Mutex::default(),
            interval_ms,
            group,
            id,
        });
        let (rules, weak) = (self.clone(), Arc::downgrade(&running));
        let task = tokio::spawn(async move {
            let Some(mut next_ms) = weak.upgrade().map(|running| running.slots.after(rules.now_ms())) else { return };
            loop {
                let pause_ms = u64::try_from(next_ms - rules.now_ms()).unwrap_or_default();
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                let Some(running) = weak.upgrade() else { return };
                let slot_ms = running.slots.at_or_before(rules.now_ms()).max(next_ms);
                rules.evaluate(&running, slot_ms).await;
                next_ms = running.slots.after(rules.now_ms().max(slot_ms));
            }
        });
        *running.task.lock() = Some(task);
        running
    }

    fn now_ms(&self) -> i64 {
        self.0.parts.clock.now_ms()
    }

    /// The state of a group as it was when the program ended.
    fn restored(&self, id: &Id, group: &Group) -> State {
        let (mut state, mut before) = (State::new(group), self.0.before.lock());
        for (nth, rule) in group.rules.iter().enumerate() {
            let rows = before.remove(&source(id, rule, nth)).unwrap_or_default();
            let instances = rows.into_iter().filter_map(|row| self.instance(row));
            if let Some(of_rule) = state.rules.get_mut(nth) {
                of_rule.alerts = instances.collect();
            }
        }
        state
    }

    fn instance(&self, row: AlertRow) -> Option<(Labels, Instance)> {
        let phase = match row.state {
            rows::State::Pending => Phase::Pending,
            rows::State::Firing => Phase::Firing,
            rows::State::Resolved | rows::State::Inactive => return None,
        };
        let external = &self.0.parts.settings.external_labels;
        let own = row.labels.iter().filter(|(name, value)| external.get(name) != *value);
        let instance = Instance {
            phase,
            active_at_ms: row.active_ms.unwrap_or(row.at_ms),
            fired_at_ms: row.starts_ms,
            resolved_at_ms: None,
            keep_firing_since_ms: row.keep_firing_ms,
            sent_at_ms: None,
            value: row.value.unwrap_or(f64::NAN),
            annotations: row.annotations,
        };
        Some((own.collect(), instance))
    }

    /// Evaluates a group at a slot, writes down what changed, and tells.
    async fn evaluate(&self, running: &Arc<Running>, slot_ms: i64) {
        let Ok(_permit) = self.0.at_once.acquire().await else { return };
        let began_ms = self.now_ms();
        let may_resolve = self.may_resolve(running, slot_ms).await;
        let (rules, group) = (self.clone(), Arc::clone(running));
        let evaluated = tokio::task::spawn_blocking(move || rules.run(&group, slot_ms, may_resolve)).await;
        let Ok(done) = evaluated else {
            warn!(group = running.id.1, file = running.id.0, "an evaluation broke off");
            return;
        };
        let rows = self.rows(running, &done, slot_ms);
        while let Err(error) = self.0.parts.record.append(rows.clone()).await {
            warn!(%error, group = running.id.1, "what changed about alerts cannot be written down yet");
            tokio::time::sleep(AGAIN).await;
        }
        self.tell(running, slot_ms);
        let took_ms = self.now_ms() - began_ms;
        let missed = running.status.lock().ended(&done, slot_ms, took_ms, running.slots);
        self.0.meter.evaluated(&running.id, &done, took_ms, missed);
    }

    fn run(&self, running: &Running, slot_ms: i64, may_resolve: bool) -> Vec<alerting::Result<Done>> {
        let Parts { engine, remote_write, settings, external_url, .. } = &self.0.parts;
        let group = &running.group;
        let wants_data = |rule: &Rule| matches!(&rule.action, Action::Alert(alert) if alert.no_data != NoData::Resolve);
        let looks_for_data = group.rules.iter().any(wants_data);
        let mut world = World::new(engine.clone(), remote_write.clone(), Handle::current(), looks_for_data);
        let run = Run {
            group,
            expand: &super::templates::Templates,
            external_labels: &settings.external_labels,
            external_url,
            query_offset_ms: settings.query_offset_ms,
        };
        let mut done = run.evaluate(&mut running.state.lock(), slot_ms, may_resolve, &mut world);
        if let Err(error) = world.flush()
            && let Some(Ok(last)) = done.last_mut()
        {
            last.write_error = Some(error);
        }
        done
    }

    /// May alerts end, and begin to fire? Not after a start before there are samples of the time that is looked at; where there were none
    /// before, none are on their way.
    async fn may_resolve(&self, running: &Running, slot_ms: i64) -> bool {
        let inner = &self.0;
        if inner.has_caught_up.load(Ordering::Relaxed) {
            return true;
        }
        let is_over = self.now_ms() - inner.began_ms >= CATCH_UP_MS;
        let are_there = async |since_ms: i64| {
            let since_us = since_ms.saturating_mul(1000);
            let some = format!("SELECT 1 AS n FROM samples WHERE ts >= to_timestamp_micros({since_us}) LIMIT 1");
            let rows = inner.parts.engine.sql(&some).await.ok()?.collect().await.ok()?;
            Some(rows.iter().any(|rows| rows.num_rows() > 0))
        };
        let has_caught_up = is_over
            || are_there(slot_ms - running.interval_ms).await == Some(true)
            || are_there(inner.began_ms - READ_BACK_MS).await == Some(false);
        if has_caught_up {
            inner.has_caught_up.store(true, Ordering::Relaxed);
        }
        has_caught_up
    }

    /// What changed, and now and then all that is active.
    fn rows(&self, running: &Running, done: &[alerting::Result<Done>], slot_ms: i64) -> Rows {
        let state = running.state.lock();
        let is_time = slot_ms - running.snapshot_ms.load(Ordering::Relaxed) >= SNAPSHOT_MS;
        let mut alerts = Vec::new();
        for (nth, (rule, of_rule)) in running.group.rules.iter().zip(&state.rules).enumerate() {
            let source: Arc<str> = source(&running.id, rule, nth).into();
            let instances: BTreeMap<&Labels, &Instance> = of_rule.alerts.instances().collect();
            if let Some(Ok(done)) = done.get(nth) {
                for change in &done.transitions {
                    alerts.push(self.row(rule, &source, change, instances.get(&change.labels).copied()));
                }
            }
            if is_time {
                let changed: BTreeSet<&Labels> = done
                    .get(nth)
                    .and_then(|done| done.as_ref().ok())
                    .map(|done| done.transitions.iter().map(|change| &change.labels).collect())
                    .unwrap_or_default();
                for (labels, instance) in
                    instances.iter().filter(|(labels, of)| of.is_active() && !changed.contains(*labels))
                {
                    let (from, to) = (Some(instance.phase), Some(instance.phase));
                    let change = Transition { labels: (*labels).clone(), from, to, at_ms: slot_ms };
                    let row = self.row(rule, &source, &change, Some(instance));
                    alerts.push(AlertRow { reason: "snapshot".to_owned(), ..row });
                }
            }
        }
        if is_time {
            running.snapshot_ms.store(slot_ms, Ordering::Relaxed);
        }
        Rows { alerts, ..Rows::default() }
    }

    fn row(&self, rule: &Rule, source: &Arc<str>, change: &Transition, instance: Option<&Instance>) -> AlertRow {
        let state = match (change.to, change.from) {
            (Some(Phase::Pending), _) => rows::State::Pending,
            (Some(Phase::Firing), _) => rows::State::Firing,
            (Some(Phase::Resolved), _) | (None, Some(Phase::Firing)) => rows::State::Resolved,
            (None, _) => rows::State::Inactive,
        };
        AlertRow {
            at_ms: change.at_ms,
            state,
            reason: "evaluated".to_owned(),
            source: Arc::clone(source),
            labels: self.outside(&change.labels),
            annotations: instance.map(|instance| instance.annotations.clone()).unwrap_or_default(),
            value: instance.map(|instance| instance.value),
            active_ms: instance.map(|instance| instance.active_at_ms),
            starts_ms: instance.and_then(|instance| instance.fired_at_ms),
            ends_ms: instance.and_then(|instance| instance.resolved_at_ms),
            keep_firing_ms: instance.and_then(|instance| instance.keep_firing_since_ms),
            generator_url: self.generator_url(rule),
            run: "".into(),
        }
    }

    /// Labels as others see them: with those of this program.
    fn outside(&self, labels: &Labels) -> Labels {
        let external = &self.0.parts.settings.external_labels;
        labels.with(external.iter().filter(|(name, _)| labels.get(name).is_empty()))
    }

    /// Tells of what fires, and of what ended.
    fn tell(&self, running: &Running, slot_ms: i64) {
        let now_ms = self.now_ms();
        let mut alerts = Vec::new();
        let mut state = running.state.lock();
        for (rule, of_rule) in running.group.rules.iter().zip(&mut state.rules) {
            let once = matches!(&rule.action, Action::Alert(alert) if alert.notify == Notify::Once);
            let generator_url = self.generator_url(rule);
            alerts.extend(of_rule.alerts.due(slot_ms, RESEND_MS, running.interval_ms).into_iter().map(|due| Alert {
                labels: self.outside(&due.labels),
                annotations: due.annotations,
                starts_ms: due.starts_at_ms,
                ends_ms: due.ends_at_ms,
                generator_url: generator_url.clone(),
                updated_ms: now_ms,
                is_timeout: false,
                once,
            }));
        }
        drop(state);
        if !alerts.is_empty() {
            self.0.parts.manager.tell(alerts);
        }
    }

    fn generator_url(&self, rule: &Rule) -> String {
        let text = match &rule.condition {
            Condition::Promql(query) => query.text(),
            Condition::Sql(sql) => &sql.text,
        };
        let query: String = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).collect();
        format!("{}/graph?g0.expr={query}&g0.tab=1", self.0.parts.external_url)
    }
}

/// A group as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The file it is in.
    pub file: String,
    /// What it says.
    pub group: Group,
    /// Between its evaluations, milliseconds.
    pub interval_ms: i64,
    /// How the last one went.
    pub status: GroupStatus,
    /// Alerts of each rule: labels with how they are.
    pub alerts: Vec<Vec<(Labels, Instance)>>,
}

impl Rules {
    /// All groups by file and name; their alerts, if they are wanted.
    #[must_use]
    pub fn shown(&self, with_alerts: bool) -> Vec<Shown> {
        let groups: Vec<Arc<Running>> = self.0.groups.lock().values().cloned().collect();
        let shown = |running: Arc<Running>| {
            let alerts = |of_rule: &alerting::group::RuleState| {
                let active = of_rule.alerts.instances().filter(|(_, instance)| instance.is_active());
                let shown = active.map(|(labels, instance)| {
                    let shown = if with_alerts { labels.clone() } else { Labels::default() };
                    (shown, instance.clone())
                });
                shown.collect()
            };
            Shown {
                file: running.id.0.clone(),
                group: running.group.clone(),
                interval_ms: running.interval_ms,
                status: running.status.lock().clone(),
                alerts: running.state.lock().rules.iter().map(alerts).collect(),
            }
        };
        groups.into_iter().map(shown).collect()
    }
}

/// Names a rule in the table of alerts. The number tells rules of the same name apart.
fn source(id: &Id, rule: &Rule, nth: usize) -> String {
    format!("{};{};{}#{nth}", id.0, id.1, rule.name())
}
