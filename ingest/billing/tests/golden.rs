//! A month of each provider, laid out as it delivers, with every number worked out by hand: is each row what it should be, and do a
//! commitment's rows cost what is paid for it?
//!
//! `tests/data/golden/README.md` says where the numbers come from. What is read is what a manifest names, where there is one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "files/model.rs"]
mod model;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Decimal128Type, i256},
    util::display::{ArrayFormatter, FormatOptions},
};
use billing::{AzurePart, Manifest, Options, Reader, Report, decimal, read_manifest};

use model::{Sum, lines};

/// Columns of costs, in the order of those in `sums.csv`.
const COSTS: [&str; 5] = ["x_DeliveredCost", "BilledCost", "EffectiveCost", "ListCost", "ContractedCost"];

/// A row, by column.
type Cells = BTreeMap<String, String>;

/// A month as it was read.
struct Month {
    name: &'static str,
    rows: Vec<RecordBatch>,
    reports: Vec<Report>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(name)
}

impl Month {
    fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new(), reports: Vec::new() }
    }

    /// Reads what a manifest names; the first folder of a path is a bucket or container.
    fn manifest(mut self, path: &str, bucket: &str, set: impl Fn(&Manifest, &mut Options)) -> Self {
        let manifest = read_manifest(&std::fs::read(folder(self.name).join(path)).unwrap()).unwrap();
        for file in &manifest.files {
            let name = file.name.strip_prefix("s3://bills/").unwrap_or(&file.name);
            let path = folder(self.name).join(bucket).join(name);
            let mut options = Options { period_us: manifest.period_us.clone(), ..Options::default() };
            set(&manifest, &mut options);
            assert!(file.bytes.is_none_or(|bytes| bytes == path.metadata().unwrap().len()), "{path:?}");
            self = self.file(&path, options);
            let read = self.reports.last().unwrap().rows_read;
            assert!(file.rows.is_none_or(|rows| rows == read), "{path:?}");
        }
        self
    }

    fn file(mut self, path: &Path, mut options: Options) -> Self {
        options.scope = "golden/2026-10".to_owned();
        options.file = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut reader = Reader::open(File::open(path).unwrap(), options).unwrap();
        while let Some(rows) = reader.next_batch().unwrap() {
            self.rows.push(rows);
        }
        let report = reader.report();
        assert_eq!((&report.rejects, report.values_rounded), (&Vec::new(), 0), "{}", self.name);
        self.reports.push(report);
        self
    }

    /// Holds each row against `expected.csv`, and the sums of both against `sums.csv`.
    fn check(self) {
        let expected = table(&folder(self.name).join("expected.csv"));
        let columns: Vec<String> = expected[0].keys().filter(|column| *column != "what").cloned().collect();
        let rows: Vec<Cells> = self.rows.iter().flat_map(|batch| cells(batch, &columns)).collect();
        for (row, wanted) in rows.iter().zip(&expected) {
            let what = &wanted["what"];
            for column in &columns {
                assert_eq!(row[column], wanted[column], "{column} of {what:?} of {}", self.name);
            }
        }
        assert_eq!(rows.len(), expected.len(), "rows of {}", self.name);
        assert_eq!(
            sums(&rows),
            table(&folder(self.name).join("sums.csv")).iter().map(sum_row).collect(),
            "{}",
            self.name
        );
        self.reports_agree(&rows);
        for row in table(&folder(self.name).join("sums.csv")).iter().filter(|row| row["of"] == "commitment") {
            let paid =
                total(["upfront_of_month", "recurring_of_month", "not_covered"].map(|column| row[column].as_str()));
            assert_eq!(
                paid, row["EffectiveCost"],
                "what {} costs and what is paid for it, of {}",
                row["key"], self.name
            );
        }
    }

    /// The sums of the reports are those of the rows.
    fn reports_agree(&self, rows: &[Cells]) {
        let zero = i256::ZERO;
        let of_reports =
            self.reports.iter().flat_map(|report| report.totals.values()).fold([zero; 5], |sums, totals| {
                let more = [totals.delivered, totals.billed, totals.effective, totals.list, totals.contracted];
                std::array::from_fn(|at| sums[at].wrapping_add(more[at]))
            });
        let of_rows = COSTS.map(|column| total(rows.iter().map(|row| row[column].as_str())));
        assert_eq!(of_reports.map(|sum| decimal::text(sum, decimal::MONEY_SCALE)), of_rows, "{}", self.name);
    }
}

/// Rows, by the names in the first line.
fn table(path: &Path) -> Vec<Cells> {
    let records = lines(&std::fs::read_to_string(path).unwrap());
    let row = |record: &Vec<String>| records[0].iter().cloned().zip(record.iter().cloned()).collect();
    records.iter().skip(1).map(row).collect()
}

fn cells(batch: &RecordBatch, columns: &[String]) -> Vec<Cells> {
    let cell = |name: &String, row| (name.clone(), cell(batch, name, row));
    (0..batch.num_rows()).map(|row| columns.iter().map(|name| cell(name, row)).collect()).collect()
}

