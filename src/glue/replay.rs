//! Replays rules over what is stored, and says what comes of it.
//!
//! Called on a thread that may wait, by the server (`http::replay`) and by `rules backtest` over a data folder. One question at a time is
//! asked, and when too many are, it waits: whoever else asks comes first. Nothing live is touched: nobody is told, no series is written;
//! changes of alerts become rows of `alerts` only if a run is named, and under its name.
//!
//! Invariant: whoever is told of progress can end it at each slot.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alerting::{
    Error, Labels, Result,
    alert::RESEND_MS,
    alertmanager::{Message, Plan, Rehearsal},
    alerts::Alert,
    config::receiver::ReceiverKind,
    memory,
    outbox::Key,
    query::{Found, Sample, Value},
    replay::{Ahead, Firing, Replay, Replayed, Series, Settings, Step, Stored, Tally, Times},
    rows::{AlertRow, Record, Rows},
    rules::{Condition, Options, Sql, parse},
    silence::Silence,
};
use promql::{Outcome, Want};
use query::{Engine, ErrorKind, When};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{
    rules::{self, OfRule, Rules},
    world::{self, count_of, counts, fewest, no_vector, recent},
};

/// Evaluations of groups in one replay: seven years of a minute, or a week of 360 groups.
pub const SLOTS_MAX: u64 = 3_700_000;
/// Firings that are told one by one; all are counted.
pub const FIRINGS_MAX: usize = 10_000;
/// Rows of a run that are written at once.
const ROWS_AT_ONCE: usize = 1_000;
/// How many slots pass between two words on how far it is.
const TELL_EVERY: u64 = 64;
/// How long it is waited when too many questions are asked, and how often.
const GIVE_WAY: Duration = Duration::from_secs(1);
const GIVE_WAY_MAX: usize = 600;

/// A file with rules.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path, which says when its groups are evaluated.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Groups of files; those that do not say are evaluated each `interval_ms`.
///
/// # Errors
/// All that is wrong with them, each with file, line and column.
pub fn groups(files: &[File], ignores_unknown_fields: bool, interval_ms: i64) -> Result<Vec<Replayed>, String> {
    let options = Options { ignores_unknown_fields, template: &alerting::template::check };
    let (mut groups, mut wrong) = (Vec::new(), Vec::new());
    for File { name, text } in files {
        match parse(text, &options) {
            Ok(of_file) => groups.extend(of_file.into_iter().map(|group| Replayed {
                file: name.clone(),
                interval_ms: group.interval_ms.unwrap_or(interval_ms),
                group,
            })),
            Err(errors) => wrong.extend(errors.iter().map(|error| format!("{name}:{error}"))),
        }
    }
    if wrong.is_empty() { Ok(groups) } else { Err(wrong.join("\n")) }
}

/// What is replayed.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Groups, each at its own slots.
    pub groups: Vec<Replayed>,
    /// From this time on, milliseconds.
    pub from_ms: i64,
    /// Until this time, and without it.
    pub to_ms: i64,
    /// How long before its time a group is asked that does not say, milliseconds.
    pub query_offset_ms: i64,
    /// Labels of all alerts.
    pub external_labels: Labels,
    /// Where the program is found.
    pub external_url: String,
}

/// Who would be told, as the configuration in force says.
pub struct Routing {
    /// Routes and receivers.
    pub plan: Plan,
    /// Silences that are known.
    pub silences: Vec<Silence>,
}

/// Where changes of alerts are written down.
pub struct Run<'a> {
    /// Its name.
    pub name: Arc<str>,
    /// Knows how rules are named in rows.
    pub rules: &'a Rules,
    /// Writes down.
    pub record: Arc<dyn Record>,
}

/// One time that an alert would have fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// Its group.
    pub group: String,
    /// Its rule.
    pub rule: String,
    /// When, and with which labels.
    #[serde(flatten)]
    pub firing: Firing,
}

/// What one receiver would have been sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its name.
    pub receiver: String,
    /// By what.
    pub kind: String,
    /// How many messages.
    pub messages: u64,
    /// How many of them only said again that something fires.
    pub repeats: u64,
    /// About how many groups of alerts.
    pub groups: u64,
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The name of its rows in `alerts`, if it has any.
    pub run: Option<String>,
    /// From when on, milliseconds.
    pub from_ms: i64,
    /// Until when.
    pub to_ms: i64,
    /// Rule by rule.
    pub rules: Vec<Tally>,
    /// Receiver by receiver; none if there are no routes.
    pub told: Vec<Told>,
    /// Firings that were not told one by one.
    pub firings_left: u64,
    /// What is to be known about these numbers.
    pub warnings: Vec<String>,
}

