//! Decimals as SQL has them, through the engine.

mod model;
mod sums;

use serde_json::{Value, json};

use crate::{
    ErrorKind,
    testing::{
        Bench,
        bills::{Bill, bench, bills, decimal},
        rows,
    },
};

/// One value of a query.
async fn value(bench: &Bench, sql: &str) -> Value {
    let rows = bench.rows(sql).await;
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    rows[0][0].clone()
}

/// Each of some expressions over no table, and over a column, has this value: the former are computed while planning.
async fn all(cases: &[(&str, Value)]) {
    let bench = Bench::new();
    for (expr, expected) in cases {
        assert_eq!(value(&bench, &format!("SELECT {expr}")).await, *expected, "{expr}");
        let column = format!("SELECT {expr} FROM (VALUES (1), (1)) AS v(i) WHERE i > 0 LIMIT 1");
        assert_eq!(value(&bench, &column).await, *expected, "{expr} for rows");
    }
}

async fn fails(sql: &str, kind: ErrorKind, words: &str) {
    let error = rows(&bench(&[]).engine(), sql).await.expect_err(sql);
    assert_eq!(error.kind, kind, "{sql}: {error}");
    assert!(error.to_string().contains(words), "{sql}: {error}");
}

/// Amounts of a bill, given as text, as columns `a` and `b`.
fn pairs(of: &str, pairs: &[(&str, &str)]) -> String {
    let rows: Vec<String> = pairs.iter().map(|(a, b)| format!("('{a}', '{b}')")).collect();
    format!("(SELECT cast(x AS {of}) AS a, cast(y AS {of}) AS b FROM (VALUES {}) AS v(x, y))", rows.join(", "))
}

const MONEY: &str = "DECIMAL(38, 22)";

#[tokio::test]
async fn numbers_of_a_text_stay_what_they_are_written_as() {
    all(&[
        ("1.10", json!("1.10")),
        ("1.10 + 2.20", json!("3.30")),
        ("1.10 + 2.20 = 3.30", json!(true)),
        ("0.1 + 0.2", json!("0.3")),
        ("-1.5", json!("-1.5")),
        ("- (1.5)", json!("-1.5")),
        ("1.10 * 1.10", json!("1.2100")),
        ("1.0 / 3", json!("0.3333333333333333333333")),
        ("2.0 / 3", json!("0.6666666666666666666667")),
        ("-2 / 3.0", json!("-0.6666666666666666666667")),
        ("7.5 % 2", json!("1.5")),
        ("-7.5 % 2", json!("-1.5")),
        ("5 % 0.3", json!("0.2")),
        ("1e3", json!(1000.0)),
        ("2.5e-1", json!(0.25)),
        ("1e3 * 1.1", json!("1100.0")),
        ("1.5 < 1.50", json!(false)),
        ("1.5 = 1.50", json!(true)),
        ("7 / 2", json!(3)),
        ("abs(-1.5)", json!("1.5")),
        ("NULL + 1.5", json!(null)),
        ("12345678901234567890123456789012345678", json!("12345678901234567890123456789012345678")),
    ])
    .await;
    fails("SELECT 123456789012345678901234567890123456789", ErrorKind::Invalid, "digits_max=38").await;
    fails("SELECT 0.123456789012345678901234567890123456789", ErrorKind::Invalid, "digits=39").await;
    let error = rows(&Bench::new().engine(), "SELECT\n  0.123456789012345678901234567890123456789").await.unwrap_err();
    assert_eq!(error.position.map(|p| (p.line, p.column)), Some((2, 3)), "{error}");
}

