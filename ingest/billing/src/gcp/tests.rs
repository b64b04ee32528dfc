//! Lines with credits, with what they cost worked out by hand.

use crate::testing::{Read, read};

const HEAD: &str = "billing_account_id,service.description,sku.id,sku.description,usage_start_time,usage_end_time,project.id,\
project.labels,labels,system_labels,location.location,location.region,cost,currency,usage.amount,usage.unit,\
usage.amount_in_pricing_units,usage.pricing_unit,credits,invoice.month,cost_type";

fn line(sku: &str, cost: &str, credits: &str, kind: &str) -> String {
    format!(
        "b1,Compute Engine,k1,{sku},2026-10-31 23:00:00+00:00,2026-11-01 00:00:00+00:00,p1,\"[{{'key': 'env', 'value': 'prod'}}]\",\
         \"[{{'key': 'team', 'value': 'blue'}}]\",[],us,us-east1,{cost},USD,3600.0,seconds,1.0,hour,\"{credits}\",202611,{kind}"
    )
}

fn bill(lines: &[String]) -> Read {
    read(&format!("{HEAD}\n{}\n", lines.join("\n")), |_| {})
}

const COSTS: [&str; 8] = [
    "x_Origin",
    "ChargeCategory",
    "x_DeliveredCost",
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "PricingCategory",
    "x_Adjustments",
];

#[test]
fn discounts_are_taken_off_and_promotions_are_rows() {
    let credits = "[{'name': 'Committed', 'amount': -4.0, 'full_name': None, 'id': 'c1', 'type': 'COMMITTED_USAGE_DISCOUNT'}, \
                   {'name': 'Sustained', 'amount': -1.5, 'type': 'SUSTAINED_USAGE_DISCOUNT'}, \
                   {'name': 'Trial', 'amount': -2.25, 'full_name': 'Free trial', 'id': 't1', 'type': 'PROMOTION'}]";
    let read = bill(&[line("N2 Core", "10.0", credits, "regular")]);
    assert_eq!(
        read.rows(&COSTS),
        [
            "delivered|Usage|10|4.5|4.5|10|Committed|discount-applied",
            "derived|Credit|0|-2.25|-2.25|-2.25||credit-of-line",
        ]
    );
    assert_eq!(
        read.rows(&["ChargeDescription", "CommitmentDiscountId", "ConsumedQuantity"]),
        ["N2 Core|c1|3600", "Free trial||"]
    );
    let usage = &read.report.totals[&("USD".to_owned(), "Usage".to_owned())];
    let credit = &read.report.totals[&("USD".to_owned(), "Credit".to_owned())];
    for totals in [usage, credit] {
        assert_eq!(totals.billed, totals.delivered + totals.credits, "what is billed is the cost and the credits");
    }
    assert_eq!(read.sums("USD"), "delivered 10 billed 2.25 effective 2.25");
}

#[test]
fn a_month_of_invoices_may_have_usage_of_the_one_before() {
    let lines = [
        line("N2 Core", "1", "[]", "regular"),
        line("", "-0.5", "[]", "adjustment"),
        line("", "0.2", "[]", "tax"),
        line("Commitment v1: Cpu", "7", "[]", "regular"),
    ];
    let read = bill(&lines);
    assert_eq!(
        read.rows(&["ChargeCategory", "ChargeClass", "BillingPeriodStart", "BillingPeriodEnd", "x_BillingMonth"]),
        [
            "Usage||2026-11-01T07:00:00Z|2026-12-01T08:00:00Z|2026-11-01",
            "Adjustment|Correction|2026-11-01T07:00:00Z|2026-12-01T08:00:00Z|2026-11-01",
            "Tax||2026-11-01T07:00:00Z|2026-12-01T08:00:00Z|2026-11-01",
            "Purchase||2026-11-01T07:00:00Z|2026-12-01T08:00:00Z|2026-11-01",
        ]
    );
    assert_eq!(read.rows(&["Tags", "RegionId", "ServiceCategory"])[0], "project:env=prod team=blue|us-east1|Compute");
}

#[test]
fn credits_that_cannot_be_read_reject_the_line() {
    let read = bill(&[
        line("a", "1", "[{'name': 'x'}]", "regular"),
        line("b", "1", "nonsense", "regular"),
        line("c", "1", "", "regular"),
    ]);
    assert_eq!(read.rows(&["ChargeDescription"]), ["c"]);
    let reasons: Vec<_> = read.report.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(reasons, ["a credit without an amount", "no list of credits"]);
}

#[test]
fn lines_of_json_keep_their_numbers_and_grow_columns() {
    let first = r#"{"billing_account_id":"b1","service":{"id":"s","description":"BigQuery"},"sku":{"id":"k"},"usage_start_time":"2026-10-01 00:00:00 UTC","cost":0.1234567890123456789012345,"currency":"USD","invoice":{"month":"202610"},"labels":[{"key":"team","value":"blue"}]}"#;
    let second = r#"{"billing_account_id":"b1","service":{"description":"BigQuery"},"usage_start_time":"2026-10-01 01:00:00 UTC","cost":5e-06,"currency":"USD","invoice":{"month":"202610"},"credits":[{"name":"d","amount":-1e-06,"type":"DISCOUNT"}],"project":{"id":"p1","number":"7"},"new":{"thing":true}}"#;
    let read = read(&format!("{first}\nnot json\n\n{second}\n"), |_| {});
    assert_eq!(
        read.rows(&["x_DeliveredCost", "BilledCost", "SubAccountId", "Tags", "x_Columns"]),
        [
            "0.1234567890123456789012|0.1234567890123456789012||team=blue|x_invoice_month=202610 x_service_id=s",
            "0.000005|0.000004|p1||x_credits=[{\"name\":\"d\",\"amount\":-1e-06,\"type\":\"DISCOUNT\"}] x_invoice_month=202610 x_new_thing=true x_project_number=7",
        ]
    );
    let usage = &read.report.totals[&("USD".to_owned(), "Usage".to_owned())];
    assert_eq!(usage.delivered_text(), "0.1234617890123456789012345", "rounding is told");
    assert_eq!((read.report.values_rounded, read.report.rejects[0].line), (1, 2));
}
