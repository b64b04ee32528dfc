//! Saved queries: what a client sends is a value, whatever it is.

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use storage::Lane;
use tower::ServiceExt;

use super::*;
use crate::{
    Config,
    testing::{Bench, DAY_MS, samples, series},
};

fn saved(sql: &str, params: &[(&str, Kind, Option<&str>)]) -> Saved {
    let params = params.iter().map(|(name, kind, default)| Param::new(name, *kind, *default, "").unwrap()).collect();
    Saved::new("A question.".to_owned(), Text::Sql(sql.to_owned()), params, Syntax::default()).unwrap()
}

async fn bench() -> Bench {
    let bench = Bench::new();
    let labelled: [crate::testing::Labelled<'_>; 2] =
        [("up", 1, &[("team", "pay")]), ("up", 2, &[("team", "=HYPERLINK(\"x\")")])];
    bench.file(schemas::series(), &series(DAY_MS - 60_000, &labelled), Lane::InOrder).await;
    let rows = [("up", 1, DAY_MS - 60_000, 1.0), ("up", 2, DAY_MS - 60_000, 0.0)];
    bench.file(schemas::samples(), &samples(&rows), Lane::InOrder).await;
    bench
}

fn queries() -> Queries {
    let echo = "SELECT $t AS t, $i AS i, $n AS n, $b AS b, $d AS d, $at AS at, now() - $every AS before";
    let kinds = [
        ("t", Kind::Text, Some("x")),
        ("i", Kind::Integer, Some("-7")),
        ("n", Kind::Number, Some("-0.10")),
        ("b", Kind::Boolean, Some("true")),
        ("d", Kind::Date, Some("now-1d")),
        ("at", Kind::Timestamp, Some("2026-11-22T01:00:00+01:00")),
        ("every", Kind::Interval, Some("1 month")),
    ];
    let teams =
        "SELECT team, value FROM promql($expr, now() - $range, now(), '1m', 'team') ORDER BY team, time LIMIT $most";
    let of_teams =
        [("expr", Kind::Text, Some("up")), ("range", Kind::Interval, Some("1m")), ("most", Kind::Integer, None)];
    let promql = Saved::new(String::new(), Text::Promql("up".to_owned()), Vec::new(), Syntax::default()).unwrap();
    let by_team = saved("SELECT metric FROM metrics WHERE labels['team'] = $team", &[("team", Kind::Text, None)]);
    [("echo", saved(echo, &kinds)), ("teams", saved(teams, &of_teams)), ("up", promql), ("by_team", by_team)]
        .map(|(name, saved)| (name.to_owned(), saved))
        .into()
}

struct Got {
    status: StatusCode,
    file: String,
    body: Vec<u8>,
}

async fn get(bench: &Bench, path: &str) -> Got {
    let engine = bench.engine_with(Config { queries: queries(), ..Config::default() });
    let request = Request::get(format!("/api/v1/sql{path}")).body(Body::empty()).unwrap();
    let response = crate::router(engine).oneshot(request).await.unwrap();
    let status = response.status();
    let file = response.headers().get(header::CONTENT_DISPOSITION).map(|file| file.to_str().unwrap().to_owned());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
    Got { status, file: file.unwrap_or_default(), body }
}

async fn rows(bench: &Bench, path: &str) -> Value {
    let Got { status, body, .. } = get(bench, path).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body["data"]["rows"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_values_of_their_types() {
    let bench = bench().await;
    let defaults =
        json!([["x", -7, "-0.10", true, "2026-11-21", "2026-11-22T00:00:00.000Z", "2026-10-22T00:00:00.000Z"]]);
    assert_eq!(rows(&bench, "/echo").await, defaults);
    let given = "/echo?t=%27%3B+DROP+TABLE+x+--&i=9223372036854775807&n=12345678901234567890.12&b=false&d=2026-01-31\
                 &at=1795305600.5&every=90m";
    let expected = json!([[
        "'; DROP TABLE x --",
        9_223_372_036_854_775_807_i64,
        "12345678901234567890.12",
        false,
        "2026-01-31",
        "2026-11-22T00:00:00.500Z",
        "2026-11-21T22:30:00.000Z",
    ]]);
    assert_eq!(rows(&bench, given).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_client_is_read_as_sql() {
    let bench = bench().await;
    for text in ["pay' OR 'a' = 'a", "$team", "pay') UNION SELECT 'x' --", "\\'", "''"] {
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        assert_eq!(rows(&bench, &format!("/by_team?team={text}")).await, json!([]), "{text}");
    }
    assert_eq!(rows(&bench, "/by_team?team=pay").await, json!([["up"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_reach_limits_and_promql() {
    let bench = bench().await;
    assert_eq!(rows(&bench, "/teams?most=1").await, json!([["=HYPERLINK(\"x\")", 0.0]]));
    assert_eq!(rows(&bench, "/teams?most=9&range=2m&expr=sum(up)").await, json!([[null, 1.0], [null, 1.0]]));
    assert_eq!(rows(&bench, "/up").await.as_array().unwrap().len(), 2);
    let steps = rows(&bench, "/up?start=2026-11-21T23:59:00Z&step=30").await;
    assert_eq!(steps.as_array().unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_says_wrong_is_told() {
    let bench = bench().await;
    for (path, status, why) in [
        ("/nothing", 404, "queries=by_team, echo, teams, up"),
        ("/teams", 400, "a parameter is missing name=most params=expr (text), range (interval), most (integer)"),
        ("/teams?most=ten", 400, "most is no integer"),
        ("/teams?most=1&least=1", 400, "no such parameter name=\\\"least\\\""),
        ("/teams?most=1&most=2", 400, "given twice"),
        ("/teams?most=1&expr=sum(", 400, "parse error"),
        ("/echo?d=yesterday", 400, "d is no date"),
        ("/echo?at=now%2B1h", 400, "at is no timestamp"),
        ("/echo?n=1e400", 400, "n is no number"),
        ("/echo?n=NaN", 400, "n is no number"),
        ("/echo?b=1", 400, "true or false"),
        ("/echo?every=often", 400, "every is no interval"),
        ("/echo?format=xml", 400, "no such format"),
        ("/up?time=1&start=1", 400, "ask at a `time`"),
        ("/up?start=1&end=0", 400, "the end is before the start"),
        ("/up?start=1", 400, "maximum resolution"),
    ] {
        let Got { status: got, body, .. } = get(&bench, path).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!(got.as_u16(), status, "{path}: {body}");
        assert!(body.contains(why), "{path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_files_that_spreadsheets_do_not_run() {
    let bench = bench().await;
    let csv = get(&bench, "/teams?most=9&format=csv").await;
    assert_eq!(csv.file, "attachment; filename=\"teams.csv\"");
    let (formula, plain) = ("\"'=HYPERLINK(\"\"x\"\")\",0.0\r\n", "pay,1.0\r\n");
    assert_eq!(String::from_utf8(csv.body).unwrap(), format!("team,value\r\n{formula}{formula}{plain}{plain}"));
    let parquet = get(&bench, "/teams?most=9&format=parquet").await;
    assert_eq!(parquet.file, "attachment; filename=\"teams.parquet\"");
    assert!(parquet.body.starts_with(b"PAR1") && parquet.body.ends_with(b"PAR1"));
    let xlsx = get(&bench, "/teams?most=9&format=xlsx").await;
    assert_eq!(xlsx.file, "attachment; filename=\"teams.xlsx\"");
    assert!(xlsx.body.starts_with(b"PK"), "a workbook is a ZIP archive");
    assert_eq!(get(&bench, "/teams?most=9").await.file, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_what_can_be_asked() {
    let bench = bench().await;
    let body: Value = serde_json::from_slice(&get(&bench, "").await.body).unwrap();
    let listed = body["data"].as_array().unwrap();
    let names: Vec<&str> = listed.iter().map(|query| query["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["by_team", "echo", "teams", "up"]);
    let most = json!({"name": "most", "type": "integer", "default": null, "description": ""});
    assert_eq!(listed[2]["params"][2], most);
    assert_eq!(listed[3]["language"], "promql");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_asked_as_of_another_time_with_values_that_were_checked() {
    let bench = bench().await;
    let engine = bench.engine_with(Config { queries: queries(), ..Config::default() });
    let asked = [("t".to_owned(), "-x".to_owned())];
    engine.queries()["echo"].check(&asked).unwrap();
    let answer = engine.saved("echo", &asked, (DAY_MS - 10 * 86_400_000) * 1_000).await.unwrap();
    let rows = answer.collect().await.unwrap();
    let texts: Vec<Vec<String>> = rows.iter().flat_map(|rows| crate::format::texts(rows, 5).unwrap()).collect();
    assert_eq!(texts.len(), 1);
    assert_eq!((texts[0][0].as_str(), texts[0][4].as_str()), ("-x", "2026-11-11"), "{texts:?}");
    for (name, asked, why) in [
        ("nothing", &[][..], "no saved query"),
        ("teams", &[], "parameter is missing"),
        ("echo", &[("u".to_owned(), String::new())], "no such parameter"),
    ] {
        let error = engine.saved(name, asked, 0).await.unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_planned_before_anybody_asks() {
    let bench = bench().await;
    let engine = bench.engine_with(Config { queries: queries(), ..Config::default() });
    engine.check_queries().await.unwrap();
    let wrong = [("broken".to_owned(), saved("SELECT nothing FROM samples", &[]))].into();
    let engine = bench.engine_with(Config { queries: wrong, ..Config::default() });
    let error = engine.check_queries().await.unwrap_err();
    assert!(error.to_string().starts_with("query broken: "), "{error}");
    assert_eq!(error.position.map(|at| at.column), Some(8));
}
