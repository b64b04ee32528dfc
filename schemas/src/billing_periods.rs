//! `billing_period_changes`: how far the bill of a month is, each time that it changes.
//!
//! Written by loads, by the passing of time, and by those who close a month. What holds now is the newest row of an export and month.

use std::sync::LazyLock;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, date, dictionary, timestamp};

/// The dataset of changes of billing periods.
#[must_use]
pub fn billing_period_changes() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        let text = |name, about| Column::new(name, dictionary(), Encoding::Dictionary, about);
        Dataset::new(
            "billing_period_changes",
            "The bill of a month opens, is over, is final, or changes in spite of that.",
            vec![
                Column::new("changed_at", timestamp(), Encoding::Delta, "When it became so."),
                text("export", "The export it is of."),
                Column::new("BillingMonth", date(), Encoding::Dictionary, "First day of the month that is billed."),
                text(
                    "status",
                    "`Open`: the month is not over. `Closing`: it is, and charges may come. `Closed`: final. `Reopened`: was \
                     final, and changed.",
                ),
                text("reason", "What made it so."),
            ],
            Layout {
                time: "changed_at",
                sort: &["export", "BillingMonth", "changed_at"],
                key: 0,
                partition: Partition::None,
                retention_days: 10 * 365,
            },
        )
    });
    &DATASET
}
