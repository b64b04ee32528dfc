//! Names of columns, as SQL through the engine.

use serde_json::json;

use crate::{
    ErrorKind,
    testing::{
        Bench,
        bills::{Bill, bench, bills, decimal},
        rows,
    },
};

fn two_bills() -> Bench {
    let bill = |cost: &str, region: &str, team| Bill {
        cost: decimal(cost, 22),
        region: region.to_owned(),
        team,
        ..Bill::default()
    };
    bench(&bills(&[bill("1", "eu", Some("a")), bill("2", "us", None)]))
}

async fn names(bench: &Bench, sql: &str) -> Vec<String> {
    let answer = bench.engine().sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    answer.schema.fields().iter().map(|field| field.name().clone()).collect()
}

#[tokio::test]
async fn names_match_but_for_case_wherever_they_stand() {
    let bench = two_bills();
    for sql in [
        "SELECT BilledCost FROM bills",
        "SELECT billedcost FROM bills",
        "SELECT BILLEDCOST FROM BILLS",
        "SELECT \"BilledCost\" FROM bills",
        "SELECT b.billedcost FROM bills b",
        "SELECT B.billedcost FROM bills AS B",
        "SELECT bills.billedcost FROM bills",
        "SELECT streamgauge.public.bills.billedcost FROM streamgauge.public.bills",
        "SELECT billedcost FROM (SELECT billedcost FROM bills)",
        "SELECT x.BILLEDCOST FROM (SELECT * FROM bills) AS x",
        "WITH Costs AS (SELECT billedcost FROM bills) SELECT BilledCost FROM costs",
        "WITH a AS (SELECT * FROM bills), b AS (SELECT * FROM a) SELECT billedcost FROM b",
        "SELECT billedcost FROM bills WHERE billedcost > 0 AND REGION IN ('eu', 'us')",
        "SELECT billedcost FROM bills ORDER BY BILLEDCOST DESC",
        "SELECT billedcost FROM bills GROUP BY billedcost HAVING sum(BilledCost) > 0",
        "SELECT a.billedcost FROM bills a JOIN bills b ON a.region = b.REGION AND a.chargeperiodstart = b.ChargePeriodStart",
        "SELECT a.billedcost FROM bills a JOIN bills b USING (region)",
        "SELECT billedcost FROM bills o WHERE EXISTS (SELECT 1 FROM bills i WHERE i.region = o.region AND o.billedcost > 0)",
        "SELECT billedcost FROM bills WHERE region IN (SELECT region FROM bills)",
        "SELECT billedcost FROM bills UNION ALL SELECT billedcost FROM bills ORDER BY billedcost",
        "SELECT * EXCLUDE (quantity, chargeperiodstart, count, weight, region, tags) FROM bills",
        "SELECT * EXCEPT (quantity, chargeperiodstart, count, weight, region, tags) FROM bills",
    ] {
        assert_eq!(names(&bench, sql).await, ["BilledCost"], "{sql}");
        assert!(rows(&bench.engine(), sql).await.is_ok_and(|rows| rows.len() >= 2), "{sql}");
    }
    assert!(rows(&bench.engine(), "EXPLAIN SELECT billedcost FROM bills").await.is_ok());
    assert!(rows(&bench.engine(), "EXPLAIN ANALYZE SELECT billedcost FROM bills").await.is_ok());
}

#[tokio::test]
async fn aliases_with_capitals_are_found() {
    let bench = two_bills();
    for sql in [
        "SELECT Total FROM (SELECT sum(BilledCost) AS Total FROM bills)",
        "SELECT T.total FROM (SELECT sum(BilledCost) AS Total FROM bills) AS T",
        "WITH C AS (SELECT sum(BilledCost) AS Total FROM bills) SELECT c.TOTAL FROM C",
        "WITH C(Total) AS (SELECT sum(BilledCost) FROM bills) SELECT TOTAL FROM c",
        "SELECT sum(BilledCost) AS Total FROM bills ORDER BY Total",
        "SELECT SUM(i) AS Total FROM generate_series(1, 2) AS G(I) WHERE g.i > 0",
        "SELECT \"Total\" AS total FROM (SELECT sum(BilledCost) AS \"Total\" FROM bills)",
        "SELECT TOTAL AS total FROM (SELECT sum(BilledCost) AS \"Total\" FROM bills)",
    ] {
        assert_eq!(names(&bench, sql).await, ["total"], "{sql}");
        assert_eq!(rows(&bench.engine(), sql).await.unwrap().len(), 1, "{sql}");
    }
}

