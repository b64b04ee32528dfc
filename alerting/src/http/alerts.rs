//! `/alerts`: the alerts that fire, and whoever tells of them.
//!
//! Also finds out how alerts are for [`groups`](super::groups): from copies of pointers, while nobody waits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::get,
};

use super::{
    Answer, Shared, aside, body,
    params::Params,
    posted,
    write::{Part, Seen, answer, list},
};
use crate::{
    Labels,
    alertmanager::{Look, Plan},
    alerts::Alert,
    inhibit::Sources,
    silence::{Silence, State as SilenceState},
};

/// Longest body with alerts: a hundred thousand of several hundred bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

pub(super) fn router() -> Router<Shared> {
    Router::new().route("/api/v2/alerts", get(all).post(post)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn all(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::parse(query.as_deref())?;
    aside(move || {
        let scene = shared.manager.look(Scene::of);
        let mut seen = scene.seen(&params);
        seen.sort_unstable_by_key(|seen| seen.fingerprint);
        let seen = seen.into_iter().map(Arc::new).collect();
        let parts = list(seen, Arc::from([]));
        answer([Part::Text("[")].into_iter().chain(parts).chain([Part::Text("]")]))
    })
    .await
}

async fn post(State(shared): State<Shared>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Answer {
    let body = body::read(&headers, body, BODY_BYTES_MAX)?;
    let posted::Batch { posted, mut wrong } = aside(move || posted::read(&body)).await??;
    let refused = shared.manager.post(posted).await?;
    refused.iter().for_each(|error| wrong.push(|| error.to_string()));
    wrong.refused()?;
    Ok(StatusCode::OK.into_response())
}

/// What is there at a moment, in pointers.
pub(super) struct Scene {
    /// How alerts are routed.
    pub plan: Arc<Plan>,
    /// The moment, milliseconds.
    pub now_ms: i64,
    alerts: Vec<Arc<Alert>>,
    /// Those that silence.
    silences: Vec<Arc<Silence>>,
}

impl Scene {
    /// Copies it.
    pub fn of(look: &Look<'_>) -> Self {
        let silencing = look.silences().filter(|silence| silence.state(look.now_ms) == SilenceState::Active);
        Self {
            plan: Arc::clone(look.plan()),
            now_ms: look.now_ms,
            alerts: look.alerts().cloned().collect(),
            silences: silencing.cloned().collect(),
        }
    }

    /// The alerts that are asked for, in no order.
    pub fn seen(&self, params: &Params) -> Vec<Seen> {
        let Self { plan, alerts, now_ms, .. } = self;
        let sources = plan.sources(alerts.iter(), *now_ms);
        let names: HashMap<&str, Arc<str>> =
            plan.config.receivers().map(|receiver| (receiver.name.as_str(), receiver.name.as_str().into())).collect();
        let chosen = params.chooses_receivers().then(|| params.receivers(plan));
        let is_chosen = |seen: &Seen| {
            chosen.as_ref().is_none_or(|chosen| seen.receivers.iter().any(|name| chosen.contains(&**name)))
        };
        let firing = alerts.iter().filter(|alert| !alert.is_resolved(*now_ms));
        firing
            .filter(|alert| params.filters.matches(&alert.labels))
            .map(|alert| self.one(alert, &sources, &names))
            .filter(|seen| params.active || seen.is_suppressed())
            .filter(|seen| params.silenced || seen.silenced.is_empty())
            .filter(|seen| params.inhibited || seen.inhibited.is_empty())
            .filter(is_chosen)
            .collect()
    }

    fn one(&self, alert: &Arc<Alert>, sources: &Sources<'_>, names: &HashMap<&str, Arc<str>>) -> Seen {
        let labels = &alert.labels;
        let silencing = self.silences.iter().filter(|silence| silence.silences(labels));
        let mut known = HashSet::new();
        let receivers = self.plan.config.routes.receivers(labels).into_iter().filter(|name| known.insert(*name));
        Seen {
            fingerprint: labels.fingerprint(),
            silenced: silencing.map(|silence| silence.id.clone()).collect(),
            inhibited: sources.inhibiting(labels).into_iter().map(Labels::fingerprint).collect(),
            receivers: receivers.filter_map(|name| names.get(name).cloned()).collect(),
            alert: Arc::clone(alert),
        }
    }
}
