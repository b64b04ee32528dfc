//! One test: its series are loaded, the groups are evaluated step after step, alerts and expressions are compared.

use std::collections::BTreeSet;

use promql::Histogram;

use super::{
    Options,
    file::{AlertCase, ExpectedAlert, ExprCase, File, Test},
    report::{self, Shown},
    series::{self, Point},
    store::Store,
};
use crate::{
    ALERTNAME, Error, Labels, Result,
    alert::Phase,
    group::{self, Run},
    memory::Settings,
    query::{Query, Value},
    rules::{Action, Group},
};

/// Evaluations of a test; a year of minutes has half as many.
const STEPS_MAX: i64 = 1_000_000;

/// Runs a test: says what is not as expected, and, if that is wanted, what there was.
pub(super) fn run(file: &File, test: &Test, groups: &[Group], options: &Options<'_>) -> (Vec<String>, String) {
    let settings = Settings {
        lookback_ms: options.lookback_ms,
        subquery_step_ms: file.evaluation_interval_ms,
        features: options.features,
    };
    let store = Store::new(settings).with_rows(test.tables.clone(), options.rows);
    let mut unit = Unit { file, test, groups, options, store, failures: Vec::new(), debug: String::new() };
    if let Err(error) = unit.all() {
        unit.failures.push(error.to_string());
    }
    if options.debug {
        unit.debug.push_str("series:\n");
        unit.debug.push_str(&unit.store.dump());
    }
    (unit.failures, unit.debug)
}

struct Unit<'a> {
    file: &'a File,
    test: &'a Test,
    groups: &'a [Group],
    options: &'a Options<'a>,
    store: Store<'a>,
    failures: Vec<String>,
    debug: String,
}

impl Unit<'_> {
    fn all(&mut self) -> Result<()> {
        let test = self.test;
        for input in &test.series {
            let at = |error: Error| error.at(input.place.0, input.place.1).within("input series");
            let labels = series::read_labels(&input.series).map_err(at)?;
            let values = series::read_values(&input.values).map_err(at)?;
            self.store.load(labels, values, test.start_ms, test.interval_ms);
        }
        self.evaluate()?;
        for case in &test.exprs {
            if let Err(error) = self.expr(case) {
                let error = error.at(case.place.0, case.place.1).within(format_args!("expr: {}", case.expr));
                self.failures.push(error.to_string());
            }
        }
        Ok(())
    }

    /// Evaluates all groups at all steps, and compares alerts as their time comes.
    fn evaluate(&mut self) -> Result<()> {
        let (test, step) = (self.test, self.file.evaluation_interval_ms);
        let times = test.alerts.iter().map(|case| case.eval_ms).chain(test.exprs.iter().map(|case| case.eval_ms));
        let last = times.max().unwrap_or(0);
        if last / step >= STEPS_MAX {
            let message =
                format!("too many evaluations; raise `evaluation_interval`: count={} max={STEPS_MAX}", last / step);
            return Err(Error::invalid(message));
        }
        let mut states: Vec<group::State> = self.groups.iter().map(group::State::new).collect();
        let steps: Vec<_> = self.groups.iter().map(Group::steps).collect();
        for since_start in (0..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let now = test.start_ms.saturating_add(since_start);
            self.store.advance(now)?;
            for ((group, state), steps) in self.groups.iter().zip(&mut states).zip(&steps) {
                let run = Run {
                    group,
                    steps,
                    expand: self.options.expand,
                    external_labels: &test.external_labels,
                    external_url: &test.external_url,
                    query_offset_ms: 0,
                };
                let done = run.evaluate(state, now, true, &mut self.store);
                for (rule, done) in group.rules.iter().zip(done) {
                    if let Some(error) = done.map_or_else(Some, |done| done.write_error) {
                        let after = promql::format_duration(since_start);
                        let about = format!("group {:?}, rule {:?}, time {after}", group.name, rule.name());
                        return Err(error.within(about));
                    }
                }
            }
            for case in test.alerts.iter().filter(|case| (since_start..since_start + step).contains(&case.eval_ms)) {
                self.alert(case, &states);
            }
        }
        Ok(())
    }

    /// Compares the alerts of a name that fire.
    fn alert(&mut self, case: &AlertCase, states: &[group::State]) {
        let mut found = Vec::new();
        for (group, state) in self.groups.iter().zip(states) {
            let rules = group.rules.iter().zip(&state.rules);
            for (_, state) in
                rules.filter(|(rule, _)| matches!(&rule.action, Action::Alert(alert) if alert.name == case.name))
            {
                let firing = state.alerts.instances().filter(|(_, instance)| instance.phase == Phase::Firing);
                found.extend(firing.map(|(labels, instance)| ExpectedAlert {
                    labels: labels.clone(),
                    annotations: instance.annotations.clone(),
                }));
            }
        }
        let named = |alert: &ExpectedAlert| ExpectedAlert {
            labels: alert.labels.with([(ALERTNAME, case.name.as_str())]),
            annotations: alert.annotations.clone(),
        };
        let mut expected: Vec<_> = case.expected.iter().map(named).collect();
        expected.sort();
        found.sort();
        let time = promql::format_duration(case.eval_ms);
        if self.options.debug {
            self.debug.push_str(&format!("alerts {:?} firing at {time}: {}\n", case.name, found.len()));
        }
        if expected != found {
            let (line, column) = case.place;
            let head = format!("{line}:{column}: alertname: {}, time: {time}", case.name);
            let shown = Shown::new(&expected, &found, alert_lines);
            self.failures.push(report::differs(&head, &shown, self.options.diff));
        }
    }

    fn expr(&mut self, case: &ExprCase) -> Result<()> {
        let query =
            promql::Query::parse(&case.expr).map_err(|error| Error::invalid(error.to_string()).caused_by(error))?;
        let found = self.store.instant(&query, self.test.start_ms.saturating_add(case.eval_ms))?;
        let mut expected = Vec::new();
        for sample in &case.expected {
            let at = |error: Error| error.at(sample.place.0, sample.place.1);
            let labels = if sample.labels.is_empty() {
                Labels::default()
            } else {
                series::read_labels(&sample.labels).map_err(at)?
            };
            let value = if sample.histogram.is_empty() {
                Value::Float(sample.value)
            } else {
                histogram(&sample.histogram).map_err(at)?
            };
            expected.push((labels, value));
        }
        let mut found: Vec<(Labels, Value)> =
            found.samples.into_iter().map(|sample| (sample.labels, compacted(sample.value))).collect();
        expected.sort_by(|left, right| left.0.cmp(&right.0));
        found.sort_by(|left, right| left.0.cmp(&right.0));
        let fuzzy = self.file.fuzzy_compare;
        let is_same = expected.len() == found.len()
            && expected.iter().zip(&found).all(|(left, right)| left.0 == right.0 && is_equal(&left.1, &right.1, fuzzy));
        let time = promql::format_duration(case.eval_ms);
        if self.options.debug {
            let shown: BTreeSet<String> = found.iter().flat_map(sample_lines).collect();
            self.debug.push_str(&format!("{} at {time}: {shown:?}\n", case.expr));
        }
        if !is_same {
            let (line, column) = case.place;
            let shown = Shown::new(&expected, &found, sample_lines);
            let head = format!("{line}:{column}: expr: {}, time: {time}", case.expr.trim());
            self.failures.push(report::differs(&head, &shown, self.options.diff));
        }
        Ok(())
    }
}

