//! `/api/v1/query` and `/api/v1/query_range`, as Prometheus has them.
//!
//! Called by [`router`](super::router). Reads parameters, asks the engine, and writes the result row by row: a large answer goes out in
//! parts while the rest is being written.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#expression-queries>

pub(super) mod write;

use std::io;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use promql::{Outcome, Query};

use super::{
    failure,
    params::{Params, duration_ms, invalid, time_ms},
};
use crate::{Engine, Error, Found, Result, When, ahead};

use write::Writer;

/// Routes of queries in PromQL.
pub(super) fn router() -> Router<Engine> {
    Router::new()
        .route("/api/v1/query", get(instant).post(instant))
        .route("/api/v1/query_range", get(range).post(range))
}

async fn instant(State(engine): State<Engine>, RawQuery(url): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let params = Params::read(&headers, &body, url.as_deref());
        let time_ms = match params.get("time") {
            Some(text) => time_ms("time", text)?,
            None => engine.now_ms(),
        };
        let query = params.query(&engine)?;
        let when = params.common(When::at(time_ms))?;
        let limit = params.limit()?;
        let found = engine.promql(&query, when).await?;
        Ok(respond(&engine, found, time_ms, limit, params.get("stats")))
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

async fn range(State(engine): State<Engine>, RawQuery(url): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let params = Params::read(&headers, &body, url.as_deref());
        let when = params.steps(&engine)?;
        let query = params.query(&engine)?;
        check_range(&query, when, &engine)?;
        let when = params.common(when)?;
        let limit = params.limit()?;
        let found = engine.promql(&query, when).await?;
        Ok(respond(&engine, found, when.start_ms, limit, params.get("stats")))
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

/// Can a query be asked over a range, with so many steps?
///
/// # Errors
/// `Invalid` if its value has no steps, or these are too many.
pub fn check_range(query: &Query, when: When, engine: &Engine) -> Result<()> {
    if query.has_steps() {
        return when.check(engine.config().promql.points_max);
    }
    let what =
        format!("invalid expression type \"{}\" for range query, must be Scalar or instant Vector", query.type_text());
    Err(invalid("query", &what))
}

impl Params {
    fn steps(&self, engine: &Engine) -> Result<When> {
        let time = |name| time_ms(name, self.get(name).unwrap_or_default());
        let (start_ms, end_ms) = (time("start")?, time("end")?);
        if end_ms < start_ms {
            return Err(invalid("end", "end timestamp must not be before start time"));
        }
        let step_ms = duration_ms("step", self.get("step").unwrap_or_default())?;
        if step_ms <= 0 {
            let what = "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(invalid("step", what));
        }
        let when = When { start_ms, end_ms, step_ms, ..When::at(start_ms) };
        when.check(engine.config().promql.points_max)?;
        Ok(when)
    }

    /// With what both endpoints take.
    fn common(&self, when: When) -> Result<When> {
        let lookback_ms = self.get("lookback_delta").map(|text| duration_ms("lookback_delta", text)).transpose()?;
        let timeout_ms = self.get("timeout").map(|text| duration_ms("timeout", text)).transpose()?;
        if lookback_ms.is_some_and(|lookback| lookback <= 0) {
            return Err(invalid("lookback_delta", "must be positive"));
        }
        let timeout_ms = timeout_ms.map(|timeout| u64::try_from(timeout).unwrap_or(0));
        let anew = matches!(self.get("nocache"), Some("1" | "true"));
        Ok(When { lookback_ms, timeout_ms, anew, ..when })
    }
}

/// An answer in the envelope of Prometheus' API, in parts; `time_ms` is that of a scalar.
pub fn json(found: Found, time_ms: i64) -> impl Iterator<Item = String> {
    Writer::new(found, time_ms, false)
}

fn respond(engine: &Engine, mut found: Found, time_ms: i64, limit: usize, stats: Option<&str>) -> Response {
    let cut = match &mut found.result {
        Outcome::Vector(columns) | Outcome::Matrix(columns) => columns.truncate(limit),
        _ => false,
    };
    if cut {
        found.warnings.push("results truncated due to limit".to_owned());
    }
    let mut writer = Writer::new(found, time_ms, stats.is_some());
    let first = writer.next().unwrap_or_default();
    let json = [(header::CONTENT_TYPE, "application/json")];
    if writer.is_done() {
        return (json, first).into_response();
    }
    let parts = futures::stream::iter(std::iter::once(first).chain(writer).map(Ok::<_, io::Error>));
    (json, Body::from_stream(ahead(engine, parts))).into_response()
}
