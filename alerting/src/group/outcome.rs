//! What comes of one rule: its query's samples with the labels of the rule, as series or as alerts.

use std::collections::BTreeSet;

use super::Run;
use crate::{
    ALERTNAME, Error, Labels, Result,
    alert::{Element, Input, Params, State, Transition},
    query::{About, Found, Query, Sample, VALUES, Value},
    rules::{Action, Alert, Condition, Rule},
};

/// What is to be written and told.
pub(super) struct Outcome {
    pub samples: Vec<Sample>,
    pub transitions: Vec<Transition>,
    pub warnings: Vec<String>,
    pub fresh: Option<u64>,
}

impl Run<'_> {
    pub(super) fn outcome<W: Query + ?Sized>(
        &self,
        rule: &Rule,
        alerts: &mut State,
        (slot_ms, may_resolve): (i64, bool),
        world: &mut W,
    ) -> Result<Outcome> {
        let at_ms = slot_ms - self.offset_ms();
        let found = match &rule.condition {
            Condition::Promql(query) => world.instant(query, at_ms)?,
            Condition::Sql(sql) => world.sql(sql, at_ms)?,
        };
        match &rule.action {
            Action::Record(name) => {
                let samples = self.recorded(rule, name, &found)?;
                Ok(Outcome { samples, transitions: Vec::new(), warnings: found.warnings, fresh: found.fresh })
            }
            Action::Alert(alert) => {
                let elements = found.samples.iter().map(|sample| self.element(rule, alert, (sample, slot_ms), world));
                let input = Input { elements: elements.collect(), has_data: found.fresh != Some(0), may_resolve };
                let transitions = alerts.step(slot_ms, &input, &Params::of(self.group, alert))?;
                let series = alerts.series().into_iter();
                let samples = series.map(|(labels, value)| Sample { labels, value: Value::Float(value) }).collect();
                Ok(Outcome { samples, transitions, warnings: found.warnings, fresh: found.fresh })
            }
        }
    }

    /// Labels of the group and then of the rule, which has the last word.
    fn labels<'r>(&'r self, rule: &'r Rule) -> impl Iterator<Item = (&'r str, &'r str)> {
        let of_group = self.group.labels.iter().filter(|(name, _)| !rule.labels.contains_key(*name));
        of_group.chain(&rule.labels).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn recorded(&self, rule: &Rule, name: &str, found: &Found) -> Result<Vec<Sample>> {
        let mut seen = BTreeSet::new();
        let mut samples = Vec::with_capacity(found.samples.len());
        for Sample { labels, value } in &found.samples {
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

/// Labels without columns that are only for templates.
fn without_values(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| name.starts_with(VALUES)) {
        labels.iter().filter(|(name, _)| !name.starts_with(VALUES)).collect()
    } else {
        labels.clone()
    }
}
