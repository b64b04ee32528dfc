//! The tree of routes, made to be asked: which routes an alert takes, and how each groups and repeats.
//!
//! Called by the configuration, which compiles it, by the dispatcher for every alert, and by `check` to test a configuration.
//!
//! Invariants: every alert takes at least one route, the root if no other; a route has all of its options, those of its parents where
//! it has none; keys are those of Alertmanager, so that they stay when routes are moved, and change with their matchers.
//! Not here: groups and timers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_saphyr::Spanned;

use crate::{
    Error, Labels, Matchers, Mode, Result,
    config::{
        at,
        tree::{RouteConfig, is_label_name},
        values::Span,
    },
};

/// All routes; the first is the root, each comes before those below it.
#[derive(Debug, Clone)]
pub struct Routes(Vec<Arc<Route>>);

/// A route with all of its options.
#[derive(Debug, Clone)]
pub struct Route {
    id: String,
    key: String,
    matchers: Matchers,
    continues: bool,
    children: Vec<usize>,
    options: Options,
    mute_time_intervals: Vec<String>,
    active_time_intervals: Vec<String>,
}

/// What a route has from its parents if it does not say otherwise.
#[derive(Debug, Clone)]
struct Options {
    receiver: String,
    group_by: GroupBy,
    group_wait: Span,
    group_interval: Span,
    repeat_interval: Span,
    labels: BTreeMap<String, String>,
}

/// The labels whose values make a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// All of an alert's: each alert is a group.
    All,
    /// These; without any, all alerts of a route are one group.
    Labels(BTreeSet<String>),
}

impl Routes {
    pub(crate) fn compile(root: &Spanned<RouteConfig>, mode: Mode) -> Result<Self> {
        let options = Options {
            receiver: String::new(),
            group_by: GroupBy::Labels(BTreeSet::new()),
            group_wait: Span::seconds(30),
            group_interval: Span::seconds(5 * 60),
            repeat_interval: Span::seconds(4 * 3600),
            labels: BTreeMap::new(),
        };
        let mut all = Vec::new();
        Self::add(&mut all, root, None, (&options, mode))?;
        Ok(Self(all.into_iter().map(Arc::new).collect()))
    }

    /// Adds a node and those below it. `place` is the parent's index, and the node's among its children.
    fn add(
        all: &mut Vec<Route>,
        node: &Spanned<RouteConfig>,
        place: Option<(usize, usize)>,
        (above, mode): (&Options, Mode),
    ) -> Result<usize> {
        let written = &node.value;
        let matchers = written.written().compile(mode).map_err(|error| at(node, error))?;
        let (key, id) = match place {
            None => (matchers.to_string(), matchers.to_string()),
            Some((parent, nth)) => {
                let Route { key, id, .. } = &all[parent];
                (format!("{key}/{matchers}"), format!("{id}/{matchers}/{nth}"))
            }
        };
        let texts = |names: &[Spanned<String>]| names.iter().map(|name| name.value.clone()).collect();
        let options = above.under(node, mode)?;
        let index = all.len();
        all.push(Route {
            id,
            key,
            matchers,
            continues: written.continues,
            children: Vec::new(),
            options: options.clone(),
            mute_time_intervals: texts(&written.mute_time_intervals),
            active_time_intervals: texts(&written.active_time_intervals),
        });
        for (nth, child) in written.routes.iter().enumerate() {
            let child = Self::add(all, child, Some((index, nth)), (&options, mode))?;
            all[index].children.push(child);
        }
        Ok(index)
    }

    /// The routes an alert takes: of each node the first child that matches, and further ones after those that continue; the node
    /// itself if no child matches.
    #[must_use]
    pub fn matching(&self, labels: &Labels) -> Vec<&Arc<Route>> {
        let mut found = Vec::new();
        self.walk(0, labels, &mut found);
        found
    }

    fn walk<'a>(&'a self, at: usize, labels: &Labels, found: &mut Vec<&'a Arc<Route>>) -> bool {
        let Some(route) = self.0.get(at).filter(|route| route.matchers.matches(labels)) else { return false };
        let before = found.len();
        for &child in &route.children {
            if self.walk(child, labels, found) && !self.0[child].continues {
                break;
            }
        }
        if found.len() == before {
            found.push(route);
        }
        true
    }

    /// The receivers an alert gets to, in order, as `amtool config routes test` prints them.
    #[must_use]
    pub fn receivers(&self, labels: &Labels) -> Vec<&str> {
        self.matching(labels).into_iter().map(|route| route.receiver()).collect()
    }

    /// Every route, parents before their children.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Route>> {
        self.0.iter()
    }
}

