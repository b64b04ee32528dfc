//! `/api/v1/rules` and `/api/v1/alerts`, as Prometheus answers them; `/api/v1/status/lateness`, which is ours: how late samples come, and
//! how far behind the clock rules would miss little of them.
//!
//! Merged by `app` with the crates' routers. Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#rules>

use alerting::{
    Labels,
    alert::{Instance, Phase},
    rules::{Action, Condition, Rule},
};
use axum::{
    Json, Router,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, SecondsFormat};
use query::{RulesAsked, Selector, no_such_group};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::glue::rules::{RuleStatus, Rules, Shown};

/// What Prometheus writes for a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Routes of rules and alerts.
pub fn router(rules: Rules) -> Router {
    Router::new()
        .route("/api/v1/rules", get(all))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/status/lateness", get(lateness))
        .with_state(rules)
}

/// How late samples come. All times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lateness {
    /// Samples of the last half an hour to an hour, without those that are more than an hour old.
    pub samples: u64,
    /// How many of them came within a time after theirs, the cumulated counts of ascending times.
    pub within: Vec<(i64, u64)>,
    /// The least of these times within which 99 of 100 came; none if there are too few samples to tell.
    pub suggested_offset_ms: Option<i64>,
    /// How far behind the clock groups are evaluated that do not say.
    pub query_offset_ms: i64,
}

async fn lateness(State(rules): State<Rules>) -> Response {
    let (late, settings) = (rules.parts().remote_write.late(), &rules.parts().settings);
    let data = Lateness {
        suggested_offset_ms: late.suggested_ms(),
        samples: late.samples,
        within: late.within,
        query_offset_ms: settings.query_offset_ms,
    };
    Json(json!({ "status": "success", "data": data })).into_response()
}

async fn alerts(State(rules): State<Rules>) -> Response {
    let shown = rules.shown(true);
    let all = shown.iter().flat_map(|group| &group.alerts).flatten();
    let alerts: Vec<Value> = all.map(|(labels, instance)| alert(labels, instance)).collect();
    Json(json!({ "status": "success", "data": { "alerts": alerts } })).into_response()
}

async fn all(State(rules): State<Rules>, RawQuery(url): RawQuery) -> Response {
    let asked = match RulesAsked::of_url(url.as_deref()) {
        Ok(asked) => asked,
        Err(answer) => return *answer,
    };
    let mut shown = rules.shown(!asked.exclude_alerts);
    shown.retain(|shown| wants(&asked.files, &shown.file) && wants(&asked.groups, &shown.group.name));
    if let Some(token) = &asked.token {
        match shown.iter().position(|shown| group_token(shown) == *token) {
            Some(at) => drop(shown.drain(..at)),
            None => return no_such_group(token),
        }
    }
    let mut groups: Vec<Value> = Vec::new();
    let mut next = None;
    for shown in &shown {
        let rules = rules_of(shown, &asked);
        if rules.is_empty() && (asked.kind.is_some() || !asked.names.is_empty() || !asked.selectors.is_empty()) {
            continue;
        }
        if asked.limit.is_some_and(|limit| groups.len() == limit) {
            next = Some(group_token(shown));
            break;
        }
        groups.push(json!({
            "name": shown.group.name,
            "file": shown.file,
            "rules": rules,
            "interval": seconds(shown.interval_ms),
            "limit": shown.group.limit,
            "evaluationTime": seconds(shown.status.took_ms),
            "lastEvaluation": time(shown.status.at_ms),
        }));
    }
    let mut data = Map::from_iter([("groups".to_owned(), Value::from(groups))]);
    data.extend(next.map(|next| ("groupNextToken".to_owned(), next.into())));
    Json(json!({ "status": "success", "data": data })).into_response()
}

fn wants(asked: &[String], name: &str) -> bool {
    asked.is_empty() || asked.iter().any(|asked| asked == name)
}

