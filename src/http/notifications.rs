//! `GET /api/v1/notifications`: what was told to whom, what was not, and why; the newest first.
//!
//! Merged by `app` with the crates' routers. The table `notifications` has the same for SQL.

use arrow::json::ArrayWriter;
use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use query::Engine;
use serde::Deserialize;

use super::refusal;
use crate::times;

/// Steps that are answered unless more are asked for.
const LIMIT: u32 = 100;
/// Steps that are answered at most; SQL has no such limit.
const LIMIT_MAX: u32 = 10_000;

/// What is asked for; what is not said does not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    receiver: Option<String>,
    event: Option<String>,
    reason: Option<String>,
    group: Option<String>,
    /// An alert, by fingerprint.
    alert: Option<String>,
    start: Option<String>,
    end: Option<String>,
    limit: Option<u32>,
}

/// Routes of the history of notifications.
pub fn router(engine: Engine) -> Router {
    Router::new().route("/api/v1/notifications", get(notifications)).with_state(engine)
}

async fn notifications(State(engine): State<Engine>, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, "bad_data", error.body_text()),
    };
    let sql = match statement(&asked) {
        Ok(sql) => sql,
        Err(reason) => return refusal(StatusCode::BAD_REQUEST, "bad_data", reason),
    };
    let rows = async { engine.sql(&sql).await?.collect().await };
    let rows = match rows.await {
        Ok(rows) => rows,
        Err(error) => return query::failure(&error),
    };
    let mut body = br#"{"status":"success","data":"#.to_vec();
    let mut writer = ArrayWriter::new(&mut body);
    let written = rows.iter().try_for_each(|rows| writer.write(rows)).and_then(|()| writer.finish());
    if let Err(error) = written {
        return refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("the answer cannot be written: {error}"),
        );
    }
    if body.ends_with(b":") {
        body.extend_from_slice(b"[]");
    }
    body.push(b'}');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn statement(asked: &Asked) -> Result<String, String> {
    let mut conditions = Vec::new();
    for (column, value) in
        [("receiver", &asked.receiver), ("event", &asked.event), ("reason", &asked.reason), ("group_key", &asked.group)]
    {
        conditions.extend(value.as_ref().map(|value| format!("{column} = {}", quoted(value))));
    }
    if let Some(alert) = &asked.alert {
        let has = ["firing", "resolved", "held"].map(|list| format!("array_has({list}, {})", quoted(alert)));
        conditions.push(format!("({})", has.join(" OR ")));
    }
    for (name, comparison, value) in [("start", ">=", &asked.start), ("end", "<", &asked.end)] {
        if let Some(text) = value {
            let ms = times::parse(text).map_err(|reason| format!("invalid parameter {name:?}: {reason}"))?;
            conditions.push(format!("at {comparison} to_timestamp_micros({})", ms.saturating_mul(1000)));
        }
    }
    let limit = asked.limit.unwrap_or(LIMIT);
    if limit > LIMIT_MAX {
        return Err(format!(
            "invalid parameter \"limit\": at most {LIMIT_MAX} at once; SQL over `notifications` has no limit"
        ));
    }
    let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    Ok(format!("SELECT * FROM notifications WHERE {conditions} ORDER BY at DESC, attempt DESC LIMIT {limit}"))
}

/// A text in SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_a_text() {
        let asked = Asked { receiver: Some("a' OR '1'='1".to_owned()), limit: Some(5), ..Asked::default() };
        let sql = statement(&asked).unwrap();
        assert!(sql.contains("receiver = 'a'' OR ''1''=''1'") && sql.ends_with("LIMIT 5"), "{sql}");
        let late = Asked { start: Some("2026-11-28T00:00:00Z".to_owned()), ..Asked::default() };
        assert!(statement(&late).unwrap().contains("at >= to_timestamp_micros(1795824000000000)"));
        assert!(statement(&Asked { end: Some("soon".to_owned()), ..Asked::default() }).is_err());
        assert!(statement(&Asked { limit: Some(10_001), ..Asked::default() }).is_err());
    }
}
