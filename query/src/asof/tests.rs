//! Joins to the nearest row, asked as users ask.

use std::fmt::Write;

use serde_json::json;

use crate::testing::books::{ask, books, try_ask};

const TABLES: &str = "WITH seen(host, at, load) AS (VALUES ('a', 10, 1), ('a', 20, 2), ('a', 30, 3), ('b', 20, 4), (NULL, 20, 5), ('a', NULL, 6)), \
                      deployed(on_host, since, version) AS (VALUES ('a', 15, 'v1'), ('a', 20, 'v2'), ('b', 25, 'v3'), (NULL, 1, 'v4'), ('a', NULL, 'v5')) ";

async fn rows(rest: &str) -> Vec<String> {
    ask(&books(&[]), &format!("{TABLES}{rest}")).await
}

#[tokio::test]
async fn every_left_row_meets_the_nearest_of_its_key() {
    for (comparison, expected) in [
        ("at >= since", ["1 -", "2 v2", "3 v2", "4 -", "5 -", "6 -"]),
        ("at > since", ["1 -", "2 v1", "3 v2", "4 -", "5 -", "6 -"]),
        ("at <= since", ["1 v1", "2 v2", "3 -", "4 v3", "5 -", "6 -"]),
        ("seen.at < deployed.since", ["1 v1", "2 -", "3 -", "4 v3", "5 -", "6 -"]),
        ("deployed.since <= seen.at", ["1 -", "2 v2", "3 v2", "4 -", "5 -", "6 -"]),
        ("at - 5 >= since", ["1 -", "2 v1", "3 v2", "4 -", "5 -", "6 -"]),
    ] {
        let join = format!(
            "SELECT load, version FROM seen ASOF JOIN deployed MATCH_CONDITION ({comparison}) ON host = on_host ORDER BY load"
        );
        assert_eq!(rows(&join).await, expected, "{comparison}");
    }
}

#[tokio::test]
async fn without_keys_time_alone_decides() {
    let join = "SELECT load, version FROM seen ASOF JOIN deployed MATCH_CONDITION (at >= since) ORDER BY load";
    assert_eq!(rows(join).await, ["1 v4", "2 v2", "3 v3", "4 v2", "5 v2", "6 -"]);
}

#[tokio::test]
async fn conditions_on_the_right_are_asked_after_rows_have_met() {
    let join = "SELECT load, version FROM seen ASOF JOIN deployed MATCH_CONDITION (at >= since) ON host = on_host ";
    // Asked before, 'v1' would be met by the row at 30.
    assert_eq!(rows(&format!("{join} WHERE version = 'v1'")).await, Vec::<String>::new());
    assert_eq!(rows(&format!("{join} WHERE version IS NULL AND load < 3")).await, ["1 -"]);
    assert_eq!(rows(&format!("{join} WHERE load = 3 AND version <> 'v1'")).await, ["3 v2"]);
    let nearest_of_some = "SELECT load, version FROM seen ASOF JOIN (SELECT * FROM deployed WHERE version <> 'v2') AS d \
                           MATCH_CONDITION (at >= since) ON host = on_host WHERE load = 3";
    assert_eq!(rows(nearest_of_some).await, ["3 v1"]);
}

#[tokio::test]
async fn joins_are_grouped_counted_joined_again_and_stand_in_brackets() {
    let join = "seen ASOF JOIN deployed MATCH_CONDITION (at >= since) ON host = on_host";
    assert_eq!(rows(&format!("SELECT count(*) FROM {join}")).await, ["6"]);
    assert_eq!(
        rows(&format!("SELECT version, sum(load) FROM {join} GROUP BY version ORDER BY 1")).await,
        ["v2 5", "- 16"]
    );
    assert_eq!(
        rows(&format!("SELECT x.load FROM (SELECT * FROM {join}) AS x WHERE x.since = 20 ORDER BY 1")).await,
        ["2", "3"]
    );
    assert_eq!(
        rows(&format!("SELECT at, load FROM {join} WHERE host = 'a' ORDER BY host, at DESC LIMIT 2")).await,
        ["- 6", "30 3"]
    );
    let twice = "SELECT load, d.version, e.version FROM (seen ASOF JOIN deployed AS d MATCH_CONDITION (at >= d.since) ON host = d.on_host) \
                 ASOF JOIN deployed AS e MATCH_CONDITION (at < e.since) ON host = e.on_host ORDER BY load LIMIT 2";
    assert_eq!(rows(twice).await, ["1 - v1", "2 v2 -"]);
}

