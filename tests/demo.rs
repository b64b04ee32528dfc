//! The demo as a newcomer meets it: what it promises is there when it says so, it goes on, and nothing is left of it.

use std::{fs, path::Path, time::Duration};

use tempfile::tempdir;

use crate::support::{
    form::form,
    server::{Server, binary, eventually, now_ms, run, within},
};

/// Megabytes of memory and of disk that a demo may take.
const MEMORY_MB_MAX: u64 = 500;
const DISK_MB_MAX: u64 = 300;

/// Bytes of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    // Files and folders may be merged away meanwhile.
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let entries = entries.map(|entry| entry.unwrap());
    let of = |path: &Path| if path.is_dir() { bytes(path) } else { path.metadata().map_or(0, |file| file.len()) };
    entries.map(|entry| of(&entry.path())).sum()
}

/// The most memory that a process has had, in megabytes.
fn peak_mb(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024 / 1_000_000
}

#[test]
fn a_demo_has_a_month_of_everything_goes_on_and_is_gone_afterwards() {
    let folder = tempdir().unwrap();
    let server = Server::demo(folder.path(), &[]);
    let (memory, disk) = (peak_mb(server.id()), bytes(folder.path()) / 1_000_000);
    assert!(memory <= MEMORY_MB_MAX && disk <= DISK_MB_MAX, "memory {memory} MB, disk {disk} MB");

    let number = |sql: &str| server.sql(sql)[0].parse::<i64>().unwrap();
    let month = "ts < now() - INTERVAL '1 hour'";
    assert!(number(&format!("SELECT count(*) FROM samples WHERE {month}")) > 13_000_000);
    assert!(number("SELECT count(DISTINCT series_id) FROM series") >= 300);
    assert!(number("SELECT count(*) FROM costs") >= 200_000);
    assert_eq!(number("SELECT count(*) FROM rejects"), 0);
    assert_eq!(number("SELECT count(DISTINCT ProviderName) FROM costs_daily"), 3);
    let restated = "SELECT count(DISTINCT scope) FROM costs_changes WHERE revision > 1";
    assert!(number(restated) >= 2, "of two clouds the last month");

    let fires = |alert: &str, also: &str| {
        let sql = format!("SELECT 1 FROM alerts WHERE state = 'firing' AND alertname = '{alert}' AND {also}");
        eventually(|| (!server.sql(&sql).is_empty()).then_some(())).unwrap_or_else(|| panic!("{alert} does not fire"));
    };
    fires("DiskAlmostFull", "labels['instance'] = 'db-2:9100'");
    fires("BudgetReached80", "labels['team'] = 'payments'");
    fires("BudgetExceeded", "labels['team'] = 'platform'");
    let incident = "SELECT 1 FROM alerts WHERE alertname = 'CheckoutErrors' AND state = 'resolved' AND ends_at < now() - INTERVAL '1 day'";
    assert!(!server.sql(incident).is_empty(), "{incident}");
    let errors = r#"max_over_time((sum(rate(http_requests_total{job="checkout-api",code="500"}[5m])) / sum(rate(http_requests_total{job="checkout-api"}[5m])))[5d:5m]) > 0.05"#;
    for query in [errors, r#"max_over_time(ALERTS{alertname="CheckoutErrors"}[5d])"#] {
        let answer = server.get(&format!("/api/v1/query?{}", form(&[("query", query)])), None);
        assert!(answer.status == 200 && answer.body.contains("\"value\""), "{query}: {}", answer.body);
    }

    let told = |line: &str| {
        eventually(|| server.log_text().contains(line).then_some(()))
            .unwrap_or_else(|| panic!("nobody was told `{line}`: {}", server.log_text()));
    };
    told("on-call is told: CheckoutErrors firing.");
    told("on-call is told: CheckoutErrors resolved.");
    told("team is told: DiskAlmostFull firing. /var/lib/postgresql of db-2:9100 is ");
    let silenced = "SELECT 1 FROM notifications WHERE event = 'kept' AND reason = 'silenced'";
    eventually(|| (!server.sql(silenced).is_empty()).then_some(())).expect("what is known is silenced");
    // Two more steps of 15 s.
    let live =
        format!("SELECT count(*) FROM samples WHERE metric = 'node_load5' AND ts > to_timestamp_millis({})", now_ms());
    eventually(|| (number(&live) >= 12).then_some(())).expect("values go on");
    // Only rules over what it says of itself record this, beside those that would wake somebody.
    let own = format!("/api/v1/query?{}", form(&[("query", "job_handler:streamgauge_api_latency_seconds:p99")]));
    let has_own = || server.get(&own, None).body.contains("\"value\"").then_some(());
    within(Duration::from_secs(120), has_own).expect("it watches itself");
    let alarms = "SELECT alertname FROM alerts WHERE alertname LIKE 'Streamgauge%' OR alertname LIKE 'Bill%'";
    assert_eq!(server.sql(alarms), [""; 0], "and nothing is wrong with it");

    let named = |name: &str| {
        fs::read_dir(folder.path()).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(name))
    };
    assert!(named("streamgauge-demo-"));
    assert!(server.terminate().success());
    assert!(!named("streamgauge-demo-"), "the folder is gone");
}

#[test]
fn a_demo_that_is_kept_can_be_served_again_and_begins_with_nothing() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("demo");
    let options = ["--days", "2", "--seed", "7", "--data-dir", data.to_str().unwrap()];
    let demo = Server::demo(folder.path(), &options);
    let count = "SELECT count(*) FROM samples WHERE metric = 'up' AND ts < now() - INTERVAL '1 hour'";
    let samples = demo.sql(count);
    assert!(demo.terminate().success());
    let settings = data.join("streamgauge.yaml");
    let (code, _, err) = run(binary()
        .args(["demo", "--listen", "127.0.0.1:0", "--pg-listen", "off", "--flight-listen", "off"])
        .args(options));
    assert!(code == 1 && err.contains("is not empty") && err.contains("streamgauge serve --config"), "{code} {err}");
    let (code, out, err) = run(binary()
        .arg("sql")
        .arg("--data-dir")
        .arg(data.join("data"))
        .args(["--config"])
        .arg(&settings)
        .args(["--format", "csv", count]));
    assert!(code == 0 && out.lines().last() == Some(samples[0].as_str()), "{out}{err}");
}
