//! Names of the columns of `costs`, as values: a mapping says `Text::ServiceName`, and the place in the batch follows from it.
//!
//! Used by the mappings, which fill a row by them, and by the batch, which finds the place of each in the dataset's schema. A test holds
//! them against the schema, so that a new column there is an error here.

/// Declares an enum of columns whose variants are named as the columns are.
macro_rules! columns {
    ($(#[$about:meta])* $kind:ident: $($name:ident)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(clippy::enum_variant_names, reason = "columns have the names that FOCUS gives them")]
        pub(crate) enum $kind { $($name),* }

        impl $kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
            pub(crate) const COUNT: usize = Self::ALL.len();

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

columns! {
    /// Columns of text that mappings fill. `BillingCurrency` is beside them, since no row is without.
    Text:
    BillingAccountId BillingAccountName BillingAccountType SubAccountId SubAccountName SubAccountType ServiceName ServiceCategory
    ServiceSubcategory ChargeCategory ChargeClass ChargeDescription ChargeFrequency PricingCategory PricingUnit PricingCurrency ConsumedUnit
    ResourceId ResourceName ResourceType RegionId RegionName AvailabilityZone SkuId SkuMeter SkuPriceId SkuPriceDetails
    CommitmentDiscountId CommitmentDiscountName CommitmentDiscountCategory CommitmentDiscountType CommitmentDiscountStatus
    CommitmentDiscountUnit CommitmentProgramEligibilityDetails CapacityReservationId CapacityReservationStatus InvoiceId InvoiceDetailId
    InvoiceIssuerName ProviderName PublisherName ServiceProviderName HostProviderName AllocatedMethodId AllocatedMethodDetails
    AllocatedResourceId AllocatedResourceName ContractApplied
}

columns! {
    /// Amounts of money and prices.
    Amount:
    BilledCost EffectiveCost ListCost ContractedCost ListUnitPrice ContractedUnitPrice PricingCurrencyEffectiveCost
    PricingCurrencyListUnitPrice PricingCurrencyContractedUnitPrice
}

columns! {
    /// Quantities.
    Quantity: PricingQuantity ConsumedQuantity CommitmentDiscountQuantity
}

columns! {
    /// Times.
    Time: BillingPeriodStart BillingPeriodEnd ChargePeriodStart ChargePeriodEnd
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Columns that the batch fills itself.
    const OWN: [&str; 11] = [
        "x_Scope",
        "x_BillingMonth",
        "BillingCurrency",
        "x_Origin",
        "x_Adjustments",
        "x_DeliveredCost",
        "x_SplitCost",
        "x_File",
        "Tags",
        "AllocatedTags",
        "x_Columns",
    ];

    #[test]
    fn every_column_of_costs_is_filled_by_someone() {
        let ours = Text::ALL.iter().map(|column| column.name());
        let ours = ours.chain(Amount::ALL.iter().map(|column| column.name()));
        let ours = ours.chain(Quantity::ALL.iter().map(|column| column.name()));
        let ours: BTreeSet<_> = ours.chain(Time::ALL.iter().map(|column| column.name())).chain(OWN).collect();
        let schema: BTreeSet<_> = schemas::costs().columns.iter().map(|column| column.name).collect();
        assert_eq!(ours, schema);
    }
}
