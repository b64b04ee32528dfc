//! Rules of retention: what a rule selects goes when its days are over and the rest stays, through late rows, `kill -9`, rules
//! that change, and without a server.

use std::{fs, process::Command, time::Duration};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    process::{self, Home},
    server::now_ms,
    wire::{self, v1},
};

const DAY_MS: i64 = 86_400_000;

/// Of what is called debug, production is kept as long as everything else.
const RULES: &str = "
storage:
  flush_age: 1h
  retention_rules:
    - {match: '{job=\"debug\", env=\"prod\"}', keep: 90d}
    - {match: '{job=~\"debug|trace\"}', keep: 2d}
";

/// Samples of four series at some minutes of a day; the first has an exemplar and a histogram, too.
fn day(start_ms: i64, minutes: std::ops::Range<i64>) -> Vec<u8> {
    let samples: Vec<_> = minutes.map(|minute| (start_ms + minute * 60_000, 1.0)).collect();
    let labels: [&[(&str, &str)]; 4] = [
        &[("__name__", "up"), ("env", "dev"), ("job", "debug")],
        &[("__name__", "up"), ("env", "prod"), ("job", "debug")],
        &[("__name__", "up"), ("job", "api")],
        &[("__name__", "cpu"), ("job", "trace")],
    ];
    let mut timeseries: Vec<_> = labels.iter().map(|labels| v1::series(labels, &samples)).collect();
    let first_ms = samples[0].0;
    let labels = v1::labels(&[("trace_id", "abc")]);
    timeseries[0].exemplars.push(v1::Exemplar { labels, value: 1.0, timestamp: first_ms });
    let mut latency = v1::series(&[("__name__", "latency"), ("job", "debug")], &[]);
    latency.histograms.push(wire::Histogram {
        count: Some(wire::Count::Int(0)),
        zero_count: Some(wire::ZeroCount::Int(0)),
        timestamp: first_ms,
        ..wire::Histogram::default()
    });
    timeseries.push(latency);
    wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() })
}

/// Samples by day and series.
const LEFT: &str = "SELECT CAST(CAST(timestamp AS DATE) AS VARCHAR) AS d, metric, labels['job'] AS job, \
                    coalesce(labels['env'], 'none') AS env, count(*) FROM metrics GROUP BY d, metric, job, env \
                    ORDER BY d, metric, job, env";

fn upkeep(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgauge"));
    let output = command.args(["upkeep", "--once"]).args(arguments).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("json")
}

/// Series of a line of the answer, without its day.
fn series(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split_once(',').expect("a day first").1).collect()
}

/// Upkeep by the server goes on by itself, so what is counted exactly is done without one.
#[test]
fn what_a_rule_selects_goes_when_its_days_are_over_and_the_rest_stays() {
    let folder = tempdir().unwrap();
    let home = Home::new(folder.path(), "storage: { flush_age: 1h }\n");
    let mut server = home.start(&[]).expect("the server starts");
    let agent = process::agent(Duration::from_secs(60));
    let write = |body: Vec<u8>| assert!(matches!(home.write(&agent, &body), Ok(200..=299)));
    let today = now_ms() / DAY_MS * DAY_MS;
    // A day that is over by more than two, and one that is not.
    for (days, minutes) in [(5, 0..10), (1, 0..10), (5, 10..20), (1, 10..20)] {
        write(day(today - days * DAY_MS, minutes));
        home.flush();
    }
    server.kill();
    let four = ["cpu,trace,none,20", "up,api,none,20", "up,debug,dev,20", "up,debug,prod,20"];
    assert_eq!(series(&home.sql_offline(LEFT)), [four, four].concat());

    let (rules, data) = (folder.path().join("rules.yaml"), home.data());
    fs::write(&rules, RULES).unwrap();
    let offline = ["--data-dir", data.to_str().unwrap(), "--config", rules.to_str().unwrap()];
    let done = upkeep(&offline);
    assert_eq!(done["rows_trimmed"], 44, "40 samples, 2 exemplars, 2 histograms: {done}");
    let left = home.sql_offline(LEFT);
    assert_eq!(series(&left), [&["up,api,none,20", "up,debug,prod,20"][..], &four[..]].concat());
    let rest = "SELECT count(*) FROM exemplars UNION ALL SELECT count(*) FROM histograms";
    assert_eq!(home.sql_offline(rest), ["2", "2"]);
    let again = upkeep(&offline);
    assert_eq!((&again["merges"], &again["trims"]), (&Value::from(0), &Value::from(0)), "once is enough");

    // By a server: what comes late is there until the day is merged again.
    fs::copy(&rules, folder.path().join("streamgauge.yaml")).unwrap();
    server = home.start(&[]).expect("the server starts");
    write(day(today - 5 * DAY_MS, 30..32));
    assert_eq!(home.sql(LEFT).len(), left.len() + 2);
    home.flush();
    upkeep(&["--url", &home.url("")]);
    let left = home.sql(LEFT);
    assert_eq!(series(&left), [&["up,api,none,22", "up,debug,prod,22"][..], &four[..]].concat());
    let metrics = agent.get(home.url("/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("streamgauge_upkeep_trimmed_rows_total{dataset=\"samples\"} 4\n"), "{metrics}");

    // Another rule: a day that was merged long ago is rewritten, once.
    server.kill();
    fs::write(&rules, format!("{RULES}    - {{match: 'up{{job=\"api\"}}', keep: 3d}}\n")).unwrap();
    let done = upkeep(&offline);
    assert_eq!((&done["rows_trimmed"], &done["trims"]), (&Value::from(22), &Value::from(1)), "{done}");
    assert_eq!(series(&home.sql_offline(LEFT)), [&["up,debug,prod,22"][..], &four[..]].concat());
    assert_eq!(upkeep(&offline)["trims"], 0, "a new start remembers");

    // The rule is taken back: what is gone is gone, nothing else goes, and what is sent again stays.
    server = home.start(&[]).expect("the server starts");
    write(day(today - 5 * DAY_MS, 40..41));
    home.flush();
    upkeep(&["--url", &home.url("")]);
    assert_eq!(series(&home.sql(LEFT)), [&["up,api,none,1", "up,debug,prod,23"][..], &four[..]].concat());
    drop(server);
}
