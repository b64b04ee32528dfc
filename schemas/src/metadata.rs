//! `metadata`: one row per change of a metric's type, unit or help text.

use std::sync::LazyLock;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, dictionary, timestamp};

/// The dataset of metric metadata.
#[must_use]
pub fn metadata() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        Dataset::new(
            "metadata",
            "Type, unit and help text of a metric, from the moment they were first seen so.",
            vec![
                Column::new("metric", dictionary(), Encoding::Dictionary, "Metric family name."),
                Column::new(
                    "type",
                    dictionary(),
                    Encoding::Dictionary,
                    "counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown.",
                ),
                Column::new("unit", dictionary(), Encoding::Dictionary, "Unit as the sender gave it, often empty."),
                Column::new(
                    "help",
                    dictionary(),
                    Encoding::Dictionary,
                    "What the metric means, in its author's words.",
                ),
                Column::new("seen_at", timestamp(), Encoding::Delta, "When this text was first received."),
            ],
            Layout {
                time: "seen_at",
                sort: &["metric", "seen_at"],
                key: 2,
                partition: Partition::None,
                retention_days: 3650,
            },
        )
    });
    &DATASET
}
