//! Series are deleted as Prometheus deletes them: what was selected is gone at the answer and after `kill -9`, the rest and
//! what comes later stays, and what was deleted can be sent again.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tempfile::tempdir;

use crate::support::{
    process::{self, Home, Process},
    server::{Answer, Server, now_ms},
    wire::{self, v1},
};

const DELETE: &str = "/api/v1/admin/tsdb/delete_series";

/// Escapes everything that could mean something in a URL.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn delete(server: &Server, selector: &str, more: &str) -> Answer {
    server.call("POST", &format!("{DELETE}?match[]={}{more}", escaped(selector)), None, &[])
}

#[track_caller]
fn deleted(server: &Server, selector: &str, more: &str) {
    let answer = delete(server, selector, more);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{selector} {more}: {answer:?}");
}

/// Sends a request of version 1.
fn send(url: &str, timeseries: Vec<v1::TimeSeries>) {
    let body = wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() });
    let mut post = process::agent(Duration::from_secs(60)).post(url).header("Content-Encoding", "snappy");
    for (name, value) in wire::V1_HEADERS {
        post = post.header(name, value);
    }
    let answer = post.send(&body[..]).expect("an answer");
    assert_eq!(answer.status(), 204);
}

/// `up` of two jobs and `cpu` of two modes, two samples each, ten seconds apart; with an exemplar and a histogram of `up`.
fn fleet(start_ms: i64) -> Vec<v1::TimeSeries> {
    let samples = [(start_ms, 1.0), (start_ms + 10_000, 2.0)];
    let mut fleet: Vec<v1::TimeSeries> = [
        [("__name__", "up"), ("job", "api")],
        [("__name__", "up"), ("job", "node")],
        [("__name__", "cpu"), ("mode", "idle")],
        [("__name__", "cpu"), ("mode", "user")],
    ]
    .iter()
    .map(|labels| v1::series(labels, &samples))
    .collect();
    let labels = v1::labels(&[("trace_id", "abc")]);
    fleet[0].exemplars.push(v1::Exemplar { labels, value: 1.0, timestamp: start_ms });
    let mut latency = v1::series(&[("__name__", "latency"), ("job", "api")], &[]);
    latency.histograms.push(wire::Histogram {
        count: Some(wire::Count::Int(0)),
        zero_count: Some(wire::ZeroCount::Int(0)),
        timestamp: start_ms,
        ..wire::Histogram::default()
    });
    fleet.push(latency);
    fleet
}

/// Samples of each metric and of each label set that has some.
fn left(server: &Server) -> Vec<String> {
    server.sql("SELECT metric, coalesce(labels['job'], labels['mode']) AS l, count(*) FROM metrics GROUP BY metric, l ORDER BY metric, l")
}

fn flush(server: &Server) {
    assert_eq!(server.call("POST", "/api/v1/admin/flush?wait=true", None, &[]).status, 200);
}

