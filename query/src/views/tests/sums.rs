//! Views that sum up.

use super::*;

#[tokio::test]
async fn a_correction_is_in_the_month_of_its_charge_and_in_that_of_its_invoice() {
    let daily = |scope: &str, month: &str, start: &str, class: Value, cost: &str| {
        json!({
            "x_Scope": scope, "x_BillingMonth": month, "ChargePeriodStart": start, "ServiceName": "ec2", "SubAccountId": "1",
            "ChargeClass": class, "BillingCurrency": "USD", "BilledCost": cost, "EffectiveCost": cost, "x_Rows": 2, "Team": "a",
        })
    };
    let rows = [
        daily("aws/2026-10", "2026-10-01", "2026-10-05T00:00:00Z", json!(null), "100"),
        daily("aws/2026-10", "2026-10-01", "2026-10-31T00:00:00Z", json!(null), "11.5"),
        daily("aws/2026-11", "2026-11-01", "2026-11-01T00:00:00Z", json!(null), "70"),
        daily("aws/2026-11", "2026-11-01", "2026-10-05T00:00:00Z", json!("Correction"), "-30"),
    ];
    let bench = books(&[(schemas::costs_daily(), &rows)]);
    let by =
        |view: &str| format!("SELECT month, sum(BilledCost), sum(x_Rows), max(Team) FROM {view} GROUP BY 1 ORDER BY 1");
    assert_eq!(ask(&bench, &by("costs_as_incurred")).await, ["2026-10-01 81.5 6 a", "2026-11-01 70 2 a"]);
    assert_eq!(ask(&bench, &by("costs_as_invoiced")).await, ["2026-10-01 111.5 4 a", "2026-11-01 40 4 a"]);
    let groups = "SELECT month, x_Scope, ChargeClass, EffectiveCost, ListCost FROM costs_as_incurred ORDER BY 1, 2";
    let expected = [
        "2026-10-01 aws/2026-10 - 111.5 -",
        "2026-10-01 aws/2026-11 Correction -30 -",
        "2026-11-01 aws/2026-11 - 70 -",
    ];
    assert_eq!(ask(&bench, groups).await, expected);
}

#[tokio::test]
async fn savings_show_losses_and_count_what_has_no_price() {
    let at = "2026-11-02T00:00:00Z";
    let rows = [
        line("1", "ec2", at, ["6", "6", "10", "8"]),
        // A price above list, and a commitment that nothing used.
        line("1", "ec2", at, ["5", "5", "3", "4"]),
        with(
            line("1", "ec2", at, ["0", "1", "0", "0"]),
            json!({"CommitmentDiscountStatus": "Unused", "CommitmentDiscountId": "sp"}),
        ),
        // Its purchase is in no column.
        with(
            line("1", "ec2", at, ["100", "0", "100", "100"]),
            json!({"ChargeCategory": "Purchase", "CommitmentDiscountId": "sp"}),
        ),
        line("1", "ec2", at, ["7", "7", "-", "-"]),
        line("1", "ec2", at, ["2", "2", "9", "-"]),
        line("2", "s3", at, ["0", "0", "0", "0"]),
        with(line("2", "s3", at, ["3", "3", "4", "4"]), json!({"BillingCurrency": "EUR"})),
        with(line("1", "ec2", at, ["-5", "-5", "-5", "-5"]), json!({"ChargeCategory": null})),
    ];
    let bench = books(&[(schemas::costs(), &rows)]);
    let sql = "SELECT month, ProviderName, SubAccountId, ServiceName, BillingCurrency, ListCost, ContractedCost, EffectiveCost, \
               negotiated_savings, commitment_savings, total_savings, effective_savings_rate, rows_without_price, \
               EffectiveCost_without_price FROM savings ORDER BY SubAccountId, BillingCurrency";
    assert_eq!(
        ask(&bench, sql).await,
        [
            // List 10 + 3 + 0 + 9 − 5, contracted 8 + 4 + 0 − 5, effective 6 + 5 + 1 + 7 + 2 − 5; 2 − 1, 2 − 1 − 1; 1 of 10 + 3 − 5.
            "2026-11-01 AWS 1 ec2 USD 17 7 16 1 0 1 0.125 2 9",
            "2026-11-01 AWS 2 s3 EUR 4 4 3 0 1 1 0.25 0 0",
            "2026-11-01 AWS 2 s3 USD 0 0 0 0 0 0 - 0 0",
        ]
    );
}

