//! Views over bills, with numbers computed by hand.

mod golden;
mod invoices;
mod page;
mod spread;
mod sums;

use serde_json::{Value, json};

use super::*;
use crate::testing::{
    Bench,
    books::{ask, books, try_ask},
    rows,
};

/// A line of a bill of November: who, what, since when, and the costs billed, effective, list, contracted.
fn line(account: &str, service: &str, start: &str, costs: [&str; 4]) -> Value {
    let cost = |at: usize| if costs[at] == "-" { Value::Null } else { json!(costs[at]) };
    json!({
        "x_Scope": "aws/2026-11", "x_BillingMonth": "2026-11-01", "BillingCurrency": "USD", "ChargeCategory": "Usage",
        "PricingCategory": "Standard", "ProviderName": "AWS",
        "BillingPeriodStart": "2026-11-01T00:00:00Z", "BillingPeriodEnd": "2026-12-01T00:00:00Z",
        "SubAccountId": account, "ServiceName": service, "ChargePeriodStart": start,
        "BilledCost": cost(0), "EffectiveCost": cost(1), "ListCost": cost(2), "ContractedCost": cost(3),
    })
}

/// The same line with other values in some columns.
fn with(mut line: Value, changes: Value) -> Value {
    line.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    line
}

#[tokio::test]
async fn every_view_can_be_read_when_there_is_nothing() {
    let bench = books(&[]);
    for view in &VIEWS {
        assert_eq!(ask(&bench, &format!("SELECT * FROM {}", view.name)).await, [""; 0], "{}", view.name);
    }
}

#[tokio::test]
async fn views_are_listed_like_tables_and_described_like_them() {
    let bench = books(&[]);
    let tables = ask(&bench, "SHOW TABLES").await;
    for view in &VIEWS {
        assert!(tables.contains(&format!("streamgauge public {} VIEW {}", view.name, view.about)), "{tables:?}");
    }
    assert!(tables.contains(&format!("streamgauge public costs BASE TABLE {}", schemas::costs().about)));
    assert!(!tables.iter().any(|table| table.contains("costs_parts")), "{tables:?}");
    let columns = ask(&bench, "SHOW COLUMNS FROM untagged").await;
    assert_eq!(columns[4], "streamgauge public untagged tag text NO");
    assert_eq!(ask(&bench, "DESCRIBE savings").await.len(), 14);
}

#[tokio::test]
async fn what_views_are_made_of_cannot_be_named_by_queries() {
    let error = try_ask(&books(&[]), "SELECT * FROM costs_parts").await.unwrap_err();
    assert!(error.to_string().contains("costs_parts"), "{error}");
}

#[tokio::test]
async fn a_name_means_a_column_of_a_view_in_any_case_and_a_view_can_be_joined_with_itself() {
    let bench = books(&[(schemas::costs(), &[line("1", "ec2", "2026-11-02T00:00:00Z", ["1", "1", "1", "1"])])]);
    let sql = "SELECT s.subaccountid, c.billedcost FROM costs_spread s JOIN costs_spread c USING (servicename) \
               JOIN public.savings v ON v.SERVICENAME = s.servicename";
    assert_eq!(ask(&bench, sql).await, ["1 1"]);
}

#[tokio::test]
async fn a_query_that_names_no_view_plans_none() {
    let bench = books(&[]);
    let engine = bench.engine();
    let state = datafusion::execution::SessionState::clone(engine.session_state());
    let tables = Tables::new(std::sync::Arc::new(state), std::collections::BTreeMap::new(), tags());
    // Names are looked at, and nothing else: without a table `costs` nothing could be planned.
    use datafusion::catalog::SchemaProvider;
    assert!(tables.table_exist("savings") && !tables.table_exist("samples"));
    assert!(tables.table("samples").await.unwrap().is_none());
    assert!(tables.table("savings").await.is_err());
}

fn tags() -> std::sync::Arc<datafusion::logical_expr::ScalarUDF> {
    crate::functions::mandatory_tag(std::sync::Arc::default())
}

#[tokio::test]
async fn filters_and_columns_reach_the_tables_behind_a_view() {
    let bench = Bench::new();
    for month in ["2026-10-01", "2026-11-01"] {
        let scope = format!("aws/{}", &month[..7]);
        let at = format!("{month}T00:00:00Z");
        let own = json!({"x_Scope": scope, "x_BillingMonth": month});
        let line = with(line("1", "ec2", &at, ["1", "1", "1", "1"]), own);
        let batch = crate::testing::books::batch(schemas::costs(), &[line]);
        bench.file_as(schemas::costs(), &batch, crate::testing::data_file(storage::Lane::InOrder, 1, true)).await;
    }
    let plan = bench.plan("SELECT month, sum(total_savings) FROM savings WHERE month = '2026-11-01' GROUP BY 1").await;
    assert_eq!(plan.matches(".parquet").count(), 1, "{plan}");
    let plan = bench.plan("SELECT sum(BilledCost) FROM costs_spread WHERE x_BillingMonth = '2026-11-01'").await;
    assert!(plan.matches(".parquet").count() == 1 && !plan.contains("Tags"), "{plan}");
    let plan = bench.plan("SELECT sum(BilledCost) FROM costs_spread WHERE ChargeDay >= '2026-11-05'").await;
    assert!(plan.contains("ChargePeriodEnd") && plan.matches(".parquet").count() >= 1, "{plan}");
    let sums = "SELECT month, sum(BilledCost) FROM costs_spread JOIN savings USING (SubAccountId) WHERE ChargeDay > '2026-10-01' GROUP BY 1 ORDER BY 1";
    assert_eq!(ask(&bench, sums).await, ["2026-10-01 1", "2026-11-01 1"]);
}
