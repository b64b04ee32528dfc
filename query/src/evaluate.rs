//! Answers PromQL over the views.
//!
//! Called by the endpoints and the command line. A query is read and planned by crate `promql`, which says which samples it needs;
//! here they are read of one [`Cut`](crate::cut::Cut) of the tables, once for each need, and the evaluator is given them. Of an answer
//! that is asked for again, only what may have changed is evaluated ([`kept`]).
//!
//! Invariants: labels, samples and what the evaluator holds take their memory from the queries' pool; a client that leaves, or a
//! deadline, stops evaluation at its next look.

pub(crate) mod kept;
mod load;
mod together;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use parking_lot::Mutex;
use promql::{Columns, Control, Features, Kept, Options, Outcome, Planned, Query, Symbols, Syntax, Want};

use self::kept::Part;
pub use self::load::Loaded;
use crate::{Engine, Error, ErrorKind, Result, cut::Cut, engine::Place};

/// When a query is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Milliseconds since 1970.
    pub start_ms: i64,
    /// Included; as `start_ms` for one moment.
    pub end_ms: i64,
    /// Milliseconds; 0 for one moment.
    pub step_ms: i64,
    /// How old a sample may be, milliseconds, if it is not what the engine is configured with.
    pub lookback_ms: Option<i64>,
    /// How long it may take, milliseconds, if that is less than what the engine is configured with.
    pub timeout_ms: Option<u64>,
    /// Is all of it evaluated, even what was answered before?
    pub anew: bool,
}

/// How PromQL is evaluated.
#[derive(Debug, Clone)]
pub struct PromqlConfig {
    /// How old a sample may be to be its series' value, milliseconds.
    pub lookback_ms: i64,
    /// Series one selector may select.
    pub series_max: usize,
    /// Samples a query may hold at once.
    pub samples_max: usize,
    /// Steps a query over a range may have.
    pub points_max: usize,
    /// What is switched on.
    pub features: Features,
    /// How queries may be written.
    pub syntax: Syntax,
}

impl Default for PromqlConfig {
    /// The limits of Prometheus, which has none of series.
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            series_max: 1_000_000,
            samples_max: 50_000_000,
            points_max: 11_000,
            features: Features::default(),
            syntax: Syntax::default(),
        }
    }
}

/// An answer with the texts its labels are made of. Holds its memory of the pool until it is dropped.
#[derive(Debug)]
pub struct Found {
    /// The result.
    pub result: Outcome,
    /// Texts of the labels.
    pub symbols: Symbols,
    /// Warnings, with places.
    pub warnings: Vec<String>,
    /// Infos, with places.
    pub infos: Vec<String>,
    /// Samples that were read.
    pub samples: usize,
    /// Samples and cells that were held at once, at most.
    pub peak: usize,
    /// Microseconds of finding series and reading samples.
    pub load_us: i64,
    /// Microseconds of evaluation.
    pub eval_us: i64,
    held: Vec<MemoryReservation>,
}

/// Stops evaluation when nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A question, the tables it is asked of, and whether it is to end.
struct Question<'a> {
    query: &'a Query,
    when: When,
    cut: &'a Cut,
    stop: &'a AtomicBool,
}

/// Samples that are evaluated in some tens of microseconds by most functions, and in milliseconds by all.
const SHORT_SAMPLES: usize = 4_096;

/// Step of subqueries that name none: the interval of evaluation of Prometheus.
const SUBQUERY_STEP_MS: i64 = 60_000;

impl Engine {
    /// Reads a query in PromQL, in the syntax the engine is configured with.
    ///
    /// # Errors
    /// `Invalid`, with the place.
    pub fn parse(&self, text: &str) -> Result<Query> {
        Ok(Query::parse_with(text, self.config().promql.syntax)?)
    }

    /// Answers a query in PromQL.
    ///
    /// # Errors
    /// `Invalid` if it cannot be planned, `Execution` if it has no result or needs more than it may, `Overloaded` if too many queries
    /// run, `Timeout`, or what reading met.
    pub async fn promql(&self, query: &Query, when: When) -> Result<Found> {
        self.counted("promql", query.text(), async |run| {
            let found = self.answer(query, when).await;
            found.iter().for_each(|found| run.add_samples(found.samples));
            found
        })
        .await
    }

