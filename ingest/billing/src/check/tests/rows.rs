//! Every rule between columns, and what violates it.

use std::collections::BTreeSet;

use super::row::{Line, PURCHASE, TAX, changed, csv, found, ids};
use crate::check::{Version, focus_rules, rows::ROW_RULES};

/// Rules between columns, each with what spoils the row; a second row comes behind a comma.
const SPOILT: &[(&str, &str, &str)] = &[
    (
        "",
        "CommitmentDiscountId=",
        "CommitmentDiscountCategory-null-without-id CommitmentDiscountName-null-without-id CommitmentDiscountType-null-without-id CommitmentDiscountStatus-null-without-id CommitmentDiscountQuantity-null-without-id",
    ),
    ("", "CommitmentDiscountCategory=", "CommitmentDiscountCategory-given-with-id"),
    ("", "CommitmentDiscountType=", "CommitmentDiscountType-given-with-id"),
    ("", "CommitmentDiscountStatus=", "CommitmentDiscountStatus-given-for-usage"),
    ("", "CommitmentDiscountQuantity= CommitmentDiscountUnit=", "CommitmentDiscountQuantity-given-with-id"),
    (
        TAX,
        "CommitmentDiscountQuantity=1 CommitmentDiscountId=x CommitmentDiscountUnit=Hours CommitmentDiscountCategory=Spend CommitmentDiscountType=x",
        "CommitmentDiscountQuantity-null-for-others CommitmentDiscountQuantity-null-without-price",
    ),
    (
        "",
        "CommitmentDiscountQuantity=",
        "CommitmentDiscountQuantity-given-with-id CommitmentDiscountUnit-null-without-quantity",
    ),
    ("", "CommitmentDiscountUnit=", "CommitmentDiscountUnit-given-with-quantity"),
    ("", "CapacityReservationId=", "CapacityReservationStatus-null-without-id"),
    ("", "CapacityReservationStatus=", "CapacityReservationStatus-given-for-usage"),
    (
        "",
        "CapacityReservationId= CapacityReservationStatus=Unused",
        "CapacityReservationId-given-if-unused CapacityReservationStatus-null-without-id",
    ),
    ("", "PricingCategory=Standard", "PricingCategory-committed"),
    (PURCHASE, "ConsumedQuantity=1 ConsumedUnit=Hours", "ConsumedQuantity-null-for-others"),
    ("", "CommitmentDiscountStatus=Unused", "ConsumedQuantity-null-if-unused"),
    ("", "ConsumedQuantity= ConsumedUnit=", "ConsumedQuantity-given-for-usage"),
    ("", "ConsumedQuantity=", "ConsumedQuantity-given-for-usage ConsumedUnit-null-without-quantity"),
    ("", "ConsumedUnit=", "ConsumedUnit-given-with-quantity"),
    (TAX, "PricingQuantity=1 PricingUnit=Hours", "PricingQuantity-null-for-tax PricingQuantity-null-without-price"),
    ("", "PricingQuantity= PricingUnit=", "PricingQuantity-given-for-charges"),
    ("", "PricingQuantity=", "PricingQuantity-given-for-charges PricingUnit-null-without-quantity"),
    ("", "PricingUnit=", "PricingUnit-given-with-quantity"),
    (TAX, "ListUnitPrice=1", "ListUnitPrice-null-for-tax ListUnitPrice-null-without-price"),
    ("", "ListUnitPrice=", "ListUnitPrice-given-for-charges ListUnitPrice-given-with-price"),
    (TAX, "ContractedUnitPrice=1", "ContractedUnitPrice-null-for-tax ContractedUnitPrice-null-without-price"),
    ("", "ContractedUnitPrice=", "ContractedUnitPrice-given-for-charges ContractedUnitPrice-given-with-price"),
    (
        TAX,
        "PricingCurrencyListUnitPrice=1",
        "PricingCurrencyListUnitPrice-null-for-tax PricingCurrencyListUnitPrice-null-without-price",
    ),
    (
        "",
        "PricingCurrencyListUnitPrice=",
        "PricingCurrencyListUnitPrice-given-for-charges PricingCurrencyListUnitPrice-given-with-price",
    ),
    (
        TAX,
        "PricingCurrencyContractedUnitPrice=1",
        "PricingCurrencyContractedUnitPrice-null-for-tax PricingCurrencyContractedUnitPrice-null-without-price",
    ),
    (
        "",
        "PricingCurrencyContractedUnitPrice=",
        "PricingCurrencyContractedUnitPrice-given-for-charges PricingCurrencyContractedUnitPrice-given-with-price",
    ),
    (TAX, "PricingCategory=Standard", "PricingCategory-null-for-tax PricingCategory-null-without-price"),
    ("", "PricingCategory=", "PricingCategory-given-for-charges"),
    (TAX, "SkuId=S1", "SkuId-null-for-tax SkuMeter-given-with-sku"),
    ("", "SkuId= SkuMeter=", "SkuId-given-for-charges"),
    (
        TAX,
        "SkuPriceId=S1-1",
        "SkuPriceId-null-for-tax ListUnitPrice-given-with-price ContractedUnitPrice-given-with-price PricingCurrencyListUnitPrice-given-with-price PricingCurrencyContractedUnitPrice-given-with-price",
    ),
    (
        PURCHASE,
        "SkuPriceId=",
        "SkuPriceId-given-for-charges SkuPriceDetails-null-without-price ListUnitPrice-null-without-price ContractedUnitPrice-null-without-price PricingCategory-null-without-price PricingQuantity-null-without-price PricingCurrencyListUnitPrice-null-without-price PricingCurrencyContractedUnitPrice-null-without-price CommitmentDiscountQuantity-null-without-price",
    ),
    (
        "ChargeClass=Correction",
        "SkuPriceId= SkuPriceDetails= PricingQuantity= PricingUnit= PricingCategory= ListUnitPrice= ContractedUnitPrice= PricingCurrencyListUnitPrice= PricingCurrencyContractedUnitPrice= CommitmentDiscountQuantity= CommitmentDiscountUnit=",
        "ConsumedQuantity-null-without-price",
    ),
    ("", "SkuId= ", "SkuId-given-for-charges SkuMeter-null-without-sku"),
    ("", "SkuMeter=", "SkuMeter-given-with-sku"),
    ("", ",SkuId=S2", "SkuPriceId-one-sku"),
    ("", "ResourceId=", "ResourceName-null-without-id ResourceType-null-without-id"),
    ("", "ResourceName=", "ResourceName-given-with-id"),
    ("", "ResourceType=", "ResourceType-given-with-id"),
    ("", "RegionId=", "RegionName-null-without-id"),
    ("", "RegionName=", "RegionName-given-with-id"),
    ("", "SubAccountId=", "SubAccountName-null-without-id SubAccountType-null-without-id"),
    ("", "SubAccountName=", "SubAccountName-given-with-id"),
    ("", "SubAccountType=", "SubAccountType-given-with-id"),
    ("", "AllocatedResourceId=", "AllocatedResourceName-null-without-id"),
    ("", "AllocatedResourceName=", "AllocatedResourceName-given-with-id"),
    (
        "",
        ",ServiceCategory=Other ServiceSubcategory=Other_(Other)",
        "ServiceName-one-category ServiceName-one-subcategory",
    ),
    ("", "ServiceSubcategory=Containers,", "ServiceName-one-subcategory"),
    ("", "ServiceSubcategory=Caching", "ServiceSubcategory-category"),
    (PURCHASE, "ChargeFrequency=Usage-Based", "ChargeFrequency-purchase"),
    ("", "ListCost=2.1", "ListCost-product"),
    ("", "ContractedCost=1.79999", "ContractedCost-product"),
    (PURCHASE, "EffectiveCost=0.01", "EffectiveCost-zero-if-covering"),
    ("", "BilledCost=1E-9", "BilledCost-zero-if-covered"),
    (TAX, "ChargeCategory=Credit BilledCost=1", "EffectiveCost-credit"),
    (TAX, "BilledCost=1", "EffectiveCost-tax"),
    ("", "ChargePeriodEnd=2026-10-05T00:00:00Z", "ChargePeriodStart-before-end"),
    ("", "BillingPeriodEnd=2026-09-01T00:00:00Z", "BillingPeriodStart-before-end"),
    ("", "BillingPeriodStart=2026-10-01T07:00:00Z", "BillingPeriodStart-month"),
    ("", "BillingPeriodEnd=2026-10-31T00:00:00Z", "BillingPeriodEnd-month"),
];

#[test]
fn every_rule_between_columns_is_violated_by_what_spoils_it_and_by_nothing_else() {
    let mut seen = BTreeSet::new();
    for (kind, spoilt, wanted) in SPOILT {
        let wanted: BTreeSet<_> = wanted.split(' ').map(|id| format!("focus-{id}")).collect();
        for version in Version::ALL {
            let lines: Vec<Line> =
                spoilt.split(',').map(|spoilt| changed(version, &format!("{kind} {spoilt}"))).collect();
            let found = found(&csv(&lines), Some(version));
            let of_rows: BTreeSet<_> =
                ids(&found).into_iter().filter(|id| ROW_RULES.iter().any(|rule| rule.id == *id)).collect();
            let is_of = |id: &&String| focus_rules().iter().any(|rule| rule.id == **id && rule.is_of(version));
            let wanted: BTreeSet<_> = wanted.iter().filter(is_of).map(String::as_str).collect();
            assert_eq!(of_rows, wanted, "{version}: {kind} {spoilt}");
            seen.extend(of_rows);
        }
    }
    let all: BTreeSet<_> = ROW_RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(seen, all);
}