/// Names a group without its place, so that it is found after others came.
fn group_token(shown: &Shown) -> String {
    let digest = Sha256::digest(format!("{};{}", shown.file, shown.group.name));
    digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

fn rules_of(shown: &Shown, asked: &RulesAsked) -> Vec<Value> {
    let none = (RuleStatus::default(), Vec::new());
    let rules = shown.group.rules.iter().enumerate();
    let rules = rules.filter(|(_, rule)| {
        let is_alert = matches!(rule.action, Action::Alert(_));
        let is_of_kind = asked.kind.as_deref().is_none_or(|kind| (kind == "alert") == is_alert);
        let matches = |selector: &Selector| {
            selector
                .matchers()
                .iter()
                .all(|matcher| matcher.matches(rule.labels.get(matcher.label()).map_or("", String::as_str)))
        };
        is_of_kind
            && wants(&asked.names, rule.name())
            && (asked.selectors.is_empty() || asked.selectors.iter().any(matches))
    });
    let shown = rules.map(|(nth, rule)| {
        let status = shown.status.rules.get(nth).unwrap_or(&none.0);
        let alerts = shown.alerts.get(nth).unwrap_or(&none.1);
        one(rule, status, (alerts, asked.exclude_alerts), (shown.status.at_ms, shown.status.took_ms))
    });
    shown.collect()
}

fn one(
    rule: &Rule,
    status: &RuleStatus,
    (alerts, exclude_alerts): (&[(Labels, Instance)], bool),
    (at_ms, took_ms): (Option<i64>, i64),
) -> Value {
    let query = match &rule.condition {
        Condition::Promql(query) => query.text().to_owned(),
        Condition::Sql(sql) => sql.text.clone(),
    };
    let health = match (status.is_known, &status.error) {
        (false, _) => "unknown",
        (true, Some(_)) => "err",
        (true, None) => "ok",
    };
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
    if let Action::Alert(of) = &rule.action {
        let phases = alerts.iter().map(|(_, instance)| instance.phase);
        let state = match phases.max() {
            Some(Phase::Firing) => "firing",
            Some(Phase::Pending) => "pending",
            _ => "inactive",
        };
        put("state", state.into());
        put("name", of.name.as_str().into());
        put("query", query.into());
        put("duration", seconds(of.for_ms));
        put("keepFiringFor", seconds(of.keep_firing_for_ms));
        put("labels", json!(rule.labels));
        put("annotations", json!(of.annotations));
        if !exclude_alerts {
            put("alerts", alerts.iter().map(|(labels, instance)| alert(labels, instance)).collect());
        }
    } else {
        put("name", rule.name().into());
        put("query", query.into());
        if !rule.labels.is_empty() {
            put("labels", json!(rule.labels));
        }
    }
    put("health", health.into());
    if let Some(error) = &status.error {
        put("lastError", error.as_str().into());
    }
    put("evaluationTime", seconds(took_ms));
    put("lastEvaluation", time(at_ms));
    put("type", if matches!(rule.action, Action::Alert(_)) { "alerting" } else { "recording" }.into());
    Value::Object(shown)
}

fn alert(labels: &Labels, instance: &Instance) -> Value {
    let mut shown = json!({
        "labels": labels,
        "annotations": instance.annotations,
        "state": if instance.phase == Phase::Pending { "pending" } else { "firing" },
        "activeAt": time(Some(instance.active_at_ms)),
        "value": exponent(instance.value),
    });
    if let (Some(since), Value::Object(shown)) = (instance.keep_firing_since_ms, &mut shown) {
        shown.insert("keepFiringSince".to_owned(), time(Some(since)));
    }
    shown
}

/// A number as Prometheus shows values of alerts: `1e+00`.
fn exponent(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[expect(clippy::cast_precision_loss, reason = "durations")]
fn seconds(ms: i64) -> Value {
    if ms % 1000 == 0 { (ms / 1000).into() } else { (ms as f64 / 1000.0).into() }
}

fn time(ms: Option<i64>) -> Value {
    let time = ms.and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| NEVER.into(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_prometheus_does() {
        for (value, expected) in [
            (1.0, "1e+00"),
            (0.0, "0e+00"),
            (-12.5, "-1.25e+01"),
            (1.5e-7, "1.5e-07"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(exponent(value), expected);
        }
        assert_eq!((seconds(90_000), seconds(1_500)), (json!(90), json!(1.5)));
        assert_eq!((time(None), time(Some(1_500))), (json!(NEVER), json!("1970-01-01T00:00:01.500Z")));
    }
}
