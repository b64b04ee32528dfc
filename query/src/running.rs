//! Queries that are running: what they ask, since when, and how to end one; and a line in the log for each that was slow.
//!
//! Called by the engine for what can take long: SQL, PromQL, exemplars, federation and remote read. A query is noted before it waits
//! for its place among those that may run, so whoever asks why nothing goes on sees all of them.
//!
//! Invariants: a query is noted as long as its answer is being made, and no longer, however it ends; there are no more of them than
//! may run and wait. Not here: who may ask and end (the binary).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use storage::Clock;
use tokio_util::sync::CancellationToken;

use crate::{Error, ErrorKind, Result};

/// Bytes of a text that are kept to be shown: more than any text a person wrote, and a program's is known by its beginning.
const TEXT_BYTES_MAX: usize = 2_048;

/// The queries that are running.
pub(crate) struct Running {
    queries: Mutex<BTreeMap<u64, Query>>,
    next: AtomicU64,
    slow_ms: u64,
    clock: Clock,
}

struct Query {
    kind: &'static str,
    text: Arc<str>,
    began_us: i64,
    killed: CancellationToken,
}

/// A running query as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Asking {
    /// By which it can be ended.
    pub id: u64,
    /// In which language, or by which endpoint.
    pub kind: &'static str,
    /// What it asks; the beginning of it, if it is long.
    pub text: Arc<str>,
    /// For how long, milliseconds.
    pub age_ms: i64,
}

/// One query while it runs.
pub(crate) struct Run {
    running: Arc<Running>,
    id: u64,
    killed: CancellationToken,
    samples: AtomicUsize,
}

impl Running {
    /// None; those that take longer than `slow_ms` will be logged.
    pub(crate) fn new(slow_ms: u64, clock: Clock) -> Self {
        Self { queries: Mutex::default(), next: AtomicU64::new(1), slow_ms, clock }
    }

    /// A query begins.
    pub(crate) fn begin(self: &Arc<Self>, kind: &'static str, text: &str) -> Run {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let killed = CancellationToken::new();
        let query = Query { kind, text: cut(text).into(), began_us: self.clock.now_us(), killed: killed.clone() };
        self.queries.lock().insert(id, query);
        Run { running: Arc::clone(self), id, killed, samples: AtomicUsize::new(0) }
    }

    /// All of them, the oldest first.
    pub(crate) fn list(&self) -> Vec<Asking> {
        let now_us = self.clock.now_us();
        let age_ms = |query: &Query| (now_us - query.began_us).max(0) / 1000;
        let queries = self.queries.lock();
        let asking = queries.iter().map(|(id, query)| Asking {
            id: *id,
            kind: query.kind,
            text: Arc::clone(&query.text),
            age_ms: age_ms(query),
        });
        asking.collect()
    }

    /// Ends one; false if it is not running (any more).
    pub(crate) fn kill(&self, id: u64) -> bool {
        let queries = self.queries.lock();
        let Some(query) = queries.get(&id) else { return false };
        query.killed.cancel();
        true
    }

    fn end(&self, id: u64, samples: usize) {
        let Some(Query { kind, text, began_us, .. }) = self.queries.lock().remove(&id) else { return };
        let age_ms = (self.clock.now_us() - began_us).max(0) / 1000;
        if age_ms.unsigned_abs() >= self.slow_ms {
            let seconds = format!("{}.{:03}", age_ms / 1000, age_ms % 1000);
            tracing::warn!(kind, seconds, samples, query = &*text, "slow query");
        }
    }
}

impl Run {
    /// Does the work, unless somebody ends the query before.
    pub(crate) async fn or_killed<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            // What is done is not thrown away.
            biased;
            done = work => done,
            () = self.killed.cancelled() => Err(killed()),
        }
    }

    /// Told when somebody ends the query.
    pub(crate) fn killed(&self) -> CancellationToken {
        self.killed.clone()
    }

    /// Samples or rows were read or sent.
    pub(crate) fn add_samples(&self, samples: usize) {
        self.samples.fetch_add(samples, Ordering::Relaxed);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.end(self.id, self.samples.load(Ordering::Relaxed));
    }
}

/// What a query answers that somebody ended.
pub(crate) fn killed() -> Error {
    Error::new(ErrorKind::Canceled, "query was canceled by an administrator")
}

/// The beginning of a text, of whole characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_query_is_listed_while_it_runs_and_can_be_ended() {
        let running = Arc::new(Running::new(u64::MAX, Clock::new(|| 5_000_000)));
        let long = "é".repeat(TEXT_BYTES_MAX);
        let (one, other) = (running.begin("promql", "up"), running.begin("sql", &long));
        let listed = running.list();
        assert_eq!(listed[0], Asking { id: one.id, kind: "promql", text: "up".into(), age_ms: 0 });
        assert_eq!(listed[1].text.len(), TEXT_BYTES_MAX);
        assert!(running.kill(one.id));
        let ended = one.or_killed(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(ended.kind, ErrorKind::Canceled);
        assert!(other.or_killed(async { Ok(()) }).await.is_ok());
        drop(one);
        assert!(!running.kill(1), "it has ended");
        assert_eq!(running.list().len(), 1);
    }
}
