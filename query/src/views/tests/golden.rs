//! Views over the golden months, whose rows are worked out by hand in `ingest/billing/tests/data/golden`.
//!
//! Numbers here follow from the README there. What a commitment saves is what its usage would have cost without it, less what is paid for
//! the month; what is saved by commitments in all is what each of them saves.

use std::{fs, path::Path};

use super::*;

/// Columns of `expected.csv` that views look at.
const TAKEN: [&str; 11] = [
    "ChargeCategory",
    "ChargeClass",
    "PricingCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountStatus",
    "BillingCurrency",
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "x_SplitCost",
];

/// Rows of a month; they differ in nothing but what is worked out.
fn month(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ingest/billing/tests/data/golden");
    let text = fs::read_to_string(path.join(name).join("expected.csv")).unwrap();
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().unwrap().split(',').skip(1).collect();
    let row = |text: &str| {
        // What a row is, in front, is the only field with commas.
        let quoted = text.strip_prefix('"').and_then(|text| text.split_once("\","));
        let (_, fields) = quoted.or_else(|| text.split_once(',')).unwrap();
        let fields = header.iter().zip(fields.split(',')).filter(|(name, _)| TAKEN.contains(name));
        let value = |field: &str| if field.is_empty() { Value::Null } else { json!(field) };
        let fields = fields.map(|(name, field)| ((*name).to_owned(), value(field))).collect();
        with(line("1", "all", "2026-11-02T00:00:00Z", ["-", "-", "-", "-"]), Value::Object(fields))
    };
    lines.map(row).collect()
}

fn without_what_days_lack(mut row: Value) -> Value {
    for column in ["PricingCategory", "CommitmentDiscountId", "BillingPeriodStart", "BillingPeriodEnd", "x_SplitCost"] {
        row.as_object_mut().unwrap().remove(column);
    }
    row
}

fn bench(name: &str) -> Bench {
    let costs = month(name);
    let daily: Vec<_> = costs.iter().cloned().map(without_what_days_lack).collect();
    books(&[(schemas::costs(), &costs), (schemas::costs_daily(), &daily)])
}

#[tokio::test]
async fn a_golden_commitment_saves_what_its_usage_would_cost_less_what_is_paid() {
    // Used, unused, saved, billed.
    for (name, wanted) in [
        (
            "aws-cur-legacy",
            &[
                // 800 + 384 − 744; 112 − 74.4; 297.6 − 186; 100 − 74.4; 900 + 180 − 744; 120 − 74.4.
                "instances/all USD 740 4 440 0",
                "instances/none USD 186 0 111.6 186",
                "instances/part USD 70 4.4 37.6 475.2",
                "savingsplan/all USD 70 4.4 25.6 876",
                "savingsplan/none USD 720 24 336 744",
                "savingsplan/part USD 74.4 0 45.6 37.2",
            ][..],
        ),
        (
            "aws-cur-2.0",
            &[
                "instances/all USD 669.6 0 520.8 0",
                "instances/none USD 157.5 9.9 112.6 167.4",
                "instances/part USD 57.96 9 36.08 427.68",
                // Given back: nothing is used, and nothing saved.
                "savingsplan/back USD 0 0 0 -90",
                "savingsplan/none USD 648 21.6 302.4 669.6",
                "savingsplan/part USD 63 3.96 23.04 33.48",
            ],
        ),
        (
            "focus-1.2",
            &[
                "instances/all USD 740 4 440 0",
                "instances/none USD 186 0 111.6 186",
                "instances/part USD 74.4 0 44.64 475.2",
                "savingsplan/none USD 720 24 336 744",
            ],
        ),
        (
            "azure-ea",
            &[
                "0000000099 EUR 720 24 264 744",
                "0000000011 EUR 35 2.2 25.8 438",
                "0000000022 EUR 74.4 0 37.2 74.4",
                "0000000033 EUR 0 0 0 -20",
            ],
        ),
        ("azure-mca", &["0000000099 EUR 648 21.6 59.4 669.6", "0000000011 EUR 33.48 0 33.48 33.48"]),
        // 80 for 45 and the 10 that are not covered; 40 for 30.
        ("gcp-detailed", &["b6688fa5fa EUR 10 0 25 55", "b6688fa5fb EUR 0 0 10 30"]),
        ("oci", &[]),
    ] {
        let sql = "SELECT CommitmentDiscountId, BillingCurrency, used_cost, unused_cost, saved_cost, BilledCost FROM commitments ORDER BY 1";
        let found = ask(&bench(name), sql).await;
        assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.ends_with(wanted), "{name}: {found} is not {wanted}");
        }
    }
    // Usage without a commitment: 10 − 1 and 230 − 30, 25 of a marketplace, a refund of 12.34, and what has an exponent; not spot.
    let sql = "SELECT DISTINCT covered_cost, uncovered_cost FROM commitments WHERE covered_cost IS NOT NULL";
    assert_eq!(ask(&bench("aws-cur-legacy"), sql).await, ["2893.6 221.6600000181"]);
}

#[tokio::test]
async fn golden_savings_are_those_of_commitments_and_of_prices() {
    // Negotiated, by commitments, list less both, rows without a price; taggable and not.
    for (name, currency, savings, tagged) in [
        ("aws-cur-legacy", "USD", "98 996.4 3405.3000000181 0", "2085.0600000181 1320.24"),
        ("aws-cur-2.0", "USD", "186.3 994.92 1760.66 0", "1632.76 127.9"),
        ("focus-1.2", "USD", "70.8 932.24 1868.7100000181 0", "1757.2600000181 111.45"),
        ("focus-1.2", "EUR", "0 0 18 0", "18 0"),
        ("azure-ea", "EUR", "129.64 327 1153.07 0", "932.86 220.21"),
        ("azure-mca", "EUR", "99.342 92.88 797.14 0", "690.03 107.11"),
        ("azure-mca", "USD", "0 0 25 0", "25 0"),
        // 25 + 10 by commitments, 20 for sustained use, 1 of a free tier, 6 of a reseller.
        ("gcp-detailed", "EUR", "20 62 721.000006 0", "649.000005 72.000001"),
        ("oci", "USD", "0 0 15.276000250000000001 0", "15.276000250000000001 0"),
        ("oci", "EUR", "0 0 0.138 0", "0.138 0"),
    ] {
        let bench = bench(name);
        let sql = format!(
            "SELECT negotiated_savings, commitment_savings, ListCost - total_savings, rows_without_price FROM savings \
             WHERE BillingCurrency = '{currency}'"
        );
        assert_eq!(ask(&bench, &sql).await, [savings], "{name}");
        let sql = format!(
            "SELECT DISTINCT taggable_cost, untaggable_cost FROM untagged WHERE BillingCurrency = '{currency}' AND untagged_share IS NOT NULL"
        );
        assert_eq!(ask(&bench, &sql).await, [tagged], "{name}");
    }
    // 1094.4 of the list's 3216.26 for usage, 100 for support and 1200 of the marketplace; without taxes and the credit.
    let rate = "SELECT round(effective_savings_rate * 4516.2600000181, 10) FROM savings";
    assert_eq!(ask(&bench("aws-cur-legacy"), rate).await, ["1094.4"]);
}
