//! Evaluates rules: a task for each group, which wakes at its slots.
//!
//! Called by `app` with the files that the settings name, again whenever they change. Invariants: files that are wrong change nothing; groups
//! that mean what they meant go on undisturbed; a change of an alert is on disk before anybody is told; nothing ends or begins to fire after a
//! start before samples have caught up, or five minutes are over; no more groups are evaluated at once than there is room for.

mod files;
pub mod folder;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use alerting::{
    Labels,
    alert::{ALERTS, ALERTS_FOR_STATE, Instance, RESEND_MS, Transition},
    alertmanager::Alertmanager,
    alerts::Alert,
    group::{Done, RuleState, Run, Slots, State},
    query::{Sample, Sink, Value},
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
/// For so long nothing ends or begins to fire after a start, unless samples have caught up before.
const CATCH_UP_MS: i64 = 300_000;
/// How often active alerts are written down again, so that a start has not to read far back.
const SNAPSHOT_MS: i64 = 6 * 3_600_000;
/// Changes of alerts that are written at once: a few megabytes.
const ROWS_AT_ONCE: usize = 8_192;
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
}

/// What all rows of a rule's alerts have in common. Cheap to clone.
#[derive(Clone)]
pub(super) struct OfRule<'a> {
    pub source: &'a Arc<str>,
    pub generator_url: Arc<str>,
    /// Empty for what happened.
    pub run: Arc<str>,
}

/// A group: its file and its name.
pub(super) type Id = (String, String);

