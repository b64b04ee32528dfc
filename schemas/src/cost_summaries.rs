//! `costs_daily` and `costs_hourly`: the same sums as `costs` by fewer columns.
//!
//! Written by the loads that write `costs`, in the same append, so that they always agree. Mandatory tags are columns here, found by the
//! rules of tags that were in force at the load, whose version each row has.

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{Column, Dataset, Encoding, Layout, Partition, date, dictionary, money, timestamp};

/// Columns of `costs` by which summaries are grouped, beside time and the partition.
pub const SUMMARY_COLUMNS: [&str; 17] = [
    "ServiceName",
    "SubAccountId",
    "ProviderName",
    "BillingAccountId",
    "ServiceCategory",
    "RegionId",
    "ChargeCategory",
    "ChargeClass",
    "PricingCategory",
    "CommitmentDiscountStatus",
    "BillingCurrency",
    "Environment",
    "Team",
    "Project",
    "CostCenter",
    "Owner",
    "Application",
];

/// How many of [`SUMMARY_COLUMNS`], the last ones, are mandatory tags.
pub const MANDATORY_TAGS: usize = 6;

/// Amounts that are summed up.
pub const SUMMARY_AMOUNTS: [&str; 5] = ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "x_DeliveredCost"];

/// Costs by the UTC day on which charges begin.
#[must_use]
pub fn costs_daily() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> =
        LazyLock::new(|| summary("costs_daily", "Costs of one UTC day by service, account, tags and more.", 20 * 365));
    &DATASET
}

/// Costs by the UTC hour in which charges begin.
#[must_use]
pub fn costs_hourly() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> =
        // Kept for 35 days beyond the month that a partition is.
        LazyLock::new(|| summary("costs_hourly", "Costs of one UTC hour by service, account, tags and more.", 66));
    &DATASET
}

fn summary(name: &'static str, about: &'static str, retention_days: u32) -> Dataset {
    let mut columns = vec![
        Column::new("x_Scope", DataType::Utf8, Encoding::Dictionary, "As in `costs`."),
        Column::new("x_BillingMonth", date(), Encoding::Dictionary, "As in `costs`."),
        Column::new(
            "ChargePeriodStart",
            timestamp(),
            Encoding::Dictionary,
            "Begin of the day or hour in which charges begin, UTC.",
        ),
    ];
    let tags = SUMMARY_COLUMNS.len() - MANDATORY_TAGS;
    columns.extend(SUMMARY_COLUMNS.iter().enumerate().map(|(at, name)| {
        let about = if at < tags { "As in `costs`." } else { "Mandatory tag, found by the rules of tags." };
        Column::new(name, dictionary(), Encoding::Dictionary, about).nullable()
    }));
    columns.extend(SUMMARY_AMOUNTS.map(|name| Column::new(name, money(), Encoding::Dictionary, "Sum.").nullable()));
    columns.push(Column::new("x_Rows", DataType::Int64, Encoding::Dictionary, "Rows of `costs` that are summed up."));
    columns.push(Column::new(
        "x_TagRules",
        DataType::Int64,
        Encoding::Dictionary,
        "Version of the rules of tags by which the tags were found.",
    ));
    Dataset::new(
        name,
        about,
        columns,
        Layout {
            time: "ChargePeriodStart",
            sort: &["ServiceName", "SubAccountId", "ChargePeriodStart"],
            key: 0,
            partition: Partition::Columns(2),
            retention_days,
        },
    )
}
