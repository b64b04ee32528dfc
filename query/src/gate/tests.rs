//! What passes the gate, and what does not.

use super::{ARITHMETIC_MAX, TEXT_BYTES_MAX, check};
use crate::ErrorKind;

#[test]
fn queries_that_read_pass() {
    for text in [
        "SELECT 1",
        "select 1;",
        "SELECT * FROM samples WHERE metric = 'up'",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
        "VALUES (1, 'a'), (2, 'b')",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SHOW TABLES",
        "SHOW COLUMNS FROM samples",
        "DESCRIBE samples",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN VERBOSE SELECT 1",
        "SELECT labels['job'] FROM metrics",
        "SELECT * FROM generate_series(1, 3)",
        "SELECT * FROM promql('up', now() - interval '1 hour', now(), '1m')",
        "SELECT * FROM PromQL_instant('up', now(), 'job')",
        "SELECT 'COPY x TO ''/etc/passwd''' AS text",
        "-- a comment\nSELECT 1",
    ] {
        assert!(check(text).is_ok(), "{text}: {:?}", check(text).err());
    }
}

const REFUSED: &[&str] = &[
    "",
    " ; ",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE samples",
    "DROP TABLE samples",
    "CREATE TABLE t (a INT)",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE SCHEMA s",
    "CREATE DATABASE d",
    "CREATE FUNCTION f() RETURNS INT LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://bucket/x'",
    "EXPLAIN CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    "COPY samples TO '/tmp/x.parquet'",
    "COPY (SELECT 1) TO 's3://bucket/x'",
    "EXPLAIN COPY samples TO '/tmp/x'",
    "EXPLAIN ANALYZE COPY samples TO '/tmp/x'",
    "INSERT INTO samples VALUES (1)",
    "EXPLAIN INSERT INTO samples VALUES (1)",
    "EXPLAIN ANALYZE INSERT INTO samples SELECT * FROM samples",
    "UPDATE samples SET value = 1",
    "DELETE FROM samples",
    "MERGE INTO samples USING series ON true WHEN MATCHED THEN DELETE",
    "TRUNCATE TABLE samples",
    "ALTER TABLE samples ADD COLUMN x INT",
    "SET datafusion.execution.batch_size = 1",
    "RESET datafusion.execution.batch_size",
    "SHOW ALL",
    "TABLE information_schema.df_settings",
    "SELECT * FROM (TABLE information_schema.df_settings)",
    "SHOW datafusion.execution.batch_size",
    "SELECT * FROM information_schema.df_settings",
    "SELECT * FROM (SELECT * FROM information_schema.\"DF_SETTINGS\")",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "START TRANSACTION",
    "PREPARE q AS SELECT 1",
    "EXECUTE q",
    "DEALLOCATE q",
    "EXPLAIN PREPARE q AS SELECT 1",
    "USE other",
    "GRANT SELECT ON samples TO x",
    "ANALYZE TABLE samples",
    "KILL 1",
    "CALL f()",
    "LOAD 'x'",
    "INSTALL x",
    "ATTACH 'x' AS y",
    "SELECT 1 INTO t",
    "SELECT * INTO t FROM samples",
    "SELECT * FROM (SELECT 1 AS a INTO t) AS x",
    "SELECT * FROM samples FOR UPDATE",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM './x.parquet'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM \"file:///etc/passwd\"",
    "SELECT * FROM 'https://example.com/x.csv'",
    "SELECT 1 WHERE 1 IN (SELECT a FROM '/etc/passwd')",
    "WITH a AS (SELECT * FROM '/etc/passwd') SELECT * FROM a",
    "SELECT * FROM 'a*.csv'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM public.promql('up', 0, 1, 1)",
    "SELECT * FROM parquet_metadata('x.parquet')",
    "DESCRIBE '/etc/passwd'",
    "SELECT 2 ^ 10",
    "SELEC 1",
    "SELECT 'unterminated",
    "SELECT (((",
];

#[test]
fn everything_else_is_refused() {
    for text in REFUSED {
        let refused = check(text).err().unwrap_or_else(|| panic!("passed: {text}"));
        assert_eq!(refused.kind, ErrorKind::Invalid, "{text}: {refused}");
    }
}

#[test]
fn a_refusal_says_why() {
    let why = |text: &str| check(text).unwrap_err().to_string();
    assert!(why("SELECT 1; SELECT 2").contains("one statement at a time"), "{}", why("SELECT 1; SELECT 2"));
    assert!(why("DROP TABLE samples").contains("only read: DROP TABLE"), "{}", why("DROP TABLE samples"));
    assert!(why("SELECT * FROM '/etc/passwd'").contains("files and URLs"), "{}", why("SELECT * FROM '/etc/passwd'"));
}

#[test]
fn a_syntax_error_has_a_position() {
    let error = check("SELECT 1\nFRM x y z").unwrap_err();
    let position = error.position.unwrap_or_else(|| panic!("no position: {error}"));
    assert_eq!(position.line, 2, "{error}");
    let error = check("SELECT\n\n  'open").unwrap_err();
    assert_eq!(error.position.map(|p| (p.line, p.column)), Some((3, 3)), "{error}");
}

#[test]
fn a_text_that_would_exhaust_the_stack_is_refused() {
    for text in [
        format!("SELECT {}1", "1+".repeat(200_000)),
        format!("SELECT 1 {}", "IS NULL ".repeat(100_000)),
        format!("SELECT 1{}", "::int".repeat(100_000)),
        format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("SELECT {}1", "NOT ".repeat(100_000)),
        format!("SELECT {}1", "- ".repeat(100_000)),
        format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(20_000)),
        format!("SELECT 1 FROM samples a0{}", (1..20_000).map(|i| format!(", samples a{i}")).collect::<String>()),
        format!("SELECT {}1{}", "abs(".repeat(50_000), ")".repeat(50_000)),
        format!("SELECT labels{} FROM metrics", "['a']".repeat(50_000)),
        "x".repeat(TEXT_BYTES_MAX + 1),
    ] {
        assert!(check(&text).is_err(), "passed: {}…", &text[..40]);
    }
}

#[test]
fn a_long_list_of_signed_numbers_passes() {
    let ids: Vec<String> = (0..20_000).map(|i| (-i).to_string()).collect();
    check(&format!("SELECT * FROM samples WHERE series_id IN ({})", ids.join(", "))).unwrap();
    let terms = "1+".repeat(ARITHMETIC_MAX - 10);
    check(&format!("SELECT {terms}1")).unwrap();
}
