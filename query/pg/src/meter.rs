//! Counters of connections and of what they ask.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result};

/// Counters of all connections.
pub(crate) struct Meter {
    open: IntGauge,
    opened: IntCounter,
    refused: IntCounter,
    denied: IntCounter,
    statements: IntCounterVec,
    rows: IntCounter,
    canceled: IntCounter,
}

/// A connection that is counted as open.
pub(crate) struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meter {
    pub fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| -> Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let open =
            IntGauge::new("streamgauge_pg_connections", "Connections of the PostgreSQL protocol that are open.")?;
        registry.register(Box::new(open.clone()))?;
        let help = "Statements of the PostgreSQL protocol, by how they ended.";
        let statements = IntCounterVec::new(Opts::new("streamgauge_pg_statements_total", help), &["result"])?;
        registry.register(Box::new(statements.clone()))?;
        for result in ["ok", "error"] {
            statements.with_label_values(&[result]).reset();
        }
        Ok(Self {
            open,
            opened: counter(
                "streamgauge_pg_connections_total",
                "Connections of the PostgreSQL protocol that were let in.",
            )?,
            refused: counter(
                "streamgauge_pg_connections_refused_total",
                "Connections of the PostgreSQL protocol refused because there were too many.",
            )?,
            denied: counter(
                "streamgauge_pg_logins_denied_total",
                "Connections of the PostgreSQL protocol whose user or password was not good.",
            )?,
            statements,
            rows: counter("streamgauge_pg_rows_total", "Rows sent over the PostgreSQL protocol.")?,
            canceled: counter("streamgauge_pg_cancels_total", "Cancel requests that met a connection.")?,
        })
    }

    pub fn open(&self) -> Open {
        self.opened.inc();
        self.open.inc();
        Open(self.open.clone())
    }

    pub fn refused(&self) {
        self.refused.inc();
    }

    pub fn denied(&self) {
        self.denied.inc();
    }

    pub fn canceled(&self) {
        self.canceled.inc();
    }

    pub fn rows(&self, rows: usize) {
        self.rows.inc_by(rows as u64);
    }

    pub fn statement(&self, is_good: bool) {
        self.statements.with_label_values(&[if is_good { "ok" } else { "error" }]).inc();
    }
}