/// A group that is evaluated.
struct Running {
    id: Id,
    group: Group,
    /// Parts of the group that are asked together.
    steps: Vec<Range<usize>>,
    /// What names each rule in the table of alerts.
    sources: Vec<Arc<str>>,
    slots: Slots,
    interval_ms: i64,
    /// As of its last evaluation; one that is under way works on a copy, so that nobody waits for it.
    state: Mutex<Arc<State>>,
    /// Have samples caught up with it since the start?
    has_caught_up: AtomicBool,
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
        })))
    }

    /// What evaluation works with.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// Evaluates these groups from now on, and no others.
    pub fn apply(&self, loaded: Vec<Loaded>) {
        let mut old = std::mem::take(&mut *self.0.groups.lock());
        let (mut groups, mut ended) = (BTreeMap::new(), Vec::new());
        for Loaded { file, groups: of_file } in loaded {
            for group in of_file {
                let id = (file.clone(), group.name.clone());
                let running = match old.remove(&id) {
                    Some(running) if running.group.means_the_same(&group) => running,
                    other => self.start(id.clone(), group, other.as_deref(), &mut ended),
                };
                groups.insert(id, running);
            }
        }
        let rules: usize = groups.values().map(|running| running.group.rules.len()).sum();
        info!(groups = groups.len(), rules, "rules are in force");
        *self.0.groups.lock() = groups;
        for gone in old.values() {
            ended.extend(Arc::clone(&gone.state.lock()).rules.iter().flat_map(RuleState::series));
        }
        if !ended.is_empty() {
            let (rules, ended) = (self.clone(), ended.into_iter().collect());
            tokio::spawn(async move { rules.end(ended).await });
        }
    }

    /// Ends series of rules that are gone, unless other rules have taken them up meanwhile.
    async fn end(&self, mut ended: BTreeSet<Labels>) {
        let groups = || self.0.groups.lock().values().cloned().collect::<Vec<_>>();
        let longest_ms = groups().iter().map(|running| running.interval_ms).max().unwrap_or(0);
        let longest_ms = longest_ms.max(self.0.parts.settings.evaluation_interval_ms);
        tokio::time::sleep(Duration::from_millis(2 * longest_ms.unsigned_abs())).await;
        for running in groups() {
            Arc::clone(&running.state.lock()).rules.iter().flat_map(RuleState::series).for_each(|series| {
                ended.remove(&series);
            });
        }
        let (rules, runtime, at_ms) = (self.clone(), Handle::current(), self.now_ms());
        let write = move || {
            let Parts { engine, remote_write, .. } = &rules.0.parts;
            let mut world = World::new(engine.clone(), remote_write.clone(), runtime, false);
            let ends: Vec<Sample> = ended.into_iter().map(|labels| Sample { labels, value: Value::stale() }).collect();
            world.write(&ends, at_ms).and_then(|()| world.flush())
        };
        // They end by their age if this fails.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            warn!(%error, "the ends of series of removed rules were not written");
        }
    }

    fn start(&self, id: Id, group: Group, old: Option<&Running>, ended: &mut Vec<Labels>) -> Arc<Running> {
        let interval_ms = group.interval_ms.unwrap_or(self.0.parts.settings.evaluation_interval_ms);
        let state = match old {
            Some(old) => {
                let (state, series) = State::clone(&old.state.lock()).taken_over(&old.group, &group);
                ended.extend(series);
                state
            }
            None => self.restored(&id, &group),
        };
        let running = Arc::new(Running {
            steps: group.steps(),
            sources: sources(&id, &group),
            slots: Slots::new(&id.0, &id.1, interval_ms),
            status: Mutex::new(GroupStatus::new(&group, self.now_ms())),
            snapshot_ms: AtomicI64::new(self.0.parts.clock.now_ms()),
            state: Mutex::new(Arc::new(state)),
            has_caught_up: AtomicBool::new(false),
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
        for (of_rule, source) in state.rules.iter_mut().zip(sources(id, group)) {
            let rows = before.remove(&*source).unwrap_or_default();
            of_rule.alerts = rows.into_iter().filter_map(|row| self.instance(row)).collect();
        }
        state
    }

    fn instance(&self, row: AlertRow) -> Option<(Labels, Instance)> {
        let external = &self.0.parts.settings.external_labels;
        let own = row.labels.iter().filter(|(name, value)| external.get(name) != *value);
        Some((own.collect(), row.instance()?))
    }

    /// Evaluates a group at a slot, writes down what changed, and tells.
    async fn evaluate(&self, running: &Arc<Running>, slot_ms: i64) {
        let Ok(_permit) = self.0.at_once.acquire().await else { return };
        let began_ms = self.now_ms();
        let has_caught_up = self.has_caught_up(running, slot_ms).await;
        let (rules, group, runtime) = (self.clone(), Arc::clone(running), Handle::current());
        let work = move || rules.run(&group, slot_ms, has_caught_up, runtime);
        // The engine ends last.
        let Ok(evaluated) = self.0.parts.engine.on_thread(work) else { return };
        let Ok(done) = evaluated.await else {
            warn!(group = running.id.1, file = running.id.0, "an evaluation broke off");
            running.status.lock().broke_off = true;
            return;
        };
        self.write_down(running, &done, slot_ms).await;
        self.tell(running, slot_ms);
        let took_ms = self.now_ms() - began_ms;
        let missed = running.status.lock().ended(&done, slot_ms, took_ms, running.slots);
        self.0.meter.evaluated(&running.id, &done, took_ms, missed);
    }

    fn run(
        &self,
        running: &Running,
        slot_ms: i64,
        has_caught_up: bool,
        runtime: Handle,
    ) -> Vec<alerting::Result<Done>> {
        let Parts { engine, remote_write, settings, external_url, .. } = &self.0.parts;
        let group = &running.group;
        let wants_data = |rule: &Rule| matches!(&rule.action, Action::Alert(alert) if alert.no_data != NoData::Resolve);
        let looks_for_data = group.rules.iter().any(wants_data);
        let mut world = World::new(engine.clone(), remote_write.clone(), runtime, looks_for_data);
        let run = Run {
            group,
            steps: &running.steps,
            expand: &alerting::template::Templates,
            external_labels: &settings.external_labels,
            external_url,
            query_offset_ms: settings.query_offset_ms,
        };
        let mut state = Arc::clone(&running.state.lock());
        let mut done = run.evaluate(Arc::make_mut(&mut state), slot_ms, has_caught_up, &mut world);
        *running.state.lock() = state;
        if let Err(error) = world.flush()
            && let Some(Ok(last)) = done.last_mut()
        {
            last.write_error = Some(error);
        }
        done
    }

    /// May alerts end, and begin to fire? Not after a start before there are samples of the time that is looked at; where there were none
    /// before, none are on their way.
    async fn has_caught_up(&self, running: &Running, slot_ms: i64) -> bool {
        let inner = &self.0;
        if running.has_caught_up.load(Ordering::Relaxed) {
            return true;
        }
        let is_over = self.now_ms() - inner.began_ms >= CATCH_UP_MS;
        let newest_ms = inner.parts.remote_write.newest_ms();
        let has_caught_up = is_over
            || newest_ms.is_some_and(|newest_ms| newest_ms >= slot_ms - running.interval_ms)
            || newest_ms.is_none() && !self.had_samples().await;
        if has_caught_up {
            running.has_caught_up.store(true, Ordering::Relaxed);
        }
        has_caught_up
    }

    /// Were there samples of others before the start? If nobody can tell, there were.
    async fn had_samples(&self) -> bool {
        let since_us = (self.0.began_ms - READ_BACK_MS).saturating_mul(1000);
        let some = format!(
            "SELECT 1 AS n FROM samples WHERE ts >= to_timestamp_micros({since_us}) \
             AND metric NOT IN ('{ALERTS}', '{ALERTS_FOR_STATE}') LIMIT 1"
        );
        let rows = async { self.0.parts.engine.sql(&some).await?.collect().await };
        rows.await.map_or(true, |rows| rows.iter().any(|rows| rows.num_rows() > 0))
    }

    /// Writes down what changed, and now and then all that is active, however often that takes.
    async fn write_down(&self, running: &Running, done: &[alerting::Result<Done>], slot_ms: i64) {
        let state = Arc::clone(&running.state.lock());
        let is_time = slot_ms - running.snapshot_ms.load(Ordering::Relaxed) >= SNAPSHOT_MS;
        // Of very many not all are in memory together.
        let mut rows = self.rows((running, &state), done, is_time.then_some(slot_ms));
        loop {
            let alerts: Vec<AlertRow> = rows.by_ref().take(ROWS_AT_ONCE).collect();
            if alerts.is_empty() {
                break;
            }
            let some = Rows { alerts, ..Rows::default() };
            while let Err(error) = self.0.parts.record.append(&some).await {
                warn!(%error, group = running.id.1, "what changed about alerts cannot be written down yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
        if is_time {
            running.snapshot_ms.store(slot_ms, Ordering::Relaxed);
        }
    }

    /// What changed, and at the time of a snapshot all else that is active.
    fn rows<'a>(
        &'a self,
        (running, state): (&'a Running, &'a State),
        done: &'a [alerting::Result<Done>],
        snapshot_ms: Option<i64>,
    ) -> impl Iterator<Item = AlertRow> + 'a {
        let rules = running.group.rules.iter().zip(&running.sources).zip(&state.rules);
        let of_rules = rules.enumerate().filter_map(move |(nth, ((rule, source), of_rule))| {
            let changes = done.get(nth).and_then(|done| done.as_ref().ok()).map_or(&[][..], |done| &done.transitions);
            if changes.is_empty() && snapshot_ms.is_none() {
                return None;
            }
            let of = OfRule { source, generator_url: self.generator_url(rule).into(), run: Arc::default() };
            Some((of, changes, &of_rule.alerts))
        });
        of_rules.flat_map(move |(of, changes, alerts)| {
            let of_change = of.clone();
            let changed = changes.iter().map(move |change| self.row(&of_change, change, alerts.get(&change.labels)));
            let active = snapshot_ms.into_iter().flat_map(|at_ms| alerts.instances().map(move |alert| (at_ms, alert)));
            let is_changed = |labels: &Labels| changes.binary_search_by(|change| change.labels.cmp(labels)).is_ok();
            let still = active.filter(move |(_, (labels, instance))| instance.is_active() && !is_changed(labels));
            changed.chain(still.map(move |(at_ms, (labels, instance))| {
                let (from, to) = (Some(instance.phase), Some(instance.phase));
                let change = Transition { labels: labels.clone(), from, to, at_ms };
                AlertRow { reason: rows::SNAPSHOT, ..self.row(&of, &change, Some(instance)) }
            }))
        })
    }

    /// A change of an alert as a row.
    pub(super) fn row(&self, rule: &OfRule<'_>, change: &Transition, instance: Option<&Instance>) -> AlertRow {
        AlertRow {
            source: Arc::clone(rule.source),
            labels: self.outside(&change.labels),
            generator_url: Arc::clone(&rule.generator_url),
            run: Arc::clone(&rule.run),
            ..AlertRow::changed(change, instance)
        }
    }

    /// Labels as others see them: with those of this program.
    pub(super) fn outside(&self, labels: &Labels) -> Labels {
        let external = &self.0.parts.settings.external_labels;
        if external.is_empty() {
            return labels.clone();
        }
        labels.with(external.iter().filter(|(name, _)| labels.get(name).is_empty()))
    }

    /// Tells of what fires, and of what ended.
    fn tell(&self, running: &Running, slot_ms: i64) {
        let now_ms = self.now_ms();
        let mut alerts = Vec::new();
        let mut state = running.state.lock();
        for (rule, of_rule) in running.group.rules.iter().zip(&mut Arc::make_mut(&mut state).rules) {
            let due = of_rule.alerts.due(slot_ms, RESEND_MS, running.interval_ms);
            if due.is_empty() {
                continue;
            }
            let once = matches!(&rule.action, Action::Alert(alert) if alert.notify == Notify::Once);
            let generator_url: Arc<str> = self.generator_url(rule).into();
            alerts.extend(due.into_iter().map(|due| Alert {
                labels: self.outside(&due.labels),
                annotations: due.annotations,
                starts_ms: due.starts_at_ms,
                ends_ms: due.ends_at_ms,
                generator_url: Arc::clone(&generator_url),
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

    /// Where the expression of a rule is looked at.
    pub(super) fn generator_url(&self, rule: &Rule) -> String {
        let (before, text, after) = match &rule.condition {
            Condition::Promql(query) => ("graph?g0.expr=", query.text(), "&g0.tab=1"),
            Condition::Sql(sql) => ("sql?query=", sql.text.as_str(), ""),
        };
        let query: String = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).collect();
        format!("{}/{before}{query}{after}", self.0.parts.external_url)
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
                alerts: Arc::clone(&running.state.lock()).rules.iter().map(alerts).collect(),
            }
        };
        groups.into_iter().map(shown).collect()
    }
}

/// Names rules in the table of alerts, each by its file, its group, its name, a number of its labels if it has any, and which it is of those
/// that have all that in common. So a rule that is moved within its group, or whose expression is changed, is still the same.
pub(super) fn sources((file, of_group): &Id, group: &Group) -> Vec<Arc<str>> {
    let source = |(rule, ordinal): (&Rule, usize)| {
        let labels: Labels = rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{:016x}", labels.fingerprint()) };
        format!("{file};{of_group};{}{{{labels}}}#{ordinal}", rule.name()).into()
    };
    group.rules.iter().zip(group.ordinals()).map(source).collect()
}

#[cfg(test)]
mod tests {
    use alerting::rules::{Options, parse};

    use super::*;

    #[test]
    fn a_rule_keeps_its_name_when_it_is_moved_or_asks_something_else() {
        let names = |rules: &str| {
            let text = format!("groups: [{{name: g, rules: [{rules}]}}]");
            let groups = parse(&text, &Options { ignores_unknown_fields: false, template: &|_| Ok(()) }).unwrap();
            let id = ("f.yaml".to_owned(), "g".to_owned());
            sources(&id, &groups[0])
        };
        let (a, b) = ("{alert: A, expr: x}", "{alert: B, expr: y, labels: {severity: page}}");
        let before = names(&format!("{a}, {b}, {a}"));
        assert_eq!((&*before[0], &*before[2]), ("f.yaml;g;A{}#0", "f.yaml;g;A{}#1"));
        assert_eq!(
            names(&format!("{}, {a}, {a}", b.replace("y,", "z,"))),
            [&before[1], &before[0], &before[2]].map(Clone::clone)
        );
        // With other labels it is another rule; a series of the same name is none.
        assert_ne!(names(&b.replace("page", "ticket"))[0], before[1]);
        assert_eq!(names(&format!("{{record: A, expr: x}}, {a}"))[1], before[0]);
    }
}
