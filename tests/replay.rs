//! What rules would have done: the same on a server and over its folder, and nothing live is touched by it.

use std::{fs, io::Read, time::Duration};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    process,
    receiver::Receiver,
    server::{Server, binary, eventually, now_ms, run},
    wire::{self, v1},
};

const MINUTE: i64 = 60_000;

const RULES: &str = r#"
groups:
  - name: heat
    interval: 1m
    rules:
      - record: job:temperature:max
        expr: max by (job) (temperature)
      - alert: TooHot
        expr: job:temperature:max > 90
        for: 2m
        labels: {severity: critical}
        annotations: {summary: "{{ $value }} degrees"}
"#;

/// A server's folder, with a receiver that is told of everything.
struct Bench {
    folder: tempfile::TempDir,
    receiver: Receiver,
    /// A whole minute, two minutes ago or a little more.
    until_ms: i64,
}

impl Bench {
    fn new(rules_in_force: &str) -> Self {
        let (folder, receiver) = (tempdir().unwrap(), Receiver::start());
        let config = format!(
            "route: {{receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1m, repeat_interval: 5m}}\n\
             receivers:\n  - name: team\n    webhook_configs: [{{url: '{}', send_resolved: true}}]\n",
            receiver.url("/hook")
        );
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("alertmanager.yml"), config).unwrap();
        fs::write(path("rules.yaml"), rules_in_force).unwrap();
        fs::write(path("new.yaml"), RULES).unwrap();
        let settings = format!(
            "alerting:\n  config: {}\n  rules: ['{}']\n  allowed_networks: [127.0.0.0/8]\n",
            path("alertmanager.yml"),
            path("rules.yaml")
        );
        fs::write(path("streamgauge.yaml"), settings).unwrap();
        let until_ms = now_ms() / MINUTE * MINUTE - 2 * MINUTE;
        Self { folder, receiver, until_ms }
    }

    fn start(&self) -> Server {
        Server::start(self.folder.path(), &["--config", self.folder.path().join("streamgauge.yaml").to_str().unwrap()])
    }

    /// An hour of minutes, hot for ten of them from the twentieth on.
    fn heat(&self, server: &Server) {
        let samples: Vec<(i64, f64)> = (0_i64..60)
            .map(|nth| (self.since_ms() + nth * MINUTE, if (20..30).contains(&nth) { 99.0 } else { 20.0 }))
            .collect();
        let answer = server.write("temperature", &samples, None);
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    fn since_ms(&self) -> i64 {
        self.until_ms - 60 * MINUTE
    }

    fn times(&self, minutes: i64) -> [String; 4] {
        let seconds = |ms: i64| (ms / 1000).to_string();
        ["--from".into(), seconds(self.since_ms()), "--to".into(), seconds(self.since_ms() + minutes * MINUTE)]
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// Rows of CSV without the header, each a list.
fn rows(csv: &str) -> Vec<Vec<String>> {
    csv.lines().skip(1).map(|line| line.trim_end().split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn a_backtest_says_what_would_have_fired_and_writes_nothing() {
    let bench = Bench::new("groups: []");
    let server = bench.start();
    bench.heat(&server);
    let backtest = |more: &[&str]| {
        let mut command = binary();
        command.args(["rules", "backtest", &bench.path("new.yaml")]).args(bench.times(60)).args(more);
        run(&mut command)
    };
    let url = server.url("");
    let (code, out, err) = backtest(&["--format", "csv", "--url", &url]);
    assert_eq!(code, 0, "{err}");
    let found = rows(&out);
    assert_eq!(
        (found[0][1].as_str(), found[0][2].as_str(), found[0][12].as_str()),
        ("job:temperature:max", "record", "60"),
        "{out}"
    );
    // Ten evaluations see it hot: it is pending for two minutes, and fires for eight.
    assert_eq!(found[1][1..8], ["TooHot", "alert", "1", "1", "1", "480", "480"], "{out}");
    assert_eq!(found[1][13], "0");
    // Who would have been told of it: once when it began, again after five minutes, and at its end.
    let (code, table, err) = backtest(&["--url", &url]);
    assert!(code == 0 && table.contains("team") && table.contains("webhook"), "{table}{err}");
    let (_, json, _) = backtest(&["--format", "json", "--url", &url]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["ended"]["told"][0]["messages"], &json["ended"]["told"][0]["repeats"]),
        (&3.into(), &1.into()),
        "{json}"
    );
    assert_eq!(json["firings"][0]["labels"]["severity"], "critical", "{json}");
    let (_, each, _) = backtest(&["--each", "--format", "csv", "--url", &url]);
    assert!(each.contains("480") && each.contains("TooHot"), "{each}");
    // Nothing of it is there.
    assert_eq!(server.sql("SELECT count(*) FROM alerts"), ["0"]);
    assert_eq!(server.sql("SELECT count(*) FROM series WHERE metric <> 'temperature'"), ["0"]);
    assert_eq!(bench.receiver.taken().len(), 0);
    // What is wrong is told with its place.
    fs::write(bench.path("new.yaml"), RULES.replace("> 90", "> > 90")).unwrap();
    let (code, _, err) = backtest(&["--url", &url]);
    assert!(code == 1 && err.contains("new.yaml:9:15"), "{err}");
    fs::write(bench.path("new.yaml"), RULES).unwrap();
    // Without a server, over the folder.
    server.terminate();
    let (code, same, err) = backtest(&["--format", "csv", "--data-dir", &bench.path("data")]);
    assert_eq!((code, rows(&same)), (0, found), "{err}");
}

#[test]
fn a_replay_is_kept_under_its_run_and_nobody_takes_it_for_what_happened() {
    let bench = Bench::new(RULES);
    let server = bench.start();
    bench.heat(&server);
    let url = server.url("");
    let replay = |minutes: i64, name: &str| {
        let mut command = binary();
        command.args(["rules", "replay", "--run", name, "--group", "heat", "--format", "csv", "--url", &url]);
        run(command.args(bench.times(minutes)))
    };
    let (code, out, err) = replay(60, "whole");
    assert!(code == 0 && err.contains("run = 'whole'"), "{out}{err}");
    let states = |run: &str| server.sql(&format!("SELECT state FROM alerts WHERE run = '{run}' ORDER BY at"));
    assert_eq!(states("whole"), ["pending", "firing", "resolved"]);
    let last = server
        .sql("SELECT labels['severity'], annotations['summary'] FROM alerts WHERE run = 'whole' AND state = 'firing'");
    assert_eq!(last, ["critical,99 degrees"]);
    // One that ends while the alert fires.
    let (code, _, err) = replay(25, "cut");
    assert_eq!((code, states("cut")), (0, vec!["pending".to_owned(), "firing".to_owned()]), "{err}");
    let (code, _, err) = replay(25, "cut");
    assert!(code == 1 && err.contains("already"), "{err}");
    let (code, _, err) =
        run(binary().args(["rules", "replay", "--group", "none", "--url", &url]).args(bench.times(60)));
    assert!(code == 1 && err.contains("no rule in force"), "{err}");
    let timeline = |server: &Server| {
        let (code, out, err) = run(binary()
            .args([
                "incident",
                "timeline",
                "--from",
                "2026-01-01T00:00:00Z",
                "--to",
                "2126-01-01T00:00:00Z",
                "--format",
                "csv",
                "--url",
            ])
            .arg(server.url("")));
        assert_eq!(code, 0, "{err}");
        out
    };
    assert!(!timeline(&server).contains("TooHot"));
    server.signal("KILL");
    server.wait();
    // A start takes up what happened, which is nothing.
    let server = bench.start();
    for path in ["/api/v1/alerts", "/api/v2/alerts", "/api/v1/notifications"] {
        let answer = server.get(path, None);
        assert!(answer.status == 200 && !answer.body.contains("TooHot"), "{path}: {}", answer.body);
    }
    assert!(!timeline(&server).contains("TooHot"));
    assert_eq!(server.sql("SELECT count(*) FROM alerts WHERE run = ''"), ["0"]);
    assert_eq!(server.sql("SELECT count(*) FROM alerts WHERE run <> ''"), ["5"]);
    assert_eq!(bench.receiver.taken().len(), 0);
}

#[test]
fn one_replay_runs_at_a_time_and_ends_when_nobody_listens() {
    let bench = Bench::new("groups: []");
    let server = bench.start();
    // Seven years of minutes.
    let body = |from: &str| {
        serde_json::json!({"from": from, "to": "2026-01-01T00:00:00Z", "files": [{"name": "a.yaml", "text": RULES}]})
            .to_string()
    };
    let short = || server.call("POST", "/api/v1/rules/backtest", None, body("2025-12-31T00:00:00Z").as_bytes());
    assert!(short().body.contains("\"ended\""));
    let refused = server.call("POST", "/api/v1/rules/backtest", None, body("2018-01-01T00:00:00Z").as_bytes());
    assert!(refused.status == 400 && refused.body.contains("too much"), "{}", refused.body);
    let agent = process::agent(Duration::from_secs(60));
    let asked = agent.post(server.url("/api/v1/rules/backtest")).send(body("2019-01-01T00:00:00Z").as_bytes());
    let mut long = asked.unwrap();
    // It has begun, and waits for whoever reads.
    long.body_mut().as_reader().read_exact(&mut [0]).unwrap();
    let busy = short();
    assert_eq!(busy.status, 429, "another one is refused: {}", busy.body);
    assert!(busy.body.contains("one replay at a time"), "{}", busy.body);
    drop((long, agent));
    eventually(|| Some(short()).filter(|answer| answer.status == 200)).expect("it has ended");
}

#[test]
fn an_offset_is_suggested_for_samples_that_come_late() {
    let bench = Bench::new("groups: []");
    let server = bench.start();
    let lateness = || -> Value { serde_json::from_str(&server.get("/api/v1/status/lateness", None).body).unwrap() };
    assert_eq!(lateness()["data"]["suggestedOffsetMs"], Value::Null);
    let at_ms = now_ms() - 12_000;
    let series = |nth: usize| v1::series(&[("__name__", "late"), ("nth", &nth.to_string())], &[(at_ms, 1.0)]);
    let timeseries = (0..1_200).map(series).collect();
    let body = wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() });
    assert_eq!(server.call("POST", wire::PATH, None, &body).status, 204);
    let late = lateness();
    assert_eq!(
        (&late["data"]["samples"], &late["data"]["suggestedOffsetMs"]),
        (&1_200.into(), &15_000.into()),
        "{late}"
    );
    let metrics = server.get("/metrics", None).body;
    assert!(metrics.contains("streamgauge_rule_query_offset_suggested_seconds 15\n"), "{metrics}");
    assert!(metrics.contains("streamgauge_ingest_lateness_seconds_bucket{le=\"10\"} 0\n"), "{metrics}");
    let check = |more: &[&str]| run(binary().args(["check", "rules", &bench.path("new.yaml")]).args(more));
    let (code, out, err) = check(&["--url", &server.url("")]);
    assert!(
        code == 0 && out.contains("NOTE: 3:5: group \"heat\"") && out.contains("`query_offset: 15s`"),
        "{out}{err}"
    );
    let (code, out, _) = check(&[]);
    assert!(code == 0 && !out.contains("NOTE"), "{out}");
}
