//! A node is lost, and a backup brings back what was acknowledged before it: taken beside the real server, restored elsewhere, rows,
//! labels and silences.
//!
//! What was sent after the backup is lost with the node, and nothing else. With tables in buckets, the same against a real S3 server
//! (SeaweedFS).

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

/// A folder for backups.
fn place(folder: &Path) -> PathBuf {
    let place = folder.join("kept");
    fs::create_dir(&place).unwrap();
    place
}

/// One sample of each series, at a time.
fn write(home: &Home, at_ms: i64) {
    let ids = (0..SERIES).map(|id| format!("{id:03}"));
    send(home, ids.map(|id| v1::series(&[("__name__", "kept"), ("id", &id)], &[(at_ms, 1.0)])).collect());
}

/// One sample of one series.
fn write_series(home: &Home, id: &str, at_ms: i64) {
    send(home, vec![v1::series(&[("__name__", "kept"), ("id", id)], &[(at_ms, 1.0)])]);
}

fn send(home: &Home, timeseries: Vec<v1::TimeSeries>) {
    let body = wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() });
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
fn a_lost_node_comes_back_with_all_that_was_acknowledged_and_its_silences() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path(), "storage: { flush_age: 1h }\n");
    let server = home.start(&[]).expect("the server starts");
    let (data, kept) = (home.data(), place(folder.path()));
    let (data, kept_text) = (data.to_str().unwrap(), kept.to_str().unwrap());
    let backup = || done(&["backup", "--data-dir", data, "--to", kept_text], &[]).0;
    let start_ms = now_ms() - 3_600_000;
    for minute in 0..10 {
        write(&home, start_ms + minute * 60_000);
    }
    silence(&home, "replaced on Monday");
    home.flush();
    let first = backup();
    assert_eq!(first["rows_in_log"].get("samples"), None, "all is in files: {first}");
    let before = files(&kept.join("data"));

    for minute in 10..20 {
        write(&home, start_ms + minute * 60_000);
    }
    home.flush();
    // On disk in the log, and in no file yet: rows, a silence, and the labels of a series that is new.
    for minute in 20..23 {
        write(&home, start_ms + minute * 60_000);
    }
    write_series(&home, "new", start_ms);
    silence(&home, "replaced on Tuesday");
    let acknowledged = home.sql(ROWS);
    assert_eq!(acknowledged.len(), SERIES + 1);
    let second = backup();
    assert_eq!(second["rows_in_log"]["samples"], 3 * SERIES + 1, "{second}");
    assert!(second["bytes_copied"].as_u64().unwrap() < second["bytes"].as_u64().unwrap(), "{second}");
    let after = files(&kept.join("data"));
    assert!(before.is_subset(&after) && before.len() < after.len(), "files are copied once");
    let written = |paths: &BTreeSet<PathBuf>| {
        paths.iter().map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect::<Vec<_>>()
    };
    let times = written(&after);
    backup();
    assert_eq!(written(&after), times, "and not written again");
    write(&home, start_ms + 23 * 60_000);

    server.kill();
    fs::remove_dir_all(home.data()).unwrap();
    let restore = ["restore", "--from", kept_text, "--to", data, "--verify"];
    let (restored, said) = done(&restore, &[]);
    assert_eq!(restored["outcome"], "restored");
    assert_eq!(restored["passed_over"], json!([]), "{said}");
    assert!(said.contains(&format!("serve --data-dir {data}")), "{said}");
    let samples = restored["tables"].as_array().unwrap().iter().find(|table| table["dataset"] == "samples").unwrap();
    let newest = chrono::DateTime::parse_from_rfc3339(samples["newest"].as_str().unwrap()).unwrap();
    assert_eq!(newest.timestamp(), (start_ms + 19 * 60_000).div_euclid(1000), "of the newest row in a file: {samples}");
    let again = run(&restore, &[]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("over nothing"), "{again:?}");

    let server = home.start(&[]).expect("the server starts on what was restored");
    assert_eq!(home.sql(ROWS), acknowledged, "all that was acknowledged before the backup, and nothing else");
    assert_eq!(home.sql("SELECT count(DISTINCT labels['id']) FROM metrics"), ["51"], "with their labels");
    for comment in ["replaced on Monday", "replaced on Tuesday"] {
        assert!(silences(&home).contains(comment), "{}", silences(&home));
    }
    // What senders still have is taken as ever, and what they send again is not doubled.
    for minute in 22..24 {
        write(&home, start_ms + minute * 60_000);
    }
    assert_eq!(home.sql("SELECT count(*) FROM samples"), [(24 * SERIES + 1).to_string()]);
    assert!(server.terminate().success());
    // It is the same tables that go on: their backups do, too.
    let _server = home.start(&[]).expect("the server starts again");
    assert_eq!(home.sql("SELECT count(*) FROM samples"), [(24 * SERIES + 1).to_string()]);
    assert_eq!(backup()["rows_in_log"].get("samples"), None);
}

