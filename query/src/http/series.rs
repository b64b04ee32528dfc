//! `/api/v1/series`, `/api/v1/labels` and `/api/v1/label/{name}/values`, as Prometheus has them.
//!
//! Called by [`router`](super::router). Answers from the index of series, by whole days, since series are noted by the day: a range
//! of minutes may name series that were silent in it.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#querying-metadata>

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::{
    failure,
    params::{Asked, invalid},
};
use crate::{Engine, Error, ErrorKind, Result, Wanted};

/// Parameters the endpoints take beside those of [`Asked`].
const LIMIT: &str = "limit";

/// Routes of series and labels.
pub(super) fn router() -> Router<Engine> {
    Router::new()
        .route("/api/v1/series", get(series).post(series))
        .route("/api/v1/labels", get(label_names).post(label_names))
        .route("/api/v1/label/{name}/values", get(label_values))
}

async fn label_names(
    State(engine): State<Engine>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = async {
        let (asked, limit) = asked(&headers, &body, query.as_deref())?;
        Ok(texts(engine.label_names(&asked.selectors, asked.times_us).await?, limit))
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

async fn label_values(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let (asked, limit) = asked(&headers, b"", query.as_deref())?;
        let name = unescaped(&name).unwrap_or(name);
        Ok(texts(engine.label_values(&name, &asked.selectors, asked.times_us).await?, limit))
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

async fn series(State(engine): State<Engine>, RawQuery(query): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let (asked, limit) = asked(&headers, &body, query.as_deref())?;
        if asked.selectors.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "no match[] parameter provided"));
        }
        let found = engine.series(&asked.selectors, asked.times_us, Wanted::Labels).await?;
        let (mut objects, cut) = found.objects(limit)?;
        objects.sort_unstable();
        let warnings = if cut { r#","warnings":["results truncated due to limit"]"# } else { "" };
        let body = format!(r#"{{"status":"success","data":[{}]{warnings}}}"#, objects.join(","));
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

fn asked(headers: &HeaderMap, body: &[u8], query: Option<&str>) -> Result<(Asked, usize)> {
    let asked = Asked::read(headers, body, query)?;
    let limit = match asked.other(LIMIT) {
        None | Some("") => 0,
        Some(text) => match text.parse::<i64>() {
            Ok(limit) if limit < 0 => return Err(invalid(LIMIT, "limit must be non-negative")),
            Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
            Err(_) => return Err(invalid(LIMIT, &format!("cannot parse {text:?} to a number"))),
        },
    };
    Ok((asked, if limit == 0 { usize::MAX } else { limit }))
}

fn texts(mut texts: Vec<String>, limit: usize) -> Response {
    let cut = texts.len() > limit;
    texts.truncate(limit);
    let mut body = json!({"status": "success", "data": texts});
    if cut {
        body["warnings"] = json!(["results truncated due to limit"]);
    }
    Json(body).into_response()
}

/// The name that `U__` stands before, in which `_2e_` is a dot and `__` an underscore; none if it is no such name.
/// Spec: <https://prometheus.io/docs/specs/proposals/> (UTF-8 names, escaping of values)
fn unescaped(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut out = String::with_capacity(rest.len());
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '_' {
            out.push(c);
        } else if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
        } else {
            let (code, after) = rest.split_once('_')?;
            out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
            rest = after;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
