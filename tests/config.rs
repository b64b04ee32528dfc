//! `streamgauge check`: what is wrong in a file and where, and what would run.

use std::fs;

use tempfile::tempdir;

use crate::support::server::{binary, run};

fn check(yaml: &str) -> (i32, String, String) {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("gauge.yaml"), yaml).unwrap();
    run(binary().current_dir(folder.path()).args(["check", "--config", "gauge.yaml"]))
}

#[test]
fn without_a_file_check_says_what_the_defaults_run() {
    let (code, out, err) = run(binary().arg("check"));
    assert_eq!((code, err.as_str()), (0, ""));
    for said in ["http://127.0.0.1:4090", "streamgauge-data", "tenant default", "no tokens are configured"] {
        assert!(out.contains(said), "{said} in\n{out}");
    }
}

#[test]
fn the_documented_file_is_right() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/streamgauge.yaml");
    let (code, out, err) = run(binary().args(["check", "--config", file]));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("is right"), "{out}");
}

#[test]
fn an_unknown_key_and_a_bad_value_are_named_with_line_and_column() {
    let (code, out, err) = check("listen: 127.0.0.1:4090\nstorage:\n  flush_bite: 1MiB\n");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("gauge.yaml:3:3: unknown key `flush_bite`; did you mean `flush_bytes`?"), "{err}");
    let (code, _, err) = check("sql:\n  timeout: soon\n");
    assert_eq!(code, 1);
    assert!(err.contains("gauge.yaml:2:12: `soon` is no duration"), "{err}");
    let (code, _, err) = check("storage: [\n");
    assert_eq!(code, 1);
    assert!(err.contains("gauge.yaml:"), "{err}");
}

#[test]
fn what_the_file_leads_to_is_checked_too() {
    let (code, _, err) = check("auth: {tokens_file: missing.yaml}\n");
    assert!(code == 1 && err.contains("missing.yaml cannot be read"), "{err}");
    let (code, _, err) = check("tls: {cert: missing.pem, key: missing.key}\n");
    assert!(code == 1 && err.contains("missing.pem cannot be read"), "{err}");
    let (code, _, err) = check("listen: 0.0.0.0:4090\n");
    assert!(code == 1 && err.contains("--insecure"), "{err}");
    let (code, _, err) = run(binary().args(["check", "--config", "/nowhere/gauge.yaml"]));
    assert!(code == 1 && err.contains("/nowhere/gauge.yaml cannot be read"), "{err}");
}

#[test]
fn check_shows_where_the_tables_are_and_no_secret() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("gauge.yaml"), "data: s3://gauge/prod\ns3: {endpoint: 'http://127.0.0.1:9'}\n")
        .unwrap();
    let mut command = binary();
    command.current_dir(folder.path()).args(["check", "--config", "gauge.yaml"]);
    command.envs([("AWS_ACCESS_KEY_ID", "AKIAKEY"), ("AWS_SECRET_ACCESS_KEY", "hush")]);
    let (code, out, err) = run(&mut command);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("s3://gauge/prod") && out.contains("http://127.0.0.1:9"), "{out}");
    assert!(!out.contains("hush") && !out.contains("AKIAKEY"), "{out}");
}
