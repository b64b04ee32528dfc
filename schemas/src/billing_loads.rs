//! `billing_loads`: one row per load of a billing export, whatever came of it.
//!
//! Written with the rows of the load in one append, so that a load is in the ledger if and only if it is in `costs`. What is loaded of a
//! scope now is its row of the largest revision; what was refused has none, and is there once for each reason.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields};

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, date, dictionary, list, money, timestamp};

/// The ledger of billing loads.
#[must_use]
pub fn billing_loads() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        Dataset::new(
            "billing_loads",
            "One load of a billing export, with what must add up.",
            columns(),
            Layout {
                time: "loaded_at",
                sort: &["scope", "revision"],
                key: 2,
                partition: Partition::None,
                retention_days: 20 * 365,
            },
        )
    });
    &DATASET
}

fn columns() -> Vec<Column> {
    let list_of = |name, item, about| Column::new(name, list(item), Encoding::Dictionary, about);
    let text = |name, about| Column::new(name, dictionary(), Encoding::Dictionary, about);
    let count = |name, about| Column::new(name, DataType::Int64, Encoding::Dictionary, about);
    vec![
        Column::new("loaded_at", timestamp(), Encoding::Delta, "When it was loaded."),
        text("scope", "What it replaced: `x_Scope` of its rows in `costs`."),
        text("export", "The export it is of."),
        text("format", "What the files are: focus, aws, azure, gcp, oci or manual."),
        count("revision", "Number of the load within its scope, from 1; 0 if nothing was loaded."),
        text("delivery", "The provider's id of the delivery, or a digest of its files."),
        Column::new("delivered_at", timestamp(), Encoding::Dictionary, "When the provider delivered it.").nullable(),
        text(
            "outcome",
            "`loaded`, or `empty` if it had no rows; `refused` or `failed` if nothing was loaded, for what `findings` say.",
        ),
        count("rows", "Rows written to `costs`."),
        list_of("months", date(), "Billing months of the rows, from the one with most of them; their first days."),
        Column::new(
            "complete_through",
            timestamp(),
            Encoding::Dictionary,
            "End of what is charged, if that was before the delivery; else the delivery.",
        )
        .nullable(),
        count("without_invoice", "Rows without an InvoiceId: none, if the bill is final."),
        count("rejects", "Lines that were refused; the first of each file are in `rejects`."),
        count("rounded", "Amounts that had more digits than are kept."),
        count(
            "changed",
            "Sums of a day, service and account that are others than before; they are in `costs_changes`.",
        ),
        list_of(
            "changed_months",
            date(),
            "Billing months of which an amount is another than before; their first days.",
        ),
        list_of(
            "covers",
            covered(),
            "Whose costs it has: by issuer, billing account and month; empty if it is not counted.",
        ),
        list_of("files", file(), "Files that were read, in their order."),
        list_of(
            "totals",
            total(),
            "Sums by currency and charge category. `delivered` is the sum of the lines as the files have them.",
        ),
        list_of(
            "adjustments",
            adjustment(),
            "What was made of lines, by code and currency: how many, and what amount; which one, the list of codes says.",
        ),
        list_of("findings", DataType::Utf8, "What a reader of the numbers should know."),
        Column::new(
            "options",
            DataType::Utf8,
            Encoding::Plain,
            "How the files were read, JSON, so that they can be again.",
        ),
        count("took_ms", "How long the load took, milliseconds."),
    ]
}

fn file() -> DataType {
    fields(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("digest", DataType::Utf8, false),
        Field::new("etag", DataType::Utf8, true),
        Field::new("rows", DataType::Int64, false),
        Field::new("rejects", DataType::Int64, false),
    ])
}

fn covered() -> DataType {
    fields(vec![
        Field::new("issuer", DataType::Utf8, false),
        Field::new("account", DataType::Utf8, false),
        Field::new("month", date(), false),
    ])
}

fn total() -> DataType {
    let amount = |name| Field::new(name, money(), false);
    fields(vec![
        Field::new("currency", DataType::Utf8, false),
        Field::new("category", DataType::Utf8, false),
        Field::new("rows", DataType::Int64, false),
        amount("delivered"),
        amount("billed"),
        amount("effective"),
        amount("list"),
        amount("contracted"),
    ])
}

fn adjustment() -> DataType {
    fields(vec![
        Field::new("code", DataType::Utf8, false),
        Field::new("currency", DataType::Utf8, false),
        Field::new("rows", DataType::Int64, false),
        Field::new("amount", money(), false),
    ])
}

fn fields(fields: Vec<Field>) -> DataType {
    DataType::Struct(fields.into_iter().map(Arc::new).collect::<Fields>())
}
