//! `costs_changes`: what restatements changed.
//!
//! Written by loads that replace an earlier one of their scope, and by the first one, against nothing.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, date, dictionary, money, timestamp};

/// The dataset of changes of costs.
#[must_use]
pub fn costs_changes() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        let text = |name, about| Column::new(name, dictionary(), Encoding::Dictionary, about);
        let amount = |name, about| Column::new(name, money(), Encoding::Dictionary, about);
        Dataset::new(
            "costs_changes",
            "Costs of a day, service and account that a load changed.",
            vec![
                Column::new("changed_at", timestamp(), Encoding::Delta, "When the load was."),
                text("scope", "What it replaced: `x_Scope` in `costs`."),
                Column::new("revision", DataType::Int64, Encoding::Dictionary, "Number of the load within its scope."),
                Column::new("x_BillingMonth", date(), Encoding::Dictionary, "As in `costs`."),
                Column::new(
                    "ChargePeriodStart",
                    timestamp(),
                    Encoding::Dictionary,
                    "The UTC day on which charges begin.",
                ),
                text("ServiceName", "As in `costs`.").nullable(),
                text("SubAccountId", "As in `costs`.").nullable(),
                text("BillingCurrency", "As in `costs`."),
                amount("OldBilledCost", "Sum before the load."),
                amount("NewBilledCost", "Sum after it."),
                amount("OldEffectiveCost", "Sum before the load, of rows that have one."),
                amount("NewEffectiveCost", "Sum after it."),
            ],
            Layout {
                time: "changed_at",
                sort: &["scope", "revision", "ChargePeriodStart"],
                key: 0,
                partition: Partition::None,
                retention_days: 20 * 365,
            },
        )
    });
    &DATASET
}
