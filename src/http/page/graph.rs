//! The console for PromQL: an expression, and its answer as a graph or a table.
//!
//! Parameters are those of Prometheus' own page, so that links to it work here: `g0.expr`, `g0.tab` (0 for the graph, 1 for the table),
//! `g0.range_input`, `g0.end_input` or `g0.moment_input`, `g0.step_input`. Alerts of rules carry such links.
//! An answer is Prometheus' JSON, as for every client, and read as the `promql` command reads it.

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use chrono::{DateTime, NaiveDateTime};
use promql::Outcome;
use query::{Engine, When, duration_ms};

use super::{
    Params,
    chart::{COLOURS, Span, lines},
    html::{Html, href},
    page as framed, reason, short, table, text, told,
};
use crate::{
    http::Shared,
    promql::answer::{Answer, Content, Series},
    times,
};

/// Series of a graph: more are no picture any more.
const DRAWN: usize = 50;
/// Series of a table.
const LISTED: usize = 500;
/// Samples of a series that are listed, of an expression that gives several.
const SAMPLES: usize = 20;
/// Longest answer that is laid out, bytes of JSON: a few hundred series with some hundred steps.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Steps of a range for which none is given, as in Prometheus' own page.
const STEPS: i64 = 250;
/// Range if nothing is said.
const RANGE: &str = "1h";
/// Ranges that are offered; others can be written.
const RANGES: [&str; 8] = ["5m", "1h", "6h", "1d", "1w", "4w", "12w", "1y"];
/// What a newcomer may ask.
const EXAMPLES: [&str; 3] = ["up", "count by (job) (up)", "topk(5, count by (__name__) ({__name__!=\"\"}))"];

/// Times in seconds, values as numbers and as texts.
type Points = Vec<(f64, f64, String)>;

/// What is asked.
struct Asked {
    expr: String,
    is_table: bool,
    range: String,
    end: String,
    step: String,
}

impl Asked {
    fn of(params: &Params) -> Self {
        let range = params.get("g0.range_input");
        let end = Some(params.get("g0.end_input")).filter(|end| !end.is_empty());
        Self {
            expr: params.get("g0.expr").to_owned(),
            is_table: matches!(params.get("g0.tab"), "1" | "table"),
            range: if range.is_empty() { RANGE.to_owned() } else { range.to_owned() },
            end: end.unwrap_or_else(|| params.get("g0.moment_input")).to_owned(),
            step: params.get("g0.step_input").to_owned(),
        }
    }

    fn when(&self, now_ms: i64) -> Result<When, String> {
        let end_ms = if self.end.is_empty() { now_ms } else { moment(&self.end)? };
        if self.is_table {
            return Ok(When::at(end_ms));
        }
        let length = |name: &str, text: &str| match duration_ms(name, text) {
            Ok(ms) if ms > 0 => Ok(ms),
            Ok(_) => Err(format!("the {name} must be longer than nothing")),
            Err(error) => Err(error.to_string()),
        };
        let range_ms = length("range", &self.range)?;
        let step_ms = match self.step.as_str() {
            "" => (range_ms / STEPS).max(1_000) / 1_000 * 1_000,
            step => length("step", step)?,
        };
        // At multiples of the step, so that a page that is loaded again shows the same points.
        let end_ms = end_ms.div_euclid(step_ms) * step_ms;
        let start_ms = end_ms.saturating_sub(range_ms);
        Ok(When { start_ms, end_ms, step_ms, ..When::at(start_ms) })
    }

    fn form(&self) -> Html {
        let mut html = Html::of(
            "<form method=\"get\" action=\"graph\" class=\"ask\"><label for=\"expr\">Expression in PromQL</label>\
             <textarea id=\"expr\" name=\"g0.expr\" rows=\"3\" spellcheck=\"false\" autocapitalize=\"off\" \
             autocomplete=\"off\" required>{}</textarea><div class=\"row\">",
            &[&self.expr],
        );
        html.put("<fieldset><legend>Show</legend>", &[]);
        for (tab, name, is_chosen) in [("0", "Graph", !self.is_table), ("1", "Table", self.is_table)] {
            match is_chosen {
                true => html.put(
                    "<label><input type=\"radio\" name=\"g0.tab\" value=\"{}\" checked> {}</label>",
                    &[&tab, &name],
                ),
                false => {
                    html.put("<label><input type=\"radio\" name=\"g0.tab\" value=\"{}\"> {}</label>", &[&tab, &name])
                }
            };
        }
        html.put(
            "</fieldset><label>Range <input name=\"g0.range_input\" size=\"6\" value=\"{}\" list=\"ranges\"></label>\
             <label>Until <input name=\"g0.end_input\" size=\"20\" placeholder=\"now\" value=\"{}\"></label>\
             <label>Step <input name=\"g0.step_input\" size=\"6\" placeholder=\"auto\" value=\"{}\"></label>\
             <button>Ask</button></div><datalist id=\"ranges\">",
            &[&self.range, &self.end, &self.step],
        );
        for range in RANGES {
            html.put("<option value=\"{}\">", &[&range]);
        }
        html.put("</datalist></form>", &[]);
        html
    }
}

