//! Prometheus' HTTP API: every endpoint of its own description is asked, and what comes back is held against the description.
//!
//! Answers come from memory and from files. What is in them is looked at here as far as it can be told from what was sent; PromQL has
//! tests of its own.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    openapi::OpenApi,
    process,
    server::{Server, now_ms},
    wire::{self, v1},
};

/// What Prometheus has and we do not, and why.
const ABSENT: [(&str, &str); 8] = [
    ("/search/metric_names", "experimental"),
    ("/search/label_names", "experimental"),
    ("/search/label_values", "experimental"),
    ("/status/tsdb/blocks", "there are no blocks"),
    ("/status/self_metrics", "experimental; /metrics has them"),
    ("/admin/tsdb/snapshot", "tables are copied as they are"),
    ("/otlp/v1/metrics", "not built"),
    ("/notifications", "there is nothing to tell"),
];
/// What is tested elsewhere: bodies that are no JSON, and what changes data.
const ELSEWHERE: [&str; 4] = ["/read", "/write", "/admin/tsdb/delete_series", "/admin/tsdb/clean_tombstones"];

/// A server with some series, an exemplar, a native histogram and what is known of two metrics.
fn fleet(server: &Server, now: i64) {
    let series = |pairs: &[(&str, &str)]| v1::series(pairs, &[(now - 30_000, 1.0), (now, 2.5)]);
    let mut requests = series(&[("__name__", "requests_total"), ("instance", "a:1"), ("job", "api")]);
    requests.exemplars = [(now, "abc"), (now - 30_000, "xyz")]
        .map(|(timestamp, id)| v1::Exemplar { labels: v1::labels(&[("trace_id", id)]), value: 0.25, timestamp })
        .into();
    let mut latency = v1::series(&[("__name__", "latency_seconds"), ("job", "api")], &[]);
    latency.histograms.push(wire::Histogram {
        count: Some(wire::Count::Int(3)),
        zero_count: Some(wire::ZeroCount::Int(1)),
        sum: 4.5,
        positive_spans: vec![wire::BucketSpan { offset: 0, length: 2 }],
        positive_deltas: vec![1, 0],
        timestamp: now,
        ..wire::Histogram::default()
    });
    let timeseries = vec![
        series(&[("__name__", "up"), ("instance", "a:1"), ("job", "node")]),
        series(&[("__name__", "up"), ("instance", "b:1"), ("job", "api")]),
        requests,
        latency,
    ];
    let described = |r#type, name: &str, help: &str| v1::MetricMetadata {
        r#type,
        metric_family_name: name.into(),
        help: help.into(),
        unit: String::new(),
    };
    let metadata = vec![described(1, "requests_total", "Requests \"so far\"."), described(2, "up", "Is it up?")];
    let body = wire::snappy(&v1::WriteRequest { timeseries, metadata });
    assert_eq!(server.call("POST", wire::PATH, None, &body).status, 204);
}

/// Asks a path below `/api/v1`: in the URL, or in a form.
fn ask(server: &Server, path: &str, method: &str, query: &str) -> (u16, Value) {
    let agent = process::agent(Duration::from_secs(60));
    let url = server.url(&format!("/api/v1{path}"));
    let answer = match method {
        "POST" => agent.post(&url).header("Content-Type", "application/x-www-form-urlencoded").send(query),
        _ => agent.get(format!("{url}?{query}")).call(),
    };
    let mut answer = answer.expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a body of text");
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{method} {path}?{query}: no JSON: {text}"));
    (answer.status().as_u16(), body)
}

/// The path as it is described, of a path as it is asked.
fn described(path: &str) -> String {
    let of_label = path.strip_prefix("/label/").and_then(|rest| rest.strip_suffix("/values"));
    of_label.map_or_else(|| path.to_owned(), |_| "/label/{name}/values".to_owned())
}

