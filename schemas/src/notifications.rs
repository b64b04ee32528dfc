//! `notifications`: what receivers are owed, what became of it, and what is kept from them, and why.
//!
//! Written by the dispatcher before a message goes out (`intent`), and by its sender afterwards. What has an intent and no end is owed.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, dictionary, list, string_map, timestamp};

/// The dataset of notifications.
#[must_use]
pub fn notifications() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        let text = |name, about| Column::new(name, dictionary(), Encoding::Dictionary, about);
        let alerts = |name, about| Column::new(name, list(DataType::Utf8), Encoding::Dictionary, about);
        Dataset::new(
            "notifications",
            "One step of one notification.",
            vec![
                Column::new("at", timestamp(), Encoding::Delta, "When it happened."),
                text("receiver", "Who is told."),
                text("integration", "By what, and which one of the receiver's: `slack[0]`."),
                text("group_key", "The group: its route and labels; of a scheduled query its name and slot."),
                text(
                    "event",
                    "`intent`: it is owed; `sent`: it was told; `waits`: it is tried again; `dead`: it is given up; `kept`: nobody is told. Of \
                     the incident at the receiver: `acknowledged`, `unacknowledged`, `closed`.",
                ),
                text(
                    "id",
                    "Names the intent, the same in all rows of it, or what a receiver told us. Empty for what is kept.",
                ),
                text(
                    "reason",
                    "Why it is told, or why it is kept: `silenced`, `inhibited`, `muted`, `acknowledged`, `told already`; `scheduled query`.",
                ),
                alerts("firing", "Alerts that fire, by fingerprint."),
                alerts("resolved", "Alerts that ended, by fingerprint."),
                alerts("held", "Alerts that fire and are not told."),
                alerts(
                    "by",
                    "What keeps it: ids of silences, fingerprints of alerts, names of times; who acknowledged; times of a schedule.",
                ),
                Column::new(
                    "group_labels",
                    string_map(),
                    Encoding::Dictionary,
                    "Labels that its alerts have in common; `query` and `slot` of a scheduled query.",
                ),
                Column::new(
                    "attempt",
                    DataType::Int64,
                    Encoding::Dictionary,
                    "Number of the attempt, from 1; 0 before.",
                ),
                Column::new("error", DataType::Utf8, Encoding::Plain, "What went wrong; empty if nothing did."),
                Column::new("took_ms", DataType::Int64, Encoding::Delta, "How long the attempt took, milliseconds."),
                Column::new(
                    "answer",
                    DataType::Utf8,
                    Encoding::Plain,
                    "What the receiver said that the next message needs, JSON: a message's id, a dedup key.",
                ),
            ],
            Layout {
                time: "at",
                sort: &["receiver", "group_key", "at"],
                key: 0,
                partition: Partition::DayOfTime,
                retention_days: 400,
            },
        )
    });
    &DATASET
}