#[tokio::test]
async fn floats_meet_numbers_of_a_text_as_floats() {
    let bench = bench(&bills(&[Bill { weight: 2.0, region: "1000.125".to_owned(), ..Bill::default() }]));
    for (expr, expected) in [
        ("\"Weight\" * 1.5", json!(3.0)),
        ("1.5 * \"Weight\"", json!(3.0)),
        ("\"Weight\" * 1.5 * 1.1", json!(3.0 * 1.1)),
        ("\"Weight\" + 0.1 + 0.2", json!(2.0 + 0.1 + 0.2)),
        ("\"Weight\" * (1.5 + 2)", json!(7.0)),
        ("\"Weight\" * round(1.5)", json!(4.0)),
        ("\"Weight\" / 1e3", json!(0.002)),
        ("\"Weight\" % 1.5", json!(0.5)),
        ("\"Weight\" > 1.9", json!(true)),
        ("\"Weight\" = 2.0", json!(true)),
        ("\"Weight\" BETWEEN 1.9 AND 2.1", json!(true)),
        ("\"Weight\" IN (1.5, 2.0)", json!(true)),
        ("coalesce(\"Weight\", 0.0)", json!(2.0)),
        ("coalesce(\"Weight\", 0.0) * 0.5", json!(1.0)),
        ("nullif(\"Weight\", 2.0)", json!(null)),
        ("greatest(\"Weight\", 2.5)", json!(2.5)),
        ("CASE WHEN \"Weight\" > 1.5 THEN \"Weight\" ELSE 0.0 END", json!(2.0)),
        ("CASE WHEN \"Weight\" < 1.5 THEN \"Weight\" ELSE -0.5 END * 2", json!(-1.0)),
        ("\"Weight\" * CASE WHEN \"Count\" > 100 THEN 1.5 ELSE 2.5 END", json!(5.0)),
        ("CASE \"Weight\" WHEN 2.0 THEN 'two' END", json!("two")),
        ("sqrt(6.25)", json!(2.5)),
        ("power(\"Weight\", 0.5)", json!(2.0_f64.sqrt())),
        ("power(\"Weight\", 2)", json!(4.0)),
        ("ln(1.0)", json!(0.0)),
        ("floor(\"Weight\" * 1.4)", json!(2.0)),
        ("round(\"Weight\" * 1.2345, 2)", json!(2.47)),
        ("round(1.005, 2)", json!("1.01")),
        ("approx_percentile_cont(\"Weight\", 0.95)", json!(2.0)),
        ("approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY \"Weight\")", json!(2.0)),
        ("percentile_cont(0.5) WITHIN GROUP (ORDER BY \"Weight\")", json!(2.0)),
        ("avg(\"Weight\") > 0.5", json!(true)),
        ("sum(\"Weight\" * 1.5)", json!(3.0)),
        ("avg(\"Count\")", json!(0.0)),
        ("sum(\"Count\")", json!(0)),
        ("isnan(\"Weight\" / 0.0)", json!(false)),
        ("\"Weight\" > \"Count\" * 0.5", json!(true)),
        ("sum(\"Weight\") / (count(*) * 0.5)", json!(4.0)),
        ("[\"Weight\", 0.5]", json!([2.0, 0.5])),
        ("[1.5, 2]", json!(["1.5", "2.0"])),
        ("concat('+In', 'f') > 0.5", json!(true)),
        ("\"Region\" > 0.25", json!(true)),
        ("CASE \"Region\" WHEN 1000.125 THEN 1 END", json!(1)),
        ("isnan(nanvl(\"Weight\", 0.5))", json!(false)),
    ] {
        assert_eq!(value(&bench, &format!("SELECT {expr} FROM bills")).await, expected, "{expr}");
    }
    let rows =
        bench.rows("SELECT \"Weight\" AS w FROM bills WHERE \"Weight\" > 0.5 AND \"Weight\" < 1e3 LIMIT 1").await;
    assert_eq!(rows, [json!([2.0])]);
    let nested = "SELECT v * 1.5 FROM (SELECT coalesce(\"Weight\", 0.0) AS v FROM bills) WHERE v > 0.5";
    assert_eq!(value(&bench, nested).await, json!(3.0));
}