/// What is told on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum News {
    /// How far it is.
    Progress {
        /// Evaluations of groups that are done.
        done: u64,
        /// All of them.
        total: u64,
        /// The time that is evaluated, milliseconds.
        at_ms: i64,
    },
    /// An alert fired, and that is over, or the replay.
    Firing(Fired),
    /// All is done.
    Ended(Box<Ended>),
    /// It broke off.
    Failed(String),
}

impl Asked {
    /// Is it little enough?
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<()> {
        if self.from_ms >= self.to_ms {
            return Err(Error::invalid("the time to be replayed ends before it begins"));
        }
        if self.groups.is_empty() {
            return Err(Error::invalid("there are no rules to be replayed"));
        }
        let slots = self.replay(&self.settings()).left();
        if slots > SLOTS_MAX {
            let message = "too much to be replayed at once; take a shorter time or fewer groups";
            return Err(Error::invalid(format!("{message}: evaluations={slots} evaluations_max={SLOTS_MAX}")));
        }
        Ok(())
    }

    fn settings(&self) -> Settings<'_> {
        Settings {
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            expand: &alerting::template::Templates,
            external_labels: &self.external_labels,
            external_url: &self.external_url,
            query_offset_ms: self.query_offset_ms,
            resend_ms: RESEND_MS,
            memory: memory::Settings {
                lookback_ms: 0,
                subquery_step_ms: 60_000,
                features: promql::Features::default(),
            },
        }
    }

    fn replay<'a>(&'a self, settings: &Settings<'a>) -> Replay<'a> {
        Replay::new(&self.groups, *settings)
    }

    fn warnings(&self, has_routes: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        let rules = self.groups.iter().flat_map(|of| &of.group.rules);
        let mut in_sql = rules.filter(|rule| matches!(rule.condition, Condition::Sql(_)));
        if let Some(first) = in_sql.next() {
            warnings.push(format!(
                "rules in SQL, such as {:?}, find the rows that are there today; only now() is the time of the evaluation",
                first.name()
            ));
        }
        if has_routes {
            warnings.push("messages are counted with the routes and silences of today".to_owned());
        }
        warnings
    }
}

/// Replays, and tells of it; false from `tell` ends it. Blocks.
///
/// # Errors
/// `Invalid` if it is too much, or was ended; `Unavailable` if what a run keeps cannot be written down.
pub fn replay(
    (engine, runtime): world::Asks<'_>,
    asked: &Asked,
    routing: Option<Routing>,
    run: Option<&Run<'_>>,
    tell: &mut dyn FnMut(News) -> bool,
) -> Result<Ended> {
    asked.check()?;
    let config = engine.promql_config();
    let memory =
        memory::Settings { lookback_ms: config.lookback_ms, features: config.features, subquery_step_ms: 60_000 };
    let settings = Settings { memory, ..asked.settings() };
    let mut replay = asked.replay(&settings);
    let mut history = History { engine, runtime };
    let warnings = asked.warnings(routing.is_some());
    let mut rehearsal = routing.map(|of| Rehearsal::new(of.plan, of.silences, asked.from_ms));
    let (mut messages, mut firings, mut written) = (BTreeMap::new(), Firings::default(), Written::new(run, runtime));
    let (total, mut done) = (replay.left(), 0);
    while let Some(step) = replay.step(&mut history)? {
        if done % TELL_EVERY == 0 && !tell(News::Progress { done, total, at_ms: step.at_ms }) {
            return Err(Error::invalid("the replay was ended"));
        }
        done += 1;
        written.take(asked, &step)?;
        if let Some(rehearsal) = &mut rehearsal {
            count(&mut messages, rehearsal.until(step.at_ms - 1));
            rehearsal.tell(asked.outside(step.told), step.at_ms);
        }
        for (nth, firing) in step.ended {
            let Some(of) = asked.groups.get(step.group) else { continue };
            firings.tell(&of.group.name, of.group.rules.get(nth).map_or("", |rule| rule.name()), firing, tell);
        }
    }
    if let Some(rehearsal) = &mut rehearsal {
        count(&mut messages, rehearsal.until(asked.to_ms - 1));
    }
    written.flush()?;
    let mut rules = Vec::new();
    for (tally, open) in replay.end() {
        open.into_iter().for_each(|firing| firings.tell(&tally.group, &tally.rule, firing, tell));
        rules.push(tally);
    }
    tell(News::Progress { done, total, at_ms: asked.to_ms });
    Ok(Ended {
        run: run.map(|run| run.name.to_string()),
        from_ms: asked.from_ms,
        to_ms: asked.to_ms,
        rules,
        told: messages.into_values().map(|(told, _)| told).collect(),
        firings_left: firings.left,
        warnings,
    })
}

