//! `costs`: one row per line of a cloud's bill, in the columns of FOCUS.
//!
//! Written by loads of billing exports, which replace a scope: what one export says of one billing period. The columns are those of FOCUS
//! 1.0 to 1.4, deprecated ones among them, under their own names; ours begin with `x_`. Sorted so that what one resource is charged for
//! one thing is one run of rows.
//!
//! Spec: <https://focus.finops.org/focus-specification/>

use std::sync::LazyLock;

use arrow::datatypes::DataType;

use crate::dataset::{
    Column, Dataset, Encoding, Layout, Partition, date, dictionary, money, quantity, string_map, timestamp,
};

/// The dataset of costs.
#[must_use]
pub fn costs() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| dataset("costs", "One line of a bill, as FOCUS has it."));
    &DATASET
}

/// The dataset of costs that are only compared.
#[must_use]
pub fn costs_uncounted() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        let about = "One line of a bill that `costs` has from another export already: to compare, and in no total.";
        dataset("costs_uncounted", about)
    });
    &DATASET
}

fn dataset(name: &'static str, about: &'static str) -> Dataset {
    Dataset::new(
        name,
        about,
        columns(),
        Layout {
            time: "ChargePeriodStart",
            sort: &["ServiceName", "SubAccountId", "ResourceId", "SkuId", "ChargePeriodStart"],
            key: 0,
            partition: Partition::Columns(2),
            // What is older than any law wants books to be kept costs next to nothing, and is asked for all the same.
            retention_days: 20 * 365,
        },
    )
}

fn columns() -> Vec<Column> {
    let mut columns = vec![
        Column::new(
            "x_Scope",
            DataType::Utf8,
            Encoding::Dictionary,
            "What is replaced as a whole: the export, and what it calls this part, such as `aws-main/2026-11`.",
        ),
        Column::new("x_BillingMonth", date(), Encoding::Dictionary, "First day of the month of BillingPeriodStart."),
    ];
    columns.extend(amounts());
    columns.extend(periods());
    columns.extend(TEXTS.iter().map(|(name, about)| text(name, about)));
    columns.extend(ours());
    columns
}

fn amounts() -> Vec<Column> {
    vec![
        Column::new("BilledCost", money(), Encoding::Dictionary, "What is invoiced, in BillingCurrency."),
        amount("EffectiveCost", "What it costs with prepayments spread over what they cover, in BillingCurrency."),
        amount("ListCost", "What it would cost at list prices, in BillingCurrency."),
        amount("ContractedCost", "What it would cost at negotiated prices without commitments, in BillingCurrency."),
        amount("ListUnitPrice", "List price of one PricingUnit, in BillingCurrency."),
        amount("ContractedUnitPrice", "Negotiated price of one PricingUnit, in BillingCurrency."),
        amount("PricingCurrencyEffectiveCost", "EffectiveCost in PricingCurrency."),
        amount("PricingCurrencyListUnitPrice", "ListUnitPrice in PricingCurrency."),
        amount("PricingCurrencyContractedUnitPrice", "ContractedUnitPrice in PricingCurrency."),
        count("PricingQuantity", "How many PricingUnits are charged."),
        count("ConsumedQuantity", "How many ConsumedUnits were used."),
        count(
            "CommitmentDiscountQuantity",
            "How many CommitmentDiscountUnits of a commitment were bought, used or left unused.",
        ),
    ]
}

fn periods() -> Vec<Column> {
    let time = |name, about| Column::new(name, timestamp(), Encoding::Dictionary, about);
    vec![
        time("BillingPeriodStart", "Begin of the period that is billed, inclusive."),
        time("BillingPeriodEnd", "End of the period that is billed, exclusive.").nullable(),
        time("ChargePeriodStart", "When what is charged began, inclusive."),
        time("ChargePeriodEnd", "When what is charged ended, exclusive.").nullable(),
    ]
}