fn cell(batch: &RecordBatch, name: &str, row: usize) -> String {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    match column.data_type() {
        _ if column.is_null(row) => String::new(),
        DataType::Decimal128(_, scale) => {
            let value = i256::from_i128(column.as_primitive::<Decimal128Type>().value(row));
            decimal::text(value, u32::try_from(*scale).unwrap())
        }
        _ => ArrayFormatter::try_new(column, &FormatOptions::new()).unwrap().value(row).to_string(),
    }
}

fn total<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut sum = Sum::default();
    texts.into_iter().filter(|text| !text.is_empty()).for_each(|text| assert!(sum.add(text), "{text}"));
    sum.text()
}

/// What is summed up, with its count and sums.
type SumRow = (String, Vec<String>);

/// Sums by category and by commitment.
fn sums(rows: &[Cells]) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<&Cells>> = BTreeMap::new();
    for row in rows {
        for (of, column) in [("category", "ChargeCategory"), ("commitment", "CommitmentDiscountId")] {
            if !row[column].is_empty() {
                groups.entry(format!("{of} {} {}", row[column], row["BillingCurrency"])).or_default().push(row);
            }
        }
    }
    let sums = |rows: Vec<&Cells>| {
        let sums = COSTS.map(|column| total(rows.iter().map(|row| row[column].as_str())));
        std::iter::once(rows.len().to_string()).chain(sums).collect()
    };
    groups.into_iter().map(|(key, rows)| (key, sums(rows))).collect()
}

fn sum_row(row: &Cells) -> SumRow {
    let key = format!("{} {} {}", row["of"], row["key"], row["BillingCurrency"]);
    (key, std::iter::once("rows").chain(COSTS).map(|column| row[column].clone()).collect())
}

#[test]
fn a_month_of_the_legacy_report_of_aws() {
    let manifest = "bills/cur/books/20261001-20261101/books-Manifest.json";
    Month::new("aws-cur-legacy").manifest(manifest, "bills", |_, _| {}).check();
}

#[test]
fn a_month_of_the_data_export_of_aws() {
    let manifest = "bills/exports/cur2/metadata/BILLING_PERIOD=2026-10/cur2-Manifest.json";
    Month::new("aws-cur-2.0").manifest(manifest, "bills", |_, _| {}).check();
}

/// Both parts of an export of Azure.
fn azure(name: &'static str, [amortized, actual]: [&str; 2]) {
    let run = |part: &str, run: &str| format!("exports/bills/books-{part}/20261001-20261031/{run}/manifest.json");
    let set = |manifest: &Manifest, options: &mut Options| {
        options.azure = match manifest.azure {
            AzurePart::Actual => AzurePart::ActualBesideAmortized,
            part => part,
        };
    };
    let month = Month::new(name).manifest(&run("amortized", amortized), "exports", set);
    let month = month.manifest(&run("actual", actual), "exports", set);
    let left_out = month.reports.last().unwrap().rows_left_out();
    assert_eq!(left_out, 2, "rows of the actual costs that the amortized ones have");
    month.check();
}

#[test]
fn a_month_of_an_enterprise_agreement_of_azure() {
    azure("azure-ea", ["0b1c0000-0000-4000-8000-000000000004", "0b1c0000-0000-4000-8000-000000000005"]);
}

#[test]
fn a_month_of_a_customer_agreement_of_azure() {
    azure("azure-mca", ["0b1c0000-0000-4000-8000-000000000006", "0b1c0000-0000-4000-8000-000000000007"]);
}

#[test]
fn prices_of_another_currency_are_kept_beside_those_of_the_bill() {
    let set = |_: &Manifest, options: &mut Options| options.azure = AzurePart::Amortized;
    let run = "exports/bills/books-amortized/20261001-20261031/0b1c0000-0000-4000-8000-000000000006/manifest.json";
    let month = Month::new("azure-mca").manifest(run, "exports", set);
    let columns = [
        "ListUnitPrice",
        "ContractedUnitPrice",
        "PricingCurrency",
        "PricingCurrencyListUnitPrice",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyEffectiveCost",
    ];
    let row = |at| columns.map(|column| cell(&month.rows[0], column, at)).join(" ");
    // Of a hundred hours 10 dollars at the list and 8 as agreed, at 0.9 euros a dollar.
    assert_eq!(row(0), "9 7.2 USD 10 8 8");
    // 0.12 and 0.1 an hour, of which the reservation pays for 744.
    assert_eq!(row(1), "0.108 0.09 USD 0.12 0.1 37.2");
}

#[test]
fn a_month_of_google() {
    let file = |name| folder("gcp-detailed").join("bills/detailed/202610").join(name);
    let month = Month::new("gcp-detailed").file(&file("000000000000.json"), Options::default());
    month.file(&file("000000000001.json"), Options::default()).check();
}

#[test]
fn a_month_of_oracle() {
    let file = |name| folder("oci").join("bling/reports/cost-csv").join(name);
    let month = Month::new("oci").file(&file("0001000000000001.csv.gz"), Options::default());
    month.file(&file("0001000000000002.csv.gz"), Options::default()).check();
}

#[test]
fn a_month_of_focus() {
    let manifest = "bills/exports/focus/metadata/BILLING_PERIOD=2026-10/focus-Manifest.json";
    Month::new("focus-1.2").manifest(manifest, "bills", |_, _| {}).check();
}
