//! Counts queries for `/metrics`.
//!
//! Called by the engine. A query is counted once, when its answer ends or is dropped.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use storage::{Clock, Latency};

use crate::ErrorKind;

/// Counters of one engine.
pub(crate) struct Meter {
    queries: IntCounterVec,
    rows: IntCounter,
    running: IntGauge,
    duration: Latency,
    clock: Clock,
}

/// One query being counted; dropped before it is told how it ended, it was canceled.
pub(crate) struct Count {
    meter: Arc<Meter>,
    start_us: i64,
    outcome: Outcome,
}

impl Meter {
    pub(crate) fn register(registry: &Registry, clock: Clock) -> Result<Self, prometheus::Error> {
        let help = "SQL queries by result: ok, canceled, or the kind of error.";
        let queries = IntCounterVec::new(Opts::new("streamgauge_query_queries_total", help), &["result"])?;
        let rows = IntCounter::new("streamgauge_query_rows_total", "Rows that SQL queries returned.")?;
        let running = IntGauge::new("streamgauge_query_running", "SQL queries that are running.")?;
        registry.register(Box::new(queries.clone()))?;
        registry.register(Box::new(rows.clone()))?;
        registry.register(Box::new(running.clone()))?;
        let (name, help) = ("streamgauge_query_duration_seconds", "Time from a query's text to the end of its answer.");
        let duration = Latency::register(registry, clock.clone(), name, help)?;
        Ok(Self { queries, rows, running, duration, clock })
    }

    /// A query begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Count {
        self.running.inc();
        Count { meter: Arc::clone(self), start_us: self.clock.now_us(), outcome: Outcome::Canceled }
    }
}

impl Count {
    /// Rows went out.
    pub(crate) fn rows(&self, rows: usize) {
        self.meter.rows.inc_by(u64::try_from(rows).unwrap_or(0));
    }

    /// The query has ended.
    pub(crate) fn end(&mut self, result: Result<(), ErrorKind>) {
        self.outcome = result.map_or_else(Outcome::Failed, |()| Outcome::Ok);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.meter.running.dec();
        self.meter.queries.with_label_values(&[self.outcome.name()]).inc();
        self.meter.duration.observe_since(self.start_us);
    }
}

/// How a query ended.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Ok,
    Canceled,
    Failed(ErrorKind),
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Canceled | Self::Failed(ErrorKind::Canceled) => "canceled",
            Self::Failed(ErrorKind::Invalid) => "invalid",
            Self::Failed(ErrorKind::Execution) => "execution",
            Self::Failed(ErrorKind::Timeout) => "timeout",
            Self::Failed(ErrorKind::Overloaded) => "overloaded",
            Self::Failed(ErrorKind::Unavailable) => "unavailable",
            Self::Failed(ErrorKind::Internal) => "internal",
        }
    }
}