/// The histogram that a text is.
fn histogram(text: &str) -> Result<Value> {
    let values: Vec<_> = series::read_values(text)?.take(2).collect();
    match values.as_slice() {
        [Some(Point::Histogram(histogram))] => Ok(compacted(Value::Histogram(histogram.clone()))),
        _ => Err(Error::invalid(format!("expected one histogram, found `{text}`"))),
    }
}

/// Without empty buckets.
fn compacted(value: Value) -> Value {
    match value {
        Value::Float(value) => Value::Float(value),
        Value::Histogram(histogram) => {
            let mut histogram = Histogram::clone(&histogram);
            histogram.compact(0);
            Value::Histogram(histogram.into())
        }
    }
}

fn is_equal(expected: &Value, found: &Value, fuzzy: bool) -> bool {
    match (expected, found) {
        (Value::Float(expected), Value::Float(found)) => {
            expected == found
                || (expected.is_nan() && found.is_nan())
                || (fuzzy && (expected.next_up() == *found || expected.next_down() == *found))
        }
        (Value::Histogram(expected), Value::Histogram(found)) => expected == found,
        _ => false,
    }
}

fn alert_lines(alert: &ExpectedAlert) -> Vec<String> {
    let map = |labels: &Labels| labels.iter().map(|(name, value)| format!("  {name}: {value:?}")).collect::<Vec<_>>();
    let mut lines = vec!["labels:".to_owned()];
    lines.extend(map(&alert.labels));
    lines.push("annotations:".to_owned());
    lines.extend(map(&alert.annotations));
    lines
}

fn sample_lines((labels, value): &(Labels, Value)) -> Vec<String> {
    let value = match value {
        Value::Float(value) => promql::format_float(*value),
        Value::Histogram(histogram) => format!("{histogram} ({:?})", histogram.hint),
    };
    vec![format!("{} {value}", super::store::shown(labels))]
}
