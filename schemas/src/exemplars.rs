//! `exemplars`: one row per exemplar, the link from a sample to a trace.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, dictionary, string_map, timestamp};

/// The dataset of exemplars.
#[must_use]
pub fn exemplars() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        Dataset::new(
            "exemplars",
            "One exemplar of one metric series, usually with a trace id.",
            vec![
                Column::new(
                    "metric",
                    dictionary(),
                    Encoding::Dictionary,
                    "Metric name of the series the exemplar belongs to.",
                ),
                Column::new(
                    "series_id",
                    DataType::Int64,
                    Encoding::Dictionary,
                    "Series within the metric: xxh3-64 of its sorted labels.",
                ),
                Column::new(
                    "ts",
                    timestamp(),
                    Encoding::Delta,
                    "When the exemplar was observed, in whole milliseconds.",
                ),
                Column::new(
                    "hash",
                    DataType::Int64,
                    Encoding::Plain,
                    "xxh3-64 of labels and value: tells exemplars of one moment apart.",
                ),
                Column::new("value", DataType::Float64, Encoding::Plain, "The observed value."),
                Column::new(
                    "labels",
                    string_map(),
                    Encoding::Dictionary,
                    "Labels of the exemplar itself, in name order, such as trace_id.",
                ),
            ],
            Layout {
                time: "ts",
                sort: &["metric", "series_id", "ts", "hash"],
                key: 4,
                partition: Partition::DayOfTime,
                retention_days: 90,
            },
        )
    });
    &DATASET
}