#[tokio::test]
async fn an_alias_keeps_its_own_name_and_is_found_by_it() {
    let bench = two_bills();
    for sql in [
        "SELECT count(*) AS billedcost FROM bills GROUP BY region",
        "SELECT count(*) AS BilledCost FROM bills GROUP BY region",
        "SELECT sum(billedcost) AS BilledCost FROM bills GROUP BY region ORDER BY billedcost",
        "SELECT sum(billedcost) AS billedcost FROM bills GROUP BY region ORDER BY BilledCost DESC",
        "SELECT sum(BilledCost) AS billedcost FROM bills GROUP BY region HAVING sum(BilledCost) > 0",
        "SELECT sum(billedcost) OVER (PARTITION BY region ORDER BY chargeperiodstart) AS billedcost FROM bills",
        "SELECT BILLEDCOST FROM (SELECT sum(BilledCost) AS billedcost FROM bills GROUP BY region)",
        "WITH c AS (SELECT region, sum(BilledCost) AS BilledCost FROM bills GROUP BY 1) SELECT c.BilledCost FROM c ORDER BY billedcost",
        "SELECT billedcost + 1 AS billedcost FROM bills WHERE BilledCost > 0 GROUP BY billedcost",
        "SELECT billedcost AS billedcost FROM bills UNION ALL SELECT billedcost FROM bills ORDER BY BilledCost",
    ] {
        assert_eq!(names(&bench, sql).await, ["billedcost"], "{sql}");
        assert!(rows(&bench.engine(), sql).await.is_ok_and(|rows| rows.len() >= 2), "{sql}");
    }
    assert_eq!(names(&bench, "SELECT count(*) AS \"BilledCost\" FROM bills").await, ["BilledCost"]);
    // What is ordered is the result, not the column of the same name.
    let by_result = "SELECT cast(-BilledCost AS INT) AS billedcost FROM bills ORDER BY BilledCost";
    assert_eq!(bench.rows(by_result).await, [json!([-2]), json!([-1])]);
    // Groups are of the column: PostgreSQL takes the name of a table before one of a result.
    let by_column = "SELECT 'x' AS region, count(*) FROM bills GROUP BY Region";
    assert_eq!(bench.rows(by_column).await.len(), 2);
}

#[tokio::test]
async fn quotes_are_exact_and_names_that_differ_by_case_alone_are_refused() {
    let bench = two_bills();
    let error = rows(&bench.engine(), "SELECT \"billedcost\" FROM bills").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    let error = rows(&bench.engine(), "SELECT nothing FROM bills").await.unwrap_err();
    assert_eq!(error.position.map(|p| (p.line, p.column)), Some((1, 8)), "{error}");
    let two = "(SELECT BilledCost AS \"Cost\", -BilledCost AS \"COST\" FROM bills WHERE region = 'eu')";
    let error = rows(&bench.engine(), &format!("SELECT\n cost FROM {two}")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("\"Cost\" or \"COST\""), "{error}");
    assert_eq!(error.position.map(|p| (p.line, p.column)), Some((2, 2)), "{error}");
    for (name, expected) in [("Cost", "1"), ("COST", "-1"), ("\"COST\"", "-1")] {
        let value = rows(&bench.engine(), &format!("SELECT cast({name} AS DECIMAL(3, 0)) FROM {two}")).await.unwrap();
        assert_eq!(value, [json!([expected])], "{name}");
    }
}

#[tokio::test]
async fn tags_are_read_with_arrows() {
    let bench = two_bills();
    for sql in [
        "SELECT Tags->>'Team' FROM bills ORDER BY Region",
        "SELECT Tags->'Team' FROM bills ORDER BY Region",
        "SELECT Tags ->> 'Team' FROM bills ORDER BY Region",
        "SELECT tags['Team'] FROM bills ORDER BY Region",
        "SELECT b.Tags->>'Team' FROM bills b ORDER BY Region",
    ] {
        assert_eq!(bench.rows(sql).await, [json!(["a"]), json!([null])], "{sql}");
    }
    for (condition, expected) in [
        ("Tags->>'Team' = 'a'", 1),
        ("'a' = Tags->>'Team'", 1),
        ("Tags->>'Team' = 'b'", 0),
        ("Tags->>'Team' IS NULL", 1),
        ("Tags->>'team' IS NULL", 2),
        ("Tags->>'Team' LIKE 'a%' AND Region = 'eu'", 1),
        ("Tags->>'Team' IN ('a', 'b')", 1),
        ("upper(Tags->>'Team') || 'x' = 'Ax'", 1),
        ("NOT Tags->>'Team' = 'b'", 1),
        ("coalesce(Tags->>'Team', 'none') = 'none'", 1),
    ] {
        let sql = format!("SELECT count(*) FROM bills WHERE {condition}");
        assert_eq!(bench.rows(&sql).await, [json!([expected])], "{condition}");
    }
    let grouped = "SELECT Tags->>'Team' AS Team, cast(sum(BilledCost) AS DECIMAL(9, 1)) FROM bills GROUP BY Tags->>'Team' ORDER BY 2";
    assert_eq!(bench.rows(grouped).await, [json!(["a", "1.0"]), json!([null, "2.0"])]);
    assert_eq!(bench.rows("SELECT '->' || '->>'").await, [json!(["->->>"])]);
    let error = rows(&bench.engine(), "SELECT Tags->Region FROM bills").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "a key is written in quotes: {error}");
}
