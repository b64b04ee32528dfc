//! A node is lost, and a backup brings back what was committed: taken beside the real server, restored elsewhere, rows and silences.
//!
//! What was not in a file when the backup was taken is lost with the node, and counted: that is the bound, one flush interval. With tables
//! in buckets, the same against a real S3 server (SeaweedFS).

#![allow(clippy::disallowed_methods, reason = "the test is the outside world: it reads the clock")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    process::{self, Home},
    seaweed::{self, SECRET, Seaweed},
    server::now_ms,
    wire::{self, v1},
};

/// Series of a request.
const SERIES: usize = 50;
const ROWS: &str = "SELECT metric, series_id, count(*), sum(value), max(ts) FROM samples GROUP BY ALL ORDER BY 1, 2";

/// One sample of each series, at a time.
fn write(home: &Home, at_ms: i64) {
    let one = |id: usize| v1::series(&[("__name__", "kept"), ("id", &format!("{id:03}"))], &[(at_ms, 1.0)]);
    let body = wire::snappy(&v1::WriteRequest { timeseries: (0..SERIES).map(one).collect(), metadata: Vec::new() });
    assert!(matches!(home.write(&process::agent(Duration::from_secs(30)), &body), Ok(200..=299)));
}

fn silence(home: &Home, comment: &str) {
    let time = |ms: i64| chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
    let body = json!({
        "matchers": [{"name": "alertname", "value": "Disk", "isRegex": false}],
        "startsAt": time(now_ms()), "endsAt": time(now_ms() + 3_600_000), "createdBy": "ann", "comment": comment,
    });
    let post = process::agent(Duration::from_secs(30)).post(home.url("/api/v2/silences"));
    let answer = post.header("Content-Type", "application/json").send(body.to_string()).unwrap();
    assert_eq!(answer.status(), 200);
}

/// What the server says of its silences.
fn silences(home: &Home) -> String {
    let mut answer = process::agent(Duration::from_secs(30)).get(home.url("/api/v2/silences")).call().unwrap();
    answer.body_mut().read_to_string().unwrap()
}

fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgauge"));
    command.args(arguments).envs(env.iter().copied()).output().expect("the binary runs")
}

/// What a command that succeeds prints, and what it says beside it.
fn done(arguments: &[&str], env: &[(&str, &str)]) -> (Value, String) {
    let output = run(arguments, env);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    (serde_json::from_slice(&output.stdout).expect("json"), said)
}

/// All files below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}

#[test]
fn a_lost_node_comes_back_with_all_that_was_committed_and_its_silences() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path(), "storage: { flush_age: 1h }\n");
    let server = home.start(&[]).expect("the server starts");
    let (data, kept) = (home.data(), folder.path().join("kept"));
    let (data, kept_text) = (data.to_str().unwrap(), kept.to_str().unwrap());
    let backup = |more: &[&str]| done(&[&["backup", "--data-dir", data, "--to", kept_text][..], more].concat(), &[]).0;
    let start_ms = now_ms() - 3_600_000;
    for minute in 0..10 {
        write(&home, start_ms + minute * 60_000);
    }
    silence(&home, "replaced on Monday");
    let first = backup(&["--flush", "--url", &home.url("")]);
    assert_eq!(first["rows_in_log"].get("samples"), None, "all was committed first: {first}");
    let before = files(&kept.join("data"));

    for minute in 10..20 {
        write(&home, start_ms + minute * 60_000);
    }
    home.flush();
    let committed = home.sql(ROWS);
    assert_eq!(committed.len(), SERIES);
    // On disk in the log, and in no file yet.
    for minute in 20..23 {
        write(&home, start_ms + minute * 60_000);
    }
    let second = backup(&[]);
    assert_eq!(second["rows_in_log"]["samples"], 3 * SERIES, "what would be lost is counted: {second}");
    assert!(second["bytes_copied"].as_u64().unwrap() < second["bytes"].as_u64().unwrap(), "{second}");
    let after = files(&kept.join("data"));
    assert!(before.is_subset(&after) && before.len() < after.len(), "files are copied once");
    let written = |paths: &BTreeSet<PathBuf>| {
        paths.iter().map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect::<Vec<_>>()
    };
    let times = written(&after);
    backup(&[]);
    assert_eq!(written(&after), times, "and not written again");

    server.kill();
    fs::remove_dir_all(home.data()).unwrap();
    let restore = ["restore", "--from", kept_text, "--to", data, "--verify"];
    let (restored, said) = done(&restore, &[]);
    assert_eq!(restored["outcome"], "restored");
    assert_eq!(restored["passed_over"], json!([]), "{said}");
    assert_eq!(restored["rows_in_log"]["samples"], 3 * SERIES, "what is lost is named: {restored}");
    assert!(said.contains(&format!("serve --data-dir {data}")), "{said}");
    let samples = restored["tables"].as_array().unwrap().iter().find(|table| table["dataset"] == "samples").unwrap();
    let newest = chrono::DateTime::parse_from_rfc3339(samples["newest"].as_str().unwrap()).unwrap();
    assert_eq!(newest.timestamp(), (start_ms + 19 * 60_000).div_euclid(1000), "the time of the newest row: {samples}");
    let again = run(&restore, &[]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("over nothing"), "{again:?}");

    let server = home.start(&[]).expect("the server starts on what was restored");
    assert_eq!(home.sql(ROWS), committed, "all that was committed, and nothing else");
    assert_eq!(home.sql("SELECT count(DISTINCT labels['id']) FROM metrics"), ["50"], "with their labels");
    assert!(silences(&home).contains("replaced on Monday"), "{}", silences(&home));
    // What senders still have is taken as ever.
    write(&home, start_ms + 20 * 60_000);
    assert_eq!(home.sql("SELECT count(*) FROM samples"), [(21 * SERIES).to_string()]);
    assert!(server.terminate().success());
}