/// What is asked of each path with success; `{range}` stands for the last hour.
const RIGHT: [(&str, &str); 40] = [
    ("/query", "query=up"),
    ("/query", "query=up&limit=1"),
    ("/query", "query=1%2B1&time=4"),
    ("/query", "query=latency_seconds"),
    ("/query", "query=up%5B5m%5D&stats=all"),
    ("/query_range", "query=up&{range}&step=60"),
    ("/query_range", "query=latency_seconds&{range}&step=60&stats=all"),
    ("/query_exemplars", "query=rate(requests_total%5B5m%5D)&{range}"),
    ("/query_exemplars", "query=test&start=1795305600000&end=1795309200000"),
    ("/query_exemplars", "query=up"),
    ("/format_query", "query=sum(up)by(job)"),
    ("/parse_query", "query=sum(up)by(job)"),
    ("/labels", "{range}"),
    ("/labels", "match[]=up&limit=1"),
    ("/label/job/values", "{range}"),
    ("/label/__name__/values", "limit=40000"),
    ("/series", "match[]=up&{range}"),
    ("/series", "match[]=%7B__name__!%3D%22%22%7D&limit=1"),
    ("/metadata", "limit=40000"),
    ("/metadata", ""),
    ("/metadata", "metric=up&limit_per_metric=1"),
    ("/scrape_pools", ""),
    ("/targets", "state=active"),
    ("/targets/metadata", "match_target=%7Bjob%3D%22api%22%7D&limit=5"),
    ("/rules", ""),
    ("/rules", "type=alert&rule_name[]=a&match[]=up&exclude_alerts=true&group_limit=5"),
    ("/alerts", ""),
    ("/alertmanagers", ""),
    ("/status/config", ""),
    ("/status/runtimeinfo", ""),
    ("/status/buildinfo", ""),
    ("/status/flags", ""),
    ("/status/tsdb", ""),
    ("/status/tsdb", "limit=2"),
    ("/status/walreplay", ""),
    ("/features", ""),
    ("/scrape_pools/config", "scrapePool="),
    ("/targets/relabel_steps", "scrapePool=a"),
    ("/query_exemplars", "query=latency_seconds%20or%20up&{range}"),
    ("/labels", "start=1&end=2"),
];

/// What is asked of each path in vain, and what the error says.
const WRONG: [(&str, &str, u16, &str); 39] = [
    ("/query", "query=up%7B", 400, "invalid parameter \"query\": 1:4: parse error"),
    ("/query", "query=up&time=soon", 400, "invalid parameter \"time\": cannot parse \"soon\" to a valid timestamp"),
    ("/query", "query=up&limit=-1", 400, "invalid parameter \"limit\": limit must be non-negative"),
    ("/query_range", "query=up&start=2&end=1&step=1", 400, "end timestamp must not be before start time"),
    ("/query_range", "query=up&start=1&end=2&step=0", 400, "zero or negative query resolution step widths"),
    ("/query_exemplars", "query=up&start=2&end=1", 400, "end timestamp must not be before start timestamp"),
    ("/query_exemplars", "query=up%7B", 400, "1:4: parse error"),
    (
        "/query_exemplars",
        "query=up&start=x",
        400,
        "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\"",
    ),
    ("/query_exemplars", "", 400, "parse error"),
    ("/format_query", "query=sum(", 400, "parse error"),
    ("/parse_query", "query=sum(", 400, "parse error"),
    ("/labels", "match[]=up%7B", 400, "1:4: parse error"),
    ("/labels", "start=2&end=1", 400, "end timestamp must not be before start timestamp"),
    ("/labels", "start=x", 400, "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\""),
    ("/labels", "limit=few", 400, "invalid parameter \"limit\""),
    ("/label/job/values", "limit=-1", 400, "invalid parameter \"limit\": limit must be non-negative"),
    ("/label/job/values", "match[]=%7B%7D", 400, "match[]"),
    ("/series", "", 400, "no match[] parameter provided"),
    ("/series", "match[]=up%7B", 400, "invalid parameter \"match[]\": 1:4: parse error"),
    ("/metadata", "limit=x", 400, "limit must be a number"),
    ("/metadata", "limit_per_metric=x", 400, "limit_per_metric must be a number"),
    ("/scrape_pools/config", "", 400, "no scrapePool parameter provided"),
    ("/scrape_pools/config", "scrapePool=node", 400, "error retrieving scrape config"),
    ("/targets/metadata", "limit=x", 400, "limit must be a number"),
    ("/targets/metadata", "match_target=up%7B", 400, "invalid parameter \"match_target\": 1:4: parse error"),
    ("/targets/relabel_steps", "", 400, "no scrapePool parameter provided"),
    ("/targets/relabel_steps", "scrapePool=a", 400, "no labels parameter provided"),
    ("/targets/relabel_steps", "scrapePool=a&labels=x", 400, "error parsing labels"),
    ("/targets/relabel_steps", "scrapePool=a&labels=%7B%7D", 400, "error retrieving scrape config"),
    ("/rules", "type=some", 400, "invalid parameter \"type\": not supported value \"some\""),
    ("/rules", "match[]=up%7B", 400, "1:4: parse error"),
    ("/rules", "exclude_alerts=maybe", 400, "invalid parameter \"exclude_alerts\": error converting exclude_alerts"),
    ("/rules", "group_next_token=a", 400, "invalid parameter \"group_next_token\": group_limit needs to be present"),
    ("/rules", "group_limit=0", 400, "invalid parameter \"group_limit\": group_limit needs to be greater than 0"),
    ("/rules", "group_limit=x", 400, "invalid parameter \"group_limit\": group_limit needs to be a valid number"),
    ("/rules", "group_limit=1&group_next_token=a", 400, "invalid group_next_token 'a'. were rule groups changed?"),
    ("/status/tsdb", "limit=0", 400, "limit must be a positive number"),
    ("/status/tsdb", "limit=x", 400, "limit must be a positive number"),
    ("/status/tsdb", "limit=10001", 400, "limit must not exceed 10000"),
];

