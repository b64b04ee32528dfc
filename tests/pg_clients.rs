//! Drivers over the PostgreSQL protocol against the real server: tokio-postgres, whose values are binary, and PostgreSQL's JDBC driver where
//! Java and it are installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use futures::TryStreamExt as _;
use tokio::runtime::Runtime;
use tokio_postgres::{
    Client, NoTls, SimpleQueryMessage,
    error::SqlState,
    types::{ToSql, Type},
};

use crate::{
    auth::token,
    support::{
        postgres::{ask, connect, started},
        process::{installed, skipped},
        server::now_ms,
    },
    tls::Authority,
};

/// It takes longer than anybody waits.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000000)";
/// Where the JDBC driver is, if not where Maven keeps it.
const JAR: &str = "STREAMGAUGE_PGJDBC_JAR";

fn anybody(port: &str) -> String {
    format!("host=127.0.0.1 port={port} user=anybody dbname=streamgauge connect_timeout=10")
}

async fn code(client: &Client, sql: &str) -> SqlState {
    let error = client.query(sql, &[]).await.expect_err(sql);
    error.code().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone()
}

#[test]
fn values_and_parameters_are_binary_and_exact() {
    let folder = tempfile::tempdir().unwrap();
    let (server, port) = started(folder.path(), &[]);
    assert_eq!(server.write("temperature", &[(now_ms(), 21.5)], None).status, 204);
    Runtime::new().unwrap().block_on(async {
        let client = connect(&anybody(&port)).await;
        let statement = client
            .prepare(
                "SELECT $1::int + 1, $2::bigint * 2, $3::double precision / 2, $4::text, $5::boolean, \
                 CAST($6 AS TIMESTAMP WITH TIME ZONE), CAST($7 AS DATE), \
                 CAST(CAST('12345678901234567890.123456789' AS DECIMAL(38, 9)) AS VARCHAR), CAST(NULL AS VARCHAR), ARRAY['a', 'b']",
            )
            .await
            .unwrap();
        let types = [Type::INT4, Type::INT8, Type::FLOAT8, Type::TEXT, Type::BOOL, Type::TIMESTAMPTZ, Type::DATE];
        assert_eq!(statement.params(), types);
        let (at, day) = ("2026-03-29T01:59:59.123456Z".parse::<DateTime<Utc>>().unwrap(), "2026-02-28".parse().unwrap());
        for nth in 0..3_i32 {
            let text = (nth > 0).then(|| format!("it's ö {nth}"));
            let values: [&(dyn ToSql + Sync); 7] =
                [&nth, &9_007_199_254_740_993_i64, &-0.25_f64, &text, &(nth == 1), &at, &day];
            let row = client.query_one(&statement, &values).await.unwrap();
            // What is added up has eight bytes.
            let first = if *row.columns()[0].type_() == Type::INT4 { i64::from(row.get::<_, i32>(0)) } else { row.get(0) };
            assert_eq!((first, row.get::<_, i64>(1)), (i64::from(nth) + 1, 18_014_398_509_481_986));
            assert_eq!((row.get::<_, f64>(2), row.get::<_, Option<String>>(3)), (-0.125, text));
            assert_eq!((row.get::<_, bool>(4), row.get::<_, DateTime<Utc>>(5)), (nth == 1, at));
            assert_eq!(row.get::<_, NaiveDate>(6), day);
            assert_eq!(row.get::<_, String>(7), "12345678901234567890.123456789");
            assert_eq!((row.get::<_, Option<String>>(8), row.get::<_, Vec<String>>(9)), (None, vec!["a".into(), "b".into()]));
        }
        let among = "SELECT count(*) FROM generate_series(1, 10) WHERE value = ANY($1) AND value < $2";
        let few = client.prepare_typed(among, &[Type::INT8_ARRAY, Type::INT8]).await.unwrap();
        assert_eq!(client.query_one(&few, &[&vec![2_i64, 4, 11], &9_i64]).await.unwrap().get::<_, i64>("count"), 2);
        let sample = "SELECT labels, value, timestamp FROM metrics WHERE metric = $1 AND value > $2";
        let sample = client.query_one(sample, &[&"temperature", &20.0_f64]).await.unwrap();
        assert_eq!(sample.columns()[0].type_(), &Type::JSONB);
        assert_eq!(sample.get::<_, serde_json::Value>(0), serde_json::json!({"job": "test"}));
        assert_eq!(sample.get::<_, f64>(1), 21.5);
        assert!(sample.get::<_, DateTime<Utc>>(2) > at);
    });
}

