//! Inhibition: alerts that are not told because another one says more.
//!
//! Called by the configuration, which compiles the rules, and by the pipeline with the alerts that are active.
//!
//! Invariants: a label that is missing is an empty one; an alert that is both a source and a target of a rule is not inhibited by
//! another of which that is true, so none inhibits itself.
//! Not here: which alerts are active.

use hashbrown::HashMap;
use serde_saphyr::Spanned;

use crate::{
    Error, Labels, Matchers, Mode, Result,
    config::{
        at,
        tree::{InhibitConfig, Written, is_label_name},
    },
};

/// A rule: sources that are active inhibit targets with the same values of some labels.
#[derive(Debug, Clone)]
pub struct Inhibit {
    name: String,
    source: Matchers,
    target: Matchers,
    equal: Vec<String>,
}

impl Inhibit {
    pub(crate) fn compile(rule: &Spanned<InhibitConfig>, mode: Mode) -> Result<Self> {
        let InhibitConfig { name, equal, source_equal, source_regex, source_matchers, .. } = &rule.value;
        let InhibitConfig { target_equal, target_regex, target_matchers, .. } = &rule.value;
        let source = Written { equal: source_equal, regex: source_regex, matchers: source_matchers };
        let target = Written { equal: target_equal, regex: target_regex, matchers: target_matchers };
        if let Some(label) = equal.iter().find(|label| !is_label_name(&label.value, mode)) {
            return Err(at(label, Error::invalid(format!("`{}` is no label name", label.value))));
        }
        Ok(Self {
            name: name.clone(),
            source: source.compile(mode).map_err(|error| at(rule, error))?,
            target: target.compile(mode).map_err(|error| at(rule, error))?,
            equal: equal.iter().map(|label| label.value.clone()).collect(),
        })
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Is an alert one that can inhibit others?
    #[must_use]
    pub fn is_source(&self, labels: &Labels) -> bool {
        self.source.matches(labels)
    }

    /// Is an alert one that can be inhibited?
    #[must_use]
    pub fn is_target(&self, labels: &Labels) -> bool {
        self.target.matches(labels)
    }

    /// Values of the labels that have to be equal.
    fn values<'a>(&self, labels: &'a Labels) -> Vec<&'a str> {
        self.equal.iter().map(|label| labels.get(label)).collect()
    }

    /// Does an active alert inhibit another by this rule?
    #[must_use]
    pub fn inhibits(&self, source: &Labels, target: &Labels) -> bool {
        self.is_target(target)
            && self.is_source(source)
            && self.equal.iter().all(|label| source.get(label) == target.get(label))
            && !(self.is_source(target) && self.is_target(source))
    }
}

/// Alerts that may inhibit others, by rule and the values that have to be equal: a target is looked up, whatever their number.
#[derive(Debug)]
pub struct Sources<'a> {
    rules: &'a [Inhibit],
    by_rule: Vec<HashMap<Vec<&'a str>, Vec<&'a Labels>>>,
}

/// Sources that are named of one target; a reason needs no more.
const NAMED_MAX: usize = 5;

impl<'a> Sources<'a> {
    /// Of active alerts.
    pub fn new(rules: &'a [Inhibit], active: impl IntoIterator<Item = &'a Labels>) -> Self {
        let mut by_rule: Vec<HashMap<Vec<&str>, Vec<&Labels>>> = rules.iter().map(|_| HashMap::new()).collect();
        if !rules.is_empty() {
            for labels in active {
                for (rule, sources) in rules.iter().zip(&mut by_rule) {
                    if rule.is_source(labels) {
                        sources.entry(rule.values(labels)).or_default().push(labels);
                    }
                }
            }
        }
        Self { rules, by_rule }
    }

    /// Some of the alerts that inhibit another, each once.
    #[must_use]
    pub fn inhibiting(&self, target: &Labels) -> Vec<&'a Labels> {
        let mut found: Vec<&Labels> = Vec::new();
        for (rule, sources) in self.rules.iter().zip(&self.by_rule).filter(|(rule, _)| rule.is_target(target)) {
            for source in sources.get(&rule.values(target)).into_iter().flatten() {
                if rule.inhibits(source, target) && !found.contains(source) {
                    found.push(source);
                }
                // There may be thousands more.
                if found.len() >= NAMED_MAX {
                    return found;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
