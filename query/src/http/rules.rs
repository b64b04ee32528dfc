//! `/api/v1/rules` and `/api/v1/alerts`, as Prometheus has them: there are none yet, which is a good answer to those who ask.
//!
//! Called by [`router`](super::router). Parameters are checked as if there were rules, so that a client learns of its mistake now.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#rules>

use axum::{
    Json, Router,
    extract::RawQuery,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::{
    failure,
    params::{Params, invalid},
};
use crate::{Engine, Error, Result};

/// Routes of rules and alerts.
pub(super) fn router() -> Router<Engine> {
    Router::new().route("/api/v1/rules", get(rules)).route("/api/v1/alerts", get(alerts))
}

async fn alerts() -> Response {
    Json(json!({ "status": "success", "data": { "alerts": [] } })).into_response()
}

async fn rules(RawQuery(url): RawQuery) -> Response {
    match check(&Params::of_url(url.as_deref())) {
        Ok(()) => Json(json!({ "status": "success", "data": { "groups": [] } })).into_response(),
        Err(error) => failure(&error.at(None)),
    }
}

fn check(params: &Params) -> Result<()> {
    params.selectors()?;
    let kind = params.get("type").unwrap_or_default().to_lowercase();
    if !["", "alert", "record"].contains(&kind.as_str()) {
        return Err(invalid("type", &format!("not supported value {kind:?}")));
    }
    if let Some(text) = params.get("exclude_alerts").map(str::to_lowercase)
        && !["1", "t", "true", "0", "f", "false"].contains(&text.as_str())
    {
        let what = format!("error converting exclude_alerts: strconv.ParseBool: parsing {text:?}: invalid syntax");
        return Err(invalid("exclude_alerts", &what));
    }
    let token = params.get("group_next_token");
    let Some(limit) = params.get("group_limit") else {
        let needed = "group_limit needs to be present in order to paginate over the groups";
        return token.map_or(Ok(()), |_| Err(invalid("group_next_token", needed)));
    };
    match limit.parse::<i32>() {
        Ok(limit) if limit > 0 => {}
        Ok(_) => return Err(invalid("group_limit", "group_limit needs to be greater than 0")),
        Err(_) => return Err(no_number(limit)),
    }
    match token {
        // Of no group that there is.
        Some(token) => {
            let what = format!("invalid group_next_token '{token}'. were rule groups changed?");
            Err(invalid("group_next_token", &what))
        }
        None => Ok(()),
    }
}

fn no_number(text: &str) -> Error {
    let what = format!("group_limit needs to be a valid number: strconv.ParseInt: parsing {text:?}: invalid syntax");
    invalid("group_limit", &what)
}