impl Asked {
    /// Alerts as the dispatcher sees them: with labels of the program.
    fn outside(&self, alerts: Vec<Alert>) -> Vec<Alert> {
        let with = |alert: Alert| {
            let external = self.external_labels.iter().filter(|(name, _)| alert.labels.get(name).is_empty());
            Alert { labels: alert.labels.with(external), ..alert }
        };
        alerts.into_iter().map(with).collect()
    }
}

/// Messages by receiver and integration, with the groups they were about.
type Counted = BTreeMap<(Arc<str>, ReceiverKind, usize), (Told, std::collections::BTreeSet<Arc<str>>)>;

fn count(counted: &mut Counted, messages: Vec<Message>) {
    for message in messages {
        let Key { receiver, kind, integration, .. } = &message.key;
        let (told, groups) = counted.entry((Arc::clone(receiver), *kind, *integration)).or_default();
        (told.receiver, told.kind) = (receiver.to_string(), kind.to_string());
        told.messages += 1;
        told.repeats += u64::from(message.is_repeat());
        groups.insert(message.key.group);
        told.groups = groups.len() as u64;
    }
}

/// Firings that are told.
#[derive(Default)]
struct Firings {
    told: usize,
    left: u64,
}

impl Firings {
    fn tell(&mut self, group: &str, rule: &str, firing: Firing, tell: &mut dyn FnMut(News) -> bool) {
        if self.told == FIRINGS_MAX {
            self.left += 1;
            return;
        }
        self.told += 1;
        tell(News::Firing(Fired { group: group.to_owned(), rule: rule.to_owned(), firing }));
    }
}

/// Rows of a run.
struct Written<'a> {
    run: Option<&'a Run<'a>>,
    runtime: &'a Handle,
    rows: Vec<AlertRow>,
    /// Names of the rules of groups of which something changed.
    sources: BTreeMap<usize, Vec<Arc<str>>>,
}

impl<'a> Written<'a> {
    fn new(run: Option<&'a Run<'a>>, runtime: &'a Handle) -> Self {
        Self { run, runtime, rows: Vec::new(), sources: BTreeMap::new() }
    }

    fn take(&mut self, asked: &Asked, step: &Step) -> Result<()> {
        let (Some(run), Some(of)) = (self.run, asked.groups.get(step.group)) else { return Ok(()) };
        let name = || rules::sources(&(of.file.clone(), of.group.name.clone()), &of.group);
        for (nth, change, instance) in &step.changes {
            let sources = self.sources.entry(step.group).or_insert_with(name);
            let (Some(rule), Some(source)) = (of.group.rules.get(*nth), sources.get(*nth)) else { continue };
            let generator_url = run.rules.generator_url(rule).into();
            let of = OfRule { source, generator_url, run: Arc::clone(&run.name) };
            self.rows.push(run.rules.row(&of, change, instance.as_ref()));
        }
        if self.rows.len() >= ROWS_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let Some(run) = self.run else { return Ok(()) };
        let alerts = std::mem::take(&mut self.rows);
        self.runtime.block_on(run.record.append(&Rows { alerts, ..Rows::default() }))
    }
}

/// What is stored, as rules of a replay ask for it.
struct History<'a> {
    engine: &'a Engine,
    runtime: &'a Handle,
}

impl History<'_> {
    /// Asks, again after a while if too many others do.
    fn ask<T>(&self, ask: impl AsyncFn() -> query::Result<T>) -> query::Result<T> {
        for _ in 0..GIVE_WAY_MAX {
            match self.runtime.block_on(ask()) {
                Err(error) if error.kind == ErrorKind::Overloaded => std::thread::sleep(GIVE_WAY),
                other => return other,
            }
        }
        self.runtime.block_on(ask())
    }

    /// How many series the selector has at each time that has the fewest.
    fn fresh(&self, query: &promql::Query, times: Times) -> Result<BTreeMap<i64, u64>> {
        let mut fewest: Option<BTreeMap<i64, u64>> = None;
        for count in counts(self.engine, query)? {
            let found = self.ask(async || self.engine.promql(&count, over(times)).await).map_err(world::failed)?;
            let Outcome::Matrix(columns) = &found.result else { return Ok(BTreeMap::new()) };
            let steps = (times.first_ms..=times.last_ms).step_by(usize::try_from(times.step_ms).unwrap_or(1));
            let mut counted: BTreeMap<i64, u64> = steps.map(|at_ms| (at_ms, 0)).collect();
            if !columns.labels.is_empty() {
                let all: Vec<i64> = columns.times().collect();
                counted.extend(columns.floats(0).filter_map(|(step, n)| Some((*all.get(step)?, count_of(n)))));
            }
            fewest = Some(match fewest {
                None => counted,
                Some(known) => {
                    known.into_iter().map(|(at, n)| (at, n.min(counted.get(&at).copied().unwrap_or(0)))).collect()
                }
            });
        }
        Ok(fewest.unwrap_or_default())
    }
}

