//! The console for SQL: a statement, or a saved query with its parameters, and its rows as a table.
//!
//! What is asked comes in the URL, so that an answer can be linked to: reports in Slack and mail do. It reads only, whatever it says, as
//! everywhere. Rows are read until the table is long enough; then the query ends.

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use futures::StreamExt as _;
use query::{
    Answer, Engine,
    format::{json_of, text_of},
    saved::{Kind, Param, Saved},
};

use super::{
    Params,
    html::{Html, href},
    page as framed, reason, short, table, text, told,
};
use crate::http::Shared;

/// Rows that are shown.
const ROWS_MAX: usize = 1_000;
/// Bytes of values that are shown; wide rows are fewer.
const BYTES_MAX: usize = 4 << 20;
/// Saved queries that are listed; `GET /api/v1/sql` has all.
const SAVED_MAX: usize = 50;
/// What a newcomer may ask.
const EXAMPLES: [(&str, &str); 4] = [
    ("Tables", "SHOW TABLES"),
    ("Newest samples", "SELECT * FROM metrics WHERE ts > now() - INTERVAL '5 minutes' ORDER BY ts DESC LIMIT 50"),
    (
        "Dearest services",
        "SELECT ServiceName, BillingCurrency, sum(EffectiveCost) AS cost FROM costs_daily GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20",
    ),
    ("Who was told", "SELECT at, receiver, event, reason, error FROM notifications ORDER BY at DESC LIMIT 50"),
];

/// What names a saved query.
const SAVED: &str = "saved";
const STARTING: &str = "starting: ask again in a moment";

/// Rows as texts.
pub(super) struct Rows {
    /// Names, and whether they hold numbers.
    pub columns: Vec<(String, bool)>,
    /// Values; none where there is none.
    pub rows: Vec<Vec<Option<String>>>,
    /// Were there more?
    pub is_cut: bool,
}

/// Asks in SQL; takes at most so many rows.
pub(super) async fn rows(engine: &Engine, statement: &str, rows_max: usize) -> query::Result<Rows> {
    read(engine.sql(statement).await?, rows_max).await
}

/// Reads an answer, at most so many rows of it.
async fn read(answer: Answer, rows_max: usize) -> query::Result<Rows> {
    let Answer { schema, mut stream } = answer;
    let columns = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().is_numeric())).collect();
    let mut found = Rows { columns, rows: Vec::new(), is_cut: false };
    let mut bytes = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(query::Error::from)?;
        let cells = batch.columns().iter().map(|column| json_of(column.as_ref())).collect::<query::Result<Vec<_>>>()?;
        for at in 0..batch.num_rows() {
            if found.rows.len() >= rows_max || bytes >= BYTES_MAX {
                found.is_cut = true;
                return Ok(found);
            }
            let row: Vec<Option<String>> = cells.iter().map(|cell| text_of(cell, at)).collect();
            bytes += row.iter().flatten().map(String::len).sum::<usize>();
            found.rows.push(row);
        }
    }
    Ok(found)
}

/// `GET /sql?query=…`, or `/sql?saved=…` with parameters of the saved query.
pub(super) async fn page(State(shared): State<Shared>, headers: HeaderMap, RawQuery(url): RawQuery) -> Response {
    let params = Params::of(url.unwrap_or_default().as_bytes());
    if !params.get(SAVED).is_empty() {
        return saved(&shared, &headers, params).await;
    }
    let statement = params.get("query");
    let mut html = Html::of(
        "<form method=\"get\" action=\"sql\" class=\"ask\"><label for=\"query\">One statement that reads</label>\
         <textarea id=\"query\" name=\"query\" rows=\"6\" spellcheck=\"false\" autocapitalize=\"off\" \
         autocomplete=\"off\" required>{}</textarea><button>Ask</button></form>",
        &[&statement],
    );
    match shared.open.get() {
        None => drop(html.add(&reason(STARTING))),
        Some(open) if statement.is_empty() => drop(html.add(&listed(&open.page.engine)).add(&examples())),
        Some(open) => match rows(&open.page.engine, statement, ROWS_MAX).await {
            Ok(rows) => {
                html.add(&laid_out(&rows)).add(&downloads(&shared, "api/v1/sql", &[("query", statement)]));
            }
            Err(error) => drop(html.add(&reason(told(&error)))),
        },
    }
    framed(&shared, &headers, "SQL", &html)
}

