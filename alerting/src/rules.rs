//! Rule files: groups of rules as Prometheus writes them, with our fields beside.
//!
//! [`parse`] makes groups of a file's text (`read`), which `group` evaluates and `testing` tests; [`Group::steps`] says which rules may
//! be asked together (`depend`); [`Group::to_yaml`] writes a group down again (`print`) for whoever stores rules.
//!
//! Ours are `sql:` instead of `expr:` (with `value`, `labels` as a list of columns, `max_age`, `table`), `no_data` and `notify` of an alert,
//! and `limit_mode` of a group; a file without them means what it means to Prometheus.
//! Invariants: a group that was parsed can be evaluated: expressions are read, durations are milliseconds, names are valid. Every error has
//! the line and column of what is wrong, and says which group and rule; all that is wrong with the rules of a file is told at once.
//! Not here: the template engine, which checks templates through [`Options::template`]; finding and reading files.
//! Spec: <https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/>

mod depend;
mod print;
mod read;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range};

use crate::{Error, Result};

pub(crate) use depend::Written;

/// Largest file that is read. The largest seen, thirteen thousand lines that test parsers, has 1.2 MB.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Checks the syntax of a template.
pub type TemplateCheck<'a> = &'a dyn Fn(&str) -> Result<()>;

/// How a file is read.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "functions show nothing")]
pub struct Options<'a> {
    /// Are fields that are not known passed over? They are errors otherwise.
    pub ignores_unknown_fields: bool,
    /// Checks the templates in labels and annotations of alerts.
    pub template: TemplateCheck<'a>,
}

/// Rules that are evaluated one after another at the same times.
#[derive(Debug, Clone)]
pub struct Group {
    /// Unique in its file.
    pub name: String,
    /// Line and column.
    pub place: (u64, u64),
    /// Between evaluations, if it says so.
    pub interval_ms: Option<i64>,
    /// The most alerts, or series of a recording rule, that each rule may have; 0 for as many as there are.
    pub limit: usize,
    /// What happens to more.
    pub limit_mode: LimitMode,
    /// How long before the time of evaluation is asked. Zero is not the same as nothing, which is what all groups have in common.
    pub query_offset_ms: Option<i64>,
    /// Of all its rules, which may say otherwise.
    pub labels: BTreeMap<String, String>,
    /// In order of evaluation.
    pub rules: Vec<Rule>,
}

/// What happens to alerts beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitMode {
    /// Those that exist go on, no new ones begin.
    #[default]
    Refuse,
    /// All of the rule end and the evaluation fails, as in Prometheus.
    Prometheus,
}

/// A question that is asked again and again, and what is done with the answer.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Line and column.
    pub place: (u64, u64),
    /// What is asked.
    pub condition: Condition,
    /// Laid over the labels of each sample. Those of alerts are templates.
    pub labels: BTreeMap<String, String>,
    /// What is done with the answer.
    pub action: Action,
}

/// What a rule asks.
#[derive(Debug, Clone)]
pub enum Condition {
    /// A query of PromQL.
    Promql(promql::Query),
    /// A query of SQL.
    Sql(Sql),
}

/// A query of SQL whose rows are samples.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sql {
    /// The statement.
    pub text: String,
    /// The column of the value; empty for the last of those that are numbers.
    pub value: String,
    /// The columns of labels; none said are all others that are texts.
    pub labels: Option<Vec<String>>,
    /// How old the newest row of `table` may be for its data to count as there.
    pub max_age_ms: Option<i64>,
    /// The table whose newest row tells whether there is data.
    pub table: Option<String>,
}

/// What a rule does with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Writes it as series of this name.
    Record(String),
    /// Makes alerts of it.
    Alert(Alert),
}

/// How alerts are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alert {
    /// The label `alertname`.
    pub name: String,
    /// How long the condition must hold.
    pub for_ms: i64,
    /// How long an alert goes on after it.
    pub keep_firing_for_ms: i64,
    /// Templates that tell people what happened.
    pub annotations: BTreeMap<String, String>,
    /// What becomes of alerts when there is no data.
    pub no_data: NoData,
    /// How often people are told.
    pub notify: Notify,
}

/// What becomes of active alerts when nothing that a rule asks for has a recent sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoData {
    /// They end, as in Prometheus.
    #[default]
    Resolve,
    /// They stay what they are.
    Keep,
    /// They go on as if the condition held.
    Alert,
}

/// How often people are told of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Notify {
    /// Again and again while it fires.
    #[default]
    Repeat,
    /// When it begins and when it ends.
    Once,
}

/// Reads a file of rules.
///
/// # Errors
/// All that is wrong with it, in order of places; `Invalid`.
pub fn parse(text: &str, options: &Options<'_>) -> Result<Vec<Group>, Vec<Error>> {
    read::groups(text, options)
}

/// Reads one group, as a list item of `groups:` would have it.
///
/// # Errors
/// As of [`parse`].
pub fn parse_group(text: &str, options: &Options<'_>) -> Result<Group, Vec<Error>> {
    read::group(text, options)
}

/// Groups as a file, which [`parse`] reads.
///
/// # Errors
/// `Internal`.
pub fn to_yaml(groups: &[Group]) -> Result<String> {
    print::file(groups)
}

/// Groups by the names of their files, as YAML.
///
/// # Errors
/// `Internal`.
pub fn by_file_to_yaml(files: &BTreeMap<&str, &[Group]>) -> Result<String> {
    print::files(files)
}

impl Rule {
    /// The name of the alert, or of the series that are recorded.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.action {
            Action::Record(name) => name,
            Action::Alert(alert) => &alert.name,
        }
    }

    /// Is it the same rule to whoever follows it, whatever else was changed about it: by kind, name and labels?
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    fn identity(&self) -> (bool, &str, &BTreeMap<String, String>) {
        (matches!(self.action, Action::Alert(_)), self.name(), &self.labels)
    }
}

impl Group {
    /// Of each rule, how many earlier ones of the group are the same to whoever follows them.
    #[must_use]
    pub fn ordinals(&self) -> Vec<usize> {
        let mut seen: BTreeMap<_, usize> = BTreeMap::new();
        let mut ordinal = |rule| {
            let seen = seen.entry(Rule::identity(rule)).or_default();
            *seen += 1;
            *seen - 1
        };
        self.rules.iter().map(&mut ordinal).collect()
    }

    /// Parts of the group, in order, whose rules may be asked together: none selects what an earlier one of its part writes. What a rule in
    /// SQL reads is not known; it is asked when it is its turn.
    #[must_use]
    pub fn steps(&self) -> Vec<Range<usize>> {
        depend::steps(self)
    }

    /// The group as YAML, as a list item of `groups:` would have it; the same for groups that mean the same.
    ///
    /// # Errors
    /// `Internal`.
    pub fn to_yaml(&self) -> Result<String> {
        print::group(self)
    }

    /// Do two groups mean the same, wherever they are written?
    #[must_use]
    pub fn means_the_same(&self, other: &Self) -> bool {
        matches!((self.to_yaml(), other.to_yaml()), (Ok(left), Ok(right)) if left == right)
    }
}