#[test]
fn series_are_deleted_by_name_label_expression_and_range() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let start_ms = now_ms() - 60_000;
    // Half in files, half in memory.
    send(&server.url(wire::PATH), fleet(start_ms));
    flush(&server);
    let four = ["cpu,idle,2", "cpu,user,2", "up,api,2", "up,node,2"];
    assert_eq!(left(&server), four);
    deleted(&server, "{job=\"nobody\"}", "");
    assert_eq!(left(&server), four, "what is not selected stays");

    // The second sample alone, both ends included, in seconds and as a date.
    let second = start_ms + 10_000;
    let at = format!("{}.{:03}", second / 1000, second % 1000);
    deleted(&server, "up{job=\"node\"}", &format!("&start={at}&end={at}"));
    assert_eq!(left(&server), ["cpu,idle,2", "cpu,user,2", "up,api,2", "up,node,1"]);
    deleted(&server, "{mode=~\"i.*|nothing\",job=\"\"}", "&end=1970-01-02T00:00:00Z");
    assert_eq!(left(&server).first().map(String::as_str), Some("cpu,idle,2"), "that was before all of it");
    deleted(&server, "{mode=~\"i.*|nothing\",job=\"\"}", "&start=1970-01-02T00:00:00Z");
    assert_eq!(left(&server), ["cpu,user,2", "up,api,2", "up,node,1"]);

    assert_eq!(server.sql("SELECT count(*) FROM exemplars"), ["1"]);
    deleted(&server, "up{job!=\"node\"}", "");
    assert_eq!(left(&server), ["cpu,user,2", "up,node,1"]);
    assert_eq!(server.sql("SELECT count(*) FROM exemplars"), ["0"]);
    assert_eq!(server.sql("SELECT count(*) FROM histograms"), ["1"]);

    // Several selectors in a form, by the other method, which clients of Prometheus use as well.
    send(&server.url(wire::PATH), fleet(start_ms + 20_000));
    let form = format!("match[]=latency&match[]={}", escaped("{__name__=~\"c.u\"}"));
    let agent = process::agent(Duration::from_secs(60));
    let put = agent.put(server.url(DELETE)).header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(put.send(form.as_bytes()).expect("an answer").status(), 204);
    assert_eq!(left(&server), ["up,api,2", "up,node,3"]);
    assert_eq!(server.sql("SELECT count(*) FROM histograms"), ["0"]);
    // Their rows in `series` stay until the end of their retention.
    assert_eq!(server.sql("SELECT count(DISTINCT (metric, series_id)) FROM series"), ["5"]);
    let clean = server.call("POST", "/api/v1/admin/tsdb/clean_tombstones", None, &[]);
    assert_eq!((clean.status, clean.body.as_str()), (204, ""));
    assert_eq!(left(&server), ["up,api,2", "up,node,3"]);
}

#[test]
fn a_request_to_delete_that_is_wrong_deletes_nothing_and_says_why() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert!(server.write("up", &[(now_ms(), 1.0)], None).status < 300);
    for (query, why) in [
        ("", "match[]"),
        ("match[]=up&match[]=up%7Bjob%3Dapi%7D", "1:8: parse error"),
        ("match[]=%7Bjob%3D~%22.*%22%7D", "non-empty matcher"),
        ("match[]=up&start=2&end=1", "before start"),
        ("match[]=up&start=soon", "to a valid timestamp"),
        ("match[]=up&from=1", "no such parameter"),
    ] {
        let answer = server.call("POST", &format!("{DELETE}?{query}"), None, &[]);
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!((body["status"].as_str(), body["errorType"].as_str()), (Some("error"), Some("bad_data")), "{query}");
        assert!(body["error"].as_str().is_some_and(|error| error.contains(why)), "{query}: {}", answer.body);
    }
    let answer = server.call("POST", &format!("{DELETE}?match[]=up%7B"), None, &[]);
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(body["position"], serde_json::json!({"line": 1, "column": 4}));
    assert_eq!(server.call("GET", &format!("{DELETE}?match[]=up"), None, &[]).status, 405);
    assert_eq!(server.sql("SELECT count(*) FROM samples"), ["1"]);
    let page = server.get("/endpoints", None).body;
    assert!(page.contains(DELETE) && page.contains("clean_tombstones"), "{page}");
}

#[test]
fn what_was_deleted_is_stored_when_it_is_sent_again_in_this_life_and_the_next() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let at = now_ms() - 60_000;
    let samples = [(at, 1.0), (at + 1, 2.0)];
    let count = |server: &Server| server.sql("SELECT count(*) FROM samples");
    let write = |server: &Server| assert!(server.write("up", &samples, None).status < 300);
    write(&server);
    write(&server);
    assert_eq!(count(&server), ["2"], "a repetition is stored once");
    deleted(&server, "up", "");
    assert_eq!(count(&server), ["0"]);
    write(&server);
    assert_eq!(count(&server), ["2"]);
    write(&server);
    assert_eq!(count(&server), ["2"], "and once again");
    // Of what is still there, the last sample is known as before.
    deleted(&server, "up", &format!("&end={}.{:03}", at / 1000, at % 1000));
    assert!(server.write("up", &samples[1..], None).status < 300);
    assert_eq!(server.sql("SELECT value FROM samples"), ["2.0"]);
    deleted(&server, "up", "");
    assert_eq!(server.terminate().code(), Some(0));
    let server = Server::start(folder.path(), &[]);
    assert_eq!(count(&server), ["0"]);
    write(&server);
    write(&server);
    assert_eq!(count(&server), ["2"]);
    assert!(server.write("up", &[(at + 2, 3.0)], None).status < 300);
    assert_eq!(count(&server), ["3"], "rows written after it stay");
}