#[tokio::test]
async fn money_and_floats_mix_only_where_it_is_said() {
    for sql in [
        "SELECT BilledCost * Weight FROM bills",
        "SELECT Weight + BilledCost FROM bills",
        "SELECT BilledCost > Weight FROM bills",
        "SELECT coalesce(BilledCost, Weight) FROM bills",
        "SELECT CASE WHEN Count > 1 THEN BilledCost ELSE Weight END FROM bills",
        "SELECT BilledCost FROM bills UNION ALL SELECT Weight FROM bills",
        "SELECT sum(BilledCost) / avg(Count) FROM bills",
    ] {
        fails(sql, ErrorKind::Invalid, "do not mix").await;
    }
    let cost = decimal("12.5", 22);
    let bench = bench(&bills(&[Bill { cost, weight: 2.0, count: 3, ..Bill::default() }]));
    for (expr, expected) in [
        ("cast(BilledCost AS DOUBLE) * Weight", json!(25.0)),
        ("BilledCost * cast(Weight AS DECIMAL(10, 2))", json!("25.0000000000000000000000")),
        ("BilledCost * 1e3", json!("12500.0000000000000000000000")),
        ("BilledCost * 1.81E-8", json!("0.0000002262500000000000")),
        ("coalesce(BilledCost, 0.0)", json!("12.5000000000000000000000")),
        ("BilledCost = 1.25e1", json!(true)),
        ("BilledCost IN (1, 12.5)", json!(true)),
        ("BilledCost BETWEEN 1e0 AND '12.51'", json!(true)),
        ("CASE WHEN Count > 1 THEN BilledCost ELSE 0.1 END", json!("12.5000000000000000000000")),
        ("CASE WHEN Count > 9 THEN BilledCost ELSE 0.1 END", json!("0.1000000000000000000000")),
        ("BilledCost * CASE WHEN Count > 1 THEN 1.1 ELSE 1 END", json!("13.7500000000000000000000")),
        ("sqrt(cast(BilledCost AS DOUBLE) * 2)", json!(5.0)),
    ] {
        assert_eq!(value(&bench, &format!("SELECT {expr} FROM bills")).await, expected, "{expr}");
    }
}

#[tokio::test]
async fn money_is_multiplied_and_divided_at_full_scale() {
    let bench = Bench::new();
    let table = pairs(
        MONEY,
        &[
            ("1000000000000.1234567890123456789012", "3000000000000"),
            ("-1000000000000.1234567890123456789012", "3000000000000"),
            ("0.0000000000000000000005", "0.0000000000000000000003"),
        ],
    );
    let rows =
        bench.rows(&format!("SELECT a * 1.1, 1.1 * a, a / b, 100 * a / b, a - b, -a, a % 7, a / 7 FROM {table}")).await;
    let expected = [
        json!([
            "1100000000000.1358024679135802467913",
            "1100000000000.1358024679135802467913",
            "0.3333333333333744855963",
            "33.3333333333374485596337",
            "-1999999999999.8765432109876543210988",
            "-1000000000000.1234567890123456789012",
            "1.1234567890123456789012",
            "142857142857.1604938270017636684145"
        ]),
        json!([
            "-1100000000000.1358024679135802467913",
            "-1100000000000.1358024679135802467913",
            "-0.3333333333333744855963",
            "-33.3333333333374485596337",
            "-4000000000000.1234567890123456789012",
            "1000000000000.1234567890123456789012",
            "-1.1234567890123456789012",
            "-142857142857.1604938270017636684145"
        ]),
        // 5.5 and 0.714… of the last digit.
        json!([
            "0.0000000000000000000006",
            "0.0000000000000000000006",
            "1.6666666666666666666667",
            "166.6666666666666666666667",
            "0.0000000000000000000002",
            "-0.0000000000000000000005",
            "0.0000000000000000000005",
            "0.0000000000000000000001"
        ]),
    ];
    assert_eq!(rows, expected);
    let of_quantity = format!(
        "SELECT a * cast('1000000000000.123456789012345' AS DECIMAL(38, 15)) FROM {}",
        pairs(MONEY, &[("0.0000123456789012345678", "0")])
    );
    assert_eq!(value(&bench, &of_quantity).await, json!("12345678.9012360919578753238753"));
}