    /// The samples of series that are wanted, staleness markers among them, for whoever evaluates over more than is stored; at most
    /// `samples_max`.
    ///
    /// # Errors
    /// `Execution` if there are more or no memory for them, `Overloaded` if too many queries run, `Timeout`, or what reading met.
    pub async fn samples(&self, want: &Want, samples_max: usize) -> Result<Loaded> {
        let options = Options { samples_max, ..self.options(When::at(want.to_ms)) };
        let wants = [Want { presence: false, ..want.clone() }];
        self.counted("samples", "samples of a selector", async |run| {
            let permit = self.admit().await?;
            let stop = Arc::new(AtomicBool::new(false));
            let guard = StopOnDrop(Arc::clone(&stop));
            let engine = self.clone();
            let cut = engine.cut().stopped_by(&stop);
            let work = async move { load::Selected::of(&wants, &cut).await?.load(&wants, &options, &cut).await };
            let loaded = self.within(work, permit, None).await;
            drop(guard);
            loaded.iter().for_each(|loaded| run.add_samples(loaded.read));
            loaded
        })
        .await
    }

    async fn answer(&self, query: &Query, when: When) -> Result<Found> {
        let planned = query.plan(self.options(when))?;
        let permit = self.admit().await?;
        self.answer_within(query, when, planned, permit).await
    }

    /// Answers a query in PromQL as a part of one in SQL, in whose place among the running ones it is evaluated: one that waited for a
    /// place of its own would wait for the query that waits for it.
    pub(crate) async fn promql_within(&self, query: &Query, when: When, place: Place) -> Result<Found> {
        let planned = query.plan(self.options(when))?;
        self.answer_within(query, when, planned, place).await
    }

    /// Can a query be planned for a time?
    pub(crate) fn check_plan(&self, query: &Query, when: When) -> Result<()> {
        query.plan(self.options(when))?;
        Ok(())
    }

    async fn answer_within(
        &self,
        query: &Query,
        when: When,
        planned: Planned,
        permit: impl Send + 'static,
    ) -> Result<Found> {
        let key = self.answers().key(query.text(), &planned, when);
        let stop = Arc::new(AtomicBool::new(false));
        let guard = StopOnDrop(Arc::clone(&stop));
        let engine = self.clone();
        let query = query.clone();
        let work = async move {
            let cut = engine.cut().stopped_by(&stop);
            let Some((key, lag_ms)) = key.zip(planned.lag_ms()) else {
                return engine.at_all_steps(&planned, &cut, &stop).await;
            };
            if let Some(part) = engine.answers().part(&key, &cut, when, lag_ms) {
                let is_whole = part.is_whole(when);
                let question = Question { query: &query, when, cut: &cut, stop: &stop };
                if let Some(found) = engine.after(part, question).await? {
                    // One that was kept for a longer range stays.
                    if !is_whole {
                        engine.answers().keep(key, &cut, &found);
                    }
                    return Ok(found);
                }
            }
            let found = engine.at_all_steps(&planned, &cut, &stop).await?;
            engine.answers().keep(key, &cut, &found);
            Ok(found)
        };
        let found = self.within(work, permit, when.timeout_ms).await;
        drop(guard);
        found
    }

    async fn at_all_steps(&self, planned: &Planned, cut: &Cut, stop: &AtomicBool) -> Result<Found> {
        let began_us = self.now_us();
        let loaded =
            load::Selected::of(planned.wants(), cut).await?.load(planned.wants(), planned.options(), cut).await?;
        let loaded_us = self.now_us();
        let mut found = self.evaluate(planned, loaded, stop)?;
        found.load_us = loaded_us - began_us;
        found.eval_us = self.now_us() - loaded_us;
        Ok(found)
    }

    /// An answer of steps that were kept, and of the later ones; `None` if these have something that is not kept.
    async fn after(&self, part: Part, question: Question<'_>) -> Result<Option<Found>> {
        let is_whole = part.is_whole(question.when);
        let Part { kept, until_ms } = part;
        let Question { query, when, cut, stop } = question;
        if is_whole {
            let mut symbols = Symbols::default();
            let memory = self.room_for_kept(&kept)?;
            let whole = kept.followed_by(when.start_ms, until_ms, None, &mut symbols);
            return Ok(whole.map(|columns| Found::of_kept(columns, symbols, memory)));
        }
        let later = When { start_ms: until_ms + when.step_ms, ..when };
        let planned = query.plan(self.options(later))?;
        let mut found = self.at_all_steps(&planned, cut, stop).await?;
        let Outcome::Matrix(later) = &found.result else { return Ok(None) };
        if !found.warnings.is_empty() || !found.infos.is_empty() {
            return Ok(None);
        }
        found.held.push(self.room_for_kept(&kept)?);
        let Some(columns) = kept.followed_by(when.start_ms, until_ms, Some(later), &mut found.symbols) else {
            return Ok(None);
        };
        found.result = Outcome::Matrix(columns);
        Ok(Some(found))
    }

