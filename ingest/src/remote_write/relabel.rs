//! Relabelling: rules that change, add and remove labels of a series, or drop it, with the grammar and meaning of
//! Prometheus 3.
//!
//! Rules are checked and compiled when settings are read; [`labels::of_series`](super::labels::of_series) applies them to
//! the labels of a series that is not known yet, and only then: the raw form is remembered with what came of it.
//!
//! Invariants: what a rule does depends on the labels alone, so one raw form always gives one series; no label is made
//! longer than the limits allow, however often rules double it. As with `write_relabel_configs`, labels that begin with `__`
//! are kept unless a rule removes them.
//! Not here: the regular expressions' dialect and references to groups, which are those of [`promql::pattern`].
//! Spec: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>

mod case;

use std::{borrow::Cow, num::NonZeroU64};

use md5::{Digest as _, Md5};
use promql::pattern::{self, Template};
use regex::Regex;

use super::{
    labels::LabelLimits,
    reject::{Reason, Reject},
};

/// A name and a value: a part of the request, or made by a rule.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are Prometheus' words, explained in its documentation")]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    /// Every action by its name.
    pub const ALL: [(&'static str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
        ("hashmod", Self::HashMod),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
    ];

    /// The action of this name, in whatever case it is written.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, action)| *action)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// A rule as it is written; what is not written is as in Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelRule {
    /// Labels whose values are joined; one that is missing counts as empty.
    pub source_labels: Vec<String>,
    /// What stands between them.
    pub separator: String,
    /// Expression that has to match the whole of the joined values, or of a name.
    pub regex: String,
    /// Divisor of `hashmod`.
    pub modulus: u64,
    /// Label that is written to or compared with.
    pub target_label: String,
    /// Text that is written, with references to groups.
    pub replacement: String,
    /// What is done.
    pub action: Action,
}

impl Default for RelabelRule {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".into(),
            regex: "(.*)".into(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".into(),
            action: Action::Replace,
        }
    }
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFault {
    /// Key of the rule that is wrong or missing.
    pub key: &'static str,
    /// Why.
    pub reason: String,
}

fn fault<T>(key: &'static str, reason: impl Into<String>) -> Result<T, RuleFault> {
    Err(RuleFault { key, reason: reason.into() })
}

/// Rules, compiled, in the order in which they are applied.
#[derive(Clone, Debug, Default)]
pub struct Relabel {
    steps: Vec<Step>,
}

/// A compiled rule.
#[derive(Clone, Debug)]
enum Step {
    /// `keep` and `drop`: is the series kept if the values match?
    Match {
        keeps: bool,
        source: Source,
        pattern: Regex,
    },
    /// `keepequal` and `dropequal`.
    Equal {
        keeps: bool,
        source: Source,
        target: String,
    },
    Replace {
        source: Source,
        pattern: Regex,
        target: Template,
        replacement: Template,
    },
    /// `lowercase` and `uppercase`.
    Case {
        source: Source,
        target: String,
        map: fn(char) -> char,
    },
    HashMod {
        source: Source,
        target: String,
        modulus: NonZeroU64,
    },
    LabelMap {
        pattern: Regex,
        name: Template,
    },
    /// `labelkeep` and `labeldrop`: is a label kept if its name matches?
    Names {
        keeps: bool,
        pattern: Regex,
    },
}

/// Labels whose values are joined.
#[derive(Clone, Debug)]
struct Source {
    labels: Vec<String>,
    separator: String,
}