/// A time as Prometheus' page, a browser, or a person writes it; UTC.
fn moment(text: &str) -> Result<i64, String> {
    let written = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    let plain = written.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    plain.map_or_else(|| times::parse(text), |time| Ok(time.and_utc().timestamp_millis()))
}

/// `GET /graph?g0.expr=…`
pub(super) async fn page(State(shared): State<Shared>, headers: HeaderMap, RawQuery(url): RawQuery) -> Response {
    let asked = Asked::of(&Params::of(url.unwrap_or_default().as_bytes()));
    let mut html = asked.form();
    let answered = match shared.open.get() {
        _ if asked.expr.is_empty() => Ok(examples()),
        None => Err("starting: ask again in a moment".to_owned()),
        Some(open) => answer(&open.page.engine, &asked, shared.about.times_us().0 / 1_000).await,
    };
    html.add(&answered.unwrap_or_else(reason));
    framed(&shared, &headers, "PromQL", &html)
}

fn examples() -> Html {
    let mut html = Html::of("<p>Try:</p><ul>", &[]);
    for expr in EXAMPLES {
        html.put("<li><a href=\"{}\"><code>{}</code></a></li>", &[&href("graph", &[("g0.expr", expr)]), &expr]);
    }
    html.put("</ul>", &[]);
    html
}

/// The answer as HTML, or why there is none.
async fn answer(engine: &Engine, asked: &Asked, now_ms: i64) -> Result<Html, String> {
    let query = engine.parse(&asked.expr).map_err(|error| told(&error))?;
    let when = asked.when(now_ms)?;
    if !asked.is_table {
        query::check_range(&query, when, engine).map_err(|error| told(&error))?;
    }
    let mut found = engine.promql(&query, when).await.map_err(|error| told(&error))?;
    let most = if asked.is_table { LISTED } else { DRAWN };
    let is_cut = match &mut found.result {
        Outcome::Vector(series) | Outcome::Matrix(series) => series.truncate(most),
        Outcome::Scalar(_) | Outcome::String(_) | Outcome::Raw(_) => false,
    };
    let mut json = String::new();
    for part in query::json(found, when.start_ms) {
        json.push_str(&part);
        if json.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too long to be shown: ask for fewer series, or for a longer step".to_owned());
        }
    }
    let answer = Answer::read(&json).map_err(|error| format!("{error:#}"))?;
    let mut html = Html::default();
    for note in answer.notes() {
        html.put("<p class=\"note\">{}</p>", &[&note]);
    }
    if is_cut {
        html.put("<p class=\"note\">The first {} series; there are more.</p>", &[&most]);
    }
    html.add(&match answer.content {
        Content::One(_, value) => Html::of("<p class=\"one\">{}</p>", &[&short(&value)]),
        Content::Many(series) if series.is_empty() => Html::of("<p role=\"status\">No series.</p>", &[]),
        Content::Many(series) if asked.is_table => listed(&series),
        Content::Many(series) => drawn(&asked.expr, when, &series),
    });
    Ok(html)
}

/// A row for each series, with what it has at the moment.
fn listed(series: &[Series]) -> Html {
    let row = |series: &Series| {
        let points = series.points();
        let value = match points.as_slice() {
            [(_, _, value)] => short(value),
            points => several(points),
        };
        vec![text(short(&series.name())), text(value)]
    };
    let rows: Vec<Vec<Html>> = series.iter().take(LISTED).map(row).collect();
    table("Series", &[("Series", false), ("Value", true)], &rows)
}

