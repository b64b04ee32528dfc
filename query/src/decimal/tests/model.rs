//! Grouped sums and products against sums and products of whole numbers of 256 bits.

use std::collections::BTreeMap;

use arrow::datatypes::i256;
use proptest::prelude::*;

use crate::testing::bills::{Bill, bench, bills};

fn amount() -> impl Strategy<Value = i128> {
    let largest = i128::from(10_u8).pow(38) - 1;
    prop_oneof![
        4 => -10_i128.pow(26)..10_i128.pow(26),
        1 => -largest..=largest,
        1 => Just(largest),
        1 => Just(-largest),
    ]
}

/// A whole number as a decimal of 22 digits behind the point.
fn text(value: i256) -> String {
    let digits = format!("{:0>23}", value.wrapping_abs().to_string());
    let sign = if value < i256::ZERO { "-" } else { "" };
    format!("{sign}{}.{}", &digits[..digits.len() - 22], &digits[digits.len() - 22..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn groups_have_the_sums_of_whole_numbers(
        rows in prop::collection::vec((0_u32..400, amount()), 1..2_000),
        runs in 1_usize..5,
    ) {
        let all: Vec<Bill> = rows.iter().map(|(group, cost)| Bill { cost: *cost, region: group.to_string(), ..Bill::default() }).collect();
        let batches: Vec<_> = all.chunks(all.len().div_ceil(runs)).flat_map(bills).collect();
        let mut expected: BTreeMap<String, i256> = BTreeMap::new();
        for bill in &all {
            let sum = expected.entry(bill.region.clone()).or_insert(i256::ZERO);
            *sum += i256::from_i128(bill.cost);
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let sums = "SELECT region, sum(cast(BilledCost AS DECIMAL(60, 22))) FROM bills GROUP BY region";
        for row in runtime.block_on(bench(&batches).rows(sums)) {
            prop_assert_eq!(row[1].as_str().unwrap(), text(expected[row[0].as_str().unwrap()]));
        }
        // Of those that fit, the usual sum; the others are an error.
        let limit = i256::from_i128(10).wrapping_pow(38);
        let fits = |sum: &i256| *sum < limit && *sum > -limit;
        let narrow = "SELECT region, sum(BilledCost) FROM bills GROUP BY region";
        let found = runtime.block_on(crate::testing::rows(&bench(&batches).engine(), narrow));
        prop_assert_eq!(found.is_ok(), expected.values().all(fits));
        for row in found.iter().flatten() {
            prop_assert_eq!(row[1].as_str().unwrap(), text(expected[row[0].as_str().unwrap()]));
        }
    }

    #[test]
    fn products_and_quotients_are_the_nearest(
        a in -10_i128.pow(37)..10_i128.pow(37),
        b in prop_oneof![1_i128..100, 10_i128.pow(20)..10_i128.pow(23), -10_i128.pow(23)..-1],
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bench = bench(&bills(&[Bill { cost: a, ..Bill::default() }]));
        let of = |value| text(i256::from_i128(value));
        let ask = |expr: &str| {
            let sql = format!("SELECT {expr} FROM (SELECT BilledCost AS a, cast('{}' AS DECIMAL(38, 22)) AS b FROM bills)", of(b));
            let rows = runtime.block_on(crate::testing::rows(&bench.engine(), &sql));
            rows.ok().map(|rows| rows[0][0].as_str().unwrap().replace('.', "").parse::<i256>().unwrap())
        };
        let (a, b, scale) = (i256::from_i128(a), i256::from_i128(b), i256::from_i128(10).wrapping_pow(22));
        let limit = i256::from_i128(10).wrapping_pow(38);
        for (found, dividend, divisor) in [(ask("a * b"), a * b, scale), (ask("a / b"), a * scale, b)] {
            let Some(found) = found else {
                prop_assert!((dividend / divisor).wrapping_abs() >= limit - i256::ONE);
                continue;
            };
            // Twice the distance is at most one step, and one step only to an even one.
            let twice = (dividend - found * divisor).wrapping_abs() * i256::from_i128(2);
            let step = divisor.wrapping_abs();
            prop_assert!(twice < step || (twice == step && found % i256::from_i128(2) == i256::ZERO));
        }
    }
}
