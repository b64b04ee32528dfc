//! Counts what became of exports, and shows how fresh each is.
//!
//! Invariant: one label, the export's name, which the settings bound or a load gave.

use std::collections::BTreeMap;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::super::{Freshness, Told};
use crate::Result;

/// Exports by whose name something is shown: whoever loads under ever new names fills no memory.
const EXPORTS_MAX: usize = 2_000;

/// Metrics of exports.
#[derive(Debug, Clone)]
pub struct Meter {
    loads: IntCounterVec,
    rows: IntCounterVec,
    rejects: IntCounterVec,
    shrunk: IntCounterVec,
    failures: IntCounterVec,
    halves: IntGaugeVec,
    looked: IntGaugeVec,
    delivered: IntGaugeVec,
    complete_through: IntGaugeVec,
}

impl Meter {
    /// Registers the metrics.
    ///
    /// # Errors
    /// `Internal` if they are registered already.
    pub fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| -> Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(format!("streamgauge_billing_{name}"), help), &["export"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGaugeVec> {
            let gauge = IntGaugeVec::new(Opts::new(format!("streamgauge_billing_{name}"), help), &["export"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            loads: counter("loads_total", "Deliveries of bills that were fetched and loaded.")?,
            rows: counter("rows_total", "Rows of bills that were fetched and written.")?,
            rejects: counter("rejects_total", "Rows of bills that were fetched and refused.")?,
            shrunk: counter("shrunk_total", "Bills that were fetched and are less by a fifth than before.")?,
            failures: counter("failures_total", "Looks at exports, and loads of deliveries, that failed.")?,
            halves: gauge(
                "half_deliveries",
                "Deliveries that wait for more than 6 hours, because something is missing or wrong.",
            )?,
            looked: gauge("last_look_timestamp_seconds", "When an export was last looked at without failure.")?,
            delivered: gauge(
                "last_delivery_timestamp_seconds",
                "When the newest delivery that is loaded was delivered.",
            )?,
            complete_through: gauge("complete_through_timestamp_seconds", "Until when an export's costs are loaded.")?,
        })
    }

    pub(super) fn loaded(&self, export: &str, told: &Told) {
        self.loads.with_label_values(&[export]).inc();
        self.rows.with_label_values(&[export]).inc_by(told.rows);
        self.rejects.with_label_values(&[export]).inc_by(told.rejects);
        self.shrunk.with_label_values(&[export]).inc_by(u64::from(told.changes.iter().any(|change| change.shrank)));
        // So that the first failure is seen as one.
        self.failures.with_label_values(&[export]).inc_by(0);
    }

    pub(super) fn failed(&self, export: &str) {
        self.failures.with_label_values(&[export]).inc();
    }

    pub(super) fn looked(&self, export: &str, now_us: i64) {
        self.looked.with_label_values(&[export]).set(now_us / 1_000_000);
        self.shrunk.with_label_values(&[export]).inc_by(0);
        self.failures.with_label_values(&[export]).inc_by(0);
    }

    pub(super) fn halves(&self, export: &str, count: usize) {
        self.halves.with_label_values(&[export]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn show(&self, all: &BTreeMap<String, Freshness>) {
        for (export, of) in all.iter().take(EXPORTS_MAX) {
            self.delivered.with_label_values(&[export]).set(of.delivered_us / 1_000_000);
            if let Some(us) = of.complete_through_us {
                self.complete_through.with_label_values(&[export]).set(us / 1_000_000);
            }
        }
    }
}
