//! The overview: health, rates, storage, series, spend, alerts, silences, and how Grafana is set up.
//!
//! Parts that ask the engine are asked together, each within [`PART_MAX`](super::PART_MAX); the others are looked up in memory. Lists end
//! after [`LISTED`] entries and say how many there are.

mod alerts;
mod spend;

use std::{collections::BTreeMap, fmt::Display};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::Response,
};

use super::{
    DASHBOARDS, PART_MAX, Parts,
    chart::{self, Span},
    html::{Html, href},
    page as framed,
    rates::Look,
    reason, table, text, told,
};
use crate::{
    http::{Open, Shared, status::VERSION},
    times,
};

/// Entries of a list.
const LISTED: usize = 50;
/// Metrics with the most series.
const TOP: usize = 10;
/// Series of so long ago count, microseconds: as for `/api/v1/status/tsdb`.
const RECENT_US: i64 = 3 * 3_600_000_000;

/// `GET /`.
pub(super) async fn page(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let look = Look::at(&shared.registry);
    let mut html = health(&shared, &look);
    let Some(open) = shared.open.get() else {
        html.add(&reason(
            "starting: the log is being read; nothing that was acknowledged is lost. Load this page again.",
        ));
        html.add(&grafana(&shared, &headers));
        return framed(&shared, &headers, "Overview", &html);
    };
    let now_us = shared.about.times_us().0;
    let (spend, series) =
        tokio::join!(within(spend::part(&open.page.engine, now_us / 1000)), within(series(&open.page, now_us)),);
    html.add(&section("Active alerts", &alerts::firing(&open.page.service)));
    html.add(&section("Silences", &alerts::silences(&open.page.service)));
    html.add(&section("Spend this month", &spend));
    html.add(&section("What comes in", &rates(&shared, &look)));
    html.add(&section("Metrics with the most series", &series));
    html.add(&section("Storage", &storage(&shared, &look)));
    html.add(&grafana(&shared, &headers));
    framed(&shared, &headers, "Overview", &html)
}

/// A part that asks the engine, or why it is not there.
async fn within(part: impl Future<Output = query::Result<Html>>) -> Html {
    match tokio::time::timeout(PART_MAX, part).await {
        Ok(Ok(html)) => html,
        Ok(Err(error)) => reason(told(&error)),
        Err(_) => reason(format!(
            "this takes longer than {} s now: ask for it in a console, which waits",
            PART_MAX.as_secs_f32()
        )),
    }
}

fn section(title: &'static str, body: &Html) -> Html {
    let mut html = Html::of("<section aria-label=\"{}\"><h2>{}</h2>", &[&title, &title]);
    html.add(body).put("</section>", &[]);
    html
}

/// Names with values.
fn facts(facts: &[(&str, &dyn Display)]) -> Html {
    let mut html = Html::of("<dl class=\"facts\">", &[]);
    for (name, value) in facts {
        html.put("<div><dt>{}</dt><dd>{}</dd></div>", &[name, value]);
    }
    html.put("</dl>", &[]);
    html
}

/// How many there are beyond those that are listed.
fn rest(all: usize) -> Html {
    match all.saturating_sub(LISTED) {
        0 => Html::default(),
        more => Html::of("<p>… and {} more.</p>", &[&more]),
    }
}

fn health(shared: &Shared, look: &Look) -> Html {
    let (state, why) = match shared.open.get().map(|open: &Open| open.storage.healthy()) {
        None => ("starting", None),
        Some(Ok(())) => ("ready", None),
        Some(Err(error)) => ("in trouble", Some(error.chain())),
    };
    let (now_us, started_us) = shared.about.times_us();
    let mut html = Html::of("<p class=\"state {}\" role=\"status\">{}</p>", &[&state.replace(' ', "-"), &state]);
    if let Some(why) = why {
        html.add(&reason(format!("it takes no reads or writes: {why}")));
    }
    let running = shared.open.get().map_or(0, |open| open.page.engine.asking().len());
    let memory = bytes(look.sum("process_resident_memory_bytes").unwrap_or(f64::NAN));
    let budget = bytes(whole(shared.about.memory()));
    html.add(&facts(&[
        ("Version", &VERSION),
        ("Up since", &times::show(started_us / 1000)),
        ("Now", &times::show(now_us / 1000)),
        ("Memory in use", &memory),
        ("Budget of memory", &budget),
        ("Queries running", &running),
    ]));
    if let Some(open) = shared.open.get() {
        html.add(&rules(&open.page));
    }
    html
}