impl RelabelRule {
    /// Checks and compiles a rule.
    fn compile(&self) -> Result<Step, RuleFault> {
        self.check()?;
        let pattern = || {
            let compiled = pattern::compile(&self.regex, 1);
            compiled.or_else(|reason| fault("regex", format!("`{}` is no regular expression: {reason}", self.regex)))
        };
        let source = Source { labels: self.source_labels.clone(), separator: self.separator.clone() };
        let target = self.target_label.clone();
        Ok(match self.action {
            Action::Keep | Action::Drop => {
                Step::Match { keeps: self.action == Action::Keep, source, pattern: pattern()? }
            }
            Action::KeepEqual | Action::DropEqual => {
                Step::Equal { keeps: self.action == Action::KeepEqual, source, target }
            }
            Action::Replace => {
                let pattern = pattern()?;
                let (target, replacement) =
                    (Template::new(&target, &pattern), Template::new(&self.replacement, &pattern));
                Step::Replace { source, pattern, target, replacement }
            }
            Action::Lowercase => Step::Case { source, target, map: case::lowercase },
            Action::Uppercase => Step::Case { source, target, map: case::uppercase },
            Action::HashMod => match NonZeroU64::new(self.modulus) {
                Some(modulus) => Step::HashMod { source, target, modulus },
                None => return fault("modulus", "action hashmod needs a `modulus` of at least 1"),
            },
            Action::LabelMap => {
                let pattern = pattern()?;
                let name = Template::new(&self.replacement, &pattern);
                Step::LabelMap { pattern, name }
            }
            Action::LabelDrop | Action::LabelKeep => {
                Step::Names { keeps: self.action == Action::LabelKeep, pattern: pattern()? }
            }
        })
    }

    /// Refuses what Prometheus refuses: a key that is needed and missing, or one that says nothing with this action.
    fn check(&self) -> Result<(), RuleFault> {
        let (action, default) = (self.action.name(), Self::default());
        if self.source_labels.iter().any(String::is_empty) {
            return fault("source_labels", "the name of a label is empty");
        }
        let without_target = [Action::Keep, Action::Drop, Action::LabelMap, Action::LabelDrop, Action::LabelKeep];
        if self.target_label.is_empty() && !without_target.contains(&self.action) {
            return fault("target_label", format!("action {action} needs a `target_label`"));
        }
        if self.replacement.is_empty() && self.action == Action::LabelMap {
            return fault("replacement", "action labelmap needs a `replacement`, the new name");
        }
        let changed = [
            ("source_labels", !self.source_labels.is_empty()),
            ("separator", self.separator != default.separator),
            ("regex", self.regex != default.regex),
            ("modulus", self.modulus != default.modulus),
            ("target_label", !self.target_label.is_empty()),
            ("replacement", self.replacement != default.replacement),
        ];
        let allowed: &[&str] = match self.action {
            Action::LabelDrop | Action::LabelKeep => &["regex"],
            Action::KeepEqual | Action::DropEqual => &["source_labels", "target_label"],
            Action::Lowercase | Action::Uppercase => {
                &["source_labels", "separator", "regex", "modulus", "target_label"]
            }
            _ => return Ok(()),
        };
        match changed.into_iter().find(|(key, changed)| *changed && !allowed.contains(key)) {
            Some((key, _)) => fault(key, format!("action {action} has no `{key}`; it takes {}", allowed.join(", "))),
            None => Ok(()),
        }
    }
}

impl Relabel {
    /// No rules.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a rule, to be applied after those before it.
    ///
    /// # Errors
    /// What Prometheus refuses too, with the key.
    pub fn add(&mut self, rule: &RelabelRule) -> Result<(), RuleFault> {
        self.steps.push(rule.compile()?);
        Ok(())
    }

    /// Number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Is there no rule?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Applies all rules to labels of something that is no series, such as an alert; gives them sorted by name, or `None` if it is dropped.
    /// What rules would make longer than any label is stays as it was before them.
    #[must_use]
    pub fn labels<'a>(&self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Vec<Pair<'a>>> {
        /// Far above what somebody writes, and a bound for what rules double.
        const LIMITS: LabelLimits =
            LabelLimits { labels_max: 1_000, name_bytes_max: 64 << 10, value_bytes_max: 64 << 10 };
        let mut pairs: Vec<Pair<'a>> =
            labels.into_iter().map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))).collect();
        pairs.sort_unstable();
        self.apply(pairs.clone(), &LIMITS).unwrap_or(Some(pairs))
    }

    /// Applies all rules to labels that are sorted by name; gives them sorted again, or `None` if the series is dropped.
    /// One without any label is: there is nothing left of it.
    pub(crate) fn apply<'a>(
        &self,
        pairs: Vec<Pair<'a>>,
        limits: &LabelLimits,
    ) -> Result<Option<Vec<Pair<'a>>>, Reject> {
        let mut labels = LabelSet { untouched: pairs.len(), pairs, limits: *limits };
        for step in &self.steps {
            if !labels.step(step)? {
                return Ok(None);
            }
        }
        let mut pairs = labels.pairs;
        if pairs.len() > limits.labels_max {
            return Err(Reject::new(Reason::LabelLimit, "series has too many labels after relabelling"));
        }
        pairs.sort_unstable();
        Ok((!pairs.is_empty()).then_some(pairs))
    }
}