#[test]
fn a_backup_that_lost_a_file_is_passed_over_and_a_check_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path(), "storage: { flush_age: 1h }\n");
    let server = home.start(&[]).expect("the server starts");
    let (data, kept) = (home.data(), place(folder.path()));
    let (data, kept_text) = (data.to_str().unwrap(), kept.to_str().unwrap());
    let backup = ["backup", "--data-dir", data, "--to", kept_text, "--keep", "all"];
    write(&home, now_ms() - 60_000);
    home.flush();
    done(&backup, &[]);
    let before = files(&kept.join("data"));
    write(&home, now_ms());
    home.flush();
    let (newest, said) = done(&backup, &[]);
    assert!(said.contains("on the disk of the data folder"), "{said}");
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

    let (mended, _) = done(&[&backup[..], &["--verify"]].concat(), &[]);
    assert_eq!(mended["files_mended"], 1, "as the data folder still has it: {mended}");
    done(&verify, &[]);
    // Without the newest manifest, the one before names the file, too.
    let newest_manifest = files(&kept.join("manifests")).into_iter().next_back().unwrap();
    fs::remove_file(newest_manifest).unwrap();
    fs::remove_file(&lost).unwrap();
    let place = folder.path().join("again");
    let (restored, said) = done(&["restore", "--from", kept_text, "--to", place.to_str().unwrap(), "--verify"], &[]);
    assert!(said.contains("warning: the backup of") && said.contains(name) && said.contains("is missing"), "{said}");
    assert_eq!(restored["passed_over"][0]["taken"], newest["taken"]);
    let samples = restored["tables"].as_array().unwrap().iter().find(|table| table["dataset"] == "samples").unwrap();
    assert_eq!(samples["rows"], SERIES);
    let listed = run(&["restore", "--from", kept_text, "--list"], &[]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 2);
    let inside = run(&["backup", "--data-dir", data, "--to", &format!("{data}/tables")], &[]);
    assert!(!inside.status.success(), "a backup in the folder it copies");
    let unmounted = run(&["backup", "--data-dir", data, "--to", "not/mounted"], &[]);
    assert!(String::from_utf8_lossy(&unmounted.stderr).contains("mount its disk"), "{unmounted:?}");
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
    let data = data.to_str().unwrap();
    let to = |place: &'static str| ["backup", "--config", config, "--data-dir", data, "--to", place];
    let (taken, mut said) = done(&to("s3://vault/a"), &env);
    assert!(taken["files_copied"].as_u64().unwrap() > 0, "{taken}");
    let (taken, _) = done(&to("s3://vault/a"), &env);
    assert_eq!(taken["files_copied"], 0);
    let among = run(&to("s3://gauge/prod/backups"), &env);
    assert!(String::from_utf8_lossy(&among.stderr).contains("are lost with them"), "{among:?}");
    let rows = old.sql(ROWS);
    server.kill();

    let new_data = homes[1].join("data");
    let new_data = new_data.to_str().unwrap();
    let restore = ["restore", "--config", config, "--from", "s3://vault/a", "--to", "s3://again/prod", "--verify"];
    assert!(String::from_utf8_lossy(&run(&restore, &env).stderr).contains("--data-dir"), "the log has to go somewhere");
    let restore = [&restore[..], &["--data-dir", new_data]].concat();
    let (restored, told) = done(&restore, &env);
    said.push_str(&told);
    assert_eq!((&restored["outcome"], &restored["taken"]), (&json!("restored"), &json!(taken["taken"])));
    assert!(told.contains("`data: s3://again/prod`"), "{told}");
    let again = run(&restore, &env);
    said.push_str(&String::from_utf8_lossy(&again.stderr));
    assert!(!again.status.success(), "it writes over nothing");
    let new = Home::new(&homes[1], &settings("s3://again/prod"));
    let _server = new.start(&env).expect("the server starts on what was restored");
    assert_eq!(new.sql(ROWS), rows, "what was in the log comes with what was in the bucket");
    assert!(silences(&new).contains("disks come on Tuesday"));
    assert!(!said.contains(SECRET), "a secret is shown");
}
