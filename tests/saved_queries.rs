//! Queries of the settings, asked by name: values stay values, and answers are files.

use std::{fs, io::Read as _, path::Path};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    process,
    server::{Server, binary, now_ms, run},
};

const SETTINGS: &str = "
queries:
  by_job:
    description: Samples of a job.
    sql: SELECT metric, value, $note AS note FROM metrics WHERE labels['job'] = $job ORDER BY timestamp LIMIT $most
    params:
      job: {type: text, default: test, description: Value of the label job.}
      most: {type: integer, default: 10}
      note: {type: text, default: '-'}
  load: {description: How busy., promql: sum by (job) (load)}
  many:
    sql: SELECT value, CAST(value AS VARCHAR) AS text FROM generate_series(1, $rows)
    params: {rows: {type: integer}}
";

fn start(folder: &Path) -> Server {
    let config = folder.join("gauge.yaml");
    fs::write(&config, SETTINGS).unwrap();
    let server = Server::start(folder, &["--config", config.to_str().unwrap()]);
    assert_eq!(server.write("load", &[(now_ms() - 1000, 0.5)], None).status, 204);
    server
}

/// Status, name of the file, bytes.
fn download(server: &Server, path: &str) -> (u16, String, Vec<u8>) {
    let agent = process::agent(std::time::Duration::from_secs(60));
    let mut answer = agent.get(server.url(path)).call().expect("an answer");
    let file = answer.headers().get("content-disposition").map(|file| file.to_str().unwrap().to_owned());
    let mut bytes = Vec::new();
    answer.body_mut().as_reader().read_to_end(&mut bytes).expect("a whole body");
    (answer.status().as_u16(), file.unwrap_or_default(), bytes)
}

#[test]
fn a_query_is_asked_by_name_and_a_value_is_never_sql() {
    let folder = tempdir().unwrap();
    let server = start(folder.path());
    let (status, file, csv) = download(&server, "/api/v1/sql/by_job?format=csv&note=%3D1%2B1");
    assert_eq!((status, file.as_str()), (200, "attachment; filename=\"by_job.csv\""));
    assert_eq!(String::from_utf8(csv).unwrap(), "metric,value,note\r\nload,0.5,'=1+1\r\n");
    let injected = "/api/v1/sql/by_job?format=csv&job=x%27%20OR%20%27a%27%3D%27a";
    assert_eq!(download(&server, injected).2, b"metric,value,note\r\n");
    let load: Value = serde_json::from_str(&server.get("/api/v1/sql/load", None).body).unwrap();
    assert_eq!(load["data"]["rows"][0][1], 0.5, "{load}");
    let listed: Value = serde_json::from_str(&server.get("/api/v1/sql", None).body).unwrap();
    let names: Vec<&Value> = listed["data"].as_array().unwrap().iter().map(|query| &query["name"]).collect();
    assert_eq!(names, ["by_job", "load", "many"]);
    for (path, status) in [("nothing", 404), ("many", 400), ("many?rows=x", 400), ("by_job?least=1", 400)] {
        assert_eq!(server.get(&format!("/api/v1/sql/{path}"), None).status, status, "{path}");
    }
}

#[test]
fn answers_are_files_of_parquet_and_workbooks() {
    let folder = tempdir().unwrap();
    let server = start(folder.path());
    let (status, file, parquet) = download(&server, "/api/v1/sql/many?rows=900000&format=parquet");
    assert_eq!((status, file.as_str()), (200, "attachment; filename=\"many.parquet\""));
    let read = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(parquet));
    let builder = read.expect("a Parquet file");
    assert!(builder.metadata().num_row_groups() > 1, "it was written in parts");
    let rows: usize = builder.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 900_000);
    let (status, file, xlsx) = download(&server, "/api/v1/sql/many?rows=20000&format=xlsx");
    assert_eq!((status, file.as_str()), (200, "attachment; filename=\"many.xlsx\""));
    assert!(xlsx.starts_with(b"PK") && xlsx.len() > 100_000, "{}", xlsx.len());
}

#[test]
fn whoever_may_read_may_ask_and_nobody_else() {
    let folder = tempdir().unwrap();
    let tokens = "auth:\n  tokens:\n    - {name: reader, scopes: [read], token: '${READER}'}\n    \
                  - {name: writer, scopes: [write], token: '${WRITER}'}\n";
    let config = folder.path().join("gauge.yaml");
    fs::write(&config, format!("{SETTINGS}{tokens}")).unwrap();
    let (reader, writer) = ("r".repeat(43), "w".repeat(43));
    let server = Server::start_with(
        folder.path(),
        &["--config", config.to_str().unwrap()],
        &[("READER", &reader), ("WRITER", &writer)],
    );
    let ask = |token: Option<&str>| {
        let authorization = token.map(|token| format!("Bearer {token}"));
        server.get("/api/v1/sql/many?rows=1", authorization.as_deref()).status
    };
    assert_eq!((ask(Some(&reader)), ask(Some(&writer)), ask(None)), (200, 403, 401));
}

#[test]
fn check_plans_queries_and_tells_what_is_wrong_with_them() {
    let folder = tempdir().unwrap();
    let check = |yaml: &str| {
        fs::write(folder.path().join("gauge.yaml"), yaml).unwrap();
        run(binary().current_dir(folder.path()).args(["check", "--config", "gauge.yaml"]))
    };
    let (code, out, err) = check(SETTINGS);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("query          by_job (sql): job, most, note"), "{out}");
    let (code, _, err) = check("queries:\n  a:\n    sql: SELECT nothing FROM metrics\n");
    assert!(code == 1 && err.contains("query a: ") && err.contains("column=8"), "{err}");
    let (code, _, err) = check("queries:\n  a:\n    sql: SELECT $x\n");
    assert!(code == 1 && err.contains("gauge.yaml:3:10: the statement uses $x"), "{err}");
}
