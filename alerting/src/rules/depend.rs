//! Which rules of a group must run before which.

use promql::{Matcher, NAME};

use super::{Action, Condition, Group, Rule};
use crate::ALERTNAME;

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

fn indeterminate(on: Vec<Vec<usize>>) -> Dependencies {
    Dependencies { indeterminate: true, on: vec![Vec::new(); on.len()] }
}

/// Can a selector select what a rule writes?
pub(crate) fn reads(matchers: &[Matcher], rule: &Rule) -> bool {
    let matches =
        |label: &str, value: &str| matchers.iter().all(|matcher| matcher.label() != label || matcher.matches(value));
    match &rule.action {
        Action::Record(name) => matches(NAME, name),
        Action::Alert(alert) => {
            ["ALERTS", "ALERTS_FOR_STATE"].iter().any(|name| matches(NAME, name)) && matches(ALERTNAME, &alert.name)
        }
    }
}