#[test]
fn every_answer_is_as_prometheus_describes_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let now = now_ms();
    fleet(&server, now);
    let description = OpenApi::read();
    let operations = description.operations();
    let range = format!("start={}&end={}", now / 1000 - 3600, now / 1000 + 60);
    for in_files in [false, true] {
        if in_files {
            assert_eq!(server.call("POST", "/api/v1/admin/flush?wait=true", None, b"").status, 200);
        }
        let right = RIGHT.iter().map(|(path, query)| (*path, query.replace("{range}", &range), None));
        let wrong = WRONG.iter().map(|(path, query, status, why)| (*path, (*query).to_owned(), Some((*status, *why))));
        for (path, query, refused) in right.chain(wrong) {
            for (_, method) in operations.iter().filter(|(known, _)| *known == described(path)) {
                let (status, mut body) = ask(&server, path, method, &query);
                let what = format!("{method} {path}?{query} in files: {in_files}: {status} {body}");
                // Nothing is asked of these that could be right.
                let refused =
                    refused.or(["/scrape_pools/config", "/targets/relabel_steps"].contains(&path).then_some((400, "")));
                assert_eq!(status, refused.map_or(200, |(status, _)| status), "{what}");
                if let Some((_, why)) = refused {
                    assert!(body["error"].as_str().unwrap().contains(why), "{what}");
                    assert_eq!(body["errorType"], "bad_data", "{what}");
                }
                if path == "/status/buildinfo" {
                    // Which other servers say as well.
                    for more in ["application", "features"] {
                        assert!(body["data"].as_object_mut().unwrap().remove(more).is_some(), "{more}");
                    }
                }
                if let Err(why) = description.check(&described(path), method, status, &body) {
                    panic!("{what}: {why}");
                }
            }
        }
    }
}

