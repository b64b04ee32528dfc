//! `rejects`: rows of a source that could not be taken, with the place and the reason.
//!
//! Written by loads of billing exports. Of one file no more than a thousand are kept; the load's own row has how many there were.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, dictionary, timestamp};

/// The dataset of refused rows.
#[must_use]
pub fn rejects() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        let text = |name, about| Column::new(name, dictionary(), Encoding::Dictionary, about);
        Dataset::new(
            "rejects",
            "One row of a source that was refused.",
            vec![
                Column::new("rejected_at", timestamp(), Encoding::Delta, "When it was refused."),
                text("source", "What it came from, such as `billing/aws-main/2026-11`."),
                text("file", "File that has it."),
                Column::new(
                    "line",
                    DataType::Int64,
                    Encoding::Delta,
                    "Line of the file, from 1, the header among them.",
                ),
                text("column", "Column that is at fault; empty if it is the row."),
                text("reason", "What is wrong, and what to do."),
                Column::new("text", DataType::Utf8, Encoding::Plain, "The row as it was sent, up to 64 KiB of it."),
            ],
            Layout {
                time: "rejected_at",
                sort: &["source", "file", "line", "rejected_at"],
                key: 0,
                partition: Partition::DayOfTime,
                retention_days: 90,
            },
        )
    });
    &DATASET
}