/// A saved query: what it takes, and its rows.
async fn saved(shared: &Shared, headers: &HeaderMap, mut params: Params) -> Response {
    let name = params.take(SAVED);
    let mut html = Html::default();
    let Some(open) = shared.open.get() else {
        return framed(shared, headers, "SQL", &reason(STARTING));
    };
    let engine = &open.page.engine;
    let Some(saved) = engine.queries().get(&name) else {
        html.add(&reason(format_args!("there is no saved query `{name}`"))).add(&listed(engine));
        return framed(shared, headers, "SQL", &html);
    };
    // An empty field of a form says nothing, but of a text.
    let is_text = |name: &str| saved.params().iter().any(|param| param.name == name && param.kind == Kind::Text);
    let asked: Vec<(String, String)> =
        params.0.into_iter().filter(|(name, value)| !value.is_empty() || is_text(name)).collect();
    html.add(&form(&name, saved, &asked));
    let answer = async { read(engine.saved(&name, &asked, shared.metrics.clock().now_us()).await?, ROWS_MAX).await };
    match answer.await {
        Ok(rows) => {
            let pairs: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            html.add(&laid_out(&rows)).add(&downloads(shared, &format!("api/v1/sql/{name}"), &pairs));
        }
        Err(error) => drop(html.add(&reason(told(&error)))),
    }
    framed(shared, headers, "SQL", &html)
}

/// A field for each parameter, with what was asked, or what it is if nobody says.
fn form(name: &str, saved: &Saved, asked: &[(String, String)]) -> Html {
    let title = if saved.description.is_empty() { name } else { &saved.description };
    let mut html = Html::of(
        "<h2>{}</h2><form method=\"get\" action=\"sql\" class=\"ask\"><input type=\"hidden\" name=\"saved\" value=\"{}\">",
        &[&title, &name],
    );
    for Param { name, kind, default, description } in saved.params() {
        let said = asked.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = said.or(default.as_deref()).unwrap_or_default();
        html.put("<label for=\"p-{}\">{} ({})", &[name, name, &kind.name()]);
        if !description.is_empty() {
            html.put(": {}", &[description]);
        }
        html.put("</label><input id=\"p-{}\" name=\"{}\" value=\"{}\" autocomplete=\"off\">", &[name, name, &value]);
    }
    html.put("<button>Ask</button></form>", &[]);
    html
}

/// Saved queries, as links.
fn listed(engine: &Engine) -> Html {
    let mut html = Html::default();
    if engine.queries().is_empty() {
        return html;
    }
    html.put("<p>Saved queries:</p><ul>", &[]);
    for (name, saved) in engine.queries().iter().take(SAVED_MAX) {
        html.put("<li><a href=\"{}\">{}</a> {}</li>", &[&href("sql", &[(SAVED, name)]), name, &saved.description]);
    }
    html.put("</ul>", &[]);
    html
}

fn examples() -> Html {
    let mut html = Html::of("<p>Try:</p><ul>", &[]);
    for (name, statement) in EXAMPLES {
        html.put("<li><a href=\"{}\">{}</a></li>", &[&href("sql", &[("query", statement)]), &name]);
    }
    html.put("</ul>", &[]);
    html
}

fn laid_out(rows: &Rows) -> Html {
    let mut html = Html::of(
        "<p role=\"status\">Rows: {}{}.</p>",
        &[&rows.rows.len(), &if rows.is_cut { ", and there are more: what is shown ends here" } else { "" }],
    );
    let cell = |cell: &Option<String>| match cell {
        Some(value) => text(short(value)),
        None => Html::of("<span class=\"null\">null</span>", &[]),
    };
    let cells: Vec<Vec<Html>> = rows.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let heads: Vec<(&str, bool)> = rows.columns.iter().map(|(name, number)| (name.as_str(), *number)).collect();
    html.add(&table("Rows", &heads, &cells));
    html
}

/// Where all rows are, for whoever needs no token; the API takes no session.
fn downloads(shared: &Shared, path: &str, asked: &[(&str, &str)]) -> Html {
    if !shared.auth.is_open() {
        return Html::default();
    }
    let mut html = Html::of("<p>All rows as", &[]);
    for format in ["csv", "parquet", "xlsx"] {
        let asked: Vec<(&str, &str)> = asked.iter().copied().chain([("format", format)]).collect();
        html.put(" <a href=\"{}\">{}</a>", &[&href(path, &asked), &format]);
    }
    html.put(".</p>", &[]);
    html
}