#[tokio::test]
async fn a_commitment_is_used_covers_and_ends() {
    let at = |day: u32| format!("2026-11-{day:02}T00:00:00Z");
    let of = |id: &str, status: Value, category: &str| {
        json!({"CommitmentDiscountId": id, "CommitmentDiscountStatus": status, "ChargeCategory": category, "CommitmentDiscountName": "main",
               "CommitmentDiscountType": "Savings Plan", "CommitmentDiscountCategory": "Spend", "PricingCategory": "Committed"})
    };
    let rows = [
        with(line("1", "ec2", &at(2), ["0", "6", "10", "9"]), of("sp", json!("Used"), "Usage")),
        with(line("1", "fargate", &at(3), ["0", "1.5", "3", "-"]), of("sp", json!("Used"), "Usage")),
        with(line("1", "ec2", &at(4), ["0", "2.5", "0", "0"]), of("sp", json!("Unused"), "Usage")),
        with(
            line("1", "plans", &at(1), ["10", "0", "10", "10"]),
            with(
                of("sp", json!(null), "Purchase"),
                json!({"x_Columns": {"x_savingsPlan_EndTime": "2027-05-01T00:00:00.000Z"}}),
            ),
        ),
        // Bought a month before, for a year.
        with(
            line("1", "ec2", "2026-10-15T00:00:00Z", ["1200", "0", "1200", "1200"]),
            with(
                of("ri", json!(null), "Purchase"),
                json!({"x_BillingMonth": "2026-10-01", "x_Scope": "aws/2026-10", "BillingPeriodStart": "2026-10-01T00:00:00Z",
                       "BillingPeriodEnd": "2026-11-01T00:00:00Z", "ChargePeriodEnd": "2027-10-15T00:00:00Z"}),
            ),
        ),
        with(line("1", "ec2", &at(5), ["0", "4", "8", "7"]), of("ri", json!("Used"), "Usage")),
        line("1", "ec2", &at(6), ["4", "4", "5", "4"]),
        line("2", "fargate", &at(6), ["1", "1", "1", "-"]),
        with(line("2", "ec2", &at(6), ["50", "50", "50", "50"]), json!({"PricingCategory": "Dynamic"})),
        line("2", "s3", &at(6), ["9", "9", "9", "9"]),
    ];
    let by_month = |rows: Vec<Value>, scope: &str| -> Vec<Value> {
        rows.into_iter().filter(|row| row["x_Scope"] == scope).collect()
    };
    let bench = books(&[
        (schemas::costs(), &by_month(rows.to_vec(), "aws/2026-11")),
        (schemas::costs(), &by_month(rows.to_vec(), "aws/2026-10")),
    ]);
    let sql = "SELECT month, CommitmentDiscountId, used_cost, unused_cost, utilisation, saved_cost, covered_cost, uncovered_cost, \
               coverage, BilledCost, last_charge, expires_at FROM commitments ORDER BY 1, 2";
    assert_eq!(
        ask(&bench, sql).await,
        [
            "2026-10-01 ri 0 0 - 0 - - - 1200 2026-10-15T00:00:00.000Z 2027-10-15T00:00:00.000Z",
            // Of ec2 16 are covered and 4 are not.
            "2026-11-01 ri 4 0 1 3 16 4 0.8 0 2026-11-05T00:00:00.000Z 2027-10-15T00:00:00.000Z",
            // Of ec2 and fargate 17.5 and 5; what was saved is 9 − 6, less 2.5 that nothing used.
            "2026-11-01 sp 7.5 2.5 0.75 0.5 17.5 5 0.7777777777777777777778 10 2026-11-04T00:00:00.000Z 2027-05-01T00:00:00.000Z",
        ]
    );
    let named = "SELECT DISTINCT CommitmentDiscountName, CommitmentDiscountType, CommitmentDiscountCategory, ProviderName, BillingCurrency FROM commitments";
    assert_eq!(ask(&bench, named).await, ["main Savings Plan Spend AWS USD"]);
}

