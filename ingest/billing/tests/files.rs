//! Every sample bill: is it read, and do its sums equal those of an adder that shares no code with the crate?
//!
//! `FILES.md` is the outcome, written anew with `UPDATE=1 cargo test -p billing --test files` (the variable is read when the test is built).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "files/model.rs"]
mod model;

use std::{
    fmt::Write as _,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use arrow::datatypes::i256;
use billing::{Options, Reader, Report, Totals, decimal};
use flate2::read::GzDecoder;

use model::{Sum, lines};

/// Names of columns of the cost and the currency, one of which a file has.
const COSTS: [&str; 10] = [
    "BilledCost",
    "lineItem/UnblendedCost",
    "CostInBillingCurrency",
    "costInBillingCurrency",
    "costinbillingcurrency",
    "PreTaxCost",
    "preTaxCost",
    "PreTaxCost (PreTaxCost)",
    "cost",
    "cost/myCost",
];
const CURRENCIES: [&str; 8] = [
    "BillingCurrency",
    "lineItem/CurrencyCode",
    "BillingCurrencyCode",
    "billingCurrency",
    "Currency",
    "currency",
    "cost/currencyCode",
    "",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("golden") {
            // `golden.rs` reads them.
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else if path.to_string_lossy().contains(".csv") {
            found.push(path);
        }
    }
    found.sort();
}

fn plain(path: &Path) -> String {
    let mut bytes = Vec::new();
    let file = File::open(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    } else {
        { file }.read_to_end(&mut bytes).unwrap();
    }
    let text = String::from_utf8(bytes).unwrap();
    text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()
}

fn options(path: &Path, assume: Option<&str>) -> Options {
    Options {
        scope: "test/2026-11".to_owned(),
        file: path.file_name().unwrap().to_string_lossy().into_owned(),
        assume: assume.map(|currency| ("BillingCurrency".to_owned(), currency.to_owned())).into_iter().collect(),
        ..Options::default()
    }
}

/// Reads a file to its end, and checks what has to hold for every one.
fn read(path: &Path, assume: Option<&str>) -> Result<(Report, String), billing::Error> {
    let mut reader = Reader::open(File::open(path).unwrap(), options(path, assume))?;
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        assert_eq!(batch.schema(), schemas::costs().schema);
        rows += batch.num_rows() as u64;
    }
    let report = reader.report();
    assert_eq!(rows, report.rows_delivered + report.rows_derived, "{}", path.display());
    assert_eq!(
        report.rows_read,
        report.rows_delivered + report.rows_left_out() + report.rows_rejected,
        "{}",
        path.display()
    );
    assert_eq!(report.billing_months.values().sum::<u64>(), rows);
    assert_eq!(report.totals.values().map(|totals| totals.rows).sum::<u64>(), rows);
    let delivery = reader.delivery();
    Ok((report, delivery.format.to_string()))
}

/// Rows that can be read and their sums by currency, found without the crate.
fn expected(text: &str, assume: Option<&str>) -> (u64, Vec<(String, String)>) {
    let records = lines(text);
    let header = &records[0];
    let place = |names: &[&str]| names.iter().find_map(|name| header.iter().position(|column| column == name));
    let (cost, currency) = (place(&COSTS).unwrap(), place(&CURRENCIES));
    let (mut rows, mut sums) = (0, std::collections::BTreeMap::<String, Sum>::new());
    for record in records.iter().skip(1).filter(|record| record.len() == header.len()) {
        let currency = currency.map(|at| record[at].clone()).filter(|currency| !currency.is_empty());
        let Some(currency) = currency.or(assume.map(str::to_owned)) else { continue };
        let mut sum = sums.remove(&currency).unwrap_or_default();
        rows += u64::from(sum.add(&record[cost]));
        sums.insert(currency, sum);
    }
    (rows, sums.into_iter().filter(|(_, sum)| sum.count > 0).map(|(currency, sum)| (currency, sum.text())).collect())
}

/// The sums of a report by currency, of texts that tell them to the last digit.
fn totals(report: &Report) -> Vec<(String, String)> {
    let mut sums = std::collections::BTreeMap::<String, Sum>::new();
    for ((currency, _), totals) in &report.totals {
        assert!(sums.entry(currency.clone()).or_default().add(&totals.delivered_text()));
    }
    sums.into_iter().map(|(currency, sum)| (currency, sum.text())).collect()
}

