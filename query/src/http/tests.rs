//! Requests as clients send them, through the router.

use arrow::ipc::reader::StreamReader;
use axum::{
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::router;
use crate::{Config, testing::Bench};

const ENDLESS: &str = "SELECT * FROM generate_series(1, 100000000000)";

async fn send(bench: &Bench, config: Config, request: Request<Body>) -> Response<Body> {
    router(bench.engine_with(config)).oneshot(request).await.unwrap()
}

async fn post(content_type: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::post("/api/v1/sql").header(header::CONTENT_TYPE, content_type).body(body.to_owned().into());
    let response = send(&Bench::new(), Config::default(), request.unwrap()).await;
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn get(path: &str, accept: &str) -> (String, Vec<u8>) {
    let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
    let response = send(&Bench::new(), Config::default(), request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    (content_type, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

#[tokio::test]
async fn a_query_is_sent_as_text_as_json_or_by_url() {
    let expected = json!({"status": "success", "data": {"columns": [{"name": "x", "type": "int64"}], "rows": [[1]]}});
    for (content_type, body) in [
        ("text/plain", "SELECT 1 AS x"),
        ("application/x-www-form-urlencoded", "query=SELECT+1+AS+x&format=json"),
        ("application/sql", "SELECT 1 AS x"),
        ("application/x-www-form-urlencoded", "SELECT 1 AS x"),
        ("application/json", r#"{"query": "SELECT 1 AS x"}"#),
        ("application/json; charset=utf-8", r#"{"query": "SELECT 1 AS x", "format": "json"}"#),
    ] {
        assert_eq!(post(content_type, body).await, (StatusCode::OK, expected.clone()), "{content_type} {body}");
    }
    let (content_type, body) = get("/api/v1/sql?query=SELECT%201%20AS%20x", "*/*").await;
    assert_eq!(content_type, "application/json");
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
}

#[tokio::test]
async fn the_format_is_chosen_by_name_or_by_accept() {
    for (path, accept) in [
        ("/api/v1/sql?format=csv&query=SELECT+1+AS+x", "application/json"),
        ("/api/v1/sql?query=SELECT+1+AS+x", "text/csv"),
    ] {
        assert_eq!(get(path, accept).await, ("text/csv; charset=utf-8".to_owned(), b"x\r\n1\r\n".to_vec()));
    }
    let (content_type, body) = get("/api/v1/sql?format=ndjson&query=SELECT+1+AS+x", "*/*").await;
    assert_eq!((content_type.as_str(), body.as_slice()), ("application/x-ndjson", b"{\"x\":1}\n".as_slice()));
    let (content_type, body) =
        get("/api/v1/sql?format=arrow&query=SELECT+*+FROM+generate_series(1,20000)", "*/*").await;
    assert_eq!(content_type, "application/vnd.apache.arrow.stream");
    let rows: usize = StreamReader::try_new(body.as_slice(), None).unwrap().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(rows, 20_000);
}

#[tokio::test]
async fn errors_have_a_status_a_type_and_a_position() {
    let (status, body) = post("text/plain", "SELECT x FROM").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!((body["status"].clone(), body["errorType"].clone()), (json!("error"), json!("bad_data")));
    let (_, body) = post("text/plain", "SELECT nothing FROM samples").await;
    assert_eq!(body["position"], json!({"line": 1, "column": 8}), "{body}");
    assert_eq!(body["fault"], "unknown_column", "{body}");
    let (_, body) = post("text/plain", "SELECT CAST('x' AS int)").await;
    assert!(body["error"].as_str().unwrap().contains("Cannot cast string 'x'"), "{body}");
    let (status, body) = post("text/plain", "SELECT 1 / (i - i) FROM generate_series(1, 2) AS g(i)").await;
    assert_eq!((status, body["errorType"].clone()), (StatusCode::UNPROCESSABLE_ENTITY, json!("execution")));
    for (content_type, body) in [
        ("text/plain", "DROP TABLE samples"),
        ("text/plain", ""),
        ("application/json", "SELECT 1"),
        ("application/json", r#"{"sql": "SELECT 1"}"#),
        ("application/json", r#"{"query": "SELECT 1", "format": "xml"}"#),
    ] {
        assert_eq!(post(content_type, body).await.0, StatusCode::BAD_REQUEST, "{content_type} {body}");
    }
}

#[tokio::test]
async fn a_text_or_body_that_is_too_long_is_refused() {
    let long = format!("SELECT 1 -- {}", "x".repeat(crate::gate::TEXT_BYTES_MAX));
    let (status, body) = post("text/plain", &long).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"].as_str().unwrap().contains("too long"), "{body}");
    let (status, body) = post("text/plain", &"x".repeat(super::BODY_BYTES_MAX + 1)).await;
    assert_eq!((status, body["errorType"].clone()), (StatusCode::BAD_REQUEST, json!("bad_data")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_before_the_first_row_is_503() {
    let config = Config { timeout_ms: 100, ..Config::default() };
    let sql = "SELECT count(*) FROM generate_series(1, 100000000000)";
    let request = Request::post("/api/v1/sql").body(sql.into()).unwrap();
    let response = send(&Bench::new(), config, request).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
    assert_eq!(body["errorType"], "timeout");
}

#[tokio::test]
async fn an_answer_that_fails_midway_is_cut_off() {
    for format in ["json", "ndjson", "csv", "arrow"] {
        let config = Config { rows_max: 10_000, ..Config::default() };
        let request = Request::post(format!("/api/v1/sql?format={format}")).body(ENDLESS.into()).unwrap();
        let response = send(&Bench::new(), config, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(to_bytes(response.into_body(), usize::MAX).await.is_err(), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_its_query() {
    let engine = Bench::new().engine_with(Config { concurrent_max: 1, ..Config::default() });
    let request = Request::post("/api/v1/sql").body(Body::from(ENDLESS)).unwrap();
    let response = router(engine.clone()).oneshot(request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    assert!(body.next().await.unwrap().is_ok());
    drop(body);
    // With one place, this could not be planned at once if the first still ran.
    let answer = tokio::time::timeout(std::time::Duration::from_secs(1), engine.sql("SELECT 1")).await;
    assert!(answer.unwrap().is_ok());
}

#[tokio::test]
async fn a_promql_query_is_formatted_shown_as_a_tree_or_refused_with_its_place() {
    let ask = async |path: &str| {
        let response = send(&Bench::new(), Config::default(), Request::get(path).body(Body::empty()).unwrap()).await;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice::<Value>(&bytes).unwrap())
    };
    let (status, formatted) = ask("/api/v1/format_query?query=sum+by(job)(rate(up%5B5m%5D))").await;
    assert_eq!((status, &formatted["data"]), (StatusCode::OK, &json!("sum by (job) (rate(up[5m]))")));
    let (status, tree) = ask("/api/v1/parse_query?query=-up").await;
    assert_eq!((status, &tree["data"]["type"]), (StatusCode::OK, &json!("unaryExpr")));
    assert_eq!(tree["data"]["expr"]["name"], "up");
    let (status, refused) = ask("/api/v1/parse_query?query=rate(up)").await;
    assert_eq!((status, &refused["errorType"]), (StatusCode::BAD_REQUEST, &json!("bad_data")));
    let message = "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector";
    assert_eq!(refused["error"], message);
}