/// Columns of text, each nullable.
const TEXTS: [(&str, &str); 51] = [
    ("BillingAccountId", "Account that is billed."),
    ("BillingAccountName", "Name of the account that is billed."),
    ("BillingAccountType", "What the provider calls such an account."),
    ("BillingCurrency", "Currency of all amounts of this row that say no other, ISO 4217."),
    ("SubAccountId", "Account, subscription or project in which the charge arose."),
    ("SubAccountName", "Name of that account."),
    ("SubAccountType", "What the provider calls such an account."),
    ("ServiceName", "What was bought."),
    ("ServiceCategory", "What kind of service it is, of the list of FOCUS."),
    ("ServiceSubcategory", "The same, finer."),
    ("ChargeCategory", "Usage, Purchase, Tax, Credit or Adjustment."),
    ("ChargeClass", "Correction, if it corrects a bill that was closed."),
    ("ChargeDescription", "What is charged, in the provider's words."),
    ("ChargeFrequency", "One-Time, Recurring or Usage-Based."),
    ("PricingCategory", "Standard, Dynamic, Committed or Other."),
    ("PricingUnit", "What prices are for one of."),
    ("PricingCurrency", "Currency of prices, if it is not BillingCurrency; may be virtual."),
    ("ConsumedUnit", "What ConsumedQuantity counts."),
    ("ResourceId", "What was used, as the provider identifies it."),
    ("ResourceName", "Name of what was used."),
    ("ResourceType", "What kind of thing was used."),
    ("RegionId", "Region, as the provider identifies it."),
    ("RegionName", "Name of the region."),
    ("AvailabilityZone", "Part of the region."),
    ("SkuId", "What is for sale, as the provider identifies it."),
    ("SkuMeter", "What is measured of it."),
    ("SkuPriceId", "The price of it, as the provider identifies it."),
    ("SkuPriceDetails", "What the price depends on, a JSON object."),
    ("CommitmentDiscountId", "Commitment that covers the charge, or is bought by it."),
    ("CommitmentDiscountName", "Name of the commitment."),
    ("CommitmentDiscountCategory", "Spend or Usage: what is committed to."),
    ("CommitmentDiscountType", "What the provider calls such a commitment."),
    ("CommitmentDiscountStatus", "Used or Unused, of a part of a commitment."),
    ("CommitmentDiscountUnit", "What CommitmentDiscountQuantity counts."),
    ("CommitmentProgramEligibilityDetails", "Which commitments could cover the charge, JSON."),
    ("CapacityReservationId", "Reservation of capacity that the charge is for."),
    ("CapacityReservationStatus", "Used or Unused, of a part of it."),
    ("InvoiceId", "Invoice on which the charge is; empty until it is issued."),
    ("InvoiceDetailId", "Line of the invoice."),
    ("InvoiceIssuerName", "Who invoices."),
    ("ProviderName", "Who sells; of FOCUS before 1.4."),
    ("PublisherName", "Who makes what is sold; of FOCUS before 1.4."),
    ("ServiceProviderName", "Who sells the service."),
    ("HostProviderName", "On whose infrastructure the service runs."),
    ("AllocatedMethodId", "How the provider split a charge among those that share it."),
    ("AllocatedMethodDetails", "Details of that, JSON."),
    ("AllocatedResourceId", "Resource that is given a share."),
    ("AllocatedResourceName", "Its name."),
    ("ContractApplied", "Contracts that were applied, JSON."),
    (
        "x_Origin",
        "`delivered`: a line of the export. `derived`: ours, so that every view adds up; its x_DeliveredCost is 0.",
    ),
    ("x_Adjustments", "Codes of what was changed against the line as delivered, separated by spaces."),
];

fn ours() -> Vec<Column> {
    let map = |name, about| Column::new(name, string_map(), Encoding::Dictionary, about);
    vec![
        Column::new(
            "x_DeliveredCost",
            money(),
            Encoding::Dictionary,
            "Cost as the line has it, before anything is made of it; its sum is that of the files.",
        ),
        amount("x_SplitCost", "Share of another row's cost, of rows that split one for containers; in no total."),
        text("x_File", "File of the delivery that has the line."),
        map("Tags", "Tags as delivered; one without a value is `true`."),
        map("AllocatedTags", "Tags of what is given a share."),
        map("x_Columns", "Columns of the line that FOCUS has no place for, under names that begin with `x_`."),
    ]
}

fn amount(name: &'static str, about: &'static str) -> Column {
    Column::new(name, money(), Encoding::Dictionary, about).nullable()
}

fn count(name: &'static str, about: &'static str) -> Column {
    Column::new(name, quantity(), Encoding::Dictionary, about).nullable()
}

fn text(name: &'static str, about: &'static str) -> Column {
    Column::new(name, dictionary(), Encoding::Dictionary, about).nullable()
}
