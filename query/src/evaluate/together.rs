//! Several queries of one moment over one cut of the tables: the rules of a group.
//!
//! Called by whoever evaluates rules, on a thread that may wait. Rules are many and small, and what a query costs beside its evaluation,
//! such as handing it to a thread and looking through the head, is paid once for a share of them: series of all are found, samples of all
//! are read at once, each is evaluated over its own.
//!
//! Invariants: each query has the answer that it has alone, or its own error; a share has as many samples as fit, about, into
//! [`SHARED_SAMPLES`], or one query, and no more answers are held than those of a share; each step has the time that a query has. They do not wait
//! for a place among the queries of people: how many are evaluated at once is the caller's affair.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use datafusion::execution::memory_pool::MemoryReservation;
use promql::{HistogramSample, Planned, Query, Samples, Symbols, Want};
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Found, When, is_short,
    load::{Loaded, Selected, extent, without_empty},
};
use crate::{
    Engine, Error, ErrorKind, Result,
    cut::{Cut, Key, Located},
    engine::{defect, timed_out},
    native,
    running::{Run, killed},
    table,
};

/// Samples that are read at once, about: some megabytes, and all that a group of usual rules needs.
const SHARED_SAMPLES: usize = 256 << 10;
/// How often a series has a sample, for that estimate, milliseconds.
const SAMPLE_EVERY_MS: i64 = 10_000;

/// A query that is planned, with its series.
struct Asked {
    planned: Planned,
    selected: Selected,
}

/// What several wants of the same times have in common.
struct Shared<'a> {
    /// Series, in order.
    keys: Vec<Key<'a>>,
    floats: table::Found,
    /// Of each series; empty if none has any.
    histograms: Vec<Vec<HistogramSample>>,
}

/// What all queries of a call have in common.
struct Together<'e> {
    engine: &'e Engine,
    cut: Cut,
    run: Run,
    stop: Arc<AtomicBool>,
    runtime: Handle,
}

impl Engine {
    /// Does work that waits, such as [`Engine::promql_together`], on a thread whose stack is deep enough for all queries.
    ///
    /// # Errors
    /// `Unavailable` if the engine is stopping.
    pub fn on_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
        Ok(self.threads().runtime()?.spawn_blocking(work))
    }

    /// Answers the first of some queries at one time, each as [`Engine::promql`] does, but over one cut of the tables: as many as read so
    /// little that they fit together, and one at least. Whoever has taken in these answers asks for the rest. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if the engine is stopping; of each query, those of [`Engine::promql`].
    pub fn promql_together(&self, queries: &[&Query], when: When) -> Result<Vec<Result<Found>>> {
        let runtime = self.threads().runtime()?.handle().clone();
        let texts: Vec<&str> = queries.iter().map(|query| query.text()).collect();
        let (mut count, run) = self.begin_run("rules", &texts.join("; "));
        let stop = Arc::default();
        let together = Together { engine: self, cut: self.cut().stopped_by(&stop), run, stop, runtime };
        let (mut share, mut samples) = (Vec::new(), 0);
        for query in queries {
            let asked = together.asked(query, when);
            samples += asked.as_ref().map_or(0, Asked::samples);
            // The one that is too much is asked again with those after it.
            if samples > SHARED_SAMPLES && !share.is_empty() {
                break;
            }
            share.push(asked);
        }
        let answers = together.answers(share);
        count.end(Ok(()));
        Ok(answers)
    }
}

impl Asked {
    fn wants(&self) -> impl Iterator<Item = (&Want, &Located)> {
        self.planned.wants().iter().zip(&self.selected.located)
    }

    /// How many samples it reads, about.
    fn samples(&self) -> usize {
        let of = |(want, located): (&Want, &Located)| {
            let of_one = want.to_ms.saturating_sub(want.after_ms) / SAMPLE_EVERY_MS + 1;
            located.labels.len().saturating_mul(usize::try_from(of_one).unwrap_or(usize::MAX))
        };
        self.wants().map(of).fold(0, usize::saturating_add)
    }
}

