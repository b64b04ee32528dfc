//! How evaluations went, for metrics and for whoever asks.

use alerting::{
    group::{Done, Slots},
    pulse::Pulse,
    rules::Group,
};
use anyhow::Result;
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

use super::Rules;

/// How the last evaluation of a group went.
#[derive(Debug, Clone, Default)]
pub struct GroupStatus {
    /// Its time, milliseconds; none before the first one.
    pub at_ms: Option<i64>,
    /// How long it took, milliseconds.
    pub took_ms: i64,
    /// Of each rule.
    pub rules: Vec<RuleStatus>,
    /// Since when it is evaluated, milliseconds.
    pub began_ms: i64,
    /// Did the last evaluation break off?
    pub broke_off: bool,
}

/// How the last evaluation of a rule went.
#[derive(Debug, Clone, Default)]
pub struct RuleStatus {
    /// Was it evaluated?
    pub is_known: bool,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// What is doubtful about it.
    pub warnings: Vec<String>,
}

impl GroupStatus {
    pub(super) fn new(group: &Group, began_ms: i64) -> Self {
        let rules = group.rules.iter().map(|_| RuleStatus::default()).collect();
        Self { rules, began_ms, ..Self::default() }
    }

    fn pulse(&self, group: &str, interval_ms: i64) -> Pulse {
        Pulse {
            group: group.to_owned(),
            interval_ms,
            last_ms: self.at_ms.map_or(self.began_ms, |at_ms| at_ms.max(self.began_ms)),
            broke_off: self.broke_off,
            has_failed: !self.rules.is_empty() && self.rules.iter().all(|rule| rule.error.is_some()),
        }
    }

    /// Notes an evaluation; gives how many slots were missed before it.
    pub(super) fn ended(&mut self, done: &[alerting::Result<Done>], slot_ms: i64, took_ms: i64, slots: Slots) -> i64 {
        let missed = self.at_ms.map_or(0, |last_ms| slots.missed(last_ms, slot_ms));
        (self.at_ms, self.took_ms, self.broke_off) = (Some(slot_ms), took_ms, false);
        let of_rule = |done: &alerting::Result<Done>| match done {
            Ok(done) => RuleStatus {
                is_known: true,
                error: done.write_error.as_ref().map(ToString::to_string),
                warnings: done.warnings.clone(),
            },
            Err(error) => RuleStatus { is_known: true, error: Some(error.to_string()), warnings: Vec::new() },
        };
        self.rules = done.iter().map(of_rule).collect();
        missed
    }
}

impl Rules {
    /// How groups do.
    #[must_use]
    pub fn pulses(&self) -> Vec<Pulse> {
        let groups = self.0.groups.lock();
        groups.values().map(|running| running.status.lock().pulse(&running.id.1, running.interval_ms)).collect()
    }
}

/// Metrics of rules.
pub(super) struct Meter {
    evaluations: IntCounterVec,
    failures: IntCounterVec,
    missed: IntCounterVec,
    duration: GaugeVec,
}

impl Meter {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| -> Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(format!("streamgauge_{name}"), help), &["rule_group"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let help = "How long the last evaluation of a group took, seconds.";
        let duration = GaugeVec::new(Opts::new("streamgauge_rule_group_last_duration_seconds", help), &["rule_group"])?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Self {
            evaluations: counter("rule_evaluations_total", "Evaluations of rules.")?,
            failures: counter("rule_evaluation_failures_total", "Evaluations of rules that failed.")?,
            missed: counter(
                "rule_group_iterations_missed_total",
                "Evaluations of groups for which there was no time.",
            )?,
            duration,
        })
    }

    pub(super) fn evaluated(
        &self,
        (file, group): &(String, String),
        done: &[alerting::Result<Done>],
        took_ms: i64,
        missed: i64,
    ) {
        let name = format!("{file};{group}");
        let labels = [name.as_str()];
        let failed = done.iter().filter(|done| done.as_ref().map_or(true, |done| done.write_error.is_some())).count();
        self.evaluations.with_label_values(&labels).inc_by(done.len() as u64);
        self.failures.with_label_values(&labels).inc_by(failed as u64);
        self.missed.with_label_values(&labels).inc_by(u64::try_from(missed).unwrap_or_default());
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of an evaluation")]
        let seconds = took_ms as f64 / 1000.0;
        self.duration.with_label_values(&labels).set(seconds);
    }
}
