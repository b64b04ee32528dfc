//! `series`: one row per metric series and day on which it was seen.
//!
//! Written in the same log record as the first sample of the day, so a sample never lacks its labels.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, date, dictionary, string_map, timestamp};

/// The dataset of series and their labels.
#[must_use]
pub fn series() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        Dataset::new(
            "series",
            "One metric series on one day, with its labels.",
            vec![
                Column::new("day", date(), Encoding::Dictionary, "Day (UTC) on which the series had samples."),
                Column::new(
                    "metric",
                    dictionary(),
                    Encoding::Dictionary,
                    "Metric name, the value of label `__name__`.",
                ),
                Column::new(
                    "series_id",
                    DataType::Int64,
                    Encoding::Plain,
                    "Series within the metric: xxh3-64 of its sorted labels.",
                ),
                Column::new("labels", string_map(), Encoding::Dictionary, "Labels in name order, without `__name__`."),
                Column::new("first_ts", timestamp(), Encoding::Delta, "Time of the first sample seen that day."),
            ],
            Layout {
                time: "first_ts",
                sort: &["metric", "series_id"],
                key: 2,
                partition: Partition::Columns(1),
                retention_days: 90,
            },
        )
    });
    &DATASET
}
