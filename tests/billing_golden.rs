//! Golden months as a server meets them: laid out as each provider delivers, fetched, and seen through every view.
//!
//! The numbers are those of `ingest/billing/tests/data/golden`, where each is worked out by hand; rows are held against them in
//! `ingest/billing/tests/golden.rs`, and sums, from here on, in every view that has them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::tempdir;

use crate::support::server::{Server, eventually};

const COSTS: &str = "sum(x_DeliveredCost), sum(BilledCost), sum(EffectiveCost), sum(ListCost), sum(ContractedCost)";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ingest/billing/tests/data/golden").join(name)
}

/// A number without zeros at its end.
fn short(number: &str) -> String {
    if !number.contains('.') {
        return number.to_owned();
    }
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Rows of CSV of which no field has a comma, each with short numbers.
fn rows(lines: Vec<String>) -> Vec<Vec<String>> {
    lines.iter().map(|line| line.trim_end().split(',').map(short).collect()).collect()
}

/// Sums of `sums.csv`, by category or commitment and currency.
fn sums(name: &str, of: &str) -> BTreeMap<[String; 2], Vec<String>> {
    let text = fs::read_to_string(golden(name).join("sums.csv")).unwrap();
    let lines = rows(text.lines().skip(1).map(ToOwned::to_owned).collect());
    let of = lines.into_iter().filter(|line| line[0] == of);
    of.map(|line| ([line[1].clone(), line[2].clone()], line[3..].to_vec())).collect()
}

/// A server that has fetched the month.
fn fetched(folder: &Path, export: &str, loads: usize) -> Server {
    let file = folder.join("settings.yaml");
    // Sums by hour are kept for some weeks, and the golden month gets older every day.
    let settings = format!(
        "storage: {{retention: {{costs_hourly: 3650d}}}}\n\
         billing: {{look_every: 1s, exports: [{{name: golden, quiet: 0s, {export}}}]}}\n"
    );
    fs::write(&file, settings).unwrap();
    let server = Server::start(folder, &["--config", file.to_str().unwrap()]);
    let all = eventually(|| {
        let done = server.sql("SELECT outcome, rejects, rounded FROM billing_loads");
        (done.len() == loads).then_some(done)
    });
    assert_eq!(all.unwrap_or_else(|| panic!("{}", server.log_text())), vec!["loaded,0,0"; loads]);
    server
}

/// Holds every view against the sums.
fn check(name: &str, server: &Server) {
    let by_category = sums(name, "category");
    for (table, count) in [("costs", "count(*)"), ("costs_daily", "sum(x_Rows)"), ("costs_hourly", "sum(x_Rows)")] {
        let query = format!(
            "SELECT ChargeCategory, BillingCurrency, {count}, {COSTS} FROM {table} GROUP BY 1, 2 ORDER BY 1, 2"
        );
        let found = rows(server.sql(&query)).into_iter();
        let found: BTreeMap<_, _> = found.map(|row| ([row[0].clone(), row[1].clone()], row[2..].to_vec())).collect();
        let wanted: BTreeMap<_, _> = by_category.iter().map(|(key, sums)| (key.clone(), sums[..6].to_vec())).collect();
        assert_eq!(found, wanted, "{name}: {table}");
    }
    for table in ["costs_spread", "costs_as_incurred", "costs_as_invoiced"] {
        let query = format!(
            "SELECT ChargeCategory, BillingCurrency, sum(BilledCost), sum(EffectiveCost), sum(ListCost), sum(ContractedCost) \
             FROM {table} GROUP BY 1, 2 ORDER BY 1, 2"
        );
        let found = rows(server.sql(&query)).into_iter();
        let found: BTreeMap<_, _> = found.map(|row| ([row[0].clone(), row[1].clone()], row[2..].to_vec())).collect();
        let wanted: BTreeMap<_, _> = by_category.iter().map(|(key, sums)| (key.clone(), sums[2..6].to_vec())).collect();
        assert_eq!(found, wanted, "{name}: {table}");
    }
    // All of a commitment's effective cost is used or unused: what was paid for the month, and what it did not cover.
    let query = "SELECT CommitmentDiscountId, BillingCurrency, sum(used_cost + unused_cost), sum(BilledCost) FROM commitments \
                 GROUP BY 1, 2 ORDER BY 1, 2";
    for row in rows(server.sql(query)) {
        let wanted = &sums(name, "commitment")[&[row[0].clone(), row[1].clone()]];
        assert_eq!(row[3], wanted[2], "{name}: billed for {}", row[0]);
        // Google Cloud's fees are neither used nor unused.
        if name != "gcp-detailed" {
            assert_eq!(row[2], wanted[3], "{name}: cost of {}", row[0]);
        }
    }
    // What is saved and what is left of the list's prices are the list's prices, but for fees of commitments, which are in neither.
    let query = "SELECT BillingCurrency, sum(ListCost) - sum(total_savings) = sum(EffectiveCost), \
                 sum(negotiated_savings) + sum(commitment_savings) = sum(total_savings), sum(rows_without_price) FROM savings GROUP BY 1";
    for row in rows(server.sql(query)) {
        assert_eq!(row[1..], ["true", "true", "0"], "{name}: savings in {}", row[0]);
    }
    // Tagged, untagged or untaggable: each tag tells of every cost once.
    let query = "SELECT tag, BillingCurrency, sum(taggable_cost) + sum(untaggable_cost) FROM untagged GROUP BY 1, 2";
    let effective = rows(server.sql("SELECT BillingCurrency, sum(EffectiveCost) FROM costs GROUP BY 1"));
    let effective: BTreeMap<_, _> = effective.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let tagged = rows(server.sql(query));
    assert_eq!(tagged.len(), 6 * effective.len(), "{name}");
    for row in tagged {
        assert_eq!(row[2], effective[&row[1]], "{name}: {}", row[0]);
    }
}

#[test]
fn golden_months_are_fetched_and_every_view_agrees() {
    let from = |path: &str| format!("from: {}", golden(path).display());
    for (name, export, loads) in [
        ("aws-cur-legacy", from("aws-cur-legacy/bills"), 1),
        ("aws-cur-2.0", from("aws-cur-2.0/bills"), 1),
        ("focus-1.2", from("focus-1.2/bills"), 1),
        ("gcp-detailed", from("gcp-detailed/bills"), 1),
        ("oci", format!("provider: oci, {}", from("oci/bling")), 2),
        (
            "azure-ea",
            format!(
                "{}, amortized_{}",
                from("azure-ea/exports/bills/books-actual"),
                from("azure-ea/exports/bills/books-amortized")
            ),
            1,
        ),
        (
            "azure-mca",
            format!(
                "{}, amortized_{}",
                from("azure-mca/exports/bills/books-actual"),
                from("azure-mca/exports/bills/books-amortized")
            ),
            1,
        ),
    ] {
        let folder = tempdir().unwrap();
        let server = fetched(folder.path(), &export, loads);
        check(name, &server);
    }
}