/// Labels under way through the rules: those as they were, then those that were set, in the order they were. The order
/// counts when `labelmap` gives two labels one name: the last wins.
struct LabelSet<'a> {
    pairs: Vec<Pair<'a>>,
    untouched: usize,
    limits: LabelLimits,
}

impl<'a> LabelSet<'a> {
    /// Applies a rule; false if the series is dropped.
    fn step(&mut self, step: &Step) -> Result<bool, Reject> {
        match step {
            Step::Match { keeps, source, pattern } => return Ok(pattern.is_match(&self.join(source)) == *keeps),
            Step::Equal { keeps, source, target } => return Ok((*self.join(source) == *self.get(target)) == *keeps),
            Step::Replace { source, pattern, target, replacement } => {
                let value = self.join(source);
                let Some(groups) = pattern.captures(&value) else { return Ok(true) };
                let (name, value) = (target.expand(&groups), replacement.expand(&groups));
                self.set(name.into(), value.into())?;
            }
            Step::Case { source, target, map } => {
                let value: String = self.join(source).chars().map(map).collect();
                self.set(target.clone().into(), value.into())?;
            }
            Step::HashMod { source, target, modulus } => {
                let digest = Md5::digest(self.join(source).as_bytes());
                let hash = digest.last_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last));
                self.set(target.clone().into(), (hash % *modulus).to_string().into())?;
            }
            Step::LabelMap { pattern, name } => {
                let mapped: Vec<Pair<'a>> = self
                    .pairs
                    .iter()
                    .filter_map(|(from, value)| {
                        Some((Cow::Owned(name.expand(&pattern.captures(from)?)), value.clone()))
                    })
                    .collect();
                for (name, value) in mapped {
                    self.set(name, value)?;
                }
            }
            Step::Names { keeps, pattern } => self.retain(|name| pattern.is_match(name) == *keeps),
        }
        Ok(true)
    }

    fn get(&self, name: &str) -> Cow<'a, str> {
        self.pairs.iter().find(|(known, _)| known == name).map_or(Cow::Borrowed(""), |(_, value)| value.clone())
    }

    fn join(&self, source: &Source) -> Cow<'a, str> {
        if let [only] = source.labels.as_slice() {
            return self.get(only);
        }
        let mut joined = String::new();
        for (n, label) in source.labels.iter().enumerate() {
            if n > 0 {
                joined.push_str(&source.separator);
            }
            joined.push_str(&self.get(label));
        }
        Cow::Owned(joined)
    }

    /// Sets a label, or removes it if the value is empty. A name that came out empty is no name: nothing is done.
    fn set(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) -> Result<(), Reject> {
        if name.is_empty() {
            return Ok(());
        }
        if value.is_empty() {
            self.retain(|known| known != name);
            return Ok(());
        }
        if name.len() > self.limits.name_bytes_max || value.len() > self.limits.value_bytes_max {
            return Err(Reject::new(Reason::LabelLimit, "label is too long after relabelling"));
        }
        match self.pairs.iter().position(|(known, _)| *known == name) {
            Some(at) if at >= self.untouched => self.pairs[at].1 = value,
            Some(at) => {
                self.pairs.remove(at);
                self.untouched -= 1;
                self.pairs.push((name, value));
            }
            None => self.pairs.push((name, value)),
        }
        Ok(())
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let (mut at, mut untouched) = (0, 0);
        self.pairs.retain(|(name, _)| {
            let kept = keep(name);
            untouched += usize::from(kept && at < self.untouched);
            at += 1;
            kept
        });
        self.untouched = untouched;
    }
}
