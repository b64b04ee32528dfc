//! `sum` and `avg`: grouped, over frames, of distinct values, in partitions.

use serde_json::{Value, json};

use super::{MONEY, pairs, value};
use crate::{
    ErrorKind,
    testing::{
        Bench,
        bills::{Bill, bench, bills, decimal},
        rows,
    },
};

#[tokio::test]
async fn a_sum_is_exact_where_floats_are_not() {
    let bench = Bench::new();
    let table =
        pairs(MONEY, &[("1000000000000.1", "0.2"), ("-1000000000000", "-0.3"), ("0.0000000000000000000001", "0.1")]);
    let sql = format!("SELECT sum(a), sum(b), avg(a), sum(a) = 0.1000000000000000000001, sum(b) = 0 FROM {table}");
    assert_eq!(
        bench.rows(&sql).await,
        [json!(["0.1000000000000000000001", "0.0000000000000000000000", "0.0333333333333333333334", true, true])]
    );
    let none = format!("SELECT sum(a), avg(a) FROM {table} WHERE a > 1e15");
    assert_eq!(bench.rows(&none).await, [json!([null, null])]);
    let types = "SELECT arrow_typeof(sum(x)), arrow_typeof(avg(x)) FROM (VALUES (1.25)) AS v(x)";
    assert_eq!(bench.rows(types).await, [json!(["Decimal128(38, 2)", "Decimal128(38, 6)"])]);
    let averages = "SELECT avg(x), mean(x) FROM (VALUES (1.25), (NULL), (1.5), (1.5)) AS v(x)";
    assert_eq!(bench.rows(averages).await, [json!(["1.416667", "1.416667"])]);
}

#[tokio::test]
async fn a_sum_that_overflows_on_the_way_is_right_and_one_that_ends_there_an_error() {
    let largest = i128::from(10_u8).pow(38) - 1;
    let bill = |cost| Bill { cost, ..Bill::default() };
    let way: Vec<Bill> = [1; 5].into_iter().chain([-1; 5]).map(|sign| bill(sign * largest)).collect();
    let there = [way.as_slice(), &[bill(decimal("7", 22))]].concat();
    for batches in [vec![bills(&there)], there.iter().map(|one| bills(std::slice::from_ref(one))).collect()] {
        let bench = bench(&batches.concat());
        assert_eq!(value(&bench, "SELECT sum(BilledCost) FROM bills").await, json!("7.0000000000000000000000"));
        assert_eq!(
            value(&bench, "SELECT sum(BilledCost) FROM bills GROUP BY region").await,
            json!("7.0000000000000000000000")
        );
        assert_eq!(value(&bench, "SELECT avg(BilledCost) FROM bills").await, json!("0.6363636363636363636364"));
    }
    let bench = bench(&bills(&[bill(largest), bill(largest)]));
    for sql in [
        "SELECT sum(BilledCost) FROM bills",
        "SELECT sum(BilledCost) FROM bills GROUP BY region",
        "SELECT sum(BilledCost) OVER (ORDER BY ChargePeriodStart) FROM bills",
    ] {
        let error = rows(&bench.engine(), sql).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Execution, "{sql}: {error}");
        assert!(error.to_string().contains("`sum` has too many digits"), "{error}");
    }
    assert_eq!(
        value(&bench, "SELECT avg(BilledCost) FROM bills").await,
        json!("9999999999999999.9999999999999999999999")
    );
    assert_eq!(
        value(&bench, "SELECT sum(cast(BilledCost AS DECIMAL(60, 22))) FROM bills").await,
        json!("19999999999999999.9999999999999999999998")
    );
}

#[tokio::test]
async fn frames_of_windows_take_off_what_leaves_them() {
    let largest = i128::from(10_u8).pow(38) - 1;
    let costs = [largest, 1, -largest, 5, largest, -4];
    let all: Vec<Bill> = costs.iter().map(|cost| Bill { cost: *cost, ..Bill::default() }).collect();
    let bench = bench(&bills(&all));
    let sql = "SELECT sum(cast(BilledCost AS DECIMAL(60, 22))) OVER w, avg(BilledCost) OVER w, count(*) OVER w FROM bills \
               WINDOW w AS (ORDER BY ChargePeriodStart ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) ORDER BY ChargePeriodStart";
    let found = bench.rows(sql).await;
    for (at, row) in found.iter().enumerate() {
        let frame = &costs[at.saturating_sub(1)..(at + 2).min(costs.len())];
        let sum: i128 = frame.iter().sum();
        let text = format!("{}{:0>23}", if sum < 0 { "-" } else { "" }, sum.unsigned_abs());
        let text = format!("{}.{}", &text[..text.len() - 22], &text[text.len() - 22..]);
        assert_eq!(row[0], json!(text), "{at}");
    }
    assert_eq!(found[1][1], json!("0.0000000000000000000000"));
    let running = "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) \
                   FROM (VALUES (1.5), (2.5), (NULL), (4)) AS v(x) ORDER BY x NULLS LAST";
    let expected: Vec<Value> = ["1.5", "4.0", "6.5", "4.0"].iter().map(|v| json!([v])).collect();
    assert_eq!(bench.rows(running).await, expected);
    let empty = "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) FROM (VALUES (1.5), (2.5)) AS v(x) ORDER BY x";
    assert_eq!(bench.rows(empty).await, [json!([null]), json!(["1.5"])]);
}

#[tokio::test]
async fn distinct_values_are_summed_once() {
    let bench = Bench::new();
    let table = "(VALUES ('a', 1.5), ('a', 1.50), ('b', 2.25), ('b', 1.5), ('b', NULL)) AS v(k, x)";
    for (sql, expected) in [
        (format!("SELECT sum(DISTINCT x) FROM {table}"), json!([["3.75"]])),
        (
            format!("SELECT sum(DISTINCT x), avg(DISTINCT x), sum(x), count(x) FROM {table}"),
            json!([["3.75", "1.875000", "6.75", 4]]),
        ),
        (
            format!("SELECT k, sum(DISTINCT x), avg(x) FROM {table} GROUP BY k ORDER BY k"),
            json!([["a", "1.50", "1.500000"], ["b", "3.75", "1.875000"]]),
        ),
        (
            format!(
                "SELECT sum(DISTINCT x) OVER (ORDER BY x NULLS FIRST ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM {table} ORDER BY x NULLS FIRST"
            ),
            json!([[null], ["1.50"], ["1.50"], ["1.50"], ["3.75"]]),
        ),
    ] {
        assert_eq!(Value::from(bench.rows(&sql).await), expected, "{sql}");
    }
}

#[tokio::test]
async fn filters_and_nulls_leave_groups_without_a_sum() {
    let bench = Bench::new();
    let table = "(VALUES ('a', 1.5), ('a', NULL), ('b', NULL), ('c', 2.5)) AS v(k, x)";
    let sql = format!("SELECT k, sum(x), avg(x), sum(x) FILTER (WHERE k <> 'c') FROM {table} GROUP BY k ORDER BY k");
    assert_eq!(
        Value::from(bench.rows(&sql).await),
        json!([["a", "1.5", "1.50000", "1.5"], ["b", null, null, null], ["c", "2.5", "2.50000", null]])
    );
}
