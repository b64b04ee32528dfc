//! What is written, to the letter.

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use storage::Lane;
use tower::ServiceExt;

use super::{cumulative, text::float};
use crate::{
    http::router,
    testing::{Bench, DAY_MS, HOUR_MS, samples, series},
};
use promql::{BucketSpan, Buckets, CUSTOM, Histogram, STALE};

/// Samples of the minutes before the clock of the bench, in files and in memory.
async fn bench() -> Bench {
    let bench = Bench::new();
    let stale = f64::from_bits(STALE);
    let ago = DAY_MS - 60_000;
    let labelled = series(
        ago,
        &[
            ("http.requests", 1, &[("k8s.pod", "a")]),
            ("up", 2, &[("instance", "b:1"), ("job", "say \"hi\"\\\n")]),
            ("up", 3, &[("job", "api")]),
            ("up", 4, &[("job", "ended")]),
            ("up", 5, &[("job", "silent")]),
        ],
    );
    bench.file(schemas::series(), &labelled, Lane::InOrder).await;
    let rows = samples(&[
        ("http.requests", 1, ago, 1e6),
        ("up", 2, ago - 60_000, 0.0),
        ("up", 2, ago, 1.0),
        ("up", 3, ago - 60_000, 0.25),
        ("up", 4, ago - 60_000, 1.0),
        ("up", 4, ago, stale),
        ("up", 5, ago - HOUR_MS, 1.0),
    ]);
    bench.file(schemas::samples(), &rows, Lane::InOrder).await;
    bench
}

async fn ask(bench: &Bench, query: &str, accept: &str) -> (StatusCode, String, String) {
    let request =
        Request::get(format!("/federate?{query}")).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
    let response = router(bench.engine()).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
    let kind = head.headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    (head.status, kind, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn the_newest_samples_are_written_by_metric() {
    let bench = bench().await;
    let (status, kind, body) = ask(&bench, "match[]=up&match[]=%7B%22http.requests%22%7D", "*/*").await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
    );
    let (ago, before) = (DAY_MS - 60_000, DAY_MS - 120_000);
    let expected = format!(
        "# TYPE http_requests untyped\n\
         http_requests{{k8s_pod=\"a\",instance=\"\"}} 1e+06 {ago}\n\
         # TYPE up untyped\n\
         up{{instance=\"b:1\",job=\"say \\\"hi\\\"\\\\\\n\"}} 1 {ago}\n\
         up{{job=\"api\",instance=\"\"}} 0.25 {before}\n"
    );
    assert_eq!(body, expected);
    let (_, kind, body) =
        ask(&bench, "match[]=%7B%22http.requests%22%7D", "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8");
    let expected = format!(
        "# TYPE \"http.requests\" untyped\n{{\"http.requests\",\"k8s.pod\"=\"a\",instance=\"\"}} 1e+06 {ago}\n"
    );
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_selector_is_needed_and_may_select_nothing() {
    let bench = bench().await;
    let (status, _, body) = ask(&bench, "", "*/*").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("no match[] parameter provided"), "{body}");
    let (status, _, body) = ask(&bench, "match[]=up%7B", "*/*").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains(r#"invalid parameter \"match[]\": 1:4: parse error"#), "{body}");
    assert_eq!(ask(&bench, "match[]=down", "*/*").await.2, "");
}

#[test]
fn numbers_are_written_as_go_writes_them() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (100_000.0, "100000"),
        (1e6, "1e+06"),
        (123_456_789.0, "1.23456789e+08"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e300, "1.5e+300"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
    ] {
        assert_eq!(float(value), text);
    }
}

#[test]
fn custom_buckets_become_cumulative_ones() {
    let spans = vec![BucketSpan { offset: 0, length: 1 }, BucketSpan { offset: 1, length: 2 }];
    let histogram = Histogram {
        schema: CUSTOM,
        positive: Buckets { spans, counts: vec![1.0, 2.0, 4.0] },
        custom_values: vec![0.1, 0.5, 1.0].into(),
        ..Histogram::default()
    };
    // The last count is of what is above all bounds.
    assert_eq!(cumulative(&histogram), [(0.1, 1.0), (0.5, 1.0), (1.0, 3.0)]);
}
