//! `histograms`: one row per native histogram sample, stored whole.
//!
//! The columns are those of Prometheus' remote write message, so that nothing has to be guessed back. Integer histograms
//! fill the `_int` and `_deltas` columns, float histograms the `_float` and `_counts` ones.
//! Spec: <https://prometheus.io/docs/specs/native_histograms/>

use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field, Fields};

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, dictionary, list, timestamp};

/// The dataset of native histograms.
#[must_use]
pub fn histograms() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        Dataset::new(
            "histograms",
            "One native histogram sample of one metric series, stored whole.",
            columns(),
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

/// `LIST<STRUCT<offset INT, length INT>>`: runs of buckets and the gaps before them.
fn spans() -> DataType {
    list(DataType::Struct(Fields::from(vec![
        Field::new("offset", DataType::Int32, false),
        Field::new("length", DataType::Int32, false),
    ])))
}

fn columns() -> Vec<Column> {
    use Encoding::{Delta, Dictionary, Plain};
    vec![
        Column::new("metric", dictionary(), Dictionary, "Metric name, the value of label `__name__`."),
        Column::new(
            "series_id",
            DataType::Int64,
            Dictionary,
            "Series within the metric: xxh3-64 of its sorted labels.",
        ),
        Column::new(
            "ts",
            timestamp(),
            Delta,
            "When the histogram was taken, by the sender's clock, in whole milliseconds.",
        ),
        Column::new("count_int", DataType::Int64, Plain, "Number of observations, of an integer histogram.").nullable(),
        Column::new("count_float", DataType::Float64, Plain, "Number of observations, of a float histogram.")
            .nullable(),
        Column::new("sum", DataType::Float64, Plain, "Sum of the observations; the staleness marker stands here."),
        Column::new(
            "schema",
            DataType::Int32,
            Dictionary,
            "Resolution: -4 to 8 for exponential buckets, -53 for custom bounds.",
        ),
        Column::new("zero_threshold", DataType::Float64, Dictionary, "Half-width of the zero bucket."),
        Column::new(
            "zero_count_int",
            DataType::Int64,
            Plain,
            "Observations in the zero bucket, of an integer histogram.",
        )
        .nullable(),
        Column::new(
            "zero_count_float",
            DataType::Float64,
            Plain,
            "Observations in the zero bucket, of a float histogram.",
        )
        .nullable(),
        Column::new("negative_spans", spans(), Dictionary, "Where the negative buckets are."),
        Column::new(
            "negative_deltas",
            list(DataType::Int64),
            Plain,
            "Negative bucket counts, each as the difference to the one before; integer histograms.",
        ),
        Column::new("negative_counts", list(DataType::Float64), Plain, "Negative bucket counts; float histograms."),
        Column::new("positive_spans", spans(), Dictionary, "Where the positive buckets are."),
        Column::new(
            "positive_deltas",
            list(DataType::Int64),
            Plain,
            "Positive bucket counts, each as the difference to the one before; integer histograms.",
        ),
        Column::new("positive_counts", list(DataType::Float64), Plain, "Positive bucket counts; float histograms."),
        Column::new(
            "custom_values",
            list(DataType::Float64),
            Dictionary,
            "Upper bounds of the buckets when schema is -53.",
        ),
        Column::new("reset_hint", DataType::Int32, Dictionary, "Counter reset: 0 unknown, 1 yes, 2 no, 3 gauge."),
        Column::new("start_ts", timestamp(), Dictionary, "When the counter began, if the sender said so.").nullable(),
    ]
}
