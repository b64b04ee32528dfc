//! `accounts`, `exchange_rates`, `invoices`: tables that people keep, and costs are joined with.
//!
//! Written by imports of CSV files, each of which replaces what its source said before. Columns of the file have the names of the
//! columns here.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, date, dictionary, money, rate, timestamp};

/// The dataset of accounts.
#[must_use]
pub fn accounts() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        table(
            "accounts",
            "Who an account, subscription or project belongs to, for a time.",
            &["SubAccountId", "ValidFrom"],
            vec![
                text("SubAccountId", "The account, as in `costs`."),
                text("Name", "What people call it.").nullable(),
                text("Path", "Its place in the organisation, such as `Root/Payments/Production`.").nullable(),
                text("Owner", "Who answers for it.").nullable(),
                text("Environment", "What it is for, such as `production`.").nullable(),
                time("ValidFrom", "From when on this is so, inclusive; from ever if empty.").nullable(),
                time("ValidUntil", "Until when this is so, exclusive; until today if empty.").nullable(),
            ],
        )
    });
    &DATASET
}

/// The dataset of exchange rates.
#[must_use]
pub fn exchange_rates() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        table(
            "exchange_rates",
            "What one unit of a currency is in another, for the bills of a month.",
            &["Month", "FromCurrency", "ToCurrency"],
            vec![
                Column::new("Month", date(), Encoding::Dictionary, "First day of the month of BillingPeriodStart."),
                text("FromCurrency", "Currency that is converted, ISO 4217."),
                text("ToCurrency", "Currency that comes of it, ISO 4217."),
                Column::new("Rate", rate(), Encoding::Dictionary, "How much of ToCurrency one FromCurrency is."),
            ],
        )
    });
    &DATASET
}

/// The dataset of invoices.
#[must_use]
pub fn invoices() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        table(
            "invoices",
            "What an invoice says, which costs must add up to.",
            &["InvoiceIssuerName", "InvoiceId"],
            vec![
                text("InvoiceId", "Number of the invoice, as in `costs`."),
                text("InvoiceIssuerName", "Who invoices, as in `costs`; any issuer if empty.").nullable(),
                text("BillingAccountId", "Account that is billed, as in `costs`.").nullable(),
                text("BillingCurrency", "Currency of the amount, ISO 4217."),
                Column::new("BilledCost", money(), Encoding::Dictionary, "What is invoiced; may be a line of several."),
                time("IssuedAt", "When it was issued.").nullable(),
            ],
        )
    });
    &DATASET
}

fn table(name: &'static str, about: &'static str, sort: &'static [&'static str], own: Vec<Column>) -> Dataset {
    let source = "Where the rows are from: what is replaced as a whole, the name of the file if nothing else is said.";
    let mut columns = vec![Column::new("source", DataType::Utf8, Encoding::Dictionary, source)];
    columns.extend(own);
    columns.push(time("loaded_at", "When it was loaded."));
    let layout = Layout { time: "loaded_at", sort, key: 0, partition: Partition::Columns(1), retention_days: 10 * 365 };
    Dataset::new(name, about, columns, layout)
}

fn text(name: &'static str, about: &'static str) -> Column {
    Column::new(name, dictionary(), Encoding::Dictionary, about)
}

fn time(name: &'static str, about: &'static str) -> Column {
    Column::new(name, timestamp(), Encoding::Dictionary, about)
}
