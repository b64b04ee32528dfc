//! The command line as a user meets it: help that teaches, exit codes, start, stop, and what is left behind.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use tempfile::tempdir;

use crate::support::server::{Server, binary, body, eventually, now_ms, run};

#[test]
fn help_teaches_with_examples_for_every_command() {
    for command in [
        &["--help"][..],
        &["serve", "--help"],
        &["demo", "--help"],
        &["check", "--help"],
        &["check", "focus", "--help"],
        &["sql", "--help"],
        &["promql", "--help"],
        &["rules", "backtest", "--help"],
        &["rules", "replay", "--help"],
        &["backup", "--help"],
        &["restore", "--help"],
        &["token", "--help"],
    ] {
        let (code, out, _) = run(binary().args(command));
        assert_eq!(code, 0, "{command:?}");
        assert!(out.contains("Examples:\n  streamgauge "), "{command:?}\n{out}");
    }
    let (_, out, _) = run(binary().arg("--help"));
    for taught in [
        "serve",
        "demo",
        "check",
        "sql",
        "promql",
        "backup",
        "restore",
        "token",
        "remote_write:",
        "Exit codes: 0 done; 1 failed",
        "127.0.0.1:4090",
    ] {
        assert!(out.contains(taught), "{taught} in\n{out}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let (code, out, _) = run(binary().arg("--version"));
    assert_eq!((code, out.trim()), (0, concat!("streamgauge ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wrong_command_line_exits_with_2_and_anything_that_fails_with_1() {
    assert_eq!(run(&mut binary()).0, 2);
    assert_eq!(run(binary().args(["serve", "--no-such-option"])).0, 2);
    let (code, _, err) = run(binary().args(["serve", "--listen", "4090"]));
    assert!(code == 2 && err.contains("write an IP address and a port"), "{code} {err}");
    assert_eq!(run(binary().args(["sql", "--data-dir", "x", "--url", "http://y", "SELECT 1"])).0, 2);
    let (code, out, err) = run(binary().args(["sql", "--url", "http://127.0.0.1:9", "SELECT 1"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("streamgauge serve"), "{err}");
    assert_eq!(run(binary().args(["sql", "--data-dir", "/nowhere/at/all", "SELECT 1"])).0, 1);
}

#[test]
fn a_reachable_address_without_tokens_is_refused_with_both_remedies_and_nothing_is_made() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (code, _, err) = run(binary().args(["serve", "--listen", address, "--data-dir"]).arg(&data));
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("auth.tokens_file") && err.contains("--insecure"), "{err}");
    }
    assert!(!data.exists());
    let server = Server::start(folder.path(), &["--listen", "0.0.0.0:0", "--insecure"]);
    assert!(server.events().iter().any(|event| event["level"] == "WARN"), "{}", server.log_text());
}

#[test]
fn sigterm_and_sigint_commit_everything_and_the_next_start_goes_on() {
    let folder = tempdir().unwrap();
    let start_ms = now_ms() - 60_000;
    for (round, signal) in [(0, "TERM"), (1, "INT")] {
        let server = Server::start(folder.path(), &[]);
        assert_eq!(server.sql("SELECT count(*) FROM samples"), [(round * 3).to_string()]);
        let at = |n: i64| (start_ms + round * 10_000 + n, f64::from(7_i32));
        let answer = server.write("kept", &[at(0), at(1), at(2)], None);
        assert!((200..300).contains(&answer.status), "{answer:?}");
        assert_eq!(server.sql("SELECT count(*) FROM samples"), [((round + 1) * 3).to_string()]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert!(has_parquet(&folder.path().join("data")), "nothing was committed");
    }
    let question =
        ["--format", "csv", "SELECT metric, count(*) AS n, sum(value) AS total FROM samples GROUP BY metric"];
    let (code, out, err) = run(binary().args(["sql", "--data-dir"]).arg(folder.path().join("data")).args(question));
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.replace("\r\n", "\n"), "metric,n,total\nkept,6,42.0\n");
}

/// A write of which all but the last byte is sent, and that byte.
fn begun_write(server: &Server) -> (TcpStream, u8) {
    let body = body("under_way", &[(now_ms(), 1.0)]);
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
         X-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (last, most) = body.split_last().unwrap();
    let mut stream = TcpStream::connect(server.url("").replace("http://", "")).unwrap();
    stream.write_all(&[head.as_bytes(), most].concat()).unwrap();
    let in_flight = || server.get("/metrics", None).body.contains("streamgauge_http_requests_in_flight 2");
    eventually(|| in_flight().then_some(())).expect("the request is under way");
    (stream, *last)
}

#[test]
fn a_request_under_way_when_the_signal_comes_is_answered_and_kept() {
    let folder = tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let (mut stream, last) = begun_write(&server);
    server.signal("TERM");
    server.event("stopping");
    stream.write_all(&[last]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert_eq!(server.wait().code(), Some(0));
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.sql("SELECT count(*) FROM samples"), ["1"]);
}

#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() {
    let folder = tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    assert!(server.write("acknowledged", &[(now_ms(), 1.0)], None).status < 300);
    // Keeps the orderly end waiting.
    let under_way = begun_write(&server);
    server.signal("TERM");
    server.event("stopping");
    server.signal("INT");
    server.event("stopped");
    assert_eq!(server.wait().code(), Some(1));
    drop(under_way);
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.sql("SELECT metric FROM samples"), ["acknowledged"]);
}

fn has_parquet(folder: &std::path::Path) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() { has_parquet(&path) } else { path.extension().is_some_and(|end| end == "parquet") }
    })
}

