//! What a provider has to have for a conditional column to be asked of it, and how a file shows that it has it.
//!
//! Read where the presence of columns is judged.

use super::columns::Column;

/// What a provider has to have for a conditional column to be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// Nothing: the column is not conditional.
    Always,
    Commitments,
    CapacityReservations,
    SubAccounts,
    Regions,
    Resources,
    MeteredUsage,
    PriceLists,
    PricingCategories,
    PricingCurrencies,
    SplitCosts,
    /// What no column shows, in words.
    Other(&'static str),
}

impl Feature {
    /// What it is, in words.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Always => "nothing",
            Self::Commitments => "commitment discounts",
            Self::CapacityReservations => "capacity reservations",
            Self::SubAccounts => "sub-accounts",
            Self::Regions => "regions",
            Self::Resources => "billing by resources",
            Self::MeteredUsage => "metered usage",
            Self::PriceLists => "price lists",
            Self::PricingCategories => "several pricing categories",
            Self::PricingCurrencies => "pricing in other currencies",
            Self::SplitCosts => "split costs",
            Self::Other(about) => about,
        }
    }

    /// Columns that nobody has without the feature: if one is there, the others have to be.
    pub(super) fn shown_by(self) -> &'static [Column] {
        use Column::*;
        match self {
            Self::Always | Self::Other(_) => &[],
            Self::Commitments => &[
                CommitmentDiscountId,
                CommitmentDiscountCategory,
                CommitmentDiscountName,
                CommitmentDiscountStatus,
                CommitmentDiscountType,
                CommitmentDiscountQuantity,
                CommitmentDiscountUnit,
            ],
            Self::CapacityReservations => &[CapacityReservationId, CapacityReservationStatus],
            Self::SubAccounts => &[SubAccountId, SubAccountName, SubAccountType],
            Self::Regions => &[RegionId, RegionName],
            Self::Resources => &[ResourceId, ResourceName, ResourceType],
            Self::MeteredUsage => &[ConsumedQuantity, ConsumedUnit],
            Self::PriceLists => &[SkuId, SkuMeter, SkuPriceId, SkuPriceDetails],
            // Committed usage has another category than the rest.
            Self::PricingCategories => &[CommitmentDiscountId, CommitmentDiscountStatus],
            Self::PricingCurrencies => {
                &[PricingCurrencyContractedUnitPrice, PricingCurrencyEffectiveCost, PricingCurrencyListUnitPrice]
            }
            Self::SplitCosts => {
                &[AllocatedMethodId, AllocatedResourceId, AllocatedResourceName, AllocatedTags, AllocatedMethodDetails]
            }
        }
    }
}
