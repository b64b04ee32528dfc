//! `/alerts/groups`: the alerts that fire as they are told.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{RawQuery, State},
    response::Response,
    routing::get,
};

use super::{
    Answer, Shared,
    alerts::Scene,
    aside,
    params::Params,
    write::{Part, Seen, answer, list},
};
use crate::{Labels, Route, alertmanager::Look};

pub(super) fn router() -> Router<Shared> {
    Router::new().route("/api/v2/alerts/groups", get(all))
}

async fn all(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::parse(query.as_deref())?;
    aside(move || {
        let (scene, groups) = shared.manager.look(|look| (Scene::of(look), copied(look)));
        grouped(&scene, groups, &params)
    })
    .await
}

/// A group as it is at a moment, its alerts by labels.
struct Copied {
    route: Arc<Route>,
    labels: Labels,
    alerts: Vec<Labels>,
}

fn copied(look: &Look<'_>) -> Vec<Copied> {
    let groups = look.groups().map(|group| Copied {
        route: Arc::clone(&group.route),
        labels: group.labels.clone(),
        alerts: group.alerts().map(|alert| alert.labels.clone()).collect(),
    });
    groups.collect()
}

fn grouped(scene: &Scene, mut groups: Vec<Copied>, params: &Params) -> Response {
    let wanted = params.receivers(&scene.plan);
    let mut seen = scene.seen(params);
    // Who is not asked for is not named.
    seen.iter_mut().for_each(|seen| seen.receivers.retain(|name| wanted.contains(&**name)));
    let seen: HashMap<Labels, Arc<Seen>> =
        seen.into_iter().map(|seen| (seen.alert.labels.clone(), Arc::new(seen))).collect();
    groups.sort_by(|a, b| a.labels.in_order(&b.labels).then_with(|| a.route.receiver().cmp(b.route.receiver())));
    // There are many groups of a route.
    let mut muted: HashMap<String, Arc<[String]>> = HashMap::new();
    let mut parts = Vec::new();
    for Copied { route, labels, alerts } in groups {
        if !wanted.contains(route.receiver()) {
            continue;
        }
        let muted = match muted.get(route.id()) {
            Some(muted) => Arc::clone(muted),
            None => {
                let now = Arc::from(scene.plan.muted(&route, scene.now_ms));
                Arc::clone(muted.entry(route.id().to_owned()).or_insert(now))
            }
        };
        let mut alerts: Vec<Arc<Seen>> = alerts.iter().filter_map(|labels| seen.get(labels).cloned()).collect();
        if alerts.is_empty() || (!params.muted && !muted.is_empty()) {
            continue;
        }
        alerts.sort_unstable_by_key(|seen| seen.fingerprint);
        parts.push((alerts, muted, labels, Arc::from(route.receiver())));
    }
    let parts = parts.into_iter().enumerate().flat_map(|(nth, (alerts, muted, labels, receiver))| {
        let begin = Part::Text(if nth == 0 { "{\"alerts\":[" } else { ",{\"alerts\":[" });
        [begin].into_iter().chain(list(alerts, muted)).chain([Part::Group(labels, receiver)])
    });
    answer([Part::Text("[")].into_iter().chain(parts).chain([Part::Text("]")]))
}
