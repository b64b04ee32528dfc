//! `/silences` and `/silence/{id}`.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, Refused, Shared, aside, body, params::Params, time::Time};
use crate::{
    Matchers, Result as Checked,
    silence::{Condition, Silence, State as SilenceState},
};

/// Longest body with a silence: what a silence may have, all of it escaped.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/api/v2/silences", get(all).post(post))
        .route("/api/v2/silence/{id}", get(one).delete(expire))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn all(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::parse(query.as_deref())?;
    aside(move || {
        let (all, now_ms): (Vec<Arc<Silence>>, i64) =
            shared.manager.look(|look| (look.silences().cloned().collect(), look.now_ms));
        let mut all: Vec<_> = all.into_iter().map(|silence| (silence.state(now_ms), silence)).collect();
        all.retain(|(state, silence)| {
            let is_asked = match state {
                SilenceState::Active => params.active,
                SilenceState::Pending => params.pending,
                SilenceState::Expired => params.expired,
            };
            is_asked && params.filters.iter().all(|filter| silence.matchers.iter().any(|matcher| matcher == filter))
        });
        all.sort_by_key(|(state, silence)| match state {
            SilenceState::Active => (0, silence.ends_ms),
            SilenceState::Pending => (1, silence.starts_ms),
            SilenceState::Expired => (2, -silence.ends_ms),
        });
        let all: Vec<Gettable<'_>> = all.iter().map(|(_, silence)| Gettable::of(silence, now_ms)).collect();
        Json(all).into_response()
    })
    .await
}

async fn one(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    let (silence, now_ms) = shared.manager.look(|look| (look.silence(&id).cloned(), look.now_ms));
    let silence = silence.ok_or_else(Refused::no_silence)?;
    Ok(Json(Gettable::of(&silence, now_ms)).into_response())
}

async fn expire(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    let is_known = shared.manager.expire(&id).await?;
    if is_known { Ok(StatusCode::OK.into_response()) } else { Err(Refused::no_silence()) }
}

async fn post(State(shared): State<Shared>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Answer {
    let body = body::read(&headers, body, BODY_BYTES_MAX)?;
    let written: Postable =
        serde_json::from_slice(&body).map_err(|error| Refused::bad(format!("the body is no silence: {error}")))?;
    let id = shared.manager.silence(written.silence()?).await?.ok_or_else(Refused::no_silence)?;
    Ok(Json(json!({ "silenceID": id })).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a silence")]
struct Postable {
    id: Option<String>,
    matchers: Vec<Condition>,
    starts_at: Time,
    ends_at: Time,
    created_by: String,
    comment: String,
}

impl Postable {
    fn silence(self) -> Result<Silence, Refused> {
        let Self { id, matchers, starts_at, ends_at, created_by, comment } = self;
        let matchers = matchers.iter().map(Condition::matcher).collect::<Checked<Vec<_>>>()?;
        Ok(Silence {
            id: id.unwrap_or_default(),
            matchers: Matchers::from(matchers),
            starts_ms: starts_at.0,
            ends_ms: ends_at.0,
            updated_ms: 0,
            created_by,
            comment,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gettable<'a> {
    id: &'a str,
    status: Status,
    updated_at: Time,
    comment: &'a str,
    created_by: &'a str,
    ends_at: Time,
    matchers: Vec<Written>,
    starts_at: Time,
}

#[derive(Serialize)]
struct Status {
    state: SilenceState,
}

/// A condition in the order of fields in which Alertmanager writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    is_equal: bool,
    is_regex: bool,
    name: String,
    value: String,
}

impl<'a> Gettable<'a> {
    fn of(silence: &'a Silence, now_ms: i64) -> Self {
        let conditions = silence.matchers.iter().map(Condition::of);
        let written =
            conditions.map(|Condition { name, value, is_regex, is_equal }| Written { is_equal, is_regex, name, value });
        Self {
            id: &silence.id,
            status: Status { state: silence.state(now_ms) },
            updated_at: Time(silence.updated_ms),
            comment: &silence.comment,
            created_by: &silence.created_by,
            ends_at: Time(silence.ends_ms),
            matchers: written.collect(),
            starts_at: Time(silence.starts_ms),
        }
    }
}
