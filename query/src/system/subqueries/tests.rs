//! Queries in the place of values, as SQL through the engine.

use serde_json::{Value, json};

use crate::testing::{Bench, rows};

const TWO: &str = "(VALUES (1), (2)) AS v(x)";
const THREE: &str = "(VALUES (1), (2), (NULL)) AS v(x)";

async fn check(cases: &[(String, Value)]) {
    let engine = Bench::new().engine();
    for (sql, expected) in cases {
        let found = rows(&engine, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(&Value::from(found), expected, "{sql}");
    }
}

#[tokio::test]
async fn a_query_may_stand_where_a_value_may() {
    let of = |sql: &str| sql.replace("TWO", TWO);
    check(&[
        (of("SELECT CASE WHEN x IN (SELECT 1) THEN 'a' ELSE 'b' END FROM TWO ORDER BY x"), json!([["a"], ["b"]])),
        (of("SELECT sum(CASE WHEN x NOT IN (SELECT 1) THEN 10 ELSE 1 END) FROM TWO"), json!([[11]])),
        (
            of("SELECT x IN (SELECT 1), count(*) FROM TWO GROUP BY x IN (SELECT 1) ORDER BY 1"),
            json!([[false, 1], [true, 1]]),
        ),
        (of("SELECT x FROM TWO ORDER BY x IN (SELECT 2) DESC, x"), json!([[2], [1]])),
        (
            of("SELECT x IN (SELECT max(y) FROM (VALUES (1), (2)) AS w(y)) FROM TWO ORDER BY x"),
            json!([[false], [true]]),
        ),
        (
            of("SELECT x IN (SELECT y FROM (VALUES (1), (2)) AS w(y) ORDER BY y DESC LIMIT 1) FROM TWO ORDER BY x"),
            json!([[false], [true]]),
        ),
        (
            of("SELECT x IN (SELECT y FROM (VALUES (1)) AS w(y) WHERE w.y = v.x) FROM TWO ORDER BY x"),
            json!([[true], [false]]),
        ),
        (
            of("SELECT EXISTS (SELECT 1 FROM (VALUES (1)) AS w(y) WHERE w.y = v.x) FROM TWO ORDER BY x"),
            json!([[true], [false]]),
        ),
        (of("SELECT NOT EXISTS (SELECT 1 FROM TWO WHERE x > 2)"), json!([[true]])),
        (of("SELECT EXISTS (SELECT DISTINCT x FROM TWO)"), json!([[true]])),
        (of("SELECT CASE WHEN EXISTS (SELECT max(x) FROM TWO WHERE x > 2) THEN 'a row' END"), json!([["a row"]])),
        (of("SELECT ARRAY(SELECT x AS y FROM TWO ORDER BY y DESC)"), json!([[[2, 1]]])),
        (of("SELECT ARRAY(SELECT -x FROM TWO ORDER BY 1)"), json!([[[-2, -1]]])),
        (of("SELECT ARRAY(SELECT x FROM TWO WHERE x > 2)"), json!([[[]]])),
        (of("SELECT array_length(ARRAY(SELECT x FROM TWO LIMIT 1))"), json!([[1]])),
        (of("SELECT x FROM TWO WHERE array_length(ARRAY(SELECT 1 UNION ALL SELECT 2)) = x"), json!([[2]])),
    ])
    .await;
}

#[tokio::test]
async fn null_in_a_query_and_before_it_is_what_sql_says() {
    let of = |sql: &str| {
        format!("{} FROM {THREE} ORDER BY x", sql.replace("NULLS", "SELECT y FROM (VALUES (1), (NULL)) AS w(y)"))
    };
    check(&[
        (of("SELECT x IN (SELECT 1)"), json!([[true], [false], [null]])),
        (of("SELECT x NOT IN (SELECT 1)"), json!([[false], [true], [null]])),
        (of("SELECT x IN (NULLS)"), json!([[true], [null], [null]])),
        (of("SELECT x NOT IN (NULLS)"), json!([[false], [null], [null]])),
        (of("SELECT x IN (NULLS WHERE y > 1)"), json!([[false], [false], [false]])),
        (of("SELECT x NOT IN (NULLS WHERE y > 1)"), json!([[true], [true], [true]])),
    ])
    .await;
}

#[tokio::test]
async fn a_value_without_a_name_is_called_as_it_is_written() {
    let answer = Bench::new().engine().sql(&format!("SELECT x IN (SELECT 1) FROM {TWO}")).await.unwrap();
    assert_eq!(answer.schema.field(0).name(), "x IN (SELECT 1)");
}

#[tokio::test]
async fn functions_are_tables_as_postgresql_has_them() {
    let path = "string_to_array(current_setting('search_path'), ',')";
    check(&[
        (
            format!("SELECT trim(s[i]) FROM generate_series(1, array_upper({path}, 1)) AS i, {path} s"),
            json!([["public"]]),
        ),
        (format!("SELECT CASE WHEN s[1] = 'public' THEN user END FROM {path} AS s"), json!([["streamgauge"]])),
        ("SELECT sum(g) FROM generate_series(1, 2) AS g".to_owned(), json!([[3]])),
    ])
    .await;
}

/// Each level is written once, so a text that nests them does not grow.
#[tokio::test]
async fn queries_in_queries_do_not_multiply() {
    let nested = (0..12).fold("1".to_owned(), |inner, _| format!("1 IN (SELECT CAST({inner} AS INT))"));
    let statement = crate::gate::check(&format!("SELECT {nested}")).unwrap();
    assert_eq!(statement.to_string().matches("is_among").count(), 12);
}