#[test]
fn rows_are_taken_in_parts_and_statements_together() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = started(folder.path(), &[]);
    Runtime::new().unwrap().block_on(async {
        let mut client = connect(&anybody(&port)).await;
        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind("SELECT value FROM generate_series(1, 120)", &[]).await.unwrap();
        let other = transaction.bind("SELECT 'x'", &[]).await.unwrap();
        let mut seen = Vec::new();
        for expected in [50, 50, 20, 0] {
            let rows = transaction.query_portal(&portal, 50).await.unwrap();
            assert_eq!(rows.len(), expected);
            seen.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
            // Another one between them, which has a row.
            let others = transaction.query_portal(&other, 1).await.unwrap().len();
            assert_eq!(others, usize::from(seen.len() == 50));
        }
        assert!(seen.iter().copied().eq(1..=120), "{seen:?}");
        transaction.commit().await.unwrap();

        let told =
            client.simple_query("SELECT 1 AS a, NULL AS b; SET application_name = 'x'; SELECT 2 AS c").await.unwrap();
        let rows = told.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.columns()[0].name().to_owned(), row.get(0).map(str::to_owned))),
            _ => None,
        });
        let of = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(rows.collect::<Vec<_>>(), [of("a", "1"), of("c", "2")]);

        let copied = client
            .copy_out("COPY (SELECT value, 'a,\"b' FROM generate_series(1, 3)) TO STDOUT (FORMAT csv)")
            .await
            .unwrap();
        let parts: Vec<_> = copied.try_collect().await.unwrap();
        assert_eq!(parts.concat(), b"1,\"a,\"\"b\"\n2,\"a,\"\"b\"\n3,\"a,\"\"b\"\n");
    });
}

#[test]
fn errors_have_their_codes_and_the_connection_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = started(folder.path(), &[]);
    Runtime::new().unwrap().block_on(async {
        let mut client = connect(&anybody(&port)).await;
        for (sql, expected) in [
            ("SELEC 1", SqlState::SYNTAX_ERROR),
            ("SELECT 1 FROM nothing", SqlState::UNDEFINED_TABLE),
            ("SELECT nothing FROM costs", SqlState::UNDEFINED_COLUMN),
            ("SELECT nothing(1)", SqlState::UNDEFINED_FUNCTION),
            ("DELETE FROM costs", SqlState::READ_ONLY_SQL_TRANSACTION),
            ("CREATE TABLE t (a int)", SqlState::READ_ONLY_SQL_TRANSACTION),
            ("SELECT CAST('x' AS INT)", SqlState::INVALID_TEXT_REPRESENTATION),
            ("SELECT 1 / 0", SqlState::DIVISION_BY_ZERO),
            ("SET no_such_setting = 1", SqlState::UNDEFINED_OBJECT),
        ] {
            assert_eq!(code(&client, sql).await, expected, "{sql}");
            assert_eq!(client.query_one("SELECT 1::bigint", &[]).await.unwrap().get::<_, i64>(0), 1, "after {sql}");
        }
        let mut transaction = client.transaction().await.unwrap();
        let savepoint = transaction.savepoint("before").await.unwrap();
        let error = savepoint.query("SELECT nothing FROM costs", &[]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));
        let error = savepoint.query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        savepoint.rollback().await.unwrap();
        assert_eq!(transaction.query("SELECT 1", &[]).await.unwrap().len(), 1);
        transaction.rollback().await.unwrap();

        let cancel = client.cancel_token();
        let canceled = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel.cancel_query(NoTls).await
        });
        assert_eq!(code(&client, ENDLESS).await, SqlState::QUERY_CANCELED);
        canceled.await.unwrap().unwrap();
        client.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
        assert_eq!(code(&client, ENDLESS).await, SqlState::QUERY_CANCELED);
        assert_eq!(client.query("SELECT 1", &[]).await.unwrap().len(), 1);
    });
}