/// A query over a range, of which nothing is kept.
fn over(times: Times) -> When {
    let Times { first_ms, last_ms, step_ms } = times;
    When { end_ms: last_ms, step_ms, anew: true, ..When::at(first_ms) }
}

impl Stored for History<'_> {
    fn range(&mut self, query: &promql::Query, times: Times, (looks, most): (bool, usize)) -> Result<Option<Ahead>> {
        let found = self.ask(async || self.engine.promql(query, over(times)).await).map_err(world::failed)?;
        let Outcome::Matrix(columns) = &found.result else { return Err(no_vector()) };
        let mut left = most;
        let mut series: Vec<Series> = Vec::new();
        for (row, labels) in columns.labels.iter().enumerate() {
            let samples: Vec<(i64, Value)> =
                columns.points(row).take(left + 1).map(|(at_ms, point)| (at_ms, point.into())).collect();
            let Some(less) = left.checked_sub(samples.len()) else { return Ok(None) };
            left = less;
            series.push((labels.texts(&found.symbols).collect(), samples));
        }
        let fresh = if looks { self.fresh(query, times)? } else { BTreeMap::new() };
        Ok(Some(Ahead { series, fresh, warnings: found.warnings }))
    }

    fn instant(&mut self, query: &promql::Query, at_ms: i64, looks_for_data: bool) -> Result<Found> {
        let when = When { anew: true, ..When::at(at_ms) };
        let found = self.ask(async || self.engine.promql(query, when).await).map_err(world::failed)?;
        let samples: Vec<Sample> = memory::samples(&found.result, &found.symbols).ok_or_else(no_vector)?;
        let fresh = match looks_for_data {
            true => fewest(self.engine, &[query], at_ms).pop().transpose()?.flatten(),
            false => None,
        };
        Ok(Found { samples, warnings: found.warnings, fresh })
    }

    fn sql(&mut self, sql: &Sql, at_ms: i64) -> Result<Found> {
        let asks = (self.engine, self.runtime);
        let now_us = at_ms.saturating_mul(1000);
        let answer = self.ask(async || self.engine.sql_at(&sql.text, now_us).await?.collect().await);
        let samples = world::of_answer(&answer.map_err(world::failed)?, sql)?;
        let fresh = match (&sql.table, sql.max_age_ms) {
            (Some(table), Some(max_age_ms)) => Some(recent(asks, table, (at_ms - max_age_ms, Some(at_ms)))?),
            _ => None,
        };
        Ok(Found { samples, warnings: Vec::new(), fresh })
    }

    fn samples(&mut self, want: &Want, most: usize) -> Result<Option<Vec<Series>>> {
        let loaded = match self.ask(async || self.engine.samples(want, most).await) {
            Ok(loaded) => loaded,
            Err(error) if error.kind == ErrorKind::Execution => return Ok(None),
            Err(error) => return Err(world::failed(error)),
        };
        let Some(samples) = loaded.samples.first() else { return Ok(Some(Vec::new())) };
        let series = samples.labels.iter().enumerate().map(|(row, labels)| {
            let (times, values) = samples.floats_of(row);
            let floats = times.iter().zip(values).map(|(time, value)| (*time, Value::Float(*value)));
            let histograms = samples.histograms.get(row).map(Vec::as_slice).unwrap_or_default();
            let histograms = histograms.iter().map(|of| (of.time, Value::Histogram(Arc::clone(&of.histogram))));
            let mut all: Vec<(i64, Value)> = floats.chain(histograms).collect();
            all.sort_by_key(|(time, _)| *time);
            (labels.texts(&loaded.symbols).collect(), all)
        });
        Ok(Some(series.collect()))
    }
}