#[test]
fn every_file_is_read_and_its_sums_are_those_of_an_independent_adder() {
    let mut found = Vec::new();
    files(&folder(), &mut found);
    assert_eq!(found.len(), 57, "sample bills");
    let mut table = String::from(HEAD);
    for path in &found {
        let name = path.strip_prefix(folder()).unwrap().to_string_lossy().into_owned();
        let text = plain(path);
        let is_without = text.lines().next().is_some_and(|header| !header.to_lowercase().contains("currency"));
        let is_without = is_without || name.contains("opencost-headersets/values");
        if is_without {
            let error = read(path, None).unwrap_err();
            assert!(error.to_string().contains("--assume BillingCurrency=USD"), "{name}: {error}");
        }
        let assume = is_without.then_some("USD");
        let (report, format) = match read(path, assume) {
            Ok(read) => read,
            Err(error) => panic!("{name}: {error}"),
        };
        let (rows, sums) = expected(&text, assume);
        assert_eq!(
            (report.rows_delivered, totals(&report)),
            (rows, sums.clone()),
            "{name}: {:?}",
            report.rejects.first()
        );
        let sums: Vec<_> = sums.iter().map(|(currency, sum)| format!("{sum} {currency}")).collect();
        let reason = report.rejects.first().map_or(String::new(), |reject| {
            format!(
                "{}{}",
                reject.column.as_ref().map(|column| format!("{column}: ")).unwrap_or_default(),
                reject.reason
            )
        });
        let how = if is_without { format!("{format}, currency assumed") } else { format };
        writeln!(
            table,
            "| `{name}` | {how} | {} | {} | {} | {} | {reason} |",
            report.rows_delivered,
            report.rows_derived,
            report.rows_rejected,
            sums.join(", ")
        )
        .unwrap();
    }
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("FILES.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&known, &table).unwrap();
    }
    let hint = "FILES.md is out of date: UPDATE=1 cargo test -p billing --test files";
    assert_eq!(std::fs::read_to_string(known).unwrap_or_default(), table, "{hint}");
}

const HEAD: &str = "# What is read of the sample bills

Made and checked by `tests/files.rs`, whose sums are those of an adder that shares no code with the crate. Where the files are from is said
in `tests/data/README.md`. *Derived* rows are ours, beside those of the file; they carry nothing of the delivered cost. Files without a
column for the currency are refused unless it is said with `--assume BillingCurrency=USD`. A reason is that of the first reject.

| file | read as | rows | derived | rejects | delivered cost | reason |
|---|---|---|---|---|---|---|
";

#[test]
fn every_cost_of_focus_adds_up() {
    let mut found = Vec::new();
    files(&folder().join("focus"), &mut found);
    let mut checked = 0;
    for path in &found {
        let text = plain(path);
        let records = lines(&text);
        let is_without = !records[0].iter().any(|column| column == "BillingCurrency");
        let (report, _) = read(path, is_without.then_some("USD")).unwrap();
        if report.rows_rejected > 0 {
            continue;
        }
        for (name, of) in [
            ("BilledCost", (|totals| totals.billed) as fn(&Totals) -> i256),
            ("EffectiveCost", |totals| totals.effective),
            ("ListCost", |totals| totals.list),
            ("ContractedCost", |totals| totals.contracted),
        ] {
            let mut wanted = Sum::default();
            let Some(column) = records[0].iter().position(|column| column == name) else { continue };
            let is_read = |text: &String| ["", "NULL"].contains(&text.as_str()) || wanted.add(text);
            assert!(records.iter().skip(1).map(|record| &record[column]).all(is_read), "{name} of {}", path.display());
            let sum = report.totals.values().fold(i256::ZERO, |sum, totals| sum.wrapping_add(of(totals)));
            assert_eq!(decimal::text(sum, decimal::MONEY_SCALE), wanted.text(), "{name} of {}", path.display());
            checked += 1;
        }
    }
    assert_eq!(checked, 126, "columns of costs");
}

#[test]
fn what_is_no_bill_is_refused_with_the_nearest_guess() {
    for (text, wanted) in [
        ("", "is empty"),
        ("a,b,c\n1,2,3\n", "near to none"),
        (
            "lineItem/UnblendedCost,lineItem/UsageStartDate\n1,2\n",
            "nearest to AWS cost and usage, but lacks lineItem/LineItemType",
        ),
        ("product_code,ServiceCategory\nAmazonEC2,Compute\n", "near to none"),
        ("BilledCost,ChargeCategory,ChargePeriodStart\n1,Usage,2024-01-01\n", "--assume BillingCurrency=USD"),
    ] {
        let error = Reader::open(std::io::Cursor::new(text), Options::default()).err().unwrap();
        assert!(error.to_string().contains(wanted), "{text:?}: {error}");
    }
}
