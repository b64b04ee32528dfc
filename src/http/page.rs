//! The page for people: how the server does, and two consoles, one for PromQL and one for SQL.
//!
//! Routed by `http`. Written here as HTML, whole: it loads nothing from elsewhere, and works without its script. What it shows it asks
//! for as every client does, under the limits of queries; a part that fails says why in its place, and the rest stands.
//! A browser that has no token is asked for one (`login`), and comes back with the cookie of a session (`auth::session`), which opens
//! the paths of the pages and nothing else: an API takes tokens only.
//! Invariants: all that is not ours is escaped by construction (`html`); links are relative, so that the page works below any path of a
//! proxy; the overview is written within `PART_MAX` and what a browser takes to draw it.
//! Not here: what endpoints mean; Grafana's dashboards, which the page hands out as files.

mod chart;
mod graph;
mod html;
mod login;
mod overview;
pub mod rates;
mod sql;
#[cfg(test)]
mod tests;

use std::{fmt::Display, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use query::Engine;

use self::html::Html;
pub(super) use self::login::{ask, in_session};
use super::{Shared, refusal, status};
use crate::glue::service::Service;

/// The most a part of the overview may take, so that all of it is there in two seconds.
const PART_MAX: Duration = Duration::from_millis(1_500);
/// Longest form: a token and where to go on.
const FORM_BYTES_MAX: usize = 32 << 10;
/// Longest cell of a table, bytes; more of it is for an API.
const CELL_BYTES_MAX: usize = 4 << 10;
/// What the page may do: show its own style, run its own script, send its own forms.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);
/// Files that change with the binary only. Short, as their names stay.
const FILE_AGE: HeaderValue = HeaderValue::from_static("public, max-age=600");

const GRAFANA: &str = include_str!("../../docs/grafana.md");
const DASHBOARDS: [(&str, &str); 6] = [
    ("executive.json", include_str!("../../dashboards/executive.json")),
    ("operations.json", include_str!("../../dashboards/operations.json")),
    ("costs.json", include_str!("../../dashboards/costs.json")),
    ("alerting.json", include_str!("../../dashboards/alerting.json")),
    ("business.json", include_str!("../../dashboards/business.json")),
    ("streamgauge.json", include_str!("../../dashboards/streamgauge.json")),
];
/// Pages that are in the navigation: where, and what they are called.
const PAGES: [(&str, &str); 4] = [("./", "Overview"), ("graph", "PromQL"), ("sql", "SQL"), ("endpoints", "Endpoints")];

/// Parts of the server that the page asks once storage is open.
#[derive(Clone)]
pub struct Parts {
    /// Answers queries.
    pub engine: Engine,
    /// Knows alerts and silences.
    pub service: Service,
}

/// Routes of the page.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(overview::page))
        .route("/graph", get(graph::page))
        .route("/sql", get(sql::page))
        .route("/endpoints", get(endpoints))
        .route("/docs/grafana.md", get(async || file("text/plain; charset=utf-8", GRAFANA)))
        .route("/dashboards/{name}", get(dashboard))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/page.css", get(async || file("text/css; charset=utf-8", include_str!("page/page.css"))))
        .route("/page.js", get(async || file("text/javascript; charset=utf-8", include_str!("page/page.js"))))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
}

/// Is this a page that a session opens?
fn is_page(path: &str) -> bool {
    matches!(path, "/" | "/graph" | "/sql" | "/endpoints" | "/docs/grafana.md") || path.starts_with("/dashboards/")
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let kind = HeaderValue::from_static(kind);
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, FILE_AGE)], text).into_response()
}

async fn dashboard(Path(name): Path<String>) -> Response {
    match DASHBOARDS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => file("application/json", text),
        None => refusal(StatusCode::NOT_FOUND, "not_found", "there is no such dashboard; `/` lists them"),
    }
}