impl Together<'_> {
    fn asked(&self, query: &Query, when: When) -> Result<Asked> {
        let planned = query.plan(self.engine.options(when))?;
        let selected = self.wait(Selected::of(planned.wants(), &self.cut))?;
        Ok(Asked { planned, selected })
    }

    /// Answers of queries whose series are found.
    fn answers(&self, mut share: Vec<Result<Asked>>) -> Vec<Result<Found>> {
        if let [_] = share.as_slice() {
            // What is alone is read in the way that is best for it.
            let alone = share.remove(0).and_then(|Asked { planned, selected }| {
                let loaded = self.wait(selected.load(planned.wants(), planned.options(), &self.cut))?;
                self.evaluate(&planned, loaded)
            });
            return vec![alone];
        }
        let asked: Vec<&Asked> = share.iter().filter_map(|asked| asked.as_ref().ok()).collect();
        match self.wait(self.read(&asked)) {
            Ok((samples, _memory)) => {
                let mut samples = samples.into_iter();
                let mut answer = |Asked { planned, selected }: Asked| {
                    let read = |samples: &Samples| {
                        samples.places.iter().map(|place| (place.end - place.start) as usize).sum::<usize>()
                    };
                    let samples = samples.next().unwrap_or_default();
                    let loaded = Loaded {
                        read: samples.iter().map(read).sum(),
                        samples,
                        symbols: selected.symbols,
                        memory: selected.located.into_iter().map(|located| located.memory).collect(),
                    };
                    self.evaluate(&planned, loaded)
                };
                share.into_iter().map(|asked| asked.and_then(&mut answer)).collect()
            }
            // Whose fault it is turns out when each is alone.
            Err(_) => share.into_iter().flat_map(|asked| self.answers(vec![asked])).collect(),
        }
    }

    /// Samples of each query, each with those of its wants, and their memory.
    async fn read(&self, asked: &[&Asked]) -> Result<(Vec<Vec<Samples>>, Vec<MemoryReservation>)> {
        let mut shared: BTreeMap<(i64, i64), (&Want, &Planned, Vec<Key<'_>>)> = BTreeMap::new();
        for one in asked {
            for (want, located) in one.wants() {
                let of = shared.entry((want.after_ms, want.to_ms)).or_insert_with(|| (want, &one.planned, Vec::new()));
                of.2.append(&mut located.keys(&one.selected.symbols));
            }
        }
        let (mut found, mut memory) = (BTreeMap::new(), Vec::new());
        for (times, (want, planned, mut keys)) in shared {
            keys.sort_unstable();
            keys.dedup();
            let options = planned.options();
            let (mut floats, rows) = self.cut.read(&keys, extent(want, options, options.samples_max)).await?;
            memory.push(floats.take_memory());
            let mut histograms = Vec::new();
            if let Some(mut rows) = rows {
                memory.push(rows.take_memory());
                histograms = native::histograms(&rows, keys.len(), want.after_ms)?;
            }
            found.insert(times, Shared { keys, floats, histograms });
        }
        let of = |asked: &&Asked| {
            let of = |(want, located): (&Want, &Located)| {
                let shared = found.get(&(want.after_ms, want.to_ms));
                shared.map(|shared| shared.samples(located, &asked.selected.symbols)).unwrap_or_default()
            };
            asked.wants().map(of).collect()
        };
        Ok((asked.iter().map(of).collect(), memory))
    }

    /// Evaluates a query, for as long as it may take.
    fn evaluate(&self, planned: &Planned, loaded: Loaded) -> Result<Found> {
        self.run.add_samples(loaded.read);
        if is_short(planned, loaded.read) {
            return self.guarded(planned, loaded);
        }
        let (stop, killed_by, timeout_ms) = (Arc::clone(&self.stop), self.run.killed(), self.timeout_ms());
        let watch = AbortOnDropHandle::new(self.runtime.spawn(async move {
            let _ = timeout(Duration::from_millis(timeout_ms), killed_by.cancelled()).await;
            stop.store(true, Ordering::Relaxed);
        }));
        let found = self.guarded(planned, loaded);
        drop(watch);
        let was_stopped = self.stop.swap(false, Ordering::Relaxed);
        match found {
            Err(error) if was_stopped && error.kind == ErrorKind::Canceled => Err(self.why_it_ended()),
            found => found,
        }
    }

    /// A panic in a query is that query's error.
    fn guarded(&self, planned: &Planned, loaded: Loaded) -> Result<Found> {
        let evaluate = || self.engine.evaluate(planned, loaded, &self.stop);
        catch_unwind(AssertUnwindSafe(evaluate)).unwrap_or_else(|_| Err(defect()))
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let in_time = async {
            let done = timeout(Duration::from_millis(self.timeout_ms()), self.run.or_killed(work)).await;
            done.unwrap_or_else(|_| Err(timed_out(self.timeout_ms())))
        };
        catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(in_time))).unwrap_or_else(|_| Err(defect()))
    }

    fn why_it_ended(&self) -> Error {
        if self.run.killed().is_cancelled() { killed() } else { timed_out(self.timeout_ms()) }
    }

    fn timeout_ms(&self) -> u64 {
        self.engine.config().timeout_ms
    }
}

impl Shared<'_> {
    /// Those of some of its series.
    fn samples(&self, located: &Located, symbols: &Symbols) -> Samples {
        let keys = located.keys(symbols);
        let at: Vec<usize> = keys.iter().filter_map(|key| self.keys.binary_search(key).ok()).collect();
        without_empty(Samples {
            labels: located.labels.clone(),
            floats: self.floats.floats.clone(),
            places: at.iter().filter_map(|at| self.floats.places.get(*at)).copied().collect(),
            histograms: at.iter().filter_map(|at| self.histograms.get(*at)).cloned().collect(),
            present: None,
        })
    }
}

#[cfg(test)]
mod tests;
