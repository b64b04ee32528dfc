//! Charges cut at midnight.

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::testing::{DAY_MS, bills::decimal};

#[tokio::test]
async fn a_fee_of_three_days_is_a_third_a_day_and_its_parts_add_up() {
    let fee = with(
        line("1", "support", "2026-11-30T12:00:00Z", ["10", "10.0000000000000000000001", "-", "-1"]),
        json!({"ChargePeriodEnd": "2026-12-02T12:00:00Z", "ConsumedQuantity": "4", "ListUnitPrice": "2.5"}),
    );
    let hour = with(
        line("1", "ec2", "2026-11-30T23:00:00Z", ["1", "2", "3", "4"]),
        json!({"ChargePeriodEnd": "2026-12-01T01:00:00Z", "ConsumedQuantity": "7"}),
    );
    let open = line("1", "s3", "2026-11-05T23:00:00Z", ["5", "5", "5", "5"]);
    let bench = books(&[(schemas::costs(), &[fee, hour, open])]);
    let all = "SELECT ServiceName, ChargeDay, ChargePeriodStart, ChargePeriodEnd, BilledCost, EffectiveCost, ListCost, \
               ContractedCost, ConsumedQuantity, ListUnitPrice FROM costs_spread ORDER BY 1 DESC, 2";
    assert_eq!(
        ask(&bench, all).await,
        [
            "support 2026-11-30 2026-11-30T12:00:00.000Z 2026-12-01T00:00:00.000Z 2.5 2.5 - -0.25 1 2.5",
            "support 2026-12-01 2026-12-01T00:00:00.000Z 2026-12-02T00:00:00.000Z 5 5.0000000000000000000001 - -0.5 2 2.5",
            "support 2026-12-02 2026-12-02T00:00:00.000Z 2026-12-02T12:00:00.000Z 2.5 2.5 - -0.25 1 2.5",
            "s3 2026-11-05 2026-11-05T23:00:00.000Z - 5 5 5 5 - -",
            "ec2 2026-11-30 2026-11-30T23:00:00.000Z 2026-12-01T01:00:00.000Z 1 2 3 4 7 -",
        ]
    );
    // Parts of a month are found where the charge began before it, and those of other days are not.
    let december = "SELECT sum(BilledCost), count(*) FROM costs_spread WHERE ChargeDay >= '2026-12-01'";
    assert_eq!(ask(&bench, december).await, ["7.5 2"]);
    for day in [
        "ChargeDay = '2026-12-01'",
        "CAST(ChargeDay AS TIMESTAMP) BETWEEN '2026-11-30T00:00:01Z' AND '2026-12-01T06:00:00Z'",
        "arrow_cast(ChargeDay, 'Int32') = 20788",
        "ChargePeriodStart = '2026-12-01T00:00:00Z'",
        "ChargePeriodEnd = '2026-12-02'",
    ] {
        let sql = format!("SELECT sum(BilledCost) FROM costs_spread WHERE {day} AND BilledCost > 3");
        assert_eq!(ask(&bench, &sql).await, ["5"], "{day}");
    }
    assert_eq!(
        ask(&bench, "SELECT sum(BilledCost) FROM costs_spread WHERE ChargePeriodStart < '2026-11-30T23:00:00Z'").await,
        ["7.5"]
    );
    assert_eq!(ask(&bench, "SELECT count(*) FROM costs_spread").await, ["5"]);
}

