//! Functions of ours as queries call them.

mod times;

use serde_json::{Value, json};

use crate::testing::{
    Bench,
    books::{ask, books, try_ask},
};

fn bench() -> Bench {
    let bench = bench_without_changes();
    let open = [
        json!({"export": "aws", "BillingMonth": "2026-11-01", "status": "Open", "changed_at": "2026-11-01T00:00:00Z"}),
    ];
    let batch = crate::testing::books::batch(schemas::billing_period_changes(), &open);
    bench.head(schemas::billing_period_changes(), batch, storage::Lane::InOrder, false);
    bench
}

fn bench_without_changes() -> Bench {
    let rate = |month: &str, to: &str, rate: &str, loaded: &str| json!({"source": loaded, "Month": month, "FromCurrency": "USD", "ToCurrency": to, "Rate": rate, "loaded_at": format!("{loaded}T00:00:00Z")});
    let rates = [
        rate("2026-09-01", "EUR", "0.9", "2026-10-01"),
        rate("2026-10-01", "EUR", "0.5", "2026-11-01"),
        rate("2026-10-01", "EUR", "0.925", "2026-11-02"),
        rate("2026-10-01", "JPY", "150.123456789", "2026-11-01"),
    ];
    let cost = |currency: &str, cost: &str, month: &str| json!({"BillingCurrency": currency, "BilledCost": cost, "BillingPeriodStart": format!("{month}T00:00:00Z"), "EffectiveCost": null});
    let costs: [Value; 3] = [
        cost("USD", "10", "2026-10-01"),
        cost("USD", "20", "2026-11-01"),
        cost("EUR", "0.0000000000000000000001", "1999-01-01"),
    ];
    books(&[(schemas::exchange_rates(), &rates), (schemas::costs(), &costs)])
}

#[tokio::test]
async fn amounts_are_converted_at_the_rate_of_their_month() {
    let bench = bench();
    let sql = "SELECT convert_currency(BilledCost, BillingCurrency, 'EUR', BillingPeriodStart) AS eur, \
               rate_is_provisional(BillingCurrency, 'EUR', BillingPeriodStart), \
               convert_currency(EffectiveCost, BillingCurrency, 'EUR', BillingPeriodStart) FROM costs ORDER BY 1";
    assert_eq!(ask(&bench, sql).await, ["0.0000000000000000000001 false -", "9.25 false -", "18.5 true -"]);
    let sum = "SELECT sum(convert_currency(BilledCost, billingcurrency, 'EUR', BillingPeriodStart)) > 27.75 FROM costs";
    assert_eq!(ask(&bench, sum).await, ["true"]);
    for (sql, expected) in [
        ("SELECT convert_currency(3, 'usd', 'jpy', '2026-10-15')", "450.370370367"),
        ("SELECT convert_currency(-0.01, 'USD', 'EUR', date '2026-09-30')", "-0.009"),
        // Half a unit of the last digit goes to the even one.
        ("SELECT convert_currency(0.00000000000000000001, 'USD', 'EUR', '2026-10-01')", "0.0000000000000000000092"),
        ("SELECT convert_currency(NULL, 'USD', 'EUR', '2026-10-01') IS NULL", "true"),
        ("SELECT convert_currency(1, NULL, 'EUR', '2026-10-01') IS NULL", "true"),
        ("SELECT convert_currency(1.5, 'CHF', 'CHF', '1970-01-01')", "1.5"),
    ] {
        assert_eq!(ask(&bench, sql).await, [expected], "{sql}");
    }
}

#[tokio::test]
async fn what_cannot_be_converted_is_an_error_that_says_what_to_do() {
    let bench = bench();
    for (sql, expected) in [
        (
            "SELECT convert_currency(1, 'EUR', 'USD', '2026-10-01')",
            "only for the other one: load it with `streamgauge import rates FILE` from=EUR to=USD month=2026-10",
        ),
        ("SELECT convert_currency(1, 'USD', 'CHF', '2026-10-01')", "from=USD to=CHF month=2026-10"),
        ("SELECT convert_currency(1, 'USD', 'EUR', '2026-08-01')", "later ones"),
        ("SELECT rate_is_provisional('USD', 'CHF', '2026-10-01')", "from=USD to=CHF"),
        (
            "SELECT convert_currency(1e0, 'USD', 'EUR', '2026-10-01')",
            "write convert_currency(amount, from, to, BillingPeriodStart)",
        ),
        ("SELECT convert_currency(1, 'USD', 'EUR')", "write convert_currency"),
        (
            "SELECT mandatory_tag('Squad', Tags, SubAccountId, ServiceName, ChargePeriodStart) FROM costs",
            "Environment, Team",
        ),
        (
            "SELECT mandatory_tag(SubAccountId, Tags, SubAccountId, ServiceName, ChargePeriodStart) FROM costs",
            "name in quotes",
        ),
        ("SELECT mandatory_tag('Team', SubAccountId) FROM costs", "write mandatory_tag"),
        ("SELECT invoice_tolerance('x', 'USD')", "write invoice_tolerance(rows, currency)"),
    ] {
        let error = try_ask(&bench, sql).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{sql}: {error}");
        assert_ne!(error.kind, crate::ErrorKind::Internal, "{sql}: {error}");
    }
}