/// Samples of one series, the newest last.
fn several(points: &[(f64, f64, String)]) -> String {
    let from = points.len().saturating_sub(SAMPLES);
    let before = if from > 0 { format!("… {from} before\n") } else { String::new() };
    let newest = points[from..].iter().map(|(time, _, value)| format!("{value} @ {}", shown(*time)));
    before + &newest.collect::<Vec<_>>().join("\n")
}

fn shown(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "times beyond are none")]
    let time = DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64);
    time.map_or_else(|| seconds.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// The graph, and a row for each line of it.
fn drawn(expr: &str, when: When, series: &[Series]) -> Html {
    let points: Vec<Points> = series.iter().map(Series::points).collect();
    let drawn: Vec<Vec<(f64, f64)>> =
        points.iter().map(|points| points.iter().map(|(time, value, _)| (*time, *value)).collect()).collect();
    let [from, to, step] = [when.start_ms, when.end_ms, when.step_ms].map(seconds);
    let mut html = lines(&format!("Graph of {}", short(expr)), &Span { from, to, step }, &drawn);
    html.put(
        "<p class=\"times\">{} to {}, a point each {} s; UTC.</p>",
        &[&times::show(when.start_ms), &times::show(when.end_ms), &step],
    );
    let row = |(at, (series, points)): (usize, (&Series, &Points))| {
        let by = |is_better: fn(f64, f64) -> bool| {
            let numbers = points.iter().filter(|(_, value, _)| !value.is_nan());
            let best = numbers.reduce(|best, point| if is_better(point.1, best.1) { point } else { best });
            text(best.map_or("NaN", |(.., text)| text.as_str()))
        };
        let last = text(points.last().map_or("", |(.., text)| text.as_str()));
        let name = Html::of("<span class=\"swatch c{}\"></span> {}", &[&(at % COLOURS), &short(&series.name())]);
        vec![name, last, by(|a, b| a < b), by(|a, b| a > b)]
    };
    let rows: Vec<Vec<Html>> = series.iter().zip(&points).enumerate().map(row).collect();
    html.add(&table("Series", &[("Series", false), ("Last", true), ("Lowest", true), ("Highest", true)], &rows));
    html
}

#[expect(clippy::cast_precision_loss, reason = "times of today are exact")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        Asked::of(&Params::of(query.as_bytes()))
    }

    #[test]
    fn links_of_prometheus_are_understood() {
        let link =
            "g0.expr=rate(x%5B5m%5D)&g0.tab=0&g0.range_input=2h&g0.end_input=2026-11-28+12%3A00%3A00&g0.step_input=30";
        let graph = asked(link);
        assert_eq!((graph.expr.as_str(), graph.is_table), ("rate(x[5m])", false));
        let when = graph.when(0).unwrap();
        let end_ms = times::parse("2026-11-28T12:00:00Z").unwrap();
        assert_eq!((when.start_ms, when.end_ms, when.step_ms), (end_ms - 7_200_000, end_ms, 30_000));
        let table = asked("g0.expr=up&g0.tab=1&g0.moment_input=2026-11-28T12%3A00");
        assert_eq!(table.when(0).unwrap(), When::at(end_ms));
        assert!(asked("g0.expr=up&g0.tab=table").is_table);
    }

    #[test]
    fn without_times_it_is_the_last_hour_in_round_steps() {
        let when = asked("g0.expr=up").when(1_000_000_123).unwrap();
        assert_eq!((when.step_ms, when.end_ms - when.start_ms), (14_000, 3_600_000));
        assert_eq!(when.end_ms % when.step_ms, 0);
    }

    #[test]
    fn times_that_are_none_are_refused_with_a_reason() {
        for query in ["g0.range_input=-1h", "g0.range_input=soon", "g0.step_input=0", "g0.end_input=tomorrow"] {
            let error = asked(query).when(0).unwrap_err();
            assert!(error.len() > 10, "{query}: {error}");
        }
    }

    #[test]
    fn a_form_keeps_what_was_asked_and_escapes_it() {
        let html = asked("g0.expr=%3C/textarea%3E%3Cscript%3E&g0.range_input=%22onfocus=1").form().into_text();
        assert!(html.contains(">&lt;/textarea&gt;&lt;script&gt;</textarea>"), "{html}");
        assert!(html.contains("value=\"&quot;onfocus=1\""), "{html}");
    }
}
