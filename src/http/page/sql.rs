//! The console for SQL: a statement, and its rows as a table.
//!
//! A statement comes in the URL, so that an answer can be linked to; it reads only, whatever it says, as everywhere. Rows are read until
//! the table is long enough; then the query ends.

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use futures::StreamExt as _;
use query::{
    Answer, Engine,
    format::{json_of, text_of},
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
    let Answer { schema, mut stream } = engine.sql(statement).await?;
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

/// `GET /sql?query=…`
pub(super) async fn page(State(shared): State<Shared>, headers: HeaderMap, RawQuery(url): RawQuery) -> Response {
    let params = Params::of(url.unwrap_or_default().as_bytes());
    let statement = params.get("query");
    let mut html = Html::of(
        "<form method=\"get\" action=\"sql\" class=\"ask\"><label for=\"query\">One statement that reads</label>\
         <textarea id=\"query\" name=\"query\" rows=\"6\" spellcheck=\"false\" autocapitalize=\"off\" \
         autocomplete=\"off\" required>{}</textarea><button>Ask</button></form>",
        &[&statement],
    );
    match shared.open.get() {
        _ if statement.is_empty() => examples(&mut html),
        None => drop(html.add(&reason("starting: ask again in a moment"))),
        Some(open) => match rows(&open.page.engine, statement, ROWS_MAX).await {
            Ok(rows) => drop(html.add(&laid_out(&rows)).add(&downloads(&shared, statement))),
            Err(error) => drop(html.add(&reason(told(&error)))),
        },
    }
    framed(&shared, &headers, "SQL", &html)
}

fn examples(html: &mut Html) {
    html.put("<p>Try:</p><ul>", &[]);
    for (name, statement) in EXAMPLES {
        html.put("<li><a href=\"{}\">{}</a></li>", &[&href("sql", &[("query", statement)]), &name]);
    }
    html.put("</ul>", &[]);
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
fn downloads(shared: &Shared, statement: &str) -> Html {
    if !shared.auth.is_open() {
        return Html::default();
    }
    let mut html = Html::of("<p>All rows as", &[]);
    for format in ["csv", "parquet", "xlsx"] {
        let link = href("api/v1/sql", &[("query", statement), ("format", format)]);
        html.put(" <a href=\"{}\">{}</a>", &[&link, &format]);
    }
    html.put(".</p>", &[]);
    html
}
