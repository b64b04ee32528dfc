//! `samples`: one row per float sample of a metric series.
//!
//! Written by remote write and, later, by recording rules. Sorted so that one series of one metric is one run of rows.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, dictionary, timestamp};

/// The dataset of float samples.
#[must_use]
pub fn samples() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        Dataset::new(
            "samples",
            "One float sample of one metric series.",
            vec![
                Column::new(
                    "metric",
                    dictionary(),
                    Encoding::Dictionary,
                    "Metric name, the value of label `__name__`.",
                ),
                Column::new(
                    "series_id",
                    DataType::Int64,
                    Encoding::Dictionary,
                    "Series within the metric: xxh3-64 of its sorted labels. Join with `series` on metric and series_id.",
                ),
                Column::new(
                    "ts",
                    timestamp(),
                    Encoding::Delta,
                    "When the sample was taken, by the sender's clock, in whole milliseconds.",
                ),
                Column::new(
                    "value",
                    DataType::Float64,
                    Encoding::Plain,
                    "The value; NaN keeps its bits, and 0x7ff0000000000002 is Prometheus' staleness marker.",
                ),
                Column::new(
                    "start_ts",
                    timestamp(),
                    Encoding::Dictionary,
                    "When the counter began, if the sender said so.",
                )
                .nullable(),
            ],
            Layout {
                time: "ts",
                sort: &["metric", "series_id", "ts"],
                key: 3,
                partition: Partition::DayOfTime,
                retention_days: 90,
            },
        )
    });
    &DATASET
}