async fn endpoints(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let row = |(method, path, what): &(&str, &str, &str)| {
        vec![text(method), Html::of("<code>{}</code>", &[path]), text(what)]
    };
    let rows: Vec<Vec<Html>> = status::ENDPOINTS.iter().map(row).collect();
    let heads = [("Method", false), ("Path", false), ("What", false)];
    page(&shared, &headers, "Endpoints", &table("Endpoints", &heads, &rows))
}

/// A page with its frame.
fn page(shared: &Shared, headers: &HeaderMap, title: &'static str, body: &Html) -> Response {
    let mut html = begin(title);
    html.put("<nav aria-label=\"Pages\">", &[]);
    for (path, name) in PAGES {
        match name == title {
            true => html.put("<a href=\"{}\" aria-current=\"page\">{}</a>", &[&path, &name]),
            false => html.put("<a href=\"{}\">{}</a>", &[&path, &name]),
        };
    }
    html.put("</nav>", &[]);
    html.add(&login::leave(shared, headers));
    html.put("</header><main id=\"main\" tabindex=\"-1\"><h1>{}</h1>", &[&title]).add(body);
    whole(StatusCode::OK, html)
}

/// Up to the place of the navigation.
fn begin(title: &'static str) -> Html {
    Html::of(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{} · Streamgauge</title>\
         <link rel=\"stylesheet\" href=\"page.css\"><script src=\"page.js\" defer></script></head><body>\
         <a class=\"skip\" href=\"#main\">To the content</a><header><a class=\"name\" href=\"./\">Streamgauge</a>",
        &[&title],
    )
}

/// Ends a page that was begun, and sends it.
fn whole(code: StatusCode, mut html: Html) -> Response {
    html.put("</main></body></html>\n", &[]);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (code, headers, html.into_text()).into_response()
}

/// A text alone.
fn text(value: impl Display) -> Html {
    Html::of("{}", &[&value])
}

/// Why something is not shown.
fn reason(why: impl Display) -> Html {
    Html::of("<p class=\"reason\" role=\"status\">{}</p>", &[&why])
}

/// Why a query has no answer, with the place in the text.
fn told(error: &query::Error) -> String {
    let text = error.to_string();
    // What PromQL and the parser of SQL say begins or ends with the place; only planning does not.
    let says_where = text.contains("Line: ") || text.contains("parse error");
    match error.position.filter(|_| !says_where) {
        Some(place) => format!("line {}, column {}: {text}", place.line, place.column),
        None => text,
    }
}

/// A table that scrolls in its own frame where it is too wide; heads of columns of numbers say so.
fn table(name: &str, heads: &[(&str, bool)], rows: &[Vec<Html>]) -> Html {
    let class = |is_number: bool| if is_number { "n" } else { "t" };
    let mut html =
        Html::of("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table><thead><tr>", &[&name]);
    for (head, is_number) in heads {
        html.put("<th scope=\"col\" class=\"{}\">{}</th>", &[&class(*is_number), head]);
    }
    html.put("</tr></thead><tbody>", &[]);
    for row in rows {
        html.put("<tr>", &[]);
        for (cell, (_, is_number)) in row.iter().zip(heads) {
            html.put("<td class=\"{}\">", &[&class(*is_number)]).add(cell).put("</td>", &[]);
        }
        html.put("</tr>", &[]);
    }
    html.put("</tbody></table></div>", &[]);
    html
}

/// A text that is not too long for a cell, cut with a sign if it was.
fn short(text: &str) -> String {
    if text.len() <= CELL_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(CELL_BYTES_MAX)])
}

/// Parameters of a page or a form.
struct Params(Vec<(String, String)>);

impl Params {
    fn of(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first of a name, without space around it; empty if there is none.
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }

    /// The same, which is none of them from now on.
    fn take(&mut self, name: &str) -> String {
        let found = self.0.iter().position(|(known, _)| known == name);
        found.map(|at| self.0.remove(at).1.trim().to_owned()).unwrap_or_default()
    }
}