#[test]
fn a_folder_or_an_address_in_use_is_refused_with_a_reason() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let data = folder.path().join("data");
    let serve = |listen: &str, data: &std::path::Path| {
        run(binary()
            .args([
                "serve",
                "--log-format",
                "json",
                "--pg-listen",
                "off",
                "--flight-listen",
                "off",
                "--listen",
                listen,
                "--data-dir",
            ])
            .arg(data))
    };
    let (code, _, err) = serve("127.0.0.1:0", &data);
    assert!(code == 1 && err.contains("storage cannot be opened"), "{code} {err}");
    let address = server.url("").replace("http://", "");
    let (code, _, err) = serve(&address, &folder.path().join("other"));
    assert!(code == 1 && err.contains("cannot listen on"), "{code} {err}");
    assert!(!folder.path().join("other").exists());
    for line in err.lines() {
        assert!(line.starts_with('{'), "a JSON log has other lines: {line}");
    }
}

#[test]
fn the_sql_command_prints_the_same_from_a_server_and_from_its_folder() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let at = now_ms();
    assert!(server.write("a\"b,c", &[(at, 1.5), (at + 1, f64::NAN)], None).status < 300);
    let question = "SELECT Metric, ts, value, 0.1 + 0.2 = 0.3 AS exact FROM samples ORDER BY TS";
    for format in ["table", "csv", "json", "ndjson"] {
        let asked = run(binary().args(["sql", "--url", &server.url(""), "--format", format, question]));
        let read = run(binary()
            .args(["sql", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(["--format", format, question]));
        assert_eq!(asked.0, 0, "{format}: {}", asked.2);
        assert_eq!(asked, read, "{format}");
        assert!(asked.1.contains("1.5") && asked.1.contains("true"), "{format}: {}", asked.1);
    }
    let (code, _, err) = run(binary().args(["sql", "--url", &server.url(""), "SELECT FROM WHERE"]));
    assert!(code == 1 && err.contains("status=400"), "{code} {err}");
    let (code, _, err) = run(binary().args(["sql", "--url", &server.url(""), "DROP TABLE samples"]));
    assert!(code == 1 && err.contains("status="), "{code} {err}");
}

#[test]
fn the_promql_command_prints_the_same_from_a_server_and_from_its_folder() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let at = now_ms() / 60_000 * 60_000;
    assert!(server.write("load", &[(at - 120_000, 1.5), (at - 60_000, 40.0), (at, 7.0)], None).status < 300);
    let (url, data) = (server.url(""), folder.path().join("data"));
    let seconds = |ms: i64| (ms / 1000).to_string();
    let (begin, end) = (seconds(at - 120_000), seconds(at));
    let over_time = ["load", "--start", &begin, "--end", &end, "--step", "1m"];
    for question in [&over_time[..], &["load[5m]", "--time", &end], &["load * 2", "--time", &end], &["1 + 1"]] {
        for format in ["table", "csv", "json", "ndjson"] {
            let asked = run(binary().arg("promql").args(question).args(["--url", &url, "--format", format]));
            let read =
                run(binary().arg("promql").args(question).arg("--data-dir").arg(&data).args(["--format", format]));
            assert_eq!(asked.0, 0, "{question:?} {format}: {}", asked.2);
            if question.len() > 1 || format == "table" {
                assert_eq!(asked, read, "{question:?} {format}");
            }
        }
    }
    let table = run(binary().arg("promql").args(over_time).args(["--url", &url])).1;
    assert!(table.contains("| 7    | 1.5 | 40  | ▁█▂ "), "{table}");
    let now = run(binary().args(["promql", "load * 2", "--time", &end, "--url", &url])).1;
    assert!(now.contains(r#"| {job="test"} | 14    |"#), "{now}");

    let (code, _, err) = run(binary().args(["promql", "sum(", "--url", &url]));
    assert!(code == 1 && err.contains("1:5: parse error") && err.contains("status=400"), "{code} {err}");
    let (code, _, err) = run(binary().args(["promql", "sum(", "--data-dir"]).arg(&data));
    assert!(code == 1 && err.contains("1:5: parse error"), "{code} {err}");
    let (code, _, err) = run(binary().args(["promql", "load[5m]", "--range", "1h", "--data-dir"]).arg(&data));
    assert!(code == 1 && err.contains("range vector"), "{code} {err}");
    let (code, _, err) = run(binary().args(["promql", "load", "--step", "1m", "--url", &url]));
    assert!(code == 1 && err.contains("--range"), "{code} {err}");
    assert_eq!(run(binary().args(["promql", "load", "--range", "soon"])).0, 2);
}

#[test]
fn the_server_tells_health_build_and_endpoints() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get("/-/healthy", None).status, 200);
    assert_eq!(server.get("/-/ready", None).status, 200);
    let build: serde_json::Value =
        serde_json::from_str(&server.get("/api/v1/status/buildinfo", None).body).expect("JSON");
    assert_eq!(
        (build["status"].as_str(), build["data"]["version"].as_str()),
        (Some("success"), Some(env!("CARGO_PKG_VERSION")))
    );
    let page = server.get("/endpoints", None);
    assert!(page.body.contains("/api/v1/write") && page.body.contains("/api/v1/sql"), "{}", page.body);
    for (header, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(page.headers[header], value);
    }
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let missing = server.get("/no/such/path", None);
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("\"errorType\":\"not_found\""), "{}", missing.body);
    let method = server.call("DELETE", "/api/v1/sql", None, &[]);
    assert_eq!(method.status, 405);
    assert!(method.body.contains("\"errorType\":\"bad_method\""), "{}", method.body);
    assert_eq!(server.call("POST", "/api/v1/admin/flush?wait=maybe", None, &[]).status, 400);
    assert_eq!(server.call("POST", "/api/v1/admin/flush", None, &[]).status, 202);
    assert_eq!(server.call("POST", "/api/v1/admin/flush?wait=true", None, &[]).status, 200);
}

#[test]
fn metrics_have_our_names_units_and_types() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert!(server.write("up", &[(now_ms(), 1.0)], None).status < 300);
    server.sql("SELECT 1");
    server.get("/no/such/path/1", None);
    server.get("/metrics", None);
    let answer = server.get("/metrics", None);
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let mut families = 0;
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            families += 1;
            let (name, kind) = rest.split_once(' ').expect("a type");
            // Tools of Alertmanager ask which one it is.
            let known = ["streamgauge_", "process_", "alertmanager_build_info"];
            assert!(known.iter().any(|start| name.starts_with(start)), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(!series.contains("/no/such/path"), "a label holds what a client sent: {line}");
        }
    }
    assert!(families > 15, "{}", answer.body);
    for expected in [
        "streamgauge_build_info{",
        "streamgauge_http_requests_total{code=\"404\",handler=\"unmatched\",method=\"GET\"} 1",
        "streamgauge_http_request_duration_seconds_count{handler=\"/api/v1/sql\"} 1",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
    ] {
        assert!(answer.body.lines().any(|line| line.starts_with(expected)), "{expected} in\n{}", answer.body);
    }
}