#[tokio::test]
async fn what_is_no_asof_join_is_refused_with_words_that_help() {
    for (rest, words) in [
        ("MATCH_CONDITION (at = since) ON host = on_host", "by >=, >, <= or <"),
        ("MATCH_CONDITION (at >= load) ON host = on_host", "one time of the left table with one of the right"),
        ("MATCH_CONDITION (at >= since AND at > 3) ON host = on_host", "compares one time"),
        ("MATCH_CONDITION (at >= since) ON host = on_host AND load > 1", "put other conditions into WHERE"),
        ("MATCH_CONDITION (host >= version) ON host = on_host", "compares times or numbers"),
        ("MATCH_CONDITION (at >= since) USING (host)", "takes its keys from ON"),
    ] {
        let join = format!("{TABLES}SELECT * FROM seen ASOF JOIN deployed {rest}");
        let error = try_ask(&books(&[]), &join).await.expect_err(rest);
        assert_eq!(error.kind, crate::ErrorKind::Invalid, "{rest}: {error}");
        assert!(error.to_string().contains(words), "{rest}: {error}");
    }
}

#[tokio::test]
async fn conditions_on_the_left_reach_its_table_and_only_columns_in_use_are_read() {
    let cost = [json!({"BillingCurrency": "USD", "BilledCost": "1", "BillingPeriodStart": "2026-11-01T00:00:00Z"})];
    let rate = [
        json!({"source": "s", "Month": "2026-11-01", "FromCurrency": "USD", "ToCurrency": "EUR", "Rate": "1", "loaded_at": "2026-11-01T00:00:00Z"}),
    ];
    let bench = books(&[(schemas::costs(), &cost), (schemas::exchange_rates(), &rate)]);
    let plan = bench
        .plan(
            "SELECT c.BilledCost, r.Rate FROM costs c ASOF JOIN exchange_rates r MATCH_CONDITION (c.BillingPeriodStart >= r.Month) \
             ON c.BillingCurrency = r.FromCurrency WHERE c.ServiceName = 'db' AND r.ToCurrency = 'EUR'",
        )
        .await;
    let (above, below) = plan.split_once("AsofJoinExec").unwrap();
    assert!(above.contains("ToCurrency") && !above.contains("ServiceName"), "{plan}");
    assert!(below.contains("ServiceName") && !below.contains("InvoiceId"), "{plan}");
}

/// Numbers that look random and are the same each time.
fn numbers(count: usize, below: u64) -> impl Iterator<Item = u64> {
    let mut state = below.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    })
}

#[tokio::test]
async fn many_rows_meet_what_a_search_of_all_finds() {
    let pairs =
        |count: usize, keys: u64, times: u64| numbers(count, keys).zip(numbers(count, times)).collect::<Vec<_>>();
    let (left, right) = (pairs(700, 5, 997), pairs(300, 5, 991));
    let values = |rows: &[(u64, u64)]| {
        let mut text = String::new();
        for (row, (key, time)) in rows.iter().enumerate() {
            let comma = if row == 0 { "" } else { "," };
            write!(text, "{comma}('k{key}',{time})").unwrap();
        }
        text
    };
    for (operator, is_before, or_at) in
        [(">=", true, true), (">", true, false), ("<=", false, true), ("<", false, false)]
    {
        let sql = format!(
            "WITH l(k, t) AS (VALUES {}), r(k, t) AS (VALUES {}) SELECT l.k, l.t, r.t FROM l ASOF JOIN r MATCH_CONDITION (l.t {operator} r.t) ON l.k = r.k",
            values(&left),
            values(&right)
        );
        let mut found = ask(&books(&[]), &sql).await;
        let mut expected: Vec<String> = Vec::new();
        for (key, time) in &left {
            let can_meet = |at: &u64| if is_before { at < time } else { at > time };
            let of_key = right.iter().filter(|(of, _)| of == key).map(|(_, at)| *at);
            let met = of_key.filter(|at| can_meet(at) || (or_at && at == time));
            let met = if is_before { met.max() } else { met.min() };
            expected.push(format!("k{key} {time} {}", met.map_or("-".to_owned(), |at| at.to_string())));
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{operator}");
    }
}
