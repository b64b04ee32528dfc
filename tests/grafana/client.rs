//! The same with Grafana's own client code in place of calls that are written down: what it finds and shows, in each
//! way in which the data source may be set, and by which calls.

use serde_json::{Value, json};

use super::{Grafana, MINUTES, seconds};
use crate::support::grafana_client::{self, Shown};

/// A rule that records nothing, so that it adds no series.
const RULES: &str =
    "name: rates\nrules:\n  - record: job:nothing:rate5m\n    expr: sum by (job) (rate(nothing_total[5m]))\n";

impl Grafana {
    /// A session over all that was sent, in a dashboard with a variable of two values and one of all.
    fn session(&self, settings: &Value, login: &str, steps: &[Value]) -> Shown {
        let variables = json!({
            "node": {"value": ["a:1", "b:1"], "multi": true},
            "every": {"value": ["$__all"], "multi": true, "includeAll": true, "allValue": ".+"},
            "code": {"value": "500"},
        });
        let from = self.now - 60 * i64::from(MINUTES);
        let input = json!({
            "settings": settings, "variables": variables, "steps": steps, "from": from * 1000, "to": self.now * 1000,
        });
        grafana_client::run(&self.server.url(""), login, &input, self.folder.path())
    }

    /// What each step gives.
    fn shown(&self, settings: &Value, steps: &[(Value, Value)]) -> Vec<String> {
        let asked: Vec<Value> = steps.iter().map(|(step, _)| step.clone()).collect();
        let Shown { answers, sent } = self.session(settings, &self.basic, &asked);
        assert_eq!(answers.len(), steps.len());
        for ((step, expected), answer) in steps.iter().zip(answers) {
            assert_eq!(answer.as_ref(), Ok(expected), "{step} with {settings}");
        }
        sent
    }
}