#[test]
fn a_backup_that_lost_a_file_is_passed_over_and_a_check_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path(), "storage: { flush_age: 1h }\n");
    let server = home.start(&[]).expect("the server starts");
    let (data, kept) = (home.data(), folder.path().join("kept"));
    let (data, kept_text) = (data.to_str().unwrap(), kept.to_str().unwrap());
    let url = home.url("");
    let backup = ["backup", "--data-dir", data, "--to", kept_text, "--keep", "all", "--flush", "--url", &url];
    write(&home, now_ms() - 60_000);
    done(&backup, &[]);
    let before = files(&kept.join("data"));
    write(&home, now_ms());
    let (newest, _) = done(&backup, &[]);
    drop(server);
    let verify = ["restore", "--from", kept_text, "--verify"];
    let (whole, _) = done(&verify, &[]);
    assert_eq!((&whole["outcome"], &whole["taken"]), (&json!("whole"), &newest["taken"]));

    let lost =
        files(&kept.join("data")).into_iter().find(|path| !before.contains(path) && is_of(path, "samples")).unwrap();
    let mut bytes = fs::read(&lost).unwrap();
    bytes[100] ^= 1;
    fs::write(&lost, bytes).unwrap();
    let name = lost.file_name().unwrap().to_str().unwrap();
    let checked = run(&verify, &[]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains(name) && said.contains("is damaged"), "{said}");

    fs::remove_file(&lost).unwrap();
    let place = folder.path().join("again");
    let (restored, said) = done(&["restore", "--from", kept_text, "--to", place.to_str().unwrap(), "--verify"], &[]);
    assert!(said.contains("warning: the backup of") && said.contains(name) && said.contains("is missing"), "{said}");
    assert_eq!(restored["passed_over"][0]["taken"], newest["taken"]);
    let samples = restored["tables"].as_array().unwrap().iter().find(|table| table["dataset"] == "samples").unwrap();
    assert_eq!(samples["rows"], SERIES);
    let listed = run(&["restore", "--from", kept_text, "--list"], &[]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 2);
    let inside = run(&["backup", "--data-dir", data, "--to", &format!("{data}/backups")], &[]);
    assert!(!inside.status.success(), "a backup in the folder it copies");
}

/// Is a file one of a dataset's?
fn is_of(path: &Path, dataset: &str) -> bool {
    path.components().any(|part| part.as_os_str() == dataset)
}

#[test]
fn tables_of_a_bucket_are_backed_up_to_another_and_restored_to_a_third() {
    let folder = tempfile::tempdir().unwrap();
    let Some(seaweed) = Seaweed::start(folder.path()) else { return };
    ["gauge", "vault", "again"].iter().for_each(|name| seaweed.bucket(name));
    let settings = |data: &str| {
        let endpoint = format!("http://127.0.0.1:{}", seaweed.port);
        format!("data: {data}\ns3: {{endpoint: '{endpoint}'}}\nstorage: {{flush_age: 1h}}\n")
    };
    let homes = ["old", "new"].map(|name| folder.path().join(name));
    homes.iter().for_each(|home| fs::create_dir(home).unwrap());
    let old = Home::new(&homes[0], &settings("s3://gauge/prod"));
    let env = seaweed::credentials();
    let server = old.start(&env).expect("the server starts");
    for minute in 0..5 {
        write(&old, now_ms() - 3_600_000 + minute * 60_000);
    }
    silence(&old, "disks come on Tuesday");
    let config = homes[0].join("streamgauge.yaml");
    let (data, config) = (old.data(), config.to_str().unwrap());
    let (data, url) = (data.to_str().unwrap(), old.url(""));
    let backup = ["backup", "--config", config, "--data-dir", data, "--to", "s3://vault/a", "--flush", "--url", &url];
    let (taken, mut said) = done(&backup, &env);
    assert!(taken["files_copied"].as_u64().unwrap() > 0, "{taken}");
    assert_eq!(done(&backup[..7], &env).0["files_copied"], 0);
    let rows = old.sql(ROWS);
    server.kill();

    let restore = ["restore", "--config", config, "--from", "s3://vault/a", "--to", "s3://again/prod", "--verify"];
    let (restored, told) = done(&restore, &env);
    said.push_str(&told);
    assert_eq!((&restored["outcome"], &restored["taken"]), (&json!("restored"), &json!(taken["taken"])));
    assert!(told.contains("`data: s3://again/prod`"), "{told}");
    let again = run(&restore, &env);
    said.push_str(&String::from_utf8_lossy(&again.stderr));
    assert!(!again.status.success(), "it writes over nothing");
    let new = Home::new(&homes[1], &settings("s3://again/prod"));
    let _server = new.start(&env).expect("the server starts on what was restored");
    assert_eq!(new.sql(ROWS), rows);
    assert!(silences(&new).contains("disks come on Tuesday"));
    assert!(!said.contains(SECRET), "a secret is shown");
}