#[test]
fn no_endpoint_of_prometheus_is_forgotten() {
    let known = |path: &str| {
        RIGHT.iter().any(|(asked, _)| described(asked) == path)
            || ABSENT.iter().any(|(absent, _)| *absent == path)
            || ELSEWHERE.contains(&path)
    };
    let forgotten: Vec<_> = OpenApi::read().operations().into_iter().filter(|(path, _)| !known(path)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn exemplars_and_metadata_are_what_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let now = now_ms() / 1000 * 1000;
    fleet(&server, now);
    let data = |path: &str, query: &str| ask(&server, path, "GET", query).1["data"].clone();
    for in_files in [false, true] {
        if in_files {
            assert_eq!(server.call("POST", "/api/v1/admin/flush?wait=true", None, b"").status, 200);
        }
        let exemplar = |id: &str, ms: i64| json!({"labels": {"trace_id": id}, "value": "0.25", "timestamp": ms / 1000});
        let labels = json!({"__name__": "requests_total", "instance": "a:1", "job": "api"});
        let both = [exemplar("xyz", now - 30_000), exemplar("abc", now)];
        for query in ["query=rate(requests_total%5B5m%5D)%2Bon(job)up", "query=%7Bjob%3D~%22.%2B%22%7D"] {
            assert_eq!(
                data("/query_exemplars", query),
                json!([{"seriesLabels": labels, "exemplars": both}]),
                "{query}"
            );
        }
        let late = format!("query=requests_total&start={}", now / 1000 - 1);
        assert_eq!(data("/query_exemplars", &late)[0]["exemplars"], json!([both[1]]));
        assert_eq!(data("/query_exemplars", "query=requests_total&end=1"), json!([]));
        assert_eq!(data("/query_exemplars", "query=up"), json!([]));

        let requests = json!([{"type": "counter", "unit": "", "help": "Requests \"so far\"."}]);
        let up = json!([{"type": "gauge", "unit": "", "help": "Is it up?"}]);
        assert_eq!(data("/metadata", "limit=40000"), json!({"requests_total": requests, "up": up}));
        assert_eq!(data("/metadata", "limit=1"), json!({"requests_total": requests}));
        assert_eq!(data("/metadata", "limit=0"), json!({}));
        assert_eq!(data("/metadata", "metric=up"), json!({"up": up}));
        assert_eq!(data("/metadata", "metric=down"), json!({}));
    }
    // What comes later is told at once, also from memory over files. (A text that changes within a minute is not kept.)
    let metadata = vec![v1::MetricMetadata {
        r#type: 2,
        metric_family_name: "down".into(),
        help: "Is it down?".into(),
        unit: String::new(),
    }];
    let body = wire::snappy(&v1::WriteRequest { timeseries: Vec::new(), metadata });
    assert_eq!(server.call("POST", wire::PATH, None, &body).status, 204);
    assert_eq!(data("/metadata", "metric=down")["down"][0]["help"], "Is it down?");
    assert_eq!(data("/metadata", "metric=up")["up"][0]["help"], "Is it up?");
}

#[test]
fn the_state_of_the_server_is_told_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("gauge.yaml");
    std::fs::write(&settings, "storage: {retention: {samples: 30d}}\nsql: {timeout: 1m}\n").unwrap();
    let server =
        Server::start(folder.path(), &["--config", settings.to_str().unwrap(), "--log-level", "warn,streamgauge=info"]);
    let now = now_ms();
    fleet(&server, now);
    let data = |path: &str| ask(&server, path, "GET", "").1["data"].clone();
    let flags = data("/status/flags");
    assert_eq!((&flags["query.timeout"], &flags["query.lookback-delta"]), (&json!("1m"), &json!("5m")));
    assert_eq!(flags["storage.tsdb.retention.time"], "30d");
    assert_eq!(flags["config.file"], settings.to_str().unwrap());
    let yaml = data("/status/config")["yaml"].as_str().unwrap().to_owned();
    assert!(yaml.contains("timeout: 1m") && yaml.contains("listen: 127.0.0.1:0"), "{yaml}");
    let info = data("/status/runtimeinfo");
    assert_eq!(info["storageRetention"], "30d");
    assert!(info["goroutineCount"].as_u64().unwrap() > 2, "{info}");
    assert_eq!(data("/status/walreplay"), json!({"min": 0, "max": 1, "current": 1}));
    let tsdb = data("/status/tsdb");
    assert_eq!(tsdb["headStats"]["numSeries"], 4);
    // Of names 3, of instances 2, of jobs 2.
    assert_eq!(tsdb["headStats"]["numLabelPairs"], 7);
    assert_eq!((&tsdb["headStats"]["minTime"], &tsdb["headStats"]["maxTime"]), (&json!(now - 30_000), &json!(now)));
    assert_eq!(tsdb["seriesCountByMetricName"][0], json!({"name": "up", "value": 2}));
    assert_eq!(tsdb["labelValueCountByLabelName"][0], json!({"name": "__name__", "value": 3}));
    assert_eq!(tsdb["seriesCountByLabelValuePair"][0], json!({"name": "job=api", "value": 3}));
}

#[test]
fn a_running_query_is_listed_ended_and_logged() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("gauge.yaml");
    std::fs::write(&settings, "sql: {slow: 1ms}\n").unwrap();
    let server = Server::start(folder.path(), &["--config", settings.to_str().unwrap()]);
    let sql = "SELECT count(*) FROM generate_series(1, 100000000000)";
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.call("POST", "/api/v1/sql", None, sql.as_bytes()));
        let listed = crate::support::server::eventually(|| {
            let queries = ask(&server, "/status/queries", "GET", "").1["data"]["queries"].clone();
            queries.as_array().unwrap().first().cloned()
        });
        let listed = listed.expect("a query");
        assert_eq!((&listed["kind"], &listed["query"]), (&json!("sql"), &json!(sql)));
        assert!(listed["ageSeconds"].as_f64().unwrap() >= 0.0);
        let path = format!("/api/v1/status/queries/{}", listed["id"].as_str().unwrap());
        assert_eq!(server.call("DELETE", &path, None, &[]).status, 200);
        let answer = asking.join().unwrap();
        assert_eq!(answer.status, 499, "{}", answer.body);
        assert!(answer.body.contains(r#""errorType":"canceled""#), "{}", answer.body);
        assert_eq!(server.call("DELETE", &path, None, &[]).status, 404);
    });
    // The server's own queries are slow, too.
    let is_it = |event: &Value| event["message"] == "slow query" && event["query"] == sql;
    let slow = crate::support::server::eventually(|| server.events().into_iter().find(is_it));
    assert_eq!(slow.expect("a line of the log")["level"], "WARN");
    assert_eq!(ask(&server, "/status/queries", "GET", "").1["data"]["queries"], json!([]));
}