    /// Memory for a copy of what was kept.
    fn room_for_kept(&self, kept: &Kept) -> Result<MemoryReservation> {
        let memory = MemoryConsumer::new("answer that was kept").register(self.memory_pool());
        memory.try_grow(kept.bytes())?;
        Ok(memory)
    }

    /// How it is evaluated then.
    fn options(&self, when: When) -> Options {
        let config = &self.config().promql;
        Options {
            start_ms: when.start_ms,
            end_ms: when.end_ms,
            step_ms: when.step_ms.max(1),
            is_instant: when.step_ms == 0,
            lookback_ms: when.lookback_ms.unwrap_or(config.lookback_ms),
            subquery_step_ms: SUBQUERY_STEP_MS,
            samples_max: config.samples_max,
            threads: self.threads().count,
            features: config.features,
        }
    }

    fn evaluate(&self, planned: &Planned, loaded: Loaded, stop: &AtomicBool) -> Result<Found> {
        let Loaded { samples, mut symbols, memory: mut held, read } = loaded;
        let memory = MemoryConsumer::new("evaluation of PromQL").register(self.memory_pool());
        let memory = Mutex::new(memory);
        // What was read is accounted for; the evaluator counts it too.
        let of_read: usize = read * size_of::<f64>();
        let peak = AtomicUsize::new(0);
        let reserve = |bytes: usize| {
            peak.fetch_max(bytes / size_of::<f64>(), Ordering::Relaxed);
            memory.lock().try_resize(bytes.saturating_sub(of_read)).is_ok()
        };
        let control = Control { stop, reserve: &reserve };
        let mut evaluate = || planned.evaluate(&samples, &mut symbols, control);
        // Others go on meanwhile, which takes longer to arrange than a short evaluation does.
        let answer = if is_short(planned, read) { evaluate() } else { tokio::task::block_in_place(evaluate) }?;
        held.push(memory.into_inner());
        Ok(Found {
            result: answer.result,
            symbols,
            warnings: answer.warnings,
            infos: answer.infos,
            samples: read,
            peak: peak.into_inner(),
            load_us: 0,
            eval_us: 0,
            held,
        })
    }
}

impl Found {
    /// Of an answer nothing of which was evaluated.
    fn of_kept(columns: Columns, symbols: Symbols, memory: MemoryReservation) -> Self {
        Self {
            result: Outcome::Matrix(columns),
            symbols,
            warnings: Vec::new(),
            infos: Vec::new(),
            samples: 0,
            peak: 0,
            load_us: 0,
            eval_us: 0,
            held: vec![memory],
        }
    }
}

impl When {
    /// The last step that is not after a time; `None` if the first one is.
    fn last_step_before(&self, time_ms: i64) -> Option<i64> {
        let after_ms = time_ms.checked_sub(self.start_ms).filter(|after| *after >= 0)?;
        Some(time_ms - after_ms % self.step_ms.max(1))
    }

    /// One moment.
    #[must_use]
    pub fn at(time_ms: i64) -> Self {
        Self { start_ms: time_ms, end_ms: time_ms, step_ms: 0, lookback_ms: None, timeout_ms: None, anew: false }
    }

    /// Refuses more steps than a query may have.
    pub(crate) fn check(&self, points_max: usize) -> Result<()> {
        let steps = self.end_ms.abs_diff(self.start_ms) / self.step_ms.unsigned_abs().max(1);
        // As Prometheus counts: 11,000 and one point are allowed.
        if usize::try_from(steps).is_ok_and(|steps| steps <= points_max) {
            return Ok(());
        }
        let message = format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX), \
             or raise `promql.points_max`",
            grouped(points_max)
        );
        Err(Error::new(ErrorKind::Invalid, message))
    }
}

/// Is a query evaluated over so few samples that it is done at once?
fn is_short(planned: &Planned, read: usize) -> bool {
    (1..=SHORT_SAMPLES).contains(&read) && !planned.has_subqueries()
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
