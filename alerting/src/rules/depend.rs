//! Which rules of a group may be asked together: those of which none reads what an earlier one writes.

use std::{collections::HashSet, ops::Range};

use promql::{Matcher, NAME};

use super::{Action, Condition, Group, Rule};
use crate::{
    ALERTNAME,
    alert::{ALERTS, ALERTS_FOR_STATE},
};

/// What rules write, by names.
#[derive(Debug, Default)]
pub(crate) struct Written {
    recorded: HashSet<String>,
    /// Of `ALERTS` and what goes with it.
    alerts: HashSet<String>,
}

/// Parts of a group, in order, within which no query of PromQL can select what an earlier rule of the part writes.
pub(super) fn steps(group: &Group) -> Vec<Range<usize>> {
    let (mut steps, mut begin, mut written) = (Vec::new(), 0, Written::default());
    for (at, rule) in group.rules.iter().enumerate() {
        if let Condition::Promql(query) = &rule.condition
            && query.selectors().iter().any(|selector| written.is_read(selector.matchers()))
        {
            steps.push(begin..at);
            (begin, written) = (at, Written::default());
        }
        written.add(rule);
    }
    if begin < group.rules.len() {
        steps.push(begin..group.rules.len());
    }
    steps
}

impl Written {
    /// What a rule writes, too.
    pub fn add(&mut self, rule: &Rule) {
        match &rule.action {
            Action::Record(name) => self.recorded.insert(name.clone()),
            Action::Alert(alert) => self.alerts.insert(alert.name.clone()),
        };
    }

    /// Is there an alert of this name?
    pub fn has_alert(&self, name: &str) -> bool {
        self.alerts.contains(name)
    }

    /// Can a selector select any of it?
    pub fn is_read(&self, matchers: &[Matcher]) -> bool {
        let matches = |label: &str, value: &str| {
            matchers.iter().all(|matcher| matcher.label() != label || matcher.matches(value))
        };
        let exact = matchers.iter().map(Matcher::as_written).find(|(label, op, _)| (*label, *op) == (NAME, "="));
        let is_recorded = match exact {
            Some((.., name)) => self.recorded.contains(name) && matches(NAME, name),
            None => self.recorded.iter().any(|name| matches(NAME, name)),
        };
        let alerts = || {
            [ALERTS, ALERTS_FOR_STATE].iter().any(|name| matches(NAME, name))
                && self.alerts.iter().any(|alert| matches(ALERTNAME, alert))
        };
        is_recorded || alerts()
    }
}
