//! `/api/v1/query_exemplars`, as Prometheus has it.
//!
//! Called by [`router`](super::router). Grafana asks it for any query and for times in milliseconds as if they were seconds, to see
//! whether it is there: that is answered like any other time at which there is nothing.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#querying-exemplars>

use axum::{
    Router,
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use promql::format_float;

use super::{
    failure,
    params::Params,
    write::{object, string, timestamp},
};
use crate::{Engine, Error, exemplars::Exemplars};

/// Routes of exemplars.
pub(super) fn router() -> Router<Engine> {
    Router::new().route("/api/v1/query_exemplars", get(exemplars).post(exemplars))
}

async fn exemplars(State(engine): State<Engine>, RawQuery(url): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let params = Params::read(&headers, &body, url.as_deref());
        let times_ms = params.times_ms()?;
        let query = engine.parse(params.get("query").unwrap_or_default())?;
        if query.selectors().is_empty() {
            // A number has no series; Prometheus answers so.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let found = engine.exemplars(&query, times_ms).await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], written(&found)).into_response())
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

fn written(found: &Exemplars) -> String {
    let mut out = String::from(r#"{"status":"success","data":["#);
    for (at, (labels, exemplars)) in found.series.iter().enumerate() {
        out.push_str(if at > 0 { r#",{"seriesLabels":"# } else { r#"{"seriesLabels":"# });
        object(&mut out, labels, &found.symbols);
        out.push_str(r#","exemplars":["#);
        for (at, exemplar) in exemplars.iter().enumerate() {
            out.push_str(if at > 0 { r#",{"labels":"# } else { r#"{"labels":"# });
            object(&mut out, &exemplar.labels, &found.symbols);
            out.push_str(r#","value":"#);
            string(&mut out, &format_float(exemplar.value));
            out.push_str(r#","timestamp":"#);
            timestamp(&mut out, exemplar.time_ms);
            out.push('}');
        }
        out.push_str("]}");
    }
    out.push(']');
    if found.cut {
        out.push_str(r#","warnings":["results truncated due to limit"]"#);
    }
    out.push('}');
    out
}