#[tokio::test]
async fn a_fee_that_has_the_cost_of_what_it_covers_is_saved_less() {
    let at = "2026-11-02T00:00:00Z";
    let of = |id: &str, status: Value, category: &str| json!({"CommitmentDiscountId": id, "CommitmentDiscountStatus": status, "ChargeCategory": category, "ProviderName": "Google Cloud"});
    // As in the golden month of Google Cloud: 50 and 30 of usage, of which 10 are not covered, for a fee of 45; and 40 for a fee of 30.
    let rows = [
        with(line("1", "compute", at, ["0", "0", "50", "50"]), of("a", json!("Used"), "Usage")),
        with(line("1", "compute", at, ["10", "10", "30", "30"]), of("a", json!("Used"), "Usage")),
        with(line("1", "compute", at, ["45", "45", "45", "45"]), of("a", json!(null), "Purchase")),
        with(line("1", "run", at, ["0", "0", "40", "40"]), of("b", json!("Used"), "Usage")),
        with(line("1", "fees", at, ["30", "30", "30", "30"]), of("b", json!(null), "Purchase")),
        // A fee whose effective cost is not known is one that nothing is known of.
        with(line("1", "none", at, ["5", "-", "5", "5"]), of("c", json!(null), "Purchase")),
        // A refund that does not name its commitment.
        with(line("1", "refund", at, ["-9", "0", "-9", "-9"]), json!({"ChargeCategory": "Purchase"})),
        with(line("1", "gift", at, ["0", "0", "9", "9"]), json!({"ChargeCategory": "Purchase"})),
    ];
    let bench = books(&[(schemas::costs(), &rows)]);
    let sql = "SELECT CommitmentDiscountId, used_cost, unused_cost, utilisation, saved_cost, BilledCost FROM commitments ORDER BY 1";
    assert_eq!(ask(&bench, sql).await, ["a 10 0 - 25 55", "b 0 0 - 10 30", "c 0 0 - 0 5"]);
    let sql = "SELECT ServiceName, ListCost, ContractedCost, EffectiveCost, negotiated_savings, commitment_savings, effective_savings_rate, \
               rows_without_price FROM savings ORDER BY 1";
    assert_eq!(
        ask(&bench, sql).await,
        ["compute 80 80 55 0 25 0.3125 0", "fees 0 0 30 0 -30 - 0", "gift 9 9 0 0 9 1 0", "run 40 40 0 0 40 1 0"]
    );
}

#[tokio::test]
async fn a_rate_of_savings_is_of_what_has_a_price() {
    let at = "2026-11-02T00:00:00Z";
    let of = |category: &str, cost: &str| {
        with(line("1", "ec2", at, [cost, cost, cost, cost]), json!({"ChargeCategory": category}))
    };
    let rows = [
        line("1", "ec2", at, ["6", "6", "12", "8"]),
        // What is taken back of usage is taken from its price as well.
        with(line("1", "ec2", at, ["-1", "-1", "-2", "-1"]), json!({"ChargeClass": "Correction"})),
        // A share of another line's cost stands beside the costs, and in none of them.
        with(line("1", "ec2", at, ["0", "0", "0", "0"]), json!({"x_SplitCost": "7", "x_Adjustments": "split-cost"})),
        of("Tax", "100"),
        of("Credit", "-50"),
        of("Adjustment", "0.01"),
        of("Purchase", "10"),
    ];
    let bench = books(&[(schemas::costs(), &rows)]);
    let sql = "SELECT ListCost, EffectiveCost, total_savings, effective_savings_rate, rows_without_price FROM savings";
    // 12 − 2 + 10 for 6 − 1 + 10.
    assert_eq!(ask(&bench, sql).await, ["70.01 65.01 5 0.25 0"]);
}

#[tokio::test]
async fn what_cannot_be_tagged_is_in_no_share() {
    let daily = |service: &str, category: &str, status: Value, team: Value, cost: &str| {
        json!({
            "x_Scope": "aws/2026-11", "x_BillingMonth": "2026-11-01", "ServiceName": service, "SubAccountId": "1", "BillingCurrency": "USD",
            "ChargeCategory": category, "CommitmentDiscountStatus": status, "Team": team, "Owner": "ann", "BilledCost": "1000",
            "EffectiveCost": cost,
        })
    };
    let rows = [
        daily("ec2", "Usage", json!(null), json!("a"), "30"),
        daily("ec2", "Usage", json!(null), json!(null), "10"),
        daily("ec2", "Usage", json!("Used"), json!(null), "-2"),
        daily("ec2", "Usage", json!("Unused"), json!(null), "3"),
        daily("ec2", "Tax", json!(null), json!(null), "5"),
        daily("ec2", "Purchase", json!(null), json!(null), "7"),
        daily("AWS Support (Business)", "Usage", json!(null), json!(null), "100"),
    ];
    let bench = books(&[(schemas::costs_daily(), &rows)]);
    let sql = "SELECT tag, untagged_cost, taggable_cost, untagged_share, untaggable_cost FROM untagged WHERE ServiceName = 'ec2' ORDER BY 1";
    let none = |tag: &str| format!("{tag} 38 38 1 15");
    let expected = [
        none("Application"),
        none("CostCenter"),
        none("Environment"),
        "Owner 0 38 0 15".into(),
        none("Project"),
        "Team 8 38 0.2105263157894736842105 15".into(),
    ];
    assert_eq!(ask(&bench, sql).await, expected);
    let support = "SELECT DISTINCT month, SubAccountId, BillingCurrency, untagged_cost, taggable_cost, untagged_share, untaggable_cost \
                   FROM untagged WHERE ServiceName LIKE '%Support%'";
    assert_eq!(ask(&bench, support).await, ["2026-11-01 1 USD 0 0 - 100"]);
}

