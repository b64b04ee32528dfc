//! Counters of what is asked.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry, Result};
use tonic::Code;

/// How a statement ended.
const RESULTS: [&str; 3] = ["ok", "error", "canceled"];

/// Counters of all clients.
pub(crate) struct Meter {
    statements: IntCounterVec,
    rows: IntCounter,
    denied: IntCounter,
    canceled: IntCounter,
}

/// A statement that is counted once, however it ends: one that is dropped was canceled.
pub(crate) struct Count {
    statements: IntCounterVec,
    rows: IntCounter,
    result: &'static str,
}

impl Meter {
    pub fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| -> Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let help = "Statements whose rows were asked for over Flight SQL, by how they ended.";
        let statements = IntCounterVec::new(Opts::new("streamgauge_flight_statements_total", help), &["result"])?;
        registry.register(Box::new(statements.clone()))?;
        for result in RESULTS {
            statements.with_label_values(&[result]).reset();
        }
        Ok(Self {
            statements,
            rows: counter("streamgauge_flight_rows_total", "Rows sent over Flight SQL.")?,
            denied: counter(
                "streamgauge_flight_logins_denied_total",
                "Calls of Flight SQL without a token that may read.",
            )?,
            canceled: counter("streamgauge_flight_cancels_total", "Requests to cancel that met a query.")?,
        })
    }

    pub fn begin(&self) -> Count {
        Count { statements: self.statements.clone(), rows: self.rows.clone(), result: RESULTS[2] }
    }

    pub fn denied(&self) {
        self.denied.inc();
    }

    pub fn canceled(&self) {
        self.canceled.inc();
    }
}

impl Count {
    pub fn rows(&self, rows: usize) {
        self.rows.inc_by(rows as u64);
    }

    /// All rows were taken.
    pub fn done(&mut self) {
        self.result = RESULTS[0];
    }

    /// It failed, unless somebody ended it.
    pub fn failed(&mut self, code: Code) {
        if code != Code::Cancelled {
            self.result = RESULTS[1];
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.statements.with_label_values(&[self.result]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_somebody_ended_did_not_fail() {
        let meter = Meter::register(&Registry::new()).unwrap();
        for code in [None, Some(Code::Cancelled), Some(Code::Internal)] {
            let mut count = meter.begin();
            match code {
                None => count.done(),
                Some(code) => count.failed(code),
            }
        }
        drop(meter.begin());
        let counted = RESULTS.map(|result| meter.statements.with_label_values(&[result]).get());
        assert_eq!(counted, [1, 1, 2], "and one that was left was canceled as well");
    }
}