#[tokio::test]
async fn rates_are_read_only_by_queries_that_convert() {
    let bench = bench();
    let plan = bench.plan("SELECT convert_currency(BilledCost, 'USD', 'EUR', BillingPeriodStart) FROM costs").await;
    assert!(plan.contains("convert_currency") && !plan.contains("exchange_rates"), "{plan}");
    // A closed month has no rate but its own.
    let closed = [
        json!({"export": "aws", "BillingMonth": "2026-11-01", "status": "Closed", "changed_at": "2026-12-03T00:00:00Z"}),
    ];
    let batch = crate::testing::books::batch(schemas::billing_period_changes(), &closed);
    bench.head(schemas::billing_period_changes(), batch, storage::Lane::InOrder, false);
    let error = try_ask(&bench, "SELECT convert_currency(1, 'USD', 'EUR', '2026-11-01')").await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

#[tokio::test]
async fn a_month_is_closed_when_every_export_that_has_it_is() {
    let change = |export: &str, month: &str, at: &str, status: &str| json!({"export": export, "BillingMonth": month, "changed_at": at, "status": status});
    let first = [
        change("aws", "2026-11-01", "2026-12-01T00:00:00Z", "Closing"),
        change("aws", "2026-11-01", "2026-12-03T00:00:00Z", "Closed"),
        // Other months of an export say nothing of this one, nor do exports that do not have it.
        change("aws", "2026-12-01", "2026-12-01T00:00:00Z", "Open"),
        change("oci", "2026-10-01", "2026-12-01T00:00:00Z", "Open"),
    ];
    for (then, is_closed) in [
        (vec![], true),
        (vec![("azure", "2026-12-01T00:00:00Z", "Closing")], false),
        (vec![("azure", "2026-11-01T00:00:00Z", "Open")], false),
        (vec![("azure", "2026-12-01T00:00:00Z", "Closing"), ("azure", "2026-12-04T00:00:00Z", "Closed")], true),
        (vec![("azure", "2026-12-04T00:00:00Z", "Closed"), ("azure", "2026-12-05T00:00:00Z", "Reopened")], false),
        (vec![("aws", "2026-12-09T00:00:00Z", "Reopened")], false),
        (vec![("aws", "2026-12-09T00:00:00Z", "Reopened"), ("aws", "2026-12-10T00:00:00Z", "Closed")], true),
    ] {
        let bench = bench_without_changes();
        let then = then.iter().map(|(export, at, status)| change(export, "2026-11-01", at, status));
        let changes: Vec<_> = first.iter().cloned().chain(then).collect();
        let batch = crate::testing::books::batch(schemas::billing_period_changes(), &changes);
        bench.head(schemas::billing_period_changes(), batch, storage::Lane::InOrder, false);
        let found = try_ask(&bench, "SELECT convert_currency(10, 'USD', 'EUR', '2026-11-01')").await;
        match found {
            Err(error) => assert!(is_closed && error.to_string().contains("closed"), "{changes:?}: {error}"),
            Ok(rows) => assert!(!is_closed && rows == ["9.25"], "{changes:?}: {rows:?}"),
        }
    }
}

#[tokio::test]
async fn a_mandatory_tag_is_found_in_any_map_of_tags() {
    let line = json!({"Tags": {"user_Cost-Center": "42", "team": ""}, "SubAccountId": "1", "ServiceName": "s3"});
    let bench = books(&[(schemas::costs(), &[line])]);
    let sql = "SELECT mandatory_tag('costcenter', Tags, SubAccountId, ServiceName, ChargePeriodStart), \
               mandatory_tag('Team', Tags, NULL, NULL, ChargePeriodStart) IS NULL, \
               mandatory_tag('Team', NULL, 'a', 'b', '2026-11-01') IS NULL FROM costs";
    assert_eq!(ask(&bench, sql).await, ["42 true true"]);
}

#[tokio::test]
async fn a_month_that_is_asked_for_is_a_stretch_of_time() {
    let cost = |day: &str, cost: &str| json!({"ChargePeriodStart": format!("{day}Z"), "BilledCost": cost});
    let costs = [
        cost("2026-09-30T23:59:59.999", "1"),
        cost("2026-10-01T00:00:00", "2"),
        cost("2026-10-31T23:00:00", "4"),
        cost("2026-11-01T00:00:00", "8"),
    ];
    let bench = books(&[(schemas::costs(), &costs)]);
    for (condition, expected) in [
        ("date_trunc('month', ChargePeriodStart) = '2026-10-01'", "6"),
        ("date_trunc('month', ChargePeriodStart) = DATE '2026-10-01'", "6"),
        ("date_trunc('month', ChargePeriodStart) >= '2026-10-01'", "14"),
        ("date_trunc('month', ChargePeriodStart) > '2026-10-01'", "8"),
        ("date_trunc('quarter', ChargePeriodStart) < '2026-10-01'", "1"),
        ("date_trunc('year', ChargePeriodStart) <= '2026-01-01'", "15"),
        ("date_trunc('month', ChargePeriodStart) >= '2026-10-02'", "8"),
        ("date_trunc('month', ChargePeriodStart) = '2026-10-02'", "-"),
        ("date_trunc('week', ChargePeriodStart) = '2026-09-28'", "3"),
    ] {
        let sql = format!("SELECT sum(BilledCost) FROM costs WHERE {condition}");
        assert_eq!(ask(&bench, &sql).await, [expected], "{condition}");
    }
    let plan = "EXPLAIN SELECT BilledCost FROM costs WHERE date_trunc('month', ChargePeriodStart) = '2026-10-01'";
    let plan = ask(&bench, plan).await.join("\n");
    assert!(!plan.contains("date_trunc(") && plan.contains("< 1793491200000000"), "{plan}");
}
