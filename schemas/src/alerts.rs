//! `alerts`: each change of each alert, and those that are active, now and then.
//!
//! Written by the rule evaluator and by posts to the API, before anybody is told. The last row of an alert says how it is, so state is
//! restored from them; those that are active are written again (`reason` snapshot) so that not all rows have to be read for it.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, dictionary, string_map, timestamp};

/// The dataset of changes of alerts.
#[must_use]
pub fn alerts() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        let text = |name, about| Column::new(name, dictionary(), Encoding::Dictionary, about);
        let time = |name, about| Column::new(name, timestamp(), Encoding::Dictionary, about);
        Dataset::new(
            "alerts",
            "One change of one alert, or how an active one is.",
            vec![
                Column::new(
                    "at",
                    timestamp(),
                    Encoding::Delta,
                    "When it changed: the evaluation's time, or the post's.",
                ),
                text("alertname", "Label `alertname`."),
                text("fingerprint", "The alert by a number of its labels, hexadecimal, as Alertmanager computes it."),
                text("state", "What it is now: `pending`, `firing`, `resolved`, or `inactive` if it never fired."),
                text("reason", "Why there is a row, such as `evaluated`, `posted`, `no data` or `snapshot`."),
                text("source", "Its rule as `file;group;rule{number of its labels}#which of the same`, or `api`."),
                Column::new("labels", string_map(), Encoding::Dictionary, "Its labels."),
                Column::new("annotations", string_map(), Encoding::Dictionary, "What people read."),
                Column::new("value", DataType::Float64, Encoding::Plain, "Value of the expression.").nullable(),
                time("active_at", "Since when its condition holds.").nullable(),
                time("starts_at", "Since when it fires.").nullable(),
                time("ends_at", "When it ended, or will be taken for ended.").nullable(),
                time("keep_firing_since", "Since when it fires only because it is to be kept firing.").nullable(),
                text("generator_url", "Where to look."),
                text("run", "Empty for what happened; the name of a replay for what would have."),
            ],
            Layout {
                time: "at",
                sort: &["alertname", "fingerprint", "at"],
                key: 0,
                partition: Partition::DayOfTime,
                retention_days: 400,
            },
        )
    });
    &DATASET
}