#[test]
fn grafana_asks_for_its_editor_and_with_its_macros() {
    let folder = tempfile::tempdir().unwrap();
    let (server, port) = started(folder.path(), &[]);
    let now_ms = now_ms();
    assert_eq!(server.write("temperature", &[(now_ms, 21.5)], None).status, 204);
    let at = |offset_ms: i64| {
        let time = DateTime::from_timestamp_millis(now_ms + offset_ms).unwrap();
        time.to_rfc3339_opts(SecondsFormat::Nanos, true)
    };
    let around = format!("timestamp BETWEEN '{}' AND '{}'", at(-3_600_000), at(3_600_000));
    Runtime::new().unwrap().block_on(async {
        let client = connect(&anybody(&port)).await;
        client.simple_query("-- ping").await.unwrap();
        for (asked, expected) in [
            ("SELECT current_setting('server_version_num')::int/100 as version", Some("1500")),
            ("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'", None),
            ("SELECT datname FROM pg_database WHERE datistemplate = false", Some("streamgauge")),
            ("SELECT schema_name FROM information_schema.schemata WHERE schema_name = 'public'", Some("public")),
        ] {
            let rows = ask(&client, asked).await.unwrap().rows;
            assert_eq!(rows.first().and_then(|row| row[0].as_deref()), expected, "{asked}");
        }
        for (time, kind) in [
            ("timestamp AS \"time\"", Type::TIMESTAMPTZ),
            ("extract(epoch from timestamp) as \"time\"", Type::FLOAT8),
            ("floor(extract(epoch from timestamp)/300)*300 AS \"time\"", Type::FLOAT8),
            ("time_bucket('300.000s',timestamp) AS \"time\"", Type::TIMESTAMPTZ),
        ] {
            let asked = format!(
                "SELECT {time}, labels->>'job' AS metric, avg(value) AS temperature FROM metrics \
                 WHERE metric = 'temperature' AND {around} GROUP BY 1, 2 ORDER BY 1"
            );
            let told = ask(&client, &asked).await.unwrap();
            let columns = [("time", kind), ("metric", Type::TEXT), ("temperature", Type::FLOAT8)];
            assert_eq!(told.columns, columns.map(|(name, kind)| (name.to_owned(), kind)), "{asked}");
            let rows: Vec<_> = told.rows.iter().map(|row| [row[1].as_deref(), row[2].as_deref()]).collect();
            assert_eq!(rows, [[Some("test"), Some("21.5")]], "{asked}");
        }
    });
}

/// A token's entry and settings that name it; the token, and the path of the settings.
fn with_token(folder: &Path, more: &str) -> (String, String) {
    let (secret, entry) = token("reader", "read", &[]);
    let (tokens, config) = (folder.join("tokens.yaml"), folder.join("gauge.yaml"));
    fs::write(&tokens, entry).unwrap();
    fs::write(&config, format!("auth: {{tokens_file: {}}}\n{more}", tokens.display())).unwrap();
    (secret, config.display().to_string())
}

#[test]
fn a_driver_logs_in_by_scram() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, config) = with_token(folder.path(), "");
    let (_server, port) = started(folder.path(), &["--config", &config]);
    Runtime::new().unwrap().block_on(async {
        let settings =
            |password: &str| format!("host=127.0.0.1 port={port} user=reader password={password} dbname=streamgauge");
        let client = connect(&settings(&secret)).await;
        assert_eq!(client.query_one("SELECT 7::bigint", &[]).await.unwrap().get::<_, i64>(0), 7);
        let refused = tokio_postgres::connect(&settings("sg_wrong"), NoTls).await.err().expect("a refusal");
        assert_eq!(refused.code(), Some(&SqlState::INVALID_PASSWORD));
    });
}

/// The JDBC driver; none if it is not there.
fn driver() -> Option<PathBuf> {
    if let Some(jar) = env::var_os(JAR) {
        return Some(PathBuf::from(jar));
    }
    let versions = Path::new(&env::var_os("HOME")?).join(".m2/repository/org/postgresql/postgresql");
    let versions = fs::read_dir(versions).ok()?.flatten();
    let jars = versions.filter_map(|version| {
        let jar = format!("postgresql-{}.jar", version.file_name().to_str()?);
        Some(version.path().join(jar)).filter(|jar| jar.is_file())
    });
    jars.max()
}

#[test]
fn jdbc_asks_reads_the_catalog_and_understands() {
    const INSTALL: &str = "mvn dependency:get -Dartifact=org.postgresql:postgresql:42.7.14";
    if !installed("java") {
        return skipped("java is not installed", "apt-get install -y default-jdk-headless");
    }
    let Some(jar) = driver() else {
        return skipped("PostgreSQL's JDBC driver is neither in ~/.m2 nor named by STREAMGAUGE_PGJDBC_JAR", INSTALL);
    };
    let run = |args: &[&str]| {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/PgClient.java");
        let output = Command::new("java").arg("-cp").arg(&jar).arg(program).args(args).output().expect("java runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.contains("done"),
            "{args:?}: {told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let plain = tempfile::tempdir().unwrap();
    let (_server, port) = started(plain.path(), &[]);
    run(&[&port]);
    // With encryption and a token, which is then demanded.
    let secure = tempfile::tempdir().unwrap();
    Authority::new("any").server().store(secure.path());
    let at = |name: &str| secure.path().join(name).display().to_string();
    let (secret, config) =
        with_token(secure.path(), &format!("tls: {{cert: {}, key: {}}}\n", at("cert.pem"), at("key.pem")));
    let (_server, port) = started(secure.path(), &["--config", &config]);
    run(&[&port, "reader", &secret]);
}
