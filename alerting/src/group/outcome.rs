//! What comes of one rule: its query's samples with the labels of the rule, as series or as alerts.

use std::collections::BTreeSet;

use super::{Done, RuleState, Run};
use crate::{
    ALERTNAME, Error, Labels, Result,
    alert::{Element, Input, Params},
    query::{About, Found, Query, Sample, Sink, VALUES, Value},
    rules::{Action, Alert, Rule},
};

/// Samples that are written at once: of very many alerts not all series are in memory together.
const WRITTEN_AT_ONCE: usize = 4_096;

impl Run<'_> {
    /// What comes of what a rule found, which is written.
    pub(super) fn outcome<W>(
        &self,
        (rule, state): (&Rule, &mut RuleState),
        (slot_ms, has_caught_up): (i64, bool),
        found: Found,
        world: &mut W,
    ) -> Result<Done>
    where
        W: Query + Sink + ?Sized,
    {
        let Found { samples: found, warnings, fresh } = found;
        let mut done = Done { warnings, fresh, ..Done::default() };
        let at_ms = slot_ms - self.offset_ms();
        match &rule.action {
            Action::Record(name) => {
                let samples = self.recorded(rule, name, &found)?;
                let now: BTreeSet<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
                let before = std::mem::replace(&mut state.recorded, now);
                let ended = before.difference(&state.recorded).cloned();
                let ended = ended.map(|labels| Sample { labels, value: Value::stale() });
                write(samples.into_iter().chain(ended), at_ms, world, &mut done);
            }
            Action::Alert(alert) => {
                // One by one, so that what was found goes as alerts come.
                let elements = found.into_iter().map(|sample| self.element(rule, alert, (&sample, slot_ms), world));
                let elements = elements.map(|element| state.alerts.shared(element)).collect();
                let input = Input { elements, has_data: fresh != Some(0), has_caught_up };
                done.transitions = state.alerts.step(slot_ms, &input, &Params::of(self.group, alert))?;
                drop(input);
                let transitions = std::mem::take(&mut done.transitions);
                let series = state.alerts.series(&transitions);
                let samples = series.map(|(labels, value)| Sample { labels, value: Value::Float(value) });
                write(samples, at_ms, world, &mut done);
                done.transitions = transitions;
            }
        }
        Ok(done)
    }

    /// Labels of the group and then of the rule, which has the last word.
    fn labels<'r>(&'r self, rule: &'r Rule) -> impl Iterator<Item = (&'r str, &'r str)> {
        let of_group = self.group.labels.iter().filter(|(name, _)| !rule.labels.contains_key(*name));
        of_group.chain(&rule.labels).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn recorded(&self, rule: &Rule, name: &str, found: &[Sample]) -> Result<Vec<Sample>> {
        let mut seen = BTreeSet::new();
        let mut samples = Vec::with_capacity(found.len());
        for Sample { labels, value } in found {
            let labels = without_values(labels).with([(promql::NAME, name)].into_iter().chain(self.labels(rule)));
            if !seen.insert(labels.clone()) {
                let message = "vector contains metrics with the same labelset after applying rule labels";
                return Err(Error::invalid(format!("{message}: labels={labels:?}")));
            }
            samples.push(Sample { labels, value: value.clone() });
        }
        let (limit, count) = (self.group.limit, samples.len());
        if limit > 0 && count > limit {
            return Err(Error::invalid(format!("exceeded limit of {limit} with {count} series")));
        }
        Ok(samples)
    }

    fn element<W: Query + ?Sized>(
        &self,
        rule: &Rule,
        alert: &Alert,
        (sample, slot_ms): (&Sample, i64),
        world: &mut W,
    ) -> Element {
        let about = About {
            labels: &sample.labels,
            value: &sample.value,
            at_ms: slot_ms,
            external_labels: self.external_labels,
            external_url: self.external_url,
        };
        let mut ask = |text: &str| {
            let query =
                promql::Query::parse(text).map_err(|error| Error::invalid(error.to_string()).caused_by(error))?;
            world.instant(&query, slot_ms)
        };
        let mut expanded = |template: &str| {
            let text = self.expand.expand(template, &about, &mut ask);
            text.unwrap_or_else(|error| format!("<error expanding template: {error}>"))
        };
        let own: Vec<(&str, String)> = self.labels(rule).map(|(name, text)| (name, expanded(text))).collect();
        let annotations: Vec<(&str, String)> =
            alert.annotations.iter().map(|(name, text)| (name.as_str(), expanded(text))).collect();
        let texts = |pairs: &'_ [(&'_ str, String)]| -> Labels {
            pairs.iter().map(|(name, text)| (*name, text.as_str())).collect()
        };
        let over = own.iter().map(|(name, text)| (*name, text.as_str()));
        let labels = without_values(&sample.labels)
            .with([(promql::NAME, "")].into_iter().chain(over).chain([(ALERTNAME, alert.name.as_str())]));
        Element { labels, annotations: texts(&annotations), value: sample.value.number() }
    }
}

/// Writes samples, and counts them: those that end a series apart.
fn write<W: Sink + ?Sized>(samples: impl Iterator<Item = Sample>, at_ms: i64, world: &mut W, done: &mut Done) {
    let mut some = Vec::new();
    let mut samples = samples.peekable();
    while let Some(sample) = samples.next() {
        *if sample.value.is_stale() { &mut done.ended } else { &mut done.written } += 1;
        some.push(sample);
        if some.len() == WRITTEN_AT_ONCE || samples.peek().is_none() {
            if let Err(error) = world.write(&some, at_ms) {
                done.write_error.get_or_insert(error);
            }
            some.clear();
        }
    }
}

/// Labels without columns that are only for templates.
fn without_values(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| name.starts_with(VALUES)) {
        labels.iter().filter(|(name, _)| !name.starts_with(VALUES)).collect()
    } else {
        labels.clone()
    }
}
