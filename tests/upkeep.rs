//! Upkeep by hand, asked of a server and done without one: fewer files, the same rows, and nothing of it is lost.

use std::{process::Command, time::Duration};

use serde_json::Value;

use crate::support::{
    process::{self, Home},
    wire::{self, v1},
};

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// Samples of 50 series at some times.
fn request(times_ms: &[i64], value: f64) -> Vec<u8> {
    let series = |id: u32| {
        let id = format!("{id:03}");
        let points: Vec<_> = times_ms.iter().map(|ts| (*ts, value)).collect();
        v1::series(&[("__name__", "kept"), ("id", &id)], &points)
    };
    wire::snappy(&v1::WriteRequest { timeseries: (0..50).map(series).collect(), metadata: Vec::new() })
}

#[test]
fn upkeep_by_hand_leaves_fewer_files_and_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path(), "storage: { flush_age: 1h }\n");
    let mut server = home.start(&[]).expect("the server starts");
    let agent = process::agent(Duration::from_secs(30));
    let write = |body: Vec<u8>| assert!(matches!(home.write(&agent, &body), Ok(200..=299)));
    let now = now_ms() / DAY_MS * DAY_MS;
    // Two old days, written in turns and with late rows that replace some of the others.
    let times = |day: i64, from: i64| (0..20).map(|n| now - day * DAY_MS + (from + n) * 60_000).collect::<Vec<_>>();
    for from in [0, 20, 40] {
        for day in [3, 2] {
            write(request(&times(day, from), 1.0));
            home.flush();
        }
    }
    write(request(&times(3, 10), 2.0));
    home.flush();
    let rows = "SELECT metric, CAST(day AS VARCHAR) AS date, series_id, count(*), sum(value), min(ts), max(ts) FROM samples \
                GROUP BY metric, day, series_id ORDER BY metric, day, series_id";
    let before = home.sql(rows);
    assert_eq!(before.len(), 100);
    assert!(before[0].contains(",60,80.0,"), "20 of 60 samples were replaced: {}", before[0]);

    let upkeep = |arguments: &[&str]| -> (Value, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamgauge"));
        let output = command.args(["upkeep", "--once"]).args(arguments).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (serde_json::from_slice(&output.stdout).expect("json"), said)
    };
    let (done, said) = upkeep(&["--url", &home.url("")]);
    assert!(done["merges"].as_u64().unwrap() >= 2, "{done}");
    assert!(said.contains("merge samples "), "{said}");
    assert_eq!(home.sql(rows), before, "after upkeep by the server");
    let metrics = agent.get(home.url("/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("streamgauge_files{dataset=\"samples\"} 2\n"), "one run a day\n{metrics}");
    assert!(metrics.contains("streamgauge_upkeep_pending_files{dataset=\"samples\"} 0\n"), "{metrics}");
    let (again, _) = upkeep(&["--url", &home.url("")]);
    assert_eq!(again["merges"], 0, "what is merged is left alone");

    // Late rows of a merged day go into its run; a server that is killed has them, too.
    write(request(&times(2, 5), 3.0));
    home.flush();
    let before = home.sql(rows);
    assert!(before[50].contains(",60,100.0,"), "{}", before[50]);
    server.kill();
    let data = home.data();
    let (done, _) = upkeep(&["--data-dir", data.to_str().unwrap()]);
    assert_eq!(done["merges"], 1, "{done}");
    assert_eq!(home.sql_offline(rows), before, "after upkeep without a server");
    server = home.start(&[]).expect("the server starts");
    assert_eq!(home.sql(rows), before, "after a restart");
    drop(server);
}