impl Options {
    /// The options of a node below these.
    fn under(&self, node: &Spanned<RouteConfig>, mode: Mode) -> Result<Self> {
        let written = &node.value;
        let mut options = self.clone();
        if let Some(receiver) = written.receiver.as_ref().filter(|receiver| !receiver.value.is_empty()) {
            options.receiver.clone_from(&receiver.value);
        }
        if let Some(names) = &written.group_by {
            options.group_by = GroupBy::read(names, mode)?;
        }
        options.group_wait = written.group_wait.unwrap_or(self.group_wait);
        for (own, key, option) in [
            (&written.group_interval, "group_interval", &mut options.group_interval),
            (&written.repeat_interval, "repeat_interval", &mut options.repeat_interval),
        ] {
            let Some(own) = own else { continue };
            if own.value.0.is_zero() {
                return Err(at(own, Error::invalid(format!("`{key}` cannot be zero"))));
            }
            *option = own.value;
        }
        options.labels.extend(written.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(options)
    }
}

impl GroupBy {
    const ALL: &str = "...";

    fn read(names: &[Spanned<String>], mode: Mode) -> Result<Self> {
        let mut labels = BTreeSet::new();
        let mut all = false;
        for name in names {
            if name.value == Self::ALL {
                all = true;
            } else if !is_label_name(&name.value, mode) {
                return Err(at(name, Error::invalid(format!("`{}` is no label name", name.value))));
            } else if !labels.insert(name.value.clone()) {
                return Err(at(name, Error::invalid(format!("label `{}` is given twice in `group_by`", name.value))));
            }
            if all && !labels.is_empty() {
                return Err(at(name, Error::invalid("`group_by` can have `...` alone, or labels")));
            }
        }
        Ok(if all { Self::All } else { Self::Labels(labels) })
    }
}

impl Route {
    /// Matchers down from the root, by which notifications are remembered: `{}/{a="b"}`. Routes with the same matchers share it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The key with places among siblings: no two routes share it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Conditions of this node alone.
    #[must_use]
    pub fn matchers(&self) -> &Matchers {
        &self.matchers
    }

    /// Who is notified.
    #[must_use]
    pub fn receiver(&self) -> &str {
        &self.options.receiver
    }

    /// How alerts are grouped.
    #[must_use]
    pub fn group_by(&self) -> &GroupBy {
        &self.options.group_by
    }

    /// How long a new group waits for more alerts.
    #[must_use]
    pub fn group_wait(&self) -> std::time::Duration {
        self.options.group_wait.0
    }

    /// How often a group is looked at.
    #[must_use]
    pub fn group_interval(&self) -> std::time::Duration {
        self.options.group_interval.0
    }

    /// After how long a notification is repeated.
    #[must_use]
    pub fn repeat_interval(&self) -> std::time::Duration {
        self.options.repeat_interval.0
    }

    /// Templates of the labels that notifications of this route have.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.options.labels
    }

    /// Names of the times at which nothing is sent. Not inherited.
    #[must_use]
    pub fn mute_time_intervals(&self) -> &[String] {
        &self.mute_time_intervals
    }

    /// Names of the times at which alone something is sent; without any, always. Not inherited.
    #[must_use]
    pub fn active_time_intervals(&self) -> &[String] {
        &self.active_time_intervals
    }

    /// Those of an alert's labels that make its group.
    #[must_use]
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.options.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.iter().filter(|(name, _)| names.contains(*name)).collect(),
        }
    }

    /// The key of a group of this route: `{}/{a="b"}:{alertname="x", c="d"}`.
    #[must_use]
    pub fn group_key(&self, group: &Labels) -> String {
        let labels: Vec<String> =
            group.iter().map(|(name, value)| format!("{name}={}", promql::quoted(value))).collect();
        format!("{}:{{{}}}", self.key, labels.join(", "))
    }
}

#[cfg(test)]
mod tests;
