//! `GET /api/v1/sql/{name}`: saved queries, and the list of them.
//!
//! Called by [`router`](super::router). Parameters of the query are those of the URL, beside `format`.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{answered, failure, format_of};
use crate::{Engine, Result, saved::Saved};

/// Every saved query with its parameters.
pub(super) fn list(engine: &Engine) -> Response {
    let shown = |(name, saved): (&String, &Saved)| {
        let param = |param: &crate::saved::Param| {
            json!({
                "name": param.name,
                "type": param.kind.name(),
                "default": param.default,
                "description": param.description,
            })
        };
        let params: Vec<Value> = saved.params().iter().map(param).collect();
        let (language, description) = (saved.language(), &saved.description);
        json!({"name": name, "language": language, "description": description, "params": params})
    };
    let queries: Vec<Value> = engine.queries().iter().map(shown).collect();
    Json(json!({"status": "success", "data": queries})).into_response()
}

pub(super) async fn run(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    RawQuery(url): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(saved) = engine.queries().get(&name) else {
        let known: Vec<&str> = engine.queries().keys().map(String::as_str).collect();
        let error = format!("there is no saved query of this name name={name:?} queries={}", known.join(", "));
        let body = json!({"status": "error", "errorType": "not_found", "error": error});
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    };
    let answer: Result<Response> = async {
        let pairs = form_urlencoded::parse(url.as_deref().unwrap_or_default().as_bytes());
        let (mut format, mut asked) = (None, Vec::new());
        for (name, value) in pairs {
            match name.as_ref() {
                "format" => format = Some(value.into_owned()),
                _ => asked.push((name.into_owned(), value.into_owned())),
            }
        }
        let format = format_of(format.as_deref(), &headers)?;
        let now_us = engine.now_us();
        let answer = engine.bound(&saved.bound(&asked, now_us)?, now_us).await?;
        answered(&engine, answer, format, &name).await
    }
    .await;
    answer.unwrap_or_else(|error| failure(&error))
}