#[tokio::test]
async fn a_period_is_as_its_newest_change_says_with_what_is_loaded() {
    let change = |export: &str, month: &str, at: &str, status: &str| json!({"export": export, "BillingMonth": month, "changed_at": at, "status": status, "reason": format!("{status} now")});
    let changes = [
        change("aws", "2026-10-01", "2026-11-01T00:00:00Z", "Closing"),
        change("aws", "2026-10-01", "2026-11-05T00:00:00Z", "Closed"),
        change("aws", "2026-10-01", "2026-10-02T00:00:00Z", "Open"),
        change("aws", "2026-11-01", "2026-11-02T00:00:00Z", "Open"),
        change("azure", "2026-11-01", "2026-11-03T00:00:00Z", "Open"),
    ];
    let load =
        |scope: &str, export: &str, revision: i64| json!({"scope": scope, "export": export, "revision": revision});
    let daily = |scope: &str, month: &str, currency: &str, cost: &str| json!({"x_Scope": scope, "x_BillingMonth": month, "BillingCurrency": currency, "BilledCost": cost, "EffectiveCost": cost, "x_Rows": 3});
    let bench = books(&[
        (schemas::billing_period_changes(), &changes),
        (
            schemas::billing_loads(),
            &[load("aws/2026-10", "aws", 1), load("aws/2026-10", "aws", 2), load("aws/late", "aws", 1)],
        ),
        (
            schemas::costs_daily(),
            &[
                daily("aws/2026-10", "2026-10-01", "USD", "10"),
                daily("aws/late", "2026-10-01", "USD", "0.5"),
                daily("aws/2026-10", "2026-10-01", "EUR", "4"),
            ],
        ),
    ]);
    assert_eq!(
        ask(&bench, "SELECT * FROM billing_periods ORDER BY 1, 2, BillingCurrency").await,
        [
            "aws 2026-10-01 Closed 2026-11-05T00:00:00.000Z Closed now EUR 4 4 3",
            "aws 2026-10-01 Closed 2026-11-05T00:00:00.000Z Closed now USD 10.5 10.5 6",
            "aws 2026-11-01 Open 2026-11-02T00:00:00.000Z Open now - - - -",
            "azure 2026-11-01 Open 2026-11-03T00:00:00.000Z Open now - - - -",
        ]
    );
}

#[tokio::test]
async fn an_export_is_as_fresh_as_the_newest_loads_of_its_parts() {
    let load = |scope: &str, revision: i64, at: &str, through: Value, findings: Value| {
        json!({"scope": scope, "export": "aws", "revision": revision, "loaded_at": at, "delivered_at": at, "rows": 5,
               "rejects": revision, "complete_through": through, "findings": findings})
    };
    let loads = [
        load("aws/2026-10", 1, "2026-11-01T06:00:00Z", json!("2026-11-21T00:00:00Z"), json!(["old"])),
        load("aws/2026-10", 2, "2026-11-05T06:00:00Z", json!("2026-11-01T00:00:00Z"), json!([])),
        load(
            "aws/2026-11",
            1,
            "2026-11-20T12:00:00Z",
            json!("2026-11-20T10:00:00Z"),
            json!(["tags-unreadable: 3", "late"]),
        ),
    ];
    let bench = books(&[(schemas::billing_loads(), &loads)]);
    // Now is midnight of the 22nd: 38 hours later.
    assert_eq!(
        ask(&bench, "SELECT * FROM billing_freshness").await,
        [
            "aws 2026-11-20T12:00:00.000Z 2026-11-20T12:00:00.000Z 2026-11-20T10:00:00.000Z 136800 2 10 3 [\"tags-unreadable: 3\",\"late\"]"
        ]
    );
}
