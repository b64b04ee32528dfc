//! A row that follows every rule, and what changes make of it.

use std::{collections::BTreeSet, io::Cursor};

use crate::check::{Conformance, Version, check_focus, columns::COLUMNS};

/// A row of committed usage that follows FOCUS, with a value in every column that may have one.
pub(super) const USAGE: [(&str, &str); 67] = [
    ("AllocatedMethodDetails", r#"{"Elements":[{"AllocatedRatio":0.5}]}"#),
    ("AllocatedMethodId", "cpu"),
    ("AllocatedResourceId", "pod-1"),
    ("AllocatedResourceName", "web"),
    ("AllocatedTags", r#"{"app":"web"}"#),
    ("AvailabilityZone", "eu-west-1a"),
    ("BilledCost", "0"),
    ("BillingAccountId", "4711"),
    ("BillingAccountName", "Acme"),
    ("BillingAccountType", "Payer"),
    ("BillingCurrency", "EUR"),
    ("BillingPeriodEnd", "2026-11-01T00:00:00Z"),
    ("BillingPeriodStart", "2026-10-01T00:00:00Z"),
    ("CapacityReservationId", "cr-1"),
    ("CapacityReservationStatus", "Used"),
    ("ChargeCategory", "Usage"),
    ("ChargeClass", ""),
    ("ChargeDescription", "an hour"),
    ("ChargeFrequency", "Usage-Based"),
    ("ChargePeriodEnd", "2026-10-05T01:00:00Z"),
    ("ChargePeriodStart", "2026-10-05T00:00:00Z"),
    ("CommitmentDiscountCategory", "Spend"),
    ("CommitmentDiscountId", "sp-1"),
    ("CommitmentDiscountName", "plan"),
    ("CommitmentDiscountQuantity", "1.5"),
    ("CommitmentDiscountStatus", "Used"),
    ("CommitmentDiscountType", "Savings Plan"),
    ("CommitmentDiscountUnit", "Hours"),
    ("CommitmentProgramEligibilityDetails", "all"),
    ("ConsumedQuantity", "2"),
    ("ConsumedUnit", "Hours"),
    (
        "ContractApplied",
        r#"{"Elements":[{"ContractId":"c","ContractCommitmentId":"d","ContractCommitmentAppliedCost":1.5}]}"#,
    ),
    ("ContractedCost", "1.8E0"),
    ("ContractedUnitPrice", "0.9"),
    ("EffectiveCost", "1.5"),
    ("HostProviderName", "AWS"),
    ("InvoiceDetailId", "I1-7"),
    ("InvoiceId", "I1"),
    ("InvoiceIssuerName", "AWS EMEA"),
    ("ListCost", "2.000"),
    ("ListUnitPrice", "1"),
    ("PricingCategory", "Committed"),
    ("PricingCurrency", "USD"),
    ("PricingCurrencyContractedUnitPrice", "1"),
    ("PricingCurrencyEffectiveCost", "1.7"),
    ("PricingCurrencyListUnitPrice", "1.1"),
    ("PricingQuantity", "2"),
    ("PricingUnit", "Hours"),
    ("ProviderName", "AWS"),
    ("PublisherName", "AWS"),
    ("RegionId", "eu-west-1"),
    ("RegionName", "Ireland"),
    ("ResourceId", "i-1"),
    ("ResourceName", "web"),
    ("ResourceType", "Instance"),
    ("ServiceCategory", "Compute"),
    ("ServiceName", "EC2"),
    ("ServiceProviderName", "AWS"),
    ("ServiceSubcategory", "Virtual Machines"),
    ("SkuId", "S1"),
    ("SkuMeter", "hours"),
    ("SkuPriceDetails", r#"{"InstanceType":"m5"}"#),
    ("SkuPriceId", "S1-1"),
    ("SubAccountId", "12"),
    ("SubAccountName", "dev"),
    ("SubAccountType", "Account"),
    ("Tags", r#"{"app":"web","bare":true}"#),
];

/// What makes a purchase, a tax or a credit of the row.
pub(super) const PURCHASE: &str = "ChargeCategory=Purchase ChargeFrequency=One-Time PricingCategory=Standard ConsumedQuantity= ConsumedUnit= \
EffectiveCost=0 CommitmentDiscountStatus= CapacityReservationStatus=";
pub(super) const TAX: &str = "ChargeCategory=Tax PricingQuantity= PricingUnit= ListUnitPrice= ContractedUnitPrice= PricingCategory= SkuId= SkuMeter= \
SkuPriceId= SkuPriceDetails= PricingCurrencyListUnitPrice= PricingCurrencyContractedUnitPrice= ConsumedQuantity= ConsumedUnit= \
CommitmentDiscountId= CommitmentDiscountCategory= CommitmentDiscountName= CommitmentDiscountQuantity= CommitmentDiscountStatus= \
CommitmentDiscountType= CommitmentDiscountUnit= BilledCost=1.5";

/// A row, by name.
pub(super) type Line = Vec<(String, String)>;

/// The row with changes such as `SkuId= Tags={}`; one that begins with `-` takes a column away.
pub(super) fn changed(version: Version, changes: &str) -> Line {
    let has = |name: &str| COLUMNS.iter().any(|facts| facts.name == name && facts.level(version) != b'-');
    let mut line: Line = USAGE
        .iter()
        .filter(|(name, _)| has(name))
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    for change in changes.split_whitespace() {
        if let Some(name) = change.strip_prefix('-') {
            line.retain(|(known, _)| known != name);
            continue;
        }
        let (name, value) = change.split_once('=').unwrap();
        // A column that the version does not have stays away.
        if let Some(known) = line.iter_mut().find(|(known, _)| known == name) {
            value.replace('_', " ").clone_into(&mut known.1);
        }
    }
    line
}

pub(super) fn csv(lines: &[Line]) -> String {
    let field = |text: &str| {
        if text.contains(['"', ',']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
    };
    let header: Vec<_> = lines[0].iter().map(|(name, _)| name.as_str()).collect();
    let rows = lines.iter().map(|line| line.iter().map(|(_, value)| field(value)).collect::<Vec<_>>().join(","));
    format!("{}\n{}\n", header.join(","), rows.collect::<Vec<_>>().join("\n"))
}

pub(super) fn found(text: &str, version: Option<Version>) -> Conformance {
    check_focus(Cursor::new(text.to_owned()), "test.csv", version).unwrap()
}

pub(super) fn ids(found: &Conformance) -> BTreeSet<&'static str> {
    found.violations.iter().map(|violation| violation.rule.id).collect()
}