/// What the editor, variables and filters are to find; `is_series` if lists come from the endpoint of series, which has
/// no name of the metric among labels.
fn finds(is_series: bool) -> Vec<(Value, Value)> {
    let labels = |names: &[&str]| {
        let name = (!is_series).then_some("__name__");
        json!(name.iter().chain(names).collect::<Vec<_>>())
    };
    let all = labels(&["alertname", "alertstate", "code", "instance", "job", "le", "service.name"]);
    let variable = |query: &str, values: Value| (json!({"call": "variable", "query": query}), values);
    let both = json!(["a:1", "b:1"]);
    let of_code = json!([{"key": "code", "operator": "=", "value": "200"}]);
    let of_codes = json!([{"key": "code", "operator": "=|", "value": "200", "values": ["200", "500"]}]);
    let query = json!([{"refId": "A", "expr": "sum(rate(http_requests_total[5m]))"}]);
    vec![
        (json!({"call": "labelKeys", "match": "http_requests_total"}), labels(&["code", "instance", "job"])),
        (json!({"call": "labelValues", "label": "service.name"}), json!(["shop"])),
        (
            json!({"call": "labelValues", "label": "code", "match": r#"http_requests_total{instance="a:1"}"#}),
            json!(["200", "500"]),
        ),
        variable("label_names()", all),
        variable("label_names(http_req)", json!(["code", "instance", "job"])),
        variable("label_values(instance)", both.clone()),
        variable(r#"label_values(up{instance=~"$node"}, instance)"#, both.clone()),
        variable(r#"label_values(up{instance=~"$every"}, instance)"#, both.clone()),
        variable("metrics(http_.*)", json!(["http_duration_seconds_bucket", "http_requests_total"])),
        variable("query_result(scalar(sum(up)))", json!(["1"])),
        variable(r#"up{instance!~"b.*"}"#, json!([r#"up{instance="a:1",job="node"}"#])),
        (json!({"call": "tagKeys", "queries": query, "filters": of_code}), labels(&["instance", "job"])),
        (json!({"call": "tagValues", "key": "instance", "filters": of_codes}), both),
    ]
}

#[test]
fn grafanas_own_client_finds_what_there_is_however_it_is_set() {
    if !grafana_client::is_there() {
        return;
    }
    let grafana = Grafana::start();
    let path = "/config/v1/rules/fleet";
    assert_eq!(grafana.server.call("POST", path, Some(&grafana.writer), RULES.as_bytes()).status, 202);
    let rule = json!([{"query": "sum by (job) (rate(nothing_total[5m]))"}]);
    let healthy = json!({"status": "success", "message": "Successfully queried the Prometheus API."});
    // Once it knows the metadata, it offers a rate of a counter.
    let editor = [json!({"call": "editor"}), json!({"call": "hints", "expr": "http_requests_total"})];
    for (settings, lists) in [
        (json!({"httpMethod": "POST", "timeInterval": "60s"}), "POST api/v1/labels 200"),
        (json!({"httpMethod": "GET"}), "GET api/v1/labels 200"),
        (json!({"httpMethod": "POST", "seriesEndpoint": true}), "POST api/v1/series 200"),
    ] {
        let mut steps = vec![
            (json!({"call": "health"}), healthy.clone()),
            (json!({"call": "init"}), json!({"exemplars": true, "rules": {"job:nothing:rate5m": rule}})),
            // It offers a quantile of buckets, and to write a rule's expression in its place.
            (json!({"call": "hints", "expr": "http_duration_seconds_bucket"}), json!(["HISTOGRAM_QUANTILE"])),
            (json!({"call": "hints", "expr": "sum(job:nothing:rate5m)"}), json!(["EXPAND_RULES"])),
        ];
        steps.extend(finds(settings["seriesEndpoint"] == true));
        let sent = grafana.shown(&settings, &steps);
        assert!(sent.iter().any(|call| call.starts_with(lists)), "{lists}: {sent:?}");

        let Shown { answers, .. } = grafana.session(&settings, &grafana.bearer, &editor);
        assert_eq!(answers[1], Ok(json!(["APPLY_RATE"])), "{settings}");
        let known = answers[0].as_ref().unwrap();
        let names =
            json!(["ALERTS", "http.server.duration", "http_duration_seconds_bucket", "http_requests_total", "up"]);
        assert_eq!(known["metrics"], names, "{settings}");
        assert_eq!(known["histograms"], json!(["http_duration_seconds_bucket"]), "{settings}");
        assert!(known["labels"].as_array().unwrap().contains(&json!("service.name")), "{settings}");
        let help = json!({"type": "counter", "unit": "", "help": "Requests so far."});
        assert_eq!(known["metadata"]["http_requests_total"], help, "{settings}");
    }
    // One who may not read is told so.
    for (login, why) in [("Bearer sg_wrong", "no valid token"), (grafana.writer.as_str(), "lacks the scope `read`")] {
        let health = grafana.session(&json!({}), login, &[json!({"call": "health"})]);
        assert!(health.answers[0].as_ref().is_err_and(|error| error.contains(why)), "{why}: {:?}", health.answers);
    }
}

/// Names of a frame's columns, and their last values.
fn last(frame: &Value) -> Vec<(&str, &Value)> {
    let columns = frame["columns"].as_array().unwrap().iter();
    columns
        .map(|column| (column["name"].as_str().unwrap(), column["values"].as_array().unwrap().last().unwrap()))
        .collect()
}

#[test]
fn grafanas_own_client_shows_panels_filters_and_annotations() {
    if !grafana_client::is_there() {
        return;
    }
    let settings = json!({"httpMethod": "POST", "timeInterval": "60s"});
    Grafana::start().both(|grafana| {
        let now_ms = json!(grafana.now * 1000);
        let panel = |targets: Value| json!({"call": "panel", "targets": targets});
        let rates = "sum by (code) (irate(http_requests_total[$__rate_interval]))";
        let up = r#"up{instance=~"$node"}"#;
        let two = json!([
            {"expr": rates, "range": true, "legendFormat": "code {{code}}"},
            {"expr": up, "instant": true, "format": "table"},
        ]);
        let of_one = json!([{"key": "instance", "operator": "!=", "value": "b:1"}]);
        let heat = "sum by (le) (increase(http_duration_seconds_bucket[2m]))";
        let quantile = "histogram_quantile(0.75, sum by (le) (rate(http_duration_seconds_bucket[$__rate_interval])))";
        let by_service = r#"avg by ("service.name") ({"http.server.duration"})"#;
        let firing = json!({
            "expr": r#"ALERTS{alertstate="firing"}"#, "step": "60s", "titleFormat": "{{alertname}}",
            "textFormat": "on {{instance}}", "tagKeys": "alertname",
        });
        let steps = [
            json!({"call": "panel", "targets": two, "filters": of_one}),
            panel(json!([{"expr": heat, "range": true, "format": "heatmap"}])),
            panel(json!([{"expr": quantile, "range": true, "exemplar": true}])),
            panel(json!([{"expr": by_service, "range": true}])),
            panel(json!([{"expr": r#"sum(http_requests_total{code="$code"})"#, "range": true, "instant": true}])),
            panel(json!([{"expr": "nothing", "range": true}])),
            panel(json!([{"expr": "rate(up[5m])", "instant": true}])),
            panel(json!([{"expr": "sum(up", "range": true}])),
            json!({"call": "annotation", "annotation": firing}),
        ];
        let Shown { answers, sent } = grafana.session(&settings, &grafana.bearer, &steps);
        let frames = |at: usize| answers[at].as_ref().unwrap_or_else(|error| panic!("{}: {error}", steps[at]));

        // The filter of the dashboard is in both queries; legends are filled.
        let filtered = frames(0);
        assert_eq!(last(&filtered[0]), [("Time", &now_ms), ("code 200", &json!(3))]);
        assert_eq!(last(&filtered[1]), [("Time", &now_ms), ("code 500", &json!(1))]);
        let row = [("__name__", json!("up")), ("instance", json!("a:1")), ("job", json!("node")), ("Value", json!(1))];
        let row = row.iter().map(|(name, value)| (*name, value));
        assert_eq!(last(&filtered[2]), [("Time", &now_ms)].into_iter().chain(row).collect::<Vec<_>>());

        // Of 60 a minute, 30 are below 0.1 s and the rest below 0.5 s.
        let buckets = frames(1);
        let of_bucket = [("0.1", json!(60)), ("0.5", json!(60)), ("+Inf", json!(0))];
        assert_eq!(last(&buckets[0])[1..], of_bucket.each_ref().map(|(name, value)| (*name, value)));
        let [(_, _), (_, value)] = last(&frames(2)[0])[..] else { panic!("{}", frames(2)) };
        assert!((value.as_f64().unwrap() - 0.3).abs() < 1e-9, "{value}");
        let exemplars = &frames(2)[1];
        assert_eq!(exemplars["topic"], "annotations", "{exemplars}");
        assert_eq!(last(exemplars)[1..], [("Value", &json!(0.25)), ("trace_id", &json!("late"))]);

        assert_eq!(frames(3)[0]["columns"][1]["labels"], json!({"service.name": "shop"}));
        assert_eq!(last(&frames(3)[0])[1], ("Value", &json!(10)));
        // As in Explore, a graph and a table.
        let refs: Vec<&Value> = frames(4).as_array().unwrap().iter().map(|frame| &frame["refId"]).collect();
        assert_eq!(refs, ["A", "A-Instant"]);
        assert_eq!(frames(5), &json!([{"refId": "A", "columns": []}]));
        let notices = frames(6)[0]["notices"].to_string();
        assert!(notices.contains("might not be a counter"), "{notices}");
        assert!(answers[7].as_ref().is_err_and(|error| error.contains("1:7: parse error")), "{:?}", answers[7]);
        let fired = json!([{
            "time": (grafana.now - 120) * 1000, "timeEnd": now_ms, "title": "Down", "text": "on b:1", "tags": ["Down"],
        }]);
        assert_eq!(frames(8), &fired);

        // Rates look at four scrapes; steps are those of samples, and times are rounded to them.
        let [start, end] = [(grafana.now - 600) * 1000, grafana.now * 1000].map(seconds);
        let of_rate = sent.iter().find(|call| call.contains("irate")).unwrap();
        assert!(
            of_rate.contains("%5B240s%5D") && of_rate.ends_with(&format!("start={start}&end={end}&step=60")),
            "{of_rate}"
        );
        assert!(sent.iter().any(|call| call.starts_with("POST api/v1/query_exemplars 200 ")), "{sent:?}");
    });
}
