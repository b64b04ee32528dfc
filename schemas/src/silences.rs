//! `silences`: each change of each silence.
//!
//! Written before a change counts. The last row of an id is the silence.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, dictionary, timestamp};

/// The dataset of silences.
#[must_use]
pub fn silences() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        let text = |name, about| Column::new(name, dictionary(), Encoding::Dictionary, about);
        Dataset::new(
            "silences",
            "One change of one silence.",
            vec![
                Column::new("at", timestamp(), Encoding::Delta, "When it was changed."),
                text("id", "Its name."),
                text("matchers", "What it silences, such as `{alertname=\"DiskFull\",env=~\"dev|test\"}`."),
                Column::new("starts_at", timestamp(), Encoding::Delta, "From when on."),
                Column::new("ends_at", timestamp(), Encoding::Delta, "Until when, and without it."),
                text("created_by", "Who silences."),
                Column::new("comment", DataType::Utf8, Encoding::Plain, "Why."),
            ],
            Layout { time: "at", sort: &["id", "at"], key: 0, partition: Partition::None, retention_days: 400 },
        )
    });
    &DATASET
}
