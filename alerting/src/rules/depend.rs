//! Which rules of a group must run before which, and which may be asked together.

use std::{collections::HashSet, ops::Range};

use promql::{Matcher, NAME};

use super::{Action, Condition, Group, Rule};
use crate::{
    ALERTNAME,
    alert::{ALERTS, ALERTS_FOR_STATE},
};

/// Which rules of a group need which others to be evaluated before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependencies {
    /// Is it unknown what some rule depends on? Then all run in their order.
    pub indeterminate: bool,
    /// The earlier rules that each rule depends on, by index; empty if they cannot be told.
    pub on: Vec<Vec<usize>>,
}

impl Dependencies {
    /// Does no rule depend on another, for all that is known?
    #[must_use]
    pub fn are_none(&self) -> bool {
        !self.indeterminate && self.on.iter().all(Vec::is_empty)
    }

    /// Does a rule depend on no other, and no other on it?
    #[must_use]
    pub fn is_alone(&self, rule: usize) -> bool {
        !self.indeterminate
            && self.on.get(rule).is_some_and(Vec::is_empty)
            && !self.on.iter().any(|others| others.contains(&rule))
    }
}

/// What each rule depends on. Only earlier rules count; SQL may read anything.
pub(super) fn dependencies(group: &Group) -> Dependencies {
    let mut on = vec![Vec::new(); group.rules.len()];
    for (at, rule) in group.rules.iter().enumerate() {
        let Condition::Promql(query) = &rule.condition else { return indeterminate(on) };
        for selector in query.selectors() {
            let matchers = selector.matchers();
            if !matchers.iter().any(|matcher| matcher.label() == NAME) {
                return indeterminate(on);
            }
            on[at].extend((0..at).filter(|earlier| reads(matchers, &group.rules[*earlier])));
        }
        on[at].sort_unstable();
        on[at].dedup();
    }
    Dependencies { indeterminate: false, on }
}

/// What the rules of a step write.
#[derive(Default)]
struct Written<'a> {
    recorded: HashSet<&'a str>,
    alerts: HashSet<&'a str>,
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
        match &rule.action {
            Action::Record(name) => written.recorded.insert(name),
            Action::Alert(alert) => written.alerts.insert(&alert.name),
        };
    }
    if begin < group.rules.len() {
        steps.push(begin..group.rules.len());
    }
    steps
}

impl Written<'_> {
    /// Can a selector select any of it?
    fn is_read(&self, matchers: &[Matcher]) -> bool {
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

fn indeterminate(on: Vec<Vec<usize>>) -> Dependencies {
    Dependencies { indeterminate: true, on: vec![Vec::new(); on.len()] }
}

/// Can a selector select what a rule writes?
fn reads(matchers: &[Matcher], rule: &Rule) -> bool {
    let matches =
        |label: &str, value: &str| matchers.iter().all(|matcher| matcher.label() != label || matcher.matches(value));
    match &rule.action {
        Action::Record(name) => matches(NAME, name),
        Action::Alert(alert) => {
            [ALERTS, ALERTS_FOR_STATE].iter().any(|name| matches(NAME, name)) && matches(ALERTNAME, &alert.name)
        }
    }
}
