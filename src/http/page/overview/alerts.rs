//! Alerts that fire, and silences.
//!
//! What they are called and say was written by whoever sends metrics or writes rules. A link of an alert is followed only if it leads to the
//! web.

use std::{fmt::Display, sync::Arc};

use alerting::{
    ALERTNAME, Labels,
    alerts::Alert,
    silence::{Silence, State},
};

use super::{LISTED, rest};
use crate::{
    glue::service::Service,
    http::page::{
        html::{Html, is_link},
        short, table, text,
    },
    times,
};

/// Annotations that say what an alert means, the first that is there.
const SAYS: [&str; 3] = ["summary", "message", "description"];

/// Alerts that fire, the newest first.
pub(super) fn firing(service: &Service) -> Html {
    // Everything waits while somebody looks: only pointers are copied.
    let (mut alerts, silences): (Vec<Arc<Alert>>, Vec<Arc<Silence>>) = service.manager().look(|look| {
        let firing = look.alerts().filter(|alert| !alert.is_resolved(look.now_ms)).cloned().collect();
        let silences = look.silences().filter(|silence| silence.state(look.now_ms) == State::Active);
        (firing, silences.cloned().collect())
    });
    if alerts.is_empty() {
        return Html::of("<p>Nothing fires.</p>", &[]);
    }
    alerts.sort_by(|a, b| b.starts_ms.cmp(&a.starts_ms).then_with(|| a.labels.in_order(&b.labels)));
    let row = |alert: &Arc<Alert>| {
        let silenced = silences.iter().any(|silence| silence.silences(&alert.labels));
        let says = SAYS.map(|name| alert.annotations.get(name)).into_iter().find(|text| !text.is_empty());
        let state = if silenced { "silenced" } else { "firing" };
        vec![
            Html::of("<span class=\"badge {}\">{}</span>", &[&state, &state]),
            name(alert),
            text(short(&labels(&alert.labels))),
            text(short(says.unwrap_or_default())),
            time(alert.starts_ms),
        ]
    };
    let rows: Vec<Vec<Html>> = alerts.iter().take(LISTED).map(row).collect();
    let heads = [("State", false), ("Alert", false), ("Labels", false), ("Says", false), ("Since", false)];
    let mut html = table("Active alerts", &heads, &rows);
    html.add(&rest(alerts.len()));
    html
}

/// A time in one piece: the hyphens of its date are places where a line may end.
fn time(ms: i64) -> Html {
    Html::of("<time>{}</time>", &[&times::show(ms)])
}

/// The name, as a link to what made it, if that is one.
fn name(alert: &Alert) -> Html {
    let name: &dyn Display = &alert.labels.get(ALERTNAME);
    if is_link(&alert.generator_url) {
        return Html::of("<a href=\"{}\" rel=\"noreferrer\">{}</a>", &[&alert.generator_url, name]);
    }
    Html::of("{}", &[name])
}

fn labels(labels: &Labels) -> String {
    let rest = labels.iter().filter(|(name, _)| *name != ALERTNAME);
    rest.map(|(name, value)| format!("{name}={}", query::quoted(value))).collect::<Vec<_>>().join(", ")
}

/// Silences that silence or will, the next to end first.
pub(super) fn silences(service: &Service) -> Html {
    let (mut silences, now_ms): (Vec<Arc<Silence>>, i64) = service.manager().look(|look| {
        let lasting = look.silences().filter(|silence| silence.state(look.now_ms) != State::Expired);
        (lasting.cloned().collect(), look.now_ms)
    });
    if silences.is_empty() {
        return Html::of("<p>Nothing is silenced.</p>", &[]);
    }
    silences.sort_by_key(|silence| silence.ends_ms);
    let row = |silence: &Arc<Silence>| {
        let state = if silence.state(now_ms) == State::Active { "silences" } else { "will" };
        vec![
            text(state),
            text(short(&silence.matchers.to_string())),
            time(silence.ends_ms),
            text(short(&silence.created_by)),
            text(short(&silence.comment)),
        ]
    };
    let rows: Vec<Vec<Html>> = silences.iter().take(LISTED).map(row).collect();
    let heads = [("State", false), ("What", false), ("Until", false), ("By", false), ("Why", false)];
    let mut html = table("Silences", &heads, &rows);
    html.add(&rest(silences.len()));
    html
}
