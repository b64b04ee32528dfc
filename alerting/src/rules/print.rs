//! Groups as YAML again. Fields come in the order of the documentation, labels in theirs; what is by default is left out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Action, Alert, Condition, Group, LimitMode, NoData, Notify, Rule};
use crate::{Error, ErrorKind, Result};

#[derive(Serialize)]
struct GroupShown<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_offset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    rules: Vec<RuleShown<'a>>,
}

#[derive(Serialize, Default)]
struct RuleShown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<String>,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    holds_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_data: Option<NoData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<LabelsShown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum LabelsShown<'a> {
    Columns(&'a [String]),
    Fixed(&'a BTreeMap<String, String>),
}

#[derive(Serialize)]
struct FileShown<'a> {
    groups: Vec<GroupShown<'a>>,
}

pub(super) fn group(group: &Group) -> Result<String> {
    written(&shown(group))
}

pub(super) fn file(groups: &[Group]) -> Result<String> {
    written(&FileShown { groups: groups.iter().map(shown).collect() })
}

pub(super) fn files(files: &BTreeMap<&str, &[Group]>) -> Result<String> {
    let shown: BTreeMap<&str, Vec<GroupShown<'_>>> =
        files.iter().map(|(file, groups)| (*file, groups.iter().map(shown).collect())).collect();
    written(&shown)
}

fn written(shown: &impl Serialize) -> Result<String> {
    serde_saphyr::to_string(shown)
        .map_err(|error| Error::new(ErrorKind::Internal, "groups cannot be written as YAML").caused_by(error))
}

fn shown(group: &Group) -> GroupShown<'_> {
    GroupShown {
        name: &group.name,
        interval: group.interval_ms.map(promql::format_duration),
        query_offset: group.query_offset_ms.map(promql::format_duration),
        limit: (group.limit > 0).then_some(group.limit),
        limit_mode: (group.limit_mode == LimitMode::Prometheus).then_some("prometheus"),
        labels: &group.labels,
        rules: group.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &Rule) -> RuleShown<'_> {
    let labels = (!rule.labels.is_empty()).then_some(LabelsShown::Fixed(&rule.labels));
    let mut shown = RuleShown { labels, ..RuleShown::default() };
    match &rule.condition {
        Condition::Promql(query) => shown.expr = Some(query.text()),
        Condition::Sql(sql) => {
            shown.sql = Some(&sql.text);
            shown.value = Some(sql.value.as_str()).filter(|column| !column.is_empty());
            shown.table = sql.table.as_deref();
            shown.max_age = sql.max_age_ms.map(promql::format_duration);
            if let Some(columns) = &sql.labels {
                shown.labels = Some(LabelsShown::Columns(columns));
            }
        }
    }
    match &rule.action {
        Action::Record(name) => shown.record = Some(name),
        Action::Alert(alert) => fill(&mut shown, alert),
    }
    shown
}

fn fill<'a>(shown: &mut RuleShown<'a>, alert: &'a Alert) {
    let duration = |ms: i64| (ms > 0).then(|| promql::format_duration(ms));
    shown.alert = Some(&alert.name);
    shown.holds_for = duration(alert.for_ms);
    shown.keep_firing_for = duration(alert.keep_firing_for_ms);
    shown.no_data = (alert.no_data != NoData::Resolve).then_some(alert.no_data);
    shown.notify = (alert.notify == Notify::Once).then_some("once");
    shown.annotations = (!alert.annotations.is_empty()).then_some(&alert.annotations);
}
