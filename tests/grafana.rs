//! Grafana: what its data source for Prometheus calls, in its order and its words, from "Save & test" to panels,
//! variables, annotations and Metrics Drilldown.
//!
//! The calls are those of grafana-prometheus-datasource 13: parameters as a form where it posts, times in seconds with
//! a fraction, its headers, and a login with the scope to read and no other. What rows answer is asked of rows in
//! memory and again of rows in files, and by GET as well where the data source may be set to it. What Prometheus' own
//! description says of answers is tested in `prometheus_api`. `client` does the same with the real client code.

mod client;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    form::form,
    process,
    server::{Server, binary, now_ms, run},
    wire::{self, v1},
};

/// What comes along with each call, whoever asks.
const HEADERS: [(&str, &str); 10] = [
    ("User-Agent", "Grafana/13.1.7"),
    ("X-Dashboard-Uid", "fleet"),
    ("X-Dashboard-Title", "Fleet%20and%20more"),
    ("X-Panel-Id", "4"),
    ("X-Panel-Plugin-Id", "timeseries"),
    ("X-Datasource-Uid", "streamgauge"),
    ("X-Grafana-Org-Id", "1"),
    ("X-Grafana-From-Expr", "true"),
    ("X-Query-Group-Id", "5d3a2c"),
    ("FromAlert", "true"),
];
/// Most entries of a list that the query editor shows.
const EDITOR_LIMIT: &str = "40000";
/// Minutes of history.
const MINUTES: u32 = 10;

/// A server with a fleet's metrics, and Grafana in front of it.
struct Grafana {
    server: Server,
    /// Logins that may read: by basic authentication, and by a bearer token.
    basic: String,
    bearer: String,
    /// A login that may write and administer, and not read.
    writer: String,
    /// Seconds; the last samples are of this time.
    now: i64,
    folder: TempDir,
}

/// A token as `streamgauge token` makes it: its text, and its entry for the file.
fn token(name: &str, scopes: &[&str]) -> (String, String) {
    let scopes = scopes.iter().flat_map(|scope| ["--scope", *scope]);
    let (code, out, err) = run(binary().args(["token", "--name", name]).args(scopes));
    assert_eq!(code, 0, "{err}");
    let text = out.lines().find(|line| line.starts_with("sg_")).expect("a token").to_owned();
    let (_, entry) = out.split_once("- name:").expect("an entry");
    (text, format!("- name:{entry}"))
}

/// Seconds with a fraction, as the data source writes a time.
fn seconds(ms: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "times of today are exact")]
    let seconds = ms as f64 / 1000.0;
    seconds.to_string()
}

