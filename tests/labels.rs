//! Series and labels as Grafana's data source for Prometheus asks for them, before and after rows get into files.

use serde_json::{Value, json};

use crate::support::{
    server::{Server, now_ms},
    wire::{self, v1},
};

fn ask(server: &Server, path: &str) -> Value {
    let answer = server.get(path, None);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["status"], "success");
    body
}

#[test]
fn series_and_labels_are_found_by_selector_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let now = now_ms();
    let series = |pairs: &[(&str, &str)]| v1::series(pairs, &[(now, 1.0)]);
    let timeseries = vec![
        series(&[("__name__", "up"), ("instance", "a:1"), ("job", "node")]),
        series(&[("__name__", "up"), ("instance", "b:1"), ("job", "api")]),
        series(&[("__name__", "http.requests"), ("k8s.pod", "quote\"d")]),
    ];
    let answer =
        server.call("POST", wire::PATH, None, &wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() }));
    assert_eq!(answer.status, 204, "{}", answer.body);

    let range = format!("start={}&end={}", now / 1000 - 3600, now / 1000 + 3600);
    for in_files in [false, true] {
        if in_files {
            assert_eq!(server.call("POST", "/api/v1/admin/flush?wait=true", None, b"").status, 200);
        }
        let data = |path: &str| ask(&server, path)["data"].clone();
        assert_eq!(data(&format!("/api/v1/labels?{range}")), json!(["__name__", "instance", "job", "k8s.pod"]));
        assert_eq!(data("/api/v1/labels?match[]=up"), json!(["__name__", "instance", "job"]));
        assert_eq!(data(&format!("/api/v1/label/job/values?{range}")), json!(["api", "node"]));
        assert_eq!(data("/api/v1/label/__name__/values"), json!(["http.requests", "up"]));
        assert_eq!(data("/api/v1/label/U__k8s_2e_pod/values"), json!(["quote\"d"]));
        assert_eq!(data("/api/v1/label/job/values?match[]=%7Binstance%3D~%22a.*%22%7D"), json!(["node"]));
        assert_eq!(data("/api/v1/label/job/values?end=1"), json!([]), "another day");
        assert_eq!(
            data(&format!("/api/v1/series?{range}&match[]=%7B%22http.requests%22%7D&match[]=up%7Bjob%3D%22api%22%7D")),
            json!([
                {"__name__": "http.requests", "k8s.pod": "quote\"d"},
                {"__name__": "up", "instance": "b:1", "job": "api"},
            ])
        );
        let cut = ask(&server, "/api/v1/label/__name__/values?limit=1");
        assert_eq!(
            cut,
            json!({"status": "success", "data": ["http.requests"], "warnings": ["results truncated due to limit"]})
        );
    }
    for (path, reason) in [
        ("/api/v1/series", "match[]"),
        ("/api/v1/labels?match[]=up%7B", "match[]"),
        ("/api/v1/labels?start=2&end=1", "end timestamp must not be before start timestamp"),
        ("/api/v1/label/job/values?limit=few", "limit"),
    ] {
        let answer = server.get(path, None);
        assert_eq!(answer.status, 400, "{path}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["errorType"], "bad_data");
        assert!(body["error"].as_str().unwrap().contains(reason), "{body}");
    }
}