/// Groups of rules, and what is wrong with them.
fn rules(parts: &Parts) -> Html {
    let groups = parts.service.rules().shown(false);
    let mut wrong = Vec::new();
    for group in &groups {
        for (rule, status) in group.group.rules.iter().zip(&group.status.rules) {
            wrong.extend(status.error.as_ref().map(|why| (format!("{} / {}", group.group.name, rule.name()), why)));
        }
    }
    let mut html = facts(&[("Groups of rules", &groups.len()), ("Rules that fail", &wrong.len())]);
    for (rule, why) in wrong.iter().take(LISTED) {
        html.put("<p class=\"reason\">{}: {}</p>", &[rule, why]);
    }
    html.add(&rest(wrong.len()));
    html
}

fn rates(shared: &Shared, look: &Look) -> Html {
    let rates = shared.rates.shown(look);
    let row = |rate: &super::rates::Rate| vec![text(rate.what), text(chart::short(rate.now))];
    let rows: Vec<Vec<Html>> = rates.iter().map(row).collect();
    let mut html = table("Rates", &[("Of the last minute", false), ("a second", true)], &rows);
    let samples = rates.first().map(|rate| rate.before.clone()).unwrap_or_default();
    if let (Some((from, _)), Some((to, _))) = (samples.first(), samples.last()) {
        let span = Span { from: *from, to: to.max(from + 60.0), step: 30.0 };
        html.add(&chart::lines("Samples a second, of the last ten minutes", &span, std::slice::from_ref(&samples)));
    }
    html
}

/// Metrics by how many series they have.
async fn series(parts: &Parts, now_us: i64) -> query::Result<Html> {
    let counts = parts.engine.counts(now_us - RECENT_US..now_us + 1, TOP).await?;
    if counts.series == 0 {
        return Ok(reason(
            "no series in the last hours: send some with `remote_write: [{url: \"…/api/v1/write\"}]` of a Prometheus",
        ));
    }
    let mut html = Html::of("<p>{} series of the last hours, in all.</p>", &[&counts.series]);
    let row = |(metric, count): &(String, u64)| {
        let selector = format!("{{__name__={}}}", query::quoted(metric));
        let link = href("graph", &[("g0.expr", &selector)]);
        vec![Html::of("<a href=\"{}\">{}</a>", &[&link, &super::short(metric)]), text(count)]
    };
    let rows: Vec<Vec<Html>> = counts.by_metric.iter().map(row).collect();
    html.add(&table("Metrics", &[("Metric", false), ("Series", true)], &rows));
    Ok(html)
}

fn storage(shared: &Shared, look: &Look) -> Html {
    let mut of_dataset: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for (at, name) in ["streamgauge_files", "streamgauge_file_bytes"].into_iter().enumerate() {
        for (dataset, value) in look.by(name, "dataset") {
            of_dataset.entry(dataset).or_default()[at] = value;
        }
    }
    let mut html = facts(&[
        ("Series known", &chart::short(look.sum("streamgauge_series").unwrap_or(0.0))),
        ("Rows not in files yet", &bytes(look.sum("streamgauge_head_bytes").unwrap_or(0.0))),
        ("Waits for a bucket", &bytes(look.sum("streamgauge_store_spool_bytes").unwrap_or(0.0))),
        ("Files to be merged", &chart::short(look.sum("streamgauge_upkeep_pending_files").unwrap_or(0.0))),
        ("Samples are kept for", &shared.about.retention()),
    ]);
    let row = |(dataset, [files, size]): (&String, &[f64; 2])| {
        let link = href("sql", &[("query", &format!("SELECT * FROM {dataset} LIMIT 50"))]);
        let name = Html::of("<a href=\"{}\">{}</a>", &[&link, dataset]);
        vec![name, text(chart::short(*files)), text(bytes(*size))]
    };
    let rows: Vec<Vec<Html>> = of_dataset.iter().map(row).collect();
    html.add(&table("Tables", &[("Table", false), ("Files", true), ("Size", true)], &rows));
    html
}

fn grafana(shared: &Shared, headers: &HeaderMap) -> Html {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:4090");
    let scheme = if shared.about.is_secure() { "https" } else { "http" };
    let url = shared.about.external_url().map_or_else(|| format!("{scheme}://{host}"), str::to_owned);
    let mut html = Html::of(
        "<p>Add a data source of type Prometheus with the URL <code>{}</code>, and one of type PostgreSQL for SQL. \
         <a href=\"docs/grafana.md\">How Grafana is set up</a> has all of it. Dashboards to import:</p><ul>",
        &[&url],
    );
    for (name, _) in DASHBOARDS {
        html.put("<li><a href=\"dashboards/{}\" download>{}</a></li>", &[&name, &name]);
    }
    html.put("</ul>", &[]);
    section("Grafana", &html)
}

/// A size for people.
fn bytes(bytes: f64) -> String {
    format!("{}B", chart::short(bytes))
}

#[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
fn whole(number: u64) -> f64 {
    number as f64
}