impl Grafana {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (reader, may_read) = token("grafana", &["read"]);
        let (writer, may_write) = token("prometheus", &["write", "admin"]);
        let tokens = folder.path().join("tokens.yaml");
        fs::write(&tokens, may_read + &may_write).unwrap();
        let settings = folder.path().join("gauge.yaml");
        fs::write(&settings, format!("auth: {{tokens_file: {}}}\n", tokens.display())).unwrap();
        let server = Server::start(folder.path(), &["--config", settings.to_str().unwrap()]);
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("grafana:{reader}")));
        let (bearer, writer) = (format!("Bearer {reader}"), format!("Bearer {writer}"));
        let now = now_ms() / 60_000 * 60;
        let grafana = Self { server, basic, bearer, writer, now, folder };
        grafana.send_fleet();
        grafana
    }

    /// A sample a minute, `value` being given the minute.
    fn samples(&self, value: impl Fn(f64) -> f64) -> Vec<(i64, f64)> {
        let at_ms = |minute: u32| (self.now - 60 * i64::from(MINUTES - minute)) * 1000;
        (0..=MINUTES).map(|minute| (at_ms(minute), value(f64::from(minute)))).collect()
    }

    fn send_fleet(&self) {
        let mut timeseries = Vec::new();
        let mut add = |labels: &[(&str, &str)], value: &dyn Fn(f64) -> f64| {
            timeseries.push(v1::series(labels, &self.samples(value)));
        };
        for (instance, up) in [("a:1", 1.0), ("b:1", 0.0)] {
            add(&[("__name__", "up"), ("instance", instance), ("job", "node")], &|_| up);
            // Requests a second: 3 that succeed and 1 that fails, of each instance.
            for (code, rate) in [("200", 3.0), ("500", 1.0)] {
                let labels =
                    [("__name__", "http_requests_total"), ("code", code), ("instance", instance), ("job", "api")];
                add(&labels, &|minute| minute * 60.0 * rate);
            }
        }
        for (le, share) in [("0.1", 30.0), ("0.5", 60.0), ("+Inf", 60.0)] {
            add(&[("__name__", "http_duration_seconds_bucket"), ("job", "api"), ("le", le)], &|minute| minute * share);
        }
        // Names that only UTF-8 has room for, as OpenTelemetry writes them.
        add(&[("__name__", "http.server.duration"), ("job", "api"), ("service.name", "shop")], &|minute| minute);
        let firing = [("__name__", "ALERTS"), ("alertname", "Down"), ("alertstate", "firing"), ("instance", "b:1")];
        let times = [self.now - 120, self.now - 60, self.now].map(|s| (s * 1000, 1.0));
        timeseries.push(v1::series(&firing, &times));
        let bucket = timeseries.iter_mut().find(|series| series.labels.iter().any(|label| label.value == "0.5"));
        let of_trace = |id: &str, ago: i64| v1::Exemplar {
            labels: v1::labels(&[("trace_id", id)]),
            value: 0.25,
            timestamp: (self.now - ago) * 1000,
        };
        bucket.unwrap().exemplars = vec![of_trace("early", 540), of_trace("late", 30)];
        let metadata = vec![v1::MetricMetadata {
            r#type: 1,
            metric_family_name: "http_requests_total".into(),
            help: "Requests so far.".into(),
            unit: String::new(),
        }];
        let body = wire::snappy(&v1::WriteRequest { timeseries, metadata });
        assert_eq!(self.server.call("POST", wire::PATH, Some(&self.writer), &body).status, 204);
    }

    /// Does the same with rows in memory and with rows in files.
    fn both(&self, check: impl Fn(&Self)) {
        check(self);
        let flush = self.server.call("POST", "/api/v1/admin/flush?wait=true", Some(&self.writer), b"");
        assert_eq!(flush.status, 200, "{}", flush.body);
        check(self);
    }

    fn call(&self, method: &str, path: &str, params: &[(&str, &str)], login: &str) -> (u16, Value) {
        let agent = process::agent(Duration::from_secs(60));
        let (url, params) = (self.server.url(path), form(params));
        let answer = if method == "POST" {
            let mut post = agent.post(&url).header("Content-Type", "application/x-www-form-urlencoded");
            for (name, value) in HEADERS {
                post = post.header(name, value);
            }
            post.header("Authorization", login).send(params)
        } else {
            let mut get = agent.get(format!("{url}?{params}")).header("Authorization", login);
            for (name, value) in HEADERS {
                get = get.header(name, value);
            }
            get.call()
        };
        let mut answer = answer.expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body of text");
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{method} {path}: no JSON: {text}"));
        let media = answer.headers().get("Content-Type").and_then(|value| value.to_str().ok());
        assert_eq!(media, Some("application/json"), "{method} {path}");
        (answer.status().as_u16(), body)
    }

    /// A list that is only ever got: `data` of the answer. A data source that is set to POST tries this first.
    fn get(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let path = format!("/api/v1{path}");
        assert_eq!(self.call("POST", &path, params, &self.basic).0, 405, "POST {path}: Grafana tries GET after a 405");
        success(path.as_str(), params, self.call("GET", &path, params, &self.basic))
    }

    /// What is posted, and got by data sources that are set to GET: `data` of the answer.
    fn ask(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let path = format!("/api/v1{path}");
        let posted = success(path.as_str(), params, self.call("POST", &path, params, &self.basic));
        let got = success(path.as_str(), params, self.call("GET", &path, params, &self.basic));
        assert_eq!(sorted(&posted), sorted(&got), "{path} {params:?}");
        posted
    }

    /// `start` and `end` of a dashboard over all that was sent.
    fn range(&self) -> [String; 2] {
        [seconds((self.now - 600) * 1000), seconds(self.now * 1000)]
    }

    /// A list over the dashboard's range.
    fn list(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let [start, end] = self.range();
        let params = [params, &[("start", start.as_str()), ("end", end.as_str())]].concat();
        if path.ends_with("/values") { self.get(path, &params) } else { self.ask(path, &params) }
    }

    /// Rows of an instant query at the end of the dashboard's range: metric, value.
    fn instant(&self, query: &str) -> BTreeMap<String, Value> {
        let data = self.ask("/query", &[("query", query), ("time", &seconds(self.now * 1000))]);
        assert_eq!(data["resultType"], "vector", "{query}");
        rows(&data, "value")
    }

    /// Rows of a panel over the last two minutes: metric, values.
    fn panel(&self, query: &str, step: &str) -> BTreeMap<String, Value> {
        let (start, end) = (seconds((self.now - 120) * 1000), seconds(self.now * 1000));
        let data = self.ask("/query_range", &[("query", query), ("start", &start), ("end", &end), ("step", step)]);
        assert_eq!(data["resultType"], "matrix", "{query}");
        rows(&data, "values")
    }

    /// Values at the last three minutes.
    fn minutes(&self, values: [&str; 3]) -> Value {
        json!([[self.now - 120, values[0]], [self.now - 60, values[1]], [self.now, values[2]]])
    }
}