fn start(home: &Home, env: &[(&str, &str)]) -> Process {
    home.start(env).unwrap_or_else(|status| panic!("the server does not start: {status}"))
}

fn delete_at(home: &Home, selector: &str) -> Option<u16> {
    let url = home.url(&format!("{DELETE}?match[]={}", escaped(selector)));
    process::agent(Duration::from_secs(60)).post(&url).send_empty().ok().map(|answer| answer.status().as_u16())
}

#[test]
fn a_delete_survives_kill_9_right_after_its_answer() {
    let folder = tempdir().unwrap();
    let home = Home::new(folder.path(), "{}\n");
    let start_ms = now_ms() - 60_000;
    let counts = "SELECT metric, count(*) FROM samples GROUP BY metric ORDER BY metric";
    let server = start(&home, &[]);
    send(&home.url(wire::PATH), fleet(start_ms));
    assert_eq!(delete_at(&home, "up"), Some(204));
    server.kill();
    // Read with nothing running, then after recovery.
    assert_eq!(home.sql_offline(counts), ["cpu,4"]);
    let server = start(&home, &[]);
    assert_eq!(home.sql(counts), ["cpu,4"]);
    send(&home.url(wire::PATH), fleet(start_ms + 20_000));
    server.kill();
    let server = start(&home, &[]);
    assert_eq!(home.sql(counts), ["cpu,8", "up,4"], "what came after the delete stays");
    drop(server);
}

#[test]
fn a_delete_that_is_in_the_log_is_done_after_a_crash() {
    let counts = "SELECT metric, count(*) FROM samples GROUP BY metric ORDER BY metric";
    let start_ms = now_ms() - 60_000;
    for point in ["wal_written", "wal_synced"] {
        let folder = tempdir().unwrap();
        let home = Home::new(folder.path(), "{}\n");
        let server = start(&home, &[]);
        send(&home.url(wire::PATH), fleet(start_ms));
        assert!(server.terminate().success());
        let mut server = start(&home, &[("STREAMGAUGE_CRASH_AT", &format!("{point}:1"))]);
        assert_eq!(delete_at(&home, "up"), None, "{point}: no answer");
        assert!(server.ended(Duration::from_secs(30)).is_some(), "{point}");
        // Not applied to the table, which a reader without a server has to do, and the next start.
        assert_eq!(home.sql_offline(counts), ["cpu,4"], "{point}");
        let server = start(&home, &[]);
        assert_eq!(home.sql(counts), ["cpu,4"], "{point}");
        drop(server);
    }
}

/// Parquet files of a dataset.
fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .map(|entry| entry.unwrap().path())
        .map(
            |path| {
                if path.is_dir() { files(&path) } else { usize::from(path.extension().is_some_and(|e| e == "parquet")) }
            },
        )
        .sum()
}

#[test]
fn deletes_while_files_are_merged_lose_and_revive_nothing() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let start_ms = now_ms() - 3 * 86_400_000;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let clean = server.call("POST", "/api/v1/admin/tsdb/clean_tombstones", None, &[]);
                assert_eq!(clean.status, 204, "{}", clean.body);
            }
        });
        for round in 0..20 {
            send(&server.url(wire::PATH), fleet(start_ms + round * 1000 * 60));
            flush(&server);
            if round % 3 == 2 {
                deleted(&server, "up{job=\"api\"}", "");
                deleted(&server, "cpu{mode=\"idle\"}", &format!("&end={}", (start_ms + round * 60_000) / 1000 - 1));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(files(&folder.path().join("data/tables/default/samples")) > 0);
    // Rounds 18 and 19 came after the last deletes, those of `cpu` spare the round they come in.
    assert_eq!(left(&server), ["cpu,idle,6", "cpu,user,40", "up,api,4", "up,node,40"]);
}