#[tokio::test]
async fn quantities_and_counts_are_multiplied_with_prices() {
    let bill = |cost: &str, quantity: &str, count| Bill {
        cost: decimal(cost, 22),
        quantity: decimal(quantity, 15),
        count,
        ..Bill::default()
    };
    let bench = bench(&bills(&[bill("0.0125", "2600000000000.5", 1_000_000_000_000), bill("-0.5", "3", i64::MAX)]));
    let sql = "SELECT BilledCost * Quantity, BilledCost * Count, Quantity * 1.5, BilledCost + Count, BilledCost + Quantity, \
               Quantity > BilledCost, BilledCost = Quantity, Count > BilledCost, Quantity / Count, Quantity % BilledCost \
               FROM bills WHERE BilledCost > 0";
    assert_eq!(
        bench.rows(sql).await,
        [json!([
            "32500000000.0062500000000000000000",
            "12500000000.0000000000000000000000",
            "3900000000000.750000000000000",
            "1000000000000.0125000000000000000000",
            "2600000000000.5125000000000000000000",
            true,
            false,
            true,
            "2.6000000000005000000000",
            "0.0000000000000000000000"
        ])]
    );
    let overflow = "SELECT BilledCost * Count FROM bills WHERE BilledCost < 0";
    let error = rows(&bench.engine(), overflow).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Execution, "{error}");
    assert!(error.to_string().contains("too many digits"), "{error}");
    // 9.2e18 does not fit in 16 digits before the point, and is compared all the same.
    assert_eq!(value(&bench, "SELECT Count > BilledCost FROM bills WHERE BilledCost < 0").await, json!(true));
}

#[tokio::test]
async fn shares_of_a_sum_add_up() {
    let bench = Bench::new();
    let table = pairs(MONEY, &[("1000000000000.5", "0"), ("2000000000000.25", "0"), ("-0.75", "0")]);
    let sql = format!("SELECT a / sum(a) OVER (), round(100 * a / sum(a) OVER (), 2) FROM {table} ORDER BY a DESC");
    assert_eq!(
        bench.rows(&sql).await,
        [
            json!(["0.6666666666667500000000", "66.67"]),
            json!(["0.3333333333335000000000", "33.33"]),
            json!(["-0.0000000000002500000000", "0.00"]),
        ]
    );
}

#[tokio::test]
async fn what_does_not_fit_is_an_error() {
    let large = format!("cast('9999999999999999.9' AS {MONEY})");
    let huge = "99999999999999999999999999999999999999";
    for expr in [
        format!("{large} * 2"),
        format!("{large} + {large}"),
        format!("{large} - (-{large})"),
        format!("{large} / 0.1"),
        format!("{huge} + 1"),
        format!("-{huge} - 1"),
        format!("{huge} * 10"),
        format!("cast('10000000000000000' AS {MONEY})"),
        format!("cast({huge} AS {MONEY})"),
        format!("sum(x) FROM (VALUES (cast({huge} AS DECIMAL(38, 0))), (1.0)) AS v(x)"),
    ] {
        fails(&format!("SELECT {expr}"), ErrorKind::Execution, "").await;
    }
    for expr in ["1.5 / 0", "1.5 % 0", "1 / 0.0", "sum(BilledCost) / nullif(0, 1) FROM bills"] {
        let sql = format!("SELECT {expr}");
        if expr.starts_with("sum") {
            assert_eq!(value(&bench(&[]), &sql).await, json!(null));
        } else {
            fails(&sql, ErrorKind::Execution, "division by zero").await;
        }
    }
    all(&[
        ("1.5 / nullif(0.0, 0)", json!(null)),
        ("CASE WHEN 0 = 0.0 THEN NULL ELSE 1.5 / 0 END", json!(null)),
        ("99999999999999999999999999999999999999 + 0", json!("99999999999999999999999999999999999999")),
    ])
    .await;
}