fn success(path: &str, params: &[(&str, &str)], (status, mut body): (u16, Value)) -> Value {
    assert_eq!((status, &body["status"]), (200, &json!("success")), "{path} {params:?}: {body}");
    body["data"].take()
}

/// An instant query's rows have no order.
fn sorted(data: &Value) -> Value {
    let mut data = data.clone();
    if let Some(Value::Array(result)) = data.get_mut("result") {
        result.sort_by_key(ToString::to_string);
    }
    data
}

fn rows(data: &Value, of: &str) -> BTreeMap<String, Value> {
    let result = data["result"].as_array().unwrap();
    let rows: BTreeMap<_, _> = result.iter().map(|row| (row["metric"].to_string(), row[of].clone())).collect();
    assert_eq!(rows.len(), result.len(), "each metric is there once: {data}");
    rows
}

/// Expected rows.
fn expected<const N: usize>(rows: [(&str, Value); N]) -> BTreeMap<String, Value> {
    rows.into_iter().map(|(metric, value)| (metric.to_owned(), value)).collect()
}

#[test]
fn a_data_source_is_saved_if_its_login_may_read() {
    let grafana = Grafana::start();
    let healthy = json!({"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}});
    let health = [("query", "1+1"), ("time", "4")];
    for login in [&grafana.basic, &grafana.bearer] {
        for method in ["POST", "GET"] {
            assert_eq!(grafana.call(method, "/api/v1/query", &health, login), (200, healthy.clone()), "{method}");
        }
    }
    for (login, status, why) in
        [("Basic Z3JhZmFuYTp3cm9uZw==", 401, "unauthorized"), (grafana.writer.as_str(), 403, "forbidden")]
    {
        let (refused, body) = grafana.call("POST", "/api/v1/query", &health, login);
        assert_eq!((refused, &body["status"]), (status, &json!("error")), "{why}: {body}");
        assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{why}: {body}");
    }
    // Kind of server: with this feature its rules are edited, without a version it would be taken for something very old.
    let build = grafana.get("/status/buildinfo", &[]);
    assert_eq!(build["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(build["features"]["ruler_config_api"], "true", "{build}");
    assert!(build["application"] != "Grafana Mimir", "{build}");
    // Are there exemplars? Asked with milliseconds where seconds belong.
    let (start, end) = ((grafana.now * 1000 - 3_600_000).to_string(), (grafana.now * 1000).to_string());
    assert_eq!(grafana.ask("/query_exemplars", &[("query", "test"), ("start", &start), ("end", &end)]), json!([]));
    // Recording rules, for expanding them; there are none.
    assert_eq!(grafana.get("/rules", &[]), json!({"groups": []}));
}

#[test]
fn the_editor_offers_what_there_is() {
    Grafana::start().both(|grafana| {
        let help = json!([{"type": "counter", "unit": "", "help": "Requests so far."}]);
        assert_eq!(grafana.get("/metadata", &[("limit", EDITOR_LIMIT)]), json!({"http_requests_total": help}));

        let names =
            json!(["ALERTS", "http.server.duration", "http_duration_seconds_bucket", "http_requests_total", "up"]);
        assert_eq!(grafana.list("/label/__name__/values", &[("limit", EDITOR_LIMIT)]), names);
        let of_node = [("match[]", r#"{job="node"}"#), ("limit", EDITOR_LIMIT)];
        assert_eq!(grafana.list("/label/__name__/values", &of_node), json!(["up"]));
        let like = [("match[]", r#"{__name__=~"(?i).*HTTP_.*"}"#)];
        let found = json!(["http_duration_seconds_bucket", "http_requests_total"]);
        assert_eq!(grafana.list("/label/__name__/values", &like), found);

        let labels = json!(["__name__", "alertname", "alertstate", "code", "instance", "job", "le", "service.name"]);
        assert_eq!(grafana.list("/labels", &[("limit", EDITOR_LIMIT)]), labels);
        let of_requests = [("match[]", r#"{__name__="http_requests_total"}"#), ("limit", EDITOR_LIMIT)];
        assert_eq!(grafana.list("/labels", &of_requests), json!(["__name__", "code", "instance", "job"]));
        // What was chosen already narrows what is offered next.
        let chosen = [("match[]", r#"http_requests_total{code="500",job=~"api|web"}"#), ("limit", EDITOR_LIMIT)];
        assert_eq!(grafana.list("/label/instance/values", &chosen), json!(["a:1", "b:1"]));
        assert_eq!(grafana.list("/label/code/values", &[("match[]", "up")]), json!([]));

        // Data sources that are set to the endpoint of series.
        let series = grafana.list("/series", &[("match[]", r#"{__name__!=""}"#), ("limit", EDITOR_LIMIT)]);
        assert_eq!(series.as_array().unwrap().len(), 11);
        let one = json!({"__name__": "http_requests_total", "code": "500", "instance": "b:1", "job": "api"});
        assert!(series.as_array().unwrap().contains(&one), "{series}");
        let two = [("match[]", r#"up{instance="a:1"}"#), ("match[]", r#"ALERTS{alertstate="firing"}"#)];
        assert_eq!(grafana.list("/series", &two).as_array().unwrap().len(), 2);

        // A list that was cut says so.
        let [start, end] = grafana.range();
        let cut = [("match[]", r#"{__name__=~".+"}"#), ("start", &start), ("end", &end), ("limit", "2")];
        for (method, path) in [("POST", "/labels"), ("GET", "/label/__name__/values"), ("POST", "/series")] {
            let (status, body) = grafana.call(method, &format!("/api/v1{path}"), &cut, &grafana.basic);
            assert_eq!((status, body["data"].as_array().unwrap().len()), (200, 2), "{path}: {body}");
            assert_eq!(body["warnings"], json!(["results truncated due to limit"]), "{path}");
        }
    });
}

#[test]
fn metrics_drilldown_finds_metrics_whatever_their_names() {
    Grafana::start().both(|grafana| {
        let all = r#"{__name__=~".+"}"#;
        for params in [&[][..], &[("match[]", all)], &[("match[]", all), ("limit", EDITOR_LIMIT)]] {
            assert_eq!(grafana.list("/label/__name__/values", params).as_array().unwrap().len(), 5, "{params:?}");
            assert_eq!(grafana.list("/label/job/values", params), json!(["api", "node"]), "{params:?}");
        }
        // Names with dots: quoted in selectors, escaped in paths.
        let by_service = r#"{__name__=~".+","service.name"="shop"}"#;
        assert_eq!(grafana.list("/label/__name__/values", &[("match[]", by_service)]), json!(["http.server.duration"]));
        for (path, selector) in [
            ("/label/U__service_2e_name/values", r#"{"http.server.duration"}"#),
            ("/label/service.name/values", r#"{"http.server.duration",job=~"api|.*x"}"#),
        ] {
            assert_eq!(grafana.list(path, &[("match[]", selector)]), json!(["shop"]), "{path}");
        }
        let labels = grafana.list("/labels", &[("match[]", r#"{"http.server.duration"}"#)]);
        assert_eq!(labels, json!(["__name__", "job", "service.name"]));

        // Its panels; the matcher keeps them out of statistics of what is used.
        let avg = r#"avg({"http.server.duration", __ignore_usage__="", "service.name"=~"shop|other"})"#;
        assert_eq!(grafana.panel(avg, "60"), expected([("{}", grafana.minutes(["8", "9", "10"]))]));
        let by_label = r#"sum({"http.server.duration", __ignore_usage__=""}) by ("service.name")"#;
        let shop = r#"{"service.name":"shop"}"#;
        assert_eq!(grafana.panel(by_label, "60"), expected([(shop, grafana.minutes(["8", "9", "10"]))]));
        let rate = r#"sum(rate({__name__="http_requests_total", __ignore_usage__=""}[5m0s]))"#;
        assert_eq!(grafana.panel(rate, "60"), expected([("{}", grafana.minutes(["8", "8", "8"]))]));
        let counts = grafana.instant(r#"count by (__name__) ({__name__=~"up|http.+"})"#);
        let count = |of: &str| counts[&format!(r#"{{"__name__":"{of}"}}"#)][1].clone();
        assert_eq!(counts.len(), 4);
        assert_eq!((count("up"), count("http.server.duration")), (json!("2"), json!("1")));
        assert_eq!((count("http_requests_total"), count("http_duration_seconds_bucket")), (json!("4"), json!("3")));
    });
}

#[test]
fn panels_show_what_was_sent() {
    Grafana::start().both(|grafana| {
        let by_code = r#"sum by (code) (rate(http_requests_total{job="api"}[5m0s]))"#;
        let rates = expected([
            (r#"{"code":"200"}"#, grafana.minutes(["6", "6", "6"])),
            (r#"{"code":"500"}"#, grafana.minutes(["2", "2", "2"])),
        ]);
        for step in ["60", "60.0", "6e1", "1m", "1m0s"] {
            assert_eq!(grafana.panel(by_code, step), rates, "step={step}");
        }
        // A panel of many pixels: steps and bounds with fractions.
        for (step, step_ms) in [("0.5", 500), ("7.25", 7_250), ("250ms", 250)] {
            let (start_ms, end_ms) = (grafana.now * 1000 - 60_123, grafana.now * 1000 - 877);
            let (start, end) = (seconds(start_ms), seconds(end_ms));
            let params = [("query", by_code), ("start", &start), ("end", &end), ("step", step)];
            let rows = rows(&grafana.ask("/query_range", &params), "values");
            let values = rows[r#"{"code":"200"}"#].as_array().unwrap();
            let at_ms: Vec<i64> = (start_ms..=end_ms).step_by(step_ms).collect();
            assert_eq!(values.len(), at_ms.len(), "step={step}");
            for (value, at_ms) in values.iter().zip(at_ms) {
                assert_eq!(value[0].as_f64().unwrap().to_string(), seconds(at_ms), "step={step}");
                let rate = value[1].as_str().unwrap().parse::<f64>().unwrap();
                assert!((rate - 6.0).abs() < 1e-9, "step={step}: {value}");
            }
        }
        // Stat, gauge and table panels.
        let now = grafana.now;
        let node = |instance: &str| format!(r#"{{"__name__":"up","instance":"{instance}","job":"node"}}"#);
        let (up, down) = (node("a:1"), node("b:1"));
        assert_eq!(grafana.instant("up"), expected([(&up, json!([now, "1"])), (&down, json!([now, "0"]))]));
        assert_eq!(grafana.instant("up == 0"), expected([(&down, json!([now, "0"]))]));
        assert_eq!(grafana.instant("sum(up) / count(up)"), expected([("{}", json!([now, "0.5"]))]));
        let most = grafana.instant("topk(1, sum by (code) (http_requests_total))");
        assert_eq!(most, expected([(r#"{"code":"200"}"#, json!([now, "3600"]))]));
        // A heatmap, and a quantile: 30 of 60 a minute below 0.1 s, the rest below 0.5 s.
        let heat = grafana.panel("sum by (le) (increase(http_duration_seconds_bucket[5m]))", "60");
        assert_eq!(heat[r#"{"le":"0.1"}"#], grafana.minutes(["150", "150", "150"]));
        assert_eq!((heat.len(), &heat[r#"{"le":"+Inf"}"#]), (3, &grafana.minutes(["300", "300", "300"])));
        let quantile = "histogram_quantile(0.75, sum by (le) (rate(http_duration_seconds_bucket[5m])))";
        let value = grafana.instant(quantile)["{}"][1].as_str().unwrap().parse::<f64>().unwrap();
        assert!((value - 0.3).abs() < 1e-9, "{value}");
        // No data, numbers, and an alert's condition over a time at which there is nothing.
        assert_eq!(grafana.panel("nothing", "60"), expected([]));
        assert_eq!(grafana.panel("42", "60"), expected([("{}", grafana.minutes(["42", "42", "42"]))]));
        let long_ago = grafana.ask("/query", &[("query", "up"), ("time", "1000000000")]);
        assert_eq!(long_ago, json!({"resultType": "vector", "result": []}));
    });
}

#[test]
fn what_is_wrong_with_a_panel_is_said() {
    let grafana = Grafana::start();
    let (start, end) = (seconds((grafana.now - 120) * 1000), seconds(grafana.now * 1000));
    let params = |query, step| [("query", query), ("start", start.as_str()), ("end", end.as_str()), ("step", step)];
    for (query, step, status, error_type, why) in [
        // A variable that nobody replaced.
        ("rate(http_requests_total[$__rate_interval])", "60", 400, "bad_data", "1:26: parse error"),
        ("sum(up", "60", 400, "bad_data", "1:7: parse error"),
        ("up", "0.001", 400, "bad_data", "11,000 points"),
        ("up", "-1", 400, "bad_data", r#"invalid parameter "step""#),
        ("up", "$__interval", 400, "bad_data", r#"invalid parameter "step""#),
        ("up * on(job) http_requests_total", "60", 422, "execution", "duplicate series"),
    ] {
        for method in ["POST", "GET"] {
            let (refused, body) = grafana.call(method, "/api/v1/query_range", &params(query, step), &grafana.basic);
            assert_eq!((refused, &body["status"]), (status, &json!("error")), "{query}: {body}");
            assert_eq!(body["errorType"], error_type, "{query}: {body}");
            assert!(body["error"].as_str().unwrap().contains(why), "{query}: {body}");
        }
    }
    // Infos are shown at the panel.
    let (status, body) = grafana.call("POST", "/api/v1/query_range", &params("rate(up[5m])", "60"), &grafana.basic);
    assert_eq!(status, 200);
    assert!(body["infos"][0].as_str().unwrap().contains("might not be a counter"), "{body}");
}

#[test]
fn exemplars_are_points_of_their_panel() {
    Grafana::start().both(|grafana| {
        let query = r#"histogram_quantile(0.9, sum by (le) (rate(http_duration_seconds_bucket{job="api"}[5m])))"#;
        let exemplar =
            |id: &str, ago: i64| json!({"labels": {"trace_id": id}, "value": "0.25", "timestamp": grafana.now - ago});
        let labels = json!({"__name__": "http_duration_seconds_bucket", "job": "api", "le": "0.5"});
        let found = |start_ms: i64| {
            let (start, end) = (seconds(start_ms), seconds(grafana.now * 1000));
            grafana.ask("/query_exemplars", &[("query", query), ("start", &start), ("end", &end)])
        };
        let both = json!([{"seriesLabels": labels, "exemplars": [exemplar("early", 540), exemplar("late", 30)]}]);
        assert_eq!(found(grafana.now * 1000 - 600_000), both);
        let late = json!([{"seriesLabels": labels, "exemplars": [exemplar("late", 30)]}]);
        assert_eq!(found(grafana.now * 1000 - 59_500), late);
        let other = [("query", "rate(http_requests_total[5m])"), ("start", "0"), ("end", &grafana.now.to_string())];
        assert_eq!(grafana.ask("/query_exemplars", &other), json!([]));
    });
}

#[test]
fn variables_and_annotations_are_filled() {
    Grafana::start().both(|grafana| {
        // label_names(), label_values(instance), label_values(up{…}, instance), metrics(http.*)
        assert_eq!(grafana.list("/labels", &[]).as_array().unwrap().len(), 8);
        assert_eq!(grafana.list("/label/instance/values", &[]), json!(["a:1", "b:1"]));
        let of_selector = [("match[]", r#"up{job="node",instance!~"a.*"}"#)];
        assert_eq!(grafana.list("/label/instance/values", &of_selector), json!(["b:1"]));
        assert_eq!(grafana.list("/label/__name__/values", &[]).as_array().unwrap().len(), 5);
        // query_result(…)
        let result = grafana.instant(r#"sum by (instance) (http_requests_total{code="200"})"#);
        let of = |instance: &str| result[&format!(r#"{{"instance":"{instance}"}}"#)][1].clone();
        assert_eq!((of("a:1"), of("b:1")), (json!("1800"), json!("1800")));
        // Variables of several values, escaped as Grafana does it, and "All".
        for (chosen, count) in [("(a:1|b:1)", "2"), (r"a\\:1", "1"), (".*", "2"), (".+", "2"), ("b:1", "1")] {
            let rows = grafana.instant(&format!(r#"count(up{{instance=~"{chosen}"}})"#));
            assert_eq!(rows, expected([("{}", json!([grafana.now, count]))]), "{chosen}");
        }
        // Annotations: steps of a minute at which there is a value.
        let alerts = r#"ALERTS{alertstate="firing"}"#;
        let down = r#"{"__name__":"ALERTS","alertname":"Down","alertstate":"firing","instance":"b:1"}"#;
        let [start, end] = grafana.range();
        let params = [("query", alerts), ("start", &start), ("end", &end), ("step", "60")];
        let fired = rows(&grafana.ask("/query_range", &params), "values");
        assert_eq!(fired, expected([(down, grafana.minutes(["1", "1", "1"]))]));
    });
}

#[test]
fn lists_of_alerts_are_empty_and_rules_can_be_edited() {
    let grafana = Grafana::start();
    assert_eq!(grafana.get("/rules", &[("type", "alert")]), json!({"groups": []}));
    assert_eq!(grafana.get("/rules", &[("group_limit", "100"), ("exclude_alerts", "true")]), json!({"groups": []}));
    assert_eq!(grafana.get("/alerts", &[]), json!({"alerts": []}));
    for path in ["/config/v1/rules", "/rules"] {
        let answer = grafana.server.call("GET", path, Some(&grafana.basic), b"");
        assert_eq!((answer.status, answer.body.trim()), (200, "{}"), "{path}");
    }
    assert_eq!(grafana.call("GET", "/api/v1/rules/test/test", &[], &grafana.basic).0, 404);
}

#[test]
fn a_query_is_laid_out_and_taken_apart() {
    let grafana = Grafana::start();
    let query = r#"sum(rate(http_requests_total{code="500"}[5m]))by(job)"#;
    let pretty = r#"sum by (job) (rate(http_requests_total{code="500"}[5m]))"#;
    assert_eq!(grafana.ask("/format_query", &[("query", query)]), pretty);
    let tree = grafana.ask("/parse_query", &[("query", query)]);
    assert_eq!(
        (&tree["type"], &tree["op"], &tree["grouping"]),
        (&json!("aggregation"), &json!("sum"), &json!(["job"]))
    );
    let selector = &tree["expr"]["args"][0];
    assert_eq!((&selector["type"], &selector["range"]), (&json!("matrixSelector"), &json!(300_000)));
    let code = json!({"name": "code", "value": "500", "type": "="});
    assert!(selector["matchers"].as_array().unwrap().contains(&code), "{selector}");
}

#[test]
fn an_answer_to_one_who_takes_gzip_is_whole() {
    let grafana = Grafana::start();
    let plain = grafana.server.call("GET", "/api/v1/labels", Some(&grafana.basic), b"").body;
    let address = grafana.server.url("").replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // Version 1.0: the body is not cut into chunks.
    let asked = format!(
        "GET /api/v1/labels HTTP/1.0\r\nHost: x\r\nAuthorization: {}\r\nAccept-Encoding: gzip\r\n\r\n",
        grafana.basic
    );
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an end of the headers");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let body = &answer[end + 4..];
    assert!(head.contains(" 200 ok"), "{head}");
    if head.contains("content-encoding: gzip") {
        assert!(head.contains("vary:"), "a cache must know that there are two answers: {head}");
        assert_eq!(body[..2], [0x1f, 0x8b], "{head}");
        // Its last four bytes are the length of what was compressed.
        let length = u32::from_le_bytes(body[body.len() - 4..].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), plain.len());
    } else {
        assert_eq!(String::from_utf8_lossy(body), plain, "{head}");
    }
}