#[tokio::test]
async fn tags_are_found_by_the_rules_in_force_and_only_if_they_are_asked_for() {
    let tagged =
        with(line("1", "ec2", "2026-11-02T00:00:00Z", ["1", "1", "1", "1"]), json!({"Tags": {"user:team": "a"}}));
    let other = with(line("7", "ec2", "2026-11-03T00:00:00Z", ["1", "1", "1", "1"]), json!({"Tags": {"squad": "b"}}));
    let bench = books(&[(schemas::costs(), &[tagged, other])]);
    let sql = "SELECT Team, Owner, sum(BilledCost) FROM costs_spread GROUP BY 1, 2 ORDER BY 1 NULLS LAST";
    assert_eq!(ask(&bench, sql).await, ["a - 1", "- - 1"]);
    let config = crate::Config::default();
    let engine = bench.engine_with(config.clone());
    let mut rules: [billing::tags::TagRule; schemas::MANDATORY_TAGS] = Default::default();
    rules[1].aliases.push(billing::tags::Alias { key: "squad".into(), ..Default::default() });
    rules[4].defaults.push(billing::tags::Fallback {
        account: Some("7".into()),
        value: "ann".into(),
        ..Default::default()
    });
    config.tags.set(billing::Tags::new(rules));
    let answer = rows(&engine, sql).await.unwrap();
    assert_eq!(
        json!(answer.iter().map(|row| (&row[0], &row[1])).collect::<Vec<_>>()),
        json!([["a", null], ["b", "ann"]])
    );
    let plan = bench.plan("SELECT sum(BilledCost) FROM costs_spread").await;
    assert!(!plan.contains("mandatory_tag"), "{plan}");
}

#[tokio::test]
async fn a_batch_is_cut_whatever_its_parts_are_more_than() {
    let fee = |account: i64| {
        with(
            line(&account.to_string(), "fee", "2024-01-01T00:00:00Z", ["366", "1", "1", "1"]),
            json!({"ChargePeriodEnd": "2025-01-01T00:00:00Z"}),
        )
    };
    let bench = books(&[(schemas::costs(), &(0..100).map(fee).collect::<Vec<_>>())]);
    let sql = "SELECT count(*), sum(BilledCost), min(BilledCost), max(BilledCost), count(DISTINCT ChargeDay) FROM costs_spread";
    assert_eq!(ask(&bench, sql).await, ["36600 36600 1 1 366"]);
}

#[test]
fn sums_of_parts_are_those_of_charges_for_any_periods_and_amounts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let amount =
        prop_oneof![Just(None), (-10_i128.pow(35)..10_i128.pow(35)).prop_map(Some), (-99_i128..99).prop_map(Some)];
    let charge = (0..90 * 24 * 60_i64, prop::option::of(-60..60 * 24 * 60_i64), amount.clone(), amount, 0..3);
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let text = |units: i128| {
        let (sign, units) = (if units < 0 { "-" } else { "" }, units.unsigned_abs());
        let one = 10_u128.pow(22);
        format!("{sign}{}.{:022}", units / one, units % one)
    };
    assert_eq!(decimal(&text(15), 22), 15);
    let time = |minutes: i64| {
        let at = chrono::DateTime::from_timestamp_millis(DAY_MS + minutes * 60_000).unwrap();
        json!(at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    };
    let checked = runner.run(&prop::collection::vec(charge, 1..60), |charges| {
        let lines: Vec<Value> = charges
            .iter()
            .map(|(start, minutes, billed, list, service)| {
                with(
                    line("1", &format!("s{service}"), "", ["-", "-", "-", "-"]),
                    json!({
                        "ChargePeriodStart": time(*start), "ChargePeriodEnd": minutes.map(|minutes| time(start + minutes)),
                        "BilledCost": text(billed.unwrap_or(1)), "ListCost": list.map(text),
                    }),
                )
            })
            .collect();
        let bench = books(&[(schemas::costs(), &lines)]);
        let sums = |table: &str| {
            let sql = format!(
                "SELECT ServiceName, sum(BilledCost), sum(ListCost), min(ChargePeriodStart), max(ChargePeriodEnd) FROM {table} GROUP BY 1 ORDER BY 1"
            );
            runtime.block_on(ask(&bench, &sql))
        };
        prop_assert_eq!(sums("costs_spread"), sums("costs"));
        let all = runtime.block_on(ask(&bench, "SELECT sum(BilledCost), count(*) FROM costs_spread"));
        let halves = "SELECT sum(b), sum(n) FROM (SELECT sum(BilledCost) b, count(*) n FROM costs_spread WHERE ChargeDay < '2026-12-20' \
             UNION ALL SELECT sum(BilledCost), count(*) FROM costs_spread WHERE ChargePeriodStart >= '2026-12-20T00:00:00Z')";
        prop_assert_eq!(runtime.block_on(ask(&bench, halves)), all);
        Ok(())
    });
    checked.unwrap();
}