#[tokio::test]
async fn texts_are_cast_to_the_last_digit() {
    all(&[
        ("'1.81E-8'::DECIMAL(38, 22)", json!("0.0000000181000000000000")),
        ("cast('-2.5e3' AS DECIMAL(10, 1))", json!("-2500.0")),
        ("cast('0.125' AS DECIMAL(10, 2))", json!("0.12")),
        ("cast('0.135' AS DECIMAL(10, 2))", json!("0.14")),
        ("cast(0.125 AS DECIMAL(10, 2))", json!("0.12")),
        ("cast(-0.135 AS DECIMAL(10, 2))", json!("-0.14")),
        ("cast(12 AS DECIMAL(10, 2))", json!("12.00")),
        ("cast(1.5 AS BIGINT)", json!(1)),
        ("cast(1.25 AS DOUBLE)", json!(1.25)),
        ("try_cast('x' AS DECIMAL(10, 2))", json!(null)),
        ("try_cast('1e99' AS DECIMAL(10, 2))", json!(null)),
        ("cast(NULL AS DECIMAL(10, 2)) + 1", json!(null)),
        ("1.10 > '1.09'", json!(true)),
        ("1.10 = '11e-1'", json!(true)),
    ])
    .await;
    fails("SELECT cast('1.2.3' AS DECIMAL(10, 2))", ErrorKind::Execution, "no number").await;
    fails("SELECT cast('123456789.1' AS DECIMAL(10, 2))", ErrorKind::Execution, "too many digits").await;
}

#[tokio::test]
async fn different_scales_meet() {
    all(&[
        ("coalesce(NULL, 1.5, 2)", json!("1.5")),
        ("CASE WHEN 1 = 2 THEN 1.25 ELSE 2.5 END", json!("2.50")),
        ("greatest(1.5, 1.25)", json!("1.50")),
        ("abs(cast('-9999999999999999.9' AS DECIMAL(38, 22)))", json!("9999999999999999.9000000000000000000000")),
        ("round(cast('2.345' AS DECIMAL(38, 22)), 2)", json!("2.35")),
    ])
    .await;
    let bench = Bench::new();
    let union = "SELECT x FROM (SELECT 1.5 AS x UNION ALL SELECT 2.25 UNION ALL SELECT 3) ORDER BY x";
    assert_eq!(bench.rows(union).await, [json!(["1.50"]), json!(["2.25"]), json!(["3.00"])]);
    let stats = "SELECT min(x), max(x), median(x), count(DISTINCT x) FROM (VALUES (1.5), (2.25), (3)) AS v(x)";
    assert_eq!(bench.rows(stats).await, [json!(["1.50", "3.00", "2.25", 3])]);
}

#[tokio::test]
async fn columns_are_called_as_they_are_written() {
    let answer = bench(&[]).engine().sql("SELECT BilledCost * 1.1, (BilledCost + 1) * Count FROM bills").await.unwrap();
    let names: Vec<&str> = answer.schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["bills.BilledCost * Decimal128(1.1,2,1)", "(bills.BilledCost + Int64(1)) * bills.Count"]);
    let plan = bench(&bills(&[Bill::default()])).plan("SELECT Count FROM bills WHERE BilledCost > 100").await;
    assert!(plan.contains("BilledCost@0 > 100.0000000000000000000000"), "no column is cast to prune by: {plan}");
    let grouped = "SELECT BilledCost * 2, count(*) FROM bills GROUP BY BilledCost * 2 HAVING sum(BilledCost) / 2 > 0.5";
    assert!(bench(&[]).rows(grouped).await.is_empty());
}

#[tokio::test]
async fn a_long_chain_of_decimals_does_not_exhaust_the_stack() {
    let bench = bench(&bills(&[Bill { cost: decimal("0.5", 22), ..Bill::default() }]));
    let chain = format!("SELECT BilledCost{} FROM bills", " + BilledCost".repeat(190));
    assert_eq!(value(&bench, &chain).await, json!("95.5000000000000000000000"));
    assert_eq!(value(&bench, &format!("SELECT 1.5{}", " + 1.5".repeat(190))).await, json!("286.5"));
    assert_eq!(value(&bench, &format!("SELECT Weight{} FROM bills", " + 0.5".repeat(190))).await, json!(95.0));
}
